"""A small data set, and folders that hold it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from mnist_sweep.data.idx import FILE_NAMES

N_TRAIN, N_TEST = 20, 12
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILE_NAMES

#: The digest of the small data set.
SMALL = "89a5ba30e680"


def header(*shape: int) -> bytes:
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def idx_files(classes: int = 10) -> dict[str, bytes]:
    """A small data set as the content of its four files."""
    pixels = np.random.default_rng(7).integers(0, 256, (N_TRAIN + N_TEST, 28, 28), np.uint8)
    labels = bytes(row % classes for row in range(N_TRAIN + N_TEST))
    return {
        TRAIN_IMAGES: header(N_TRAIN, 28, 28) + pixels[:N_TRAIN].tobytes(),
        TRAIN_LABELS: header(N_TRAIN) + labels[:N_TRAIN],
        TEST_IMAGES: header(N_TEST, 28, 28) + pixels[N_TRAIN:].tobytes(),
        TEST_LABELS: header(N_TEST) + labels[N_TRAIN:],
    }


def write_folder(folder: Path, classes: int = 10) -> Path:
    """Make ``folder`` one with the four files."""
    folder.mkdir(parents=True)
    for name, content in idx_files(classes).items():
        (folder / name).write_bytes(content)
    return folder
