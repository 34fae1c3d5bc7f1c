"""The look of every figure: sizes, colours, frame, and axes for accuracies and hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Literal

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mnist_sweep.analysis.slices import log_spaced
from mnist_sweep.labels import axis_label, capital, value_texts

Format = Literal["png", "svg", "pdf"]

WIDTH_INCHES, HEIGHT_INCHES, DPI = 7.0, 4.3, 200
#: With more values than this, ticks stand at round values instead.
MAX_VALUE_TICKS = 12
#: An upright label on one line needs this much.
LABEL_INCHES = 2.4
#: The sentence for a figure that ``AccuracyScale.cuts``.
CUT_NOTE = "Some intervals leave the frame."
BACKGROUND, INK, FAINT, GRID = "#fdfdfc", "#222222", "#5f5f5f", "#e3e3e0"

#: Okabe and Ito's palette, which colour-blind readers can tell apart, less its yellow (too pale).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": BACKGROUND,
    "axes.titlesize": 8.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    # The name of a file or a folder may hold dollar signs.
    "text.parse_math": False,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "svg.hashsalt": "mnist-sweep",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


def styled() -> Any:
    """A context manager: matplotlib's own defaults plus this look, whatever the user's settings."""
    return matplotlib.style.context(["default", _RC])


def new_figure(title: str, subtitle: str, note: str, height: float = HEIGHT_INCHES) -> Figure:
    """An empty figure, 7 inches wide, with its texts in place.

    ``title`` and ``subtitle`` stand at the top left, ``note`` (which may have several lines) at
    the bottom, footnote size. Axes go in with ``frame``.
    """
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    figure.text(0.025, 1 - 0.12 / height, title, size=11.5, weight="bold", va="top")
    figure.text(0.025, 1 - 0.36 / height, subtitle, size=8.5, color=FAINT, va="top")
    figure.text(0.025, 0.1 / height, note, size=7.5, color=FAINT, va="bottom", linespacing=1.25)
    return figure


def frame(
    figure: Figure, note: str, *, left: float = 0.85, legend: bool = True, above: float = 0.0
) -> dict[str, float]:
    """Margins for ``Figure.subplots(gridspec_kw=...)`` that keep clear of the texts.

    ``left`` and, for what stands over the axes, ``above`` are in inches; the bottom makes room for
    the axis label and the lines of ``note``, the top for the titles and a row of legend entries.
    """
    height = figure.get_figheight()
    lines = note.count("\n") + 1
    return {
        "left": left / WIDTH_INCHES,
        "right": 1 - 0.25 / WIDTH_INCHES,
        "bottom": (0.68 + 0.14 * lines) / height,
        "top": 1 - (above + (0.92 if legend else 0.68)) / height,
    }


def add_legend(figure: Figure, handles: Sequence[Line2D | Any], title: str = "") -> None:
    """One row of legend entries under the subtitle, left-aligned with it."""
    height = figure.get_figheight()
    if title:
        figure.text(0.025, 1 - 0.585 / height, f"{title}:", size=8.5, va="top")
    # The legend cannot know how wide the text before it is; 0.011 is a wide letter's share.
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.025 + (0.005 + 0.011 * len(title) if title else 0), 1 - 0.55 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        borderpad=0.2,
        columnspacing=1.3,
        handletextpad=0.5,
        handlelength=2.2,
        borderaxespad=0,
    )


def series_style(index: int, joined: bool = True) -> dict[str, Any]:
    """Colour, marker and dash of the line number ``index``, each distinct from the others'.

    Not ``joined``: without a line, for points that have no order.
    """
    i = index % len(COLOURS)
    return {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": DASHES[i] if joined else ""}


def save(figure: Figure, path: Path | BinaryIO, file_format: Format) -> None:
    """Write ``figure`` to a path or an open file, byte for byte the same each time: no dates."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(path, format=file_format, metadata=metadata[file_format])


