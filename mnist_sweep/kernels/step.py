"""The small kernels around the layers of a step, written once for every device.

They read and write buffers that stay on the device, so that a step needs nothing from the host:
the rows of its batch, its learning rate and the state of the plateau schedule all live in
``Control``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

from tinygrad import Device, Tensor, UOp, dtypes
from tinygrad.mixin.gradient import compute_gradient
from tinygrad.uop.ops import AxisType, KernelInfo, Ops

from mnist_sweep.config import Optimizer

# Places in Control.reals.
SCALE, WINDOW_LOSS, BEST_LOSS, DECAY, LOSS_SUM, HITS, LR = range(7)
REALS = 7
# Places in Control.counts.
POSITION, STEP, WINDOW_STEPS, PATIENCE = range(4)
COUNTS = 4


@dataclass(frozen=True)
class Control:
    """What steers a step, in device buffers that the host fills between epochs.

    ``rows`` (images of an epoch,) int32: the rows of the data set in the order of the epoch;
    ``rates`` (steps of an epoch,) float32: the schedule's learning rates; ``reals`` (REALS,)
    float32 and ``counts`` (COUNTS,) int32: the running state.
    """

    rows: Tensor
    rates: Tensor
    reals: Tensor
    counts: Tensor


def _sink(name: str, *stores: UOp, over: tuple[UOp, ...] = ()) -> UOp:
    """The kernel that makes ``stores`` for every value of the ranges ``over``."""
    body = UOp.group(*stores)
    # clang vectorises a plain loop better than tinygrad unrolls it; a GPU needs threads laid out.
    opts = () if Device.DEFAULT.split(":")[0] == "CPU" else None
    return (body.end(*over) if over else body).sink(arg=KernelInfo(name=name, opts_to_apply=opts))


def _total(values: Callable[[UOp], UOp], size: int, axis: int) -> UOp:
    """The sum of ``values(row)`` over ``size`` rows."""
    if size == 1:  # tinygrad 0.14 cannot reduce over a single value
        return values(UOp.const(0, dtypes.int))
    row = UOp.range(size, axis, axis_type=AxisType.REDUCE)
    return values(row).reduce(row, arg=Ops.ADD)


def gather_batch(
    images: Tensor, labels: Tensor, control: Control, size: int, mean: float, std: float
) -> tuple[Tensor, Tensor]:
    """The batch at the control's position: standardised pixels (size, 784), labels (size,).

    ``images`` (n, 784) and ``labels`` (n,) are uint8; pixels become float32
    ``(value / 255 - mean) / std``, labels int32.
    """
    scale, shift = 1 / (255 * std), -mean / std

    def pixels(out: UOp, images: UOp, rows: UOp, counts: UOp) -> UOp:
        i, j = UOp.range(size, 0), UOp.range(out.shape[1], 1)
        row = rows[counts[POSITION].load() * size + i].load()
        value = images[row, j].cast(dtypes.float) * scale + shift
        return _sink(f"gather_{size}", out[i, j].store(value), over=(i, j))

    def classes(out: UOp, labels: UOp, rows: UOp, counts: UOp) -> UOp:
        i = UOp.range(size, 0)
        row = rows[counts[POSITION].load() * size + i].load()
        return _sink(f"labels_{size}", out[i].store(labels[row].cast(dtypes.int)), over=(i,))

    device = images.device
    x = Tensor.empty(size, images.shape[1], device=device)
    y = Tensor.empty(size, dtype=dtypes.int, device=device)
    return (
        x.custom_kernel(images, control.rows, control.counts, fxn=pixels)[0],
        y.custom_kernel(labels, control.rows, control.counts, fxn=classes)[0],
    )


def activate(x: Tensor, function: Callable[[Any], Any]) -> Tensor:
    """``function`` of each element of ``x``, as a kernel of its own with its derivative.

    Fused into the matrix product that reads it, an activation would be computed again for each
    output column. ``function`` takes and returns tinygrad's elementwise operations.
    """

    def forward(out: UOp, x: UOp) -> UOp:
        i = UOp.range(x.numel(), 0)
        return _sink(
            f"activation_{x.numel()}", out.flatten()[i].store(function(x.flatten()[i])), over=(i,)
        )

    def backward(out: UOp, upstream: UOp, x: UOp) -> UOp:
        i = UOp.range(x.numel(), 0)
        value = x.flatten()[i]
        slope = compute_gradient(function(value), UOp.const(1.0, dtypes.float), {value})[value]
        product = upstream.flatten()[i] * slope
        return _sink(f"dactivation_{x.numel()}", out.flatten()[i].store(product), over=(i,))

    def gradient(upstream: UOp, call: UOp) -> tuple[UOp | None, ...]:
        source, g = Tensor(call.src[2]), Tensor(upstream).contiguous()
        empty = Tensor.empty(*source.shape, device=source.device)
        return None, empty.custom_kernel(g, source, fxn=backward)[0].uop

    out = Tensor.empty(*x.shape, device=x.device)
    return out.custom_kernel(x, fxn=forward, grad_fxn=gradient)[0]


def cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax cross-entropy of each row and whether its largest logit is the label (1.0 or 0.0).

    ``logits`` (rows, classes) float32, ``labels`` (rows,) int32; both results (rows,) float32.
    Differentiable in the logits through the first result. Of equal logits the first counts.
    """
    rows, classes = logits.shape

    def kernel(loss: UOp, hit: UOp, slope: UOp, logits: UOp, labels: UOp) -> UOp:
        i = UOp.range(rows, 0)
        z = [logits[i, c] for c in range(classes)]
        label = labels[i]
        top = reduce(lambda a, b: a.maximum(b), z)
        powers = [(value - top).exp() for value in z]
        total = reduce(lambda a, b: a + b, powers)
        chosen = reduce(lambda a, b: a + b, [label.eq(c).where(z[c], 0.0) for c in range(classes)])
        before = reduce(
            lambda a, b: a.maximum(b),
            [(UOp.const(c, dtypes.int) < label).where(z[c], -float("inf")) for c in range(classes)],
        )
        return _sink(
            f"cross_entropy_{rows}",
            loss[i].store(total.log() + top - chosen),
            hit[i].store((chosen.eq(top) & (before < top)).where(1.0, 0.0)),
            *(
                slope[i, c].store(powers[c] / total - label.eq(c).where(1.0, 0.0))
                for c in range(classes)
            ),
            over=(i,),
        )

    def gradient(upstream: UOp, call: UOp) -> tuple[Any, ...]:
        slope = Tensor(call.src[3].after(call))
        return None, None, None, (slope * Tensor(upstream).reshape(rows, 1)).uop, None

    empty = partial(Tensor.empty, device=logits.device)
    loss, hit, *_ = empty(rows).custom_kernel(
        empty(rows), empty(rows, classes), logits, labels, fxn=kernel, grad_fxn=gradient
    )
    return loss, hit


