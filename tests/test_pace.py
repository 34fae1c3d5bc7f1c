"""Estimates of how long trials take, and runs that end in time."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_sweep.arguments import parser
from mnist_sweep.config import HPConfig
from mnist_sweep.devices import choose_device
from mnist_sweep.executors.interface import Executor
from mnist_sweep.executors.local import LocalExecutor
from mnist_sweep.pace import COMPILE_SECONDS, Deadline, Pace
from mnist_sweep.plan import flops
from mnist_sweep.results.file import ResultsWriter, read_results
from mnist_sweep.runner import describe_plan, run_sweep
from mnist_sweep.spec.load import SweepSpec
from mnist_sweep.trial import Trial, TrialResult
from tests.in_process import InProcessExecutor
from tests.spec_helpers import load, trials

TINY = """
dataset: {name: mnist, train_size: 500, test_size: 100}
base: {depth: 1, batch_size: 50}
seeds: 2
parameters: {width: [16, 512], lr: [1e-3, 1e-2]}
"""


def row(trial: Trial, seconds: float, compiling: float = 0.0) -> TrialResult:
    return TrialResult("s", trial, "ok", train_seconds=seconds, compile_seconds=compiling)


def of_width(width: int, seed: int = 0, epochs: int = 1) -> Trial:
    return Trial(HPConfig(width=width, seed=seed, epochs=epochs))


def test_without_rows_the_pace_is_that_of_a_core_and_each_shape_is_compiled_once() -> None:
    several = [of_width(64, seed) for seed in range(3)] + [of_width(128)]
    expected = flops(several) / 65e9 + 2 * COMPILE_SECONDS
    assert Pace().seconds(several) == pytest.approx(expected)
    cnn = Trial(HPConfig(model="cnn"))
    assert Pace().seconds([cnn]) == pytest.approx(flops([cnn]) / 195e9 + COMPILE_SECONDS)
    assert Pace().seconds([]) == 0


def test_the_pace_is_that_of_rows_next_in_work_and_compiling_that_of_the_last() -> None:
    pace = Pace([row(of_width(64), 10, 5.0), row(of_width(1024), 90, 2.0)])
    pace.add(replace(row(of_width(64), 1e6), status="diverged"))
    assert pace.seconds([of_width(64, seed=1)]) == pytest.approx(10 + 2)
    # Between two rows the slower one, per work, counts; beyond all of them the last.
    assert pace.seconds([of_width(64, epochs=3)]) == pytest.approx(30 + 2)
    assert pace.seconds([of_width(1024, epochs=2)]) == pytest.approx(180 + 2)


def test_of_many_rows_only_those_next_in_work_count() -> None:
    pace = Pace(row(of_width(16), 100.0) for _ in range(5))
    for _ in range(5):
        pace.add(row(of_width(1024), 20.0, 1.0))
    assert pace.seconds([of_width(1024)]) == pytest.approx(21)


def test_a_deadline_allows_what_ends_before_it() -> None:
    pace = Pace([row(of_width(64), 10, 2.0)])
    assert Deadline(time.time() + 15, pace).allows([of_width(64)])
    assert not Deadline(time.time() + 11, pace).allows([of_width(64)])
    assert not Deadline(time.time() + 15, pace).allows([of_width(64), of_width(64, 1)])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400)]
)
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    commands = {name: lambda _: 0 for name in ("run", "plot", "top", "report", "data", "doctor")}
    arguments = parser(commands).parse_args(["run", "sweep.yaml", "--time", text])
    assert arguments.seconds == seconds


@pytest.mark.parametrize("text", ["30", "0s", "-1m", "m", "", "inf h", "nanm", "1d"])
def test_what_is_no_time_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    commands = {name: lambda _: 0 for name in ("run", "plot", "top", "report", "data", "doctor")}
    with pytest.raises(SystemExit):
        parser(commands).parse_args(["run", "sweep.yaml", f"--time={text}"])
    assert "expected a time such as 90s, 30m or 2h" in capsys.readouterr().err


def _known(spec: SweepSpec, output: Path) -> None:
    """Rows of the first seed: narrow nets took no time, wide ones an hour."""
    with ResultsWriter(output) as writer:
        for trial in trials(spec):
            if trial.config.seed == 0 and trial.config.lr == 1e-3:
                seconds = 0.01 if trial.config.width == 16 else 3600.0
                device = row(trial, seconds, 0.1)
                writer.append(replace(device, device="CPU", test_accuracy=0.5, sweep=spec.name))


@pytest.mark.parametrize("kind", ["here", "processes"])
def test_what_would_not_end_in_time_is_not_begun(tmp_path: Path, kind: str) -> None:
    executor: Executor = InProcessExecutor()
    if kind == "processes":
        executor = LocalExecutor(2, choose_device("CPU"))
    spec, output = load(tmp_path, TINY), tmp_path / "out.csv"
    said: list[str] = []
    _known(spec, output)
    summary = run_sweep(spec, output, executor, device="CPU", seconds=60, say=said.append)
    # The wide one with a rate of 1e-2 has not begun: no second seed has, either.
    assert (summary.done, summary.new, summary.interrupted) == (3, 1, False)
    assert [r.trial.config.width for r in read_results(output).results[2:]] == [16]
    assert said[-1].startswith("out of time: 5 trials of this stage left, about ")


def test_a_dry_run_says_that_there_is_less_time_than_it_takes(tmp_path: Path) -> None:
    spec, output = load(tmp_path, TINY), tmp_path / "out.csv"
    less, enough = (describe_plan(spec, output, jobs=1, seconds=s) for s in (5, 600))
    assert "note            --time 5 s is less; the same command" in less
    assert "--time" not in enough


def test_no_worker_starts_where_nothing_would_end_in_time(tmp_path: Path) -> None:
    spec, output = load(tmp_path, TINY), tmp_path / "out.csv"
    executor = LocalExecutor(2, choose_device("CPU"))
    began = time.monotonic()
    summary = run_sweep(spec, output, executor, device="CPU", seconds=0.1)
    assert (summary.done, summary.interrupted) == (0, False)
    assert time.monotonic() - began < 5


def test_with_a_time_every_configuration_begins_before_any_has_a_second_seed(
    tmp_path: Path,
) -> None:
    spec = load(tmp_path, TINY.replace("[16, 512]", "[16]").replace("[1e-3,", "[1e-4, 1e-3,"))
    output, executor = tmp_path / "out.csv", InProcessExecutor()
    for most in (2, 4):

        def enough(most: int = most) -> bool:
            return output.exists() and len(read_results(output).results) >= most

        run_sweep(spec, output, executor, device="CPU", seconds=600, stopped=enough)
    seeds = [r.trial.config.seed for r in read_results(output).results]
    assert seeds == [0, 0, 0, 1]
    # Time only cuts: without one, the same command goes on with the same trials.
    summary = run_sweep(spec, output, executor, device="CPU")
    assert (summary.done, summary.new) == (6, 2)
    assert {r.trial for r in read_results(output).results} == set(trials(spec))
