"""The methods of search, by the name that a spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

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


_drawing = partial(Method, needs=("parameters",), refuses=("grids", "from_results"), ranges=True)

METHODS: Mapping[str, Method] = {
    "grid": Method(grid_search, ("count",)),
    "random": _drawing(random_search, ("count", "sampling_seed")),
    "bayes": _drawing(bayes_search, ("count", "batch", "sampling_seed")),
}

#: The methods that draw.
DRAWING = tuple(name for name, method in METHODS.items() if method.ranges)
