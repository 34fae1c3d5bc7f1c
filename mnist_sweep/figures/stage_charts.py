"""Charts of a search that goes in stages: what it found for its work, and whom it dropped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.study import Study
from mnist_sweep.figures.scales import MetricScale, shrink_labels
from mnist_sweep.figures.sheet import add_legend, footnote, frame, legend_excess, new_figure
from mnist_sweep.figures.style import FAINT, series_style
from mnist_sweep.labels import capital, count, describe, stage_text
from mnist_sweep.plan import flops

#: How many of those that see the last round are named.
_IN_COLOUR = 4


def best_so_far(study: Study) -> Figure:
    """Each trial of the search of which ``study`` is the last stage, and the best ones on the way.

    Stages measure different things, so that each has a best of its own.
    """
    metric = study.metric
    values = [getattr(row, metric.name) for stage in study.stages for row in stage.results]
    scale, below = MetricScale.of_the_better(metric, [v for v in values if v is not None])
    note = footnote(
        study,
        "Work: matrix products of training. Stages measure different things: more epochs, other "
        "seeds.",
        f"Worse, below the frame: {below:,}." * (below > 0),
    )
    about = "Each point a trial; lines: the best so far of each stage"
    figure = new_figure(f"Best {metric.label} so far against the work spent", about, note)
    axes = figure.subplots(gridspec_kw=frame(figure, note))
    handles, spent = [], 0.0
    for place, stage in enumerate(study.stages):
        works, heights = [], []
        for row in stage.results:
            spent += flops([row.trial]) / 1e12
            if (value := getattr(row, metric.name)) is not None:
                works.append(spent)
                heights.append(scale(value))
        style = series_style(place) | {"linestyle": "-"}
        axes.plot(works, heights, alpha=0.5, ms=4, mew=0, **style | {"linestyle": ""})
        best = [*accumulate(heights, max), max(heights, default=math.nan)]
        axes.step([*works, spent], best, where="post", color=style["color"], lw=1.6)
        axes.axvline(spent, color=FAINT, lw=0.8, ls=":")
        label = f"{stage_text(stage.stage)} ({count(len(stage.results), 'trial')})"
        handles.append(Line2D([], [], lw=1.6, ms=4, label=label, **style))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlim(0)
    axes.set_xlabel("Work spent (TFLOP)")
    scale.apply(axes, metric.label)
    add_legend(figure, handles)
    return figure


def dropped(study: Study) -> Figure:
    """Each configuration's way through the search of which ``study`` is the last stage.

    Some that saw the last round are in colour.
    """
    rounds, ways = tracks(study.stages)
    metric, end = study.metric, len(rounds) - 1
    left = [track for track in ways if end in track.means][:_IN_COLOUR]
    values = [v for track in ways if max(track.means) > 0 for v in track.means.values()]
    scale = MetricScale.fit(metric, values)
    first = [scale(track.means[0]) for track in ways if 0 in track.means]
    below = sum(height < scale.low for height in first)
    differing = [*varying_values(track.last for track in left)]
    common = study.stages[0].common_text(track.last for track in left)
    note = footnote(
        study,
        "A line ends where its configuration was dropped, or had no further seed.",
        f"Worse, below the frame: {below:,} of {len(first):,} in the first round." * (below > 0),
        f"All in colour: {common}." if common else "",
    )
    title = f"{capital(metric.label)} of {count(len(ways), 'configuration')}, round by round"
    about = f"Mean of so many seeds; in colour: {len(left):,} that saw the last round"
    figure = new_figure(title, about, note)
    names = [describe(track.last.config, differing) or "the winner" for track in left]
    axes = figure.subplots(gridspec_kw=frame(figure, note, above=legend_excess(figure, names)))
    handles = []
    for place, track in enumerate([*left, *(track for track in ways if track not in left)]):
        if place < len(left):
            style: dict[str, Any] = {**series_style(place), "lw": 1.8, "ms": 5, "zorder": 3}
            style["label"] = names[place]
        else:
            style = {"color": FAINT, "lw": 0.8, "ms": 4, "alpha": 0.6}
            style |= {"marker": "x", "markevery": [-1]} if end not in track.means else {}
        handles += axes.plot([*track.means], [*map(scale, track.means.values())], **style)
    texts = [f"{n}\n{stage_text(stage)}" if n == 1 else str(n) for stage, n in rounds]
    axes.set_xticks(range(len(rounds)), texts)
    axes.set_xlim(-0.3, end + 0.3)
    starts = [place for place, (_, seeds) in enumerate(rounds) if seeds == 1]
    apart = min((b - a for a, b in pairwise(starts)), default=len(rounds))
    shrink_labels(axes, apart / (end + 0.6))
    scale.apply(axes, metric.label)
    add_legend(figure, handles[: len(left)])
    return figure


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
