"""Changes to a sweep spec from the command line: ``--set key=value`` and ``--data-dir``."""

from __future__ import annotations

from collections.abc import Sequence

from mnist_sweep.config import FIELD_NAMES
from mnist_sweep.errors import SpecError
from mnist_sweep.spec.keys import KEYS
from mnist_sweep.spec.nodes import Node, Place, Reader, Scalar, Table, named, printable, show
from mnist_sweep.spec.yaml_lines import parse


def apply_overrides(root: Table, overrides: Sequence[str], reader: Reader) -> None:
    """Change ``root`` in place, one ``key=value`` after the other.

    ``key`` is a dotted path of the spec; a bare HPConfig field is short for ``base.FIELD``, unless
    it is a key of the spec itself. ``value`` is YAML. What is wrong goes to ``reader``.
    """
    for override in overrides:
        _apply(root, override, reader)


def set_data_dir(root: Table, data_dir: str, reader: Reader) -> None:
    """Let the spec's data set be the folder ``data_dir``."""
    place = Place(f"--data-dir {printable(data_dir)}")
    _put(root, ["dataset", "dir"], Scalar(place, data_dir, quoted=True), place, reader)


def _apply(root: Table, override: str, reader: Reader) -> None:
    place = Place(f"--set {printable(override)}")
    key, equals, text = override.partition("=")
    key = key.strip()
    path = key.split(".")
    if not equals or not all(path):
        reader.problem(place, "expected key=value, such as --set epochs=3")
        return
    try:
        node = parse(text, lambda _: place, reader)
    except SpecError:
        # It is among the problems already; the rest of the spec is still worth checking.
        return
    if key in FIELD_NAMES and key not in KEYS:
        swept_in = _swept_in(root, key)
        if swept_in:
            reader.problem(
                place,
                f"{key}: is swept in {swept_in}; to override that, write "
                f"--set {swept_in}.{key}={printable(text)}",
            )
            return
        path = ["base", key]
    _put(root, path, node, place, reader)


def _put(root: Table, path: Sequence[str], node: Node, place: Place, reader: Reader) -> None:
    table = root
    for depth, key in enumerate(path[:-1], start=1):
        child = table.entries.get(key)
        if child is None or (isinstance(child, Scalar) and child.is_null):
            child = Table(place)
            table.put(key, child, place)
        elif table is root and key in ("dataset", "metric"):
            child = named(child)
            table.put(key, child, place)
        if not isinstance(child, Table):
            parent = printable(".".join(path[:depth]))
            reader.problem(
                place,
                f"{parent} is {show(child)} (at {child.place}), which has no keys; "
                f"set it as a whole: --set {parent}=...",
            )
            return
        table = child
    table.put(path[-1], node, place)


def _swept_in(root: Table, name: str) -> str | None:
    """The dotted path of the first grid that sweeps a hyperparameter."""
    parameters, grids = root.entries.get("parameters"), root.entries.get("grids")
    if isinstance(parameters, Table) and name in parameters.entries:
        return "parameters"
    if isinstance(grids, Table):
        for grid, table in grids.entries.items():
            if isinstance(table, Table) and name in table.entries:
                return f"grids.{printable(grid)}"
    return None
