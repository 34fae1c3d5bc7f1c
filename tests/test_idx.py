"""What a folder of IDX files must be, and how it is refused."""

from __future__ import annotations

import gzip
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_sweep.data.dataset import Dataset, load_dataset
from mnist_sweep.data.idx import FILE_NAMES
from mnist_sweep.errors import DataError
from mnist_sweep.trial import DatasetConfig
from tests.data_helpers import (
    N_TEST,
    N_TRAIN,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    header,
    idx_files,
)


def load(folder: Path, files: dict[str, bytes]) -> Dataset:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return load_dataset(DatasetConfig(str(folder)))


def refusal(folder: Path, **changed: bytes | None) -> str:
    """The error for the small data set with files replaced (None: removed)."""
    files = idx_files()
    for key, content in changed.items():
        name = {"images": TRAIN_IMAGES, "labels": TRAIN_LABELS, "test_labels": TEST_LABELS}[key]
        del files[name]
        if content is not None:
            files[name] = content
    with pytest.raises(DataError) as error:
        load(folder, files)
    message = str(error.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_plain_files_give_their_images_and_labels(tmp_path: Path) -> None:
    dataset = load(tmp_path, idx_files())
    pixels = np.random.default_rng(7).integers(0, 256, (N_TRAIN + N_TEST, 784), np.uint8)
    np.testing.assert_array_equal(dataset.images, pixels)
    np.testing.assert_array_equal(dataset.labels, np.arange(N_TRAIN + N_TEST) % 10)
    assert sorted(dataset.train_rows) == list(range(N_TRAIN))
    assert sorted(dataset.test_rows) == list(range(N_TRAIN, N_TRAIN + N_TEST))
    assert dataset.classes == 10


def test_mean_and_std_are_those_of_its_own_training_split(tmp_path: Path) -> None:
    load(tmp_path, idx_files())
    dataset = load_dataset(DatasetConfig(str(tmp_path), validation_size=5, train_size=9))
    pixels = dataset.images[dataset.train_rows] / 255
    assert dataset.mean == pytest.approx(pixels.mean(), rel=1e-12)
    assert dataset.std == pytest.approx(pixels.std(), rel=1e-12)


@pytest.mark.parametrize("rename", ["{}.gz", "{}"])
def test_gzipped_files_are_read_whatever_their_name(tmp_path: Path, rename: str) -> None:
    plain = load(tmp_path / "plain", idx_files())
    zipped = {rename.format(name): gzip.compress(data) for name, data in idx_files().items()}
    np.testing.assert_array_equal(load(tmp_path / "gz", zipped).images, plain.images)


def test_file_names_with_a_dot_before_idx_are_found(tmp_path: Path) -> None:
    dotted = {name.replace("-idx", ".idx"): data for name, data in idx_files().items()}
    assert len(load(tmp_path, dotted).images) == N_TRAIN + N_TEST


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing_here: no such folder; .* four IDX files"):
        load_dataset(DatasetConfig(str(tmp_path / "nothing_here")))


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b"])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be read: .*; a data set is four IDX files"):
        load_dataset(DatasetConfig(name))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="file: no such folder"):
        load_dataset(DatasetConfig(str(tmp_path / "file")))


def test_an_unknown_home_folder_is_refused() -> None:
    with pytest.raises(DataError, match="~no-such-user-here/data: no such folder"):
        load_dataset(DatasetConfig("~no-such-user-here/data"))


def test_a_missing_file_is_refused_with_what_is_there(tmp_path: Path) -> None:
    message = refusal(tmp_path, labels=None)
    assert f"has no {TRAIN_LABELS} (.gz); there: t10k-images-idx3-ubyte, t10k-l" in message


def test_images_in_place_of_labels_are_refused_with_what_they_are(tmp_path: Path) -> None:
    message = refusal(tmp_path, labels=idx_files()[TRAIN_IMAGES])
    assert f"{TRAIN_LABELS}: holds 20 x 28 x 28 values of type uint8, from 0 to 255" in message
    assert message.endswith("; wanted as labels are n whole numbers of 0 to 61")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    assert "it starts with nothing" in refusal(tmp_path, images=b"")


def test_a_truncated_header_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, images=header(N_TRAIN, 28, 28)[:-1])
    assert f"{TRAIN_IMAGES}: truncated in its header" in message


