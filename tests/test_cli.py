"""The command line as its users meet it: real processes, real training, exit codes, messages."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_sweep.cli import main
from mnist_sweep.metrics import METRICS
from mnist_sweep.runner import best_of_file
from tests.runs import COMMAND, rows

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "configs" / "smoke.yaml"


def run(*arguments: object, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke sweep has been run."""
    folder = tmp_path_factory.mktemp("smoke")
    done = run("run", SMOKE, "--device", "CPU", cwd=folder)
    assert done.returncode == 0, done.stderr
    counts, best = done.stdout.splitlines()
    assert counts == "4 of 4 trials done (4 in this run), 0 diverged, 0 failed: results/smoke.csv"
    winner = r"best: lr .*: test accuracy [\d.]+ ± [\d.]+ % \(1 seed\); to see more: "
    assert re.fullmatch(winner + "mnist-sweep report results/smoke.csv", best)
    return folder


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
    again = f"mnist-sweep run {SMOKE} --set seeds=2 --limit 1 -o {output}"
    assert done.stdout.endswith(f"; 3 trials left; to go on: {again}\n")
    assert rows(output)[:4] == rows(smoke / "results/smoke.csv")
    assert rows(output)[4]["seed"] == "1"


@pytest.fixture(scope="module")
def again(smoke: Path) -> Path:
    """The last row of the smoke sweep in a spec of its own, run over a copy of the whole sweep's
    results by a user who has settings of tinygrad."""
    row = rows(smoke / "results/smoke.csv")[-1]
    fields = ["batch_size", "lr", "opt", "width", "depth", "activation_fn", "lr_schedule", "epochs"]
    base = ", ".join(f"{name}: {row[name]}" for name in fields)
    splits = row["dataset"].split(";")[1:]
    dataset = ", ".join(["name: mnist", *(split.replace("=", ": ") for split in splits)])
    (smoke / "one").mkdir()
    spec, output = smoke / "one/one.yaml", smoke / "one/one.csv"
    spec.write_text(f"dataset: {{{dataset}}}\nseeds: [{row['seed']}]\nbase: {{{base}}}\n")
    output.write_bytes((smoke / "results/smoke.csv").read_bytes())
    settings = {"DEFAULT_FLOAT": "half", "JIT": "0", "NUM_CPU_THREADS": "7", "DEBUG": "2"}
    arguments = (spec, "-o", output, "--jobs", "1", "--overwrite")
    done = run("run", *arguments, cwd=smoke, **settings)
    assert done.returncode == 0, done.stderr
    return output


def test_a_row_is_reproduced_whatever_the_user_has_set_for_tinygrad(
    smoke: Path, again: Path
) -> None:
    different = {"sweep", "train_seconds", "compile_seconds", "finished_at"}
    first, second = (
        {name: value for name, value in row.items() if name not in different}
        for row in (rows(smoke / "results/smoke.csv")[-1], rows(again)[-1])
    )
    assert first == second


def test_overwriting_keeps_the_old_file_under_a_dated_name(smoke: Path, again: Path) -> None:
    assert len(rows(again)) == 1
    (kept,) = (path for path in again.parent.glob("one.2*.csv") if ".curves" not in path.name)
    assert kept.read_bytes() == (smoke / "results/smoke.csv").read_bytes()


def test_plot_writes_figures_and_prints_their_paths(smoke: Path) -> None:
    done = run("plot", "results/smoke.csv", "-o", "figures", cwd=smoke)
    assert done.returncode == 0, done.stderr
    paths = [smoke / line for line in done.stdout.splitlines()]
    assert len(paths) >= 3
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG")
    refused = run("plot", "results/smoke.csv", "-o", "results/smoke.csv", cwd=smoke)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is a file; name a folder" in refused.stderr
    assert re.fullmatch(r"mnist-sweep: note: left out: \d figures, -v says why\n", done.stderr)


def test_plot_draws_the_figures_that_are_named_alone(smoke: Path) -> None:
    asked = ["--only", "ranking, importance", "--only", "ranking", "--style", "paper"]
    done = run("plot", "results/smoke.csv", "-o", "named", *asked, "--format", "svg", cwd=smoke)
    assert done.stdout.splitlines() == ["named/importance.svg", "named/ranking.svg"], done.stderr
    wrong = run("plot", "results/smoke.csv", "--only", "", cwd=smoke)
    assert wrong.returncode == 2
    assert "no figure here is called ''; there are" in wrong.stderr


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


