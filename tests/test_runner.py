"""A search that learns from rows comes to the same trials however it is run and interrupted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.devices import choose_device
from mnist_sweep.errors import ResultsError, UserError
from mnist_sweep.executors.interface import Executor
from mnist_sweep.executors.local import LocalExecutor
from mnist_sweep.results.file import read_results
from mnist_sweep.runner import Summary, describe_plan, run_sweep
from mnist_sweep.search.protocol import Asked, Part
from mnist_sweep.spec.load import SweepSpec, load_spec
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests.in_process import InProcessExecutor
from tests.test_executors import _children

SPEC = """
dataset: {name: mnist, train_size: 1000, test_size: 500}
base: {width: 16, depth: 1, batch_size: 50}
"""
DATA = DatasetConfig(train_size=1000, test_size=500)


def _trial(lr: float, seed: int = 0) -> Trial:
    return Trial(HPConfig(width=16, depth=1, batch_size=50, lr=lr, seed=seed), DATA)


@dataclass(frozen=True)
class Climb:
    """Three rates, then two around the best of them, then two more seeds of the best of all."""

    parts: Sequence[Part] = (Part("", 7, 7, [0], [_trial(1e-3)]),)
    warnings: tuple[str, ...] = ()

    def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
        tried: list[Trial] = []
        proposal = [_trial(lr) for lr in (1e-4, 1e-3, 1e-2)]
        for _ in range(3):
            tried += proposal
            if any(trial.trial_id not in rows for trial in proposal):
                break
            best = max(tried, key=lambda trial: rows[trial.trial_id].test_accuracy or 0).config
            if len(tried) == 3:
                proposal = [_trial(best.lr / 2), _trial(best.lr * 2)]
            else:
                proposal = [_trial(best.lr, seed) for seed in (1, 2)]
        return [Asked("", tried)]


@dataclass(frozen=True)
class Noted(Climb):
    """Notes which workers there are as it is asked."""

    workers: list[frozenset[int]] = field(default_factory=list)

    def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
        self.workers.append(frozenset(_children()))
        return super().asked(rows)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SweepSpec:
    path = tmp_path_factory.mktemp("spec") / "climb.yaml"
    path.write_text(SPEC)
    return replace(load_spec(path), search=Climb(), resolved="model: mlp\n")


@pytest.fixture(scope="module")
def undisturbed(spec: SweepSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    output = tmp_path_factory.mktemp("undisturbed") / "out.csv"
    summary = run_sweep(spec, output, InProcessExecutor(), device="CPU")
    assert (summary.total, summary.done, summary.new, summary.interrupted) == (7, 7, 7, False)
    rates = {r.trial.config.lr for r in read_results(output).results}
    assert rates == {1e-4, 1e-3, 1e-2, 5e-3, 2e-2}
    return _rows(output)


def _rows(path: Path) -> dict[str, object]:
    """What the rows say, times aside."""
    times = {"train_seconds": None, "compile_seconds": None, "finished_at": ""}
    return {r.trial.trial_id: replace(r, **times) for r in read_results(path).results}  # type: ignore[arg-type]


@pytest.mark.parametrize("jobs", [1, 2])
def test_workers_outlive_a_proposal_and_keep_what_they_compiled(
    spec: SweepSpec, undisturbed: dict[str, object], tmp_path: Path, jobs: int
) -> None:
    executor, output = LocalExecutor(jobs, choose_device("CPU")), tmp_path / "out.csv"
    # The file has a row that the search will propose, and one that must be nothing to it.
    other = tmp_path / "other.yaml"
    other.write_text(SPEC + "parameters: {lr: [2e-2, 3e-2]}")
    run_sweep(replace(load_spec(other), name=spec.name), output, executor, device="CPU")

    search = Noted()
    first = _run_until(4, replace(spec, search=search), output, executor)
    assert (first.total, first.done, first.new, first.interrupted) == (7, 5, 4, True)
    (workers,) = set(search.workers) - {frozenset()}
    assert len(workers) == jobs
    compiled = [r.compile_seconds != 0 for r in read_results(output).results[2:]]
    assert compiled.count(True) <= jobs
    assert not compiled[-1]

    last = run_sweep(spec, output, executor, device="CPU")
    assert (last.total, last.done, last.new, last.interrupted) == (7, 7, 2, False)
    rows = _rows(output)
    assert len(rows) == 8
    assert rows.items() >= undisturbed.items()


def _run_until(rows: int, spec: SweepSpec, output: Path, executor: Executor) -> Summary:
    """Stop as soon as there are ``rows`` new rows."""
    before = len(_rows(output)) if output.exists() else 0
    return run_sweep(
        spec,
        output,
        executor,
        device="CPU",
        stopped=lambda: len(_rows(output)) >= before + rows,
    )


def test_a_search_that_is_interrupted_after_every_row_comes_to_the_same_trials(
    spec: SweepSpec, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    for done in range(1, 7):
        summary = _run_until(1, spec, output, InProcessExecutor())
        assert (summary.done, summary.new, summary.interrupted) == (done, 1, True)
        assert _rows(output).items() <= undisturbed.items()
    summary = run_sweep(spec, output, InProcessExecutor(), device="CPU", limit=5)
    assert (summary.done, summary.new, summary.interrupted) == (7, 1, False)
    assert _rows(output) == undisturbed
    before = output.read_bytes()
    assert run_sweep(spec, output, InProcessExecutor(), device="CPU").new == 0
    assert output.read_bytes() == before


def test_a_limit_counts_over_proposals_and_a_dry_run_says_what_depends_on_results(
    spec: SweepSpec, undisturbed: dict[str, object], tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    assert "to run          3, then at most 4 that depend" in describe_plan(spec, output)
    summary = run_sweep(spec, output, InProcessExecutor(), device="CPU", limit=4)
    assert (summary.total, summary.done, summary.new, summary.interrupted) == (7, 4, 4, False)
    assert _rows(output).items() <= undisturbed.items()
    plan = describe_plan(spec, output)
    assert re.search(r"^trials +5: 5 configurations, 4 already in ", plan, re.MULTILINE)
    assert "to run          1, then at most 2 that depend" in plan


def test_a_later_proposal_that_the_data_is_too_small_for_is_an_error_that_loses_nothing(
    spec: SweepSpec, tmp_path: Path
) -> None:
    class Growing(Climb):
        def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
            large = Trial(HPConfig(width=16, depth=1, batch_size=2000), DATA)
            return [Asked("", [_trial(1e-3), large] if rows else [_trial(1e-3)])]

    output = tmp_path / "out.csv"
    with pytest.raises(UserError, match="batch_size 2000: larger than the training split"):
        run_sweep(replace(spec, search=Growing()), output, InProcessExecutor(), device="CPU")
    assert len(_rows(output)) == 1


def _stopped_run(spec: SweepSpec, output: Path, *, overwrite: bool = False) -> None:
    """A run that does all that a run does but for training."""
    executor = InProcessExecutor()
    run_sweep(spec, output, executor, device="CPU", overwrite=overwrite, stopped=lambda: True)


def test_the_spec_that_was_run_is_left_beside_the_rows(spec: SweepSpec, tmp_path: Path) -> None:
    output, beside = tmp_path / "out.csv", tmp_path / "out.spec.yaml"
    _stopped_run(spec, output)
    assert beside.read_text() == spec.resolved
    inode = beside.stat().st_ino
    _stopped_run(spec, output)
    assert beside.stat().st_ino == inode  # not written again
    _stopped_run(replace(spec, resolved="model: cnn\n"), output)
    assert beside.read_text() == "model: cnn\n"
    _stopped_run(spec, output, overwrite=True)
    assert beside.read_text() == spec.resolved
    (kept,) = tmp_path.glob("out.2*.spec.yaml")
    assert kept.read_text() == "model: cnn\n"
    assert kept.with_suffix("").with_suffix(".csv").exists()


def test_a_spec_that_cannot_be_left_is_an_error_like_rows_that_cannot(
    spec: SweepSpec, tmp_path: Path
) -> None:
    output = tmp_path / "out.csv"
    (tmp_path / "out.spec.yaml").mkdir()
    with pytest.raises(ResultsError, match=r"out\.csv cannot be written: .*; give another results"):
        _stopped_run(spec, output)
    _stopped_run(spec, tmp_path / "other.csv")
