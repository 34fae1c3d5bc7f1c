"""What a command says to whoever started it, and how it is asked to stop.

Tables and paths go to stdout, all else to stderr.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import signal
import sys
import threading
from types import FrameType
from typing import TextIO

from mnist_sweep.errors import UserError

#: Exit codes of a command that can do nothing with its input, and of one that was asked to stop.
BAD_INPUT, INTERRUPTED = 2, 130


def prepare_streams() -> None:
    """Give this process the streams that it was started without; have none refuse a character.

    In the place of a closed one the next file that is opened would get what is said.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    codecs.register_error(__name__, _spell)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=__name__)


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    """A codec's error handler: the bytes of a file's name as they are, all else in ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        return codecs.replace_errors(error)
    character, end = error.object[error.start], error.start + 1
    if "\udc80" <= character <= "\udcff":
        return character.encode("utf-8", "surrogateescape"), end
    plain = character.replace("±", "+-")
    return plain.encode("ascii", "backslashreplace").decode(), end


def say(message: str, end: str = "\n") -> None:
    """Write to stderr; a terminal that has gone away is no reason to lose anything."""
    try:
        print(message, end=end, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _give_up(sys.stderr)


def complain(message: str) -> None:
    """Report an error, each line of ``message`` as one of its own."""
    say("".join(f"mnist-sweep: error: {line}\n" for line in message.splitlines()), end="")


def note(message: str) -> None:
    """Say what is no error, but worth knowing."""
    say(f"mnist-sweep: note: {message}")


def show(text: str, end: str = "\n") -> None:
    """Write to stdout. Whoever read it may have had enough (`| head`): then nothing is wrong.

    Raises UserError where it cannot be written for another reason.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        _give_up(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise UserError(f"standard output: {error.strerror or error}") from error


def _give_up(stream: TextIO) -> None:
    """Let Python, which flushes ``stream`` once more as it ends, write what is left to nowhere."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class Stop:
    """Turns Ctrl-C, SIGTERM and a closed terminal into a request to stop in good order.

    A second Ctrl-C ends the process and its workers at once. A signal that it was started to ignore
    (nohup) stays ignored; outside the main thread all are left to whoever has that thread.
    """

    def __init__(self) -> None:
        self.requested = False
        in_charge = threading.current_thread() is threading.main_thread()
        self._before = {
            number: signal.getsignal(number)
            for number in (signal.Signals if in_charge else ())
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
