"""Training trials, one after another or several at once, with one compiled step per shape."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tinygrad import Tensor

from mnist_sweep.config import SCHEDULES, HPConfig
from mnist_sweep.data.dataset import Dataset
from mnist_sweep.kernels import step as kernels
from mnist_sweep.kernels.batch import gather_batch
from mnist_sweep.kernels.control import COUNTS, REALS, Control, Count, Real, slot_values
from mnist_sweep.kernels.dropout import dropout
from mnist_sweep.optimizers import OPTIMIZERS
from mnist_sweep.plan import EVALUATION_BATCH, Shape, shape_of
from mnist_sweep.training import backend
from mnist_sweep.training.augmentation import draw_warps
from mnist_sweep.training.net import initial_values, is_statistic, logits
from mnist_sweep.trial import CurvePoint, Trial, TrialResult

#: Rows of the training split on which the final training accuracy is measured.
TRAIN_EVALUATION_ROWS = 10_000
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


@dataclass
class _Progress:
    """What is known of a running trial."""

    trial: Trial
    curve: list[CurvePoint] = field(default_factory=list)
    steps: int = 0
    diverged: bool = False


class CompiledShape:
    """The compiled training and evaluation steps of one shape, and the buffers they work on.

    One object trains any number of trials that share the shape, whatever their learning rate,
    schedule, epochs or seed: everything that differs between them lives in device buffers.
    ``stack`` trials share each step: their tensors have a leading axis where it is more than one.
    ``compile_seconds`` says how long building it took. ``report`` gets the share done of the steps
    of the trials that are trained, whenever their losses are looked at.
    """

    def __init__(self, shape: Shape, data: DeviceData, stack: int = 1) -> None:
        started = time.perf_counter()
        self.shape, self.data, self.stack = shape, data, stack
        self.report: Callable[[float], None] = lambda _: None
        self._config = config = shape.config
        dataset = data.dataset
        self._train_rows = dataset.train_rows
        self.steps_per_epoch = steps_per_epoch(len(self._train_rows), config.batch_size)
        longest = max(len(dataset.validation_rows), len(dataset.test_rows), TRAIN_EVALUATION_ROWS)
        self._evaluation_rows = -(-longest // EVALUATION_BATCH) * EVALUATION_BATCH
        self._tensors = {
            name: backend.to_device(value)
            for name, value in self._initial_values([self._config] * stack).items()
        }
        self._trained = [name for name in self._tensors if not is_statistic(name)]
        self._optimizer = OPTIMIZERS[config.opt]
        slots = self._optimizer.slots + ("momentum" in shape.switches)
        self._slots = {
            name: [backend.zeros(self._tensors[name].shape) for _ in range(slots)]
            for name in self._trained
        }
        images = self.steps_per_epoch * config.batch_size
        self._control = replace(
            self._new_control(stack, images, self.steps_per_epoch),
            warps=backend.zeros((stack, images, 6)) if "augmentation" in shape.switches else None,
        )
        # Every trial is evaluated on the same images.
        self._evaluation = self._new_control(1, self._evaluation_rows, 1)
        self.train_step = backend.compile_step(self._define_training_step, self._control.counts)
        self._evaluation_step = backend.compile_step(
            self._define_evaluation_step, self._evaluation.counts
        )
        self.compile_seconds = time.perf_counter() - started

    def _new_control(self, orders: int, rows: int, steps: int) -> Control:
        return Control(
            rows=backend.zeros((orders, rows), np.int32),
            rates=backend.zeros((self.stack, steps)),
            reals=backend.zeros((self.stack, REALS)),
            counts=backend.zeros((self.stack, COUNTS), np.int32),
        )

    def _initial_values(self, configs: Sequence[HPConfig]) -> dict[str, NDArray[np.float32]]:
        values = [initial_values(config, self.data.dataset.classes) for config in configs]
        if self.stack == 1:
            return values[0]
        return {name: np.stack([one[name] for one in values]) for name in values[0]}

    def _batch(self, control: Control, size: int) -> Tensor:
        """Images (size, 784), with the axis of trials before it if there is one."""
        dataset = self.data.dataset
        x = gather_batch(self.data.images, control, size, dataset.mean, dataset.std)
        return x.reshape(size, -1) if self.stack == 1 else x.expand(self.stack, size, x.shape[2])

    def _define_training_step(self) -> list[Tensor]:
        control, tensors, switches = self._control, self._tensors, self.shape.switches
        x = self._batch(control, self._config.batch_size)
        drop = partial(dropout, control=control) if "dropout" in switches else None
        out, statistics = logits(tensors, x, self._config, training=True, drop=drop)
        loss, hits, slopes = kernels.cross_entropy(
            out, self.data.labels, control, smoothed="label_smoothing" in switches
        )
        gradients = out.gradient(*(tensors[name] for name in self._trained), gradient=slopes)
        norm = kernels.squared_norm(gradients, self.stack) if "clip_norm" in switches else None
        written = kernels.advance(control, loss, hits)
        for name, gradient in zip(self._trained, gradients, strict=True):
            written += kernels.update_parameter(
                self._optimizer,
                tensors[name],
                gradient,
                self._slots[name],
                control,
                decayed="weight_decay" in switches,
                squared_norm=norm,
            )
        return written + [tensors[name].assign(new) for name, new in statistics.items()]

    def _define_evaluation_step(self) -> list[Tensor]:
        x = self._batch(self._evaluation, EVALUATION_BATCH)
        out, _ = logits(self._tensors, x, self._config, training=False)
        loss, hits, _ = kernels.cross_entropy(out, self.data.labels, self._evaluation)
        return kernels.count_batch(self._evaluation, loss, hits)

    def _reset(self, configs: Sequence[HPConfig]) -> None:
        """Put every buffer where new trials with ``configs`` start."""
        self.load(self._initial_values(configs))
        for slots in self._slots.values():
            for slot in slots:
                backend.write(slot, np.zeros(slot.shape, np.float32))
        reals = np.zeros((self.stack, REALS), np.float32)
        counts = np.zeros((self.stack, COUNTS), np.int32)
        for k, config in enumerate(configs):
            reals[k, [Real.SCALE, Real.BEST_LOSS]] = 1.0, np.inf
            reals[k, len(Real) :] = slot_values(config)
            counts[k, Count.NOISE] = np.random.default_rng([config.seed, 3]).integers(2**31)
        backend.write(self._control.reals, reals)
        backend.write(self._control.counts, counts)

    def prepare(self, *configs: HPConfig) -> None:
        """Put everything where trials with ``configs``, one for each of the stack, start.

        ``train_step()`` runs a step of them.
        """
        self._reset(configs)
        self._start_epoch(configs, 0)

    def _start_epoch(self, configs: Sequence[HPConfig], epoch: int) -> None:
        steps = self.steps_per_epoch
        images = steps * self._config.batch_size
        orders = [epoch_order(config.seed, epoch, self._train_rows)[:images] for config in configs]
        backend.write(self._control.rows, np.stack(orders))
        rates = [
            learning_rates(config, epoch * steps, steps, config.epochs * steps)
            for config in configs
        ]
        backend.write(self._control.rates, np.stack(rates))
        if self._control.warps is not None:
            warps = [draw_warps(config, epoch, images) for config in configs]
            backend.write(self._control.warps, np.stack(warps))
        counts = backend.read(self._control.counts)
        counts[:, Count.POSITION] = 0
        backend.write(self._control.counts, counts)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Copies of the model's tensors as they stand, with the axis of trials if there is one."""
        return {name: backend.read(tensor) for name, tensor in self._tensors.items()}

    def states(self, count: int) -> list[dict[str, NDArray[np.float32]]]:
        """``state`` of each of the first ``count`` trials."""
        state = self.state()
        if self.stack == 1:
            return [state]
        return [{name: value[k] for name, value in state.items()} for k in range(count)]

    def load(self, values: Mapping[str, NDArray[np.float32]]) -> None:
        """Overwrite the model's tensors, in place, with ``values``."""
        for name, value in values.items():
            backend.write(self._tensors[name], value)

    def evaluate(self, rows: IntArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean loss and accuracy of the models as they stand on ``rows``, each (stack,)."""
        padded = np.zeros((1, self._evaluation_rows), np.int32)
        padded[0, : len(rows)] = rows
        counts = np.zeros((self.stack, COUNTS), np.int32)
        counts[:, Count.IMAGES] = len(rows)
        backend.write(self._evaluation.rows, padded)
        backend.write(self._evaluation.counts, counts)
        backend.write(self._evaluation.reals, np.zeros((self.stack, REALS), np.float32))
        for _ in range(-(-len(rows) // EVALUATION_BATCH)):
            self._evaluation_step()
        reals = backend.read(self._evaluation.reals).astype(np.float64)
        return reals[:, Real.LOSS_SUM] / len(rows), reals[:, Real.HITS] / len(rows)

    def train(self, trial: Trial, *, evals_per_epoch: int = 1) -> TrialResult:
        """``train_stack`` of a single trial."""
        return self.train_stack([trial], evals_per_epoch=evals_per_epoch)[0]

    def train_stack(
        self, trials: Sequence[Trial], *, evals_per_epoch: int = 1
    ) -> list[TrialResult]:
        """Train up to ``stack`` trials side by side, from their seeds to their last evaluation.

        They must have this shape and the same number of epochs. ``evals_per_epoch`` sets the points
        of the curves. A loss of NaN or inf makes a trial ``diverged`` and leaves the others alone;
        ``train_seconds`` are an equal share of the time. The sweep and where the results were made
        are for the caller to fill in.
        """
        epochs = trials[0].config.epochs
        assert len(trials) <= self.stack
        assert all(shape_of(t) == self.shape and t.config.epochs == epochs for t in trials)
        # The places that are left train the last trial again, and nobody looks at them.
        configs = [trial.config for trial in trials]
        configs += configs[-1:] * (self.stack - len(trials))
        self._reset(configs)
        started = time.perf_counter()
        running = [_Progress(trial) for trial in trials]
        for epoch in range(epochs):
            self._start_epoch(configs, epoch)
            self._train_epoch(running, epoch, evals_per_epoch)
            if all(progress.diverged for progress in running):
                break
        train_loss, train_accuracy = self.evaluate(self._train_rows[:TRAIN_EVALUATION_ROWS])
        # ReLU turns NaN into 0: a loss can be finite though the weights are not.
        finite = np.isfinite(train_loss) & self._finite_weights()
        seconds = (time.perf_counter() - started) / len(trials)
        parameters = sum(self._tensors[name].numel() for name in self._trained) // self.stack
        results = []
        for k, progress in enumerate(running):
            ok = finite[k] and not progress.diverged
            last = progress.curve[-1] if ok else None
            best = max(progress.curve, key=lambda point: point.test_accuracy, default=None)
            results.append(
                TrialResult(
                    sweep="",
                    trial=progress.trial,
                    status="ok" if ok else "diverged",
                    train_loss=float(train_loss[k]) if ok else None,
                    train_accuracy=float(train_accuracy[k]) if ok else None,
                    val_accuracy=last.val_accuracy if last else None,
                    test_accuracy=last.test_accuracy if last else None,
                    best_test_accuracy=best.test_accuracy if best else None,
                    best_step=best.step if best else None,
                    steps=progress.steps,
                    parameters=parameters,
                    train_seconds=seconds,
                    val_loss=last.val_loss if last else None,
                    test_loss=last.test_loss if last else None,
                    val_images=len(self.data.dataset.validation_rows),
                    test_images=len(self.data.dataset.test_rows),
                    curve=tuple(progress.curve),
                )
            )
        return results

    def _finite_weights(self) -> NDArray[np.bool_]:
        values = [np.isfinite(w).reshape(self.stack, -1).all(1) for w in self.state().values()]
        finite: NDArray[np.bool_] = np.logical_and.reduce(values)
        return finite

    def _train_epoch(self, running: Sequence[_Progress], epoch: int, evals_per_epoch: int) -> None:
        done = 0
        for number in range(1, evals_per_epoch + 1):
            target = self.steps_per_epoch * number // evals_per_epoch
            if target == done:
                continue
            since, done = done, self._run_steps(running, done, target)
            if done < target:
                return
            reals = backend.read(self._control.reals)
            self._evaluate_point(running, epoch + done / self.steps_per_epoch, reals, done - since)
            reals[:, [Real.LOSS_SUM, Real.HITS]] = 0.0
            backend.write(self._control.reals, reals)

    def _run_steps(self, running: Sequence[_Progress], done: int, target: int) -> int:
        """Train from step ``done`` of the epoch to ``target``; less far only if all diverge."""
        while done < target:
            alive = [(k, progress) for k, progress in enumerate(running) if not progress.diverged]
            if not alive:
                return done
            stop = min(target, done + STEPS_BETWEEN_CHECKS)
            for _ in range(done, stop):
                self.train_step()
            losses = backend.read(self._control.reals)[:, Real.LOSS_SUM]
            for k, progress in alive:
                progress.steps += stop - done
                progress.diverged = not math.isfinite(losses[k])
            steps = self.steps_per_epoch * running[0].trial.config.epochs
            self.report(max(progress.steps for progress in running) / steps)
            done = stop
        return done

    def _evaluate_point(
        self, running: Sequence[_Progress], epoch: float, reals: NDArray[np.float32], steps: int
    ) -> None:
        """Add a point at ``epoch`` to each curve, from the sums of the last ``steps`` steps."""
        alive = [(k, progress) for k, progress in enumerate(running) if not progress.diverged]
        if not alive:
            return
        dataset = self.data.dataset
        validation = dataset.validation_rows
        val_loss, val_accuracy = self.evaluate(validation) if len(validation) else (None, None)
        test_loss, test_accuracy = self.evaluate(dataset.test_rows)
        for k, progress in alive:
            progress.curve.append(
                CurvePoint(
                    step=progress.steps,
                    epoch=epoch,
                    lr=float(reals[k, Real.LR]),
                    train_loss=float(reals[k, Real.LOSS_SUM]) / steps,
                    train_accuracy=float(reals[k, Real.HITS]) / (steps * self._config.batch_size),
                    val_accuracy=None if val_accuracy is None else float(val_accuracy[k]),
                    test_accuracy=float(test_accuracy[k]),
                    val_loss=None if val_loss is None else float(val_loss[k]),
                    test_loss=float(test_loss[k]),
                )
            )
