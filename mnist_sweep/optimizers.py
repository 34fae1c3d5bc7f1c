"""The optimizers: each is the arithmetic of one step on a parameter.

They have the defaults and formulas of PyTorch's ``torch.optim``, but that weight decay is decoupled
for all of them (Loshchilov and Hutter, 2019), and so no part of them. No tinygrad here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_Update = tuple[Any, list[Any]]


@dataclass(frozen=True)
class Optimizer:
    """The arithmetic of an optimizer on one parameter tensor.

    ``slots`` is the number of state tensors that each parameter needs, zero at the start; while
    ``momentum`` is on there is one more, the last. ``update(parameter, gradient, state, lr, step)``
    returns the new parameter and the new state; ``step`` counts from 1. It uses elementwise
    operations only, on Tensors of one shape or on single elements inside a kernel. ``uses`` names
    the hyperparameters that mean something for it and not for every optimizer; ``update`` gets them
    by name. ``weight_decay`` is what it has where none is given.
    """

    slots: int
    update: Callable[..., _Update]
    uses: tuple[str, ...] = ()
    weight_decay: float = 0.0


def _unbiased(beta: float, average: Any, step: Any) -> Any:
    """A moving average that began at 0, corrected for that."""
    # beta**step as an exponential: step is a number on the device, not one that Python knows.
    return average / (1 - (step * math.log2(beta)).exp2())


def _sgd(
    parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, _step: Any, **used: Any
) -> _Update:
    """Stochastic gradient descent, its momentum without damping (Sutskever et al., 2013)."""
    if not state:
        return parameter - lr * gradient, []
    velocity = used["momentum"] * state[0] + gradient
    ahead = gradient + used["momentum"] * velocity
    return parameter - lr * (used["nesterov"] > 0).where(ahead, velocity), [velocity]


def _adam(parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, step: Any) -> _Update:
    """Adam (Kingma and Ba, 2015, algorithm 1)."""
    mean = _BETA1 * state[0] + (1 - _BETA1) * gradient
    variance = _BETA2 * state[1] + (1 - _BETA2) * (gradient * gradient)
    root = _unbiased(_BETA2, variance, step).sqrt() + _EPSILON
    return parameter - lr * (_unbiased(_BETA1, mean, step) / root), [mean, variance]


def _nadam(parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, step: Any) -> _Update:
    """Adam with Nesterov's momentum, on a schedule (Dozat, 2016).

    The third slot is 1 less the product of all momenta so far, which is 0 at the start.
    """
    _, (mean, variance) = _adam(parameter, gradient, state, lr, step)
    root = _unbiased(_BETA2, variance, step).sqrt() + _EPSILON
    now, following = (
        _BETA1 * (1 - 0.5 * (t * (0.004 * math.log2(0.96))).exp2()) for t in (step, step + 1)
    )
    rest = 1 - now * (1 - state[2])
    move = gradient * ((1 - now) / rest) + mean * (following / (1 - following * (1 - rest)))
    return parameter - lr * (move / root), [mean, variance, rest]


def _adamax(parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, step: Any) -> _Update:
    """AdaMax (Kingma and Ba, 2015, algorithm 2)."""
    mean = _BETA1 * state[0] + (1 - _BETA1) * gradient
    norm = (_BETA2 * state[1]).maximum(gradient.abs() + _EPSILON)
    return parameter - lr * (_unbiased(_BETA1, mean, step) / norm), [mean, norm]


def _rmsprop(
    parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, _step: Any, momentum: Any
) -> _Update:
    """RMSprop, not centred (Tieleman and Hinton, 2012); momentum is that of the scaled gradient."""
    variance = 0.99 * state[0] + (1 - 0.99) * (gradient * gradient)
    moves = [gradient / (variance.sqrt() + _EPSILON)]
    moves += [momentum * velocity + moves[0] for velocity in state[1:]]
    return parameter - lr * moves[-1], [variance, *moves[1:]]


def _adagrad(parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, _step: Any) -> _Update:
    """Adagrad, diagonal (Duchi et al., 2011)."""
    total = state[0] + gradient * gradient
    return parameter - lr * (gradient / (total.sqrt() + 1e-10)), [total]


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adam": Optimizer(slots=2, update=_adam),
    "sgd": Optimizer(slots=0, update=_sgd, uses=("momentum", "nesterov")),
    "adamw": Optimizer(slots=2, update=_adam, weight_decay=0.01),
    "nadam": Optimizer(slots=3, update=_nadam),
    "adamax": Optimizer(slots=2, update=_adamax),
    "rmsprop": Optimizer(slots=1, update=_rmsprop, uses=("momentum",)),
    "adagrad": Optimizer(slots=1, update=_adagrad),
}
