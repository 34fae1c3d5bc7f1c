"""Trials are grouped so that a shape is compiled once, and handed out so that no worker idles."""

import itertools
import random

import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.plan import MOST_STACKED, Assignments, flops, plan, shape_of, stack_size
from mnist_sweep.trial import DatasetConfig, Trial


def _grid() -> list[Trial]:
    values = itertools.product([64, 128], [32, 512], [1e-3, 1e-2], [0, 1])
    return [Trial(HPConfig(batch_size=b, width=w, lr=lr, seed=s)) for b, w, lr, s in values]


def test_trials_that_differ_in_rate_schedule_epochs_or_seed_share_a_cohort() -> None:
    trials = [
        Trial(HPConfig(lr=lr, lr_schedule=schedule, epochs=epochs, seed=seed, lr_decay=0.5))
        for lr in (1e-3, 1e-2)
        for schedule in ("cosine", "plateau")
        for epochs in (1, 2)
        for seed in (0, 1)
    ]
    assert len(plan(trials)) == 1


@pytest.mark.parametrize(
    "other",
    [
        Trial(HPConfig(batch_size=32)),
        Trial(HPConfig(width=64)),
        Trial(HPConfig(depth=3)),
        Trial(HPConfig(width="512-256")),
        Trial(HPConfig(opt="sgd")),
        Trial(HPConfig(activation_fn="relu")),
        Trial(HPConfig(model="cnn")),
        Trial(HPConfig(label_smoothing=0.1)),
        Trial(HPConfig(weight_decay=0.1)),
        Trial(HPConfig(dropout=0.1)),
        Trial(HPConfig(rotation=1)),
        Trial(HPConfig(clip_norm=1)),
        Trial(HPConfig(), DatasetConfig(validation_size=5000)),
    ],
)
def test_trials_that_need_another_compiled_step_do_not(other: Trial) -> None:
    assert len(plan([Trial(HPConfig()), other])) == 2


def test_the_work_of_layers_of_different_widths_is_theirs() -> None:
    data = DatasetConfig(train_size=100)
    work = 2 * 784 * 64 + 3 * (64 * 16 + 16 * 10)
    assert flops([Trial(HPConfig(width="64-16"), data)]) == 2 * 100 * work


def test_momentum_is_in_a_step_only_where_it_applies() -> None:
    on, much, off = ({"opt": "sgd", "momentum": m, "nesterov": int(m > 0.5)} for m in (0.5, 0.9, 0))
    assert len(plan([Trial(HPConfig(**values)) for values in (on, much)])) == 1  # type: ignore[arg-type]
    assert len(plan([Trial(HPConfig(**values)) for values in (on, off)])) == 2  # type: ignore[arg-type]
    assert len(plan([Trial(HPConfig()), Trial(HPConfig(momentum=0.9))])) == 1


def test_a_plan_holds_every_trial_once_whatever_their_order() -> None:
    trials = _grid()
    mixed = trials.copy()
    random.Random(0).shuffle(mixed)
    planned = [t for cohort in plan(mixed) for t in cohort.trials]
    assert sorted(t.trial_id for t in planned) == sorted(t.trial_id for t in trials)


def test_the_costliest_cohort_comes_first() -> None:
    costs = [flops(cohort.trials) for cohort in plan(_grid())]
    assert costs == sorted(costs, reverse=True)


def test_the_configuration_of_a_shape_has_that_shape() -> None:
    for config in (HPConfig(width=7, depth=4, opt="sgd"), HPConfig(model="cnn", batch_size=5)):
        shape = shape_of(Trial(config))
        assert shape_of(Trial(shape.config)) == shape


def test_the_cost_of_one_epoch_of_the_default_mlp_is_what_counting_by_hand_gives() -> None:
    weights = 784 * 512 + 512 * 512 + 512 * 10
    assert flops([Trial(HPConfig())]) == 2 * 60_000 * (3 * weights - 784 * 512)


