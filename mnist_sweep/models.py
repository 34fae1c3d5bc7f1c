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
    "mlp": Model(_mlp, uses=("width", "depth")),
    "cnn": Model(_cnn),
}


@dataclass(frozen=True)
class Layer:
    """A layer with tensors of its own, and for how many ``pixels`` of an image it is computed.

    ``weight`` is the shape of its weights, inputs before outputs: (inputs, outputs), or (height,
    width, input channels, output channels); of batch norm (channels,).
    """

    name: str
    weight: tuple[int, ...]
    pixels: int

    @property
    def is_norm(self) -> bool:
        """Whether it is batch norm."""
        return len(self.weight) == 1


def layers_of(config: HPConfig, classes: int = 10) -> list[Layer]:
    """The layers of ``config``'s model that have tensors of their own, first to last."""
    layers = []
    for step in steps_of(config, classes):
        x, out = step.x, step.out
        weight: tuple[int, ...] | None = {
            "linear": (x.channels, out.channels),
            "conv": (step.taps, step.taps, x.channels, out.channels),
            "norm": (x.channels,),
        }.get(step.kind)
        if weight:
            layers.append(Layer(step.name, weight, out.side**2))
    return layers


# Sums return their first term, and most layers what they get: who is who decides.
@dataclass(frozen=True, eq=False)
class Size:
    """A batch as a sketch sees it: the pixels along a side, and the channels (or units) of each."""

    side: int
    channels: int

    def __add__(self, _other: Size) -> Size:
        return self


@dataclass(frozen=True)
class Step:
    """What a model asks of a net: a ``kind`` of layer, which makes ``out`` of ``x``.

    Its ``name`` is the kind and how many of it there are so far; ``taps`` are a convolution's.
    """

    kind: str
    name: str
    x: Size
    out: Size
    taps: int


def steps_of(config: HPConfig, classes: int = 10) -> list[Step]:
    """All that ``config``'s model asks of a net, first to last."""
    sketch = _Sketch(classes)
    MODELS[config.model].compute(sketch, Size(1, SIDE * SIDE), config)
    return sketch.steps


class _Sketch:
    """A net that notes its layers instead of computing them."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.steps: list[Step] = []
        self._counts: Counter[str] = Counter()

    def _note(self, kind: str, x: Size, out: Size, taps: int = 0) -> Size:
        self._counts[kind] += 1
        self.steps.append(Step(kind, f"{kind}{self._counts[kind]}", x, out, taps))
        return out

    def linear(self, x: Size, outputs: int) -> Size:
        return self._note("linear", x, Size(1, outputs))

    def images(self, x: Size) -> Size:
        return self._note("images", x, Size(SIDE, 1))

    def convolution(self, x: Size, taps: int, outputs: int) -> Size:
        return self._note("conv", x, Size(x.side - taps + 1, outputs), taps)

    def norm(self, x: Size) -> Size:
        return self._note("norm", x, x)

    def max_pool(self, x: Size) -> Size:
        return self._note("pool", x, Size(x.side // 2, x.channels))

    def flat(self, x: Size) -> Size:
        return self._note("flat", x, Size(1, x.side * x.side * x.channels))

    def activation(self, x: Size) -> Size:
        return self._note("activation", x, x)

    def dropout(self, x: Size) -> Size:
        return x
