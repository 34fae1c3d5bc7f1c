"""What a search is to those who run it, and the simplest kind: all trials known beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from mnist_sweep.config import HPConfig
from mnist_sweep.search.space import Point, Sieve, Space
from mnist_sweep.trial import Trial, TrialResult


class Asked(NamedTuple):
    """The ``trials`` that a part of a search has asked for so far, in their order.

    ``stage`` names the part in rows and figures: "" for the method itself.
    """

    stage: str
    trials: Sequence[Trial]


class Part(NamedTuple):
    """A ``stage`` of a search before it begins.

    It may ask for ``most`` trials, or asks for as many if that is ``fixed``: of up to so many
    ``configurations``, with ``seeds``. ``variants`` has a trial of each configuration that may be
    among them, or of some that cost as much on average.
    """

    stage: str
    most: int
    configurations: int
    seeds: Sequence[int]
    variants: Sequence[Trial]
    fixed: bool = True


class Search(Protocol):
    """Which trials come next. A pure function of the rows, so that they are its only state."""

    @property
    def parts(self) -> Sequence[Part]:
        """Its stages, whatever comes of their trials."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What a person should know before it begins, a line each."""
        ...

    def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
        """What it has asked for, given the ``rows`` so far by trial_id, stage by stage.

        Each next part depends on the rows of those before it, which it waits for; the search is
        over when no trial is without a row. Rows of trials that it did not ask for say nothing.
        """
        ...


def most(search: Search) -> int:
    """How many trials ``search`` may ask for in all."""
    return sum(part.most for part in search.parts)


def missing(search: Search, rows: Mapping[str, TrialResult]) -> Asked:
    """The stage that is under way, and those of its trials without a row; none if it is over."""
    *_, last = search.asked(rows)
    trials = {trial.trial_id: trial for trial in last.trials}
    return Asked(last.stage, [t for trial_id, t in trials.items() if trial_id not in rows])


class SearchError(ValueError):
    """A space that a method cannot search: the key of the spec to change, and what to do there."""


@dataclass(frozen=True)
class Listed:
    """A search that asks for all of ``trials``, which are distinct, at once."""

    trials: tuple[Trial, ...]
    warnings: tuple[str, ...] = ()

    @property
    def parts(self) -> Sequence[Part]:
        """One, of all trials."""
        seeds = list(dict.fromkeys(trial.config.seed for trial in self.trials))
        variants = self.trials[:: len(seeds)]
        return [Part("", len(self.trials), len(variants), seeds, variants)]

    def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
        """All of them, whatever the rows."""
        return [Asked("", self.trials)]


def check_found(points: Sequence[Point], count: int | None, notes: list[str]) -> None:
    """Raise SearchError if there are no ``points``; note it if they are fewer than ``count``."""
    if not points:
        raise SearchError("exclude", "drops every configuration; nothing is left to run")
    if count is not None and len(points) < count:
        there = f"the {len(points):,} configurations there are"
        notes.append(f"count: {count:,} is more than {there}; all of them run")


def listed(space: Space, points: Iterable[Point], count: int | None = None) -> Listed:
    """The search of the first ``count`` of ``points`` that the space lets through (None: of all).

    Each is proposed with every seed, seeds innermost. Raises SearchError if there are none.
    """
    sieve = Sieve(space)
    kept = list(islice(filter(None, map(sieve.admit, points)), count))
    notes = [*sieve.normalisations(), *sieve.repeats()]
    check_found(kept, count, notes)
    trials = (
        Trial(HPConfig(**point, model=space.model, seed=seed), space.dataset)
        for point in kept
        for seed in space.seeds
    )
    return Listed(tuple(trials), tuple(notes))
