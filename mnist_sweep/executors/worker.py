"""The process of a worker, and training in it."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace

from mnist_sweep.data.dataset import Dataset, load_dataset
from mnist_sweep.executors.interface import Ready, Settings
from mnist_sweep.executors.processes import to_parent
from mnist_sweep.plan import shape_of
from mnist_sweep.training import backend
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult


def first_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    message = str(error).strip().splitlines()
    return type(error).__name__ + (f": {message[0]}" if message else "")


class TrialRunner:
    """Runs trials in this process, keeping what the last ones had compiled.

    ``load`` gets a data set that the last trial did not have, ``report`` the share of the trials
    that is done, again and again.
    """

    def __init__(
        self,
        settings: Settings,
        load: Callable[[DatasetConfig], Dataset] = load_dataset,
        report: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._load = load
        self._report = report
        self._data: tuple[DatasetConfig, DeviceData] | None = None
        self._compiled: CompiledShape | None = None

    def run(self, trials: Sequence[Trial]) -> list[TrialResult]:
        """Train ``trials``, which share shape and epochs, side by side.

        ``compile_seconds`` is what compiling took for the first of them: 0 where what was compiled
        for the trials before them serves. An exception becomes a result with status ``failed``, if
        it comes for a single trial too: several are tried again in halves, as the device may have
        too little memory for all.
        """
        try:
            compiled, seconds = self._compile(trials)
            results = compiled.train_stack(trials, evals_per_epoch=self._settings.evals_per_epoch)
            times = [seconds] + [0.0] * (len(trials) - 1)
            weights = compiled.states(len(trials)) if self._settings.weights else [{}] * len(trials)
            return [
                replace(r, compile_seconds=t, weights=w if r.status == "ok" else {})
                for r, t, w in zip(results, times, weights, strict=True)
            ]
        except Exception as error:  # whatever a trial does must not cost the others
            self._compiled = None
            # A disk that is full by now, say: the cache of kernels is not worth a trial.
            if isinstance(error, sqlite3.Error) and backend.drop_kernel_cache():
                return self.run(trials)
            if len(trials) > 1:
                half = len(trials) // 2
                return [*self.run(trials[:half]), *self.run(trials[half:])]
            return [TrialResult("", trials[0], "failed", error=first_line(error))]

    def _compile(self, trials: Sequence[Trial]) -> tuple[CompiledShape, float]:
        trial, shape = trials[0], shape_of(trials[0])
        held = self._compiled
        if held is not None and held.shape == shape and held.stack >= len(trials):
            return held, 0.0
        del held  # or its memory would stay taken
        self._compiled = None
        backend.release()
        if self._data is None or self._data[0] != trial.dataset:
            self._data = trial.dataset, DeviceData(self._load(trial.dataset))
        self._compiled = CompiledShape(shape, self._data[1], stack=len(trials))
        self._compiled.report = self._report
        return self._compiled, self._compiled.compile_seconds


def ready() -> Ready:
    """What to say of the device, which ``backend.check_device`` has opened."""
    return Ready(backend.device_name(), backend.warning(), backend.free_memory())


def main() -> None:
    """Train what the process that started this one sends, and end with it."""
    connection, inbox = to_parent(lambda: os._exit(1))
    runner = TrialRunner(inbox.get(), report=connection.send)
    backend.check_device()
    # What is there by now stays: collecting garbage between shapes need not look at it.
    gc.freeze()
    connection.send(ready())
    while trials := inbox.get():
        connection.send(runner.run(trials))


if __name__ == "__main__":
    main()
