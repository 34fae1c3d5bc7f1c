"""The data of a study for the scripts: its table, the axes of its trials, the specs of its rows.

Everything is plain JSON. A column of hyperparameters holds its distinct values and their texts
once, and a row the index among them, so that the script need not know how values are written; a
column of numbers holds the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.slices import log_spaced
from mnist_sweep.config import FIELD_NAMES
from mnist_sweep.figures.scales import MetricScale
from mnist_sweep.labels import short_name, value_text, value_texts
from mnist_sweep.metrics import METRICS, Metric
from mnist_sweep.report.markup import Html, json_text
from mnist_sweep.report.rerun import base_lines, data_lines, sweep_name
from mnist_sweep.report.review import Review
from mnist_sweep.trial import TrialResult

_VERDICTS = {
    "best": ("best", "the best"),
    "tied": ("=", "cannot be told apart from the best"),
    "worse": ("", "worse than the best"),
    "untested": ("?", "not compared with the best: too few common seeds, or one that diverged"),
}
#: An axis with more values than this gets ticks at even places instead.
_MAX_TICKS, _EVEN_TICKS = 12, 5
#: Training and held-out accuracies that a trial may have, in this order.
_ACCURACIES = [METRICS[f"{part}_accuracy"] for part in ("train", "test", "val")]

Json = dict[str, Any]


def island(reviews: Iterable[Review]) -> Html:
    """The data of all studies as the text of a <script type="application/json">."""
    return json_text([_study(found) for found in reviews])


def _study(found: Review) -> Json:
    study = found.study
    configurations = [comparison.configuration for comparison in study.comparisons]
    parameters = [_parameter_column(name, configurations) for name in study.varying]
    measures = _measures(configurations, study.metric)
    columns: list[Json] = [
        {"key": "rank", "label": "rank", "kind": "number", "digits": 0},
        {"key": "verdict", "label": "", "kind": "mark", "texts": list(_VERDICTS.values())},
        *(column for column, _ in parameters),
        *(column for column, _ in measures),
    ]
    verdicts = list(_VERDICTS)
    cells: list[Sequence[Any]] = [
        range(1, len(configurations) + 1),
        [verdicts.index(comparison.verdict) for comparison in study.comparisons],
        *(values for _, values in parameters),
        *(values for _, values in measures),
    ]
    rows = [list(row) for row in zip(*cells, strict=True)]
    axes = [
        _parameter_axis(column, at)
        for at, column in enumerate(columns)
        if column["kind"] == "choice"
    ]
    trial_axes, trials = _trials(found, configurations)
    return {
        "columns": columns,
        "rows": rows,
        "trials": trials,
        "axes": axes + trial_axes,
        "rerun": _rerun(found, columns),
    }


def _parameter_column(name: str, found: Sequence[Configuration]) -> tuple[Json, list[int]]:
    """A hyperparameter's column and its cells: indices of its values, ascending, None first."""
    given = [getattr(c.config, name) for c in found]
    values = sorted(set(given), key=lambda value: (value is not None, value))
    places = {value: index for index, value in enumerate(values)}
    column = {
        "key": name,
        "label": short_name(name),
        "kind": "choice",
        "values": values,
        "texts": value_texts(values, name),
    }
    return column, [places[value] for value in given]


def _rerun(found: Review, columns: Sequence[Json]) -> Json:
    """What makes a spec of a row: of ``base`` each line, or the column where its value is."""
    trial = found.study.results[0].trial
    lines: dict[str, str | int] = {**base_lines(trial.config)}
    lines |= {c["key"]: at for at, c in enumerate(columns) if c["kind"] == "choice"}
    return {
        "name": sweep_name(found.name, "rank_"),
        "data": data_lines(trial),
        "evaluations": [found.evaluations[c.configuration.config] for c in found.study.comparisons],
        "base": [lines[name] for name in FIELD_NAMES if name in lines],
    }


