"""Drives a crew of workers: keeps them busy, listens to them, and buries those that end.

What a worker is, where it comes from and why it may end is its crew's affair: processes of this
machine (``local``) or actors of a Ray cluster (``ray_crew``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from mnist_sweep.errors import DeviceError
from mnist_sweep.executors.interface import POLL, Ready, Settings, stamped
from mnist_sweep.plan import Assignments, Cohort, Shape, flops, plan, shape_of
from mnist_sweep.trial import Trial, TrialResult

#: Seconds that a worker may take to import tinygrad and to open its device.
START_TIMEOUT = 180.0
#: How many workers may fail to start, one after another, before training is given up.
START_ATTEMPTS = 3


@dataclass(eq=False)
class Worker:
    """What the driver knows of a worker.

    ``place`` is where it is, for people, and ``doctor`` the command that shows what is wrong there.
    ``starting_since`` (seconds of the monotonic clock) is infinite while it waits for room;
    ``trials`` are those that it trains now, ``share`` is how much of that is done, and ``shape`` is
    that of the last ones.
    """

    place: str
    starting_since: float = float("inf")
    doctor: str = "mnist-sweep doctor"
    ready: Ready | None = None
    trials: Sequence[Trial] = ()
    share: float = 0.0
    shape: Shape | None = None


@dataclass(frozen=True)
class Ended:
    """A worker's last message, which its crew sends in its place.

    ``reason`` is why its trials have failed, or training cannot start if it has never been ready;
    empty if that is not to be held against either. ``elsewhere`` are those of its trials that are
    to run in another worker, as if it had not had them.
    """

    reason: str
    elsewhere: Sequence[Trial] = ()


#: A number is the share that is done of the worker's trials.
Message: TypeAlias = Ready | float | list[TrialResult] | Ended
W = TypeVar("W", bound=Worker)


class Crew(Protocol[W]):
    """Workers of one kind."""

    workers: list[W]

    def room(self) -> int:
        """How many workers there may be now, at least one. Raises DeviceError if none can be."""
        ...

    def hire(self) -> None:
        """Add a worker."""
        ...

    def news(self, timeout: float) -> list[tuple[W, Message]]:
        """What workers that start or train have to say; waits up to ``timeout`` seconds for it."""
        ...

    def give(self, worker: W, trials: list[Trial]) -> None:
        """Have ``worker`` train ``trials``, which share shape and epochs, side by side."""
        ...

    def dismiss(self, worker: W) -> None:
        """End ``worker`` at once and do without it."""
        ...


@dataclass
class Driver(Generic[W]):
    """A session with the workers of ``crew``; ``say`` gets what they have to tell the user."""

    crew: Crew[W]
    settings: Settings
    stopped: Callable[[], bool]
    say: Callable[[str], None]
    _failed_starts: int = field(default=0, init=False)

    def run(self, cohorts: Sequence[Cohort]) -> Iterator[TrialResult]:
        """See Session. What failed is tried again when all others have ended."""
        failed: list[Trial] = []
        for result in self._once(Assignments(cohorts)):
            if result.status == "failed":
                failed.append(result.trial)
            else:
                yield result
        for trial in failed:
            self.close()
            yield from self._once(Assignments(plan([trial])))

    @property
    def under_way(self) -> float:
        """See Session."""
        return sum(w.share * flops(w.trials) for w in self.crew.workers)

    def close(self) -> None:
        """End all workers at once."""
        while self.crew.workers:
            self.crew.dismiss(self.crew.workers[0])

    def _once(self, assignments: Assignments) -> Iterator[TrialResult]:
        """Try every trial once."""
        crew = self.crew
        self._failed_starts = 0
        while not self.stopped():
            busy = sum(bool(worker.trials) for worker in crew.workers)
            if not busy + assignments.left:
                return
            for _ in range(len(crew.workers), min(crew.room(), busy + assignments.left)):
                crew.hire()
            # Those that have idled since the last plan are heard first: they may have died.
            results = self._listen(assignments, 0 if self._idle() and assignments.left else POLL)
            for worker in sorted(self._idle(), key=lambda w: not assignments.have(w.shape)):
                if trials := self._next(worker, assignments):
                    worker.trials, worker.shape = trials, shape_of(trials[0])
                    crew.give(worker, trials)
            yield from results

    def _next(self, worker: W, assignments: Assignments) -> list[Trial]:
        """What ``worker`` is to train; what would not end in time is nobody's any more."""
        assert worker.ready is not None
        deadline = self.settings.deadline
        while trials := assignments.take_stack(worker.shape, worker.ready.stack):
            if deadline is None or deadline.allows(trials):
                break
        return trials

    def _idle(self) -> list[W]:
        return [worker for worker in self.crew.workers if worker.ready and not worker.trials]

    def _listen(self, assignments: Assignments, timeout: float) -> list[TrialResult]:
        """Take the messages that there are; the results of trials that came of them."""
        results = []
        for worker, message in self.crew.news(timeout):
            results += self._heard(worker, message, assignments)
        due = time.monotonic() - START_TIMEOUT
        for worker in [w for w in self.crew.workers if not w.ready and w.starting_since < due]:
            ended = Ended(f"no answer in {START_TIMEOUT:.0f} s")
            results += self._heard(worker, ended, assignments)
        return results

    def _heard(self, worker: W, message: Message, assignments: Assignments) -> list[TrialResult]:
        if isinstance(message, Ready):
            worker.ready = message
            self._failed_starts = 0
            if message.note:
                self.say(message.note)
            return []
        if isinstance(message, float):
            worker.share = message
            return []
        if isinstance(message, Ended):
            message = self._bury(worker, message, assignments)
        worker.trials, worker.share = (), 0.0
        device = worker.ready.device if worker.ready else ""
        results = [stamped(result, self.settings, device) for result in message]
        if self.settings.deadline:
            self.settings.deadline.learn(results)
        return results

    def _bury(self, worker: W, ended: Ended, assignments: Assignments) -> list[TrialResult]:
        """Do without ``worker``; its trials have failed, but for those that run elsewhere."""
        self.crew.dismiss(worker)
        assignments.put_back(ended.elsewhere)
        if not worker.ready and ended.reason:
            self._failed_starts += 1
            if self._failed_starts >= START_ATTEMPTS:
                raise DeviceError(
                    f"a worker on {worker.place} cannot start ({ended.reason}); "
                    f"{worker.doctor} shows what is usable"
                )
        failed = [trial for trial in worker.trials if trial not in ended.elsewhere]
        error = f"the worker on {worker.place} ended: {ended.reason}"
        return [TrialResult("", trial, "failed", error=error) for trial in failed]
