"""The keys of a sweep spec, each with the function that reads it: the table ``KEYS``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mnist_sweep.config import MODELS, HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import CHOICE_METRICS, METRICS, Metric
from mnist_sweep.search.methods import METHODS
from mnist_sweep.search.space import Exclusion, Grid, Point
from mnist_sweep.spec.fields import SWEPT_NAMES, FieldReader
from mnist_sweep.spec.nodes import (
    Items,
    Node,
    Place,
    Reader,
    Scalar,
    Table,
    named,
    printable,
    show,
    suggest,
)
from mnist_sweep.trial import BUNDLED_DATASET, SPLIT_SIZES, DatasetConfig

MAX_TRIALS = 100_000
MAX_EVALS_PER_EPOCH = 10_000
MAX_SEED = 2**32 - 1
MAX_IMAGES = 2**31 - 1

# A name becomes a file's name and a cell of the CSV, where a spreadsheet must not execute it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_NAME_RULE = "at most 80 letters, digits, '_', '.' and '-', the first a letter or digit"
_RESULTS_EXAMPLE = "{file: RESULTS.csv, top: 8}"

#: (results file, n, metric) -> the n best configurations of an earlier sweep, best first.
BestConfigs: TypeAlias = Callable[[Path, int, Metric], Sequence[HPConfig]]


@dataclass
class Draft:
    """A spec while it is read: its tree, and the ``values`` of the keys that have been read.

    A value is None where a problem was noted instead.
    """

    root: Table
    path: Path
    reader: Reader
    best_configs: BestConfigs | None = None
    values: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def problem(self, key: str, message: str) -> None:
        """Note what is wrong with a key of the spec."""
        self.reader.problem(self.root.key_places.get(key, self.root.place), f"{key}: {message}")

    @property
    def fields(self) -> FieldReader:
        """What reads hyperparameters, once the model is known."""
        return FieldReader(self.values["model"], self.reader)


def _name(draft: Draft, node: Node | None) -> str:
    """The sweep's name, by default the stem of the file's."""
    if node is None:
        stem = draft.path.stem
        if not _NAME.fullmatch(stem):
            draft.reader.problem(
                Place(draft.root.place.source, 1),
                f"name: '{printable(stem)}', from the file's name, cannot name a sweep; "
                f"add a line 'name: ...' of {_NAME_RULE}",
            )
        return stem
    scalar = draft.reader.scalar(node, "name")
    if scalar is None:
        return ""
    if not _NAME.fullmatch(scalar.text):
        draft.problem("name", f"{show(node)} cannot name a sweep; use {_NAME_RULE}")
    return scalar.text


def _model(draft: Draft, node: Node | None) -> str | None:
    """The model, from the top level or from ``base``."""
    base = draft.root.entries.get("base")
    in_base = base.entries.get("model") if isinstance(base, Table) else None
    nodes = [node for node in (node, in_base) if node is not None]
    models = [draft.reader.choice(node, "model", MODELS) for node in nodes]
    if None in models:
        return None
    if len(set(models)) > 1:
        draft.reader.problem(
            nodes[1].place,
            f"model: is {models[1]} in base and {models[0]} at the top level; keep one of them",
        )
    return models[0] if models else HPConfig().model


def _dataset(draft: Draft, node: Node | None) -> DatasetConfig | None:
    """The data set and its splits."""
    if node is None:
        return DatasetConfig()
    reader = draft.reader
    before = len(reader)
    table = reader.table(named(node), "dataset", "{name: mnist, validation_size: 5000}")
    if table is None:
        return None
    reader.keys(table, ("name", "dir", *SPLIT_SIZES))
    name = _dataset_name(table, reader)
    # Nothing to validate on is a choice, nothing to train or test on is not.
    sizes: dict[str, Any] = {
        key: reader.whole(
            table.entries[key], f"dataset.{key}", int(key != "validation_size"), MAX_IMAGES
        )
        for key in SPLIT_SIZES
        if key in table.entries
    }
    return None if len(reader) > before else DatasetConfig(name, **sizes)


def _dataset_name(table: Table, reader: Reader) -> str:
    if "dir" in table.entries:
        folder = reader.scalar(table.entries["dir"], "dataset.dir")
        return "" if folder is None else _folder(folder, reader)
    name = reader.scalar(table.entries["name"], "dataset") if "name" in table.entries else None
    if name is not None and name.text != BUNDLED_DATASET:
        reader.problem(
            name.place,
            f"dataset: {show(name)} is not a data set that comes with mnist-sweep"
            f"{suggest(name.text, [BUNDLED_DATASET])}; for a folder of IDX files write "
            "dataset: {dir: FOLDER}",
        )
    return BUNDLED_DATASET


def _folder(scalar: Scalar, reader: Reader) -> str:
    """The folder as results.csv records it: one cell that no spreadsheet takes for a formula."""
    folder = scalar.text
    if not folder.strip():
        problem = "is empty; give the folder of the four IDX files"
    elif ";" in folder or not folder.isprintable() or folder != folder.strip():
        problem = (
            f"'{printable(folder)}' has a ';', a control character or a space at "
            "an end, which results.csv cannot hold; rename the folder or link to it"
        )
    elif folder[0] in "=+-@":
        problem = (
            f"a spreadsheet would take '{printable(folder)}' for a formula; "
            f"write it as './{printable(folder)}'"
        )
    else:
        return f"./{folder}" if folder == BUNDLED_DATASET else folder
    reader.problem(scalar.place, f"dataset.dir: {problem}")
    return ""


def _seeds(draft: Draft, node: Node | None) -> list[int]:
    """The distinct seeds in their order; a number n stands for 0 to n-1."""
    if node is None:
        return [0]
    reader = draft.reader
    if not isinstance(node, Items):
        return list(range(reader.whole(node, "seeds", 1, MAX_TRIALS) or 0))
    seeds = [reader.whole(child, "seeds", 0, MAX_SEED) for child in reader.items(node, "seeds")]
    return list(dict.fromkeys(seed for seed in seeds if seed is not None))


def _metric(draft: Draft, node: Node | None) -> Metric | None:
    """What to compare trials by, and the one goal that it can have."""
    dataset: DatasetConfig | None = draft.values["dataset"]
    validated = dataset is not None and dataset.validation_size > 0
    if node is None:
        return METRICS["val_accuracy" if validated else "test_accuracy"]
    reader = draft.reader
    table = reader.table(named(node), "metric", "{name: test_accuracy, goal: maximize}")
    if table is None:
        return None
    reader.keys(table, ("name", "goal"))
    goal = None
    if "goal" in table.entries:
        goal = reader.choice(table.entries["goal"], "metric.goal", ("maximize", "minimize"))
    if "name" not in table.entries:
        draft.problem("metric", f"has no name; add one of {', '.join(CHOICE_METRICS)}")
        return None
    name = reader.choice(table.entries["name"], "metric", CHOICE_METRICS)
    if name is None:
        return None
    if name == "val_accuracy" and dataset is not None and not validated:
        reader.problem(
            table.entries["name"].place,
            "metric: val_accuracy needs a validation split; write dataset: {name: mnist, "
            "validation_size: 5000}, or use test_accuracy",
        )
    metric = METRICS[name]
    if goal not in (None, metric.goal):
        kind, end = ("an accuracy", "more") if metric.is_accuracy else ("a loss", "less")
        reader.problem(
            table.entries["goal"].place,
            f"metric.goal: {name} is {kind}, the {end} the better; write goal: {metric.goal} or "
            "leave goal: out",
        )
    return metric


def _evals_per_epoch(draft: Draft, node: Node | None) -> int | None:
    if node is None:
        return 1
    return draft.reader.whole(node, "evals_per_epoch", 1, MAX_EVALS_PER_EPOCH)


def _base(draft: Draft, node: Node | None) -> Point:
    """The hyperparameters that all trials share."""
    table = None if node is None else draft.reader.table(node, "base", "{lr: 1e-3}")
    return {} if table is None else draft.fields.base(table)


def _method(draft: Draft, node: Node | None) -> str | None:
    """The method of search, and whether the keys that it needs or refuses go with it."""
    name = "grid" if node is None else draft.reader.choice(node, "method", tuple(METHODS))
    if name is not None:
        keys = draft.root.entries
        for key in filter(keys.__contains__, METHODS[name].refuses):
            draft.problem(key, f"does not go with method: {name}, which draws from parameters:")
        for key in METHODS[name].needs:
            if key not in keys:
                draft.problem("method", f"{name} needs {key}:; add it")
    return name


def _count(draft: Draft, node: Node | None) -> int | None:
    return None if node is None else draft.reader.whole(node, "count", 1, MAX_TRIALS)


def _sampling_seed(draft: Draft, node: Node | None) -> int | None:
    return 0 if node is None else draft.reader.whole(node, "sampling_seed", 0, MAX_SEED)


def _parameters(draft: Draft, node: Node | None) -> list[Grid]:
    """What is swept, as the only grid."""
    return [] if node is None else _grid(draft, node, "parameters")


def _grids(draft: Draft, node: Node | None) -> list[Grid]:
    """The named grids."""
    if node is None:
        return []
    for other in ("parameters", "from_results"):
        if other in draft.root.entries:
            draft.problem("grids", f"does not go with {other}:; keep one of them")
    table = draft.reader.table(node, "grids", "{lr_opt: {lr: [1e-3, 3e-3], opt: [adam, sgd]}}")
    if table is None:
        return []
    if not table.entries:
        draft.problem("grids", "names no grid; fill it or remove it")
    return [
        grid
        for name, child in table.entries.items()
        for grid in _grid(draft, child, f"grids.{printable(name)}")
    ]


def _grid(draft: Draft, node: Node, label: str) -> list[Grid]:
    table = draft.reader.table(node, label, "{lr: [1e-3, 3e-3]}")
    method = draft.values["method"]
    ranges = method is None or METHODS[method].ranges
    return [] if table is None else [draft.fields.grid(table, label, ranges=ranges)]


def _exclude(draft: Draft, node: Node | None) -> list[Exclusion]:
    """The entries of ``exclude``."""
    nodes = [] if node is None else draft.reader.items(node, "exclude")
    return [entry for entry in map(draft.fields.exclusion, nodes) if entry is not None]


def _from_results(draft: Draft, node: Node | None) -> list[Point]:
    """Where the search begins: the defaults, or the best configurations of an earlier sweep."""
    model, metric = draft.values["model"], draft.values["metric"]
    if node is None:
        return [_start(HPConfig(model=model or MODELS[0]))]
    reader = draft.reader
    table = reader.table(node, "from_results", _RESULTS_EXAMPLE)
    if table is None:
        return []
    reader.keys(table, ("file", "top"))
    for key in ("file", "top"):
        if key not in table.entries:
            draft.problem("from_results", f"needs {key}:; write {_RESULTS_EXAMPLE}")
            return []
    file = reader.scalar(table.entries["file"], "from_results.file")
    top = reader.whole(table.entries["top"], "from_results.top", 1, MAX_TRIALS)
    if file is None or top is None or model is None or metric is None:
        return []
    return [_start(config) for config in _best_configs(draft, file, top)]


def _best_configs(draft: Draft, file: Scalar, top: int) -> Sequence[HPConfig]:
    shown = printable(file.text)

    def note(message: str) -> None:
        draft.reader.problem(file.place, f"from_results: {message}")

    if not file.text.isprintable():
        note(f"'{shown}' is no path; correct it")
        return []
    if draft.best_configs is None:
        draft.problem("from_results", "is not supported here; use mnist-sweep run")
        return []
    try:
        configs = draft.best_configs(Path(file.text), top, draft.values["metric"])
    except UserError as error:
        note("; ".join(str(error).splitlines()))
        return []
    if not configs:
        note(f"{shown} has no finished trial; run that sweep first")
    model = draft.values["model"]
    for other in sorted({config.model for config in configs} - {model}):
        note(
            f"{shown} holds trials of model {other}, this sweep has model "
            f"{model}; set model: {other} or use other results"
        )
    if 0 < len(configs) < top:
        draft.warnings.append(
            f"{file.place}: from_results: {shown} has only {len(configs)} of the {top} "
            "configurations asked for"
        )
    return configs


def _start(config: HPConfig) -> Point:
    """What a spec may set or sweep of a configuration; nothing of what its model lacks."""
    values = ((name, getattr(config, name)) for name in SWEPT_NAMES)
    return {name: value for name, value in values if value is not None}


#: Key -> its reader, which takes the key's node (None: it is missing) and may look at the values
#: of the keys before it.
KEYS: Mapping[str, Callable[[Draft, Node | None], Any]] = {
    "name": _name,
    "model": _model,
    "dataset": _dataset,
    "seeds": _seeds,
    "metric": _metric,
    "evals_per_epoch": _evals_per_epoch,
    "base": _base,
    "method": _method,
    "count": _count,
    "sampling_seed": _sampling_seed,
    "parameters": _parameters,
    "grids": _grids,
    "exclude": _exclude,
    "from_results": _from_results,
}

#: Keys that people put beside those of the spec, and where they belong.
_ELSEWHERE = dict.fromkeys(SWEPT_NAMES, "fix it in base: or sweep it in parameters:") | {
    "seed": "give the seeds as seeds:"
}


def read_keys(draft: Draft) -> None:
    """Read every key of the spec into ``draft.values``, noting each problem."""
    draft.reader.keys(draft.root, KEYS, _ELSEWHERE)
    for key, read in KEYS.items():
        owners = [name for name, method in METHODS.items() if key in method.keys]
        if owners and draft.values["method"] not in owners:
            if key in draft.root.entries and draft.values["method"] is not None:
                draft.problem(
                    key, f"is only for method: {' or '.join(owners)}; add that or remove this"
                )
        else:
            draft.values[key] = read(draft, draft.root.entries.get(key))
