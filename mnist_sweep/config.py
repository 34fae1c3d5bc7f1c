"""What decides the result of one training run, and the names it may use.

``HPConfig`` is the single source of truth for hyperparameters: the spec, the CSV and the
documentation all read its fields. The tables ``MODELS``, ``ACTIVATIONS``, ``OPTIMIZERS`` and
``SCHEDULES`` hold everything that can be chosen by name; a new entry there is all that a new
activation, optimizer or schedule needs.

Nothing here imports tinygrad: the tables work on whatever has tinygrad's elementwise operations,
so that a spec can be checked and planned without opening a device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import methodcaller
from typing import Any

MODELS: tuple[str, ...] = ("mlp", "cnn")

#: Fields that only some models have; for the others they are None.
MODEL_FIELDS: Mapping[str, tuple[str, ...]] = {"width": ("mlp",), "depth": ("mlp",)}

#: Activation functions: name -> function from tensor to tensor of the same shape.
ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": methodcaller("relu"),
    "silu": methodcaller("silu"),
}


@dataclass(frozen=True)
class Optimizer:
    """The arithmetic of an optimizer on one parameter tensor.

    ``slots`` is the number of state tensors that each parameter needs, zero at the start.
    ``update(parameter, gradient, state, lr, step)`` returns the new parameter and the new state;
    ``step`` counts from 1. It uses elementwise operations only, on Tensors of one shape or on
    single elements inside a kernel.
    """

    slots: int
    update: Callable[[Any, Any, Sequence[Any], Any, Any], tuple[Any, list[Any]]]


def _sgd(
    parameter: Any, gradient: Any, _state: Sequence[Any], lr: Any, _step: Any
) -> tuple[Any, list[Any]]:
    """Plain stochastic gradient descent: no momentum, no weight decay."""
    return parameter - lr * gradient, []


def _adam(
    parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, step: Any
) -> tuple[Any, list[Any]]:
    """Adam with the defaults of tinygrad's ``nn.optim.Adam`` (Kingma and Ba, 2015, algorithm 1)."""
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    mean = beta1 * state[0] + (1 - beta1) * gradient
    variance = beta2 * state[1] + (1 - beta2) * (gradient * gradient)
    # beta**step as an exponential: step is a number on the device, not one that Python knows.
    mean_hat = mean / (1 - (step * math.log2(beta1)).exp2())
    variance_hat = variance / (1 - (step * math.log2(beta2)).exp2())
    return parameter - lr * (mean_hat / (variance_hat.sqrt() + epsilon)), [mean, variance]


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(slots=2, update=_adam),
    "sgd": Optimizer(slots=0, update=_sgd),
}


def _onecycle(progress: float) -> float:
    """Cosine warm-up from 1/25 to 1 over 30 %, then cosine to 0 (Smith and Topin, 2018)."""
    warm_up, start = 0.3, 1 / 25
    if progress < warm_up:
        return start + (1 - start) * 0.5 * (1 - math.cos(math.pi * progress / warm_up))
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


@dataclass(frozen=True)
class Schedule:
    """How the learning rate changes during a run.

    ``factor(progress)`` multiplies ``lr`` at a step, where ``progress`` is steps done / steps in
    all, 0 <= progress < 1. ``plateau`` adds the decay by ``lr_decay`` whenever the mean training
    loss of ``patience`` steps is not below the best such mean so far.
    """

    factor: Callable[[float], float]
    plateau: bool = False


SCHEDULES: Mapping[str, Schedule] = {
    "plateau": Schedule(lambda _: 1.0, plateau=True),
    "constant": Schedule(lambda _: 1.0),
    "cosine": Schedule(lambda progress: 0.5 * (1 + math.cos(math.pi * progress))),
    "onecycle": Schedule(_onecycle),
}

#: What only a schedule with ``plateau`` reads.
PLATEAU_FIELDS = ("lr_decay", "patience")


def _whole(default: int | None, low: int, high: int, doc: str) -> Any:
    return field(default=default, metadata={"type": int, "low": low, "high": high, "doc": doc})


def _real(default: float, high: float, doc: str) -> Any:
    return field(default=default, metadata={"type": float, "low": 0.0, "high": high, "doc": doc})


def _extra(high: float, doc: str) -> Any:
    """A hyperparameter that its default, 0, switches off: it then changes nothing at all."""
    meta = {"type": float, "low": 0.0, "high": high, "doc": doc, "extra": True}
    return field(default=0.0, metadata=meta)


def _name(default: str, choices: Sequence[str], doc: str) -> Any:
    return field(default=default, metadata={"type": str, "choices": tuple(choices), "doc": doc})


