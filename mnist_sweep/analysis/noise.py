"""How much seeds scatter a configuration: its own few seeds, moderated by those of all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.intervals import digamma, trigamma, trigamma_inverse
from mnist_sweep.arrays import Floats
from mnist_sweep.metrics import Metric

#: Variances further below the median than this factor are those of collapsed configurations, which
#: come out alike whatever the seed; they say nothing about how much others differ in their noise.
_QUIETEST = 100
#: As many times the freedom of a configuration's own seeds the common distribution counts at most,
#: however alike the variances look: of two seeds, a noisy one among dozens is hard to see.
_MOST_PRIOR = 4


@dataclass(frozen=True)
class Noise:
    """The noise of k configurations; the arrays have the shape (k,).

    ``means`` are of the logarithms of errors (or losses) over ``seeds`` seeds, less is better;
    ``variances`` those of one such logarithm, with ``freedom`` degrees of freedom. ``typical`` is
    the variance that is expected of a configuration before its seeds are seen.
    """

    means: Floats
    seeds: Floats
    variances: Floats
    freedom: Floats
    typical: float


def noise(configurations: Sequence[Configuration], metric: Metric) -> Noise | None:
    """The noise of ``configurations``, all of which have ``metric``; None if each has one seed.

    Looked at are logarithms of error rates (or of losses), since seeds scatter these by about the
    same factor at 80 % as at 98 %. Where all configurations of several seeds have the same ones,
    seeds are blocks: what a seed does to all alike is taken out; the mean of the middle half, so
    that one which collapses does not shift the others. Else it counts as noise.

    The variances are taken for draws from a common distribution, whose centre and width all of them
    tell, and each is drawn towards the centre (Smyth, "Linear models and empirical Bayes methods
    for assessing differential expression in microarray experiments", 2004), but never below what
    the own seeds show: a noisy configuration among quiet ones would pass for quiet. One seed alone
    has the typical variance.
    """
    logs = [_log_errors(configuration, metric) for configuration in configurations]
    # What comes from counting whole images is noise, seen or not.
    steps = [configuration.step(metric) for configuration in configurations]
    errors = [math.exp(min(values.values())) for values in logs]
    floor = np.square(np.divide(steps, errors)) / 12
    counts = np.array([len(values) for values in logs], float)
    several = counts > 1
    if not several.any():
        return None
    replicated = [values for values, is_one in zip(logs, several, strict=True) if is_one]
    blocks = len(replicated) > 1 and len({frozenset(values) for values in replicated}) == 1
    if blocks:
        drop, seeds = len(replicated) // 4, [*replicated[0]]
        table = np.array([[values[seed] for seed in seeds] for values in replicated])
        scatter = np.sort(table - table.mean(axis=1, keepdims=True), axis=0)
        middle = scatter[drop : -drop or None].mean(axis=0)
        shifts = dict(zip(seeds, middle.tolist(), strict=True))
        logs = [{s: v - shifts.get(s, 0.0) for s, v in values.items()} for values in logs]
        replicated = [values for values, is_one in zip(logs, several, strict=True) if is_one]
    # The part of the freedom that the blocks leave.
    left = 1 - blocks / len(replicated)
    own = np.array([variance(values.values()) for values in replicated]) / left
    freedom = counts[several] - 1
    own = np.maximum(own, floor[several])
    own = np.maximum(own, np.median(own) / _QUIETEST)
    typical, prior = _prior(own, freedom)
    weight = freedom / (prior + freedom)
    variances = np.maximum(floor, typical)
    variances[several] = np.maximum(own, (1 - weight) * typical + weight * own)
    most = left * freedom.sum()
    means = np.array([fmean(values.values()) for values in logs])
    return Noise(means, counts, variances, np.minimum(prior + counts - 1, most), typical)


def _log_errors(configuration: Configuration, metric: Metric) -> dict[int, float]:
    """By seed; no error rate below half an image, so that there is a logarithm."""
    least = configuration.step(metric) / 2
    values = configuration.by_seed(metric)
    return {seed: math.log(max(metric.error(value), least)) for seed, value in values.items()}


def _prior(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """Centre and degrees of freedom of what ``variances`` are drawn from (Smyth, section 6.2)."""
    halves = [float(f) / 2 for f in freedom]
    logs = np.log(variances) - [digamma(h) - math.log(h) for h in halves]
    width = float(logs.var(ddof=1)) if len(logs) > 1 else 0.0
    width -= fmean(trigamma(h) for h in halves)
    half = trigamma_inverse(width) if width > 0 else math.inf
    most = _MOST_PRIOR * float(freedom.mean())
    if 2 * half > most:
        return float(np.average(variances, weights=freedom)), most
    return math.exp(float(logs.mean()) + digamma(half) - math.log(half)), 2 * half
