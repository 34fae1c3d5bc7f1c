"""The MNIST that ships with the package: its packed form, and its unpacked copy in the cache.

Packed (by ``scripts/pack_mnist``), all 70,000 images are in three files in ``mnist/``:

- ``labels.xz``: the labels, training file first, a byte each;
- ``masks.bz2``: which pixels are not 0. Images are in order of label, equal labels as in the
  files; a row of an image is 4 bytes, its first pixel the highest bit, the last 4 bits unused;
- ``values.xz``: the pixels that are not 0, of all images in that order, sorted (stably) by which
  of their eight neighbours are not 0.

A pixel's neighbours tell whether it is on the edge of a stroke (grey) or inside (nearly white),
and LZMA adapts to the values of each pattern: 14 % smaller than the IDX files under xz.
"""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.cache import cache_dir
from mnist_sweep.data.idx import idx_header
from mnist_sweep.data.images import PIXELS, LabelledImages
from mnist_sweep.errors import DataError, UserError
from mnist_sweep.files import replace_file
from mnist_sweep.models import SIDE
from mnist_sweep.trial import BUNDLED_IMAGES

PACKED = Path(__file__).parent / "mnist"
N_TRAIN, N_TEST = BUNDLED_IMAGES
COUNT = N_TRAIN + N_TEST

#: SHA-256 of the four original IDX files, uncompressed, in the order of ``idx.FILE_NAMES``.
RAW_SHA256 = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)

#: CRC-32 of the unpacked copy. A CRC because it is read at every start: it finds accidents, as
#: SHA-256 would, and is several times as fast on a CPU without SHA instructions.
UNPACKED_CRC32 = 0x34A89C1D

_NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


def load_bundled() -> LabelledImages:
    """MNIST, memory-mapped from the cache, where it is first unpacked if it is not there intact.

    Where the cache cannot be written, the arrays are in memory. Raises DataError if the package
    itself is damaged.
    """
    path = unpacked_path()
    if cached := _read_unpacked(path):
        return cached
    content = _unpack(PACKED)
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            replace_file(path, content.data, mode=0o600)
    return _read_unpacked(path) or _sections(content)


def describe_bundled() -> str:
    """One line about the state of the data: unpacked and where, still packed, or damaged."""
    path = unpacked_path()
    if _read_unpacked(path):
        return f"MNIST: unpacked in {path}"
    try:
        _unpack(PACKED)
    except DataError as error:
        return f"MNIST: {error}"
    if path is None:
        return "MNIST: intact; unpacked in memory by every process, as no cache can be written"
    return f"MNIST: intact; the first use unpacks it to {path}"


def unpacked_path() -> Path | None:
    """Where the unpacked copy is or will be; None if there is no folder for it."""
    try:
        return cache_dir() / "data" / f"mnist-{UNPACKED_CRC32:08x}.bin"
    except UserError:
        return None


def neighbour_patterns(masks: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For each pixel, which of its eight neighbours are set, a bit each.

    ``masks`` is 0 or 1, of shape (n, 28, 28), as is the result; beyond the border nothing is set.
    """
    padded = np.pad(masks, ((0, 0), (1, 1), (1, 1)))
    patterns = np.zeros_like(masks)
    for bit, (dy, dx) in enumerate(_NEIGHBOURS):
        patterns |= padded[:, 1 + dy : 1 + dy + SIDE, 1 + dx : 1 + dx + SIDE] << np.uint8(bit)
    return patterns


def _unpack(folder: Path) -> NDArray[np.uint8]:
    """The unpacked copy's bytes: images, then labels.

    Raises DataError if the files in ``folder`` are not those that the package came with.
    """
    try:
        images, labels = _decode(folder)
        parts = images[:N_TRAIN], labels[:N_TRAIN], images[N_TRAIN:], labels[N_TRAIN:]
        for part, expected in zip(parts, RAW_SHA256, strict=True):
            digest = hashlib.sha256(idx_header(part.shape))
            digest.update(part.data)
            if digest.hexdigest() != expected:
                raise ValueError("it is not what was packed")
    except (OSError, EOFError, ValueError, IndexError, lzma.LZMAError) as error:
        raise DataError(
            f"the MNIST data in {folder} is damaged; reinstall the package: "
            "pip install --force-reinstall --no-deps mnist-sweep"
        ) from error
    return np.concatenate([images.ravel(), labels])


def _decode(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (n, 28, 28) and labels (n,), in the order of the original files."""
    labels = np.frombuffer(lzma.decompress((folder / "labels.xz").read_bytes()), np.uint8)
    rows = np.frombuffer(bz2.decompress((folder / "masks.bz2").read_bytes()), np.uint8)
    values = np.frombuffer(lzma.decompress((folder / "values.xz").read_bytes()), np.uint8)
    masks = np.unpackbits(rows.reshape(COUNT, SIDE, 4), axis=2, count=SIDE)
    # Block by block, what the patterns are made of stays in the CPU's cache.
    blocks = np.array_split(masks, 100)
    patterns = np.concatenate([neighbour_patterns(block)[block == 1] for block in blocks])
    in_order = np.empty_like(values)
    in_order[np.argsort(patterns, kind="stable")] = values
    masks[masks == 1] = in_order
    images = np.empty_like(masks)
    images[np.argsort(labels, kind="stable")] = masks
    return images, labels


def _read_unpacked(path: Path | None) -> LabelledImages | None:
    """The unpacked copy at ``path``, or None if it is missing, incomplete or damaged."""
    if path is None:
        return None
    try:
        content = np.memmap(path, np.uint8, mode="r").view(np.ndarray)
    except (OSError, ValueError):
        return None
    return _sections(content) if zlib.crc32(content.data) == UNPACKED_CRC32 else None


def _sections(content: NDArray[np.uint8]) -> LabelledImages:
    """Read-only views into the bytes that ``_unpack`` makes."""
    content.setflags(write=False)
    images, labels = np.split(content, [COUNT * PIXELS])
    return LabelledImages(images.reshape(COUNT, PIXELS), labels, n_train=N_TRAIN)
