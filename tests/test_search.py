"""Promises of a search: a pure function of the rows, and no training run twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnist_sweep.config import SCHEDULES
from mnist_sweep.runner import describe_plan
from mnist_sweep.search.methods import METHODS
from mnist_sweep.search.protocol import missing, most
from mnist_sweep.spec.keys import KEYS
from mnist_sweep.trial import TrialResult
from tests.spec_helpers import FOLDER_OF_MANY, configs, load, trials

SPECS = {
    "grid": "seeds: 2\ngrids: {a: {lr: [1e-3, 1e-2], depth: [1, 2]}, b: {depth: [2, 3]}}\n",
    "random": "seeds: 2\nmethod: random\ncount: 5\nparameters: {lr: {min: 1e-4, max: 1}}\n",
    # With as many as the first batch; what comes after that is for the tests of stages.
    "bayes": "seeds: 2\nmethod: bayes\ncount: 5\nparameters: {lr: {min: 1e-4, max: 1}}\n",
}


def test_every_method_is_searched_below() -> None:
    assert set(SPECS) == set(METHODS)


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
@FOLDER_OF_MANY
@given(chosen=st.sets(st.integers(0, 9)), order=st.randoms())
def test_what_is_proposed_is_what_has_no_row_in_the_order_of_the_spec(
    tmp_path: Path, text: str, chosen: set[int], order: random.Random
) -> None:
    search = load(tmp_path, text).search
    everything = missing(search, {}).trials
    rows = [TrialResult("sweep", trial, "ok") for i, trial in enumerate(everything) if i in chosen]
    order.shuffle(rows)
    proposed = missing(search, {row.trial.trial_id: row for row in rows}).trials
    assert list(proposed) == [trial for i, trial in enumerate(everything) if i not in chosen]


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_a_finished_search_proposes_nothing_whatever_came_of_its_trials(
    tmp_path: Path, text: str
) -> None:
    search = load(tmp_path, text).search
    rows = {t.trial_id: TrialResult("sweep", t, "failed") for t in missing(search, {}).trials}
    assert len(rows) == most(search) == 10
    assert not missing(search, rows).trials


def test_a_key_of_a_method_is_a_key_of_the_spec() -> None:
    for method in METHODS.values():
        assert {*method.keys, *method.needs, *method.refuses} <= set(KEYS)


# Values that do not apply

COSINE = "parameters: {{lr_schedule: {}, patience: [10, 50, 200], lr_decay: [0.5, 0.9]}}\n"


def test_a_value_without_meaning_is_the_default_and_its_training_runs_once(tmp_path: Path) -> None:
    spec = load(tmp_path, COSINE.format("[cosine, plateau]") + "seeds: 2\n")
    drawn = configs(spec, "lr_schedule", "patience", "lr_decay", "seed")
    assert drawn[:2] == [("cosine", 50, 0.9, 0), ("cosine", 50, 0.9, 1)]
    assert {row[0] for row in drawn[2:]} == {"plateau"}
    assert len(drawn) == 2 + 12
    assert spec.warnings == (
        "lr_decay: does not apply where lr_schedule is cosine; 0.5 is replaced by the default, 0.9",
        "patience: does not apply where lr_schedule is cosine; 10, 200 are replaced by the "
        "default, 50",
        "5 of 12 configurations are the same training as another and run once",
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_only_the_plateau_has_its_hyperparameters_and_says_nothing(
    tmp_path: Path, schedule: str
) -> None:
    spec = load(tmp_path, COSINE.format(schedule))
    plateau = "patience" in SCHEDULES[schedule].uses
    assert (len(trials(spec)), len(spec.warnings)) == ((6, 0) if plateau else (1, 3))


def test_several_reasons_are_one_warning(tmp_path: Path) -> None:
    text = "base: {patience: 7}\nparameters: {lr_schedule: [cosine, constant]}\n"
    assert load(tmp_path, text).warnings == (
        "patience: does not apply where lr_schedule is constant or lr_schedule is cosine; 7 is "
        "replaced by the default, 50",
    )


def test_adamw_is_another_configuration_than_adam_with_the_same_decay(tmp_path: Path) -> None:
    text = "parameters: {opt: [adam, adamw, sgd], weight_decay: [0, 0.01, 0.1]}\n"
    spec = load(tmp_path, text)
    assert configs(spec, "opt", "weight_decay") == [
        *(("adam", decay) for decay in (0, 0.01, 0.1)),
        *(("adamw", decay) for decay in (0.01, 0.1)),
        *(("sgd", decay) for decay in (0, 0.01, 0.1)),
    ]
    assert spec.warnings == ("1 of 9 configurations are the same training as another and run once",)
    alone = load(tmp_path, "parameters: {opt: [adam, adamw, sgd]}\n")
    assert configs(alone, "opt", "weight_decay") == [("adam", 0), ("adamw", 0.01), ("sgd", 0)]
    assert trials(alone)[1] == trials(spec)[3]
    assert trials(alone)[1].trial_id != trials(spec)[1].trial_id


def test_an_exclusion_means_what_is_written(tmp_path: Path) -> None:
    text = "parameters: {lr_schedule: [plateau, cosine], patience: [10, 50]}\nexclude: "
    spec = load(tmp_path, text + "[{patience: 50}]\n")
    assert configs(spec, "lr_schedule", "patience") == [("plateau", 10), ("cosine", 50)]
    spec = load(tmp_path, text + "[{lr_schedule: cosine, patience: 10}]\n")
    assert configs(spec, "lr_schedule", "patience")[2:] == [("cosine", 50)]
    assert spec.warnings == ()


DRAWN = "method: random\ncount: {}\nparameters: {{lr_schedule: [cosine, plateau], patience: {}}}\n"


def test_a_draw_that_is_the_same_training_as_another_is_replaced(tmp_path: Path) -> None:
    spec = load(tmp_path, DRAWN.format(4, "[10, 50, 200]"))
    assert set(configs(spec, "lr_schedule", "patience")) == {
        ("cosine", 50),
        *(("plateau", patience) for patience in (10, 50, 200)),
    }


def test_a_search_by_a_model_counts_no_candidates(tmp_path: Path) -> None:
    text = DRAWN.format(3, "[10, 50, 200]").replace("random", "bayes")
    told, _ = load(tmp_path, text).warnings
    assert told.startswith("patience: does not apply where lr_schedule is cosine")


def test_a_count_cuts_a_grid_or_is_more_than_there_are(tmp_path: Path) -> None:
    text = COSINE.format("[cosine, plateau]")
    for count, note in ((5, "count: only the first 5 of 12"), (9, "count: 9 is more than the 7")):
        warnings = load(tmp_path, f"{text}count: {count}\n").warnings
        assert [line.startswith(note) for line in warnings if "count:" in line] == [True]


def test_too_few_different_trainings_are_said_with_their_reason(tmp_path: Path) -> None:
    said = load(tmp_path, DRAWN.format(5, "[10, 50, 200]")).warnings
    assert "count: 5 is more than the 4 configurations there are; all of them run" in said
    assert any("patience: does not apply where lr_schedule is cosine" in line for line in said)


@settings(FOLDER_OF_MANY, max_examples=20)
@given(st.integers(1, 40))
def test_a_longer_search_contains_a_shorter_one_where_draws_are_replaced(
    tmp_path: Path, count: int
) -> None:
    long, short = (DRAWN.format(n, "{min: 1, max: 99}") for n in (40, count))
    assert trials(load(tmp_path, short)) == trials(load(tmp_path, long))[:count]


def test_a_dry_run_counts_what_is_left_of_a_search(tmp_path: Path) -> None:
    spec = load(tmp_path, COSINE.format("[cosine, plateau]") + "seeds: 2\n")
    plan = describe_plan(spec, tmp_path / "out.csv", jobs=1)
    assert "14: 7 configurations, 0 already in" in plan
