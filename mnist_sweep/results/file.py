"""results.csv and results.curves.csv: reading them, and writing them so that nothing is lost.

A trial is finished exactly if results.csv holds its row. Its curve is durable before its row is,
so after a kill between the two there are curve lines without a row; the next run sets them aside.

A damaged line is treated by what is at stake. A reader leaves the line out and says so, for the
other rows are worth seeing. A writer refuses the file and names the line: going on would train
that trial again beside a row that may only need a cell put back.
"""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

from mnist_sweep.errors import ResultsError
from mnist_sweep.files import make_folder, replace_file, sync_folder
from mnist_sweep.labels import count
from mnist_sweep.results import journal
from mnist_sweep.results.journal import AppendOnlyFile, FileLock, LockedError
from mnist_sweep.results.lines import (
    Lines,
    curves_path,
    left_out,
    parse_rows,
    read_curves,
    reason,
    saved_by_another,
    spec_path,
    unknown_columns,
    weights_path,
    whole_lines,
)
from mnist_sweep.results.rows import (
    COLUMNS,
    CURVE_COLUMNS,
    OUR_CURVES,
    OUR_RESULTS,
    Layout,
    format_curve,
    format_row,
    header,
    known_ids,
    trial_id_of,
)
from mnist_sweep.trial import TrialResult

__all__ = [
    "COLUMNS",
    "CURVE_COLUMNS",
    "ResultsFile",
    "ResultsWriter",
    "curves_path",
    "read_results",
]

#: From the path of a results file: what a run leaves beside it, and the file itself.
_KINDS = (curves_path, spec_path, weights_path, Path)
_OTHER_FILE = "give another results file with -o"


@dataclass(frozen=True)
class ResultsFile:
    """What a results file holds.

    ``results`` has the row that counts of each trial (see ``merge``), in the file's order, with its
    curve if there is one. ``notes`` are lines for the user: rows that do not count, a torn last
    line, what was left out.
    """

    path: Path
    results: tuple[TrialResult, ...]
    notes: tuple[str, ...]


def read_results(path: Path) -> ResultsFile:
    """Read ``path`` and its curves. Takes no lock: it works while a run is writing.

    Damaged lines are left out with a note. Raises ResultsError if ``path`` cannot be read, is
    something else, or has rows of which none can be read.
    """
    advice = "give a results file that mnist-sweep run wrote"
    real = _real_path(path, advice)
    file = whole_lines(real, OUR_RESULTS, path, advice)
    with _garbage_collector_paused():
        rows = parse_rows(file, path)
        # After the rows, so that the curve of every row is there already.
        curves, curve_notes = read_curves(curves_path(real), curves_path(path), rows.by_id)
    if rows.damaged and not rows.by_id:
        (note,) = left_out(rows.damaged, path)
        raise ResultsError(f"{note}; no row is left: {advice}")
    results = tuple(
        replace(result, curve=curves[trial_id]) if trial_id in curves else result
        for trial_id, result in rows.by_id.items()
    )
    notes = [*file.notes, *saved_by_another(file, path), *unknown_columns(file.layout, path)]
    notes += left_out(rows.damaged, path) + rows.notes + curve_notes
    return ResultsFile(path, results, tuple(notes))


