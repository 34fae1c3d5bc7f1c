"""Files of lines that survive anything: one writer, durable appends, recovery of a torn end.

Nothing here knows what the lines mean. POSIX semantics are relied on: a write to an O_APPEND
descriptor goes to the end, and flock ends with its holder.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from mnist_sweep.errors import ResultsError
from mnist_sweep.files import is_at, lock, sync_folder, write_all

#: A file of lines is read whole, so there is an end to what is taken for one.
MAX_BYTES = 1 << 30
#: Errors that more space puts right: the disk, the quota or the allowed size of a file is used up.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# Opening a FIFO would wait for its other end; on regular files the flag changes nothing.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


class LockedError(Exception):
    """Another process holds the lock; ``pid`` is its process id, or None if it cannot be told."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(pid)
        self.pid = pid


def open_regular(path: Path) -> BinaryIO:
    """Open ``path`` for reading bytes. Never waits.

    Raises OSError if it cannot be opened, is no regular file (a folder, FIFO, device), or holds
    more than MAX_BYTES.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_WAIT))  # noqa: SIM115
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if status.st_size > MAX_BYTES:
            raise OSError(errno.EINVAL, f"it holds more than {MAX_BYTES >> 20} MiB", str(path))
    except OSError:
        file.close()
        raise
    return file


def torn_at(content: bytes) -> int:
    """Where the torn end of ``content`` begins: what a cut-off write or a power loss left there.

    That is what follows the last line end, and the last line too if a quoted cell is still open
    in it or it holds NUL bytes, as blocks that never reached the disk do. ``len(content)`` if the
    last line is whole.
    """
    end = content.rfind(b"\n") + 1
    start = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    last = content[start:end]
    return start if last.count(b'"') % 2 or b"\0" in last else end


def set_aside(path: Path, lines: bytes) -> Path:
    """Add ``lines`` of the file to ``<name>.torn`` beside it, durably; returns that.

    Raises OSError.
    """
    aside = path.with_name(f"{path.name}.torn")
    descriptor = os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_WAIT, 0o666)
    try:
        write_all(descriptor, lines.removesuffix(b"\n") + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)
    return aside


def set_torn_end_aside(path: Path) -> Path | None:
    """Move the torn end of the file, if it has one, as ``set_aside`` does.

    It is durable there before it is cut off here. Returns where it is now, or None. Raises OSError,
    and then the file is as it was.
    """
    with open_regular(path) as file:
        content = file.read()
    torn = content[torn_at(content) :]
    if not torn:
        return None
    aside = set_aside(path, torn)
    descriptor = os.open(path, os.O_WRONLY | _NO_WAIT)
    try:
        os.ftruncate(descriptor, len(content) - len(torn))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return aside


class AppendOnlyFile:
    """An existing file to which whole lines are appended, by this process alone."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if ``path`` does not exist or cannot be written."""
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | _NO_WAIT)
        try:
            # A killed run may have written lines, or the name, that never reached the disk.
            os.fsync(self._descriptor)
            sync_folder(path.parent)
            self.size = os.fstat(self._descriptor).st_size
        except OSError:
            os.close(self._descriptor)
            raise

    def append(self, lines: bytes) -> None:
        """Write ``lines``, in one write where the system takes them at once; durable on return.

        If that fails half-way (a full disk), the file is cut back to what it held. Raises OSError,
        or ResultsError if something else has changed, moved or removed the file meanwhile.
        """
        self._check_unchanged()
        size = self.size
        try:
            write_all(self._descriptor, lines)
            os.fsync(self._descriptor)
        except BaseException:
            self.cut(size)
            raise
        self.size = size + len(lines)

    def cut(self, size: int) -> None:
        """Cut the file back to its first ``size`` bytes, durably. Raises OSError."""
        os.ftruncate(self._descriptor, size)
        os.fsync(self._descriptor)
        self.size = size

    def close(self) -> None:
        """Close the file. It is durable already."""
        os.close(self._descriptor)

    def _check_unchanged(self) -> None:
        # An editor saves by renaming: without this look, rows would go to a file without a name.
        if not is_at(self._descriptor, self.path) or os.stat(self.path).st_size != self.size:
            raise ResultsError(
                f"{self.path} was changed, moved or removed by something else during the run; "
                "look at what is there, then run the same command again"
            )


class FileLock:
    """The right to write a file: a kernel lock that ends with its holder, however that ends.

    The lock is on a hidden file beside it, since the file itself may be replaced. The hidden file
    means nothing by its existence, so one that a killed process left blocks nobody.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        """Use ``acquire``."""
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, target: Path) -> FileLock:
        """Lock ``target``, which need not exist but whose folder must. Never waits.

        Raises LockedError if it is locked, also by this process; OSError if it cannot be locked.
        """
        path = target.with_name(f".{target.name}.lock")
        while True:
            descriptor = _open_lock(path)
            try:
                _lock(descriptor)
                # The last holder may have removed the file between our opening and our locking
                # it; then others lock the new file of that name.
                if is_at(descriptor, path):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    return cls(path, descriptor)
                os.close(descriptor)
            except BaseException:
                os.close(descriptor)
                raise

    def release(self) -> None:
        """Let others in."""
        try:
            # Still locked, so nobody who opened it can hold it; see acquire.
            if is_at(self._descriptor, self._path):
                self._path.unlink()
        except OSError:
            pass  # a leftover blocks nobody
        finally:
            os.close(self._descriptor)


def _open_lock(path: Path) -> int:
    while True:
        # Opened before created: systems that protect shared folders refuse O_CREAT on the file
        # of another user.
        try:
            return os.open(path, os.O_RDWR | _NO_WAIT)
        except FileNotFoundError:
            pass
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            if path.is_symlink():
                raise
            continue
        # Whoever may write in this folder must be able to lock what another user has left.
        os.fchmod(descriptor, 0o666)
        return descriptor


def _lock(descriptor: int) -> None:
    try:
        lock(descriptor)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).strip()
        raise LockedError(int(holder) if holder.isdigit() else None) from error
