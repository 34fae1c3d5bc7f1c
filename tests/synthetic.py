"""Results of sweeps that were never run, with effects that are known.

The error rate has a valley along the learning rate (at 1e-3 for Adam; SGD wants much more), falls
with width, is best at depth 2, and rises a little with batch size; the activation is inert. Seeds
add normal noise to the logarithm of the error.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from statistics import fmean
from typing import Any

from mnist_sweep.config import FIELD_NAMES, FIELDS, HPConfig
from mnist_sweep.trial import CurvePoint, DatasetConfig, Trial, TrialResult

PLAIN = DatasetConfig()
WITH_VALIDATION = DatasetConfig(validation_size=5000)
LRS = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
WIDTHS = [128, 256, 512, 1024]


def _width(config: HPConfig, default: int = 512) -> float:
    return fmean(config.widths or [default])


def true_error(config: HPConfig) -> float:
    """The error rate that seeds scatter around, as a fraction."""
    if config.opt == "adam":
        distance = abs(math.log10(config.lr / 1e-3))
        error = 0.032 * 10 ** (0.5 * distance**1.4)
    else:
        error = min(0.9, 0.09 * 10 ** (0.48 * math.log10(1e-2 / config.lr)))
    error *= (512 / _width(config)) ** 0.2 * (1 + 0.07 * abs((config.depth or 2) - 2))
    error *= (config.batch_size / 64) ** 0.1 / config.epochs**0.3
    return float(min(error, 0.85))


def measured(config: HPConfig, dataset: DatasetConfig = PLAIN, points: int = 1) -> TrialResult:
    """The result of one trial; equal arguments give equal results."""
    rng = random.Random(_text(replace(config, activation_fn="silu")) + config.activation_fn)
    test_error = min(0.9, true_error(config) * math.exp(rng.gauss(0, 0.05)))
    val_error = min(0.9, test_error * math.exp(rng.gauss(0, 0.03)))
    steps = config.epochs * math.ceil(60_000 / config.batch_size)
    curve = [
        _point(config, steps, i / points, test_error, val_error, rng) for i in range(1, points + 1)
    ]
    if not dataset.validation_size:
        curve = [replace(point, val_accuracy=None, val_loss=None) for point in curve]
    last = curve[-1]
    return TrialResult(
        sweep="synthetic",
        trial=Trial(config, dataset),
        status="ok",
        train_loss=last.train_loss,
        train_accuracy=last.train_accuracy,
        val_accuracy=last.val_accuracy,
        test_accuracy=last.test_accuracy,
        best_test_accuracy=max(point.test_accuracy for point in curve),
        best_step=steps,
        steps=steps,
        parameters=_parameters(int(_width(config, 64)), config.depth or 4),
        train_seconds=steps * (_width(config) / 512) ** 1.6 * (config.depth or 2) / 250,
        device="CPU",
        val_loss=last.val_loss,
        test_loss=last.test_loss,
        curve=tuple(curve),
    )


def _text(config: HPConfig) -> str:
    """What the noise is drawn by. Fields that came after it was first drawn count only if on."""
    first = FIELD_NAMES[: FIELD_NAMES.index("scale") + 1]
    told = {n: v for n, v in vars(config).items() if n in first or v != FIELDS[n].default}
    return f"HPConfig({', '.join(f'{name}={value!r}' for name, value in told.items())})"


def _parameters(width: int, depth: int) -> int:
    return 785 * width + (depth - 1) * (width + 1) * width + 10 * (width + 1)


def _point(
    config: HPConfig, steps: int, done: float, test: float, val: float, rng: random.Random
) -> CurvePoint:
    early = done**-0.45 * math.exp(rng.gauss(0, 0.02))
    train_error = min(0.9, test * early * (1.3 - done) / (1 + 0.2 * config.epochs * done))
    return CurvePoint(
        step=round(steps * done),
        epoch=config.epochs * done,
        lr=config.lr,
        train_loss=3 * train_error,
        train_accuracy=round(1 - train_error, 5),
        val_accuracy=round(1 - min(0.9, val * early), 4),
        test_accuracy=round(1 - min(0.9, test * early), 4),
        val_loss=3.5 * min(0.9, val * early),
        test_loss=3.5 * min(0.9, test * early),
    )


def broken(config: HPConfig, status: Any, dataset: DatasetConfig = PLAIN) -> TrialResult:
    """A trial that diverged or failed."""
    error = "MemoryError: out of memory" if status == "failed" else ""
    return TrialResult("synthetic", Trial(config, dataset), status, error=error)


def grid(base: HPConfig, seeds: Iterable[int] = (0,), **values: Sequence[Any]) -> list[HPConfig]:
    """Every combination of ``values`` around ``base``, for every seed."""
    return [
        replace(base, **dict(zip(values, point, strict=True)), seed=seed)
        for point in product(*values.values())
        for seed in seeds
    ]


def sweep(
    configs: Iterable[HPConfig], dataset: DatasetConfig = PLAIN, points: int = 1
) -> list[TrialResult]:
    return [measured(config, dataset, points) for config in dict.fromkeys(configs)]


def quickstart() -> list[TrialResult]:
    base = HPConfig(width=256, batch_size=128)
    return sweep(grid(base, range(2), lr=[1e-3, 1e-2], opt=["adam", "sgd"]), points=4)


def phase2(dataset: DatasetConfig = WITH_VALIDATION, seeds: int = 3) -> list[TrialResult]:
    base = HPConfig()
    configs = [
        *grid(base, range(seeds), depth=[1, 2, 3, 4, 5], width=WIDTHS),
        *grid(base, range(seeds), batch_size=[32, 64, 128, 256]),
        *grid(base, range(seeds), lr=LRS, activation_fn=["relu", "silu"]),
        *grid(base, range(seeds), lr=LRS, opt=["adam", "sgd"]),
    ]
    return sweep(configs, dataset)


def phase4() -> list[TrialResult]:
    base = HPConfig(batch_size=128, epochs=10)
    configs = [
        *grid(base, range(3), lr=[1e-4, 1e-3, 3e-3], depth=[2, 3]),
        *grid(replace(base, opt="sgd"), range(3), lr=[1e-4, 3e-3]),
    ]
    return sweep(configs, WITH_VALIDATION, points=40)


def widths() -> list[TrialResult]:
    """Widths of one number and of one for each layer, beside other parameters."""
    layers = [128, "128-256", "256-128", "512-256-128", "1024-512-256-128", 512]
    configs = grid(HPConfig(), range(2), width=layers, lr=[1e-3, 3e-3, 1e-2], opt=["adam", "sgd"])
    return sweep(configs, WITH_VALIDATION)


def with_diverged() -> list[TrialResult]:
    """A study whose highest learning rate is too high for some seeds of Adam, for all of SGD."""
    configs = grid(HPConfig(), range(3), lr=[1e-3, 1e-2, 1e-1], opt=["adam", "sgd"])
    return [
        broken(config, "diverged")
        if config.lr == 0.1 and (config.opt == "sgd" or config.seed)
        else measured(config)
        for config in configs
    ]


def full_grid() -> list[TrialResult]:
    """The 1,600 MLP configurations, one seed each."""
    return sweep(
        grid(
            HPConfig(),
            lr=LRS,
            depth=[1, 2, 3, 4, 5],
            width=WIDTHS,
            batch_size=[32, 64, 128, 256],
            opt=["adam", "sgd"],
            activation_fn=["relu", "silu"],
        ),
        WITH_VALIDATION,
    )
