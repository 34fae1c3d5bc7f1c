"""Charts of the best configurations: their ranking, and their curves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import chain
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mnist_sweep.analysis.curves import Gap, MeanCurve, generalisation_gap
from mnist_sweep.analysis.ranking import Comparison, Configuration, choice_note, varying_fields
from mnist_sweep.figures.charts import Source, seeds_text
from mnist_sweep.figures.columns import Columns, value_columns
from mnist_sweep.figures.style import (
    BACKGROUND,
    COLOURS,
    CUT_NOTE,
    FAINT,
    AccuracyScale,
    add_legend,
    frame,
    new_figure,
)
from mnist_sweep.labels import describe

MAX_COLUMNS_INCHES = 4.0
_VERDICTS = {
    "tied": ("not told apart from the best", COLOURS[0], COLOURS[0]),
    "worse": ("worse", COLOURS[0], BACKGROUND),
    "untested": ("not compared: few seeds, or diverged", FAINT, FAINT),
}


def ranking(
    shown: Sequence[Comparison], total: int, fields: Sequence[str], source: Source
) -> Figure:
    """The best configurations as dots with intervals.

    Those of ``fields`` that differ between them stand in columns, the others in the note.
    """
    found = [comparison.configuration for comparison in shown]
    differing = varying_fields(c.config for c in found)
    common = describe(found[0].config, [name for name in fields if name not in differing])
    scale, cut = _scale(found, source.metric)
    note = source.note(
        f"All with {common}." if common else "",
        choice_note(found[0], source.metric),
        CUT_NOTE if cut else "",
    )
    figure = new_figure(
        f"The {len(shown)} best of {total:,} configurations by {source.label}",
        f"Dot: mean; bar: {_interval_text(found, source)}",
        note,
        height=1.75 + 0.32 * len(shown),
    )
    columns = Columns(value_columns(found, differing), MAX_COLUMNS_INCHES)
    left = Columns.LEFT + columns.inches
    axes = figure.subplots(gridspec_kw=frame(figure, note, left=left))
    columns.write(axes)
    _draw_dots(axes, shown, source.metric, scale)
    scale.apply(axes, source.label, axis="x", count=6)
    axes.set_ylim(0.4 - len(shown), 0.6)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    add_legend(figure, _legend(shown, source.metric))
    return figure


def _interval_text(found: Sequence[Configuration], source: Source) -> str:
    seeds = seeds_text(found, source.metric)
    if all(len(c.values(source.metric)) == 1 for c in found):
        return f"95 % binomial interval over images ({seeds}, so none over seeds)"
    return f"95 % interval over {seeds}; faint: each seed"


def _scale(found: Sequence[Configuration], metric: str) -> tuple[AccuracyScale, bool]:
    """The scale, and whether it cuts an interval."""
    values = [value for c in found for value in c.values(metric)]
    values += [v for v in _beside(found, metric) if v is not None]
    intervals = [interval for c in found if (interval := c.interval(metric))]
    ends = [end for interval in intervals for end in (interval.low, interval.high)]
    scale = AccuracyScale.fit(values, ends)
    return scale, scale.cuts(ends)


def _beside(found: Sequence[Configuration], metric: str) -> list[float | None]:
    """The test accuracies to show beside another metric."""
    return [c.mean("test_accuracy") for c in found] if metric != "test_accuracy" else []


def _verdicts(shown: Sequence[Comparison]) -> list[str]:
    """A verdict for each of ``shown``, where the best has that of its ties."""
    given = {comparison.verdict for comparison in shown}
    of_best = "tied" if given & {"tied", "worse"} else "untested"
    return [of_best if c.verdict == "best" else c.verdict for c in shown]


def _draw_dots(axes: Axes, shown: Sequence[Comparison], metric: str, scale: AccuracyScale) -> None:
    found = [comparison.configuration for comparison in shown]
    for row, (configuration, verdict) in enumerate(zip(found, _verdicts(shown), strict=True)):
        _, edge, face = _VERDICTS[verdict]
        interval = configuration.interval(metric)
        values = configuration.values(metric)
        # A single seed is the mean itself.
        points = [scale(v) for v in values] if len(values) > 1 else []
        axes.scatter(points, [0.3 - row] * len(points), s=14, color=edge, alpha=0.4, lw=0)
        if interval:
            ends = [scale(interval.low), scale(interval.high)]
            axes.plot(ends, [-row, -row], color=edge, lw=1.6)
            axes.plot(scale(interval.mean), -row, "o", color=edge, mfc=face, ms=7, mew=1.5)
    for row, value in enumerate(_beside(found, metric)):
        if value is not None:
            axes.plot(scale(value), -row - 0.27, "d", color=COLOURS[1], ms=4.5)


def _legend(shown: Sequence[Comparison], metric: str) -> list[Line2D]:
    verdicts = _verdicts(shown)
    handles = [
        Line2D([], [], marker="o", ls="", color=edge, mfc=face, ms=7, mew=1.5, label=text)
        for verdict, (text, edge, face) in _VERDICTS.items()
        if verdict in verdicts
    ]
    if metric != "test_accuracy":
        handles.append(
            Line2D([], [], marker="d", ls="", color=COLOURS[1], ms=4.5, label="test accuracy")
        )
    return handles


#: Curve -> label, colour, dash.
_CURVE_STYLES = {
    "train_accuracy": ("training", COLOURS[1], "-"),
    "val_accuracy": ("validation", COLOURS[2], ":"),
    "test_accuracy": ("test", COLOURS[0], "--"),
}


def curves(
    shown: Sequence[tuple[int, Configuration, MeanCurve]], fields: Sequence[str], source: Source
) -> Figure:
    """Accuracy against steps, a panel each; ``shown`` holds rank, configuration and curve."""
    found = [configuration for _, configuration, _ in shown]
    differing = varying_fields(c.config for c in found)
    common = describe(found[0].config, [name for name in fields if name not in differing])
    note = source.note(
        f"All with {common}." if common and len(shown) > 1 else "",
        "Gap: training minus test accuracy at the end, in points, with its 95 % interval. A large "
        "one is overfitting; none at a low accuracy is underfitting. The curve of the training "
        "accuracy is a mean over the batches since the last point, so it lags.",
    )
    rows, columns = _panels(len(shown))
    figure = new_figure(
        f"Accuracy against training steps{', best configurations' if len(shown) > 1 else ''}",
        f"Mean over {seeds_text(found, source.metric)}; faint: each seed; numbered by rank "
        f"in {source.label}",
        note,
        height=4.3 if rows == 1 else 5.4,
    )
    scale = AccuracyScale.fit(
        chain.from_iterable(
            values for _, _, curve in shown for seeds in curve.seeds.values() for values in seeds
        )
    )
    titles = [
        _panel_title(place, configuration, differing if len(shown) > 1 else fields, 96 // columns)
        for place, configuration, _ in shown
    ]
    lines = 1 + max(title.count("\n") for title in titles)
    margins = frame(figure, note, above=0.13 * lines)
    grid = {**margins, "wspace": 0.1, "hspace": 0.2 + 0.1 * lines}
    panels = figure.subplots(
        rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=grid
    )
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    for axes, title, (_, configuration, curve) in zip(panels.flat, titles, shown, strict=False):
        _draw_curve(axes, curve, scale)
        if gap := generalisation_gap(configuration):
            # Where the curves are not: below good ones, above bad ones.
            ends = [scale(means[-1]) for means in curve.means.values()]
            bad = max(ends) < scale.low + 0.7 * (scale.high - scale.low)
            axes.text(
                0.98, 0.96 if bad else 0.04, _gap_text(gap), transform=axes.transAxes,
                ha="right", va="top" if bad else "bottom", size=7.5,
            )  # fmt: skip
        axes.set_title(title, loc="left", size=7.5, pad=4)
    _label_panels(figure, panels, scale, margins)
    add_legend(figure, _curve_legend([curve for _, _, curve in shown]))
    return figure


def _panels(count: int) -> tuple[int, int]:
    """Rows and columns for ``count`` panels of up to 8."""
    rows = 1 if count <= 3 else 2
    return rows, -(-count // rows)


def _panel_title(
    place: int, configuration: Configuration, fields: Sequence[str], characters: int
) -> str:
    # A no-break space keeps a name and its value on one line.
    name = describe(configuration.config, fields).replace(" ", "\u00a0")
    return textwrap.fill(f"{place}. {name}".replace(",\u00a0", ", "), characters) if name else ""


def _draw_curve(axes: Axes, curve: MeanCurve, scale: AccuracyScale) -> None:
    train, test = ([scale(v) for v in curve.means[n]] for n in ("train_accuracy", "test_accuracy"))
    # Early on, test accuracy is above the running mean of the training accuracy: no gap at all.
    above = [a > b for a, b in zip(train, test, strict=True)]
    axes.fill_between(
        curve.steps, train, test, where=above, interpolate=True, color=FAINT, alpha=0.18, lw=0
    )
    for name, means in curve.means.items():
        _, colour, dash = _CURVE_STYLES[name]
        if len(curve.seeds[name]) > 1:
            for values in curve.seeds[name]:
                places = [scale(v) for v in values]
                axes.plot(curve.steps, places, color=colour, alpha=0.2, lw=0.7)
        axes.plot(curve.steps, [scale(v) for v in means], color=colour, ls=dash, lw=1.5)


def _gap_text(gap: Gap) -> str:
    spread = "" if gap.half_width is None else f" ± {100 * gap.half_width:.2f}"
    return f"gap {100 * gap.mean:.2f}{spread}"


def _label_panels(
    figure: Figure, panels: NDArray[Any], scale: AccuracyScale, margins: dict[str, float]
) -> None:
    for axes in panels.flat:
        if axes.figure is not None:
            scale.apply(axes, "")
            axes.xaxis.set_major_locator(MaxNLocator(4 if panels.shape[1] < 4 else 3))
            axes.set_xlim(left=0)
    suffix = ", log error scale" if scale.logarithmic else ""
    middle = (margins["bottom"] + margins["top"]) / 2
    figure.text(0.025, middle, f"Accuracy (%{suffix})", rotation=90, va="center", ha="left")
    centre = (margins["left"] + margins["right"]) / 2
    figure.text(centre, margins["bottom"] - 0.45 / figure.get_figheight(), "Training steps",
                ha="center", va="center")  # fmt: skip


def _curve_legend(shown: Sequence[MeanCurve]) -> list[Line2D | Patch]:
    lines = [
        Line2D([], [], color=colour, ls=dash, lw=1.5, label=label)
        for name, (label, colour, dash) in _CURVE_STYLES.items()
        if any(name in curve.means for curve in shown)
    ]
    return [*lines, Patch(color=FAINT, alpha=0.18, lw=0, label="generalisation gap")]
