"""The promises of results.csv when a run is killed, cut off, doubled, or has no room to write.

Processes are really killed and disks are really full.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mnist_sweep.errors import ResultsError
from mnist_sweep.results.file import ResultsWriter, curves_path, read_results
from tests.results_helpers import files, memory_folder, result, start_appending, write


@pytest.fixture
def path() -> Iterator[Path]:
    with memory_folder() as folder:
        yield folder / "results.csv"


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process; how that ended, as ``os.waitstatus_to_exitcode``."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def assert_holds(path: Path, *seeds: int) -> None:
    """Both files hold what they would after an undisturbed run: every line, and each once."""
    with memory_folder() as folder:
        undisturbed = files(write(folder / "undisturbed.csv", *map(result, seeds)))
    for content, expected in zip(files(path), undisturbed, strict=True):
        assert sorted(content.splitlines(keepends=True)) == sorted(
            expected.splitlines(keepends=True)
        )
    assert read_results(path).notes == ()


# Cut off


def test_a_row_cut_off_at_any_byte_is_set_aside_and_nothing_else(path: Path) -> None:
    quoted = result(2, error='a, "quoted" cell')
    whole = files(write(path, result(1), quoted))[0]
    last = len(whole) - len(whole.splitlines(keepends=True)[-1])
    torn = path.with_name("results.csv.torn")
    for length in range(last, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_results(path).results == (result(1),)
        assert len(read_results(path).notes) == (length > last)
        torn.unlink(missing_ok=True)
        with ResultsWriter(path) as writer:
            assert list(writer.finished) == [result(1).trial.trial_id]
            assert path.read_bytes() == whole[:last]
            writer.append(quoted)
        assert path.read_bytes() == whole
        assert read_results(path).results == (result(1), quoted)
        assert torn.exists() == (length > last)
        if length > last:
            assert torn.read_bytes() == whole[last:length] + b"\n"


def test_curves_cut_off_at_any_byte_leave_each_line_there_once(path: Path) -> None:
    row, curves = files(write(path, result(1), result(2)))
    rows_before = b"".join(row.splitlines(keepends=True)[:2])
    start = len(b"".join(curves.splitlines(keepends=True)[:3]))
    for length in range(start, len(curves) + 1):
        path.write_bytes(rows_before)
        curves_path(path).write_bytes(curves[:length])
        assert read_results(path).results == (result(1),)
        write(path, result(2))
        assert files(path) == (row, curves)


def test_a_header_cut_off_at_any_byte_is_written_again(path: Path) -> None:
    header, curve_header = files(write(path))
    for length in range(len(header)):
        path.write_bytes(header[:length])
        curves_path(path).write_bytes(curve_header[:length])
        assert read_results(path).results == ()
        write(path)
        assert files(path) == (header, curve_header)


def test_a_last_line_that_ends_within_a_quoted_cell_is_set_aside(path: Path) -> None:
    write(path, result(1))
    for torn in (b'x,"a\n', b'x,"a\nb'):
        with path.open("ab") as file:
            file.write(torn)
        assert read_results(path).results == (result(1),)
        write(path)
        assert_holds(path, 1)
    assert path.with_name("results.csv.torn").read_bytes() == b'x,"a\nx,"a\nb\n'


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_last_row_that_never_reached_the_disk_is_set_aside(path: Path, end: bytes) -> None:
    write(path, result(1), result(2))
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(content[:2]) + b"\0" * 40 + content[2].rstrip(b"\n")[40:] + end)
    assert read_results(path).results == (result(1),)
    with ResultsWriter(path) as writer:
        assert any("moved it to results.csv.torn" in note for note in writer.notes)
        writer.append(result(2))
    assert_holds(path, 1, 2)


def test_torn_lines_of_several_crashes_are_all_kept(path: Path) -> None:
    write(path, result(1))
    for torn in (b"first", b'second,"', b"third"):
        with path.open("ab") as file:
            file.write(torn)
        write(path)
    assert path.with_name("results.csv.torn").read_bytes() == b'first\nsecond,"\nthird\n'
    assert_holds(path, 1)


# Killed


def test_a_kill_before_any_call_to_the_system_loses_and_doubles_nothing(path: Path) -> None:
    """Every moment that matters, one by one: each call that changes a file is a last one."""
    names = ("open", "write", "fsync", "ftruncate", "replace", "unlink", "close")

    def work(calls: int, reported: int) -> None:
        left = calls

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def counting(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)

            return counting

        for name in names:
            setattr(os, name, counted(getattr(os, name)))
        write_bytes = os.pwrite
        with ResultsWriter(path, retry_failed=True) as writer:
            for seed in (1, 2):
                if result(seed).trial.trial_id not in writer.finished:
                    writer.append(result(seed))
                    write_bytes(reported, b"x", seed)

    for calls in range(500):
        for old in path.parent.iterdir():
            old.unlink()
        write(path, result(0), result(1, status="failed"))
        # As a version wrote it that did not know the last column yet.
        path.write_bytes(re.sub(rb",[^,\n]*$", b"", path.read_bytes(), flags=re.MULTILINE))
        with path.open("ab") as file, curves_path(path).open("ab") as curves:
            file.write(b"torn")
            curves.write(b"torn")
        log = path.parent / "reported"
        reported = os.open(log, os.O_RDWR | os.O_CREAT)
        ended = in_child(lambda calls=calls, log=reported: work(calls, log))  # type: ignore[misc]
        os.close(reported)
        done = {seed for seed, byte in enumerate(log.read_bytes()) if byte}
        kept = {row.trial.config.seed: row for row in read_results(path).results}
        assert kept[0] == result(0)
        assert all(kept[seed] == result(seed) for seed in done)
        with ResultsWriter(path, retry_failed=True) as writer:
            for seed in (1, 2):
                if result(seed).trial.trial_id not in writer.finished:
                    assert seed not in done
                    writer.append(result(seed))
        after = read_results(path)
        assert sorted(row.trial.config.seed for row in after.results) == [0, 1, 2]
        assert all(row == result(row.trial.config.seed) for row in after.results)
        assert after.notes == ()
        assert [content.count(b"\n") for content in files(path)] == [1 + 3, 1 + 3 * 2]
        assert not {p.name for p in path.parent.iterdir()} - {
            "reported", "results.csv", "results.csv.torn", "results.curves.csv",
            "results.curves.csv.torn",
        }  # fmt: skip
        if ended == 0:
            assert calls > 30
            return
        assert ended == -signal.SIGKILL
    raise AssertionError("the work never ended")


@pytest.mark.parametrize("renames", [0, 1, 2, 3])
def test_a_kill_while_the_old_file_is_set_aside_keeps_it_and_its_curves(
    path: Path, renames: int
) -> None:
    old = files(write(path, result(0), result(1)))
    rename = os.rename

    def work() -> None:
        left = renames

        def counting(*arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(*arguments)

        for name in ("rename", "replace"):
            setattr(os, name, counting)
        ResultsWriter(path, overwrite=True).close()
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(work) == -signal.SIGKILL
    ResultsWriter(path).close()
    assert set(old) <= {p.read_bytes() for p in path.parent.iterdir()}


def kill_at_random(path: Path, times: int, random_seed: int) -> None:
    rng = random.Random(random_seed)
    count = 100_000
    reported: set[int] = set()
    for _ in range(times):
        process = start_appending(path, count)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        output, errors = process.communicate()
        assert (process.returncode, errors) == (-signal.SIGKILL, "")
        # A line that the kill cut off was not reported; of the first, readline may have a part.
        reported |= {int(seed) for seed in re.findall(r"^(\d+)\n", output, re.MULTILINE)}
        kept = {row.trial.config.seed: row for row in read_results(path).results}
        assert reported <= set(kept)
        assert all(kept[seed] == result(seed) for seed in kept)
        # Seeds are appended in order, so nothing may be missing in between.
        assert set(kept) == set(range(len(kept)))
    write(path)
    assert_holds(path, *range(len(kept)))
    assert len(kept) > times


def test_kills_at_random_moments_lose_and_double_nothing(path: Path) -> None:
    kill_at_random(path, 15, random_seed=1)


@pytest.mark.slow
def test_hundreds_of_kills_at_random_moments_lose_and_double_nothing(tmp_path: Path) -> None:
    kill_at_random(tmp_path / "results.csv", 300, random_seed=2)


# Power loss: what is on the disk is what was synchronised, in that order


class Watched:
    """The calls that decide what survives a power loss, each with the name of its file."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, str]] = []
        self._folder = folder
        for name in ("write", "fsync", "ftruncate"):
            monkeypatch.setattr(os, name, self._watching(name, getattr(os, name)))
        rename = os.replace

        def replace(old: Path, new: Path) -> None:
            self.calls.append(("rename", Path(new).name))
            rename(old, new)

        monkeypatch.setattr(os, "replace", replace)

    def _watching(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watching(descriptor: int, *arguments: Any) -> Any:
            inode = os.fstat(descriptor).st_ino
            places = (self._folder, *self._folder.rglob("*"))
            (place, *_) = (p for p in places if p.stat().st_ino == inode)
            # Less what makes the name of a temporary file unique.
            file = re.sub(r"\.[0-9a-f]{16}\.", ".", str(place.relative_to(self._folder)))
            self.calls.append((name, file))
            return call(descriptor, *arguments)

        return watching


def test_a_curve_is_durable_before_its_row_and_each_is_one_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ResultsWriter(path) as writer:
        watched = Watched(path.parent, monkeypatch)
        writer.append(result(1))
        writer.append(result(2, points=0))
    assert watched.calls == [
        ("write", "results.curves.csv"),
        ("fsync", "results.curves.csv"),
        ("write", "results.csv"),
        ("fsync", "results.csv"),
        ("write", "results.csv"),
        ("fsync", "results.csv"),
    ]


def test_a_new_or_rewritten_file_is_durable_before_its_name_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(path.parent, monkeypatch)
    replaced = [
        ("write", ".results.csv.tmp"),
        ("fsync", ".results.csv.tmp"),
        ("rename", "results.csv"),
        ("fsync", "."),
    ]
    with ResultsWriter(path) as writer:
        start = watched.calls.index(replaced[0])
        assert watched.calls[start : start + 4] == replaced
        writer.append(result(1, status="failed"))
    watched.calls.clear()
    ResultsWriter(path, retry_failed=True).close()
    start = watched.calls.index(replaced[0])
    assert watched.calls[start : start + 4] == replaced


def test_folders_that_are_created_are_durable_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(path.parent, monkeypatch)
    write(path.parent / "a" / "b" / "results.csv")
    assert {("fsync", "."), ("fsync", "a"), ("fsync", "a/b")} <= set(watched.calls)


def test_a_torn_line_is_durable_elsewhere_before_it_is_cut_off(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with write(path, result(1)).open("ab") as file:
        file.write(b"torn")
    watched = Watched(path.parent, monkeypatch)
    ResultsWriter(path).close()
    assert [call for call in watched.calls if call[1] != ".results.csv.lock"][:5] == [
        ("write", "results.csv.torn"),
        ("fsync", "results.csv.torn"),
        ("fsync", "."),
        ("ftruncate", "results.csv"),
        ("fsync", "results.csv"),
    ]


def test_what_a_killed_run_left_is_made_durable_before_it_counts(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, result(1))
    watched = Watched(path.parent, monkeypatch)
    ResultsWriter(path).close()
    synchronised = {name for call, name in watched.calls if call == "fsync"}
    assert synchronised == {"results.csv", "results.curves.csv", "."}


def failing_fsync(code: int, fails: Callable[[int], bool]) -> Callable[[int], None]:
    """An fsync as broken disks and odd file systems have it, which no test can bring along."""
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if fails(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    return failing


def test_a_row_that_the_disk_does_not_take_is_taken_back(path: Path) -> None:
    with ResultsWriter(path) as writer:
        writer.append(result(0))
        times = iter([False, True])  # the curve is taken, the row is not
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", failing_fsync(errno.EIO, lambda _: next(times, False)))
            with pytest.raises(ResultsError, match="input/output error; run the same command"):
                writer.append(result(1))
        assert_holds(path, 0)
        writer.append(result(1))
    assert_holds(path, 0, 1)


def test_a_file_system_that_cannot_synchronise_folders_is_accepted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing_fsync(errno.EINVAL, stat.S_ISDIR))
    write(path, result(0))
    assert_holds(path, 0)
    monkeypatch.setattr(os, "fsync", failing_fsync(errno.EIO, stat.S_ISDIR))
    with pytest.raises(ResultsError, match="input/output error"):
        ResultsWriter(path)


# Two at once


def test_a_second_run_is_refused_at_once_by_the_pid_of_the_first(path: Path) -> None:
    with start_appending(path, 1) as first:
        assert first.stdout is not None
        assert [first.stdout.readline() for _ in range(3)] == ["open\n", "0\n", "end\n"]
        link = path.with_name("link.csv")
        link.symlink_to(path)
        for name in (path, link):
            started = time.monotonic()
            with pytest.raises(ResultsError) as caught:
                ResultsWriter(name, overwrite=True)
            assert time.monotonic() - started < 1
            assert str(caught.value) == (
                f"{name} is being written by another run (process {first.pid}); wait for it to "
                "end, or give another results file with -o"
            )
        assert read_results(path).results == (result(0),)
        first.communicate("")
    write(path, result(1))
    assert_holds(path, 0, 1)
    assert not path.with_name(".results.csv.lock").exists()


def test_the_lock_ends_with_its_holder_though_its_children_live_on(path: Path) -> None:
    code = (
        "import subprocess, sys, time; from pathlib import Path\n"
        "from mnist_sweep.results.file import ResultsWriter\n"
        "writer = ResultsWriter(Path(sys.argv[1]))\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True); time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(ResultsError, match=f"process {holder.pid}"):
            ResultsWriter(path)
        holder.kill()
        holder.wait()
        assert path.with_name(".results.csv.lock").exists()  # a leftover, which blocks nobody
        os.kill(child, 0)
        write(path, result(0))
    finally:
        os.kill(child, signal.SIGKILL)
        holder.stdout.close()
    assert_holds(path, 0)


def test_a_lock_file_that_its_holder_removes_as_we_open_it_lets_nobody_in(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ResultsWriter(path)
    lock = fcntl.flock
    later: list[ResultsWriter] = []

    def lock_too_late(descriptor: int, operation: int) -> None:
        """Our file is open: now the first run ends, which removes it, and another one begins."""
        monkeypatch.setattr(fcntl, "flock", lock)
        first.close()
        later.append(ResultsWriter(path))
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_too_late)
    with pytest.raises(ResultsError, match="is being written"):
        ResultsWriter(path)
    later[0].close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")
def test_the_lock_file_that_a_killed_run_of_another_user_left_blocks_nobody(path: Path) -> None:
    path.parent.chmod(0o777)

    def killed() -> None:
        ResultsWriter(path)
        os.kill(os.getpid(), signal.SIGKILL)

    def another_user() -> None:
        os.setuid(65534)
        write(path, result(0))

    assert in_child(killed) == -signal.SIGKILL
    for file in (path, curves_path(path)):
        file.chmod(0o666)
    assert in_child(another_user) == 0
    assert_holds(path, 0)


def test_one_process_cannot_open_a_file_twice_either(path: Path) -> None:
    with (
        ResultsWriter(path),
        pytest.raises(ResultsError, match=f"process {os.getpid()}"),
    ):
        ResultsWriter(path)
    ResultsWriter(path).close()


def test_of_many_runs_that_come_and_go_there_is_one_at_a_time(path: Path) -> None:
    """Lock files are removed when a run ends: that must never let two in."""
    inside, most, wins = 0, 0, 0
    guard = threading.Lock()

    def come_and_go() -> None:
        nonlocal inside, most, wins
        for _ in range(40):
            with contextlib.suppress(ResultsError), ResultsWriter(path):
                with guard:
                    inside += 1
                    most = max(most, inside)
                    wins += 1
                time.sleep(0)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert wins >= 4


def test_reading_works_at_every_moment_of_a_run(path: Path) -> None:
    write(path)
    with start_appending(path, 300) as process:
        seen = 0
        while process.poll() is None and seen < 300:
            results = read_results(path).results
            assert results == tuple(result(seed) for seed in range(len(results)))
            assert len(results) >= seen
            seen = len(results)
        process.communicate("")
    assert_holds(path, *range(300))


@pytest.mark.parametrize("change", ["removed", "replaced", "appended", "cut"])
def test_a_file_that_something_else_changes_during_a_run_is_noticed(
    path: Path, change: str
) -> None:
    with ResultsWriter(path) as writer:
        writer.append(result(0))
        if change == "removed":
            path.unlink()
        elif change == "replaced":
            path.with_name("edited").write_bytes(path.read_bytes())
            path.with_name("edited").replace(path)
        elif change == "appended":
            path.write_bytes(path.read_bytes() + b"x")
        else:
            os.truncate(path, 3)
        with pytest.raises(ResultsError, match="was changed, moved or removed"):
            writer.append(result(1))
    assert b"\n" + result(1).trial.trial_id.encode() not in files_or_nothing(path)


def files_or_nothing(path: Path) -> bytes:
    return b"".join(p.read_bytes() for p in (path, curves_path(path)) if p.exists())


# No room, no right to write


def fill(path: Path) -> tuple[int, str]:
    """Append results until that fails: how many there were, and the error's message."""
    with ResultsWriter(path) as writer:
        for seed in range(10_000):
            try:
                writer.append(result(seed))
            except ResultsError as error:
                return seed, str(error)
    raise AssertionError("the disk was never full")


def assert_survives_a_full_disk(path: Path, reason: str) -> int:
    """Run ``fill`` where it runs out of room: the files are valid, the message is clear."""
    count, message = fill(path)
    safe = "1 trial is safe" if count == 1 else f"{count} trials are safe"
    assert message == (
        f"{path} cannot be written: {reason}; free some space and run the same command again: "
        f"{safe}"
    )
    assert_holds(path, *range(count))
    return count


@pytest.mark.parametrize("limit", range(3000, 4200, 37))
def test_a_write_that_is_cut_short_is_taken_back(path: Path, limit: int) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        count, message = fill(path)
        assert os.strerror(errno.EFBIG).lower() in message, message
        assert f"run the same command again: {count} trials are safe" in message
        os.write(kept, bytes([count]))

    kept = os.open(path.with_name("count"), os.O_RDWR | os.O_CREAT)
    assert in_child(work) == 0
    count = os.pread(kept, 1, 0)[0]
    os.close(kept)
    assert count >= 5
    assert_holds(path, *range(count))
    write(path, *map(result, range(count, count + 3)))
    assert_holds(path, *range(count + 3))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 blocks; only root can have one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting needs root; RLIMIT_FSIZE covers the same code")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_full_disk_is_one_clear_line_and_leaves_valid_files(small_disk: Path) -> None:
    path = small_disk / "results.csv"
    count = assert_survives_a_full_disk(path, os.strerror(errno.ENOSPC).replace("No", "no", 1))
    assert count > 50
    # Room for the small files that a run needs, but for no other row: nothing changes.
    before = files(path)
    with pytest.raises(ResultsError, match="free some space"):
        write(path, *map(result, range(count, count + 1000)))
    assert [now.startswith(old) for now, old in zip(files(path), before, strict=True)] == [True] * 2


def test_a_disk_that_is_full_at_the_start_leaves_the_file_as_it_was(small_disk: Path) -> None:
    path = small_disk / "results.csv"
    write(path, result(0, status="failed"), result(1))
    with path.open("ab") as file:
        file.write(b"torn")
    before = files(path)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 512)
    with pytest.raises(ResultsError, match="no space left on device; free some space"):
        ResultsWriter(path, retry_failed=True)
    assert files(path) == before
    filler.unlink()
    ResultsWriter(path, retry_failed=True).close()
    assert_holds(path, 1)


def test_a_folder_without_the_right_to_write_is_refused_before_anything(path: Path) -> None:
    write(path, result(0))
    folder = path.parent
    folder.chmod(0o555)
    try:

        def work() -> None:
            if os.getuid() == 0:  # to whom permissions do not apply
                os.setgid(65534)
                os.setuid(65534)
            for name in (path, folder / "new.csv", folder / "new" / "results.csv"):
                with pytest.raises(ResultsError, match=r"cannot be written: permission denied; "):
                    ResultsWriter(name)
            assert read_results(path).results == (result(0),)

        assert in_child(work) == 0
    finally:
        folder.chmod(0o755)
    assert sorted(p.name for p in folder.iterdir()) == ["results.csv", "results.curves.csv"]
