"""The keys of a sweep spec, each with its reader and its default: the table ``KEYS``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mnist_sweep.aliases import suggest
from mnist_sweep.config import SPEC_FIELDS, HPConfig
from mnist_sweep.errors import DataError, UserError
from mnist_sweep.metrics import CHOICE_METRICS, METRICS, Metric
from mnist_sweep.models import MODELS
from mnist_sweep.search.methods import DRAWING, METHODS
from mnist_sweep.search.space import Exclusion, Grid
from mnist_sweep.spec.draft import MAX_IMAGES, MAX_SEED, MAX_TRIALS, Draft, training_images
from mnist_sweep.spec.fields import read_base, read_exclusion, read_grid, read_seeds
from mnist_sweep.spec.nodes import Node, NodeError, Scalar, Table, printable
from mnist_sweep.spec.stages import read_confirm, read_race, read_rungs
from mnist_sweep.trial import BUNDLED_DATASET, SPLIT_SIZES, DatasetConfig

MAX_EVALS_PER_EPOCH = 10_000
#: What a spec has that leaves it open.
VALIDATION_SIZE, COUNT = 5000, 50

# A name becomes a file's name and a cell of the CSV, where a spreadsheet must not execute it.
_NAME_RULE = "at most 80 letters, digits, '_', '.' and '-', the first a letter or digit"


def _name(draft: Draft, node: Node) -> str:
    scalar = node.scalar("name")
    for text in (scalar.text, draft.path.stem):  # of a name in other letters nothing is left
        if fitting := re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.-")[:80]:
            if fitting != scalar.text:
                scalar.text, scalar.written = fitting, scalar.text
            return fitting
    raise NodeError(node, f"name: {node} cannot name a sweep; use {_NAME_RULE}")


def _dataset(draft: Draft, node: Node) -> DatasetConfig | None:
    before = len(draft.problems)
    example = "{name: mnist, validation_size: 5000}"
    table = draft.table(node.named(), "dataset", example, ("name", "dir", *SPLIT_SIZES))
    default = Scalar(table.place, BUNDLED_DATASET)
    if "dir" in table.entries:
        dataset = draft.attempt(_folder, draft, table)
    else:
        dataset = draft.attempt(_bundled, table.entries.setdefault("name", default))
    # Nothing to validate on is a choice, nothing to train or test on is not.
    sizes: dict[str, Any] = {
        key: draft.attempt(
            table.entries[key].whole, f"dataset.{key}", int(key != "validation_size"), MAX_IMAGES
        )
        for key in SPLIT_SIZES
        if key in table.entries
    }
    if dataset is None or len(draft.problems) > before:
        return None
    dataset = replace(dataset, **sizes)
    draft.images = draft.attempt(training_images, table, dataset)
    draft.root.entries["dataset"] = table
    return dataset


def _bundled(node: Node) -> DatasetConfig:
    name = node.scalar("dataset").text
    if name != BUNDLED_DATASET:
        raise NodeError(
            node,
            f"dataset: {node} is not a data set that comes with mnist-sweep"
            f"{suggest(name, [BUNDLED_DATASET])}; for a folder of IDX files write "
            "dataset: {dir: FOLDER}",
        )
    return DatasetConfig()


def _folder(draft: Draft, table: Table) -> DatasetConfig:
    """The data set in the folder ``dir``, called ``name`` if that says more than a default."""
    # Imported here because it needs numpy, which a spec of MNIST need not wait for.
    from mnist_sweep.data.dataset import identified

    node, given = table.entries["dir"], table.entries.get("name")
    name = given.scalar("dataset.name").text if given else ""
    try:
        path = _located(draft, node.scalar("dataset.dir"))
        if not path.isprintable():
            raise DataError(f"{path} has a control character; rename the folder or link to it")
        dataset, note = identified(path, name if name != BUNDLED_DATASET else "")
    except DataError as error:
        raise NodeError(node, f"dataset.dir: {printable(str(error), 1_000)}") from error
    if name not in ("", BUNDLED_DATASET, dataset.name):
        problem = f"dataset.name: '{printable(name)}' cannot name data; use {_NAME_RULE}"
        raise NodeError(given or node, problem)
    draft.warnings += [f"dataset.dir: {note}"] if note else []
    return dataset


def _located(draft: Draft, scalar: Scalar) -> str:
    """A path of the spec, with ~ as the home: beside the file if it is there, else as it stands."""
    path = os.path.expanduser(scalar.text)
    beside = os.path.abspath(draft.path.parent / path)
    if scalar.place.line is not None and beside != os.path.abspath(path) and os.path.exists(beside):
        scalar.text, scalar.quoted = beside, True  # the resolved spec may stand elsewhere
        return beside
    return path


def _default_metric(draft: Draft) -> str:
    dataset = draft.values["dataset"]
    return "val_accuracy" if dataset and dataset.validation_size else "test_accuracy"


def _metric(draft: Draft, node: Node) -> Metric | None:
    """What to compare trials by, and the one goal that it can have; the goal is written out."""
    table = node.named().mapping("metric", "{name: test_accuracy, goal: maximize}")
    known = draft.check_keys(table, ("name", "goal"))
    given, goal = table.entries, None
    if "goal" in given:
        goal = draft.attempt(given["goal"].choice, "metric.goal", ("maximize", "minimize"))
    if "name" not in given:
        if known:
            draft.note("metric", f"has no name; add one of {', '.join(CHOICE_METRICS)}")
        return None
    metric = METRICS[given["name"].choice("metric", CHOICE_METRICS)]
    dataset = draft.values["dataset"]
    if metric.split == "val" and dataset is not None and not dataset.validation_size:
        _validate(draft, given["name"], metric, dataset)
    if goal not in (None, metric.goal):
        kind, end = ("an accuracy", "more") if metric.is_accuracy else ("a loss", "less")
        draft.note(
            given["goal"],
            f"metric.goal: {metric.name} is {kind}, the {end} the better; write goal: "
            f"{metric.goal} or leave goal: out",
        )
    given.setdefault("goal", Scalar(table.place, metric.goal))
    draft.root.entries["metric"] = table
    return metric


def _validate(draft: Draft, node: Node, metric: Metric, dataset: DatasetConfig) -> None:
    """Split off what ``metric`` is measured on; a problem where the spec says that nothing is."""
    table = draft.root.entries["dataset"]
    assert isinstance(table, Table)
    if "validation_size" in table.entries:
        wrong = f"{metric.name} needs images to validate on; give dataset: a validation_size: 5000"
        raise NodeError(node, f"metric: {wrong}, or use {metric.on('test').name}")
    table.put("validation_size", Scalar(table.place, str(VALIDATION_SIZE)), table.place)
    draft.values["dataset"] = dataset = replace(dataset, validation_size=VALIDATION_SIZE)
    draft.images = draft.attempt(training_images, table, dataset)
    draft.warnings.append(
        f"{node.place}: metric: {metric.name} needs images to validate on; "
        f"{VALIDATION_SIZE:,} are taken from the training set (dataset: validation_size:)"
    )


def _whole(key: str, low: int, high: int) -> Callable[[Draft, Node], int]:
    return lambda _, node: node.whole(key, low, high)


def _default_count(draft: Draft) -> str | None:
    if draft.values["method"] not in DRAWING:
        return None
    draft.warnings.append(f"{draft.path}: count: not given; {COUNT} configurations are drawn")
    return str(COUNT)


def _method(draft: Draft, node: Node) -> str:
    """The method of search, and whether the keys that it needs or refuses go with it."""
    name, keys = node.choice("method", METHODS), draft.root.entries
    for key in METHODS[name].refuses:
        if key in keys:
            draft.note(key, f"does not go with method: {name}, which draws from parameters:")
    for key in METHODS[name].needs:
        if key not in keys:
            draft.note("method", f"{name} needs {key}:; add it")
    return name


def _grids(draft: Draft, node: Node) -> list[Grid]:
    for other in ("parameters", "from_results"):
        if other in draft.root.entries:
            draft.note("grids", f"does not go with {other}:; keep one of them")
    table = node.mapping("grids", "{lr_opt: {lr: [1e-3, 3e-3], opt: [adam, sgd]}}")
    if not table.entries:
        draft.note("grids", "names no grid; fill it or remove it")
    grids = (
        draft.attempt(read_grid, draft, child, f"grids.{printable(name)}")
        for name, child in table.entries.items()
    )
    return [grid for grid in grids if grid is not None]


def _exclude(draft: Draft, node: Node) -> list[Exclusion]:
    nodes = node.items("exclude", "[{opt: sgd, depth: 3}]")
    entries = (draft.attempt(read_exclusion, draft, child) for child in nodes)
    return [entry for entry in entries if entry is not None]


def _from_results(draft: Draft, node: Node) -> Sequence[HPConfig]:
    """The best configurations of an earlier sweep; warns if there are fewer than asked for."""
    keys = ("file", "top")
    table = draft.table(node, "from_results", "{file: RESULTS.csv, top: 8}", keys, keys)
    file = draft.attempt(table.entries["file"].scalar, "from_results.file")
    top = draft.attempt(table.entries["top"].whole, "from_results.top", 1, MAX_TRIALS)
    if file is None or top is None or not draft.values["model"] or not draft.values["metric"]:
        return []
    try:
        return _best_configs(draft, file, top)
    except UserError as error:
        raise NodeError(file, f"from_results: {'; '.join(str(error).splitlines())}") from error


def _best_configs(draft: Draft, file: Scalar, top: int) -> Sequence[HPConfig]:
    """What the file holds; raises UserError if that cannot be used."""
    path, shown, model = _located(draft, file), printable(file.text), draft.values["model"]
    if not file.text.isprintable():
        raise UserError(f"'{shown}' is no path; correct it")
    if draft.best_configs is None:
        raise UserError("is not supported here; use mnist-sweep run")
    configs = draft.best_configs(Path(path), top, draft.values["metric"])
    if not configs:
        raise UserError(f"{shown} has no finished trial; run that sweep first")
    others = sorted({config.model for config in configs} - {model})
    if others:
        raise UserError(
            f"{shown} holds trials of model {', '.join(others)}, this sweep has model {model}; "
            f"set model: {others[0]} or use other results"
        )
    if len(configs) < top:
        draft.warnings.append(
            f"{file.place}: from_results: {shown} has only {len(configs)} of the {top} "
            "configurations asked for"
        )
    return configs


@dataclass(frozen=True)
class Key:
    """How a key is read, given the values of the keys before it, and its default.

    The default, unless it is None, is written out, and read, where the key is missing.
    """

    read: Callable[[Draft, Node], Any]
    default: Callable[[Draft], str | None] = lambda _: None


KEYS: Mapping[str, Key] = {
    "name": Key(_name, lambda draft: draft.path.stem),
    "model": Key(lambda _, node: node.choice("model", MODELS), lambda _: HPConfig.model),
    "dataset": Key(_dataset, lambda _: BUNDLED_DATASET),
    "seeds": Key(read_seeds, lambda _: "1"),
    "metric": Key(_metric, _default_metric),
    "evals_per_epoch": Key(_whole("evals_per_epoch", 1, MAX_EVALS_PER_EPOCH), lambda _: "1"),
    "base": Key(read_base),
    "method": Key(_method, lambda _: "grid"),
    "count": Key(_whole("count", 1, MAX_TRIALS), _default_count),
    "batch": Key(_whole("batch", 1, MAX_TRIALS), lambda _: "4"),
    "sampling_seed": Key(_whole("sampling_seed", 0, MAX_SEED), lambda _: "0"),
    "parameters": Key(lambda draft, node: [read_grid(draft, node, "parameters")]),
    "grids": Key(_grids),
    "exclude": Key(_exclude),
    "from_results": Key(_from_results),
    "rungs": Key(read_rungs),
    "race": Key(read_race),
    "confirm": Key(read_confirm),
}

#: Keys that people put beside those of the spec, and where they belong.
_ELSEWHERE = dict.fromkeys(SPEC_FIELDS, "fix it in base: or sweep it in parameters:") | {
    "seed": "give the seeds as seeds:",
    "goal": "give it with the metric: {name: val_accuracy, goal: maximize}",
}


def read_keys(draft: Draft) -> None:
    """Read every key of the spec into ``draft.values``, noting each problem."""
    entries, values = draft.root.entries, draft.values
    draft.check_keys(draft.root, KEYS, _ELSEWHERE)
    for key, entry in KEYS.items():
        owners = [name for name, method in METHODS.items() if key in method.keys]
        if not owners or values["method"] in owners:
            if key not in entries and (text := entry.default(draft)) is not None:
                default = Scalar(draft.root.place, text)
                entries[key] = replace(default, quoted=default.is_null)
            values[key] = draft.attempt(entry.read, draft, entries[key]) if key in entries else None
        elif key in entries and values["method"] is not None:
            method = " or ".join(owners)
            draft.note(key, f"is only for method: {method}; add that or remove this")
