"""Rows do not depend on where trials run, and a failure stays where it happens.

Workers here are real processes that train on real MNIST, and they are really killed.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.devices import Choice, choose_device
from mnist_sweep.errors import DeviceError
from mnist_sweep.executors import driver
from mnist_sweep.executors.driver import Driver
from mnist_sweep.executors.interface import Executor, Session, Settings
from mnist_sweep.executors.local import LocalExecutor
from mnist_sweep.plan import plan
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests.in_process import InProcessExecutor

SMALL = DatasetConfig(train_size=1000, test_size=500)
SETTINGS = Settings(sweep="test", evals_per_epoch=1)
QUICK = [
    Trial(HPConfig(width=width, depth=1, batch_size=50, lr=lr), SMALL)
    for width in (16, 32)
    for lr in (1e-3, 1e-2)
]
#: Long enough to be killed in the middle, and never trained to its end.
LONG = Trial(HPConfig(width=512, depth=2, epochs=60), DatasetConfig(train_size=5000, test_size=500))


@pytest.fixture(scope="module")
def choice() -> Choice:
    return choose_device("CPU")


@pytest.fixture(scope="module")
def rows_of_one_worker(choice: Choice) -> list[TrialResult]:
    """Those of QUICK, in the order in which they came."""
    return _run(LocalExecutor(1, choice), QUICK)


def _run(executor: Executor, trials: list[Trial]) -> list[TrialResult]:
    with executor.open(SETTINGS, lambda: False) as session:
        return list(session.run(plan(trials)))


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


def training(session: Session) -> dict[Trial, int]:
    """What the workers of this machine train right now: the process id for each trial."""
    assert isinstance(session, Driver)
    return {trial: w.process.pid for w in session.crew.workers for trial in w.trials}


def test_rows_do_not_depend_on_the_number_of_workers_or_on_processes(
    choice: Choice, rows_of_one_worker: list[TrialResult]
) -> None:
    here = _numbers(_run(InProcessExecutor(), QUICK))
    two = _numbers(_run(LocalExecutor(2, choice), list(reversed(QUICK))))
    assert len(here) == len(QUICK)
    assert here == _numbers(rows_of_one_worker) == two


def test_results_carry_what_a_row_says_of_where_it_was_made(
    rows_of_one_worker: list[TrialResult],
) -> None:
    result = rows_of_one_worker[0]
    _assert_stamped(result)
    assert result.compile_seconds is not None
    assert result.compile_seconds > 0
    assert result.train_seconds is not None
    assert result.train_seconds > 0


def _assert_stamped(result: TrialResult) -> None:
    assert result.sweep == "test"
    assert result.device == "CPU"
    assert result.tinygrad_version.startswith("0.14")
    assert result.mnist_sweep_version
    assert result.finished_at.endswith("+00:00")


def test_a_shape_is_compiled_once_for_all_its_trials(
    rows_of_one_worker: list[TrialResult],
) -> None:
    assert sum(r.compile_seconds != 0 for r in rows_of_one_worker) == 2


def test_workers_idle_until_the_next_plan_and_keep_their_shapes(choice: Choice) -> None:
    with LocalExecutor(2, choice).open(SETTINGS, lambda: False) as session:
        list(session.run(plan([_seeded(t, seed) for t in QUICK for seed in range(4)])))
        assert isinstance(session, Driver)
        workers = session.crew.workers
        pids, held = set(_children()), {w.shape for w in workers if w.shape}
        assert len(pids) == 2
        ticks = sum(map(_cpu_ticks, pids))
        time.sleep(0.5)
        assert sum(map(_cpu_ticks, pids)) - ticks <= 5  # hundredths of a second, of both
        # One trial for each shape that a worker holds: each is for that very worker.
        cohorts = [c for c in plan([_seeded(t, 9) for t in QUICK[::2]]) if c.shape in held]
        assert [r.compile_seconds for r in session.run(cohorts)] == [0] * len(held)
        assert set(_children()) == pids
        os.kill(min(pids), signal.SIGKILL)  # who dies idle costs no trial anything
        _wait_for(lambda: Path(f"/proc/{min(pids)}/stat").read_text().split()[2] == "Z")
        again = list(session.run(plan(QUICK)))
        assert _numbers(again).keys() == {t.trial_id for t in QUICK}
        assert len(set(_children()) - pids) == 1


def _seeded(trial: Trial, seed: int) -> Trial:
    return replace(trial, config=replace(trial.config, seed=seed))


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_killed_worker_costs_its_trial_one_more_try_and_the_others_nothing(
    choice: Choice,
) -> None:
    """And a trial that kills its second worker too, alone in it, is recorded as failed."""
    trials = [_seeded(QUICK[0], seed) for seed in range(4)]
    _, once, twice, last = trials
    kills = [once, twice, twice]

    def kill() -> bool:
        for trial, pid in training(session).items():
            if trial in kills:
                kills.remove(trial)
                os.kill(pid, signal.SIGKILL)
        return False

    with LocalExecutor(1, choice).open(SETTINGS, kill) as session:
        results = list(session.run(plan(trials)))
    assert kills == []
    # What failed was tried again after the others.
    assert [r.trial for r in results] == [trials[0], last, once, twice]
    assert [r.status for r in results] == ["ok", "ok", "ok", "failed"]
    assert results[-1].error == "the worker on device CPU ended: SIGKILL"
    _assert_stamped(results[-1])


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
    monkeypatch.setattr(driver, "START_TIMEOUT", 0.0)
    with pytest.raises(DeviceError, match="no answer in 0 s"):
        _run(LocalExecutor(1, choice), QUICK)


def test_stopping_ends_the_workers_at_once(choice: Choice) -> None:
    asked: list[float] = []

    def stopped() -> bool:
        if LONG in training(session):
            asked.append(time.monotonic())
        return bool(asked)

    with LocalExecutor(2, choice).open(SETTINGS, stopped) as session:
        results = list(session.run(plan([LONG, *QUICK])))
    assert time.monotonic() - asked[0] < 2
    assert LONG not in [r.trial for r in results]
    assert _children() == []


def test_an_error_of_the_one_who_asked_ends_the_workers_at_once(choice: Choice) -> None:
    def write_to_a_full_disk() -> None:
        short = replace(LONG, config=replace(LONG.config, epochs=1))
        with LocalExecutor(1, choice).open(SETTINGS, lambda: False) as session:
            for _ in session.run(plan([short, LONG])):
                assert LONG in training(session)
                raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_to_a_full_disk()
    assert _children() == []


def test_workers_end_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(
        "from tests.test_executors import *\n"
        "def stopped():\n"
        "    print(*training(session).values(), flush=True)\n"
        "with LocalExecutor(1, choose_device('CPU')).open(SETTINGS, stopped) as session:\n"
        "    list(session.run(plan([LONG])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    worker = next(line.strip() for line in process.stdout if line.strip())
    process.kill()
    process.wait()
    process.stdout.close()
    _wait_for(lambda: not Path(f"/proc/{worker}").exists())


def _wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _no_worker_is_left() -> Iterator[None]:
    yield
    assert _children() == []
