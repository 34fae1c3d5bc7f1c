"""Expected best: how good the best of so many trials is, had they been run in random order.

A search is judged by what it finds with a given number of trials, not by its luckiest one (Dodge,
Gururangan, Card, Schwartz and Smith, "Show your work", 2019). Their estimate draws trials with
replacement and is too low; this is the unbiased one of Tang, Lee, Xin, Liu, Yu and Lin, "Showing
your work doesn't always work" (2020): the mean over all subsets of the trials that were run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mnist_sweep.arrays import Floats
from mnist_sweep.metrics import TEST_ACCURACY, Metric
from mnist_sweep.trial import TrialResult


@dataclass(frozen=True)
class ExpectedBest:
    """After ``trials`` (from 1 up) in random order, the best one's metric.

    ``mean`` is its expectation; ``worse`` and ``better`` hold it in the middle 80 % of all orders:
    that is the luck of the order, not the uncertainty of ``mean``. ``test_accuracy`` is what that
    trial is expected to have; empty if not all trials have one.
    """

    trials: list[int]
    mean: list[float]
    worse: list[float]
    better: list[float]
    test_accuracy: list[float]


def searched(results: Iterable[TrialResult], metric: Metric) -> tuple[list[TrialResult], int]:
    """The trials that found something, and how many diverged; the failed are neither."""
    rows = list(results)
    fruitful = [row for row in rows if row.status == "ok" and getattr(row, metric.name) is not None]
    return fruitful, sum(row.status == "diverged" for row in rows)


def expected_best(
    results: Iterable[TrialResult], metric: Metric, counts: Sequence[int] | None = None
) -> ExpectedBest:
    """The best by ``metric`` after each of ``counts`` trials; by default 1 up to all of them.

    Every trial counts, whatever its seed: a lucky seed is part of what a search finds. A diverged
    trial costs one and finds nothing; expectations are given that something was found. Failed
    trials are as if they had not been run. At least one trial has the metric.
    """
    fruitful, nothing = searched(results, metric)
    n = len(fruitful) + nothing
    wanted = range(1, n + 1) if counts is None else counts
    values = np.array([getattr(row, metric.name) for row in fruitful])
    tests = np.array([math.nan if (t := row.test_accuracy) is None else t for row in fruitful])
    worst_first = np.argsort(metric.sign * values)
    values, tests = values[worst_first], tests[worst_first]
    # Of trials that are equal by the metric, chance decides which is taken.
    _, ties, sizes = np.unique(values, return_inverse=True, return_counts=True)
    tests = (np.bincount(ties, tests) / sizes)[ties]
    has_test = metric != TEST_ACCURACY and not np.isnan(tests).any()
    best = ExpectedBest(list(wanted), [], [], [], [])
    for count in wanted:
        # Where nothing was found at all, there is no best.
        weights = _chances(n, count)[nothing:]
        weights = weights / weights.sum()
        places = np.searchsorted(np.cumsum(weights), (0.1, 0.9)).clip(max=len(values) - 1)
        best.mean.append(float(weights @ values))
        best.worse.append(float(values[places[0]]))
        best.better.append(float(values[places[1]]))
        if has_test:
            best.test_accuracy.append(float(weights @ tests))
    return best


def _chances(n: int, count: int) -> Floats:
    """The chance of each of ``n`` trials, worst first, to be the best of ``count`` random ones.

    C(i - 1, count - 1) / C(n, count) for the i-th, by logarithms of factorials.
    """
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    i = np.arange(count, n + 1)
    subsets = log_factorial[n] - log_factorial[count] - log_factorial[n - count]
    with_best = log_factorial[i - 1] - log_factorial[count - 1] - log_factorial[i - count]
    return np.concatenate([np.zeros(count - 1), np.exp(with_best - subsets)])
