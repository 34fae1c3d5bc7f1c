"""Accuracy or loss against steps, and the generalisation gap, as means over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.intervals import t_interval
from mnist_sweep.metrics import TEST_ACCURACY, Metric


@dataclass(frozen=True)
class MeanCurve:
    """``steps`` at which every seed was evaluated, and one measure of each split at them.

    ``means`` and ``seeds`` (one sequence per seed) are keyed by the splits, training before
    validation before test, and leave out what was not measured.
    """

    steps: Sequence[int]
    means: Mapping[str, Sequence[float]]
    seeds: Mapping[str, Sequence[Sequence[float]]]


def mean_curve(configuration: Configuration, test: Metric = TEST_ACCURACY) -> MeanCurve | None:
    """The curves of ``test`` and of what it is ``on`` the other splits, over seeds with a curve.

    None where fewer than two steps are common to these.
    """
    curves = [{p.step: p for p in result.curve} for result in configuration.results if result.curve]
    if not curves:
        return None
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    if len(steps) < 2:
        return None
    names = {split: test.on(split).name for split in ("train", "val", "test")}
    measured = {
        split: [[getattr(curve[step], name) for step in steps] for curve in curves]
        for split, name in names.items()
    }
    seeds = {s: rows for s, rows in measured.items() if all(None not in row for row in rows)}
    means = {s: [fmean(column) for column in zip(*rows, strict=True)] for s, rows in seeds.items()}
    return MeanCurve(steps, means, seeds)


def generalisation_gap(
    configuration: Configuration, test: Metric = TEST_ACCURACY
) -> tuple[float, float, float | None] | None:
    """The metric ``test`` on the training split and itself, and the reach of their difference.

    Means over the seeds that have both, None where none has; half of Student's 95 % interval, None
    with one seed. The training value is that of the trained model on images as they are: the
    curve's is a mean over the batches before, of distorted images where there are any.
    """
    trained, tested = (configuration.by_seed(metric) for metric in (test.on("train"), test))
    both = [(trained[seed], tested[seed]) for seed in trained if seed in tested]
    if not both:
        return None
    reach = t_interval([a - b for a, b in both]).half_width if len(both) > 1 else None
    return fmean(a for a, _ in both), fmean(b for _, b in both), reach
