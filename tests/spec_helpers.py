"""Load a spec from text, and look at what it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from mnist_sweep.config import HPConfig
from mnist_sweep.errors import SpecError
from mnist_sweep.search.protocol import missing
from mnist_sweep.spec.draft import BestConfigs
from mnist_sweep.spec.load import SweepSpec, load_spec
from mnist_sweep.trial import Trial

# One folder for many examples is fine: each example writes the whole file anew. No deadline: the
# time of an example says more about the machine than about the code.
FOLDER_OF_MANY = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)


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
    return list(missing(spec.search, {}).trials)


def configs(spec: SweepSpec, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(trial.config, name) for name in names) for trial in trials(spec)]


def best(*ranked: HPConfig) -> BestConfigs:
    """A reader of results that holds ``ranked``, the best first."""
    return lambda _path, count, _metric: ranked[:count]
