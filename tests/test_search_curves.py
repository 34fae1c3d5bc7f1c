"""The Pareto front and the expected best, against their definitions."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations
from statistics import fmean
from typing import Any

import pytest

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.expected_best import expected_best
from mnist_sweep.analysis.pareto import cost_of, pareto_front
from mnist_sweep.config import HPConfig
from mnist_sweep.metrics import METRICS, TEST_ACCURACY, VAL_ACCURACY, Metric
from mnist_sweep.trial import Trial, TrialResult
from tests import synthetic


def trial(accuracy: float | None, lr: float = 1e-3, seed: int = 0, **values: Any) -> TrialResult:
    row = TrialResult("s", Trial(HPConfig(lr=lr, seed=seed)), "ok", test_accuracy=accuracy)
    return replace(row, **values)


def front_lrs(rows: list[TrialResult]) -> list[float]:
    return [c.config.lr for c in pareto_front(configurations(rows), TEST_ACCURACY, "parameters")]


def test_the_front_is_what_nothing_beats_in_both() -> None:
    rows = [
        trial(0.97, 0.1, parameters=30),
        trial(0.95, 0.2, parameters=10),
        trial(0.94, 0.3, parameters=20),  # 0.2 is cheaper and better
        trial(0.99, 0.4, parameters=90),
        trial(0.99, 0.5, parameters=95),  # no better than 0.4
    ]
    assert front_lrs(rows) == [0.2, 0.1, 0.4]
    assert front_lrs(rows[::-1]) == [0.2, 0.1, 0.4]


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_that_of_its_definition(seed: int) -> None:
    rng = random.Random(seed)
    rows = [
        trial(rng.randrange(90, 99) / 100, 0.001 * (i + 1), parameters=rng.randrange(10))
        for i in range(40)
    ]

    def beaten(row: TrialResult) -> bool:
        return any(
            (other.parameters or 0) <= (row.parameters or 0)
            and (other.test_accuracy or 0) >= (row.test_accuracy or 0)
            and (other.parameters, other.test_accuracy) != (row.parameters, row.test_accuracy)
            for other in rows
        )

    expected = {(row.parameters, row.test_accuracy) for row in rows if not beaten(row)}
    front = pareto_front(configurations(rows), TEST_ACCURACY, "parameters")
    assert {(c.cost("parameters"), c.mean(TEST_ACCURACY)) for c in front} == expected


def test_means_over_seeds_make_the_front_and_what_diverged_is_not_on_it() -> None:
    rows = [
        trial(0.90, 0.1, 0, parameters=10),
        trial(0.96, 0.1, 1, parameters=10),
        trial(0.94, 0.2, 0, parameters=20),
        trial(0.94, 0.2, 1, parameters=20),
        trial(0.99, 0.3, 0, parameters=10),
        synthetic.broken(HPConfig(lr=0.3, seed=1), "diverged"),
        trial(0.99, 0.4),  # of unknown size
        trial(None, 0.5, parameters=5),
    ]
    assert front_lrs(rows) == [0.1, 0.2]
    assert front_lrs([]) == []


def test_equal_work_is_equal_however_long_it_took() -> None:
    """Twice the epochs are twice the work; a slower rate is not, nor is another batch size."""
    configs = [HPConfig(), HPConfig(opt="sgd", batch_size=256), HPConfig(epochs=2)]
    rows = [
        TrialResult("s", Trial(config), "ok", test_accuracy=0.9 + 0.01 * i, train_seconds=3.0 - i)
        for i, config in enumerate(configs)
    ]
    one, other, twice = (cost_of(c, "work") for c in configurations(rows))
    assert one == other
    assert twice == 2 * (one or 0)
    front = pareto_front(configurations(rows), TEST_ACCURACY, "work")
    assert [(c.config.opt, c.config.epochs) for c in front] == [("sgd", 1), ("adam", 2)]


def brute_force(rows: list[TrialResult], metric: Metric, count: int) -> list[TrialResult]:
    """The best of every subset of ``count`` rows in which anything was found."""
    subsets = ([r for r in subset if r.status == "ok"] for subset in combinations(rows, count))
    return [max(subset, key=lambda r: getattr(r, metric.name)) for subset in subsets if subset]


def test_the_expected_best_is_the_mean_over_all_subsets() -> None:
    rng = random.Random(0)
    rows = [
        trial(round(0.9 + rng.gauss(0, 0.02), 3), 0.001 * (i + 1), val_accuracy=rng.random())
        for i in range(7)
    ]
    rows += [synthetic.broken(HPConfig(lr=0.1 * i), "diverged") for i in (1, 2)]
    best = expected_best([*rows, synthetic.broken(HPConfig(), "failed")], VAL_ACCURACY)
    assert best.trials == list(range(1, 10))
    for count, mean, low, high, test in zip(
        best.trials, best.mean, best.worse, best.better, best.test_accuracy, strict=True
    ):
        chosen = brute_force(rows, VAL_ACCURACY, count)
        values = sorted(row.val_accuracy or 0 for row in chosen)
        assert mean == pytest.approx(fmean(values))
        assert test == pytest.approx(fmean(row.test_accuracy or 0 for row in chosen))
        assert sum(value < low for value in values) <= 0.1 * len(values) + 1e-9
        assert sum(value > high for value in values) <= 0.1 * len(values) + 1e-9
    # All trials: no choice is left.
    assert best.mean[-1] == best.worse[-1] == best.better[-1]


def test_the_expected_best_of_a_worked_example() -> None:
    # Of 1, 2, 3 any two: max 2, 3, 3. With replacement, as biased, it would be 22 / 9.
    best = expected_best([trial(v / 10, v / 100) for v in (1, 2, 3)], TEST_ACCURACY)
    assert best.mean == pytest.approx([0.2, 8 / 30, 0.3])
    assert best.test_accuracy == []


def test_a_loss_is_best_when_it_is_low() -> None:
    rows = [trial(0.9, v / 100, train_loss=v / 10) for v in (1, 2, 3)]
    best = expected_best(rows, METRICS["train_loss"])
    assert best.mean == pytest.approx([0.2, 4 / 30, 0.1])
    assert (best.worse[0], best.better[0]) == pytest.approx((0.3, 0.1))


def test_ties_do_not_prefer_a_row() -> None:
    rows = [trial(0.9, 0.1, val_accuracy=0.8), trial(0.8, 0.2, val_accuracy=0.8)]
    for order in (rows, rows[::-1]):
        assert expected_best(order, VAL_ACCURACY).test_accuracy == pytest.approx([0.85, 0.85])


def test_ten_thousand_trials_do_not_overflow() -> None:
    rows = [trial(i / 10_000, (i + 1) / 100_000) for i in range(10_000)]
    best = expected_best(rows, TEST_ACCURACY, [1, 100, 10_000])
    assert best.mean == pytest.approx([0.49995, 0.9900, 0.9999], abs=1e-4)
