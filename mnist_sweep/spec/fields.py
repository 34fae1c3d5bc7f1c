"""Hyperparameters in a sweep spec: YAML nodes -> checked values, grids, exclusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mnist_sweep.config import FIELDS, SPEC_FIELDS, check_value, lacks
from mnist_sweep.search.methods import DRAWING
from mnist_sweep.search.space import Domain, Exclusion, Grid, Interval, Point
from mnist_sweep.spec.draft import Draft
from mnist_sweep.spec.nodes import Items, Node, NodeError, Scalar, Table, printable, suggest

_DISTRIBUTIONS = {int: ("int_uniform",), float: ("uniform", "log_uniform_values")}
_RANGE = ("min", "max", "distribution")


def read_base(draft: Draft, node: Node) -> Point:
    """Field -> value. ``model`` may stand here too; it is no part of the point."""
    table = node.mapping("base", "{lr: 1e-3}")
    rest = {name: child for name, child in table.entries.items() if name != "model"}
    entries = _entries(draft, Table(table.place, rest, table.key_places))
    return {name: draft.attempt(_value, name, child) for name, child in entries}


def read_grid(draft: Draft, node: Node, label: str) -> Grid:
    """Field -> the values or, where the method draws, the interval to choose from."""
    table = node.mapping(label, "{lr: [1e-3, 3e-3]}")
    if not table.entries:
        draft.note(table, f"{label}: names no parameter; fill it or remove it")
    entries = _entries(draft, table)
    return {name: draft.attempt(_domain, draft, name, child) or [] for name, child in entries}


def read_exclusion(draft: Draft, node: Node) -> Exclusion:
    """An entry of ``exclude``."""
    table = node.mapping("exclude", "{opt: sgd, depth: 3}")
    if not table.entries:
        draft.note(table, "exclude: the entry is empty; name a field and its value")
    entries = _entries(draft, table)
    values = {name: draft.attempt(_values, draft, name, child) or [] for name, child in entries}
    return Exclusion(values, str(table.place))


def _entries(draft: Draft, table: Table) -> Iterator[tuple[str, Node]]:
    """The entries that set or sweep a hyperparameter of the model; others are problems."""
    model = draft.values["model"]
    for name, node in table.entries.items():
        if name == "model":
            problem = "a sweep has one model; write a spec for each, with its own model:"
        elif name == "seed":
            problem = "give the seeds with the key seeds: of the spec"
        elif name not in SPEC_FIELDS:
            hint = suggest(name, SPEC_FIELDS)
            hint = hint or f"; the hyperparameters are {', '.join(SPEC_FIELDS)}"
            problem = f"unknown hyperparameter{hint}"
        elif model is not None and lacks(model, name):
            problem = f"does not apply to model {model}; remove it here"
        else:
            yield name, node
            continue
        draft.note(table.key_places[name], f"{printable(name)}: {problem}")


def _value(name: str, node: Node) -> Any:
    """The value as the field's type."""
    meta = FIELDS[name].metadata
    if meta["type"] is str:
        return node.choice(name, meta["choices"])
    if "per_layer" in meta and isinstance(node, Items):
        widths = [child.scalar(name).text for child in node.items(name)]
        if len(widths) == 1:
            wrong = f"a list of one value; write {node.nodes[0]}, and depth: 1"
            raise NodeError(node, f"{name}: {wrong}")
        node = Scalar(node.place, "-".join(widths))
    try:
        return check_value(name, node.number(name))
    except ValueError as error:
        raise NodeError(node, str(error)) from None


def _values(draft: Draft, name: str, node: Node) -> list[Any]:
    """The distinct values of a list, or of a single value, in their order."""
    return _distinct(draft, name, node.items(name) if isinstance(node, Items) else [node])


def _distinct(draft: Draft, name: str, nodes: Sequence[Node]) -> list[Any]:
    return list(dict.fromkeys(draft.attempt(_value, name, node) for node in nodes))


def _domain(draft: Draft, name: str, node: Node) -> Domain:
    """What one entry of ``parameters`` or of a grid offers, in any of its forms."""
    if not isinstance(node, Table):
        return _values(draft, name, node)
    draft.check_keys(node, ("values", "value", *_RANGE))
    given = node.entries
    limits = [form for form in _RANGE if form in given]
    if ("values" in given) + ("value" in given) + bool(limits) != 1:
        raise NodeError(node, f"{name}: give one of values: [...], value: x, or min: and max:")
    if "values" in given:
        return _distinct(draft, name, given["values"].items(name))
    if "value" in given:
        return _distinct(draft, name, [given["value"]])
    if draft.values["method"] in (None, *DRAWING):
        return _range(draft, name, node)
    needs = f"a range ({', '.join(limits)}) needs method: {' or '.join(DRAWING)}"
    raise NodeError(node, f"{name}: {needs}; for a grid list the values")


def _range(draft: Draft, name: str, table: Table) -> Domain:
    kind, given = FIELDS[name].metadata["type"], table.entries
    if kind is str:
        raise NodeError(table, f"{name}: takes names, not a range; use values: [...]")
    distribution = None
    if "distribution" in given:
        what, known = "the distributions for it: ", _DISTRIBUTIONS[kind]
        distribution = draft.attempt(given["distribution"].choice, name, known, what)
    if not {"min", "max"} <= set(given):
        raise NodeError(table, f"{name}: a range needs min: and max:")
    low, high = (draft.attempt(_value, name, given[limit]) for limit in ("min", "max"))
    if low is None or high is None:
        return []
    if isinstance(low, str) or isinstance(high, str):
        raise NodeError(table, f"{name}: a range is of single numbers; use values: [...]")
    if low >= high:
        draft.note(table, f"{name}: min must be below max")
    if kind is int:
        return range(low, high + 1)
    return Interval(low, high, log=distribution == "log_uniform_values")
