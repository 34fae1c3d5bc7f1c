"""Effects in a complete grid: the functional ANOVA, with noise taken out and tested.

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
interactions of three or more hyperparameters (of two, on a grid of two) are taken for the rest.

**How sure.** An effect is tested by F = mean square / noise, with the degrees of freedom of Box
("Some theorems on quadratic forms", 1954), which unequal noise of the configurations lowers. Its
own noise, from a few seeds, is too uncertain to find anything; that pooled over all configurations
calls 15 to 55 % of inert hyperparameters real where seeds shift a level as a whole. So the own is
drawn towards the pooled one, as verdicts draw their variances (Smyth, 2004), but never down. By
scripts/calibrate 1 to 6 % of inert ones are called real then, and 9 % at worst: two seeds that
shift whole levels by far more than they scatter a trial. The interval of a share is Scheffé's
(1953): effect and noise are vectors, so the length of the true effect differs from that of the
measured one by at most the length of the noise, whose 95 % quantile F gives. It holds for one
effect at a time and treats the variance of the rest as known. Both assume that seeds are
independent and their noise roughly normal.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np

from mnist_sweep.analysis.effects import Carrier, Importance, Measured, Part
from mnist_sweep.analysis.grids import CompleteGrid
from mnist_sweep.analysis.intervals import LEVEL
from mnist_sweep.arrays import Floats

#: Degrees of freedom that the pooled noise counts for beside an effect's own. The published sweeps
#: would bear 10; fewer are safer where seeds shift levels.
_PRIOR = 4.0
#: A change of a share that makes the trial behind it worth naming.
_CARRIED = 0.1


def of_grid(grid: CompleteGrid, step: float) -> Part:
    """The main effects and pairs in ``grid``, whose metric is counted in steps of ``step``."""
    names, seeds = tuple(grid.levels), len(grid.seeds)
    components, freedom, remaining = _components(grid)
    df_remaining = grid.size - 1 - sum(freedom.values())
    # The values are counted in images: that alone is noise, seen or not.
    least = step**2 / 12
    higher = 0.0
    if seeds > 1:
        variances = grid.values.var(axis=0, ddof=1) + least
        noise = float(variances.mean())
        # Satterthwaite's: where few configurations make the noise, there is little to pool.
        pooled_freedom = (seeds - 1) * float(variances.sum() ** 2 / (variances**2).sum())
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
            floor /= seeds
            freedom_of_mean = _box(variances, axes, df)
            own = freedom_of_mean * (seeds - 1)
            pooled = noise / seeds * df / grid.size
            tested = max(error, (_PRIOR * pooled + own * error) / (_PRIOR + own))
            freedoms = freedom_of_mean, min(_PRIOR + own, pooled_freedom)
        else:
            of_mean = float((component**2).mean())
            tested = error = noise * df / grid.size
            freedoms = df, df_remaining
        fields = tuple(names[a] for a in axes)
        measured.append(Measured(fields, of_mean, max(error, floor), max(tested, floor), *freedoms))
    has_higher = seeds > 1 and len(names) > 2
    frame = Importance(
        "grid", grid.levels, (), 0.0 if has_higher else None, 0.0, grid.size, seeds, grid.fixed
    )
    return Part(frame, measured, higher if has_higher else 0.0, noise)


def _components(
    grid: CompleteGrid,
) -> tuple[dict[tuple[int, ...], Floats], dict[tuple[int, ...], int], Floats]:
    """The components of main effects and pairs, their degrees of freedom, and what remains."""
    sizes = [len(values) for values in grid.levels.values()]
    # With one seed the highest interactions stand for the noise.
    order = min(2, len(sizes) if len(grid.seeds) > 1 else len(sizes) - 1)
    components = {
        axes: _component(grid.values, axes)
        for size in range(1, order + 1)
        for axes in combinations(range(len(sizes)), size)
    }
    freedom = {axes: math.prod(sizes[a] - 1 for a in axes) for axes in components}
    centred = grid.values - grid.values.mean(axis=tuple(range(1, grid.values.ndim)), keepdims=True)
    return components, freedom, centred - sum(components.values())


def with_carrier(part: Part, grid: CompleteGrid, step: float) -> Part:
    """``part``, naming the trial that is furthest from where the others put it, if that matters.

    The others are the other seeds of its configuration or, with one seed, the model without it.
    """
    seeds = len(grid.seeds)
    if seeds > 1:
        ahead = (grid.values - grid.values.mean(axis=0)) * seeds / (seeds - 1)
    else:
        _, freedom, remaining = _components(grid)
        ahead = remaining / (1 - (1 + sum(freedom.values())) / grid.size)
    place = np.unravel_index(int(np.abs(ahead).argmax()), ahead.shape)
    values = grid.values.copy()
    values[place] -= ahead[place]
    other = of_grid(replace(grid, values=values), step)
    with_it, without = (
        [measured.variance / p.total for measured in p.measured] for p in (part, other)
    )
    clear = [i for i, measured in enumerate(part.measured) if measured.p_value <= 1 - LEVEL]
    i = max(clear, key=lambda i: abs(with_it[i] - without[i]), default=0)
    if not clear or abs(with_it[i] - without[i]) < _CARRIED:
        return part
    at = {name: v[k] for (name, v), k in zip(grid.levels.items(), place[1:], strict=True)}
    trial = grid.seeds[place[0]], float(grid.values[place])
    carrier = Carrier(at, *trial, part.measured[i].fields, with_it[i], without[i])
    return replace(part, frame=replace(part.frame, carrier=carrier))


def _component(values: Floats, axes: tuple[int, ...]) -> Floats:
    """The functional ANOVA's component of the hyperparameters ``axes``, for every seed.

    ``values`` (seeds, n1, ..., nd) to an array of as many axes, of size 1 in all but seeds and
    ``axes``: what is left of their means, the means over the others.
    """
    for axis in range(1, values.ndim):
        mean = values.mean(axis=axis, keepdims=True)
        values = values - mean if axis - 1 in axes else mean
    return values


def _mean_square_and_noise(component: Floats) -> tuple[float, float]:
    """Of a component (seeds, ...): the mean square of its mean, and its noise's share of that."""
    noise = component.var(axis=0, ddof=1).mean() / len(component)
    return float((component.mean(axis=0) ** 2).mean()), float(noise)


def _box(variances: Floats, axes: tuple[int, ...], df: int) -> float:
    """Box's degrees of freedom, 1 .. ``df``, of an effect where cells have these ``variances``.

    With the projection P on the effect's component and the diagonal V of the variances:
    tr(PV)^2 / tr(PVPV).
    """
    spread = variances
    for axis, n in enumerate(variances.shape):
        # P is a Kronecker product of a factor for each axis; here are the squares of its entries.
        square = np.full((n, n), 1 / n**2)
        if axis in axes:
            np.fill_diagonal(square, (1 - 1 / n) ** 2)
        spread = np.moveaxis(np.tensordot(square, spread, (1, axis)), 0, axis)
    trace = float(variances.mean()) * df
    return min(max(trace**2 / float((variances * spread).sum()), 1.0), float(df))
