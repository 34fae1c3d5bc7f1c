"""Results to write, and another process that writes them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_sweep.config import HPConfig
from mnist_sweep.results.file import ResultsWriter, curves_path
from mnist_sweep.trial import CurvePoint, Status, Trial, TrialResult


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A temporary folder, in memory if there is such a place, where many fsyncs take no time."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def result(seed: int = 0, status: Status = "ok", points: int = 2, **changes: Any) -> TrialResult:
    """The result of a trial that only ``seed`` tells from others."""
    values: dict[str, Any] = {
        "sweep": "mlp_phase2",
        "trial": Trial(HPConfig(lr=3e-4, seed=seed)),
        "status": status,
        "error": 'ValueError: no, "really" not' if status == "failed" else "",
        "train_loss": 0.25,
        "train_accuracy": 0.5,
        "test_accuracy": (0.1 + seed / 1000) % 1,
        "val_images": 0 if status != "failed" else None,
        "test_images": 10_000 if status != "failed" else None,
        "device": "CPU",
        "finished_at": "2026-11-24T16:30:05+00:00",
        "curve": tuple(
            CurvePoint(step, step / 3, 3e-4, 1 / (step + seed), 0.9, None, 0.1 + seed / 1000)
            for step in range(1, points + 1)
        ),
    }
    return TrialResult(**(values | changes))


def write(path: Path, *results: TrialResult) -> Path:
    with ResultsWriter(path) as writer:
        for each in results:
            writer.append(each)
    return path


def files(path: Path) -> tuple[bytes, bytes]:
    """What the results file and its curves file hold."""
    return path.read_bytes(), curves_path(path).read_bytes()


#: A program: append the results of seeds 0..n-1 that FILE lacks, and print each seed once its row
#: is reported done; then wait for the end of stdin.
APPEND = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from mnist_sweep.results.file import ResultsWriter
from tests.results_helpers import result
with ResultsWriter(Path(sys.argv[2])) as writer:
    print("open", flush=True)
    for seed in range(int(sys.argv[3])):
        new = result(seed)
        if new.trial.trial_id not in writer.finished:
            writer.append(new)
            print(seed, flush=True)
    print("end", flush=True)
    sys.stdin.read()
"""


def start_appending(path: Path, count: int, **arguments: Any) -> subprocess.Popen[str]:
    """Start a process that appends up to ``count`` results, as ``APPEND`` says."""
    return subprocess.Popen(
        [sys.executable, "-c", APPEND, str(Path(__file__).parents[1]), str(path), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **arguments,
    )
