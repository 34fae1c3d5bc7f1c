"""The promises of results.csv: what is written is what is read, and what else is said so."""

from __future__ import annotations

import csv
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.errors import ResultsError
from mnist_sweep.results.file import (
    COLUMNS,
    CURVE_COLUMNS,
    ResultsWriter,
    curves_path,
    read_results,
)
from mnist_sweep.trial import CurvePoint, DatasetConfig, Status, Trial, TrialResult
from tests.results_helpers import files, memory_folder, result, write

#: The columns of the first release; later ones come behind them.
RELEASED = (
    "trial_id,sweep,model,dataset,batch_size,lr,lr_decay,patience,opt,width,depth,activation_fn,"
    "epochs,lr_schedule,seed,status,error,train_loss,train_accuracy,val_accuracy,test_accuracy,"
    "best_test_accuracy,best_step,steps,parameters,train_seconds,compile_seconds,device,"
    "tinygrad_version,mnist_sweep_version,finished_at,"
    "label_smoothing,weight_decay,dropout,shift,rotation,scale"
)
HEADER = ",".join(COLUMNS) + "\n"
CURVE_HEADER = "trial_id,step,epoch,lr,train_loss,train_accuracy,val_accuracy,test_accuracy,"
CURVE_HEADER += "val_loss,test_loss\n"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.csv"


def refusal(path: Path, *, overwrite: bool = False) -> str:
    """Why the file cannot be continued: one line."""
    with pytest.raises(ResultsError) as caught:
        ResultsWriter(path, overwrite=overwrite)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def reading_refusal(path: Path) -> str:
    with pytest.raises(ResultsError) as caught:
        read_results(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cells(path: Path, row: int = 0) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))[row]


# What is written


def test_columns_are_those_of_the_documentation_in_their_order(path: Path) -> None:
    write(path)
    assert files(path) == (HEADER.encode(), CURVE_HEADER.encode())
    assert HEADER.startswith(RELEASED)
    assert ",".join(CURVE_COLUMNS) + "\n" == CURVE_HEADER


def test_a_row_reads_back_to_the_same_result_with_its_curve(path: Path) -> None:
    full = result(
        seed=2**32 - 1,
        trial=Trial(
            HPConfig(lr=0.1 + 0.2, lr_decay=1 / 3, opt="sgd", lr_schedule="cosine"),
            DatasetConfig('./data/Größe, "neu"', validation_size=5000, test_size=7),
        ),
        train_loss=1 / 7,
        train_accuracy=0.9871,
        val_accuracy=2 / 3,
        best_test_accuracy=5e-324,
        best_step=468,
        steps=469,
        parameters=669_706,
        train_seconds=1e22,
        compile_seconds=0.0,
        val_loss=0.1 + 0.2,
        test_loss=5e-324,
        curve=(CurvePoint(1, 0.5, 1e-3, 2.5, 0.1, 0.1, 0.1, 2.5, 1 / 3),),
        tinygrad_version="0.14.0",
        mnist_sweep_version="0.1.0",
    )
    cnn = result(trial=Trial(HPConfig(model="cnn")), status="diverged", points=0)
    failed = result(seed=3, status="failed", points=0, test_accuracy=None)
    layers = result(trial=Trial(HPConfig(width="1024-64-32")))
    assert read_results(write(path, full, cnn, failed, layers)).results[2:] == (failed, layers)
    assert read_results(path).results[:2] == (full, cnn)
    assert (cells(path, 3)["width"], cells(path, 3)["depth"]) == ("1024-64-32", "3")


def test_hyperparameters_that_a_model_lacks_are_empty_cells(path: Path) -> None:
    row = cells(write(path, result(trial=Trial(HPConfig(model="cnn")))))
    assert (row["width"], row["depth"], row["batch_size"]) == ("", "", "64")


