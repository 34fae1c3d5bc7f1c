"""The lines of results.csv and results.curves.csv: their columns, and values to text and back.

A row is exactly one line of UTF-8 (RFC 4180, line ends "\\n"): no cell ever holds a line break, so
what follows the last line end is never a whole row. Floats are written as ``repr`` does, which
reads back to the same bits; a value that was not reached is an empty cell.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from numbers import Integral
from typing import Any, cast, get_args

from mnist_sweep.config import EXTRA_NAMES, FIELD_NAMES, HPConfig
from mnist_sweep.trial import CurvePoint, DatasetConfig, Status, Trial, TrialResult

_HYPERPARAMETERS = tuple(name for name in FIELD_NAMES if name not in ("model", *EXTRA_NAMES))
_TEXTS = (
    "sweep",
    "error",
    "device",
    "tinygrad_version",
    "mnist_sweep_version",
    "finished_at",
)
_INTEGERS = ("best_step", "steps", "parameters")
_REALS = (
    "train_loss",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "best_test_accuracy",
    "train_seconds",
    "compile_seconds",
)

_STATUSES = get_args(Status)

#: The columns of results.csv, in their order.
COLUMNS: tuple[str, ...] = (
    "trial_id",
    "sweep",
    "model",
    "dataset",
    *_HYPERPARAMETERS,
    "status",
    "error",
    "train_loss",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "best_test_accuracy",
    "best_step",
    "steps",
    "parameters",
    "train_seconds",
    "compile_seconds",
    "device",
    "tinygrad_version",
    "mnist_sweep_version",
    "finished_at",
    *EXTRA_NAMES,  # at the end: what reads columns by their number goes on working
)
#: The columns of results.curves.csv, in their order.
CURVE_COLUMNS: tuple[str, ...] = (
    "trial_id",
    "step",
    "epoch",
    "lr",
    "train_loss",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
)

#: Characters of a text cell that are kept; an exception's message can be of any length.
MAX_TEXT = 500
#: Bytes of the longest line that is taken for a row; a row that we wrote is far shorter.
MAX_LINE = 65_536
_MAX_LABEL = 4_096

#: What spreadsheets take for the start of a formula; control characters never get into a cell.
_FORMULA_START = "=+-@"
#: Put before such text. Text that begins with it anyway gets one more, so reading is exact.
_ESCAPE = "'"


def header(columns: Sequence[str]) -> bytes:
    """The first line of a file with these columns, with its line end."""
    return (",".join(columns) + "\n").encode()


def header_problem(line: bytes, columns: Sequence[str]) -> str | None:
    """What is wrong with ``line`` as the first line of a file with ``columns``; None if nothing."""
    if line.removesuffix(b"\n").removesuffix(b"\r") == header(columns).rstrip(b"\n"):
        return None
    try:
        names = _cells(line.decode("utf-8-sig"))
    except ValueError:
        return "has no line of column names; it is not a CSV file of results"
    if names == list(columns):  # behind a byte order mark, or in quotes
        return None
    missing = Counter(columns) - Counter(names)
    extra = Counter(names) - Counter(columns)
    if not missing and not extra:
        return "has its columns in another order"
    found = [
        f"{what}: {_listed(list(names.elements()))}"
        for what, names in (("missing", missing), ("not expected", extra))
        if names
    ]
    return f"has other columns ({'; '.join(found)})"


def _listed(names: list[str], most: int = 8) -> str:
    shown = [_printable(name)[:40] or "(no name)" for name in names[:most]]
    return ", ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def format_row(result: TrialResult) -> bytes:
    """``result``'s line of results.csv, with its line end.

    Text is made harmless: control characters become spaces, at most 500 characters are kept, and
    what a spreadsheet would take for a formula gets an apostrophe in front. Raises ValueError for
    a data set whose name would need that, since its cell must name the folder exactly.
    """
    trial = result.trial
    cells = [trial.trial_id, _guarded(result.sweep), trial.config.model]
    cells.append(_checked_label(trial.dataset.label))
    cells += [_cell(getattr(trial.config, name)) for name in _HYPERPARAMETERS]
    for name in COLUMNS[len(cells) : -len(EXTRA_NAMES)]:
        value = getattr(result, name)
        cells.append(_guarded(value) if name in _TEXTS else _cell(value))
    cells += [_cell(getattr(trial.config, name)) for name in EXTRA_NAMES]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()


def format_curve(result: TrialResult) -> bytes:
    """``result``'s lines of results.curves.csv, each with its line end; empty without a curve."""
    trial_id = result.trial.trial_id
    names = CURVE_COLUMNS[1:]
    return "".join(
        ",".join([trial_id, *(_cell(getattr(point, name)) for name in names)]) + "\n"
        for point in result.curve
    ).encode()


