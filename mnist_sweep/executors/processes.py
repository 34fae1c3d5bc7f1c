"""Processes of ours: the side of the one that starts them, and their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import IO, Any

#: Seconds that a process whose connection broke may take to end by itself.
LAST_BREATH = 0.2


class Child:
    """``python -m module FD``, where FD is its end of ``connection`` (see ``to_parent``).

    It has a session of its own: Ctrl-C is for this process, which ends its children itself. What it
    prints is kept for ``last_words``.
    """

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        self.connection, theirs = Pipe()
        # Open until the process ends, for its last words.
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            env=environment,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        theirs.close()

    def send(self, message: object) -> None:
        """Send ``message``; that the process is dead is noticed when its answer is awaited."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def last_words(self) -> str:
        """How the process ended, and the last line that it wrote."""
        try:
            status = self.process.wait(timeout=LAST_BREATH)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        how = f"exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-status).name
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 4096))
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return how + (f": {lines[-1]}" if lines else "")

    def end(self) -> None:
        """Kill the process and free what it held."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self.log.close()


def to_parent(orphaned: Callable[[], None]) -> tuple[Connection, SimpleQueue[Any]]:
    """In a Child: its end of the connection, and what comes in there, whatever it does meanwhile.

    When the process that started it has ended, None comes in, and ``orphaned`` is called.
    """
    connection, inbox = Connection(int(sys.argv[1])), SimpleQueue[Any]()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                inbox.put(connection.recv())
        inbox.put(None)
        orphaned()

    threading.Thread(target=receive, daemon=True).start()
    return connection, inbox