@dataclass(frozen=True)
class AccuracyScale:
    """Accuracies (fractions) to axis coordinates.

    Linear in per cent or, where errors differ by a large factor, in the logarithm of the error
    rate: from 97 to 98 % is then as far as from 60 to 73 %, a third fewer errors.
    """

    logarithmic: bool
    low: float
    high: float

    @classmethod
    def fit(cls, values: Iterable[float], intervals: Iterable[float] = ()) -> AccuracyScale:
        """A scale that shows all ``values``, and ``intervals``' ends as far as is sensible.

        An interval over two seeds may be many times wider than all the differences; it then
        leaves the frame, which goes beyond the values by their own span at most.
        """
        shown = [min(max(v, 0.0), 1.0) for v in values] or [0.0, 1.0]
        errors = [max(1 - v, 5e-5) for v in shown]
        span = max(shown) - min(shown)
        logarithmic = max(errors) / min(errors) > 5 and span > 0.03
        place = cls(logarithmic, 0, 1)
        low, high = place(min(shown)), place(max(shown))
        # All values equal (one trial, say): a range of a few tenths of a per cent about them.
        room = (high - low) or 0.3
        ends = [place(min(max(v, 0.0), 1.0)) for v in intervals]
        low = max(min([low, *ends]), low - room)
        high = min(max([high, *ends]), high + room)
        margin = 0.06 * (high - low) or 0.3
        return cls(logarithmic, low - margin, high + margin)

    def __call__(self, accuracy: float) -> float:
        """The coordinate of ``accuracy``; it grows with it."""
        if self.logarithmic:
            return -math.log10(max(1 - accuracy, 5e-5))
        return 100 * accuracy

    def cuts(self, ends: Iterable[float]) -> bool:
        """Whether any of ``ends`` (accuracies) is outside the frame."""
        places = [self(min(max(end, 0.0), 1.0)) for end in ends]
        return any(not self.low <= place <= self.high for place in places)

    def ticks(self, count: int = 7) -> tuple[list[float], list[str]]:
        """Coordinates and texts (per cent) of about ``count`` round accuracies in the range."""
        if not self.logarithmic:
            places = MaxNLocator(nbins=count - 1, steps=[1, 2, 2.5, 5, 10]).tick_values(
                self.low, self.high
            )
            inside = [float(v) for v in places if self.low <= v <= self.high and v <= 100.0001]
            return inside, [f"{v:.6g}" for v in inside]
        chosen: list[tuple[float, float]] = []
        for digits in ((10,), (5, 2), (3,), (4, 7), (6, 8, 9)):
            for exponent in range(0, -5, -1):
                for digit in digits:
                    error = digit * 10.0 ** (exponent - 1)
                    place = -math.log10(error)
                    apart = all(
                        abs(place - other) > (self.high - self.low) / (1.4 * count)
                        for other, _ in chosen
                    )
                    if self.low <= place <= self.high and apart and error >= 5e-5:
                        chosen.append((place, 100 * (1 - error)))
        chosen.sort()
        return [place for place, _ in chosen], [f"{percent:.6g}" for _, percent in chosen]

    def apply(self, axes: Axes, label: str, axis: Literal["x", "y"] = "y", count: int = 7) -> None:
        """Set limits, ticks and label of an axis of ``axes``."""
        places, texts = self.ticks(count)
        suffix = ", log error scale" if self.logarithmic else ""
        room = axes.bbox.height / DPI
        between = "\n" if axis == "y" and room < LABEL_INCHES else " "
        name = f"{capital(label)}{between}(%{suffix})" if label else ""
        if axis == "y":
            axes.set_ylim(self.low, self.high)
            axes.set_yticks(places, texts)
            axes.set_ylabel(name)
        else:
            axes.set_xlim(self.low, self.high)
            axes.set_xticks(places, texts)
            axes.set_xlabel(name)


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
        if self.named:
            place = float(self.values.index(value))
        else:
            place = math.log10(value) if self.logarithmic else float(value)
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
