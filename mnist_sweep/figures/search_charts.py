"""Charts of the search as a whole: accuracy against its cost, and against its number of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.expected_best import ExpectedBest
from mnist_sweep.analysis.pareto import COSTS, FrontCost, cost_of
from mnist_sweep.analysis.study import Study
from mnist_sweep.figures.charts import seeds_text
from mnist_sweep.figures.columns import Columns, value_columns
from mnist_sweep.figures.scales import MetricScale
from mnist_sweep.figures.sheet import add_legend, footnote, frame, new_figure
from mnist_sweep.figures.style import BACKGROUND, COLOURS, paper
from mnist_sweep.labels import capital, count
from mnist_sweep.metrics import Metric

#: Configurations of a front that are named.
MAX_NAMED = 8
_TABLE_ROW, _PLOT_INCHES = 0.2, 2.6
#: Points of the front whose numbers would be nearer than this (a share of the axes) share one.
_APART = 0.055
#: Cost -> label of its axis, head of its column, how much of it the axis counts as one.
_COSTS: dict[FrontCost, tuple[str, str, float]] = {
    "work": ("Planned work of one trial (TFLOP)", "TFLOP", 1e12),
    "parameters": ("Parameters of the network", "parameters", 1.0),
}


class _Point(NamedTuple):
    """A configuration's place, in coordinates of the axes' data."""

    configuration: Configuration
    cost: float
    value: float


def metric_and_cost(
    configurations: Sequence[Configuration],
    front: Sequence[Configuration],
    cost: FrontCost,
    study: Study,
) -> Figure:
    """The metric against ``cost``, with the Pareto ``front`` named below.

    All of ``configurations`` and of ``front`` have both. The hyperparameters that differ on the
    front stand in its table, the others in the note. What is worse than most and not on the front
    may be below the frame, and is counted.
    """
    metric = study.metric
    label, head, one = _COSTS[cost]
    points, on_front = (
        [_Point(c, (cost_of(c, cost) or 0.0) / one, c.mean(metric) or 0.0) for c in several]
        for several in (configurations, front)
    )
    scale, below = MetricScale.of_the_better(
        metric, [point.value for point in points], [point.value for point in on_front]
    )
    common, total = study.common_text(front), len(study.configurations)
    logarithmic = max(p.cost for p in points) >= 4 * min(p.cost for p in points)
    named = _named(on_front, scale, logarithmic)
    note = footnote(
        study,
        "Front: no configuration is both cheaper and better"
        + (f"; all with {common}." if common else "."),
        f"On it without a number: {len(on_front) - len(named)}." * (len(on_front) > len(named)),
        f"Worse, below the frame: {below:,}." * (below > 0),
        "Work: matrix products of training, on as many images as MNIST has." * (cost == "work"),
        f"Shown: {len(points):,} of {total:,} configurations." if len(points) < total else "",
        "Neighbours whose intervals overlap may change places.",
    )
    height = 2.35 + _PLOT_INCHES + _TABLE_ROW * len(named) + 0.14 * note.count("\n")
    figure = new_figure(
        f"{capital(metric.label)} against {COSTS[cost]}",
        f"Each point a configuration ({seeds_text(configurations, metric)}); "
        f"numbered: the Pareto front",
        note,
        height=height,
    )
    margins = frame(figure, note)
    bottom = margins["bottom"] + (0.25 + _TABLE_ROW * len(named)) / height
    axes = figure.subplots(gridspec_kw={**margins, "bottom": bottom})
    axes.scatter(
        [p.cost for p in points],
        [scale(p.value) for p in points],
        s=12,
        lw=0,
        color=COLOURS[0],
        alpha=0.5 if len(points) < 200 else 0.3,
    )
    _draw_front(axes, on_front, named, scale)
    _scale_cost(axes, label, logarithmic)
    scale.apply(axes, metric.label)
    _write_table(figure, named, list(varying_values(front)), head, metric, margins["bottom"])
    add_legend(
        figure,
        [
            Line2D([], [], marker="o", ls="", ms=4, color=COLOURS[0], label="configuration"),
            Line2D([], [], color=COLOURS[1], lw=1.4, label="Pareto front"),
        ],
    )
    return figure


def _named(front: Sequence[_Point], scale: MetricScale, logarithmic: bool) -> list[_Point]:
    """The best of ``front`` and, from there on down, those far enough from it to have a number."""

    def place(point: _Point) -> tuple[float, float]:
        return math.log(point.cost) if logarithmic else point.cost, scale(point.value)

    costs = [place(point)[0] for point in front]
    spans = max(costs) - min(costs) or 1.0, scale.high - scale.low
    chosen: list[_Point] = []
    for point in reversed(front):
        apart = [
            math.hypot(*((a - b) / span for a, b, span in zip(place(point), place(other), spans,
                                                              strict=True)))
            for other in chosen
        ]  # fmt: skip
        if len(chosen) < MAX_NAMED and min(apart, default=1.0) >= _APART:
            chosen.append(point)
    return chosen[::-1]


def _draw_front(
    axes: Axes, front: Sequence[_Point], named: Sequence[_Point], scale: MetricScale
) -> None:
    axes.plot(
        [p.cost for p in front],
        [scale(p.value) for p in front],
        color=COLOURS[1],
        lw=1.4,
        drawstyle="steps-post",
    )
    for number, point in enumerate(named, 1):
        place = point.cost, scale(point.value)
        axes.plot(*place, "o", ms=10, color=COLOURS[1], mec=BACKGROUND, mew=0.8)
        axes.annotate(
            str(number), place, ha="center", va="center_baseline", size=7, color=BACKGROUND,
            weight="bold",
        )  # fmt: skip


def _scale_cost(axes: Axes, label: str, logarithmic: bool) -> None:
    if logarithmic:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        _log_ticks(axes, many=math.log10(high / low) > 2.5)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _compact(value)))
    axes.set_xlabel(label + (", log scale" if logarithmic else ""))


def _log_ticks(axes: Axes, many: bool) -> None:
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if many else (1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())


def _compact(value: float) -> str:
    """A number for an axis: 0.5, 20, 200 k, 1.5 M."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _write_table(
    figure: Figure,
    named: Sequence[_Point],
    differing: Sequence[str],
    head: str,
    metric: Metric,
    bottom: float,
) -> None:
    """Which configurations the numbers on the front are, from ``bottom`` (of the figure) down."""
    configurations = [point.configuration for point in named]
    prices = [f"{p.cost:,.0f}" if p.cost >= 100 else f"{p.cost:.3g}" for p in named]
    columns = [
        *value_columns(configurations, differing),
        (metric.label, [c.text(metric) for c in configurations]),
        (head, prices),
    ]
    height = figure.get_figheight()
    rows = len(named)
    # In rows: the table's own axes, with its names, ends where the axis label has room.
    share = _TABLE_ROW * (rows + 0.9) / height
    axes = figure.add_axes((0, bottom - 0.56 / height, 1, share))
    axes.set_axis_off()
    axes.set_ylim(0.5 - rows, 1.4)
    Columns(columns, figure.get_figwidth() - Columns.LEFT - 0.3).write(axes, above=1.0)


