"""Images from files that people have, made as MNIST has its own: 28 x 28, light on dark."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mnist_sweep.data.idx import read_idx
from mnist_sweep.data.images import PIXELS
from mnist_sweep.errors import DataError
from mnist_sweep.models import SIDE

#: The longer side of a digit of MNIST; its centre of mass is the image's (LeCun et al., 1998).
_DIGIT = 20
#: The share of a picture that is paper at least, and how far from that to the lightest pixel one
#: belongs to the digit: paper that was photographed has a grain.
_PAPER, _INK = 0.25, 0.4


def read_digits(path: Path) -> tuple[NDArray[np.uint8], str]:
    """The images in ``path``, an IDX file or a picture such as a PNG, (n, 784), and a note on it.

    Dark on light is inverted; what is not 28 x 28 is cut to its digit, scaled and centred as
    MNIST's were, and its paper made black. Raises DataError where there is no image.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
        # IDX begins with zeros, or is gzipped.
        images = read_idx(path) if start in (b"\0\0", b"\x1f\x8b") else _picture(path)[None]
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: no picture and no IDX file: {reason}") from error
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(f"{path}: holds {images.ndim}-dimensional {images.dtype}, no grey images")
    notes = []
    if not np.ptp(images):
        raise DataError(f"{path}: nothing is drawn there: all pixels are alike")
    if np.mean([images[:, 0], images[:, -1]]) > np.mean([images.min(), images.max()]):
        images = 255 - images
        notes.append("inverted, as it is dark on light")
    if images.shape[1:] != (SIDE, SIDE):
        images = np.stack([_fitted(image) for image in images])
        notes.append(f"scaled to {SIDE} x {SIDE} and centred, as MNIST's digits were")
    return images.reshape(-1, PIXELS), "; ".join(notes)


def _picture(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as stored:
        picture = ImageOps.exif_transpose(stored)  # as a phone was held
        if picture.mode[0] in "IF":  # whole numbers of 16 bits or more, or fractions
            return _stretched(np.asarray(picture), 0)
        # What is transparent is paper.
        paper = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(paper, picture.convert("RGBA")).convert("L"))


def _stretched(values: NDArray[Any], paper: float) -> NDArray[np.uint8]:
    """``values`` as grey values: 0 for the share ``paper`` that is lowest, 255 for the highest."""
    return np.asarray(np.interp(values, np.quantile(values, (paper, 1)), (0, 255)), np.uint8)


def _fitted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The digit in ``image``, (height, width) light on dark, as a 28 x 28 image."""
    image = _stretched(image, _PAPER)
    rows, columns = np.nonzero(image > _INK * 255)
    ink = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = (max(1, round(_DIGIT * side / max(ink.shape))) for side in ink.shape)
    digit = np.asarray(Image.fromarray(ink).resize((width, height)))
    fitted = np.zeros((SIDE, SIDE), np.uint8)
    place = []
    for axis, side in enumerate(digit.shape):
        centre = np.average(np.arange(side), weights=digit.sum(1 - axis))
        start = min(max(round((SIDE - 1) / 2 - centre), 0), SIDE - side)
        place.append(slice(start, start + side))
    fitted[tuple(place)] = digit
    return fitted


def format_predictions(rows: Sequence[tuple[Path, int, int, float]], as_csv: bool) -> str:
    """Rows of file, number of the image, class and probability, as CSV or as a table for people."""
    heads = ("file", "image", "prediction", "confidence")
    if as_csv:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([heads, *rows])
        return buffer.getvalue().removesuffix("\n")
    cells = [heads, *((str(f), str(i), str(k), f"{100 * p:.1f} %") for f, i, k, p in rows)]
    wide = max(len(file) for file, *_ in cells)
    return "\n".join(f"{f:{wide}}  {i:>5}  {k:>10}  {p:>10}" for f, i, k, p in cells)
