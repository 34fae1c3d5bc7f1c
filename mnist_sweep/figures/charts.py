"""The charts: each turns selected results into one matplotlib figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.ranking import rank
from mnist_sweep.analysis.slices import Cell, Slice
from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import compare_with_best
from mnist_sweep.figures.scales import CUT_NOTE, MetricScale, ParameterAxis
from mnist_sweep.figures.style import (
    BACKGROUND,
    COLOURS,
    FAINT,
    INK,
    add_legend,
    footnote,
    frame,
    new_figure,
    series_style,
)
from mnist_sweep.labels import assignments, axis_label, capital, parameter_name, value_texts
from mnist_sweep.metrics import Metric

#: Light to dark in one hue: in order for any kind of colour vision, and in grey print.
_HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f1e8", "#9cc3d5", "#0072B2", "#00395a"])
#: What a line has on the x axis for its marker and the points beside it, as a share of the axis.
_LINE_ROOM = 0.03


def by_parameter(shown: Slice, study: Study) -> Figure:
    """The metric against one parameter, a line for each value of a second one."""
    names = parameter_name(shown.x) + (f" and {parameter_name(shown.line)}" if shown.line else "")
    cells = _cells(shown, study.metric)
    note = footnote(study, _fixed_note(shown), *_warnings(cells, study.metric))
    title = capital(f"{study.metric.label} by {names}")
    figure = new_figure(title, _spread_text(cells, shown, study.metric), note)
    axes = figure.subplots(gridspec_kw=frame(figure, note, legend=shown.line is not None))
    _draw_slice(axes, shown, study.metric)
    ParameterAxis(shown.x, shown.x_values).apply(axes)
    _add_legend(figure, shown)
    return figure


def metric_and_time(shown: Slice, study: Study) -> Figure:
    """The metric and the training time against width, in two panels with one x axis."""
    cells = _cells(shown, study.metric)
    note = footnote(
        study,
        _fixed_note(shown),
        "Lower panel: mean training time of one trial.",
        *_warnings(cells, study.metric),
    )
    title = capital(f"{study.metric.label} and training time by {parameter_name(shown.x)}")
    figure = new_figure(title, _spread_text(cells, shown, study.metric), note, height=5.2)
    margins = frame(figure, note, legend=shown.line is not None)
    upper, lower = figure.subplots(2, sharex=True, gridspec_kw={**margins, "hspace": 0.12})
    _draw_slice(upper, shown, study.metric)
    axis = ParameterAxis(shown.x, shown.x_values)
    for index, line in enumerate(shown.line_values):
        seconds = {x: _seconds(shown.cells.get((x, line), ())) for x in shown.x_values}
        timed = [(axis(x), value) for x, value in seconds.items() if value is not None]
        if timed:
            lower.plot(*zip(*timed, strict=True), **series_style(index), ms=5, lw=1.5)
    axis.apply(lower)
    upper.tick_params(bottom=False)
    lower.set_ylim(bottom=0)
    lower.set_ylabel("Training time (s)")
    figure.align_ylabels([upper, lower])
    _add_legend(figure, shown)
    return figure


def _seconds(configurations: Sequence[Configuration]) -> float | None:
    timed = [s for c in configurations if (s := c.cost("train_seconds")) is not None]
    return sum(timed) / len(timed) if timed else None


def _cells(shown: Slice, metric: Metric) -> list[Cell]:
    wanted = (shown.cell(x, line, metric) for x in shown.x_values for line in shown.line_values)
    return [cell for cell in wanted if cell]


def _warnings(cells: Sequence[Cell], metric: Metric) -> list[str]:
    ends = [end for cell in cells for end in (cell.worse, cell.better) if end is not None]
    sentences = ["Cross: diverged."] if any(cell.diverged for cell in cells) else []
    return [*sentences, CUT_NOTE] if _scale(cells, metric).cuts(ends) else sentences


def _scale(cells: Iterable[Cell], metric: Metric) -> MetricScale:
    points: list[float] = []
    ends: list[float] = []
    for cell in cells:
        pooled = len(cell.configurations) > 1 and cell.centre is not None
        # A pooled cell's worst settings would squeeze what the figure is about.
        wanted = [cell.worse, cell.centre, metric.best(cell.points)] if pooled else cell.points
        points += [value for value in wanted if value is not None]
        ends += [value for value in (cell.worse, cell.better) if value is not None]
    return MetricScale.fit(metric, points, ends)


def _draw_slice(axes: Axes, shown: Slice, metric: Metric) -> None:
    scale, axis = _scale(_cells(shown, metric), metric), ParameterAxis(shown.x, shown.x_values)
    lines = shown.line_values
    # A line and the points beside it, clear of the next line and of the next value.
    room = min(_LINE_ROOM, 0.7 * axis.least_gap / len(lines))
    for index, line in enumerate(lines):
        dodge = room * (index - (len(lines) - 1) / 2)
        placed = [
            (axis(x, dodge), axis(x, dodge + 0.55 * room), cell)
            for x in shown.x_values
            if (cell := shown.cell(x, line, metric))
        ]
        _draw_line(axes, placed, scale, series_style(index, joined=not axis.named))
    scale.apply(axes, metric.label)


def _draw_line(
    axes: Axes,
    placed: list[tuple[float, float, Cell]],
    scale: MetricScale,
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
        if cell.centre is not None and cell.better is not None:
            low = scale.low if cell.worse is None else scale(cell.worse)
            axes.plot([x, x], [low, scale(cell.better)], color=style["color"], lw=1.6)
        if cell.diverged:
            axes.plot(
                x, 0.025, "x", color=style["color"], ms=6, mew=1.8,
                transform=axes.get_xaxis_transform(), clip_on=False,
            )  # fmt: skip
    centres = [(x, scale(cell.centre)) for x, _, cell in placed if cell.centre is not None]
    if centres:
        axes.plot(*zip(*centres, strict=True), **style, lw=1.5, ms=5.5)


def _add_legend(figure: Figure, shown: Slice) -> None:
    if shown.line is None:
        return
    joined = not any(isinstance(x, str) for x in shown.x_values)
    handles = [
        Line2D([], [], **series_style(index, joined), lw=1.5, ms=5.5, label=text)
        for index, text in enumerate(value_texts(shown.line_values, shown.line))
    ]
    add_legend(figure, handles, parameter_name(shown.line))


def _spread_text(cells: Sequence[Cell], shown: Slice, metric: Metric) -> str:
    """What the points and bars of ``cells`` are, with the number of seeds."""
    members = [c for cell in cells for c in cell.configurations]
    seeds = seeds_text(members, metric)
    if shown.settings == 0:
        return f"Each point a configuration ({seeds}); the other parameters differ too"
    if shown.settings > 1:
        return (
            f"Median and middle half over {shown.settings:,} settings of the other parameters, "
            f"{seeds}; faint: each setting"
        )
    kinds = {interval.kind for c in members if (interval := c.interval(metric))}
    if not kinds:
        return f"One point a configuration, without intervals ({seeds})"
    if kinds == {"binomial over images"}:
        return f"Bars: 95 % binomial interval over images, not over seeds ({seeds})"
    mixed = " (n = 1: binomial)" if len(kinds) > 1 else ""
    return f"Mean and 95 % interval{mixed} over {seeds}; faint: each seed"


def seeds_text(configurations: Iterable[Configuration], metric: Metric) -> str:
    """How many seeds stand behind a figure: "n = 3 seeds", "n = 1 to 3 seeds"."""
    counts = {len(c.values(metric)) for c in configurations} - {0} or {0}
    low, high = min(counts), max(counts)
    many = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {many} seed{'' if high == 1 else 's'}"


def _fixed_note(shown: Slice) -> str:
    if shown.fixed:
        return f"Held fixed: {assignments(shown.fixed)}."
    return "Every point over the same settings." if shown.settings > 1 else ""


def heat_map(shown: Slice, study: Study) -> Figure:
    """The metric by two crossed parameters, written into the cells of a map."""
    assert shown.line is not None
    metric = study.metric
    cells = _cells(shown, metric)
    note = footnote(
        study,
        _fixed_note(shown),
        "The stronger the colour, the better.",
        _framed_note(cells, shown, metric),
    )
    names = f"{parameter_name(shown.x)} and {parameter_name(shown.line)}"
    unit = " (%)" if metric.is_accuracy else ""
    subtitle = _spread_text(cells, shown, metric).split("; faint")[0]
    figure = new_figure(capital(f"{metric.label}{unit} by {names}"), subtitle, note)
    axes = figure.subplots(gridspec_kw=frame(figure, note, legend=False))
    centres = [cell.centre for cell in cells if cell.centre is not None]
    scale = MetricScale.fit(metric, centres)
    for column, x in enumerate(shown.x_values):
        for row, line in enumerate(shown.line_values):
            cell = shown.cell(x, line, metric)
            _draw_cell(axes, (column, row), cell, scale, len(shown.x_values))
            if cell and centres and cell.centre == metric.best(centres):
                place = (column - 0.47, row - 0.46)
                axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, ec=COLOURS[1], lw=2.5))
    _label_map(axes, shown)
    return figure


def _label_map(axes: Axes, shown: Slice) -> None:
    assert shown.line is not None
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlim(-0.5, len(shown.x_values) - 0.5)
    axes.set_ylim(-0.5, len(shown.line_values) - 0.5)
    axes.set_xticks(range(len(shown.x_values)), value_texts(shown.x_values, shown.x))
    axes.set_yticks(range(len(shown.line_values)), value_texts(shown.line_values, shown.line))
    axes.set_xlabel(capital(axis_label(shown.x)))
    axes.set_ylabel(capital(axis_label(shown.line)))


def _draw_cell(
    axes: Axes, place: tuple[int, int], cell: Cell | None, scale: MetricScale, columns: int
) -> None:
    if cell is None or cell.centre is None:
        text = "diverged" if cell and cell.diverged else "no trial"
        axes.text(*place, text, ha="center", va="center", size=8, color=FAINT)
        return
    shade = Normalize(scale.low, scale.high)(scale(cell.centre))
    corner = (place[0] - 0.49, place[1] - 0.48)
    axes.add_patch(Rectangle(corner, 0.98, 0.96, fc=_HEAT(shade), ec="none"))
    lines = [_spread_in_cell(cell, scale.metric)] if columns <= 8 else []
    if cell.diverged:
        lines.append(f"{cell.diverged} diverged")
    ink = BACKGROUND if shade > 0.5 else INK
    x, y = place
    size = 10 if columns <= 6 else 8
    axes.text(x, y + 0.13 * bool(lines), scale.metric.number(cell.centre), ha="center",
              va="center", size=size, weight="bold", color=ink)  # fmt: skip
    axes.text(x, y - 0.22, ", ".join(lines), ha="center", va="center", size=7.5, color=ink)


def _spread_in_cell(cell: Cell, metric: Metric) -> str:
    if cell.centre is None or cell.better is None:
        return ""
    if len(cell.configurations) > 1:
        worse = "worse" if cell.worse is None else metric.number(cell.worse, fewer_digits=1)
        return f"{worse} to {metric.number(cell.better, fewer_digits=1)}"
    (only,) = cell.configurations
    interval = only.interval(metric)
    return f"± {metric.number(interval.half_width)}" if interval else ""


def _framed_note(cells: Sequence[Cell], shown: Slice, metric: Metric) -> str:
    if shown.settings > 1:
        return "Framed: the best median. Small: the quartiles."
    ranked = rank([c for cell in cells for c in cell.configurations], metric)
    verdicts = [comparison.verdict for comparison in compare_with_best(ranked, metric)]
    if "untested" in verdicts:
        return "Framed: the best."
    others = f"{verdicts.count('tied')} of the {len(verdicts) - 1} others"
    return f"Framed: the best; {others} may be the best as well."
