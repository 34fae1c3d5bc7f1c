"""The spec that ``run`` leaves beside the rows: results.csv -> results.spec.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mnist_sweep.config import parse_number
from mnist_sweep.metrics import CHOICE_METRICS, METRICS, Metric
from mnist_sweep.results.journal import open_regular
from mnist_sweep.results.lines import spec_path

#: The one in C refuses deep nesting at once, where Python's takes seconds. It leaves text as it is:
#: a width of 1024-64-32 is no date.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
#: A resolved spec may name many values, but this is no spec.
_MAX_BYTES = 1_000_000


def spec_metric(path: Path) -> Metric | None:
    """The metric of the spec that made the results file ``path``.

    None where there is no such spec, or none that can be read: results do not need it.
    """
    name = _value(path, "metric", "name")
    return METRICS[name] if isinstance(name, str) and name in CHOICE_METRICS else None


def spec_evaluations(path: Path) -> int | None:
    """The ``evals_per_epoch`` of that spec; None as for ``spec_metric``."""
    number = parse_number(_value(path, "evals_per_epoch"))
    return number if isinstance(number, int) else None


def spec_data(path: Path) -> str:
    """Where the data set of that spec is: beside it, else as it says; "" as for ``spec_metric``."""
    folder = _value(path, "dataset", "dir")
    if not isinstance(folder, str):
        return ""
    beside = path.parent / folder
    return str(beside) if beside.exists() else folder


def _value(path: Path, *keys: str) -> Any:
    try:
        with open_regular(spec_path(path)) as file:
            value: Any = yaml.load(file.read(_MAX_BYTES), Loader=_LOADER)
        for key in keys:
            value = value[key]
    except (OSError, ValueError, yaml.YAMLError, TypeError, LookupError, RecursionError):
        return None
    return value
