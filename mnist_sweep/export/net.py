"""Trained models in numpy: their weights as PyTorch stores them, and what they compute."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.config import HPConfig
from mnist_sweep.models import MODELS, SIDE, layers_of

Array = NDArray[Any]


def _sigmoid(x: Array) -> Array:
    return np.asarray((1 + np.tanh(x / 2)) / 2)  # which cannot overflow


def _gelu(x: Array) -> Array:
    """By the error function, to 1.5e-7 (Abramowitz and Stegun, 1964, 7.1.26)."""
    y = np.abs(x) / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * y)
    powers = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592, 0)
    return np.asarray(x * (1 + np.sign(x) * (1 - np.polyval(powers, t) * np.exp(-y * y))) / 2)


#: The functions of ``config.ACTIVATIONS``, of arrays.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
}


def torch_layout(values: Mapping[str, Array], config: HPConfig) -> dict[str, Array]:
    """The tensors of ``training.net`` as PyTorch stores them, under the same names.

    Weights are (outputs, inputs) and (outputs, inputs, height, width), and images that become rows
    do so channel by channel.
    """
    places = {f"{layer.name}.weight": layer.places for layer in layers_of(config)}
    moved = {}
    for name, value in values.items():
        if value.ndim == 2:
            images = value.reshape(places[name], -1, value.shape[1])
            value = images.swapaxes(0, 1).reshape(value.shape)
        axes = (3, 2, 0, 1) if value.ndim == 4 else None
        moved[name] = np.ascontiguousarray(value.transpose(axes))
    return moved


def logits(tensors: Mapping[str, Array], x: Array, config: HPConfig) -> Array:
    """What ``config``'s trained model makes of standardised pixels ``x`` (n, 784): (n, classes).

    ``tensors`` are as ``torch_layout`` gives them.
    """
    out: Array = MODELS[config.model].compute(_Net(tensors, config), x, config)
    return out


class _Net:
    """See ``models.Net``; images are (n, channels, side, side)."""

    def __init__(self, tensors: Mapping[str, Array], config: HPConfig) -> None:
        self._tensors, self._config = tensors, config
        self._counts: Counter[str] = Counter()
        self.classes = len([*tensors.values()][-1])

    def _next(self, kind: str, *ends: str) -> list[Array]:
        self._counts[kind] += 1
        ends = ("weight", "bias", *ends)
        return [self._tensors[f"{kind}{self._counts[kind]}.{end}"] for end in ends]

    def linear(self, x: Array, _outputs: int) -> Array:
        weight, bias = self._next("linear")
        return x @ weight.T + bias

    def images(self, x: Array) -> Array:
        return x.reshape(-1, 1, SIDE, SIDE)

    def convolution(self, x: Array, taps: int, _outputs: int) -> Array:
        weight, bias = self._next("conv")
        windows = np.lib.stride_tricks.sliding_window_view(x, (taps, taps), (2, 3))
        out = np.tensordot(windows, weight, ((1, 4, 5), (1, 2, 3)))
        return np.moveaxis(out + bias, 3, 1)

    def norm(self, x: Array) -> Array:
        weight, bias, mean, variance = self._next("norm", "running_mean", "running_var")
        factor = weight / np.sqrt(variance + 1e-5)
        return x * factor[:, None, None] + (bias - mean * factor)[:, None, None]

    def max_pool(self, x: Array) -> Array:
        n, channels, side, _ = x.shape
        out: Array = x.reshape(n, channels, side // 2, 2, side // 2, 2).max((3, 5))
        return out

    def flat(self, x: Array) -> Array:
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def activation(self, x: Array) -> Array:
        return ACTIVATIONS[self._config.activation_fn](x)

    def dropout(self, x: Array) -> Array:
        return x
