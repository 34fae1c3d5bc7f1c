"""The models in plain numpy, float64: what the compiled ones are compared with."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor, dtypes

from mnist_sweep.config import ACTIVATIONS, HPConfig
from mnist_sweep.export.net import _Net, torch_layout
from mnist_sweep.models import MODELS

Array = NDArray[np.float64]


def activation(name: str, x: Array) -> Array:
    """The activation itself, in double precision; test_step holds it against formulas."""
    return np.asarray(ACTIVATIONS[name](Tensor(x, dtype=dtypes.float64)).numpy(), np.float64)


def convolution(x: Array, w: Array, b: Array) -> Array:
    """x (n, s, s, ci), w (f, f, ci, co) -> (n, s - f + 1, s - f + 1, co)."""
    taps = w.shape[0]
    size = x.shape[1] - taps + 1
    out: Array = b + sum(
        x[:, i : i + size, j : j + size] @ w[i, j] for i in range(taps) for j in range(taps)
    )
    return out


class _Reference(_Net):
    """The net of exported models, which can train too, with any activation."""

    def __init__(self, tensors: Mapping[str, Array], config: HPConfig, training: bool) -> None:
        super().__init__(tensors, config)
        self._training = training

    def norm(self, x: Array) -> Array:
        if not self._training:
            return super().norm(x)
        weight, bias = self._next("norm")
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        scaled: Array = (x - mean) / np.sqrt(variance + 1e-5)
        return scaled * weight[:, None, None] + bias[:, None, None]

    def activation(self, x: Array) -> Array:
        return activation(self._config.activation_fn, x)


def logits(tensors: Mapping[str, Any], x: Any, config: HPConfig, training: bool) -> Array:
    """The model's output for images ``x`` (n, 784)."""
    values = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    net = _Reference(torch_layout(values, config), config, training)
    out: Array = MODELS[config.model].compute(net, np.asarray(x, np.float64), config)
    return out


def cross_entropy(logits: Array, labels: NDArray[Any]) -> Array:
    top = logits.max(1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    out: Array = total - logits[np.arange(len(labels)), labels]
    return out


def warped(image: NDArray[np.uint8], warp: Any) -> Array:
    """``image`` (784,) seen through ``warp`` (6,), bilinear and 0 outside."""
    pixels = np.pad(image.reshape(28, 28).astype(np.float64), 40)
    grid = np.stack(np.meshgrid(np.arange(28.0), np.arange(28.0), indexing="ij"), -1) - 13.5
    at = grid @ np.asarray(warp[:4], np.float64).reshape(2, 2).T + warp[4:] + 13.5 + 40
    corner = np.floor(at).astype(int)
    (down, right) = np.moveaxis(at - corner, -1, 0)
    y, x = np.moveaxis(corner, -1, 0)
    upper = pixels[y, x] * (1 - right) + pixels[y, x + 1] * right
    lower = pixels[y + 1, x] * (1 - right) + pixels[y + 1, x + 1] * right
    out: Array = (upper * (1 - down) + lower * down).reshape(784)
    return out


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mask = np.uint64(0xFFFFFFFF)
    x = (x ^ (x >> np.uint64(16))) * np.uint64(0x7FEB352D) & mask
    x = (x ^ (x >> np.uint64(15))) * np.uint64(0x846CA68B) & mask
    return x ^ (x >> np.uint64(16))


def dropout_factors(
    noise: int, step: int, layer: int, shape: tuple[int, ...], share: float
) -> Array:
    """What each hidden unit of a step is multiplied by: 0, or 1 / (1 - share)."""
    key = _mixed(np.uint64(noise) ^ _mixed(np.array([step * 128 + layer], np.uint64)))
    places = np.arange(np.prod(shape), dtype=np.uint64).reshape(shape)
    draws = (_mixed(places ^ key) >> np.uint64(8)) / 2**24
    return np.where(draws < np.float32(share), 0.0, 1 / (1 - share))


def updated(
    config: HPConfig, w: Array, g: Array, state: dict[str, Any], lr: float, t: int
) -> Array:
    """``w`` after step ``t`` (from 1) of torch.optim's optimizer of that name with gradient ``g``.

    Weight decay is decoupled. What it keeps is in ``state``, empty before the first step.
    """
    decay = config.weight_decay or {"adamw": 0.01}.get(config.opt, 0.0)
    new: Array = w * (1 - lr * decay) - lr * _move(config, g, state, t)
    return new


def _move(config: HPConfig, g: Array, state: dict[str, Any], t: int) -> Any:
    def kept(name: str, factor: float, new: Array) -> Any:
        state[name] = factor * state.get(name, 0.0) + new
        return state[name]

    momentum = config.momentum
    if config.opt == "sgd":
        velocity = kept("velocity", momentum, g)
        return g + momentum * velocity if config.nesterov else velocity
    if config.opt == "rmsprop":
        move = g / (np.sqrt(kept("square", 0.99, 0.01 * g * g)) + 1e-8)
        return kept("velocity", momentum, move)
    if config.opt == "adagrad":
        return g / (np.sqrt(kept("sum", 1, g * g)) + 1e-10)
    mean = kept("mean", 0.9, 0.1 * g)
    if config.opt == "adamax":
        state["norm"] = np.maximum(0.999 * state.get("norm", 0.0), np.abs(g) + 1e-8)
        return mean / (1 - 0.9**t) / state["norm"]
    root = np.sqrt(kept("square", 0.999, 0.001 * g * g) / (1 - 0.999**t)) + 1e-8
    if config.opt == "nadam":
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * step)) for step in (t, t + 1))
        state["product"] = state.get("product", 1.0) * now
        ahead = following * mean / (1 - state["product"] * following)
        return ((1 - now) * g / (1 - state["product"]) + ahead) / root
    assert config.opt in ("adam", "adamw")
    return mean / (1 - 0.9**t) / root


def shrunk(gradients: Iterable[Array], limit: float) -> list[Array]:
    """``gradients`` of a step, scaled down to the norm ``limit`` if theirs is larger; 0: no limit.

    As PyTorch's clip_grad_norm_ does.
    """
    arrays = list(gradients)
    norm = np.sqrt(sum(np.square(g).sum() for g in arrays))
    share = min(1.0, limit / (norm + 1e-6)) if limit else 1.0
    return [g * share for g in arrays]
