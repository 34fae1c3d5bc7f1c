"""The small kernels of a step compute what their formulas say."""

import math
from typing import Any

import numpy as np
import pytest
from tinygrad import Tensor

from mnist_sweep.config import ACTIVATIONS, HPConfig
from mnist_sweep.kernels import csource, step
from mnist_sweep.kernels.activation import activate
from mnist_sweep.kernels.batch import gather_batch
from mnist_sweep.kernels.control import COUNTS, REALS, Control, Count, Real, slot, slot_values
from mnist_sweep.optimizers import OPTIMIZERS
from mnist_sweep.training import backend
from tests import reference


def _control(
    rates: list[float],
    rows: list[int] | None = None,
    patience: int = 1,
    decay: float = 1.0,
    images: int = 0,
) -> Control:
    """The control of a single trial."""
    reals = np.zeros((1, REALS), np.float32)
    reals[0, [Real.SCALE, Real.BEST_LOSS]] = 1.0, np.inf
    reals[0, [slot("lr_decay"), slot("patience")]] = decay, patience
    counts = np.zeros((1, COUNTS), np.int32)
    counts[0, Count.IMAGES] = images
    return Control(
        rows=backend.to_device(np.array([rows or [0]], np.int32)),
        rates=backend.to_device(np.array([rates], np.float32)),
        reals=backend.to_device(reals),
        counts=backend.to_device(counts),
    )


def _advance(control: Control, losses: np.ndarray) -> None:
    hits = Tensor.zeros(len(losses)).contiguous()
    Tensor.realize(*step.advance(control, Tensor(losses.astype(np.float32)).realize(), hits))


