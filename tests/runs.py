"""Runs of the command line that are watched, and disturbed, from outside."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnist_sweep.data.bundled import unpacked_path

COMMAND = [sys.executable, "-m", "mnist_sweep"]


def start(spec: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start ``mnist-sweep run spec`` with ``arguments``, where the spec is."""
    return subprocess.Popen(
        [*COMMAND, "run", str(spec), *map(str, arguments)],
        cwd=spec.parent,
        text=True,
        preexec_fn=_heed_signals,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def _heed_signals() -> None:
    """A test run in the background inherits that Ctrl-C is ignored; a user's run does not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def workers(pid: int) -> list[int]:
    """The worker processes of the run with process id ``pid``; none once it has ended."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        commands = {int(c): Path(f"/proc/{c}/cmdline").read_bytes() for c in children}
    except OSError:  # a process that ended meanwhile
        return []
    return [child for child, command in commands.items() if b".worker" in command]


def has_trial(worker: int) -> bool:
    """Whether the worker was given a trial: it maps the data set then, to compile and to train."""
    try:
        return str(unpacked_path()) in Path(f"/proc/{worker}/maps").read_text()
    except OSError:
        return False


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a results or curves file as any reader of CSV sees them; none without a file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def told(stderr: str) -> list[str]:
    """The lines of a run's stderr, less those on how far it is: a fast run has none."""
    return [line for line in stderr.splitlines() if "of the work done, " not in line]


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")
