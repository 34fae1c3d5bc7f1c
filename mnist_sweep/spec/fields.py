"""Hyperparameters and seeds in a spec: YAML nodes -> checked values, grids, exclusions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mnist_sweep.aliases import layer_number, meant, remedy
from mnist_sweep.config import FIELDS, SPEC_FIELDS, check_value, lacks
from mnist_sweep.search.methods import DRAWING
from mnist_sweep.search.space import Domain, Exclusion, Grid, Interval, Point
from mnist_sweep.spec.draft import MAX_SEED, MAX_TRIALS, Draft
from mnist_sweep.spec.nodes import Items, Node, NodeError, Scalar, Table, printable
from mnist_sweep.spec.ranges import DISTRIBUTIONS, RANGE_KEYS, read_range
from mnist_sweep.trial import SPLIT_SIZES

#: To some these say the units of a layer, to others the number of layers.
_AMBIGUOUS = re.compile(r"(.*\.)?((n|num|no)[_-]?)?(hidden|dense|fc)([_-]?(layer|num))?")


def read_base(draft: Draft, node: Node) -> Point:
    """Field -> value."""
    entries = _entries(draft, node.mapping("base", "{lr: 1e-3}"))
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


def read_seeds(draft: Draft, node: Node) -> list[int]:
    """The distinct seeds in their order; a number n stands for 0 to n-1."""
    if not isinstance(node, Items):
        return list(range(node.whole("seeds", 1, MAX_TRIALS)))
    nodes = node.items("seeds")
    seeds = [(draft.attempt(child.whole, "seeds", 0, MAX_SEED), child) for child in nodes]
    return [seed for seed in draft.distinct("seeds", seeds) if seed is not None]


def _entries(draft: Draft, table: Table) -> Iterator[tuple[str, Node]]:
    """The entries that set or sweep a hyperparameter of the model; others are problems."""
    model = draft.values["model"]
    for name, node in table.entries.items():
        known = ""
        if name == "model":
            problem = "a sweep has one model; write a spec for each, with its own model:"
        elif name in ("seed", "seeds"):
            problem = "give the seeds with the key seeds: of the spec"
        elif layer_number(name) is not None:
            problem = "for a width of its own for each layer write width: 512-256"
        elif split := meant(name, SPLIT_SIZES):
            problem = f"give it as a number of images: dataset: {{{split}: 5000}}"
        elif _AMBIGUOUS.fullmatch(name.lower()):
            problem = "write width: for the units of a layer, depth: for the number of layers"
        elif name not in SPEC_FIELDS:
            hint, known = remedy(name, SPEC_FIELDS, "the hyperparameters")
            problem = f"unknown hyperparameter{hint}"
        elif model is not None and lacks(model, name):
            problem = f"does not apply to model {model}; remove it here"
        else:
            yield name, node
            continue
        draft.note(table.key_places[name], f"{printable(name) or repr(name)}: {problem}", known)


def _value(name: str, node: Node) -> Any:
    """The value as the field's type."""
    meta = FIELDS[name].metadata
    if isinstance(node, Scalar) and not node.quoted and node.text in ("null", "~", "None"):
        if meta.get("extra"):  # as in Python, where None is off
            return FIELDS[name].default
        node.text = "none" if meta["type"] is str else node.text
    if meta["type"] is str:
        return node.choice(name, meta["choices"])
    by_layer = "per_layer" in meta and isinstance(node, Items)
    if by_layer:
        node = Scalar(node.place, "-".join(each.scalar(name).text for each in node.items(name)))
    try:
        value = check_value(name, node.number(name))
    except ValueError as error:
        raise NodeError(node, str(error)) from None
    if re.fullmatch("784-.+-10", str(value)):
        wrong = f"{value} has the inputs and the classes; give the hidden layers: {value[4:-3]}"
        raise NodeError(node, f"{name}: {wrong}")
    return str(value) if by_layer else value  # a list of one is one layer, a number says of none


def _values(draft: Draft, name: str, node: Node) -> list[Any]:
    """The distinct values of a list, or of a single value, in their order."""
    nodes = node.items(name) if isinstance(node, Items) else [node]
    return draft.distinct(name, [(draft.attempt(_value, name, node), node) for node in nodes])


def _domain(draft: Draft, name: str, node: Node) -> Domain:
    """What one entry of ``parameters`` or of a grid offers, in any of its forms."""
    if not isinstance(node, Table):
        return _values(draft, name, node)
    given, drawing = node.entries, draft.values["method"] in (None, *DRAWING)
    lists = ("categorical", "constant")
    listed = "distribution" in given and (
        given["distribution"].choice(name, (*DISTRIBUTIONS, *lists)) in lists
    )
    if not draft.check_keys(node, ("values", "value", "probabilities", *RANGE_KEYS)):
        return []
    limits = [form for form in RANGE_KEYS if form in given and not (listed and form != "min")]
    if ("values" in given) + ("value" in given) + bool(limits) != 1:
        raise NodeError(node, f"{name}: give one of values: [...], value: x, or min: and max:")
    if "values" in given:
        nodes = given["values"].items(name)
        if drawing and "probabilities" in given:
            return _weighted(draft, name, nodes, given["probabilities"])
        draft.unused |= {"probabilities": None} if "probabilities" in given else {}
        return _values(draft, name, given["values"])
    if "value" in given:
        return _values(draft, name, Items(node.place, [given["value"]]))
    domain = read_range(draft, name, node)
    if isinstance(domain, Interval) and not drawing:
        needs = f"such a range needs method: {' or '.join(DRAWING)}"
        raise NodeError(node, f"{name}: {needs}; for a grid list the values")
    return domain


def _weighted(draft: Draft, name: str, nodes: Sequence[Node], weights: Node) -> list[Any]:
    """The values, each as often as its probability in per cent: so soon is it drawn."""
    values = [draft.attempt(_value, name, node) for node in nodes]
    shares = [child.number(f"{name}.probabilities") for child in weights.items(name)]
    numbers = [share for share in shares if not isinstance(share, str) and share >= 0]
    if not len(values) == len(numbers) == len(shares) or not 0.99 < sum(numbers) < 1.01:
        wrong = "probabilities: give one for each value; together they are 1"
        raise NodeError(weights, f"{name}: {wrong}")
    times = [round(100 * number) for number in numbers]
    unit = math.gcd(*times)
    return [v for v, n in zip(values, times, strict=True) for _ in range(n // unit)]