@dataclass(frozen=True)
class HPConfig:
    """The hyperparameters of one training run.

    Raises ValueError on a value of the wrong type or outside its range, and on a width or depth
    given for the CNN, where both are None.
    """

    batch_size: int = _whole(64, 1, 60_000, "training images per step")
    lr: float = _real(1e-3, 1e3, "learning rate; the highest one of its schedule")
    lr_decay: float = _real(0.9, 1.0, "factor of the plateau schedule")
    patience: int = _whole(50, 1, 1_000_000, "steps in a window of the plateau schedule")
    opt: str = _name("adam", tuple(OPTIMIZERS), "optimizer")
    width: int | None = _whole(512, 1, 65_536, "units in each hidden layer (MLP)")
    depth: int | None = _whole(2, 1, 100, "hidden layers (MLP)")
    activation_fn: str = _name("silu", tuple(ACTIVATIONS), "activation function")
    epochs: int = _whole(1, 1, 100_000, "passes over the training split")
    model: str = _name("mlp", MODELS, "architecture")
    lr_schedule: str = _name("plateau", tuple(SCHEDULES), "learning-rate schedule")
    seed: int = _whole(0, 0, 2**32 - 1, "seed of the weights, the batch order and all noise")
    label_smoothing: float = _extra(0.99, "share of each label given to all classes alike")
    weight_decay: float = _extra(100.0, "decoupled decay of all weights, in units of lr")
    dropout: float = _extra(0.99, "share of the hidden units left out of each step")
    shift: float = _extra(14.0, "pixels by which a training image is moved at most")
    rotation: float = _extra(180.0, "degrees by which a training image is turned at most")
    scale: float = _extra(0.9, "share by which a training image grows or shrinks at most")

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", check_value("model", self.model))
        for spec in fields(self):
            value = getattr(self, spec.name)
            if not applies(spec.name, {"model": self.model}):
                if value not in (None, spec.default):
                    raise ValueError(f"{spec.name}: does not apply to model {self.model}")
                object.__setattr__(self, spec.name, None)
            else:
                object.__setattr__(self, spec.name, check_value(spec.name, value))


#: The names of HPConfig's fields, in order.
FIELD_NAMES: tuple[str, ...] = tuple(spec.name for spec in fields(HPConfig))

#: Those that are off by default. What was made before one of them existed has its default.
EXTRA_NAMES: tuple[str, ...] = tuple(
    spec.name for spec in fields(HPConfig) if spec.metadata.get("extra")
)

_FIELDS = {spec.name: spec for spec in fields(HPConfig)}
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")


def applies(name: str, values: Mapping[str, Any]) -> bool:
    """Whether hyperparameter ``name`` means anything beside ``values``; others have defaults."""
    return _obstacle(name, values) is None


def normalised(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """``values`` with those that do not apply at their default, and why each that changed did.

    A reason is the words behind "where": "lr_schedule is cosine".
    """
    kept, reasons = dict(values), {}
    # Asked of every point of a search, so of those fields only that may not apply.
    for name in (*MODEL_FIELDS, *PLATEAU_FIELDS):
        default = _FIELDS[name].default
        if values.get(name) not in (None, default) and (obstacle := _obstacle(name, values)):
            kept[name] = default
            reasons[name] = f"{obstacle} is {values[obstacle]}"
    return kept, reasons


def _obstacle(name: str, values: Mapping[str, Any]) -> str | None:
    """The hyperparameter whose value leaves ``name`` without meaning."""
    if values.get("model", MODELS[0]) not in MODEL_FIELDS.get(name, MODELS):
        return "model"
    if name in PLATEAU_FIELDS and not SCHEDULES[values.get("lr_schedule", "plateau")].plateau:
        return "lr_schedule"
    return None


def augments(config: HPConfig) -> bool:
    """Whether ``config`` distorts its training images."""
    return bool(config.shift or config.rotation or config.scale)


def settings(config: HPConfig) -> dict[str, Any]:
    """Field -> value, without the extras that are off; None for what the model lacks."""
    return {name: v for name, v in vars(config).items() if v or name not in EXTRA_NAMES}


def check_value(name: str, value: object) -> Any:
    """Return ``value`` as the type of HPConfig's field ``name``.

    Numbers may be written as text ("1e-4", which YAML 1.1 reads as a string). Raises ValueError,
    with a message that starts with the field's name, for the wrong type (booleans are not
    numbers), a value out of range (NaN is never in range) or an unknown name.
    """
    meta = _FIELDS[name].metadata
    if meta["type"] is str:
        if not isinstance(value, str) or value not in meta["choices"]:
            raise ValueError(f"{name}: {_show(value)} is not one of {', '.join(meta['choices'])}")
        return value
    kind = "a whole number" if meta["type"] is int else "a number"
    number = parse_number(value)
    if number is None or (meta["type"] is int and number != int_or_none(number)):
        raise ValueError(f"{name}: expected {kind}, got {_show(value)}")
    if meta["type"] is int:
        if not meta["low"] <= number <= meta["high"]:
            raise ValueError(
                f"{name}: must be between {meta['low']} and {meta['high']}, got {_show(value)}"
            )
        return int(number)
    if meta.get("extra") and number == 0:
        return 0.0
    if not meta["low"] < number <= meta["high"]:
        least = "at least" if meta.get("extra") else "above"
        raise ValueError(
            f"{name}: must be {least} 0 and at most {meta['high']:g}, got {_show(value)}"
        )
    return float(number)


def int_or_none(number: int | float) -> int | None:
    """The whole number equal to ``number``, or None for fractions, NaN and infinities."""
    if isinstance(number, int):
        return number
    return int(number) if math.isfinite(number) and number == int(number) else None


def parse_number(value: object) -> int | float | None:
    """The number that ``value`` is or, as YAML 1.2 writes numbers, says; None if it is none.

    Text of more than 40 characters is not meant as a number; booleans are none.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and len(value) <= 40 and _NUMBER.fullmatch(value):
        return int(value) if value.lstrip("+-").isdigit() else float(value)
    return None


def _show(value: object) -> str:
    """``value`` as a short, printable piece of a message."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
