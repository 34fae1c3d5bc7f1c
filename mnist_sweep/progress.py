"""How far a run is, counted in work: some trials take much longer than others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from tqdm import tqdm

from mnist_sweep.labels import count, duration
from mnist_sweep.metrics import Metric
from mnist_sweep.plan import flops
from mnist_sweep.trial import Trial, TrialResult

#: Seconds until the first line where there is no terminal, and from one to the next.
FIRST_LINE, BETWEEN_LINES = 10.0, 60.0


class Progress:
    """A bar on stderr; where that is no terminal, lines through ``say``; neither if that is None.

    ``earlier`` are the results that the sweep has. A terminal that has gone away must not end a
    run.
    """

    def __init__(
        self,
        metric: Metric,
        earlier: Iterable[TrialResult],
        say: Callable[[str], None] | None,
    ) -> None:
        self._metric, self._say = metric, say
        self._stage, self._trials, self._work = "", 0, 1.0
        self._values = [value for r in earlier if (value := getattr(r, metric.name)) is not None]
        self._ended, self._done = 0, 0.0
        self._next_line = time.monotonic() + FIRST_LINE
        #: When there was something done first, and how much: workers start and compile before.
        self._first = (0.0, 0.0)
        look = "{percentage:3.0f}%|{bar}| {elapsed}, {desc}"
        silent = None if say else True
        self._bar = tqdm(
            total=self._work, bar_format=look, dynamic_ncols=True, miniters=0, disable=silent
        )

    def expect(self, trials: Sequence[Trial], later: int, work: float, stage: str = "") -> None:
        """``trials`` of ``stage`` are next, and then ``later`` ones, which may take ``work``."""
        self._stage = f"{stage}: " if stage else ""
        self._trials = self._ended + len(trials) + later
        self._work = self._done + flops(trials) + work
        self._bar.total = self._work

    def add(self, result: TrialResult) -> None:
        """Count ``result``, which has just come."""
        self._ended += 1
        self._done += flops([result.trial])
        if (value := getattr(result, self._metric.name)) is not None:
            self._values = [self._metric.best([*self._values, value])]

    def show(self, under_way: float) -> None:
        """Show what is done, with the work ``under_way``, if it is time to."""
        done, now = min(self._done + under_way, self._work), time.monotonic()
        text = f"{self._stage}{self._ended} of {count(self._trials, 'trial')}"
        if self._values:
            best = self._metric.text(self._metric.best(self._values))
            text += f", best {self._metric.label} {best}"
        began, first = self._first = self._first if self._first[1] else (now, done)
        if done > first:
            text += f", {duration((now - began) * (self._work - done) / (done - first))} left"
        with suppress(OSError, ValueError):
            self._bar.set_description_str(text, refresh=False)
            self._bar.update(done - self._bar.n)
        if self._say and self._bar.disable and now >= self._next_line:
            self._next_line = now + BETWEEN_LINES
            self._say(f"{done / self._work:.0%} of the work done, {text}")

    def close(self) -> None:
        """Leave the bar as it is."""
        self._next_line = float("inf")
        self.show(0.0)
        with suppress(OSError, ValueError):
            self._bar.close()
