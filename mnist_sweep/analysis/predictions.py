"""What a trained model says of test images: per class, how sure it is, and beside other seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.analysis.intervals import wilson_interval
from mnist_sweep.metrics import TEST_ACCURACY


@dataclass(frozen=True)
class Predictions:
    """What a model says of n images.

    Each has its label, the predicted class and the probability of that, (n,); ``wrong`` are the
    places of the mistakes, the most confident first. ``confusion`` counts how often each class
    (rows) was taken for each (columns). ``calibration`` has mean confidence, accuracy and number of
    the images in each tenth of confidence, ``calibration_error`` the expected calibration error, a
    fraction (Guo et al., 2017).
    """

    labels: NDArray[Any]
    classes: NDArray[Any]
    confidences: NDArray[Any]
    wrong: NDArray[Any]
    confusion: NDArray[Any]
    calibration: list[tuple[float, float, int]]
    calibration_error: float


def predictions(labels: NDArray[Any], probabilities: NDArray[Any]) -> Predictions:
    """Of the ``probabilities`` (n, classes) for images with ``labels`` (n,)."""
    classes, sure = probabilities.argmax(1), probabilities.max(1).astype(float)
    right = classes == labels
    wrong = np.flatnonzero(~right)
    confusion = np.zeros((probabilities.shape[1],) * 2, int)
    np.add.at(confusion, (labels, classes), 1)
    tenths = np.minimum((sure * 10).astype(int), 9)
    inside = [tenths == tenth for tenth in np.unique(tenths)]
    calibration = [(float(sure[i].mean()), float(right[i].mean()), int(i.sum())) for i in inside]
    error = sum(abs(mean - share) * n for mean, share, n in calibration) / len(labels)
    most_confident = wrong[np.argsort(-sure[wrong], kind="stable")]
    return Predictions(labels, classes, sure, most_confident, confusion, calibration, error)


def describe(seen: Predictions) -> str:
    """Accuracy, each class's with its interval, and calibration, in lines."""
    counts = [("all", len(seen.labels) - len(seen.wrong), len(seen.labels))]
    counts += [(str(k), row[k], row.sum()) for k, row in enumerate(seen.confusion) if row.any()]
    lines = ["class  images  wrong  test accuracy %, with its 95 % interval (Wilson) over images"]
    for name, right, n in counts:
        share = wilson_interval(right / n, int(n))
        mean, low, high = (TEST_ACCURACY.number(v) for v in (share.mean, share.low, share.high))
        lines.append(f"{name:>5}  {n:6,}  {n - right:5,}  {mean} ({low} to {high})")
    lines.append(f"expected calibration error: {100 * seen.calibration_error:.2f} points")
    return "\n".join(lines)


def describe_ensemble(labels: NDArray[Any], models: Sequence[NDArray[Any]]) -> str:
    """How far ``models`` of one configuration agree in their mistakes, and what most of them say.

    Each is given by its probabilities. Of classes with as many votes the most probable one wins.
    """
    votes = [np.eye(p.shape[1])[p.argmax(1)] + p / (len(models) + 1) for p in models]
    wrong = np.array([p.argmax(1) != labels for p in (sum(votes), *models)])
    accuracies = ", ".join(TEST_ACCURACY.number(1 - share) for share in wrong.mean(1))
    return (
        f"ensemble of {len(models)} seeds: test accuracy %, of the majority and of each seed: "
        f"{accuracies}; of {wrong[1:].any(0).sum():,} images that a seed gets wrong all get "
        f"{wrong[1:].all(0).sum():,} wrong"
    )
