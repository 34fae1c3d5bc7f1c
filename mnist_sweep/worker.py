"""The process that trains: it is sent trials and answers each with its result."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing.connection import Connection
from queue import SimpleQueue

from mnist_sweep import __version__, backend
from mnist_sweep.data import Dataset, load_dataset
from mnist_sweep.executors import Ready, Settings
from mnist_sweep.plan import Shape, shape_of
from mnist_sweep.training import CompiledShape, DeviceData
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult


def first_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its message."""
    message = str(error).strip().splitlines()
    return type(error).__name__ + (f": {message[0]}" if message else "")


class TrialRunner:
    """Runs trials one after another in this process, keeping what the last one had compiled.

    ``load`` gets a data set that the last trial did not have.
    """

    def __init__(
        self, settings: Settings, load: Callable[[DatasetConfig], Dataset] = load_dataset
    ) -> None:
        self._settings = settings
        self._load = load
        self._data: tuple[DatasetConfig, DeviceData] | None = None
        self._compiled: tuple[Shape, CompiledShape] | None = None

    def run(self, trial: Trial) -> TrialResult:
        """Train ``trial``; an exception becomes a result with status ``failed``.

        ``compile_seconds`` is the time that compiling took for this trial: 0 where the trial
        before it had the same shape.
        """
        try:
            compiled, seconds = self._compile(trial)
            result = compiled.train(trial, evals_per_epoch=self._settings.evals_per_epoch)
            result = replace(result, compile_seconds=seconds)
        except Exception as error:  # whatever a trial does must not cost the others
            self._compiled = None
            result = TrialResult(sweep="", trial=trial, status="failed", error=first_line(error))
        return replace(
            result,
            sweep=self._settings.sweep,
            device=backend.device_name(),
            tinygrad_version=version("tinygrad"),
            mnist_sweep_version=__version__,
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _compile(self, trial: Trial) -> tuple[CompiledShape, float]:
        shape = shape_of(trial)
        if self._compiled is not None and self._compiled[0] == shape:
            return self._compiled[1], 0.0
        self._compiled = None  # let go of its buffers before the next ones are made
        if self._data is None or self._data[0] != trial.dataset:
            self._data = trial.dataset, DeviceData(self._load(trial.dataset))
        compiled = CompiledShape(shape, self._data[1])
        self._compiled = shape, compiled
        return compiled, compiled.compile_seconds


def _receive(connection: Connection, inbox: SimpleQueue[Trial]) -> None:
    """Put what the driver sends into ``inbox``; end this process when the driver has ended."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)


def main() -> None:
    """Serve the connection whose file descriptor is the first argument."""
    connection = Connection(int(sys.argv[1]))
    settings = connection.recv()
    backend.check_device()
    # The thread only reads: it may run while the main thread trains and captures.
    inbox: SimpleQueue[Trial] = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    connection.send(Ready(note=backend.warning()))
    runner = TrialRunner(settings)
    while True:
        connection.send(runner.run(inbox.get()))


if __name__ == "__main__":
    main()
