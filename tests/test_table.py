"""What the ranking for people shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.labels import describe, value_text
from mnist_sweep.table import format_top
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests import synthetic


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
        "rank      opt  test accuracy %  n  train s",
        "   1     adam     97.05 ± 0.64  2      1.5",
        "   2  =   sgd     95.75 ± 3.18  2      2.0",
        "",
        "±: half of the 95 % interval: Student t over n seeds.",
        "=: cannot be told apart from the best: 1 of the 1 others (paired t over common seeds, "
        "Holm-corrected",
        "for all pairs); more seeds tell more.",
        "Chosen on the test set, for want of a validation split: the test accuracy of the best is "
        "flattering.",
    ]


def test_one_seed_is_said_to_be_one_seed() -> None:
    lines = format_top([row(0.97), row(0.5, opt="sgd")]).splitlines()
    assert lines[1:3] == [
        "   1     adam     97.00 ± 0.33  1      2.0",
        "   2  ?   sgd     50.00 ± 0.98  1      2.0",
    ]
    text = " ".join(lines)
    assert "for n = 1 binomial (Wilson) over 10,000 test images, which says nothing about" in text
    assert "?: not compared with the best; that takes two seeds in common" in text


def test_ranking_by_validation_shows_the_test_accuracy_beside_it() -> None:
    table = format_top(synthetic.phase2())
    assert "validation accuracy %  test accuracy %  n" in table.splitlines()[0]
    assert table.endswith(
        "Chosen on 5,000 validation images; the test set had no part in the choice."
    )


def test_it_lists_as_many_as_asked_for_but_compares_with_all() -> None:
    lines = format_top(synthetic.phase2(), 3).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["1", "2", "3"]
    assert lines[4] == ""
    assert "of the 36 others" in lines[6]


def test_a_loss_is_shown_as_it_is_and_the_lowest_comes_first() -> None:
    rows = [replace(row(0.9), train_loss=0.25), replace(row(0.9, opt="sgd"), train_loss=0.125)]
    lines = format_top(rows, metric="train_loss").splitlines()
    assert lines[1].split()[:3] == ["1", "sgd", "0.1250"]


def test_no_line_is_wider_than_100_columns_however_much_varies() -> None:
    rows = synthetic.phase2(DatasetConfig("a/folder/with/a/rather/long/name", 5000))
    rows += synthetic.sweep(
        [
            HPConfig(epochs=10, lr_schedule="onecycle", lr_decay=0.95, patience=1000),
            HPConfig(model="cnn"),
        ]
    )
    lines = format_top(rows, 40).splitlines()
    assert max(map(len, lines)) <= 100
    assert any("a/folder/with/a/rather/long/name" in line for line in lines)


def test_diverged_seeds_are_shown_and_configurations_without_a_value_counted() -> None:
    rows = [row(0.9), row(0.95, opt="sgd")]
    rows.append(synthetic.broken(HPConfig(opt="sgd", seed=1), "diverged"))
    rows.append(synthetic.broken(HPConfig(lr=0.5), "failed"))
    table = format_top(rows)
    assert table.splitlines()[0].split()[-4:] == ["n", "diverged", "train", "s"]
    assert table.splitlines()[2].split()[-3:] == ["1", "1", "2.0"]
    assert "1 more has no test accuracy" in table


def test_a_file_without_a_finished_trial_gives_one_line() -> None:
    assert format_top([]) == "no trial has finished yet; run the sweep first"
    broken = [synthetic.broken(HPConfig(seed=s), "failed") for s in range(2)]
    assert format_top(broken).startswith("no trial finished well: 0 diverged, 2 failed")


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(UserError, match=r"^speed: cannot rank by it; use one of val_accuracy"):
        format_top([row(0.9)], metric="speed")


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-4, "1e-4"), (3e-3, "3e-3"), (0.02, "2e-2"), (0.9, "0.9"), (1e-10, "1e-10"), (64, "64"),
     (0.00123, "1.23e-3"), (None, "-"), ("adam", "adam"), (2.0, "2")],
)  # fmt: skip
def test_values_are_written_as_people_write_them(value: object, text: str) -> None:
    assert value_text(value) == text


def test_a_configuration_is_described_by_the_fields_asked_for() -> None:
    config = HPConfig(model="cnn", lr=3e-4)
    assert describe(config, ["batch_size", "lr", "opt", "width"]) == "batch 64, lr 3e-4, adam"
