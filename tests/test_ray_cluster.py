"""The promises of a run, on a cluster whose nodes come, go and differ.

Nodes are real, each with its own network where that is permitted, and are really killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mnist_sweep.data.idx import FILE_NAMES, idx_header
from tests.ray_nodes import (
    ENVIRONMENT,
    Cluster,
    cluster,
    outcome,
    ray_processes,
    rows_in,
    start_sweep,
    table,
    wait_until,
)
from tests.runs import told

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Twelve trials of a few seconds each, of two shapes.
SPEC = """
dataset: {name: mnist, train_size: 10000, test_size: 500}
evals_per_epoch: 2
base: {epochs: 4, batch_size: 128, depth: 1}
seeds: 3
parameters: {width: [192, 256], lr: [1e-3, 1e-2]}
"""
TRIALS = 12


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    before = ray_processes()
    with cluster() as made:
        yield made
    assert ray_processes() == before


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of the same sweep in local processes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "sweep.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "mnist_sweep", "run", "sweep.yaml", "-o", "out.csv"]
    done = subprocess.run([*command, "--device", "CPU", "--jobs", "2"], cwd=folder)
    assert done.returncode == 0
    return folder / "out.csv"


def doctor(nodes: Cluster) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mnist_sweep", "doctor", "--executor", "ray"]
    return subprocess.run(
        [*nodes.inside, *command, "--address", nodes.address],
        env=ENVIRONMENT,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )


def sweep_on(nodes: Cluster, spec: Path, *arguments: object) -> subprocess.Popen[str]:
    on = ["--address", nodes.address, "-o", spec.with_name("out.csv")]
    return start_sweep(spec, *on, *arguments, prefix=nodes.inside)


def test_a_node_killed_in_mid_sweep_loses_no_trial_and_one_that_joins_gets_work(
    nodes: Cluster, spec: Path, undisturbed: Path
) -> None:
    output = spec.with_name("out.csv")
    nodes.add("node-a")
    nodes.add("node-b")
    run = sweep_on(nodes, spec)
    wait_until(lambda: rows_in(output) >= 2 and nodes.workers("node-b"))
    before = output.read_bytes()
    nodes.kill("node-b")
    nodes.add("node-c")
    wait_until(lambda: nodes.workers("node-c") or run.poll() is not None)
    assert run.poll() is None
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert f"{TRIALS} of {TRIALS} trials done" in out
    assert "node node-b" in err
    assert "was lost; its trials run elsewhere" in err
    assert all(line.startswith("mnist-sweep: note: ") for line in err.splitlines()), err
    assert output.read_bytes().startswith(before)
    assert outcome(output) == outcome(undisturbed)
    wait_until(lambda: not nodes.workers(), 10)


def test_a_driver_that_is_killed_leaves_a_free_cluster_and_a_file_that_goes_on(
    nodes: Cluster, spec: Path, undisturbed: Path
) -> None:
    output = spec.with_name("out.csv")
    nodes.add("node-a")
    nodes.add("node-b")
    run = sweep_on(nodes, spec)
    wait_until(lambda: rows_in(output) >= 2 and len(nodes.workers()) >= 2)
    run.kill()
    run.communicate()
    wait_until(lambda: not nodes.workers(), 10)
    saved = output.read_bytes()

    run = sweep_on(nodes, spec)
    wait_until(lambda: rows_in(output) >= saved.count(b"\n") + 1)
    run.send_signal(signal.SIGINT)
    asked = time.monotonic()
    _, err = run.communicate(timeout=30)
    assert time.monotonic() - asked < 5
    assert run.returncode == 130
    assert "interrupted" in err
    wait_until(lambda: not nodes.workers(), 5)

    run = sweep_on(nodes, spec)
    _, err = run.communicate(timeout=240)
    assert (run.returncode, told(err)) == (0, []), err
    assert output.read_bytes().startswith(saved)
    assert outcome(output) == outcome(undisturbed)


def test_a_node_with_another_tinygrad_is_refused_by_name_and_the_others_do_the_work(
    nodes: Cluster, spec: Path, tmp_path: Path
) -> None:
    old = tmp_path / "old" / "tinygrad-0.13.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: tinygrad\nVersion: 0.13.0\n")
    spec.write_text(SPEC.replace("10000", "1000"))
    nodes.add("node-a")
    nodes.add("node-b", PYTHONPATH=str(old.parent))

    found = doctor(nodes)
    assert found.returncode == 0, found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith("node ")]
    states = {line.split()[1]: line.rpartition(": usable")[1] or line for line in lines}
    assert states["node-a"] == ": usable"
    assert "not used: it has tinygrad 0.13.0, this run 0.14" in states["node-b"]

    run = sweep_on(nodes, spec, "--jobs", "2")
    _, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    (line,) = told(err)
    assert line.startswith("mnist-sweep: note: node node-b (")
    assert "is not used: it has tinygrad 0.13.0, this run 0.14" in line
    assert line.endswith("install the same there")


def test_where_no_node_can_be_used_the_run_ends_with_one_line(
    nodes: Cluster, spec: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    (empty / "mnist_sweep-9.9.dist-info").mkdir(parents=True)
    (empty / "mnist_sweep-9.9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mnist-sweep\nVersion: 9.9\n"
    )
    nodes.add("head", cpus=0)
    nodes.add("node-b", PYTHONPATH=str(empty))
    assert doctor(nodes).returncode == 0  # the head, which has no CPU to offer, would be fit
    run = sweep_on(nodes, spec)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 2
    assert [line for line in err.splitlines() if "Traceback" in line] == []
    last = err.splitlines()[-1]
    assert last.startswith("mnist-sweep: error: no node of the cluster can be used: node-b (")
    assert "it has mnist-sweep 9.9, this run" in last
    wait_until(lambda: not nodes.workers(), 10)


def test_a_folder_of_data_reaches_the_nodes(nodes: Cluster, spec: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "shapes").mkdir()
    for name, count in zip(FILE_NAMES, (600, 600, 200, 200), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        values = rng.integers(0, 256 if "images" in name else 10, shape, np.uint8)
        (tmp_path / "shapes" / name).write_bytes(idx_header(shape) + values.tobytes())
    spec.write_text(
        "dataset: {dir: shapes}\nseeds: 2\nbase: {depth: 1, width: 16, batch_size: 50}\n"
    )
    local = [sys.executable, "-m", "mnist_sweep", "run", str(spec), "-o", "local.csv"]
    assert subprocess.run(local, cwd=tmp_path, capture_output=True).returncode == 0
    nodes.add("head", cpus=0)
    nodes.add("node-b")
    run = sweep_on(nodes, spec)
    # By the time that it trains, the folder is not there any more.
    wait_until(lambda: nodes.workers("node-b"))
    shutil.move(tmp_path / "shapes", tmp_path / "elsewhere")
    _, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert outcome(tmp_path / "out.csv") == outcome(tmp_path / "local.csv")


def test_a_trial_that_kills_its_worker_twice_fails_alone(nodes: Cluster, spec: Path) -> None:
    output = spec.with_name("out.csv")
    nodes.add("node-a")
    run = sweep_on(nodes, spec, "--set", "seeds=1")
    killed: set[int] = set()
    # The worker of the first trial, and at the end, when all others have gone, that of its second
    # try.
    for done in (0, 3):
        wait_until(lambda done=done: rows_in(output) == done)  # type: ignore[misc]
        wait_until(lambda: set(nodes.workers(training=True)) - killed)
        (pid,) = set(nodes.workers(training=True)) - killed
        os.kill(pid, signal.SIGKILL)
        killed.add(pid)
    out, err = run.communicate(timeout=240)
    assert run.returncode == 1, err
    assert "4 of 4 trials done (4 in this run), 0 diverged, 1 failed" in out
    statuses = [row["status"] for row in table(output)]
    assert sorted(statuses) == ["failed", "ok", "ok", "ok"]
    assert statuses[-1] == "failed"
    assert "the worker on node-a (" in table(output)[-1]["error"]


def test_a_lost_head_is_one_line_and_every_row_is_kept(nodes: Cluster, spec: Path) -> None:
    output = spec.with_name("out.csv")
    nodes.add("head", cpus=0)
    nodes.add("node-b")
    run = sweep_on(nodes, spec)
    wait_until(lambda: rows_in(output) >= 2)
    nodes.kill("head")
    _, err = run.communicate(timeout=120)
    assert run.returncode == 2
    assert err.splitlines()[-1].startswith("mnist-sweep: error: the connection to Ray was lost")
    assert rows_in(output) >= 2
    assert {row["status"] for row in table(output)} == {"ok"}


def test_a_cluster_that_is_not_there_is_one_line(spec: Path) -> None:
    run = start_sweep(spec, "--address", "127.0.0.1:1")
    _, err = run.communicate(timeout=180)
    assert run.returncode == 2
    (line,) = told(err)
    assert line.startswith("mnist-sweep: error: cannot connect to the Ray cluster at 127.0.0.1:1: ")
