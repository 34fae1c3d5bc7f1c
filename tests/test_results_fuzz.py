"""Whatever bytes are in a results file: one clear error or a result, no traceback, no waiting."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_sweep.config import ACTIVATIONS, SCHEDULES, HPConfig
from mnist_sweep.errors import ResultsError
from mnist_sweep.optimizers import OPTIMIZERS
from mnist_sweep.results.file import ResultsWriter, curves_path, read_results
from mnist_sweep.results.rows import (
    COLUMNS,
    CURVE_COLUMNS,
    format_curve,
    format_row,
    header,
    parse_point,
    parse_row,
)
from mnist_sweep.trial import CurvePoint, DatasetConfig, Trial, TrialResult
from tests.results_helpers import files, memory_folder, result, write

T = TypeVar("T")

#: A trial that no other test has, appended to whatever the fuzzer left.
NEW = result(seed=4_000_000_000)

with memory_folder() as _folder:
    ROWS, CURVES = files(
        write(_folder / "r.csv", result(1), result(2, status="failed"), result(3, points=0))
    )

#: Bytes that mean something to CSV, to numbers, to UTF-8, to terminals or to nobody.
PIECES = [
    b"", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"\0", b"'", b"=", b";", b";train_size=9", b"-1",
    b"1e999", b"nan", b"9" * 5000, b"1_0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1b[2J",
    "\u2028\u202e\u0661".encode(), b"x" * 70_000, b"failed", b"cnn", b" ", b"\t", b"\x85",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, whole: bytes) -> bytes:
    """``whole`` after some cuts, insertions, repetitions and overwritten parts."""
    content = whole
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 5, 100, 1000])))
        piece = draw(st.sampled_from([*PIECES, content[start:end] * 2]) | st.binary(max_size=20))
        content = content[:start] + piece + content[end:]
    return content[: draw(st.sampled_from([len(content), draw(st.integers(0, len(content)))]))]


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder / "results.csv"


def outcome(work: Callable[[], T]) -> T | str:
    """What ``work`` returns, or the one line of its ResultsError."""
    try:
        return work()
    except ResultsError as error:
        return str(error)


def append(path: Path) -> None:
    with ResultsWriter(path) as writer:
        writer.append(NEW)


def survive(path: Path, rows: bytes, curves: bytes) -> bool:
    """Read and continue a file of these bytes; whether it could be continued."""
    for old in path.parent.iterdir():
        old.unlink()
    path.write_bytes(rows)
    curves_path(path).write_bytes(curves)
    read = outcome(lambda: read_results(path))
    refusal = outcome(lambda: append(path))
    lines = [read] if isinstance(read, str) else list(read.notes)
    for line in [*lines, refusal or ""]:
        assert "\n" not in line
        assert len(line) < 1000
    if refusal:
        assert files(path) == (rows, curves)
        assert len(list(path.parent.iterdir())) == 2
        return False
    assert not isinstance(read, str), "what can be continued can be read"
    again = read_results(path)
    assert again.results[-1] == NEW
    assert [row.trial for row in again.results[:-1]] == [row.trial for row in read.results]
    with ResultsWriter(path) as writer:
        assert list(writer.finished) == [row.trial.trial_id for row in again.results]
    return True


@settings(max_examples=250, deadline=None)
@given(rows=mutated(ROWS), curves=mutated(CURVES))
def test_mutated_files_are_continued_or_refused(path: Path, rows: bytes, curves: bytes) -> None:
    survive(path, rows, curves)


@settings(max_examples=100, deadline=None)
@given(rows=st.binary(max_size=300), curves=st.binary(max_size=300))
def test_any_bytes_are_continued_or_refused(path: Path, rows: bytes, curves: bytes) -> None:
    survive(path, rows, CURVES)
    survive(path, header(COLUMNS) + rows, header(CURVE_COLUMNS) + curves)


@settings(max_examples=200, deadline=None)
@given(line=mutated(ROWS.splitlines()[1]) | mutated(CURVES.splitlines()[1]) | st.binary())
def test_a_line_is_parsed_or_a_value_error(line: bytes) -> None:
    for parse in (parse_row, parse_point):
        with contextlib.suppress(ValueError):
            parse(line)


@pytest.mark.parametrize("name", ["utf-16", "utf-32", "utf-7", "cp037"])
def test_files_in_other_encodings_are_refused(path: Path, name: str) -> None:
    assert not survive(path, ROWS.decode().replace("_", "~").encode(name), CURVES)


HUGE = 3_000_000


@pytest.mark.parametrize(
    "unit", [b"9", b'"', b",", b" " * 19 + b"\n", b"\r", b"\0", b"\xff", b"x,", b'"\n']
)
@pytest.mark.parametrize("whole", [b"", header(COLUMNS), ROWS.replace(b",CPU,", b",CPU", 1)])
def test_megabytes_of_anything_are_dealt_with_at_once(
    path: Path, whole: bytes, unit: bytes
) -> None:
    started = time.process_time()
    survive(path, whole + unit * (HUGE // len(unit)), CURVES)
    survive(path, ROWS, CURVES + unit * (HUGE // len(unit)))
    assert time.process_time() - started < 20


def test_a_file_without_end_is_refused_without_reading_it(path: Path) -> None:
    write(path)
    with path.open("r+b") as file:
        file.truncate(1 << 44)
    with pytest.raises(ResultsError, match="holds more than 1024 MiB"):
        read_results(path)
    with pytest.raises(ResultsError, match="holds more than 1024 MiB"):
        ResultsWriter(path)


def test_a_lower_limit_on_csv_fields_is_no_traceback(path: Path) -> None:
    before = csv.field_size_limit(10)
    try:
        assert not survive(path, ROWS, CURVES)
    finally:
        csv.field_size_limit(before)


finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.none() | st.integers(0, 2**63)
labels = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=";"), min_size=1)


@st.composite
def trial_results(draw: st.DrawFn) -> TrialResult:
    """Any result that ``run`` could come to, and many that it could not."""
    config = HPConfig(
        batch_size=draw(st.integers(1, 60_000)),
        lr=draw(st.floats(0, 1e3, exclude_min=True)),
        opt=draw(st.sampled_from(list(OPTIMIZERS))),
        activation_fn=draw(st.sampled_from(list(ACTIVATIONS))),
        lr_schedule=draw(st.sampled_from(list(SCHEDULES))),
        model=draw(st.sampled_from(["mlp", "cnn"])),
        seed=draw(st.integers(0, 2**32 - 1)),
        dropout=draw(st.floats(0, 0.99)),
        weight_decay=draw(st.floats(0, 100)),
    )
    dataset = DatasetConfig(
        draw(labels.filter(lambda label: label[0] not in "=+-@")),
        draw(st.integers(0, 60_000)),
        draw(st.none() | st.integers(1, 60_000)),
    )
    steps = sorted(draw(st.sets(st.integers(1, 10**9), max_size=4)))
    status: Any = draw(st.sampled_from(["ok", "diverged", "failed"]))
    return TrialResult(
        sweep=draw(st.text(max_size=20)),
        trial=Trial(config, dataset),
        status=status,
        val_images=dataset.validation_size if status != "failed" else None,
        test_images=dataset.test_size or (draw(counts) if status != "failed" else None),
        error=draw(st.text()),
        train_loss=draw(st.none() | finite),
        test_accuracy=draw(st.none() | st.floats(0, 1)),
        best_step=draw(counts),
        train_seconds=draw(st.none() | finite),
        device=draw(st.text(max_size=20)),
        curve=tuple(
            CurvePoint(
                step, draw(finite), draw(finite), draw(finite), 0.25, draw(st.none() | finite), 0.5
            )
            for step in steps
        ),
    )


@settings(max_examples=100, deadline=None)
@given(result=trial_results())
def test_any_result_is_one_line_that_reads_back_to_the_same_line(result: TrialResult) -> None:
    line = format_row(result)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    read, rounded = parse_row(line)
    assert not rounded
    assert format_row(read) == line
    assert read.trial == result.trial
    assert (read.status, read.train_loss, read.train_seconds, read.best_step) == (
        result.status, result.train_loss, result.train_seconds, result.best_step
    )  # fmt: skip
    cells = next(csv.reader([line.decode()]))
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and not _is_number(cell)]
    points = [parse_point(point) for point in format_curve(result).splitlines()]
    assert points == [(result.trial.trial_id, point) for point in result.curve]


def _is_number(cell: str) -> bool:
    return not cell or cell.lstrip("-")[0].isdigit()


def test_a_thousand_rows_with_ten_points_each_are_read_at_once(
    path: Path,
) -> None:
    for old in path.parent.iterdir():
        old.unlink()
    results = [result(seed, points=10) for seed in range(1000)]
    path.write_bytes(header(COLUMNS) + b"".join(map(format_row, results)))
    curves_path(path).write_bytes(header(CURVE_COLUMNS) + b"".join(map(format_curve, results)))
    started = time.process_time()
    read = read_results(path)
    assert time.process_time() - started < 3
    assert list(read.results) == results
