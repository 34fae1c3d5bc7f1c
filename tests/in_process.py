"""An executor without workers, for tests that do not wait for processes to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from mnist_sweep.executors.interface import Session, Settings, stamped
from mnist_sweep.executors.worker import TrialRunner
from mnist_sweep.plan import Cohort
from mnist_sweep.training import backend
from mnist_sweep.trial import TrialResult


class InProcessExecutor:
    """Runs the trials one after another in this process, on tinygrad's default device."""

    @contextmanager
    def open(self, settings: Settings, stopped: Callable[[], bool]) -> Iterator[Session]:
        """See Executor."""
        yield _InProcess(settings, stopped, TrialRunner(settings))


@dataclass(frozen=True)
class _InProcess:
    """See Session."""

    settings: Settings
    stopped: Callable[[], bool]
    runner: TrialRunner
    under_way: float = 0.0

    def run(self, cohorts: Sequence[Cohort]) -> Iterator[TrialResult]:
        deadline = self.settings.deadline
        for trial in (trial for cohort in cohorts for trial in cohort.trials):
            if self.stopped():
                return
            if deadline and not deadline.allows([trial]):
                continue
            (result,) = self.runner.run([trial])
            if result.status == "failed":
                (result,) = TrialRunner(self.settings).run([trial])
            result = stamped(result, self.settings, backend.device_name())
            if deadline:
                deadline.learn([result])
            yield result
