"""Rows that version 0.1.0 wrote come out again."""

from pathlib import Path

import pytest

from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.plan import plan
from mnist_sweep.results.file import read_results
from mnist_sweep.training.compiled import CompiledShape, DeviceData

RELEASED = Path(__file__).parent / "release_0_1_0"


@pytest.mark.parametrize(
    ("model", "loss", "images"),
    [
        ("mlp", 1e-6, 0),  # other processors may round differently
        ("cnn", 1e-3, 2),  # its convolutions are made in another way since, and round differently
    ],
)
def test_rows_of_the_first_release_come_out_again(model: str, loss: float, images: int) -> None:
    rows = {row.trial: row for row in read_results(RELEASED / f"{model}.csv").results}
    cohort = plan(trial for trial, row in rows.items() if row.status == "ok")[-1]
    compiled = CompiledShape(cohort.shape, DeviceData(load_dataset(cohort.shape.dataset)))
    for trial in cohort.trials[:2]:
        before = rows[trial]
        now = compiled.train(trial, evals_per_epoch=len(before.curve))
        assert now.train_loss == pytest.approx(before.train_loss, rel=loss)
        assert now.test_accuracy == pytest.approx(before.test_accuracy, abs=images / 500 + 1e-6)
        for one, other in zip(now.curve, before.curve, strict=True):
            assert (one.step, one.epoch, one.lr) == (other.step, other.epoch, other.lr)
            assert one.train_loss == pytest.approx(other.train_loss, rel=loss)
