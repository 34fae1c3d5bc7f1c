"""Which configuration comes first, and by what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mnist_sweep.aliases import meant, suggest
from mnist_sweep.analysis.configurations import Configuration, configurations
from mnist_sweep.config import FIELD_NAMES, HPConfig, in_order
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import CHOICE_METRICS, METRICS, TEST_ACCURACY, VAL_ACCURACY, Metric
from mnist_sweep.trial import TrialResult


def default_metric(results: Iterable[TrialResult], preferred: Metric | None = None) -> Metric:
    """``preferred`` or validation accuracy where any trial has it, else test accuracy."""
    rows = list(results)
    for metric in (preferred, VAL_ACCURACY):
        if metric and any(getattr(row, metric.name) is not None for row in rows):
            return metric
    return TEST_ACCURACY


def check_metric(name: str, results: Iterable[TrialResult]) -> Metric:
    """The metric called ``name``. Raises UserError if it cannot rank ``results``."""
    metric = METRICS.get(meant(name, CHOICE_METRICS) or "")
    if metric is None:
        choices = f"{', '.join(CHOICE_METRICS)}{suggest(name, CHOICE_METRICS)}"
        raise UserError(f"{name}: cannot rank by it; use one of {choices}")
    finished = [result for result in results if result.status == "ok"]
    if finished and all(getattr(result, metric.name) is None for result in finished):
        known = default_metric(finished)
        unsplit = metric.split == "val" and known.split != "val"
        again = "with a validation split" if unsplit else "again with --overwrite"
        raise UserError(
            f"{metric.name}: no trial of these results has it; rank by {known.name} instead, or "
            f"run the sweep {again}"
        )
    return metric


def rank(configurations: Iterable[Configuration], metric: Metric) -> list[Configuration]:
    """Sort ``configurations`` by the mean of ``metric``, best first.

    A configuration with a seed that diverged comes after all without one, however good its other
    seeds are: the mean of the seeds that survived says nothing of the next run, and any number
    put in place of the missing ones would be invented. Then come those without the metric, those
    that only diverged, and those that only failed. A failure (say, out of memory) says nothing of
    the hyperparameters, so it does not lower the rank. Ties are broken by the fields, in order.
    """

    def key(configuration: Configuration) -> tuple[Any, ...]:
        mean, diverged = configuration.mean(metric), configuration.diverged
        without = 2 if configuration.results else 3 if diverged else 4
        tier = without if mean is None else min(diverged, 1)
        fields = [in_order(getattr(configuration.config, name)) for name in FIELD_NAMES]
        return tier, -metric.sign * (mean or 0.0), fields, configuration.dataset.label

    return sorted(configurations, key=key)


def measured(results: Sequence[TrialResult], metric: Metric) -> list[Configuration]:
    """The configurations of ``results`` that have the metric, best first."""
    return [c for c in rank(configurations(results), metric) if c.values(metric)]


def best_configs(results: Sequence[TrialResult], n: int, metric: Metric) -> list[HPConfig]:
    """The ``n`` best configurations (seed 0, no two equal), best first; fewer if there are fewer.

    Raises UserError if ``metric`` may not choose or if no trial has it.
    """
    check_metric(metric.name, results)
    return [*dict.fromkeys(c.config for c in measured(results, metric))][:n]
