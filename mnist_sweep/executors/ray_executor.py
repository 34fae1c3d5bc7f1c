"""Runs a sweep on a Ray cluster, or on a Ray instance of its own on this machine.

Ray lives in a process of its own (``ray_service``), which this one starts and reads results from:
what Ray prints, the signals it takes and the ways in which it ends are not the driver's. This
module does not import Ray.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pickle
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mnist_sweep.devices import NO_NAME, choose_device, default_jobs, is_cpu
from mnist_sweep.errors import DeviceError, UserError
from mnist_sweep.executors.interface import POLL, Session, Settings
from mnist_sweep.executors.processes import Child
from mnist_sweep.plan import Cohort
from mnist_sweep.trial import TrialResult

#: Seconds that Ray gets to end in good order before its processes are killed.
GRACE = 3.5


@dataclass(frozen=True)
class ClusterOptions:
    """Which cluster, and how much of it.

    ``address`` is HOST:PORT of the cluster's head, ``"auto"`` for the cluster that this machine is
    a node of, or None for a Ray instance of our own, of ``jobs`` CPUs, that ends with us. ``jobs``
    None asks for as many workers as the cluster has room for, and for more as it grows.
    """

    address: str | None
    jobs: int | None = None
    device: str = "CPU"
    gpus_per_worker: float = 0.0


@dataclass(frozen=True)
class RayExecutor:
    """Runs trials in actors of a Ray cluster. Raises DeviceError where Ray is not installed."""

    options: ClusterOptions
    say: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        _check_installed()

    @contextlib.contextmanager
    def open(self, settings: Settings, stopped: Callable[[], bool]) -> Iterator[Session]:
        """See Executor. A trial that lost its node runs elsewhere; that is no failure of its."""
        with contextlib.closing(_Service(self.options, settings, stopped, self.say)) as service:
            yield service


def inspect_cluster(address: str | None) -> tuple[list[str], bool]:
    """Lines for a person on the cluster there, and if it can train. Raises DeviceError."""
    _check_installed()
    lines: list[str] = []
    with contextlib.closing(_Service(ClusterOptions(address), say=lines.append)) as service:
        (usable,) = service.answers()
    return lines, bool(usable)


def _check_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        raise DeviceError("--executor ray needs Ray: pip install 'mnist-sweep[ray]'")


def cluster_address(option: str | None) -> str | None:
    """The address to use: that of the command line, else of RAY_ADDRESS, Ray's own variable.

    Raises DeviceError if it is not one that we can connect to.
    """
    address = option if option is not None else os.environ.get("RAY_ADDRESS") or None
    if address is None or address == "auto":
        return address
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not (port.isascii() and port.isdigit()):
        raise DeviceError(
            f"--address {address}: expected HOST:PORT of the cluster's head, or auto, on a machine "
            "that is a node of the cluster"
        )
    return address


def cluster_options(
    address: str | None, jobs: int | None, device: str | None, gpus_per_worker: float | None
) -> ClusterOptions:
    """Settle what the command line left open; None is what it did not say.

    The device of a cluster is not that of this machine: it is ``device``, else the environment's
    DEV, else CUDA if GPUs are asked for, else the CPU. Raises DeviceError if that contradicts
    itself or, for a Ray instance on this machine, cannot train here.
    """
    where = cluster_address(address)
    if device is not None and not device.strip():
        raise DeviceError(NO_NAME)
    wanted = device or os.environ.get("DEV") or ("CUDA" if gpus_per_worker else None)
    if where is None:
        choice = choose_device(wanted)
        wanted, jobs = choice.device, jobs or default_jobs(choice)
    wanted = wanted or "CPU"
    if is_cpu(wanted) and gpus_per_worker:
        raise DeviceError(f"--gpus-per-worker {gpus_per_worker:g}: device {wanted} takes no GPU")
    return ClusterOptions(where, jobs, wanted, gpus_per_worker or float(not is_cpu(wanted)))


class _Service(Child):
    """The process in which Ray lives, until it is closed; a Session.

    It gets ClusterOptions and Settings, then one plan (cohorts) after another, and answers each
    with notes (texts) and TrialResults, then None; or with a UserError at any time. With None for
    Settings its notes describe the cluster, and its one answer is whether that can train.
    """

    under_way = 0.0  # the trials of actors are heard of as they end

    def __init__(
        self,
        options: ClusterOptions,
        settings: Settings | None = None,
        stopped: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        # Ray reports to nobody, and logs errors only.
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "error"}
        super().__init__("mnist_sweep.executors.ray_service", {**os.environ, **quiet})
        self._stopped, self._say = stopped, say
        self._deadline = settings.deadline if settings else None
        self.send((options, settings))

    def run(self, cohorts: Sequence[Cohort]) -> Iterator[TrialResult]:
        self.send(cohorts)
        for message in self.answers():
            assert isinstance(message, TrialResult)
            if self._deadline:
                self._deadline.learn([message])
            yield message

    def answers(self) -> Iterator[object]:
        """What it answers until it is done, or stopped. Raises UserError if it fails."""
        while not self._stopped():
            try:
                if not self.connection.poll(POLL):
                    continue
                message = self.connection.recv()
            except (OSError, EOFError, pickle.UnpicklingError):
                raise DeviceError(
                    f"the connection to Ray was lost ({self.last_words()}); every trial that had "
                    "ended is saved: see that the cluster runs, and run the same command again"
                ) from None
            if message is None:
                return
            if isinstance(message, UserError):
                raise message
            if isinstance(message, str):
                self._say(message)
            else:
                yield message

    def close(self) -> None:
        """Let it take its workers down, and see that nothing is left of it."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=GRACE)
        # Its session is also that of a Ray instance of our own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.end()
