"""The sweep spec: a YAML file -> a validated SweepSpec with its search.

A spec is the familiar subset of a W&B sweep file, plus named grids, seeds and exclusions. Every
problem of a file is reported at once, each with its line. What it stands for is a pure function of
the file (and of the results that ``from_results`` names): same file, same trials, same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnist_sweep.metrics import Metric
from mnist_sweep.search.methods import METHODS
from mnist_sweep.search.protocol import Search, SearchError
from mnist_sweep.search.space import Space
from mnist_sweep.spec.keys import MAX_TRIALS, BestConfigs, Draft, read_keys
from mnist_sweep.spec.nodes import Node, Reader, Scalar, Table, named, printable
from mnist_sweep.spec.overrides import apply_overrides, set_data_dir
from mnist_sweep.spec.yaml_lines import as_yaml, read_file
from mnist_sweep.trial import BUNDLED_DATASET, DatasetConfig


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep.

    ``search`` proposes its trials, distinct by trial_id; those of a grid in the order of the file:
    grid by grid, the last parameter of a grid changing fastest, seeds innermost. ``warnings`` are
    lines for a person. ``resolved`` is the spec as it is run, in YAML: what changed it is applied,
    and its name, model, data set, seeds and metric are written out.
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
    reader = Reader()
    root = read_file(path, reader)
    apply_overrides(root, overrides, reader)
    if data_dir is not None:
        set_data_dir(root, data_dir, reader)
    draft = Draft(root, path, reader, best_configs)
    read_keys(draft)
    values = draft.values
    space = Space(
        values["model"],
        values["dataset"],
        values["seeds"],
        values["from_results"],
        values["base"],
        values["parameters"] or values["grids"] or [{}],
        values["exclude"],
    )
    _check_base_is_used(draft)
    _check_size(draft, space)
    reader.raise_if_any()
    method = METHODS[values["method"]]
    try:
        search = method.build(space, **{key: values[key] for key in method.keys})
    except SearchError as error:
        draft.problem(error.key, str(error))
        reader.raise_if_any()
        raise
    return SweepSpec(
        values["name"],
        values["model"],
        values["dataset"],
        values["metric"],
        values["evals_per_epoch"],
        search,
        (*draft.warnings, *search.warnings),
        _resolved(draft),
    )


def _check_base_is_used(draft: Draft) -> None:
    """A value of ``base`` that every grid replaces is a mistake."""
    swept_in = "parameters" if draft.values["parameters"] else "every grid"
    grids = [*draft.values["parameters"], *draft.values["grids"]]
    for name in draft.values["base"]:
        if grids and all(name in grid for grid in grids):
            base = draft.root.entries["base"]
            assert isinstance(base, Table)
            draft.reader.problem(
                base.key_places[name],
                f"{printable(name)}: is in base and in {swept_in}; remove it from one of them",
            )


def _check_size(draft: Draft, space: Space) -> None:
    """Refuse a sweep of too many trials before they are listed, and more draws than points."""
    drawn = "count" in draft.values
    size = (draft.values["count"] or 0) if drawn else space.size
    trials = size * len(space.seeds)
    if MAX_TRIALS < trials < math.inf:
        keys = ("parameters", "grids", "from_results", "seeds")
        key = next(key for key in keys if key in draft.root.entries)
        cut = "lower count:" if drawn else "shorten the lists, draw with method: random"
        draft.problem(
            key,
            f"{trials:,} trials ({size:,} configurations x {len(space.seeds):,} seeds) are more "
            f"than {MAX_TRIALS:,}; {cut} or use fewer seeds",
        )
    if 0 < space.size < size:
        draft.problem(
            "count",
            f"{size} is more than the {space.size} configurations there are; lower it, or use "
            "method: grid",
        )


def _resolved(draft: Draft) -> str:
    """The spec with what was not written, but must never change, written out."""

    def scalar(text: str) -> Scalar:
        written = Scalar(draft.root.place, text)
        return replace(written, quoted=written.is_null)

    def table(**entries: Node) -> Table:
        return Table(draft.root.place, entries)

    values = draft.values
    entries: dict[str, Node] = {
        "name": scalar(values["name"]),
        "model": scalar(values["model"]),
        "dataset": table(),
        "seeds": scalar("1"),
        **draft.root.entries,
        "metric": table(name=scalar(values["metric"].name), goal=scalar(values["metric"].goal)),
    }
    dataset = named(entries["dataset"])
    if isinstance(dataset, Table) and "dir" not in dataset.entries:
        dataset = table(**{"name": scalar(BUNDLED_DATASET), **dataset.entries})
    return as_yaml(table(**entries | {"dataset": dataset}))
