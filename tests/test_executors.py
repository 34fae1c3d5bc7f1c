"""Rows do not depend on where trials run, and a failure stays where it happens.

Workers here are real processes that train on real MNIST, and they are really killed.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.devices import Choice, choose_device
from mnist_sweep.errors import DeviceError
from mnist_sweep.executors import local as executors
from mnist_sweep.executors.local import Executor, InProcessExecutor, LocalExecutor, Settings
from mnist_sweep.plan import plan
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult

SMALL = DatasetConfig(train_size=2000, test_size=500)
SETTINGS = Settings(sweep="test", evals_per_epoch=1)
QUICK = [
    Trial(HPConfig(width=width, depth=1, batch_size=50, lr=lr, seed=seed), SMALL)
    for width in (16, 32)
    for lr in (1e-3, 1e-2)
    for seed in (0, 1)
]
#: Long enough (about ten seconds) to be killed in the middle.
LONG = Trial(HPConfig(width=512, depth=2, epochs=60), DatasetConfig(train_size=5000, test_size=500))


@pytest.fixture(scope="module")
def choice() -> Choice:
    return choose_device("CPU")


def _run(executor: Executor, trials: list[Trial]) -> list[TrialResult]:
    return list(executor.run(plan(trials), SETTINGS, lambda: False))


def _numbers(results: list[TrialResult]) -> dict[str, tuple[object, ...]]:
    return {
        r.trial.trial_id: (r.status, r.train_loss, r.train_accuracy, r.test_accuracy, r.curve)
        for r in results
    }


def _children() -> list[int]:
    listing = Path(f"/proc/{os.getpid()}/task")
    return [
        int(pid)
        for task in listing.iterdir()
        for pid in (task / "children").read_text().split()
        if b"mnist_sweep.executors.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def _kill_workers_once_they_train(count: int) -> threading.Thread:
    """Send SIGKILL to each of the first ``count`` workers, 3 s after it has appeared."""

    def kill() -> None:
        seen: set[int] = set()
        deadline = time.monotonic() + 60
        while len(seen) < count and time.monotonic() < deadline:
            for pid in set(_children()) - seen:
                time.sleep(4)
                os.kill(pid, signal.SIGKILL)
                seen.add(pid)
            time.sleep(0.1)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_rows_do_not_depend_on_the_number_of_workers_or_on_processes(choice: Choice) -> None:
    here = _numbers(_run(InProcessExecutor(), QUICK))
    one = _numbers(_run(LocalExecutor(1, choice), QUICK))
    two = _numbers(_run(LocalExecutor(2, choice), list(reversed(QUICK))))
    assert len(here) == len(QUICK)
    assert here == one == two


def test_results_carry_what_a_row_says_of_where_it_was_made(choice: Choice) -> None:
    (result,) = _run(LocalExecutor(1, choice), QUICK[:1])
    assert result.sweep == "test"
    assert result.device == "CPU"
    assert result.tinygrad_version.startswith("0.14")
    assert result.mnist_sweep_version
    assert result.finished_at.endswith("+00:00")
    assert result.compile_seconds is not None
    assert result.compile_seconds > 0
    assert result.train_seconds is not None
    assert result.train_seconds > 0


def test_a_shape_is_compiled_once_for_all_its_trials(choice: Choice) -> None:
    results = _run(LocalExecutor(1, choice), QUICK)
    assert sum(r.compile_seconds != 0 for r in results) == 2


def test_a_killed_worker_costs_its_trial_one_more_try_and_the_others_nothing(
    choice: Choice,
) -> None:
    thread = _kill_workers_once_they_train(1)
    results = _run(LocalExecutor(1, choice), [LONG, *QUICK[:2]])
    thread.join()
    assert {r.trial.trial_id for r in results} == {t.trial_id for t in [LONG, *QUICK[:2]]}
    assert [r.status for r in results] == ["ok"] * 3
    assert results[-1].trial == LONG  # it was tried again after the others, alone


def test_a_trial_that_kills_its_worker_twice_is_recorded_as_failed(choice: Choice) -> None:
    thread = _kill_workers_once_they_train(2)
    (result,) = _run(LocalExecutor(1, choice), [LONG])
    thread.join()
    assert result.status == "failed"
    assert "SIGKILL" in result.error


def test_an_exception_in_a_trial_is_its_result_and_no_other_trial_suffers(
    choice: Choice, tmp_path: Path
) -> None:
    lost = Trial(QUICK[0].config, DatasetConfig(name=str(tmp_path / "gone")))
    results = _run(LocalExecutor(1, choice), [lost, *QUICK[:2]])
    status = {r.trial.trial_id: r for r in results}
    assert status[lost.trial_id].status == "failed"
    assert status[lost.trial_id].error.startswith("DataError: ")
    assert [status[t.trial_id].status for t in QUICK[:2]] == ["ok", "ok"]


def test_workers_that_cannot_start_are_one_clear_error() -> None:
    with pytest.raises(DeviceError, match=r"cannot start .*doctor"):
        _run(LocalExecutor(2, Choice("NOSUCHDEVICE", None, "")), QUICK)
    assert _children() == []


def test_a_worker_that_hangs_at_its_start_is_given_up(
    choice: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "START_TIMEOUT", 0.0)
    with pytest.raises(DeviceError, match="did not start"):
        _run(LocalExecutor(1, choice), QUICK)


def test_stopping_ends_the_workers_at_once(choice: Choice) -> None:
    started = time.monotonic()
    stop_at = started + 4
    results = list(
        LocalExecutor(2, choice).run(
            plan([LONG, *QUICK]), SETTINGS, lambda: time.monotonic() > stop_at
        )
    )
    assert time.monotonic() - started < 8
    assert LONG.trial_id not in {r.trial.trial_id for r in results}
    assert _children() == []


def test_workers_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "import sys\n"
        "from tests.test_executors import LONG, SETTINGS, LocalExecutor, choose_device, plan\n"
        "print('go', flush=True)\n"
        "list(LocalExecutor(1, choose_device('CPU')).run(plan([LONG]), SETTINGS, lambda: False))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    driver = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment
    )
    assert driver.stdout is not None
    driver.stdout.readline()
    children = _wait_for(lambda: Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text())
    time.sleep(3)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    worker = int(children.split()[-1])
    assert _wait_for(lambda: not Path(f"/proc/{worker}").exists())


def _wait_for(condition: Callable[[], object], seconds: float = 10) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return str(value)
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    assert _children() == []
