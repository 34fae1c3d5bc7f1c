"""Exported and saved models, the figures beside them, and digits that they are shown."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tinygrad import Tensor

import mnist_sweep as ms
from mnist_sweep.analysis.predictions import describe_ensemble, predictions
from mnist_sweep.analysis.sources import read_sources
from mnist_sweep.cli import main
from mnist_sweep.config import ACTIVATIONS, HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.errors import DataError, UserError
from mnist_sweep.export import net
from mnist_sweep.export.again import chosen, compared, located, with_seeds
from mnist_sweep.export.digits import read_digits
from mnist_sweep.export.model import TrainedModel, load_model
from mnist_sweep.files import new_folder
from mnist_sweep.plan import weight_bytes
from mnist_sweep.report import render_report
from mnist_sweep.results.file import ResultsWriter
from mnist_sweep.results.lines import spec_path
from mnist_sweep.training.net import initial_values
from mnist_sweep.trial import DatasetConfig, Trial
from tests.data_helpers import header
from tests.python_examples import PLAIN
from tests.results_helpers import result, write
from tests.runs import COMMAND, rows, wait_until, workers

DATA = DatasetConfig(train_size=600, test_size=300)
SPEC = """
dataset: {train_size: 600, test_size: 300}
base: {width: 16, batch_size: 50}
parameters: {lr: [1e-2, 1e-5]}
"""


def call(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in words])
    assert isinstance(end.value.code, int)
    return end.value.code, *capsys.readouterr()


def untrained(config: HPConfig) -> TrainedModel:
    values = initial_values(config, 10)
    trained = replace(result(), trial=Trial(config, DATA), weights=values)
    return TrainedModel.of(trained, load_dataset(DATA))


SESSION = """
import runpy, sys, threading
names = {}
def examples():
    names.update(runpy.run_path("examples.py"))

thread = threading.Thread(target=examples)
thread.start()
thread.join()
ms = names["ms"]
row, model = ms.train(ms.Trial(ms.HPConfig(width=16), ms.DatasetConfig(train_size=500)))
print("then", row.status, names["best"]["lr"], len(names["rows"]), bool(names["paths"]))
assert "tinygrad" not in sys.modules
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A folder in which the examples of the docs have run, in a thread of a prompt, and its words.

    They run a sweep of two trials and save their models.
    """
    folder = tmp_path_factory.mktemp("session")
    (folder / "sweep.yaml").write_text(SPEC)
    (folder / "examples.py").write_text(PLAIN)
    done = subprocess.run(
        [sys.executable, "-iq"], input=SESSION, cwd=folder, capture_output=True, text=True
    )
    return folder, done.stdout, done.stderr


@pytest.fixture(scope="module")
def swept(session: tuple[Path, str, str]) -> Path:
    """The folder of the sweep's results, and of an export of the best."""
    folder = session[0] / "results"
    words = ["export", "sweep.csv", "--seeds", "2"]
    done = subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "export.txt").write_text(done.stdout)
    return folder


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_each_activation_is_the_same_in_numpy(name: str) -> None:
    x = np.linspace(-200, 20, 500, dtype=np.float32)
    expected = ACTIVATIONS[name](Tensor(x)).numpy()
    with np.errstate(over="raise", invalid="raise"):
        ours = net.ACTIVATIONS[name](x)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", [HPConfig(width=8), HPConfig(model="cnn")], ids=["mlp", "cnn"])
