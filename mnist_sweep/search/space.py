"""Which configurations a sweep may try: values or ranges of hyperparameters, and exclusions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypeAlias

from mnist_sweep.config import applies, normalised
from mnist_sweep.labels import value_text, value_texts
from mnist_sweep.metrics import VAL_ACCURACY, Metric
from mnist_sweep.trial import DatasetConfig

#: Values that a warning names.
MOST_NAMED = 4
#: Significant digits of what is drawn: any program can save and read them.
_DRAWN_DIGITS = 6


@dataclass(frozen=True)
class Interval:
    """The numbers from ``low`` to ``high``, uniform in value, or in their logarithm if ``log``.

    With a ``normal`` not uniform but distributed like it. Of a ``step`` other than 0 its multiples,
    whole if it is.
    """

    low: float
    high: float
    log: bool = False
    step: float = 0
    normal: NormalDist | None = None

    def __contains__(self, value: Any) -> bool:
        return not isinstance(value, str) and self.low <= value <= self.high

    def _place(self, value: float) -> float:
        place = math.log(value) if self.log else value
        return self.normal.cdf(place) if self.normal else place

    def at(self, fraction: float) -> float:
        """The value at ``fraction`` (0..1) of the way from low to high, rounded."""
        low, high = map(self._place, (self.low, self.high))
        value = low + fraction * (high - low)
        if self.normal:
            value = self.normal.inv_cdf(min(max(value, 1e-12), 1 - 1e-12))
        if self.log:
            value = math.exp(min(max(value, math.log(self.low)), math.log(self.high)))
        if self.step:
            value = self.step * round(value / self.step)
        value = value if isinstance(value, int) else float(f"{value:.{_DRAWN_DIGITS}g}")
        return min(max(value, self.low), self.high)

    def fraction(self, value: float) -> float:
        """How far ``value`` is of the way from low to high, 0 .. 1: the inverse of ``at``."""
        places = (self.low, self.high, min(max(value, self.low), self.high))
        low, high, place = map(self._place, places)
        return (place - low) / (high - low)


#: What a parameter may take: values in their order, or an interval. Where a method draws, one that
#: is there more than once is drawn sooner.
Domain: TypeAlias = Sequence[Any] | Interval
#: What is swept together: HPConfig field -> what it may take.
Grid: TypeAlias = Mapping[str, Domain]
#: One choice of hyperparameters: HPConfig field -> value.
Point: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Exclusion:
    """An entry of ``exclude``: for each of its fields, the values that it drops.

    ``place`` says to a person where it was written.
    """

    values: Mapping[str, Sequence[Any]]
    place: str = ""

    def matches(self, point: Point) -> bool:
        """Whether a point agrees with every field of the entry."""
        return all(point[name] in values for name, values in self.values.items())

    def meets(self, start: Point, grid: Grid) -> bool:
        """Whether a point of ``grid`` around ``start`` may match."""
        return all(
            any(value in grid.get(name, [start[name]]) for value in values)
            for name, values in self.values.items()
        )

    def __str__(self) -> str:
        shown = ", ".join(
            f"{name}: {values[0] if len(values) == 1 else list(values)}"
            for name, values in self.values.items()
        )
        return "{" + (shown if len(shown) <= 200 else shown[:200] + "...") + "}"


@dataclass(frozen=True)
class Space:
    """What a sweep may try: around each of ``starts``, each of ``grids``.

    Every configuration is trained on ``dataset`` with each of ``seeds``, for the best ``metric``. A
    start has a value for every hyperparameter of ``model``.
    """

    model: str
    dataset: DatasetConfig
    seeds: Sequence[int]
    starts: Sequence[Point]
    grids: Sequence[Grid]
    exclusions: Sequence[Exclusion] = ()
    metric: Metric = VAL_ACCURACY

    @property
    def size(self) -> float:
        """How many points there are, repeats and excluded ones among them; endless is inf."""
        return len(self.starts) * sum(map(grid_size, self.grids))

    def idle_exclusions(self) -> list[str]:
        """A line for each exclusion that no point can match."""
        around = [(start, grid) for start in self.starts for grid in self.grids]
        idle = [e for e in self.exclusions if not any(e.meets(*each) for each in around)]
        return [f"{entry.place}: exclude: {entry} matches no configuration" for entry in idle]


def grid_size(grid: Grid) -> float:
    """The number of points of a grid: a whole one, or infinity if it has an interval."""
    return math.prod(math.inf if isinstance(d, Interval) else len(d) for d in grid.values())


class Sieve:
    """Lets every training of a space through once, and remembers what it held back and why."""

    def __init__(self, space: Space) -> None:
        self._space = space
        # Points by their values, which are in one order for all points of a space.
        self._written: set[tuple[Any, ...]] = set()
        self._kept: set[tuple[Any, ...]] = set()
        # Field -> the reasons why it did not apply, some of the values that it had, and new ones.
        self._moot: dict[str, tuple[set[str], set[Any], set[str]]] = defaultdict(
            lambda: (set(), set(), set())
        )

    def admit(self, point: Point) -> Point | None:
        """The point, with defaults where a value does not apply; None if it is not to be run.

        That is one that is excluded as it was written, or whose training came through before.
        """
        if any(entry.matches(point) for entry in self._space.exclusions):
            return None
        values, reasons = normalised({**point, "model": self._space.model})
        for name, reason in reasons.items():
            whys, moot, new = self._moot[name]
            whys.add(reason)
            kind = "" if applies(name, values) else "the default, "
            new.add(kind + value_text(values[name], name))
            if len(moot) <= MOST_NAMED:
                moot.add(point[name])
        del values["model"]
        self._written.add(tuple(point.values()))
        training = tuple(values.values())
        if training in self._kept:
            return None
        self._kept.add(training)
        return values

    def normalisations(self) -> list[str]:
        """A line for each hyperparameter that did not apply."""
        lines = []
        for name, (whys, moot, new) in self._moot.items():
            values = value_texts(sorted(moot)[:MOST_NAMED], name)
            values += ["..."] * (len(moot) > MOST_NAMED)
            lines.append(
                f"{name}: does not apply where {' or '.join(sorted(whys))}; {', '.join(values)} "
                f"{'is' if len(values) == 1 else 'are'} replaced by {' or '.join(sorted(new))}"
            )
        return lines

    def repeats(self) -> list[str]:
        """A line on what runs only once, if anything does."""
        written, kept = len(self._written), len(self._kept)
        same = f"{written - kept:,} of {written:,} configurations are the same training as another"
        return [f"{same} and run once"] * (kept < written)
