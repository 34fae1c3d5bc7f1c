"""Kernels that read their sizes from memory, so that one is generated and compiled for all."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from tinygrad import Device, Tensor, UOp, dtypes
from tinygrad.device import Buffer

from mnist_sweep.devices import is_cpu

#: (gradient of the first output, call) -> gradients of what the call was given.
Gradients = Callable[[UOp, UOp], tuple[UOp | None, ...]]


def on_cpu() -> bool:
    """Whether the current device is a CPU, for which kernels are laid out differently."""
    return is_cpu(Device.DEFAULT)


def sized_kernel(
    kernel: Callable[..., UOp],
    first: Tensor,
    *others: Tensor,
    sizes: Sequence[int],
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """``first.custom_kernel`` of ``kernel(sizes, *arguments)``, whose arguments are flat.

    On a CPU the sizes are behind the arguments, as int32; others lay out threads by their values.
    """

    def fxn(*arguments: UOp) -> UOp:
        if not on_cpu():
            return kernel(sizes, *(argument.flatten() for argument in arguments))
        lengthless = (2**31 - 1,)  # so that what is made of the kernel serves any length
        *flat, held = (UOp.placeholder(lengthless, a.dtype, i) for i, a in enumerate(arguments))
        return kernel([held[i].load() for i in range(len(sizes))], *flat)

    grad_fxn = gradients
    if on_cpu():
        held = Tensor.empty(len(sizes), dtype=dtypes.int, device=first.device)
        data = memoryview(array("i", sizes)).cast("B")
        source = Buffer("PYTHON", len(sizes), dtypes.int, opaque=data)
        held.uop.base.buffer.ensure_allocated().copy_from(source)
        others = (*others, held)
        grad_fxn = gradients and (lambda upstream, call: (*gradients(upstream, call), None))
    written: list[Tensor] = first.custom_kernel(*others, fxn=fxn, grad_fxn=grad_fxn)
    return written
