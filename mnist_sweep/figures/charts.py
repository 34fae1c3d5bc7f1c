"""The charts: each turns selected results into one matplotlib figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mnist_sweep.analysis.ranking import METRICS, Configuration, compare_with_best, rank
from mnist_sweep.analysis.slices import Cell, Slice
from mnist_sweep.figures.style import (
    BACKGROUND,
    COLOURS,
    CUT_NOTE,
    FAINT,
    INK,
    AccuracyScale,
    ParameterAxis,
    add_legend,
    frame,
    new_figure,
    series_style,
)
from mnist_sweep.labels import assignment, axis_label, capital, parameter_name, value_texts

#: Light to dark in one hue: in order for any kind of colour vision, and in grey print.
_HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f1e8", "#9cc3d5", "#0072B2", "#00395a"])
NOTE_CHARACTERS = 126
#: What a line has on the x axis for its marker and the points beside it, as a share of the axis.
_LINE_ROOM = 0.03


@dataclass(frozen=True)
class Source:
    """What every figure of one file tells about itself: the metric, and where the data is from."""

    metric: str
    text: str

    @property
    def label(self) -> str:
        """The metric for people: "validation accuracy"."""
        return METRICS[self.metric].label

    def note(self, *sentences: str) -> str:
        """A footnote of wrapped lines that ends with the source."""
        text = " ".join([*filter(None, sentences), self.text])
        return textwrap.fill(text, NOTE_CHARACTERS)


def by_parameter(found: Slice, source: Source) -> Figure:
    """The metric against one parameter, a line for each value of a second one."""
    names = parameter_name(found.x) + (f" and {parameter_name(found.line)}" if found.line else "")
    cells = _cells(found, source.metric)
    note = source.note(_fixed_note(found), *_warnings(cells))
    figure = new_figure(
        capital(f"{source.label} by {names}"), spread_text(cells, found, source), note
    )
    axes = figure.subplots(gridspec_kw=frame(figure, note, legend=found.line is not None))
    _draw_slice(axes, found, source.metric)
    _scale(cells).apply(axes, source.label)
    ParameterAxis(found.x, found.x_values).apply(axes)
    if found.line:
        add_legend(figure, _line_handles(found), parameter_name(found.line))
    return figure


def accuracy_and_time(found: Slice, source: Source) -> Figure:
    """The metric and the training time against width, in two panels with one x axis."""
    cells = _cells(found, source.metric)
    note = source.note(
        _fixed_note(found), "Lower panel: mean training time of one trial.", *_warnings(cells)
    )
    figure = new_figure(
        capital(f"{source.label} and training time by {parameter_name(found.x)}"),
        spread_text(cells, found, source),
        note,
        height=5.2,
    )
    margins = frame(figure, note, legend=found.line is not None)
    upper, lower = figure.subplots(2, sharex=True, gridspec_kw={**margins, "hspace": 0.12})
    _draw_slice(upper, found, source.metric)
    _scale(cells).apply(upper, source.label)
    axis = ParameterAxis(found.x, found.x_values)
    for index, line in enumerate(found.line_values):
        seconds = {x: _seconds(found.cells.get((x, line), ())) for x in found.x_values}
        timed = [(axis(x), value) for x, value in seconds.items() if value is not None]
        if timed:
            lower.plot(*zip(*timed, strict=True), **series_style(index), ms=5, lw=1.5)
    axis.apply(lower)
    upper.tick_params(bottom=False)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("Training time (s)")
    figure.align_ylabels([upper, lower])
    if found.line:
        add_legend(figure, _line_handles(found), parameter_name(found.line))
    return figure


def _seconds(configurations: Sequence[Configuration]) -> float | None:
    found = [c.train_seconds for c in configurations if c.train_seconds is not None]
    return sum(found) / len(found) if found else None


def _cells(found: Slice, metric: str) -> list[Cell]:
    wanted = (found.cell(x, line, metric) for x in found.x_values for line in found.line_values)
    return [cell for cell in wanted if cell]


def _warnings(cells: Sequence[Cell]) -> list[str]:
    ends = [end for cell in cells for end in (cell.low, cell.high) if end is not None]
    sentences = ["Cross: diverged."] if any(cell.diverged for cell in cells) else []
    return [*sentences, CUT_NOTE] if _scale(cells).cuts(ends) else sentences


def _scale(cells: Iterable[Cell]) -> AccuracyScale:
    points: list[float] = []
    ends: list[float] = []
    for cell in cells:
        pooled = len(cell.configurations) > 1 and cell.centre is not None
        # A pooled cell's worst settings would squeeze what the figure is about.
        wanted = [cell.low, cell.centre, max(cell.points)] if pooled else cell.points
        points += [value for value in wanted if value is not None]
        ends += [value for value in (cell.low, cell.high) if value is not None]
    return AccuracyScale.fit(points, ends)


def _draw_slice(axes: Axes, found: Slice, metric: str) -> None:
    scale, axis = _scale(_cells(found, metric)), ParameterAxis(found.x, found.x_values)
    lines = found.line_values
    # A line and the points beside it, clear of the next line and of the next value.
    room = min(_LINE_ROOM, 0.7 * axis.least_gap / len(lines))
    for index, line in enumerate(lines):
        dodge = room * (index - (len(lines) - 1) / 2)
        placed = [
            (axis(x, dodge), axis(x, dodge + 0.55 * room), cell)
            for x in found.x_values
            if (cell := found.cell(x, line, metric))
        ]
        _draw_line(axes, placed, scale, series_style(index, joined=not axis.named))


def _draw_line(
    axes: Axes,
    placed: list[tuple[float, float, Cell]],
    scale: AccuracyScale,
    style: dict[str, Any],
) -> None:
    """Draw one line of a slice: (x of the mean, x of its single points, cell) for each value."""
    for x, beside, cell in placed:
        alpha = 0.8 if cell.centre is None else 0.4
        # A single point is the mean itself.
        heights = [scale(point) for point in cell.points if cell.points != [cell.centre]]
        axes.scatter(
            [beside] * len(heights), heights, s=13, lw=0, color=style["color"], alpha=alpha
        )
        if cell.centre is not None and cell.high is not None:
            low = scale.low if cell.low is None else scale(cell.low)
            axes.plot([x, x], [low, scale(cell.high)], color=style["color"], lw=1.6)
        if cell.diverged:
            axes.plot(
                x, 0.025, "x", color=style["color"], ms=6, mew=1.8,
                transform=axes.get_xaxis_transform(), clip_on=False,
            )  # fmt: skip
    centres = [(x, scale(cell.centre)) for x, _, cell in placed if cell.centre is not None]
    if centres:
        axes.plot(*zip(*centres, strict=True), **style, lw=1.5, ms=5.5)


def _line_handles(found: Slice) -> list[Line2D]:
    texts = value_texts(found.line_values, found.line or "")
    joined = not any(isinstance(x, str) for x in found.x_values)
    return [
        Line2D([], [], **series_style(index, joined), lw=1.5, ms=5.5, label=text)
        for index, text in enumerate(texts)
    ]


def spread_text(cells: Sequence[Cell], found: Slice, source: Source) -> str:
    """What the points and bars of ``cells`` are, with the number of seeds."""
    seeds = seeds_text([c for cell in cells for c in cell.configurations], source.metric)
    if found.settings == 0:
        return f"Each point a configuration ({seeds}); the other parameters differ too"
    if found.settings > 1:
        return (
            f"Median and middle half over {found.settings:,} settings of the other parameters, "
            f"{seeds}; faint: each setting"
        )
    kinds = {
        interval.kind
        for cell in cells
        for c in cell.configurations
        if (interval := c.interval(source.metric))
    }
    if kinds == {"binomial over images"}:
        return f"Bars: 95 % binomial interval over images, not over seeds ({seeds})"
    mixed = " (n = 1: binomial)" if len(kinds) > 1 else ""
    return f"Mean and 95 % interval{mixed} over {seeds}; faint: each seed"


def seeds_text(configurations: Iterable[Configuration], metric: str) -> str:
    """How many seeds stand behind a figure: "n = 3 seeds", "n = 1 to 3 seeds"."""
    counts = {len(c.values(metric)) for c in configurations} - {0} or {0}
    low, high = min(counts), max(counts)
    many = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {many} seed{'' if high == 1 else 's'}"


def _fixed_note(found: Slice) -> str:
    if found.fixed:
        values = [assignment(n, v) for n, v in found.fixed.items() if v is not None]
        return f"Held fixed: {', '.join(values)}."
    return "Every point over the same settings." if found.settings > 1 else ""


def heat_map(found: Slice, source: Source) -> Figure:
    """The metric by ``found``'s two crossed parameters, written into the cells of a map."""
    assert found.line is not None
    cells = _cells(found, source.metric)
    note = source.note(
        _fixed_note(found),
        "The stronger the colour, the better.",
        _framed_note(cells, found, source),
    )
    names = f"{parameter_name(found.x)} and {parameter_name(found.line)}"
    subtitle = spread_text(cells, found, source).split("; faint")[0]
    figure = new_figure(capital(f"{source.label} (%) by {names}"), subtitle, note)
    axes = figure.subplots(gridspec_kw=frame(figure, note, legend=False))
    centres = [cell.centre for cell in cells if cell.centre is not None]
    scale = AccuracyScale.fit(centres)
    best = max(centres, default=None)
    for column, x in enumerate(found.x_values):
        for row, line in enumerate(found.line_values):
            cell = found.cell(x, line, source.metric)
            _draw_cell(axes, (column, row), cell, scale, len(found.x_values))
            if cell and best is not None and cell.centre == best:
                place = (column - 0.47, row - 0.46)
                axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, ec=COLOURS[1], lw=2.5))
    _label_map(axes, found)
    return figure


