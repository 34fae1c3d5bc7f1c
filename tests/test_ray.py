"""A sweep on a Ray instance of its own is the sweep that local processes run.

Needs the extra ``ray``; ``scripts/test_ray`` runs it.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnist_sweep.executors.ray_executor import ClusterOptions, RayExecutor
from mnist_sweep.export.model import load_model
from mnist_sweep.runner import run_sweep
from mnist_sweep.spec.load import load_spec
from tests.in_process import InProcessExecutor
from tests.ray_nodes import outcome, ray_processes, rows_in, start_sweep, table, wait_until
from tests.runs import told
from tests.test_runner import SPEC as CLIMB
from tests.test_runner import Climb
from tests.test_stages import TINY as STAGED

pytestmark = pytest.mark.ray

#: Two shapes; one trial of each diverges.
SPEC = """
dataset: {name: mnist, train_size: 4000, test_size: 500}
base: {depth: 1, batch_size: 50, epochs: 4}
seeds: 2
parameters: {width: [16, 32], lr: [1e-3, 1e-2, 1e3]}
"""


def test_it_stops_in_good_order_goes_on_and_leaves_no_process_and_the_same_rows(
    tmp_path: Path,
) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text(SPEC)
    local, remote = tmp_path / "local.csv", tmp_path / "ray.csv"
    arguments = ["--device", "CPU", "--jobs", "2", "-o"]
    command = [sys.executable, "-m", "mnist_sweep", "run", str(spec), *arguments, str(local)]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    before = ray_processes()

    first = start_sweep(spec, *arguments, remote)
    wait_until(lambda: rows_in(remote) >= 1)
    first.send_signal(signal.SIGINT)
    asked = time.monotonic()
    out, err = first.communicate(timeout=30)
    assert time.monotonic() - asked < 5
    assert (first.returncode, out) == (130, "")
    assert [line for line in told(err) if "interrupted" not in line] == []
    assert 1 <= rows_in(remote) < 12
    assert ray_processes() == before

    second = start_sweep(spec, *arguments, remote)
    out, err = second.communicate(timeout=120)
    assert (second.returncode, told(err)) == (0, [])
    assert "12 of 12 trials done" in out
    assert ray_processes() == before
    assert outcome(remote) == outcome(local)


def test_its_workers_outlive_a_proposal_of_a_search_that_learns_from_rows(tmp_path: Path) -> None:
    (tmp_path / "climb.yaml").write_text(CLIMB)
    spec = replace(load_spec(tmp_path / "climb.yaml"), search=Climb())
    before = ray_processes()
    executor = RayExecutor(ClusterOptions(None, 1, "CPU", 0.0))
    for name, each in ("here", InProcessExecutor()), ("ray", executor):
        summary = run_sweep(spec, tmp_path / f"{name}.csv", each, device="CPU", weights="all")
        assert (summary.done, summary.interrupted) == (7, False)
        assert outcome(tmp_path / f"{name}.csv") == outcome(tmp_path / "here.csv")
    saved = [*(tmp_path / "here.weights").iterdir()]
    assert len(saved) == 7
    for path in saved:
        here, there = load_model(path), load_model(tmp_path / "ray.weights" / path.name)
        assert all(np.array_equal(there.weights[name], w) for name, w in here.weights.items())
    compiled = [float(row["compile_seconds"]) > 0 for row in table(tmp_path / "ray.csv")]
    assert compiled == [True] + [False] * 6
    assert ray_processes() == before


def test_stages_cut_off_by_limits_and_time_are_the_same_trials_and_rows(tmp_path: Path) -> None:
    (tmp_path / "staged.yaml").write_text(STAGED)
    spec = load_spec(tmp_path / "staged.yaml")
    here, remote = tmp_path / "here.csv", tmp_path / "ray.csv"
    run_sweep(spec, here, InProcessExecutor(), device="CPU")
    executor = RayExecutor(ClusterOptions(None, 2, "CPU", 0.0))
    for limit in (4, None):
        summary = run_sweep(spec, remote, executor, device="CPU", limit=limit, seconds=600)
    assert (summary.done, summary.total, summary.searched) == (11, 11, True)
    assert outcome(remote) == outcome(here)
    assert [{row["stage"] for row in table(path)} for path in (here, remote)] == [
        {"", "confirm"}
    ] * 2


@pytest.mark.slow
def test_a_driver_that_is_killed_takes_its_ray_with_it(tmp_path: Path) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text(SPEC)
    before = ray_processes()
    run = start_sweep(spec, "--device", "CPU", "--jobs", "2", "-o", tmp_path / "out.csv")
    wait_until(lambda: rows_in(tmp_path / "out.csv") >= 1)
    run.kill()
    run.communicate()
    wait_until(lambda: ray_processes() == before, 10)
    assert rows_in(tmp_path / "out.csv") >= 1
