"""Charts of the search as a whole: accuracy against its cost, and against its number of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
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
from mnist_sweep.figures.columns import Columns
from mnist_sweep.figures.scales import MetricScale
from mnist_sweep.figures.sheet import add_legend, footnote, frame, new_figure
from mnist_sweep.figures.style import BACKGROUND, COLOURS, paper
from mnist_sweep.labels import capital, count

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
    prices, on_front = (
        [(cost_of(c, cost) or 0.0) / one for c in cs] for cs in (configurations, front)
    )
    means, best = ([c.mean(metric) or 0.0 for c in cs] for cs in (configurations, front))
    scale, below = MetricScale.of_the_better(metric, means, best)
    logarithmic = max(prices) >= 4 * min(prices)
    steps = [*zip(on_front, map(scale, best), strict=True)]
    named = _named(steps, scale, logarithmic)
    common, total = study.common_text(front), len(study.configurations)
    note = footnote(
        study,
        "Front: no configuration is both cheaper and better"
        + (f"; all with {common}." if common else "."),
        f"On it without a number: {len(front) - len(named)}." * (len(front) > len(named)),
        f"Worse, below the frame: {below:,}." * (below > 0),
        "Work: matrix products of training, on as many images as MNIST has." * (cost == "work"),
        f"Shown: {len(means):,} of {total:,} configurations." * (len(means) < total),
        "Neighbours whose intervals overlap may change places.",
    )
    height = 2.35 + _PLOT_INCHES + _TABLE_ROW * len(named) + 0.14 * note.count("\n")
    seeds = seeds_text(configurations, metric)
    subtitle = f"Each point a configuration ({seeds}); numbered: the Pareto front"
    figure = new_figure(f"{capital(metric.label)} against {COSTS[cost]}", subtitle, note, height)
    margins = frame(figure, note)
    bottom = margins["bottom"] + (0.25 + _TABLE_ROW * len(named)) / height
    axes = figure.subplots(gridspec_kw={**margins, "bottom": bottom})
    alpha = 0.5 if len(means) < 200 else 0.3
    axes.scatter(prices, [*map(scale, means)], s=12, lw=0, color=COLOURS[0], alpha=alpha)
    axes.plot(*zip(*steps, strict=True), color=COLOURS[1], lw=1.4, drawstyle="steps-post")
    number: dict[str, Any] = {"ha": "center", "va": "center_baseline", "weight": "bold"}
    for i, place in enumerate(named, 1):
        axes.plot(*steps[place], "o", ms=10, color=COLOURS[1], mec=BACKGROUND, mew=0.8)
        axes.annotate(str(i), steps[place], size=7, color=BACKGROUND, **number)
    _scale_cost(axes, label, logarithmic)
    scale.apply(axes, metric.label)
    told = [front[place] for place in named]
    means_text = metric.label, [c.text(metric) for c in told]
    costs = [f"{p:,.0f}" if p >= 100 else f"{p:.3g}" for p in (on_front[place] for place in named)]
    room = figure.get_figwidth() - Columns.LEFT - 0.3
    table = Columns(told, varying_values(front), room, [means_text, (head, costs)])
    # In rows: the table's own axes, with its names, ends where the axis label has room.
    share = _TABLE_ROW * (len(told) + 0.9) / height
    foot = figure.add_axes((0, margins["bottom"] - 0.56 / height, 1, share))
    foot.set_axis_off()
    foot.set_ylim(0.5 - len(told), 1.4)
    table.write(foot, above=1.0)
    dot = Line2D([], [], marker="o", ls="", ms=4, color=COLOURS[0], label="configuration")
    add_legend(figure, [dot, Line2D([], [], color=COLOURS[1], lw=1.4, label="Pareto front")])
    return figure


def _named(
    front: Sequence[tuple[float, float]], scale: MetricScale, logarithmic: bool
) -> list[int]:
    """The last of ``front`` (cost, height) and those, going down, with room for a number."""
    costs, heights = np.array(front).T
    across = np.log(costs) if logarithmic else costs
    across, up = across / (np.ptp(across) or 1.0), heights / (scale.high - scale.low)
    chosen: list[int] = []
    for i in reversed(range(len(front))):
        apart = np.hypot(across[chosen] - across[i], up[chosen] - up[i])
        if len(chosen) < MAX_NAMED and apart.min(initial=1.0) >= _APART:
            chosen.append(i)
    return chosen[::-1]


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
    what = f"Mean {metric.label} of the best of the first trials"
    about = f"{what}; shaded: the middle 80 % of orders"
    figure = new_figure(f"Expected best of {n:,} trials in random order", about, note)
    axes = figure.subplots(gridspec_kw=frame(figure, note))
    # An accuracy has no place on the axis of a loss.
    tests = best.test_accuracy if metric.is_accuracy else []
    scale = MetricScale.fit(metric, [*best.mean, *best.better, *tests], best.worse)
    worse, better = ([scale(v) for v in ends] for ends in (best.worse, best.better))
    axes.fill_between(best.trials, worse, better, color=COLOURS[0], alpha=0.15, lw=0)
    style: dict[str, Any] = {"lw": 1.6, "marker": "o" if n <= 12 else None, "ms": 4}
    style |= {"color": COLOURS[0], "label": f"best {metric.label}"}
    axes.plot(best.trials, [*map(scale, best.mean)], **style)
    if tests:
        style |= {"color": COLOURS[1], "label": "test accuracy of that trial", "ls": "--"}
        axes.plot(best.trials, [*map(scale, tests)], **style)
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
