"""A file of lines as other programs save it, brought back to the form that we write.

Spreadsheets, editors and data frames change how a file says what it says: its encoding, what
separates its cells, the decimal point, what stands before or between the rows. Here that is undone,
line by line; what the cells say is for others to judge.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from mnist_sweep.results.cells import split
from mnist_sweep.results.rows import MAX_LINE, Kind, listed

_ENCODINGS = {
    codecs.BOM_UTF8: "UTF-8-sig",
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"t\0": "UTF-16-LE",
    b"\0t": "UTF-16-BE",
}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_OTHER_FILES = {
    b"PK": "is a spreadsheet or an archive: save it as CSV, or unpack it",
    b"\x1f\x8b": "is compressed: unpack it",
}
#: A number where fractions have commas.
_FRACTION = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")
_ROW = re.compile(r'"?[0-9a-f]{12}"?[,;\t|]')


class Translation(NamedTuple):
    """A file as we would have written it, the names of its columns, and what was otherwise."""

    content: bytes
    names: list[str]
    how: list[str]


def translated(content: bytes, kind: Kind) -> Translation:
    """What the file with ``content`` says, of whose columns ``kind`` has the names.

    A line keeps its number, the header is the first; what is neither a row nor a header is empty.
    Raises ValueError for a file without a line of column names.
    """
    line = content.partition(b"\n")[0].removesuffix(b"\r").decode("UTF-8-sig", "replace")
    first = _cells(line, ",")
    # Almost every file is ours, and long.
    again = content.count(kind.columns[0].encode()) > 1 or "\r" in line
    if _is_header(first, kind) and not again and not re.search(rb'"-?0,\d', content):
        return Translation(content, first, [])
    encoding = next((e for bom, e in _ENCODINGS.items() if content.startswith(bom)), "UTF-8")
    how = [] if encoding.startswith("UTF-8") else [encoding]
    text = content.decode(encoding, "replace").replace("\r\n", "\n")
    how += ["carriage returns as line ends"] if "\r" in text else []
    text = text.replace("\r", "\n")
    lines = text.split("\n")
    separator, start = _find_header(lines, kind, content)
    rows = [_cells(line, separator) for line in lines]
    headers = [cells for cells in rows if _is_header(cells, kind)]
    names = list(dict.fromkeys(name for cells in headers for name in cells))
    current = rows[start]
    if len(names) == len(current):
        names = current  # which may have a column of no name several times
    # A number below 1 is told from a thousand.
    start_of_cell = '"' if separator == "," else rf'(?:^|{re.escape(separator)})"?'
    commas = bool(re.search(rf"(?m){start_of_cell}-?0,\d", text))
    how += [f"{_SEPARATORS[separator]} between its cells"] if separator != "," else []
    how += ["decimal commas"] if commas else []
    how += ["several headers"] if any(cells != current for cells in headers) else []
    how += ["lines before its header"] if start else []
    if not how:
        return Translation(content, names, how)
    # A row that stood before the header, as it does in a file that was sorted, comes behind it.
    rows[0], rows[start] = rows[start], rows[0]
    written = [_line(names)]
    for number, cells in enumerate(rows[1:], start=1):
        fits = len(cells) == len(current)
        if cells in headers:
            current, cells = cells, []
        elif fits and len(headers) > 1:
            by_name = dict(zip(current, cells, strict=True))
            cells = [by_name.get(name, "") for name in names]
        elif number <= start and not fits:
            cells = []
        if commas:
            cells = [c.replace(",", ".") if _FRACTION.fullmatch(c) else c for c in cells]
        written.append(_line(cells) if any(cells) else b"")
    return Translation(b"\n".join(written), names, how)


def _find_header(lines: Sequence[str], kind: Kind, content: bytes) -> tuple[str, int]:
    """What separates the cells, and which line names the columns."""
    for number, line in enumerate(lines):
        # Long files of other kinds are told at once.
        if kind.columns[0] in line and len(line) <= MAX_LINE:
            for separator in _SEPARATORS:
                if _is_header(_cells(line, separator), kind):
                    return separator, number
    for start, problem in _OTHER_FILES.items():
        if content.startswith(start):
            raise ValueError(problem)
    candidates = [_cells(line[:MAX_LINE], s) for line in lines[:50] for s in _SEPARATORS]
    names = max(candidates, key=lambda cells: len(set(kind.columns) & set(cells)))
    expected = ",".join(kind.columns[:3])
    if len(set(kind.columns) & set(names)) > 1:
        missing = [name for name in kind.columns if name in kind.needed and name not in names]
        extra = [name for name in names if name not in kind.columns]
        instead = f" and has {listed(extra)}, which is not ours" if extra else ""
        raise ValueError(
            f"lacks the column {listed(missing)}{instead}; give the columns their names back"
        )
    if any(_ROW.match(line) for line in lines[:50]):
        lost = "has lost the line with the names of its columns: put it back as the first"
        raise ValueError(f"{lost}, {expected},...")
    raise ValueError(f"is no results file: no line of it names the columns {expected},...")


def _is_header(cells: Sequence[str], kind: Kind) -> bool:
    return kind.needed <= set(cells)


def _cells(line: str, separator: str) -> list[str]:
    """The cells of a line; one cell where it is no CSV, none of a comment."""
    cells = [line]
    if len(line) <= MAX_LINE:
        with suppress(ValueError):
            cells = split(line, separator)
    return [] if line.lstrip('"').startswith("#") else [cell.strip() for cell in cells]


def _line(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(cells)
    return buffer.getvalue().encode()
