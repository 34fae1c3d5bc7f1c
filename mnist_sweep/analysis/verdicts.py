"""What can be told apart: every configuration against the best one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.intervals import LEVEL, holm, paired_t_p_value
from mnist_sweep.metrics import Metric

Verdict = Literal["best", "tied", "worse", "untested"]


@dataclass(frozen=True)
class Comparison:
    """A configuration against the best one, over the seeds that both have.

    ``difference`` is the mean of best minus this, ``p_value`` is adjusted for the number of
    comparisons. ``verdict``: "tied" cannot be told apart from the best, "worse" can; "untested" has
    fewer than two seeds in common with it, or a seed that diverged, so nothing can be said.
    """

    configuration: Configuration
    verdict: Verdict
    difference: float | None = None
    p_value: float | None = None


def compare_with_best(ranked: Sequence[Configuration], metric: Metric) -> list[Comparison]:
    """Compare every configuration of ``ranked`` (best first) with the first of them.

    A two-sided paired t-test over common seeds, corrected by Holm's method for all k (k - 1) / 2
    pairs of the k configurations that could have come first: the best is picked by the same data,
    so that k - 1 comparisons would be too few (Hsu, "Multiple Comparisons", 1996, chapter 4). The
    adjusted p-values are at least those of Holm's method on all pairs, hence the probability of
    any false "worse" is at most 1 - LEVEL. Pass all configurations of the study, not only its
    top: the leader's lead was picked from all of them.

    Tested are logarithms of error rates (or of losses), since seeds scatter these by about the
    same factor at 80 % as at 98 %. Assumes that the differences between two configurations are
    independent over seeds and roughly normal. Two or three seeds can show large differences only.
    """
    if not ranked:
        return []
    best, *others = ranked
    candidates = [c for c in ranked if not c.diverged and c.mean(metric) is not None]
    common = [sorted(best.by_seed(metric).keys() & c.by_seed(metric).keys()) for c in others]
    tested = [
        i
        for i, seeds in enumerate(common)
        if len(seeds) > 1 and not best.diverged and not others[i].diverged
    ]
    family = len(candidates) * (len(candidates) - 1) // 2
    p_values = holm([_p_value(best, others[i], common[i], metric) for i in tested], family)
    adjusted = dict(zip(tested, p_values, strict=True))
    compared = [Comparison(best, "best" if candidates else "untested")]
    for i, (other, seeds) in enumerate(zip(others, common, strict=True)):
        p = adjusted.get(i)
        verdict: Verdict = "untested" if p is None else "tied" if p > 1 - LEVEL else "worse"
        compared.append(Comparison(other, verdict, _lead(best, other, seeds, metric), p))
    return compared


def _lead(
    best: Configuration, other: Configuration, seeds: Sequence[int], metric: Metric
) -> float | None:
    ours, theirs = best.by_seed(metric), other.by_seed(metric)
    return fmean(ours[s] - theirs[s] for s in seeds) if seeds else None


def _p_value(
    best: Configuration, other: Configuration, seeds: Sequence[int], metric: Metric
) -> float:
    overall = (best.mean(metric) or 0.0) - (other.mean(metric) or 0.0)
    if (_lead(best, other, seeds, metric) or 0.0) * overall <= 0:
        # On the common seeds alone the lower-ranked one is not behind: no proof against it.
        return 1.0
    step = 1 / (best.images(metric) or 1_000_000)
    ours, theirs = (_error(c.by_seed(metric), metric, step) for c in (best, other))
    differences = [math.log(ours[s] / theirs[s]) for s in seeds]
    # Each value is rounded to whole images: uniform over a step, relative to the error.
    smallest = min(min(ours[s], theirs[s]) for s in seeds)
    return paired_t_p_value(differences, step / smallest / math.sqrt(6))


def _error(values: Mapping[int, float], metric: Metric, step: float) -> dict[int, float]:
    """Error rates, or losses, by seed; none below half an image, so that there is a logarithm."""
    return {s: max(metric.error(value), step / 2) for s, value in values.items()}
