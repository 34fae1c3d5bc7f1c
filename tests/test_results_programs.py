"""What other programs make of a results file: it is read as long as its values are there."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.errors import ResultsError
from mnist_sweep.results.file import ResultsWriter, curves_path, read_results
from mnist_sweep.results.rows import COLUMNS
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests.results_helpers import files, memory_folder, result, write

Table = list[list[str]]
FOLDER = DatasetConfig("fashion", 100, digest="0123456789ab")


def _row(trial: Trial, **changes: Any) -> TrialResult:
    measured: dict[str, Any] = {
        "steps": 1407,
        "parameters": 669_706,
        "best_step": 31,
        "train_seconds": 1234.5,
    }
    return result(trial=trial, **(measured | {"test_accuracy": 0.987654321} | changes))


#: Ids that programs take for numbers (014564190557, 340171467e65; 0607e3473842 is too large), a
#: drawn value of 17 digits, a CNN, a folder with a validation split, a failed trial.
RESULTS = (
    _row(Trial(HPConfig(seed=69))),
    _row(Trial(HPConfig(seed=24))),
    _row(Trial(HPConfig(lr=0.00031622776601683794, dropout=0.1 + 0.2))),
    _row(Trial(HPConfig(seed=143))),
    _row(Trial(HPConfig(model="cnn", lr=3e-3, seed=5))),
    _row(Trial(HPConfig(), FOLDER), val_accuracy=0.25, val_images=100, test_images=600),
    result(9, status="failed", points=0, train_loss=None, train_accuracy=None, test_accuracy=None),
)
with memory_folder() as _folder:
    ROWS, CURVES = files(write(_folder / "results.csv", *RESULTS))
HEADER, *LINES = ROWS.decode().splitlines()
NEW = result(77)


@pytest.fixture
def path() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder / "results.csv"


def table() -> Table:
    return list(csv.reader(io.StringIO(ROWS.decode())))


def saved(rows: Table, **how: object) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, **({"lineterminator": "\n"} | how)).writerows(rows)  # type: ignore[arg-type]
    return buffer.getvalue().encode()


def cells(change: Callable[[str], str], *columns: str) -> Table:
    """The table with some cells, of ``columns`` or of all, spelt otherwise."""
    head, *rows = table()
    return [
        head,
        *([change(c) if not columns or n in columns else c for n, c in zip(head, row, strict=True)]
          for row in rows),
    ]  # fmt: skip


def number(spell: Callable[[float], str]) -> Callable[[str], str]:
    """Spell what a program takes for a number."""

    def change(cell: str) -> str:
        if not re.fullmatch(r"-?\d+(\.\d*)?(e[-+]?\d+)?", cell):
            return cell
        return spell(float(cell))

    return change


def placed(column: str, by: str) -> bytes:
    """With a column of other programs beside ``column``."""
    at = COLUMNS.index(column)
    return saved([[*row[:at], by, *row[at:]] for row in table()])


WITH_INDEX = [["", *table()[0]], *([str(n), *row] for n, row in enumerate(table()[1:]))]
WHOLE = ("best_step", "steps", "parameters", "width", "depth", "seed", "epochs", "val_images")

#: kind -> case -> the file. All of these hold every value (but for digits after the 15th).
READ: dict[str, dict[str, bytes]] = {
    "numbers": {
        "whole as 31.0": saved(cells(number(lambda v: f"{v:.1f}"), *WHOLE)),
        "whole as 3.1E+01": saved(cells(number(lambda v: f"{v:.9E}"), *WHOLE)),
        "whole as 31.000": saved(cells(number(lambda v: f"{v:.3f}"), *WHOLE)),
        "thousands": saved(cells(number(lambda v: f"{v:,.0f}"), "steps", "parameters")),
        "blanks in thousands": saved(
            cells(number(lambda v: f"{v:,.0f}".replace(",", "\u202f")), "steps", "parameters")
        ),
        "exponents": saved(cells(number(lambda v: f"{v:.16E}"), "lr", "test_accuracy")),
        "per cent": saved(cells(number(lambda v: f"{v:.7%}"), "test_accuracy", "train_accuracy")),
        "plus signs": saved(cells(number(lambda v: f"+{v!r}"), "lr", "train_loss")),
        "spaces around": saved(cells(lambda c: f" {c} ")),
        "NA for nothing": saved(cells(lambda c: c or "NA")),
        "nan for nothing": saved(cells(lambda c: c or "nan")),
        "quotes around": saved(table(), quoting=csv.QUOTE_ALL),
    },
    "ids": {
        "as numbers": saved(cells(number(lambda v: f"{v:.16G}"), "trial_id")),
        "as floats": saved(cells(number(repr), "trial_id")),
        "as a spreadsheet shows them": saved(cells(number(lambda v: f"{v:.5E}"), "trial_id")),
        "with three digits": saved(cells(number(lambda v: f"{v:.2E}"), "trial_id")),
    },
    "rounding": {
        "15 digits": saved(cells(number(lambda v: f"{v:.15g}"), "lr", "dropout", "test_accuracy")),
        "15 digits, exponents": saved(cells(number(lambda v: f"{v:.14E}"), "lr", "dropout")),
    },
    "separators": {
        **{f"{s!r}": saved(table(), delimiter=s) for s in ";\t|"},
        "semicolons, decimal commas": saved(
            cells(lambda c: c.replace(".", ",") if re.fullmatch(r"[\d.e-]+", c) else c),
            delimiter=";",
        ),
        "commas, decimal commas": saved(
            cells(lambda c: c.replace(".", ",") if re.fullmatch(r"\d*\.\d+(e-\d+)?", c) else c)
        ),
        "tabs, decimal commas": saved(
            cells(lambda c: c.replace(".", ",") if re.fullmatch(r"\d*\.\d+(e-\d+)?", c) else c),
            delimiter="\t",
        ),
    },
    "encodings": {
        "UTF-8 with BOM": b"\xef\xbb\xbf" + ROWS,
        "UTF-16": ROWS.decode().encode("utf-16"),
        "UTF-16 BE with BOM": b"\xfe\xff" + ROWS.decode().encode("utf-16-be"),
        "UTF-16 without BOM": ROWS.decode().encode("utf-16-le"),
        "UTF-32": ROWS.decode().encode("utf-32"),
        "UTF-16, tabs (a spreadsheet's Unicode text)": saved(
            table(), delimiter="\t", lineterminator="\r\n"
        ).decode().encode("utf-16"),
    },
    "line ends": {
        "CRLF": ROWS.replace(b"\n", b"\r\n"),
        "CR": ROWS.replace(b"\n", b"\r"),
        "none at the end": ROWS[:-1],
        "blank lines": ROWS.replace(b"\n", b"\n\n"),
        "lines of separators": ROWS + b"," * 38 + b"\n",
    },
    "columns": {
        "an index": saved(WITH_INDEX),
        "reversed": saved([row[::-1] for row in table()]),
        "added": placed("lr", "mine"),
        "empty ones at the end": saved([[*row, "", ""] for row in table()]),
        "spaces around names": ROWS.replace(HEADER.encode(), HEADER.replace(",", " , ").encode()),
        "without those of a later version": saved([row[:-2] for row in table()]),
    },
    "lines": {
        "a second header": ROWS + ROWS,
        "a second header, other columns": ROWS + saved([row[::-1] for row in table()]),
        "a comment first": b"# made on Monday\n" + ROWS,
        "a comment within": ROWS + b"# to be looked at\n",
        "sep=;": b"sep=;\n" + saved(table(), delimiter=";"),
        "a title": b"My results,,,\n\n" + ROWS,
        "sorted": b"".join(sorted(ROWS.splitlines(keepends=True))),
        "rows in another order": (HEADER + "\n" + "\n".join(LINES[::-1]) + "\n").encode(),
    },
}  # fmt: skip
CASES = [(kind, case) for kind, cases_of in READ.items() for case in cases_of]


def seen(results: tuple[TrialResult, ...]) -> dict[Trial, tuple[object, ...]]:
    """What the rows say, but for the last digits of what was measured."""
    return {
        r.trial: (r.status, r.steps, r.best_step, r.parameters, r.curve,
                  *(v and pytest.approx(v, rel=1e-9) for v in (r.test_accuracy, r.train_loss)))
        for r in results
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_a_file_is_read_and_continued_if_its_values_are_there(
    path: Path, kind: str, case: str
) -> None:
    content = READ[kind][case]
    path.write_bytes(content)
    curves_path(path).write_bytes(CURVES)
    read = read_results(path)
    assert seen(read.results) == seen(RESULTS)
    with ResultsWriter(path) as writer:
        assert set(writer.finished) == {r.trial.trial_id for r in RESULTS}
        writer.append(NEW)
    assert seen(read_results(path).results) == seen((*read.results, NEW))
    kept = [p.read_bytes() for p in path.parent.iterdir() if ".curves" not in p.name]
    lines = content.rstrip(b"\r\n").splitlines()
    assert any(c.startswith(content) or all(x in c for x in lines) for c in kept)


@pytest.mark.parametrize("how", [";", "\t", "index", "utf-16", "numbers"])
def test_curves_are_read_and_continued_too(path: Path, how: str) -> None:
    rows = list(csv.reader(io.StringIO(CURVES.decode())))
    text = saved([[str(n), *row] for n, row in enumerate(rows)] if how == "index" else rows)
    if how == "index":
        text = text.replace(b"0,trial_id", b",trial_id", 1)
    elif how == "numbers":
        text = saved([[number(lambda v: f"{v:.16G}")(row[0]), *row[1:]] for row in rows])
    else:
        text = text.decode().encode(how) if how == "utf-16" else saved(rows, delimiter=how)
    path.write_bytes(ROWS)
    curves_path(path).write_bytes(text)
    assert read_results(path).results == RESULTS
    write(path, NEW)
    assert read_results(path).results == (*RESULTS, NEW)


def test_points_of_curves_may_stand_in_any_order(path: Path) -> None:
    head, *points = CURVES.splitlines(keepends=True)
    path.write_bytes(ROWS)
    curves_path(path).write_bytes(head + b"".join(points[::-1]))
    assert read_results(path).results == RESULTS


def test_what_was_rounded_is_said_once(path: Path) -> None:
    path.write_bytes(READ["rounding"]["15 digits"])
    (note,) = [note for note in read_results(path).notes if "rounded" in note]
    assert note.startswith(f"{path}: another program has rounded settings of 1 row;")


@pytest.mark.parametrize("column", ["test_accuracy", "train_loss", "val_accuracy"])
def test_a_result_that_was_emptied_is_said(path: Path, column: str) -> None:
    place = COLUMNS.index(column)
    head, *rows = table()
    path.write_bytes(saved([head, *([*r[:place], "", *r[place + 1 :]] for r in rows)]))
    (note,) = [note for note in read_results(path).notes if "without what" in note]
    assert f": {column}; it was removed" in note
    with ResultsWriter(path) as writer:
        assert note in writer.notes


def test_a_file_that_another_program_saved_is_kept_as_it_was(path: Path) -> None:
    content = READ["separators"]["semicolons, decimal commas"]
    path.write_bytes(content)
    (note,) = read_results(path).notes
    assert note == f"{path}: another program has saved it (semicolons between its cells, " + (
        "decimal commas)"
    )
    with ResultsWriter(path) as writer:
        assert writer.notes[0].startswith(f"{note}; it is kept as results.2")
    (kept,) = path.parent.glob("results.2*.csv")
    assert kept.read_bytes() == content
    assert files(path)[0].count(b";") == ROWS.count(b";")
    assert read_results(path).notes == ()


def edited(old: str, new: str) -> bytes:
    assert ROWS.decode().count(old)
    return ROWS.decode().replace(old, new).encode()


#: kind -> case -> the file, and what is said of it. None of these has every value.
REFUSED: dict[str, dict[str, tuple[bytes, str]]] = {
    "changed": {
        "a setting": (edited(",0.003,", ",0.03,"), "trial_id: is not"),
        "a seed": (edited(",plateau,69,", ",plateau,70,"), "trial_id: is not"),
        "rounded to 6 digits": (
            saved(cells(number(lambda v: f"{v:.6g}"), "lr")), "or rounded to fewer than 15 digits"
        ),
        "an ambiguous number": (edited(",1407,", ',"14,07",'), "steps: '14,07' is not a whole"),
        "a fraction of a step": (edited(",31,", ",31.5,"), "best_step: '31.5' is not a whole"),
        "an accuracy of 98": (edited("0.987654321", "98.7654321"), "is no fraction from 0 to 1"),
    },
    "taken away": {
        "a cell": (edited(",1407,", ","), f"has {len(COLUMNS) - 1} cells instead of"),
        "a setting": (edited(",0.003,", ",,"), "lr: expected a number"),
        "the id": (edited(LINES[0][:12], ""), "trial_id: is not"),
        "the header": (ROWS.partition(b"\n")[2], "has lost the line with the names of its columns"),
        "a column": (ROWS.replace(b"lr_decay", b"decay", 1), "lacks the column lr_decay"),
    },
    "something else": {
        "a spreadsheet": (b"PK\x03\x04" + ROWS, "is a spreadsheet or an archive: save it as CSV"),
        "compressed": (b"\x1f\x8b\x08" + ROWS, "is compressed: unpack it"),
        "another table": (b"a,b\n1,2\n", "is no results file: no line of it names the columns"),
        "two columns of one name": (
            saved([[*row, row[5]] for row in table()]), "has two columns of one name (lr); remove"
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "case"), [(kind, case) for kind, cases_of in REFUSED.items() for case in cases_of]
)
def test_a_file_without_its_values_is_left_alone_and_said(path: Path, kind: str, case: str) -> None:
    content, said = REFUSED[kind][case]
    path.write_bytes(content)
    with pytest.raises(ResultsError) as caught:
        ResultsWriter(path)
    assert said in str(caught.value)
    assert path.read_bytes() == content
    with contextlib.suppress(ResultsError):
        read = read_results(path)
        assert any(said in note for note in read.notes)
        assert 0 < len(read.results) < len(RESULTS)


def test_rows_of_which_none_can_be_read_are_an_error(path: Path) -> None:
    path.write_bytes(saved(cells(lambda c: "1", "lr")))
    with pytest.raises(ResultsError, match=r"left out 7 damaged lines.*; no row is left: give"):
        read_results(path)


@pytest.mark.parametrize(
    ("dataset", "others", "proven"),
    [(DatasetConfig(), 0, True), (FOLDER, 0, False), (FOLDER, 1, True)],
)
def test_a_last_row_without_its_line_end_is_one_if_its_last_cell_is_whole(
    path: Path, dataset: DatasetConfig, others: int, proven: bool
) -> None:
    """How many images a folder tests on, another row tells."""
    trials = (Trial(HPConfig(seed=seed), dataset) for seed in range(others + 1))
    images = {"val_images": dataset.validation_size, "test_images": dataset.test_images or 600}
    content = files(write(path, *(_row(t, val_accuracy=0.5, **images) for t in trials)))[0]
    for missing, rows in ((1, others + proven), (2, others)):
        path.write_bytes(content[:-missing])
        assert len(read_results(path).results) == rows
        with ResultsWriter(path) as writer:
            assert len(writer.finished) == rows
        assert path.read_bytes().count(b"\n") == 1 + rows


def test_curves_of_rows_that_are_not_in_sight_are_kept(path: Path) -> None:
    write(path, *RESULTS)
    _, curves = files(path)
    path.write_text(HEADER + "\n")
    write(path, NEW)
    aside = path.with_name("results.curves.csv.torn").read_bytes()
    assert aside == curves.partition(b"\n")[2]
