"""Where trials run: in this process, or in worker processes on this machine.

An executor turns a plan into results, in the order in which trials end. It decides nothing about
the trials and writes nothing: the driver that asked for the results is their only writer.
"""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Protocol

from mnist_sweep.devices import Choice, environment
from mnist_sweep.errors import DeviceError
from mnist_sweep.executors.processes import Child
from mnist_sweep.plan import Assignments, Cohort, Shape, plan, shape_of, stack_size
from mnist_sweep.trial import Trial, TrialResult

#: Seconds that a worker may take to import tinygrad and to open its device.
START_TIMEOUT = 180.0
#: Seconds between two looks at whether the run was asked to stop.
POLL = 0.2
#: How many workers may fail to start, one after another, before training is given up.
START_ATTEMPTS = 3


@dataclass(frozen=True)
class Settings:
    """What a worker must know of a sweep besides its trials."""

    sweep: str
    evals_per_epoch: int


@dataclass(frozen=True)
class Ready:
    """A worker's first message: it has opened its device.

    ``note`` is for the user, if any. ``free_memory`` is the device's, in bytes; None where trials
    are better trained one by one, as on a CPU.
    """

    note: str = ""
    free_memory: int | None = None

    def stack(self, shape: Shape) -> int:
        """How many trials of ``shape`` the worker trains side by side."""
        return 1 if self.free_memory is None else stack_size(shape, self.free_memory)


class Executor(Protocol):
    """Runs the trials of a plan."""

    def run(
        self, cohorts: Sequence[Cohort], settings: Settings, stopped: Callable[[], bool]
    ) -> Generator[TrialResult, None, None]:
        """Yield the result of each trial as it ends; end early once ``stopped()`` is true.

        A trial that fails is tried once more, afresh and alone, before it is yielded with status
        ``failed``. Raises DeviceError if training cannot start at all. Closing the generator ends
        everything that was started.
        """
        ...


class InProcessExecutor:
    """Runs the trials one after another in this process, on tinygrad's default device."""

    def run(
        self, cohorts: Sequence[Cohort], settings: Settings, stopped: Callable[[], bool]
    ) -> Generator[TrialResult, None, None]:
        """See Executor."""
        from mnist_sweep.executors.worker import TrialRunner

        runner = TrialRunner(settings)
        for cohort in cohorts:
            for trial in cohort.trials:
                if stopped():
                    return
                (result,) = runner.run([trial])
                if result.status == "failed":
                    (result,) = TrialRunner(settings).run([trial])
                yield result


class _Worker(Child):
    """A worker process and what it is doing."""

    def __init__(self, choice: Choice, gpu: str | None, settings: Settings) -> None:
        self.gpu = gpu
        self.started = time.monotonic()
        self.ready: Ready | None = None
        self.trials: list[Trial] = []
        self.shape: Shape | None = None
        super().__init__(
            "mnist_sweep.executors.worker", environment(choice.device, choice.compiler, gpu)
        )
        self.send(settings)

    def give(self, trials: list[Trial]) -> None:
        """Send ``trials`` to the worker, to be trained side by side."""
        self.trials, self.shape = trials, shape_of(trials[0])
        self.send(trials)

    def overdue(self) -> bool:
        """Whether the worker has taken too long to start."""
        return not self.ready and time.monotonic() - self.started > START_TIMEOUT


@dataclass
class LocalExecutor:
    """Runs trials in ``jobs`` worker processes of this machine, each on the chosen device.

    Where the device has several GPUs, the workers are spread over them. Workers are new Python
    processes, never forks, with the device and the compiler in their environment. A worker ends
    with this process, however this process ends. ``say`` gets what the workers have to tell the
    user.
    """

    jobs: int
    choice: Choice
    say: Callable[[str], None] = lambda _: None
    _workers: list[_Worker] = field(default_factory=list, init=False)
    _failed_starts: int = field(default=0, init=False)
    _said: set[str] = field(default_factory=set, init=False)

    def run(
        self, cohorts: Sequence[Cohort], settings: Settings, stopped: Callable[[], bool]
    ) -> Generator[TrialResult, None, None]:
        """See Executor."""
        again: list[Trial] = []
        try:
            for result in self._once(cohorts, self.jobs, settings, stopped):
                if result.status == "failed":
                    again.append(result.trial)
                else:
                    yield result
            for trial in again:
                yield from self._once(plan([trial]), 1, settings, stopped)
        finally:
            self._end_all()

    def _once(
        self,
        cohorts: Sequence[Cohort],
        jobs: int,
        settings: Settings,
        stopped: Callable[[], bool],
    ) -> Generator[TrialResult, None, None]:
        """Try every trial once, in workers that are started for this."""
        assignments = Assignments(cohorts)
        self._failed_starts = 0
        while not stopped():
            while len(self._workers) < min(jobs, len(self._busy()) + assignments.left):
                self._workers.append(_Worker(self.choice, self._next_gpu(), settings))
            if not self._workers:
                return
            for worker in self._with_news():
                results = self._listen(worker)
                if worker.ready and not worker.trials:
                    trials = assignments.take_stack(worker.shape, worker.ready.stack)
                    if trials:
                        worker.give(trials)
                    else:
                        self._remove(worker)
                yield from results

    def _next_gpu(self) -> str | None:
        """The GPU with the fewest workers, where there are several."""
        taken = Counter(worker.gpu for worker in self._workers)
        return min(self.choice.gpus, key=lambda gpu: taken[gpu], default=None)

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.trials]

    def _with_news(self) -> list[_Worker]:
        connections = wait([worker.connection for worker in self._workers], timeout=POLL)
        return [w for w in self._workers if w.connection in connections or w.overdue()]

    def _listen(self, worker: _Worker) -> list[TrialResult]:
        """Take a worker's message, or notice its end; the results of trials if they came of it."""
        if worker.overdue():
            return self._bury(worker, f"did not start within {START_TIMEOUT:.0f} s")
        try:
            message = worker.connection.recv()
        except (OSError, EOFError, pickle.UnpicklingError):
            return self._bury(worker, worker.last_words())
        if not isinstance(message, Ready):
            worker.trials = []
            results: list[TrialResult] = message
            return results
        worker.ready = message
        self._failed_starts = 0
        if message.note and message.note not in self._said:
            self._said.add(message.note)
            self.say(message.note)
        return []

    def _bury(self, worker: _Worker, reason: str) -> list[TrialResult]:
        self._remove(worker)
        trials, worker.trials, worker.ready = worker.trials, [], None
        if trials:
            error = f"the worker ended with {reason}"
            return [TrialResult(sweep="", trial=t, status="failed", error=error) for t in trials]
        self._failed_starts += 1
        if self._failed_starts >= START_ATTEMPTS:
            raise DeviceError(
                f"a worker on device {self.choice.device} cannot start ({reason}); "
                "mnist-sweep doctor shows what is usable"
            )
        return []

    def _remove(self, worker: _Worker) -> None:
        worker.end()
        self._workers.remove(worker)

    def _end_all(self) -> None:
        while self._workers:
            self._remove(self._workers[0])
