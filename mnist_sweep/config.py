"""What decides the result of one training run, and the names it may use.

``HPConfig`` is the only list of hyperparameters: the spec, the CSV, the documentation, the plan and
the compiled step read its fields, so that a new one is one entry here and its use. What can be
chosen by name is an entry of a table, and no more.

Nothing here imports tinygrad: the tables work on whatever has its elementwise operations, so that a
spec can be checked and planned without opening a device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from operator import methodcaller
from statistics import fmean
from typing import Any

from mnist_sweep.models import MODELS
from mnist_sweep.optimizers import OPTIMIZERS


def _elu(x: Any) -> Any:
    """x above 0, else exp(x) - 1 (Clevert et al., 2016), of which no part overflows."""
    return (x > 0).where(x, (x > 0).where(0.0, x).exp() - 1)


#: Activation functions: name -> function from tensor to tensor of the same shape.
ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "relu": methodcaller("relu"),
    "silu": methodcaller("silu"),
    "gelu": methodcaller("gelu", "none"),  # by the error function, not its approximation by tanh
    "elu": _elu,
    "leaky_relu": methodcaller("leaky_relu"),  # with a slope of 0.01 below 0
    "tanh": methodcaller("tanh"),
    "sigmoid": methodcaller("sigmoid"),
}


#: How the first weights are drawn: name -> the method of numpy's Generator, and the largest weight
#: (or, where it is normal, the standard deviation) for a layer with so many inputs and outputs.
#: PyTorch's and tinygrad's default; Glorot and Bengio (2010); He et al. (2015).
WEIGHT_INITS: Mapping[str, tuple[str, Callable[[int, int], float]]] = {
    "uniform": ("uniform", lambda inputs, _: 1 / math.sqrt(inputs)),
    "xavier_uniform": ("uniform", lambda inputs, outputs: math.sqrt(6 / (inputs + outputs))),
    "xavier_normal": ("normal", lambda inputs, outputs: math.sqrt(2 / (inputs + outputs))),
    "he_uniform": ("uniform", lambda inputs, _: math.sqrt(6 / inputs)),
    "he_normal": ("normal", lambda inputs, _: math.sqrt(2 / inputs)),
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
    all, 0 <= progress < 1. ``uses`` names the hyperparameters that mean something for it and not
    for every schedule: one that uses ``patience`` and ``lr_decay`` also decays by ``lr_decay``
    whenever the mean training loss of ``patience`` steps is not below the best such mean so far.
    """

    factor: Callable[[float], float]
    uses: tuple[str, ...] = ()


SCHEDULES: Mapping[str, Schedule] = {
    "plateau": Schedule(lambda _: 1.0, uses=("lr_decay", "patience")),
    "constant": Schedule(lambda _: 1.0),
    "cosine": Schedule(lambda progress: 0.5 * (1 + math.cos(math.pi * progress))),
    "onecycle": Schedule(_onecycle),
}

#: What the factors of the products in fully connected layers are rounded to.
PRECISIONS = ("float32", "bfloat16")

#: The fields that name an entry of a table whose entries say which others they use.
_TABLES: Mapping[str, Any] = {"model": MODELS, "opt": OPTIMIZERS, "lr_schedule": SCHEDULES}


def _whole(default: int | None, low: int, high: int, doc: str, **traits: Any) -> Any:
    """A whole number. For the ``traits`` of a field see HPConfig."""
    meta = {"type": int, "low": low, "high": high, "doc": doc, **traits}
    return field(default=default, metadata=meta)


def _real(default: float, high: float, doc: str, **traits: Any) -> Any:
    """A number above 0; for an extra, 0 is allowed too."""
    meta = {"type": float, "low": 0.0, "high": high, "doc": doc, **traits}
    return field(default=default, metadata=meta)


def _name(default: str, choices: Collection[str], doc: str, **traits: Any) -> Any:
    """One of ``choices``, such as the keys of a table."""
    return field(default=default, metadata={"type": str, "choices": choices, "doc": doc, **traits})


