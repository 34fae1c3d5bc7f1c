"""What importance promises: known variances are recovered, and noise is not called an effect."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from mnist_sweep.analysis.best_tenth import best_tenth
from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.effects import Effect, Importance
from mnist_sweep.analysis.grids import complete_grids
from mnist_sweep.analysis.importance import importance
from mnist_sweep.analysis.intervals import f_quantile, f_upper_p
from mnist_sweep.config import HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import TEST_ACCURACY, VAL_ACCURACY
from mnist_sweep.trial import Trial, TrialResult
from tests import synthetic

LEVELS: dict[str, list[Any]] = {
    "lr": [1e-4, 1e-3, 1e-2],
    "opt": ["adam", "sgd"],
    "activation_fn": ["relu", "silu"],
}


def study(
    accuracy: Callable[[HPConfig], float], seeds: int, **levels: Sequence[Any]
) -> list[TrialResult]:
    """A complete grid of ``levels`` with ``accuracy``, which may be random, as measured."""
    return [
        TrialResult("s", Trial(config), "ok", test_accuracy=accuracy(config))
        for config in synthetic.grid(HPConfig(), range(seeds), **levels)
    ]


def found(results: Sequence[TrialResult]) -> list[Importance]:
    return importance(configurations(results), TEST_ACCURACY)


def only(results: Sequence[TrialResult]) -> tuple[Importance, dict[tuple[str, ...], Effect]]:
    (one,) = found(results)
    return one, {effect.fields: effect for effect in one.effects}


@pytest.mark.parametrize("f", [0.0, 1e-4, 0.5, 1.0, 3.3, 18.5, 400.0, 1e5])
def test_the_tail_of_f_is_scipys(f: float) -> None:
    for df, df_error in ((1, 1), (1, 2), (4, 8), (0.7, 2.3), (3, 60), (20, 1500)):
        theirs = stats.f.sf(f, df, df_error)
        assert f_upper_p(f, df, df_error) == pytest.approx(theirs, rel=1e-9, abs=1e-300)


def test_the_quantile_of_f_is_scipys() -> None:
    for df, df_error in ((1, 1), (1, 2), (4, 8), (1.5, 3), (20, 1500)):
        theirs = stats.f.ppf(0.95, df, df_error)
        assert f_quantile(0.95, df, df_error) == pytest.approx(theirs, rel=1e-9)


def test_without_noise_the_shares_are_those_of_a_worked_example() -> None:
    # +-3 points by optimizer, +-1 by activation, +-2 by both: variances 9, 1, 4 of 14 in all.
    def accuracy(config: HPConfig) -> float:
        a = 1 if config.opt == "adam" else -1
        b = 1 if config.activation_fn == "silu" else -1
        return 0.9 + (3 * a + b + 2 * a * b) / 100

    one, effects = only(study(accuracy, 2, opt=LEVELS["opt"], activation_fn=["relu", "silu"]))
    assert one.noise == pytest.approx(0, abs=1e-4)
    assert effects["opt",].share == pytest.approx(9 / 14, abs=1e-4)
    assert effects["activation_fn",].share == pytest.approx(1 / 14, abs=1e-4)
    assert effects["opt", "activation_fn"].share == pytest.approx(4 / 14, abs=1e-4)


def test_three_hyperparameters_together_are_counted_apart() -> None:
    signs = {"adam": 1, "sgd": -1, "silu": 1, "relu": -1, 1: 1, 2: -1}

    def accuracy(config: HPConfig) -> float:
        return 0.9 + 0.01 * signs[config.opt] * signs[config.activation_fn] * signs[config.epochs]

    levels = {"opt": LEVELS["opt"], "activation_fn": ["relu", "silu"], "epochs": [1, 2]}
    one, effects = only(study(accuracy, 2, **levels))
    assert one.higher == pytest.approx(1, abs=1e-4)
    assert max(effect.share for effect in effects.values()) == pytest.approx(0, abs=1e-4)


def test_the_variances_are_the_functional_anovas_and_free_of_noise_on_average() -> None:
    rng = random.Random(0)
    truth = {point: 0.9 + rng.gauss(0, 0.01) for point in product(LEVELS["lr"], LEVELS["opt"])}
    table = np.array(list(truth.values())).reshape(3, 2)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    expected = {
        ("lr",): rows.var(),
        ("opt",): columns.var(),
        ("lr", "opt"): (table - rows[:, None] - columns + table.mean()).var(),
    }
    noise = 0.01
    total = table.var() + noise**2
    shares: dict[tuple[str, ...], list[float]] = {names: [] for names in expected}
    for _ in range(200):
        rows_of = study(lambda c: truth[c.lr, c.opt] + rng.gauss(0, noise), 4, **{
            name: LEVELS[name] for name in ("lr", "opt")
        })  # fmt: skip
        for names, effect in only(rows_of)[1].items():
            shares[names].append(effect.share)
    for names, variance in expected.items():
        assert np.mean(shares[names]) == pytest.approx(variance / total, abs=0.03)


def test_an_inert_parameter_makes_no_difference_and_five_points_are_found() -> None:
    rng = random.Random(0)

    def accuracy(config: HPConfig) -> float:
        return (0.95 if config.opt == "adam" else 0.9) + rng.gauss(0, 0.004)

    one, effects = only(study(accuracy, 3, **LEVELS))
    assert effects["opt",].verdict == "real"
    assert effects["opt",].share == pytest.approx(1 - one.noise, abs=0.02)
    inert = effects["activation_fn",]
    assert inert.share < 0.01
    assert inert.verdict == "none"


def test_what_noise_may_hide_is_not_said_to_make_no_difference() -> None:
    rng = random.Random(0)
    _, effects = only(study(lambda _: 0.9 + rng.gauss(0, 0.01), 2, opt=LEVELS["opt"]))
    assert effects["opt",].high > 0.05
    assert effects["opt",].verdict == "unclear"


def test_a_level_with_more_noise_is_not_taken_for_an_effect() -> None:
    rng = random.Random(0)
    studies = 200
    false = 0
    for _ in range(studies):
        rows = study(noisy_level(rng), 3, lr=[1e-5, 3e-5, 1e-4, 3e-4, 1e-2])
        false += only(rows)[1]["lr",].verdict == "real"
    assert false <= stats.binom.ppf(0.999, studies, 0.05)


def noisy_level(rng: random.Random) -> Callable[[HPConfig], float]:
    """Equal means, with ten times the noise at one learning rate and seeds that shift another."""
    shifts = [rng.gauss(0, 0.01) for _ in range(10)]

    def accuracy(config: HPConfig) -> float:
        noise = rng.gauss(0, 0.01 if config.lr == 1e-2 else 0.001)
        return 0.9 + noise + (shifts[config.seed] if config.lr == 1e-3 else 0)

    return accuracy


@pytest.mark.parametrize(("seeds", "uneven"), [(2, False), (2, True), (3, True), (6, False)])
def test_a_study_of_equal_configurations_has_an_effect_in_at_most_5_per_cent(
    seeds: int, uneven: bool
) -> None:
    rng = random.Random(0)
    studies = 200
    false = 0
    for _ in range(studies):
        accuracy = noisy_level(rng) if uneven else lambda _: 0.9 + rng.gauss(0, 0.003)
        (one,) = found(study(accuracy, seeds, **LEVELS))
        false += any(effect.verdict == "real" for effect in one.effects)
    # 5 % and what chance may add to it in 200 studies once in a thousand times.
    assert false <= stats.binom.ppf(0.999, studies, 0.05)


def test_the_same_holds_for_one_seed_and_for_scattered_configurations() -> None:
    rng = random.Random(0)
    studies = 200
    grids = scattered = 0
    for _ in range(studies):
        (one,) = found(study(lambda _: 0.9 + rng.gauss(0, 0.003), 1, **LEVELS))
        grids += any(effect.verdict == "real" for effect in one.effects)
        rows = random_search(rng, 40, lambda _: 0.9 + rng.gauss(0, 0.003))
        scattered += any(effect.verdict == "real" for effect in found(rows)[0].effects)
    limit = stats.binom.ppf(0.999, studies, 0.05)
    assert grids <= limit
    assert scattered <= limit


def test_the_interval_holds_the_true_share() -> None:
    rng = random.Random(0)
    noise, held = 0.01, 0
    true = 0.01**2 / (0.01**2 + noise**2)
    for _ in range(200):
        rows = study(
            lambda c: (0.91 if c.opt == "adam" else 0.89) + rng.gauss(0, noise),
            4,
            opt=LEVELS["opt"],
            activation_fn=LEVELS["activation_fn"],
        )
        effect = only(rows)[1]["opt",]
        held += effect.low <= true <= effect.high
    assert held >= stats.binom.ppf(0.001, 200, 0.95)


def test_one_seed_takes_the_highest_interactions_for_noise() -> None:
    rng = random.Random(0)
    rows = study(
        lambda c: (0.95 if c.opt == "adam" else 0.9) + rng.gauss(0, 0.002),
        1,
        lr=LEVELS["lr"],
        opt=LEVELS["opt"],
    )
    one, effects = only(rows)
    assert list(effects) == [("opt",), ("lr",)]
    assert (one.higher, one.seeds) == (None, 1)
    assert [effect.verdict for effect in one.effects] == ["real", "unclear"]


def test_one_seed_and_one_parameter_cannot_be_told_apart() -> None:
    with pytest.raises(UserError, match=r"^needs two seeds"):
        found(study(lambda c: c.lr, 1, lr=LEVELS["lr"]))
    with pytest.raises(UserError, match=r"^needs two values of a hyperparameter"):
        found(study(lambda c: c.lr, 3, lr=[0.1]))
    with pytest.raises(UserError, match=r"^needs two values"):
        found([])


def test_equal_accuracies_everywhere_are_no_effect() -> None:
    one, _ = only(study(lambda _: 0.9, 3, **LEVELS))
    assert one.noise == 1
    assert {(effect.share, effect.p_value) for effect in one.effects} == {(0.0, 1.0)}


def test_the_same_few_images_twice_are_no_proof() -> None:
    # One of 10,000 images more, without any scatter over the seeds.
    _, effects = only(study(lambda c: 0.97 if c.opt == "adam" else 0.9699, 2, opt=["adam", "sgd"]))
    assert effects["opt",].verdict != "real"


def test_small_grids_around_one_base_are_measured_apart() -> None:
    grids = complete_grids(configurations(synthetic.phase2()), VAL_ACCURACY)
    assert [(list(grid.levels), grid.size, len(grid.seeds)) for grid in grids] == [
        (["width", "depth"], 20, 3),
        (["lr", "activation_fn"], 10, 3),
        (["lr", "opt"], 10, 3),
        (["batch_size"], 4, 3),
    ]
    assert grids[0].fixed == {
        "batch_size": 64,
        "lr": 1e-3,
        "opt": "adam",
        "activation_fn": "silu",
    }


def test_a_grids_values_are_those_of_its_configurations() -> None:
    rows = synthetic.phase2()
    (grid,) = (g for g in complete_grids(configurations(rows), VAL_ACCURACY) if "opt" in g.levels)
    place = 2, grid.levels["lr"].index(3e-3), grid.levels["opt"].index("sgd")
    (wanted,) = (
        row.val_accuracy
        for row in rows
        if (row.trial.config.lr, row.trial.config.opt, row.trial.config.seed) == (3e-3, "sgd", 2)
    )
    assert grid.values[place] == wanted


def test_excluded_configurations_leave_the_largest_complete_parts() -> None:
    configs = [
        *synthetic.grid(HPConfig(), range(2), lr=[1e-4, 1e-3, 3e-3], depth=[2, 3]),
        *synthetic.grid(HPConfig(opt="sgd"), range(2), lr=[1e-4, 3e-3]),
    ]
    grids = complete_grids(configurations(synthetic.sweep(configs)), TEST_ACCURACY)
    assert [dict(grid.levels) for grid in grids] == [
        {"lr": (1e-4, 1e-3, 3e-3), "depth": (2, 3)},
        {"lr": (1e-4, 3e-3), "opt": ("adam", "sgd")},
    ]


def test_a_value_that_diverged_is_given_up_and_the_rest_is_exact() -> None:
    rows = study(lambda c: 0.9, 2, **LEVELS)
    rows = [
        synthetic.broken(row.trial.config, "diverged")
        if row.trial.config.lr == 1e-2 and row.trial.config.opt == "sgd"
        else row
        for row in rows
    ]
    (one,) = found(rows)
    assert one.levels["lr"] == (1e-4, 1e-3)
    assert one.configurations == 8


def test_seeds_that_few_configurations_have_are_left_out() -> None:
    rows = study(lambda c: 0.9, 2, **LEVELS)
    extra = replace(rows[0], trial=Trial(replace(rows[0].trial.config, seed=7)))
    (one,) = found([*rows, extra])
    assert one.seeds == 2
    # A run that goes on: the second seed is there for a few configurations only.
    (one,) = found([row for i, row in enumerate(rows) if row.trial.config.seed == 0 or i < 6])
    assert (one.seeds, one.configurations) == (1, 12)


def random_search(
    rng: random.Random, n: int, accuracy: Callable[[HPConfig], float]
) -> list[TrialResult]:
    configs = [
        HPConfig(
            lr=10 ** rng.uniform(-4, -2),
            width=rng.randrange(64, 1024),
            activation_fn=rng.choice(["relu", "silu"]),
        )
        for _ in range(n)
    ]
    return [TrialResult("s", Trial(c), "ok", test_accuracy=accuracy(c)) for c in configs]


def test_scattered_configurations_show_main_effects() -> None:
    rng = random.Random(0)
    rows = random_search(rng, 60, lambda c: 0.9 + 2 * c.lr + rng.gauss(0, 0.01))
    one, effects = only(rows)
    assert (one.kind, one.configurations) == ("scattered", 60)
    assert next(iter(effects)) == ("lr",)
    assert effects["lr",].verdict == "real"
    assert {effects[name,].verdict for name in ("width", "activation_fn")} == {"unclear"}


def test_too_few_scattered_configurations_are_refused() -> None:
    with pytest.raises(UserError, match=r"^needs a complete grid, or 8 configurations"):
        found(random_search(random.Random(0), 5, lambda c: 0.9))


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = synthetic.phase2()
    shuffled = random.Random(0).sample(rows, len(rows))
    ours, theirs = (importance(configurations(r), VAL_ACCURACY) for r in (rows, shuffled))
    assert [[e.fields for e in one.effects] for one in ours] == [
        [e.fields for e in one.effects] for one in theirs
    ]
    assert [one.noise for one in ours] == pytest.approx([one.noise for one in theirs])


def test_a_full_grid_of_1600_with_one_seed_is_decomposed() -> None:
    (one,) = importance(configurations(synthetic.full_grid()), VAL_ACCURACY)
    shares = {effect.fields: effect for effect in one.effects}
    assert one.configurations == 1600
    assert [effect.fields for effect in one.effects[:3]] == [("opt",), ("lr",), ("lr", "opt")]
    assert shares["activation_fn",].verdict == "none"
    assert shares["activation_fn",].high < 0.01


def test_a_trial_that_an_effect_hangs_on_is_named_with_the_share_without_it() -> None:
    rng = random.Random(2)
    levels: dict[str, Sequence[Any]] = {
        "lr": [1e-4, 1e-3, 1e-2], "width": [64, 128, 256], "batch_size": [32, 64, 128],
    }  # fmt: skip

    def accuracy(config: HPConfig) -> float:
        effect = {64: 0.02, 128: 0.03, 256: 0.04}[config.widths[0]]
        return 0.9 + effect + rng.gauss(0, 0.001)

    rows = study(accuracy, 1, **levels)
    assert only(rows)[0].carrier is None
    at = next(i for i, r in enumerate(rows) if r.trial.config == HPConfig(width=64, lr=1e-2))
    rows[at] = replace(rows[at], test_accuracy=0.8)
    carrier = only(rows)[0].carrier
    assert carrier is not None
    assert carrier.settings == {"batch_size": 64, "lr": 1e-2, "width": 64}
    assert (carrier.seed, carrier.value, carrier.fields) == (0, 0.8, ("width",))
    assert carrier.share + 0.2 < carrier.without
    assert carrier.without == pytest.approx(1, abs=0.05)


def test_what_gets_into_the_best_tenth_is_not_what_moves_the_metric_most() -> None:
    def accuracy(config: HPConfig) -> float:
        # SGD ruins all; among Adam runs only the batch size matters.
        return 0.5 if config.opt == "sgd" else 0.99 - config.batch_size / 1e5

    rows = study(accuracy, 1, opt=["adam", "sgd"], batch_size=[16, 32, 64, 128, 256], lr=[
        1e-4, 2e-4, 3e-4, 4e-4, 5e-4,
    ])  # fmt: skip
    first, second = best_tenth(configurations(rows), TEST_ACCURACY)
    assert (first.name, first.usual, first.among_best) == ("batch_size", (16, 32), 1.0)
    assert first.among_all == pytest.approx(0.4)
    assert (second.name, second.usual) == ("opt", ("adam",))
    assert first.share + second.share == pytest.approx(1)
    assert best_tenth(configurations(rows[:30]), TEST_ACCURACY) == []


def test_what_is_inert_gets_nothing_into_the_best_tenth_on_average() -> None:
    rng = random.Random(4)
    rates = [i / 1e4 for i in range(1, 26)]
    named = 0
    for _ in range(60):
        rows = study(lambda _: rng.random(), 1, opt=["adam", "sgd"], lr=rates)
        named += len(best_tenth(configurations(rows), TEST_ACCURACY))
    # Divergences beyond their expectation, which half of a symmetric draw would be.
    assert named < 60 * 2 * 0.6
