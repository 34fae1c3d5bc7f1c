"""Both models in plain numpy, float64: what the compiled ones are compared with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.config import HPConfig

Array = NDArray[np.float64]


def activation(name: str, x: Array) -> Array:
    return np.maximum(x, 0) if name == "relu" else x / (1 + np.exp(-x))


def convolution(x: Array, w: Array, b: Array) -> Array:
    """x (n, s, s, ci), w (f, f, ci, co) -> (n, s - f + 1, s - f + 1, co)."""
    taps = w.shape[0]
    size = x.shape[1] - taps + 1
    out: Array = b + sum(
        x[:, i : i + size, j : j + size] @ w[i, j] for i in range(taps) for j in range(taps)
    )
    return out


def batch_norm(x: Array, tensors: Mapping[str, Array], name: str, training: bool) -> Array:
    if training:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    else:
        mean, variance = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
    scaled = (x - mean) / np.sqrt(variance + 1e-5)
    out: Array = scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
    return out


def max_pool(x: Array) -> Array:
    n, h, w, c = x.shape
    out: Array = x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))
    return out


def logits(tensors: Mapping[str, Any], x: Any, config: HPConfig, training: bool) -> Array:
    """The model's output for images ``x`` (n, 784)."""
    t = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    h = np.asarray(x, np.float64)
    if config.model == "mlp":
        assert config.depth is not None
        for i in range(1, config.depth + 1):
            z = h @ t[f"linear{i}.weight"] + t[f"linear{i}.bias"]
            h = activation(config.activation_fn, z)
        last = f"linear{config.depth + 1}"
        return h @ t[f"{last}.weight"] + t[f"{last}.bias"]
    h = h.reshape(-1, 28, 28, 1)
    for pair in (1, 2):
        for i in (2 * pair - 1, 2 * pair):
            z = convolution(h, t[f"conv{i}.weight"], t[f"conv{i}.bias"])
            h = activation(config.activation_fn, z)
        h = max_pool(batch_norm(h, t, f"norm{pair}", training))
    return h.reshape(len(h), -1) @ t["linear1.weight"] + t["linear1.bias"]


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
