"""Both models compute what their definition says, forward and backward."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tinygrad import Tensor

from mnist_sweep.config import HPConfig
from mnist_sweep.training.net import initial_values, is_statistic, logits
from tests import reference

MLP = HPConfig(width="24-8-16")
CNN = HPConfig(model="cnn")
CONFIGS = [
    pytest.param(replace(base, activation_fn=activation), id=f"{base.model}-{activation}")
    for base in (MLP, CNN)
    for activation in ("relu", "silu")
]


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    return (
        generator.standard_normal((6, 784)).astype(np.float32),
        generator.integers(0, 10, 6).astype(np.int32),
    )


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_forward_equals_the_numpy_reference(
    config: HPConfig, training: bool, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    values = initial_values(config, 10)
    for name in values:
        if is_statistic(name):  # let evaluation meet statistics that differ from the start
            values[name] = np.linspace(0.5, 1.5, len(values[name]), dtype=np.float32)
    tensors = {name: Tensor(value) for name, value in values.items()}
    out, _ = logits(tensors, Tensor(batch[0]), config, training=training)
    expected = reference.logits(values, batch[0], config, training)
    np.testing.assert_allclose(out.numpy(), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_gradients_equal_the_slopes_of_the_numpy_reference(
    config: HPConfig, batch: tuple[np.ndarray, np.ndarray]
) -> None:
    x, labels = batch
    values = initial_values(config, 10)
    names = [name for name in values if not is_statistic(name)]
    tensors = {name: Tensor(value) for name, value in values.items()}
    out, _ = logits(tensors, Tensor(x), config, training=True)
    loss = out.sparse_categorical_crossentropy(Tensor(labels))
    gradients = loss.gradient(*(tensors[name] for name in names))

    generator = np.random.default_rng(4)
    for name, gradient in zip(names, gradients, strict=True):
        direction = generator.standard_normal(values[name].shape)

        def loss_at(shift: float, name: str = name, direction: np.ndarray = direction) -> float:
            moved = {**values, name: values[name].astype(np.float64) + shift * direction}
            computed = reference.logits(moved, x, config, True)
            return float(reference.cross_entropy(computed, labels).mean())

        step = 1e-8  # so small that hardly a ReLU or a maximum changes its mind in between
        slope = (loss_at(step) - loss_at(-step)) / (2 * step)
        analytic = float((gradient.numpy().astype(np.float64) * direction).sum())
        # Float32 rounds, and where a ReLU or a maximum is as good as tied it decides otherwise.
        assert analytic == pytest.approx(slope, rel=1e-3, abs=1e-4), name


def test_the_mlp_has_the_layers_that_width_and_depth_say() -> None:
    for config, units in ((HPConfig(width=32, depth=2), (32, 32)), (MLP, (24, 8, 16))):
        sizes = [784, *units, 10]
        shapes = {name: v.shape for name, v in initial_values(config, 10).items()}
        assert shapes == {
            f"linear{i}.{part}": shape
            for i, (inputs, outputs) in enumerate(pairwise(sizes), 1)
            for part, shape in (("weight", (inputs, outputs)), ("bias", (outputs,)))
        }


def test_the_cnn_has_79_thousand_trained_numbers() -> None:
    values = initial_values(CNN, 10)
    trained = sum(v.size for name, v in values.items() if not is_statistic(name))
    convolutions = 25 * 32 + 32 + 25 * 32 * 32 + 32 + 9 * 32 * 64 + 64 + 9 * 64 * 64 + 64
    assert trained == convolutions + 2 * (32 + 64) + 576 * 10 + 10


def test_initial_weights_depend_on_the_seed_and_on_nothing_else() -> None:
    one, same = (initial_values(replace(MLP, lr=lr, seed=5), 10) for lr in (1e-3, 1e-1))
    other = initial_values(replace(MLP, seed=6), 10)
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["linear1.weight"], other["linear1.weight"])


def test_initial_weights_lie_within_one_over_the_root_of_the_fan_in() -> None:
    weight = initial_values(MLP, 10)["linear1.weight"]
    assert np.abs(weight).max() <= 1 / 28
    assert np.abs(weight).max() > 0.99 / 28


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("xavier_uniform", lambda inputs, outputs: 2 / (inputs + outputs)),
        ("xavier_normal", lambda inputs, outputs: 2 / (inputs + outputs)),
        ("he_uniform", lambda inputs, _: 2 / inputs),
        ("he_normal", lambda inputs, _: 2 / inputs),
    ],
)
@pytest.mark.parametrize("base", [MLP, CNN], ids=["mlp", "cnn"])
def test_first_weights_have_the_variance_and_the_distribution_of_their_name(
    base: HPConfig, name: str, variance: Callable[[int, int], float]
) -> None:
    values = initial_values(replace(base, weight_init=name), 10)
    for layer, taps in (("linear2", 1),) if base is MLP else (("conv3", 9), ("conv2", 25)):
        weight = values[f"{layer}.weight"]
        *_, inputs, outputs = weight.shape
        expected = variance(inputs * taps, outputs * taps)
        assert weight.var() == pytest.approx(expected, rel=0.2 if base is MLP else 0.05)
        assert abs(weight.mean()) < 4 * np.sqrt(expected / weight.size)
        bounded = np.abs(weight).max() <= np.sqrt(3 * expected) * (1 + 1e-6)
        assert bounded == name.endswith("uniform")
        assert not values[f"{layer}.bias"].any()


def test_the_default_draws_weights_and_biases_as_the_first_release_did() -> None:
    generator = np.random.default_rng([MLP.seed, 0])
    for name, value in initial_values(MLP, 10).items():
        if name.endswith(".weight"):
            bound = 1 / np.sqrt(value.shape[0])
        drawn = generator.uniform(-bound, bound, value.shape).astype(np.float32)
        np.testing.assert_array_equal(value, drawn)
