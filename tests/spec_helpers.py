"""Load a spec from text, and look at what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.errors import SpecError
from mnist_sweep.spec.load import BestConfigs, SweepSpec, load_spec
from mnist_sweep.trial import Trial


def load(
    folder: Path,
    text: str,
    *overrides: str,
    data_dir: str | None = None,
    best_configs: BestConfigs | None = None,
) -> SweepSpec:
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return load_spec(path, overrides=overrides, data_dir=data_dir, best_configs=best_configs)


def problems(folder: Path, text: str, *overrides: str, **arguments: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load(folder, text, *overrides, **arguments)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix(f"{folder}/") for problem in caught.value.problems]


def trials(spec: SweepSpec) -> list[Trial]:
    """What the sweep's search proposes before there are results."""
    return list(spec.trials)


def configs(spec: SweepSpec, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(trial.config, name) for name in names) for trial in spec.trials]


def best(*found: HPConfig) -> BestConfigs:
    """A reader of results that holds ``found``, the best first."""
    return lambda _path, count, _metric: found[:count]
