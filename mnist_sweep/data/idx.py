"""Reading a folder of four IDX files, the format of MNIST, Fashion-MNIST and KMNIST.

The format is described at http://yann.lecun.com/exdb/mnist/: two zero bytes, the type of the
values (8: unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number,
then the values.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.errors import DataError
from mnist_sweep.models import SIDE

PIXELS = SIDE * SIDE
#: Labels are 0 .. CLASSES - 1.
CLASSES = 10
#: No more images are read from one file, whatever its header says: 784 MB.
MAX_IMAGES = 1_000_000

#: The four files of a data set: training images and labels, test images and labels.
FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class LabelledImages:
    """A data set before it is split: the training file's rows, then the test file's.

    ``images`` is uint8 of shape (n, 784), ``labels`` uint8 of shape (n,), 0..9. ``sums`` and
    ``squares``, uint32 of shape (n,), are each image's sums of pixels and of their squares.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    sums: NDArray[np.uint32]
    squares: NDArray[np.uint32]
    n_train: int


def pixel_sums(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Each image's sum of pixels and of squared pixels: (n, 784) uint8 to two of (n,) uint32."""
    squares = np.einsum("ij,ij->i", images, images, dtype=np.uint32)
    return images.sum(axis=1, dtype=np.uint32), squares


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The bytes in front of the values of a uint8 array of ``shape``."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)


def read_folder(folder: Path) -> LabelledImages:
    """Read the four IDX files in ``folder``, gzipped or not.

    Raises DataError, naming the file, on anything but 28 x 28 images with labels 0..9.
    """
    # os.path, because Path.is_dir raises where a name is too long or a parent is forbidden.
    if not os.path.isdir(folder):
        raise DataError(
            f"{folder}: no such folder; dataset takes the folder of four IDX files, "
            "or mnist for the data in the package"
        )
    paths = [find_file(folder, name) for name in FILE_NAMES]
    train, test = _read_pair(*paths[:2]), _read_pair(*paths[2:])
    images, labels = (np.concatenate(parts) for parts in zip(train, test, strict=True))
    for array in (images, labels):
        array.setflags(write=False)
    return LabelledImages(images, labels, *pixel_sums(images), n_train=len(train[0]))


def find_file(folder: Path, name: str) -> Path:
    """The file ``name`` in ``folder``, or one of its usual variants.

    Some sources write a dot before ``idx``, and most ship the files gzipped. Raises DataError
    with the names that were looked for.
    """
    dotted = name.replace("-idx", ".idx")
    candidates = [stem + suffix for suffix in ("", ".gz") for stem in (name, dotted)]
    for candidate in candidates:
        if os.path.isfile(folder / candidate):
            return folder / candidate
    raise DataError(f"{folder}: a file is missing; looked for {', '.join(candidates)}")


def read_idx(path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array in an IDX file, gzipped or not, uint8 of shape (n, *item_shape).

    Raises DataError on any other shape or type, and unless the file holds exactly what its header
    says; never reads further than one byte past that.
    """
    try:
        with path.open("rb") as file:
            # An IDX file starts with a zero byte, so gzip is known by its content, not its name.
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if compressed else file
            return _read_stream(stream, path, item_shape)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error}); get it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_stream(stream: BinaryIO, path: Path, item_shape: tuple[int, ...]) -> NDArray[np.uint8]:
    expected = idx_header((0, *item_shape))
    header = stream.read(len(expected))
    kind = "images" if item_shape else "labels"
    if header[:4] != expected[:4]:
        raise DataError(
            f"{path}: not an IDX file of {kind}: it starts with {header[:4].hex() or 'nothing'}, "
            f"not with {expected[:4].hex()}"
        )
    if len(header) < len(expected):
        raise DataError(f"{path}: truncated in its header; get it again")
    count, *shape = struct.unpack(f">{1 + len(item_shape)}I", header[4:])
    if tuple(shape) != item_shape:
        found, wanted = (" x ".join(map(str, sizes)) for sizes in (shape, item_shape))
        raise DataError(f"{path}: images of {found} pixels; only {wanted} can be used")
    if not 1 <= count <= MAX_IMAGES:
        limits = f"between 1 and {MAX_IMAGES:,} can be used"
        raise DataError(f"{path}: its header says {count:,} {kind}; {limits}")
    size = count * math.prod(item_shape)
    content = stream.read(size + 1)
    if len(content) < size:
        said = f"{len(content):,} bytes of values, its header says {size:,}"
        raise DataError(f"{path}: truncated: {said}; get it again")
    if len(content) > size:
        raise DataError(f"{path}: goes on after the {count:,} {kind} that its header says")
    return np.frombuffer(content, np.uint8).reshape(count, *item_shape)


def _read_pair(images_path: Path, labels_path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    images = read_idx(images_path, (SIDE, SIDE)).reshape(-1, PIXELS)
    labels = read_idx(labels_path, ())
    if len(images) != len(labels):
        counts = f"{len(images):,} images, but {len(labels):,} labels"
        raise DataError(f"{images_path}: {counts} in {labels_path.name}")
    if labels.max() >= CLASSES:
        row = int(np.argmax(labels >= CLASSES))
        where = f"label {labels[row]} at row {row} (from 0)"
        raise DataError(f"{labels_path}: {where}; labels must be 0 to {CLASSES - 1}")
    return images, labels
