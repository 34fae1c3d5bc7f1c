"""Training one trial after another with one compiled step per shape."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor, dtypes

from mnist_sweep import backend
from mnist_sweep.config import OPTIMIZERS, SCHEDULES, HPConfig
from mnist_sweep.data import Dataset
from mnist_sweep.kernels import step as kernels
from mnist_sweep.models import MODELS, initial_values, is_statistic
from mnist_sweep.plan import Shape, shape_of
from mnist_sweep.trial import CurvePoint, Trial, TrialResult

#: Rows of the training split on which the final training accuracy is measured.
TRAIN_EVALUATION_ROWS = 10_000
#: Images in a step of evaluation.
EVALUATION_BATCH = 250
#: Training steps between two looks at the loss for NaN or inf; a look waits for the device.
STEPS_BETWEEN_CHECKS = 100

IntArray = NDArray[np.int32]


class DeviceData:
    """A data set on the current device: pixels and labels as uint8."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.images = backend.to_device(dataset.images)
        self.labels = backend.to_device(dataset.labels)


def steps_per_epoch(train_images: int, batch_size: int) -> int:
    """Steps in an epoch: the images of a last partial batch are left out of that epoch.

    Every epoch has its own order, so the images left out differ; each step weighs the same.
    """
    return train_images // batch_size


def epoch_order(seed: int, epoch: int, rows: IntArray) -> IntArray:
    """``rows`` in the order of epoch ``epoch`` (from 0) of the trial with ``seed``."""
    return np.random.default_rng([seed, 1, epoch]).permutation(rows)


def learning_rates(config: HPConfig, first: int, count: int, total: int) -> NDArray[np.float32]:
    """The schedule's rates of the steps ``first`` .. ``first + count - 1`` out of ``total``.

    The decay of the plateau schedule is not in them: it depends on the losses.
    """
    factor = SCHEDULES[config.lr_schedule].factor
    rates = [config.lr * factor(step / total) for step in range(first, first + count)]
    return np.array(rates, np.float32)


class DivergedError(Exception):
    """The training loss became NaN or infinite."""


@dataclass
class _Progress:
    """What is known of a running trial."""

    curve: list[CurvePoint] = field(default_factory=list)
    steps: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started