def _measures(
    configurations: Sequence[Configuration], metric: Metric
) -> list[tuple[Json, list[float | int | None]]]:
    """The measured columns with their cells; accuracies in per cent. Empty ones are left out."""
    ranked, *beside = [
        (m.name, _label(m), 2 if m.is_accuracy else 4, partial(_mean, metric=m))
        for m in dict.fromkeys([metric, *_ACCURACIES[::-1]])
    ]
    wanted: list[tuple[str, str, int, Callable[[Configuration], float | int | None]]] = [
        ranked,
        ("interval", "±\u00a095\u00a0%", ranked[2], partial(_half_width, metric=metric)),
        ("n", "seeds", 0, lambda c: len(c.values(metric))),
        *beside,
        ("train_seconds", "training\u00a0s", 2, lambda c: _rounded(c.cost("train_seconds"))),
        ("parameters", "weights", 0, _weights),
        ("diverged", "diverged", 0, lambda c: c.diverged),
        ("failed", "failed", 0, lambda c: c.failed),
    ]
    columns = []
    for key, label, digits, read in wanted:
        cells = [read(configuration) for configuration in configurations]
        if any(cells):
            columns.append(
                ({"key": key, "label": label, "kind": "number", "digits": digits}, cells)
            )
    return columns


def _label(metric: Metric) -> str:
    return f"{metric.label}{metric.unit}".replace(" %", "\u00a0%")


def _mean(configuration: Configuration, metric: Metric) -> float | None:
    return _shown(configuration.mean(metric), metric)


def _half_width(configuration: Configuration, metric: Metric) -> float | None:
    interval = configuration.interval(metric)
    return _shown(interval.half_width if interval else None, metric)


def _shown(value: float | None, metric: Metric) -> float | None:
    if value is None:
        return None
    return round(100 * value, 4) if metric.is_accuracy else _rounded(value)


def _weights(configuration: Configuration) -> int | None:
    return configuration.results[0].parameters if configuration.results else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _parameter_axis(column: Json, at: int) -> Json:
    values = column["values"]
    numbers = all(isinstance(value, int | float) for value in values)
    scale = "order" if not numbers else "log" if log_spaced(values) else "linear"
    axis = {"key": column["key"], "label": column["label"], "column": at, "scale": scale}
    if numbers and len(values) > _MAX_TICKS:
        text = partial(value_text, name=column["key"])
        return axis | {"ticks": _even_ticks(scale, values[0], values[-1], text)}
    places = values if numbers else range(len(values))
    return axis | {"ticks": [list(tick) for tick in zip(places, column["texts"], strict=True)]}


def _even_ticks(
    scale: str, low: float, high: float, text: Callable[[float], str]
) -> list[list[Any]]:
    shares = [i / (_EVEN_TICKS - 1) for i in range(_EVEN_TICKS)]
    if scale == "log":
        places = [low * (high / low) ** share for share in shares]
    else:
        places = [low + (high - low) * share for share in shares]
    return [[place, text(float(f"{place:.3g}"))] for place in places]


def _trials(found: Review, configurations: Sequence[Configuration]) -> tuple[list[Json], list[Any]]:
    """The axes of what was measured, the metric last, and a row for each trial.

    A trial is [row of its configuration in the table, seed, values of these axes].
    """
    results, metric = found.study.results, found.study.metric
    names = [m.name for m in _ACCURACIES if m != metric] + [metric.name]
    measured = {name: _all_measured(results, name) for name in ["train_seconds", *names]}
    axes = [
        _measure_axis(name, values) for name, values in measured.items() if len(set(values)) > 1
    ]
    trials = [
        [row, result.trial.config.seed, *(_measured(result, axis["key"]) for axis in axes)]
        for row, configuration in enumerate(configurations)
        for result in found.trials[configuration.config]
    ]
    for place, axis in enumerate(axes, 2):
        axis["trial"] = place
    return axes, trials


def _all_measured(results: Sequence[TrialResult], name: str) -> list[float]:
    return [value for result in results if (value := _measured(result, name)) is not None]


def _measured(result: TrialResult, name: str) -> float | None:
    if result.status != "ok":
        return None
    return _rounded(getattr(result, name))


def _measure_axis(name: str, values: Sequence[float]) -> Json:
    low, high = min(values), max(values)
    if name == "train_seconds":
        scale = "log" if log_spaced(sorted(set(values))) else "linear"
        ticks = _even_ticks(scale, low, high, lambda seconds: f"{seconds:.3g}")
        return {"key": name, "label": "training\u00a0s", "scale": scale, "ticks": ticks}
    metric = METRICS[name]
    fitted = MetricScale.fit(metric, values)
    places, texts = fitted.ticks(6)
    ticks = [
        [value, text]
        for value, text in zip(map(fitted.value, places), texts, strict=True)
        if low <= value <= high
    ]
    axis = {"key": name, "label": _label(metric), "ticks": ticks}
    if metric.is_accuracy:
        return axis | {"scale": "error" if fitted.logarithmic else "linear", "percent": True}
    return axis | {"scale": "log loss" if fitted.logarithmic else "loss"}
