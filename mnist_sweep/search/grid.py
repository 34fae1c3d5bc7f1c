"""Grid search: every combination of values."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mnist_sweep.search.protocol import Listed, listed
from mnist_sweep.search.space import Grid, Point, Space


def grid_search(space: Space) -> Listed:
    """Every point, grid by grid, then start by start. Raises SearchError if all are excluded."""
    return listed(
        space,
        (
            {**start, **space.base, **point}
            for grid in space.grids
            for start in space.starts
            for point in grid_points(grid)
        ),
    )


def grid_points(grid: Grid) -> Iterator[Point]:
    """Every combination, the last parameter changing fastest. Raises TypeError on an interval."""
    for values in itertools.product(*grid.values()):  # type: ignore[arg-type]
        yield dict(zip(grid, values, strict=True))
