"""Accuracy against steps, and the generalisation gap, as means over a configuration's seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.intervals import t_interval
from mnist_sweep.metrics import METRICS, TEST_ACCURACY

CURVES = ("train_accuracy", "val_accuracy", "test_accuracy")


@dataclass(frozen=True)
class MeanCurve:
    """``steps`` at which every seed was evaluated, and accuracies (fractions) at them.

    ``means`` and ``seeds`` (one sequence per seed) are keyed by CURVES' names and leave out what
    was not measured.
    """

    steps: Sequence[int]
    means: Mapping[str, Sequence[float]]
    seeds: Mapping[str, Sequence[Sequence[float]]]


def mean_curve(configuration: Configuration) -> MeanCurve | None:
    """The curves of ``configuration``; None where fewer than two steps are common to its seeds.

    Seeds without a curve (say, from a file whose curves were lost) are left out.
    """
    curves = [{p.step: p for p in result.curve} for result in configuration.results if result.curve]
    if not curves:
        return None
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    if len(steps) < 2:
        return None
    seeds: dict[str, list[list[float]]] = {}
    for name in CURVES:
        values = [[getattr(curve[step], name) for step in steps] for curve in curves]
        if all(value is not None for row in values for value in row):
            seeds[name] = values
    means = {
        name: [fmean(column) for column in zip(*rows, strict=True)] for name, rows in seeds.items()
    }
    return MeanCurve(steps, means, seeds)


def generalisation_gap(configuration: Configuration) -> tuple[float, float, float | None] | None:
    """Training and test accuracy at the end, as fractions, and the reach of their difference.

    Means over the seeds that have both; the reach is half of Student's 95 % interval, None with one
    seed. A large gap is overfitting; about 0 where the accuracy itself is low is underfitting. None
    where no seed has both. The training accuracy is that of the trained model on images as they
    are: the curve's is a mean over the batches before, of distorted images where there are any.
    """
    train = configuration.by_seed(METRICS["train_accuracy"])
    test = configuration.by_seed(TEST_ACCURACY)
    seeds = [seed for seed in train if seed in test]
    if not seeds:
        return None
    reach = t_interval([train[s] - test[s] for s in seeds]).half_width if len(seeds) > 1 else None
    return fmean(train[s] for s in seeds), fmean(test[s] for s in seeds), reach
