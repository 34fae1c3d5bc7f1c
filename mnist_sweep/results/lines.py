"""The whole lines of a results file and of its curves, parsed; what is not whole becomes a note.

Files are opened by their real path; messages name them as the user did (``shown``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mnist_sweep.errors import ResultsError
from mnist_sweep.labels import count
from mnist_sweep.results import journal
from mnist_sweep.results.rows import (
    MAX_LINE,
    OUR_CURVES,
    Layout,
    header,
    parse_point,
    parse_row,
    read_layout,
)
from mnist_sweep.trial import CurvePoint, TrialResult

#: Characters of a damaged cell that a message repeats at most.
_MAX_PROBLEM = 200
#: Damaged lines after which a file is given up, so that no garbage takes minutes to read.
_MAX_DAMAGED = 1_000
#: Columns that a message names at most.
_MAX_NAMED = 8


def curves_path(path: Path) -> Path:
    """Where the curves of the results file ``path`` are: results.csv -> results.curves.csv."""
    return path.with_name(f"{path.stem}.curves{path.suffix}")


def spec_path(path: Path) -> Path:
    """Where the spec of the results file ``path`` is: results.csv -> results.spec.yaml."""
    return path.with_name(f"{path.stem}.spec.yaml")


class Lines(NamedTuple):
    """The whole lines of a file, its header included, none if it is empty; notes on the rest."""

    layout: Layout
    lines: list[bytes]
    notes: list[str]


def whole_lines(path: Path, ours: Layout, shown: Path, advice: str) -> Lines:
    """The whole lines of the file, whose kind is that of ``ours``, the layout of a new one.

    A file that is empty or cut off within its header has no lines. Raises ResultsError, which ends
    in ``advice``, if it cannot be read or is something else.
    """
    try:
        with journal.open_regular(path) as file:
            content = file.read(MAX_LINE)
            if _is_cut_header(content, ours):
                return Lines(ours, [], [f"{shown} is empty"])
            # A file that is something else is refused before all of it is read.
            layout = read_layout(content.partition(b"\n")[0], ours.kind)
            content += file.read()
    except FileNotFoundError as error:
        raise ResultsError(f"{shown} does not exist; {advice}") from error
    except OSError as error:
        raise ResultsError(f"{shown} cannot be read: {reason(error)}; {advice}") from error
    except ValueError as error:
        curves = ours is not OUR_CURVES and _is_of_curves(content)
        problem = "holds curves, not results" if curves else error
        raise ResultsError(f"{shown} {problem}; {advice}") from error
    end = journal.torn_at(content)
    notes = []
    if end < len(content):
        notes.append(
            f"{shown}: left out the last line, which is not whole; a run is writing it, or was cut "
            "off then and sets it aside when it is continued"
        )
    lines = content[:end].split(b"\n")[:-1]
    return Lines(layout if lines else ours, lines, notes)


def unknown_columns(layout: Layout, shown: Path) -> list[str]:
    """The note on columns of a file that are not ours, if there are any."""
    names = ", ".join(layout.unknown[:_MAX_NAMED])
    more = len(layout.unknown) - _MAX_NAMED
    names += f" and {more} more" if more > 0 else ""
    return [f"{shown}: columns that mnist-sweep does not know: {names}"] if names else []


def _is_of_curves(content: bytes) -> bool:
    try:
        return bool(read_layout(content.partition(b"\n")[0], OUR_CURVES.kind))
    except ValueError:
        return False


def _is_cut_header(content: bytes, ours: Layout) -> bool:
    whole = header(ours.names)
    return len(content) < len(whole) and whole.startswith(content)


@dataclass(frozen=True)
class Rows:
    """The rows of a results file; a line's number counts from 1, which is the header.

    ``by_id`` has one row of each trial, in the file's order: the first that did not fail, else the
    first.
    """

    by_id: dict[str, TrialResult]
    repeated: list[tuple[int, str]]  # line number, trial_id
    failed: list[int]  # line numbers
    damaged: list[tuple[int, str]]  # line number, problem


def parse_rows(file: Lines, shown: Path) -> Rows:
    """Parse the lines of a results file, of which the first is the header.

    Raises ResultsError if there are more than a thousand damaged ones.
    """
    rows = Rows({}, [], [], [])
    for number, line in enumerate(file.lines, start=1):
        if _says_nothing(line, file.lines):
            continue
        try:
            result = parse_row(line, file.layout)
        except ValueError as error:
            _note_damage(rows.damaged, number, error, shown)
            continue
        trial_id = result.trial.trial_id
        if result.status == "failed":
            rows.failed.append(number)
        earlier = rows.by_id.setdefault(trial_id, result)
        if earlier is not result:
            rows.repeated.append((number, trial_id))
            if earlier.status == "failed":
                rows.by_id[trial_id] = result
    return rows


def read_curves(path: Path, shown: Path) -> tuple[dict[str, tuple[CurvePoint, ...]], list[str]]:
    """The curve of each trial, and notes. A missing or unreadable file is a note, no error.

    Where a file that was joined by hand holds several curves of a trial, the first counts.
    """
    if not os.path.exists(path):
        return {}, []
    try:
        file = whole_lines(path, OUR_CURVES, shown, "results are shown without curves")
        curves, damaged = _parse_curves(file, shown)
    except ResultsError as error:
        return {}, [str(error)]
    return curves, file.notes + left_out(damaged, shown)


def _parse_curves(
    file: Lines, shown: Path
) -> tuple[dict[str, tuple[CurvePoint, ...]], list[tuple[int, str]]]:
    curves: dict[str, list[CurvePoint]] = {}
    ended: set[str] = set()
    damaged: list[tuple[int, str]] = []
    for number, line in enumerate(file.lines, start=1):
        if _says_nothing(line, file.lines):
            continue
        try:
            trial_id, point = parse_point(line, file.layout)
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
    """The note on rows of trials that have another row, if there are any."""
    if not rows.repeated:
        return []
    number, trial_id = rows.repeated[0]
    repeated = count(len(rows.repeated), "row")
    return [
        f"{shown}: {repeated} of trials that have an earlier row, the first at line {number} "
        f"({trial_id}); the first row of a trial that did not fail counts"
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
