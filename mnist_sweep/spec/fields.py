"""Hyperparameters in a sweep spec: YAML nodes -> checked values, search spaces, exclusions."""

from __future__ import annotations

import dataclasses
from typing import Any

from mnist_sweep.config import FIELD_NAMES, HPConfig, applies, check_value
from mnist_sweep.spec.search_space import Domain, Exclusion, Interval, Point
from mnist_sweep.spec.yaml_lines import (
    Items,
    Node,
    Place,
    Problems,
    Scalar,
    Table,
    check_keys,
    is_quoted_number,
    printable,
    read_items,
    read_scalar,
    read_table,
    show,
    suggest,
)

DISTRIBUTIONS = ("uniform", "log_uniform_values", "int_uniform")

_METADATA = {spec.name: spec.metadata for spec in dataclasses.fields(HPConfig)}
_FORMS = ("values", "value", "min", "max", "distribution")


class FieldReader:
    """Reads hyperparameters for one model (None: it is unknown, which was reported already)."""

    def __init__(self, model: str | None, problems: Problems) -> None:
        self._model = model
        self._problems = problems

    def base(self, table: Table) -> Point:
        """Field -> value. ``model`` may stand here too; it is no part of the point."""
        point = {}
        for name, node in table.entries.items():
            if name != "model" and self._is_field(name, table.key_places[name]):
                point[name] = self._value(name, node)
        return point

    def space(self, table: Table, label: str, *, random: bool) -> dict[str, Domain]:
        """Field -> the values or, for a random search, the interval to choose from."""
        if not table.entries:
            self._problems.add(table.place, f"{label}: names no parameter; fill it or remove it")
        return {
            name: self._domain(name, node, random)
            for name, node in table.entries.items()
            if self._is_swept_field(name, table.key_places[name])
        }

    def exclusions(self, node: Node) -> list[tuple[Place, Exclusion]]:
        """The entries of ``exclude``, each with its place."""
        exclusions = []
        for entry in read_items(node, "exclude", self._problems) or []:
            table = read_table(entry, "exclude", self._problems, "{opt: sgd, depth: 3}")
            if table is not None and not table.entries:
                self._problems.add(
                    table.place, "exclude: the entry is empty; name a field and its value"
                )
            elif table is not None:
                exclusions.append((table.place, Exclusion(self._excluded(table))))
        return exclusions

    def _excluded(self, table: Table) -> dict[str, list[Any]]:
        return {
            name: self._values(name, node)
            for name, node in table.entries.items()
            if self._is_swept_field(name, table.key_places[name])
        }

    def _is_field(self, name: str, place: Place) -> bool:
        if name == "seed":
            self._problems.add(place, "seed: give the seeds with the key seeds: of the spec")
        elif name not in FIELD_NAMES:
            fields = [field for field in FIELD_NAMES if field not in ("model", "seed")]
            hint = suggest(name, fields) or f"; the hyperparameters are {', '.join(fields)}"
            self._problems.add(place, f"{printable(name)}: unknown hyperparameter{hint}")
        elif self._model is not None and not applies(name, vars(HPConfig(model=self._model))):
            self._problems.add(
                place, f"{name}: does not apply to model {self._model}; remove it here"
            )
        else:
            return True
        return False

    def _is_swept_field(self, name: str, place: Place) -> bool:
        if name == "model":
            self._problems.add(
                place, "model: a sweep has one model; write a spec for each, with its own model:"
            )
            return False
        return self._is_field(name, place)

    def _value(self, name: str, node: Node) -> Any:
        """The value as the field's type; None, and a problem, if it is not one."""
        scalar = read_scalar(node, name, self._problems)
        if scalar is None:
            return None
        metadata = _METADATA[name]
        if metadata["type"] is str:
            return self._checked(
                name, scalar, scalar.text, suggest(scalar.text, metadata["choices"])
            )
        if is_quoted_number(scalar, name, self._problems):
            return None
        return self._checked(name, scalar, scalar.value)

    def _checked(self, name: str, scalar: Scalar, value: object, hint: str = "") -> Any:
        try:
            return check_value(name, value)
        except ValueError as error:
            self._problems.add(scalar.place, f"{error}{hint}")
            return None

    def _values(self, name: str, node: Node) -> list[Any]:
        """The distinct values of a list, or of a single value, in their order."""
        if isinstance(node, Items):
            nodes = read_items(node, name, self._problems) or []
            return list(dict.fromkeys(self._value(name, child) for child in nodes))
        return [self._value(name, node)]

    def _domain(self, name: str, node: Node, random: bool) -> Domain:
        """What one entry of ``parameters`` or of a grid offers, in any of its forms."""
        if not isinstance(node, Table):
            return self._values(name, node)
        check_keys(node, _FORMS, self._problems)
        given = node.entries
        ranged = [form for form in ("min", "max", "distribution") if form in given]
        if ("values" in given) + ("value" in given) + bool(ranged) != 1:
            self._problems.add(
                node.place, f"{name}: give one of values: [...], value: x, or min: and max:"
            )
            return []
        if "values" in given:
            nodes = read_items(given["values"], name, self._problems)
            return self._values(name, given["values"]) if nodes else []
        if "value" in given:
            return [self._value(name, given["value"])]
        if not random:
            self._problems.add(
                node.place,
                f"{name}: a range ({', '.join(ranged)}) needs method: random; "
                "for a grid list the values",
            )
            return []
        return self._range(name, node)

    def _range(self, name: str, table: Table) -> Domain:
        kind = _METADATA[name]["type"]
        if kind is str:
            self._problems.add(table.place, f"{name}: takes names, not a range; use values: [...]")
            return []
        distribution = self._distribution(name, kind, table)
        for key in ("min", "max"):
            if key not in table.entries:
                self._problems.add(table.place, f"{name}: a range needs min: and max:")
                return []
        low, high = (self._value(name, table.entries[key]) for key in ("min", "max"))
        if low is None or high is None:
            return []
        if low >= high:
            self._problems.add(table.place, f"{name}: min must be below max")
            return []
        if kind is int:
            return range(low, high + 1)
        return Interval(low, high, log=distribution == "log_uniform_values")

    def _distribution(self, name: str, kind: type, table: Table) -> str | None:
        """The name of the distribution, which must suit the type of the field."""
        suited = DISTRIBUTIONS[2:] if kind is int else DISTRIBUTIONS[:2]
        node = table.entries.get("distribution")
        scalar = None if node is None else read_scalar(node, name, self._problems)
        if scalar is None:
            return None
        if scalar.text not in suited:
            self._problems.add(
                scalar.place,
                f"{name}: {show(scalar)} is not one of the distributions for it: "
                f"{', '.join(suited)}{suggest(scalar.text, suited)}",
            )
        return scalar.text
