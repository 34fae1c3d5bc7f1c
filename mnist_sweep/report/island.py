"""The data of a study for the scripts: its table, the axes of its trials, the specs of its rows.

Everything is plain JSON. A column of hyperparameters holds its distinct values and their texts
once, and a row the index among them, so that the script need not know how values are written; a
column of numbers holds the numbers; a spec holds the indices of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.slices import log_spaced
from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import MARKS
from mnist_sweep.config import FIELDS, in_order
from mnist_sweep.figures.scales import MetricScale, round_values
from mnist_sweep.labels import short_name, value_text, value_texts
from mnist_sweep.metrics import METRICS, Metric
from mnist_sweep.report.markup import Html, json_text
from mnist_sweep.report.rerun import Reruns, rerun_parts, sweep_name
from mnist_sweep.trial import TrialResult

#: An axis with more values than this gets ticks at round values instead.
_MAX_TICKS = 12
#: Accuracies that a trial may have, in the order of their axes.
_ACCURACIES = [METRICS[f"{part}_accuracy"] for part in ("train", "test", "val")]

Json = dict[str, Any]
#: A column of the table and its cells.
_Column = tuple[Json, Sequence[Any]]


def island(studies: Iterable[tuple[Study, Reruns]]) -> Html:
    """The data of all studies as the text of a <script type="application/json">."""
    return json_text([_study(study, reruns) for study, reruns in studies])


def _study(study: Study, reruns: Reruns) -> Json:
    configurations = [comparison.configuration for comparison in study.comparisons]
    kinds = list(MARKS)
    mark = {"key": "verdict", "label": "", "kind": "mark", "texts": [*MARKS.values()]}
    filled = [
        (_number("rank", "rank", 0), range(1, len(configurations) + 1)),
        (mark, [kinds.index(comparison.kind) for comparison in study.comparisons]),
        *(_parameter_column(name, configurations) for name in study.varying),
        *_measures(study.metric, configurations),
    ]
    columns = [column for column, _ in filled]
    choices = [(i, column) for i, column in enumerate(columns) if column["kind"] == "choice"]
    parameter_axes = [_parameter_axis(column, i) for i, column in choices]
    trial_axes, trials = _trials(study.metric, [reruns.trials[c.config] for c in configurations])
    return {
        "columns": columns,
        "rows": [list(row) for row in zip(*(cells for _, cells in filled), strict=True)],
        "trials": trials,
        "axes": parameter_axes + trial_axes,
        "rerun": _rerun(reruns, configurations),
    }


def _number(key: str, label: str, digits: int) -> Json:
    return {"key": key, "label": label, "kind": "number", "digits": digits}


def _parameter_column(name: str, configurations: Sequence[Configuration]) -> _Column:
    """A hyperparameter's column and its cells: indices of its values, ascending, None first."""
    given = [getattr(c.config, name) for c in configurations]
    values = sorted(set(given), key=in_order)
    column = {
        "key": name,
        "label": short_name(name),
        "doc": FIELDS[name].metadata["doc"],
        "kind": "choice",
        "values": values,
        "texts": value_texts(values, name),
    }
    return column, [values.index(value) for value in given]


def _rerun(reruns: Reruns, configurations: Sequence[Configuration]) -> Json:
    """What begins the names of the specs, and of each row the places of its spec's parts."""
    places: dict[str, int] = {}
    rows = []
    for config in (c.config for c in configurations):
        parts = rerun_parts(reruns.trials[config], reruns.evaluations[config])
        rows.append([places.setdefault(part, len(places)) for part in parts])
    return {"name": sweep_name(reruns.name, "rank_"), "parts": list(places), "rows": rows}