@contextmanager
def _garbage_collector_paused() -> Iterator[None]:
    """For code that makes many objects that all stay: looking through them costs a quarter."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _real_path(path: Path, advice: str) -> Path:
    """The file behind ``path``, so that two names of one file share its lock and its curves."""
    try:
        real = Path(os.path.realpath(path))
    except ValueError as error:
        raise ResultsError(f"{str(path)!r} is no path of a file; {advice}") from error
    if os.path.islink(real):
        raise ResultsError(f"{path} is a link to itself; {advice}")
    if os.path.exists(real) and not os.path.isfile(real):
        what = "a folder" if os.path.isdir(real) else "no regular file"
        raise ResultsError(f"{path} is {what}; {advice}")
    return real


class ResultsWriter:
    """The one writer of a results file. A context manager, which closes it.

    ``finished`` is what the file held when it was opened: trial_id -> its row, without its
    curve. ``notes`` are lines for the user on what was recovered.
    """

    finished: Mapping[str, TrialResult]
    notes: tuple[str, ...]

    def __init__(self, path: Path, *, overwrite: bool = False, retry_failed: bool = False) -> None:
        """Open ``path`` to continue it, or create it with its folder.

        A torn last line and curve lines without a row are moved to ``<name>.torn``; a file that
        lacks columns gets them, with the defaults that it was made with, in one step. What another
        program has saved is kept under a dated name, and goes on in our form; so are curves that
        cannot be read, which then begin anew. With ``overwrite`` the old file and its curves get a
        dated name first. With ``retry_failed`` the rows of failed trials are moved to
        ``<name>.torn``; a crash before such a trial ends again leaves it simply unfinished.

        Raises ResultsError if another run is writing the file, if it is something else than a
        results file, has a damaged line, or cannot be written here.
        """
        self._shown = path
        self._path = _real_path(path, _OTHER_FILE)
        self._curves_path = curves_path(self._path)
        self._ids: set[str] = set()
        with ExitStack() as stack, self._reported(_OTHER_FILE):
            make_folder(self._path.parent)
            stack.callback(self._acquire().release)
            notes = self._set_old_aside() if overwrite else []
            notes += self._recover(retry_failed)
            self._rows = AppendOnlyFile(self._path)
            stack.callback(self._rows.close)
            self._curves = AppendOnlyFile(self._curves_path)
            stack.callback(self._curves.close)
            self._stack = stack.pop_all()
        self.notes = tuple(notes)

    def append(self, result: TrialResult) -> None:
        """Add a trial's row and its curve. Both are durable when this returns.

        If it fails, both files are valid and without the trial. Raises ResultsError if they cannot
        be written (a full disk); ValueError for a trial that has a row already.
        """
        trial_id = result.trial.trial_id
        if trial_id in self._ids:
            raise ValueError(f"trial {trial_id} has a row already")
        row, curve = format_row(result, self._layout), format_curve(result, self._curve_layout)
        with self._reported("run the same command again"):
            size = self._curves.size
            if curve:
                self._curves.append(curve)
            try:
                self._rows.append(row)
            except BaseException:
                if curve:
                    self._curves.cut(size)
                raise
        self._ids.add(trial_id)

    def leave_spec(self, text: str) -> None:
        """Make ``text`` what the spec beside the rows says. Raises ResultsError."""
        path, content = spec_path(self._path), text.encode()
        with self._reported(_OTHER_FILE):
            if path.exists():
                with journal.open_regular(path) as file:
                    if file.read() == content:
                        return
            replace_file(path, content)

    def leave_weights(self, trial_id: str, content: bytes) -> None:
        """Make ``content`` the trial's file in the folder of weights. Raises ResultsError."""
        path = weights_path(self._path) / f"{trial_id}.safetensors"
        with self._reported(_OTHER_FILE):
            make_folder(path.parent)
            replace_file(path, content)

    def close(self) -> None:
        """Close the files and let another run write them."""
        self._stack.close()

    def __enter__(self) -> ResultsWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _reported(self, advice: str) -> Iterator[None]:
        """Turns the system's errors into the one line for the user."""
        try:
            yield
        except OSError as error:
            if error.errno in journal.FULL_DISK:
                advice = "free some space and run the same command again"
            saved = len(self._ids)
            safe = f": {count(saved, 'trial')} {'is' if saved == 1 else 'are'} safe"
            raise ResultsError(
                f"{self._shown} cannot be written: {reason(error)}; {advice}{safe if saved else ''}"
            ) from error

    def _acquire(self) -> FileLock:
        try:
            return FileLock.acquire(self._path)
        except LockedError as error:
            holder = "another run" if error.pid is None else f"another run (process {error.pid})"
            raise ResultsError(
                f"{self._shown} is being written by {holder}; wait for it to end, or {_OTHER_FILE}"
            ) from error

    def _set_old_aside(self) -> list[str]:
        """Give the file, its curves and its spec a dated name; the file last.

        A crash between two then leaves rows without curves. The other way round it would leave
        curves without rows, and those are taken apart from them.
        """
        old = {kind: path for kind in _KINDS if (path := kind(self._path)).exists()}
        if not old:
            return []
        aside = self._dated()
        for kind, path in old.items():
            path.rename(kind(aside))
        sync_folder(self._path.parent)
        return [f"the old {self._shown} is kept as {aside.name}"]

    def _dated(self) -> Path:
        """A name with the local time that neither a results file nor what is beside one has yet."""
        stem = f"{self._path.stem}.{datetime.now():%Y-%m-%dT%H-%M-%S}"
        for number in itertools.count(1):
            suffix = f"-{number}" if number > 1 else ""
            path = self._path.with_name(f"{stem}{suffix}{self._path.suffix}")
            if not any(kind(path).exists() for kind in _KINDS):
                break
        return path

    def _recover(self, retry_failed: bool) -> list[str]:
        """Make both files whole, and find what is finished. What is refused is left as it is."""
        shown_curves = curves_path(self._shown)
        file = self._lines(self._path, OUR_RESULTS, self._shown)
        rows = parse_rows(file, self._shown)
        if rows.damaged:
            number, problem = rows.damaged[0]
            raise ResultsError(
                f"{self._shown}:{number}: {problem}; put the line right or remove it (its trial is "
                "then run again), or start again with --overwrite, which keeps this file"
            )
        notes = []
        try:
            curves = self._lines(self._curves_path, OUR_CURVES, shown_curves)
        except ResultsError as error:
            # They are worth less than the trials to come.
            aside = curves_path(self._dated())
            self._curves_path.rename(aside)
            notes.append(f"{error}: they are kept as {aside.name}, new ones begin")
            curves = Lines(OUR_CURVES, [], [])
        notes += [
            *self._mend(self._path, file, self._shown),
            *self._mend(self._curves_path, curves, shown_curves),
            *rows.notes,
            *unknown_columns(file.layout, self._shown),
        ]
        file, curves = _upgraded(self._path, file), _upgraded(self._curves_path, curves)
        finished = rows.by_id
        if retry_failed and rows.failed:
            failed = (file.lines[number - 1] for number in sorted(rows.failed))
            aside = journal.set_aside(self._path, _joined(failed))
            kept = (line for number, line in enumerate(file.lines, 1) if number not in rows.failed)
            replace_file(self._path, _joined(kept))
            # A failed row counts only where its trial has no other.
            finished = {i: row for i, row in finished.items() if row.status != "failed"}
            moved = count(len(rows.failed), "failed row")
            notes.append(f"{self._shown}: moved {moved} to {aside.name}")
        self._layout, self._curve_layout = file.layout, curves.layout
        self.finished = MappingProxyType(finished)
        self._ids = set(finished)
        return notes + self._set_curves_without_row_aside(curves, shown_curves)

    def _lines(self, path: Path, ours: Layout, shown: Path) -> Lines:
        """The whole lines of ``path``; none if it is missing, empty or cut off in its header."""
        if not path.exists():
            return Lines(ours, [], [])
        advice = f"{_OTHER_FILE}, or start again with --overwrite"
        return whole_lines(path, ours, shown, advice)

    def _set_curves_without_row_aside(self, file: Lines, shown: Path) -> list[str]:
        cells = [trial_id_of(line, file.layout) for line in file.lines]
        known = known_ids(set(cells), self._ids)
        kept: list[bytes] = []
        moved: list[bytes] = []
        for line, cell in zip(file.lines, cells, strict=True):
            stays = cell in known or line == file.lines[0] or not line.strip()
            (kept if stays else moved).append(line)
        if not moved:
            return []
        aside = journal.set_aside(self._curves_path, _joined(moved))
        replace_file(self._curves_path, _joined(kept))
        lines = count(len(moved), "line")
        return [f"{shown}: moved {lines} of trials that have no row to {aside.name}"]

    def _mend(self, path: Path, file: Lines, shown: Path) -> list[str]:
        """Let ``path`` hold ``file``'s whole lines, in our form; keep whatever else it held."""
        if file.foreign:
            dated = self._dated()
            aside = dated if path == self._path else curves_path(dated)
            replace_file(aside, path.read_bytes())
            replace_file(path, _joined(file.lines) or header(file.layout.names))
            (note,) = saved_by_another(file, shown)
            return [f"{note}; it is kept as {aside.name}, and goes on in our form"]
        notes = []
        if file.unended:
            with path.open("ab", buffering=0) as end:
                end.write(b"\n")
        elif path.exists() and (torn := journal.set_torn_end_aside(path)):
            notes.append(f"{shown}: its last line was not whole; moved it to {torn.name}")
        if not file.lines:
            replace_file(path, header(file.layout.names))
        return notes


def _upgraded(path: Path, file: Lines) -> Lines:
    """``file`` with the columns that it lacks, also on the disk; nothing else in it is changed."""
    if not file.layout.missing or not file.lines:
        return file
    layout, head, tail = file.layout.completed()
    lines = []
    for line in file.lines:
        behind = head if line == file.lines[0] else tail if line.strip() else b""
        text = line.removesuffix(b"\r")
        lines.append(text + behind + line[len(text) :])
    replace_file(path, _joined(lines))
    return Lines(layout, lines, file.notes)


def _joined(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
