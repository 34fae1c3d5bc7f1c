"""Effects without a complete grid: an additive model, as in a random search.

Each hyperparameter in up to four groups of its values, fitted to the configurations' means by least
squares. An effect is what it explains beyond all others; everything that the model does not explain
counts as noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.effects import Importance, Measured, Part
from mnist_sweep.arrays import Floats
from mnist_sweep.config import in_order
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import Metric

#: Groups that a hyperparameter's values are put into.
_GROUPS = 4


def of_scattered(configurations: Sequence[Configuration], metric: Metric, step: float) -> Part:
    """The main effects in ``configurations``, whose ``metric`` is counted in steps of ``step``.

    Raises UserError, which says what is missing, where there are too few.
    """
    levels = varying_values(configurations)
    values = np.array([c.mean(metric) for c in configurations])
    n = len(values)
    for groups in range(_GROUPS, 1, -1):
        columns = {name: indicators(configurations, name, groups) for name in levels}
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
            square, noise = max(without - residual, 0.0) / n, df * error / n
            measured.append(Measured((name,), square, noise, noise, df, df_error))
    seeds = min(len(c.values(metric)) for c in configurations)
    return Part(Importance("scattered", levels, (), None, 0.0, n, seeds), measured, 0.0, error)


def indicators(configurations: Sequence[Configuration], name: str, groups: int) -> Floats:
    """Which group of values of ``name`` each configuration is in, of shape (n, groups).

    Names, and numbers with few values, are groups of their own; others are cut at their quantiles.
    """
    values = [getattr(c.config, name) for c in configurations]
    known = [value for value in values if value is not None]
    if any(isinstance(value, str) for value in known) or len(set(known)) <= groups:
        ordered = sorted(set(known), key=in_order)
        places = [-1 if value is None else ordered.index(value) for value in values]
    else:
        cuts = np.quantile(known, [i / groups for i in range(1, groups)], method="lower")
        places = [-1 if v is None else int(np.searchsorted(cuts, v)) for v in values]
    return np.equal.outer(places, sorted(set(places))).astype(float)


def _fit(columns: Sequence[Floats], values: Floats) -> tuple[float, int]:
    """Least squares on a constant and ``columns``: the residual sum of squares, and the rank."""
    design = np.column_stack([np.ones(len(values)), *columns])
    coefficients, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    return float(((values - design @ coefficients) ** 2).sum()), int(rank)
