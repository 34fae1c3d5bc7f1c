"""The methods of search, by the name that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mnist_sweep.search.bayes import bayes_search
from mnist_sweep.search.grid import grid_search
from mnist_sweep.search.protocol import Search
from mnist_sweep.search.random import random_search


@dataclass(frozen=True)
class Method:
    """A method and what it has to do with the keys of a spec.

    ``build(space, **values)`` makes the search, with the values of its own ``keys``, which no spec
    of another method may have. It ``needs`` some keys, and ``refuses`` some that others take.
    ``ranges``: it draws, so that a parameter may be a range.
    """

    build: Callable[..., Search]
    keys: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()
    ranges: bool = False


METHODS: Mapping[str, Method] = {
    "grid": Method(grid_search, keys=("count",)),
    "random": Method(
        random_search,
        keys=("count", "sampling_seed"),
        needs=("parameters",),
        refuses=("grids", "from_results"),
        ranges=True,
    ),
    "bayes": Method(
        bayes_search,
        keys=("count", "batch", "sampling_seed"),
        needs=("parameters",),
        refuses=("grids", "from_results"),
        ranges=True,
    ),
}

#: The methods that draw.
DRAWING = tuple(name for name, method in METHODS.items() if method.ranges)
