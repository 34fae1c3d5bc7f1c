"""Importance: how much of the variance of a metric each hyperparameter, and each pair, explains.

**What is estimated.** On a complete grid the mean over seeds, f, is a function of the grid's
hyperparameters, each uniform over its values. The functional ANOVA writes f as a constant, a main
effect of every hyperparameter, an interaction of every pair, and so on; these are orthogonal, so
their variances V_u add up to that of f (Hutter, Hoos and Leyton-Brown, "An efficient approach for
assessing hyperparameter importance", 2014; there from a model of f, here from the grid itself). A
single trial has the variance of the seeds on top. The share of an effect is V_u over the variance
of a single trial, so the shares of all effects and of the seeds are 1 together: Hays' omega squared
("Statistics", 1963).

**How the seeds' noise is taken out.** An effect computed from means over S seeds has noise of its
own, and its mean square is too large by that noise: with noise alone every hyperparameter would
explain something. Each seed is a replicate of the whole grid, so each effect is computed from every
seed by itself; its variance over the seeds, divided by S, is subtracted from its mean square. This
needs no assumption on how the noise differs from configuration to configuration, nor on how the
configurations of one seed, which share weights or batches, depend on each other. With one seed the
interactions of three or more hyperparameters (of two, on a grid of two) are taken for noise.

**How sure.** An effect is tested by F = mean square / noise with the degrees of freedom of Box
(1954) as Geisser and Greenhouse (1958) estimate them: the seeds are the subjects of a
repeated-measures design. One error pooled over all configurations would find more, but too much:
where two levels differ in their noise, or seeds shift a level as a whole, it calls 10 to 50 % of
inert hyperparameters real. The p-values are corrected by Holm's method over all effects of a study.
The interval of a share is Scheffé's (1953): effect and noise are vectors, so the length of the true
effect differs from that of the measured one by at most the length of the noise, whose 95 % quantile
F gives. It holds for one effect at a time and treats the variance of the rest as known. Both assume
that seeds are independent and their noise roughly normal.

**Where there is no complete grid** (a random search, a run with most of it missing), only main
effects are given: an additive model of each hyperparameter in up to four groups of its values,
fitted to the configurations' means by least squares. An effect is what it explains beyond all
others; everything that the model does not explain counts as noise.

Shares are of the metric as it is. A hyperparameter that can ruin the accuracy leaves little to one
that matters among good configurations only: for that, look at a grid of good ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.grids import CompleteGrid, complete_grids
from mnist_sweep.analysis.intervals import LEVEL, f_quantile, f_upper_p, holm
from mnist_sweep.errors import UserError
from mnist_sweep.labels import parameter_name
from mnist_sweep.metrics import Metric

Floats: TypeAlias = NDArray[np.float64]
Verdict = Literal["real", "unclear", "none"]

#: A share of the variance that makes no difference: the limit of what may hide in the noise.
NEGLIGIBLE = 0.05
#: Groups that a hyperparameter's values are put into where there is no grid.
_GROUPS = 4


@dataclass(frozen=True)
class Effect:
    """A main effect (one of ``fields``) or an interaction (two of them).

    ``share`` of the variance of a single trial, 0 .. 1, with its interval ``low`` .. ``high``;
    ``p_value`` is adjusted for the number of effects in the study. ``verdict``: "real" is certain
    after that adjustment; "none" makes no difference beyond noise, and at most ``NEGLIGIBLE`` may
    hide there; "unclear" is neither, and more seeds would settle it.
    """

    fields: tuple[str, ...]
    share: float
    low: float
    high: float
    p_value: float
    verdict: Verdict

    def __str__(self) -> str:
        """A sentence: "activation makes no difference beyond noise (at most 0.4 %)"."""
        name = " x ".join(parameter_name(name) for name in self.fields)
        if self.verdict == "none":
            return f"{name} makes no difference beyond noise (at most {percent(self.high)})"
        explains = "explains" if self.verdict == "real" else "is not clear of noise: it may explain"
        return f"{name} {explains} {self.interval_text} of the variance"

    @property
    def interval_text(self) -> str:
        """The interval for people: "0.9 to 32 %"."""
        return f"{percent(self.low).removesuffix(' %')} to {percent(self.high)}"


def percent(share: float) -> str:
    """A share of the variance for people: "42 %", "4.2 %", "0.02 %"."""
    digits = 0 if share >= 0.0995 or share == 0 else 1 if share >= 0.000995 else 2
    return f"{100 * share:.{digits}f} %"


@dataclass(frozen=True)
class Importance:
    """The effects in one complete grid, or in all ``configurations`` where there is no grid.

    ``effects``, largest share first, are of ``levels``' hyperparameters and their pairs (with one
    seed and two hyperparameters: of the first only), or "scattered" of single ones. ``higher`` is
    the share of all interactions of three or more, None where it is part of ``noise``, the share of
    everything else: of the seeds. ``configurations`` and ``seeds`` count what went in; ``fixed``
    has the values of the hyperparameters that vary elsewhere in the study.
    """

    kind: Literal["grid", "scattered"]
    levels: Mapping[str, tuple[Any, ...]]
    effects: tuple[Effect, ...]
    higher: float | None
    noise: float
    configurations: int
    seeds: int
    fixed: Mapping[str, Any] = field(default_factory=dict)


def importance(configurations: Sequence[Configuration], metric: Metric) -> list[Importance]:
    """The importance of the hyperparameters that vary in ``configurations``, as described above.

    ``configurations`` are those of one study: one model on one data set. One entry for each of
    ``complete_grids``, largest first, where these hold at least half of the configurations that
    have the metric, else one "scattered" entry. Diverged configurations have no accuracy and are
    left out. Raises UserError, which says what is missing, where nothing can be estimated.
    """
    usable = [c for c in configurations if c.values(metric)]
    if not varying_values(usable):
        raise UserError("needs two values of a hyperparameter")
    step = 1 / (usable[0].images(metric) or 1_000_000)
    grids = complete_grids(usable, metric)
    if 2 * sum(grid.size for grid in grids) >= len(usable):
        # With one seed, a grid of one hyperparameter has nothing to take for noise.
        parts = [_of_grid(g, step) for g in grids if len(g.seeds) > 1 or len(g.levels) > 1]
        if not parts:
            raise UserError("needs two seeds: one cannot tell an effect from noise")
    else:
        parts = [_of_scattered(usable, metric, step)]
    return _finished(parts)


@dataclass(frozen=True)
class _Measured:
    """An effect's mean square, the part of it that is expected of noise, and F's freedom."""

    fields: tuple[str, ...]
    mean_square: float
    noise: float
    df: float
    df_error: float

    @property
    def variance(self) -> float:
        return max(self.mean_square - self.noise, 0.0)

    @property
    def p_value(self) -> float:
        return f_upper_p(self.mean_square / self.noise, self.df, self.df_error)

    def bounds(self) -> tuple[float, float]:
        """Scheffé's interval of the variance."""
        quantile = f_quantile(LEVEL, round(self.df, 3), round(self.df_error, 3))
        reach, size = math.sqrt(quantile * self.noise), math.sqrt(self.mean_square)
        return max(size - reach, 0.0) ** 2, (size + reach) ** 2


