"""The same configurations in two results files: what their difference is, and how sure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.pairs import Pair, pairs
from mnist_sweep.config import HPConfig
from mnist_sweep.metrics import METRICS, TEST_ACCURACY, Metric
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests import synthetic


def rows(values: Sequence[float], first_seed: int = 0, **fields: float) -> list[TrialResult]:
    """Trials of one configuration with these test accuracies and losses."""
    return [
        TrialResult("", Trial(HPConfig(seed=seed, **fields)), "ok", test_accuracy=value,  # type: ignore[arg-type]
                    train_loss=value)
        for seed, value in enumerate(values, first_seed)
    ]  # fmt: skip


def paired(
    first: Sequence[TrialResult], second: Sequence[TrialResult], metric: Metric = TEST_ACCURACY
) -> list[Pair]:
    return pairs(configurations(first), configurations(second), metric)


def test_two_common_seeds_make_a_paired_interval_whatever_the_seeds_do_alike() -> None:
    pair, = paired(rows([0.90, 0.95, 0.97, 0.5]), rows([0.91, 0.962, 0.978]))  # fmt: skip
    assert pair.common == 3
    assert pair.difference == pytest.approx(0.01)
    assert pair.interval is not None
    # Student's t of 0.010, 0.012, 0.008: 4.303 x 0.002 / sqrt(3).
    assert pair.interval.half_width == pytest.approx(4.3027 * 0.002 / 3**0.5, rel=1e-4)


def test_values_that_are_counted_in_images_are_not_free_of_noise() -> None:
    pair, = paired(rows([0.9, 0.8]), rows([0.9001, 0.8001]))  # fmt: skip
    assert pair.interval is not None
    assert pair.interval.low < 0 < pair.interval.high


def test_without_common_seeds_two_samples_are_compared_and_single_ones_are_not() -> None:
    pair, = paired(rows([0.90, 0.92]), rows([0.93, 0.95, 0.97], first_seed=2))  # fmt: skip
    assert pair.common == 0
    assert pair.difference == pytest.approx(0.04)
    assert pair.interval is not None
    error = (0.01414214**2 / 2 + 0.02**2 / 3) ** 0.5
    assert pair.interval.half_width == pytest.approx(12.7062 * error, rel=1e-4)
    for second in (rows([0.95]), rows([0.95], first_seed=7)):
        pair, = paired(rows([0.90, 0.92]), second)  # fmt: skip
        assert pair.difference == pytest.approx(0.04)
        assert pair.interval is None


def test_losses_that_are_all_equal_have_an_interval_of_no_width() -> None:
    pair, = paired(rows([0.5, 0.5]), rows([0.25, 0.25], 5), METRICS["train_loss"])  # fmt: skip
    assert pair.interval is not None
    assert (pair.interval.low, pair.interval.high) == (-0.25, -0.25)


def test_what_diverged_or_was_not_measured_has_no_difference() -> None:
    diverged = synthetic.broken(HPConfig(seed=2), "diverged")
    failed = synthetic.broken(HPConfig(), "failed")
    for second in ([*rows([0.9, 0.9]), diverged], [failed]):
        pair, = paired(rows([0.9, 0.9, 0.9]), second)  # fmt: skip
        assert (pair.difference, pair.interval) == (None, None)


def test_only_equal_configurations_on_equal_data_are_a_pair() -> None:
    first = [*rows([0.9]), *rows([0.8], lr=0.1)]
    elsewhere = [
        replace(r, trial=Trial(r.trial.config, DatasetConfig(test_size=100))) for r in first
    ]
    assert [pair.first.config.lr for pair in paired(first, rows([0.7], lr=0.1))] == [0.1]
    assert paired(first, [*rows([0.7], lr=0.2), *elsewhere]) == []


@pytest.mark.parametrize(("seeds", "first_seed", "least"), [(3, 0, 0.93), (3, 3, 0.93)])
def test_an_interval_has_the_difference_in_it_in_95_of_100_cases(
    seeds: int, first_seed: int, least: float
) -> None:
    rng = random.Random(0)
    held = 0
    for _ in range(600):
        shared = [rng.gauss(0, 0.01) if first_seed == 0 else 0.0 for _ in range(seeds)]
        first, second = (
            [mean + part + rng.gauss(0, 0.004) for part in shared] for mean in (0.8, 0.82)
        )
        (pair,) = paired(rows(first), rows(second, first_seed))
        assert pair.interval is not None
        held += pair.interval.low <= 0.02 <= pair.interval.high
    assert held / 600 > least