def test_a_sweep_of_layers_that_a_validation_loss_ranks(tmp_path: Path) -> None:
    (tmp_path / "layers.yaml").write_text(
        "dataset: {name: mnist, train_size: 300, validation_size: 100, test_size: 100}\n"
        "seeds: 2\nevals_per_epoch: 2\nmetric: {name: val_loss, goal: minimize}\n"
        "base: {batch_size: 20}\nparameters: {width: [12, 12-8-6]}\n"
    )
    done = run("run", "layers.yaml", "--device", "CPU", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^best: .*width 12.*: validation loss [\d.]+ ± ", done.stdout, re.MULTILINE)
    means = {"12": 0.0, "12-8-6": 0.0}
    for row in rows(tmp_path / "results/layers.csv"):
        means[row["width"]] += float(row["val_loss"]) / 2
    top = run("top", "results/layers.csv", "--format", "json", cwd=tmp_path)
    records = json.loads(top.stdout)
    assert [str(record["width"]) for record in records] == sorted(means, key=lambda w: means[w])
    assert [record["mean"] for record in records] == pytest.approx(sorted(means.values()))
    assert {record["metric"] for record in records} == {"val_loss"}
    drawn = run("plot", "results/layers.csv", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert {"results/layers/curves.png", "results/layers/val_loss_by_width.png"} <= {
        *drawn.stdout.splitlines()
    }
    page = run("report", "results/layers.csv", "-o", "report.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert "lowest mean of 2 configurations" in (tmp_path / "report.html").read_text()
    (best,) = best_of_file(tmp_path / "results/layers.csv", 1, METRICS["val_loss"])
    assert str(best.width) == min(means, key=lambda w: means[w])


def test_top_gives_programs_what_they_can_read(smoke: Path) -> None:
    as_json = run("top", "results/smoke.csv", "-n", "2", "--format", "json", cwd=smoke)
    records = json.loads(as_json.stdout, parse_constant=pytest.fail)
    assert [record["rank"] for record in records] == [1, 2]
    as_csv = run("top", "results/smoke.csv", "-n", "2", "--format", "csv", cwd=smoke)
    read = list(csv.DictReader(as_csv.stdout.splitlines()))
    assert [float(row["mean"]) for row in read] == [record["mean"] for record in records]


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
    header, *lines = (smoke / "results/smoke.csv").read_text().splitlines(keepends=True)
    (smoke / "parts").mkdir()
    for name, line in zip(("one", "two"), lines, strict=False):
        (smoke / f"parts/{name}.csv").write_text(header + line)
    done = run("report", "parts/one.csv", "parts/two.csv", cwd=smoke)
    assert done.stdout == "parts/report.html\n", done.stderr
    page = (smoke / "parts/report.html").read_text()
    assert "2 trials of 2 configurations" in page
    done = run("report", "parts/one.csv", "parts/two.csv", "-o", "new/all.html", cwd=smoke)
    assert (smoke / "new/all.html").read_text() == page


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
    done = run("run", SMOKE, "--dry-run", "--device", "CPU", "--jobs", "999", cwd=tmp_path)
    assert re.search("^note +are 999 workers meant for the ", done.stdout, re.MULTILINE)
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
        (
            ["run", SMOKE, "--set", "batch_size=60000", "--device", "CPU"],
            "6,000 images to train on are fewer than batch_size 60,000",
        ),
        (["run", SMOKE, "-o", ".", "--device", "CPU"], "folder"),
        (["run", SMOKE, "-o", SMOKE, "--overwrite"], "the spec itself"),
        (["run", SMOKE, "-o", "out"], "-o out/smoke.csv; for a file: -o out.csv"),
        (["run", SMOKE, "-o", "out.txt", "--dry-run"], "-o out.txt/smoke.csv"),
        (["run", SMOKE, "--dry-run", "--device", "ABACUS"], "device ABACUS"),
        (["run", SMOKE, "--dry-run", "--device", "CPU:ABACUS"], "device CPU:ABACUS"),
        (["plot", "."], "folder"),
        (["run", SMOKE, "--dry-run", "--data-dir", "nowhere"], "nowhere"),
        (["run", SMOKE, "--dry-run", "--set", "dataset.train_size=50"], "batch_size 64"),
        (["plot", "missing.csv"], "missing.csv"),
        (["top", "missing.csv"], "missing.csv"),
        (["report", "missing.csv"], "missing.csv"),
        (["report"], "RESULTS"),
    ],
)
def test_bad_input_is_one_line_of_error_and_exit_code_2(
    arguments: list[object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert (end.value.code, out) == (2, "")
    assert len(err.splitlines()) == 1, err
    assert err.startswith("mnist-sweep: error: ")
    assert message in err
    assert list(tmp_path.rglob("*.csv")) == []


def test_a_run_without_time_for_a_trial_says_what_is_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run", str(SMOKE), "-o", str(tmp_path / "out.csv"), "--time", "0.1s"])
    out, err = capfd.readouterr()
    assert (end.value.code, "Traceback" in err) == (0, False)
    assert re.search(r"^0 of \d+ trials done .*\n\d+ trials left; to go on: mnist-sweep", out)


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
            [*COMMAND, "run", str(SMOKE), "--dry-run"],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "mnist-sweep: error: standard output: No space left on device\n"


def test_a_compiler_without_the_fast_kernels_trains_with_a_note(tmp_path: Path) -> None:
    compiler = tmp_path / "old-clang"
    real = os.environ["CC"]
    compiler.write_text(f'#!/bin/sh\nexec {real} -D__builtin_elementwise_max=missing "$@"\n')
    compiler.chmod(0o755)
    # tinygrad's cache would hand out what the real compiler made before.
    settings = {"CC": str(compiler), "CACHEDB": str(tmp_path / "cache.db")}
    few = ("--limit", "1", "--jobs", "1", "--set", "base.depth=1")
    done = run("run", SMOKE, *few, cwd=tmp_path, **settings)
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
    command = [*COMMAND, "run", str(SMOKE), "-o", str(output)]
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
