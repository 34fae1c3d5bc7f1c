"""Nodes of a Ray cluster on this machine, and sweeps on them.

Each node is in a network namespace of its own, with its own address and host name, as on a network.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnist_sweep.results.file import curves_path
from tests import runs

TIMING = ("train_seconds", "compile_seconds", "finished_at")
PORT = 6399
ENVIRONMENT = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    # Ray's workers are nicer than others by 15: on a busy machine they could not even end.
    "RAY_worker_niceness": "0",
}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def outcome(path: Path) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """The rows and the points of the curves, timings aside, in an order of their own."""
    rows = [tuple(v for k, v in row.items() if k not in TIMING) for row in table(path)]
    points = [tuple(point.values()) for point in table(curves_path(path))]
    return sorted(rows), sorted(points)


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """As ``runs.wait_until``, with the patience that a cluster needs."""
    runs.wait_until(condition, seconds)


def rows_in(path: Path) -> int:
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


def processes(text: str, session: int | None = None) -> list[int]:
    """Processes whose command line has ``text``, of one session or of all."""
    which = ["-s", str(session)] if session else ["-e"]
    listing = subprocess.run(["ps", "-o", "pid=,args=", *which], capture_output=True, text=True)
    lines = (line.split(None, 1) for line in listing.stdout.splitlines())
    return [int(pid) for pid, args in lines if text in args and "<defunct>" not in args]


def ray_processes() -> set[int]:
    """Every process of Ray's on this machine, and our processes in which Ray lives."""
    marks = ("ray::", "/raylet/raylet", "gcs/gcs_server", "mnist_sweep.executors.ray_service")
    return {pid for mark in marks for pid in processes(mark)}


def _heed_signals() -> None:
    """A test run in the background inherits that Ctrl-C is ignored; a user's run does not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_sweep(
    spec: Path, *arguments: object, prefix: list[str] | None = None
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(prefix or []),
            *(sys.executable, "-m", "mnist_sweep", "run", str(spec), "--executor", "ray"),
            *map(str, arguments),
        ],
        cwd=spec.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=_heed_signals,
    )


class Cluster:
    """Nodes by name, the first of them the head; a command on it starts with ``inside``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._bridge = f"ms{os.getpid()}"
        if not _run("ip", "link", "add", self._bridge, "type", "bridge"):
            pytest.skip("network namespaces need root and the command ip")
        _run("ip", "link", "set", self._bridge, "up")
        self.address = f"{self._ip(0)}:{PORT}"
        self.inside: list[str] = []

    @staticmethod
    def _ip(number: int) -> str:
        return f"10.213.77.{number + 1}"

    def _namespace(self, name: str) -> str:
        return f"{self._bridge}-{name}"

    def _enter(self, name: str, number: int) -> list[str]:
        """Make a network namespace for a node; what a command in it starts with."""
        space, near, far = self._namespace(name), f"{self._bridge}n{number}", f"v{number}"
        inside = ["ip", "netns", "exec", space]
        for command in (
            ["ip", "netns", "add", space],
            ["ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", space],
            ["ip", "link", "set", near, "master", self._bridge, "up"],
            [*inside, "ip", "addr", "add", f"{self._ip(number)}/24", "dev", far],
            [*inside, "ip", "link", "set", far, "up"],
            [*inside, "ip", "link", "set", "lo", "up"],
        ):
            assert _run(*command), command
        return [*inside, "unshare", "--uts", "sh", "-c", f'hostname {name}; exec "$@"', "sh"]

    def add(self, name: str, cpus: int = 1, **environment: str) -> None:
        """Start a node and wait until it is up."""
        number = len(self._nodes)
        inside = self._enter(name, number)
        where = ["--address", self.address]
        if not self._nodes:
            self.inside = inside
            where = ["--head", "--port", str(PORT), "--include-dashboard", "false"]
        ray = str(Path(sys.executable).with_name("ray"))
        log = (self._folder / f"{name}.log").open("wb")
        self._nodes[name] = subprocess.Popen(
            [
                *(*inside, ray, "start", *where, "--node-ip-address", self._ip(number)),
                *("--num-cpus", str(cpus), "--temp-dir", str(self._folder / name), "--block"),
            ],
            env={**ENVIRONMENT, **environment},
            cwd="/",
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        output = self._folder / f"{name}.log"
        wait_until(lambda: b"Ray runtime started" in output.read_bytes(), 60)

    def workers(self, name: str | None = None, *, training: bool = False) -> list[int]:
        """The actors of sweeps, on one node or on all; all of them, or those that train now."""
        nodes = [self._nodes[name]] if name else self._nodes.values()
        title = "ray::RayWorker.run" if training else "ray::RayWorker"
        return [pid for node in nodes for pid in processes(title, node.pid)]

    def kill(self, name: str) -> None:
        """SIGKILL to every process of a node at once."""
        _kill_session(self._nodes[name].pid)
        self._nodes[name].wait()

    def close(self) -> None:
        for number, name in enumerate(self._nodes):
            self.kill(name)
            _run("ip", "link", "del", f"{self._bridge}n{number}")
            _run("ip", "netns", "del", self._namespace(name))
        _run("ip", "link", "del", self._bridge)


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _kill_session(leader: int) -> None:
    while pids := processes("", leader):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster without nodes; all that it gets end with it."""
    # Not pytest's folder: Ray's sockets are in it, and their paths must be short.
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    made = Cluster(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
