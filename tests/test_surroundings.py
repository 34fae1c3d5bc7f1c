"""What a machine or a shell has broken is done without, with a note, or named as the cause."""

from __future__ import annotations

import argparse
import io
import os
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from tinygrad import helpers

from mnist_sweep import cache, progress, terminal
from mnist_sweep.cli import _command_again, main
from mnist_sweep.config import HPConfig
from mnist_sweep.devices import choose_device, cpu_quota, environment, find_compiler
from mnist_sweep.executors.interface import Settings
from mnist_sweep.executors.local import LocalExecutor
from mnist_sweep.figures.sheet import new_figure
from mnist_sweep.figures.style import save, styled
from mnist_sweep.metrics import TEST_ACCURACY
from mnist_sweep.plan import flops, plan
from mnist_sweep.progress import Progress
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests.in_process import InProcessExecutor
from tests.runs import COMMAND, rows

SPEC = """
dataset: {name: mnist, train_size: 1000, test_size: 500}
base: {width: 16, depth: 1, batch_size: 50}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of one trial, trained with everything in the surroundings broken at once."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "one.yaml").write_text(SPEC)
    (folder / "garbage.db").write_bytes(b"no database" * 1000)
    broken = {
        "HOME": "/dev/null",
        "XDG_CACHE_HOME": "/dev/null/cache",
        "CACHEDB": str(folder / "garbage.db"),
        "CC": "/bin/false",
        "PYTHONIOENCODING": "koi8-r:strict",
    }
    _shell("run one.yaml -o one.csv --jobs 1 <&- >&- 2>&-", folder, settings=broken)
    assert [row["status"] for row in rows(folder / "one.csv")] == ["ok"]
    return folder


def _shell(
    command: str,
    cwd: Path,
    code: int = 0,
    settings: Mapping[str, str] = os.environ,
    limit: str = "",
) -> tuple[str, str]:
    """Run ``mnist-sweep command`` in a shell, after ``limit``: its stdout and stderr."""
    done = subprocess.run(
        f"{limit} exec {' '.join(COMMAND)} {command}",
        shell=True,
        cwd=cwd,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


# Streams


@pytest.mark.parametrize("closed", ["1", "2", "1 2", "0 1 2"])
def test_a_closed_stream_is_nowhere_and_no_file_takes_its_place(
    closed: str, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from mnist_sweep.terminal import note, prepare_streams, show\n"
        "prepare_streams()\n"
        "with open('file', 'w') as file:\n"
        "    note('a note'); show('a table')\n"
        "    assert file.fileno() > 2\n"
    )
    redirected = " ".join(f"{number}>&-" for number in closed.split())
    command = f'exec {sys.executable} -c "$SCRIPT" {redirected}'
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if "1" in closed else "a table\n")
    assert done.stderr == ("" if "2" in closed else "mnist-sweep: note: a note\n")
    assert (tmp_path / "file").read_text() == ""


def test_notes_without_a_stderr_are_not_among_the_rows_of_a_table(done: Path) -> None:
    row = (done / "one.csv").read_text()
    (done / "twice.csv").write_text(row + row.splitlines()[1] + "\n")
    _, notes = _shell("top twice.csv --format csv", done)
    assert "note: " in notes
    table, _ = _shell("top twice.csv --format csv 2>&-", done)
    assert len(table.splitlines()) == 2
    _shell("top twice.csv >&-", done)
    _shell("top twice.csv 2>/dev/full", done)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("ascii", b"97 +- 1 r\xe9s.csv \\u7f51"),
        ("koi8-r", b"97 +- 1 r\xe9s.csv \\u7f51"),
        ("cp1252", b"97 \xb1 1 r\xe9s.csv \\u7f51"),
        ("utf-8", b"97 \xc2\xb1 1 r\xe9s.csv \xe7\xbd\x91"),
    ],
)
def test_no_encoding_refuses_a_character(
    encoding: str, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is no valid text comes out as the bytes that it is."""
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.prepare_streams()
    terminal.show("97 ± 1 r\udce9s.csv 网", end="")
    assert written.getvalue() == text


def test_names_that_are_no_text_are_drawn_and_reported(done: Path) -> None:
    name = os.fsdecode(b"r\xe9s")
    (done / f"{name}.csv").write_bytes((done / "one.csv").read_bytes())
    with pytest.raises(SystemExit) as end:
        main(["plot", str(done / f"{name}.csv"), "-o", str(done / "figures")])
    assert end.value.code == 2  # of a single trial there is nothing to draw
    with pytest.raises(SystemExit) as end:
        main(["report", str(done / f"{name}.csv")])
    assert end.value.code == 0


