"""What this machine can train on, and why ``run`` would choose what it chooses."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from mnist_sweep import __version__, devices
from mnist_sweep.cache import cache_dir, kernel_cache
from mnist_sweep.data.bundled import describe_bundled
from mnist_sweep.errors import DeviceError, UserError
from mnist_sweep.executors.ray_executor import cluster_address, inspect_cluster


def diagnose() -> tuple[list[str], bool]:
    """Lines for a person, and whether something here can train. Opens every likely device."""
    compiler = devices.find_compiler()
    lines = _versions()
    none = f"none: {devices.NO_COMPILER}"
    found = f"{compiler.program} (from {compiler.origin})" if compiler else none
    lines.append(f"compiler     {found}")
    usable = []
    for device in devices.candidates():
        is_cpu = devices.is_cpu(device)
        try:
            if is_cpu and compiler is None:
                raise DeviceError("no compiler")
            count = devices.probe(device, compiler)
            size = f"{devices.physical_cores()} cores" if is_cpu else f"{count} of them"
            lines.append(f"device       {device}: usable, {size}")
            usable.append(device)
        except DeviceError as error:
            lines.append(f"device       {device}: no ({error})")
    try:
        choice = devices.choose_device(None)
        if choice.device == "CPU" and "CPU" not in usable:
            raise DeviceError("the CPU cannot be used, see above")
        lines.append(f"run takes    {choice.device}: {choice.reason}")
        lines += [f"note         {note}" for note in choice.notes]
        healthy = True
    except UserError as error:
        lines.append(f"run takes    nothing: {error}")
        healthy = False
    lines.append(f"cache        {cache_dir()}")
    lines.append(f"kernel cache {kernel_cache()[0] or 'none'}")
    lines.append(f"data set     {describe_bundled()}")
    return lines, healthy


def diagnose_cluster(address: str | None) -> tuple[list[str], bool]:
    """Lines for a person about a Ray cluster, and whether a node of it can train.

    ``address`` is that of ``run --address``. Raises DeviceError if there is no cluster there.
    """
    lines, usable = inspect_cluster(cluster_address(address))
    return [*_versions(), *lines], usable


def _versions() -> list[str]:
    lines = [
        f"mnist-sweep  {__version__}",
        f"python       {platform.python_version()} on {platform.system()} {platform.machine()}",
    ]
    for package in ("tinygrad", "numpy", "matplotlib", "ziglang"):
        try:
            installed = version(package)
        except PackageNotFoundError:
            installed = "not installed"
        lines.append(f"{package:<12} {installed}")
    return lines
