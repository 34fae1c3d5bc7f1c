"""Stages: what a search goes on with, once its method has finished."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mnist_sweep.analysis.configurations import Configuration, configurations
from mnist_sweep.analysis.intervals import LEVEL
from mnist_sweep.analysis.ranking import measured, rank
from mnist_sweep.config import SCHEDULES, HPConfig, normalised
from mnist_sweep.metrics import Metric
from mnist_sweep.search.protocol import Asked, Part, Search
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult

#: What stays of a stage's configurations: a number of the best, a share, or all that may be best.
Keep = int | float | None


@dataclass(frozen=True)
class Staged:
    """A search by a ``method``, and then by ``stages``, each of which waits for the one before."""

    method: Search
    stages: Sequence[Rung]

    @property
    def warnings(self) -> Sequence[str]:
        """Those of the method, and one where short trials choose who gets a long schedule."""
        epochs = {frozenset(t.config.epochs for t in part.variants) for part in self.parts}
        names = {trial.config.lr_schedule for part in self.parts for trial in part.variants}
        falling = sorted(name for name in names if SCHEDULES[name].factor(1 - 1e-9) < 0.5)
        if not falling or len(epochs) == 1:
            return self.method.warnings
        return [
            *self.method.warnings,
            f"rungs: {' and '.join(falling)} bring the rate down within each stage's epochs, so "
            "that ranks after few epochs tell little of those after many; keep many until the last",
        ]

    @cached_property
    def parts(self) -> Sequence[Part]:
        """As if no stage ended early; a race goes on with the rows of the stage that it is in."""
        parts = list(self.method.parts)
        for stage in self.stages:
            before = parts[-1]
            width = most_kept(stage.keep, before.configurations)
            asked, seeds, variants = 0, stage.seeds, before.variants
            if stage.name == before.stage:
                parts.pop()
                asked, seeds = before.most, [s for s in stage.seeds if s not in before.seeds]
            else:
                variants = [stage.trial(trial.config, seeds[0]) for trial in variants]
            asked += width * len(seeds)
            parts.append(Part(stage.name, asked, width, seeds, variants, fixed=False))
        return parts

    def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
        """The method's trials and, as far as the stages before are complete, each stage's."""
        parts = list(self.method.asked(rows))
        for stage in self.stages:
            trials = parts[-1].trials
            finished = [rows[trial.trial_id] for trial in trials if trial.trial_id in rows]
            if len(finished) < len(trials):
                break
            parts.append(Asked(stage.name, stage.asked(finished, rows)))
        return parts


@dataclass(frozen=True)
class Rung:
    """A stage for the best of the one before, ``keep`` of them, that begins when that is complete.

    ``changes`` are hyperparameters (more epochs), ``dataset`` and ``seeds`` those of its trials;
    rows and figures call it by its ``name``.
    """

    name: str
    keep: Keep
    changes: Mapping[str, Any]
    dataset: DatasetConfig
    seeds: Sequence[int]
    metric: Metric

    def trial(self, config: HPConfig, seed: int) -> Trial:
        """``config`` with the changes, as far as they apply to it."""
        values, _ = normalised({**vars(config), **self.changes, "seed": seed})
        return Trial(HPConfig(**values), self.dataset)

    def asked(self, before: Sequence[TrialResult], rows: Mapping[str, TrialResult]) -> list[Trial]:
        """What it has asked for, given the rows of the stage ``before``: every seed, best first."""
        best = kept(before, self.keep, self.metric)
        return [self.trial(config, seed) for config in best for seed in self.seeds]


def most_kept(keep: Keep, configurations: int) -> int:
    """How many of so many ``configurations`` stay at most."""
    most = keep if isinstance(keep, int) else math.ceil((keep or 1.0) * configurations)
    return min(most, configurations)


def kept(results: Sequence[TrialResult], keep: Keep, metric: Metric) -> list[HPConfig]:
    """The configurations (seed 0) of ``results`` that go on, best first; all have the metric."""
    ranked = measured(results, metric)
    if keep is None:
        # Imported here, as below, because a search without it need not wait for numpy.
        from mnist_sweep.analysis.verdicts import compare_with_best

        compared = compare_with_best(ranked, metric)
        return [c.configuration.config for c in compared if c.verdict != "worse"]
    return [c.config for c in ranked[: most_kept(keep, len(ranked))]]


@dataclass(frozen=True)
class Race(Rung):
    """Seed after seed for what may still be the best (Maron and Moore, "Hoeffding races", 1994).

    After each seed from the second on, those are dropped that the verdicts tell from the best, at a
    level that is divided by the number of looks, so that the true best is lost in at most 5 % of
    races. Over when one is left, when no other may be better by ``margin`` (a fraction for
    accuracies) or more, or when the ``seeds`` are used up.
    """

    margin: float

    def asked(self, before: Sequence[TrialResult], rows: Mapping[str, TrialResult]) -> list[Trial]:
        """Round after round, as far as the rows go."""
        running = kept(before, self.keep, self.metric)
        level = 1 - (1 - LEVEL) / max(len(self.seeds) - 1, 1)
        asked: list[Trial] = []
        for i, seed in enumerate(self.seeds):
            asked += (self.trial(config, seed) for config in running)
            known = [rows[trial.trial_id] for trial in asked if trial.trial_id in rows]
            if len(known) < len(asked):
                break
            if i:
                running = self._running(running, configurations(known), level)
            if len(running) < 2:
                break
        return asked

    def _running(
        self, running: Sequence[HPConfig], raced: Sequence[Configuration], level: float
    ) -> list[HPConfig]:
        """Those that go on; one or none if nothing is left to find out."""
        from mnist_sweep.analysis.verdicts import compare_with_best, most_lost

        ranked = rank([c for c in raced if c.config in set(running)], self.metric)
        compared = compare_with_best(ranked, self.metric, level)
        left = [c for c in compared if c.verdict in ("best", "tied")]
        if most_lost([c.configuration for c in left], self.metric, level) < self.margin:
            return []
        return [c.configuration.config for c in left]
