"""Replaying a captured step on the CPU without Python between its kernels.

TinyJit spends 20 to 60 microseconds of Python on each kernel, as much as a small kernel takes. A
captured step is a fixed list of compiled functions on fixed buffers, so the addresses are looked
up once and each replay only calls the functions.

It relies on these internals of tinygrad 0.14: ``TinyJit.captured.linear.src`` is the list of
calls; a call's ``src[0]`` is its program, an ``Ops.PROGRAM`` whose ``arg`` is a ``ProgramInfo``
with ``globals``, ``vars`` and ``global_size``; ``get_call_arg_uops`` gives its buffers;
``get_runtime("CPU", program).fxn`` is the compiled function as a ctypes object that takes the
buffers' addresses; a CPU buffer keeps its ``_buf.va_addr``. ``tests/test_replay.py`` fails when
one of them changes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tinygrad.engine.realize import get_call_arg_uops, get_runtime
from tinygrad.uop.ops import Ops


def replayed(jitted: Any) -> Callable[[], None] | None:
    """The captured step of ``jitted``, a TinyJit without arguments, as a plain function.

    None where the step holds anything but plain CPU kernels on existing buffers; TinyJit's own
    replay does the same work then.
    """
    calls: list[tuple[Any, tuple[ctypes.c_uint64, ...]]] = []
    for call in jitted.captured.linear.src:
        program = call.src[0]
        if program.op is not Ops.PROGRAM or program.arg.vars or set(program.arg.global_size) != {1}:
            return None
        buffers = get_call_arg_uops(call)
        if any(b.op is Ops.PARAM or b.device != "CPU" for b in buffers):
            return None
        addresses = [
            ctypes.c_uint64(buffers[place].buffer.ensure_allocated()._buf.va_addr)
            for place in program.arg.globals
        ]
        calls.append((get_runtime("CPU", program).fxn, tuple(addresses)))

    # The captured step owns the buffers whose addresses are used here, so it is kept alive.
    def replay(_owner: Any = jitted) -> None:
        for function, arguments in calls:
            function(*arguments)

    return replay
