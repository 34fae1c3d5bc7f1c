"""The process in which Ray lives: it answers one request, and one plan after another if it is sent.

It ends with the process that asked, however that ends, and takes its workers with it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import chdir, closing
from functools import cache
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import ray

from mnist_sweep.data.dataset import read_images
from mnist_sweep.errors import DeviceError, UserError
from mnist_sweep.executors.driver import Driver
from mnist_sweep.executors.processes import to_parent
from mnist_sweep.executors.ray_crew import ANSWER_TIMEOUT, Actors, inspect_nodes
from mnist_sweep.executors.ray_executor import GRACE

#: Seconds that Ray may take to start, or to connect to a cluster.
CONNECT_TIMEOUT = 120.0

_TOO_LATE = DeviceError(
    f"no answer from Ray within {CONNECT_TIMEOUT:.0f} s; see that the cluster runs (ray status), "
    "and that --address is that of its head"
)


def _connect(address: str | None, cpus: int | None, send: Callable[[object], None]) -> None:
    """Connect to the cluster at ``address``, or to a new Ray instance on this machine.

    Raises DeviceError if that cannot be done; it is sent if it takes too long.
    """
    timer = threading.Timer(CONNECT_TIMEOUT, send, [_TOO_LATE])
    timer.start()
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
    finally:
        timer.cancel()


def _serve(connection: Connection, inbox: SimpleQueue[Any], stopped: Callable[[], bool]) -> None:
    """Answer as _Service says, until nobody asks any more. Raises UserError."""
    send = connection.send
    options, settings = inbox.get()
    _connect(options.address, options.jobs, send)
    if settings is None:
        send(inspect_nodes(send))
        send(None)
        return
    say = cache(send)  # many workers have the same to say
    crew = Actors(options, settings, say)
    with closing(Driver(crew, settings, stopped, say)) as driver:
        while (cohorts := inbox.get()) is not None:
            # Here and once: a folder is read from where the user is, and each node gets one copy.
            for dataset in {cohort.shape.dataset for cohort in cohorts}:
                if dataset.name not in crew.images:
                    crew.images[dataset.name] = ray.put(read_images(dataset))
            for result in driver.run(cohorts):
                send(result)
            send(None)


def main() -> None:
    """Serve the process that started this one."""
    ended = threading.Event()

    def end() -> None:
        ended.set()
        time.sleep(GRACE)
        # Ours is a session of its own, with the processes of a Ray instance of ours in it.
        os.killpg(0, signal.SIGKILL)

    connection, inbox = to_parent(end)
    try:
        try:
            _serve(connection, inbox, ended.is_set)
        except UserError as error:
            connection.send(error)
    except OSError:
        ended.wait()  # nobody listens any more
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
