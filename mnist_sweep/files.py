"""Writing files durably, and so that no reader sees half of one, whoever else writes it.

POSIX semantics are relied on: rename replaces a name at once, and flock ends with its holder.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from glob import escape
from pathlib import Path


def replace_file(path: Path, content: bytes | memoryview, mode: int | None = None) -> None:
    """Make ``content`` what ``path`` holds, durably and at once: no reader sees anything between.

    Several processes may do so at the same time; the last one stays. The file's permissions are
    ``mode``, else those of the file that was there, else what the umask leaves of 0666. Raises
    OSError, and then ``path`` holds what it did (the new content, if only its name could not be
    made durable). What a killed process leaves behind, the next call for ``path`` takes away.
    """
    _remove_abandoned(path)
    if mode is None and path.exists():
        mode = stat.S_IMODE(path.stat().st_mode)
    temporary, descriptor = _create_temporary(path, 0o666 if mode is None else 0o600)
    try:
        write_all(descriptor, content)
        # Some file systems have fixed permissions and refuse to be told, even those they have.
        if mode is not None and mode != stat.S_IMODE(os.fstat(descriptor).st_mode):
            temporary.chmod(mode)
        os.fsync(descriptor)
        # Still locked: unlocked, it would be for others to remove.
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk names none
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)
    sync_folder(path.parent)


def _create_temporary(path: Path, mode: int) -> tuple[Path, int]:
    """A new file beside ``path``, and its descriptor, which holds the lock that it is in use."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            lock(descriptor)
        except BlockingIOError:
            pass  # taken for abandoned before it was locked
        except OSError:
            return temporary, descriptor  # no locks here, so that nobody removes it either
        else:
            if is_at(descriptor, temporary):
                return temporary, descriptor
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files for ``path`` that no process has locked."""
    for temporary in path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 16}.tmp"):
        with suppress(OSError):
            descriptor = os.open(temporary, os.O_WRONLY)
            try:
                lock(descriptor)
                temporary.unlink()
            finally:
                os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock an open file for as long as it stays open. Never waits.

    Raises BlockingIOError if it is locked already; OSError where files cannot be locked.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOSYS, "Windows has no flock; use WSL")
    # Imported here because results can be read where there is no fcntl.
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that ``path`` names now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write ``content``; a second write after a partial one gives the reason for it."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def new_folder(path: Path, files: Mapping[str, bytes]) -> Path | None:
    """Make ``path`` a folder with ``files`` at once; what was there gets the name returned."""
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        whole = Path(folder, path.name)
        whole.mkdir()
        for name, content in files.items():
            replace_file(whole / name, content)
        old = path.with_name(f"{path.name}.{datetime.now():%Y-%m-%dT%H-%M-%S}")
        if path.exists():
            path.rename(old)
        whole.rename(path)
    sync_folder(path.parent)
    return old if old.exists() else None


def make_folder(folder: Path) -> None:
    """Create ``folder`` and its parents, durably, where they are missing. Raises OSError."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for created in missing:
        sync_folder(created.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems have no fsync for folders, and nothing in its place.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
