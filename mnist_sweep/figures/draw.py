"""From results to figure files: which figures the data allow, and what each is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from mnist_sweep.analysis.curves import mean_curve
from mnist_sweep.analysis.expected_best import expected_best, searched
from mnist_sweep.analysis.importance import importance
from mnist_sweep.analysis.pareto import COSTS, pareto_front
from mnist_sweep.analysis.ranking import (
    Configuration,
    compare_with_best,
    configurations,
    default_metric,
    rank,
    varying_fields,
    varying_values,
)
from mnist_sweep.analysis.slices import crossing, parameter_slices, single
from mnist_sweep.errors import UserError
from mnist_sweep.figures import charts, ranking_charts, search_charts
from mnist_sweep.figures.charts import Source
from mnist_sweep.figures.importance_charts import importance_chart
from mnist_sweep.figures.style import Format, save, styled
from mnist_sweep.labels import dataset_text, parameter_name
from mnist_sweep.trial import TrialResult

#: How many of the best are shown.
TOP = 8
#: Costs within this factor are taken for the same: a machine's own times scatter as much.
SAME_COST = 1.25


@dataclass(frozen=True)
class FiguresReport:
    """The files ``written``, and a line for each figure ``left_out``: what it shows, and why."""

    written: list[Path]
    left_out: list[str]


@dataclass(frozen=True)
class Study:
    """Trials of one model on one data set: what can be compared.

    Of several studies, each has a ``prefix`` for file names and a ``name`` for people.
    """

    results: list[TrialResult]
    configurations: list[Configuration]
    source: Source
    prefix: str
    name: str


#: The name of a file with its figure; or what a figure would show, and why there is none.
Drawing = tuple[str, Figure | str]


def draw_figures(
    results: Sequence[TrialResult], out_dir: Path, *, format: Format = "png", title: str = ""
) -> FiguresReport:
    """Draw every figure that ``results`` have the trials for into the folder ``out_dir``.

    ``title`` names the results at the foot of each figure. The metric is ``default_metric``. Where
    there are several models or data sets, each gets figures of its own, with a prefix to their
    names. The same results give the same bytes. ``out_dir`` is made if need be; other files in it
    stay. Raises OSError where it cannot be written.
    """
    report = FiguresReport([], [])
    studies = split_studies(results, title)
    if not studies:
        report.left_out.append("every figure: no trial has finished yet")
        return report
    out_dir.mkdir(parents=True, exist_ok=True)
    with styled():
        for study in studies:
            for name, drawn in draw_study(study):
                if isinstance(drawn, str):
                    report.left_out.append(f"{study.name}{name}: {drawn}")
                    continue
                path = out_dir / f"{study.prefix}{name}.{format}"
                save(drawn, path, format)
                report.written.append(path)
    return report


def split_studies(results: Sequence[TrialResult], title: str = "") -> list[Study]:
    """Group ``results`` by model and data set, in order of appearance."""
    groups: dict[tuple[str, str], list[TrialResult]] = {}
    for result in results:
        key = result.trial.config.model, result.trial.dataset.label
        groups.setdefault(key, []).append(result)
    several_models = len({model for model, _ in groups}) > 1
    several_datasets = len({dataset for _, dataset in groups}) > 1
    studies = []
    for (model, dataset), group in groups.items():
        data = dataset_text(dataset)
        parts = [model] * several_models + [_file_name(dataset)] * several_datasets
        names = [model] * several_models + [data] * several_datasets
        text = f"{title}: {model}, {data}." if title else f"{model}, {data}."
        source = Source(default_metric(group), text)
        prefix = "".join(f"{part}_" for part in parts)
        name = f"{', '.join(names)}: " if names else ""
        studies.append(Study(group, configurations(group), source, prefix, name))
    return studies


def _file_name(dataset: str) -> str:
    return re.sub(r"[^A-Za-z0-9=._]+", "-", dataset).strip("-.")


def draw_study(study: Study) -> Iterator[Drawing]:
    """Yield the figures of ``study``, or the reasons why there are none. Call within ``styled``."""
    if not any(c.values(study.source.metric) for c in study.configurations):
        yield "every figure", "no trial finished well; the column error says why trials failed"
        return
    yield from _parameters(study)
    yield from _width_and_depth(study)
    yield from _width_and_time(study)
    yield from _importance(study)
    yield from _ranking(study)
    yield from _costs(study)
    yield from _expected_best(study)
    yield from _curves(study)


def _parameters(study: Study) -> Iterator[Drawing]:
    metric = study.source.metric
    slices = parameter_slices(study.configurations)
    varying = varying_fields(c.config for c in study.configurations)
    mixed = len(study.configurations) <= len(varying)
    if not slices and not crossing(study.configurations, "width", "depth"):
        yield f"{study.source.label} by parameter", "every parameter has one value only"
    for found in slices:
        if mixed and not found.settings:
            shows = f"{study.source.label} by {parameter_name(found.x)}"
            yield shows, "other parameters change with it in these few configurations"
            continue
        by = f"{found.x}_and_{found.line}" if found.line else found.x
        yield f"{metric}_by_{by}", charts.by_parameter(found, study.source)


def _width_and_depth(study: Study) -> Iterator[Drawing]:
    found = crossing(study.configurations, "width", "depth")
    if found:
        name = f"{study.source.metric}_by_width_and_depth"
        yield name, charts.heat_map(found, study.source)
    else:
        shows = f"{study.source.label} by width and depth"
        yield shows, "the two are not crossed in these trials"


def _width_and_time(study: Study) -> Iterator[Drawing]:
    shows = f"{study.source.label} and training time by width"
    found = crossing(study.configurations, "width", "depth")
    # Pooled, the lines for the depths would lie in each other's spread.
    pooled = found is not None and found.settings > 1
    if (pooled or not found) and "width" in varying_fields(c.config for c in study.configurations):
        found = single(study.configurations, "width")
    if not found or found.settings == 0:
        yield shows, "needs several widths with all else equal"
    elif not any(c.train_seconds for cells in found.cells.values() for c in cells):
        yield shows, "no trial has a training time"
    else:
        name = f"{study.source.metric}_and_time_by_width"
        yield name, charts.accuracy_and_time(found, study.source)


def _importance(study: Study) -> Iterator[Drawing]:
    metric = study.source.metric
    measured = [c for c in study.configurations if c.values(metric)]
    try:
        parts = importance(measured, metric)
    except UserError as reason:
        yield "importance of the parameters", str(reason)
        return
    studied = varying_values(c.config for c in study.configurations)
    yield "importance", importance_chart(parts, studied, len(measured), study.source)


def _ranking(study: Study) -> Iterator[Drawing]:
    metric = study.source.metric
    ranked = [c for c in rank(study.configurations, metric) if c.values(metric)]
    if len(ranked) < 2:
        yield "ranking", "only one configuration has a result"
        return
    shown = compare_with_best(ranked, metric)[:TOP]
    fields = varying_fields(c.config for c in study.configurations)
    yield "ranking", ranking_charts.ranking(shown, len(ranked), fields, study.source)


def _costs(study: Study) -> Iterator[Drawing]:
    metric = study.source.metric
    fields = varying_fields(c.config for c in study.configurations)
    measured = [c for c in study.configurations if c.values(metric)]
    for cost, name in COSTS.items():
        shows = f"{study.source.label} against {name}"
        priced = [c for c in measured if (c.mean(cost) or 0.0) > 0]
        prices = [c.mean(cost) or 0.0 for c in priced]
        front = pareto_front(priced, metric, cost)
        if not priced:
            yield shows, f"no trial has a {name}"
        elif max(prices) < SAME_COST * min(prices):
            yield shows, f"every configuration has about the same {name}"
        elif not front:
            yield shows, "every configuration has a seed that diverged"
        else:
            chart = search_charts.accuracy_and_cost(priced, front, fields, cost, study.source)
            yield f"{metric}_by_{cost}", chart


def _expected_best(study: Study) -> Iterator[Drawing]:
    metric = study.source.metric
    found, nothing = searched(study.results, metric)
    trials = len(found) + nothing
    shows = f"expected best {study.source.label}"
    if len(study.configurations) < 2:
        yield shows, "only one configuration: its best seed is luck"
        return
    if trials < 3:
        yield shows, "needs three trials"
        return
    # Evenly over the logarithm: the curve is flat where there are many.
    counts = sorted({round(trials ** (i / 199)) for i in range(200)})
    best = expected_best(study.results, metric, counts)
    (chosen, *_) = rank(study.configurations, metric)
    yield f"expected_best_{metric}", search_charts.best_by_trials(best, chosen, study.source)


def _curves(study: Study) -> Iterator[Drawing]:
    ranked = rank(study.configurations, study.source.metric)[:TOP]
    found = [
        (place, configuration, curve)
        for place, configuration in enumerate(ranked, 1)
        if (curve := mean_curve(configuration))
    ]
    if not found:
        reason = "fewer than two evaluations in a trial; set evals_per_epoch in the spec"
        yield "accuracy against steps", reason
        return
    fields = varying_fields(c.config for c in study.configurations)
    yield "curves", ranking_charts.curves(found, fields, study.source)
