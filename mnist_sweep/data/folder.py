"""A data set in a folder, as its makers and their loaders leave it there.

Four IDX files (MNIST, torchvision), arrays of numpy (Keras' ``.npz``, the four of KMNIST) or tables
(Kaggle's ``train.csv`` and ``test.csv``), also one folder further down.
"""

from __future__ import annotations

import gzip
import os
import re
import warnings
import zipfile
import zlib
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.data.idx import FILE_NAMES, MAX_VALUES, read_idx
from mnist_sweep.data.images import PIXELS, LabelledImages, joined, usable
from mnist_sweep.errors import DataError

#: A file of a data set: what it is called, what it is for, what it holds, how it holds that.
_PART = re.compile(
    r"(?i)(.*?)[-_.]?(train|t10k|test)(?:[-_.](images|imgs|labels))?"
    r"((?:[-.]idx\d-\w+)?(?:\.gz)?|\.npz|\.csv(?:\.gz)?)"
)
_KERAS = ("x_train", "y_train", "x_test", "y_test")
_PARTS = ("train images", "train labels", "test images", "test labels")
#: Of a table without a test file that has labels, one row in so many tests.
_HELD_OUT = 7
#: Names of files that a message repeats at most.
_MOST_NAMES = 12
#: More characters are in no line of a table of images.
_LONGEST_LINE = 100_000
_WANTED = (
    "a data set is four IDX files (train-images-idx3-ubyte, ...), an .npz file with x_train, "
    "y_train, x_test and y_test, or train.csv and test.csv"
)


#: What a file is for -> the files that are, which should all hold the same.
Parts = dict[str, list[Path]]


class Folder(NamedTuple):
    """The data set in a folder: what to call it, its files, and what a person should know."""

    name: str
    files: tuple[Path, ...]
    data: LabelledImages
    note: str


def read_folder(path: Path) -> Folder:
    """Read the data set at ``path``, a folder or an .npz file; at once if it was just read.

    Raises DataError, naming the file, on anything but 28 x 28 grey images with labels 0 to 61.
    """
    try:
        name, parts = _find(Path(os.path.realpath(path)))
        files = [(part, file, os.stat(file)) for part in parts for file in parts[part]]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be read: {reason}; {_WANTED}") from error
    return _read(name, tuple((part, file, s.st_size, s.st_mtime_ns) for part, file, s in files))


@lru_cache(maxsize=1)
def _read(name: str, files: tuple[tuple[str, Path, int, int], ...]) -> Folder:
    parts: Parts = defaultdict(list)
    for part, path, *_ in files:
        parts[part].append(path)
    paths, arrays, note = [*parts["all"] * 4], [], ""
    if paths:
        held = _npz(paths[0])
        if missing := [key for key in _KERAS if key not in held]:
            there, wanted = ", ".join(held), ", ".join(missing)
            raise DataError(f"{paths[0]}: has the arrays {there}, but not {wanted}; {_WANTED}")
        arrays = [held[key] for key in _KERAS]
    elif train := parts["train table"]:
        test = parts["test table"] or train
        paths = [train[0], train[0], test[0], test[0]]
        arrays = [*_table(train[0]), *_table(test[0])]
        if test == train or len(arrays[3]) == 0:
            tests = np.arange(len(arrays[0])) % _HELD_OUT == _HELD_OUT - 1
            arrays = [array[rows] for rows in (~tests, tests) for array in arrays[:2]]
            paths[2:] = paths[:2]
            note = f"no images to test on have labels: one row in {_HELD_OUT} of {train[0].name} is"
    else:
        for part in _PARTS:
            first, *others = parts[part]
            paths.append(first)
            arrays.append(_array(first))
            for other in others:
                if not np.array_equal(arrays[-1], _array(other)):
                    raise DataError(f"{first} and {other.name} differ; remove one of them")
    splits = (usable(arrays[n : n + 2], paths[n : n + 2]) for n in (0, 2))
    return Folder(name, tuple(path for _, path, *_ in files), joined(*splits), note)


def _find(path: Path) -> tuple[str, Parts]:
    """The name and the files of the only data set at ``path``. Raises DataError, OSError."""
    if path.suffix == ".npz" and path.is_file():
        return path.stem, {"all": [path]}
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; {_WANTED}")
    below = sorted(child for child in path.iterdir() if child.is_dir())
    places = [[path, path / "raw"], [deep for child in below for deep in (child, child / "raw")]]
    for folders in places:
        sets = [(folder, *one) for folder in folders if folder.is_dir() for one in _sets(folder)]
        if len(sets) > 1:
            names = ", ".join(str((folder / name).relative_to(path)) for folder, name, _ in sets)
            raise DataError(f"{path}: holds several data sets ({names}); give a folder with one")
        for folder, name, parts in sets:
            missing = [n for n, part in zip(FILE_NAMES, _PARTS, strict=True) if part not in parts]
            if "all" in parts:
                return name, parts
            if "train table" not in parts and missing:
                raise DataError(
                    f"{folder}: has no {' and no '.join(missing)} (.gz); {_there(folder)}"
                )
            return (folder.parent if folder.name == "raw" else folder).name, parts
    raise DataError(f"{path}: no data set; {_there(path)}; {_WANTED}")


def _sets(folder: Path) -> list[tuple[str, Parts]]:
    """The data sets whose files are in ``folder`` itself, of the kind that says most."""
    kinds: dict[bool, dict[str, Parts]] = {False: {}, True: {}}
    for path in sorted(folder.glob("[!.]*")):
        match = _PART.fullmatch(path.name)
        if match and path.is_file():
            name, split, what, suffix = match.groups()
            table = suffix.lower().startswith(".csv")
            what = "table" if table else "labels" if what == "labels" else "images"
            part = f"{'train' if split.lower() == 'train' else 'test'} {what}"
            kinds[table].setdefault(name, defaultdict(list))[part].append(path)
        elif path.suffix == ".npz":
            kinds[False][path.stem] = {"all": [path]}
    return list((kinds[False] or kinds[True]).items())


def _there(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"there: {', '.join(names[:_MOST_NAMES]) or 'nothing'}{more}"


def _array(path: Path) -> NDArray[Any]:
    """The only array in a file."""
    if path.suffix.lower() != ".npz":
        return read_idx(path)
    (array,) = _npz(path).values()
    return array


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays in an .npz file by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > 2 * MAX_VALUES:
            raise DataError(f"{path}: says that it holds {size:,} bytes, too many for a data set")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: no .npz file of numbers: {error}") from error


def _table(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """The images and the labels of a table with a row for each image; no labels if it has none."""
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rt") as file:
            names = file.readline(_LONGEST_LINE).strip().replace('"', "").lower().split(",")
        headed = not names[0].isdigit()
        with warnings.catch_warnings(action="error"):  # of a table without rows
            values = np.loadtxt(path, np.int16, delimiter=",", skiprows=int(headed), ndmin=2)
    except (OSError, ValueError, EOFError, UserWarning, zlib.error) as error:
        raise DataError(f"{path}: no table of whole numbers: {error}") from error
    label = names.index("label") if headed and "label" in names else 0
    if values.shape[1] == PIXELS:
        return values, values[:0, 0]
    return np.delete(values, label, axis=1), values[:, label]
