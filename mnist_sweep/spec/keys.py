"""The keys of a sweep spec, each with its reader and its default: the table ``KEYS``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from mnist_sweep.config import SPEC_FIELDS, HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import CHOICE_METRICS, METRICS, Metric
from mnist_sweep.models import MODELS
from mnist_sweep.search.methods import METHODS
from mnist_sweep.search.space import Exclusion, Grid, Point
from mnist_sweep.spec.fields import FieldReader
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


class Draft(Reader):
    """A spec while it is read: its tree, and the ``values`` of the keys that have been read.

    A value is None or empty where a problem was noted instead.
    """

    def __init__(self, path: Path, best_configs: BestConfigs | None) -> None:
        super().__init__()
        self.path = path
        self.best_configs = best_configs
        self.root = Table(Place(str(path)))
        self.values: dict[str, Any] = {}
        self.warnings: list[str] = []

    def key_problem(self, key: str, message: str) -> None:
        """Note what is wrong with a key of the spec."""
        self.problem(self.root.key_places.get(key, self.root.place), f"{key}: {message}")

    def fields(self) -> FieldReader:
        """What reads hyperparameters, once the model is known."""
        return FieldReader(self.values["model"], self)


def _name(draft: Draft, node: Node) -> str | None:
    """The sweep's name."""
    scalar = draft.scalar(node, "name")
    if scalar is None or _NAME.fullmatch(scalar.text):
        return None if scalar is None else scalar.text
    if "name" in draft.root.key_places:
        draft.key_problem("name", f"{show(node)} cannot name a sweep; use {_NAME_RULE}")
    else:
        draft.problem(
            Place(draft.root.place.source, 1),
            f"name: {show(node)}, from the file's name, cannot name a sweep; "
            f"add a line 'name: ...' of {_NAME_RULE}",
        )
    return None


def _model_in_base(draft: Draft) -> Node | None:
    base = draft.root.entries.get("base")
    return base.entries.get("model") if isinstance(base, Table) else None


def _default_model(draft: Draft) -> str:
    node = _model_in_base(draft)
    return node.text if isinstance(node, Scalar) and node.text in MODELS else HPConfig.model


def _model(draft: Draft, node: Node) -> str | None:
    """The model, which stands in ``base`` too or instead."""
    other = _model_in_base(draft) or node
    model, in_base = (draft.choice(each, "model", tuple(MODELS)) for each in (node, other))
    if None not in (model, in_base) and model != in_base:
        draft.problem(
            other, f"model: is {in_base} in base and {model} at the top level; keep one of them"
        )
    return in_base and model


def _dataset(draft: Draft, node: Node) -> DatasetConfig | None:
    """The data set and its splits."""
    before = len(draft)
    table = draft.table(named(node), "dataset", "{name: mnist, validation_size: 5000}")
    if table is None:
        return None
    draft.keys(table, ("name", "dir", *SPLIT_SIZES))
    name = _dataset_name(table, draft)
    # Nothing to validate on is a choice, nothing to train or test on is not.
    sizes: dict[str, Any] = {
        key: draft.whole(
            table.entries[key], f"dataset.{key}", int(key != "validation_size"), MAX_IMAGES
        )
        for key in SPLIT_SIZES
        if key in table.entries
    }
    return None if len(draft) > before else DatasetConfig(name, **sizes)


def _dataset_name(table: Table, reader: Reader) -> str:
    if "dir" in table.entries:
        folder = reader.scalar(table.entries["dir"], "dataset.dir")
        return "" if folder is None else _folder(folder, reader)
    name = reader.scalar(
        table.entries.setdefault("name", Scalar(table.place, BUNDLED_DATASET)), "dataset"
    )
    if name is not None and name.text != BUNDLED_DATASET:
        reader.problem(
            name,
            f"dataset: {show(name)} is not a data set that comes with mnist-sweep"
            f"{suggest(name.text, [BUNDLED_DATASET])}; for a folder of IDX files write "
            "dataset: {dir: FOLDER}",
        )
    return BUNDLED_DATASET


