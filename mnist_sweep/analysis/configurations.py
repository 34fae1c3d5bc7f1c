"""Configurations: trials that are equal but for their seed, with a mean and an interval."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal

from mnist_sweep.analysis.intervals import Interval, t_interval, wilson_interval
from mnist_sweep.config import FIELD_NAMES, FIELDS, HPConfig, fields_with, in_order
from mnist_sweep.metrics import TEST_ACCURACY, VAL_ACCURACY, Metric
from mnist_sweep.trial import DatasetConfig, TrialResult

#: Columns of results.csv: seconds of training, and the number of trained parameters.
Cost = Literal["train_seconds", "parameters"]


@dataclass(frozen=True)
class Configuration:
    """One configuration on one data set, with what came of its seeds.

    ``config`` has seed 0. ``results`` are the trials that finished well, by seed; ``diverged`` and
    ``failed`` count the others.
    """

    config: HPConfig
    dataset: DatasetConfig
    results: tuple[TrialResult, ...]
    diverged: int = 0
    failed: int = 0

    def by_seed(self, metric: Metric) -> dict[int, float]:
        """Seed -> value of ``metric``, for the trials that have one."""
        values = {r.trial.config.seed: getattr(r, metric.name) for r in self.results}
        return {seed: value for seed, value in values.items() if value is not None}

    def values(self, metric: Metric) -> list[float]:
        """The values of ``metric``, by seed."""
        return list(self.by_seed(metric).values())

    def mean(self, metric: Metric) -> float | None:
        """The mean of ``metric`` over the seeds; None where there is no value."""
        values = self.values(metric)
        return fmean(values) if values else None

    def interval(self, metric: Metric) -> Interval | None:
        """Student's t interval over seeds, or Wilson's over images where there is one seed.

        None where there is no value, and for one seed of what is no proportion of unseen images.
        """
        values, images = self.values(metric), self.images(metric)
        if len(values) >= 2:
            # Each value is rounded to whole images: two that are equal are not free of noise.
            uncut = t_interval(values, 1 / images / math.sqrt(12) if images else 0.0)
            # The mean cannot be beyond these ends, so that the confidence stays the same.
            most = 1.0 if metric.is_accuracy else math.inf
            return replace(uncut, low=max(uncut.low, 0.0), high=min(uncut.high, most))
        return wilson_interval(values[0], images) if values and images else None

    def text(self, metric: Metric, unit: bool = True) -> str:
        """The mean of ``metric`` with the reach of its interval: "97.25 ± 0.31 %"."""
        interval = self.interval(metric)
        return metric.text(self.mean(metric), interval.half_width if interval else None, unit)

    def images(self, metric: Metric) -> int | None:
        """How many held-out images ``metric`` is a proportion of; None if of none, or unknown."""
        if metric == VAL_ACCURACY:
            return self.dataset.validation_size or None
        if metric != TEST_ACCURACY:
            return None
        counted = (r.test_images for r in self.results if r.test_images)
        return next(counted, self.dataset.test_images)

    def step(self, metric: Metric) -> float:
        """What values of ``metric`` are counted in: an image, or as good as nothing."""
        return 1 / (self.images(metric) or 1_000_000)

    def cost(self, name: Cost) -> float | None:
        """The mean of a cost over the seeds; None where there is no value."""
        values = [v for r in self.results if (v := getattr(r, name)) is not None]
        return fmean(values) if values else None


def configurations(results: Iterable[TrialResult]) -> list[Configuration]:
    """Group ``results``, one row of each trial, in the order of their first trial."""
    groups: dict[tuple[HPConfig, DatasetConfig], list[TrialResult]] = {}
    for result in results:
        key = replace(result.trial.config, seed=0), result.trial.dataset
        groups.setdefault(key, []).append(result)
    found = []
    for (config, dataset), group in groups.items():
        ok = sorted((r for r in group if r.status == "ok"), key=lambda r: r.trial.config.seed)
        diverged, failed = (sum(r.status == s for r in group) for s in ("diverged", "failed"))
        found.append(Configuration(config, dataset, tuple(ok), diverged, failed))
    return found


def varying_values(configurations: Iterable[Configuration]) -> dict[str, tuple[Any, ...]]:
    """Hyperparameter -> its values, ascending, for each with more than one, in the fields' order.

    A hyperparameter that does not apply (None) has no value, and a depth that differs from its
    default only where the width is one for each layer is left out.
    """
    configs = [configuration.config for configuration in configurations]
    seen = {name: {getattr(c, name) for c in configs} for name in FIELD_NAMES if name != "seed"}
    for name in fields_with("per_layer"):
        counted = FIELDS[name].metadata["per_layer"]
        told = {getattr(c, counted) for c in configs if not isinstance(getattr(c, name), str)}
        if told <= {None, FIELDS[counted].default}:
            del seen[counted]
    ordered = {name: tuple(sorted(values - {None}, key=in_order)) for name, values in seen.items()}
    return {name: values for name, values in ordered.items() if len(values) > 1}
