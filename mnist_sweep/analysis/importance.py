"""Importance: how much of the variance of a metric each hyperparameter, and each pair, explains.

On a complete grid by the functional ANOVA (``anova``); where there is none (a random search, a run
with most of it missing) only main effects, by an additive model (``additive``). The p-values are
corrected by Holm's method over all effects of a study.

Shares are of the metric as it is. A hyperparameter that can ruin the accuracy leaves little to one
that matters among good configurations only: that is what ``best_tenth`` is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mnist_sweep.analysis.additive import of_scattered
from mnist_sweep.analysis.anova import of_grid, with_carrier
from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.effects import NEGLIGIBLE, Effect, Importance, Measured, Part, Verdict
from mnist_sweep.analysis.grids import complete_grids
from mnist_sweep.analysis.intervals import LEVEL, f_quantile, holm
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import Metric


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
    step = usable[0].step(metric)
    grids = complete_grids(usable, metric)
    if 2 * sum(grid.size for grid in grids) >= len(usable):
        # With one seed, a grid of one hyperparameter has nothing to take for noise.
        usable_grids = [g for g in grids if len(g.seeds) > 1 or len(g.levels) > 1]
        parts = [with_carrier(of_grid(grid, step), grid, step) for grid in usable_grids]
        if not parts:
            raise UserError("needs two seeds: one cannot tell an effect from noise")
    else:
        parts = [of_scattered(usable, metric, step)]
    return _finished(parts)


def _finished(parts: Sequence[Part]) -> list[Importance]:
    adjusted = iter(holm([m.p_value for part in parts for m in part.measured]))
    finished = []
    for part in parts:
        total = part.total
        effects = [_effect(m, total, next(adjusted)) for m in part.measured]
        effects.sort(key=lambda e: (-e.share, len(e.fields)))
        higher = None if part.frame.higher is None else part.higher / total
        noise = part.noise / total
        finished.append(replace(part.frame, effects=tuple(effects), higher=higher, noise=noise))
    return finished


def _effect(measured: Measured, total: float, p_value: float) -> Effect:
    rest = total - measured.variance

    def share(variance: float) -> float:
        return variance / (variance + rest) if variance > 0 else 0.0

    # Scheffé's interval of the variance.
    quantile = f_quantile(LEVEL, round(measured.df, 3), round(measured.df_error, 3))
    reach, size = math.sqrt(quantile * measured.tested), math.sqrt(measured.mean_square)
    low, high = share(max(size - reach, 0.0) ** 2), share((size + reach) ** 2)
    negligible = low == 0 and high <= NEGLIGIBLE
    verdict: Verdict = "real" if p_value <= 1 - LEVEL else "none" if negligible else "unclear"
    return Effect(measured.fields, share(measured.variance), low, high, p_value, verdict)
