"""Grouping trials into cohorts that share one compiled step, and estimating their cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mnist_sweep.config import HPConfig
from mnist_sweep.trial import DatasetConfig, Trial


class Shape(NamedTuple):
    """Everything that a compiled step depends on; trials that share it share the step."""

    model: str
    width: int | None
    depth: int | None
    activation_fn: str
    opt: str
    batch_size: int
    dataset: DatasetConfig

    @property
    def example(self) -> HPConfig:
        """A configuration of this shape, with defaults elsewhere."""
        return HPConfig(
            model=self.model,
            width=self.width,
            depth=self.depth,
            activation_fn=self.activation_fn,
            opt=self.opt,
            batch_size=self.batch_size,
        )


def shape_of(trial: Trial) -> Shape:
    """The shape of ``trial``."""
    config = trial.config
    return Shape(
        config.model,
        config.width,
        config.depth,
        config.activation_fn,
        config.opt,
        config.batch_size,
        trial.dataset,
    )


@dataclass(frozen=True)
class Cohort:
    """Trials of one shape, in the order in which they are run."""

    shape: Shape
    trials: tuple[Trial, ...]


def plan(trials: Iterable[Trial]) -> list[Cohort]:
    """Group ``trials`` by shape, the costliest cohort first, so that no worker ends alone with it.

    The order is a function of the trials only; equal costs keep the order of the trials.
    """
    groups: dict[Shape, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(shape_of(trial), []).append(trial)
    cohorts = [Cohort(shape, tuple(members)) for shape, members in groups.items()]
    return sorted(cohorts, key=lambda cohort: -flops(cohort.trials))


#: Multiply-adds of the CNN's layers for one image: (output pixels, filter area, in, out channels).
_CNN_LAYERS = (
    (576, 25, 1, 32),
    (400, 25, 32, 32),
    (64, 9, 32, 64),
    (36, 9, 64, 64),
    (1, 1, 576, 10),
)

#: Training images of MNIST; other data sets are estimated as if they were as large.
_MNIST_IMAGES = 60_000


def flops(trials: Sequence[Trial]) -> float:
    """Floating-point operations of training ``trials``: forward, and twice that backward.

    Evaluation, the optimizer and everything that is not a matrix product are left out.
    """
    return float(sum(_trial_flops(trial) for trial in trials))


def _trial_flops(trial: Trial) -> int:
    config, dataset = trial.config, trial.dataset
    images = dataset.train_size or _MNIST_IMAGES - dataset.validation_size
    if config.width is None or config.depth is None:
        macs = sum(pixels * taps * a * b for pixels, taps, a, b in _CNN_LAYERS)
        first = _CNN_LAYERS[0][0] * _CNN_LAYERS[0][1] * _CNN_LAYERS[0][3]
    else:
        sizes = [784, *[config.width] * config.depth, 10]
        macs = sum(a * b for a, b in pairwise(sizes))
        first = 784 * config.width
    # Nobody needs the gradient of the images, so the first layer has one product less.
    return 2 * (3 * macs - first) * images * config.epochs


class Assignments:
    """Hands out the trials of a plan, so that a worker seldom changes its shape.

    A worker gets the trials of its cohort one by one, then the costliest cohort that nobody has
    begun, then a trial of the cohort with most of them left: at the end no worker idles while
    another has trials waiting.
    """

    def __init__(self, cohorts: Iterable[Cohort]) -> None:
        self._untouched = deque(cohorts)
        # Those that somebody has begun and that have trials left: few, whatever the sweep's size.
        self._begun: dict[Shape, deque[Trial]] = {}
        #: How many trials nobody has taken yet.
        self.left = sum(len(cohort.trials) for cohort in self._untouched)

    def take(self, shape: Shape | None) -> Trial | None:
        """The next trial for a worker that last had ``shape`` (None: a new one), or None."""
        if shape is None or shape not in self._begun:
            if self._untouched:
                cohort = self._untouched.popleft()
                shape = cohort.shape
                self._begun.setdefault(shape, deque()).extend(cohort.trials)
            elif self._begun:
                shape = max(self._begun, key=self._work)
            else:
                return None
        trials = self._begun[shape]
        trial = trials.popleft()
        if not trials:
            del self._begun[shape]
        self.left -= 1
        return trial

    def _work(self, shape: Shape) -> float:
        """What is left of a cohort, roughly: as if all its trials cost as much as the next."""
        trials = self._begun[shape]
        return len(trials) * _trial_flops(trials[0])
