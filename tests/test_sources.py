"""Several results files taken together: which row counts, what is said, and what ranks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnist_sweep.analysis.sources import join
from mnist_sweep.config import HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import METRICS, TEST_ACCURACY, VAL_ACCURACY
from mnist_sweep.results.file import ResultsFile
from mnist_sweep.results.lines import spec_path
from mnist_sweep.results.merge import Place, merge
from mnist_sweep.results.spec_beside import spec_evaluations, spec_metric
from mnist_sweep.trial import TrialResult
from tests import synthetic

DONE = synthetic.measured(HPConfig())
FAILED = synthetic.broken(HPConfig(), "failed")
DIVERGED = synthetic.broken(HPConfig(), "diverged")
OTHER = replace(DONE, test_accuracy=0.5)
ELSEWHERE = replace(DONE, device="CUDA", train_seconds=1.0, finished_at="2026-11-24", curve=())


def file(path: Path | str, results: Sequence[TrialResult]) -> ResultsFile:
    return ResultsFile(Path(path), tuple(results), ())


@pytest.mark.parametrize(
    ("rows", "counts", "why"),
    [
        ([DONE, FAILED], DONE, "failed"),
        ([FAILED, DONE], DONE, "failed"),
        ([FAILED, DIVERGED], DIVERGED, "failed"),
        ([DONE, ELSEWHERE], DONE, "same"),
        ([DONE, OTHER], DONE, "differs"),
        ([DIVERGED, DONE], DIVERGED, "differs"),
        ([FAILED, FAILED], FAILED, "same"),
    ],
)
def test_a_finished_row_counts_before_a_failed_one_and_else_the_first(
    rows: list[TrialResult], counts: TrialResult, why: str
) -> None:
    places = Place(Path("a")), Place(Path("b"))
    merged, passed = merge(zip(rows, places, strict=True))
    assert merged == [counts]
    assert merged[0] is counts
    (left_out,) = passed
    assert left_out.why == why
    assert rows[places.index(left_out.counted)] is counts
    assert rows[places.index(left_out.place)] is left_out.row


def test_every_row_either_counts_or_is_reported() -> None:
    rng = random.Random(0)
    pool = [DONE, FAILED, DIVERGED, OTHER, *synthetic.quickstart()]
    for _ in range(50):
        rows = rng.choices(pool, k=12)
        merged, passed = merge((row, Place(Path("a"), line)) for line, row in enumerate(rows))
        assert len(merged) + len(passed) == len(rows)
        ids = [row.trial.trial_id for row in merged]
        assert ids == list(dict.fromkeys(row.trial.trial_id for row in rows))
        finished = {row.trial.trial_id for row in rows if row.status != "failed"}
        assert {row.trial.trial_id for row in merged if row.status != "failed"} == finished


def test_what_does_not_count_is_noted_with_its_file() -> None:
    two = synthetic.measured(HPConfig(seed=1))
    files = [file("a.csv", [FAILED, two]), file("b.csv", [DONE, replace(two, train_loss=9.0)])]
    sources = join([*files, file("c.csv", [two])])
    assert sources.results == [DONE, two]
    assert sources.name == "a, b, c"
    trial_id = two.trial.trial_id
    assert sources.notes == [
        "a.csv: left out 1 row of failed trials that another row has finished, the first of "
        f"trial {DONE.trial.trial_id} (see b.csv)",
        "b.csv: left out 1 row with another result than that of an earlier row, which counts, "
        f"the first of trial {trial_id} (see a.csv)",
        "c.csv: left out 1 row of trials that another row has with the same result, the first of "
        f"trial {trial_id} (see a.csv)",
    ]


def test_models_and_data_sets_are_studies_of_their_own() -> None:
    cnn = synthetic.sweep([HPConfig(model="cnn")])
    data = synthetic.sweep([HPConfig()], synthetic.WITH_VALIDATION)
    studies = join([file("a.csv", [DONE]), file("b.csv", [*cnn, *data])]).studies
    assert [(study.name, study.metric) for study in studies] == [
        ("mlp, mnist", TEST_ACCURACY),
        ("cnn, mnist", TEST_ACCURACY),
        ("mlp, mnist, validation size 5,000", VAL_ACCURACY),
    ]


# What ranks


def spec(path: Path, name: str = "train_loss") -> Path:
    spec_path(path).write_text(f"name: sweep\nmetric: {{name: {name}, goal: minimize}}\n")
    return path


def ranked_by(*files: ResultsFile, by: str | None = None) -> str:
    (study,) = join(files, by).studies
    return study.metric.name


def test_the_metric_is_that_asked_for_else_that_of_the_spec_beside(tmp_path: Path) -> None:
    results = file(tmp_path / "a.csv", synthetic.phase2())
    assert ranked_by(results) == "val_accuracy"
    spec(results.path)
    assert spec_path(results.path).name == "a.spec.yaml"
    assert ranked_by(results) == "train_loss"
    assert ranked_by(results, by="test_accuracy") == "test_accuracy"
    # What no trial has cannot rank, whatever the spec asks for.
    lossless = [replace(row, train_loss=None) for row in results.results]
    assert ranked_by(file(results.path, lossless)) == "val_accuracy"


def test_specs_that_disagree_are_noted_and_none_is_taken(tmp_path: Path) -> None:
    a = file(spec(tmp_path / "a.csv"), synthetic.phase2())
    b = file(tmp_path / "b.csv", [])
    assert ranked_by(a, b) == "train_loss"
    spec(b.path, "test_accuracy")
    assert ranked_by(a, b) == "val_accuracy"
    (note,) = join([a, b]).notes
    assert "rank by test_accuracy and train_loss; neither is taken, choose with --by" in note
    assert join([a, b], "train_loss").notes == []


@pytest.mark.parametrize(
    "content",
    [
        *("", "no: metric", "metric: train_loss", "metric: {name: [1]}", "metric: {name: speed}"),
        *("metric: {name: best_test_accuracy}", "[" * 500, "a: b: c", "- 1", "!!python/x y"),
        b"\xff\xfe\x00",
    ],
)
def test_a_spec_that_says_nothing_is_none(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.csv"
    spec_path(path).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert spec_metric(path) is None


def test_a_spec_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert spec_metric(tmp_path / "a.csv") is None
    spec_path(tmp_path / "a.csv").mkdir()
    assert spec_metric(tmp_path / "a.csv") is None
    assert spec_metric(spec(tmp_path / "b.csv")) == METRICS["train_loss"]


def test_no_value_of_a_spec_is_taken_for_a_date(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    spec_path(path).write_text("metric: train_loss\nevals_per_epoch: 3\nbase: {width: 1024-64-32}")
    assert spec_evaluations(path) == 3
    spec_path(path).write_text("metric: {name: train_loss}\nbase: {width: 1024-64-32}\n")
    assert spec_metric(path) == METRICS["train_loss"]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("speed", r"^speed: cannot rank by it; use one of val_accuracy"),
        ("val_accuracy", r"^val_accuracy: no trial .* rank by test_accuracy instead"),
        ("", r"^: cannot rank by it"),
    ],
)
def test_what_cannot_rank_is_refused(by: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        join([file("a.csv", [DONE])], by)


def views(results: list[TrialResult]) -> list[Any]:
    from mnist_sweep.analysis.records import records

    return [(r["verdict"], r["p_value"]) for r in records(join([file("a", results)]).studies)]


def test_another_model_in_the_file_changes_no_verdict() -> None:
    mlp = synthetic.quickstart()
    cnn = synthetic.sweep(synthetic.grid(HPConfig(model="cnn"), range(2), lr=[1e-3, 1e-2]))
    assert views([*mlp, *cnn]) == views(mlp) + views(cnn)
