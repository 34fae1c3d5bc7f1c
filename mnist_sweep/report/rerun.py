"""The sweep spec that runs one configuration again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from mnist_sweep.config import settings
from mnist_sweep.trial import BUNDLED_DATASET, SPLIT_SIZES, DatasetConfig, TrialResult


def rerun_spec(results: Sequence[TrialResult], name: str) -> str:
    """A spec in YAML whose trials are those of ``results``, which differ in their seeds only.

    Every hyperparameter that is not off is written out: a later default changes nothing.
    """
    config, dataset = results[0].trial.config, results[0].trial.dataset
    base = {name: value for name, value in settings(config).items() if value is not None}
    spec: dict[str, Any] = {
        "name": name,
        "model": base.pop("model"),
        "dataset": _dataset(dataset),
        "seeds": sorted(result.trial.config.seed for result in results),
    }
    if (evaluations := _evals_per_epoch(results)) > 1:
        spec["evals_per_epoch"] = evaluations
    del base["seed"]
    return _dump(spec, flow=None) + _dump({"base": base}, flow=False)


def _dump(mapping: dict[str, Any], flow: bool | None) -> str:
    text: str = yaml.safe_dump(
        mapping, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=10_000
    )
    return text


def sweep_name(text: str) -> str:
    """``text`` as a sweep may be named: what does not fit becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("_.-")[:80] or "sweep"


def _dataset(dataset: DatasetConfig) -> dict[str, Any]:
    key = "name" if dataset.name == BUNDLED_DATASET else "dir"
    sizes = {size: getattr(dataset, size) for size in SPLIT_SIZES}
    return {key: dataset.name} | {size: count for size, count in sizes.items() if count}


def _evals_per_epoch(results: Sequence[TrialResult]) -> int:
    """The whole number of curve points in an epoch; 0 where the curves do not tell."""
    points = max(len(result.curve) for result in results)
    epochs = results[0].trial.config.epochs
    return points // epochs if points % epochs == 0 else 0