def best_by_trials(best: ExpectedBest, study: Study) -> Figure:
    """The ``best`` of so many trials, and what the choice was made on."""
    metric = study.metric
    note = footnote(
        study,
        "Over all subsets of the trials that were run; every seed is a trial, a diverged one finds "
        "nothing.",
        f"Without {count(failed, 'failed trial')}." if (failed := study.count("failed")) else "",
        study.choice_note,
    )
    n = best.trials[-1]
    figure = new_figure(
        f"Expected best of {n:,} trials in random order",
        f"Mean {metric.label} of the best of the first trials; shaded: the middle 80 % of orders",
        note,
    )
    axes = figure.subplots(gridspec_kw=frame(figure, note))
    # An accuracy has no place on the axis of a loss.
    tests = best.test_accuracy if metric.is_accuracy else []
    scale = MetricScale.fit(metric, [*best.mean, *best.better, *tests], best.worse)
    worse, better = ([scale(v) for v in ends] for ends in (best.worse, best.better))
    axes.fill_between(best.trials, worse, better, color=COLOURS[0], alpha=0.15, lw=0)
    style: dict[str, Any] = {"lw": 1.6, "marker": "o" if n <= 12 else None, "ms": 4}
    label = f"best {metric.label}"
    axes.plot(best.trials, [scale(v) for v in best.mean], color=COLOURS[0], label=label, **style)
    if tests:
        axes.plot(best.trials, [scale(v) for v in tests], color=COLOURS[1], ls="--",
                  label="test accuracy of that trial", **style)  # fmt: skip
    if n > 20:
        axes.set_xscale("log")
        _log_ticks(axes, many=n >= (100 if paper() else 2_000))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.set_xlabel("Trials" + (", log scale" if n > 20 else ""))
    scale.apply(axes, metric.label)
    band = Patch(color=COLOURS[0], alpha=0.15, lw=0, label="luck of the order")
    add_legend(figure, [*axes.get_lines(), band])
    return figure
