"""What a search is to those who run it, and the simplest kind: all trials known beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from mnist_sweep.config import HPConfig
from mnist_sweep.search.space import Point, Sieve, Space
from mnist_sweep.trial import Trial, TrialResult


class Search(Protocol):
    """Which trials come next. A pure function of the rows, so that they are its only state."""

    @property
    def most(self) -> int:
        """How many trials it may propose in all."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should know before it begins, a line each."""
        ...

    def propose(self, rows: Mapping[str, TrialResult]) -> Sequence[Trial]:
        """The trials to run next, none of which has a row yet; empty when the search is over.

        ``rows`` are the results so far by trial_id, those of other sweeps perhaps among them.
        """
        ...


class SearchError(ValueError):
    """A space that a method cannot search: the key of the spec to change, and what to do there."""


@dataclass(frozen=True)
class Listed:
    """A search that proposes all of ``trials``, which are distinct, at once."""

    trials: tuple[Trial, ...]
    warnings: tuple[str, ...] = ()

    @property
    def most(self) -> int:
        """How many trials there are."""
        return len(self.trials)

    def propose(self, rows: Mapping[str, TrialResult]) -> Sequence[Trial]:
        """The trials without a row, in their order."""
        return [trial for trial in self.trials if trial.trial_id not in rows]


def listed(space: Space, points: Iterable[Point], count: int | None = None) -> Listed:
    """The search of the first ``count`` of ``points`` that the space lets through (None: of all).

    Each is proposed with every seed, seeds innermost. Raises SearchError if there are none, or
    fewer than ``count``.
    """
    sieve = Sieve(space)
    kept = list(islice(filter(None, map(sieve.admit, points)), count))
    notes = sieve.normalisations()
    if not kept:
        raise SearchError("exclude", "drops every configuration; nothing is left to run")
    if count is None:
        notes += sieve.unused_exclusions()
    elif len(kept) < count:
        raise SearchError(
            "count",
            f"{count} is more than the {len(kept)} configurations found; lower it, exclude less "
            f"or widen the ranges{''.join(f' ({note})' for note in notes)}",
        )
    trials = (
        Trial(HPConfig(**point, model=space.model, seed=seed), space.dataset)
        for point in kept
        for seed in space.seeds
    )
    return Listed(tuple(trials), tuple(notes))
