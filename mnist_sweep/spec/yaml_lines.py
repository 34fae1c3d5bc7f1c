"""YAML read into nodes that know their line, so that an error can name it, and written again.

Reads the subset of YAML that a sweep spec needs: one document of mappings, lists and scalars.
Anchors, aliases, tags and deep nesting are refused, which rules out documents that grow when they
are read. Scalars stay text: the reader of a field decides what a value means there, so ``1e-4`` is
a number and ``no`` is not a boolean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import yaml
import yaml.reader

from mnist_sweep.spec.nodes import Items, Node, Place, Reader, Scalar, Table, printable, show

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 20

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_file(path: Path, reader: Reader) -> Table:
    """Read a file whose top level is a mapping. Raises SpecError if that cannot be done."""
    source = printable(str(path), limit=1000)
    text = _read_text(path, Place(source), reader)
    root = parse(text, lambda line: Place(source, line), reader)
    if isinstance(root, Scalar) and root.is_null:
        reader.refuse(Place(source, 1), "the file is empty; a spec has keys such as parameters:")
    if not isinstance(root, Table):
        reader.refuse(
            root.place, f"expected keys such as 'parameters:' at the top level, got {show(root)}"
        )
    return root


def parse(text: str, place: Callable[[int], Place], reader: Reader) -> Node:
    """Parse one YAML document; an empty one is a null scalar.

    ``place(line)`` turns a line (from 1) into a Place. Duplicate keys are noted; whatever
    makes the rest unreadable raises SpecError.
    """
    unfit = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unfit:
        line = text.count("\n", 0, unfit.start()) + 1
        reader.refuse(
            place(line), f"the character {unfit.group()!a} is not allowed in YAML; remove it"
        )
    try:
        return _Parser(yaml.parse(text, Loader=_LOADER), place, reader).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, index = (mark.line + 1, mark.index) if mark else (1, 0)
        if text[index : index + 1] == "\t":
            reader.refuse(place(line), "a tab where YAML wants spaces; indent with spaces")
        reader.refuse(
            place(line),
            f"not valid YAML: {printable(error.problem or str(error.context), 200)}; "
            "check indentation, brackets and quotes here and above",
        )


def as_yaml(root: Table, order: Iterable[str]) -> str:
    """A text that ``parse`` reads as ``root``, its keys in ``order``, each scalar as it was."""
    root = Table(root.place, {key: root.entries[key] for key in order if key in root.entries})
    start = yaml.StreamStartEvent(), yaml.DocumentStartEvent()
    end = yaml.DocumentEndEvent(), yaml.StreamEndEvent()
    events = [*start, *_events(root, flow=False), *end]
    return str(yaml.emit(events, allow_unicode=True, width=10_000))


def _events(node: Node, flow: bool = True) -> Iterator[yaml.Event]:
    """The events of a node; on one line (``flow``) unless it holds lists or mappings."""
    if isinstance(node, Scalar):
        yield yaml.ScalarEvent(None, None, (not node.quoted, True), node.text)
    elif isinstance(node, Items):
        flow &= all(isinstance(child, Scalar) for child in node.nodes)
        yield yaml.SequenceStartEvent(None, None, True, flow_style=flow)
        for child in node.nodes:
            yield from _events(child)
        yield yaml.SequenceEndEvent()
    else:
        flow &= all(isinstance(child, Scalar) for child in node.entries.values())
        yield yaml.MappingStartEvent(None, None, True, flow_style=flow)
        for key, child in node.entries.items():
            yield yaml.ScalarEvent(None, None, (True, True), key)
            yield from _events(child)
        yield yaml.MappingEndEvent()


def _read_text(path: Path, place: Place, reader: Reader) -> str:
    try:
        if path.is_dir():
            reader.refuse(place, "is a folder; give the YAML file of a sweep")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        reader.refuse(place, "no such file; check the path")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reader.refuse(place, f"cannot be read ({reason}); check the path and its permissions")
    if len(raw) > MAX_FILE_BYTES:
        reader.refuse(place, "is larger than 1 MB; this does not look like a sweep spec")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        reader.refuse(Place(place.source, line), "is not UTF-8 text; save the file as UTF-8")


class _Parser:
    """Builds nodes from the parser's events, one line number each."""

    def __init__(
        self, events: Iterator[yaml.Event], place: Callable[[int], Place], reader: Reader
    ) -> None:
        self._events = events
        self._place = place
        self._reader = reader

    def document(self) -> Node:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                self._refuse(event, "a second document; keep one sweep a file, without '---'")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, depth=0)
        return Scalar(self._place(1), "") if root is None else root

    def _where(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return self._place(mark.line + 1 if mark else 1)

    def _refuse(self, event: yaml.Event, message: str) -> NoReturn:
        self._reader.refuse(self._where(event), message)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "aliases (*name) are not supported; write the value out")
        if getattr(event, "anchor", None) is not None:
            self._refuse(event, "anchors (&name) are not supported; write the value out")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, "tags (!name) are not supported; write the plain value")
        if depth > MAX_DEPTH:
            self._refuse(event, f"nested more than {MAX_DEPTH} levels deep; a spec needs four")
        place = self._where(event)
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(place, event.value, quoted=not event.implicit[0])
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(place, list(self._children(yaml.SequenceEndEvent, depth)))
        table, children = Table(place), self._children(yaml.MappingEndEvent, depth)
        for key in children:
            self._put(table, key, next(children))
        return table

    def _children(self, end: type[yaml.Event], depth: int) -> Iterator[Node]:
        """The nodes up to the event that ends the list or mapping."""
        while not isinstance(event := next(self._events), end):
            yield self._node(event, depth + 1)

    def _put(self, table: Table, key: Node, node: Node) -> None:
        if not isinstance(key, Scalar):
            self._reader.problem(key, f"a key must be a single word, got {show(key)}")
        elif key.text in table.entries:
            line = table.key_places[key.text].line
            first = "" if line is None else f", first on line {line}"
            self._reader.problem(
                key, f"{printable(key.text)}: duplicate key{first}; keep one of them"
            )
        else:
            table.put(key.text, node, key.place)
