"""What the ranking for people shows."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_sweep import table
from mnist_sweep.analysis.records import RECORD_KEYS, records, records_as_csv, records_as_json
from mnist_sweep.analysis.study import split_studies
from mnist_sweep.config import FIELD_NAMES, HPConfig
from mnist_sweep.labels import describe, value_text
from mnist_sweep.metrics import METRICS
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests import synthetic


def format_top(results: list[TrialResult], n: int = 8, **wanted: Any) -> str:
    return table.format_top(split_studies(results), n, **wanted)


def row(accuracy: float, seed: int = 0, seconds: float = 2.0, opt: str = "adam") -> TrialResult:
    trial = Trial(HPConfig(seed=seed, opt=opt))
    return TrialResult("s", trial, "ok", test_accuracy=accuracy, train_seconds=seconds)


def test_a_small_study_is_shown_exactly_like_this() -> None:
    rows = [
        row(0.97, 0, 1.0),
        row(0.971, 1, 2.0),
        row(0.96, 0, opt="sgd"),
        row(0.955, 1, opt="sgd"),
    ]
    assert format_top(rows).splitlines() == [
        "rank      opt  test accuracy %  n  wall s",
        "   1     adam     97.05 ± 0.64  2     1.5",
        "   2  =   sgd     95.75 ± 3.18  2     2.0",
        "",
        "±: reach of the 95 % interval: Student t over n seeds.",
        "=: may be the best.",
        "Any of the 2 may be the truly best: none is told from the first.",
        "About 3 seeds would tell the other from the best (2 more trials).",
        "mnist-sweep run SPEC --set seeds=3 runs all configurations so; a spec with from_results: "
        "{file:",
        "RESULTS, top: 2} only the first ones.",
        "Chosen on the test set, for want of a validation split: the test accuracy of the best is "
        "flattering.",
    ]


def test_one_configuration_was_not_chosen() -> None:
    lines = format_top([row(0.97), row(0.971, 1)]).splitlines()
    assert lines[-1] == "One configuration: nothing was chosen."


def test_one_seed_is_said_to_be_one_seed() -> None:
    lines = format_top([row(0.97), row(0.5, opt="sgd")]).splitlines()
    assert lines[1:3] == [
        "   1     adam     97.00 ± 0.35  1     2.0",
        "   2  ?   sgd     50.00 ± 0.98  1     2.0",
    ]
    text = " ".join(lines)
    assert "for n = 1 binomial (Wilson) over 10,000 test images, which says nothing about" in text
    assert "?: not compared with the best: one seed, or one that diverged." in text


def test_ranking_by_validation_shows_the_test_accuracy_beside_it() -> None:
    text = format_top(synthetic.phase2())
    assert "validation accuracy %  test accuracy %  n" in text.splitlines()[0]
    assert text.endswith(
        "Chosen on 5,000 validation images; the test set had no part in the choice."
    )


def test_it_lists_as_many_as_asked_for_but_compares_with_all() -> None:
    lines = format_top(synthetic.phase2(), 3).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert lines[4] == ""
    assert "of 37 that may be the best." in " ".join(lines)


def test_a_loss_is_shown_as_it_is_and_the_lowest_comes_first() -> None:
    rows = [replace(row(0.9), train_loss=0.25), replace(row(0.9, opt="sgd"), train_loss=0.125)]
    lines = table.format_top(split_studies(rows, METRICS["train_loss"])).splitlines()
    assert lines[0].split()[2:4] == ["training", "loss"]
    assert lines[1].split()[:3] == ["1", "sgd", "0.1250"]


def much_varying() -> list[TrialResult]:
    others = [
        HPConfig(epochs=10, lr_schedule="onecycle", lr_decay=0.95, patience=1000),
        HPConfig(weight_decay=0.01),
    ]
    return [*synthetic.phase2(), *synthetic.sweep(others, synthetic.WITH_VALIDATION)]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 130])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    lines = format_top(much_varying(), 40, width=width).splitlines()
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for told in ("batch", "lr_decay", "patience", "weight_decay", "test accuracy %", "wall s"):
        assert told in text
    assert text.count("onecycle") == 1


def test_without_a_terminal_a_row_is_one_line() -> None:
    lines = format_top(much_varying(), 40).splitlines()
    assert len(lines[:41]) == 41
    assert "weight_decay" in lines[0]
    assert [line.split()[0] for line in lines[1:39]] == [str(i) for i in range(1, 39)]


def test_data_sets_are_ranked_apart() -> None:
    rows = [row(0.97), *synthetic.sweep([HPConfig()], DatasetConfig("digits|a=_b", 5000))]
    text = format_top(rows)
    assert text.startswith("mnist:\n\nrank ")
    assert "\n\ndigits|a=_b, validation size 5,000:\n\nrank " in text
    assert text.count("\n   1 ") == 2
    assert r"digits\|a=\_b, validation size 5,000:" in format_top(rows, markdown=True)


def test_markdown_is_the_same_table() -> None:
    plain, marked = (format_top(synthetic.phase2(), 3, markdown=m) for m in (False, True))
    lines = marked.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert lines[0].startswith("| rank |")
    assert lines[1] == "|" + "---|" * len(cells[0])
    for line, row_cells in zip(plain.splitlines()[:4], [cells[0], *cells[2:]], strict=True):
        assert line.split() == " ".join(row_cells).split()


def test_records_are_unrounded_and_valid_json() -> None:
    rows = [row(0.97 + 1e-9, 0, 1.25), row(0.971, 1, 2.0), row(0.96, opt="sgd")]
    found = json.loads(records_as_json(records(split_studies(rows))), parse_constant=pytest.fail)
    assert [tuple(record) for record in found] == [RECORD_KEYS] * 2
    best, other = found
    assert best["mean"] == (0.97 + 1e-9 + 0.971) / 2
    assert best["train_seconds"] == 1.625
    assert (best["rank"], best["verdict"], best["seeds"]) == (1, "best", [0, 1])
    assert (best["metric"], best["goal"], best["dataset"]) == ("test_accuracy", "maximize", "mnist")
    assert best["interval"] == "t over seeds"
    assert best["low"] < best["mean"] < best["high"]
    assert (other["opt"], other["lr"], other["width"]) == ("sgd", 1e-3, 512)
    assert (other["verdict"], other["p_value"], other["parameters"]) == ("untested", None, None)
    assert records_as_json(records([])) == "[]"


def test_the_keys_of_the_records_are_stable() -> None:
    assert RECORD_KEYS[:18] == (
        *("rank", "verdict", "metric", "goal", "mean", "low", "high", "interval"),
        *("seeds", "diverged", "failed", "difference", "p_value", "noisy", "seeds_needed"),
        *("test_accuracy", "train_seconds", "parameters"),
    )
    assert set(RECORD_KEYS[18:]) == {*FIELD_NAMES, "dataset"} - {"seed"}
    page = (Path(__file__).parents[1] / "docs" / "commands.md").read_text()
    for key in RECORD_KEYS[:18]:
        assert f"`{key}`" in page


def test_records_as_csv_are_those_of_json() -> None:
    found = records(split_studies(synthetic.phase2()), 5)
    read = list(csv.DictReader(io.StringIO(records_as_csv(found))))
    assert tuple(read[0]) == RECORD_KEYS
    for text, record in zip(read, found, strict=True):
        assert float(text["mean"]) == record["mean"]
        assert text["seeds"] == "0 1 2"
        assert text["opt"] == record["opt"]
        assert (text["p_value"] == "") == (record["p_value"] is None)
    assert records_as_csv([]) == ",".join(RECORD_KEYS)


def test_records_rank_each_data_set_by_its_own_metric() -> None:
    rows = [row(0.97), *synthetic.sweep([HPConfig()], synthetic.WITH_VALIDATION)]
    assert [(r["rank"], r["metric"]) for r in records(split_studies(rows))] == [
        (1, "test_accuracy"),
        (1, "val_accuracy"),
    ]


def test_diverged_seeds_are_shown_and_configurations_without_a_value_counted() -> None:
    rows = [row(0.9), row(0.95, opt="sgd")]
    rows.append(synthetic.broken(HPConfig(opt="sgd", seed=1), "diverged"))
    rows.append(synthetic.broken(HPConfig(lr=0.5), "failed"))
    text = format_top(rows)
    assert text.splitlines()[0].split()[-4:] == ["n", "diverged", "wall", "s"]
    assert text.splitlines()[2].split()[-3:] == ["1", "1", "2.0"]
    assert "1 more has no test accuracy" in text


def test_a_file_without_a_finished_trial_gives_one_line() -> None:
    assert format_top([]) == "no trial has finished yet; run the sweep first"
    broken = [synthetic.broken(HPConfig(seed=s), "failed") for s in range(2)]
    assert format_top(broken).startswith("no trial finished well: 0 diverged, 2 failed")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("lr", 1e-4, "1e-4"), ("lr", 3e-3, "3e-3"), ("lr", 0.02, "2e-2"), ("lr", 1e-10, "1e-10"),
     ("lr", 0.00123, "1.23e-3"), ("lr", 2.0, "2"), ("lr_decay", 0.9, "0.9"), ("width", 64, "64"),
     ("width", None, "-"), ("opt", "adam", "adam"), ("dropout", 0.05, "0.05")],
)  # fmt: skip
def test_values_are_written_as_people_write_them(name: str, value: object, text: str) -> None:
    assert value_text(value, name) == text


def test_values_that_are_powers_of_ten_apart_are_written_alike() -> None:
    assert [value_text(lr, "lr") for lr in (1e-3, 1e-2, 1e-1, 1.0)] == ["1e-3", "1e-2", "1e-1", "1"]
    assert [value_text(rate, "dropout") for rate in (0.05, 0.1, 0.5)] == ["0.05", "0.1", "0.5"]


def test_a_configuration_is_described_by_the_fields_asked_for() -> None:
    config = HPConfig(model="cnn", lr=3e-4)
    assert describe(config, ["batch_size", "lr", "opt", "width"]) == "batch 64, lr 3e-4, adam"
