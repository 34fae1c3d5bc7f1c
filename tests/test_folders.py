"""Data sets as their makers and loaders leave them: read, or refused with what they are."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import identified, load_dataset
from mnist_sweep.data.idx import FILE_NAMES, idx_header
from mnist_sweep.errors import DataError
from mnist_sweep.kernels import csource
from mnist_sweep.plan import shape_of
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests.data_helpers import (
    SMALL,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    idx_files,
    write_folder,
)  # fmt: skip

FILES = idx_files()


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """The small data set as Keras names its arrays."""
    names = ("x_train", "y_train", "x_test", "y_test")
    values = [np.frombuffer(FILES[name], np.uint8) for name in FILE_NAMES]
    x, y = (16, (-1, 28, 28)), (8, (-1,))
    return {n: v[s:].reshape(d) for n, v, (s, d) in zip(names, values, (x, y, x, y), strict=True)}


def npz(**changed: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **(arrays() | changed))
    return buffer.getvalue()


def one(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, array)
    return buffer.getvalue()


def table(split: str, labels: bool = True, header: bool = True, last: bool = False) -> bytes:
    images = arrays()[f"x_{split}"].reshape(-1, 784)
    column = arrays()[f"y_{split}"][:, None]
    columns = [column, images] if labels else [images]
    names = ["label"] * labels + [f"pixel{n}" for n in range(784)]
    if last:
        columns, names = columns[::-1], names[1:] + names[:1]
    rows = [names] * header + np.hstack(columns).tolist()
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def idx(kind: int, array: np.ndarray[Any, Any]) -> bytes:
    head = bytearray(idx_header(array.shape))
    head[2] = kind
    return bytes(head) + array.tobytes()


def under(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


GZIPPED = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
KMNIST = {
    f"kmnist-{split}-{what}.npz": one(arrays()[f"{key}_{split}"])
    for split in ("train", "test")
    for what, key in (("imgs", "x"), ("labels", "y"))
}
#: All of these are the small data set.
SAME: dict[str, dict[str, bytes]] = {
    "plain": FILES,
    "gzipped": GZIPPED,
    "both": FILES | GZIPPED,
    "torchvision": under("FashionMNIST/raw", FILES | GZIPPED),
    "raw": under("raw", FILES),
    "one folder down": under("fashion", GZIPPED),
    "EMNIST": {
        f"emnist-letters-{name.replace('t10k', 'test')}": content for name, content in FILES.items()
    },
    "with other files": FILES | {"README.md": b"", "._" + TRAIN_IMAGES: b"", "a/b.txt": b""},
    "int32": FILES | {TRAIN_LABELS: idx(12, arrays()["y_train"].astype(">i4"))},
    "Keras": {"mnist.npz": npz()},
    "Keras, int64 labels in a column": {
        "x.npz": npz(y_test=arrays()["y_test"].astype(int)[:, None])
    },
    "Keras, a channel": {"x.npz": npz(x_train=arrays()["x_train"][..., None])},
    "KMNIST": KMNIST,
    "Kaggle": {"train.csv": table("train"), "test.csv": table("test")},
    "Kaggle's Fashion-MNIST": {
        "fashion-mnist_train.csv": table("train"), "fashion-mnist_test.csv": table("test")
    } | FILES,
    "no header": {
        "mnist_train.csv": table("train", header=False),
        "mnist_test.csv": table("test", header=False),
    },
    "labels last": {"train.csv": table("train", last=True), "test.csv": table("test", last=True)},
    "tables, gzipped": {
        "train.csv.gz": gzip.compress(table("train")), "test.csv.gz": gzip.compress(table("test"))
    },
}  # fmt: skip


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("layout", SAME)
def test_a_data_set_is_its_contents_however_it_lies_there(tmp_path: Path, layout: str) -> None:
    config, note = identified(str(fill(tmp_path / "dat", SAME[layout])))
    assert (config.digest, note) == (SMALL, "")
    assert len(load_dataset(config).test_rows) == 12


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ("plain", "dat"), ("raw", "dat"), ("torchvision", "FashionMNIST"), ("Keras", "mnist"),
        ("Kaggle", "dat"),
    ],
)  # fmt: skip
def test_it_is_called_like_its_folder(tmp_path: Path, files: str, name: str) -> None:
    folder = fill(tmp_path / "dat", SAME[files])
    deepest = min((p for p in folder.rglob("*") if p.is_file()), default=folder)
    for path in (folder, deepest if deepest.suffix == ".npz" else deepest.parent):
        assert identified(str(path))[0].name == name
    assert identified(str(folder), "fashion")[0].name == "fashion"


def test_of_a_table_without_labels_to_test_on_every_seventh_row_is(tmp_path: Path) -> None:
    files = {"train.csv": table("train"), "test.csv": table("test", labels=False)}
    config, note = identified(str(fill(tmp_path / "a", files)))
    assert note == "no images to test on have labels: one row in 7 of train.csv is"
    dataset = load_dataset(config)
    assert len(dataset.test_rows) == 20 // 7
    np.testing.assert_array_equal(
        dataset.images[np.sort(dataset.test_rows)], arrays()["x_train"].reshape(-1, 784)[6::7]
    )
    alone, _ = identified(str(fill(tmp_path / "b", {"train.csv": table("train")})))
    assert alone.digest == config.digest


def test_contents_that_change_are_another_data_set_and_no_run_takes_them_for_the_old(
    tmp_path: Path,
) -> None:
    folder = write_folder(tmp_path / "dat")
    before, _ = identified(str(folder))
    (folder / TEST_LABELS).write_bytes(FILES[TEST_LABELS][:-1] + b"\x05")
    after, _ = identified(str(folder))
    assert after != before
    with pytest.raises(DataError, match=r"does not hold dat \(.*\) any more but other data"):
        load_dataset(before)


COLOUR = np.zeros((20, 28, 28, 3), np.uint8)
#: What is wrong -> the files that are, and what is said.
REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "colour": (FILES | {TRAIN_IMAGES: idx(8, COLOUR)}, "holds 20 x 28 x 28 x 3 values of"),
    "colour in .npz": ({"c.npz": npz(x_train=COLOUR)}, "one grey value for each pixel"),
    "32 pixels": (FILES | {TRAIN_IMAGES: idx(8, COLOUR[:, :, :, 0].repeat(2, 1))}, "20 x 56 x 28"),
    "fractions": (
        {"c.npz": npz(x_train=np.zeros((20, 28, 28), np.float32))}, "type float32, from 0.0 to 0.0"
    ),
    "63 classes": (
        FILES | {TRAIN_LABELS: idx(8, np.arange(43, 63, dtype=np.uint8))}, "from 43 to 62; wanted"
    ),
    "one class": (
        FILES | {TRAIN_LABELS: idx(8, np.full(20, 3, np.uint8))}, "all labels are 3; two kinds are"
    ),
    "labels below 0": ({"c.npz": npz(y_train=np.full(20, -1))}, "of type int64, from -1 to -1"),
    "words as labels": ({"c.npz": npz(y_train=np.array(["a"] * 20))}, "20 values of type str"),
    "objects": ({"c.npz": npz(y_train=np.array([{}] * 20, object))}, "no .npz file of numbers"),
    "other arrays": ({"c.npz": one(COLOUR)}, "has the arrays arr_0, but not x_train, y_train"),
    "no .npz": ({"c.npz": b"PK\x03\x04"}, "no .npz file of numbers: File is not a zip file"),
    "a file and its .gz that differ": (
        GZIPPED | {TEST_LABELS: FILES[TEST_LABELS][:-1] + b"\x07"}, "labels-idx1-ubyte.gz differ"
    ),
    "a missing file": (
        {n: c for n, c in FILES.items() if n != TEST_LABELS}, "no t10k-labels-idx1-ubyte (.gz); th"
    ),
    "other files": ({"cat.jpg": b"", "dog.jpg": b""}, "no data set; there: cat.jpg, dog.jpg; a"),
    "nothing": ({"a/b": b""}, "no data set; there: a; a data set is four IDX files"),
    "several": (under("a", FILES) | under("b/raw", FILES), "holds several data sets (a, b/raw)"),
    "a table of words": (
        {"train.csv": b"label,pixel0\ncat,1\n"}, "train.csv: no table of whole numbers: could not"
    ),
    "a table of other images": ({"train.csv": b"label,pixel0\n1,1\n2,1\n"}, "holds 2 x 1 values"),
    "an empty table": ({"train.csv": b"label,pixel0\n"}, "loadtxt: input contained no data"),
    "text": (FILES | {TRAIN_IMAGES: b"hello, this is no IDX file"}, "no IDX file: it starts with"),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_used_is_refused_with_what_it_is(tmp_path: Path, what: str) -> None:
    files, said = REFUSED[what]
    with pytest.raises(DataError) as caught:
        identified(str(fill(tmp_path, files)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("way", ["gone", "a file", "a loop", "forbidden"])
def test_a_path_without_a_folder_is_refused(tmp_path: Path, way: str) -> None:
    path = tmp_path / "dat"
    if way == "a file":
        path.touch()
    elif way == "a loop":
        path.symlink_to(path)
    elif way == "forbidden":
        if os.getuid() == 0:
            pytest.skip("root may read everything")
        path.mkdir(mode=0)
    with pytest.raises(DataError, match=f"{path}: (no such folder|cannot be read)"):
        identified(str(path))


def trained(config: HPConfig, folder: DatasetConfig) -> TrialResult:
    trial = Trial(config, folder)
    return CompiledShape(shape_of(trial), DeviceData(load_dataset(folder))).train(trial)


def separable(folder: Path, classes: int) -> DatasetConfig:
    """A data set whose classes are easily told apart: each has a row of pixels of its own."""
    files = {}
    for part, count in (("train", 640), ("t10k", 130)):
        labels = np.arange(count, dtype=np.uint8) % classes
        images = np.zeros((count, 784), np.uint8)
        for step in range(12):
            images[np.arange(count), (labels * 12 + step)] = 255
        files[f"{part}-images-idx3-ubyte"] = idx(8, images.reshape(-1, 28, 28))
        files[f"{part}-labels-idx1-ubyte"] = idx(8, labels)
    return identified(str(fill(folder, files)))[0]


@pytest.mark.parametrize(("classes", "both"), [(2, False), (17, True), (62, False)])
def test_any_number_of_classes_is_learned_with_and_without_our_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int, both: bool
) -> None:
    """Our kernels' columns come in blocks of 16; the plain ones take half a minute for 62."""
    dataset = replace(separable(tmp_path / "dat", classes), validation_size=40)
    config = HPConfig(depth=1, width=64, batch_size=20, epochs=4)
    ours = trained(config, dataset)
    assert ours.test_accuracy == 1
    if both:
        monkeypatch.setattr(csource, "supported", lambda _: False)
        plain = trained(config, dataset)
        assert plain.test_accuracy == 1
        assert ours.train_loss == pytest.approx(plain.train_loss, rel=1e-3)
    assert (ours.val_images, ours.test_images) == (40, 130)
    assert ours.parameters == 784 * 64 + 64 + 64 * classes + classes


def test_the_command_data_shows_what_is_there(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mnist_sweep", "data"]
    run: Callable[[Path], Any] = lambda path: subprocess.run(  # noqa: E731
        [*command, path], capture_output=True, text=True, encoding="utf-8"
    )
    folder = write_folder(tmp_path / "dat")
    shown = run(folder).stdout
    for text in ("name      dat\n", f"digest    {SMALL}\n", "20 to train on, 12 to test on\n"):
        assert text in shown
    assert "classes   10, of 3 to 4 images each: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" in shown
    pictures = shown[shown.index("0:") :].splitlines()
    assert len(pictures) == 2 * (1 + 7)
    assert max(map(len, pictures)) <= 80
    shutil.rmtree(folder)
    ended = run(folder)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"mnist-sweep: error: {folder}: no such folder; a data set is")
