"""The nodes of a YAML document, each with its place, and reading them as what a key wants."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, NoReturn, TypeAlias

from mnist_sweep.config import int_or_none, parse_number
from mnist_sweep.errors import SpecError

MAX_PROBLEMS = 100
_NULLS = ("", "~", "null", "Null", "NULL")


class Place(NamedTuple):
    """Where something was written: a line (from 1) of a file, or an option (line None)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass
class Scalar:
    """A single value, as text. ``quoted``: it stood in quotes, so it is no number and no null."""

    place: Place
    text: str
    quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Whether no value was given: nothing at all, ``~`` or ``null``."""
        return not self.quoted and self.text in _NULLS

    @property
    def value(self) -> int | float | str:
        """The number that an unquoted scalar is, else its text."""
        number = None if self.quoted else parse_number(self.text)
        return self.text if number is None else number


@dataclass
class Items:
    """A list."""

    place: Place
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Table:
    """A mapping, in the order of the file. ``key_places`` says where each key stands."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)

    def put(self, key: str, node: Node, place: Place) -> None:
        """Set ``key``; a key that is there already keeps its position."""
        self.entries[key] = node
        self.key_places[key] = place


Node: TypeAlias = Scalar | Items | Table


def named(node: Node) -> Node:
    """A bare name as the mapping ``{name: ...}`` that it is short for; other nodes as they are."""
    short = isinstance(node, Scalar)
    return Table(node.place, {"name": node}, {"name": node.place}) if short else node


def printable(text: str, limit: int = 60) -> str:
    """``text`` on one line, without control characters, cut to ``limit`` characters."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:limit])
    return shown if len(text) <= limit else shown + "..."


def show(node: Node) -> str:
    """A node as a short piece of a message."""
    if isinstance(node, Items):
        return "a list"
    if isinstance(node, Table):
        return "a mapping"
    if node.is_null:
        return "nothing"
    return f"'{printable(node.text)}'" if isinstance(node.value, str) else node.text


def suggest(word: str, options: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` with the nearest option, else ``""``."""
    word, options = word.lower()[:60], list(options)
    near = difflib.get_close_matches(word, options, n=1)
    if not near and len(word) > 1:
        near = [option for option in options if option.startswith(word)]
    return f"; did you mean '{near[0]}'?" if near else ""


class Reader:
    """Reads nodes as what is wanted in their place, and collects what is wrong with them.

    Its methods name a node by a ``label`` in messages, and return None, with a problem noted, for
    anything but what they read.
    """

    def __init__(self) -> None:
        self._problems: dict[tuple[Place, str], None] = {}

    def __len__(self) -> int:
        return len(self._problems)

    def problem(self, where: Place | Node, message: str) -> None:
        """Note a problem. Raises SpecError when there are too many to be worth reading."""
        place = where if isinstance(where, Place) else where.place
        if len(self) == MAX_PROBLEMS:
            self.refuse(place, "too many problems; put the ones above right first")
        self._problems[place, message] = None

    def refuse(self, place: Place, message: str) -> NoReturn:
        """Note a problem that makes reading on pointless, and raise SpecError."""
        self._problems[place, message] = None
        raise self._error()

    def raise_if_any(self) -> None:
        """Raise SpecError with every problem noted: the file's by line, then the options'."""
        if self._problems:
            raise self._error()

    def _error(self) -> SpecError:
        in_order = sorted(self._problems, key=lambda problem: problem[0].line or float("inf"))
        return SpecError([f"{place}: {message}" for place, message in in_order])

    def keys(
        self,
        table: Table,
        allowed: Iterable[str],
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Note every key that is not ``allowed``; ``elsewhere`` says of some where they belong."""
        for key, place in table.key_places.items():
            if key in elsewhere:
                self.problem(place, f"{key}: does not stand here; {elsewhere[key]}")
            elif key not in allowed:
                hint = suggest(key, allowed) or f"; the keys here are {', '.join(allowed)}"
                self.problem(place, f"{printable(key) or repr(key)}: unknown key{hint}")

    def table(self, node: Node, label: str, example: str) -> Table | None:
        """A mapping."""
        if isinstance(node, Table):
            return node
        self.problem(node, f"{label}: expected a mapping such as {example}, got {show(node)}")
        return None

    def items(self, node: Node, label: str) -> list[Node]:
        """The nodes of a list with something in it; none, and a problem, for anything else."""
        if not isinstance(node, Items):
            self.problem(node, f"{label}: expected a list such as [1, 2], got {show(node)}")
            return []
        if not node.nodes:
            self.problem(node, f"{label}: the list is empty; fill it or remove it")
        return node.nodes

    def scalar(self, node: Node, label: str) -> Scalar | None:
        """A single value."""
        if not isinstance(node, Scalar):
            self.problem(node, f"{label}: expected a single value, got {show(node)}")
        elif node.is_null:
            self.problem(node, f"{label}: no value given; give one or remove the key")
        else:
            return node
        return None

    def choice(self, node: Node, label: str, choices: Sequence[str], what: str = "") -> str | None:
        """One of ``choices``, which a message calls ``what``."""
        scalar = self.scalar(node, label)
        if scalar is None or scalar.text in choices:
            return None if scalar is None else scalar.text
        hint = suggest(scalar.text, choices)
        self.problem(node, f"{label}: {show(node)} is not one of {what}{', '.join(choices)}{hint}")
        return None

    def number(self, node: Node, label: str) -> int | float | str | None:
        """The number that a single value is, or its text; a number in quotes is a problem."""
        scalar = self.scalar(node, label)
        if scalar is None or not scalar.quoted or parse_number(scalar.text) is None:
            return None if scalar is None else scalar.value
        self.problem(
            node, f"{label}: expected a number, got the text '{scalar.text}'; drop the quotes"
        )
        return None

    def whole(self, node: Node, label: str, low: int, high: int) -> int | None:
        """A whole number from ``low`` to ``high``."""
        value = self.number(node, label)
        number = None if isinstance(value, str | None) else int_or_none(value)
        if value is None or (number is not None and low <= number <= high):
            return number
        wanted = f"must be between {low} and {high}"
        if number is None:
            wanted = "expected a whole number"
        self.problem(node, f"{label}: {wanted}, got {show(node)}")
        return None
