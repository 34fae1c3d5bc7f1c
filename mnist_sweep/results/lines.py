"""The whole lines of a results file and of its curves, parsed; what is not whole becomes a note.

Files are opened by their real path; messages name them as the user did (``shown``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_sweep.errors import ResultsError
from mnist_sweep.labels import count
from mnist_sweep.results import journal
from mnist_sweep.results.rows import (
    COLUMNS,
    CURVE_COLUMNS,
    MAX_LINE,
    header,
    header_problem,
    parse_point,
    parse_row,
)
from mnist_sweep.trial import CurvePoint, TrialResult

#: Characters of a damaged cell that a message repeats at most.
_MAX_PROBLEM = 200
#: Damaged lines after which a file is given up, so that no garbage takes minutes to read.
_MAX_DAMAGED = 1_000


def curves_path(path: Path) -> Path:
    """Where the curves of the results file ``path`` are: results.csv -> results.curves.csv."""
    return path.with_name(f"{path.stem}.curves{path.suffix}")


def spec_path(path: Path) -> Path:
    """Where the spec of the results file ``path`` is: results.csv -> results.spec.yaml."""
    return path.with_name(f"{path.stem}.spec.yaml")


def whole_lines(
    path: Path, columns: Sequence[str], shown: Path, advice: str
) -> tuple[list[bytes], list[str]]:
    """The whole lines of the file, its header included, and notes on what is not whole.

    A file that is empty or cut off within its header has no lines. Raises ResultsError, which ends
    in ``advice``, if it cannot be read or is something else.
    """
    try:
        with journal.open_regular(path) as file:
            content = file.read(MAX_LINE)
            problem = _problem(content, columns)
            # A file that is something else is refused before all of it is read.
            content += b"" if problem else file.read()
    except FileNotFoundError as error:
        raise ResultsError(f"{shown} does not exist; {advice}") from error
    except OSError as error:
        raise ResultsError(f"{shown} cannot be read: {reason(error)}; {advice}") from error
    if problem:
        raise ResultsError(f"{shown} {problem}; {advice}")
    if _is_cut_header(content, columns):
        return [], [f"{shown} is empty"]
    end = journal.torn_at(content)
    notes = []
    if end < len(content):
        notes.append(
            f"{shown}: left out the last line, which is not whole; a run is writing it, or was cut "
            "off then and sets it aside when it is continued"
        )
    return content[:end].split(b"\n")[:-1], notes


def _problem(start: bytes, columns: Sequence[str]) -> str | None:
    if _is_cut_header(start, columns):
        return None
    line = start.partition(b"\n")[0]
    if columns == COLUMNS and header_problem(line, CURVE_COLUMNS) is None:
        return "holds curves, not results"
    return header_problem(line, columns)


def _is_cut_header(content: bytes, columns: Sequence[str]) -> bool:
    whole = header(columns)
    return len(content) < len(whole) and whole.startswith(content)


@dataclass(frozen=True)
class Rows:
    """The rows of a results file; a line's number counts from 1, which is the header."""

    first: dict[str, TrialResult]  # trial_id -> its first row, in the file's order
    repeated: list[tuple[int, str]]  # line number, trial_id
    failed: list[int]  # line numbers
    damaged: list[tuple[int, str]]  # line number, problem


def parse_rows(lines: Sequence[bytes], shown: Path) -> Rows:
    """Parse the lines of a results file, of which the first is the header.

    Raises ResultsError if there are more than a thousand damaged ones.
    """
    rows = Rows({}, [], [], [])
    for number, line in enumerate(lines, start=1):
        if _says_nothing(line, lines):
            continue
        try:
            result = parse_row(line)
        except ValueError as error:
            _note_damage(rows.damaged, number, error, shown)
            continue
        trial_id = result.trial.trial_id
        if result.status == "failed":
            rows.failed.append(number)
        if trial_id in rows.first:
            rows.repeated.append((number, trial_id))
        else:
            rows.first[trial_id] = result
    return rows


def read_curves(path: Path, shown: Path) -> tuple[dict[str, tuple[CurvePoint, ...]], list[str]]:
    """The curve of each trial, and notes. A missing or unreadable file is a note, no error.

    Where a file that was joined by hand holds several curves of a trial, the first counts.
    """
    if not os.path.exists(path):
        return {}, []
    try:
        lines, notes = whole_lines(path, CURVE_COLUMNS, shown, "results are shown without curves")
        curves, damaged = _parse_curves(lines, shown)
    except ResultsError as error:
        return {}, [str(error)]
    return curves, notes + left_out(damaged, shown)


def _parse_curves(
    lines: Sequence[bytes], shown: Path
) -> tuple[dict[str, tuple[CurvePoint, ...]], list[tuple[int, str]]]:
    curves: dict[str, list[CurvePoint]] = {}
    ended: set[str] = set()
    damaged: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=1):
        if _says_nothing(line, lines):
            continue
        try:
            trial_id, point = parse_point(line)
        except ValueError as error:
            _note_damage(damaged, number, error, shown)
            continue
        curve = curves.setdefault(trial_id, [])
        # A step that is not beyond the last one begins another curve of the same trial.
        if trial_id in ended or (curve and point.step <= curve[-1].step):
            ended.add(trial_id)
        else:
            curve.append(point)
    return {trial_id: tuple(curve) for trial_id, curve in curves.items()}, damaged


def left_out(damaged: Sequence[tuple[int, str]], shown: Path) -> list[str]:
    """The note on damaged lines (line number, problem), if there are any."""
    if not damaged:
        return []
    number, problem = damaged[0]
    lines = count(len(damaged), "damaged line")
    return [f"{shown}: left out {lines}, the first at line {number}: {problem}"]


def repeats(rows: Rows, shown: Path) -> list[str]:
    """The note on rows of trials that have an earlier row, if there are any."""
    if not rows.repeated:
        return []
    number, trial_id = rows.repeated[0]
    repeated = count(len(rows.repeated), "row")
    return [
        f"{shown}: {repeated} of trials that have an earlier row, the first at line {number} "
        f"({trial_id}); the first row of a trial counts"
    ]


def reason(error: OSError) -> str:
    """What the system says, as part of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _says_nothing(line: bytes, lines: Sequence[bytes]) -> bool:
    # Files that were joined have a header within.
    return not line.strip() or line == lines[0]


def _note_damage(
    damaged: list[tuple[int, str]], number: int, error: ValueError, shown: Path
) -> None:
    text = str(error)
    damaged.append((number, text if len(text) <= _MAX_PROBLEM else text[:_MAX_PROBLEM] + "..."))
    if len(damaged) > _MAX_DAMAGED:
        number, problem = damaged[0]
        raise ResultsError(
            f"{shown} has more than {_MAX_DAMAGED} damaged lines, the first at line {number}: "
            f"{problem}; give an undamaged copy"
        )
