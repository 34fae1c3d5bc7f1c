"""Dropout (Srivastava et al., 2014) whose mask is a function of the trial, the step and the place.

No random state is kept and no mask is stored: both passes compute it again from a hash, so the same
trial drops the same units on every device.
"""

from __future__ import annotations

from tinygrad import Tensor, UOp, dtypes

from mnist_sweep.kernels.control import Control, Count, kernel_sink, slot


def _mixed(x: UOp) -> UOp:
    """A bijection of 32 bits that changes half of them whichever bit of ``x`` changes.

    The constants are those of Wellons' "lowbias32" (hash-prospector, 2018).
    """
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


def dropout(x: Tensor, layer: int, control: Control) -> Tensor:
    """``x`` with a share of its elements 0 and the others scaled up, so that the mean stays.

    ``x`` is (trials, ...) float32, or without its first axis for a single trial; the share is each
    trial's ``dropout``. ``layer`` gives each place in the model a mask of its own.
    Differentiable in ``x``.
    """
    trials = control.trials
    size = x.numel() // trials

    def kernel(out: UOp, x: UOp, reals: UOp, counts: UOp) -> UOp:
        k, i = UOp.range(trials, 0), UOp.range(size, 1)
        step = counts[k, Count.STEP].load().cast(dtypes.uint) * 128 + layer
        key = _mixed(counts[k, Count.NOISE].load().cast(dtypes.uint) ^ _mixed(step))
        share = reals[k, slot("dropout")].load()
        draw = (_mixed(i.cast(dtypes.uint) ^ key) >> 8).cast(dtypes.float) * 2.0**-24
        kept = x.flatten()[k * size + i] * (1 / (1 - share))
        store = out.flatten()[k * size + i].store((draw < share).where(0.0, kept))
        return kernel_sink(f"dropout_{size}", store, over=(k, i))

    def applied(x: Tensor) -> Tensor:
        out = Tensor.empty(*x.shape, device=x.device)
        arguments = (x, control.reals, control.counts)
        return out.custom_kernel(*arguments, fxn=kernel, grad_fxn=gradient)[0]

    def gradient(upstream: UOp, _call: UOp) -> tuple[UOp | None, ...]:
        return None, applied(Tensor(upstream).contiguous()).uop, None, None

    return applied(x)
