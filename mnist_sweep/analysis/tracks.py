"""Who was dropped when: each configuration's way through the rounds of a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.study import Study


@dataclass
class Track:
    """What a configuration came to: round -> the mean of its seeds so far.

    ``last`` is what it was in the last stage that it saw.
    """

    last: Configuration
    means: dict[int, float] = field(default_factory=dict)


def tracks(stages: Sequence[Study]) -> tuple[list[tuple[str, int]], list[Track]]:
    """The rounds of ``stages``, each the stage and the number of seeds in it, and all tracks.

    A round is one seed of all that were not dropped. Stages may change settings, so a configuration
    is known by what varies in the first of them. Tracks that go furthest come first.
    """
    metric, names = stages[-1].metric, list(stages[0].varying)
    rounds: list[tuple[str, int]] = []
    found: dict[tuple[object, ...], Track] = {}
    for stage in stages:
        begun = len(rounds)
        for configuration in stage.configurations:
            key = tuple(getattr(configuration.config, name) for name in names)
            track = found.setdefault(key, Track(configuration))
            track.last, values = configuration, configuration.values(metric)
            for seeds in range(1, len(values) + 1):
                if begun + seeds > len(rounds):
                    rounds.append((stage.stage, seeds))
                track.means[begun + seeds - 1] = fmean(values[:seeds])

    def furthest(track: Track) -> tuple[float, float]:
        end = max(track.means)
        return -end, -metric.sign * track.means[end]

    return rounds, sorted((track for track in found.values() if track.means), key=furthest)
