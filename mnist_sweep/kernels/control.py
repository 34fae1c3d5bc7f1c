"""What steers a compiled step from device memory, and how its small kernels are written.

A step needs nothing from the host: the rows of its batch, its learning rate, the state of the
plateau schedule and the strength of each regulariser lie in ``Control``. Several trials of one
shape may share a step, one behind the other on the leading axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from tinygrad import Tensor, UOp, dtypes
from tinygrad.codegen.opt import Opt, OptOps
from tinygrad.renderer import Estimates
from tinygrad.uop.ops import AxisType, KernelInfo, Ops

from mnist_sweep.config import HPConfig, applies, fields_with
from mnist_sweep.kernels.sizes import on_cpu


class Real(IntEnum):
    """Places of the running state in ``Control.reals``; hyperparameters are behind it."""

    SCALE = 0  # what the plateau schedule has made of the rate
    WINDOW_LOSS = 1  # sum over the steps of its window so far
    BEST_LOSS = 2  # best mean of a window
    LOSS_SUM = 3  # since the last point of the curve
    HITS = 4  # right predictions since then
    LR = 5  # of the last step


class Count(IntEnum):
    """Places in ``Control.counts``."""

    POSITION = 0  # steps done in the epoch, or batches of an evaluation
    STEP = 1  # steps done in all
    WINDOW_STEPS = 2  # in the plateau schedule's window so far
    NOISE = 3  # the trial's key of all noise
    IMAGES = 4  # images to evaluate


_SLOTS = fields_with("slot")
REALS = len(Real) + len(_SLOTS)
COUNTS = len(Count)


def slot(name: str) -> int:
    """The place of hyperparameter ``name`` in ``Control.reals``."""
    return len(Real) + _SLOTS.index(name)


def slot_values(config: HPConfig) -> list[float]:
    """What ``config`` has in its slots, in their order; 0 for what does not apply."""
    values = vars(config)
    return [float(values[name]) if applies(name, values) else 0.0 for name in _SLOTS]


@dataclass(frozen=True)
class Control:
    """The buffers that the host fills between epochs, each with a row for every trial of the step.

    ``rows`` (trials, images of an epoch) int32: the rows of the data set in the order of the epoch;
    ``rates`` (trials, steps of an epoch) float32: the schedule's learning rates; ``reals`` (trials,
    REALS) float32 and ``counts`` (trials, COUNTS) int32: settings and the running state; ``warps``
    (trials, images of an epoch, 6) float32: how each image is distorted, None where none is.
    """

    rows: Tensor
    rates: Tensor
    reals: Tensor
    counts: Tensor
    warps: Tensor | None = None

    @property
    def trials(self) -> int:
        """How many trials share the step."""
        return int(self.counts.shape[0])


def kernel_sink(name: str, *stores: UOp, over: tuple[UOp, ...] = (), lanes: int = 1) -> UOp:
    """The kernel of ``stores`` for all of ``over``; a CPU takes ``lanes`` of the first at once."""
    body = UOp.group(*stores)
    body = body.end(*over) if over else body
    if not on_cpu():  # a GPU needs threads laid out
        return body.sink(arg=KernelInfo(name=name))
    # clang vectorises a plain loop better than tinygrad unrolls it, but not sums, whose order it
    # must keep. What has a tag is left as it is; operations of unknown sizes cannot be counted.
    opts = (Opt(OptOps.UPCAST, 0, lanes),)
    info = KernelInfo(name=name, opts_to_apply=opts, estimates=Estimates())
    return body.sink(arg=info, tag=None if lanes > 1 else 1)


def total(values: Callable[[UOp], UOp], size: int, axis: int) -> UOp:
    """The sum of ``values(row)`` over ``size`` rows."""
    if size == 1:  # tinygrad 0.14 cannot reduce over a single value
        return values(UOp.const(0, dtypes.int))
    row = UOp.range(size, axis, axis_type=AxisType.REDUCE)
    return values(row).reduce(row, arg=Ops.ADD)
