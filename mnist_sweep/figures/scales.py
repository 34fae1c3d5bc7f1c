"""Axes: values of metrics and of hyperparameters to places."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mnist_sweep.analysis.slices import log_spaced
from mnist_sweep.figures.style import DPI
from mnist_sweep.labels import axis_label, capital, value_texts
from mnist_sweep.metrics import Metric

#: With more values than this, ticks stand at round values instead.
MAX_VALUE_TICKS = 12
#: An upright label on one line needs this much.
LABEL_INCHES = 2.4
#: The sentence for a figure that ``MetricScale.cuts``.
CUT_NOTE = "Some intervals leave the frame."
#: Digits of round errors, those that are wanted most first.
_ROUND = ((10,), (5, 2), (3,), (4, 7), (6, 8, 9))


@dataclass(frozen=True)
class MetricScale:
    """Values of ``metric`` to axis coordinates, which grow the better a value is.

    Accuracies are linear in per cent or, where errors differ by a large factor, in the logarithm
    of the error rate: from 97 to 98 % is then as far as from 60 to 73 %, a third fewer errors.
    Losses are downwards, linear or logarithmic. ``low`` and ``high`` are coordinates.
    """

    metric: Metric
    logarithmic: bool
    low: float
    high: float

    @classmethod
    def fit(
        cls, metric: Metric, values: Iterable[float], ends: Iterable[float] = ()
    ) -> MetricScale:
        """A scale that shows all ``values``, and the ``ends`` of intervals as far as is sensible.

        An interval over two seeds may be many times wider than all the differences; it then
        leaves the frame, which goes beyond the values by their own span at most.
        """
        place = cls(metric, False, 0, 1)
        shown = [place._possible(v) for v in values] or [0.0, 1.0]
        errors = [place._error(v) for v in shown]
        span = max(shown) - min(shown)
        logarithmic = max(errors) / min(errors) > 5 and (span > 0.03 or not metric.is_accuracy)
        place = cls(metric, logarithmic, 0, 1)
        low, high = sorted((place(min(shown)), place(max(shown))))
        # All values equal (one trial, say): a little room about them, of per cent or of a loss.
        least = 0.3 if metric.is_accuracy else 0.01 + 0.1 * max(shown)
        room = (high - low) or least
        reach = [place(place._possible(v)) for v in ends]
        low = max(min([low, *reach]), low - room)
        high = min(max([high, *reach]), high + room)
        margin = 0.06 * (high - low) or least
        return cls(metric, logarithmic, low - margin, high + margin)

    def _possible(self, value: float) -> float:
        return min(max(value, 0.0), 1.0 if self.metric.is_accuracy else math.inf)

    @property
    def _least(self) -> float:
        """The smallest error with a place of its own on a logarithmic axis."""
        return 5e-5 if self.metric.is_accuracy else 1e-6

    def _error(self, value: float) -> float:
        return max(self.metric.error(value), self._least)

    def __call__(self, value: float) -> float:
        """The coordinate of ``value``."""
        if self.logarithmic:
            return -math.log10(self._error(value))
        return 100 * value if self.metric.is_accuracy else -value

    def value(self, place: float) -> float:
        """The value at the coordinate ``place``."""
        error = 10.0**-place if self.logarithmic else -place
        if self.metric.is_accuracy:
            return 1 - error if self.logarithmic else place / 100
        return error

    def cuts(self, ends: Iterable[float]) -> bool:
        """Whether any of the values ``ends`` is outside the frame."""
        places = [self(self._possible(end)) for end in ends]
        return any(not self.low <= place <= self.high for place in places)

    def ticks(self, count: int = 7) -> tuple[list[float], list[str]]:
        """Coordinates and texts (accuracies: per cent) of about ``count`` round values in range."""
        places = self._round_errors(count) if self.logarithmic else self._round_values(count)
        factor = 100 if self.metric.is_accuracy else 1
        return places, [f"{factor * self.value(place):.6g}" for place in places]

    def _round_values(self, count: int) -> list[float]:
        low, high = (self.low, self.high) if self.metric.is_accuracy else (-self.high, -self.low)
        most = 100.0001 if self.metric.is_accuracy else math.inf
        values = MaxNLocator(nbins=count - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        inside = [float(v) for v in values if max(low, 0.0) <= v <= min(high, most)]
        return inside if self.metric.is_accuracy else [-v for v in inside[::-1]]

    def _round_errors(self, count: int) -> list[float]:
        """Places of round errors, about as far apart as ``count`` of them would be."""
        gap = (self.high - self.low) / (1.4 * count)
        chosen: list[float] = []
        for digits, exponent in product(_ROUND, range(3, -7, -1)):
            for digit in digits:
                error = digit * 10.0 ** (exponent - 1)
                place = -math.log10(error)
                apart = all(abs(place - other) > gap for other in chosen)
                if self.low <= place <= self.high and apart and error >= self._least:
                    chosen.append(place)
        return sorted(chosen)

    def apply(self, axes: Axes, label: str, axis: Literal["x", "y"] = "y", count: int = 7) -> None:
        """Set limits, ticks and label of an axis of ``axes``."""
        places, texts = self.ticks(count)
        room = axes.bbox.height / DPI
        between = "\n" if axis == "y" and room < LABEL_INCHES else " "
        name = f"{capital(label)}{between}({self.unit})" if label else ""
        limits = {f"{axis}lim": (self.low, self.high), f"{axis}label": name}
        axes.set(**limits, **{f"{axis}ticks": places, f"{axis}ticklabels": texts})

    @property
    def unit(self) -> str:
        """What the axis counts, to stand in brackets: "%, log error scale"."""
        if self.metric.is_accuracy:
            return "%, log error scale" if self.logarithmic else "%"
        return "log scale, less is better" if self.logarithmic else "less is better"


class ParameterAxis:
    """Values of a hyperparameter to places on the x axis: linear, logarithmic or by name."""

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        """``values`` are those that occur, ascending."""
        self.name, self.values = name, list(values)
        self.named = any(isinstance(value, str) for value in values)
        self.logarithmic = not self.named and log_spaced(values)
        places = [self(value) for value in self.values]
        self.low, self.high = min(places), max(places)
        self.span = (self.high - self.low) or 1.0
        #: The smallest distance of two values, as a share of the axis.
        self.least_gap = min((b - a for a, b in pairwise(places)), default=1.0) / self.span

    def __call__(self, value: Any, dodge: float = 0.0) -> float:
        """The place of ``value``, moved by ``dodge`` (a fraction of the axis)."""
        number = self.values.index(value) if self.named else value
        place = math.log10(number) if self.logarithmic else float(number)
        return place + (dodge * self.span if dodge else 0.0)

    def apply(self, axes: Axes, label: bool = True) -> None:
        """Set limits, ticks (at the values that occur, round ones if they are many) and label."""
        margin = (0.35 if self.named else 0.07) * self.span
        axes.set_xlim(self.low - margin, self.high + margin)
        ticks = self._ticks()
        axes.set_xticks([self(value) for value in ticks], value_texts(ticks, self.name))
        text = axis_label(self.name)
        scale = " (log scale)" if self.logarithmic else ""
        axes.set_xlabel(f"{capital(text)}{scale}" if label else "")

    def _ticks(self) -> list[Any]:
        if self.named or len(self.values) <= MAX_VALUE_TICKS:
            wanted: list[Any] = self.values
        elif self.logarithmic:
            exponents = range(math.floor(self.low), math.ceil(self.high) + 1)
            wanted = [digit * 10.0**exponent for exponent in exponents for digit in (1, 3)]
        else:
            wanted = [float(v) for v in MaxNLocator(6).tick_values(self.low, self.high)]
        kept: list[Any] = []
        for value in wanted:
            inside = self.named or self.low <= self(value) <= self.high
            if inside and (not kept or self(value) - self(kept[-1]) >= 0.07 * self.span):
                kept.append(value)
        return kept
