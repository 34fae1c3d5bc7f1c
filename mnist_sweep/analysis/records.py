"""The ranking as records for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import Comparison
from mnist_sweep.config import SPEC_FIELDS
from mnist_sweep.metrics import TEST_ACCURACY
from mnist_sweep.results.file import COLUMNS
from mnist_sweep.trial import TrialResult

#: What ``records`` says of a configuration, in this order; also the columns of the CSV.
RECORD_KEYS: tuple[str, ...] = (
    *("rank", "verdict", "metric", "goal", "mean", "low", "high", "interval"),
    *("seeds", "diverged", "failed", "difference", "p_value", "noisy", "seeds_needed"),
    *("test_accuracy", "train_seconds", "parameters", "model", "dataset"),
    *SPEC_FIELDS,
)


def records(studies: Iterable[Study], n: int = 8) -> list[dict[str, Any]]:
    """The ``n`` best configurations of each study, nothing rounded, with RECORD_KEYS as keys.

    ``rank`` counts from 1 in each study; ``verdict`` is that of ``Comparison``; ``mean`` of the
    ``metric`` over ``seeds`` (a list), with its 95 % interval ``low`` .. ``high`` of the kind
    ``interval``; ``difference``, ``p_value``, ``noisy`` and ``seeds_needed`` as ``Comparison``
    says; ``test_accuracy``, ``train_seconds`` (wall time) and ``parameters`` are means. Accuracies
    are fractions. None where there is no value.
    """
    shown = ((i, c, study) for study in studies for i, c in enumerate(study.measured[:n], 1))
    return [_record(*place) for place in shown]


def _record(place: int, comparison: Comparison, study: Study) -> dict[str, Any]:
    configuration, metric = comparison.configuration, study.metric
    interval = configuration.interval(metric)
    return {
        "rank": place,
        "verdict": comparison.verdict,
        "metric": metric.name,
        "goal": metric.goal,
        "mean": configuration.mean(metric),
        "low": interval and interval.low,
        "high": interval and interval.high,
        "interval": interval and interval.kind,
        "seeds": list(configuration.by_seed(metric)),
        "diverged": configuration.diverged,
        "failed": configuration.failed,
        "difference": comparison.difference,
        "p_value": comparison.p_value,
        "noisy": comparison.noisy,
        "seeds_needed": comparison.seeds,
        "test_accuracy": configuration.mean(TEST_ACCURACY),
        "train_seconds": configuration.cost("train_seconds"),
        "parameters": configuration.cost("parameters"),
        "model": configuration.config.model,
        "dataset": configuration.dataset.label,
        **{name: getattr(configuration.config, name) for name in SPEC_FIELDS},
    }


def row_record(row: TrialResult) -> dict[str, Any]:
    """``row`` by the columns of results.csv; None where there is no value."""
    trial = row.trial
    values = vars(row) | vars(trial.config)
    values |= {"trial_id": trial.trial_id, "dataset": trial.dataset.label}
    return {name: values[name] for name in COLUMNS}


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
