"""Choosing the device and finding a C compiler, without importing tinygrad.

tinygrad's CPU device compiles its kernels with clang. Its devices read ``DEV`` and ``CC`` when
they are opened, so both are settled here, before any process that trains is started.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mnist_sweep.aliases import suggest
from mnist_sweep.cache import cache_dir, kernel_cache
from mnist_sweep.errors import DeviceError
from mnist_sweep.files import replace_file

#: Seconds that a device may take to open and to add two numbers, compilers started included.
PROBE_TIMEOUT = 120

NO_COMPILER = (
    "training on the CPU needs clang: install it (Debian: apt install clang), or take the one "
    "of the extra mnist-sweep[cpu]: pip install ziglang"
)

NO_NAME = "--device is empty; name one, such as CPU, or leave it out"

#: What ``--device`` may name.
DEVICES = ("CPU", "CUDA", "METAL", "AMD", "NV", "CL", "WEBGPU")

_PROBE = "from mnist_sweep.training import backend as b; b.check_device(); print(b.count_devices())"


@dataclass(frozen=True)
class Compiler:
    """A clang that works: the program to start, and where it was found.

    ``note`` is for a user whose CC is not it.
    """

    program: str
    origin: str
    note: str = ""


def find_compiler() -> Compiler | None:
    """The clang to use: ``CC``, else ``clang`` on the PATH, else the one of the ziglang package.

    Each candidate must really compile. None where none does.
    """
    named = os.environ.get("CC")
    for program, origin in ((named, "CC"), ("clang", "PATH"), (_ziglang_launcher(), "ziglang")):
        path = program and shutil.which(program)
        if path and _compiles(path):
            passed_over = f"CC={named} is no clang that works; {path} is taken instead"
            return Compiler(path, origin, passed_over if named and origin != "CC" else "")
    return None


def compiler_for(device: str) -> Compiler | None:
    """The compiler that ``device`` needs; None if it needs none. Raises DeviceError."""
    if not is_cpu(device):
        return None
    if compiler := find_compiler():
        return compiler
    raise DeviceError(NO_COMPILER)


def _compiles(program: str) -> bool:
    """Whether ``program`` takes the options that tinygrad gives to clang."""
    machine = platform.machine().lower()
    target = {"amd64": "x86_64", "aarch64": "arm64"}.get(machine, machine)
    command = [program, "-c", "-x", "c", "-O2", "-ffreestanding", "-nostdlib"]
    command += [f"--target={target}-none-unknown-elf", "-", "-o", "-"]
    try:
        done = subprocess.run(
            command, input=b"void f(void) {}\n", capture_output=True, timeout=PROBE_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError) as error:
        if getattr(error, "errno", None) == errno.EMFILE:
            raise  # it is not the compiler's fault
        return False
    return done.returncode == 0 and done.stdout.startswith(b"\x7fELF")


def _ziglang_launcher() -> str | None:
    """A program that is ``zig clang``, of the ziglang package: tinygrad's compiler is one word.

    It is written into our cache.
    """
    package = importlib.util.find_spec("ziglang")
    if package is None or package.origin is None:
        return None
    zig = Path(package.origin).with_name("zig")
    if not os.access(zig, os.X_OK):
        return None
    digest = hashlib.sha256(str(zig).encode()).hexdigest()[:12]
    launcher = cache_dir() / "bin" / f"clang-{digest}"
    script = f'#!/bin/sh\nexec {shlex.quote(str(zig))} clang "$@"\n'.encode()
    try:
        if not launcher.exists() or launcher.read_bytes() != script:
            launcher.parent.mkdir(parents=True, exist_ok=True)
            replace_file(launcher, script, mode=0o755)
    except OSError:
        return None
    return str(launcher)


def environment(device: str, compiler: Compiler | None, gpu: str | None = None) -> dict[str, str]:
    """The environment of a process that trains on ``device``, and there on the GPU named ``gpu``.

    None leaves the choice of the GPU to tinygrad, which takes the first.
    """
    settings = {
        "DEV": device,
        # tinygrad's own pool of compiling processes would fight the workers for the cores.
        "PARALLEL": "0",
        # A worker is one thread: the results must not depend on how many cores a machine has.
        "NUM_CPU_THREADS": "1",
        # Whatever the user's own experiments with tinygrad set: steps are captured, in float32.
        "JIT": "1",
        "DEFAULT_FLOAT": "float32",
        # tinygrad's checks of its own graphs take a fifth of the time to compile a step.
        "SPEC": "0",
    }
    kernels, _ = kernel_cache()
    settings |= {"CACHEDB": str(kernels)} if kernels else {"CACHELEVEL": "0"}
    if compiler is not None:
        settings["CC"] = compiler.program
    if gpu is not None and _kind(device) in ("NV", "AMD"):
        settings["DEV"] = f":{gpu}+{device}"
    elif gpu is not None:
        # DEV cannot name one of CUDA's GPUs ("CUDA:1" asks for a renderer "1"), so CUDA itself must
        # see no other; NV and AMD bypass the vendor's library and its variables, but can be told.
        settings["CUDA_VISIBLE_DEVICES"] = gpu
    return {**os.environ, **settings}


def _kind(device: str) -> str:
    return device.split(":")[0].upper()


def is_cpu(device: str) -> bool:
    """Whether ``device``, as in DEV ("CPU", "CPU:LLVM", "CUDA:1"), is the CPU."""
    return _kind(device) == "CPU"


def probe(device: str, compiler: Compiler | None) -> int:
    """Open ``device`` in a process of its own and compute with it; how many of it there are.

    Raises DeviceError with the reason why that cannot be done.
    """
    command, settings = [sys.executable, "-P", "-c", _PROBE], environment(device, compiler)
    try:
        done = subprocess.run(
            command, env=settings, capture_output=True, text=True, timeout=PROBE_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"no answer in {PROBE_TIMEOUT} s") from error
    except OSError as error:
        raise DeviceError(str(error)) from error
    if done.returncode == 0:
        return int(done.stdout)
    last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
    if "No module named 'tinygrad.runtime" in last:
        last = "tinygrad knows no such device"
    # Without the exception's class, which says nothing to a user.
    raise DeviceError(last.partition(": ")[2].rstrip(" ;") or last)


def gpu_names(device: str, count: int) -> tuple[str, ...]:
    """What ``environment`` takes as the names of the ``count`` GPUs that ``device`` stands for.

    None where there is no choice: a single one, a kind that cannot be chosen from, or one that the
    user chose already ("PCI:1+AMD"). CUDA's GPUs are those of CUDA_VISIBLE_DEVICES where it is set.
    """
    if _kind(device) not in ("CUDA", "NV", "AMD") or count < 2:
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if _kind(device) == "CUDA" else None
    names = visible.split(",") if visible else map(str, range(count))
    return tuple(name.strip() for name in names)[:count]


def candidates() -> list[str]:
    """The devices that this machine may have, the fastest first; the CPU is always the last."""
    metal = ["METAL"] if sys.platform == "darwin" else []
    # What a machine must have before it is worth opening an accelerator.
    traces = {"CUDA": "/dev/nvidiactl", "AMD": "/dev/kfd"}
    return [*metal, *(device for device, trace in traces.items() if os.path.exists(trace)), "CPU"]


@dataclass(frozen=True)
class Choice:
    """The device that a sweep takes, the compiler it needs, and the reason.

    ``gpus`` are the names of its GPUs (see ``environment``), where there are several.
    """

    device: str
    compiler: Compiler | None
    reason: str
    gpus: tuple[str, ...] = ()

    @property
    def notes(self) -> list[str]:
        """What is taken in place of what the user's environment names."""
        return [*filter(None, [self.compiler.note if self.compiler else "", kernel_cache()[1]])]


