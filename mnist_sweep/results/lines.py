"""The whole lines of a results file and of its curves, parsed; what is not whole becomes a note.

Files are opened by their real path; messages name them as the user did (``shown``).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

from mnist_sweep.config import FIELD_NAMES
from mnist_sweep.errors import ResultsError
from mnist_sweep.labels import count
from mnist_sweep.results import journal
from mnist_sweep.results.dialect import translated
from mnist_sweep.results.merge import Place, merge, passed_notes
from mnist_sweep.results.rows import (
    COUNTS,
    OUR_CURVES,
    OUR_RESULTS,
    Layout,
    header,
    known_ids,
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
#: What every finished trial has.
_ALWAYS_MEASURED = ("train_loss", "train_accuracy", "test_accuracy")

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


def weights_path(path: Path) -> Path:
    """The folder of the weights of the results file ``path``: results.csv -> results.weights."""
    return path.with_name(f"{path.stem}.weights")


class Lines(NamedTuple):
    """The whole lines of a file, its header included, none if it is empty; notes on the rest.

    Where another program has saved the file, they are as we would have written them: ``foreign``.
    ``unended``: the last one is whole, but lacks its line end.
    """

    layout: Layout
    lines: list[bytes]
    notes: list[str]
    foreign: str = ""
    unended: bool = False


def whole_lines(path: Path, ours: Layout, shown: Path, advice: str) -> Lines:
    """The whole lines of the file, whose kind is that of ``ours``, the layout of a new one.

    A file that is empty or cut off within its header has no lines. Raises ResultsError, which ends
    in ``advice``, if it cannot be read or is something else.
    """
    try:
        with journal.open_regular(path) as file:
            content = file.read()
        if _is_cut_header(content, ours):
            return Lines(ours, [], [f"{shown} is empty"])
        content, names, how = translated(content, ours.kind)
        layout = read_layout(names, ours.kind)
    except FileNotFoundError as error:
        raise ResultsError(f"{shown} does not exist; {advice}") from error
    except OSError as error:
        raise ResultsError(f"{shown} cannot be read: {reason(error)}; {advice}") from error
    except ValueError as error:
        curves = ours is not OUR_CURVES and _is_of_curves(content)
        problem = "holds curves, not results" if curves else error
        raise ResultsError(f"{shown} {problem}; {advice}") from error
    end = journal.torn_at(content)
    lines, rest = content[:end].split(b"\n")[:-1], content[end:]
    unended = ours is OUR_RESULTS and bool(lines) and _is_whole_row(rest, layout, lines)
    lines += [rest] if unended else []
    notes = []
    if rest and not unended:
        notes.append(
            f"{shown}: left out the last line, which is not whole; a run is writing it, or was cut "
            "off then and sets it aside when it is continued"
        )
    return Lines(layout if lines else ours, lines, notes, ", ".join(how), unended)


def _is_whole_row(line: bytes, layout: Layout, lines: Sequence[bytes]) -> bool:
    """Whether ``line`` is cut off nowhere but at its end: its last cell must prove to be whole."""
    try:
        result, _ = parse_row(line, layout)
    except ValueError:
        return False
    dataset, last = result.trial.dataset, layout.names[-1]
    if last not in COUNTS:
        return last in (*FIELD_NAMES, "dataset")  # which the trial_id proves
    cell = line.rpartition(b",")[2]
    if result.status == "failed":
        return not cell
    told = dict(zip(COUNTS, (dataset.validation_size, dataset.test_images), strict=True))[last]
    if told is not None:
        return cell == str(told).encode()
    # A data set has one test file.
    same = (other for other in lines if dataset.label.encode() in other)
    return bool(cell) and any(other.rpartition(b",")[2] == cell for other in same)


def saved_by_another(file: Lines, shown: Path) -> list[str]:
    """The note on a file that another program has saved, if it has."""
    return [f"{shown}: another program has saved it ({file.foreign})"] if file.foreign else []


def unknown_columns(layout: Layout, shown: Path) -> list[str]:
    """The note on columns of a file that are not ours, if there are any."""
    names = listed(layout.unknown)
    return [f"{shown}: columns that mnist-sweep does not know: {names}"] if names else []


def _is_of_curves(content: bytes) -> bool:
    try:
        return bool(translated(content, OUR_CURVES.kind))
    except ValueError:
        return False


def _is_cut_header(content: bytes, ours: Layout) -> bool:
    whole = header(ours.names)
    return len(content) < len(whole) and whole.startswith(content)


@dataclass(frozen=True)
class Rows:
    """The rows of a results file; a line's number counts from 1, which is the header.

    ``by_id`` has the row that counts of each trial, in the file's order (see ``merge``); ``notes``
    are on those that do not, and on what another program took from those that do.
    """

    by_id: dict[str, TrialResult]
    notes: list[str]
    failed: set[int]  # line numbers
    damaged: list[Damage]


def parse_rows(file: Lines, shown: Path) -> Rows:
    """Parse the lines of a results file, of which the first is the header.

    Raises ResultsError if there are more than a thousand damaged ones.
    """
    damaged: list[Damage] = []
    parsed = list(_parsed(file, parse_row, damaged, shown))
    results, passed = merge((result, Place(shown, number)) for (result, _), number in parsed)
    failed = {number for (result, _), number in parsed if result.status == "failed"}
    notes = passed_notes(passed)
    if rounded := sum(lost for (_, lost), _ in parsed):
        notes.append(
            f"{shown}: another program has rounded settings of {count(rounded, 'row')}; those that "
            "make the trial_id are taken"
        )
    emptied = [(number, name) for (r, _), number in parsed if (name := _emptied(r))]
    if emptied:
        number, name = emptied[0]
        notes.append(
            f"{shown}: {count(len(emptied), 'row')} of ok trials without what all of them have, "
            f"the first at line {number}: {name}; it was removed"
        )
    return Rows({result.trial.trial_id: result for result in results}, notes, failed, damaged)


def _emptied(result: TrialResult) -> str:
    """What a row lacks though its trial was finished; empty if nothing."""
    names = _ALWAYS_MEASURED + ("val_accuracy",) * (result.trial.dataset.validation_size > 0)
    lacking = [name for name in names if getattr(result, name) is None]
    return ", ".join(lacking) if result.status == "ok" else ""


def read_curves(
    path: Path, shown: Path, ids: Collection[str]
) -> tuple[dict[str, tuple[CurvePoint, ...]], list[str]]:
    """The curves of the trials with ``ids``, and notes.

    A missing or unreadable file is a note, no error. Points may stand in any order. Where a file
    that was joined by hand holds several curves of a trial, the first counts.
    """
    if not os.path.exists(path):
        return {}, []
    points: dict[str, list[CurvePoint]] = defaultdict(list)
    damaged: list[Damage] = []
    try:
        file = whole_lines(path, OUR_CURVES, shown, "results are shown without curves")
        for (trial_id, point), _ in _parsed(file, parse_point, damaged, shown):
            points[trial_id].append(point)
    except ResultsError as error:
        return {}, [str(error)]
    notes = file.notes + left_out(damaged, shown)
    return {i: _curve(points[cell]) for cell, i in known_ids(points, ids).items()}, notes


def _curve(points: list[CurvePoint]) -> tuple[CurvePoint, ...]:
    """The first curve that ``points`` hold: a step that comes again begins another one."""
    if len({point.step for point in points}) < len(points):
        again = (n for n, (a, b) in enumerate(pairwise(points), 1) if b.step <= a.step)
        points = points[: next(again)]
    return tuple(sorted(points, key=attrgetter("step")))


def _parsed(
    file: Lines, parse: Callable[[bytes, Layout], Value], damaged: list[Damage], shown: Path
) -> Iterator[tuple[Value, int]]:
    """What each line says, and its number; those that cannot be read are added to ``damaged``."""
    for number, line in enumerate(file.lines, start=1):
        # Files that were joined have a header within.
        if line == file.lines[0] or line[:1] == b"#" or not line.strip(b' ,"\t\r'):
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


def reason(error: OSError) -> str:
    """What the system says, as part of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
