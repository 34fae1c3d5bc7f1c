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

    Largest first; a grid that shows nothing new is left out. One grid of all hyperparameters that
    holds half of the configurations or more stands alone. Holes are closed by giving up values,
    the one with the fewest measurements for its share of the grid first; that finds a large
    complete grid, not always the largest.
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
    level: list[tuple[str, ...]] = [(name,) for name in table.fields]
    while level:
        having = [grid for names in level if (grid := table.grid(names))]
        grids += having
        complete = {tuple(grid.levels) for grid in having}
        larger = {
            (*names, other)
            for names in complete
            for other in table.fields[table.fields.index(names[-1]) + 1 :]
        }
        level = sorted(
            names for names in larger if complete.issuperset(combinations(names, len(names) - 1))
        )
    return grids


class _Table:
    """Configurations by the values that vary, as codes: their places in the sorted values."""

    def __init__(self, configurations: Sequence[Configuration], metric: Metric) -> None:
        self.configurations, self.metric = list(configurations), metric
        self.by_seed = [c.by_seed(metric) for c in self.configurations]
        self.levels = varying_values(self.configurations)
        self.fields = list(self.levels)
        columns = [self._codes(name) for name in self.fields]
        # Configurations on different data sets are never of one grid.
        labels = [c.dataset.label for c in self.configurations]
        columns.append(np.unique(labels, return_inverse=True)[1].tolist())
        self.codes = np.array(columns, dtype=np.int64).T

    def _codes(self, name: str) -> list[int]:
        places = {value: i for i, value in enumerate(self.levels[name])}
        return [places.get(getattr(c.config, name), -1) for c in self.configurations]

    def grid(self, names: tuple[str, ...]) -> CompleteGrid | None:
        """A large complete grid of exactly ``names``; None where there is none.

        Of several settings of the others, the one with the most configurations is taken; of those,
        the one with the best mean.
        """
        wanted = [self.fields.index(name) for name in names]
        others = [i for i in range(self.codes.shape[1]) if i not in wanted]
        rows = np.flatnonzero((self.codes[:, wanted] >= 0).all(axis=1))
        if not rows.size:
            return None
        _, setting, sizes = np.unique(
            self.codes[rows][:, others], axis=0, return_inverse=True, return_counts=True
        )
        most = np.flatnonzero(sizes == sizes.max())
        groups = [rows[setting.reshape(-1) == i].tolist() for i in most]
        members = max(groups, key=self._mean)
        seeds = self._common_seeds(members)
        members = [m for m in members if seeds <= self.by_seed[m].keys()]
        kept = _complete_box(self.codes[members][:, wanted])
        return self._grid(names, [members[i] for i in kept], sorted(seeds)) if kept else None

    def _mean(self, members: Sequence[int]) -> float:
        return self.metric.sign * fmean(fmean(self.by_seed[m].values()) for m in members)

    def _common_seeds(self, members: Sequence[int]) -> set[int]:
        counts = Counter(seed for member in members for seed in self.by_seed[member])
        common = {seed for seed, n in counts.items() if n >= _COMMON_SEED * len(members)}
        return common or {min(counts, key=lambda seed: (-counts[seed], seed))}

    def _grid(
        self, names: tuple[str, ...], members: Sequence[int], seeds: Sequence[int]
    ) -> CompleteGrid:
        columns = [self.fields.index(name) for name in names]
        codes = self.codes[members][:, columns]
        levels = {}
        places = np.empty_like(codes)
        for i, name in enumerate(names):
            present, places[:, i] = np.unique(codes[:, i], return_inverse=True)
            levels[name] = tuple(self.levels[name][code] for code in present)
        values = np.empty((len(seeds), *(len(v) for v in levels.values())))
        for member, place in zip(members, places, strict=True):
            values[(slice(None), *place)] = [self.by_seed[member][seed] for seed in seeds]
        some = self.configurations[members[0]].config
        fixed = {name: getattr(some, name) for name in self.fields if name not in names}
        return CompleteGrid(levels, fixed, tuple(seeds), values)


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
