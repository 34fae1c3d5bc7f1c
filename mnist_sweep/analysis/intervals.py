"""Intervals and tests: Student's t over seeds, Wilson over images, F of effects, Holm over all.

Written out here because SciPy would be a heavy dependency for four functions; the tests hold them
against it. Degrees of freedom need not be whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from statistics import NormalDist, fmean, stdev
from typing import Literal

IntervalKind = Literal["t over seeds", "binomial over images"]
#: The confidence of every interval and test here.
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with a two-sided 95 % interval, in the metric's own unit (a fraction for accuracies).

    "t over seeds" and "binomial over images" answer different questions: how the mean would move
    with other seeds on the same images, and how one trained model's accuracy with other images.
    """

    mean: float
    low: float
    high: float
    kind: IntervalKind

    @property
    def half_width(self) -> float:
        """How far the interval goes on its longer side: mean ± this contains it.

        Wilson's interval, and one cut at a bound, are not centred on the mean.
        """
        return max(self.high - self.mean, self.mean - self.low)


def t_interval(values: Sequence[float], least_spread: float = 0.0) -> Interval:
    """Student's t interval of the mean of at least two ``values`` (Student, 1908).

    Assumes independent draws of one, roughly normal, distribution. ``least_spread`` is a floor for
    their standard deviation: values counted in steps can be equal without being free of noise.
    """
    spread = max(stdev(values), least_spread)
    half = t_quantile(LEVEL, len(values) - 1) * spread / math.sqrt(len(values))
    mean = fmean(values)
    return Interval(mean, mean - half, mean + half, "t over seeds")


def wilson_interval(proportion: float, n: int) -> Interval:
    """Wilson's score interval of a ``proportion`` of ``n`` images (Wilson, 1927).

    Assumes that the images are independent draws and that the model was not chosen on them.
    """
    z2 = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    centre = (proportion + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (proportion * (1 - proportion) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return Interval(proportion, centre - half, centre + half, "binomial over images")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    stepped = (min(1.0, (len(order) - rank) * p_values[i]) for rank, i in enumerate(order))
    adjusted = dict(zip(order, accumulate(stepped, max), strict=True))
    return [adjusted[i] for i in range(len(order))]


def t_upper_p(t: float, df: float) -> float:
    """P(T >= ``t``) for Student's t."""
    half = f_upper_p(t * t, 1, df) / 2
    return half if t > 0 else 1 - half


def f_upper_p(f: float, df: float, df_error: float) -> float:
    """P(F >= ``f``) for Fisher's F (Abramowitz and Stegun, 1964, 26.6.2)."""
    return _regularised_beta(df_error / 2, df / 2, df_error / (df_error + df * f))


@cache
def t_quantile(level: float, df: float) -> float:
    """The t for which P(\\|T\\| < t) = ``level``, 0 < level < 1."""
    return _root(lambda t: f_upper_p(t * t, 1, df), 1 - level)


@cache
def f_quantile(level: float, df: float, df_error: float) -> float:
    """The f for which P(F < f) = ``level``, 0 < level < 1."""
    return _root(lambda f: f_upper_p(f, df, df_error), 1 - level)


def _root(tail: Callable[[float], float], p: float) -> float:
    """The x > 0 with ``tail(x)`` = ``p``, for a ``tail`` that falls from 1, by bisection."""
    low, high = 0.0, 1.0
    while tail(high) > p:
        high *= 2
    while (middle := (low + high) / 2) not in (low, high):
        if tail(middle) > p:
            low = middle
        else:
            high = middle
    return high


def _regularised_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), by its continued fraction on the side where that converges fast."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _regularised_beta(b, a, 1 - x)
    log_factor = (
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return math.exp(log_factor) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of DLMF 8.17.22, evaluated by Lentz's method.

    Returns 1 + d1/(1 + d2/(1 + ...)), the denominator in I_x(a, b) = x^a (1-x)^b / (a B(a, b) f).
    """
    tiny, value, c, d = 1e-300, 1.0, 1.0, 0.0
    for k in range(1, 1000):
        m = k // 2
        if k % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 / (1 + term * d or tiny)
        c = 1 + term / c or tiny
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def digamma(x: float) -> float:
    """The derivative of log gamma, x > 0: Abramowitz and Stegun (1964), 6.3.5 and 6.3.18."""
    if x < 10:
        return digamma(x + 1) - 1 / x
    y = 1 / x**2
    return math.log(x) - 1 / (2 * x) - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y / 240)))


def trigamma(x: float) -> float:
    """The derivative of digamma, x > 0: Abramowitz and Stegun (1964), 6.4.6 and 6.4.12."""
    if x < 10:
        return trigamma(x + 1) + 1 / x**2
    y = 1 / x**2
    return 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y / 30)))


def trigamma_inverse(y: float) -> float:
    """The x > 0 at which trigamma is ``y`` > 0."""
    return _root(trigamma, y)
