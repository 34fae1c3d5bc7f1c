"""The sweep spec: a YAML file -> a validated SweepSpec with its search.

A spec is the familiar subset of a W&B sweep file, plus named grids, seeds and exclusions. Every
problem of a file is reported at once, each with its line. What it stands for is a pure function of
the file (and of the results that ``from_results`` names): same file, same trials, same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_sweep.config import SPEC_FIELDS, HPConfig
from mnist_sweep.metrics import Metric
from mnist_sweep.search.methods import DRAWING, METHODS
from mnist_sweep.search.protocol import Search, SearchError
from mnist_sweep.search.space import Point, Space
from mnist_sweep.spec.keys import KEYS, MAX_TRIALS, BestConfigs, Draft, read_keys
from mnist_sweep.spec.nodes import Table
from mnist_sweep.spec.overrides import apply_overrides, set_data_dir
from mnist_sweep.spec.yaml_lines import as_yaml, read_file
from mnist_sweep.trial import DatasetConfig


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep.

    ``search`` proposes its trials, distinct by trial_id; those of a grid in the order of the file:
    grid by grid, the last parameter of a grid changing fastest, seeds innermost. ``warnings`` are
    lines for a person. ``resolved`` is the spec as it is run, in YAML: with everything that changed
    it, and with what it left to defaults written out.
    """

    name: str
    model: str
    dataset: DatasetConfig
    metric: Metric
    evals_per_epoch: int
    search: Search
    warnings: tuple[str, ...]
    resolved: str


def load_spec(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    data_dir: str | None = None,
    best_configs: BestConfigs | None = None,
) -> SweepSpec:
    """Read, change and check the sweep spec at ``path``.

    ``overrides`` are ``key=value`` strings as ``--set`` takes them, ``data_dir`` replaces the data
    set's folder, and ``best_configs`` reads the file that ``from_results`` names. Raises SpecError,
    which holds every problem found, each as ``file.yaml:LINE: key: message``.
    """
    draft = Draft(path, best_configs)
    draft.root = read_file(path, draft)
    apply_overrides(draft.root, overrides, draft)
    if data_dir is not None:
        set_data_dir(draft.root, data_dir, draft)
    read_keys(draft)
    search = _search(draft)
    plain = ("name", "model", "dataset", "metric", "evals_per_epoch")
    return SweepSpec(
        **{key: draft.values[key] for key in plain},
        search=search,
        warnings=(*draft.warnings, *search.warnings),
        resolved=as_yaml(draft.root, KEYS),
    )


def _search(draft: Draft) -> Search:
    """What the method makes of all that may be tried. Raises SpecError if anything is wrong."""
    values = draft.values
    starts = values["from_results"]
    if starts is None:
        starts = [HPConfig(model=values["model"] or HPConfig.model)]
    grids = [*(values["parameters"] or ()), *(values["grids"] or ())]
    base = values["base"] or {}
    space = Space(
        values["model"],
        values["dataset"],
        values["seeds"],
        list(map(_point, starts)),
        base,
        grids or [{}],
        values["exclude"] or (),
    )
    for name in base:
        if grids and all(name in grid for grid in grids):
            swept_in = "parameters" if values["parameters"] else "every grid"
            table = draft.root.entries["base"]
            assert isinstance(table, Table)
            draft.problem(
                table.key_places[name],
                f"{name}: is in base and in {swept_in}; remove it from one of them",
            )
    _check_size(draft, space)
    draft.raise_if_any()
    method = METHODS[values["method"]]
    try:
        return method.build(space, **{key: values[key] for key in method.keys})
    except SearchError as error:
        draft.key_problem(*error.args)
        draft.raise_if_any()
        raise


def _point(config: HPConfig) -> Point:
    """What a spec may set or sweep of a configuration; nothing of what its model lacks."""
    values = ((name, getattr(config, name)) for name in SPEC_FIELDS)
    return {name: value for name, value in values if value is not None}


def _check_size(draft: Draft, space: Space) -> None:
    """Refuse a sweep of too many trials before they are listed, and more draws than points."""
    drawn = "count" in draft.values
    size = (draft.values["count"] or 0) if drawn else space.size
    trials = size * len(space.seeds)
    if MAX_TRIALS < trials < math.inf:
        keys = ("parameters", "grids", "from_results", "seeds")
        cut = "lower count:" if drawn else f"shorten the lists, draw with method: {DRAWING}"
        draft.key_problem(
            next(key for key in keys if key in draft.root.entries),
            f"{trials:,} trials ({size:,} configurations x {len(space.seeds):,} seeds) are more "
            f"than {MAX_TRIALS:,}; {cut} or use fewer seeds",
        )
    if 0 < space.size < size:
        draft.key_problem(
            "count",
            f"{size} is more than the {space.size} configurations there are; lower it, or use "
            "method: grid",
        )
