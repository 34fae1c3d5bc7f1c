"""Values to the cells of a CSV file and back.

A number is read however another program has spelt it. Text is written so that no spreadsheet takes
it for a formula.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from numbers import Integral

from mnist_sweep.config import int_or_none, parse_number

#: Characters of a text cell that are kept; an exception's message can be of any length.
MAX_TEXT = 500
_MAX_LABEL = 4_096
#: What stands where other programs have nothing to write.
NOTHING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "none", "null"})
#: Digits that commas, blanks or apostrophes hold together: 1,024.
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}([,'\u2019\s]\d{3})+(\.\d*)?")

#: What spreadsheets take for the start of a formula; control characters never get into a cell.
_FORMULA_START = "=+-@"
#: Put before such text. Text that begins with it anyway gets one more, so reading is exact.
_ESCAPE = "'"


def split(text: str, separator: str = ",") -> list[str]:
    """The cells of a line. Raises ValueError if it is not one line of CSV."""
    if '"' not in text and "\r" not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], strict=True, delimiter=separator), [])
    except csv.Error as error:
        raise ValueError(f"is not one line of CSV ({error})") from error


def cell_of(value: str | float | None) -> str:
    """The cell of a value: empty for None and for what is not finite, floats with all digits."""
    if value is None or isinstance(value, str):
        return value or ""
    # Numpy's numbers count too: the repr of its floats names their type, its integers are no int.
    if isinstance(value, Integral):
        return str(int(value))
    return repr(float(value)) if math.isfinite(value) else ""


def read_optional(name: str, cell: str, parse: Callable[[str], int | float]) -> int | float | None:
    """What ``parse`` makes of the ``cell`` of column ``name``; None where nothing was written.

    Raises ValueError, with a message that starts with the column, for anything else.
    """
    try:
        return None if cell.lower() in NOTHING else parse(cell)
    except ValueError as error:
        kind = "a whole number" if parse is read_whole else "a number"
        raise ValueError(f"{name}: {cell[:40]!r} is not {kind}") from error


def read_real(cell: str) -> float:
    """A number; per cent are a fraction. Raises ValueError for what is none, or not finite."""
    share = 100 if cell.endswith("%") else 1
    number = float(tidy(cell.removesuffix("%"))) / share
    if not math.isfinite(number):
        raise ValueError(f"{cell!r} is not finite")
    return number


def read_whole(cell: str) -> int:
    """A whole number, as 1e3 is, too. Raises ValueError for anything else."""
    number = parse_number(tidy(cell))
    value = None if number is None else int_or_none(number)
    if value is None:
        raise ValueError(f"{cell!r} is not whole")
    return value


def tidy(cell: str) -> str:
    """A number as Python spells it; what is none stays as it is."""
    cell = cell.strip()
    if _GROUPED.fullmatch(cell):
        return re.sub(r"[^-+\d.]", "", cell)
    return cell.replace(",", ".", 1)


def printable(text: str) -> str:
    """``text`` with spaces for what cannot be printed, none at its ends."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return text.strip()


def guarded(text: str) -> str:
    """``text`` as a cell that no spreadsheet executes: printable, MAX_TEXT characters at most."""
    text = printable(text)[:MAX_TEXT].rstrip()
    return _ESCAPE + text if text.startswith((*_FORMULA_START, _ESCAPE)) else text


def unguarded(cell: str) -> str:
    """The inverse of ``guarded``, for any cell."""
    return printable(cell.removeprefix(_ESCAPE))[:MAX_TEXT]


def checked_label(label: str) -> str:
    """``label``, a ``dataset`` cell. Raises ValueError if it could not be written as it is."""
    if not label.isprintable() or len(label) > _MAX_LABEL:
        raise ValueError("dataset: has characters that a cell cannot hold, or is too long")
    if label.startswith(tuple(_FORMULA_START)):
        raise ValueError("dataset: a spreadsheet would take it for a formula; put ./ before it")
    return label