def test_values_that_were_not_reached_or_are_not_finite_are_empty_cells(path: Path) -> None:
    point = replace(
        result().curve[0], train_loss=math.inf, test_accuracy=math.nan, test_loss=math.nan
    )
    diverged = result(train_loss=math.nan, test_accuracy=math.inf, curve=(point,))
    text = b"".join(files(write(path, diverged)))
    row = cells(path)
    assert (row["train_loss"], row["test_accuracy"], row["steps"]) == ("", "", "")
    assert not {b"nan", b"inf", b"None"} & set(text.replace(b"\n", b",").split(b","))
    (read,) = read_results(path).results
    assert read.train_loss is None
    assert math.isnan(read.curve[0].train_loss)
    assert (read.curve[0].val_accuracy, read.curve[0].test_loss) == (None, None)


def test_numbers_of_numpy_are_written_as_plain_numbers(path: Path) -> None:
    write(path, result(steps=np.int64(469), test_accuracy=np.float64(0.5), points=0))
    assert (cells(path)["steps"], cells(path)["test_accuracy"]) == ("469", "0.5")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", " =", "\n@"])
@pytest.mark.parametrize("column", ["sweep", "error", "device", "tinygrad_version"])
def test_no_text_cell_begins_a_formula(path: Path, column: str, start: str) -> None:
    text = start + 'cmd|" /C calc"!A0'
    changes: dict[str, Any] = {column: text}
    write(path, replace(result(), **changes))
    assert cells(path)[column] == "'" + text.strip()
    assert getattr(read_results(path).results[0], column) == text.strip()


def test_text_that_begins_with_an_apostrophe_reads_back(path: Path) -> None:
    write(path, result(error="'=x' is no name"))
    assert read_results(path).results[0].error == "'=x' is no name"


@pytest.mark.parametrize("name", ["=cmd", "-data", "@x", "+1", "a\nb", "\tx", "x" * 5000])
def test_a_data_set_that_a_cell_cannot_hold_as_it_is_is_refused(path: Path, name: str) -> None:
    with ResultsWriter(path) as writer, pytest.raises(ValueError, match="dataset"):
        writer.append(result(trial=Trial(HPConfig(), DatasetConfig(name))))
    assert path.read_text() == HEADER


def test_an_error_is_one_line_of_at_most_500_characters(path: Path) -> None:
    message = "Error: a\nb\x00c\x1b[31m\u2028d\udc80" + "ä" * 2000
    write(path, result(error=message))
    assert path.read_bytes().count(b"\n") == 2
    assert cells(path)["error"] == ("Error: a b c [31m d " + "ä" * 2000)[:500]


def test_a_trial_gets_one_row_only(path: Path) -> None:
    write(path, result(1))
    with ResultsWriter(path) as writer:
        for repeated in (1, 2):
            if repeated == 2:
                writer.append(result(2))
            with pytest.raises(ValueError, match="has a row already"):
                writer.append(result(repeated))
    assert len(read_results(path).results) == 2


# Where it is written


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = write(tmp_path / "a" / "b" / "results.csv", result())
    assert sorted(p.name for p in path.parent.iterdir()) == ["results.csv", "results.curves.csv"]


def test_new_files_have_the_permissions_that_the_user_asked_for(path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_curves_go_beside_the_file_that_a_link_names(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "links" / "latest.csv"
    link.parent.mkdir()
    link.symlink_to(path)
    write(link, result())
    assert link.is_symlink()
    assert read_results(link).results == read_results(path).results == (result(),)
    assert curves_path(path).exists()


def test_a_folder_or_a_device_is_refused(tmp_path: Path) -> None:
    for refused in (refusal, reading_refusal):
        assert f"{tmp_path} is a folder; give" in refused(tmp_path)
        assert "/dev/null is no regular file; give" in refused(Path("/dev/null"))
        assert "/ is a folder; give" in refused(Path("/"))


def test_a_fifo_is_refused_without_waiting_for_its_other_end(path: Path) -> None:
    os.mkfifo(path)
    assert "no regular file" in refusal(path)
    assert "no regular file" in reading_refusal(path)
    path.unlink()
    write(path, result())
    curves_path(path).unlink()
    os.mkfifo(curves_path(path))
    assert "no regular file" in read_results(path).notes[0]
    with ResultsWriter(path) as writer:
        assert "no regular file" in writer.notes[0]
    assert read_results(path).notes == ()


def test_a_path_under_a_file_is_refused(path: Path) -> None:
    write(path)
    assert "cannot be written: not a directory; give another" in refusal(path / "x" / "y.csv")
    assert "cannot be read: not a directory" in reading_refusal(path / "y.csv")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "loop"])