def _folder(scalar: Scalar, reader: Reader) -> str:
    """The folder as results.csv records it: one cell that no spreadsheet takes for a formula."""
    folder, shown = scalar.text, printable(scalar.text)
    if not folder.strip():
        problem = "is empty; give the folder of the four IDX files"
    elif ";" in folder or not folder.isprintable() or folder != folder.strip():
        problem = (
            f"'{shown}' has a ';', a control character or a space at an end, which results.csv "
            "cannot hold; rename the folder or link to it"
        )
    elif folder[0] in "=+-@":
        problem = f"a spreadsheet would take '{shown}' for a formula; write it as './{shown}'"
    else:
        return f"./{folder}" if folder == BUNDLED_DATASET else folder
    reader.problem(scalar, f"dataset.dir: {problem}")
    return ""


def _seeds(draft: Draft, node: Node) -> list[int]:
    """The distinct seeds in their order; a number n stands for 0 to n-1."""
    if not isinstance(node, Items):
        return list(range(draft.whole(node, "seeds", 1, MAX_TRIALS) or 0))
    seeds = [draft.whole(child, "seeds", 0, MAX_SEED) for child in draft.items(node, "seeds")]
    return list(dict.fromkeys(seed for seed in seeds if seed is not None))


def _default_metric(draft: Draft) -> str:
    dataset = draft.values["dataset"]
    return "val_accuracy" if dataset and dataset.validation_size else "test_accuracy"


def _metric(draft: Draft, node: Node) -> Metric | None:
    """What to compare trials by, and the one goal that it can have; the goal is written out."""
    table = draft.table(named(node), "metric", "{name: test_accuracy, goal: maximize}")
    if table is None:
        return None
    draft.keys(table, ("name", "goal"))
    goal = None
    if "goal" in table.entries:
        goal = draft.choice(table.entries["goal"], "metric.goal", ("maximize", "minimize"))
    if "name" not in table.entries:
        draft.key_problem("metric", f"has no name; add one of {', '.join(CHOICE_METRICS)}")
        return None
    name = draft.choice(table.entries["name"], "metric", CHOICE_METRICS)
    if name is None:
        return None
    metric, dataset = METRICS[name], draft.values["dataset"]
    if name == "val_accuracy" and dataset is not None and not dataset.validation_size:
        draft.problem(
            table.entries["name"],
            "metric: val_accuracy needs a validation split; write dataset: {name: mnist, "
            "validation_size: 5000}, or use test_accuracy",
        )
    if goal not in (None, metric.goal):
        kind, end = ("an accuracy", "more") if metric.is_accuracy else ("a loss", "less")
        draft.problem(
            table.entries["goal"],
            f"metric.goal: {name} is {kind}, the {end} the better; write goal: {metric.goal} or "
            "leave goal: out",
        )
    table.entries.setdefault("goal", Scalar(table.place, metric.goal))
    draft.root.entries["metric"] = table
    return metric


def _whole(key: str, low: int, high: int) -> Callable[[Draft, Node], int | None]:
    return lambda draft, node: draft.whole(node, key, low, high)


def _base(draft: Draft, node: Node) -> Point:
    """The hyperparameters that all trials share."""
    table = draft.table(node, "base", "{lr: 1e-3}")
    return {} if table is None else draft.fields().base(table)


def _method(draft: Draft, node: Node) -> str | None:
    """The method of search, and whether the keys that it needs or refuses go with it."""
    name = draft.choice(node, "method", tuple(METHODS))
    if name is None:
        return None
    keys = draft.root.entries
    for key in METHODS[name].refuses:
        if key in keys:
            draft.key_problem(key, f"does not go with method: {name}, which draws from parameters:")
    for key in METHODS[name].needs:
        if key not in keys:
            draft.key_problem("method", f"{name} needs {key}:; add it")
    return name


def _parameters(draft: Draft, node: Node) -> list[Grid]:
    """What is swept, as the only grid."""
    return _named_grids(draft, {"parameters": node})


def _grids(draft: Draft, node: Node) -> list[Grid]:
    """The named grids."""
    for other in ("parameters", "from_results"):
        if other in draft.root.entries:
            draft.key_problem("grids", f"does not go with {other}:; keep one of them")
    table = draft.table(node, "grids", "{lr_opt: {lr: [1e-3, 3e-3], opt: [adam, sgd]}}")
    if table is None:
        return []
    if not table.entries:
        draft.key_problem("grids", "names no grid; fill it or remove it")
    return _named_grids(
        draft, {f"grids.{printable(name)}": child for name, child in table.entries.items()}
    )


