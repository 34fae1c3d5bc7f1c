"""What a run asks of those who train for it, wherever they are.

An executor turns plans into results, in the order in which trials end. It decides nothing about
the trials and writes nothing: the run that asked for the results is their only writer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Protocol

from mnist_sweep import __version__
from mnist_sweep.pace import Deadline
from mnist_sweep.plan import Cohort, Shape, stack_size
from mnist_sweep.trial import TrialResult

#: Seconds between two looks at whether the run was asked to stop.
POLL = 0.2


@dataclass(frozen=True)
class Settings:
    """What those who train for a sweep must know besides its trials.

    Trials that ``deadline`` does not allow as their turn comes are left out. ``weights``: whether
    results are to have those of their trials.
    """

    sweep: str
    evals_per_epoch: int
    deadline: Deadline | None = None
    weights: bool = False


@dataclass(frozen=True)
class Ready:
    """A worker's first message: it has opened ``device`` (tinygrad's name, such as "CPU").

    ``note`` is for the user, if any. ``free_memory`` is the device's, in bytes; None where trials
    are better trained one by one, as on a CPU.
    """

    device: str
    note: str = ""
    free_memory: int | None = None

    def stack(self, shape: Shape) -> int:
        """How many trials of ``shape`` the worker trains side by side."""
        return 1 if self.free_memory is None else stack_size(shape, self.free_memory)


class Session(Protocol):
    """Workers that stay, with the shapes that they have compiled, from one plan to the next."""

    @property
    def under_way(self) -> float:
        """The work (see plan.flops) done of trials that are being trained, as far as is known."""
        ...

    def run(self, cohorts: Sequence[Cohort]) -> Iterator[TrialResult]:
        """Yield the result of each trial as it ends; end early once the run is stopped.

        A trial that fails is tried once more, afresh and alone, before it is yielded with status
        ``failed``. All results must be taken before the next plan is run. Raises DeviceError if
        training cannot start at all.
        """
        ...


class Executor(Protocol):
    """Opens sessions."""

    def open(
        self, settings: Settings, stopped: Callable[[], bool]
    ) -> AbstractContextManager[Session]:
        """Workers for one sweep, started as there is work for them.

        ``stopped`` is asked again and again whether to end early. Leaving the context ends at once
        everything that was started.
        """
        ...


def stamped(result: TrialResult, settings: Settings, device: str) -> TrialResult:
    """``result``, which came in just now, with what its row says of when and by what it was made.

    ``device`` is the one of the worker that trained, or was training as it died.
    """
    return replace(
        result,
        sweep=settings.sweep,
        device=device,
        tinygrad_version=version("tinygrad"),
        mnist_sweep_version=__version__,
        finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
