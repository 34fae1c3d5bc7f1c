"""The bundled MNIST, its cache, and how data is split."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from mnist_sweep.cache import cache_dir
from mnist_sweep.data import bundled
from mnist_sweep.data.bundled import describe_bundled
from mnist_sweep.data.dataset import Dataset, load_dataset
from mnist_sweep.errors import DataError, UserError
from mnist_sweep.trial import DatasetConfig

RAW_SHA256 = {
    "train images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "test images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "test labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
#: SHA-256 of the pixels of all 70,000 images, which every way of loading must give.
PIXELS_SHA256 = "5b92582eb909c82a9bfefcd44acbe9233be3eb5b419a44cf211022ad2bf4bf96"
#: Loads MNIST and prints that hash of it.
PRINT_SHA256 = """
import hashlib
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.trial import DatasetConfig
print(hashlib.sha256(load_dataset(DatasetConfig()).images.data).hexdigest())
"""


@pytest.fixture(scope="module")
def warm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder in which MNIST is unpacked."""
    folder = tmp_path_factory.mktemp("warm")
    run_loading(folder)
    return folder


@pytest.fixture(autouse=True)
def _use_warm_cache(warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(warm_cache))


@pytest.fixture
def cold_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder in use, empty."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(folder))
    return folder


@pytest.fixture
def temporary_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files in use, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def start_loading(cache: Path, before: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", before + PRINT_SHA256],
        env={**os.environ, "MNIST_SWEEP_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_loading(cache: Path, before: str = "") -> None:
    """Load MNIST in a fresh process and check what it loaded."""
    assert start_loading(cache, before).communicate()[0].strip() == PIXELS_SHA256


def sha256_of_pixels(dataset: Dataset) -> str:
    return hashlib.sha256(dataset.images.data).hexdigest()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if not path.is_dir()]


def unpacked_file(cache: Path) -> Path:
    (path,) = files_in(cache)
    return path


def is_memory_mapped(array: np.ndarray) -> bool:
    base: object = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    return isinstance(base, np.memmap)


# What is in the package


def test_the_four_original_files_are_restored_byte_for_byte() -> None:
    dataset = load_dataset(DatasetConfig())
    images, labels = dataset.images.tobytes(), dataset.labels.tobytes()
    split = 60_000 * 784
    raw = {
        "train images": bytes.fromhex("000008030000ea600000001c0000001c") + images[:split],
        "train labels": bytes.fromhex("000008010000ea60") + labels[:60_000],
        "test images": bytes.fromhex("00000803000027100000001c0000001c") + images[split:],
        "test labels": bytes.fromhex("0000080100002710") + labels[60_000:],
    }
    assert {name: hashlib.sha256(data).hexdigest() for name, data in raw.items()} == RAW_SHA256


def test_each_digit_is_there_as_often_as_published() -> None:
    dataset = load_dataset(DatasetConfig())
    train = np.bincount(dataset.labels[dataset.train_rows])
    test = np.bincount(dataset.labels[dataset.test_rows])
    assert list(train) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert list(test) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_mean_and_std_are_the_familiar_ones() -> None:
    dataset = load_dataset(DatasetConfig())
    assert (round(dataset.mean, 10), round(dataset.std, 10)) == (0.1306604763, 0.3081078039)


def test_mean_and_std_are_of_the_training_split_alone() -> None:
    dataset = load_dataset(DatasetConfig(validation_size=59_000, train_size=500))
    pixels = dataset.images[dataset.train_rows] / 255
    assert dataset.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert dataset.std == pytest.approx(pixels.std(), rel=1e-12)


def test_the_package_stays_below_eight_megabytes() -> None:
    assert sum(path.stat().st_size for path in bundled.PACKED.iterdir()) < 8_000_000


def test_images_and_labels_cannot_be_overwritten() -> None:
    dataset = load_dataset(DatasetConfig())
    for array in (dataset.images, dataset.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


# Splits


def test_the_splits_are_disjoint_and_have_the_sizes_asked_for() -> None:
    config = DatasetConfig(validation_size=5_000, train_size=20_000, test_size=1_000)
    dataset = load_dataset(config)
    splits = (dataset.train_rows, dataset.validation_rows, dataset.test_rows)
    assert [len(rows) for rows in splits] == [20_000, 5_000, 1_000]
    assert len(np.unique(np.concatenate(splits))) == 26_000
    assert max(dataset.train_rows.max(), dataset.validation_rows.max()) < 60_000
    assert 60_000 <= dataset.test_rows.min() <= dataset.test_rows.max() < 70_000
    assert {rows.dtype for rows in splits} == {np.dtype(np.int32)}


def test_without_sizes_every_row_is_used_once() -> None:
    dataset = load_dataset(DatasetConfig())
    assert len(dataset.validation_rows) == 0
    rows = np.concatenate([dataset.train_rows, dataset.test_rows])
    np.testing.assert_array_equal(np.sort(rows), np.arange(70_000))


def test_the_shuffles_are_the_same_in_every_version() -> None:
    dataset = load_dataset(DatasetConfig(validation_size=5_000))
    assert list(dataset.train_rows[:5]) == [4013, 23840, 29603, 43011, 58703]
    assert list(dataset.validation_rows[:5]) == [4243, 27793, 50296, 44368, 36163]
    assert list(dataset.test_rows[:5]) == [66053, 69294, 62081, 64462, 67436]


def test_a_larger_validation_split_takes_the_rows_before_the_smaller_one() -> None:
    small = load_dataset(DatasetConfig(validation_size=1_000))
    large = load_dataset(DatasetConfig(validation_size=5_000))
    np.testing.assert_array_equal(large.validation_rows[-1_000:], small.validation_rows)
    np.testing.assert_array_equal(large.train_rows, small.train_rows[:55_000])


def test_train_size_and_test_size_keep_the_first_rows_of_their_shuffle() -> None:
    whole = load_dataset(DatasetConfig())
    part = load_dataset(DatasetConfig(train_size=100, test_size=50))
    np.testing.assert_array_equal(part.train_rows, whole.train_rows[:100])
    np.testing.assert_array_equal(part.test_rows, whole.test_rows[:50])


def test_a_part_of_the_test_file_mixes_its_easier_and_harder_halves() -> None:
    rows = load_dataset(DatasetConfig(test_size=1_000)).test_rows
    assert 450 < (rows < 65_000).sum() < 550


@pytest.mark.parametrize(
    ("config", "numbers"),
    [
        (DatasetConfig(validation_size=60_000), ["60000"]),
        (DatasetConfig(validation_size=1, train_size=60_000), ["1 ", "60000"]),
        (DatasetConfig(train_size=60_001), ["60001", "60000"]),
        (DatasetConfig(test_size=10_001), ["10001", "10000"]),
        (DatasetConfig(validation_size=-1), ["validation_size is -1"]),
        (DatasetConfig(train_size=0), ["train_size is 0"]),
        (DatasetConfig(test_size=0), ["test_size is 0"]),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_numbers(
    config: DatasetConfig, numbers: list[str]
) -> None:
    with pytest.raises(DataError) as error:
        load_dataset(config)
    assert all(number in str(error.value) for number in numbers)


# The unpacked copy


def test_a_warm_load_takes_less_than_a_fifth_of_a_second(warm_cache: Path) -> None:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        load_dataset(DatasetConfig())
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2


def test_the_first_load_leaves_one_file_that_later_loads_map(cold_cache: Path) -> None:
    before = describe_bundled()
    assert files_in(cold_cache) == []
    assert sha256_of_pixels(load_dataset(DatasetConfig())) == PIXELS_SHA256
    path = unpacked_file(cold_cache)
    inode = path.stat().st_ino
    assert is_memory_mapped(load_dataset(DatasetConfig()).images)
    assert unpacked_file(cold_cache).stat().st_ino == inode
    assert before == f"MNIST: intact; the first use unpacks it to {path}"
    assert describe_bundled() == f"MNIST: unpacked in {path}"


def test_processes_that_unpack_at_once_all_get_the_data_and_trust_nothing_of_one_that_was_killed(
    cold_cache: Path,
) -> None:
    killed = start_loading(cold_cache)
    while killed.poll() is None and not files_in(cold_cache):
        time.sleep(0.002)
    killed.kill()
    killed.communicate()
    processes = [start_loading(cold_cache) for _ in range(2)]
    outputs = [process.communicate()[0].strip() for process in processes]
    assert outputs == [PIXELS_SHA256] * 2
    assert unpacked_file(cold_cache).suffix == ".bin"


@pytest.mark.parametrize("damage", ["flipped", "empty"])
def test_a_damaged_copy_is_unpacked_again(cold_cache: Path, warm_cache: Path, damage: str) -> None:
    shutil.copytree(warm_cache, cold_cache, dirs_exist_ok=True)
    path = unpacked_file(cold_cache)
    content = bytearray(path.read_bytes())
    content[30_000_000] ^= 1
    path.write_bytes({"flipped": content, "empty": bytearray()}[damage])
    assert sha256_of_pixels(load_dataset(DatasetConfig())) == PIXELS_SHA256
    assert path.read_bytes() == unpacked_file(warm_cache).read_bytes()


def test_mnist_loads_where_the_disk_is_full_and_leaves_no_part_of_a_file(cold_cache: Path) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000,) * 2)\n"
    run_loading(cold_cache, before=full)
    assert files_in(cold_cache) == []


@pytest.mark.parametrize("name", ["labels.xz", "masks.bz2", "values.xz"])
@pytest.mark.parametrize("damage", ["missing", "flipped", "truncated"])
def test_a_damaged_package_is_refused_with_the_way_to_mend_it(
    cold_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    packed = shutil.copytree(bundled.PACKED, tmp_path / "packed")
    monkeypatch.setattr(bundled, "PACKED", packed)
    content = bytearray((packed / name).read_bytes())
    content[2_000] ^= 1
    if damage == "missing":
        (packed / name).unlink()
    else:
        (packed / name).write_bytes(content if damage == "flipped" else content[:2_000])
    with pytest.raises(DataError, match="reinstall"):
        load_dataset(DatasetConfig())
    assert files_in(cold_cache) == []


def test_the_line_for_doctor_says_that_the_package_is_damaged(
    cold_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "PACKED", tmp_path / "nothing")
    assert re.fullmatch(r"MNIST: the MNIST data in .*nothing is damaged; .*", describe_bundled())


def test_well_formed_files_with_another_label_are_refused(
    cold_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = shutil.copytree(bundled.PACKED, tmp_path / "packed")
    monkeypatch.setattr(bundled, "PACKED", packed)
    labels = bytearray(lzma.decompress((packed / "labels.xz").read_bytes()))
    labels[-1] ^= 1
    (packed / "labels.xz").write_bytes(lzma.compress(labels))
    with pytest.raises(DataError, match="reinstall"):
        load_dataset(DatasetConfig())


# The cache folder


def test_the_cache_is_where_the_variable_says_and_is_made_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_SWEEP_CACHE", "some/folder")
    assert cache_dir() == tmp_path / "some" / "folder"
    assert cache_dir().is_dir()


def test_the_cache_follows_the_xdg_specification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MNIST_SWEEP_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "mnist-sweep"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_dir() in [
        tmp_path / cache / "mnist-sweep" for cache in (".cache", "Library/Caches")
    ]


def test_where_no_cache_can_be_made_a_private_temporary_folder_serves(
    tmp_path: Path, temporary_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(tmp_path / "file" / "cache"))
    folder = cache_dir()
    assert folder == temporary_dir / f"mnist-sweep-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache_dir() == folder


@pytest.mark.parametrize("trap", ["open to others", "a link"])
def test_a_temporary_folder_that_others_may_write_is_not_used(
    tmp_path: Path, temporary_dir: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(tmp_path / "file" / "cache"))
    folder = temporary_dir / f"mnist-sweep-{os.getuid()}"
    if trap == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    with pytest.raises(UserError, match="set the environment variable MNIST_SWEEP_CACHE"):
        cache_dir()


def test_without_any_cache_folder_mnist_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MNIST_SWEEP_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    assert sha256_of_pixels(load_dataset(DatasetConfig())) == PIXELS_SHA256
    assert "no cache can be written" in describe_bundled()
