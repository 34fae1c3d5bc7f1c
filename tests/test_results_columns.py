"""Results files with other columns than this version's: older ones, other programs', reordered."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from mnist_sweep.errors import ResultsError
from mnist_sweep.results.file import (
    COLUMNS,
    ResultsWriter,
    curves_path,
    read_results,
)
from tests.results_helpers import result, write

RELEASED = Path(__file__).parent / "release_0_1_0"
NEW = result(7)


def _cells(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))


def _save(path: Path, rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    path.write_text(buffer.getvalue(), encoding="utf-8")


def _assert_kept(before: bytes, now: bytes) -> None:
    """Every line is there as it was, with later columns behind it at most."""
    lines = now.splitlines()
    for place, line in enumerate(before.splitlines()):
        assert lines[place].startswith(line)


@pytest.fixture(params=["mlp", "cnn"])
def released(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that version 0.1.0 wrote, with its curves."""
    path = tmp_path / "results.csv"
    shutil.copy(RELEASED / f"{request.param}.csv", path)
    shutil.copy(RELEASED / f"{request.param}.curves.csv", curves_path(path))
    return path


def test_a_file_of_the_first_release_is_read_whole_and_continued(released: Path) -> None:
    before = released.read_bytes()
    rows = read_results(released)
    assert rows.notes == ()
    assert len(rows.results) == before.count(b"\n") - 1
    assert all(row.curve for row in rows.results)
    write(released, NEW)
    _assert_kept(before, released.read_bytes())
    assert read_results(released).results == (*rows.results, NEW)


@pytest.mark.parametrize(
    "missing",
    [("scale",), ("label_smoothing", "weight_decay", "rotation", "scale"), ("sweep", "device")],
)
def test_columns_that_a_file_lacks_have_their_defaults_and_are_added_when_it_goes_on(
    released: Path, missing: tuple[str, ...]
) -> None:
    whole = read_results(released).results
    rows = _cells(released)
    kept = [i for i, name in enumerate(rows[0]) if name not in missing]
    _save(released, [[row[i] for i in kept] for row in rows])
    lacking = read_results(released)
    assert lacking.notes == ()
    assert [row.trial for row in lacking.results] == [row.trial for row in whole]
    write(released, NEW)
    header, *lines = _cells(released)
    assert sorted(header) == sorted(COLUMNS)
    assert header[: len(kept)] == [rows[0][i] for i in kept]
    assert all(len(line) == len(header) for line in lines)
    assert read_results(released).results == (*lacking.results, NEW)


def test_columns_that_nobody_knows_are_noted_and_survive(released: Path) -> None:
    rows = _cells(released)
    notes = ['say "hi", twice', "", "3", *["x"] * len(rows)]
    _save(
        released,
        [[*row[:5], note, *row[5:]] for row, note in zip(rows, ["note", *notes], strict=False)],
    )
    before = released.read_bytes()
    read = read_results(released)
    assert read.notes == (f"{released}: columns that mnist-sweep does not know: note",)
    with ResultsWriter(released) as writer:
        assert writer.notes == read.notes
        writer.append(NEW)
    _assert_kept(before, released.read_bytes())
    assert _cells(released)[-1][5] == ""
    assert read_results(released).results == (*read.results, NEW)


def test_the_order_of_columns_does_not_matter(released: Path) -> None:
    whole = read_results(released)
    for path in (released, curves_path(released)):
        _save(path, [row[::-1] for row in _cells(path)])
    before = _cells(curves_path(released))[0]
    assert read_results(released) == whole
    write(released, NEW)
    assert set(_cells(released)[0]) == set(COLUMNS)
    assert _cells(curves_path(released))[0] == [*before, "val_loss", "test_loss"]
    assert read_results(released).results == (*whole.results, NEW)


def test_line_ends_of_another_program_stay_when_columns_are_added(released: Path) -> None:
    rows = _cells(released)
    _save(released, [row[:-1] for row in rows])
    released.write_bytes(released.read_bytes().replace(b"\n", b"\r\n"))
    before = read_results(released).results
    write(released, NEW)
    assert released.read_bytes().count(b"\r\n") == len(rows)
    assert read_results(released).results == (*before, NEW)


@pytest.mark.parametrize("column", ["trial_id", "lr", "seed", "status"])
def test_a_file_without_a_column_that_a_trial_needs_is_refused_by_its_name(
    released: Path, column: str
) -> None:
    place = COLUMNS.index(column)
    _save(released, [row[:place] + row[place + 1 :] for row in _cells(released)])
    with pytest.raises(ResultsError, match=rf"lacks the column {column}; give the"):
        read_results(released)