def choose_device(requested: str | None) -> Choice:
    """Settle on ``requested``, else on the environment's DEV, else on the best that works.

    Raises DeviceError, with what to do next, if that device cannot train here.
    """
    if requested is not None and not requested.strip():
        raise DeviceError(NO_NAME)
    named = requested or os.environ.get("DEV")
    how = "asked for with --device" if requested else "named by the environment variable DEV"
    for device in [named] if named else candidates():
        compiler = compiler_for(device)
        if device.upper() == "CPU":
            break
        # A failure to open is worth a second's wait before a sweep is planned on it.
        try:
            gpus = gpu_names(device, probe(device, compiler))
            return Choice(device, compiler, how if named else "the fastest device that works", gpus)
        except DeviceError as error:
            if named:
                raise DeviceError(
                    f"device {device} cannot be used: {error}{suggest(device, DEVICES)}; "
                    "mnist-sweep doctor lists the devices that can"
                ) from error
    return Choice("CPU", compiler, how if named else "no accelerator was found")


def physical_cores() -> int:
    """Cores that this process may use, counting two hardware threads of a core once.

    No more than its control group has time for.
    """
    cores = set()
    affine = hasattr(os, "sched_getaffinity")
    for cpu in os.sched_getaffinity(0) if affine else range(os.cpu_count() or 1):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return max(1, min(len(cores), math.ceil(cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """CPUs of time that the control group (v2) of this process has; as many as there are if any."""
    quota = float(os.cpu_count() or 1)
    with suppress(OSError):
        own = (root / "proc/self/cgroup").read_text().rpartition("0::/")[2].strip()
        group = root / "sys/fs/cgroup" / own
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # there is none, or it is "max"
                allowed, period = map(int, (folder / "cpu.max").read_text().split())
                quota = min(quota, allowed / period)
    return quota


def default_jobs(choice: Choice) -> int:
    """Workers for ``choice`` on this machine: one for each core of a CPU, or for each GPU."""
    return physical_cores() if is_cpu(choice.device) else len(choice.gpus) or 1
