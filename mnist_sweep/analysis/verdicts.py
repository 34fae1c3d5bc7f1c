"""Which configurations may be the best, and what would tell them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.intervals import LEVEL, t_quantile, t_upper_p
from mnist_sweep.analysis.noise import Noise, noise
from mnist_sweep.arrays import Floats
from mnist_sweep.metrics import Metric

_NORMAL = NormalDist()
#: Places and weights that integrate over a normal variable.
_NODES = [(u / 4, _NORMAL.pdf(u / 4) / 4) for u in range(-32, 33)]
#: A p-value so small that nobody asks how small.
_SURE = 1e-6

Verdict = Literal["best", "tied", "worse", "untested"]
Kind = Literal["best", "tied", "noisy", "worse", "untested"]

#: The mark of each kind of configuration in tables, and what it says.
MARKS: Mapping[Kind, tuple[str, str]] = {
    "best": ("", "the best"),
    "tied": ("=", "may be the best"),
    "noisy": ("~", "lower, but its own seeds scatter too much to rule it out"),
    "worse": ("", "is not the best"),
    "untested": ("?", "not compared with the best: one seed, or one that diverged"),
}
#: The chance that a difference as large as the one seen is found with the seeds that are advised.
_POWER = 0.8
#: Replicated configurations that it takes to judge one of a single seed by their noise.
_LENDERS = 3
#: Seeds that are worth while if they tell any tie from the best, and those that are at all.
_FEW_SEEDS, MOST_SEEDS = 10, 30


@dataclass(frozen=True)
class Comparison:
    """A configuration, and whether it may be the best one.

    ``verdict``: "best" ranks first, "tied" may be the best as well, "worse" is not the best. Of
    "untested" nothing is known: a seed diverged, or there is one and hardly any other has several.
    ``noisy`` is a tie that is due to its own seeds: with the typical scatter it would be worse.
    ``difference`` is the mean of best minus this. ``p_value`` is the probability that a true best
    falls as far behind, adjusted for the number of rivals. ``seeds`` are what it and the best would
    need to be told apart with a probability of 0.8, if the difference seen is the true one; None if
    not tied, or if its mean log error is not behind.
    """

    configuration: Configuration
    verdict: Verdict
    noisy: bool = False
    difference: float | None = None
    p_value: float | None = None
    seeds: int | None = None

    @property
    def kind(self) -> Kind:
        """The verdict, with the noisy ties apart."""
        return "noisy" if self.noisy else self.verdict


def compare_with_best(
    ranked: Sequence[Configuration], metric: Metric, level: float = LEVEL
) -> list[Comparison]:
    """Which of ``ranked`` (best first, all of a study) may be the best.

    The promise: with a probability of at least ``level`` the truly best configuration is "best" or
    "tied". This is subset selection (Gupta, "On some multiple decision rules", 1965; Hsu, "Multiple
    Comparisons", 1996, chapter 4): a configuration is worse if any of those that rank before it is
    better by a one-sided t-test of mean log errors, corrected for its k - 1 rivals as Dunnett does
    for comparisons that share one mean. ``noise`` says where the variances come from.

    A true best is a mean that no other passes; seeds are taken for independent draws with roughly
    normal log errors. scripts/calibrate simulates what the promise is worth without that: with the
    seeds of real sweeps a true best is lost in 0 to 7 % of studies, 3.5 % on average; the worst
    case found is 9 %, for one with six times the noise of its 28 rivals and two seeds each. A lead
    of one point at 97 % is told with three seeds from 4 in 5 of 7 others, and from half of 28.
    """
    if not ranked:
        return []
    judged = [c for c in ranked if not c.diverged and c.values(metric)]
    replicated = [c for c in judged if len(c.values(metric)) > 1]
    family = judged if len(replicated) >= _LENDERS else replicated
    # A leader of one seed whose noise nobody tells is compared with nobody.
    found = noise(family, metric) if family[:1] == judged[:1] else None
    if found is None:
        first: Verdict = "best" if judged else "untested"
        return [Comparison(c, first if i == 0 else "untested") for i, c in enumerate(ranked)]
    best, *others = family
    p_values = _p_values(found, found.variances)
    typical = _p_values(found, np.minimum(found.variances, found.typical))
    lead = best.mean(metric) or 0.0
    compared = {id(best): Comparison(best, "best")}
    for i, configuration in enumerate(others, 1):
        tied = p_values[i] > 1 - level
        noisy, behind = tied and typical[i] <= 1 - level, lead - (configuration.mean(metric) or 0.0)
        needed = _seeds_needed(found, i) if tied else None
        verdict: Verdict = "tied" if tied else "worse"
        told = Comparison(configuration, verdict, noisy, behind, p_values[i], needed)
        compared[id(configuration)] = told
    return [compared.get(id(c)) or Comparison(c, "untested") for c in ranked]


def _p_values(found: Noise, variances: Floats) -> list[float]:
    """For each whether it is the best, given those before it: small if any is clearly better.

    ``variances`` are its own in these comparisons; as a rival it has those of ``found``.
    """
    of_mean, of_rivals = variances / found.seeds, found.variances / found.seeds
    adjusted = []
    for i, freedom in enumerate(found.freedom):
        spread = np.sqrt(of_mean[i] + of_rivals[:i])
        t, df = (found.means[i] - found.means[:i]) / spread, np.minimum(freedom, found.freedom[:i])
        largest = ((float(t[df == f].max()), float(f)) for f in np.unique(df))
        p = min((t_upper_p(*pair) for pair in largest), default=1.0)
        # What comparisons share: this one's mean. No more is counted on than of equal noise, since
        # one that seems noisy may be so by chance.
        shared = min(float((of_mean[i] / (of_mean[i] + of_rivals)).mean()), 0.5)
        adjusted.append(_adjusted(p, len(found.means) - 1, shared))
    return adjusted


def _adjusted(p: float, rivals: int, shared: float) -> float:
    """The probability that the smallest of ``rivals`` p-values is ``p`` or less.

    Of normal variables that all have the part ``shared`` of their variance in common (Dunnett and
    Sobel, 1955), or by Sidak's inequality where that is so small that sums would lose it.
    """
    if p >= 1:
        return 1.0
    independent = -math.expm1(rivals * math.log1p(-p))
    if independent < _SURE:
        return independent
    z, common, own = -_NORMAL.inv_cdf(p), math.sqrt(shared), math.sqrt(1 - shared)
    none = math.fsum(weight * _NORMAL.cdf((z + common * u) / own) ** rivals for u, weight in _NODES)
    return min(independent, 1 - none)


def _seeds_needed(found: Noise, i: int) -> int | None:
    """How many seeds the best and the i-th need; None if the one behind seems no worse."""
    difference = float(found.means[i] - found.means[0])
    if difference <= 0:
        return None
    reach = _NORMAL.inv_cdf(LEVEL ** (1 / (len(found.means) - 1))) + _NORMAL.inv_cdf(_POWER)
    spread = float(found.variances[0] + found.variances[i])
    needed = math.ceil(reach**2 * spread / difference**2)
    return max(needed, 1 + int(min(found.seeds[0], found.seeds[i])))


def most_lost(ranked: Sequence[Configuration], metric: Metric, level: float = LEVEL) -> float:
    """How much better than the first of ``ranked`` any other may be, in the metric's own unit.

    An upper bound at ``level``, by the same tests; infinite where their noise is not known.
    """
    found = noise(ranked, metric)
    if found is None:
        return math.inf
    one_sided = level ** (1 / max(len(ranked) - 1, 1))
    lost = 0.0
    for i in range(1, len(ranked)):
        df = float(min(found.freedom[0], found.freedom[i]))
        spread = float(found.variances[0] / found.seeds[0] + found.variances[i] / found.seeds[i])
        least = found.means[i] - t_quantile(2 * one_sided - 1, df) * math.sqrt(spread)
        lost = max(lost, math.exp(found.means[0]) - math.exp(least))
    return lost


@dataclass(frozen=True)
class Advice:
    """``seeds`` of each of the first ``top`` would tell ``told`` of the ties from the best.

    ``trials`` are those of the best and these that are missing.
    """

    seeds: int
    top: int
    told: int
    trials: int


def advice(compared: Sequence[Comparison], metric: Metric) -> Advice | None:
    """The most that a few seeds tell, or the fewest that tell any; None if these are too many."""
    needed = {i: c.seeds for i, c in enumerate(compared) if c.seeds and c.seeds <= MOST_SEEDS}
    if not needed:
        return None
    few = [seeds for seeds in needed.values() if seeds <= _FEW_SEEDS]
    seeds = max(few) if few else min(needed.values())
    told = [i for i, least in needed.items() if least <= seeds]
    had = [len(compared[i].configuration.values(metric)) for i in (0, *told)]
    missing = sum(max(seeds - n, 0) for n in had)
    return Advice(seeds, max(told) + 1, len(told), missing)
