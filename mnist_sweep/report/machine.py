"""The machine that writes a report: what its rows do not say of the one that trained."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

from mnist_sweep.devices import PROBE_TIMEOUT, find_compiler, physical_cores
from mnist_sweep.labels import count


@cache
def this_machine() -> dict[str, str]:
    """Its processor, system, Python, numpy and C compiler, by name."""
    return {
        "processor": f"{_processor()}, {count(physical_cores(), 'core')}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "numpy": version("numpy"),
        "compiler": _compiler(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _compiler() -> str:
    compiler = find_compiler()
    if compiler is None:
        return "none"
    done = subprocess.run(
        [compiler.program, "--version"], capture_output=True, text=True, timeout=PROBE_TIMEOUT
    )
    return (done.stdout.splitlines() or ["unknown"])[0]
