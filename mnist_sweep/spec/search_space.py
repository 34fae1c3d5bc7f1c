"""Which configurations a sweep tries: every combination of values, or random draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Spaces up to this size are shuffled whole; larger ones are drawn from, point by point.
MAX_SHUFFLED = 1_000_000
#: Draws after which a large space counts as exhausted, so that a search always ends.
MAX_DRAWS = 300_000


@dataclass(frozen=True)
class Interval:
    """The floats from ``low`` to ``high``, uniform in value, or in their logarithm if ``log``."""

    low: float
    high: float
    log: bool = False

    def at(self, fraction: float) -> float:
        """The value at ``fraction`` (0..1) of the way from low to high."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + fraction * (high - low))
        else:
            value = self.low + fraction * (self.high - self.low)
        return min(max(value, self.low), self.high)


#: What a parameter may take: distinct values in their order, or an interval.
Domain: TypeAlias = Sequence[Any] | Interval
#: One choice of hyperparameters: HPConfig field -> value.
Point: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """The points to try: around each of ``starts``, changed by ``base``, each of ``spaces``.

    With ``count`` the points are drawn at random, else they are every combination.
    """

    starts: Sequence[Point]
    base: Point = field(default_factory=dict)
    spaces: Sequence[Mapping[str, Domain]] = ({},)
    count: int | None = None
    sampling_seed: int = 0

    @property
    def size(self) -> int:
        """How many points there are, before exclusions and repeats are taken out."""
        if self.count is not None:
            return self.count
        return len(self.starts) * sum(space_size(space) or 0 for space in self.spaces)

    def points(self) -> Iterator[Point]:
        """The points in order. A random search goes on beyond ``count``, for points that are
        dropped to be replaced.
        """
        for space in self.spaces:
            for start in self.starts:
                chosen = (
                    grid_points(space)
                    if self.count is None
                    else random_points(space, self.sampling_seed)
                )
                for point in chosen:
                    yield {**start, **self.base, **point}


@dataclass(frozen=True)
class Exclusion:
    """An entry of ``exclude``: for each of its fields, the values that it drops."""

    values: Mapping[str, Sequence[Any]]

    def matches(self, point: Point) -> bool:
        """Whether a point agrees with every field of the entry."""
        return all(point[name] in values for name, values in self.values.items())

    def __str__(self) -> str:
        shown = (
            f"{name}: {values[0] if len(values) == 1 else list(values)}"
            for name, values in self.values.items()
        )
        return "{" + ", ".join(shown) + "}"


def space_size(space: Mapping[str, Domain]) -> int | None:
    """The number of points of a space; None if an interval makes it endless."""
    size = 1
    for domain in space.values():
        if isinstance(domain, Interval):
            return None
        size *= len(domain)
    return size


def grid_points(space: Mapping[str, Domain]) -> Iterator[Point]:
    """Every combination, the last parameter changing fastest. Raises TypeError on an interval."""
    for values in itertools.product(*space.values()):  # type: ignore[arg-type]
        yield dict(zip(space, values, strict=True))


def random_points(space: Mapping[str, Domain], seed: int) -> Iterator[Point]:
    """Distinct points in random order, until the space is exhausted (Bergstra and Bengio, 2012).

    The first n points do not depend on how many are taken, so a longer search contains a shorter
    one of the same seed.
    """
    # Imported here because a grid, the usual case, need not wait for it.
    import numpy as np

    generator = np.random.default_rng(seed)
    size = space_size(space)
    if size is not None and size <= MAX_SHUFFLED:
        for index in generator.permutation(size):
            yield _grid_point(space, int(index))
        return
    seen = set()
    for _ in range(MAX_DRAWS):
        fractions = generator.random(len(space)).tolist()
        point = {
            name: _at(domain, fraction)
            for (name, domain), fraction in zip(space.items(), fractions, strict=True)
        }
        if (key := tuple(point.values())) not in seen:
            seen.add(key)
            yield point


def _at(domain: Domain, fraction: float) -> Any:
    if isinstance(domain, Interval):
        return domain.at(fraction)
    return domain[int(fraction * len(domain))]


def _grid_point(space: Mapping[str, Domain], index: int) -> Point:
    """Point number ``index`` (from 0) of a space without intervals."""
    point = {}
    for name, domain in space.items():
        assert not isinstance(domain, Interval)
        index, position = divmod(index, len(domain))
        point[name] = domain[position]
    return point
