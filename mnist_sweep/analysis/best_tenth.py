"""What gets a configuration into the best tenth: another question than what moves the metric most.

A hyperparameter matters for it as far as its values among the best tenth differ from those among
all (PED-ANOVA: Watanabe, Bansal and Hutter, "Efficient hyperparameter importance assessment via
Pearson divergence estimation", 2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnist_sweep.analysis.additive import indicators
from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.ranking import rank
from mnist_sweep.config import in_order
from mnist_sweep.metrics import Metric

#: Fewer configurations than this have a best tenth of hardly any.
_LEAST = 40


@dataclass(frozen=True)
class Entrance:
    """A hyperparameter's ``share`` in getting into the best tenth; all of them add up to 1.

    Of the best tenth, ``among_best`` have the value, or one of the group of values, ``usual``, that
    is over-represented most; of all ``among_all``. Fractions, all of them.
    """

    name: str
    share: float
    usual: tuple[int | float | str, ...]
    among_best: float
    among_all: float


def best_tenth(configurations: Sequence[Configuration], metric: Metric) -> list[Entrance]:
    """The hyperparameters that get a configuration into the best tenth, the largest share first.

    The Pearson divergence of each, less what as many drawn at random are expected to have. Numbers
    with many values are taken in four groups. Empty for fewer than 40 configurations, and where
    nothing differs beyond chance.
    """
    ranked = rank([c for c in configurations if c.values(metric)], metric)
    n, best = len(ranked), math.ceil(len(ranked) / 10)
    if n < _LEAST:
        return []
    found = []
    for name in varying_values(ranked):
        columns = indicators(ranked, name, 4)
        of_all, of_best = columns.mean(axis=0), columns[:best].mean(axis=0)
        divergence = float((of_all * (of_best / of_all - 1) ** 2).sum())
        by_chance = (columns.shape[1] - 1) / best * (n - best) / (n - 1)
        group = int((of_best / of_all).argmax())
        having = [c for c, has in zip(ranked, columns[:, group], strict=True) if has]
        usual = tuple(sorted({getattr(c.config, name) for c in having} - {None}, key=in_order))
        shares = float(of_best[group]), float(of_all[group])
        found.append(Entrance(name, max(divergence - by_chance, 0.0), usual, *shares))
    total = sum(entrance.share for entrance in found)
    scaled = [replace(e, share=e.share / total) for e in found if e.share > 0]
    return sorted(scaled, key=lambda entrance: -entrance.share)
