"""What a command says to whoever started it, and how it is asked to stop.

Tables and paths go to stdout, all else to stderr.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType

#: Exit code of a command that was asked to stop.
INTERRUPTED = 130


def say(message: str, end: str = "\n") -> None:
    """Write to stderr; a terminal that has gone away is no reason to lose anything."""
    with contextlib.suppress(OSError, ValueError):
        print(message, end=end, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Report an error, each line of ``message`` as one of its own."""
    say("".join(f"mnist-sweep: error: {line}\n" for line in message.splitlines()), end="")


def note(message: str) -> None:
    """Say what is no error, but worth knowing."""
    say(f"mnist-sweep: note: {message}")


def show(text: str, end: str = "\n") -> None:
    """Write to stdout. Whoever read it may have had enough (`| head`): then nothing is wrong."""
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        give_up_stdout()


def give_up_stdout() -> None:
    """Let Python, which flushes stdout once more as it ends, write what is left to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Stop:
    """Turns Ctrl-C, SIGTERM and a closed terminal into a request to stop in good order.

    A second Ctrl-C ends the process at once; its workers end with it. A signal that the process
    was started to ignore (nohup) stays ignored.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before = {
            number: signal.getsignal(number)
            for number in signal.Signals
            if number.name in ("SIGINT", "SIGTERM", "SIGHUP")
            and signal.getsignal(number) != signal.SIG_IGN
        }

    def __enter__(self) -> Stop:
        for number in self._before:
            signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            os._exit(INTERRUPTED)
        self.requested = True