def test_a_path_that_cannot_exist_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refusal(tmp_path / name)
    assert reading_refusal(tmp_path / name)


def test_reading_a_missing_file_says_so(path: Path) -> None:
    assert f"{path} does not exist; give" in reading_refusal(path)
    assert list(path.parent.iterdir()) == []


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    curves_path(path).touch()
    assert read_results(path).results == ()
    assert "is empty" in read_results(path).notes[0]
    write(path, result())
    assert read_results(path).results == (result(),)
    assert read_results(path).notes == ()


# What is there already


def test_a_file_is_continued_with_what_it_holds(path: Path) -> None:
    write(path, result(1), result(2))
    before = files(path)
    with ResultsWriter(path) as writer:
        assert writer.notes == ()
        assert {key: row.test_accuracy for key, row in writer.finished.items()} == {
            result(seed).trial.trial_id: result(seed).test_accuracy for seed in (1, 2)
        }
        writer.append(result(3))
    assert all(now.startswith(old) for now, old in zip(files(path), before, strict=True))
    assert read_results(path).results == (result(1), result(2), result(3))


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("trial_id,sweep\n", "lacks the column model, dataset, batch_size"),
        (
            HEADER.replace("lr_decay", "decay"),
            "lacks the column lr_decay and has decay, which is not ours; give the columns their",
        ),
        (HEADER.replace("seed,", "seed,seed,"), "has two columns of one name (seed)"),
        (HEADER.replace(",", " "), "is no results file: no line of it names the columns trial_id"),
        (f"{result().trial.trial_id},mlp_phase2,mlp\n", "has lost the line with the names of its"),
        ("PK\x03\x04\x14", "is a spreadsheet or an archive: save it as CSV"),
        (CURVE_HEADER, "holds curves, not results"),
        ("no results at all", "is no results file"),
        ("\n", "is no results file"),
        ("\x00\x7fELF\x80\n", "is no results file"),
    ],
)
def test_other_columns_are_refused_by_name_and_left_alone(
    path: Path, header: str, problem: str
) -> None:
    path.write_text(header, encoding="utf-8")
    assert problem in refusal(path)
    assert refusal(path).endswith(
        "; give another results file with -o, or start again with --overwrite"
    )
    assert problem in reading_refusal(path)
    assert path.read_text() == header
    assert list(path.parent.iterdir()) == [path]


def test_a_curves_file_that_is_something_else_is_kept_and_blocks_nothing(path: Path) -> None:
    write(path, result())
    curves_path(path).write_text("step,loss\n1,2\n")
    read = read_results(path)
    assert read.results == (result(points=0),)
    assert "is no results file" in read.notes[0]
    with ResultsWriter(path) as writer:
        assert "they are kept as results.2" in writer.notes[0]
        writer.append(result(2))
    (kept,) = path.parent.glob("results.2*.curves.csv")
    assert kept.read_text() == "step,loss\n1,2\n"
    assert read_results(path).results == (result(points=0), result(2))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (",0.0003,", ",0.003,", "trial_id: is not"),
        (",512,", ",wide,", "width: expected a whole number, got 'wide'"),
        (",512,", ",,", "width: expected a whole number"),
        (",mnist,", ",mnist;size=1,", "dataset: cannot read 'size=1'"),
        (",mnist,", ",=mnist,", "dataset: a spreadsheet"),
        (",ok,", ",fine,", "status: is not one of ok, diverged, failed"),
        (",0.101,", ",much,", "test_accuracy: 'much' is not a number"),
        (",0.101,", ",1.01,", "test_accuracy: 1.01 is no fraction"),
        (",0.101,", ",10.1.1,", "test_accuracy: '10.1.1' is not a number"),
        (",CPU,", ",", f"has {len(COLUMNS) - 1} cells instead of {len(COLUMNS)}"),
        (",CPU,", ',"C"PU,', "is not one line of CSV"),
        (",CPU,", ",C\rPU,", "is not one line of CSV"),
        (",CPU,", ',"C\nPU",', "is not one line of CSV"),
        (",CPU,", "," + "C" * 70_000 + ",", "has more than 65536 bytes"),
    ],
)
def test_a_damaged_row_stops_a_run_and_is_left_out_of_reading(
    path: Path, old: str, new: str, problem: str
) -> None:
    write(path, result(1), result(2))
    text = path.read_text()
    damaged = text.replace(old, new, 1).encode()
    path.write_bytes(damaged)
    assert f"{path}:2: {problem}" in refusal(path)
    assert path.read_bytes() == damaged
    read = read_results(path)
    assert read.results == (result(2),)
    (note,) = read.notes
    assert f", the first at line 2: {problem}" in note


