"""The architectures: each is one function of the layers that a net offers.

The same function gives a model's layers and their cost, where the net only notes what it is asked
for (``layers_of``), and its output, where it computes with tinygrad (``training/net.py``). Nothing
here imports tinygrad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mnist_sweep.config import HPConfig

#: Pixels along each side of an image.
SIDE = 28


class Net(Protocol):
    """What a model is made of: each method is a layer, which names itself (linear1, linear2, ...).

    ``x`` is a batch as a net sees it; two of one shape can be added. It begins as rows of pixels.
    """

    classes: int

    def linear(self, x: Any, outputs: int) -> Any:
        """A fully connected layer."""

    def images(self, x: Any) -> Any:
        """Rows of pixels as images of one channel."""

    def convolution(self, x: Any, taps: int, outputs: int) -> Any:
        """A convolution by filters of ``taps`` x ``taps``, without padding."""

    def norm(self, x: Any) -> Any:
        """Batch norm of each channel (Ioffe and Szegedy, 2015)."""

    def max_pool(self, x: Any) -> Any:
        """The largest of each 2 x 2 pixels."""

    def flat(self, x: Any) -> Any:
        """Images as rows."""

    def activation(self, x: Any) -> Any:
        """The configuration's activation function."""

    def dropout(self, x: Any) -> Any:
        """The configuration's dropout."""


@dataclass(frozen=True)
class Model:
    """An architecture: ``compute(net, x, config)`` returns logits, one for each class.

    ``uses`` names the hyperparameters that mean something for it and not for every model.
    """

    compute: Callable[[Net, Any, HPConfig], Any]
    uses: tuple[str, ...] = ()


def _mlp(net: Net, x: Any, config: HPConfig) -> Any:
    """Hidden layers of ``widths`` units, each followed by the activation and dropout."""
    for units in config.widths:
        x = net.dropout(net.activation(net.linear(x, units)))
    return net.linear(x, net.classes)


def _cnn(net: Net, x: Any, _config: HPConfig) -> Any:
    """Two pairs of convolutions, each with batch norm and max-pooling; dropout, then linear."""
    x = net.images(x)
    for taps, channels in ((5, 32), (3, 64)):
        for _ in range(2):
            x = net.activation(net.convolution(x, taps, channels))
        x = net.max_pool(net.norm(x))
    return net.linear(net.dropout(net.flat(x)), net.classes)


MODELS: Mapping[str, Model] = {
    "mlp": Model(_mlp, uses=("width", "depth", "precision")),
    "cnn": Model(_cnn),
}


@dataclass(frozen=True)
class Layer:
    """A layer with tensors of its own, and for how many ``pixels`` of an image it is computed.

    ``weight`` is the shape of its weights, inputs before outputs: (inputs, outputs), or (height,
    width, input channels, output channels); of batch norm (channels,). The inputs of a linear layer
    are ``places`` in an image, all channels of one before those of the next.
    """

    name: str
    weight: tuple[int, ...]
    pixels: int
    places: int = 1

    @property
    def is_norm(self) -> bool:
        """Whether it is batch norm."""
        return len(self.weight) == 1


def layers_of(config: HPConfig, classes: int = 10) -> list[Layer]:
    """The layers of ``config``'s model that have tensors of their own, first to last."""
    sketch = _Sketch(classes)
    MODELS[config.model].compute(sketch, _Size(1, SIDE * SIDE), config)
    return sketch.layers


@dataclass(frozen=True)
class _Size:
    """A batch as a sketch sees it: the pixels along a side, and the channels (or units) of each."""

    side: int
    channels: int
    #: In how many places of an image its channels were, before it became a row.
    places: int = 1

    def __add__(self, _other: _Size) -> _Size:
        return self


class _Sketch:
    """A net that notes its layers instead of computing them."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.layers: list[Layer] = []
        self._counts: Counter[str] = Counter()

    def _note(self, kind: str, weight: tuple[int, ...], side: int, places: int = 1) -> None:
        self._counts[kind] += 1
        self.layers.append(Layer(f"{kind}{self._counts[kind]}", weight, side * side, places))

    def linear(self, x: _Size, outputs: int) -> _Size:
        self._note("linear", (x.channels, outputs), 1, x.places)
        return _Size(1, outputs)

    def images(self, _x: _Size) -> _Size:
        return _Size(SIDE, 1)

    def convolution(self, x: _Size, taps: int, outputs: int) -> _Size:
        side = x.side - taps + 1
        self._note("conv", (taps, taps, x.channels, outputs), side)
        return _Size(side, outputs)

    def norm(self, x: _Size) -> _Size:
        self._note("norm", (x.channels,), x.side)
        return x

    def max_pool(self, x: _Size) -> _Size:
        return _Size(x.side // 2, x.channels)

    def flat(self, x: _Size) -> _Size:
        return _Size(1, x.side * x.side * x.channels, x.side * x.side)

    def activation(self, x: _Size) -> _Size:
        return x

    def dropout(self, x: _Size) -> _Size:
        return x
