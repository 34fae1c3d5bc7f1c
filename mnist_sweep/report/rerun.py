"""The sweep specs that run configurations again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import yaml

from mnist_sweep.analysis.study import Study
from mnist_sweep.config import HPConfig, settings
from mnist_sweep.trial import SPLIT_SIZES, DatasetConfig, TrialResult

#: A spec takes names of 80 characters; the rank of a row comes behind this one.
_MAX_NAME = 72


class Reruns:
    """What makes the specs that run the configurations (keyed with seed 0) of a study again.

    ``trials`` has every trial of each, by seed; ``evaluations`` are those of an epoch; ``name``
    begins the specs' names.
    """

    def __init__(self, study: Study, name: str = "") -> None:
        """``name`` stands before what tells ``study`` from others."""
        self.name = f"{name}{study.prefix}"
        self.trials: dict[HPConfig, list[TrialResult]] = {}
        for result in sorted(study.results, key=lambda r: r.trial.config.seed):
            self.trials.setdefault(replace(result.trial.config, seed=0), []).append(result)
        self.evaluations = evaluations(self.trials)


def rerun_spec(results: Sequence[TrialResult], name: str, evaluations: int = 1) -> str:
    """A spec in YAML with the trials ``results``: a name by ``sweep_name`` and ``rerun_parts``."""
    return f"name: {name}\n{''.join(rerun_parts(results, evaluations))}"


def rerun_parts(results: Sequence[TrialResult], evaluations: int = 1) -> list[str]:
    """What follows the name in a spec whose trials are ``results``, which differ in seeds only.

    In parts, to be joined, that specs have in common. Every hyperparameter that is not off is
    written out: a later default changes nothing. ``evaluations`` of an epoch, 0 if not known.
    """
    config, dataset = results[0].trial.config, results[0].trial.dataset
    seeds = tuple(sorted(result.trial.config.seed for result in results))
    given = {name: v for name, v in settings(config).items() if name not in ("model", "seed")}
    base = [_base_line(name, value) for name, value in given.items() if value is not None]
    return [_head(config.model, dataset, seeds, evaluations), *base]


# YAML is slow to write, and rows have most of it in common.
@cache
def _head(model: str, dataset: DatasetConfig, seeds: Sequence[int], evaluations: int) -> str:
    known = dataset.is_bundled or dataset.digest
    data: dict[str, Any] = {"name": dataset.name} if known else {}
    # Where a folder was, no row says: most likely in one that is called like it.
    data |= {} if dataset.is_bundled else {"dir": dataset.name}
    sizes = {size: getattr(dataset, size) for size in SPLIT_SIZES}
    data |= {size: count for size, count in sizes.items() if count}
    plan: dict[str, Any] = {"model": model, "dataset": data, "seeds": list(seeds)}
    if evaluations > 1:
        plan["evals_per_epoch"] = evaluations
    return f"{_yaml(plan, flow=None)}base:\n"


@cache
def _base_line(name: str, value: int | float | str) -> str:
    return f"  {_yaml({name: value}, flow=False)}"


def _yaml(mapping: dict[str, Any], flow: bool | None) -> str:
    look: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 10_000}
    return str(yaml.safe_dump(mapping, default_flow_style=flow, **look))


def sweep_name(start: str, end: str) -> str:
    """A name for a sweep that ends in ``end``, after as much of ``start`` as a name can hold."""
    fitting = re.sub(r"[^A-Za-z0-9_.-]+", "-", start).lstrip("_.-")
    kept = fitting[: _MAX_NAME - len(end) - 1].rstrip("_.-")
    return f"{kept}_{end}" if kept else end


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
