"""The ranking of a results file, for each data set, and as records for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mnist_sweep.analysis.ranking import (
    METRICS,
    Comparison,
    Configuration,
    check_metric,
    compare_with_best,
    configurations,
    default_metric,
    rank,
)
from mnist_sweep.config import FIELD_NAMES
from mnist_sweep.trial import TrialResult

_HYPERPARAMETERS = tuple(name for name in FIELD_NAMES if name not in ("model", "seed"))

#: What ``records`` says of a configuration, in this order; also the columns of the CSV.
RECORD_KEYS: tuple[str, ...] = (
    *("rank", "verdict", "metric", "goal", "mean", "low", "high", "interval"),
    *("seeds", "diverged", "failed", "difference", "p_value"),
    *("test_accuracy", "train_seconds", "parameters", "model", "dataset"),
    *_HYPERPARAMETERS,
)


@dataclass(frozen=True)
class Ranking:
    """The configurations on one data set: accuracies on different images do not compare.

    ``compared`` are all that have the ``metric``, best first; ``without`` are the others.
    """

    dataset: str
    metric: str
    compared: Sequence[Comparison]
    without: Sequence[Configuration]


def rankings(results: Sequence[TrialResult], metric: str | None = None) -> list[Ranking]:
    """Rank ``results`` by ``metric``, by default each data set by its ``default_metric``.

    In the order of the data sets' first trials. Raises UserError if ``metric`` cannot rank them.
    """
    if metric:
        check_metric(metric, results)
    by_dataset: dict[str, list[TrialResult]] = {}
    for result in results:
        by_dataset.setdefault(result.trial.dataset.label, []).append(result)
    found = []
    for dataset, rows in by_dataset.items():
        by = metric or default_metric(rows)
        ranked = rank(configurations(rows), by)
        having = [c for c in ranked if c.mean(by) is not None]
        without = [c for c in ranked if c.mean(by) is None]
        found.append(Ranking(dataset, by, compare_with_best(having, by), without))
    return found


def records(
    results: Sequence[TrialResult], n: int = 8, metric: str | None = None
) -> list[dict[str, Any]]:
    """The ``n`` best configurations on each data set, nothing rounded, with RECORD_KEYS as keys.

    ``rank`` counts from 1 on each data set; ``verdict`` is that of ``Comparison``; ``mean`` of the
    ``metric`` over ``seeds`` (a list), with its 95 % interval ``low`` .. ``high`` of the kind
    ``interval``; ``difference`` to the best and its ``p_value``; ``test_accuracy``,
    ``train_seconds`` and ``parameters`` are means. Accuracies are fractions. None where there is
    no value. Raises UserError if ``metric`` cannot rank the results.
    """
    return [
        _record(place, comparison, ranking)
        for ranking in rankings(results, metric)
        for place, comparison in enumerate(ranking.compared[:n], 1)
    ]


def _record(place: int, comparison: Comparison, ranking: Ranking) -> dict[str, Any]:
    found, metric = comparison.configuration, ranking.metric
    interval = found.interval(metric)
    values = {
        "rank": place,
        "verdict": comparison.verdict,
        "metric": metric,
        "goal": METRICS[metric].goal,
        "mean": found.mean(metric),
        "low": interval and interval.low,
        "high": interval and interval.high,
        "interval": interval and interval.kind,
        "seeds": list(found.by_seed(metric)),
        "diverged": found.diverged,
        "failed": found.failed,
        "difference": comparison.difference,
        "p_value": comparison.p_value,
        "dataset": ranking.dataset,
    }
    for name in ("test_accuracy", "train_seconds", "parameters"):
        values[name] = found.mean(name)
    for name in ("model", *_HYPERPARAMETERS):
        values[name] = getattr(found.config, name)
    return {key: values[key] for key in RECORD_KEYS}


def records_as_json(rows: Sequence[dict[str, Any]]) -> str:
    """``rows`` as a JSON array of objects, a line each (RFC 8259: no NaN; null for None)."""
    lines = [json.dumps(row, allow_nan=False, ensure_ascii=False) for row in rows]
    return "[\n  " + ",\n  ".join(lines) + "\n]" if lines else "[]"


def records_as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """``rows`` as CSV with RECORD_KEYS as header; seeds apart by spaces, None is an empty cell."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, RECORD_KEYS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "seeds": " ".join(map(str, row["seeds"]))} for row in rows)
    return buffer.getvalue().removesuffix("\n")
