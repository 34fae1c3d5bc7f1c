"""YAML read into nodes that know their line, so that an error can name it.

Reads the subset of YAML that a sweep spec needs: one document of mappings, lists and scalars.
Anchors, aliases, tags and deep nesting are refused, which rules out documents that grow when they
are read. Scalars stay text: the reader of a field decides what a value means there, so ``1e-4`` is
a number and ``no`` is not a boolean.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, NoReturn, TypeAlias

import yaml
import yaml.reader

from mnist_sweep.config import int_or_none
from mnist_sweep.errors import SpecError

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_PROBLEMS = 100

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Numbers as YAML 1.2 writes them; anything longer than 40 characters is not meant as one.
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NULLS = ("", "~", "null", "Null", "NULL")


class Place(NamedTuple):
    """Where something was written: a line (from 1) of a file, or an option (line None)."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class Problems:
    """Collects what is wrong, to report it all at once in the order of the file."""

    def __init__(self) -> None:
        self._found: dict[tuple[Place, str], None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, place: Place, message: str) -> None:
        """Note a problem. Raises SpecError when there are too many to be worth reading."""
        if len(self) == MAX_PROBLEMS:
            self.refuse(place, "too many problems; put the ones above right first")
        self._found[place, message] = None

    def refuse(self, place: Place, message: str) -> NoReturn:
        """Note a problem that makes reading on pointless, and raise SpecError."""
        self._found[place, message] = None
        raise SpecError(self._lines())

    def raise_if_any(self) -> None:
        """Raise SpecError with every problem noted: the file's by line, then the options'."""
        if self._found:
            raise SpecError(self._lines())

    def _lines(self) -> list[str]:
        in_order = sorted(self._found, key=lambda found: found[0].line or float("inf"))
        return [f"{place}: {message}" for place, message in in_order]


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
        if self.quoted or len(self.text) > 40 or not _NUMBER.fullmatch(self.text):
            return self.text
        return int(self.text) if self.text.lstrip("+-").isdigit() else float(self.text)


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


