"""The process in which Ray lives: it answers one request, and one plan after another if it is sent.

It ends with the process that asked, however that ends, and takes its workers with it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import chdir, closing
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, TypeAlias

import ray

from mnist_sweep.data.dataset import read_images
from mnist_sweep.errors import DeviceError, UserError
from mnist_sweep.executors.driver import Driver, once
from mnist_sweep.executors.ray_crew import ANSWER_TIMEOUT, Actors, inspect_nodes
from mnist_sweep.executors.ray_executor import (
    CONNECTED,
    DONE,
    GRACE,
    Cluster,
    Inspection,
    Note,
    Sweep,
)
from mnist_sweep.plan import Cohort

#: The plans that are still to be run; None once nobody asks any more.
_Inbox: TypeAlias = SimpleQueue[Sequence[Cohort] | None]


def _connect(address: str | None, cpus: int | None) -> None:
    """Connect to the cluster at ``address``, or to a new Ray instance on this machine.

    Raises DeviceError if that cannot be done.
    """
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    ours = {"num_cpus": cpus, "include_dashboard": False} if address is None else {}
    where = f"the Ray cluster at {address}" if address else "a Ray instance on this machine"
    try:
        if address and address != "auto":
            # Ray itself waits for minutes for somebody to answer there.
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT).close()
        # Ray has its workers import from where we are; that folder is the user's.
        with chdir("/"):
            ray.init(
                address=address or "local", configure_logging=False, log_to_driver=False, **ours
            )
    except Exception as error:  # of half a dozen kinds, Ray's and those of its parts
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(message.split())[:500]
        raise DeviceError(f"cannot connect to {where}: {reason}") from error


def _inspect(request: Inspection, send: Callable[[object], None]) -> None:
    _connect(request.address, None)
    send(CONNECTED)
    address = ray.get_runtime_context().gcs_address
    send(Cluster(address, ray.__version__, inspect_nodes()))
    send(DONE)


def _sweep(
    request: Sweep, inbox: _Inbox, stopped: Callable[[], bool], send: Callable[[object], None]
) -> None:
    """Run what comes into ``inbox``, with the workers of one session."""
    options, settings = request.options, request.settings
    _connect(options.address, options.jobs)
    send(CONNECTED)
    images: dict[str, Any] = {}
    say = once(lambda text: send(Note(text)))
    crew = Actors(options, settings, images, elastic=options.address is not None, say=say)
    with closing(Driver(crew, settings, stopped, say)) as driver:
        while (cohorts := inbox.get()) is not None:
            # Here and once: a folder is read from where the user is, and each node gets one copy.
            for dataset in {cohort.shape.dataset for cohort in cohorts}:
                if dataset.name not in images:
                    images[dataset.name] = ray.put(read_images(dataset))
            for result in driver.run(cohorts):
                send(result)
            send(DONE)


def _receive(connection: Connection, inbox: _Inbox, ended: threading.Event) -> None:
    """Put what is asked for into ``inbox`` until the process that asks has ended.

    If we do not end in time then, end everything.
    """
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        ended.set()
        inbox.put(None)
        time.sleep(GRACE)
        # Ours is a session of its own, with the processes of a Ray instance of ours in it.
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve the connection whose file descriptor is the first argument."""
    connection = Connection(int(sys.argv[1]))
    request: Sweep | Inspection = connection.recv()
    ended = threading.Event()
    inbox: _Inbox = SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox, ended), daemon=True).start()
    try:
        try:
            if isinstance(request, Inspection):
                _inspect(request, connection.send)
            else:
                _sweep(request, inbox, ended.is_set, connection.send)
        except UserError as error:
            connection.send(error)
    except OSError:
        ended.wait()  # nobody listens any more
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
