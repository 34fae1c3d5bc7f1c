"""What could silently go wrong with a captured step, and that it does not.

The first tests pin how tinygrad 0.14 behaves where that behaviour is a trap; if a release changes
it, they say so. The others show that our steps do not fall into them.
"""

import numpy as np
import pytest
from tinygrad import Tensor, TinyJit

from mnist_sweep.config import EXTRA_NAMES, HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.plan import shape_of
from mnist_sweep.training import backend
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult

SMALL = DatasetConfig(train_size=1000, test_size=500)


@pytest.fixture(scope="module")
def data() -> DeviceData:
    return DeviceData(load_dataset(SMALL))


def _trial(**settings: object) -> Trial:
    defaults: dict[str, object] = {"width": 16, "depth": 1, "batch_size": 50, "lr": 1e-2}
    return Trial(HPConfig(**{**defaults, **settings}), SMALL)  # type: ignore[arg-type]


def _numbers(result: TrialResult) -> tuple[object, ...]:
    return result.train_loss, result.train_accuracy, result.test_accuracy, result.curve


def test_tinyjit_freezes_a_python_number_when_it_captures() -> None:
    number = {"factor": 1.0}
    x = Tensor([1.0]).realize()
    scaled = TinyJit(lambda x: (x * number["factor"]).realize())
    seen = []
    for factor in (1.0, 2.0, 3.0):
        number["factor"] = factor
        seen.append(scaled(x).item())
    assert seen == [1.0, 2.0, 2.0]


def test_tinyjit_goes_on_with_the_old_buffer_when_a_tensor_is_replaced() -> None:
    held = {"w": Tensor([1.0]).contiguous().realize()}
    step = TinyJit(lambda: (held["w"] * 1).contiguous().realize())
    step()
    step()
    old = held["w"]
    held["w"] = Tensor([7.0]).contiguous().realize()
    assert step().item() == 1.0
    backend.write(old, np.array([5.0], np.float32))
    assert step().item() == 5.0


def test_writing_refuses_an_array_of_another_size() -> None:
    with pytest.raises(ValueError, match="cannot write"):
        backend.write(backend.zeros((3,)), np.zeros(4, np.float32))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 7},
        {"lr_schedule": "cosine", "epochs": 2},
        {"lr_schedule": "constant"},
        {"lr_decay": 0.1, "patience": 3, "lr": 3e-2},
        {"label_smoothing": 0.2, "weight_decay": 0.1, "dropout": 0.2, "shift": 0, "scale": 0.1},
        {"rotation": 5, "shift": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_one_compiled_step_serves_every_rate_schedule_and_seed(
    data: DeviceData, change: dict[str, object]
) -> None:
    base: dict[str, object] = {"lr_decay": 0.5, "patience": 2}
    if next(iter(change)) in EXTRA_NAMES:  # any strength of those that are on
        base |= {"label_smoothing": 0.1, "weight_decay": 0.01, "dropout": 0.4, "shift": 2}
    first, second = _trial(**base), _trial(**{**base, **change})
    shared = CompiledShape(shape_of(first), data)
    before, after = shared.train(first), shared.train(second)
    fresh = CompiledShape(shape_of(second), data).train(second)
    assert _numbers(after) == _numbers(fresh)
    assert _numbers(before) != _numbers(after)


@pytest.mark.parametrize("settings", [{}, {"opt": "sgd"}], ids=["adam", "sgd"])
def test_a_trial_leaves_nothing_behind_for_the_next(
    data: DeviceData, settings: dict[str, object]
) -> None:
    trial, other = _trial(**settings), _trial(lr=0.3, seed=3, **settings)
    shared = CompiledShape(shape_of(trial), data)
    first = shared.train(trial)
    shared.train(other)
    assert _numbers(shared.train(trial)) == _numbers(first)


def test_a_diverged_trial_leaves_nothing_behind_for_the_next(data: DeviceData) -> None:
    trial, wild = (_trial(opt="sgd", batch_size=5, lr=lr) for lr in (1e-2, 1e3))
    shared = CompiledShape(shape_of(trial), data)
    first = shared.train(trial)
    assert shared.train(wild).status == "diverged"
    assert _numbers(shared.train(trial)) == _numbers(first)


def test_batch_norm_statistics_move_in_a_captured_step_and_evaluation_uses_them() -> None:
    few = DatasetConfig(train_size=50, test_size=50)
    trial = Trial(HPConfig(model="cnn", batch_size=25), few)
    compiled = CompiledShape(shape_of(trial), DeviceData(load_dataset(few)))
    compiled.train(trial)
    trained = compiled.state()
    assert not np.allclose(trained["norm1.running_mean"], 0)
    assert not np.allclose(trained["norm1.running_var"], 1)
    rows = compiled.data.dataset.test_rows
    with_statistics = np.concatenate(compiled.evaluate(rows))
    compiled.load({**trained, "norm1.running_mean": trained["norm1.running_mean"] + 1})
    assert not np.array_equal(np.concatenate(compiled.evaluate(rows)), with_statistics)
    compiled.load(trained)
    assert np.array_equal(np.concatenate(compiled.evaluate(rows)), with_statistics)