def test_a_command_in_a_thread_leaves_the_signals_alone(done: Path) -> None:
    codes: list[object] = []

    def run() -> None:
        with pytest.raises(SystemExit) as end:
            main(["run", str(done / "one.yaml"), "-o", str(done / "one.csv")])
        codes.append(end.value.code)
        with terminal.Stop() as stop:
            codes.append(stop.requested)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [0, False]


# matplotlib


@pytest.mark.parametrize("rc", [b"font.family: \xe9\xff\n", b"axes.grid: maybe\nbogus\n"])
def test_figures_see_no_settings_of_matplotlib(rc: bytes, tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(rc)
    script = (
        "import os, mnist_sweep.report\n"
        "import matplotlib\n"
        "assert matplotlib.get_backend() == 'agg'\n"
        "assert os.environ['MPLBACKEND'] == 'nonsense' and os.getcwd() == os.environ['HERE']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "MPLBACKEND": "nonsense",
            "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
            "MPLCONFIGDIR": "/dev/null",
            "HERE": str(tmp_path),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_glyphs_that_the_font_lacks_are_one_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with styled():
            for _ in range(2):
                save(new_figure("网格", "格子", ""), io.BytesIO(), "png")
    (warning,) = caught
    assert "boxes for 网格子" in str(warning.message)


# Caches, the compiler, cores


@pytest.fixture
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cache, "_LOCK_SECONDS", 0.1)
    cache.kernel_cache.cache_clear()
    yield
    cache.kernel_cache.cache_clear()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    "name", ["garbage", "text", "damaged", "locked", "folder", "text/below", "fifo", "/dev/null"]
)
def test_a_kernel_cache_that_cannot_be_written_is_replaced_by_ours(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "garbage").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with sqlite3.connect(tmp_path / "damaged") as database:
        database.execute("CREATE TABLE kernels (code PRIMARY KEY)")
        database.executemany("INSERT INTO kernels VALUES (?)", [(str(i) * 99,) for i in range(999)])
    database.close()
    with (tmp_path / "damaged").open("r+b") as file:
        file.seek(50_000)
        file.write(b"\xff" * 20_000)
    locked = sqlite3.connect(tmp_path / "locked", isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("CACHEDB", os.path.join(tmp_path, name))
    started = time.monotonic()
    path, note = cache.kernel_cache()
    assert time.monotonic() - started < 5
    assert path == tmp_path / "ours/kernels.db"
    assert note.startswith(f"{os.environ['CACHEDB']} cannot keep compiled kernels (")
    assert environment("CPU", None)["CACHEDB"] == str(path)
    locked.close()


@pytest.mark.usefixtures("_fresh")
def test_without_any_kernel_cache_kernels_are_compiled_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(tmp_path))
    monkeypatch.setenv("CACHEDB", "/dev/full")
    (tmp_path / "kernels.db").mkdir()
    assert cache.kernel_cache()[0] is None
    assert environment("CPU", None)["CACHELEVEL"] == "0"


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    "settings", [{"CACHEDB": "", "XDG_CACHE_HOME": "xdg"}, {"CACHEDB": "a.db"}]
)
def test_the_kernel_cache_is_an_absolute_path(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tinygrad would make a folder of the name of a file, and take an empty name for one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    path, note = cache.kernel_cache()
    assert path in (tmp_path / ".cache/tinygrad/cache.db", tmp_path / "a.db")
    assert note == ""


def test_a_kernel_cache_that_fails_later_costs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its disk is full by now."""
    full = sqlite3.connect(tmp_path / "full.db")
    full.execute("PRAGMA max_page_count = 1")
    monkeypatch.setattr(helpers, "_db_connection", full)
    monkeypatch.setattr(helpers, "_db_tables", set())
    monkeypatch.setattr(helpers.CACHELEVEL, "value", helpers.CACHELEVEL.value)
    few = DatasetConfig(train_size=100, test_size=100)
    trial = Trial(HPConfig(width=8, depth=1, batch_size=50), few)
    with InProcessExecutor().open(Settings("test", 1), lambda: False) as session:
        (result,) = session.run(plan([trial]))
    assert (result.status, result.error) == ("ok", "")
    assert helpers.CACHELEVEL.value == 0


def test_a_compiler_that_is_no_clang_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/bin/false")
    choice = choose_device("CPU")
    assert choice.notes[0].startswith("CC=/bin/false is no clang that works; ")


def test_doctor_and_run_agree_on_a_cpu_that_cannot_be_used(tmp_path: Path) -> None:
    """A compiler that passes the first look, and fails on what tinygrad gives it."""
    real = find_compiler()
    assert real is not None
    compiler = tmp_path / "clang"
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *-fno-ident*) exit 1;; esac\nexec {real.program} "$@"\n'
    )
    compiler.chmod(0o755)
    settings = {"CC": str(compiler), "CACHEDB": str(tmp_path / "fresh.db"), "DEV": ""}
    out, _ = _shell("doctor", tmp_path, 1, settings)
    assert "run takes    nothing: " in out


@pytest.mark.parametrize(
    ("limits", "cpus"),
    [
        ({"a/b": "150000 100000", "a": "max 100000"}, 1.5),
        ({"a/b": "max 100000", "a": "50000 100000", "": "1000 100000"}, 0.01),
        ({"a/b": "nonsense"}, os.cpu_count()),
        ({}, os.cpu_count()),
    ],
)
def test_the_time_of_a_control_group_counts(
    limits: dict[str, str], cpus: float, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/x\n0::/a/b\n")
    for group, text in limits.items():
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{text}\n")
    assert cpu_quota(tmp_path) == cpus


# Causes


def test_too_few_file_handles_are_named(done: Path) -> None:
    _, err = _shell("run one.yaml -o new.csv --jobs 4", done, 2, limit="ulimit -n 9;")
    assert "oo many open files" in err


def test_a_working_folder_that_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for arguments in (["run", "a.yaml"], ["top", "a.csv"], ["plot", "a.csv"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        err = capfd.readouterr().err
        assert (end.value.code, err.count("\n")) == (2, 1)
        assert "the working folder is gone" in err


def test_the_command_to_go_on_never_overwrites() -> None:
    arguments = argparse.Namespace(argv=["run", "a b.yaml", "--overwrite", "--retry-failed"])
    assert _command_again(arguments) == "mnist-sweep run 'a b.yaml' --retry-failed"
    assert _command_again(arguments, "--retry-failed") == _command_again(arguments)


# Progress

TRIAL = Trial(
    HPConfig(width=16, depth=1, batch_size=10), DatasetConfig(train_size=5000, test_size=500)
)


def test_a_session_knows_how_much_of_a_trial_is_done() -> None:
    seen = []

    def asked() -> bool:
        seen.append(session.under_way)
        return False

    with LocalExecutor(1, choose_device("CPU")).open(Settings("test", 1), asked) as session:
        (result,) = session.run(plan([TRIAL]))
    assert result.status == "ok"
    shares = {work / flops([TRIAL]) for work in seen}
    assert shares >= {0.0, 0.2, 0.4, 0.6, 0.8}


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """By work, with the best of the whole sweep from the first line on."""
    monkeypatch.setattr(progress, "FIRST_LINE", 0.0)
    long = replace(TRIAL, config=replace(TRIAL.config, epochs=3))
    said: list[str] = []
    earlier = [TrialResult("", TRIAL, "ok", test_accuracy=0.9)]
    shown = Progress(TEST_ACCURACY, earlier, said.append)
    shown.expect([TRIAL, long], 0, 0.0)
    shown.show(flops([TRIAL]) / 2)
    shown.add(TrialResult("", TRIAL, "ok", test_accuracy=0.8))
    shown.show(0.0)  # too soon
    monkeypatch.setattr(shown, "_next_line", 0.0)
    shown.show(0.0)
    shown.close()
    assert said[0] == "12% of the work done, 0 of 2 trials, best test accuracy 90.00 %"
    assert said[1].startswith("25% of the work done, 1 of 2 trials, best test accuracy 90.00 %, ")
    assert said[1].endswith(" left")
    assert len(said) == 2


def test_what_a_search_may_ask_for_later_is_work_to_come_and_its_stage_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "FIRST_LINE", 0.0)
    long = replace(TRIAL, config=replace(TRIAL.config, epochs=7))
    said: list[str] = []
    shown = Progress(TEST_ACCURACY, [], said.append)
    shown.expect([TRIAL], 3, flops([long] * 3))
    shown.add(TrialResult("", TRIAL, "ok", test_accuracy=0.8))
    shown.expect([long], 2, flops([TRIAL] * 2), "rung 2")
    shown.show(0.0)
    # One of 1 + 7 + 2.
    assert said == ["10% of the work done, rung 2: 1 of 4 trials, best test accuracy 80.00 %"]
