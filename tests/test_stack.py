"""Trials that share a step come to the same results as alone."""

from pathlib import Path

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.executors.interface import Settings
from mnist_sweep.executors.worker import TrialRunner
from mnist_sweep.plan import shape_of
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult

DATA = DatasetConfig(train_size=1000, test_size=500, validation_size=100)
EXTRAS = {
    "dropout": 0.2,
    "label_smoothing": 0.1,
    "weight_decay": 0.01,
    "shift": 1.5,
    "rotation": 10.0,
    "scale": 0.1,
}


@pytest.fixture(scope="module")
def data() -> DeviceData:
    return DeviceData(load_dataset(DATA))


def _trials(**settings: object) -> list[Trial]:
    """Three trials of one shape with different rates, schedules and seeds."""
    differences = (
        {"lr": 1e-3, "seed": 0, "patience": 2, "lr_decay": 0.5},
        {"lr": 3e-3, "seed": 4, "lr_schedule": "cosine"},
        {"lr": 1e-2, "seed": 2, "lr_schedule": "constant"},
    )
    return [Trial(HPConfig(**{**settings, **d}), DATA) for d in differences]  # type: ignore[arg-type]


def _close(stacked: TrialResult, alone: TrialResult, images: int = 2) -> None:
    """Equal to rounding: the sums are made in another order."""
    assert stacked.trial == alone.trial
    assert (stacked.status, stacked.steps, stacked.parameters, stacked.best_step) == (
        alone.status,
        alone.steps,
        alone.parameters,
        alone.best_step,
    )
    assert stacked.train_loss == pytest.approx(alone.train_loss, rel=2e-3)
    assert stacked.test_accuracy == pytest.approx(alone.test_accuracy, abs=images / 500 + 1e-6)
    assert stacked.val_accuracy == pytest.approx(alone.val_accuracy, abs=images / 100 + 1e-6)
    for one, other in zip(stacked.curve, alone.curve, strict=True):
        assert (one.step, one.epoch) == (other.step, other.epoch)
        assert one.lr == pytest.approx(other.lr)
        assert one.train_loss == pytest.approx(other.train_loss, rel=2e-3)


#: What needs no more than another start, or state, of each weight.
OTHERS = {
    "opt": "sgd",
    "momentum": 0.8,
    "nesterov": 1,
    "clip_norm": 0.5,
    "weight_init": "xavier_normal",
    "activation_fn": "gelu",
    "precision": "bfloat16",
}


@pytest.mark.parametrize("extras", [{}, EXTRAS, OTHERS], ids=["plain", "extras", "others"])
def test_stacked_mlps_come_to_the_results_of_single_ones(
    data: DeviceData, extras: dict[str, object]
) -> None:
    trials = _trials(width=32, batch_size=50, epochs=2, **extras)
    single = CompiledShape(shape_of(trials[0]), data)
    alone = [single.train(trial, evals_per_epoch=2) for trial in trials]
    stacked = CompiledShape(shape_of(trials[0]), data, stack=3).train_stack(
        trials, evals_per_epoch=2
    )
    for one, other in zip(stacked, alone, strict=True):
        _close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("extras", [{}, OTHERS], ids=["plain", "others"])
def test_stacked_cnns_come_to_the_results_of_single_ones(extras: dict[str, object]) -> None:
    small = DatasetConfig(train_size=150, test_size=500, validation_size=100)
    data = DeviceData(load_dataset(small))
    trials = [
        Trial(trial.config, small) for trial in _trials(model="cnn", batch_size=25, **extras)
    ][:2]
    single = CompiledShape(shape_of(trials[0]), data)
    stacked = CompiledShape(shape_of(trials[0]), data, stack=2).train_stack(trials)
    for one, trial in zip(stacked, trials, strict=True):
        _close(one, single.train(trial), images=4)


def test_fewer_trials_than_places_and_one_that_diverges_leave_the_others_alone(
    data: DeviceData,
) -> None:
    calm, _, _ = _trials(width=16, batch_size=5, opt="sgd")
    wild = Trial(HPConfig(width=16, batch_size=5, opt="sgd", lr=1e3), DATA)
    single = CompiledShape(shape_of(calm), data)
    stacked = CompiledShape(shape_of(calm), data, stack=3).train_stack([wild, calm])
    assert [result.status for result in stacked] == ["diverged", "ok"]
    assert stacked[0].steps == single.train(wild).steps
    assert stacked[0].test_accuracy is None
    _close(stacked[1], single.train(calm))


def test_a_runner_trains_side_by_side_what_it_is_given_together() -> None:
    trials = _trials(width=16, batch_size=50)
    runner = TrialRunner(Settings("test", 1))
    together = runner.run(trials)
    assert [result.trial for result in together] == trials
    assert [result.status for result in together] == ["ok"] * 3
    assert [result.compile_seconds != 0 for result in together] == [True, False, False]
    (again,) = runner.run(trials[1:2])  # what was compiled for three serves one
    assert again.compile_seconds == 0
    _close(again, together[1], images=0)


def test_a_stack_that_fails_is_tried_in_parts_and_each_trial_says_why() -> None:
    missing = DatasetConfig("/no/such/folder")
    trials = [Trial(trial.config, missing) for trial in _trials(width=16)]
    results = TrialRunner(Settings("test", 1)).run(trials)
    assert [result.trial for result in results] == trials
    assert [result.status for result in results] == ["failed"] * 3
    assert all("/no/such/folder" in result.error for result in results)


@pytest.mark.slow
def test_a_runner_keeps_nothing_of_the_shapes_before() -> None:
    """64 MB of weights and state each: what was kept of five of them could not be overlooked."""
    sizes = DatasetConfig(train_size=100, test_size=50)
    runner = TrialRunner(Settings("test", 1))
    used = []
    for batch_size in (10, 20, 25, 50, 100):
        config = HPConfig(width=1500, depth=2, batch_size=batch_size)
        (result,) = runner.run([Trial(config, sizes)])
        assert result.status == "ok"
        used.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
    assert max(used[1:]) < used[0] + 60e6
