"""The same configurations measured twice, in two results files say, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.intervals import LEVEL, Interval, t_interval, t_quantile
from mnist_sweep.metrics import Metric


@dataclass(frozen=True)
class Pair:
    """A configuration in two sets of results: ``first``, ``second``, and the second less the first.

    ``difference`` is of means of the metric, in its unit: over the ``common`` seeds if they are two
    or more, else over all. None where a seed diverged, as what is left does not compare, or where
    one has no value. ``interval`` is its 95 % interval: Student's t over the common seeds, else
    over two samples of two seeds or more each; None where seeds are fewer.
    """

    first: Configuration
    second: Configuration
    common: int
    difference: float | None = None
    interval: Interval | None = None


def pairs(
    first: Iterable[Configuration], second: Iterable[Configuration], metric: Metric
) -> list[Pair]:
    """The configurations that are in both, all fields but the seed and the data set alike.

    Intervals are not corrected for their number: 1 in 20 leaves out 0 where nothing differs.
    """
    others = {(c.config, c.dataset): c for c in second}
    shared = ((c, others.get((c.config, c.dataset))) for c in first)
    return [_pair(c, other, metric) for c, other in shared if other]


def _pair(first: Configuration, second: Configuration, metric: Metric) -> Pair:
    sides = ours, theirs = first.by_seed(metric), second.by_seed(metric)
    common = ours.keys() & theirs.keys()
    if first.diverged or second.diverged or not all(sides):
        return Pair(first, second, len(common))
    # Values are rounded to whole images: uniform over a step.
    rounding = 1 / (first.images(metric) or math.inf) / math.sqrt(12)
    if len(common) > 1:
        interval = t_interval([theirs[s] - ours[s] for s in common], rounding * math.sqrt(2))
        return Pair(first, second, len(common), interval.mean, interval)
    mean, fewest = fmean(theirs.values()) - fmean(ours.values()), min(map(len, sides))
    if fewest == 1:
        return Pair(first, second, len(common), mean)
    # Of unequal variances; with the fewer degrees of freedom never too narrow (Scheffé, 1970).
    errors = [max(stdev(side.values()), rounding) / math.sqrt(len(side)) for side in sides]
    half = t_quantile(LEVEL, fewest - 1) * math.hypot(*errors)
    interval = Interval(mean, mean - half, mean + half, "t over seeds")
    return Pair(first, second, len(common), mean, interval)