def test_truncated_values_are_refused_with_both_sizes(tmp_path: Path) -> None:
    message = refusal(tmp_path, images=idx_files()[TRAIN_IMAGES][:-1])
    assert (
        f"{TRAIN_IMAGES}: truncated: its header says 20 x 28 x 28 values, it has 15,679 " in message
    )


def test_trailing_bytes_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, test_labels=idx_files()[TEST_LABELS] + b"\0")
    assert f"{TEST_LABELS}: goes on after what it should hold: its header says 12 values" in message


def test_an_image_size_other_than_28_by_28_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, images=header(N_TRAIN, 32, 32) + bytes(N_TRAIN * 32 * 32))
    assert f"{TRAIN_IMAGES}: holds 20 x 32 x 32 values of type uint8" in message
    assert "; wanted as images are n x 28 x 28 whole numbers of 0 to 255" in message


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    assert "its header says 0 x 28 x 28 values" in refusal(tmp_path, images=header(0, 28, 28))


def test_counts_that_differ_are_refused_naming_both_files(tmp_path: Path) -> None:
    message = refusal(tmp_path, labels=header(3) + b"\0\1\2")
    assert f"{TRAIN_IMAGES}: 20 images, but 3 labels in {TRAIN_LABELS}" in message


def test_more_than_62_kinds_of_labels_are_refused(tmp_path: Path) -> None:
    labels = bytearray(idx_files()[TRAIN_LABELS])
    labels[8 + 13] = 62
    message = refusal(tmp_path, labels=bytes(labels))
    assert f"{TRAIN_LABELS}: holds 20 values of type uint8, from 0 to 62; wanted as" in message


def test_images_of_one_colour_are_refused(tmp_path: Path) -> None:
    assert "nothing can be learned" in refusal(
        tmp_path, images=header(N_TRAIN, 28, 28) + b"\7" * (N_TRAIN * 784)
    )


@pytest.mark.parametrize("damage", ["cut", "header", "deflate", "flipped", "crc", "trailing"])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: str) -> None:
    good = gzip.compress(idx_files()[TRAIN_IMAGES])
    middle = len(good) // 2
    bad = {
        "cut": good[:middle],
        "header": good[:5],
        "deflate": good[:10] + b"\xff" * 4 + good[14:],
        "flipped": good[:middle] + bytes([good[middle] ^ 255]) + good[middle + 1 :],
        "crc": good[:-8] + bytes(4) + good[-4:],
        "trailing": good + b"no gzip",
    }[damage]
    assert f"{TRAIN_IMAGES}: damaged gzip file (" in refusal(tmp_path, images=bad)


def test_a_gzip_file_that_inflates_beyond_its_header_is_not_inflated(tmp_path: Path) -> None:
    bomb = gzip.compress(header(N_TRAIN, 28, 28) + bytes(100_000_000), compresslevel=1)
    tracemalloc.start()
    try:
        message = refusal(tmp_path, images=bomb)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert "goes on after what it should hold: its header says 20 x 28 x 28 values" in message


def test_a_header_that_says_billions_is_refused_unread(tmp_path: Path) -> None:
    assert "4,294,967,295 x 28 x 28 values" in refusal(
        tmp_path, images=header(2**32 - 1, 28, 28) + b"\0"
    )


mutations = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "cut", "gzip"]),
        st.one_of(st.integers(0, 20), st.integers(0, 20_000)),
        st.binary(min_size=1, max_size=4),
    ),
    max_size=4,
)


def mutated(content: bytes, steps: list[tuple[str, int, bytes]]) -> bytes:
    for kind, where, new in steps:
        at = where % (len(content) + 1)
        content = {
            "replace": content[:at] + new + content[at + len(new) :],
            "insert": content[:at] + new + content[at:],
            "cut": content[:at],
            "gzip": gzip.compress(content, compresslevel=1),
        }[kind]
    return content


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(FILE_NAMES, mutations)))
def test_mutated_files_are_refused_in_one_line_or_give_a_valid_data_set(
    steps: dict[str, list[tuple[str, int, bytes]]],
) -> None:
    files = {name: mutated(content, steps[name]) for name, content in idx_files().items()}
    with tempfile.TemporaryDirectory() as folder:
        try:
            dataset = load(Path(folder), files)
        except DataError as refused:
            message = str(refused)
        else:
            assert dataset.images.shape == (len(dataset.labels), 784)
            assert dataset.labels.max() < dataset.classes
            assert len(dataset.train_rows) + len(dataset.test_rows) == len(dataset.labels)
            assert dataset.std > 0
            return
    assert folder in message
    assert "\n" not in message
