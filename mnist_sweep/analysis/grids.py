"""Complete grids in the results: where every combination of some values was measured alike.

A sweep may be one grid, several small ones around one base, or a grid with holes (excluded, failed
or diverged configurations, or a run that goes on). Statistics that need balance take from it the
largest complete grids that they find here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.metrics import Metric

#: Share of a grid's configurations that must have a seed for it to be one of the grid's seeds.
_COMMON_SEED = 0.8


@dataclass(frozen=True)
class CompleteGrid:
    """Every combination of ``levels``, each measured with the same ``seeds``.

    ``levels`` maps a hyperparameter to its values, ascending; ``fixed`` holds the values of those
    that vary elsewhere in the study. ``values`` has the metric, float64, of shape (seeds, number
    of values of the first hyperparameter, of the second, ...).
    """

    levels: Mapping[str, tuple[Any, ...]]
    fixed: Mapping[str, Any]
    seeds: tuple[int, ...]
    values: NDArray[np.float64]

    @property
    def size(self) -> int:
        """The number of configurations."""
        return math.prod(len(values) for values in self.levels.values())


def complete_grids(configurations: Sequence[Configuration], metric: Metric) -> list[CompleteGrid]:
    """The complete grids that show every hyperparameter and every pair that any of them shows.

    Largest first. One of all hyperparameters with half of the configurations or more stands alone.
    Holes are closed by giving up values, the one with the fewest measurements for its share of the
    grid first; that finds a large complete grid, not always the largest.
    """
    table = _Table([c for c in configurations if c.values(metric)], metric)
    if not table.fields:
        return []
    whole = table.grid(tuple(table.fields))
    if whole and 2 * whole.size >= len(table.configurations):
        return [whole]
    largest_first = sorted(_candidates(table), key=lambda grid: (-grid.size, -len(grid.levels)))
    chosen: list[CompleteGrid] = []
    shown: set[tuple[str, ...]] = set()
    for grid in largest_first:
        shows = {names for order in (1, 2) for names in combinations(grid.levels, order)}
        if not shows <= shown:
            chosen.append(grid)
            shown |= shows
    return chosen


def _candidates(table: _Table) -> list[CompleteGrid]:
    """A grid of every set of hyperparameters that has one.

    Only sets whose parts all have one are tried: a complete grid holds complete grids of its parts.
    """
    grids: list[CompleteGrid] = []
    complete: set[tuple[str, ...]] = {()}
    for size in range(1, len(table.fields) + 1):
        sets = sorted(combinations(table.fields, size))
        wanted = [names for names in sets if complete.issuperset(combinations(names, size - 1))]
        having = [grid for names in wanted if (grid := table.grid(names))]
        grids += having
        complete = {tuple(grid.levels) for grid in having}
    return grids


class _Table:
    """Configurations by the values that vary, as codes: their places in the sorted values."""

    def __init__(self, configurations: Sequence[Configuration], metric: Metric) -> None:
        self.configurations, self.metric = configurations, metric
        self.by_seed = [c.by_seed(metric) for c in configurations]
        self.levels = varying_values(configurations)
        self.fields = list(self.levels)
        places = [{value: i for i, value in enumerate(v)} for v in self.levels.values()]
        fields = list(zip(self.fields, places, strict=True))
        self.codes = np.array(
            [[codes.get(getattr(c.config, f), -1) for f, codes in fields] for c in configurations]
        )

    def grid(self, names: tuple[str, ...]) -> CompleteGrid | None:
        """A large complete grid of exactly ``names``; None where there is none.

        In the setting of the others with the most configurations, then the best mean.
        """
        wanted = [self.fields.index(name) for name in names]
        others = [i for i in range(len(self.fields)) if i not in wanted]
        groups: dict[tuple[int, ...], list[int]] = {}
        for m in np.flatnonzero((self.codes[:, wanted] >= 0).all(axis=1)).tolist():
            groups.setdefault(tuple(self.codes[m, others].tolist()), []).append(m)
        if not groups:
            return None
        most = max(map(len, groups.values()))
        members = max((groups[s] for s in sorted(groups) if len(groups[s]) == most), key=self._mean)
        seeds = self._common_seeds(members)
        members = [m for m in members if seeds <= self.by_seed[m].keys()]
        kept = [members[i] for i in _complete_box(self.codes[members][:, wanted])]
        if not kept:
            return None
        kept.sort(key=lambda m: self.codes[m, wanted].tolist())
        levels = {
            name: tuple(self.levels[name][code] for code in np.unique(self.codes[kept, i]))
            for name, i in zip(names, wanted, strict=True)
        }
        values = np.array([[self.by_seed[m][seed] for m in kept] for seed in sorted(seeds)])
        some = self.configurations[kept[0]].config
        fixed = {name: getattr(some, name) for name in self.fields if name not in names}
        shape = len(seeds), *map(len, levels.values())
        return CompleteGrid(levels, fixed, tuple(sorted(seeds)), values.reshape(shape))

    def _mean(self, members: Sequence[int]) -> float:
        return self.metric.sign * fmean(fmean(self.by_seed[m].values()) for m in members)

    def _common_seeds(self, members: Sequence[int]) -> set[int]:
        counts = Counter(seed for member in members for seed in self.by_seed[member])
        common = {seed for seed, n in counts.items() if n >= _COMMON_SEED * len(members)}
        return common or {min(counts, key=lambda seed: (-counts[seed], seed))}


def _complete_box(codes: NDArray[np.int64]) -> list[int]:
    """Rows of ``codes`` (distinct, of shape (n, fields)) that are every combination of some values.

    At least two values of every field, else no rows. Greedy: see ``complete_grids``.
    """
    fields = codes.shape[1]
    rows = np.arange(len(codes))
    while rows.size:
        present = [np.unique(codes[rows, f], return_counts=True) for f in range(fields)]
        if min(len(values) for values, _ in present) < 2:
            return []
        cells = math.prod(len(values) for values, _ in present)
        if cells == len(rows):
            return rows.tolist()
        # A value of a complete grid meets at least two values of every other field.
        hopeless = [values[counts < 2 ** (fields - 1)] for values, counts in present]
        if not any(len(values) for values in hopeless):
            fill = [
                (count * len(values) / cells, count, field, -value)
                for field, (values, counts) in enumerate(present)
                for value, count in zip(values.tolist(), counts.tolist(), strict=True)
            ]
            _, _, field, value = min(fill)
            hopeless[field] = np.array([-value])
        keep = np.ones(len(rows), dtype=bool)
        for field, values in enumerate(hopeless):
            keep &= ~np.isin(codes[rows, field], values)
        rows = rows[keep]
    return []
