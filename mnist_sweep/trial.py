"""A trial, its identity, and what came of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from mnist_sweep.config import HPConfig, settings
from mnist_sweep.errors import DataError

Status = Literal["ok", "diverged", "failed"]

#: Name of the data set that ships with the package.
BUNDLED_DATASET = "mnist"

#: How many images its training and its test file hold.
BUNDLED_IMAGES = 60_000, 10_000

SPLIT_SIZES = ("validation_size", "train_size", "test_size")

_DIGEST = re.compile(r"(.+)@([0-9a-f]{12})")


@dataclass(frozen=True)
class DatasetConfig:
    """Which data a trial uses, and how it is split.

    ``name`` is ``"mnist"`` for the data in the package, else what people call it; its contents are
    known by their ``digest``, and ``path`` is where they are, which decides nothing. Without a
    digest any other name is a path: so early versions named what they found there. Sizes are
    numbers of images: ``validation_size`` are taken out of the training set (0: none);
    ``train_size`` and ``test_size`` are kept of what is there (None: all).
    """

    name: str = BUNDLED_DATASET
    validation_size: int = 0
    train_size: int | None = None
    test_size: int | None = None
    digest: str = ""
    path: str = field(default="", compare=False)

    @property
    def is_bundled(self) -> bool:
        """Whether it is the data in the package."""
        return self.name == BUNDLED_DATASET and not self.digest

    @property
    def test_images(self) -> int | None:
        """How many images test, where that can be told without the data."""
        return self.test_size or (BUNDLED_IMAGES[1] if self.is_bundled else None)

    def train_images(self, n_train: int, n_test: int) -> int:
        """How many of ``n_train`` images train. Raises DataError if the sizes do not fit."""
        rest = n_train - self.validation_size
        limits = {"validation_size": (0, n_train - 1), "train_size": (1, rest)}
        for key, (least, most) in {**limits, "test_size": (1, n_test)}.items():
            size = getattr(self, key)
            if size is not None and not least <= size <= most:
                raise DataError(
                    f"dataset: {key} is {size}; it must be from {least} to {most} ({self.name}: "
                    f"{n_train} training images, less validation_size, and {n_test} test images)"
                )
        return self.train_size or rest

    @property
    def label(self) -> str:
        """The ``dataset`` cell of the CSV: ``"mnist;validation_size=5000"``, ``"NAME@DIGEST"``."""
        name = f"{self.name}@{self.digest}" if self.digest else self.name
        sizes = [(key, getattr(self, key)) for key in SPLIT_SIZES]
        return ";".join([name, *(f"{key}={size}" for key, size in sizes if size)])

    @classmethod
    def from_label(cls, label: str) -> DatasetConfig:
        """The inverse of ``label``. Raises ValueError on anything that ``label`` cannot produce."""
        name, *parts = label.split(";")
        sizes: dict[str, Any] = {}
        for part in parts:
            key, _, size = part.partition("=")
            if key not in SPLIT_SIZES or not (size.isascii() and size.isdigit()):
                raise ValueError(f"dataset: cannot read {part!r} in {label!r}")
            sizes[key] = int(size)
        known = _DIGEST.fullmatch(name)
        name, digest = known.groups() if known else (name, "")
        config = cls(name, digest=digest, **sizes)
        if not name or config.label != label:
            raise ValueError(f"dataset: cannot read {label!r}")
        return config


@dataclass(frozen=True)
class Trial:
    """One training run: a configuration (with its seed) on a data set."""

    config: HPConfig
    dataset: DatasetConfig = DatasetConfig()

    @cached_property
    def trial_id(self) -> str:
        """12 hex digits that are equal for two trials exactly if their settings are."""
        return id_of(self.canonical)

    @property
    def canonical(self) -> str:
        """Everything that decides the result, as JSON.

        What is off does not enter, so that ids outlive what is yet to come.
        """
        known = ("name", *SPLIT_SIZES, *(["digest"] if self.dataset.digest else []))
        decisive = {
            "config": settings(self.config),
            "dataset": {name: getattr(self.dataset, name) for name in known},
        }
        return json.dumps(decisive, sort_keys=True, separators=(",", ":"), allow_nan=False)


def id_of(canonical: str) -> str:
    """The trial_id of the trial whose ``canonical`` this is."""
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation during training.

    ``step`` counts from 1, ``epoch`` is a fraction (0.5: half of the first), ``lr`` is the learning
    rate of that step. The training values are means over the batches since the last point;
    accuracies are fractions; losses are mean cross-entropies (natural logarithm). ``val_accuracy``
    and ``val_loss`` are None without a validation split, both losses where they were not measured.
    """

    step: int
    epoch: float
    lr: float
    train_loss: float
    train_accuracy: float
    val_accuracy: float | None
    test_accuracy: float
    val_loss: float | None = None
    test_loss: float | None = None


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial: one row of results.csv, and its curve.

    Values that were not reached are None (a failed trial has no accuracy). ``error`` is the first
    line of the exception of a failed trial, else empty. Times are seconds; ``finished_at`` is UTC,
    ISO 8601. ``stage`` is the part of the search that asked for it, "" for its method.
    ``val_images`` and ``test_images`` are how many images the accuracies are of. ``weights`` are
    the tensors (see ``training.net``), float32, where they were asked for and the trial is ok.
    """

    sweep: str
    trial: Trial
    status: Status
    error: str = ""
    train_loss: float | None = None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    best_test_accuracy: float | None = None
    best_step: int | None = None
    steps: int | None = None
    parameters: int | None = None
    train_seconds: float | None = None
    compile_seconds: float | None = None
    device: str = ""
    tinygrad_version: str = ""
    mnist_sweep_version: str = ""
    finished_at: str = ""
    stage: str = ""
    val_loss: float | None = None
    test_loss: float | None = None
    val_images: int | None = None
    test_images: int | None = None
    curve: tuple[CurvePoint, ...] = ()
    weights: Mapping[str, Any] = field(default_factory=dict, compare=False)
