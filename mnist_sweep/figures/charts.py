"""The charts: each turns selected results into one matplotlib figure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.ranking import rank
from mnist_sweep.analysis.slices import MAX_LEVELS, Cell, Slice, panels
from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import compare_with_best
from mnist_sweep.figures.scales import CHARACTER_INCHES, MetricScale, ParameterAxis, shrink_labels
from mnist_sweep.figures.sheet import add_legend, footnote, frame, name_axes, new_figure, panel_grid
from mnist_sweep.figures.style import BACKGROUND, COLOURS, FAINT, HEIGHT_INCHES, paper, series_style
from mnist_sweep.labels import assignments, axis_label, capital, count, parameter_name, value_texts
from mnist_sweep.metrics import Metric

#: Light to dark in one hue: in order for any kind of colour vision, and in grey print.
_HEAT = LinearSegmentedColormap.from_list("heat", ["#f4f1e8", "#9cc3d5", "#0072B2", "#00395a"])
#: What a line has on the x axis for its marker and the points beside it, as a share of the axis.
_LINE_ROOM = 0.03
#: Cells of heat maps side by side, and how long a row's name is that takes the room of one.
_MAP_COLUMNS, _CELL_CHARACTERS = 8, 9
#: The size at which a title has so many letters in an inch.
_TITLE_POINTS = 140


def by_parameter(shown: Slice, study: Study) -> Figure:
    """The metric against one parameter, a line for each value of a second one.

    In ``panels`` where a third one divides the cells.
    """
    metric = study.metric
    parts = panels(shown, metric)
    cells = _cells(parts, metric)
    scale, axis = _scale(cells, metric), ParameterAxis(shown.x, shown.x_values)
    note = footnote(study, *_shown_notes(parts, study), *_warnings(cells, scale))
    most = 2 if paper() else 3
    columns = len(parts) if len(parts) <= most else min(most, -(-len(parts) // 2))
    height = HEIGHT_INCHES + 1.3 * ((len(parts) - 1) // columns)
    title = capital(f"{metric.label} by {_names(shown, parts)}")
    figure = new_figure(title, _spread_text(parts, metric), note, height)
    places, margins = _panel_axes(figure, note, parts, columns, shared=True)
    for axes, part in zip(places, parts, strict=True):
        _draw_slice(axes, part, scale, axis)
        axis.apply(axes)
        scale.apply(axes, "")
    name_axes(figure, margins, axis.label, f"{capital(metric.label)} ({scale.unit})")
    _add_legend(figure, shown, parts, axis)
    return figure


def _names(shown: Slice, parts: Sequence[Slice]) -> str:
    """The parameters by which a figure shows the metric: "learning rate, activation and depth"."""
    names = [shown.x, shown.line, *_dividing(parts)]
    *most, last = (parameter_name(name) for name in names if name)
    return f"{', '.join(most)} and {last}" if most else last


def _dividing(parts: Sequence[Slice]) -> list[str]:
    """The parameters whose values are not the same in all ``parts``."""
    names = dict.fromkeys(name for part in parts for name in part.fixed)
    return [n for n in names if any(p.fixed.get(n) != parts[0].fixed.get(n) for p in parts)]


def _panel_axes(
    figure: Figure, note: str, parts: Sequence[Slice], columns: int, shared: bool
) -> tuple[list[Axes], dict[str, float]]:
    """Axes for each of ``parts``, named by what tells it from the others, and their margins."""
    spaces, beside = {"wspace": 0.08, "hspace": 0.26}, 0.0
    if not shared:
        # The names of the rows stand before each panel.
        names = value_texts(parts[0].line_values, parts[0].line or "")
        beside = CHARACTER_INCHES * max(map(len, names))
        panel = max((figure.get_figwidth() - beside - 0.65) / columns - beside, 0.3)
        spaces = {"wspace": max(0.25, beside / panel), "hspace": 0.4}
    left = max(0.85, 0.4 + beside)
    margins = frame(figure, note, left=left, above=0.13 * (len(parts) > 1))
    places = panel_grid(figure, len(parts), columns, margins | spaces, shared)
    dividing = _dividing(parts)
    for axes, part in zip(places, parts, strict=True):
        title = assignments({name: part.fixed[name] for name in dividing if name in part.fixed})
        text = axes.set_title(title, loc="left", pad=4)
        fitting = _TITLE_POINTS * axes.bbox.width / figure.dpi / max(len(title), 1)
        text.set_fontsize(min(text.get_fontsize(), fitting))
    return places, margins


def _cells(parts: Sequence[Slice], metric: Metric) -> list[Cell]:
    places = ((part, x, line) for part in parts for x in part.x_values for line in part.line_values)
    return [cell for part, x, line in places if (cell := part.cell(x, line, metric))]


def _warnings(cells: Sequence[Cell], scale: MetricScale) -> list[str]:
    ends = [end for cell in cells for end in (cell.worse, cell.better) if end is not None]
    below = sum(scale(point) < scale.low for cell in cells for point in cell.points)
    return [
        "Cross: diverged." * any(cell.diverged for cell in cells),
        f"Below the frame: {count(below, 'setting')}." * (below > 0),
        scale.cut_note(ends),
    ]


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


def _draw_slice(axes: Axes, shown: Slice, scale: MetricScale, axis: ParameterAxis) -> None:
    lines = shown.line_values
    # A line and the points beside it, clear of the next line and of the next value.
    room = min(_LINE_ROOM, 0.7 * axis.least_gap / len(lines))
    for index, line in enumerate(lines):
        dodge = room * (index - (len(lines) - 1) / 2)
        beside = dodge + 0.55 * room * (shown.settings > 0)
        look = series_style(index, joined=not axis.named)
        bar = _bar(shown) | {"color": look["color"]}
        centres: list[tuple[float, float]] = []
        for x in shown.x_values:
            if cell := shown.cell(x, line, scale.metric):
                places = axis(x, dodge), axis(x, beside)
                _draw_points(axes, places, cell, scale, bar)
                if cell.centre is not None:
                    centres.append((places[0], scale(cell.centre)))
        if axis.zero_apart and centres and centres[0][0] < axis(0, dodge + 0.5 * axis.least_gap):
            # There is no way from 0 on a logarithmic axis.
            centres.insert(1, (math.nan, math.nan))
        if centres:
            axes.plot(*zip(*centres, strict=True), **look, lw=1.5, ms=5.5)


def _bar(shown: Slice) -> dict[str, Any]:
    """Thin for an interval of seeds; broad and pale for the spread of other settings."""
    return {"lw": 6, "alpha": 0.3, "solid_capstyle": "butt"} if shown.settings > 1 else {"lw": 1.6}


def _draw_points(
    axes: Axes, places: tuple[float, float], cell: Cell, scale: MetricScale, bar: dict[str, Any]
) -> None:
    """What is about the mean of ``cell``, at the first of ``places``, and its points beside it."""
    x, beside = places
    # A single point is the mean itself.
    heights = [scale(point) for point in cell.points if cell.points != [cell.centre]]
    alpha, colour = 0.8 if cell.centre is None else 0.4, bar["color"]
    axes.scatter([beside] * len(heights), heights, s=13, lw=0, color=colour, alpha=alpha)
    if cell.centre is not None and cell.better is not None:
        low = scale.low if cell.worse is None else scale(cell.worse)
        axes.plot([x, x], [low, scale(cell.better)], **bar)
    if cell.diverged:
        at_foot: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(x, 0.025, "x", color=colour, ms=6, mew=1.8, **at_foot)


def _add_legend(figure: Figure, shown: Slice, parts: Sequence[Slice], axis: ParameterAxis) -> None:
    """What the lines are and, where it is not what one would expect, the bars."""
    handles = []
    if shown.line:
        handles += [
            Line2D([], [], **series_style(index, not axis.named), lw=1.5, ms=5.5, label=text)
            for index, text in enumerate(value_texts(shown.line_values, shown.line))
        ]
    bars = "95 % interval" if paper() and parts[0].settings else ""
    if parts[0].settings > 1:
        bars = f"middle half of {parts[0].settings:,} settings"
    if bars:
        handles.append(Line2D([], [], color=FAINT, label=bars, **_bar(parts[0])))
    if handles:
        add_legend(figure, handles, parameter_name(shown.line) if shown.line else "")


def _spread_text(parts: Sequence[Slice], metric: Metric) -> str:
    """What the points and bars of ``parts`` are, with the number of seeds."""
    members = [c for part in parts for c in part.configurations]
    seeds, settings = seeds_text(members, metric), parts[0].settings
    if settings == 0:
        return f"Each point a configuration ({seeds}); the other parameters differ too"
    if settings > 1:
        return (
            f"Median and middle half over {settings:,} settings of the other parameters, "
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


def _shown_notes(parts: Sequence[Slice], study: Study) -> list[str]:
    """What all that ``parts`` show have in common, and how much of the study that is."""
    different = _dividing(parts)
    fixed = {name: value for name, value in parts[0].fixed.items() if name not in different}
    shown, total = sum(len(part.configurations) for part in parts), len(study.configurations)
    return [
        f"Held fixed: {assignments(fixed)}." if fixed else "",
        "Every point over the same settings." if parts[0].settings > 1 else "",
        f"Shown: {shown:,} of {total:,} configurations." if shown < total else "",
    ]


def heat_map(shown: Slice, study: Study) -> Figure:
    """The metric by two crossed parameters, written into the cells of a map.

    In ``panels`` where a third one divides the cells.
    """
    metric = study.metric
    parts = panels(shown, metric)
    cells = _cells(parts, metric)
    note = footnote(
        study,
        *_shown_notes(parts, study),
        "The stronger the colour, the better.",
        _framed_note(cells, parts[0], metric),
    )
    unit = " (%)" if metric.is_accuracy else ""
    xs, lines = shown.x_values, shown.line_values
    crowd = 2 if paper() else 1
    names = max(map(len, value_texts(lines, shown.line or ""))) // _CELL_CHARACTERS
    columns = max(1, min(len(parts), _MAP_COLUMNS // (crowd * len(xs) + names)))
    rows = -(-len(parts) // columns)
    height = max(HEIGHT_INCHES, 1.7 + rows * (0.36 * len(lines) + 0.5))
    title = capital(f"{metric.label}{unit} by {_names(shown, parts)}")
    about = _spread_text(parts, metric).split("; faint")[0].replace("Bars", "±")
    figure = new_figure(title, about, note, height)
    places, margins = _panel_axes(figure, note, parts, columns, shared=False)
    centres = [cell.centre for cell in cells if cell.centre is not None]
    framed = [centre for centre in centres if math.isclose(centre, metric.best(centres))]
    scale = MetricScale.fit(metric, centres)
    for axes, part in zip(places, parts, strict=True):
        _label_map(axes, shown)
        for column, x in enumerate(xs):
            for row, line in enumerate(lines):
                cell = part.cell(x, line, metric)
                _draw_cell(axes, (column, row), cell, scale, len(xs) * columns * crowd)
                if cell and cell.centre in framed:
                    place = (column - 0.47, row - 0.46)
                    axes.add_patch(Rectangle(place, 0.94, 0.92, fill=False, ec=COLOURS[1], lw=2.5))
    assert shown.line is not None
    name_axes(figure, margins, capital(axis_label(shown.x)), capital(axis_label(shown.line)))
    return figure


def _label_map(axes: Axes, shown: Slice) -> None:
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    xs, lines = shown.x_values, shown.line_values
    axes.set(xlim=(-0.5, len(xs) - 0.5), ylim=(-0.5, len(lines) - 0.5))
    axes.set_xticks(range(len(xs)), value_texts(xs, shown.x))
    axes.set_yticks(range(len(lines)), value_texts(lines, shown.line or ""))
    shrink_labels(axes, 1 / len(xs))


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
    most = MAX_LEVELS if len(cell.configurations) == 1 and not paper() else _MAP_COLUMNS
    lines = [_spread_in_cell(cell, scale.metric, columns > 6 or paper())] if columns <= most else []
    if cell.diverged:
        lines.append(f"{cell.diverged} diverged")
    ink = BACKGROUND if shade > 0.5 else None
    x, y = place
    size = 10 if columns <= 6 else 8
    look: dict[str, Any] = {"ha": "center", "va": "center", "color": ink}
    value = scale.metric.number(cell.centre)
    axes.text(x, y + 0.13 * bool(lines), value, size=size, weight="bold", **look)
    axes.text(x, y - 0.22, ", ".join(lines), size=7.5 if columns <= 6 else 6, **look)


def _spread_in_cell(cell: Cell, metric: Metric, narrow: bool) -> str:
    if cell.centre is None or cell.better is None:
        return ""
    if len(cell.configurations) > 1:
        worse = "worse" if cell.worse is None else metric.number(cell.worse, narrow)
        return f"{worse} to {metric.number(cell.better, narrow)}"
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
    others = f"{verdicts.count('tied') or 'none'} of the {len(verdicts) - 1} others"
    return f"Framed: the best; {others} may be the best as well."
