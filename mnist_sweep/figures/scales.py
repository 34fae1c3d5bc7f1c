"""Axes: values of metrics and of hyperparameters to places."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from statistics import median
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mnist_sweep.analysis.slices import log_spaced
from mnist_sweep.figures.style import DPI
from mnist_sweep.labels import axis_label, capital, value_texts
from mnist_sweep.metrics import Metric

#: With more values than this, ticks stand at round values instead.
MAX_VALUE_TICKS = 12
#: The width of a character of a tick's label, the same as a share of its height, and of an axis'.
CHARACTER_INCHES, _CHARACTER_SHARE, _LABEL_INCHES = 0.08, 0.64, 0.068
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

        The frame goes beyond the values by their own span at most: an interval over two seeds may
        be many times wider than all the differences.
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
    def _unit(self) -> int:
        return 100 if self.metric.is_accuracy else -1

    @property
    def _least(self) -> float:
        """The smallest error with a place of its own on a logarithmic axis."""
        return 5e-5 if self.metric.is_accuracy else 1e-6

    def _error(self, value: float) -> float:
        return max(self.metric.error(value), self._least)

    @classmethod
    def of_the_better(
        cls, metric: Metric, values: Sequence[float], wanted: Sequence[float] = ()
    ) -> tuple[MetricScale, int]:
        """A scale of the better half of ``values`` and those ``wanted``; how many are below it."""
        worst = min([median(values), *wanted], key=lambda value: metric.sign * value)
        scale = cls.fit(metric, [v for v in values if metric.sign * (v - worst) >= 0])
        return scale, sum(scale(value) < scale.low for value in values)

    def __call__(self, value: float) -> float:
        """The coordinate of ``value``."""
        return -math.log10(self._error(value)) if self.logarithmic else self._unit * value

    def value(self, place: float) -> float:
        """The value at the coordinate ``place``."""
        return self.metric.error(10.0**-place) if self.logarithmic else place / self._unit

    def cut_note(self, ends: Iterable[float]) -> str:
        """A sentence where any of the values ``ends`` is outside the frame, else nothing."""
        places = [self(self._possible(end)) for end in ends]
        inside = all(self.low <= place <= self.high for place in places)
        return "" if inside else "Some intervals leave the frame."

    def ticks(self, count: int = 7) -> tuple[list[float], list[str]]:
        """Coordinates and texts (accuracies: per cent) of about ``count`` round values in range."""
        places = self._round_errors(count) if self.logarithmic else self._round_values(count)
        return places, [f"{abs(self._unit) * self.value(place):.6g}" for place in places]

    def _round_values(self, count: int) -> list[float]:
        sign = self.metric.sign
        low, high = sorted((sign * self.low, sign * self.high))
        most = 100.0001 if self.metric.is_accuracy else math.inf
        values = MaxNLocator(nbins=count - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return sorted(sign * float(v) for v in values if max(low, 0) <= v <= min(high, most))

    def _round_errors(self, count: int) -> list[float]:
        """Places of round errors, about as far apart as ``count`` of them would be."""
        gap = (self.high - self.low) / (1.4 * count)
        chosen: list[float] = []
        for digits, exponent in product(_ROUND, range(2, -8, -1)):
            for error in (digit * 10.0**exponent for digit in digits):
                place = -math.log10(error)
                inside = self.low <= place <= self.high and error >= self._least
                if inside and all(abs(place - other) > gap for other in chosen):
                    chosen.append(place)
        return sorted(chosen)

    def apply(self, axes: Axes, label: str, axis: Literal["x", "y"] = "y", count: int = 7) -> None:
        """Set limits, ticks and label of an axis of ``axes``."""
        places, texts = self.ticks(count)
        room = (axes.bbox.height if axis == "y" else axes.bbox.width) / DPI
        between = "\n" if room < _LABEL_INCHES * len(f"{label} ({self.unit})") else " "
        name = f"{capital(label)}{between}({self.unit})" if label else ""
        limits = {f"{axis}lim": (self.low, self.high), f"{axis}label": name}
        axes.set(**limits, **{f"{axis}ticks": places, f"{axis}ticklabels": texts})

    @property
    def unit(self) -> str:
        """What the axis counts, to stand in brackets: "%, log error scale"."""
        if self.metric.is_accuracy:
            return "%, log error scale" if self.logarithmic else "%"
        return "log scale, less is better" if self.logarithmic else "less is better"


def shrink_labels(axes: Axes, share: float) -> None:
    """Write the names along the x axis smaller where one takes more than this ``share`` of it."""
    labels = axes.get_xticklabels()
    lines = [line for label in labels for line in label.get_text().splitlines()]
    size = float(labels[0].get_fontsize())
    longest = _CHARACTER_SHARE * size / 72 * (max(map(len, lines)) + 1)
    for label in labels:
        label.set_fontsize(size * min(1.0, share * axes.bbox.width / DPI / longest))


class ParameterAxis:
    """Values of a hyperparameter to places on the x axis: linear, logarithmic or by name.

    ``zero_apart``: the axis is logarithmic, and 0, which has no logarithm, stands left of it.
    """

    def __init__(self, name: str, values: Sequence[Any]) -> None:
        """``values`` are those that occur, ascending."""
        self.name, self.values = name, list(values)
        self.named = any(isinstance(value, str) for value in values)
        self._positive = [value for value in values if not self.named and value > 0]
        few = 0 < len(self._positive) < len(values)
        # Where 0 is one of the values, it takes more than a factor of 4 to give up its distance.
        self.zero_apart = few and self._positive[-1] >= 10 * self._positive[0]
        self.zero_apart &= log_spaced(self._positive)
        self.logarithmic = self.zero_apart or (not self.named and log_spaced(values))
        places = [self(value) for value in self.values]
        self.low, self.high = min(places), max(places)
        self.span = (self.high - self.low) or 1.0
        #: The smallest distance of two values, as a share of the axis.
        self.least_gap = min((b - a for a, b in pairwise(places)), default=1.0) / self.span

    def __call__(self, value: Any, dodge: float = 0.0) -> float:
        """The place of ``value``, moved by ``dodge`` (a fraction of the axis)."""
        if self.zero_apart and value == 0:
            low, high = self(self._positive[0]), self(self._positive[-1])
            place = low - (high - low) / min(len(self._positive) - 1, 6)
        else:
            number = self.values.index(value) if self.named else value
            place = math.log10(number) if self.logarithmic else float(number)
        return place + (dodge * self.span if dodge else 0.0)

    def apply(self, axes: Axes) -> None:
        """Set limits and ticks, at the values of a grid, at round ones in a sample."""
        margin = (0.35 if self.named else 0.07) * self.span
        axes.set_xlim(self.low - margin, self.high + margin)
        share = 1 / (self.span + 2 * margin)
        ticks = self._ticks(share * axes.bbox.width / DPI)
        texts = value_texts(ticks, self.name)
        axes.set_xticks([self(value) for value in ticks], texts)
        if self.named:
            shrink_labels(axes, share)

    @property
    def label(self) -> str:
        """The hyperparameter's name, and how it is spread."""
        apart = ", 0 apart" if self.zero_apart else ""
        scale = f" (log scale{apart})" if self.logarithmic else ""
        return f"{capital(axis_label(self.name))}{scale}"

    def _ticks(self, inches: float) -> list[Any]:
        """What to write below the axis, whose unit is so many ``inches``, without overlap."""
        if self.named:
            return self.values
        wanted = self.values
        if len(self.values) > MAX_VALUE_TICKS or sum(map(_is_round, self.values)) < len(wanted) / 2:
            values = self._positive if self.logarithmic else self.values
            wanted = [0] * self.zero_apart + round_values(values[0], values[-1], self.logarithmic)
        kept: list[Any] = []
        end = -math.inf
        for value, text in zip(wanted, value_texts(wanted, self.name), strict=True):
            half = CHARACTER_INCHES * (len(text) + 1) / 2 / inches
            if self(value) - half >= end:
                kept.append(value)
                end = self(value) + half
        return kept


def round_values(low: float, high: float, logarithmic: bool) -> list[float]:
    """Round values along an axis, at least two of them from ``low`` to ``high``."""
    for digits in ((1,), (1, 3), (1, 2, 5)) if logarithmic else ():
        wanted = [float(f"{digit}e{exponent}") for exponent in range(-12, 12) for digit in digits]
        inside = [value for value in wanted if low <= value <= high]
        if len(inside) >= 3:
            return inside
    return [float(v) for v in MaxNLocator(5).tick_values(low, high) if low <= v <= high]


def _is_round(value: float) -> bool:
    """Whether it looks chosen: two digits, or a small multiple of a power of two (1536)."""
    whole = int(value)
    return float(f"{value:.1e}") == value or (value == whole and whole / (whole & -whole) < 50)