def _named_grids(draft: Draft, nodes: Mapping[str, Node]) -> list[Grid]:
    method = draft.values["method"]
    ranges = method is None or METHODS[method].ranges
    tables = {
        label: draft.table(node, label, "{lr: [1e-3, 3e-3]}") for label, node in nodes.items()
    }
    return [
        draft.fields().grid(table, label, ranges=ranges)
        for label, table in tables.items()
        if table is not None
    ]


def _exclude(draft: Draft, node: Node) -> list[Exclusion]:
    """The entries of ``exclude``."""
    entries = map(draft.fields().exclusion, draft.items(node, "exclude"))
    return [entry for entry in entries if entry is not None]


def _from_results(draft: Draft, node: Node) -> Sequence[HPConfig]:
    """The best configurations of an earlier sweep."""
    table = draft.table(node, "from_results", _RESULTS_EXAMPLE)
    if table is None:
        return []
    draft.keys(table, ("file", "top"))
    for key in ("file", "top"):
        if key not in table.entries:
            draft.key_problem("from_results", f"needs {key}:; write {_RESULTS_EXAMPLE}")
            return []
    file = draft.scalar(table.entries["file"], "from_results.file")
    top = draft.whole(table.entries["top"], "from_results.top", 1, MAX_TRIALS)
    if file is None or top is None or not draft.values["model"] or not draft.values["metric"]:
        return []
    try:
        return _best_configs(draft, file, top)
    except UserError as error:
        draft.problem(file, f"from_results: {'; '.join(str(error).splitlines())}")
        return []


def _best_configs(draft: Draft, file: Scalar, top: int) -> Sequence[HPConfig]:
    """What the file holds; raises UserError if that cannot be used."""
    shown, model = printable(file.text), draft.values["model"]
    if not file.text.isprintable():
        raise UserError(f"'{shown}' is no path; correct it")
    if draft.best_configs is None:
        raise UserError("is not supported here; use mnist-sweep run")
    configs = draft.best_configs(Path(file.text), top, draft.values["metric"])
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

    The default is written out, and read, where the key is missing; None: it may be missing.
    """

    read: Callable[[Draft, Node], Any]
    default: Callable[[Draft], str] | None = None


KEYS: Mapping[str, Key] = {
    "name": Key(_name, lambda draft: draft.path.stem),
    "model": Key(_model, _default_model),
    "dataset": Key(_dataset, lambda _: BUNDLED_DATASET),
    "seeds": Key(_seeds, lambda _: "1"),
    "metric": Key(_metric, _default_metric),
    "evals_per_epoch": Key(_whole("evals_per_epoch", 1, MAX_EVALS_PER_EPOCH), lambda _: "1"),
    "base": Key(_base),
    "method": Key(_method, lambda _: "grid"),
    "count": Key(_whole("count", 1, MAX_TRIALS)),
    "sampling_seed": Key(_whole("sampling_seed", 0, MAX_SEED), lambda _: "0"),
    "parameters": Key(_parameters),
    "grids": Key(_grids),
    "exclude": Key(_exclude),
    "from_results": Key(_from_results),
}

#: Keys that people put beside those of the spec, and where they belong.
_ELSEWHERE = dict.fromkeys(SPEC_FIELDS, "fix it in base: or sweep it in parameters:") | {
    "seed": "give the seeds as seeds:"
}


def read_keys(draft: Draft) -> None:
    """Read every key of the spec into ``draft.values``, noting each problem."""
    entries, values = draft.root.entries, draft.values
    draft.keys(draft.root, KEYS, _ELSEWHERE)
    for key, entry in KEYS.items():
        owners = [name for name, method in METHODS.items() if key in method.keys]
        if not owners or values["method"] in owners:
            if key not in entries and entry.default is not None:
                default = Scalar(draft.root.place, entry.default(draft))
                entries[key] = replace(default, quoted=default.is_null)
            values[key] = entry.read(draft, entries[key]) if key in entries else None
        elif key in entries and values["method"] is not None:
            draft.key_problem(
                key, f"is only for method: {' or '.join(owners)}; add that or remove this"
            )
