"""What steers a compiled step from device memory, and how its small kernels are written.

A step needs nothing from the host: the rows of its batch, its learning rate, the state of the
plateau schedule and the strength of each regulariser lie in ``Control``. Several trials of one
shape may share a step, one behind the other on the leading axis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinygrad import Device, Tensor, UOp, dtypes
from tinygrad.uop.ops import AxisType, KernelInfo, Ops

# Places in Control.reals.
SCALE, WINDOW_LOSS, BEST_LOSS, DECAY, LOSS_SUM, HITS, LR, SMOOTHING, WEIGHT_DECAY, DROPOUT = range(
    10
)
REALS = 10
# Places in Control.counts.
POSITION, STEP, WINDOW_STEPS, PATIENCE, NOISE = range(5)
COUNTS = 5


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


def kernel_sink(name: str, *stores: UOp, over: tuple[UOp, ...] = ()) -> UOp:
    """The kernel that makes ``stores`` for every value of the ranges ``over``."""
    body = UOp.group(*stores)
    # clang vectorises a plain loop better than tinygrad unrolls it; a GPU needs threads laid out.
    opts = () if Device.DEFAULT.split(":")[0] == "CPU" else None
    return (body.end(*over) if over else body).sink(arg=KernelInfo(name=name, opts_to_apply=opts))


def total(values: Callable[[UOp], UOp], size: int, axis: int) -> UOp:
    """The sum of ``values(row)`` over ``size`` rows."""
    if size == 1:  # tinygrad 0.14 cannot reduce over a single value
        return values(UOp.const(0, dtypes.int))
    row = UOp.range(size, axis, axis_type=AxisType.REDUCE)
    return values(row).reduce(row, arg=Ops.ADD)
