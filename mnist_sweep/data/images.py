"""Images with labels, whatever they came from, and what can be used of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.errors import DataError
from mnist_sweep.models import SIDE

PIXELS = SIDE * SIDE
#: As many kinds of images can be told apart: the digits and the letters, large and small.
MAX_CLASSES = 62


@dataclass(frozen=True)
class LabelledImages:
    """A data set before it is split: the training file's rows, then the test file's.

    ``images`` is uint8 of shape (n, 784), ``labels`` uint8 of shape (n,), 0 .. ``classes`` - 1.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    n_train: int

    @property
    def sizes(self) -> tuple[int, int]:
        """How many images are to train and how many to test on."""
        return self.n_train, len(self.labels) - self.n_train

    @property
    def classes(self) -> int:
        """How many labels there may be: one more than the highest."""
        return int(self.labels.max()) + 1

    @cached_property
    def digest(self) -> str:
        """12 hex digits that are equal for two data sets exactly if their contents are."""
        digest = hashlib.sha256(f"{self.n_train}/{len(self.labels)}".encode())
        for array in (self.images, self.labels):
            digest.update(array.data)
        return digest.hexdigest()[:12]


def joined(*splits: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> LabelledImages:
    """The data set of images and labels for training, and of those for testing."""
    images, labels = (np.concatenate(parts) for parts in zip(*splits, strict=True))
    for array in (images, labels):
        array.setflags(write=False)
    return LabelledImages(images, labels, n_train=len(splits[0][0]))


def usable(
    arrays: Sequence[NDArray[Any]], places: Sequence[Path]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images as (n, 784) and labels as (n,), uint8, of the two ``arrays`` from two ``places``.

    Raises DataError, which names the file, what it holds and what is wanted instead.
    """
    (images, labels), (images_path, labels_path) = arrays, places
    n = images.shape[0] if images.ndim else 0
    grey = n and images.shape in ((n, SIDE, SIDE), (n, SIDE, SIDE, 1), (n, 1, SIDE, SIDE))
    if not _whole(images, 255) or not (grey or images.shape == (n, PIXELS)):
        wanted = f"n x {SIDE} x {SIDE} whole numbers of 0 to 255, one grey value for each pixel"
        raise DataError(f"{images_path}: holds {_described(images)}; wanted as images are {wanted}")
    listed = labels.shape in ((labels.size,), (labels.size, 1))
    if not listed or not _whole(labels, MAX_CLASSES - 1):
        wanted = f"n whole numbers of 0 to {MAX_CLASSES - 1}"
        raise DataError(f"{labels_path}: holds {_described(labels)}; wanted as labels are {wanted}")
    if n != len(labels):
        counts = f"{n:,} images, but {len(labels):,} labels"
        raise DataError(f"{images_path}: {counts} in {labels_path.name}")
    if labels.min() == labels.max():
        raise DataError(f"{labels_path}: all labels are {labels.min()}; two kinds are the least")
    return images.reshape(n, PIXELS).astype(np.uint8), labels.reshape(n).astype(np.uint8)


def _whole(values: NDArray[Any], most: int) -> bool:
    return bool(values.dtype.kind in "iu" and values.size) and bool(
        values.min() >= 0 and values.max() <= most
    )


def _described(values: NDArray[Any]) -> str:
    """An array in words: "20 x 28 x 28 x 3 values of type int32, from 0 to 46"."""
    shape = " x ".join(f"{size:,}" for size in values.shape) or "1"
    numbers = values.size and values.dtype.kind in "iuf"
    span = f", from {values.min()} to {values.max()}" if numbers else ""
    return f"{shape} values of type {values.dtype.name}{span}"
