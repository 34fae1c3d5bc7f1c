"""The user's cache folder for this tool, and tinygrad's cache of compiled kernels."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import tempfile
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from mnist_sweep.errors import UserError

#: Seconds to wait for whoever writes the cache of kernels: a write takes milliseconds.
_LOCK_SECONDS = 3.0


def cache_dir() -> Path:
    """The folder for what can be made again: unpacked data, compiler launchers. It exists.

    ``$MNIST_SWEEP_CACHE`` if set, else the platform's cache folder (``$XDG_CACHE_HOME`` or
    ``~/.cache``, ``~/Library/Caches``, ``%LOCALAPPDATA%``) with ``mnist-sweep`` in it; where that
    cannot be created or written, a private folder among the temporary files. Raises UserError if
    there is none of these.
    """
    chosen = os.environ.get("MNIST_SWEEP_CACHE")
    with suppress(RuntimeError):  # Path.home() for a user without one
        folder = Path(chosen).absolute() if chosen else _platform_cache() / "mnist-sweep"
        if _is_usable(folder):
            return folder
    # The temporary files of Windows are each user's own already.
    user = "" if sys.platform == "win32" else f"-{os.getuid()}"
    folder = Path(tempfile.gettempdir()) / f"mnist-sweep{user}"
    if _is_usable(folder) and _is_private(folder):
        return folder
    raise UserError(
        "no folder for cached files can be written; "
        "set the environment variable MNIST_SWEEP_CACHE to a folder that you may write"
    )


@cache
def kernel_cache() -> tuple[Path | None, str]:
    """The SQLite file for the kernels that tinygrad compiles, and a note if it is not the usual.

    tinygrad stops at a file that it cannot write, and waits for minutes for a locked one. The usual
    is ``$CACHEDB``, else in the platform's cache folder; the next is ours. None if neither will do.
    """
    note, path = "", None
    for place in (_usual_kernels, lambda: cache_dir() / "kernels.db"):
        try:
            path = place()
            _try_database(path)
            return path, note
        except (RuntimeError, OSError, ValueError, UserError, sqlite3.Error) as error:
            problem = f"{path or 'the usual place'} cannot keep compiled kernels ({error})"
            note = note or f"{problem}; mnist-sweep doctor shows the place taken instead"
    return None, note


def _usual_kernels() -> Path:
    named = os.environ.get("CACHEDB")
    return Path(named).absolute() if named else _platform_cache() / "tinygrad" / "cache.db"


def _try_database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)) as file:
        if not path.is_file():
            raise sqlite3.DatabaseError("it is no file")
        if file.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("it is damaged")
        file.executescript("BEGIN IMMEDIATE; CREATE TABLE probe (x); DROP TABLE probe; COMMIT")


def _platform_cache() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    # The XDG base directory specification says to ignore a relative path.
    if os.path.isabs(xdg := os.environ.get("XDG_CACHE_HOME", "")):
        return Path(xdg)
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")


def _is_usable(folder: Path) -> bool:
    """Whether ``folder`` can be written; creates it if missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, ValueError):
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _is_private(folder: Path) -> bool:
    """Whether only this user can write there: anyone may have made it first, or a link."""
    if sys.platform == "win32":
        return True
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    return private and status.st_uid == os.getuid()
