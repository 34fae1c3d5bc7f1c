"""The promises of a file that is replaced: whole, durable, and by as many writers as like.

Processes are really killed in the middle of writing.
"""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnist_sweep.files import make_folder, replace_file

SIZE = 200_000

#: A program: replace FILE by so many equal letters again and again, or N times if given; print a
#: line for each time that it was done.
WRITE = f"""
import sys
from itertools import count
from pathlib import Path
from mnist_sweep.files import replace_file
path, letter = Path(sys.argv[1]), sys.argv[2].encode()
for _ in range(int(sys.argv[3])) if sys.argv[3:] else count():
    replace_file(path, letter * {SIZE})
    print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file's name with what a pattern of names could take for more than a letter."""
    return tmp_path / "re[po]rt*.html"


def start_writing(path: Path, letter: str, *times: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITE, str(path), letter, *map(str, times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)


def assert_whole(path: Path) -> None:
    content = path.read_bytes()
    assert len(content) == SIZE
    assert set(content) in ({ord("a")}, {ord("b")})


def test_an_error_names_the_file_and_leaves_it(path: Path) -> None:
    replace_file(path, b"a")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(str(path))):
            replace_file(path, b"b" * 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.read_bytes() for p in path.parent.iterdir()] == [b"a"]


def test_two_writers_of_one_file_do_not_disturb_each_other_or_its_readers(path: Path) -> None:
    replace_file(path, b"a" * SIZE)
    writers = [start_writing(path, letter, 300) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        assert_whole(path)
    for writer in writers:
        output, errors = writer.communicate()
        assert (writer.returncode, errors) == (0, "")
        assert output.count("done") == 300
    assert_whole(path)
    assert list(path.parent.iterdir()) == [path]


def test_kills_leave_the_file_whole_and_the_other_writer_alone(path: Path) -> None:
    """What the killed leave is taken away by the one that lives, and its own files never are."""
    rng = random.Random(1)
    with start_writing(path, "a") as living:
        assert living.stdout is not None
        assert living.stdout.readline() == "done\n"
        kills = 0
        most = 0
        while kills < 40:
            with start_writing(path, "b") as killed:
                assert killed.stdout is not None
                assert killed.stdout.readline() == "done\n"
                time.sleep(rng.uniform(0, 0.02))
                killed.kill()
                assert killed.communicate()[1] == ""
            kills += 1
            most = max(most, len(list(path.parent.iterdir())))
            assert_whole(path)
        living.kill()
        output, errors = living.communicate()
    assert errors == ""
    assert output.count("done") > 40
    # The file, a temporary one of each writer, and one that was left just now.
    assert most <= 4
    replace_file(path, b"a" * SIZE)
    assert list(path.parent.iterdir()) == [path]


def killed_before(call: str, path: Path, times: int) -> None:
    """Replace ``path`` in a process that is killed at its call number ``times`` of ``os.call``."""
    child = os.fork()
    if not child:
        original, left = getattr(os, call), [times]

        def killing(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(os, call, killing)
        replace_file(path, b"new")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_what_a_killed_writer_left_is_taken_away_and_nothing_else_is(path: Path, call: str) -> None:
    replace_file(path, b"old")
    others = {path.with_name(name) for name in (f".{path.name}.tmp", f".{path.name}.my.tmp")}
    others |= {path.with_name(".rep.html.0123456789abcdef.tmp"), path.with_name("0123.tmp")}
    for other in others:
        other.touch()
    killed_before(call, path, 1)
    assert path.read_bytes() == b"old"
    assert len(list(path.parent.iterdir())) == len(others) + 2
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert set(path.parent.iterdir()) == {path, *others}


def test_the_temporary_file_of_a_writer_that_is_stopped_stays(path: Path) -> None:
    child = os.fork()
    if not child:
        write = os.write

        def stopping(*arguments: object) -> object:
            os.kill(os.getpid(), signal.SIGSTOP)
            return write(*arguments)  # type: ignore[arg-type]

        os.write = stopping  # type: ignore[assignment]
        replace_file(path, b"of the stopped one")
        os._exit(0)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    try:
        replace_file(path, b"of another")
        assert len(list(path.parent.iterdir())) == 2
    finally:
        os.kill(child, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == b"of the stopped one"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_keeps_what_was_there_and_leaves_no_other_file(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        replace_file(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_permissions_are_kept_or_given_and_else_the_usual(path: Path) -> None:
    def permissions() -> int:
        return stat.S_IMODE(path.stat().st_mode)

    mask = os.umask(0o027)
    try:
        replace_file(path, b"something longer")
        assert permissions() == 0o640
        path.chmod(0o404)
        replace_file(path, b"new")
        assert (permissions(), path.read_bytes()) == (0o404, b"new")
        replace_file(path, b"new", mode=0o755)
        assert permissions() == 0o755
        path.unlink()
        replace_file(path, b"new", mode=0o600)
        assert permissions() == 0o600
    finally:
        os.umask(mask)


def test_a_file_system_without_locks_is_accepted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr("mnist_sweep.files.lock", refused)
    replace_file(path, b"new")
    assert list(path.parent.iterdir()) == [path]
    # Whether anyone uses one cannot be told, so it stays.
    left = path.with_name(f".{path.name}.0123456789abcdef.tmp")
    left.touch()
    replace_file(path, b"newer")
    assert set(path.parent.iterdir()) == {path, left}


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