def test_a_file_is_what_the_format_says_in_the_layout_of_pytorch(
    config: HPConfig, tmp_path: Path
) -> None:
    model = untrained(config)
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.content)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    about = json.loads(head.pop("__metadata__")["mnist_sweep"])
    assert HPConfig(**about["config"]) == config
    ends = [0, *(end for tensor in head.values() for end in tensor["data_offsets"])]
    assert ends[-1] == len(content) - 8 - length == weight_bytes(config)
    assert ends[::2] == ends[1::2] + ends[-1:] or ends[1::2] == ends[:-1:2]
    ours = initial_values(config, 10)
    assert set(head) == set(ours)
    for name, tensor in head.items():
        begin, end = tensor["data_offsets"]
        values = np.frombuffer(content[8 + length :][begin:end], "<f4").reshape(tensor["shape"])
        if name.startswith("conv") and values.ndim == 4:
            assert np.array_equal(values[1, 0, 2, 1], ours[name][2, 1, 0, 1])
        elif values.ndim == 2 and config.model == "mlp":
            assert np.array_equal(values, ours[name].T)
        elif values.ndim == 2:  # channel 5, row 1, column 2 of 3 x 3
            assert np.array_equal(values[:, 5 * 9 + 1 * 3 + 2], ours[name][(1 * 3 + 2) * 64 + 5])
        else:
            assert np.array_equal(values, ours[name])
    images = load_dataset(DATA).images[:3]
    read = load_model(path)
    assert np.array_equal(read.probabilities(images), model.probabilities(images))
    np.testing.assert_allclose(read.probabilities(images).sum(1), 1, rtol=1e-5)
    assert read.predict(images[0]).shape == (1,)
    assert read.predict(images[:0]).shape == (0,)
    with pytest.raises(ValueError, match="28, 28"):
        read.predict(np.zeros((784, 3)))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-4],
        lambda content: content[:40],
        lambda content: b"PK" + content,
        lambda content: content.replace(b"linear2.weight", b"linear9.weight"),
        lambda content: content.replace(b'\\"silu\\"', b'\\"none\\"'),
        lambda content: content.replace(b"mnist_sweep", b"mnist_sweeb"),
        lambda content: content.replace(b'"F32"', b'"F16"', 1),
        lambda content: content.replace(b'\\"depth\\": 2', b'\\"depth\\": 1'),
        lambda content: content[:-4] + np.float32(np.nan).tobytes(),
        lambda content: content.replace(b"[10, 8]", b"[9e9999]").replace(b"[8, 784]", b"[9" * 2),
        lambda content: content.replace(b'"shape": [8, 784]', b'"shape":[%d]' % 10**30, 1),
        lambda content: (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_what_is_no_model_is_one_line(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(damage(untrained(HPConfig(width=8)).content))
    with pytest.raises(UserError, match=r"x\.safetensors: no model") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_every_saved_model_predicts_as_its_row_says(swept: Path) -> None:
    dataset = load_dataset(DATA)
    table = rows(swept / "sweep.csv")
    assert len(table) == 2
    for row in table:
        model = load_model(swept / f"sweep.weights/{row['trial_id']}.safetensors")
        predicted = model.predict(dataset.images[dataset.test_rows])
        accuracy = (predicted == dataset.labels[dataset.test_rows]).mean()
        assert accuracy == pytest.approx(float(row["test_accuracy"]), abs=1e-9)
        assert model.about["row"]["trial_id"] == row["trial_id"]


def test_the_dry_run_says_how_much_is_saved_and_best_saves_the_best_so_far(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(SPEC.replace("1e-2, 1e-5", "1e-2, 1e-7"))
    words = ["run", tmp_path / "s.yaml", "-o", tmp_path / "s.csv", "--save-weights"]
    _, out, _ = call(*words, "--dry-run", capsys=capsys)
    assert f"s.csv, models of 0.1 MB at most in {tmp_path / 's.weights'}\n" in out
    code, _, error = call(*words, "--jobs", 1, capsys=capsys)
    assert code == 0, error
    best = max(rows(tmp_path / "s.csv"), key=lambda row: float(row["test_accuracy"]))
    saved = {path.stem for path in (tmp_path / "s.weights").iterdir()}
    assert best["trial_id"] in saved
    first, second = rows(tmp_path / "s.csv")
    assert saved == {first["trial_id"]} | ({second["trial_id"]} & {best["trial_id"]})
    shutil.rmtree(tmp_path / "s.weights")
    _, _, error = call(*words, capsys=capsys)
    assert "note: 2 trials already done: their models were not saved" in error
    (tmp_path / "s.weights").mkdir()
    ResultsWriter(tmp_path / "s.csv", overwrite=True).close()
    assert len([*tmp_path.glob("s.2*.weights")]) == 1
    assert not (tmp_path / "s.weights").exists()


def test_an_export_equals_its_row_and_says_what_it_gets_wrong(swept: Path) -> None:
    folder = swept / "sweep.model"
    first = next(row for row in rows(swept / "sweep.csv") if row["lr"] == "0.01")
    model = load_model(folder)
    saved = load_model(swept / f"sweep.weights/{first['trial_id']}.safetensors")
    for name, weight in saved.weights.items():
        assert np.array_equal(model.weights[name], weight)
    assert sorted(path.name for path in folder.iterdir()) == [
        "calibration.png",
        "confusion.png",
        "evaluation.txt",
        "mistakes.png",
        "model.json",
        "model.safetensors",
        "model_seed1.safetensors",
    ]
    text = (folder / "evaluation.txt").read_text()
    assert text.startswith(f"trial {first['trial_id']}, trained again, equal to its row\n")
    assert f"{100 * float(first['test_accuracy']):.2f} (" in text.splitlines()[2]
    assert "ensemble of 2 seeds" in text
    assert (swept / "export.txt").read_text().startswith(text)
    about = json.loads((folder / "model.json").read_text())
    assert about == model.about
    assert {about["row"][name] for name in ("sweep", "trial_id")} == {"sweep", first["trial_id"]}
    assert not [path for path in swept.iterdir() if path.name.startswith(".")]


def test_a_report_links_what_an_export_made(swept: Path) -> None:
    page = render_report(read_sources([swept / "sweep.csv"]), swept / "elsewhere")
    assert 'href="../sweep.model/mistakes.png"' in page
    assert "Trained model" not in render_report(read_sources([write(swept / "x.csv", result())]))


def test_a_folder_that_is_there_is_refused_or_kept_under_a_dated_name(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = call("export", swept / "sweep.csv", capsys=capsys)
    assert code == 2
    assert "sweep.model is there already; name another with -o, or give --overwrite" in error
    assert new_folder(tmp_path / "deep/x", {"a": b"1", "b": b"2"}) is None
    old = new_folder(tmp_path / "deep/x", {"a": b"3"})
    assert old is not None
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"x", old.name}
    assert (old / "a").read_bytes() == b"1"
    assert [path.read_bytes() for path in (tmp_path / "deep/x").iterdir()] == [b"3"]


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("", "has no name of its own"),
        ("..", "has no name of its own"),
        ("r.csv/model", "File exists"),
        ("r.csv", "r.csv is there already and is no export; name another folder"),
    ],
)
def test_a_folder_that_cannot_be_made_is_known_before_the_training(
    folder: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "r.csv", replace(result(), trial=Trial(HPConfig(width=8), DATA)))
    code, _, error = call("export", "r.csv", "-o", folder, "--overwrite", capsys=capsys)
    assert code == 2
    assert re.search(said, error)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".csv"] == []


