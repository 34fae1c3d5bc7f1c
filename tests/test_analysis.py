"""What the statistics promise: SciPy is the oracle, known effects and known equality the cases."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from scipy import special, stats  # type: ignore[import-untyped]

from mnist_sweep.analysis.configurations import Configuration, configurations, varying_values
from mnist_sweep.analysis.intervals import (
    digamma,
    holm,
    t_interval,
    t_quantile,
    t_upper_p,
    trigamma,
    trigamma_inverse,
    wilson_interval,
)
from mnist_sweep.analysis.ranking import best_configs, check_metric, default_metric, rank
from mnist_sweep.analysis.study import split_studies
from mnist_sweep.analysis.verdicts import Advice, Comparison, advice, compare_with_best
from mnist_sweep.config import HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.metrics import METRICS, TEST_ACCURACY, VAL_ACCURACY
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests import synthetic


def result(
    accuracy: float | None,
    seed: int = 0,
    dataset: DatasetConfig = synthetic.PLAIN,
    **fields: Any,
) -> TrialResult:
    config = HPConfig(seed=seed, **fields)
    return TrialResult("s", Trial(config, dataset), "ok", test_accuracy=accuracy)


def replicates(accuracies: list[float], **fields: Any) -> list[TrialResult]:
    return [result(accuracy, seed, **fields) for seed, accuracy in enumerate(accuracies)]


def only(results: list[TrialResult]) -> Configuration:
    (configuration,) = configurations(results)
    return configuration


def compared(results: list[TrialResult]) -> list[Comparison]:
    return compare_with_best(rank(configurations(results), TEST_ACCURACY), TEST_ACCURACY)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99, 0.999])
def test_the_t_quantile_is_scipys_for_1_to_200_degrees_of_freedom(level: float) -> None:
    ours = [t_quantile(level, df) for df in range(1, 201)]
    assert ours == pytest.approx(stats.t.ppf((1 + level) / 2, range(1, 201)), rel=1e-10)


@pytest.mark.parametrize("t", [0.0, 1e-6, 0.3, 1.0, 2.5, 12.7, 300.0, 1e6])
def test_the_t_tail_is_scipys_near_zero_and_far_out(t: float) -> None:
    for df in (1, 2, 3, 7, 30, 1000):
        assert t_upper_p(t, df) == pytest.approx(stats.t.sf(t, df), rel=1e-9, abs=1e-300)
        assert t_upper_p(-t, df) == pytest.approx(1 - t_upper_p(t, df))


def test_the_t_interval_of_a_worked_example() -> None:
    # Mean 5, standard deviation 1, n = 3: half width 4.3027 / sqrt(3), from any table of t.
    interval = t_interval([4.0, 5.0, 6.0])
    assert (interval.low, interval.high) == pytest.approx((2.5159, 7.4841), abs=1e-4)
    assert interval.kind == "t over seeds"


def test_wilsons_interval_is_scipys() -> None:
    for hits, n in ((0, 10), (5, 10), (9_812, 10_000), (10_000, 10_000), (4_900, 5_000)):
        interval = wilson_interval(hits / n, n)
        theirs = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert (interval.low, interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_holms_correction_of_a_worked_example() -> None:
    # Holm (1979): 4 x 0.005; 3 x 0.01; 2 x 0.03; 0.04 is held up by its predecessor.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_replicates_are_trials_equal_but_for_the_seed_on_the_same_data() -> None:
    other_data = DatasetConfig(test_size=500)
    found = configurations(
        [
            result(0.9, 1),
            result(0.8, 0, lr=0.5),
            result(0.7, 0),
            result(0.6, 0, other_data),
        ]
    )
    assert [(c.config.lr, c.dataset, c.values(TEST_ACCURACY)) for c in found] == [
        (1e-3, synthetic.PLAIN, [0.7, 0.9]),
        (0.5, synthetic.PLAIN, [0.8]),
        (1e-3, other_data, [0.6]),
    ]


def test_diverged_and_failed_seeds_are_counted_and_have_no_value() -> None:
    found = only(
        [
            result(0.9, 0),
            synthetic.broken(HPConfig(seed=1), "diverged"),
            synthetic.broken(HPConfig(seed=2), "failed"),
        ]
    )
    assert (found.values(TEST_ACCURACY), found.diverged, found.failed) == ([0.9], 1, 1)


def test_one_seed_has_a_binomial_interval_over_the_images_it_was_tested_on() -> None:
    for dataset, images in ((DatasetConfig(), 10_000), (DatasetConfig(test_size=500), 500)):
        interval = only([result(0.9, dataset=dataset)]).interval(TEST_ACCURACY)
        assert interval
        assert interval.kind == "binomial over images"
        assert interval == wilson_interval(0.9, images)


def test_one_seed_has_a_validation_interval_over_the_validation_images() -> None:
    row = replace(result(0.9, dataset=DatasetConfig(validation_size=2000)), val_accuracy=0.8)
    interval = only([row]).interval(VAL_ACCURACY)
    assert interval
    assert interval == wilson_interval(0.8, 2000)


def test_one_seed_has_no_interval_on_the_images_it_was_trained_on() -> None:
    row = replace(result(0.9), train_accuracy=0.99, train_loss=0.1, best_test_accuracy=0.91)
    for name in ("train_accuracy", "train_loss", "best_test_accuracy"):
        assert only([row]).interval(METRICS[name]) is None


def test_no_interval_goes_beyond_what_the_metric_can_be() -> None:
    high = only(replicates([1.0, 0.99, 0.97])).interval(TEST_ACCURACY)
    low = only(replicates([0.0, 0.3])).interval(TEST_ACCURACY)
    assert high
    assert low
    assert (high.high, low.low, low.high) == (1.0, 0.0, 1.0)
    # Mean +- half width still holds the whole interval.
    uncut = t_interval([1.0, 0.99, 0.97])
    assert high.half_width == pytest.approx(uncut.half_width)
    rows = [replace(result(0.9, seed), train_loss=loss) for seed, loss in enumerate((0.1, 1.9))]
    loss = only(rows).interval(METRICS["train_loss"])
    assert loss
    assert loss.low == 0.0
    assert loss.high > 2


def test_seeds_that_agree_by_chance_have_an_interval_of_an_images_rounding() -> None:
    interval = only(replicates([0.9, 0.9])).interval(TEST_ACCURACY)
    assert interval
    rounding = 1 / 10_000 / math.sqrt(12)
    assert interval.half_width == pytest.approx(12.7062 * rounding / math.sqrt(2), rel=1e-4)


def test_without_a_value_there_is_no_mean_and_no_interval() -> None:
    found = only([synthetic.broken(HPConfig(), "failed")])
    assert found.mean(TEST_ACCURACY) is None
    assert found.interval(TEST_ACCURACY) is None


def test_the_default_metric_is_validation_accuracy_where_any_trial_has_it() -> None:
    assert default_metric([]) == TEST_ACCURACY
    assert default_metric([result(0.9)]) == TEST_ACCURACY
    assert default_metric([result(0.9), replace(result(0.8), val_accuracy=0.7)]) == VAL_ACCURACY


def test_a_preferred_metric_ranks_where_any_trial_has_it() -> None:
    loss = METRICS["train_loss"]
    assert default_metric([result(0.9)], loss) == TEST_ACCURACY
    assert default_metric([result(0.9), replace(result(0.8), train_loss=0.7)], loss) == loss


def test_varying_values_leave_out_the_seed_and_what_does_not_apply() -> None:
    rows = [result(0.9, 1), result(0.9, 2, opt="sgd"), result(0.9, model="cnn", lr=0.1)]
    assert varying_values(configurations(rows)) == {
        "lr": (1e-3, 0.1),
        "opt": ("adam", "sgd"),
        "model": ("cnn", "mlp"),
    }
    assert varying_values([]) == {}


def test_ranking_is_by_the_mean_whatever_the_order_of_the_rows() -> None:
    rows = [*replicates([0.9, 0.92], lr=0.1), *replicates([0.95, 0.89], lr=0.2), result(0.5)]
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        ranked = rank(configurations(rows), TEST_ACCURACY)
        assert [c.config.lr for c in ranked] == [0.2, 0.1, 1e-3]


def test_equal_means_are_ranked_by_the_fields() -> None:
    rows = [result(0.9, opt="sgd"), result(0.9, lr=0.1), result(0.9), result(0.9, model="cnn")]
    names = [
        (c.config.lr, c.config.opt, c.config.model)
        for c in rank(configurations(rows[::-1]), TEST_ACCURACY)
    ]
    assert names == [
        (1e-3, "adam", "cnn"),
        (1e-3, "adam", "mlp"),
        (1e-3, "sgd", "mlp"),
        (0.1, "adam", "mlp"),
    ]


def test_a_configuration_with_a_diverged_seed_ranks_below_all_without() -> None:
    diverged = synthetic.broken(HPConfig(lr=0.1, seed=1), "diverged")
    rows = [result(0.99, 0, lr=0.1), diverged, result(0.2), result(None, lr=0.3)]
    rows += [synthetic.broken(HPConfig(lr=lr), s) for lr, s in ((0.4, "failed"), (0.5, "diverged"))]
    ranked = rank(configurations(rows), TEST_ACCURACY)
    assert [c.config.lr for c in ranked] == [1e-3, 0.1, 0.3, 0.5, 0.4]


def test_a_failed_seed_does_not_lower_the_rank() -> None:
    failed = synthetic.broken(HPConfig(lr=0.1, seed=1), "failed")
    ranked = rank(configurations([result(0.8), result(0.9, lr=0.1), failed]), TEST_ACCURACY)
    assert ranked[0].config.lr == 0.1


def test_a_loss_is_ranked_from_below() -> None:
    rows = [replace(result(0.9, lr=lr), train_loss=lr) for lr in (0.2, 0.1)]
    ranked = rank(configurations(rows), METRICS["train_loss"])
    assert [c.config.lr for c in ranked] == [0.1, 0.2]


def test_the_best_configurations_are_distinct_finished_and_have_seed_0() -> None:
    rows = [*replicates([0.9, 0.8], lr=0.1), result(0.95), result(0.5, dataset=DatasetConfig("d"))]
    rows.append(synthetic.broken(HPConfig(lr=0.7), "failed"))
    assert best_configs(rows, 8, TEST_ACCURACY) == [HPConfig(), HPConfig(lr=0.1)]
    assert best_configs(rows, 1, TEST_ACCURACY) == [HPConfig()]
    assert best_configs([], 8, VAL_ACCURACY) == []


@pytest.mark.parametrize("metric", ["best_test_accuracy", "lr", "nonsense"])
def test_what_may_not_choose_is_refused(metric: str) -> None:
    with pytest.raises(UserError, match=rf"^{metric}: cannot rank by it; use one of val_accuracy"):
        check_metric(metric, [result(0.9)])


def test_a_metric_that_no_trial_has_is_refused_with_one_that_is_there() -> None:
    with pytest.raises(
        UserError, match=r"^val_accuracy: no trial .* rank by test_accuracy instead"
    ):
        best_configs([result(0.9)], 8, VAL_ACCURACY)


@pytest.mark.parametrize(
    ("split", "metric", "advice"),
    [
        (False, "val_loss", "rank by test_accuracy instead, or run the sweep with a validation"),
        (
            False,
            "test_loss",
            "rank by test_accuracy instead, or run the sweep again with --overwrite$",
        ),
        (
            True,
            "val_loss",
            "rank by val_accuracy instead, or run the sweep again with --overwrite$",
        ),
    ],
)
def test_rows_from_before_there_were_losses_are_said_to_have_none(
    split: bool, metric: str, advice: str
) -> None:
    rows = [replace(result(0.9), val_accuracy=0.8 if split else None)]
    with pytest.raises(UserError, match=f"^{metric}: no trial of these results has it; {advice}"):
        check_metric(metric, rows)


@pytest.mark.parametrize("name", ["val_loss", "test_loss"])
def test_by_a_loss_the_lowest_is_first_and_the_study_says_on_which_images(name: str) -> None:
    (study,) = split_studies(synthetic.phase2(), METRICS[name])
    means = [c.configuration.mean(study.metric) or 0.0 for c in study.comparisons]
    assert means == sorted(means)
    assert study.comparisons[1].p_value is not None
    if name == "val_loss":
        assert study.choice_note.startswith("Chosen on 5,000 validation images; the test set had")
    else:
        assert study.choice_note.endswith("test set: the test loss of the best is flattering.")


def undecided(comparisons: list[Comparison]) -> set[float]:
    """The learning rates of the configurations that may be the best."""
    return {c.configuration.config.lr for c in comparisons if c.verdict in ("best", "tied")}


def noisy(rng: random.Random, errors: list[float], seeds: int, noise: float) -> list[Comparison]:
    rows = [
        result(round(1 - error * math.exp(rng.gauss(0, noise)), 4), seed, lr=0.001 * (i + 1))
        for i, error in enumerate(errors)
        for seed in range(seeds)
    ]
    return compared(rows)


@pytest.mark.parametrize(("k", "seeds"), [(2, 3), (8, 2), (6, 10)])
def test_a_true_best_is_lost_in_at_most_5_per_cent_of_studies(k: int, seeds: int) -> None:
    rng = random.Random(0)
    studies = 200
    lost = sum(0.001 not in undecided(noisy(rng, [0.03] * k, seeds, 0.06)) for _ in range(studies))
    # 5 % and what chance may add to it in 200 studies once in a thousand times.
    assert lost <= stats.binom.ppf(0.999, studies, 0.05)


@pytest.mark.parametrize(("k", "least"), [(8, 0.7), (29, 0.5)])
def test_three_seeds_tell_most_of_what_is_a_point_behind(k: int, least: float) -> None:
    rng = random.Random(1)
    told = [
        1 - (len(undecided(noisy(rng, [0.03] + [0.04] * (k - 1), 3, 0.068))) - 1) / (k - 1)
        for _ in range(40)
    ]
    assert math.fsum(told) / len(told) > least


def test_two_configurations_are_compared_by_a_one_sided_paired_t_test() -> None:
    best, other = [0.98, 0.97, 0.975], [0.96, 0.965, 0.95]
    logs = [[math.log(1 - a) for a in values] for values in (best, other)]
    (_, compared_one) = compared([*replicates(best), *replicates(other, lr=0.1)])
    expected = stats.ttest_rel(*logs, alternative="less").pvalue
    assert compared_one.p_value == pytest.approx(expected, rel=1e-9)
    assert compared_one.difference == pytest.approx(1 / 60)


def test_a_lead_is_corrected_for_the_number_of_rivals() -> None:
    def p_value_of_the_second(k: int) -> float:
        rng = random.Random(5)
        studies = [noisy(rng, [0.03, 0.036, *[0.5] * (k - 2)], 3, 0.06) for _ in range(40)]
        return math.fsum(study[1].p_value or 0.0 for study in studies) / 40

    assert p_value_of_the_second(30) > 2 * p_value_of_the_second(5)


def test_a_configuration_that_scatters_more_than_others_is_marked_as_noisy_and_not_as_equal() -> (
    None
):
    rows = [
        row
        for i, accuracy in enumerate([0.98, 0.9795, 0.96, 0.955, 0.95, 0.94])
        for row in replicates([accuracy - 0.0004, accuracy, accuracy + 0.0004], lr=0.1 + i)
    ]
    rows += replicates([0.5, 0.9, 0.96], lr=9)
    kinds = {c.configuration.config.lr: c.kind for c in compared(rows)}
    assert kinds[9] == "noisy"
    assert [kind for lr, kind in kinds.items() if lr != 9] == ["best", "tied", *["worse"] * 4]


def test_those_before_it_rule_out_what_a_noisy_leader_could_not() -> None:
    rows = [*replicates([0.999, 0.95, 0.999]), *replicates([0.98, 0.981, 0.979], lr=0.1)]
    rows += [row for i in range(4) for row in replicates([0.9, 0.901, 0.899], lr=0.2 + i)]
    assert [c.verdict for c in compared(rows)] == ["best", "tied", *["worse"] * 4]


def test_one_seed_among_replicated_ones_is_judged_by_their_noise() -> None:
    rows = [
        row
        for i, accuracy in enumerate([0.98, 0.978, 0.976])
        for row in replicates([accuracy - 0.0005, accuracy, accuracy + 0.0005], lr=0.1 + i)
    ]
    comparisons = compared([*rows, result(0.9, lr=8.0), result(0.9795, lr=9.0)])
    verdicts = {c.configuration.config.lr: c.verdict for c in comparisons}
    assert (verdicts[8.0], verdicts[9.0]) == ("worse", "tied")


def test_seeds_advised_are_about_those_that_tell_a_difference() -> None:
    def rows(seeds: int, studies: random.Random) -> list[Comparison]:
        return noisy(studies, [0.03, 0.032], seeds, 0.06)

    rng = random.Random(3)
    needed = [c.seeds for _ in range(200) for c in rows(3, rng) if c.seeds]
    # From the true difference and noise: (1.645 + 0.842)^2 * 2 * 0.06^2 / log(0.032 / 0.03)^2.
    seeds = 11
    assert min(needed) >= 4
    told = sum(rows(seeds, rng)[1].verdict == "worse" for _ in range(200))
    assert 0.65 < told / 200 < 0.92


def test_advice_takes_few_seeds_if_these_tell_any() -> None:
    ties = [Comparison(only([result(0.9)]), "best")]
    ties += [Comparison(only([result(0.9)]), "tied", seeds=n) for n in (4, 9, 25, 400)]
    assert advice(ties, TEST_ACCURACY) == Advice(seeds=9, top=3, told=2, trials=24)
    assert advice([ties[0], *ties[3:]], TEST_ACCURACY) == Advice(25, 2, 1, 48)
    assert advice([ties[0], ties[4]], TEST_ACCURACY) is None


@pytest.mark.parametrize("x", [1e-3, 0.5, 1.0, 2.5, 9.99, 40.0, 1e4])
def test_digamma_and_trigamma_are_scipys(x: float) -> None:
    assert digamma(x) == pytest.approx(special.digamma(x), rel=1e-9)
    assert trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-9)
    assert trigamma_inverse(trigamma(x)) == pytest.approx(x, rel=1e-9)


def test_one_seed_says_nothing_about_who_is_better() -> None:
    comparisons = compared([result(0.9), result(0.1, lr=0.1)])
    assert [c.verdict for c in comparisons] == ["best", "untested"]


def test_seeds_that_are_not_common_are_compared_without_pairing() -> None:
    rows = [*replicates([0.9, 0.91])]
    rows += [result(0.1 + seed / 1000, seed, lr=0.1) for seed in (7, 8, 9)]
    assert [c.verdict for c in compared(rows)] == ["best", "worse"]


def test_a_leader_with_more_errors_on_the_logarithmic_scale_beats_nobody() -> None:
    rows = [*replicates([0.9, 0.9, 0.9]), *replicates([0.999, 0.999, 0.69], lr=1)]
    assert [(c.configuration.config.lr, c.verdict, c.seeds) for c in compared(rows)] == [
        (1e-3, "best", None),
        (1.0, "tied", None),
    ]


def test_a_configuration_that_diverged_is_not_said_to_be_as_good_as_the_best() -> None:
    rows = [*replicates([0.9, 0.91]), *replicates([0.9, 0.91], lr=0.1)]
    rows.append(synthetic.broken(HPConfig(lr=0.1, seed=2), "diverged"))
    comparisons = compared(rows)
    assert [c.verdict for c in comparisons] == ["best", "untested"]


def test_the_same_few_images_twice_are_no_proof() -> None:
    rows = [*replicates([0.97, 0.97]), *replicates([0.9699, 0.9699], lr=0.1)]
    assert len(undecided(compared(rows))) == 2


def test_perfect_accuracies_can_be_compared() -> None:
    rows = [*replicates([1.0, 1.0, 1.0]), *replicates([0.5, 0.52, 0.51], lr=0.1)]
    assert [c.verdict for c in compared(rows)] == ["best", "worse"]


def test_nothing_compares_to_nothing() -> None:
    assert compare_with_best([], TEST_ACCURACY) == []
    broken = compared([synthetic.broken(HPConfig(), "failed")])
    assert [c.verdict for c in broken] == ["untested"]


def test_an_inert_parameter_makes_no_difference_and_a_strong_one_does() -> None:
    points = synthetic.grid(
        HPConfig(), range(10, 15), opt=["adam", "sgd"], activation_fn=["relu", "silu"]
    )
    assert {
        (c.configuration.config.opt, c.verdict in ("best", "tied"))
        for c in compared(synthetic.sweep(points))
    } == {("adam", True), ("sgd", False)}


@pytest.mark.parametrize("images", [1000, 5000, 10_000])
@pytest.mark.parametrize("accuracy", [0.85, 0.97, 0.985])
def test_an_interval_over_the_images_that_were_tested_covers_the_accuracy(
    images: int, accuracy: float
) -> None:
    """Exactly, over all counts of right images, each with its binomial probability."""
    dataset = DatasetConfig("fashion", digest="0123456789ab")
    spread = math.sqrt(images * accuracy * (1 - accuracy))
    covered = 0.0
    for right in range(max(0, int(images * accuracy - 6 * spread)), images + 1):
        row = replace(result(right / images, dataset=dataset), test_images=images)
        interval = only([row]).interval(TEST_ACCURACY)
        assert interval is not None
        if interval.low <= accuracy <= interval.high:
            covered += stats.binom.pmf(right, images, accuracy)
    assert 0.93 < covered < 0.965


def test_where_nobody_knows_how_many_images_were_tested_there_is_no_interval_over_them() -> None:
    folder = DatasetConfig("old/folder")
    assert only([result(0.97, dataset=folder)]).interval(TEST_ACCURACY) is None