def test_the_full_grid_costs_about_550_teraflop() -> None:
    values = itertools.product(
        range(5), range(1, 6), (128, 256, 512, 1024), range(4), range(2), range(2)
    )
    trials = [Trial(HPConfig(depth=depth, width=width)) for _, depth, width, *_ in values]
    assert len(trials) == 1600
    assert flops(trials) == pytest.approx(550e12, rel=0.1)


def test_a_worker_keeps_its_shape_until_its_cohort_is_done() -> None:
    assignments = Assignments(plan(_grid()))
    first = assignments.take(None)
    assert first is not None
    shape = shape_of(first)
    taken = [assignments.take(shape) for _ in range(3)]
    assert {shape_of(trial) for trial in taken if trial} == {shape}
    following = assignments.take(shape)
    assert following is not None
    assert shape_of(following) != shape


def test_two_workers_start_on_different_cohorts() -> None:
    assignments = Assignments(plan(_grid()))
    first, second = assignments.take(None), assignments.take(None)
    assert first is not None
    assert second is not None
    assert shape_of(first) != shape_of(second)


def test_an_idle_worker_takes_over_trials_of_the_cohort_with_most_work_left() -> None:
    cohorts = plan(_grid())
    assignments = Assignments(cohorts)
    for cohort in cohorts:  # four workers, one on each cohort
        trial = assignments.take(None)
        assert trial is not None
        assert shape_of(trial) == cohort.shape
    last = cohorts[-1].shape
    for _ in range(3):  # the last one finishes its own
        assignments.take(last)
    stolen = assignments.take(last)
    assert stolen is not None
    assert shape_of(stolen) == cohorts[0].shape


def test_every_trial_is_handed_out_exactly_once() -> None:
    trials = _grid()
    assignments = Assignments(plan(trials))
    generator = random.Random(1)
    shapes: list[object] = [None, None, None]
    seen = []
    while (trial := assignments.take(shapes[i := generator.randrange(3)])) is not None:  # type: ignore[arg-type]
        seen.append(trial.trial_id)
        shapes[i] = shape_of(trial)
    assert sorted(seen) == sorted(t.trial_id for t in trials)
    assert assignments.left == 0


def _taken(trials: list[Trial], most: int) -> list[list[Trial]]:
    assignments, shape, taken = Assignments(plan(trials)), None, []
    while stack := assignments.take_stack(shape, lambda _: most):
        shape = shape_of(stack[0])
        taken.append(stack)
    return taken


def test_a_stack_has_one_shape_and_one_number_of_epochs_and_no_trial_is_lost() -> None:
    trials = [
        Trial(HPConfig(width=width, epochs=epochs, seed=seed))
        for seed in range(5)
        for width in (16, 32)
        for epochs in (1, 2)
    ]
    taken = _taken(trials, 4)
    for stack in taken:
        assert len({(shape_of(trial), trial.config.epochs) for trial in stack}) == 1
        assert len(stack) <= 4
    assert sorted(t.trial_id for s in taken for t in s) == sorted(t.trial_id for t in trials)


def test_stacks_of_a_cohort_are_as_equal_as_they_can_be() -> None:
    trials = [Trial(HPConfig(width=16, seed=seed)) for seed in range(9)]
    assert [len(stack) for stack in _taken(trials, 4)] == [3, 3, 3]
    assert [len(stack) for stack in _taken(trials, 1)] == [1] * 9


def test_stack_size_follows_the_memory_and_the_size_of_a_trial() -> None:
    small, large = (shape_of(Trial(HPConfig(width=w, depth=3))) for w in (128, 1024))
    assert stack_size(small, 0) == 1
    assert stack_size(small, 2**40) == MOST_STACKED
    assert 1 < stack_size(large, 2**30) < stack_size(small, 2**30)
    wide = shape_of(Trial(HPConfig(batch_size=10_000)))
    assert stack_size(wide, 2**30) < stack_size(shape_of(Trial(HPConfig())), 2**30)
    # 64 CNNs of batch 64 are some 12 GB with their activations, which a GPU of 80 GB has room for.
    assert stack_size(shape_of(Trial(HPConfig(model="cnn"))), 80 * 2**30) == MOST_STACKED
