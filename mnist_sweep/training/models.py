"""The two architectures: a multi-layer perceptron and a convolutional network.

A model is a function of its tensors: ``initial_values`` says which there are and where they start,
``MODELS[name]`` computes with them. Images come in as rows of 784 standardised pixels. Several
models of one shape are computed at once where every tensor, images included, has their number as a
leading axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor

from mnist_sweep.config import ACTIVATIONS, HPConfig
from mnist_sweep.kernels.batch import SIDE
from mnist_sweep.kernels.convolution import convolution
from mnist_sweep.kernels.matmul import linear
from mnist_sweep.kernels.normalisation import batch_norm, max_pool, per_channel
from mnist_sweep.kernels.step import activate

PIXELS = SIDE * SIDE

#: (filter size, input channels, output channels) of the CNN's convolutions, in pairs; batch norm
#: and 2 x 2 max-pooling follow each pair.
CONVOLUTIONS = ((5, 1, 32), (5, 32, 32), (3, 32, 64), (3, 64, 64))
CNN_FEATURES = 576

#: tinygrad's nn.BatchNorm defaults (Ioffe and Szegedy, 2015).
NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.1

#: Tensors with these ends of their names are running statistics, not trained.
STATISTICS = (".running_mean", ".running_var")

Array = NDArray[np.float32]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Output:
    """What a model computes from a batch: logits (..., rows, classes), new running statistics."""

    logits: Tensor
    statistics: Mapping[str, Tensor]


def is_statistic(name: str) -> bool:
    """Whether the tensor ``name`` is a running statistic of batch norm, which is not trained."""
    return name.endswith(STATISTICS)


def _layer_shapes(config: HPConfig, classes: int) -> dict[str, tuple[int, ...]]:
    if config.model == "mlp":
        assert config.width is not None
        assert config.depth is not None
        sizes = [PIXELS, *[config.width] * config.depth, classes]
        return {f"linear{i}": pair for i, pair in enumerate(pairwise(sizes), 1)}
    shapes: dict[str, tuple[int, ...]] = {
        f"conv{i}": (taps, taps, inputs, outputs)
        for i, (taps, inputs, outputs) in enumerate(CONVOLUTIONS, 1)
    }
    return {**shapes, "linear1": (CNN_FEATURES, classes)}


def initial_values(config: HPConfig, classes: int) -> dict[str, Array]:
    """The tensors of ``config``'s model at the start, float32, in a fixed order.

    Weights are stored with inputs before outputs: (inputs, outputs) and (height, width, input
    channels, output channels). Weights and biases are uniform in +-1/sqrt(fan-in), as tinygrad's
    and PyTorch's layers start, drawn from numpy's Generator seeded with ``config.seed``.
    """
    generator = np.random.default_rng([config.seed, 0])
    values: dict[str, Array] = {}
    for name, shape in _layer_shapes(config, classes).items():
        bound = 1 / np.sqrt(np.prod(shape[:-1]))
        values[f"{name}.weight"] = generator.uniform(-bound, bound, shape).astype(np.float32)
        values[f"{name}.bias"] = generator.uniform(-bound, bound, shape[-1]).astype(np.float32)
    if config.model == "cnn":
        for i, (_, _, channels) in enumerate(CONVOLUTIONS[1::2], 1):
            for end, start in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                values[f"norm{i}.{end}"] = np.full(channels, start, np.float32)
    return values


def _boundary(x: Tensor) -> Tensor:
    """Compute ``x`` (and its gradient) once, instead of again inside whatever reads it."""
    return x.contiguous().contiguous_backward()


@dataclass(frozen=True)
class Pass:
    """What a pass through a model is for: ``training``, or evaluation.

    ``drop(x, place)`` is applied to the hidden units of each place; by default it drops nothing.
    """

    training: bool
    drop: Callable[[Tensor, int], Tensor] = lambda x, _place: x


def mlp(tensors: Tensors, x: Tensor, config: HPConfig, through: Pass) -> Output:
    """``depth`` hidden layers of ``width`` units, each followed by the activation and dropout."""
    assert config.depth is not None
    activation = ACTIVATIONS[config.activation_fn]
    for i in range(1, config.depth + 1):
        x = through.drop(activate(linear(x, *_layer(tensors, f"linear{i}")), activation), i)
    return Output(linear(x, *_layer(tensors, f"linear{config.depth + 1}")), {})


def cnn(tensors: Tensors, x: Tensor, config: HPConfig, through: Pass) -> Output:
    """Four convolutions in two pairs, each pair with batch norm and max-pooling, then linear.

    Dropout is before the linear layer.
    """
    activation = ACTIVATIONS[config.activation_fn]
    x = x.reshape(*x.shape[:-1], SIDE, SIDE, 1)
    statistics: dict[str, Tensor] = {}
    for pair in (1, 2):
        for i in (2 * pair - 1, 2 * pair):
            x = activate(convolution(x, *_layer(tensors, f"conv{i}")), activation)
        x, new = _batch_norm(tensors, f"norm{pair}", x, through.training)
        statistics |= new
        x = _boundary(max_pool(x))
    features = through.drop(x.reshape(*x.shape[:-3], CNN_FEATURES), 1)
    return Output(linear(features, *_layer(tensors, "linear1")), statistics)


def _layer(tensors: Tensors, name: str) -> tuple[Tensor, Tensor]:
    return tensors[f"{name}.weight"], tensors[f"{name}.bias"]


def _batch_norm(
    tensors: Tensors, name: str, x: Tensor, training: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    """Normalise each channel of ``x`` (..., n, h, w, c): by the batch in training, else as learnt.

    In training also returns the moved running statistics; the running variance is unbiased.
    """
    weight, bias = _layer(tensors, name)
    running_mean, running_var = (tensors[name + end] for end in STATISTICS)
    if not training:
        factor = weight * (running_var + NORM_EPSILON).rsqrt()
        return _boundary(x * per_channel(factor) + per_channel(bias - running_mean * factor)), {}
    out, mean, variance = batch_norm(x, weight, bias, NORM_EPSILON)
    count = x.numel() // weight.numel()
    unbiased = variance.detach() * (count / max(count - 1, 1))
    keep = 1 - NORM_MOMENTUM
    return _boundary(out), {
        f"{name}.running_mean": running_mean * keep + mean.detach() * NORM_MOMENTUM,
        f"{name}.running_var": running_var * keep + unbiased * NORM_MOMENTUM,
    }


#: name -> function of (tensors, images (..., rows, 784), config, pass) to Output.
MODELS: Mapping[str, Callable[[Tensors, Tensor, HPConfig, Pass], Output]] = {
    "mlp": mlp,
    "cnn": cnn,
}
