"""The whole lines of a results file and of its curves, parsed; what is not whole becomes a note.

Files are opened by their real path; messages name them as the user did (``shown``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from mnist_sweep.errors import ResultsError
from mnist_sweep.labels import count
from mnist_sweep.results import journal
from mnist_sweep.results.merge import Passed, merge
from mnist_sweep.results.rows import (
    MAX_LINE,
    OUR_CURVES,
    Layout,
    header,
    listed,
    parse_point,
    parse_row,
    read_layout,
)
from mnist_sweep.trial import CurvePoint, TrialResult

#: Characters of a damaged cell that a message repeats at most.
_MAX_PROBLEM = 200
#: Damaged lines after which a file is given up, so that no garbage takes minutes to read.
_MAX_DAMAGED = 1_000
#: Why rows do not count, as part of a sentence.
_WHY = {
    "same": "of trials that an earlier row has with the same result",
    "failed": "of failed trials that another row has finished",
    "differs": "with another result than that of an earlier row, which counts",
}

#: A line's number, and what is wrong with it.
Damage = tuple[int, str]
#: What a line says.
Value = TypeVar("Value")


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
    names = listed(layout.unknown)
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

    ``by_id`` has the row that counts of each trial, in the file's order, ``passed`` those that do
    not (see ``merge``).
    """

    by_id: dict[str, TrialResult]
    passed: list[Passed[int]]
    failed: set[int]  # line numbers
    damaged: list[Damage]


def parse_rows(file: Lines, shown: Path) -> Rows:
    """Parse the lines of a results file, of which the first is the header.

    Raises ResultsError if there are more than a thousand damaged ones.
    """
    damaged: list[Damage] = []
    parsed = list(_parsed(file, parse_row, damaged, shown))
    results, passed = merge(parsed)
    failed = {number for result, number in parsed if result.status == "failed"}
    return Rows({result.trial.trial_id: result for result in results}, passed, failed, damaged)


def read_curves(path: Path, shown: Path) -> tuple[dict[str, tuple[CurvePoint, ...]], list[str]]:
    """The curve of each trial, and notes. A missing or unreadable file is a note, no error.

    Where a file that was joined by hand holds several curves of a trial, the first counts.
    """
    if not os.path.exists(path):
        return {}, []
    curves: dict[str, list[CurvePoint]] = {}
    ended: set[str] = set()
    damaged: list[Damage] = []
    try:
        file = whole_lines(path, OUR_CURVES, shown, "results are shown without curves")
        for (trial_id, point), _ in _parsed(file, parse_point, damaged, shown):
            curve = curves.setdefault(trial_id, [])
            # A step that is not beyond the last one begins another curve of the same trial.
            if trial_id in ended or (curve and point.step <= curve[-1].step):
                ended.add(trial_id)
            else:
                curve.append(point)
    except ResultsError as error:
        return {}, [str(error)]
    notes = file.notes + left_out(damaged, shown)
    return {trial_id: tuple(curve) for trial_id, curve in curves.items()}, notes


def _parsed(
    file: Lines, parse: Callable[[bytes, Layout], Value], damaged: list[Damage], shown: Path
) -> Iterator[tuple[Value, int]]:
    """What each line says, and its number; those that cannot be read are added to ``damaged``."""
    for number, line in enumerate(file.lines, start=1):
        # Files that were joined have a header within.
        if not line.strip() or line == file.lines[0]:
            continue
        try:
            value = parse(line, file.layout)
        except ValueError as error:
            text = str(error)
            damaged.append(
                (number, text if len(text) <= _MAX_PROBLEM else text[:_MAX_PROBLEM] + "...")
            )
            if len(damaged) > _MAX_DAMAGED:
                first, problem = damaged[0]
                raise ResultsError(
                    f"{shown} has more than {_MAX_DAMAGED} damaged lines, the first at line "
                    f"{first}: {problem}; give an undamaged copy"
                ) from error
        else:
            yield value, number


def left_out(damaged: Sequence[Damage], shown: Path) -> list[str]:
    """The note on damaged lines, if there are any."""
    if not damaged:
        return []
    number, problem = damaged[0]
    lines = count(len(damaged), "damaged line")
    return [f"{shown}: left out {lines}, the first at line {number}: {problem}"]


def passed_over(rows: Rows, shown: Path) -> list[str]:
    """The notes on rows that do not count, one for each reason."""
    notes = []
    for why, text in _WHY.items():
        if group := [one for one in rows.passed if one.why == why]:
            first = min(group, key=lambda one: one.place)
            notes.append(
                f"{shown}: passed over {count(len(group), 'row')} {text}, the first at line "
                f"{first.place} of trial {first.row.trial.trial_id} (see line {first.counted})"
            )
    return notes


def reason(error: OSError) -> str:
    """What the system says, as part of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