@dataclass(frozen=True)
class _Part:
    """An Importance whose effects are not compared yet; ``higher`` and ``noise`` are variances."""

    frame: Importance
    measured: list[_Measured]
    higher: float
    noise: float


def _finished(parts: Sequence[_Part]) -> list[Importance]:
    raw = [m.p_value for part in parts for m in part.measured]
    adjusted = iter(holm(raw, len(raw)))
    finished = []
    for part in parts:
        total = sum(m.variance for m in part.measured) + part.higher + part.noise
        effects = [_effect(m, total, next(adjusted)) for m in part.measured]
        effects.sort(key=lambda e: (-e.share, len(e.fields)))
        higher = None if part.frame.higher is None else part.higher / total
        noise = part.noise / total
        finished.append(replace(part.frame, effects=tuple(effects), higher=higher, noise=noise))
    return finished


def _effect(measured: _Measured, total: float, p_value: float) -> Effect:
    rest = total - measured.variance

    def share(variance: float) -> float:
        return variance / (variance + rest) if variance > 0 else 0.0

    low, high = (share(bound) for bound in measured.bounds())
    negligible = low == 0 and high <= NEGLIGIBLE
    verdict: Verdict = "real" if p_value <= 1 - LEVEL else "none" if negligible else "unclear"
    return Effect(measured.fields, share(measured.variance), low, high, p_value, verdict)


