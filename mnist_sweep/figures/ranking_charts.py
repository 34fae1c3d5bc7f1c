"""Charts of the best configurations: their ranking, and their curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.analysis.curves import MeanCurve, generalisation_gap
from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import Comparison, Kind
from mnist_sweep.config import HPConfig
from mnist_sweep.figures.charts import seeds_text
from mnist_sweep.figures.columns import Columns
from mnist_sweep.figures.scales import MetricScale
from mnist_sweep.figures.sheet import add_legend, footnote, frame, name_axes, new_figure, panel_grid
from mnist_sweep.figures.style import BACKGROUND, COLOURS, FAINT, HEIGHT_INCHES, paper
from mnist_sweep.labels import capital, count, describe
from mnist_sweep.metrics import Metric

#: The most of the figure's width that is for the columns.
_COLUMNS_SHARE = 4 / 7
#: Kind of configuration -> label, colour of the edge and of the face.
_KINDS: Mapping[Kind, tuple[str, str, str]] = {
    "tied": ("may be the best", COLOURS[0], COLOURS[0]),
    "noisy": ("may be, its seeds scatter much", COLOURS[0], FAINT),
    "worse": ("is not the best", COLOURS[0], BACKGROUND),
    "untested": ("not compared: one seed, or diverged", FAINT, FAINT),
}
_TEST_STYLE: dict[str, Any] = {"marker": "d", "ls": "", "color": COLOURS[1], "ms": 4.5}


def ranking(study: Study, most: int) -> Figure:
    """The best configurations, ``most`` of them, as dots with intervals.

    The hyperparameters that differ between them stand in columns, the others in the note.
    """
    metric, test = study.metric, study.metric.on("test")
    shown = study.measured[:most]
    configurations = [comparison.configuration for comparison in shown]
    common = study.common_text(configurations)
    # The same measure of the test set stands beside that of another split.
    tests = [] if metric == test else [c.mean(test) for c in configurations]
    values = [value for c in configurations for value in c.values(metric)]
    intervals = [interval for c in configurations if (interval := c.interval(metric))]
    ends = [end for interval in intervals for end in (interval.low, interval.high)]
    scale = MetricScale.fit(metric, [*values, *(v for v in tests if v is not None)], ends)
    note = footnote(
        study,
        f"All with {common}." if common else "",
        study.promise_text,
        study.settle_text,
        study.choice_note,
        scale.cut_note(ends),
        f"Without a result: {len(study.unmeasured):,} more." if study.unmeasured else "",
    )
    title = f"The {len(shown)} best of {len(study.measured):,} configurations by {metric.label}"
    about = _subtitle(configurations, metric)
    figure = new_figure(title, about, note, height=1.75 + 0.32 * len(shown))
    room = _COLUMNS_SHARE * figure.get_figwidth() - 0.5 * paper()
    columns = Columns(configurations, varying_values(configurations), room)
    left = Columns.LEFT + columns.inches
    axes = figure.subplots(gridspec_kw=frame(figure, note, left=left))
    columns.write(axes)
    kinds = _kinds(shown)
    _draw_dots(axes, configurations, kinds, scale)
    for row, value in enumerate(tests):
        if value is not None:
            axes.plot(scale(value), -row - 0.27, **_TEST_STYLE)
    scale.apply(axes, metric.label, axis="x", count=3 if paper() else 6)
    axes.set_xlabel(axes.get_xlabel(), loc="right" if paper() else "center")
    axes.set_ylim(0.4 - len(shown), 0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    handles = [
        Line2D([], [], marker="o", ls="", color=edge, mfc=face, ms=7, mew=1.5, label=text)
        for kind, (text, edge, face) in _KINDS.items()
        if kind in kinds
    ]
    add_legend(figure, [*handles, *[Line2D([], [], label=test.label, **_TEST_STYLE)] * any(tests)])
    return figure


def _subtitle(configurations: Sequence[Configuration], metric: Metric) -> str:
    seeds = seeds_text(configurations, metric)
    if not any(c.interval(metric) for c in configurations):
        return f"Dot: {metric.label}, without an interval ({seeds})"
    if all(len(c.values(metric)) == 1 for c in configurations):
        return f"Dot: mean; bar: 95 % binomial interval over images ({seeds}, so none over seeds)"
    return f"Dot: mean; bar: 95 % interval over {seeds}; faint: each seed"


def _kinds(shown: Sequence[Comparison]) -> list[Kind]:
    """A kind for each of ``shown``, where the best has that of its ties."""
    compared = any(comparison.p_value is not None for comparison in shown)
    of_best: Kind = "tied" if compared else "untested"
    return [of_best if c.kind == "best" else c.kind for c in shown]


def _draw_dots(
    axes: Axes, configurations: Sequence[Configuration], kinds: Sequence[Kind], scale: MetricScale
) -> None:
    for row, (c, kind) in enumerate(zip(configurations, kinds, strict=True)):
        _, edge, face = _KINDS[kind]
        values = c.values(scale.metric)
        # A single seed is the mean itself.
        points = [scale(v) for v in values] if len(values) > 1 else []
        axes.scatter(points, [0.3 - row] * len(points), s=14, color=edge, alpha=0.4, lw=0)
        if interval := c.interval(scale.metric):
            ends = [scale(interval.low), scale(interval.high)]
            axes.plot(ends, [-row, -row], color=edge, lw=1.6)
        mean = scale(c.mean(scale.metric) or 0.0)
        axes.plot(mean, -row, "o", color=edge, mfc=face, ms=7, mew=1.5)


_GAP_STYLE: dict[str, Any] = {"color": FAINT, "alpha": 0.4, "lw": 0.8}
#: Split of a curve -> label, colour, dash.
_CURVE_STYLES = {
    "train": ("training", COLOURS[1], "-"),
    "val": ("validation", COLOURS[2], ":"),
    "test": ("test", COLOURS[0], "--"),
}


def curves(
    shown: Sequence[tuple[int, Configuration, MeanCurve]], study: Study, test: Metric
) -> Figure:
    """The metric ``test``, and what it is on other splits, against steps, a panel each.

    ``shown`` holds rank, configuration and curve.
    """
    configurations = [configuration for _, configuration, _ in shown]
    common = study.common_text(configurations)
    scale, lost = _curve_scale(shown, test)
    measure = test.measure
    gap, bad, worse = (
        ("training minus test accuracy at the end, in points,", "low", "below")
        if test.is_accuracy
        else ("test minus training loss at the end,", "high", "higher than")
    )
    ranks = " and ".join(str(place) for place in sorted(set(lost)))
    note = footnote(
        study,
        f"All with {common}." if common and len(shown) > 1 else "",
        f"Gap: {gap} with its 95 % interval; the grey bar is as high. A large one is overfitting; "
        f"none at a {bad} {measure} is underfitting. The curve of the training {measure} is a mean "
        "over the batches since the last point, distorted where the spec says so: it may be "
        f"{worse} that of the end.",
        f"Below the frame: {count(len(lost), 'run')} of rank {ranks}." if lost else "",
    )
    most = 2 if paper() else 3 if len(shown) <= 3 else 4
    columns = min(len(shown), most)
    rows = -(-len(shown) // columns)
    figure = new_figure(
        f"{capital(measure)} against training steps" + ", best configurations" * (len(shown) > 1),
        f"Mean over {seeds_text(configurations, study.metric)}; faint: each seed"
        + f"; numbered by rank in {study.metric.label}" * (len(shown) > 1),
        note,
        height=HEIGHT_INCHES + 1.1 * (rows - 1),
    )
    named = list(varying_values(configurations) if len(shown) > 1 else study.varying)
    titles = [
        _panel_title(place, c.config, named, (40 if paper() else 96) // columns)
        for place, c, _ in shown
    ]
    lines = 1 + max(title.count("\n") for title in titles)
    margins = frame(figure, note, above=0.13 * lines)
    grid = {**margins, "wspace": 0.1, "hspace": 0.2 + 0.1 * lines}
    places = panel_grid(figure, len(shown), columns, grid)
    for axes, title, (_, configuration, curve) in zip(places, titles, shown, strict=True):
        _draw_curve(axes, curve, scale)
        if ends := generalisation_gap(configuration, test):
            beside = [1.03 * curve.steps[-1], 1.1 * curve.steps[-1]]
            trained, tested, reach = ends
            axes.fill_between(beside, scale(tested), scale(trained), **_GAP_STYLE)
            # Where the curves are not: below good ones, above bad ones.
            last = [scale(means[-1]) for means in curve.means.values()]
            above = min(last) - scale.low < scale.high - max(*last, scale(trained))
            text = f"gap {test.text(test.sign * (trained - tested), reach, unit=False)}"
            if max(last) < scale.low:
                text += f"\nmean {test.label} {test.text(tested)}: below"
            y, va = (0.96, "top") if above else (0.04, "bottom")
            axes.text(0.98, y, text, transform=axes.transAxes, ha="right", va=va, size=7.5)
        axes.set_title(title, loc="left", size=7.5, pad=4)
        scale.apply(axes, "")
        axes.xaxis.set_major_locator(MaxNLocator(4 if columns < 4 else 3))
    # Not before the longest curve is drawn.
    places[0].set_xlim(left=0)
    name_axes(figure, margins, "Training steps", f"{capital(measure)} ({scale.unit})")
    handles = [
        Line2D([], [], color=colour, ls=dash, lw=1.5, label=label)
        for split, (label, colour, dash) in _CURVE_STYLES.items()
        if any(split in curve.means for _, _, curve in shown)
    ]
    add_legend(figure, [*handles, Patch(**_GAP_STYLE, label="generalisation gap at the end")])
    return figure


def _curve_scale(
    shown: Sequence[tuple[int, Configuration, MeanCurve]], test: Metric
) -> tuple[MetricScale, list[int]]:
    """The scale of all panels, and the rank of each run that is below its frame.

    So are the worst runs, a quarter at most, that would take a third of the axis.
    """
    place = MetricScale(test, True, 0, 1)
    runs = [
        (sorted(chain(*values), key=place), rank)
        for rank, _, curve in shown
        for values in zip(*curve.seeds.values(), strict=True)
    ]
    runs.sort(key=lambda run: place(run[0][0]))
    lows, top = [place(v[0]) for v, _ in runs], max(place(v[-1]) for v, _ in runs)
    most = max(1, len(runs) // 4) if len(runs) > 2 else 0
    few = (n for n in range(1, most + 1) if 2 * (lows[n] - lows[0]) > top - lows[n])
    cut = next(few, 0)
    lost = [rank for _, rank in runs[:cut]]
    wanted = [value for values, _ in runs[cut:] for value in values]
    for rank, configuration, _ in shown:
        if rank not in lost and (gap := generalisation_gap(configuration, test)):
            wanted += gap[:2]
    return MetricScale.fit(test, wanted), lost


def _panel_title(place: int, config: HPConfig, fields: Sequence[str], characters: int) -> str:
    # A no-break space keeps a name and its value on one line.
    name = describe(config, fields).replace(" ", "\u00a0").replace(",\u00a0", ", ")
    return textwrap.fill(f"{place}. {name}", characters) if name else ""


def _draw_curve(axes: Axes, curve: MeanCurve, scale: MetricScale) -> None:
    for split, means in curve.means.items():
        _, colour, dash = _CURVE_STYLES[split]
        for values in curve.seeds[split] if len(curve.seeds[split]) > 1 else []:
            axes.plot(curve.steps, [*map(scale, values)], color=colour, alpha=0.2, lw=0.7)
        axes.plot(curve.steps, [*map(scale, means)], color=colour, ls=dash, lw=1.5)
