"""A step on the CPU as a list of compiled functions, called without Python between them.

TinyJit spends 20 to 60 microseconds of Python on each kernel, as much as a small kernel takes, and
planning and generating a step a hundred times as long as loading its kernels. A step is a fixed
list of C functions on fixed buffers: as a ``Recording`` it is plain data, good for every process
that has the same step to do, and a replay only calls the functions.

It relies on these internals of tinygrad 0.14: ``LINEAR.src`` is the list of calls; a call's
``src[0]`` is its program, an ``Ops.PROGRAM`` with an ``Ops.SOURCE`` whose ``arg`` is a
``ProgramInfo`` with ``globals``, ``vars`` and ``global_size``; ``get_call_arg_uops`` gives its
buffers; the CPU's ``runtime(TinyELF).fxn`` is the compiled function as a ctypes object that takes
the buffers' addresses; a CPU buffer keeps its ``_buf.va_addr``. ``tests/test_replay.py`` fails when
one of them changes.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import NamedTuple

from tinygrad import Context, Device, Tensor, UOp, dtypes
from tinygrad.codegen import to_program_config
from tinygrad.device import Buffer, TinyELF
from tinygrad.engine.realize import compile_linear, get_call_arg_uops
from tinygrad.helpers import BEAM, diskcache_get, diskcache_put
from tinygrad.schedule import create_linear_with_vars
from tinygrad.schedule.memory import memory_plan_rewrite
from tinygrad.tensor import _apply_map_to_tensors, transform_to_call
from tinygrad.uop.ops import CallInfo, Ops

#: The table of recordings in tinygrad's cache of compiled kernels.
_RECORDINGS = "mnist_sweep_recordings"


class Recording(NamedTuple):
    """The kernels of a step and where in memory they work.

    ``kernels`` are names, C sources, and for each argument a buffer and a byte in it; buffers are
    those that the step is given, and behind them its own, which have ``scratch`` bytes.
    """

    scratch: list[int]
    kernels: list[tuple[str, str, list[tuple[int, int]]]]


def recorded(linear: UOp, given: Sequence[Buffer]) -> Recording | None:
    """The compiled calls ``linear``, which work on the buffers ``given`` and on others.

    None where they hold anything but plain CPU kernels.
    """
    places = {buffer: place for place, buffer in enumerate(given)}
    recording = Recording([], [])
    for call in linear.src:
        program = call.src[0]
        if program.op is not Ops.PROGRAM or program.arg.vars or set(program.arg.global_size) != {1}:
            return None
        views, arguments = get_call_arg_uops(call), []
        for view in (views[place].buffer for place in program.arg.globals):
            if view.base not in places:
                places[view.base] = len(places)
                recording.scratch.append(view.base.nbytes)
            arguments.append((places[view.base], view.offset))
        (source,) = (part.arg for part in program.src if part.op is Ops.SOURCE)
        recording.kernels.append((program.arg.name, source, arguments))
    return recording


def replay(recording: Recording, given: Sequence[Buffer]) -> Callable[[], None]:
    """The step that ``recording`` is of, on the buffers ``given`` and on new ones of its own."""
    device = Device["CPU"]
    compiler, target = device.renderer.compiler, device.renderer.target
    scratch = [Buffer("CPU", size, dtypes.uint8) for size in recording.scratch]
    buffers = [*given, *scratch]
    starts = [buffer.ensure_allocated()._buf.va_addr for buffer in buffers]
    programs = {
        source: device.runtime(TinyELF(compiler.compile_cached(source), name, target, ()))
        for name, source, _ in recording.kernels
    }
    calls = [
        (programs[source].fxn, tuple(ctypes.c_uint64(starts[b] + at) for b, at in arguments))
        for _, source, arguments in recording.kernels
    ]

    # The functions and addresses are good as long as what owns them.
    def step(_owners: object = (buffers, programs)) -> None:
        for function, arguments in calls:
            function(*arguments)

    return step


def cpu_step(outputs: list[Tensor]) -> Callable[[], None] | None:
    """The step that computes ``outputs``, planned and generated only if no process ever did that.

    None where it has anything but plain kernels on whole buffers.
    """
    call, storage = transform_to_call(UOp.sink(*(tensor.uop for tensor in outputs)))
    _apply_map_to_tensors(storage, name="buffers")
    if any(argument.op is not Ops.BUFFER for argument in call.src[1:]):
        return None
    given = [argument for argument in call.src[1:] if argument.is_realized]
    buffers = [argument.buffer for argument in given]
    options = [option.value for option in (*to_program_config, BEAM)]
    # The graph has the kernels' sources, all constants and all sizes in it.
    key = {
        "graph": _digest(call.src[0]),
        "given": ",".join(str(call.src.index(argument)) for argument in given),
        "options": f"{version('tinygrad')} {Device['CPU'].renderer.target} {options}",
    }
    if (recording := _read_recording(key)) is None:
        with Context(NO_MEMORY_PLANNER=1):
            linear, _ = create_linear_with_vars(call)
        linear = compile_linear(memory_plan_rewrite(linear, set(given)))
        if (recording := recorded(linear, buffers)) is None:
            return None
        diskcache_put(_RECORDINGS, key, zlib.compress(json.dumps(recording).encode(), 1))
    return replay(recording, buffers)


def _digest(graph: UOp) -> str:
    """A digest of all that ``graph`` computes; its own ``key`` has the addresses of gradients."""
    digests: dict[UOp, bytes] = {}
    for node in graph.toposort():
        own = (node.op, node.dtype, None if isinstance(node.arg, CallInfo) else node.arg)
        below = b"".join(digests[source] for source in node.src)
        digests[node] = hashlib.sha256(str(own).encode() + below).digest()
    return digests[graph].hex()


def _read_recording(key: dict[str, str]) -> Recording | None:
    try:
        return Recording(*json.loads(zlib.decompress(diskcache_get(_RECORDINGS, key))))
    except Exception:  # there is none, or a damaged one, which may raise anything
        return None
