"""The sweep spec that runs one configuration again; rerun.js writes it for any row of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mnist_sweep.config import HPConfig, settings
from mnist_sweep.trial import BUNDLED_DATASET, SPLIT_SIZES, DatasetConfig, Trial, TrialResult

#: A spec takes names of 80 characters; the rank of a row comes behind this one.
_MAX_NAME = 72


def rerun_spec(results: Sequence[TrialResult], name: str, evaluations: int = 1) -> str:
    """A spec in YAML whose trials are those of ``results``, which differ in their seeds only.

    Every hyperparameter that is not off is written out: a later default changes nothing.
    ``evaluations`` are those of an epoch; 0 where they are not known.
    """
    trial = results[0].trial
    plan: dict[str, Any] = {"seeds": sorted(result.trial.config.seed for result in results)}
    if evaluations > 1:
        plan["evals_per_epoch"] = evaluations
    head = _dump({"name": name}, flow=False) + data_lines(trial) + _dump(plan, flow=None)
    return f"{head}base:\n{''.join(base_lines(trial.config).values())}"


def data_lines(trial: Trial) -> str:
    """The lines of a spec that say what is trained on what."""
    dataset = _dataset(trial.dataset)
    return _dump({"model": trial.config.model, "dataset": dataset}, flow=None)


def base_lines(config: HPConfig) -> dict[str, str]:
    """Hyperparameter -> its line in a spec's ``base``; what is off or does not apply has none."""
    return {
        name: f"  {_dump({name: value}, flow=False)}"
        for name, value in settings(config).items()
        if value is not None and name not in ("model", "seed")
    }


def _dump(mapping: dict[str, Any], flow: bool | None) -> str:
    text: str = yaml.safe_dump(
        mapping, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=10_000
    )
    return text


def sweep_name(start: str, end: str) -> str:
    """A name for a sweep that ends in ``end``, after as much of ``start`` as a name can hold."""
    fitting = re.sub(r"[^A-Za-z0-9_.-]+", "-", start).lstrip("_.-")
    return fitting[: _MAX_NAME - len(end)] + end


def _dataset(dataset: DatasetConfig) -> dict[str, Any]:
    key = "name" if dataset.name == BUNDLED_DATASET else "dir"
    sizes = {size: getattr(dataset, size) for size in SPLIT_SIZES}
    return {key: dataset.name} | {size: count for size, count in sizes.items() if count}


def evaluations(trials: Mapping[HPConfig, Sequence[TrialResult]]) -> dict[HPConfig, int]:
    """How often each configuration was evaluated in an epoch; 0 where no curve tells.

    Where its own curves end too early, as they do where all seeds diverge, the others tell.
    """
    told = {config: max(map(_in_an_epoch, results)) for config, results in trials.items()}
    most = max(told.values())
    return {config: count or most for config, count in told.items()}


def _in_an_epoch(result: TrialResult) -> int:
    """The points of the first epoch; 0 for a curve that does not reach its end."""
    whole = any(point.epoch >= 1 for point in result.curve)
    return sum(point.epoch <= 1 for point in result.curve) if whole else 0