def check_keys(
    table: Table,
    allowed: Sequence[str],
    problems: Problems,
    elsewhere: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Note every key that is not ``allowed``; ``elsewhere`` says of some where they belong."""
    for key, place in table.key_places.items():
        if key in elsewhere:
            problems.add(place, f"{key}: does not stand here; {elsewhere[key]}")
        elif key not in allowed:
            hint = suggest(key, allowed) or f"; the keys here are {', '.join(allowed)}"
            problems.add(place, f"{printable(key) or repr(key)}: unknown key{hint}")


def read_table(node: Node, label: str, problems: Problems, example: str) -> Table | None:
    """A mapping; None, and a problem, for anything else. ``label`` names it in the message."""
    if isinstance(node, Table):
        return node
    problems.add(node.place, f"{label}: expected a mapping such as {example}, got {show(node)}")
    return None


def read_items(node: Node, label: str, problems: Problems) -> list[Node] | None:
    """A list with something in it; None, and a problem, for anything else."""
    if isinstance(node, Items) and node.nodes:
        return node.nodes
    if isinstance(node, Items):
        problems.add(node.place, f"{label}: the list is empty; fill it or remove it")
    else:
        problems.add(node.place, f"{label}: expected a list such as [1, 2], got {show(node)}")
    return None


def read_scalar(node: Node, label: str, problems: Problems) -> Scalar | None:
    """A single value; None, and a problem, for anything else."""
    if not isinstance(node, Scalar):
        problems.add(node.place, f"{label}: expected a single value, got {show(node)}")
        return None
    if node.is_null:
        problems.add(node.place, f"{label}: no value given; give one or remove the key")
        return None
    return node


def read_whole(node: Node, label: str, low: int, high: int, problems: Problems) -> int | None:
    """A whole number from ``low`` to ``high``; None, and a problem, for anything else."""
    scalar = read_scalar(node, label, problems)
    if scalar is None or is_quoted_number(scalar, label, problems):
        return None
    value = scalar.value
    number = None if isinstance(value, str) else int_or_none(value)
    if number is None:
        problems.add(node.place, f"{label}: expected a whole number, got {show(node)}")
        return None
    if not low <= number <= high:
        problems.add(node.place, f"{label}: must be between {low} and {high}, got {show(node)}")
        return None
    return number


def is_quoted_number(scalar: Scalar, label: str, problems: Problems) -> bool:
    """Whether a number stands in quotes, which makes text of it: a problem where numbers go."""
    if not scalar.quoted or isinstance(Scalar(scalar.place, scalar.text).value, str):
        return False
    problems.add(
        scalar.place,
        f"{label}: expected a number, got the text '{scalar.text}'; drop the quotes",
    )
    return True


def read_file(path: Path, problems: Problems) -> Table:
    """Read a file whose top level is a mapping. Raises SpecError if that cannot be done."""
    source = printable(str(path), limit=1000)
    text = _read_text(path, Place(source), problems)
    root = parse(text, lambda line: Place(source, line), problems)
    if isinstance(root, Scalar) and root.is_null:
        problems.refuse(Place(source, 1), "the file is empty; a spec has keys such as parameters:")
    if not isinstance(root, Table):
        problems.refuse(
            root.place, f"expected keys such as 'parameters:' at the top level, got {show(root)}"
        )
    return root


def parse(text: str, place: Callable[[int], Place], problems: Problems) -> Node:
    """Parse one YAML document; an empty one is a null scalar.

    ``place(line)`` turns a line (from 1) into a Place. Duplicate keys go to ``problems``; whatever
    makes the rest unreadable raises SpecError.
    """
    unfit = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unfit:
        line = text.count("\n", 0, unfit.start()) + 1
        problems.refuse(
            place(line), f"the character {unfit.group()!a} is not allowed in YAML; remove it"
        )
    try:
        return _Parser(yaml.parse(text, Loader=_LOADER), place, problems).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, index = (mark.line + 1, mark.index) if mark else (1, 0)
        if text[index : index + 1] == "\t":
            problems.refuse(place(line), "a tab where YAML wants spaces; indent with spaces")
        problems.refuse(
            place(line),
            f"not valid YAML: {printable(error.problem or str(error.context), 200)}; "
            "check indentation, brackets and quotes here and above",
        )


def _read_text(path: Path, place: Place, problems: Problems) -> str:
    try:
        if path.is_dir():
            problems.refuse(place, "is a folder; give the YAML file of a sweep")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        problems.refuse(place, "no such file; check the path")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        problems.refuse(place, f"cannot be read ({reason}); check the path and its permissions")
    if len(raw) > MAX_FILE_BYTES:
        problems.refuse(place, "is larger than 1 MB; this does not look like a sweep spec")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problems.refuse(Place(place.source, line), "is not UTF-8 text; save the file as UTF-8")


class _Parser:
    """Builds nodes from the parser's events, one line number each."""

    def __init__(
        self, events: Iterator[yaml.Event], place: Callable[[int], Place], problems: Problems
    ) -> None:
        self._events = events
        self._place = place
        self._problems = problems

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._refuse(event, "a second document; keep one sweep a file, without '---'")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, depth=0)
        return Scalar(self._place(1), "") if root is None else root

    def _where(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return self._place(mark.line + 1 if mark else 1)

    def _refuse(self, event: yaml.Event, message: str) -> NoReturn:
        self._problems.refuse(self._where(event), message)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "aliases (*name) are not supported; write the value out")
        if getattr(event, "anchor", None) is not None:
            self._refuse(event, "anchors (&name) are not supported; write the value out")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, "tags (!name) are not supported; write the plain value")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} levels deep; a spec needs four")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(event, depth)
        if isinstance(event, yaml.MappingStartEvent):
            return self._table(event, depth)
        assert isinstance(event, yaml.ScalarEvent)
        return Scalar(self._where(event), event.value, quoted=not event.implicit[0])

    def _items(self, start: yaml.Event, depth: int) -> Items:
        items = Items(self._where(start))
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.nodes.append(self._node(event, depth + 1))
        return items

    def _table(self, start: yaml.Event, depth: int) -> Table:
        table = Table(self._where(start))
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            key = self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                self._problems.add(key.place, f"a key must be a single word, got {show(key)}")
            elif key.text in table.entries:
                line = table.key_places[key.text].line
                first = "" if line is None else f", first on line {line}"
                self._problems.add(
                    key.place, f"{printable(key.text)}: duplicate key{first}; keep one of them"
                )
            else:
                table.put(key.text, node, key.place)
        return table
