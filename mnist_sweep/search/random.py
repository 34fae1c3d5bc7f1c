"""Random search: distinct points, drawn from values and ranges (Bergstra and Bengio, 2012)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mnist_sweep.search.protocol import Listed, listed
from mnist_sweep.search.space import Domain, Grid, Interval, Point, Space, grid_size

#: Grids up to this size are shuffled whole; larger ones are drawn from, point by point.
MAX_SHUFFLED = 1_000_000
#: Draws after which a large space counts as exhausted, so that a search always ends.
MAX_DRAWS = 300_000
DRAWN_AT_ONCE = 1000


def random_search(space: Space, count: int, sampling_seed: int) -> Listed:
    """``count`` points of the space's only grid; one that is held back is replaced by a further
    draw. Raises SearchError if there are none.
    """
    (grid,), (start,) = space.grids, space.starts
    drawn = random_points(grid, sampling_seed)
    return listed(space, ({**start, **point} for point in drawn), count)


def random_points(grid: Grid, seed: int) -> Iterator[Point]:
    """Distinct points in random order, until the grid is exhausted.

    The first n points do not depend on how many are taken, so a longer search contains a shorter
    one of the same seed.
    """
    # Imported here because a grid search, the usual case, need not wait for it.
    import numpy as np

    generator = np.random.default_rng(seed)
    size = grid_size(grid)
    if size <= MAX_SHUFFLED:
        shape = [len(domain) for domain in grid.values()]  # type: ignore[arg-type]
        # The first parameter changes fastest: that is part of what a seed means.
        indices = np.unravel_index(generator.permutation(int(size)), shape, order="F")
        for point in np.transpose(indices):
            yield {name: grid[name][i] for name, i in zip(grid, point, strict=True)}  # type: ignore[index]
        return
    seen: set[tuple[Any, ...]] = set()
    for _ in range(MAX_DRAWS // DRAWN_AT_ONCE):
        before = len(seen)
        for fractions in generator.random((DRAWN_AT_ONCE, len(grid))).tolist():
            values = tuple(map(_at, grid.values(), fractions))
            if values not in seen:
                seen.add(values)
                yield dict(zip(grid, values, strict=True))
        if len(seen) - before < DRAWN_AT_ONCE / 100:  # rounded values can be few
            return


def _at(domain: Domain, fraction: float) -> Any:
    if isinstance(domain, Interval):
        return domain.at(fraction)
    return domain[int(fraction * len(domain))]
