"""Reading IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST.

The format is described at http://yann.lecun.com/exdb/mnist/: two zero bytes, the type of the
values (8: unsigned byte), the number of dimensions, each dimension as a big-endian 32-bit number,
then the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.errors import DataError

#: The four files of a data set: training images and labels, test images and labels.
FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
#: No more values are read from one file, whatever it says: a million images.
MAX_VALUES = 784_000_000

_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The bytes in front of the values of a uint8 array of ``shape``."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape)


def read_idx(path: Path) -> NDArray[Any]:
    """The array in an IDX file, gzipped or not, of whatever type and shape its header says.

    Raises DataError unless the file holds exactly that; never reads further than one byte past it.
    """
    try:
        with path.open("rb") as file:
            # An IDX file starts with a zero byte, so gzip is known by its content, not its name.
            compressed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if compressed else file
            return _read_stream(stream, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error}); get it again") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _read_stream(stream: BinaryIO, path: Path) -> NDArray[Any]:
    start = stream.read(4)
    kind = _TYPES.get(start[2]) if len(start) == 4 and start[:2] == b"\0\0" else None
    if kind is None or not start[3]:
        raise DataError(f"{path}: no IDX file: it starts with {start.hex() or 'nothing'}")
    header = stream.read(4 * start[3])
    if len(header) < 4 * start[3]:
        raise DataError(f"{path}: truncated in its header; get it again")
    shape = struct.unpack(f">{start[3]}I", header)
    said = f"its header says {' x '.join(f'{size:,}' for size in shape)} values"
    if not 1 <= math.prod(shape) <= MAX_VALUES:
        raise DataError(f"{path}: {said}; between 1 and {MAX_VALUES:,} can be used")
    size = math.prod(shape) * np.dtype(kind).itemsize
    content = stream.read(size + 1)
    if len(content) < size:
        raise DataError(f"{path}: truncated: {said}, it has {len(content):,} bytes; get it again")
    if len(content) > size:
        raise DataError(f"{path}: goes on after what it should hold: {said}")
    return np.frombuffer(content, kind).reshape(shape)