class CompiledShape:
    """The compiled training and evaluation steps of one shape, and the buffers they work on.

    One object trains any number of trials that share the shape, whatever their learning rate,
    schedule, epochs or seed: everything that differs between them lives in device buffers.
    ``compile_seconds`` says how long building it took.
    """

    def __init__(self, shape: Shape, data: DeviceData) -> None:
        started = time.perf_counter()
        self.shape, self.data = shape, data
        # Only the fields of the shape matter to what is compiled.
        self._config = shape.example
        dataset = data.dataset
        self._train_rows = dataset.train_rows
        self.steps_per_epoch = steps_per_epoch(len(self._train_rows), shape.batch_size)
        longest = max(len(dataset.validation_rows), len(dataset.test_rows), TRAIN_EVALUATION_ROWS)
        self._evaluation_rows = -(-longest // EVALUATION_BATCH) * EVALUATION_BATCH
        self._tensors = {
            name: backend.to_device(value)
            for name, value in initial_values(self._config, dataset.classes).items()
        }
        self._trained = [name for name in self._tensors if not is_statistic(name)]
        self._optimizer = OPTIMIZERS[shape.opt]
        self._slots = {
            name: [backend.zeros(self._tensors[name].shape) for _ in range(self._optimizer.slots)]
            for name in self._trained
        }
        self._control = self._new_control(
            self.steps_per_epoch * shape.batch_size, self.steps_per_epoch
        )
        self._evaluation = self._new_control(self._evaluation_rows, 1)
        self.train_step = backend.compile_step(
            self._define_training_step, lambda: self._rewind(self._control)
        )
        self._evaluation_step = backend.compile_step(
            self._define_evaluation_step, lambda: self._rewind(self._evaluation)
        )
        self.compile_seconds = time.perf_counter() - started

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(math.prod(self._tensors[name].shape) for name in self._trained)

    @staticmethod
    def _new_control(rows: int, steps: int) -> kernels.Control:
        return kernels.Control(
            rows=backend.zeros((rows,), dtypes.int32),
            rates=backend.zeros((steps,)),
            reals=backend.zeros((kernels.REALS,)),
            counts=backend.zeros((kernels.COUNTS,), dtypes.int32),
        )

    @staticmethod
    def _rewind(control: kernels.Control) -> None:
        backend.write(control.counts, np.zeros(kernels.COUNTS, np.int32))

    def _batch(self, control: kernels.Control, size: int) -> tuple[Tensor, Tensor]:
        dataset = self.data.dataset
        return kernels.gather_batch(
            self.data.images, self.data.labels, control, size, dataset.mean, dataset.std
        )

    def _define_training_step(self) -> list[Tensor]:
        control, tensors = self._control, self._tensors
        x, labels = self._batch(control, self.shape.batch_size)
        output = MODELS[self.shape.model](tensors, x, self._config, True)
        loss, hits = kernels.cross_entropy(output.logits, labels)
        gradients = loss.mean().gradient(*(tensors[name] for name in self._trained))
        written = kernels.advance(control, loss, hits)
        for name, gradient in zip(self._trained, gradients, strict=True):
            written += kernels.update_parameter(
                self._optimizer, tensors[name], gradient, self._slots[name], control
            )
        written += [tensors[name].assign(new) for name, new in output.statistics.items()]
        return written

    def _define_evaluation_step(self) -> list[Tensor]:
        x, labels = self._batch(self._evaluation, EVALUATION_BATCH)
        output = MODELS[self.shape.model](self._tensors, x, self._config, False)
        loss, hits = kernels.cross_entropy(output.logits, labels)
        return kernels.count_batch(self._evaluation, loss, hits)

    def _reset(self, config: HPConfig) -> None:
        """Put every buffer where a new trial with ``config`` starts."""
        self.load(initial_values(config, self.data.dataset.classes))
        for slots in self._slots.values():
            for slot in slots:
                backend.write(slot, np.zeros(slot.shape, np.float32))
        decay = config.lr_decay if SCHEDULES[config.lr_schedule].plateau else 1.0
        reals = np.zeros(kernels.REALS, np.float32)
        reals[[kernels.SCALE, kernels.BEST_LOSS, kernels.DECAY]] = 1.0, np.inf, decay
        counts = np.zeros(kernels.COUNTS, np.int32)
        counts[kernels.PATIENCE] = config.patience
        backend.write(self._control.reals, reals)
        backend.write(self._control.counts, counts)

    def prepare(self, config: HPConfig) -> None:
        """Put everything where a trial with ``config`` starts; ``train_step()`` runs a step."""
        self._reset(config)
        self._start_epoch(config, 0)

    def _start_epoch(self, config: HPConfig, epoch: int) -> None:
        order = epoch_order(config.seed, epoch, self._train_rows)
        backend.write(self._control.rows, order[: self.steps_per_epoch * self.shape.batch_size])
        rates = learning_rates(
            config,
            epoch * self.steps_per_epoch,
            self.steps_per_epoch,
            config.epochs * self.steps_per_epoch,
        )
        backend.write(self._control.rates, rates)
        counts = backend.read(self._control.counts)
        counts[kernels.POSITION] = 0
        backend.write(self._control.counts, counts)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the model's tensors as they stand."""
        return {name: backend.read(tensor) for name, tensor in self._tensors.items()}

    def load(self, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Overwrite the model's tensors, in place, with ``values``."""
        for name, value in values.items():
            backend.write(self._tensors[name], value)

    def evaluate(self, rows: IntArray) -> tuple[float, float]:
        """Mean loss and accuracy of the model as it stands on ``rows`` of the data set."""
        padded = np.zeros(self._evaluation_rows, np.int32)
        padded[: len(rows)] = rows
        counts = np.zeros(kernels.COUNTS, np.int32)
        counts[kernels.PATIENCE] = len(rows)
        backend.write(self._evaluation.rows, padded)
        backend.write(self._evaluation.counts, counts)
        backend.write(self._evaluation.reals, np.zeros(kernels.REALS, np.float32))
        for _ in range(-(-len(rows) // EVALUATION_BATCH)):
            self._evaluation_step()
        reals = backend.read(self._evaluation.reals)
        return float(reals[kernels.LOSS_SUM]) / len(rows), float(reals[kernels.HITS]) / len(rows)

    def train(self, trial: Trial, *, evals_per_epoch: int = 1) -> TrialResult:
        """Train ``trial``, whose shape must be this one, from its seed to its last evaluation.

        ``evals_per_epoch`` sets the points of the curve. A loss of NaN or inf ends the trial with
        status ``diverged``. The sweep and where the result was made are for the caller to fill in.
        """
        config = trial.config
        assert shape_of(trial) == self.shape
        self._reset(config)
        progress = _Progress()
        result = TrialResult(sweep="", trial=trial, status="ok", parameters=self.parameters)
        try:
            for epoch in range(config.epochs):
                self._start_epoch(config, epoch)
                self._train_epoch(progress, epoch, evals_per_epoch)
            rows = self._train_rows[:TRAIN_EVALUATION_ROWS]
            train_loss, train_accuracy = self.evaluate(rows)
            # ReLU turns NaN into 0: a loss can be finite though the weights are not.
            weights = self.state().values()
            if not (math.isfinite(train_loss) and all(np.isfinite(w).all() for w in weights)):
                raise DivergedError
            last = progress.curve[-1]
            result = replace(
                result,
                train_loss=train_loss,
                train_accuracy=train_accuracy,
                val_accuracy=last.val_accuracy,
                test_accuracy=last.test_accuracy,
            )
        except DivergedError:
            result = replace(result, status="diverged")
        best = max(progress.curve, key=lambda point: point.test_accuracy, default=None)
        return replace(
            result,
            best_test_accuracy=best.test_accuracy if best else None,
            best_step=best.step if best else None,
            steps=progress.steps,
            train_seconds=progress.seconds,
            curve=tuple(progress.curve),
        )

    def _train_epoch(self, progress: _Progress, epoch: int, evals_per_epoch: int) -> None:
        done = 0
        for number in range(1, evals_per_epoch + 1):
            target = self.steps_per_epoch * number // evals_per_epoch
            if target == done:
                continue
            since, done = done, self._run_steps(progress, done, target)
            reals = backend.read(self._control.reals)
            self._evaluate_point(progress, epoch, done, reals, done - since)
            reals[[kernels.LOSS_SUM, kernels.HITS]] = 0.0
            backend.write(self._control.reals, reals)

    def _run_steps(self, progress: _Progress, done: int, target: int) -> int:
        while done < target:
            stop = min(target, done + STEPS_BETWEEN_CHECKS)
            for _ in range(done, stop):
                self.train_step()
            progress.steps += stop - done
            done = stop
            if not math.isfinite(backend.read(self._control.reals)[kernels.LOSS_SUM]):
                raise DivergedError
        return done

    def _evaluate_point(
        self, progress: _Progress, epoch: int, done: int, reals: NDArray[np.float32], steps: int
    ) -> None:
        dataset = self.data.dataset
        validation = dataset.validation_rows
        point = CurvePoint(
            step=progress.steps,
            epoch=epoch + done / self.steps_per_epoch,
            lr=float(reals[kernels.LR]),
            train_loss=float(reals[kernels.LOSS_SUM]) / steps,
            train_accuracy=float(reals[kernels.HITS]) / (steps * self.shape.batch_size),
            val_accuracy=self.evaluate(validation)[1] if len(validation) else None,
            test_accuracy=self.evaluate(dataset.test_rows)[1],
        )
        progress.curve.append(point)
