"""The one place that knows how tinygrad 0.14 names, compiles and runs things."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from tinygrad import Context, Device, Tensor, TinyJit
from tinygrad.codegen import to_program_cache
from tinygrad.device import Buffer, LRUAllocator
from tinygrad.dtype import DTYPES_DICT
from tinygrad.engine.realize import runtime_cache
from tinygrad.helpers import CACHELEVEL, disable_gc
from tinygrad.schedule import indexing, schedule_cache
from tinygrad.uop.divandmod import fold_divmod_general

from mnist_sweep.devices import is_cpu
from mnist_sweep.kernels import csource
from mnist_sweep.training.replay import cpu_step


def device_name() -> str:
    """The device that Tensors are on, such as "CPU" or "CUDA"."""
    return str(Device.DEFAULT)


def check_device() -> None:
    """Compute on the device; whatever tinygrad raises if it cannot be opened is let through."""
    if (Tensor([1.0, 2.0]) + 1).tolist() != [2.0, 3.0]:
        raise RuntimeError(f"{device_name()} computed 1 + 1 wrongly")


def free_memory() -> int | None:
    """Bytes that are free on the device; None on a CPU, where nothing is gained by asking.

    A device that cannot be asked is taken to have a gibibyte.
    """
    kind = device_name().split(":")[0]
    if kind == "CPU":
        return None
    size = ctypes.c_size_t(2**30)
    if kind == "CUDA":
        from tinygrad.runtime.autogen import cuda

        cuda.cuMemGetInfo_v2(ctypes.byref(size), ctypes.byref(ctypes.c_size_t()))
    elif kind == "CL":
        from tinygrad.runtime.autogen import opencl

        opencl.clGetDeviceInfo(
            Device[device_name()].cl_dev,
            opencl.CL_DEVICE_GLOBAL_MEM_SIZE,
            ctypes.sizeof(size),
            ctypes.byref(size),
            None,
        )
    return size.value


#: Kernels and schedules whose graphs tinygrad may keep: some ten shapes' worth.
_MOST_PROGRAMS = 150


def release() -> None:
    """Give the memory of everything that nothing refers to any more back to the system.

    A captured step and its buffers refer to each other, and tinygrad keeps freed buffers for later
    ones of the same size: over the shapes of a sweep that would add up to gigabytes. What it keeps
    of graphs and generated kernels adds a megabyte for each shape.
    """
    if len(to_program_cache) + len(schedule_cache) > _MOST_PROGRAMS:
        for cache in (to_program_cache, schedule_cache, runtime_cache):
            cache.clear()
        for function in (fold_divmod_general, indexing._apply_reshape, indexing.apply_movement_op):
            function.cache_clear()
    gc.collect()
    allocator = Device[device_name()].allocator
    if isinstance(allocator, LRUAllocator):
        allocator.free_cache()


def drop_kernel_cache() -> bool:
    """Compile without tinygrad's cache of kernels from now on; False if that is so already."""
    had, CACHELEVEL.value = bool(CACHELEVEL.value), 0
    return had


def count_devices() -> int:
    """How many devices of the current kind this process can see."""
    return int(Device[Device.DEFAULT].count())


def warning() -> str:
    """What a user should know of how this device computes; empty if there is nothing."""
    device = device_name()
    return csource.SLOW if is_cpu(device) and not csource.supported(device) else ""


def to_device(array: NDArray[Any]) -> Tensor:
    """``array`` in a new buffer of the current device."""
    # Tensor(array) would be a graph to plan, and with zeros a kernel to generate, for each size.
    tensor = Tensor.empty(*array.shape, dtype=DTYPES_DICT[array.dtype.name])
    write(tensor, array)
    return tensor


def zeros(shape: Sequence[int], dtype: DTypeLike = np.float32) -> Tensor:
    """A new buffer of zeros on the current device."""
    return to_device(np.zeros(shape, dtype))


def write(tensor: Tensor, array: NDArray[Any]) -> None:
    """Overwrite the buffer of ``tensor`` with ``array``, in place.

    A captured step goes on reading the same buffer, so it sees the new values; assigning a new
    Tensor would leave it with the old ones. Shapes and dtypes must agree.
    """
    buffer = tensor.uop.base.buffer
    # Drivers refuse read-only memory, such as a mapped file, even to read from it.
    data = np.require(array, requirements=["C", "W"])
    if data.nbytes != buffer.nbytes:
        raise ValueError(f"cannot write {data.shape} {data.dtype} into {tensor.shape}")
    source = Buffer("PYTHON", buffer.size, buffer.dtype, opaque=data.data.cast("B"))
    buffer.ensure_allocated().copy_from(source)


def read(tensor: Tensor) -> NDArray[Any]:
    """A copy of the buffer of ``tensor``, waiting for the device."""
    array: NDArray[Any] = tensor.numpy().copy()
    return array


def compile_step(define: Callable[[], list[Tensor]], counts: Tensor) -> Callable[[], Any]:
    """Compile ``define``, which returns the tensors that a step writes, into a replayable step.

    Where tinygrad has to capture it, the step is run, with 0 in its ``counts``, int32, before it.
    """
    in_c = csource.supported(device_name())
    # What is left to tinygrad beside the C kernels is best as plain loops: clang vectorises them,
    # and they compile in half the time.
    with Context(TRAINING=1, NOOPT=int(in_c)), disable_gc():
        if in_c and (step := cpu_step(define())):
            return step
        jitted: Callable[[], Any] = TinyJit(lambda: Tensor.realize(*define()))
        for _ in range(2):
            write(counts, np.zeros(counts.shape, np.int32))
            jitted()
        return jitted