def test_a_damaged_row_is_mended_by_removing_its_line(path: Path) -> None:
    write(path, result(1), result(2))
    header, first, second = path.read_text().splitlines(keepends=True)
    path.write_text(header + first.replace("ok", "OK") + second)
    assert refusal(path)
    path.write_text(header + second)
    with ResultsWriter(path) as writer:
        writer.append(result(1))
    assert read_results(path).results == (result(2), result(1))


def test_rows_that_do_not_count_are_noted_with_the_reason(path: Path) -> None:
    write(path, result(1), result(2, "failed", 0), result(3))
    one, two, three = path.read_text().splitlines()[1:]
    other = write(path.with_name("other.csv"), result(2, points=0)).read_text().splitlines()[1]
    more = [one.replace("0.101", "0.9"), three, other, two, one.replace("0.101", "0.8")]
    path.write_text(path.read_text() + "".join(line + "\n" for line in more))
    ids = [result(seed).trial.trial_id for seed in range(4)]
    notes = (
        f"{path}: left out 2 rows with another result than that of an earlier row, which "
        f"counts, the first at line 5 of trial {ids[1]} (see line 2)",
        f"{path}: left out 1 row of trials that another row has with the same result, the "
        f"first at line 6 of trial {ids[3]} (see line 4)",
        f"{path}: left out 2 rows of failed trials that another row has finished, the first at "
        f"line 3 of trial {ids[2]} (see line 7)",
    )
    assert read_results(path).notes == notes
    assert read_results(path).results == (result(1), result(2, points=0), result(3))
    with ResultsWriter(path) as writer:
        assert writer.notes == notes
        assert writer.finished[ids[1]].test_accuracy == 0.101


@pytest.mark.parametrize("first", ["ok", "failed"])
def test_a_finished_row_beats_a_failed_one_whatever_their_order(path: Path, first: Status) -> None:
    write(path, result(1, "failed", 0) if first == "failed" else result(1))
    then = result(1) if first == "failed" else result(1, "failed", 0)
    other = write(path.with_name("other.csv"), then)
    path.write_bytes(path.read_bytes() + other.read_bytes().partition(b"\n")[2])
    assert [row.status for row in read_results(path).results] == ["ok"]
    with ResultsWriter(path) as writer:
        assert writer.finished[result(1).trial.trial_id].status == "ok"


def test_two_files_that_were_joined_read_as_one(tmp_path: Path, path: Path) -> None:
    one = write(tmp_path / "one.csv", result(1), result(2))
    two = write(tmp_path / "two.csv", result(2, points=5), result(3))
    path.write_bytes(one.read_bytes() + two.read_bytes())
    curves_path(path).write_bytes(curves_path(one).read_bytes() + curves_path(two).read_bytes())
    for _ in range(2):
        read = read_results(path)
        assert read.results == (result(1), result(2), result(3))
        write(path)  # a run that finds nothing to do changes nothing of that


def test_a_file_that_a_spreadsheet_saved_is_continued(path: Path) -> None:
    write(path, result(1), result(2))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    write(path, result(3))
    assert read_results(path).results == (result(1), result(2), result(3))
    assert read_results(path).notes == ()


