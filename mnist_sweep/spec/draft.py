"""A spec while it is read: what it says, and all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from mnist_sweep.aliases import remedy
from mnist_sweep.config import HPConfig
from mnist_sweep.errors import DataError, SpecError
from mnist_sweep.metrics import Metric
from mnist_sweep.spec.nodes import Node, NodeError, Place, Table, printable
from mnist_sweep.trial import BUNDLED_IMAGES, DatasetConfig

MAX_PROBLEMS = 100
MAX_IMAGES = 2**31 - 1
MAX_TRIALS = 100_000
MAX_SEED = 2**32 - 1

#: (results file, n, metric) -> the n best configurations of an earlier sweep, best first.
BestConfigs: TypeAlias = Callable[[Path, int, Metric], Sequence[HPConfig]]

T = TypeVar("T")


class Draft:
    """The tree of a spec, the ``values`` of the keys read so far, and the problems noted.

    A value is None if its key is missing or has a problem.
    """

    def __init__(self, path: Path, best_configs: BestConfigs | None) -> None:
        self.path = path
        self.best_configs = best_configs
        self.root = Table(Place(str(path)))
        self.values: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.images: int | None = None  # that train, if that is known
        # Of the words that are not ours: which of ours was taken, and those that say nothing here.
        self.read_as: dict[str, str] = {}
        self.unused: dict[str, None] = {}
        # Each with a list of what is known. The keys of a dict: what is noted twice is said once.
        self.problems: dict[tuple[Place, str, str], None] = {}

    def note(self, where: Place | Node | str, message: str, known: str = "") -> None:
        """Note a problem at a place, a node or a key of the spec, which then begins the message.

        ``known``, a list of what is, ends the first message that has it. Raises SpecError when
        there are too many to be worth reading.
        """
        if isinstance(where, str):
            message = f"{where}: {message}"
            where = self.root.key_places.get(where, self.root.place)
        place = where.place if isinstance(where, Node) else where
        if len(self.problems) == MAX_PROBLEMS:
            self.problems[place, "too many problems; put the ones above right first", ""] = None
            raise self.error()
        self.problems[place, message, known] = None

    def attempt(self, read: Callable[..., T], *args: Any) -> T | None:
        """What ``read`` returns; None, with the problem noted, if it raises one."""
        try:
            return read(*args)
        except NodeError as problem:
            self.note(*problem.args)
            return None

    def error(self) -> SpecError:
        """Every problem noted: the file's by line, then the options'."""
        in_order = sorted(self.problems, key=lambda problem: problem[0].line or float("inf"))
        first = {known: at for *at, known in reversed(in_order)}
        lines = (f"{at[0]}: {at[1]}{known * (first[known] == at)}" for *at, known in in_order)
        return SpecError([*lines])

    def check_keys(
        self, table: Table, allowed: Collection[str], elsewhere: Mapping[str, str] | None = None
    ) -> bool:
        """Note every key that is not ``allowed``; ``elsewhere`` says of some where they belong.

        Whether all are.
        """
        for key, place in table.key_places.items():
            if elsewhere and key in elsewhere:
                self.note(place, f"{key}: does not stand here; {elsewhere[key]}")
            elif key not in allowed:
                hint, known = remedy(key, allowed, "the keys here")
                self.note(place, f"{printable(key) or repr(key)}: unknown key{hint}", known)
        return {*table.key_places} <= {*allowed}

    def table(
        self, node: Node, label: str, example: str, keys: Sequence[str], needed: Sequence[str] = ()
    ) -> Table:
        """A mapping of nothing but ``keys``, and all that are ``needed``; else raises NodeError."""
        table = node.mapping(label, example)
        self.check_keys(table, keys)
        for key in needed:
            if key not in table.entries:
                raise NodeError(label, f"needs {key}:; write {label}: {example}")
        return table

    def distinct(self, name: str, values: Iterable[tuple[T, Node]]) -> list[T]:
        """``values`` without those that are there twice, which are a warning."""
        kept: dict[T, Node] = {}
        repeated = [node for value, node in values if kept.setdefault(value, node) is not node]
        if repeated and None not in kept:
            shown = ", ".join(dict.fromkeys(map(str, repeated[:4])))
            self.warnings.append(f"{repeated[0].place}: {name}: {shown}: given twice, counts once")
        return [*kept]


def training_images(node: Node, dataset: DatasetConfig) -> int:
    """The images of ``dataset`` that train. Raises NodeError at ``node`` if sizes do not fit."""
    try:
        if dataset.is_bundled:
            return dataset.train_images(*BUNDLED_IMAGES)
        from mnist_sweep.data.dataset import train_images

        return train_images(dataset)
    except DataError as error:
        raise NodeError(node, str(error)) from error
