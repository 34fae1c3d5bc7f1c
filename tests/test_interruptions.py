"""What becomes of a run that is interrupted: real processes, real training, real signals."""

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import runs
from tests.runs import rows, wait_until

TRIALS = 8
#: Trials of most of a second, so that what comes after one meets the next in the middle, of a shape
#: that is soon compiled.
SPEC = f"""
dataset: {{name: mnist, train_size: 10000, test_size: 500}}
base: {{epochs: 4, width: 256, depth: 1, opt: sgd, batch_size: 128}}
seeds: {TRIALS}
"""

Ready = Callable[[subprocess.Popen[str]], object]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "slow.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def output(spec: Path) -> Path:
    return spec.parent / "results" / "slow.csv"


def finish(spec: Path, *arguments: object) -> tuple[int, str, str]:
    """Run to the end: exit code, stdout, stderr."""
    process = runs.start(spec, *arguments)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@contextlib.contextmanager
def going_on(output: Path) -> Iterator[None]:
    """Whatever happens in between keeps every row there was, and leaves some trials to train."""
    before = rows(output)
    yield
    assert rows(output)[: len(before)] == before
    assert len(rows(output)) < TRIALS


def stop(spec: Path, number: signal.Signals, jobs: int, ready: Ready) -> None:
    """Send the signal to a run once it is ``ready``; it must end in good order and soon."""
    process = runs.start(spec, "--jobs", jobs)
    wait_until(lambda: ready(process))
    process.send_signal(number)
    asked = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert f"To go on: mnist-sweep run {spec} --jobs {jobs}" in err
    assert "Traceback" not in err


def trains(process: subprocess.Popen[str]) -> bool:
    return any(map(runs.has_trial, runs.workers(process.pid)))


def test_signals_a_full_disk_and_a_kill_lose_no_row_and_the_same_command_goes_on(
    spec: Path, output: Path
) -> None:
    with going_on(output):
        stop(spec, signal.SIGINT, 2, lambda _: rows(output))
    assert rows(output)
    for number in (signal.SIGTERM, signal.SIGHUP):
        with going_on(output):
            stop(spec, number, 1, trains)

    with going_on(output):
        # A measurement of coverage writes files as well, and more than fits.
        environment = {k: v for k, v in os.environ.items() if "COVERAGE" not in k}
        process = runs.start(spec, "--jobs", 1, env=environment)
        wait_until(lambda: trains(process))
        full = output.stat().st_size + 100  # not enough for a row
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        (line,) = runs.told(err)
        assert line.startswith("mnist-sweep: error: ")
        assert "free some space and run the same command again" in err

    with going_on(output):
        before = len(rows(output))
        process = runs.start(spec, "--jobs", 2)
        wait_until(lambda: len(rows(output)) > before)
        process.kill()
        process.communicate()
        assert len(rows(output)) > before

    saved = rows(output)
    code, _, err = finish(spec, "--jobs", 2)
    assert code == 0, err
    assert rows(output)[: len(saved)] == saved
    assert sorted(int(row["seed"]) for row in rows(output)) == list(range(TRIALS))
    assert {row["status"] for row in rows(output)} == {"ok"}


def test_a_second_run_on_the_same_file_is_refused_at_once(spec: Path, output: Path) -> None:
    first = runs.start(spec)
    wait_until(output.exists)
    code, _, err = finish(spec)
    assert code == 2
    assert str(first.pid) in err
    assert len(err.splitlines()) == 1
    reading = [*runs.COMMAND, "top", str(output)]
    assert subprocess.run(reading, capture_output=True).returncode == 0
    first.kill()
    first.communicate()


def test_ctrl_c_twice_ends_the_run_at_once_and_leaves_no_worker(spec: Path) -> None:
    process = runs.start(spec, "--jobs", 2)
    wait_until(lambda: [runs.has_trial(pid) for pid in runs.workers(process.pid)] == [True, True])
    workers = runs.workers(process.pid)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=2)
    assert process.returncode == 130
    assert "Traceback" not in err
    wait_until(lambda: not any(map(runs.alive, workers)), seconds=10)


def test_a_trial_that_kills_its_worker_twice_fails_alone_and_can_be_run_again(
    spec: Path, output: Path
) -> None:
    two = ("--jobs", 1, "--set", "seeds=2")
    process = runs.start(spec, *two)
    seen: set[int] = set()

    def next_worker() -> int:
        """A worker that was not seen before, once it has its trial."""
        wait_until(lambda: set(filter(runs.has_trial, runs.workers(process.pid))) - seen)
        (worker,) = set(filter(runs.has_trial, runs.workers(process.pid))) - seen
        seen.add(worker)
        return worker

    os.kill(next_worker(), signal.SIGKILL)
    next_worker()  # goes on with the other trial
    os.kill(next_worker(), signal.SIGKILL)  # tries the first one again
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "2 of 2 trials done (2 in this run), 0 diverged, 1 failed" in out
    assert "--retry-failed" in err
    by_status = {row["status"]: row for row in rows(output)}
    assert sorted(by_status) == ["failed", "ok"]
    assert "SIGKILL" in by_status["failed"]["error"]

    assert finish(spec, *two)[0] == 1  # not run again
    assert rows(output)[1] == by_status["failed"]
    code, _, err = finish(spec, *two, "--retry-failed")
    assert code == 0, err
    assert [row["status"] for row in rows(output)] == ["ok", "ok"]
    assert by_status["ok"] in rows(output)
