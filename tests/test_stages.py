"""A search that learns, and the stages behind it: the same trials however their rows arrive."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mnist_sweep.analysis.study import split_studies
from mnist_sweep.errors import UserError
from mnist_sweep.results.file import ResultsWriter, read_results
from mnist_sweep.runner import describe_plan, run_sweep
from mnist_sweep.search.protocol import Search, missing, most
from mnist_sweep.table import format_search, format_winner
from mnist_sweep.trial import Trial, TrialResult
from tests.in_process import InProcessExecutor
from tests.spec_helpers import load, problems

GRID = Path(__file__).parents[1] / "plots" / "results" / "mlp_full_grid.csv"
SPACE = """
dataset: {name: mnist, validation_size: 5000}
parameters: {lr: [1e-4, 1e-3, 1e-2], width: [64, 128, 256, 512], opt: [adam, sgd]}
"""
BAYES = f"{SPACE}method: bayes\ncount: 18\nbatch: 3\n"
RUNGS = f"""{SPACE}
rungs:
  - {{train_size: 10000, keep: 1/2}}
  - {{epochs: 1, keep: contenders, seeds: 2}}
  - {{epochs: 3}}
"""
#: One that is trained in a second, in 11 trials.
TINY = """
dataset: {name: mnist, train_size: 500, validation_size: 300, test_size: 100}
base: {width: 16, depth: 1, batch_size: 50}
method: bayes
count: 7
parameters: {lr: [1e-4, 1e-3, 3e-3, 1e-2, 1e-1], activation_fn: [relu, silu]}
confirm: {top: 2, seeds: [5, 6]}
"""
STAGED = {
    "bayes": BAYES,
    "bayes, confirmed": f"{BAYES}confirm: {{top: 3, seeds: [7, 8]}}\n",
    "rungs": RUNGS,
    "rungs and a race": f"{RUNGS}race: {{seeds: 6, margin: 0.1}}\n",
    "a race of a random search": f"{SPACE}method: random\ncount: 9\nrace: {{seeds: 5}}\n",
}


def measured(trial: Trial) -> TrialResult:
    """What a trial comes to: a valley along the rate, some luck of the seed; one rate diverges."""
    config = trial.config
    if config.lr == 1e-2 and config.opt == "adam":
        return TrialResult("s", trial, "diverged")
    error = 0.03 * (1 + abs(math.log10(config.lr / 1e-3)) + (config.opt == "sgd"))
    error *= (512 / max(config.widths, default=512)) ** 0.2 / config.epochs**0.3
    error *= math.exp(random.Random(trial.trial_id).gauss(0, 0.05))
    return TrialResult("s", trial, "ok", val_accuracy=round(1 - error, 4), test_accuracy=0.9)


def finish(
    search: Search,
    rng: random.Random | None = None,
    measure: Callable[[Trial], TrialResult] = measured,
) -> dict[str, TrialResult]:
    """All rows of a search; with ``rng`` some of what is asked for is run each time, in any order.

    The search is told the rows in a random order, with one of another sweep among them.
    """
    rows: dict[str, TrialResult] = {}
    while todo := missing(search, shuffled(rows, rng)).trials:
        if rng:
            todo = rng.sample(todo, rng.randint(1, len(todo)))
        rows |= {trial.trial_id: measure(trial) for trial in todo}
    return rows


def shuffled(
    rows: Mapping[str, TrialResult], rng: random.Random | None
) -> Mapping[str, TrialResult]:
    if rng is None or not rows:
        return rows
    others = ("other", next(iter(rows.values())))
    return dict(rng.sample([*rows.items(), others], len(rows) + 1))


@pytest.mark.parametrize("kind", STAGED)
def test_the_trials_do_not_depend_on_the_order_of_rows_or_on_interruptions(
    kind: str, tmp_path: Path
) -> None:
    expected = finish(load(tmp_path, STAGED[kind]).search)
    for seed in range(3):
        search = load(tmp_path, STAGED[kind]).search
        rows = finish(search, random.Random(seed))
        assert rows.keys() == expected.keys()
        assert not missing(search, rows).trials
        assert len(rows) <= most(search)


def test_no_configuration_is_asked_for_twice_and_as_many_as_were_to_be(tmp_path: Path) -> None:
    search = load(tmp_path, BAYES).search
    assert len(finish(search)) == most(search) == 18


@pytest.mark.parametrize("kind", ["bayes, confirmed", "rungs"])
def test_a_loss_that_is_the_error_leads_where_its_accuracy_does(kind: str, tmp_path: Path) -> None:
    def loss(trial: Trial) -> TrialResult:
        row = measured(trial)
        error = None if row.val_accuracy is None else 1 - row.val_accuracy
        return replace(row, val_loss=error, val_accuracy=0.5)

    by_accuracy = finish(load(tmp_path, STAGED[kind]).search)
    by_loss = finish(load(tmp_path, f"{STAGED[kind]}metric: val_loss\n").search, measure=loss)
    assert by_loss.keys() == by_accuracy.keys()


def test_a_model_searches_widths_of_one_and_of_each_layer(tmp_path: Path) -> None:
    widths = ["[64-32, 64, 128-64-32, 64-64, 512]", "[64-32, 32-64]"]
    for space in widths:
        text = f"parameters: {{width: {space}, lr: [1e-3, 3e-3, 3e-2]}}\nmethod: bayes\ncount: 6\n"
        assert len(finish(load(tmp_path, text).search)) == 6


def test_a_model_finds_the_best_of_the_grid_of_1600_in_50_trials(tmp_path: Path) -> None:
    grid = {
        (c.batch_size, c.lr, c.opt, c.width, c.depth, c.activation_fn): row
        for row in read_results(GRID).results
        for c in [row.trial.config]
    }

    def measure(trial: Trial) -> TrialResult:
        c = trial.config
        row = grid[c.batch_size, c.lr, c.opt, c.width, c.depth, c.activation_fn]
        return TrialResult("s", trial, "ok", val_accuracy=row.val_accuracy)

    text = """
    dataset: {name: mnist, validation_size: 5000}
    method: bayes
    count: 50
    parameters:
      lr: [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
      depth: [1, 2, 3, 4, 5]
      width: [128, 256, 512, 1024]
      batch_size: [32, 64, 128, 256]
      opt: [adam, sgd]
      activation_fn: [relu, silu]
    """
    rows = finish(load(tmp_path, text).search, measure=measure)
    found = max(row.val_accuracy or 0 for row in rows.values())
    assert len(rows) == 50
    # Random search comes within 0.2 points in a tenth of runs.
    assert found >= max(row.val_accuracy or 0 for row in grid.values()) - 0.002


def test_a_model_bears_defaults_in_the_place_of_what_does_not_apply(tmp_path: Path) -> None:
    text = """
    dataset: {name: mnist, validation_size: 5000}
    method: bayes
    count: 20
    parameters:
      lr_schedule: [plateau, cosine]
      patience: [10, 20]
      lr_decay: {min: 0.95, max: 0.99}
      lr: {min: 1e-4, max: 1e-2, distribution: log_uniform_values}
    """
    rows = finish(load(tmp_path, text).search)
    assert len(rows) == 20
    assert {row.trial.config.patience for row in rows.values()} == {10, 20, 50}


def test_a_stage_takes_the_best_of_the_one_before(tmp_path: Path) -> None:
    rows = finish(load(tmp_path, RUNGS).search)
    sizes = [[r for r in rows.values() if r.trial.dataset.train_size == 10000]]
    sizes += [[r for r in rows.values() if r.trial.config.epochs == 3]]
    first, last = sizes
    finished = [r for r in first if r.trial.config.epochs == 1 and r.trial.config.seed == 0]
    ranked = sorted(finished, key=lambda r: -(r.val_accuracy or 0))
    assert {r.trial.config.lr for r in last} <= {r.trial.config.lr for r in ranked[:10]}
    assert {r.trial.config.seed for r in last} == {0, 1}
    assert all(r.trial.config.opt == "adam" for r in last)


@pytest.mark.parametrize(
    ("schedule", "rung", "warned"),
    [
        ("cosine", "{epochs: 4}", True),
        ("[plateau, onecycle]", "{epochs: 4}", True),
        ("plateau", "{epochs: 4}", False),
        ("constant", "{epochs: 4}", False),
        ("cosine", "{seeds: 3}", False),
    ],
)
def test_short_trials_that_choose_who_gets_a_long_schedule_are_warned_of(
    schedule: str, rung: str, warned: bool, tmp_path: Path
) -> None:
    text = f"parameters: {{lr: [1e-3, 1e-2], lr_schedule: {schedule}}}\n"
    spec = load(tmp_path, f"{text}rungs: [{{epochs: 1, keep: 2}}, {rung}]\n")
    assert any("tell little of those after many" in line for line in spec.warnings) == warned


def test_a_stage_says_before_it_begins_what_it_may_ask_for(tmp_path: Path) -> None:
    text = f"{STAGED['rungs and a race']}confirm: {{top: 2, seeds: [9]}}\n"
    search = load(tmp_path, text).search
    parts = [(p.stage, p.most, p.configurations, p.fixed) for p in search.parts]
    # Rung 3 has two seeds from rung 2, which are the first of the six of the race.
    assert parts == [
        ("", 24, 24, True),
        ("rung 2", 24, 12, False),
        ("rung 3", 24 + 48, 12, False),
        ("confirm", 2, 2, False),
    ]
    rows = finish(search)
    asked: dict[str, set[str]] = {}
    for part in search.asked(rows):
        asked.setdefault(part.stage, set()).update(trial.trial_id for trial in part.trials)
    assert all(len(asked[part.stage]) <= part.most for part in search.parts)
    configs = [{t.config for t in part.variants} for part in search.parts]
    assert all(config.epochs == 3 for config in configs[2])


def test_a_dry_run_prices_each_stage(tmp_path: Path) -> None:
    text = RUNGS.replace("keep: contenders", "keep: 1/3")
    spec, output = load(tmp_path, text), tmp_path / "out.csv"
    lines = describe_plan(spec, output, jobs=2).splitlines()
    at = lines.index(next(line for line in lines if line.startswith("stages ")))
    assert re.fullmatch(r"stages +search: 24 trials, [\d.]+ TFLOP, about \d+ s", lines[at])
    assert lines[at + 1].strip().startswith("rung 2: at most 24 trials, ")
    assert lines[at + 2].strip().startswith("rung 3: at most 8 trials, ")
    rows = finish(spec.search)
    with ResultsWriter(output) as writer:
        for row in list(rows.values())[:-1]:
            writer.append(replace(row, device="CPU", train_seconds=1.0))
    lines = describe_plan(spec, output, jobs=2).splitlines()
    assert lines[at].endswith("search: 24 trials, done")
    assert re.search(r"rung 2: \d+ trials, done", lines[at + 1])
    assert "rung 3: at most 8 trials, " in lines[at + 2]


def test_a_search_ends_with_what_it_found_how_sure_that_is_and_what_it_took(
    tmp_path: Path,
) -> None:
    spec = load(tmp_path, f"{BAYES}confirm: {{top: 3, seeds: [7, 8]}}\n")
    rows = [replace(row, train_seconds=59.0, compile_seconds=1.0)
            for row in by_stage(spec.search, finish(spec.search))]  # fmt: skip
    study = split_studies(rows)[0]
    text = format_search(study, rows, spec.size)
    cost = "24 trials, of 18 of the 24 configurations, and 24 min of one worker's time."
    assert text.startswith(f"The search took {cost} Its last stage has 3 of these. ")
    assert study.promise_text
    assert study.promise_text in text
    assert format_search(study, rows, math.inf).startswith("The search took 24 trials, of 18 conf")
    # What all of the last stage have in common was chosen, too.
    assert re.match(r"best: lr \S+, \w+, width \d+: validation accuracy", format_winner(study))
    tied = sum(comparison.verdict == "tied" for comparison in study.comparisons)
    assert bool(tied) == ("None of these is better than the best by more than" in text)
    assert study.settle_text in text
    (alone,) = split_studies([row for row in rows if not row.stage])
    assert "One seed does not say how sure that is" in format_search(alone, rows, spec.size)


def by_stage(search: Search, rows: Mapping[str, TrialResult]) -> list[TrialResult]:
    """``rows`` as a run writes them: each with the first stage that asked for it."""
    found: dict[str, TrialResult] = {}
    for part in search.asked(rows):
        for trial in part.trials:
            found.setdefault(trial.trial_id, replace(rows[trial.trial_id], stage=part.stage))
    return list(found.values())


def test_a_spec_that_was_changed_is_said_and_its_rows_stay(tmp_path: Path) -> None:
    spec, output = load(tmp_path, BAYES), tmp_path / "out.csv"
    rows = [replace(row, sweep=spec.name, device="CPU") for row in finish(spec.search).values()]
    with ResultsWriter(output) as writer:
        for row in rows:
            writer.append(row)
    # A search of fewer is the beginning of one of more: it has no use for the last of its rows.
    for text, strange in ((BAYES, 0), (BAYES.replace("18", "15"), 3)):
        said: list[str] = []
        spec = load(tmp_path, text)
        summary = run_sweep(spec, output, InProcessExecutor(), device="CPU", say=said.append)
        assert (summary.done, summary.new) == (18 - strange, 0)
        notes = [line.split(":")[0] for line in said if "decide nothing" in line]
        assert notes == ["3 rows of sweep sweep stay, but decide nothing"] * (strange > 0)
    assert len(read_results(output).results) == 18


def test_a_race_drops_who_cannot_win_and_keeps_who_may(tmp_path: Path) -> None:
    text = f"{SPACE}race: {{seeds: 8}}\n"
    rows = finish(load(tmp_path, text).search)
    seeds: dict[tuple[object, ...], int] = {}
    for row in rows.values():
        config = row.trial.config
        key = config.lr, config.width, config.opt
        seeds[key] = seeds.get(key, 0) + 1
    assert seeds[1e-4, 64, "sgd"] == 2  # the fewest that tell
    assert seeds[1e-2, 64, "adam"] == 1  # which diverged
    assert seeds[1e-3, 512, "adam"] == 8 or max(seeds.values()) < 8
    assert len(rows) < 24 * 8 / 2


def test_a_race_ends_when_no_other_is_better_by_the_margin(tmp_path: Path) -> None:
    narrow, wide = (
        len(finish(load(tmp_path, f"{SPACE}race: {{seeds: 12, margin: {m}}}\n").search))
        for m in (0, 2)
    )
    assert wide < narrow


def test_a_run_names_the_stage_and_the_last_one_is_ranked_first(tmp_path: Path) -> None:
    spec, output = load(tmp_path, TINY), tmp_path / "out.csv"
    for limit, seconds in ((3, 0.1), (3, None), (5, 600.0), (None, 600.0)):
        run_sweep(spec, output, InProcessExecutor(), device="CPU", limit=limit, seconds=seconds)
    once = tmp_path / "once.csv"
    summary = run_sweep(spec, once, InProcessExecutor(), device="CPU")
    assert (summary.done, summary.total) == (11, 11)
    rows = [read_results(path).results for path in (output, once)]
    ids = [{(r.trial.trial_id, r.stage, r.val_accuracy) for r in results} for results in rows]
    assert ids[0] == ids[1]
    confirmed, searched = split_studies(rows[0])
    assert (confirmed.name, searched.name) == ("confirm", "search")
    assert {r.trial.config.seed for r in confirmed.results} == {5, 6}
    assert confirmed.settle_command == ""
    again = run_sweep(spec, output, InProcessExecutor(), device="CPU")
    assert (again.done, again.new) == (11, 0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rungs: [{keep: 4}]", "rungs: needs two stages or more"),
        ("rungs: [{epochs: 1}, {epochs: 2}]", "rungs: say how many stay after this stage"),
        ("rungs: [{keep: 3/2}, {epochs: 2}]", "keep: expected 64, 1/4 or contenders, got '3/2'"),
        ("rungs: [{keep: 2, epohc: 1}, {epochs: 2}]", "epohc: unknown hyperparameter"),
        (
            "rungs: [{train_size: 55001, keep: 2}, {epochs: 2}]",
            "rungs.train_size: must be between 1 and 55000, got 55001",
        ),
        (
            "rungs: [{keep: 2}, {train_size: 55001}]",
            "rungs.train_size: must be between 1 and 55000, got 55001",
        ),
        ("race: {seeds: 1}", "race.seeds: a race needs two seeds or more"),
        ("race: {margin: 1}", "race: needs seeds:; write race: {seeds: 10, margin: 0.1}"),
        ("race: {seeds: 3, margin: -1}", "race.margin: expected points such as 0.1"),
        ("confirm: {top: 2, seeds: 2}", "confirm.seeds: 0 chose the best; give fresh ones"),
        ("race: {seeds: 4}\nconfirm: {top: 2, seeds: [3]}", "confirm.seeds: 3 chose the best"),
        ("seeds: 3\nrace: {seeds: 3}", "race: trains nothing that was not trained before it"),
        ("rungs: [{keep: 2}, {epochs: 1}]", "rungs: rung 2 trains nothing that was not trained"),
        (
            "base: {lr_schedule: cosine}\nrungs: [{keep: 2}, {patience: 9, keep: 2}, {epochs: 2}]",
            "rungs: rung 2 trains nothing that was not trained before it",
        ),
        (
            "rungs: [{keep: 2}, {epochs: 2, keep: 1}]\nconfirm: {top: 1, seeds: [9]}",
            "keep: after the last of rungs only a race: goes on; remove it",
        ),
        ("rungs: [{keep: 2}, {lr: 1e-3}]", "lr: is in rungs and in parameters; remove it"),
        (
            "base: {epochs: 2}\nrungs: [{epochs: 1, keep: 2}, {epochs: 2}]",
            "epochs: is in base and in the first of rungs, which counts; remove it",
        ),
        ("confirm: {seeds: [7]}", "confirm: needs top:"),
        ("batch: 3", "batch: is only for method: bayes"),
    ],
)
def test_what_is_wrong_with_a_stage_is_said(text: str, problem: str, tmp_path: Path) -> None:
    assert any(problem in told for told in problems(tmp_path, f"{SPACE}{text}\n"))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("confirm: {top: 50, seeds: [9]}", "confirm: 50 are more than the 24 configurations left"),
        ("rungs: [{keep: 25}, {epochs: 2}]", "rungs: 25 are more than the 24 configurations left"),
        (
            "rungs: [{keep: contenders}, {epochs: 2}]",
            "rungs: contenders: one seed tells nothing",
        ),
        ("method: bayes\ncount: 10", "count: all 10 are drawn at random; a model chooses none"),
        ("method: bayes\nexclude: [{width: 99}]", "exclude: {width: 99} matches no configuration"),
    ],
)
def test_what_has_no_effect_on_a_search_is_a_note(text: str, note: str, tmp_path: Path) -> None:
    assert any(note in line for line in load(tmp_path, f"{SPACE}{text}\n").warnings)


@pytest.mark.parametrize(
    "text",
    [
        "rungs: [{keep: 24}, {seeds: 2, keep: contenders}, {epochs: 2}]\nrace: {seeds: 4}",
        "seeds: 2\nrace: {seeds: 3}\nconfirm: {top: 24, seeds: [3]}",
        "method: bayes\ncount: 11\nexclude: [{width: 64, opt: sgd}]",
    ],
)
def test_what_has_an_effect_is_no_note(text: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"{SPACE}{text}\n").warnings == ()


def test_the_seeds_of_the_first_rung_are_those_of_the_resolved_spec(tmp_path: Path) -> None:
    spec = load(tmp_path, f"{SPACE}rungs: [{{seeds: 2, keep: 4}}, {{epochs: 2}}]\n")
    again = load(tmp_path, spec.resolved)
    assert [p.variants for p in again.search.parts] == [p.variants for p in spec.search.parts]
    assert [*spec.search.parts[0].seeds] == [0, 1]


def test_a_rung_of_all_images_is_on_the_data_set_as_it_is(tmp_path: Path) -> None:
    text = f"{SPACE}rungs: [{{train_size: 10000, keep: 2}}, {{train_size: 55000}}]\n"
    sizes = [part.variants[0].dataset.train_size for part in load(tmp_path, text).search.parts]
    assert sizes == [10000, None]
    text = text.replace("_size: 5000}", "_size: 5000, train_size: 900}").replace("55000", "59000")
    assert any("between 1 and 55000, got 59000" in told for told in problems(tmp_path, text))


def test_a_batch_that_a_later_stage_has_no_images_for_is_refused_at_once(tmp_path: Path) -> None:
    text = f"{SPACE}base: {{batch_size: 128}}\n"
    spec = load(tmp_path, f"{text}rungs: [{{keep: 2, train_size: 200}}, {{batch_size: 256}}]\n")
    output = tmp_path / "out.csv"
    with pytest.raises(UserError, match=r"batch_size 256: .* has 200 images"):
        describe_plan(spec, output)
    with pytest.raises(UserError, match=r"batch_size 256: .* has 200 images"):
        run_sweep(spec, output, InProcessExecutor(), device="CPU")
    assert not output.exists()


def test_rows_that_lack_the_metric_of_a_search_are_said(tmp_path: Path) -> None:
    spec, output = load(tmp_path, BAYES), tmp_path / "out.csv"
    said: list[str] = []
    with ResultsWriter(output) as writer:
        for row in finish(spec.search).values():
            writer.append(replace(row, sweep=spec.name, device="CPU"))
    spec = load(tmp_path, f"{BAYES}metric: val_loss\n")
    run_sweep(spec, output, InProcessExecutor(), device="CPU", say=said.append, seconds=0.1)
    (told,) = (line for line in said if "none of them can be chosen" in line)
    assert re.match(r"\d+ trials already done: no validation loss, so that", told)


def test_run_cap_is_the_count(tmp_path: Path) -> None:
    assert most(load(tmp_path, f"{SPACE}method: random\nrun_cap: 5\n").search) == 5
