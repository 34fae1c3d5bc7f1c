"""The sections of a sweep spec, and the plain ones among them: name, model, dataset, seeds.

Each function takes the spec's top level and notes what is wrong with its section.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mnist_sweep.config import FIELD_NAMES, HPConfig
from mnist_sweep.models import MODELS
from mnist_sweep.spec.yaml_lines import (
    Items,
    Node,
    Place,
    Problems,
    Scalar,
    Table,
    check_keys,
    printable,
    read_items,
    read_scalar,
    read_table,
    read_whole,
    show,
    suggest,
)
from mnist_sweep.trial import BUNDLED_DATASET, SPLIT_SIZES, DatasetConfig

#: The keys of a spec.
SPEC_KEYS = (
    "name",
    "model",
    "dataset",
    "seeds",
    "metric",
    "evals_per_epoch",
    "base",
    "method",
    "count",
    "sampling_seed",
    "parameters",
    "grids",
    "exclude",
    "from_results",
)
#: Keys that people put beside those of the spec, and where they belong.
KEYS_OF_BASE = {
    name: "fix it in base: or sweep it in parameters:"
    for name in FIELD_NAMES
    if name not in ("model", "seed")
} | {"seed": "give the seeds as seeds:"}

MAX_SEED = 2**32 - 1
MAX_IMAGES = 2**31 - 1

# A name becomes a file's name and a cell of the CSV, where a spreadsheet must not execute it.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_NAME_RULE = "at most 80 letters, digits, '_', '.' and '-', the first a letter or digit"


def read_choice(node: Node, label: str, choices: Sequence[str], problems: Problems) -> str | None:
    """One of ``choices``; None, and a problem, for anything else."""
    scalar = read_scalar(node, label, problems)
    if scalar is None:
        return None
    if scalar.text in choices:
        return scalar.text
    problems.add(
        node.place,
        f"{label}: {show(node)} is not one of {', '.join(choices)}{suggest(scalar.text, choices)}",
    )
    return None


def read_name(root: Table, path: Path, problems: Problems) -> str:
    """The sweep's name, by default the stem of the file's."""
    node = root.entries.get("name")
    if node is None:
        if not _NAME.fullmatch(path.stem):
            problems.add(
                Place(root.place.source, 1),
                f"name: '{printable(path.stem)}', from the file's name, cannot name a sweep; "
                f"add a line 'name: ...' of {_NAME_RULE}",
            )
        return path.stem
    scalar = read_scalar(node, "name", problems)
    if scalar is None:
        return ""
    if not _NAME.fullmatch(scalar.text):
        problems.add(node.place, f"name: {show(node)} cannot name a sweep; use {_NAME_RULE}")
    return scalar.text


def read_model(root: Table, problems: Problems) -> str | None:
    """The model, from the top level or from ``base``; None, and a problem, if it is none."""
    base = root.entries.get("base")
    tables = [root, base] if isinstance(base, Table) else [root]
    nodes = [table.entries["model"] for table in tables if "model" in table.entries]
    models = [read_choice(node, "model", tuple(MODELS), problems) for node in nodes]
    if None in models:
        return None
    if len(set(models)) > 1:
        problems.add(
            nodes[1].place,
            f"model: is {models[1]} in base and {models[0]} at the top level; keep one of them",
        )
    return models[0] if models else HPConfig().model


def read_seeds(root: Table, problems: Problems, most: int) -> list[int]:
    """The distinct seeds in their order; a number n stands for 0 to n-1, at most ``most``."""
    node = root.entries.get("seeds")
    if node is None:
        return [0]
    if not isinstance(node, Items):
        return list(range(read_whole(node, "seeds", 1, most, problems) or 0))
    seeds = [
        read_whole(child, "seeds", 0, MAX_SEED, problems)
        for child in read_items(node, "seeds", problems) or []
    ]
    return list(dict.fromkeys(seed for seed in seeds if seed is not None))


def read_dataset(root: Table, problems: Problems) -> DatasetConfig | None:
    """The data set and its splits; None, and a problem, if they cannot be told."""
    node = root.entries.get("dataset")
    if node is None:
        return DatasetConfig()
    before = len(problems)
    if isinstance(node, Scalar):
        node = Table(node.place, {"name": node}, {"name": node.place})
    table = read_table(node, "dataset", problems, example="{name: mnist, validation_size: 5000}")
    if table is None:
        return None
    check_keys(table, ("name", "dir", *SPLIT_SIZES), problems)
    name = _dataset_name(table, problems)
    sizes = {
        # Nothing to validate on is a choice, nothing to train or test on is not.
        key: read_whole(
            table.entries[key],
            f"dataset.{key}",
            0 if key == "validation_size" else 1,
            MAX_IMAGES,
            problems,
        )
        for key in SPLIT_SIZES
        if key in table.entries
    }
    if len(problems) > before:
        return None
    return DatasetConfig(name, **{key: size for key, size in sizes.items() if size is not None})


def _dataset_name(table: Table, problems: Problems) -> str:
    if "dir" in table.entries:
        folder = read_scalar(table.entries["dir"], "dataset.dir", problems)
        return "" if folder is None else _folder(folder, problems)
    if "name" not in table.entries:
        return BUNDLED_DATASET
    name = read_scalar(table.entries["name"], "dataset", problems)
    if name is not None and name.text != BUNDLED_DATASET:
        problems.add(
            name.place,
            f"dataset: {show(name)} is not a data set that comes with mnist-sweep"
            f"{suggest(name.text, [BUNDLED_DATASET])}; for a folder of IDX files write "
            "dataset: {dir: FOLDER}",
        )
    return BUNDLED_DATASET


def _folder(scalar: Scalar, problems: Problems) -> str:
    """The folder as results.csv records it: one cell that no spreadsheet takes for a formula."""
    folder = scalar.text
    if not folder.strip():
        problems.add(scalar.place, "dataset.dir: is empty; give the folder of the four IDX files")
    elif ";" in folder or not folder.isprintable() or folder != folder.strip():
        problems.add(
            scalar.place,
            f"dataset.dir: '{printable(folder)}' has a ';', a control character or a space at "
            "an end, which results.csv cannot hold; rename the folder or link to it",
        )
    elif folder[0] in "=+-@":
        problems.add(
            scalar.place,
            f"dataset.dir: a spreadsheet would take '{printable(folder)}' for a formula; "
            f"write it as './{printable(folder)}'",
        )
    return f"./{folder}" if folder == BUNDLED_DATASET else folder
