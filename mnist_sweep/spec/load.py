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

from mnist_sweep.config import SPEC_FIELDS, HPConfig
from mnist_sweep.metrics import Metric
from mnist_sweep.search.methods import DRAWING, METHODS
from mnist_sweep.search.protocol import Search, SearchError
from mnist_sweep.search.space import Grid, Interval, Space
from mnist_sweep.search.stages import Staged
from mnist_sweep.spec.draft import MAX_TRIALS, BestConfigs, Draft
from mnist_sweep.spec.keys import KEYS, read_keys
from mnist_sweep.spec.nodes import Table
from mnist_sweep.spec.overrides import set_data_dir, set_key
from mnist_sweep.spec.stages import stages_of
from mnist_sweep.spec.words import expand, notes, translate
from mnist_sweep.spec.yaml_lines import as_yaml, read_file
from mnist_sweep.trial import DatasetConfig


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep.

    ``search`` proposes its trials, distinct by trial_id; those of a grid in the order of the file:
    grid by grid, the last parameter of a grid changing fastest, seeds innermost. Its method chooses
    from ``size`` configurations (inf: endless). ``warnings`` are lines for a person. ``resolved``
    is the spec as it is run, in YAML: with everything that changed it, and with what it left to
    defaults written out.
    """

    name: str
    model: str
    dataset: DatasetConfig
    metric: Metric
    evals_per_epoch: int
    search: Search
    size: float
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
    root = draft.attempt(read_file, path, draft)
    if root is None:
        raise draft.error()
    draft.root = root
    translate(draft)
    for override in overrides:
        draft.attempt(set_key, draft, override)
    if data_dir is not None:
        draft.attempt(set_data_dir, draft, data_dir)
    translate(draft)
    expand(draft)
    read_keys(draft)
    search, size = _search(draft)
    plain = ("name", "model", "dataset", "metric", "evals_per_epoch")
    return SweepSpec(
        **{key: draft.values[key] for key in plain},
        search=search,
        size=size,
        warnings=(*notes(draft), *draft.warnings, *search.warnings),
        resolved=as_yaml(draft.root, KEYS),
    )


def _search(draft: Draft) -> tuple[Search, float]:
    """What the method makes of all that may be tried, and how much that is.

    Raises SpecError if anything is wrong.
    """
    values, base = draft.values, draft.values["base"] or {}
    dataset, seeds = values["dataset"], values["seeds"] or ()
    for first in (values["rungs"] or ())[:1]:
        base = base | dict(first.changes)
        if first.seeds:
            seeds = first.seeds
            draft.root.entries.pop("seeds")  # the default, or a problem
        dataset = dataset and replace(dataset, **first.sizes)
    grids = [*(values["parameters"] or ()), *(values["grids"] or ())]
    configs = [HPConfig(model=values["model"] or HPConfig.model)]
    if "from_results" in draft.root.entries:
        configs = values["from_results"] or []
    starts = [
        # Of what its model lacks, a configuration has None, and a point nothing.
        {n: v for n, v in vars(config).items() if n in SPEC_FIELDS and v is not None} | base
        for config in configs
    ]
    space = Space(
        model=values["model"],
        dataset=dataset,
        seeds=seeds,
        starts=starts,
        grids=grids or [{}],
        exclusions=values["exclude"] or (),
        metric=values["metric"],
    )
    _check_once(draft, grids)
    _check_batches(draft, space)
    if not draft.problems:
        _check_size(draft, space)
    if draft.problems:
        raise draft.error()
    draft.warnings += space.idle_exclusions()
    method = METHODS[values["method"]]
    try:
        search: Search = method.build(space, **{key: values[key] for key in method.keys})
    except SearchError as error:
        draft.note(*error.args)
        raise draft.error() from error
    stages = stages_of(draft, search, space)
    if draft.problems:
        raise draft.error()
    return Staged(search, stages) if stages else search, space.size


def _check_once(draft: Draft, grids: Sequence[Grid]) -> None:
    """Refuse what stands in two places, of which one has no effect."""
    rungs = [("rungs", rung.table) for rung in draft.values["rungs"] or ()]
    entries = draft.root.entries
    places = (
        ("base", entries.get("base")),
        ("dataset", entries["dataset"]),
        ("the spec", draft.root),
    )
    for holder, table in (*places, *rungs):
        counts = {"base": all, "rungs": any}.get(holder)
        for name, place in table.key_places.items() if isinstance(table, Table) else ():
            if grids and counts and counts(name in grid for grid in grids):
                one = "every grid" if counts is all else "a grid"
                other = "parameters" if draft.values["parameters"] else one
            elif holder != "rungs" and rungs and name in rungs[0][1].entries:
                other = "the first of rungs, which counts"
            else:
                continue
            draft.note(place, f"{name}: is in {holder} and in {other}; remove it from one of them")


def _check_batches(draft: Draft, space: Space) -> None:
    """Refuse batches of more images than a stage trains on."""
    sizes = [(rung.sizes.get("train_size"), "rungs") for rung in draft.values["rungs"] or ()]
    sizes.append((draft.images, "dataset"))
    starts = [start["batch_size"] for start in space.starts]
    domains = [grid.get("batch_size", starts) for grid in space.grids]
    ends = [[d.high] if isinstance(d, Interval) else d for d in domains]
    largest = max((value for values in ends for value in values if value), default=0)
    for images, key in sizes:
        if images and images < largest:
            few = f"{images:,} images to train on are fewer than batch_size {largest:,}"
            draft.note(key, f"{few}; lower it or use more of them")


def _check_size(draft: Draft, space: Space) -> None:
    """Refuse a sweep of too many trials before they are listed."""
    drawn = draft.values["count"] or math.inf
    size = min(drawn, space.size)
    trials = size * len(space.seeds)
    if MAX_TRIALS < trials < math.inf:
        keys = ("parameters", "grids", "from_results", "seeds")
        draw = f"shorten the lists, draw with method: {' or '.join(DRAWING)}"
        draft.note(
            next(key for key in keys if key in draft.root.entries),
            f"{trials:,} trials ({size:,} configurations x {len(space.seeds):,} seeds) are more "
            f"than {MAX_TRIALS:,}; {'lower count:' if size == drawn else draw}, or use fewer seeds",
        )