def _of_grid(grid: CompleteGrid, step: float) -> _Part:
    names, seeds = tuple(grid.levels), len(grid.seeds)
    # With one seed the highest interactions stand for the noise.
    order = min(2, len(names) if seeds > 1 else len(names) - 1)
    components = {
        axes: _component(grid.values, axes)
        for size in range(1, order + 1)
        for axes in combinations(range(len(names)), size)
    }
    freedom = {axes: math.prod(len(grid.levels[names[a]]) - 1 for a in axes) for axes in components}
    centred = grid.values - grid.values.mean(axis=tuple(range(1, grid.values.ndim)), keepdims=True)
    remaining = centred - sum(components.values())
    df_remaining = grid.size - 1 - sum(freedom.values())
    # The values are counted in images: that alone is noise, seen or not.
    least = step**2 / 12
    higher = 0.0
    if seeds > 1:
        noise = max(float(grid.values.var(axis=0, ddof=1).mean()), least)
        of_mean, error = _mean_square_and_noise(remaining)
        higher = max(of_mean - error, 0.0)
    else:
        noise = max(float((remaining**2).sum()) / df_remaining, least)
    measured = []
    for axes, component in components.items():
        df = freedom[axes]
        floor = least * df / grid.size
        if seeds > 1:
            of_mean, error = _mean_square_and_noise(component)
            epsilon = _sphericity(component, df)
            freedoms = epsilon * df, epsilon * df * (seeds - 1)
            floor /= seeds
        else:
            of_mean, error = float((component**2).mean()), noise * df / grid.size
            freedoms = df, df_remaining
        fields = tuple(names[a] for a in axes)
        measured.append(_Measured(fields, of_mean, max(error, floor), *freedoms))
    has_higher = seeds > 1 and len(names) > 2
    frame = Importance(
        "grid", grid.levels, (), 0.0 if has_higher else None, 0.0, grid.size, seeds, grid.fixed
    )
    return _Part(frame, measured, higher if has_higher else 0.0, noise)


def _component(values: Floats, axes: tuple[int, ...]) -> Floats:
    """The functional ANOVA's component of the hyperparameters ``axes``, for every seed.

    ``values`` (seeds, n1, ..., nd) to an array of as many axes, of size 1 in all but seeds and
    ``axes``: means over the others, by inclusion and exclusion.
    """
    dimensions = range(values.ndim - 1)
    component = np.zeros(())
    for size in range(len(axes) + 1):
        for kept in combinations(axes, size):
            averaged = tuple(1 + d for d in dimensions if d not in kept)
            sign = (-1) ** (len(axes) - size)
            component = component + sign * values.mean(axis=averaged, keepdims=True)
    return component


def _mean_square_and_noise(component: Floats) -> tuple[float, float]:
    """Of a component (seeds, ...): the mean square of its mean, and its noise's share of that."""
    noise = component.var(axis=0, ddof=1).mean() / len(component)
    return float((component.mean(axis=0) ** 2).mean()), float(noise)


def _sphericity(component: Floats, df: int) -> float:
    """Greenhouse and Geisser's epsilon, 1 / ``df`` .. 1, of a component (seeds, ...)."""
    deviations = (component - component.mean(axis=0)).reshape(len(component), -1)
    # The products of the seeds' deviations have the same trace and norm as their covariance.
    products = deviations @ deviations.T
    norm = float((products**2).sum())
    return min(max(float(np.trace(products)) ** 2 / (df * norm), 1 / df), 1.0) if norm else 1 / df


def _of_scattered(configurations: Sequence[Configuration], metric: Metric, step: float) -> _Part:
    levels = varying_values(configurations)
    values = np.array([c.mean(metric) for c in configurations])
    n = len(values)
    for groups in range(_GROUPS, 1, -1):
        columns = {name: _indicators(configurations, name, groups) for name in levels}
        residual, rank = _fit([*columns.values()], values)
        if n >= 2 * rank:
            break
    else:
        raise UserError(
            f"needs a complete grid, or {2 * rank} configurations instead of {n} outside of one"
        )
    df_error = n - rank
    error = max(residual / df_error, step**2 / 12)
    measured = []
    for name in levels:
        without, rank_without = _fit([c for other, c in columns.items() if other != name], values)
        df = rank - rank_without
        if df:
            square = max(without - residual, 0.0) / n
            measured.append(_Measured((name,), square, df * error / n, df, df_error))
    seeds = min(len(c.values(metric)) for c in configurations)
    return _Part(Importance("scattered", levels, (), None, 0.0, n, seeds), measured, 0.0, error)


def _indicators(configurations: Sequence[Configuration], name: str, groups: int) -> Floats:
    """Which group of values of ``name`` each configuration is in, of shape (n, groups).

    Names, and numbers with few values, are groups of their own; others are cut at their quantiles.
    """
    values = [getattr(c.config, name) for c in configurations]
    known = [value for value in values if value is not None]
    if isinstance(known[0], str) or len(set(known)) <= groups:
        places = [-1 if value is None else sorted(set(known)).index(value) for value in values]
    else:
        cuts = np.quantile(known, [i / groups for i in range(1, groups)], method="lower")
        places = [-1 if v is None else int(np.searchsorted(cuts, v)) for v in values]
    return np.equal.outer(places, sorted(set(places))).astype(float)


def _fit(columns: Sequence[Floats], values: Floats) -> tuple[float, int]:
    """Least squares on a constant and ``columns``: the residual sum of squares, and the rank."""
    design = np.column_stack([np.ones(len(values)), *columns])
    coefficients, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ coefficients) ** 2).sum()), int(rank)
