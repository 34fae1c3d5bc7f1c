"""From results to figure files: which figures the data allow, and what each is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from mnist_sweep.analysis.curves import mean_curve
from mnist_sweep.analysis.expected_best import expected_best, searched
from mnist_sweep.analysis.importance import importance
from mnist_sweep.analysis.pareto import COSTS, pareto_front
from mnist_sweep.analysis.slices import Slice, crossing, parameter_slices, single
from mnist_sweep.analysis.study import Study
from mnist_sweep.errors import UserError
from mnist_sweep.figures import charts, ranking_charts, search_charts
from mnist_sweep.figures.importance_charts import importance_chart
from mnist_sweep.figures.style import Format, save, styled
from mnist_sweep.labels import parameter_name

#: How many of the best are shown.
TOP = 8
#: Costs within this factor are taken for the same: a machine's own times scatter as much.
SAME_COST = 1.25


@dataclass(frozen=True)
class FiguresReport:
    """The files ``written``, and a line for each figure ``left_out``: what it shows, and why."""

    written: list[Path]
    left_out: list[str]


#: The name of a file with its figure; or what a figure would show, and why there is none.
Drawing = tuple[str, Figure | str]


def draw_figures(studies: Sequence[Study], out_dir: Path, format: Format = "png") -> FiguresReport:
    """Draw every figure that ``studies`` have the trials for into the folder ``out_dir``.

    The same results give the same bytes. ``out_dir`` is made if need be; other files in it stay.
    Raises OSError where it cannot be written.
    """
    report = FiguresReport([], [])
    if not studies:
        report.left_out.append("every figure: no trial has finished yet")
        return report
    out_dir.mkdir(parents=True, exist_ok=True)
    with styled():
        for study in studies:
            for name, drawn in draw_study(study):
                if isinstance(drawn, str):
                    whose = f"{study.name}: " if study.name else ""
                    report.left_out.append(f"{whose}{name}: {drawn}")
                    continue
                path = out_dir / f"{study.prefix}{name}.{format}"
                save(drawn, path, format)
                report.written.append(path)
    return report


def draw_study(study: Study) -> Iterator[Drawing]:
    """Yield the figures of ``study``, or the reasons why there are none. Call within ``styled``."""
    if not study.measured:
        yield "every figure", study.nothing_text
        return
    crossed = crossing(study.configurations, "width", "depth")
    yield from _parameters(study, crossed)
    yield from _width_and_time(study, crossed)
    yield from _importance(study)
    yield from _ranking(study)
    yield from _costs(study)
    yield from _expected_best(study)
    yield from _curves(study)


def _parameters(study: Study, crossed: Slice | None) -> Iterator[Drawing]:
    label = study.metric.label
    slices = parameter_slices(study.configurations)
    mixed = len(study.configurations) <= len(study.varying)
    if not slices and not crossed:
        yield f"{label} by parameter", "every parameter has one value only"
    for shown in slices:
        if mixed and not shown.settings:
            reason = "other parameters change with it in these few configurations"
            yield f"{label} by {parameter_name(shown.x)}", reason
            continue
        by = f"{shown.x}_and_{shown.line}" if shown.line else shown.x
        yield f"{study.metric.name}_by_{by}", charts.by_parameter(shown, study)
    if crossed:
        yield f"{study.metric.name}_by_width_and_depth", charts.heat_map(crossed, study)
    else:
        yield f"{label} by width and depth", "the two are not crossed in these trials"


def _width_and_time(study: Study, crossed: Slice | None) -> Iterator[Drawing]:
    what = f"{study.metric.label} and training time by width"
    shown = crossed
    # Pooled, the lines for the depths would lie in each other's spread.
    if (not shown or shown.settings > 1) and "width" in study.varying:
        shown = single(study.configurations, "width")
    if not shown or shown.settings == 0:
        yield what, "needs several widths with all else equal"
    elif not any(c.cost("train_seconds") for cells in shown.cells.values() for c in cells):
        yield what, "no trial has a training time"
    else:
        yield f"{study.metric.name}_and_time_by_width", charts.metric_and_time(shown, study)


def _importance(study: Study) -> Iterator[Drawing]:
    try:
        parts = importance(study.configurations, study.metric)
    except UserError as reason:
        yield "importance of the parameters", str(reason)
    else:
        yield "importance", importance_chart(parts, study)


def _ranking(study: Study) -> Iterator[Drawing]:
    if len(study.measured) < 2:
        yield "ranking", "only one configuration has a result"
    else:
        yield "ranking", ranking_charts.ranking(study, TOP)


def _costs(study: Study) -> Iterator[Drawing]:
    for cost, name in COSTS.items():
        what = f"{study.metric.label} against {name}"
        measured = (c for c in study.configurations if c.values(study.metric))
        priced = [c for c in measured if (c.cost(cost) or 0.0) > 0]
        prices = [c.cost(cost) or 0.0 for c in priced]
        front = pareto_front(priced, study.metric, cost)
        if not priced:
            yield what, f"no trial has a {name}"
        elif max(prices) < SAME_COST * min(prices):
            yield what, f"every configuration has about the same {name}"
        elif not front:
            yield what, "every configuration has a seed that diverged"
        else:
            chart = search_charts.metric_and_cost(priced, front, cost, study)
            yield f"{study.metric.name}_by_{cost}", chart


def _expected_best(study: Study) -> Iterator[Drawing]:
    fruitful, nothing = searched(study.results, study.metric)
    trials = len(fruitful) + nothing
    what = f"expected best {study.metric.label}"
    if len(study.configurations) < 2:
        yield what, "only one configuration: its best seed is luck"
    elif trials < 3:
        yield what, "needs three trials"
    else:
        # Evenly over the logarithm: the curve is flat where there are many.
        counts = sorted({round(trials ** (i / 199)) for i in range(200)})
        best = expected_best(study.results, study.metric, counts)
        yield f"expected_best_{study.metric.name}", search_charts.best_by_trials(best, study)


def _curves(study: Study) -> Iterator[Drawing]:
    best = [comparison.configuration for comparison in study.comparisons[:TOP]]
    shown = [(place, c, curve) for place, c in enumerate(best, 1) if (curve := mean_curve(c))]
    if shown:
        yield "curves", ranking_charts.curves(shown, study)
    else:
        reason = "fewer than two evaluations in a trial; set evals_per_epoch in the spec"
        yield "accuracy against steps", reason
