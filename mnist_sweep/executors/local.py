"""Worker processes on this machine."""

from __future__ import annotations

import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import wait

from mnist_sweep.devices import Choice, choose_device, default_jobs, environment
from mnist_sweep.errors import UserError
from mnist_sweep.executors.driver import Driver, Ended, Message, Worker
from mnist_sweep.executors.interface import Session, Settings
from mnist_sweep.executors.processes import Child
from mnist_sweep.trial import Trial


def local_executor(
    device: str | None, jobs: int | None, say: Callable[[str], None]
) -> LocalExecutor:
    """``jobs`` workers on ``device``, or as many and on what is best here (see ``choose_device``).

    ``say`` gets what the user should know. Raises DeviceError where that cannot train.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs is {jobs}; there must be at least one worker")
    choice = choose_device(device)
    for text in choice.notes:
        say(text)
    return LocalExecutor(jobs or default_jobs(choice), choice, say)


@dataclass(frozen=True)
class LocalExecutor:
    """Runs trials in ``jobs`` worker processes of this machine, spread over the GPUs of ``choice``.

    They are new Python processes, never forks, with the device and the compiler in their
    environment, and end with this process, however it ends. ``say`` gets what they have to tell.
    """

    jobs: int
    choice: Choice
    say: Callable[[str], None] = lambda _: None

    @contextmanager
    def open(self, settings: Settings, stopped: Callable[[], bool]) -> Iterator[Session]:
        """See Executor."""
        crew = _Processes(self.jobs, self.choice, settings)
        say = cache(self.say)  # many workers have the same to say
        with closing(Driver(crew, settings, stopped, say)) as driver:
            yield driver


class _Process(Child, Worker):
    """A worker in a process, on the GPU named ``gpu`` if there are several."""

    def __init__(self, choice: Choice, gpu: str | None) -> None:
        Worker.__init__(self, f"device {choice.device}", time.monotonic())
        self.gpu = gpu
        settings = environment(choice.device, choice.compiler, gpu)
        Child.__init__(self, "mnist_sweep.executors.worker", settings)


@dataclass
class _Processes:
    """See Crew."""

    jobs: int
    choice: Choice
    settings: Settings
    workers: list[_Process] = field(default_factory=list)

    def room(self) -> int:
        return self.jobs

    def hire(self) -> None:
        taken = Counter(worker.gpu for worker in self.workers)
        gpu = min(self.choice.gpus, key=lambda name: taken[name], default=None)
        worker = _Process(self.choice, gpu)
        self.workers.append(worker)
        worker.send(self.settings)

    def news(self, timeout: float) -> list[tuple[_Process, Message]]:
        connections = wait([worker.connection for worker in self.workers], timeout)
        return [(w, self._received(w)) for w in self.workers if w.connection in connections]

    def _received(self, worker: _Process) -> Message:
        try:
            message: Message = worker.connection.recv()
        except (OSError, EOFError, pickle.UnpicklingError):
            return Ended(worker.last_words())
        return message

    def give(self, worker: _Process, trials: list[Trial]) -> None:
        worker.send(trials)

    def dismiss(self, worker: _Process) -> None:
        worker.end()
        self.workers.remove(worker)