def test_an_export_finds_its_data_by_the_spec_or_is_told_where(tmp_path: Path) -> None:
    data = DatasetConfig("bars", digest="0123456789ab")
    row = replace(result(), trial=Trial(HPConfig(), data))
    path = write(tmp_path / "r.csv", row)
    with pytest.raises(
        DataError, match=r"bars: no such folder.*bars \(0123456789ab\) is with --data"
    ):
        located(row, read_sources([path]), None)
    (tmp_path / "here").mkdir()
    for named in ("here", str(tmp_path / "here")):
        spec_path(path).write_text(f"dataset: {{name: bars, dir: '{named}'}}")
        found = located(row, read_sources([path]), None)
        assert found.trial.dataset.path == str(tmp_path / "here")
    assert found.trial.trial_id == row.trial.trial_id
    assert located(row, read_sources([path]), "/tmp").trial.dataset.path == "/tmp"
    assert located(result(), read_sources([path]), "/tmp") == result()


def test_a_row_is_chosen_by_rank_or_by_id(tmp_path: Path) -> None:
    several = [
        replace(result(seed=seed), trial=Trial(HPConfig(lr=lr, seed=seed)), test_accuracy=accuracy)
        for lr, seed, accuracy in ((1e-3, 4, 0.9), (1e-3, 2, 0.8), (1e-2, 0, 0.95))
    ]
    failed = replace(result(status="failed"), trial=Trial(HPConfig(seed=9)))
    sources = read_sources([write(tmp_path / "r.csv", *several, failed)])
    assert chosen(sources, 1, None).trial == several[2].trial
    second = chosen(sources, 2, None)
    assert second.trial == several[1].trial
    diverged = replace(second, trial=Trial(HPConfig(seed=0)), status="diverged")
    seeds = with_seeds(second, [*sources.results, diverged], 4)
    assert [t.config.seed for t in seeds] == [2, 4, 1, 3]
    assert chosen(sources, 1, several[0].trial.trial_id).trial == several[0].trial
    for rank, trial_id, text in (
        (3, None, "--rank 3: 2 configurations with a result; mnist-sweep top"),
        (1, "0" * 12, "is no trial of these results"),
        (1, failed.trial.trial_id, "is failed"),
    ):
        with pytest.raises(UserError, match=text):
            chosen(sources, rank, trial_id)
    with pytest.raises(UserError, match="--rank 1: 0 configurations"):
        chosen(read_sources([write(tmp_path / "none.csv")]), 1, None)
    rung, last = replace(several[2], stage="rung 1"), replace(several[0], stage="confirm")
    assert chosen(read_sources([write(tmp_path / "s.csv", rung, last)]), 1, None) == last
    cnn = replace(result(), trial=Trial(HPConfig(model="cnn")))
    with pytest.raises(UserError, match="--rank is for one study"):
        chosen(read_sources([write(tmp_path / "two.csv", several[0], cnn)]), 1, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"test_accuracy": 0.97}, "test_accuracy 0.97 here, 0.972 in the row"),
        ({"train_loss": 0.15}, "train_loss 0.15 here"),
        ({"val_accuracy": None}, ""),
        ({"train_loss": 0.51}, None),
        ({"test_accuracy": 0.96}, None),
        ({"steps": 11}, None),
        ({"parameters": 4}, None),
    ],
)
def test_a_repetition_is_equal_or_within_rounding_or_told(
    changes: dict[str, Any], said: str | None
) -> None:
    row = result(train_accuracy=0.97, test_accuracy=0.972, steps=10, parameters=5)
    again = replace(row, **changes)
    if said is None:
        with pytest.raises(UserError, match=r"than rounding explains: .*; was it, or the data"):
            compared(row, again)
    else:
        assert compared(row, again).startswith(said)
        assert bool(compared(row, again)) == bool(said)


