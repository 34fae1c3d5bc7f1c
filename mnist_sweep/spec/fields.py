"""Hyperparameters in a sweep spec: YAML nodes -> checked values, grids, exclusions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mnist_sweep.config import FIELDS, SPEC_FIELDS, check_value, lacks
from mnist_sweep.search.methods import DRAWING
from mnist_sweep.search.space import Domain, Exclusion, Interval, Point
from mnist_sweep.spec.nodes import Items, Node, Reader, Table, printable, suggest

_DISTRIBUTIONS = {int: ("int_uniform",), float: ("uniform", "log_uniform_values")}
_RANGE = ("min", "max", "distribution")
_FORMS = ("values", "value", *_RANGE)


class FieldReader:
    """Reads hyperparameters for one model (None: it is unknown, which was reported already)."""

    def __init__(self, model: str | None, reader: Reader) -> None:
        self._model = model
        self._reader = reader

    def base(self, table: Table) -> Point:
        """Field -> value. ``model`` may stand here too; it is no part of the point."""
        return {name: self._value(name, node) for name, node in self._entries(table, base=True)}

    def grid(self, table: Table, label: str, *, ranges: bool) -> dict[str, Domain]:
        """Field -> the values or, where ``ranges`` are drawn from, the interval to choose from."""
        if not table.entries:
            self._reader.problem(table, f"{label}: names no parameter; fill it or remove it")
        return {name: self._domain(name, node, ranges) for name, node in self._entries(table)}

    def exclusion(self, node: Node) -> Exclusion | None:
        """An entry of ``exclude``."""
        table = self._reader.table(node, "exclude", "{opt: sgd, depth: 3}")
        if table is None:
            return None
        if not table.entries:
            self._reader.problem(table, "exclude: the entry is empty; name a field and its value")
        values = {name: self._values(name, child) for name, child in self._entries(table)}
        return Exclusion(values, str(table.place))

    def _entries(self, table: Table, *, base: bool = False) -> Iterator[tuple[str, Node]]:
        """The entries that set or sweep a hyperparameter of the model; others are problems."""
        for name, node in table.entries.items():
            if name == "model" and base:
                continue
            if name == "model":
                problem = "a sweep has one model; write a spec for each, with its own model:"
            elif name == "seed":
                problem = "give the seeds with the key seeds: of the spec"
            elif name not in SPEC_FIELDS:
                hint = suggest(name, SPEC_FIELDS)
                hint = hint or f"; the hyperparameters are {', '.join(SPEC_FIELDS)}"
                problem = f"unknown hyperparameter{hint}"
            elif self._model is not None and lacks(self._model, name):
                problem = f"does not apply to model {self._model}; remove it here"
            else:
                yield name, node
                continue
            self._reader.problem(table.key_places[name], f"{printable(name)}: {problem}")

    def _value(self, name: str, node: Node) -> Any:
        """The value as the field's type; None, and a problem, if it is not one."""
        if FIELDS[name].metadata["type"] is str:
            return self._reader.choice(node, name, FIELDS[name].metadata["choices"])
        number = self._reader.number(node, name)
        try:
            return None if number is None else check_value(name, number)
        except ValueError as error:
            self._reader.problem(node, str(error))
            return None

    def _values(self, name: str, node: Node) -> list[Any]:
        """The distinct values of a list, or of a single value, in their order."""
        nodes = self._reader.items(node, name) if isinstance(node, Items) else [node]
        return self._distinct(name, nodes)

    def _distinct(self, name: str, nodes: Sequence[Node]) -> list[Any]:
        return list(dict.fromkeys(self._value(name, node) for node in nodes))

    def _domain(self, name: str, node: Node, ranges: bool) -> Domain:
        """What one entry of ``parameters`` or of a grid offers, in any of its forms."""
        if not isinstance(node, Table):
            return self._values(name, node)
        self._reader.keys(node, _FORMS)
        given = node.entries
        limits = [form for form in _RANGE if form in given]
        if ("values" in given) + ("value" in given) + bool(limits) != 1:
            problem = "give one of values: [...], value: x, or min: and max:"
        elif "values" in given:
            return self._distinct(name, self._reader.items(given["values"], name))
        elif "value" in given:
            return [self._value(name, given["value"])]
        elif ranges:
            return self._range(name, node)
        else:
            needs = f"a range ({', '.join(limits)}) needs method: {DRAWING}"
            problem = f"{needs}; for a grid list the values"
        self._reader.problem(node, f"{name}: {problem}")
        return []

    def _range(self, name: str, table: Table) -> Domain:
        kind, given = FIELDS[name].metadata["type"], table.entries
        if kind is str:
            self._reader.problem(table, f"{name}: takes names, not a range; use values: [...]")
            return []
        distribution = None
        if "distribution" in given:
            distribution = self._reader.choice(
                given["distribution"], name, _DISTRIBUTIONS[kind], "the distributions for it: "
            )
        if not {"min", "max"} <= set(given):
            self._reader.problem(table, f"{name}: a range needs min: and max:")
            return []
        low, high = self._value(name, given["min"]), self._value(name, given["max"])
        if low is None or high is None:
            return []
        if low >= high:
            self._reader.problem(table, f"{name}: min must be below max")
        if kind is int:
            return range(low, high + 1)
        return Interval(low, high, log=distribution == "log_uniform_values")
