"""Grouping trials into cohorts that share one compiled step, and estimating their cost."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from mnist_sweep.config import FIELDS, HPConfig, applies, fields_with
from mnist_sweep.errors import UserError
from mnist_sweep.models import Layer, layers_of
from mnist_sweep.trial import DatasetConfig, Trial

_COMPILED = fields_with("compiled")
_compiled_values = attrgetter(*_COMPILED)
#: (name, value that is off, part of the step) of each field that switches a part on.
_SWITCHES = [(n, FIELDS[n].default, FIELDS[n].metadata["switch"]) for n in fields_with("switch")]


class Shape(NamedTuple):
    """Everything that a compiled step depends on; trials that share it share the step.

    ``values`` are those of the fields that are compiled, ``switches`` the parts of the step that
    are there only because a field is on.
    """

    values: tuple[Any, ...]
    switches: frozenset[str]
    dataset: DatasetConfig

    @property
    def config(self) -> HPConfig:
        """A configuration with the values that are compiled, and defaults elsewhere."""
        return HPConfig(**dict(zip(_COMPILED, self.values, strict=True)))


def shape_of(trial: Trial) -> Shape:
    """The shape of ``trial``."""
    config = trial.config
    values = vars(config)
    switches = [s for name, off, s in _SWITCHES if values[name] != off and applies(name, values)]
    return Shape(_compiled_values(config), frozenset(switches), trial.dataset)


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


#: Training images of MNIST; other data sets are estimated as if they were as large.
_MNIST_IMAGES = 60_000


def flops(trials: Sequence[Trial]) -> float:
    """Floating-point operations of training ``trials``: forward, and twice that backward.

    Evaluation, the optimizer and everything that is not a matrix product are left out.
    """
    return float(sum(_trial_flops(trial) for trial in trials))


def _trial_flops(trial: Trial) -> int:
    dataset = trial.dataset
    images = dataset.train_size or _MNIST_IMAGES - dataset.validation_size
    first, *others = (
        layer.pixels * math.prod(layer.weight)
        for layer in _layers(shape_of(trial))
        if not layer.is_norm
    )
    # Nobody needs the gradient of the images, so the first layer has one product less.
    return 2 * (2 * first + 3 * sum(others)) * images * trial.config.epochs


@lru_cache(maxsize=4096)
def _layers(shape: Shape) -> list[Layer]:
    return layers_of(shape.config)


def weight_bytes(config: HPConfig) -> int:
    """Bytes of the tensors of ``config``'s model for ten classes, as float32."""
    layers = layers_of(config)
    # Batch norm has weights, biases and two statistics; others have a bias for each output.
    return 4 * sum(math.prod(la.weight) + la.weight[-1] * (3 if la.is_norm else 1) for la in layers)


#: Images in a step of evaluation.
EVALUATION_BATCH = 250
#: Most trials that share a step: by then a GPU is busy, and what is lost in a crash stays small.
MOST_STACKED = 64


def stack_size(shape: Shape, free_bytes: int) -> int:
    """How many trials of ``shape`` may share a step on a device with ``free_bytes`` of memory.

    Counted are the weights with gradients and optimizer state, and four copies of the activations
    of a batch (before and behind the activation function, and the gradients of both); a quarter of
    the memory is filled, as the device's compiler decides what else is kept.
    """
    layers = [layer for layer in _layers(shape) if not layer.is_norm]
    weights = sum(math.prod(layer.weight) for layer in layers)
    activations = sum(layer.pixels * layer.weight[-1] for layer in layers)
    batch = max(shape.config.batch_size, EVALUATION_BATCH)
    trial = 4 * (4 * weights + 4 * batch * activations)
    return max(1, min(MOST_STACKED, free_bytes // 4 // trial))


class Assignments:
    """Hands out the trials of a plan, so that a worker seldom changes its shape.

    A worker gets the trials of the cohort whose shape it holds one by one, then the costliest
    cohort that nobody has begun, then a trial of the cohort with most of them left: at the end no
    worker idles while another has trials waiting.
    """

    def __init__(self, cohorts: Iterable[Cohort]) -> None:
        # Without those that have none left; those that somebody has begun are few of them.
        self._waiting: dict[Shape, deque[Trial]] = {}
        self._begun: set[Shape] = set()
        #: How many trials nobody has taken yet.
        self.left = 0
        for cohort in cohorts:
            self._waiting.setdefault(cohort.shape, deque()).extend(cohort.trials)
            self.left += len(cohort.trials)

    def have(self, shape: Shape | None) -> bool:
        """Whether trials of ``shape`` are left."""
        return shape in self._waiting

    def take(self, shape: Shape | None) -> Trial | None:
        """The next trial for a worker that holds ``shape`` (None: a new one), or None."""
        if not self._waiting:
            return None
        if shape is None or shape not in self._waiting:
            untouched = (shape for shape in self._waiting if shape not in self._begun)
            shape = next(untouched, None) or max(self._waiting, key=self._work)
        self._begun.add(shape)
        trial = self._waiting[shape].popleft()
        self._taken(shape, 1)
        return trial

    def put_back(self, trials: Iterable[Trial]) -> None:
        """Have ``trials``, which were taken, handed out again."""
        for trial in trials:
            self._waiting.setdefault(shape_of(trial), deque()).append(trial)
            self.left += 1

    def take_stack(self, shape: Shape | None, most: Callable[[Shape], int]) -> list[Trial]:
        """The next trials for a worker that trains up to ``most(shape)`` of a shape side by side.

        As ``take``, with trials of the same cohort and number of epochs beside the first: all that
        are left, in the smallest number of equal parts. Empty where nothing is left.
        """
        first = self.take(shape)
        if first is None:
            return []
        shape = shape_of(first)
        limit, waiting = most(shape), self._waiting.get(shape)
        if limit == 1 or waiting is None:
            return [first]
        alike = [trial for trial in waiting if trial.config.epochs == first.config.epochs]
        parts = -(-(1 + len(alike)) // limit)
        beside = alike[: -(-(1 + len(alike)) // parts) - 1]
        ids = {trial.trial_id for trial in beside}
        self._waiting[shape] = deque(trial for trial in waiting if trial.trial_id not in ids)
        self._taken(shape, len(beside))
        return [first, *beside]

    def _taken(self, shape: Shape, count: int) -> None:
        self.left -= count
        if not self._waiting[shape]:
            del self._waiting[shape]

    def _work(self, shape: Shape) -> float:
        """What is left of a cohort, roughly: as if all its trials cost as much as the next."""
        trials = self._waiting[shape]
        return len(trials) * _trial_flops(trials[0])


def check_batch_sizes(trials: Sequence[Trial], images: int) -> None:
    """See that each trial has a full batch in ``images``, or in its own. Raises UserError."""
    for trial in trials:
        size, there = trial.config.batch_size, trial.dataset.train_size or images
        if size > there:
            raise UserError(
                f"batch_size {size}: larger than the training split, which has {there} images; "
                "use smaller batches or more of the data set"
            )
