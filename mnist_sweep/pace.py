"""How long trials take, and which of them still end in time."""

from __future__ import annotations

import math
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from mnist_sweep.plan import flops, shape_of
from mnist_sweep.trial import Trial, TrialResult

#: What a core of a CPU does in a second of training, until there are rows: measured with AVX2, at a
#: peak of 100e9. A CNN counts three times that, as its convolutions need fewer products than
#: ``flops`` says. With AVX-512 (Zen 5, peak 272e9) two epochs more took `mnist-sweep run` 2.0 s of
#: CPU time (MLP, 176e9) and 16.0 s (CNN, 540e9), at batch 64.
_SPEEDS = {"cnn": 195e9}
_SPEED = 65e9
#: Seconds to compile a new shape, until there are rows.
COMPILE_SECONDS = 3.0

_WORK = itemgetter(0)


class Pace:
    """How long a worker takes, to the safe side: as with ``rows``, if there are any.

    These are of the same machine. What counts are the rows that are next in work.
    """

    def __init__(self, rows: Iterable[TrialResult] = ()) -> None:
        #: (work, seconds of training), by work; of equal work the last to come is the last.
        self._known: list[tuple[float, float]] = []
        self._compiling = COMPILE_SECONDS
        for row in rows:
            self.add(row)

    def add(self, row: TrialResult) -> None:
        """Learn from ``row``, if its trial finished."""
        if row.status == "ok" and row.train_seconds:
            insort(self._known, (flops([row.trial]), row.train_seconds), key=_WORK)
            self._compiling = row.compile_seconds or self._compiling

    def seconds(self, trials: Sequence[Trial]) -> float:
        """The seconds of one worker for ``trials``: training, and compiling each shape once."""
        shapes = {shape_of(trial) for trial in trials}
        return math.fsum(map(self._training, trials)) + len(shapes) * self._compiling

    def _training(self, trial: Trial) -> float:
        work = flops([trial])
        first, end = (side(self._known, work, key=_WORK) for side in (bisect_left, bisect_right))
        # The last ones of the same work, else the next on either side: what is left of a step
        # without its products weighs more in small trials.
        near = self._known[first:end][-2:] or self._known[max(end - 1, 0) : end + 1]
        near = near or [(_SPEEDS.get(trial.config.model, _SPEED), 1.0)]
        return max(seconds * work / known for known, seconds in near)


@dataclass(frozen=True)
class Deadline:
    """``until`` is when all trials are to have ended (Unix time), as far as ``pace`` can tell."""

    until: float
    pace: Pace

    def learn(self, results: Iterable[TrialResult]) -> None:
        """Tell ``pace`` what trials have come to."""
        for result in results:
            self.pace.add(result)

    def allows(self, trials: Sequence[Trial]) -> bool:
        """Whether a worker that begins ``trials`` now has ended them in time."""
        return time.time() + self.pace.seconds(trials) <= self.until
