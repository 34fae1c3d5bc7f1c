"""Training on real MNIST does what the configuration says."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.kernels import csource
from mnist_sweep.plan import shape_of
from mnist_sweep.training.augmentation import draw_warps
from mnist_sweep.training.compiled import (
    STEPS_BETWEEN_CHECKS,
    CompiledShape,
    DeviceData,
    epoch_order,
    learning_rates,
    steps_per_epoch,
)
from mnist_sweep.training.net import initial_values
from mnist_sweep.trial import DatasetConfig, Trial
from tests import reference

DATA = DatasetConfig(train_size=1050, test_size=333, validation_size=120)
#: For the CNN, whose step takes a hundred times as long. Both have a full batch of evaluation and a
#: part of one.
FEW = DatasetConfig(train_size=300, test_size=270, validation_size=50)
MLP_TRIAL = Trial(HPConfig(batch_size=50, lr=3e-3, width=32), DATA)
CNN_TRIAL = Trial(HPConfig(model="cnn", batch_size=50, lr=3e-3), FEW)


@pytest.fixture(scope="module")
def data() -> DeviceData:
    return DeviceData(load_dataset(DATA))


@pytest.fixture(scope="module")
def mlp(data: DeviceData) -> CompiledShape:
    return CompiledShape(shape_of(MLP_TRIAL), data)


@pytest.fixture(scope="module")
def cnn() -> CompiledShape:
    return CompiledShape(shape_of(CNN_TRIAL), DeviceData(load_dataset(FEW)))


def _standardised(data: DeviceData, rows: np.ndarray) -> np.ndarray:
    dataset = data.dataset
    pixels: np.ndarray = (dataset.images[rows] / 255.0 - dataset.mean) / dataset.std
    return pixels


def _mlp_gradients(
    w: Mapping[str, np.ndarray], x: np.ndarray, targets: np.ndarray, factors: Sequence[np.ndarray]
) -> tuple[float, dict[str, np.ndarray]]:
    """Mean loss of a SiLU network and its gradients, by backpropagation in float64.

    ``factors`` multiply the units of each hidden layer.
    """
    depth = len(factors)
    inputs, slopes = [x], []
    for i in range(1, depth + 1):
        z = inputs[-1] @ w[f"linear{i}.weight"] + w[f"linear{i}.bias"]
        s = 1 / (1 + np.exp(-z))
        inputs.append(z * s * factors[i - 1])
        slopes.append(s * (1 + z * (1 - s)) * factors[i - 1])
    logits = inputs[-1] @ w[f"linear{depth + 1}.weight"] + w[f"linear{depth + 1}.bias"]
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = float(-(targets * np.log(p)).sum(1).mean())
    d = (p - targets) / len(targets)
    gradients = {}
    for i in range(depth + 1, 0, -1):
        gradients[f"linear{i}.weight"] = inputs[i - 1].T @ d
        gradients[f"linear{i}.bias"] = d.sum(0)
        if i > 1:
            d = (d @ w[f"linear{i}.weight"].T) * slopes[i - 2]
    return loss, gradients


@pytest.mark.parametrize(
    "settings",
    [
        {"opt": "adam", "width": "28-12"},
        {"opt": "sgd"},
        {"label_smoothing": 0.2, "weight_decay": 5.0, "opt": "sgd"},
        {"dropout": 0.3, "shift": 2.0, "rotation": 20.0, "scale": 0.2, "weight_decay": 0.5},
        {
            "opt": "sgd",
            "momentum": 0.9,
            "nesterov": 1,
            "clip_norm": 0.5,
            "weight_init": "he_normal",
        },
    ],
    ids=lambda settings: "-".join(map(str, settings)),
)
def test_an_epoch_equals_the_same_epoch_in_plain_numpy(
    data: DeviceData, settings: dict[str, Any]
) -> None:
    config = HPConfig(
        **{"width": 20, "batch_size": 100, "lr": 0.01, "lr_decay": 0.5, "patience": 2, "seed": 4}
        | settings
    )
    trial = Trial(config, DATA)
    compiled = CompiledShape(shape_of(trial), data)
    compiled.train(trial)

    weights = {k: v.astype(np.float64) for k, v in initial_values(config, 10).items()}
    kept: dict[str, dict[str, Any]] = {name: {} for name in weights}
    order = epoch_order(4, 0, data.dataset.train_rows)
    warps = draw_warps(config, 0, 1000).reshape(10, 100, 6)
    noise = int(np.random.default_rng([4, 3]).integers(2**31))
    lr, best, window = config.lr, math.inf, []
    for t in range(1, 11):
        rows = order[(t - 1) * 100 : t * 100]
        pairs = zip(data.dataset.images[rows], warps[t - 1], strict=True)
        pixels = np.stack([reference.warped(image, warp) for image, warp in pairs])
        x = (pixels / 255 - data.dataset.mean) / data.dataset.std
        targets = np.eye(10)[data.dataset.labels[rows]] * (1 - config.label_smoothing)
        targets += config.label_smoothing / 10
        factors = [
            reference.dropout_factors(noise, t - 1, layer, (100, units), config.dropout)
            for layer, units in enumerate(config.widths, 1)
        ]
        loss, gradients = _mlp_gradients(weights, x, targets, factors)
        shrunk = reference.shrunk(gradients.values(), config.clip_norm)
        for name, g in zip(gradients, shrunk, strict=True):
            weights[name] = reference.updated(config, weights[name], g, kept[name], lr, t)
        window.append(loss)
        if len(window) == 2:
            if not np.mean(window) < best:
                lr *= 0.5
            best, window = min(best, float(np.mean(window))), []
    for name, value in compiled.state().items():
        np.testing.assert_allclose(value, weights[name], rtol=5e-3, atol=2e-4, err_msg=name)


@pytest.mark.parametrize("trial", [MLP_TRIAL, CNN_TRIAL], ids=["mlp", "cnn"])
def test_what_is_reported_is_that_of_the_trained_weights(
    trial: Trial, request: pytest.FixtureRequest
) -> None:
    compiled: CompiledShape = request.getfixturevalue(trial.config.model)
    result = compiled.train(trial)
    dataset, state = compiled.data.dataset, compiled.state()

    def measured(rows: np.ndarray) -> tuple[int, float]:
        logits = reference.logits(state, _standardised(compiled.data, rows), trial.config, False)
        labels = dataset.labels[rows]
        losses = reference.cross_entropy(logits, labels)
        return int((logits.argmax(1) == labels).sum()), float(losses.mean())

    assert result.status == "ok"
    for accuracy, loss, rows, images in (
        (result.test_accuracy, result.test_loss, dataset.test_rows, 1),
        (result.val_accuracy, result.val_loss, dataset.validation_rows, 1),
        (result.train_accuracy, result.train_loss, dataset.train_rows, 0),
    ):
        right, mean = measured(rows)
        assert accuracy is not None
        # An image of which two logits are equal but for rounding may go either way.
        assert accuracy * len(rows) == pytest.approx(right, abs=images + 0.01)
        assert loss == pytest.approx(mean, rel=1e-4)
    last = result.curve[-1]
    assert (last.val_loss, last.test_loss) == (result.val_loss, result.test_loss)


def test_plain_tensor_operations_train_like_the_c_kernels(
    mlp: CompiledShape, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = mlp.train(MLP_TRIAL)
    monkeypatch.setattr(csource, "supported", lambda _: False)
    plain = CompiledShape(shape_of(MLP_TRIAL), mlp.data).train(MLP_TRIAL)
    # Sums in another order: rounding, and nothing more than rounding.
    assert plain.train_loss == pytest.approx(fast.train_loss, rel=1e-3)
    assert plain.test_accuracy == pytest.approx(fast.test_accuracy, abs=0.0061)


def test_learning_happens_a_small_network_passes_85_per_cent_on_6000_images() -> None:
    config = DatasetConfig(train_size=6000, test_size=2000)
    trial = Trial(HPConfig(width=64, batch_size=50, lr=3e-3), config)
    result = CompiledShape(shape_of(trial), DeviceData(load_dataset(config))).train(trial)
    assert result.test_accuracy is not None
    assert result.test_accuracy > 0.85


def test_the_images_of_a_last_partial_batch_are_left_out_of_their_epoch(data: DeviceData) -> None:
    assert steps_per_epoch(1050, 100) == 10
    trial = Trial(HPConfig(width=8, depth=1, batch_size=100, epochs=3), DATA)
    result = CompiledShape(shape_of(trial), data).train(trial)
    assert result.steps == 30


def test_every_epoch_has_its_own_order_of_all_rows() -> None:
    rows = np.arange(100, 160, dtype=np.int32)
    orders = [epoch_order(seed, epoch, rows) for seed in (0, 1) for epoch in (0, 1)]
    for order in orders:
        assert sorted(order) == list(rows)
    assert len({tuple(order) for order in orders}) == 4
    assert np.array_equal(orders[0], epoch_order(0, 0, rows))


def test_curve_points_lie_evenly_and_their_training_means_cover_every_step(
    data: DeviceData,
) -> None:
    trial = Trial(HPConfig(width=16, batch_size=50, epochs=2, lr_schedule="constant"), DATA)
    compiled = CompiledShape(shape_of(trial), data)
    fine = compiled.train(trial, evals_per_epoch=7).curve
    coarse = compiled.train(trial, evals_per_epoch=1).curve
    assert [point.step for point in fine] == [3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42]
    assert [point.step for point in coarse] == [21, 42]
    assert [point.epoch for point in coarse] == [1.0, 2.0]
    assert coarse[0].train_loss == pytest.approx(np.mean([p.train_loss for p in fine[:7]]))
    assert coarse[1].train_accuracy == pytest.approx(np.mean([p.train_accuracy for p in fine[7:]]))
    assert coarse[1].test_accuracy == fine[13].test_accuracy


def test_evaluating_more_often_does_not_change_the_result(cnn: CompiledShape) -> None:
    once, often = (cnn.train(CNN_TRIAL, evals_per_epoch=n) for n in (1, 5))
    assert len(often.curve) == 5
    assert once.train_loss == often.train_loss
    assert once.test_accuracy == often.test_accuracy


def test_a_loss_that_is_no_number_ends_the_trial_early_as_diverged() -> None:
    config = DatasetConfig(train_size=20_000, test_size=500)
    trial = Trial(HPConfig(width=16, batch_size=20, opt="sgd", lr=1000.0, epochs=3), config)
    result = CompiledShape(shape_of(trial), DeviceData(load_dataset(config))).train(trial)
    assert result.status == "diverged"
    assert result.steps == STEPS_BETWEEN_CHECKS
    assert result.test_accuracy is None
    assert result.train_loss is None


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("plateau", [1, 1, 1, 1]),
        ("cosine", [1, 0.853553, 0.5, 0.146447]),
        ("onecycle", [0.04, 0.0, 0.0, 0.0]),
    ],
)
def test_schedules_give_the_rates_of_their_formulas(schedule: str, expected: list[float]) -> None:
    rates = learning_rates(HPConfig(lr=0.5, lr_schedule=schedule), 0, 4, 4)
    if schedule == "onecycle":
        up = 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * 0.25 / 0.3))
        down = [0.5 * (1 + math.cos(math.pi * (p - 0.3) / 0.7)) for p in (0.5, 0.75)]
        expected = [0.04, up, *down]
    np.testing.assert_allclose(rates, np.multiply(expected, 0.5), rtol=1e-5)


def test_a_schedule_runs_over_the_whole_training_not_over_each_epoch() -> None:
    config = HPConfig(lr_schedule="cosine")
    whole = learning_rates(config, 0, 20, 20)
    parts = [learning_rates(config, first, 10, 20) for first in (0, 10)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_batch_of_one_image_trains(model: str) -> None:
    config = DatasetConfig(train_size=60, test_size=1)
    sizes = {"width": 7, "depth": 1} if model == "mlp" else {}
    trial = Trial(HPConfig(model=model, batch_size=1, **sizes), config)  # type: ignore[arg-type]
    result = CompiledShape(shape_of(trial), DeviceData(load_dataset(config))).train(trial)
    assert result.steps == 60
    assert result.test_accuracy in (0.0, 1.0)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_an_epoch_of_a_single_step_trains(model: str) -> None:
    config = DatasetConfig(train_size=128, test_size=250)
    sizes = {"width": 16, "depth": 1} if model == "mlp" else {}
    trial = Trial(HPConfig(model=model, batch_size=128, epochs=2, **sizes), config)  # type: ignore[arg-type]
    result = CompiledShape(shape_of(trial), DeviceData(load_dataset(config))).train(trial)
    assert (result.status, result.steps) == ("ok", 2)


def test_weights_that_are_no_numbers_are_diverged_though_relu_hides_them_from_the_loss() -> None:
    config = DatasetConfig(train_size=500, test_size=250)
    trial = Trial(
        HPConfig(width=16, batch_size=50, opt="sgd", lr=100, activation_fn="relu", epochs=3), config
    )
    compiled = CompiledShape(shape_of(trial), DeviceData(load_dataset(config)))
    result = compiled.train(trial)
    assert not all(np.isfinite(value).all() for value in compiled.state().values())
    assert result.status == "diverged"
    assert result.test_accuracy is None