def _updates(configs: list[HPConfig], gradients: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Two parameters of trials with ``configs``, ones at first, after steps with ``gradients``.

    Each gradient has the trials as its first axis, and so have the parameters.
    """
    trials, optimizer = len(configs), OPTIMIZERS[configs[0].opt]
    reals = np.zeros((trials, REALS), np.float32)
    reals[:, Real.SCALE] = 1.0
    reals[:, len(Real) :] = [slot_values(config) for config in configs]
    rates = [[config.lr / step for step in range(1, len(gradients) + 1)] for config in configs]
    control = Control(
        rows=backend.zeros((trials, 1), np.int32),
        rates=backend.to_device(np.array(rates, np.float32)),
        reals=backend.to_device(reals),
        counts=backend.zeros((trials, COUNTS), np.int32),
    )
    parameters = [backend.to_device(np.ones_like(g)) for g in gradients[0]]
    slots = [
        [backend.zeros(p.shape) for _ in range(optimizer.slots + (configs[0].momentum > 0))]
        for p in parameters
    ]
    for step_gradients in gradients:
        moved = [backend.to_device(g) for g in step_gradients]
        norm = step.squared_norm(moved, trials) if configs[0].clip_norm else None
        zeros = Tensor.zeros(trials).contiguous().realize()
        written = step.advance(control, zeros, zeros)
        for parameter, gradient, state in zip(parameters, moved, slots, strict=True):
            written += step.update_parameter(
                optimizer, parameter, gradient, state, control,
                decayed=configs[0].weight_decay > 0, squared_norm=norm,
            )  # fmt: skip
        Tensor.realize(*written)
    return [backend.read(parameter) for parameter in parameters]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(({"opt": name}, {"opt": name}) for name in OPTIMIZERS),
        ({"opt": "sgd", "momentum": 0.9}, {"opt": "sgd", "momentum": 0.5, "nesterov": 1}),
        ({"opt": "rmsprop", "momentum": 0.9}, {"opt": "rmsprop", "momentum": 0.3}),
        ({"opt": "adamw", "weight_decay": 3.0}, {"opt": "adamw"}),
        ({"opt": "sgd", "clip_norm": 0.5}, {"opt": "sgd", "clip_norm": 12.0}),
        ({"opt": "adamax", "clip_norm": 3.0}, {"opt": "adamax", "clip_norm": 1e3}),
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_optimizers_follow_the_formulas_of_pytorch_alone_and_side_by_side(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """With changing rates; a gradient is 0 at first for some weights and always for one."""
    configs = [HPConfig(lr=0.1, **one), HPConfig(lr=0.03, **other)]
    generator = np.random.default_rng(0)
    shapes = ((2, 7, 5), (2, 48))
    gradients = [
        [generator.standard_normal(shape).astype(np.float32) for shape in shapes] for _ in range(4)
    ]
    gradients[0][1][:, :9] = 0
    for _, second in gradients:
        second[:, 4] = 0
    together = _updates(configs, gradients)
    alone = _updates(configs[1:], [[g[1:] for g in both] for both in gradients])
    np.testing.assert_array_equal(alone[0][0], together[0][1])
    np.testing.assert_array_equal(alone[1][0], together[1][1])
    for k, config in enumerate(configs):
        expected = [np.ones(shape[1:]) for shape in shapes]
        kept: list[dict[str, Any]] = [{}, {}]
        for t, both in enumerate(gradients, 1):
            clipped = reference.shrunk([g[k].astype(np.float64) for g in both], config.clip_norm)
            expected = [
                reference.updated(config, w, g, state, config.lr / t, t)
                for w, g, state in zip(expected, clipped, kept, strict=True)
            ]
        for i in (0, 1):
            np.testing.assert_allclose(together[i][k], expected[i], rtol=1e-4, atol=1e-6)


def test_the_plateau_schedule_decays_when_a_window_is_not_below_the_best_one() -> None:
    control = _control([1.0] * 12, patience=3, decay=0.5)
    windows = [(3.0, 1.0), (2.0, 1.0), (2.0, 0.5), (1.0, 0.5)]  # mean of three steps, then scale
    for mean, scale in windows:
        for shift in (-0.5, 0.0, 0.5):
            _advance(control, np.array([mean + shift - 0.25, mean + shift + 0.25]))
        assert backend.read(control.reals)[0, Real.SCALE] == scale


def test_the_rate_of_a_step_is_the_schedules_times_the_decay_so_far() -> None:
    control = _control([0.1, 0.2, 0.3], patience=1, decay=0.5)
    seen = []
    for loss in (1.0, 2.0, 3.0):
        _advance(control, np.array([loss]))
        seen.append(float(backend.read(control.reals)[0, Real.LR]))
    assert seen == pytest.approx([0.1, 0.2, 0.15])


def test_cross_entropy_and_its_slopes_equal_numpy() -> None:
    generator = np.random.default_rng(1)
    logits = (generator.standard_normal((7, 10)) * 20).astype(np.float32)
    labels = generator.integers(0, 10, 7).astype(np.uint8)
    tensor = Tensor(logits).realize()
    control = _control([0.0], rows=[*range(7)])
    loss, hits, slopes = step.cross_entropy(tensor, backend.to_device(labels), control)
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    p = shifted / shifted.sum(1, keepdims=True)
    one_hot = np.eye(10)[labels]
    np.testing.assert_allclose(loss.numpy(), -np.log((p * one_hot).sum(1)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slopes.numpy(), (p - one_hot) / 7, atol=1e-6)
    assert hits.numpy().tolist() == (logits.argmax(1) == labels).astype(float).tolist()


def test_of_equal_logits_the_first_is_the_prediction() -> None:
    logits = Tensor([[1.0, 5.0, 5.0], [1.0, 5.0, 5.0], [0.0, 0.0, 0.0]])
    labels, control = (
        backend.to_device(np.array([1, 2, 0], np.uint8)),
        _control([0.0], rows=[0, 1, 2]),
    )
    _, hits, _ = step.cross_entropy(logits.realize(), labels, control)
    assert hits.numpy().tolist() == [1.0, 0.0, 1.0]


def test_a_batch_holds_the_standardised_images_of_its_place_in_the_order() -> None:
    generator = np.random.default_rng(2)
    images = generator.integers(0, 256, (9, 784), dtype=np.uint8)
    labels = generator.integers(0, 10, 9, dtype=np.uint8)
    order = [8, 3, 5, 1, 0, 7]
    control = _control([0.0] * 3, rows=order)
    device_images, device_labels = backend.to_device(images), backend.to_device(labels)
    for start in (0, 2, 4):
        x = gather_batch(device_images, control, 2, 0.13, 0.31)
        rows = order[start : start + 2]
        chosen = backend.to_device(10 * np.eye(10, dtype=np.float32)[labels[rows]])
        _, hits, _ = step.cross_entropy(chosen, device_labels, control)
        np.testing.assert_allclose(x.numpy()[0], (images[rows] / 255 - 0.13) / 0.31, atol=1e-5)
        assert hits.numpy().tolist() == [1.0, 1.0]
        _advance(control, np.zeros(1))


def test_counting_leaves_out_the_rows_after_the_last_image() -> None:
    control = _control([0.0], images=5)  # five images in batches of three
    for _ in range(2):
        loss, hits = Tensor([1.0, 2.0, 4.0]).realize(), Tensor([1.0, 1.0, 0.0]).realize()
        Tensor.realize(*step.count_batch(control, loss, hits))
    reals = backend.read(control.reals)[0]
    assert (reals[Real.LOSS_SUM], reals[Real.HITS]) == (10.0, 4.0)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_and_their_slopes_equal_numpy(name: str) -> None:
    z = np.linspace(-9, 9, 64, dtype=np.float32).reshape(4, 16)
    tensor = Tensor(z).realize()
    out = activate(tensor, name)
    (slope,) = (out * 2.0).sum().gradient(tensor)
    x = z.astype(np.float64)
    sigmoid, below = 1 / (1 + np.exp(-x)), np.exp(np.minimum(x, 0))
    phi = np.array([math.erfc(-value / math.sqrt(2)) / 2 for value in x.flat]).reshape(x.shape)
    expected = {
        "relu": (np.maximum(x, 0), x > 0),
        "silu": (x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))),
        "gelu": (x * phi, phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
        "elu": (np.where(x > 0, x, below - 1), below),
        "leaky_relu": (np.where(x > 0, x, 0.01 * x), np.where(x > 0, 1, 0.01)),
        "tanh": (np.tanh(x), 1 / np.cosh(x) ** 2),
        "sigmoid": (sigmoid, sigmoid * (1 - sigmoid)),
    }[name]
    np.testing.assert_allclose(out.numpy(), expected[0], atol=1e-5)
    np.testing.assert_allclose(slope.numpy(), 2 * np.asarray(expected[1], float), atol=1e-5)


@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_activations_and_their_slopes_stay_finite_far_out(name: str) -> None:
    """An exponential of 89 is infinite in float32."""
    tensor = Tensor([-1e6, -200.0, -89.0, 0.0, 89.0, 200.0, 1e6]).realize()
    out = activate(tensor, name)
    (slope,) = out.sum().gradient(tensor)
    assert np.isfinite(out.numpy()).all()
    assert np.isfinite(slope.numpy()).all()


@pytest.mark.parametrize("size", [1, 37, 40_000])
def test_silu_in_c_gives_the_bits_of_the_generated_kernels(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(3)
    z = (generator.standard_normal(size) * 50).astype(np.float32)
    edges = [0.0, -0.0, 88.7, -88.7, 88.8, -88.8, 103.9, -103.9, 105, -105, 1e38, -1e38, 1e-40]
    edges += [np.inf, -np.inf, np.nan]
    z[: len(edges)] = edges[:size]
    tensor, g = Tensor(z).realize(), Tensor(np.linspace(-1, 1, size, dtype=np.float32)).realize()
    results = []
    for in_c in (True, False):
        monkeypatch.setattr(csource, "supported", lambda _, in_c=in_c: in_c)
        out = activate(tensor, "silu")
        (slope,) = (out * g).sum().gradient(tensor)
        results.append((out.numpy(), slope.numpy()))
    np.testing.assert_array_equal(results[0], results[1])
