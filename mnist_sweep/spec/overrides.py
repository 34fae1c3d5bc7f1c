"""Changes to a sweep spec from the command line: ``--set key=value`` and ``--data-dir``."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_sweep.aliases import meant
from mnist_sweep.config import FIELD_NAMES, SPEC_FIELDS
from mnist_sweep.spec.draft import Draft
from mnist_sweep.spec.keys import KEYS
from mnist_sweep.spec.nodes import Node, NodeError, Place, Scalar, Table, printable
from mnist_sweep.spec.yaml_lines import parse


def set_key(draft: Draft, override: str) -> None:
    """Change the spec as ``override``, ``key=value``, says. Raises NodeError.

    ``key`` is a dotted path of the spec; a bare HPConfig field is short for ``base.FIELD``, unless
    it is a key of the spec itself. ``value`` is YAML.
    """
    place = Place(f"--set {printable(override)}")
    key, equals, text = override.partition("=")
    key = key.strip()
    path = key.split(".")
    if not equals or not all(path):
        raise NodeError(place, "expected key=value, such as --set epochs=3")
    node = parse(text, lambda _: place, draft)
    at = {"base": 1, "parameters": 1, "grids": 2}.get(path[0], len(path))
    path[at:] = [meant(name, SPEC_FIELDS) or name for name in path[at : at + 1]] + path[at + 1 :]
    key = meant(key, FIELD_NAMES) or key if len(path) == 1 and key not in KEYS else key
    if key in FIELD_NAMES and key not in KEYS:
        if swept_in := _swept_in(draft.root, key):
            instead = f"--set {swept_in}.{key}={printable(text)}"
            raise NodeError(
                place, f"{key}: is swept in {swept_in}; to override that, write {instead}"
            )
        path = ["base", key]
    _put(draft.root, path, node, place)


def set_data_dir(draft: Draft, data_dir: str) -> None:
    """Let the spec's data set be the folder ``data_dir``. Raises NodeError."""
    place = Place(f"--data-dir {printable(data_dir)}")
    _put(draft.root, ["dataset", "dir"], Scalar(place, data_dir, quoted=True), place)
    dataset = draft.root.entries["dataset"]
    if isinstance(dataset, Table):
        dataset.entries.pop("name", None)  # that of the data set which was replaced


def _put(root: Table, path: Sequence[str], node: Node, place: Place) -> None:
    table = root
    for depth, key in enumerate(path[:-1], start=1):
        child = table.entries.get(key)
        if child is None or (isinstance(child, Scalar) and child.is_null):
            child = Table(place)
            table.put(key, child, place)
        elif table is root and key in ("dataset", "metric"):
            child = child.named()
            table.put(key, child, place)
        if not isinstance(child, Table):
            parent = printable(".".join(path[:depth]))
            raise NodeError(
                place,
                f"{parent} is {child} (at {child.place}), which has no keys; "
                f"set it as a whole: --set {parent}=...",
            )
        table = child
    table.put(path[-1], node, place)


def _swept_in(root: Table, name: str) -> str | None:
    """The dotted path of the first grid that sweeps a hyperparameter."""
    grids = root.entries.get("grids")
    named = grids.entries if isinstance(grids, Table) else {}
    tables = {"parameters": root.entries.get("parameters")}
    tables |= {f"grids.{printable(grid)}": table for grid, table in named.items()}
    swept = (p for p, table in tables.items() if isinstance(table, Table) and name in table.entries)
    return next(swept, None)
