"""The command line as its users meet it: real processes, real training, exit codes, messages."""

import csv
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "configs" / "smoke.yaml"

#: A sweep of a few seconds a trial, so that a signal meets it in the middle.
SLOW = """
dataset: {name: mnist, train_size: 10000, test_size: 500}
base: {epochs: 8, width: 256, batch_size: 128}
seeds: 6
"""


def run(*arguments: object, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mnist_sweep", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke sweep has been run."""
    folder = tmp_path_factory.mktemp("smoke")
    done = run("run", SMOKE, "--device", "CPU", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 trials done (4 in this run), 0 diverged, 0 failed" in done.stdout
    return folder


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    spec = tmp_path / "slow.yaml"
    spec.write_text(SLOW)
    return spec


def test_the_smoke_sweep_learns(smoke: Path) -> None:
    best = max(float(row["test_accuracy"]) for row in rows(smoke / "results/smoke.csv"))
    assert best > 0.85


def test_every_trial_has_one_row_and_a_curve_that_ends_in_its_accuracy(smoke: Path) -> None:
    table = rows(smoke / "results/smoke.csv")
    curves = rows(smoke / "results/smoke.curves.csv")
    assert len({row["trial_id"] for row in table}) == len(table) == 4
    for row in table:
        last = [point for point in curves if point["trial_id"] == row["trial_id"]][-1]
        assert last["test_accuracy"] == row["test_accuracy"]
        assert last["step"] == row["steps"]
        assert row["status"] == "ok"


def test_running_again_runs_nothing_and_leaves_the_file_as_it_was(smoke: Path) -> None:
    before = (smoke / "results/smoke.csv").read_bytes()
    done = run("run", SMOKE, cwd=smoke)
    assert done.returncode == 0
    assert "4 of 4 trials done (0 in this run)" in done.stdout
    assert (smoke / "results/smoke.csv").read_bytes() == before


def test_a_larger_spec_runs_only_what_is_new(smoke: Path) -> None:
    output = smoke / "more.csv"
    output.write_bytes((smoke / "results/smoke.csv").read_bytes())
    done = run("run", SMOKE, "--set", "seeds=2", "--limit", "1", "-o", output, cwd=smoke)
    assert done.returncode == 0, done.stderr
    assert "(1 in this run)" in done.stdout
    assert rows(output)[:4] == rows(smoke / "results/smoke.csv")
    assert rows(output)[4]["seed"] == "1"


def test_a_row_is_reproduced_by_running_its_configuration_again(smoke: Path) -> None:
    row = rows(smoke / "results/smoke.csv")[-1]
    fields = ["batch_size", "lr", "opt", "width", "depth", "activation_fn", "lr_schedule", "epochs"]
    base = ", ".join(f"{name}: {row[name]}" for name in fields)
    splits = row["dataset"].split(";")[1:]
    dataset = ", ".join(["name: mnist", *(split.replace("=", ": ") for split in splits)])
    spec = smoke / "one.yaml"
    spec.write_text(f"dataset: {{{dataset}}}\nseeds: [{row['seed']}]\nbase: {{{base}}}\n")
    assert run("run", spec, "--jobs", "1", cwd=smoke).returncode == 0
    (again,) = rows(smoke / "results/one.csv")
    different = {"sweep", "train_seconds", "compile_seconds", "finished_at"}
    assert {k: v for k, v in again.items() if k not in different} == {
        k: v for k, v in row.items() if k not in different
    }


def test_plot_writes_figures_and_prints_their_paths(smoke: Path) -> None:
    done = run("plot", "results/smoke.csv", "-o", "figures", cwd=smoke)
    assert done.returncode == 0, done.stderr
    paths = [smoke / line for line in done.stdout.splitlines()]
    assert len(paths) >= 3
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_top_prints_the_ranking(smoke: Path) -> None:
    done = run("top", "results/smoke.csv", "-n", "2", cwd=smoke)
    assert done.returncode == 0, done.stderr
    assert "±" in done.stdout


def test_several_files_are_ranked_and_drawn_together_by_the_metric_asked_for(
    smoke: Path, tmp_path: Path
) -> None:
    text = (smoke / "results/smoke.csv").read_text()
    header, first, *_ = text.splitlines(keepends=True)
    (tmp_path / "a.csv").write_text(header + first.replace(",ok,", ",failed,"))
    (tmp_path / "b.csv").write_text(text)
    whole = run("top", "b.csv", "--by", "train_loss", cwd=tmp_path)
    assert "training loss" in whole.stdout.splitlines()[0]
    both = run("top", "a.csv", "b.csv", "--by", "train_loss", cwd=tmp_path)
    assert (both.returncode, both.stdout) == (0, whole.stdout)
    assert both.stderr.startswith("mnist-sweep: note: a.csv: left out 1 row of failed trials")
    drawn = run("plot", "a.csv", "b.csv", "--by", "train_loss", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert "plots/ranking.png" in drawn.stdout.splitlines()
    assert any(line.startswith("plots/train_loss_by_") for line in drawn.stdout.splitlines())
    # The spec that run leaves beside the rows says what ranks.
    (tmp_path / "b.spec.yaml").write_text("metric: {name: train_loss, goal: minimize}\n")
    assert run("top", "b.csv", cwd=tmp_path).stdout == whole.stdout


def test_top_gives_programs_what_they_can_read(smoke: Path) -> None:
    as_json = run("top", "results/smoke.csv", "-n", "2", "--format", "json", cwd=smoke)
    found = json.loads(as_json.stdout, parse_constant=pytest.fail)
    assert [record["rank"] for record in found] == [1, 2]
    as_csv = run("top", "results/smoke.csv", "-n", "2", "--format", "csv", cwd=smoke)
    read = list(csv.DictReader(as_csv.stdout.splitlines()))
    assert [float(row["mean"]) for row in read] == [record["mean"] for record in found]


def test_top_refuses_an_unknown_metric_in_one_line(smoke: Path) -> None:
    done = run("top", "results/smoke.csv", "--by", "test_acuracy", cwd=smoke)
    assert done.returncode == 2
    assert done.stderr.startswith("mnist-sweep: error: ")
    assert len(done.stderr.splitlines()) == 1


def test_report_writes_a_page_beside_the_results_and_prints_its_path(smoke: Path) -> None:
    done = run("report", "results/smoke.csv", cwd=smoke)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "results/smoke.html\n"
    page = smoke / "results/smoke.html"
    first = page.read_bytes()
    assert first.startswith(b"<!DOCTYPE html>\n<html")
    page.write_text("an older report")
    assert run("report", "results/smoke.csv", cwd=smoke).returncode == 0
    assert page.read_bytes() == first


def test_report_of_several_files_is_one_page(smoke: Path) -> None:
    (smoke / "other.csv").write_bytes((smoke / "results/smoke.csv").read_bytes())
    done = run("report", "results/smoke.csv", "other.csv", cwd=smoke)
    assert done.stdout == "results/report.html\n", done.stderr
    done = run("report", "results/smoke.csv", "other.csv", "-o", "new/all.html", cwd=smoke)
    assert (smoke / "new/all.html").read_bytes() == (smoke / "results/report.html").read_bytes()


def test_report_never_replaces_what_is_no_page(smoke: Path) -> None:
    before = (smoke / "results/smoke.csv").read_bytes()
    done = run("report", "results/smoke.csv", "-o", "results/smoke.csv", cwd=smoke)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no HTML file; name one, such as report.html" in done.stderr
    assert (smoke / "results/smoke.csv").read_bytes() == before
    (smoke / "folder.html").mkdir()
    done = run("report", "results/smoke.csv", "-o", "folder.html", cwd=smoke)
    assert done.returncode == 2
    assert re.fullmatch(
        r"mnist-sweep: error: folder\.html cannot be written: .+; .+ with -o\n", done.stderr
    )


def test_dry_run_prints_the_plan_of_the_full_grid_and_trains_nothing(tmp_path: Path) -> None:
    done = run("run", ROOT / "configs/mlp_full_grid.yaml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^to run +1,600$", done.stdout, re.MULTILINE)
    assert re.search(r"^cohorts +320,", done.stdout, re.MULTILINE)
    assert "TFLOP" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_dry_run_and_help_do_not_import_tinygrad_or_matplotlib(tmp_path: Path) -> None:
    for arguments in (["--help"], ["report", "--help"], ["run", str(SMOKE), "--dry-run"]):
        code = (
            "import sys\nfrom mnist_sweep.cli import main\n"
            f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code\n"
            "assert not {'tinygrad', 'matplotlib'} & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", ["run", "plot", "top", "report", "doctor"])
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    listing = run("--help", cwd=tmp_path)
    assert re.search(rf"^    {command} +\w", listing.stdout, re.MULTILINE)
    text = run(command, "--help", cwd=tmp_path)
    assert text.returncode == 0
    assert f"mnist-sweep {command}" in text.stdout


def test_the_readme_names_every_command_and_option() -> None:
    from mnist_sweep.cli import _parser

    readme = (ROOT / "README.md").read_text()
    commands = next(a for a in _parser()._actions if hasattr(a, "choices") and a.choices)
    assert commands.choices is not None
    for name, parser in dict(commands.choices).items():
        assert f"mnist-sweep {name}" in readme
        for action in parser._actions:
            for option in action.option_strings:
                if option.startswith("--") and option != "--help":
                    assert option in readme, f"{name} {option}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["fly"], "invalid choice"),
        (["run"], "SPEC"),
        (["run", "missing.yaml"], "missing.yaml"),
        (["run", SMOKE, "--jobs", "0"], "--jobs"),
        (["run", SMOKE, "--jobs", "many"], "--jobs"),
        (["run", SMOKE, "--device", "ABACUS"], "device ABACUS"),
        (["run", SMOKE, "--device", ""], "--device is empty"),
        (["run", SMOKE, "--overw"], "--overw"),
        (["run", SMOKE, "--address", "auto"], "--executor ray"),
        (["run", SMOKE, "--gpus-per-worker", "1"], "--executor ray"),
        (["run", SMOKE, "--executor", "ray", "--gpus-per-worker", "1.5"], "fraction of 1"),
        (["run", SMOKE, "--executor", "ray", "--gpus-per-worker", "nan"], "fraction of 1"),
        (["run", SMOKE, "--executor", "ray", "--address", "ray://a:1"], "expected HOST:PORT"),
        (["run", SMOKE, "--executor", "ray", "--address", ""], "expected HOST:PORT"),
        (
            ["run", SMOKE, "--executor", "ray", "--device", "CPU", "--gpus-per-worker", "1"],
            "device CPU takes no GPU",
        ),
        (
            ["run", SMOKE, "--executor", "ray", "--address", "a:1", "--device", ""],
            "--device is empty",
        ),
        (["doctor", "--address", "auto"], "--executor ray"),
        (["run", SMOKE, "--set", "lr"], "--set"),
        (["run", SMOKE, "--data-dir", "nowhere"], "nowhere"),
        (["run", SMOKE, "--set", "batch_size=60000", "--device", "CPU"], "batch_size 60000"),
        (["run", SMOKE, "-o", ".", "--device", "CPU"], "folder"),
        (["run", SMOKE, "-o", SMOKE, "--overwrite"], "the spec itself"),
        (["run", SMOKE, "--dry-run", "--data-dir", "nowhere"], "nowhere"),
        (["run", SMOKE, "--dry-run", "--set", "dataset.train_size=50"], "batch_size 64"),
        (["plot", "missing.csv"], "missing.csv"),
        (["top", "missing.csv"], "missing.csv"),
        (["report", "missing.csv"], "missing.csv"),
        (["report"], "RESULTS"),
    ],
)
def test_bad_input_is_one_line_of_error_and_exit_code_2(
    arguments: list[object], message: str, tmp_path: Path
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("mnist-sweep: error: ")
    assert message in done.stderr
    assert list(tmp_path.rglob("*.csv")) == []


def test_all_problems_of_a_spec_are_reported_at_once(tmp_path: Path) -> None:
    spec = tmp_path / "bad.yaml"
    spec.write_text("base: {lr: fast, epohcs: 2}\nseeds: 0\n")
    done = run("run", spec, cwd=tmp_path)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(f"mnist-sweep: error: {spec}:") for line in lines)
    assert "did you mean 'epochs'" in done.stderr


def test_doctor_says_what_run_would_take_and_why(tmp_path: Path) -> None:
    done = run("doctor", cwd=tmp_path, DEV="")
    assert done.returncode == 0, done.stderr
    for line in ("tinygrad", "compiler", "device", "run takes", "cache", "data set"):
        assert re.search(rf"^{line} ", done.stdout, re.MULTILINE), line


def test_without_a_compiler_doctor_and_run_name_both_ways_out(tmp_path: Path) -> None:
    # -S hides the installed packages, ziglang among them; an empty PATH hides clang.
    (tmp_path / "empty").mkdir()
    hidden = "import sys; sys.modules['ziglang'] = None; from mnist_sweep.cli import main; main()"
    environment = {**os.environ, "PATH": str(tmp_path / "empty"), "DEV": ""}
    environment.pop("CC", None)
    for arguments, code in ((["doctor"], 1), (["run", str(SMOKE)], 2)):
        done = subprocess.run(
            [sys.executable, "-c", hidden, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        assert "install it" in done.stdout + done.stderr
        assert "mnist-sweep[cpu]" in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["run", str(SMOKE), "--executor", "ray"], ["doctor", "--executor", "ray"]]
)
def test_without_ray_the_error_names_the_extra(tmp_path: Path, arguments: list[str]) -> None:
    hidden = "import sys; sys.modules['ray'] = None; from mnist_sweep.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", hidden, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "mnist-sweep: error: --executor ray needs Ray: pip install 'mnist-sweep[ray]'\n"
    )
    assert list(tmp_path.rglob("*.csv")) == []