@dataclass(frozen=True)
class HPConfig:
    """The hyperparameters of one training run.

    Raises ValueError on a value of the wrong type or outside its range, and on one given for what
    the model lacks, such as the CNN a width, which is None there (an extra is off). A width for
    each layer, "512-256", sets the depth; where all are alike, the width is that number.

    A field's metadata is all that other modules know of it: its ``doc``, ``type`` and range or
    ``choices``; its ``label`` in a sentence, its ``short`` name at a column's head, its ``unit``;
    ``powers``: values below 1 are written as powers of ten; ``extra``: its default switches it off,
    and it then stands nowhere, not even in the trial_id; ``of``: it applies only where the entry
    that this other field names uses it; ``needs``: only where this other field is on;
    ``per_layer``: it may be text with a value for each layer, whose number is this other field.
    For the compiled step: ``compiled``: its value is part of the step; ``switch``: the part of the
    step that is there only while the field is on; ``slot``: the step reads its value from the
    device (see ``kernels/control.py``). Others act on the host.
    """

    # fmt: off
    batch_size: int = _whole(64, 1, 60_000, "training images per step",
        label="batch size", short="batch", unit="images per step", compiled=True)
    lr: float = _real(1e-3, 1e3, "learning rate; the highest one of its schedule",
        label="learning rate", powers=True)
    lr_decay: float = _real(0.9, 1.0, "factor of the plateau schedule",
        label="learning rate decay", of="lr_schedule", slot=True)
    patience: int = _whole(50, 1, 1_000_000, "steps in a window of the plateau schedule",
        unit="steps", of="lr_schedule", slot=True)
    opt: str = _name("adam", OPTIMIZERS, "optimizer", label="optimizer", compiled=True)
    width: int | str | None = _whole(
        512, 1, 65_536, "units in each hidden layer, or of one after another: 512-256 (MLP)",
        unit="units per hidden layer", of="model", compiled=True, per_layer="depth")
    depth: int | None = _whole(2, 1, 100, "hidden layers (MLP)",
        unit="hidden layers", of="model", compiled=True)
    activation_fn: str = _name("silu", ACTIVATIONS, "activation function",
        label="activation", short="act", compiled=True)
    epochs: int = _whole(1, 1, 100_000, "passes over the training split",
        unit="passes over the training set")
    model: str = _name("mlp", MODELS, "architecture", compiled=True)
    lr_schedule: str = _name("plateau", SCHEDULES, "learning-rate schedule",
        label="learning rate schedule", short="schedule")
    seed: int = _whole(0, 0, 2**32 - 1, "seed of the weights, the batch order and all noise")
    label_smoothing: float = _real(0.0, 0.99, "share of each label given to all classes alike",
        extra=True, switch="label_smoothing", slot=True)
    weight_decay: float = _real(
        0.0, 100.0, "decoupled decay of all weights, in units of lr; for adamw 0.01 instead of 0",
        extra=True, powers=True, switch="weight_decay", slot=True)
    dropout: float = _real(0.0, 0.99, "share of the hidden units left out of each step",
        extra=True, switch="dropout", slot=True)
    shift: float = _real(0.0, 14.0, "pixels by which a training image is moved at most",
        unit="pixels at most", extra=True, switch="augmentation")
    rotation: float = _real(0.0, 180.0, "degrees by which a training image is turned at most",
        unit="degrees at most", extra=True, switch="augmentation")
    scale: float = _real(0.0, 0.9, "share by which a training image grows or shrinks at most",
        extra=True, switch="augmentation")
    momentum: float = _real(
        0.0, 0.9999, "share of its last move that each weight keeps (sgd, rmsprop)",
        extra=True, of="opt", switch="momentum", slot=True)
    nesterov: int = _whole(0, 0, 1, "1 or true: the momentum is Nesterov's (sgd)",
        extra=True, of="opt", needs="momentum", slot=True)
    weight_init: str = _name("uniform", WEIGHT_INITS, "how the first weights are drawn",
        label="weight initialisation", short="init", extra=True)
    clip_norm: float = _real(
        0.0, 1e6, "largest norm of a step's gradient, which is scaled down to it",
        label="clipping norm", extra=True, switch="clip_norm", slot=True)
    precision: str = _name(
        "float32", PRECISIONS, "what the factors of matrix products are rounded to (MLP)",
        extra=True, of="model", compiled=True)
    # fmt: on

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", check_value("model", self.model))
        for name, spec in FIELDS.items():
            value = getattr(self, name)
            if lacks(self.model, name):
                if value not in (None, spec.default):
                    raise ValueError(f"{name}: does not apply to model {self.model}")
                object.__setattr__(self, name, spec.default if name in EXTRA_NAMES else None)
            else:
                object.__setattr__(self, name, check_value(name, value))
        decay = self.weight_decay or OPTIMIZERS[self.opt].weight_decay
        object.__setattr__(self, "weight_decay", decay)
        for name, value in _of_layers(self.width).items():
            object.__setattr__(self, name, value)

    @property
    def widths(self) -> tuple[int, ...]:
        """The units of each hidden layer, first to last; empty for a model without a width."""
        if isinstance(self.width, str):
            return tuple(map(int, self.width.split("-")))
        return (self.width,) * (self.depth or 0) if self.width else ()


#: HPConfig's fields by name, in order.
FIELDS: Mapping[str, Field[Any]] = {spec.name: spec for spec in fields(HPConfig)}
FIELD_NAMES: tuple[str, ...] = tuple(FIELDS)


def fields_with(trait: str) -> tuple[str, ...]:
    """The names of the fields with ``trait`` in their metadata (see HPConfig), in order."""
    return tuple(name for name, spec in FIELDS.items() if spec.metadata.get(trait))