def update_parameter(
    optimizer: Optimizer,
    parameter: Tensor,
    gradient: Tensor,
    slots: Sequence[Tensor],
    control: Control,
) -> list[Tensor]:
    """One optimizer step on ``parameter`` and its ``slots``, in place and in a single pass."""
    size = parameter.numel()

    def kernel(*arguments: UOp) -> UOp:
        written, (g, rates, reals, counts) = arguments[:-4], arguments[-4:]
        target, *state = (argument.flatten() for argument in written)
        i = UOp.range(size, 0)
        lr = rates[counts[POSITION].load()].load() * reals[SCALE].load()
        step = (counts[STEP].load() + 1).cast(dtypes.float)
        new, new_state = optimizer.update(
            target[i], g.flatten()[i], [s[i] for s in state], lr, step
        )
        stores = [t[i].store(v) for t, v in zip((target, *state), (new, *new_state), strict=True)]
        return _sink(f"update_{len(state)}_{size}", *stores, over=(i,))

    arguments = (*slots, gradient.contiguous(), control.rates, control.reals, control.counts)
    written: list[Tensor] = parameter.custom_kernel(*arguments, fxn=kernel)
    return written[: 1 + len(slots)]


def advance(control: Control, loss: Tensor, hits: Tensor) -> list[Tensor]:
    """End a training step: move on to the next batch and let the plateau schedule decide.

    ``loss`` and ``hits`` are the (batch size,) results of ``cross_entropy``. When ``PATIENCE``
    steps are full and their mean loss is not below the best such mean, SCALE *= DECAY.
    """
    size = loss.shape[0]

    def kernel(reals: UOp, counts: UOp, loss: UOp, hits: UOp, rates: UOp) -> UOp:
        batch_loss = _total(lambda row: loss[row], size, 0) * (1 / size)
        window_loss = reals[WINDOW_LOSS].load() + batch_loss
        window_steps = counts[WINDOW_STEPS].load() + 1
        full = window_steps.eq(counts[PATIENCE].load())
        mean = window_loss / window_steps.cast(dtypes.float)
        scale, best = reals[SCALE].load(), reals[BEST_LOSS].load()
        better = mean < best
        decayed = (full & better.logical_not()).where(scale * reals[DECAY].load(), scale)
        position = counts[POSITION].load()
        return _sink(
            f"advance_{size}",
            reals[SCALE].store(decayed),
            reals[WINDOW_LOSS].store(full.where(0.0, window_loss)),
            reals[BEST_LOSS].store((full & better).where(mean, best)),
            reals[LOSS_SUM].store(reals[LOSS_SUM].load() + batch_loss),
            reals[HITS].store(reals[HITS].load() + _total(lambda row: hits[row], size, 1)),
            reals[LR].store(rates[position].load() * scale),
            counts[POSITION].store(position + 1),
            counts[STEP].store(counts[STEP].load() + 1),
            counts[WINDOW_STEPS].store(full.where(0, window_steps)),
        )

    arguments = (control.counts, loss, hits, control.rates)
    written: list[Tensor] = control.reals.custom_kernel(*arguments, fxn=kernel)
    return written[:2]


def count_batch(control: Control, loss: Tensor, hits: Tensor) -> list[Tensor]:
    """End an evaluation step: add the batch to the sums, without the rows past the last image.

    The number of images is in ``counts[PATIENCE]``.
    """
    size = loss.shape[0]

    def kernel(reals: UOp, counts: UOp, loss: UOp, hits: UOp) -> UOp:
        position = counts[POSITION].load()

        def counted(values: UOp, row: UOp) -> UOp:
            valid = position * size + row < counts[PATIENCE].load()
            return valid.where(values[row], 0.0)

        return _sink(
            f"count_{size}",
            reals[LOSS_SUM].store(reals[LOSS_SUM].load() + _total(partial(counted, loss), size, 0)),
            reals[HITS].store(reals[HITS].load() + _total(partial(counted, hits), size, 1)),
            counts[POSITION].store(position + 1),
        )

    written: list[Tensor] = control.reals.custom_kernel(control.counts, loss, hits, fxn=kernel)
    return written[:2]
