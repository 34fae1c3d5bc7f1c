"""YAML read into nodes that know their line, so that an error can name it, and written again.

Reads the subset of YAML that a sweep spec needs: one document of mappings, lists and scalars.
Aliases, tags of other languages and deep nesting are refused, which rules out documents that grow
when they are read. Scalars stay text: the reader of a field decides what a value means there, so
``1e-4`` is a number and ``no`` is not a boolean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
import yaml.reader

from mnist_sweep.spec.draft import Draft
from mnist_sweep.spec.nodes import Items, Node, NodeError, Place, Scalar, Table, Unread, printable

MAX_FILE_BYTES = 1_000_000
MAX_DEPTH = 20

#: YAML's own tags: all but the first say of a scalar what the reader of a field knows.
_TAGS = ("str", "float", "int", "bool", "null", "seq", "map")
#: Keys that only files for other programs have, which say nothing that is a sweep here.
_OWNERS = {
    "Keras Tuner": {"class_name"},
    "SageMaker": {"ParameterRanges", "HyperParameterTuningJobConfig"},
    "Katib": {"feasibleSpace"},
    "Azure ML": {"sampling_algorithm"},
    "Vertex AI": {"studySpec", "parameterId"},
    "Ax": {"objective_name", "objectives", "log_scale", "__type"},
    "Jupyter": {"nbformat"},
    "Hydra": {"hydra", "defaults", "_target_"},
    "Determined": {"searcher", "hyperparameters"},
    "NNI": {"_type", "trialCommand", "trialConcurrency", "searchSpace", "searchSpacePath"},
    "Guild": {"flags", "operations"},
    "Ray Tune": {"param_space", "tune_config", "num_samples", "grid_search", "resources_per_trial"},
    "Optuna": {"optuna", "n_trials", "study_name", "study", "pruner", "search_space", "low"},
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_file(path: Path, draft: Draft) -> Table:
    """Read a file whose top level is a mapping. Raises NodeError if that cannot be done."""
    source = printable(str(path), limit=1000)
    text = _read_text(path, Place(source))
    root = parse(text, lambda line: Place(source, line), draft)
    if isinstance(root, Scalar) and root.is_null:
        raise NodeError(Place(source, 1), "the file is empty; a spec has keys such as parameters:")
    ours = isinstance(root, Table) and {"method", "base", "grids"} & {*root.entries}
    tables = [node for node in root.walk() if isinstance(node, Table) and not ours]
    keys = {key for table in tables for key in table.entries}
    for owner, marks in _OWNERS.items():
        if marks & keys:
            wrong = f"this is a file for {owner}, not a spec; mnist-sweep init writes one"
            raise NodeError(root, wrong)
    if not isinstance(root, Table):
        raise NodeError(root, f"expected keys such as 'parameters:' at the top level, got {root}")
    return root


def parse(text: str, place: Callable[[int], Place], draft: Draft) -> Node:
    """Parse one YAML document; an empty one is a null scalar.

    ``place(line)`` turns a line (from 1) into a Place. Duplicate keys are noted in ``draft``;
    whatever makes the rest unreadable raises NodeError.
    """
    unfit = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unfit:
        line = text.count("\n", 0, unfit.start()) + 1
        wrong = f"the character {unfit.group()!a} is not allowed in YAML; remove it"
        raise NodeError(place(line), wrong)
    try:
        return _Parser(yaml.parse(text, Loader=_LOADER), place, draft).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, index = (mark.line + 1, mark.index) if mark else (1, 0)
        wrong = (
            f"not valid YAML: {printable(error.problem or str(error.context), 200)}; "
            "check indentation, brackets, quotes and the blank after ':' here and above"
        )
        if re.search(r"^(import |from |\w+ *= *(\{|dict\())", text, re.MULTILINE):
            wrong = "this is Python, not YAML; keep nothing but the mapping, from '{' to '}'"
        if text[index : index + 1] == "\t":
            wrong = "a tab where YAML wants spaces; indent with spaces"
        raise NodeError(place(line), wrong) from error


def as_yaml(root: Table, order: Iterable[str]) -> str:
    """A text that ``parse`` reads as ``root``, its keys in ``order``, each scalar as it was."""
    root = Table(root.place, {key: root.entries[key] for key in order if key in root.entries})
    # The base dumper takes every scalar for text, and leaves what is plain here plain there.
    node = _as_node(root, flow=False)
    return str(yaml.serialize(node, Dumper=yaml.BaseDumper, allow_unicode=True, width=10_000))


def _as_node(node: Node, flow: bool = True) -> yaml.Node:
    """A node for the YAML library; on one line (``flow``) unless it holds lists or mappings."""
    if isinstance(node, Scalar):
        style = "'" if node.quoted else None
        return yaml.ScalarNode("tag:yaml.org,2002:str", node.text, style=style)
    if isinstance(node, Items):
        flow &= all(isinstance(child, Scalar) for child in node.nodes)
        nodes = list(map(_as_node, node.nodes))
        return yaml.SequenceNode("tag:yaml.org,2002:seq", nodes, flow_style=flow)
    assert isinstance(node, Table)
    flow &= all(isinstance(child, Scalar) for child in node.entries.values())
    keys = [_as_node(Scalar(node.place, key)) for key in node.entries]
    pairs = list(zip(keys, map(_as_node, node.entries.values()), strict=True))
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=flow)


def _read_text(path: Path, place: Place) -> str:
    try:
        if path.is_dir():
            raise NodeError(place, "is a folder; give the YAML file of a sweep")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise NodeError(place, "no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        wrong = f"cannot be read ({reason}); check the path and its permissions"
        raise NodeError(place, wrong) from error
    if len(raw) > MAX_FILE_BYTES:
        raise NodeError(place, "is larger than 1 MB; this does not look like a sweep spec")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = place._replace(line=raw.count(b"\n", 0, error.start) + 1)
        raise NodeError(place, "is not UTF-8 text; save the file as UTF-8") from error


@dataclass
class _Parser:
    """Builds nodes from the parser's events, one line number each."""

    events: Iterator[yaml.Event]
    place: Callable[[int], Place]
    draft: Draft

    def document(self) -> Node:
        root: Node | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                wrong = "a second document; keep one sweep a file, without '---'"
                raise NodeError(self._where(event), wrong)
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, depth=0)
        return Scalar(self.place(1), "") if root is None else root

    def _where(self, event: yaml.Event) -> Place:
        mark = event.start_mark
        return self.place(mark.line + 1 if mark else 1)

    def _node(self, event: yaml.Event, depth: int) -> Node:
        place = self._where(event)
        if isinstance(event, yaml.AliasEvent):
            return Unread(place, "aliases (*name) are not supported; write the value out")
        if depth > MAX_DEPTH:
            raise NodeError(place, f"nested more than {MAX_DEPTH} levels deep; a spec needs four")
        node: Node
        tag = (getattr(event, "tag", None) or "").removeprefix("tag:yaml.org,2002:")
        if isinstance(event, yaml.ScalarEvent):
            quoted = tag == "str" if tag in _TAGS else not event.implicit[0]
            node = Scalar(place, event.value, quoted)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Items(place, list(self._children(yaml.SequenceEndEvent, depth)))
        else:
            node, children = Table(place), self._children(yaml.MappingEndEvent, depth)
            for key in children:
                self._put(node, key, next(children))
        if tag in ("", "!", *_TAGS):
            return node
        return Unread(place, "tags (!name) are not supported; write the plain value")

    def _children(self, end: type[yaml.Event], depth: int) -> Iterator[Node]:
        """The nodes up to the event that ends the list or mapping."""
        while not isinstance(event := next(self.events), end):
            yield self._node(event, depth + 1)

    def _put(self, table: Table, key: Node, node: Node) -> None:
        if not isinstance(key, Scalar):
            self.draft.note(*key.unfit(f"a key must be a single word, got {key}").args)
        elif key.text == "<<":
            self.draft.note(key, "merging (<<) is not supported; write the keys out")
        elif key.text in table.entries:
            line = table.key_places[key.text].line
            first = "" if line is None else f", first on line {line}"
            wrong = f"{printable(key.text)}: duplicate key{first}; keep one of them"
            self.draft.note(key, wrong)
        else:
            table.put(key.text, node, key.place)