#: Those that are off by default. What was made before one of them existed has its default.
EXTRA_NAMES: tuple[str, ...] = fields_with("extra")
#: Those that a spec fixes or sweeps: all but the model and the seed.
SPEC_FIELDS: tuple[str, ...] = tuple(n for n in FIELD_NAMES if n not in ("model", "seed"))

_OF = {name: FIELDS[name].metadata["of"] for name in fields_with("of")}
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_PER_LAYER = re.compile("[0-9]+(-[0-9]+)+")


def lacks(model: str, name: str) -> bool:
    """Whether ``model`` has no hyperparameter ``name``, which is then None; an extra is off."""
    return _OF.get(name) == "model" and name not in MODELS[model].uses


def applies(name: str, values: Mapping[str, Any]) -> bool:
    """Whether hyperparameter ``name`` means anything beside ``values``; others have defaults."""
    return not _obstacle(name, values)


def _obstacle(name: str, values: Mapping[str, Any]) -> str:
    """Why ``name`` means nothing beside ``values``: "lr_schedule is cosine"; empty if it does."""
    of, needs = _OF.get(name), FIELDS[name].metadata.get("needs")
    if of and name not in _TABLES[of][given := values.get(of, FIELDS[of].default)].uses:
        return f"{of} is {given}"
    return f"{needs} is off" if needs and not values.get(needs) else ""


def _of_layers(width: object) -> dict[str, Any]:
    """The width and the depth that a width for each layer says; empty for one number."""
    if not isinstance(width, str):
        return {}
    widths = width.split("-")
    return {"width": width if len({*widths}) > 1 else int(widths[0]), "depth": len(widths)}


def in_order(value: Any) -> tuple[bool, float, str]:
    """A key by which the values of one field ascend: None first, names by their letters.

    A width for each layer is as large as their mean.
    """
    if not isinstance(value, str):
        return value is not None, value or 0, ""
    layers = map(int, value.split("-")) if value[:1].isdecimal() else [0]
    return True, fmean(layers), value


def normalised(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """``values`` with what does not apply at its default, so that no training is run twice.

    And for each field that was changed, why it does not apply: "lr_schedule is cosine". A depth
    beside a width for each layer becomes their number.
    """
    reasons = {
        name: why
        for name in _OF
        if values.get(name) not in (None, FIELDS[name].default) and (why := _obstacle(name, values))
    }
    changed = {name: FIELDS[name].default for name in reasons}
    optimizer = OPTIMIZERS[values.get("opt", HPConfig.opt)]
    if not values.get("weight_decay") and optimizer.weight_decay:
        changed["weight_decay"] = optimizer.weight_decay
    layers = _of_layers(values.get("width"))
    if layers and values.get("depth") not in (None, FIELDS["depth"].default, layers["depth"]):
        reasons["depth"] = f"width is {values['width']}"
    return {**values, **changed, **layers}, reasons


def settings(config: HPConfig) -> dict[str, Any]:
    """Field -> value, without the extras that are off; None for what the model lacks."""
    return {
        name: value
        for name, value in vars(config).items()
        if name not in EXTRA_NAMES or value != FIELDS[name].default
    }


def check_value(name: str, value: object) -> Any:
    """Return ``value`` as the type of HPConfig's field ``name``.

    Numbers may be written as text ("1e-4", which YAML 1.1 reads as a string). Raises ValueError,
    with a message that starts with the field's name, for the wrong type (booleans are numbers only
    where all is 0 or 1), a value out of range (NaN is never in range) or an unknown name.
    """
    meta = FIELDS[name].metadata
    if meta["type"] is str:
        if not isinstance(value, str) or value not in meta["choices"]:
            raise ValueError(f"{name}: {_show(value)} is not one of {', '.join(meta['choices'])}")
        return value
    counted = meta.get("per_layer")
    if counted and isinstance(value, str) and _PER_LAYER.fullmatch(value):
        widths = value.split("-")
        check_value(counted, len(widths))
        return "-".join(str(check_value(name, width)) for width in widths)
    low, high, whole, extra = meta["low"], meta["high"], meta["type"] is int, meta.get("extra")
    if whole and high == 1:
        value = {"false": 0, "true": 1}.get(str(value).lower(), value)
    number = parse_number(value)
    if number is None or (whole and number != int_or_none(number)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name}: expected {kind}, got {_show(value)}")
    if whole:
        limits = f"between {low} and {high}"
    else:
        limits = f"{'at least' if extra else 'above'} 0 and at most {high:g}"
    reached = low <= number if whole or extra else low < number
    if not (reached and number <= high):
        raise ValueError(f"{name}: must be {limits}, got {_show(value)}")
    return meta["type"](number or 0)  # -0.0 is 0.0


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
