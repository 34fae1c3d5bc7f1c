"""Kernels that read their sizes from memory, so that one serves every shape.

What a kernel's code knows of sizes, planning, generating and compiling it is done again for.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from tinygrad import Device, Tensor, UOp, dtypes
from tinygrad.device import Buffer

#: (gradient of the first output, call) -> gradients of what the call was given.
Gradients = Callable[[UOp, UOp], tuple[UOp | None, ...]]


def on_cpu() -> bool:
    """Whether the current device is a CPU, for which kernels are laid out differently."""
    return bool(Device.DEFAULT.split(":")[0] == "CPU")


def any_length(argument: UOp) -> UOp:
    """The kernel's ``argument`` as a flat array whose length its code does not say."""
    return UOp.placeholder((2**31 - 1,), argument.dtype, argument.base.arg.slot)


def with_sizes(
    kernel: Callable[..., UOp],
    first: Tensor,
    *others: Tensor,
    sizes: Sequence[int],
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """``first.custom_kernel`` of ``kernel``, with the ``sizes`` as int32 behind the ``others``."""
    held = Tensor.empty(len(sizes), dtype=dtypes.int, device=first.device)
    data = memoryview(array("i", sizes)).cast("B")
    source = Buffer("PYTHON", len(sizes), dtypes.int, opaque=data)
    held.uop.base.buffer.ensure_allocated().copy_from(source)
    grad_fxn = gradients and (lambda upstream, call: (*gradients(upstream, call), None))
    arguments = (*others, held)
    written: list[Tensor] = first.custom_kernel(*arguments, fxn=kernel, grad_fxn=grad_fxn)
    return written[:-1]


def sized_kernel(
    kernel: Callable[..., UOp],
    first: Tensor,
    *others: Tensor,
    sizes: Sequence[int],
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """``first.custom_kernel`` of ``kernel(sizes, *arguments)``, whose arguments are flat.

    Only a CPU reads the sizes from memory: other devices lay out threads by them.
    """

    def read(*arguments: UOp) -> UOp:
        *flat, held = map(any_length, arguments)
        return kernel([held[i].load() for i in range(len(sizes))], *flat)

    def known(*arguments: UOp) -> UOp:
        return kernel(sizes, *(argument.flatten() for argument in arguments))

    if on_cpu():
        return with_sizes(read, first, *others, sizes=sizes, gradients=gradients)
    written: list[Tensor] = first.custom_kernel(*others, fxn=known, grad_fxn=gradients)
    return written
