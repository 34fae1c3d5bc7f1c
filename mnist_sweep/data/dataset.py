"""The data sets that a trial can use, split into training, validation and test rows."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.data.bundled import load_bundled
from mnist_sweep.data.folder import read_folder
from mnist_sweep.data.images import PIXELS, LabelledImages
from mnist_sweep.errors import DataError
from mnist_sweep.trial import BUNDLED_IMAGES, DatasetConfig

#: Seeds of the shuffles before splitting. Results depend on them: they never change.
TRAIN_SHUFFLE_SEED = 0
TEST_SHUFFLE_SEED = 1


@dataclass(frozen=True)
class Dataset:
    """Images with labels, and which rows are for what. The images and labels are read-only.

    ``images`` is uint8 of shape (n_train + n_test, 784), the training file's rows, then the test
    file's; ``labels`` is uint8 of shape (n_train + n_test,), 0 .. classes - 1. The ``_rows`` are
    int32 row numbers into both, shuffled, no row in two of them. ``mean`` and ``std`` are those of
    the pixels of the training split, divided by 255 (0.1307 and 0.3081 for all of MNIST).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    train_rows: NDArray[np.int32]
    validation_rows: NDArray[np.int32]
    test_rows: NDArray[np.int32]
    mean: float
    std: float
    classes: int


def read_images(config: DatasetConfig) -> LabelledImages:
    """The images and labels that ``config`` names, before they are split.

    Raises DataError if they are missing or damaged, or are not what ``config`` was made for.
    """
    if config.is_bundled:
        return load_bundled()
    path = config.path or config.name
    data = read_folder(Path(os.path.expanduser(path))).data
    if config.digest not in ("", data.digest):
        raise DataError(
            f"{path}: does not hold {config.name} ({config.digest}) any more but other data "
            f"({data.digest}); run the sweep again to train on that"
        )
    return data


def identified(path: str, name: str = "") -> tuple[DatasetConfig, str]:
    """The whole data set at ``path``, known by its contents, and a note on it for the user.

    ``name`` is what to call it, else what it is called there. Raises DataError if there is none.
    """
    where = Path(os.path.expanduser(path))
    folder = read_folder(where)
    fitting = re.sub(r"[^A-Za-z0-9_.-]+", "-", name or folder.name).lstrip("-_.")[:80]
    place = str(where.absolute())
    return DatasetConfig(fitting or "data", digest=folder.data.digest, path=place), folder.note


def load_dataset(config: DatasetConfig, data: LabelledImages | None = None) -> Dataset:
    """The data set that ``config`` names, split as it says; ``data`` is what ``read_images`` gave.

    The training file is shuffled in a fixed order, whatever the sizes; the last
    ``validation_size`` rows of that order validate, and the first ``train_size`` of the others
    train. The test split is the first ``test_size`` rows of a fixed shuffle of the test file.
    Raises DataError if the data is missing or damaged, or if the sizes do not fit it.
    """
    data = data or read_images(config)
    n_train, n_test = data.sizes
    config.train_images(n_train, n_test)
    order = _shuffled(TRAIN_SHUFFLE_SEED, n_train)
    rest, validation_rows = np.split(order, [n_train - config.validation_size])
    train_rows = rest[: config.train_size]
    test_rows = n_train + _shuffled(TEST_SHUFFLE_SEED, n_test)[: config.test_size]
    mean, std = _pixel_statistics(data.images, train_rows)
    if std == 0:
        raise DataError(
            f"dataset: all {len(train_rows):,} training images of {config.name} are "
            "of one and the same colour; nothing can be learned from them"
        )
    return Dataset(
        data.images, data.labels, train_rows, validation_rows, test_rows, mean, std, data.classes
    )


def train_images(config: DatasetConfig) -> int:
    """How many images ``config`` leaves for training; does not unpack the data in the package.

    Raises DataError if a folder's files are missing or damaged, or if the sizes do not fit.
    """
    sizes = BUNDLED_IMAGES if config.is_bundled else read_images(config).sizes
    return config.train_images(*sizes)


def _shuffled(seed: int, count: int) -> NDArray[np.int32]:
    return np.random.default_rng(seed).permutation(count).astype(np.int32)


def _pixel_statistics(images: NDArray[np.uint8], rows: NDArray[np.int32]) -> tuple[float, float]:
    """Mean and standard deviation of the pixels of ``rows``, exact up to the last rounding."""
    count = len(rows) * PIXELS
    # Of every image: cheaper than a copy of those in question.
    sums = images.sum(axis=1, dtype=np.uint32)
    sums_of_squares = np.einsum("ij,ij->i", images, images, dtype=np.uint32)
    total, squares = (int(s[rows].sum(dtype=np.uint64)) for s in (sums, sums_of_squares))
    return total / (255 * count), math.sqrt(count * squares - total * total) / (255 * count)
