"""The process in which Ray lives: it is sent one request, answers it, and ends.

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
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import ray

from mnist_sweep.data.dataset import read_images
from mnist_sweep.errors import UserError
from mnist_sweep.executors.ray_executor import (
    GRACE,
    Cluster,
    Connected,
    Done,
    Failure,
    Inspection,
    Sweep,
)
from mnist_sweep.executors.ray_pool import ANSWER_TIMEOUT, Pool, inspect_nodes


def _connect(address: str | None, cpus: int | None) -> None:
    """Connect to the cluster at ``address``, or to a new Ray instance on this machine.

    Raises UserError if that cannot be done.
    """
    # Ray has its workers import from where we are; that folder is the user's, not the package's.
    os.chdir("/")
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    ours = {"num_cpus": cpus, "include_dashboard": False} if address is None else {}
    where = f"the Ray cluster at {address}" if address else "a Ray instance on this machine"
    try:
        if address and address != "auto":
            # Ray itself waits for minutes for somebody to answer there.
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT).close()
        ray.init(address=address or "local", configure_logging=False, log_to_driver=False, **ours)
    except Exception as error:  # of half a dozen kinds, Ray's and those of its parts
        message = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = " ".join(message.split())[:500]
        raise UserError(f"cannot connect to {where}: {reason}") from error


def _answer(request: Sweep | Inspection, stopped: Callable[[], bool]) -> Iterator[object]:
    if isinstance(request, Inspection):
        _connect(request.address, None)
        yield Connected()
        address = ray.get_runtime_context().gcs_address
        yield Cluster(address, ray.__version__, inspect_nodes())
        return
    options = request.options
    # Here and once: a folder is read from where the user is, and each node gets one copy.
    datasets = {cohort.shape.dataset.name: cohort.shape.dataset for cohort in request.cohorts}
    images = {name: read_images(dataset) for name, dataset in datasets.items()}
    _connect(options.address, options.jobs)
    yield Connected()
    references = {name: ray.put(data) for name, data in images.items()}
    images.clear()
    pool = Pool(options, request.settings, references, elastic=options.address is not None)
    yield from pool.run(request.cohorts, stopped)


def _watch(connection: Connection, ended: threading.Event) -> None:
    """Notice the end of the process that asked; if we do not end in time then, end everything."""
    try:
        connection.recv()
    except (EOFError, OSError):
        ended.set()
        time.sleep(GRACE)
        # Ours is a session of its own, with the processes of a Ray instance of ours in it.
        os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve the connection whose file descriptor is the first argument."""
    connection = Connection(int(sys.argv[1]))
    request = connection.recv()
    ended = threading.Event()
    threading.Thread(target=_watch, args=(connection, ended), daemon=True).start()
    try:
        try:
            for message in _answer(request, ended.is_set):
                connection.send(message)
            connection.send(Done())
        except UserError as error:
            connection.send(Failure(str(error)))
    except OSError:
        ended.wait()  # nobody listens any more
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
