"""The nodes of a YAML document, each with its place, and reading them as what a key wants."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mnist_sweep.aliases import meant, remedy
from mnist_sweep.config import int_or_none, parse_number


class Place(NamedTuple):
    """Where something was written: a line (from 1) of a file, or an option (line None)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class NodeError(Exception):
    """What is wrong with a node: the ``args`` of ``Draft.note``."""


@dataclass
class Node:
    """A piece of a document; ``str`` of it is a short piece of a message.

    Its methods read it as what is wanted in its place. For anything but that they raise NodeError,
    with a message that names the node by a ``label``.
    """

    place: Place

    def walk(self) -> Iterator[Node]:
        """This node and all that it holds."""
        yield self
        entries = list(self.entries.values()) if isinstance(self, Table) else []
        for node in self.nodes if isinstance(self, Items) else entries:
            yield from node.walk()

    def mapping(self, label: str, example: str) -> Table:
        """A mapping, such as ``example``."""
        if not isinstance(self, Table):
            raise self.unfit(f"{label}: expected a mapping such as {example}, got {self}")
        return self

    def unfit(self, problem: str) -> NodeError:
        """The ``problem`` that this node cannot be read; an Unread one has its own."""
        return NodeError(self, problem)

    def named(self) -> Node:
        """A bare name as the mapping ``{name: ...}`` that it is short for; others as they are."""
        short = isinstance(self, Scalar)
        return Table(self.place, {"name": self}, {"name": self.place}) if short else self

    def items(self, label: str, example: str = "[1, 2]") -> list[Node]:
        """The nodes of a list with something in it, such as ``example``."""
        if not isinstance(self, Items):
            raise self.unfit(f"{label}: expected a list such as {example}, got {self}")
        if not self.nodes:
            raise NodeError(self, f"{label}: the list is empty; fill it or remove it")
        return self.nodes

    def scalar(self, label: str) -> Scalar:
        """A single value."""
        if not isinstance(self, Scalar):
            raise self.unfit(f"{label}: expected a single value, got {self}")
        if self.is_null:
            raise NodeError(self, f"{label}: no value given; give one or remove the key")
        return self

    def choice(self, label: str, choices: Collection[str]) -> str:
        """One of ``choices``; the node then says it as they do."""
        scalar = self.scalar(label)
        choice = meant(scalar.text, choices)
        if choice is None:
            hint, known = remedy(scalar.text, choices)
            raise NodeError(self, f"{label}: {self} is unknown{hint}", known)
        if choice != scalar.text:
            scalar.text, scalar.written = choice, scalar.written or scalar.text
        return choice

    def number(self, label: str) -> int | float | str:
        """The number that a single value is, or its text; a number in quotes is a problem."""
        scalar = self.scalar(label)
        number = parse_number(scalar.text)
        if number is not None and scalar.quoted:
            wrong = f"expected a number, got the text '{scalar.text}'; drop the quotes"
            raise NodeError(self, f"{label}: {wrong}")
        return scalar.text if number is None else number

    def whole(self, label: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.number(label)
        number = None if isinstance(value, str) else int_or_none(value)
        if number is None:
            raise NodeError(self, f"{label}: expected a whole number, got {self}")
        if not low <= number <= high:
            raise NodeError(self, f"{label}: must be between {low} and {high}, got {self}")
        return number


@dataclass
class Scalar(Node):
    """A single value, as text. ``quoted``: it stood in quotes, so it is no number and no null.

    ``written`` is what stood there if that was another name for it.
    """

    text: str
    quoted: bool = False
    written: str = ""

    @property
    def is_null(self) -> bool:
        """Whether no value was given: nothing at all, ``~`` or ``null``."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")

    def __str__(self) -> str:
        if self.is_null:
            return "nothing"
        is_number = not self.quoted and parse_number(self.text) is not None
        return self.text if is_number else f"'{printable(self.text)}'"


@dataclass
class Items(Node):
    """A list."""

    nodes: list[Node]

    def __str__(self) -> str:
        return "a list"


@dataclass
class Table(Node):
    """A mapping, in the order of the file. ``key_places`` says where each key stands."""

    entries: dict[str, Node] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)

    def put(self, key: str, node: Node, place: Place) -> None:
        """Set ``key``; a key that is there already keeps its position."""
        self.entries[key] = node
        self.key_places[key] = place

    def pop(self, key: str) -> Node:
        """Take out ``key``."""
        self.key_places.pop(key, None)
        return self.entries.pop(key)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call keys by other ``names``, in their order."""
        self.entries = {names.get(key, key): node for key, node in self.entries.items()}
        self.key_places = {names.get(key, key): at for key, at in self.key_places.items()}

    def __str__(self) -> str:
        return "a mapping"


@dataclass
class Unread(Node):
    """What YAML has and a spec has not; a ``problem`` only where something reads it."""

    problem: str

    def unfit(self, problem: str) -> NodeError:
        """Its own problem, which a spec that reads it twice notes once."""
        return NodeError(self, self.problem)


def printable(text: str, limit: int = 60) -> str:
    """``text`` on one line, without control characters, cut to ``limit`` characters."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:limit])
    return shown if len(text) <= limit else shown + "..."