def _label_map(axes: Axes, found: Slice) -> None:
    assert found.line is not None
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(found.x_values) - 0.5)
    axes.set_ylim(-0.5, len(found.line_values) - 0.5)
    axes.set_xticks(range(len(found.x_values)), value_texts(found.x_values, found.x))
    axes.set_yticks(range(len(found.line_values)), value_texts(found.line_values, found.line))
    axes.set_xlabel(capital(axis_label(found.x)))
    axes.set_ylabel(capital(axis_label(found.line)))


def _draw_cell(
    axes: Axes, place: tuple[int, int], cell: Cell | None, scale: AccuracyScale, columns: int
) -> None:
    if cell is None or cell.centre is None:
        text = "diverged" if cell and cell.diverged else "no trial"
        axes.text(*place, text, ha="center", va="center", size=8, color=FAINT)
        return
    shade = Normalize(scale.low, scale.high)(scale(cell.centre))
    corner = (place[0] - 0.49, place[1] - 0.48)
    axes.add_patch(Rectangle(corner, 0.98, 0.96, fc=_HEAT(shade), ec="none"))
    lines = [_spread_in_cell(cell)] if columns <= 8 else []
    if cell.diverged:
        lines.append(f"{cell.diverged} diverged")
    ink = BACKGROUND if shade > 0.5 else INK
    x, y = place
    size = 10 if columns <= 6 else 8
    axes.text(x, y + 0.13 * bool(lines), f"{100 * cell.centre:.2f}", ha="center", va="center",
              size=size, weight="bold", color=ink)  # fmt: skip
    axes.text(x, y - 0.22, ", ".join(lines), ha="center", va="center", size=7.5, color=ink)


def _spread_in_cell(cell: Cell) -> str:
    if cell.centre is None or cell.high is None:
        return ""
    if len(cell.configurations) > 1:
        low = "below" if cell.low is None else f"{100 * cell.low:.1f}"
        return f"{low} to {100 * cell.high:.1f}"
    return f"± {100 * max(cell.high - cell.centre, cell.centre - (cell.low or 0.0)):.2f}"


def _framed_note(cells: Sequence[Cell], found: Slice, source: Source) -> str:
    if found.settings > 1:
        return "Framed: the best median. Small: the quartiles."
    ranked = rank([c for cell in cells for c in cell.configurations], source.metric)
    verdicts = [comparison.verdict for comparison in compare_with_best(ranked, source.metric)]
    if "untested" in verdicts:
        return "Framed: the best."
    others = f"{verdicts.count('tied')} of the {len(verdicts) - 1} others"
    return f"Framed: the best; {others} cannot be told apart from it."
