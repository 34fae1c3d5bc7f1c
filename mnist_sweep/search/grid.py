"""Grid search: every combination of values."""

from __future__ import annotations

import itertools
from dataclasses import replace

from mnist_sweep.search.protocol import Listed, listed
from mnist_sweep.search.space import Space


def grid_search(space: Space, count: int | None) -> Listed:
    """Every point, or the first ``count``: grid by grid, start by start, the last parameter
    changing fastest.

    Raises SearchError if all are excluded. No grid may hold an interval.
    """
    points = (
        {**start, **dict(zip(grid, values, strict=True))}
        for grid in space.grids
        for start in space.starts
        for values in itertools.product(*grid.values())  # type: ignore[arg-type]
    )
    search = listed(space, points, count)
    if count is None or not len(search.trials) / len(space.seeds) == count < space.size:
        return search
    note = f"count: only the first {count:,} of {space.size:,} configurations, in the file's order"
    return replace(search, warnings=(*search.warnings, note))
