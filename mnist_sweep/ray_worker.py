"""What runs on the nodes of a Ray cluster: the actor that trains.

Ray gets this module as source, not by name, so that a node on which mnist-sweep is missing or
other than the driver's can say so itself. Nothing of mnist-sweep, and no tinygrad, is therefore
imported before ``start``.
"""

from __future__ import annotations

import platform
import socket
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

#: Packages in which the nodes and the driver must agree: they decide what a row says.
PACKAGES = ("tinygrad", "mnist-sweep")


class Facts(NamedTuple):
    """A node as an actor on it sees it; plain values, which any version can read.

    ``versions`` are those of Python (major and minor) and of PACKAGES, None for a missing one.
    """

    node_id: str
    name: str
    versions: dict[str, str | None]


def versions() -> dict[str, str | None]:
    """Those of this process: Python's without its patch level, and those of PACKAGES."""
    found: dict[str, str | None] = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


class RayWorker:
    """Trains trials, one after another, in an actor's process of its own."""

    def facts(self) -> tuple[str, str, dict[str, str | None]]:
        """The fields of Facts."""
        import ray

        return ray.get_runtime_context().get_node_id(), socket.gethostname(), versions()

    def start(self, device: str, settings: Any, images: dict[str, Any]) -> tuple[str, str]:
        """Open ``device`` for the sweep that ``settings`` (a Settings) describes.

        ``images`` are references to the data sets (LabelledImages) in Ray's object store, by name.
        Returns what is wrong with this node, and a note for the user; each empty if there is none.
        """
        import os

        import ray

        from mnist_sweep.devices import NO_COMPILER, environment, find_compiler, is_cpu

        compiler = find_compiler() if is_cpu(device) else None
        if is_cpu(device) and compiler is None:
            return NO_COMPILER, ""
        gpus = ray.get_gpu_ids()
        gpu = str(gpus[0]) if gpus else None
        # tinygrad reads these as it is imported, which nothing has done yet in this process.
        os.environ.update(environment(device, compiler, gpu))

        from mnist_sweep import backend
        from mnist_sweep.data import load_dataset
        from mnist_sweep.worker import TrialRunner, first_line

        try:
            backend.check_device()
        except Exception as error:
            return f"device {device} cannot be used: {first_line(error)}", ""
        self._runner = TrialRunner(
            settings, load=lambda config: load_dataset(config, ray.get(images[config.name]))
        )
        return "", backend.warning()

    def run(self, trial: Any) -> Any:
        """The TrialResult of ``trial`` (a Trial)."""
        return self._runner.run(trial)
