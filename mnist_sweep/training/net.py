"""The net that computes: the layers of ``models.Net`` as tinygrad tensors, and their first values.

Images come in as rows of 784 standardised pixels. Several models of one shape are computed at once
where every tensor, images included, has their number as a leading axis.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor

from mnist_sweep.config import WEIGHT_INITS, HPConfig
from mnist_sweep.kernels.activation import activate
from mnist_sweep.kernels.bfloat16 import rounded_linear
from mnist_sweep.kernels.convolution import convolution
from mnist_sweep.kernels.matmul import linear
from mnist_sweep.kernels.normalisation import batch_norm, max_pool, per_channel
from mnist_sweep.models import MODELS, SIDE, layers_of

#: tinygrad's nn.BatchNorm defaults (Ioffe and Szegedy, 2015).
NORM_EPSILON = 1e-5
NORM_MOMENTUM = 0.1

#: Tensors with these ends of their names are running statistics, not trained.
STATISTICS = (".running_mean", ".running_var")

Array = NDArray[np.float32]
Tensors = Mapping[str, Tensor]
#: Dropout: (units, which place of the model they are at) -> units.
Drop = Callable[[Tensor, int], Tensor]


def is_statistic(name: str) -> bool:
    """Whether the tensor ``name`` is a running statistic of batch norm, which is not trained."""
    return name.endswith(STATISTICS)


def initial_values(config: HPConfig, classes: int) -> dict[str, Array]:
    """The tensors of ``config``'s model at the start, float32, in a fixed order.

    Weights are stored with inputs before outputs: (inputs, outputs) and (height, width, input
    channels, output channels). They are drawn as ``config.weight_init`` says from numpy's Generator
    seeded with ``config.seed``; so are biases by default, which are 0 for any other.
    """
    generator = np.random.default_rng([config.seed, 0])
    drawn, scale_of = WEIGHT_INITS[config.weight_init]
    draw = getattr(generator, drawn)
    values: dict[str, Array] = {}
    for layer in layers_of(config, classes):
        if layer.is_norm:
            for end, start in ((".weight", 1), (".bias", 0), *zip(STATISTICS, (0, 1), strict=True)):
                values[layer.name + end] = np.full(layer.weight, start, np.float32)
            continue
        *taps, inputs, outputs = layer.weight
        scale = scale_of(math.prod(taps) * inputs, math.prod(taps) * outputs)
        low = -scale if drawn == "uniform" else 0.0
        values[f"{layer.name}.weight"] = draw(low, scale, layer.weight).astype(np.float32)
        as_weights = config.weight_init == HPConfig.weight_init
        biases = draw(low, scale, outputs) if as_weights else np.zeros(outputs)
        values[f"{layer.name}.bias"] = biases.astype(np.float32)
    return values


def logits(
    tensors: Tensors, x: Tensor, config: HPConfig, *, training: bool, drop: Drop | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """What ``config``'s model makes of the images ``x`` (..., rows, 784): logits, new statistics.

    Logits are (..., rows, classes). In training, batch norm takes the statistics of the batch and
    moves the running ones, which are returned by name; else it takes the running ones. ``drop`` is
    dropout; places count from 1.
    """
    net = _Net(tensors, config, training, drop)
    return MODELS[config.model].compute(net, x, config), net.statistics


def _boundary(x: Tensor) -> Tensor:
    """Compute ``x`` (and its gradient) once, instead of again inside whatever reads it."""
    return x.contiguous().contiguous_backward()


class _Net:
    def __init__(
        self, tensors: Tensors, config: HPConfig, training: bool, drop: Drop | None
    ) -> None:
        self._tensors, self._training, self._drop = tensors, training, drop
        self._activation = config.activation_fn
        self._linear = rounded_linear if config.precision == "bfloat16" else linear
        self._counts: Counter[str] = Counter()
        # The last layer's: that is where the classes are.
        self.classes = int([*tensors.values()][-1].shape[-1])
        self.statistics: dict[str, Tensor] = {}

    def _next(self, kind: str) -> str:
        self._counts[kind] += 1
        return f"{kind}{self._counts[kind]}"

    def _layer(self, name: str) -> tuple[Tensor, Tensor]:
        return self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]

    def linear(self, x: Tensor, _outputs: int) -> Tensor:
        return self._linear(x, *self._layer(self._next("linear")))

    def images(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], SIDE, SIDE, 1)

    def convolution(self, x: Tensor, _taps: int, _outputs: int) -> Tensor:
        return convolution(x, *self._layer(self._next("conv")))

    def norm(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (..., n, h, w, c); the running variance is unbiased."""
        name = self._next("norm")
        weight, bias = self._layer(name)
        running_mean, running_var = (self._tensors[name + end] for end in STATISTICS)
        if not self._training:
            factor = weight * (running_var + NORM_EPSILON).rsqrt()
            shift = bias - running_mean * factor
            return _boundary(x * per_channel(factor) + per_channel(shift))
        out, mean, variance = batch_norm(x, weight, bias, NORM_EPSILON)
        count = x.numel() // weight.numel()
        unbiased = variance.detach() * (count / max(count - 1, 1))
        keep = 1 - NORM_MOMENTUM
        self.statistics |= {
            f"{name}.running_mean": running_mean * keep + mean.detach() * NORM_MOMENTUM,
            f"{name}.running_var": running_var * keep + unbiased * NORM_MOMENTUM,
        }
        return _boundary(out)

    def max_pool(self, x: Tensor) -> Tensor:
        return _boundary(max_pool(x))

    def flat(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-3], -1)

    def activation(self, x: Tensor) -> Tensor:
        return activate(x, self._activation)

    def dropout(self, x: Tensor) -> Tensor:
        self._counts["dropout"] += 1
        return self._drop(x, self._counts["dropout"]) if self._drop else x