def test_predictions_are_counted_as_by_hand() -> None:
    labels = np.array([0, 0, 1, 2, 2], np.uint8)
    shares = np.array([[0.9, 0.1, 0], [0.3, 0.7, 0], [0, 1, 0], [0.95, 0, 0.05], [0.1, 0, 0.9]])
    seen = predictions(labels, shares)
    assert seen.wrong.tolist() == [3, 1]
    assert seen.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]
    assert seen.calibration == [
        (0.7, 0.0, 1),
        (pytest.approx((0.9 + 1 + 0.95 + 0.9) / 4), 0.75, 4),
    ]
    assert seen.calibration_error == pytest.approx((0.7 + 4 * 0.1875) / 5)
    # A vote for 1 and one for 0 of the first image: 0 is the more probable.
    other = np.array([[0.4, 0.6, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    text = describe_ensemble(labels, [shares, other, shares])
    assert "of the majority and of each seed: 60.00, 60.00, 60.00, 60.00;" in text
    assert "of 3 images that a seed gets wrong all get 1 wrong" in text
    assert "majority and of each seed: 80.00," in describe_ensemble(labels, [shares, other])


def test_pictures_are_made_as_mnist_has_them(tmp_path: Path) -> None:
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 10:18] = 200
    path = tmp_path / "x.png"
    Image.fromarray(image).save(path)
    assert np.array_equal(read_digits(path)[0], image.reshape(1, 784))
    assert read_digits(path)[1] == ""
    large = np.kron(np.pad(image, ((0, 40), (30, 0))), np.ones((5, 5), np.uint8))
    for grey, mode, note in (
        (large, "L", "scaled to"),
        (255 - large, "L", "inverted, as it is dark on light; scaled to"),
        (large.astype(np.uint16) * 257, "I;16", "scaled to"),
    ):
        Image.frombytes(mode, grey.shape[::-1], grey.tobytes()).save(path)
        (fitted,), said = read_digits(path)
        assert said.startswith(note)
        assert np.array_equal(fitted.reshape(28, 28) > 100, image > 100), mode
    turned = Image.Exif()
    turned[0x0112] = 6  # as phones store what was upright
    Image.fromarray(np.rot90(large)).save(path, exif=turned)
    assert np.array_equal(read_digits(path)[0].reshape(28, 28) > 100, image > 100)
    ink = Image.new("RGBA", (56, 56))
    ink.paste("black", (20, 8, 36, 48))
    ink.save(path)
    assert np.array_equal(read_digits(path)[0].reshape(28, 28) > 100, image > 100)
    grain = 190 - 0.6 * large + np.random.default_rng(0).normal(0, 8, large.shape)
    for pixels in (grain.astype(np.uint8), large / 255, large * np.uint16(9)):
        Image.fromarray(pixels.astype(pixels.dtype.char.replace("d", "f"))).save(path, "TIFF")
        assert np.array_equal(read_digits(path)[0].reshape(28, 28) > 100, image > 100)
    idx = tmp_path / "images-idx3-ubyte"
    idx.write_bytes(header(2, 28, 28) + image.tobytes() * 2)
    assert np.array_equal(read_digits(idx)[0], np.stack([image.reshape(784)] * 2))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "no picture"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, "no picture"),
        (b"\0\0\x08\x01\0\0\0\x02ab", "no grey images"),
        (b"\0\0\x08\x03ab", "truncated"),
        (b"\x1f\x8bxx", "damaged gzip"),
        (b"P5 28 28 255 " + b"\x40" * 784, "nothing is drawn"),
    ],
)
def test_bad_pictures_are_one_line_each(content: bytes | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_digits(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_predict_goes_on_after_bad_files_and_needs_no_tinygrad(swept: Path) -> None:
    dataset = load_dataset(DATA)
    pictures = dataset.images[dataset.test_rows[:3]].reshape(-1, 28, 28)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(swept / f"{number}.png")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(swept / "empty.png")
    (swept / "tinygrad.py").write_text("raise SystemExit('tinygrad was imported')")
    words = ["sweep.model", "0.png", "none.png", "1.png", "empty.png", "2.png", "--format", "csv"]
    done = subprocess.run(
        [sys.executable, "-m", "mnist_sweep", "predict", *words],
        cwd=swept,
        env={**os.environ, "PYTHONPATH": str(swept), "PATH": "", "CC": ""},
        capture_output=True,
        text=True,
    )
    (swept / "tinygrad.py").unlink()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert "none.png" in done.stderr
    assert "empty.png: nothing is drawn there" in done.stderr
    table = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["file"] for row in table] == ["0.png", "1.png", "2.png"]
    model = load_model(swept / "sweep.model")
    assert [int(row["prediction"]) for row in table] == model.predict(pictures).tolist()
    shares = model.probabilities(pictures).max(1)
    np.testing.assert_allclose([float(row["confidence"]) for row in table], shares, rtol=1e-6)


def test_of_two_exports_at_once_the_slower_keeps_its_hands_off(swept: Path, tmp_path: Path) -> None:
    export = subprocess.Popen(
        [*COMMAND, "export", swept / "sweep.csv", "-o", tmp_path / "x"],
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: workers(export.pid))
    new_folder(tmp_path / "x", {"model.safetensors": b"the other's"})
    _, error = export.communicate(timeout=60)
    assert export.returncode == 2
    assert "x is there already; name another with -o" in error
    assert [path.name for path in tmp_path.rglob("*")] == ["x", "model.safetensors"]


def test_an_interrupted_export_leaves_nothing(swept: Path, tmp_path: Path) -> None:
    slow = Trial(HPConfig(width=64, epochs=300))
    write(tmp_path / "slow.csv", replace(result(), trial=slow))
    before = {path.name for path in tmp_path.iterdir()}
    export = subprocess.Popen(
        [*COMMAND, "export", "slow.csv"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: workers(export.pid))
    time.sleep(1)
    export.send_signal(signal.SIGINT)
    _, error = export.communicate(timeout=60)
    assert export.returncode == 130
    assert "interrupted; nothing is written. Again: mnist-sweep export slow.csv" in error
    assert {path.name for path in tmp_path.iterdir()} == before


def test_what_python_is_asked_for_in_error_is_said_before_anything_runs(tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    with pytest.raises(UserError, match=r"s\.yaml: no such file"):
        ms.run(spec)
    spec.write_text(SPEC)
    for options, said in (
        ({"weights": "every"}, "weights is 'every'; it may be best or all"),
        ({"output": tmp_path / "out"}, "out is no CSV file"),
        ({"jobs": -1}, "jobs is -1"),
    ):
        with pytest.raises(UserError, match=said):
            ms.run(spec, **options)
    assert [*tmp_path.iterdir()] == [spec]
    with pytest.raises(UserError, match="batch_size 601: larger than the training split"):
        ms.train(ms.Trial(HPConfig(batch_size=601), DATA))


def test_what_is_offered_is_listed() -> None:
    assert {"HPConfig", "load_spec", "run", "train"} < set(dir(ms))
    assert all(hasattr(ms, name) for name in dir(ms))


def test_importing_is_cheap_and_typed() -> None:
    program = "import sys, time; t = time.process_time(); import mnist_sweep;"
    program += "print(time.process_time() - t, sorted({'numpy', 'tinygrad'} & set(sys.modules)))"
    seconds, modules = min(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        .stdout.strip()
        .split(" ", 1)
        for _ in range(3)
    )
    assert float(seconds) < 0.05
    assert modules == "[]"


def test_the_examples_of_the_docs_run_in_a_thread_and_then_more_at_the_prompt(
    session: tuple[Path, str, str],
) -> None:
    _, out, error = session
    assert "then ok 0.01 2 True" in out, error
    assert "Traceback" not in error
    assert out.count("2 of 2 trials done") == 1
