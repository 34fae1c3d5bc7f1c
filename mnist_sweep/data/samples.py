"""What a data set holds, as text: counts, classes, and a picture of one image of each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnist_sweep.data.dataset import identified
from mnist_sweep.data.folder import read_folder
from mnist_sweep.data.images import LabelledImages
from mnist_sweep.models import SIDE

#: Pictures beside each other: as many as 80 columns hold.
_IN_A_ROW = 5
#: The dots of a character of Braille, of which U+2800 has none, as bits of its code point.
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def describe(path: str) -> str:
    """The data set at ``path`` for a person. Raises DataError if there is none."""
    config, note = identified(path)
    folder = read_folder(Path(config.path))
    data, (n_train, n_test) = folder.data, folder.data.sizes
    classes, counts = np.unique(data.labels, return_counts=True)
    lines = {
        "name": config.name,
        "digest": config.digest,
        "images": f"{n_train:,} to train on, {n_test:,} to test on",
        "classes": f"{len(classes)}, of {counts.min():,} to {counts.max():,} images each: "
        f"{', '.join(map(str, classes))}",
        "files": f"{', '.join(file.name for file in folder.files)} in {folder.files[0].parent}",
        "note": note,
    }
    return "\n".join([*(f"{key:10}{text}" for key, text in lines.items() if text), *_samples(data)])


def _samples(data: LabelledImages) -> list[str]:
    """The first image of each class with its label, in rows."""
    pictures = [
        [f"{label}:", *_picture(data, int(np.argmax(data.labels == label)))]
        for label in np.unique(data.labels)
    ]
    return [
        " ".join(f"{line:{SIDE // 2}}" for line in lines).rstrip()
        for start in range(0, len(pictures), _IN_A_ROW)
        for lines in zip(*pictures[start : start + _IN_A_ROW], strict=True)
    ]


def _picture(data: LabelledImages, row: int) -> list[str]:
    """An image as lines of Braille: a dot for each pixel that is lighter than the mean."""
    image = data.images[row].reshape(SIDE // 4, 4, SIDE // 2, 2)
    codes = ((image > image.mean()) * _DOTS[:, None]).sum(axis=(1, 3))
    return ["".join(chr(0x2800 + code) for code in line) for line in codes.tolist()]