def _measures(ranked_by: Metric, configurations: Sequence[Configuration]) -> list[_Column]:
    """The measured columns with their cells; accuracies in per cent. Empty ones are left out."""

    def column(
        key: str, label: str, digits: int, cell: Callable[[Configuration], float | None]
    ) -> _Column:
        return _number(key, label, digits), [cell(c) for c in configurations]

    def means(metric: Metric) -> _Column:
        name, digits = _label(metric), _digits(metric)
        return column(metric.name, name, digits, lambda c: _shown(c.mean(metric), metric))

    def reach(c: Configuration) -> float | None:
        interval = c.interval(ranked_by)
        return _shown(interval.half_width, ranked_by) if interval else None

    filled = [
        means(ranked_by),
        column("interval", "±\u00a095\u00a0%", _digits(ranked_by), reach),
        column("n", "seeds", 0, lambda c: len(c.values(ranked_by))),
        *(means(metric) for metric in reversed(_ACCURACIES) if metric != ranked_by),
        column("train_seconds", "training\u00a0s", 2, lambda c: _rounded(c.cost("train_seconds"))),
        column("parameters", "weights", 0, lambda c: c.cost("parameters")),
        column("diverged", "diverged", 0, lambda c: c.diverged),
        column("failed", "failed", 0, lambda c: c.failed),
    ]
    return [(column, cells) for column, cells in filled if any(cells)]


def _label(metric: Metric) -> str:
    return f"{metric.label}{metric.unit}".replace(" %", "\u00a0%")


def _digits(metric: Metric) -> int:
    return 2 if metric.is_accuracy else 4


def _shown(value: float | None, metric: Metric) -> float | None:
    if value is None or not metric.is_accuracy:
        return _rounded(value)
    return round(100 * value, 4)


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _parameter_axis(column: Json, at: int) -> Json:
    values = column["values"]
    numbers = all(isinstance(value, int | float) for value in values)
    scale = "order" if not numbers else "log" if log_spaced(values) else "linear"
    axis = {"key": column["key"], "label": column["label"], "column": at, "scale": scale}
    if numbers and len(values) > _MAX_TICKS:
        text = partial(value_text, name=column["key"])
        return axis | {"ticks": _round_ticks(scale, values[0], values[-1], text)}
    places = values if numbers else range(len(values))
    return axis | {"ticks": [list(tick) for tick in zip(places, column["texts"], strict=True)]}


def _round_ticks(scale: str, low: float, high: float, text: Callable[[float], str]) -> list[Any]:
    """Round values from ``low`` to ``high`` with their texts; the script drops those too close."""
    values = round_values(low, high, logarithmic=scale == "log")
    return [[v, text(int(v) if v == int(v) else v)] for v in values]


def _trials(
    ranked_by: Metric, rows: Sequence[Sequence[TrialResult]]
) -> tuple[list[Json], list[list[Any]]]:
    """The axes of what was measured, the metric last, and a row for each trial of ``rows``.

    A trial is [row of its configuration in the table, values of these axes].
    """
    beside = [metric.name for metric in _ACCURACIES if metric != ranked_by]
    axes: list[Json] = []
    for name in ("train_seconds", *beside, ranked_by.name):
        measured = {_measured(result, name) for results in rows for result in results}
        values = sorted(value for value in measured if value is not None)
        if len(values) > 1:
            axes.append({"key": name, "trial": 1 + len(axes), **_measure_axis(name, values)})
    trials = [
        [row, *(_measured(result, axis["key"]) for axis in axes)]
        for row, results in enumerate(rows)
        for result in results
    ]
    return axes, trials


def _measured(result: TrialResult, name: str) -> float | None:
    return _rounded(getattr(result, name)) if result.status == "ok" else None


def _measure_axis(name: str, values: Sequence[float]) -> Json:
    """Label, scale and ticks of an axis for ``values``, which ascend."""
    low, high = values[0], values[-1]
    if name == "train_seconds":
        scale = "log" if log_spaced(values) else "linear"
        ticks = _round_ticks(scale, low, high, lambda seconds: f"{seconds:.6g}")
        return {"label": "training\u00a0s", "scale": scale, "ticks": ticks}
    metric = METRICS[name]
    fitted = MetricScale.fit(metric, values)
    ticks = [
        [value, text]
        for place, text in zip(*fitted.ticks(6), strict=True)
        if low <= (value := fitted.value(place)) <= high
    ]
    axis = {"label": _label(metric), "ticks": ticks}
    if metric.is_accuracy:
        return axis | {"scale": "error" if fitted.logarithmic else "linear", "percent": True}
    return axis | {"scale": "log loss" if fitted.logarithmic else "loss"}