def _heed_signals() -> None:
    """A test run in the background inherits that Ctrl-C is ignored; a user's run does not."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _start(spec: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mnist_sweep", "run", str(spec), *arguments],
        cwd=spec.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_signals,
        env=env,
    )


def _workers(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"mnist_sweep.executors.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _wait_for_rows(path: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or len(path.read_text().splitlines()) < count + 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_run_in_good_order_and_the_same_command_goes_on(
    slow: Path, number: signal.Signals
) -> None:
    output = slow.parent / "results" / "slow.csv"
    process = _start(slow, "--jobs", "2")
    _wait_for_rows(output, 1)
    process.send_signal(number)
    asked = time.monotonic()
    out, err = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert f"To go on: mnist-sweep run {slow} --jobs 2" in err
    assert "Traceback" not in err
    saved = rows(output)
    assert 1 <= len(saved) < 6
    done = run("run", slow, "--jobs", "2", cwd=slow.parent)
    assert done.returncode == 0
    finished = rows(output)
    assert finished[: len(saved)] == saved
    assert sorted(row["seed"] for row in finished) == ["0", "1", "2", "3", "4", "5"]


def test_a_killed_run_loses_no_finished_trial_and_is_continued(slow: Path) -> None:
    output = slow.parent / "results" / "slow.csv"
    process = _start(slow, "--jobs", "2")
    _wait_for_rows(output, 2)
    process.kill()
    process.communicate()
    saved = rows(output)
    assert run("run", slow, cwd=slow.parent).returncode == 0
    finished = rows(output)
    assert finished[: len(saved)] == saved
    assert sorted(row["seed"] for row in finished) == ["0", "1", "2", "3", "4", "5"]


def test_a_second_run_on_the_same_file_is_refused_at_once(slow: Path) -> None:
    first = _start(slow)
    _wait_for_rows(slow.parent / "results" / "slow.csv", 0)
    second = run("run", slow, cwd=slow.parent)
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert run("top", "results/slow.csv", cwd=slow.parent).returncode == 0  # reading is free
    first.send_signal(signal.SIGINT)
    first.communicate()


def test_ctrl_c_twice_ends_the_run_at_once_and_leaves_no_worker(slow: Path) -> None:
    process = _start(slow, "--jobs", "2")
    _wait_for_rows(slow.parent / "results" / "slow.csv", 0)
    time.sleep(2)
    workers = _workers(process.pid)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=2)
    assert process.returncode == 130
    assert "Traceback" not in err
    _wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_a_trial_that_kills_its_worker_twice_fails_alone_and_can_be_run_again(slow: Path) -> None:
    output = slow.parent / "results" / "slow.csv"
    process = _start(slow, "--jobs", "1", "--set", "seeds=2")
    killed: list[int] = []
    while process.poll() is None:
        for pid in set(_workers(process.pid)) - set(killed):
            # The first trial's worker, and that of its second try after the other trial.
            if not killed or len(rows(output)) == 1:
                time.sleep(2.5)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        time.sleep(0.05)
    out, err = process.communicate()
    assert len(killed) == 2
    assert process.returncode == 1
    assert "2 of 2 trials done (2 in this run), 0 diverged, 1 failed" in out
    assert "--retry-failed" in err
    by_status = {row["status"]: row for row in rows(output)}
    assert sorted(by_status) == ["failed", "ok"]
    assert "SIGKILL" in by_status["failed"]["error"]

    assert run("run", slow, "--set", "seeds=2", cwd=slow.parent).returncode == 1  # not run again
    assert rows(output)[1] == by_status["failed"]
    again = run("run", slow, "--set", "seeds=2", "--retry-failed", cwd=slow.parent)
    assert again.returncode == 0, again.stderr
    assert [row["status"] for row in rows(output)] == ["ok", "ok"]
    assert by_status["ok"] in rows(output)


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    spec, output = tmp_path / "smoke.yaml", tmp_path / "results" / "smoke.csv"
    spec.write_text(SMOKE.read_text())
    # A measurement of coverage writes files as well, and more than fits.
    process = _start(spec, env={k: v for k, v in os.environ.items() if "COVERAGE" not in k})
    _wait_until(lambda: bool(_workers(process.pid)))
    room = output.stat().st_size + 100  # not enough for a row
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("mnist-sweep: error: ")
    assert "free some space and run the same command again" in err
    assert rows(output) == []
    done = run("run", spec, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(rows(output)) == 4


def test_overwriting_keeps_the_old_file_under_a_dated_name(smoke: Path, tmp_path: Path) -> None:
    output = tmp_path / "old.csv"
    old = (smoke / "results/smoke.csv").read_bytes()
    output.write_bytes(old)
    done = run("run", SMOKE, "-o", output, "--overwrite", "--limit", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(rows(output)) == 1
    (kept,) = tmp_path.glob("old.2*.csv")
    assert kept.read_bytes() == old


def test_rows_made_on_another_device_or_version_are_pointed_out(
    smoke: Path, tmp_path: Path
) -> None:
    output = tmp_path / "mixed.csv"
    text = (smoke / "results/smoke.csv").read_text().replace(",CPU,0.14", ",CUDA,0.13")
    output.write_text(text)
    done = run("run", SMOKE, "-o", output, cwd=tmp_path)
    assert done.returncode == 0
    assert "rows made with device CUDA; this run uses CPU" in done.stderr
    assert "rows made with tinygrad 0.13" in done.stderr


def test_a_full_disk_under_stdout_is_one_line(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mnist_sweep", "run", str(SMOKE), "--dry-run"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "mnist-sweep: error: standard output: No space left on device\n"


def test_the_users_settings_of_tinygrad_do_not_change_a_row(smoke: Path, tmp_path: Path) -> None:
    settings = {"DEFAULT_FLOAT": "half", "JIT": "0", "NUM_CPU_THREADS": "7", "DEBUG": "2"}
    output = tmp_path / "again.csv"
    done = run("run", SMOKE, "-o", output, "--limit", "2", cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    before = {row["trial_id"]: row["train_loss"] for row in rows(smoke / "results/smoke.csv")}
    for row in rows(output):
        assert row["train_loss"] == before[row["trial_id"]]


def test_a_compiler_without_the_fast_kernels_trains_with_a_note(tmp_path: Path) -> None:
    compiler = tmp_path / "old-clang"
    real = os.environ["CC"]
    compiler.write_text(f'#!/bin/sh\nexec {real} -D__builtin_elementwise_max=missing "$@"\n')
    compiler.chmod(0o755)
    # tinygrad's cache would hand out what the real compiler made before.
    settings = {"CC": str(compiler), "CACHEDB": str(tmp_path / "cache.db")}
    done = run("run", SMOKE, "--limit", "1", "--jobs", "1", cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot build the fast kernels") == 1
    assert rows(tmp_path / "results/smoke.csv")[0]["status"] == "ok"


def test_dry_run_heeds_limit_and_retry_failed(smoke: Path, tmp_path: Path) -> None:
    output = tmp_path / "failed.csv"
    output.write_text((smoke / "results/smoke.csv").read_text().replace(",ok,", ",failed,", 1))
    for options, count in ([], "0"), (["--retry-failed"], "1"), (["--overwrite"], "4"):
        done = run("run", SMOKE, "-o", output, "--dry-run", *options, cwd=tmp_path)
        assert re.search(rf"^to run +{count}$", done.stdout, re.MULTILINE), done.stdout
    done = run("run", SMOKE, "--dry-run", "--limit", "3", cwd=tmp_path)
    assert re.search(r"^to run +3$", done.stdout, re.MULTILINE)


def test_a_closed_pipe_does_not_hide_that_trials_failed(smoke: Path, tmp_path: Path) -> None:
    output = tmp_path / "failed.csv"
    output.write_text((smoke / "results/smoke.csv").read_text().replace(",ok,", ",failed,", 1))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "mnist_sweep", "run", str(SMOKE), "-o", str(output)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_a_reader_that_closes_its_pipe_costs_nothing(smoke: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m mnist_sweep top results/smoke.csv | true",
        shell=True,
        cwd=smoke,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
