"""What runs on the nodes of a Ray cluster: the actor that trains.

Ray gets this module as source, not by name, so that a node on which mnist-sweep is missing or
other than the driver's can say so itself. Nothing of mnist-sweep, and no tinygrad, is therefore
imported before ``start``.
"""

from __future__ import annotations

import os
import platform
import socket
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any


def versions() -> dict[str, str | None]:
    """What decides what a row says: Python's version, less its patch level, and two packages'.

    None for a package that is missing.
    """
    installed: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in ("tinygrad", "mnist-sweep"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = None
    return installed


class RayWorker:
    """Trains trials in an actor's process of its own."""

    def facts(self) -> tuple[str, str, dict[str, str | None]]:
        """The node: its id in the cluster, its name and address, and its ``versions``."""
        import ray

        # Nodes may share either.
        name = f"{socket.gethostname()} ({ray.util.get_node_ip_address()})"
        return ray.get_runtime_context().get_node_id(), name, versions()

    def start(self, device: str, gpus: float, settings: Any) -> tuple[str, Any]:
        """Open ``device`` for the sweep that ``settings`` (a Settings) describes.

        ``gpus`` is how many GPUs, or how much of one, this worker has. Returns what is wrong with
        this node, empty if nothing is, and the worker's Ready.
        """
        import ray

        from mnist_sweep.devices import compiler_for, environment
        from mnist_sweep.errors import UserError

        gpu = next(map(str, ray.get_gpu_ids()), None)
        try:
            # tinygrad reads these as it is imported, which nothing has done yet in this process.
            os.environ.update(environment(device, compiler_for(device), gpu))
        except UserError as error:
            return str(error), None

        from mnist_sweep.data.dataset import load_dataset
        from mnist_sweep.executors.worker import TrialRunner, first_line, ready
        from mnist_sweep.training import backend

        try:
            backend.check_device()
        except Exception as error:
            return f"device {device} cannot be used: {first_line(error)}", None
        self._images: Any = None
        self._runner = TrialRunner(settings, lambda config: load_dataset(config, self._images))
        opened = ready()
        if opened.free_memory is not None:
            # The other workers on the same GPU may not have taken their part yet.
            opened = replace(opened, free_memory=int(opened.free_memory * min(1.0, gpus)))
        return "", opened

    def run(self, trials: Any, images: Any) -> Any:
        """The TrialResults of ``trials`` (Trials of one shape) on ``images`` (LabelledImages)."""
        self._images = images
        return self._runner.run(trials)
