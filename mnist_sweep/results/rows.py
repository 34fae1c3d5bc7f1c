"""The lines of results.csv and results.curves.csv: their columns, rows to text and back.

A row is exactly one line of UTF-8 (RFC 4180, line ends "\\n"): no cell ever holds a line break, so
what follows the last line end is seldom a whole row. Floats are written as ``repr`` does, which
reads back to the same bits; a value that was not reached is an empty cell.

Cells are found by the names at the head of the file. Columns that came later than a file have
their defaults in it, and columns that nobody here knows stay as they are. That nothing was changed,
the trial_id proves.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from itertools import islice, product
from typing import Any, NamedTuple, cast, get_args

from mnist_sweep.config import EXTRA_NAMES, FIELD_NAMES, FIELDS, HPConfig
from mnist_sweep.results.cells import (
    NOTHING,
    cell_of,
    checked_label,
    guarded,
    printable,
    read_optional,
    read_real,
    read_whole,
    split,
    tidy,
    unguarded,
)
from mnist_sweep.trial import CurvePoint, DatasetConfig, Status, Trial, TrialResult, id_of

_HYPERPARAMETERS = tuple(name for name in FIELD_NAMES if name not in ("model", *EXTRA_NAMES))
#: What came of a trial and how it was made, in the order of TrialResult's fields: name -> type.
_MEASURED = {
    spec.name: spec.type
    for spec in fields(TrialResult)
    if spec.name not in ("sweep", "trial", "curve", "weights")
}
_TEXTS = ("sweep", *(name for name, kind in _MEASURED.items() if kind == "str"))
_INTEGERS = tuple(name for name, kind in _MEASURED.items() if kind == "int | None")
_REALS = tuple(name for name, kind in _MEASURED.items() if kind == "float | None")
#: What was not measured from the first version on. The counts are last: they prove that a line is
#: whole, which a loss that was cut off does not.
COUNTS = ("val_images", "test_images")
LOSSES = ("val_loss", "test_loss")
LATER = ("stage", *LOSSES, *COUNTS)

#: The columns of results.csv, in their order: what came later is at the end, so that what reads
#: columns by their number goes on working.
COLUMNS: tuple[str, ...] = (
    *("trial_id", "sweep", "model", "dataset", *_HYPERPARAMETERS),
    *(*(name for name in _MEASURED if name not in LATER), *EXTRA_NAMES, *LATER),
)
#: The columns of results.curves.csv, in their order.
CURVE_COLUMNS: tuple[str, ...] = ("trial_id", *(f.name for f in fields(CurvePoint)))

#: Bytes of the longest line that is taken for a row; a row that we wrote is far shorter.
MAX_LINE = 65_536
#: Digits that a number keeps in every program; some keep no more.
_KEPT_DIGITS = 15
_ID = re.compile("[0-9a-f]{12}")
#: Fewest digits by which a number is told to be a trial_id.
_ID_DIGITS = 3
#: Trials that are tried where digits were lost.
_MAX_TRIED = 3_000


class Kind(NamedTuple):
    """A kind of file: its columns in our order, and those without which it says nothing."""

    columns: tuple[str, ...]
    needed: frozenset[str]


#: What is not needed has a default: an extra is off, and anything else was not measured.
RESULTS = Kind(COLUMNS, frozenset({"trial_id", "model", "dataset", "status", *_HYPERPARAMETERS}))
CURVES = Kind(CURVE_COLUMNS, frozenset(CURVE_COLUMNS) - {*LOSSES})
#: What an empty cell of each measured column of a curve stands for.
_UNREACHED = [math.nan if spec.type == "float" else None for spec in fields(CurvePoint)[3:]]


@dataclass(frozen=True)
class Layout:
    """The columns of one file, in its own order: ``kind``'s, and others that are not ours."""

    kind: Kind
    names: tuple[str, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """The columns that the file lacks."""
        return tuple(name for name in self.kind.columns if name not in self.names)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The columns of the file that are not ours."""
        return tuple(name for name in self.names if name not in self.kind.columns)

    @cached_property
    def places(self) -> tuple[int, ...]:
        """Where each of the kind's columns is in a line; -1 for a missing one."""
        return tuple(self.names.index(n) if n in self.names else -1 for n in self.kind.columns)

    def line(self, cells: Mapping[str, str]) -> bytes:
        """A line of the file with ``cells``, by column; the others are empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow([cells.get(name, "") for name in self.names])
        return buffer.getvalue().encode()

    def completed(self) -> tuple[Layout, bytes, bytes]:
        """The layout with the missing columns at its end, and what to put behind the header and
        behind every other line of the file for that.
        """
        names = self.missing
        defaults = [
            cell_of(getattr(HPConfig, name)) if name in FIELD_NAMES else "" for name in names
        ]
        head, tail = ("".join(f",{cell}" for cell in cells).encode() for cells in (names, defaults))
        return Layout(self.kind, (*self.names, *names)), head, tail


OUR_RESULTS, OUR_CURVES = (Layout(kind, kind.columns) for kind in (RESULTS, CURVES))


def header(columns: Sequence[str]) -> bytes:
    """The first line of a file with these columns, with its line end."""
    return (",".join(columns) + "\n").encode()


def read_layout(names: Sequence[str], kind: Kind) -> Layout:
    """The layout with the columns ``names``. Raises ValueError if two of ours have one name."""
    if twice := [name for name in kind.columns if names.count(name) > 1]:
        raise ValueError(f"has two columns of one name ({listed(twice)}); remove one of them")
    return Layout(kind, tuple(names))


def listed(names: Sequence[str], most: int = 8) -> str:
    """Columns for a message, whatever their names hold: the first ``most``, and how many more."""
    shown = ", ".join(printable(name)[:40] or "(no name)" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def format_row(result: TrialResult, layout: Layout = OUR_RESULTS) -> bytes:
    """``result``'s line of results.csv, with its line end.

    Text is made harmless: control characters become spaces, at most 500 characters are kept, and
    what a spreadsheet would take for a formula gets an apostrophe in front. Raises ValueError for
    a data set whose name would need that, since its cell must name the folder exactly.
    """
    trial = result.trial
    cells = {"trial_id": trial.trial_id, "dataset": checked_label(trial.dataset.label)}
    cells |= {name: cell_of(value) for name, value in vars(trial.config).items()}
    cells |= {name: guarded(getattr(result, name)) for name in _TEXTS}
    cells |= {name: cell_of(getattr(result, name)) for name in ("status", *_INTEGERS, *_REALS)}
    return layout.line(cells)


def format_curve(result: TrialResult, layout: Layout = OUR_CURVES) -> bytes:
    """``result``'s lines of results.curves.csv, each with its line end; empty without a curve."""
    return b"".join(
        layout.line(
            {"trial_id": result.trial.trial_id}
            | {name: cell_of(value) for name, value in vars(point).items()}
        )
        for point in result.curve
    )


def parse_row(line: bytes, layout: Layout = OUR_RESULTS) -> tuple[TrialResult, bool]:
    """The inverse of ``format_row``, without a curve; and whether its settings had lost digits.

    A line end is allowed, not needed. Raises ValueError, with a message that starts with the
    column, for a line that is no whole row, a cell that cannot be read, and a trial_id that the
    row's settings do not make.
    """
    row = dict(zip(layout.kind.columns, _ordered(line, layout), strict=True))
    trial = whole = Trial(_parse_config(row), _parse_dataset(row["dataset"]))
    if not _says_id(row["trial_id"], trial.trial_id):
        whole = _with_all_digits(trial, row["trial_id"])
    status = row["status"]
    if status not in get_args(Status):
        raise ValueError(f"status: is not one of {', '.join(get_args(Status))}")
    values: dict[str, Any] = {name: unguarded(row[name]) for name in _TEXTS}
    values |= {name: read_optional(name, row[name], read_whole) for name in _INTEGERS}
    values |= {name: read_optional(name, row[name], read_real) for name in _REALS}
    for name in _REALS:
        if name.endswith("accuracy") and not 0 <= (values[name] or 0) <= 1:
            raise ValueError(f"{name}: {row[name]} is no fraction from 0 to 1")
    if status != "failed":
        told = whole.dataset.validation_size, whole.dataset.test_images
        for name, images in zip(COUNTS, told, strict=True):
            values[name] = images if values[name] is None else values[name]
    return TrialResult(trial=whole, status=cast(Status, status), **values), whole is not trial


def _says_id(cell: str, trial_id: str, exactly: bool = False) -> bool:
    """Whether ``cell`` is ``trial_id``, or the number that a program took it for.

    Of such a number a few digits do, unless ``exactly``: so little may be so by chance.
    """
    if cell == trial_id or _ID.fullmatch(cell):
        return cell == trial_id
    try:
        number, meant = float(tidy(cell)), float(trial_id)
    except ValueError:
        return False
    if exactly or number == meant:
        return number == meant and (not exactly or math.isfinite(number))
    digits = len(re.sub(r"[eE].*|\D", "", cell).lstrip("0"))
    return digits >= _ID_DIGITS and f"{number:.{digits - 1}e}" == f"{meant:.{digits - 1}e}"


def known_ids(cells: Collection[str], ids: Collection[str]) -> dict[str, str]:
    """The trial_id among ``ids`` that each cell says; cells that say none are left out."""
    known = set(ids)
    numbers = [each for each in known if each.replace("e", "", 1).isdigit()]
    said = ((cell, [cell] if cell in known else numbers) for cell in cells)
    return {cell: each for cell, ids in said for each in ids if _says_id(cell, each)}


def _with_all_digits(trial: Trial, cell: str) -> Trial:
    """The trial with the id that ``cell`` says whose numbers were those of ``trial`` after some
    program had rounded them. Raises ValueError if there is none.
    """
    values = {
        name: value
        for name, value in vars(trial.config).items()
        if isinstance(value, float) and value != FIELDS[name].default
    }
    for chosen in islice(product(*map(_alike, values.values())), _MAX_TRIED):
        canonical = trial.canonical
        for (name, value), other in zip(values.items(), chosen, strict=True):
            canonical = canonical.replace(f'"{name}":{value!r}', f'"{name}":{other!r}')
        if _says_id(cell, id_of(canonical), exactly=True):
            config = vars(trial.config) | dict(zip(values, chosen, strict=True))
            return Trial(HPConfig(**config), trial.dataset)
    raise ValueError(
        f"trial_id: is not {trial.trial_id}, which its settings make; one of them was edited, or "
        f"rounded to fewer than {_KEPT_DIGITS} digits"
    )


def _alike(value: float) -> list[float]:
    """The numbers, ``value`` first, that are the same in the digits that every program keeps."""
    text, alike = f"{value:.{_KEPT_DIGITS}g}", [value]
    for end in (-math.inf, math.inf):
        other = math.nextafter(value, end)
        while f"{other:.{_KEPT_DIGITS}g}" == text:
            alike.append(other)
            other = math.nextafter(other, end)
    return alike


def _ordered(line: bytes, layout: Layout) -> list[str]:
    """The cells of ``line`` in the order of the kind's columns; empty for those that it lacks."""
    cells = split(_text(line))
    expected = len(layout.names)
    if len(cells) < expected or any(cells[expected:]):
        raise ValueError(f"has {len(cells)} cells instead of {expected}")
    cells[expected:] = [""]  # where the places of missing columns point
    return [cells[place].strip() for place in layout.places]


@lru_cache(maxsize=64)  # the rows of a file have a few data sets
def _parse_dataset(cell: str) -> DatasetConfig:
    return DatasetConfig.from_label(checked_label(cell))


def _parse_config(row: Mapping[str, str]) -> HPConfig:
    # An empty cell is an extra that is off, or a hyperparameter that the model lacks; for the
    # others it is an error.
    cells = {name: None if row[name].lower() in NOTHING else row[name] for name in FIELD_NAMES}
    values: dict[str, Any] = {
        name: tidy(cell) if cell and FIELDS[name].metadata["type"] is not str else cell
        for name, cell in cells.items()
        if cell is not None or name not in EXTRA_NAMES
    }
    return HPConfig(**values)


def parse_point(line: bytes, layout: Layout = OUR_CURVES) -> tuple[str, CurvePoint]:
    """The trial_id and the point of one line of results.curves.csv.

    What was not finite is an empty cell and comes back as NaN, or as None where a point may lack
    it. Raises ValueError for a line that is no whole point.
    """
    trial_id, step, epoch, lr, *cells = _ordered(line, layout)
    measured: list[Any] = [
        read_real(cell) if cell else unreached
        for cell, unreached in zip(cells, _UNREACHED, strict=True)
    ]
    return trial_id, CurvePoint(read_whole(step), read_real(epoch), read_real(lr), *measured)


def trial_id_of(line: bytes, layout: Layout) -> str:
    """The trial_id of a line, whatever else is in it; empty if there is none."""
    if line.count(b",") < len(layout.names) - 1:  # told without parsing millions of them
        return ""
    try:
        return _ordered(line, layout)[0]
    except ValueError:
        return ""


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise ValueError(f"has more than {MAX_LINE} bytes")
    # What is no UTF-8 stays visible in a message's text and is refused everywhere else.
    return line.decode(errors="replace").removesuffix("\n").removesuffix("\r")