def test_blank_lines_mean_nothing(path: Path) -> None:
    write(path, result(1), result(2))
    for file in (path, curves_path(path)):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\n\n \r\n"))
    write(path, result(3))
    assert read_results(path).results == (result(1), result(2), result(3))


def test_a_results_file_without_curves_is_read_and_continued(path: Path) -> None:
    write(path, result(1))
    curves_path(path).unlink()
    assert read_results(path).results == (result(1, points=0),)
    write(path, result(2))
    assert read_results(path).results == (result(1, points=0), result(2))


def test_a_damaged_line_of_a_curve_is_left_out_with_a_note(path: Path) -> None:
    write(path, result(points=3))
    curves = curves_path(path)
    curves.write_bytes(curves.read_bytes().replace(b",2,", b",two,", 1))
    read = read_results(path)
    assert [point.step for point in read.results[0].curve] == [1, 3]
    assert f"{curves}: left out 1 damaged line, the first at line 3: " in read.notes[0]


def test_lines_of_a_curve_without_a_row_are_set_aside(path: Path) -> None:
    write(path, result(1), result(2, points=7), result(3))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))
    assert read_results(path).results == (result(1), result(3))
    with ResultsWriter(path) as writer:
        assert writer.notes == (
            f"{curves_path(path)}: moved 7 lines of trials that have no row to "
            "results.curves.csv.torn",
        )
        writer.append(result(2, points=5))
    assert read_results(path).results == (result(1), result(3), result(2, points=5))
    assert len(curves_path(path).read_text().splitlines()) == 1 + 2 + 2 + 5
    assert len(path.with_name("results.curves.csv.torn").read_text().splitlines()) == 7


# --overwrite and --retry-failed


def test_overwrite_keeps_the_old_file_and_its_curves_under_a_dated_name(path: Path) -> None:
    old = files(write(path, result(1)))
    for _ in range(3):  # within a second or not: no name is used twice
        with ResultsWriter(path, overwrite=True) as writer:
            assert writer.finished == {}
            (note,) = writer.notes
            writer.append(result(2))
    kept = sorted(p for p in path.parent.glob("results.2*.csv") if "curves" not in p.name)
    assert len(kept) == 3
    assert all(curves_path(p).exists() for p in kept)
    assert old in [files(p) for p in kept]
    assert f"the old {path} is kept as results.2" in note
    assert read_results(path).results == (result(2),)
    assert read_results(kept[0]).results in [(result(1),), (result(2),)]


def test_overwrite_takes_any_file_out_of_the_way_and_needs_none(path: Path) -> None:
    with ResultsWriter(path, overwrite=True) as writer:
        assert writer.notes == ()
    path.write_bytes(b"\x00something else")
    ResultsWriter(path, overwrite=True).close()
    assert b"\x00something else" in [p.read_bytes() for p in path.parent.glob("results.2*.csv")]


def test_retry_failed_takes_out_the_failed_rows_and_no_others(path: Path) -> None:
    failed = [result(seed, status="failed") for seed in (1, 3)]
    write(path, result(0), failed[0], result(2, status="diverged"), failed[1])
    path.chmod(0o600)
    with ResultsWriter(path) as writer:
        assert len(writer.finished) == 4
    with ResultsWriter(path, retry_failed=True) as writer:
        assert len(writer.finished) == 2
        assert f"{path}: moved 2 failed rows to results.csv.torn" in writer.notes
        writer.append(result(3))
    rows: tuple[TrialResult, ...] = (result(0), result(2, status="diverged"), result(3))
    assert read_results(path).results == rows
    assert len(curves_path(path).read_text().splitlines()) == 1 + 3 * 2
    assert path.with_name("results.csv.torn").read_text().count(",failed,") == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_retry_failed_prefers_a_later_row_of_the_same_trial(path: Path) -> None:
    write(path, result(1, status="failed", points=0))
    with path.open("ab") as file:
        file.write(files(write(path.with_name("b.csv"), result(1, points=0)))[0].splitlines()[1])
        file.write(b"\n")
    with ResultsWriter(path, retry_failed=True) as writer:
        assert [row.status for row in writer.finished.values()] == ["ok"]
