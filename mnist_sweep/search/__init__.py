"""Which trials come next, given the rows so far. Pure: no files, no processes, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mnist_sweep.trial import Trial, TrialResult


class Search(Protocol):
    """Proposes the trials of a sweep."""

    @property
    def most(self) -> int:
        """How many trials it may propose in all."""
        ...

    def propose(self, rows: Mapping[str, TrialResult]) -> Sequence[Trial]:
        """The trials to run next, none of which is in ``rows`` (by trial_id); none: it is over."""
        ...


@dataclass(frozen=True)
class Listed:
    """Proposes all of ``trials`` at once."""

    trials: tuple[Trial, ...]

    @property
    def most(self) -> int:
        """See Search."""
        return len(self.trials)

    def propose(self, rows: Mapping[str, TrialResult]) -> Sequence[Trial]:
        """See Search."""
        return [trial for trial in self.trials if trial.trial_id not in rows]