def parse_row(line: bytes) -> TrialResult:
    """The inverse of ``format_row``, without a curve; a line end is allowed, not needed.

    Raises ValueError, with a message that starts with the column, for a line that is no whole row,
    a cell that cannot be read, and a trial_id that the row's settings do not make.
    """
    cells = _cells(_text(line))
    if len(cells) != len(COLUMNS):
        raise ValueError(f"has {len(cells)} cells instead of {len(COLUMNS)}")
    row = dict(zip(COLUMNS, cells, strict=True))
    trial = Trial(_parse_config(row), _parse_dataset(row["dataset"]))
    if row["trial_id"] != trial.trial_id:
        raise ValueError(
            f"trial_id: is not {trial.trial_id}, which its settings make; was the row edited?"
        )
    if row["status"] not in _STATUSES:
        raise ValueError(f"status: is not one of {', '.join(_STATUSES)}")
    values: dict[str, Any] = {name: _unguarded(row[name]) for name in _TEXTS}
    values |= {name: _optional(name, row[name], int) for name in _INTEGERS}
    values |= {name: _optional(name, row[name], _finite) for name in _REALS}
    for name in _REALS:
        if name.endswith("accuracy") and not 0 <= (values[name] or 0) <= 1:
            raise ValueError(f"{name}: {row[name]} is no fraction from 0 to 1")
    return TrialResult(trial=trial, status=cast(Status, row["status"]), **values)


@lru_cache(maxsize=64)  # the rows of a file have a few data sets
def _parse_dataset(cell: str) -> DatasetConfig:
    return DatasetConfig.from_label(_checked_label(cell))


def _parse_config(row: Mapping[str, str]) -> HPConfig:
    # An empty cell is a hyperparameter that the model lacks; for the others it is an error.
    values: dict[str, Any] = {name: row[name] or None for name in (*_HYPERPARAMETERS, *EXTRA_NAMES)}
    return HPConfig(model=row["model"], **values)


def parse_point(line: bytes) -> tuple[str, CurvePoint]:
    """The trial_id and the point of one line of results.curves.csv.

    A loss or an accuracy that was not finite is an empty cell and comes back as NaN. Raises
    ValueError for a line that is no whole point.
    """
    cells = _text(line).split(",")  # there is nothing to quote in these columns
    if len(cells) != len(CURVE_COLUMNS):
        raise ValueError(f"has {len(cells)} cells instead of {len(CURVE_COLUMNS)}")
    trial_id, step, epoch, lr, loss, train_accuracy, val_accuracy, test_accuracy = cells
    return trial_id, CurvePoint(
        int(step),
        _finite(epoch),
        _finite(lr),
        _finite(loss) if loss else math.nan,
        _finite(train_accuracy) if train_accuracy else math.nan,
        _finite(val_accuracy) if val_accuracy else None,
        _finite(test_accuracy) if test_accuracy else math.nan,
    )


def _text(line: bytes) -> str:
    if len(line) > MAX_LINE:
        raise ValueError(f"has more than {MAX_LINE} bytes")
    # What is no UTF-8 stays visible in a message's text and is refused everywhere else.
    return line.decode(errors="replace").removesuffix("\n").removesuffix("\r")


def _cells(text: str) -> list[str]:
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise ValueError(f"is not one line of CSV ({error})") from error


def _cell(value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    # Numpy's numbers count too: the repr of its floats names their type, its integers are no int.
    if isinstance(value, Integral):
        return str(int(value))
    return repr(float(value)) if math.isfinite(value) else ""


def _optional(name: str, cell: str, parse: Callable[[str], int | float]) -> int | float | None:
    try:
        return parse(cell) if cell else None
    except ValueError as error:
        raise ValueError(f"{name}: {cell[:40]!r} is not a number") from error


def _finite(cell: str) -> float:
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(f"{cell!r} is not finite")
    return number


def _printable(text: str) -> str:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.strip()


def _guarded(text: str) -> str:
    text = _printable(text)[:MAX_TEXT].rstrip()
    return _ESCAPE + text if text.startswith((*_FORMULA_START, _ESCAPE)) else text


def _unguarded(cell: str) -> str:
    return _printable(cell.removeprefix(_ESCAPE))[:MAX_TEXT]


def _checked_label(label: str) -> str:
    """``label``, a ``dataset`` cell. Raises ValueError if it could not be written as it is."""
    if not label.isprintable() or len(label) > _MAX_LABEL:
        raise ValueError("dataset: has characters that a cell cannot hold, or is too long")
    if label.startswith(tuple(_FORMULA_START)):
        raise ValueError("dataset: a spreadsheet would take it for a formula; put ./ before it")
    return label
