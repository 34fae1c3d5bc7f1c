"""The data of a study for the scripts: its table, the axes of its trials, the specs of its rows.

Everything is plain JSON. A column of hyperparameters holds its distinct values and their texts
once, and a row the index among them, so that the script need not know how values are written; a
column of numbers holds the numbers; a spec holds the indices of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from mnist_sweep.analysis.ranking import Configuration
from mnist_sweep.analysis.slices import log_spaced
from mnist_sweep.figures.style import AccuracyScale
from mnist_sweep.labels import short_name, value_text, value_texts
from mnist_sweep.metrics import METRICS, Metric
from mnist_sweep.report.markup import Html, json_text
from mnist_sweep.report.rerun import rerun_parts, sweep_name
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
#: Accuracies that a trial may have, in the order of their axes.
_ACCURACIES = ("train_accuracy", "test_accuracy", "val_accuracy")

Json = dict[str, Any]


def island(reviews: Iterable[Review]) -> Html:
    """The data of all studies as the text of a <script type="application/json">."""
    return json_text([_study(review) for review in reviews])


def _study(review: Review) -> Json:
    configurations = [comparison.configuration for comparison in review.comparisons]
    verdicts = list(_VERDICTS)
    filled: list[tuple[Json, Sequence[Any]]] = [
        (_number("rank", "rank", 0), range(1, len(configurations) + 1)),
        (
            {"key": "verdict", "label": "", "kind": "mark", "texts": list(_VERDICTS.values())},
            [verdicts.index(comparison.verdict) for comparison in review.comparisons],
        ),
        *(_parameter_column(name, configurations) for name in review.varying),
        *_measures(review.metric, configurations),
    ]
    columns = [column for column, _ in filled]
    parameter_axes = [
        _parameter_axis(column, at)
        for at, column in enumerate(columns)
        if column["kind"] == "choice"
    ]
    trial_axes, trials = _trials(review, configurations)
    return {
        "columns": columns,
        "rows": [list(row) for row in zip(*(cells for _, cells in filled), strict=True)],
        "trials": trials,
        "axes": parameter_axes + trial_axes,
        "rerun": _rerun(review, configurations),
    }


def _number(key: str, label: str, digits: int) -> Json:
    return {"key": key, "label": label, "kind": "number", "digits": digits}


def _parameter_column(
    name: str, configurations: Sequence[Configuration]
) -> tuple[Json, Sequence[int]]:
    """A hyperparameter's column and its cells: indices of its values, ascending, None first."""
    given = [getattr(c.config, name) for c in configurations]
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


def _rerun(review: Review, configurations: Sequence[Configuration]) -> Json:
    """What begins the names of the specs, and of each row the places of its spec's parts."""
    places: dict[str, int] = {}
    rows = [
        [
            places.setdefault(part, len(places))
            for part in rerun_parts(review.trials[c.config], review.evaluations[c.config])
        ]
        for c in configurations
    ]
    return {"name": sweep_name(review.name, "rank_"), "parts": list(places), "rows": rows}


def _measures(
    ranked_by: Metric, configurations: Sequence[Configuration]
) -> list[tuple[Json, Sequence[Any]]]:
    """The measured columns with their cells; accuracies in per cent. Empty ones are left out."""

    def means(metric: Metric) -> tuple[Json, Sequence[Any]]:
        means = [_shown(c.mean(metric.name), metric) for c in configurations]
        return _number(metric.name, _label(metric), _digits(metric)), means

    intervals = [c.interval(ranked_by.name) for c in configurations]
    filled: list[tuple[Json, Sequence[Any]]] = [
        means(ranked_by),
        (
            _number("interval", "±\u00a095\u00a0%", _digits(ranked_by)),
            [_shown(i.half_width, ranked_by) if i else None for i in intervals],
        ),
        (_number("n", "seeds", 0), [len(c.values(ranked_by.name)) for c in configurations]),
        *(means(METRICS[name]) for name in reversed(_ACCURACIES) if name != ranked_by.name),
        (
            _number("train_seconds", "training\u00a0s", 2),
            [_rounded(c.train_seconds) for c in configurations],
        ),
        (
            _number("parameters", "weights", 0),
            [c.results[0].parameters if c.results else None for c in configurations],
        ),
        (_number("diverged", "diverged", 0), [c.diverged for c in configurations]),
        (_number("failed", "failed", 0), [c.failed for c in configurations]),
    ]
    return [(column, cells) for column, cells in filled if any(cells)]


def _label(metric: Metric) -> str:
    return f"{metric.label}\u00a0%" if metric.is_accuracy else metric.label


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


def _trials(
    review: Review, configurations: Sequence[Configuration]
) -> tuple[list[Json], list[list[Any]]]:
    """The axes of what was measured, the metric last, and a row for each trial.

    A trial is [row of its configuration in the table, values of these axes].
    """
    ranked_by = review.metric.name
    names = ["train_seconds", *(name for name in _ACCURACIES if name != ranked_by), ranked_by]
    axes: list[Json] = []
    for name in names:
        measured = {_measured(result, name) for result in review.study.results}
        values = sorted(value for value in measured if value is not None)
        if len(values) > 1:
            axes.append(_measure_axis(name, values, 1 + len(axes)))
    trials = [
        [row, *(_measured(result, axis["key"]) for axis in axes)]
        for row, configuration in enumerate(configurations)
        for result in review.trials[configuration.config]
    ]
    return axes, trials


def _measured(result: TrialResult, name: str) -> float | None:
    return _rounded(getattr(result, name)) if result.status == "ok" else None


def _measure_axis(name: str, values: Sequence[float], at: int) -> Json:
    """The axis of ``name``, whose distinct values ascend and stand at ``at`` in each trial."""
    low, high = values[0], values[-1]
    metric = METRICS.get(name)
    if metric is None or not metric.is_accuracy:
        scale = "log" if log_spaced(values) else "linear"
        label = _label(metric) if metric else "training\u00a0s"
        ticks = _even_ticks(scale, low, high, lambda value: f"{value:.3g}")
        axis = {"key": name, "label": label, "trial": at, "scale": scale, "ticks": ticks}
        return axis | {"falling": True} if metric else axis
    accuracy = AccuracyScale.fit(values)
    ticks = [
        [value, text]
        for place, text in zip(*accuracy.ticks(6), strict=True)
        if low <= (value := 1 - 10.0**-place if accuracy.logarithmic else place / 100) <= high
    ]
    return {
        "key": name,
        "label": _label(metric),
        "trial": at,
        "scale": "error" if accuracy.logarithmic else "linear",
        "ticks": ticks,
        "percent": True,
    }
