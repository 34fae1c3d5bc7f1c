"""Promises of the sweep spec: which trials a file stands for, and how it can be changed."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mnist_sweep.config import HPConfig
from mnist_sweep.errors import ResultsError, SpecError
from mnist_sweep.metrics import METRICS, Metric
from mnist_sweep.models import MODELS
from mnist_sweep.search.methods import METHODS
from mnist_sweep.spec.keys import KEYS
from mnist_sweep.spec.load import SweepSpec, load_spec
from mnist_sweep.trial import DatasetConfig
from tests.data_helpers import SMALL, TEST_LABELS, idx_files, write_folder
from tests.spec_helpers import FOLDER_OF_MANY, best, configs, load, problems, trials

CONFIGS = Path(__file__).parents[1] / "configs"
PAGE = Path(__file__).parents[1] / "docs" / "spec.md"
SPACE: Mapping[str, Sequence[Any]] = {
    "lr": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
    "depth": [1, 2, 3, 4, 5],
    "width": [128, 256, 512, 1024],
    "batch_size": [32, 64, 128, 256],
    "opt": ["adam", "sgd"],
    "activation_fn": ["relu", "silu"],
}


#: Model -> a reader of results, for specs that begin at the best of an earlier sweep.
EARLIER = {
    model: best(*(HPConfig(model=model, lr=lr / 1000, seed=7) for lr in range(1, 21)))
    for model in MODELS
}


def load_published(name: str, **arguments: Any) -> SweepSpec:
    model = name[:3] if name[:3] in MODELS else "mlp"
    return load_spec(CONFIGS / f"{name}.yaml", best_configs=EARLIER[model], **arguments)


# The specs of the study

#: Of those that must not share their seeds with the sweep that chose, or pair with another.
SEEDS = {
    "mlp_confirmation": range(10, 20),
    "cnn_phase3": range(10, 20),
    "cnn_batch": range(10, 20),
    "mlp_final": range(20, 30),
    "mlp_plain_final": range(20, 30),
    "mlp_distorted_final": range(20, 30),
    "mlp_distorted_search_final": range(20, 35),
    "cnn_regularisation_best": range(40, 50),
    "cnn_final": range(20, 35),
    "cnn_search_final": range(20, 35),
    "mlp_grid_best": range(30, 35),
    "cnn_reference": range(20, 35),
}


@pytest.mark.parametrize(
    ("name", "points", "seeds", "metric"),
    [
        ("mlp_phase1", 1, 10, "test_accuracy"),
        # 20 + 4 + 10 + 10, of which the grids share 7
        ("mlp_phase2", 37, 3, "val_accuracy"),
        ("mlp_phase3", 8, 3, "val_accuracy"),
        ("mlp_phase4", 8, 3, "val_accuracy"),
        ("cnn_phase1", 1, 2, "test_accuracy"),
        ("cnn_phase2", 18, 10, "val_accuracy"),
        ("cnn_phase3", 10, 10, "val_accuracy"),
        ("cnn_phase4", 8, 1, "val_accuracy"),
        ("mlp_full_grid", 1600, 1, "val_accuracy"),
        ("mlp_search", 16, 1, "val_accuracy"),  # of 65, those that come first
        ("mlp_study", 16, 1, "val_accuracy"),  # of 66 at most
        ("cnn_study", 12, 1, "val_accuracy"),  # of 38 at most
        ("mlp_sgd", 16, 3, "val_accuracy"),
        ("mlp_schedule", 24, 3, "val_accuracy"),
        # 6 + 9 + 9 + 8 + 6 + 4 + 20, of which the grids share 12
        ("mlp_confirmation", 50, 10, "val_accuracy"),
        ("mlp_activation", 4, 10, "val_accuracy"),
        ("mlp_grid_best", 20, 5, "val_accuracy"),
        ("mlp_longer", 40, 2, "val_accuracy"),
        ("mlp_precision", 4, 10, "val_accuracy"),
        ("mlp_choices", 12, 1, "val_accuracy"),  # of 800 at most, those that come first
        ("mlp_fashion", 37, 3, "val_accuracy"),
        ("mlp_fashion_final", 3, 5, "test_accuracy"),
        ("cnn_sgd", 3, 10, "val_accuracy"),
        # 4 + 3 + 3 + 3 + 8 + 8 + 4, of which the grids share 4
        ("mlp_regularisation", 29, 2, "val_accuracy"),
        # 24 + 4 + 4 + 4 + 4
        ("mlp_tuning", 40, 1, "val_accuracy"),
        ("cnn_regularisation", 7, 1, "val_accuracy"),
        ("cnn_regularisation_best", 3, 10, "val_accuracy"),
        ("mlp_initial", 1, 10, "test_accuracy"),
        ("cnn_initial", 1, 3, "test_accuracy"),
        ("mlp_reference", 2, 10, "test_accuracy"),
        ("cnn_batch", 8, 10, "val_accuracy"),
        ("cnn_reference", 2, 15, "test_accuracy"),
        ("mlp_final", 2, 10, "test_accuracy"),
        ("mlp_plain_search", 20, 1, "val_accuracy"),  # of 47, those that come first
        ("mlp_plain_final", 1, 10, "test_accuracy"),
        ("mlp_distorted_tuning", 4, 2, "val_accuracy"),
        ("mlp_distorted_final", 1, 10, "test_accuracy"),
        ("mlp_distorted_search", 24, 1, "val_accuracy"),  # of 55, those that come first
        ("mlp_distorted_search_final", 1, 15, "test_accuracy"),
        ("cnn_search", 26, 1, "val_accuracy"),  # of 43, those that come first
        ("cnn_search_final", 1, 15, "test_accuracy"),
        ("cnn_final", 1, 15, "test_accuracy"),
        ("quickstart", 6, 3, "test_accuracy"),
        ("smoke", 4, 1, "test_accuracy"),
    ],
)
def test_published_spec_stands_for_its_trials(
    name: str, points: int, seeds: int, metric: str
) -> None:
    spec = load_published(name)
    assert spec.name == name
    assert len(trials(spec)) == points * seeds
    seen = {trial.config.seed for trial in trials(spec)}
    assert seen == set(SEEDS.get(name, range(seeds)))
    assert spec.metric == METRICS[metric]
    assert spec.warnings == ()


def test_every_published_spec_is_in_the_table_above() -> None:
    mark = test_published_spec_stands_for_its_trials.pytestmark[0]  # type: ignore[attr-defined]
    assert {path.stem for path in CONFIGS.glob("*")} == {row[0] for row in mark.args[1]}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*")), ids=lambda path: path.stem)
def test_published_spec_opens_with_its_question_and_its_command(path: Path) -> None:
    comment = path.read_text().split("\n\n")[0]
    assert all(line.startswith("# ") for line in comment.splitlines())
    assert "?" in comment
    assert f"mnist-sweep run configs/{path.name}" in comment


@pytest.mark.parametrize(
    ("chosen", "checked"),
    [
        ("mlp_phase2", "mlp_confirmation"),
        ("cnn_phase2", "cnn_phase3"),
        ("mlp_tuning", "mlp_final"),
        ("mlp_plain_search", "mlp_plain_final"),
        ("mlp_distorted_tuning", "mlp_distorted_final"),
        ("mlp_distorted_search", "mlp_distorted_search_final"),
        ("mlp_regularisation", "mlp_final"),
        ("cnn_regularisation", "cnn_final"),
        ("cnn_regularisation", "cnn_regularisation_best"),
        ("cnn_search", "cnn_search_final"),
    ],
)
def test_choices_are_checked_with_seeds_that_had_no_part_in_them(chosen: str, checked: str) -> None:
    seeds = ({t.config.seed for t in trials(load_published(name))} for name in (chosen, checked))
    assert set.isdisjoint(*seeds)


def test_phase_3_is_the_eight_combinations_left() -> None:
    assert set(configs(load_published("mlp_phase3"), "opt", "depth", "lr")) == {
        *itertools.product(["adam"], [2, 3], [1e-4, 1e-3, 3e-3]),
        ("sgd", 2, 1e-4),
        ("sgd", 2, 3e-3),
    }


def test_phase_4_takes_the_best_points_with_its_own_epochs_and_seeds() -> None:
    spec = load_published("mlp_phase4")
    assert configs(spec, "lr", "epochs", "seed") == [
        (lr / 1000, 10, seed) for lr in range(1, 9) for seed in range(3)
    ]
    assert spec.evals_per_epoch > 1


def test_full_grid_is_the_product_in_the_order_of_the_file() -> None:
    spec = load_published("mlp_full_grid")
    assert configs(spec, *SPACE) == list(itertools.product(*SPACE.values()))


def test_full_grid_expands_quickly_without_numpy_and_tinygrad() -> None:
    code = (
        "import sys, pathlib, mnist_sweep.spec.load as spec;"
        "from mnist_sweep.search.protocol import most;"
        "n = most(spec.load_spec(pathlib.Path(sys.argv[1])).search);"
        "print(n, *{'numpy', 'tinygrad', 'matplotlib'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(CONFIGS / "mlp_full_grid.yaml")]
    start = sum(os.times()[2:4])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1600"]
    # Seconds of the child's CPU time, ten times what it takes: to notice a change of order.
    assert sum(os.times()[2:4]) - start < 3


# What a file stands for


def test_an_almost_empty_spec_is_the_baseline(tmp_path: Path) -> None:
    spec = load(tmp_path, "model: mlp\n")
    assert [trial.config for trial in trials(spec)] == [HPConfig()]
    assert spec.name == "sweep"
    assert spec.dataset == DatasetConfig()
    assert spec.evals_per_epoch == 1
    assert spec.metric == METRICS["test_accuracy"]


VALUES = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from(values), min_size=1, max_size=3)
        for name, values in SPACE.items()
    },
)


@FOLDER_OF_MANY
@given(VALUES.filter(bool), st.integers(1, 3))
def test_a_grid_is_the_product_of_its_distinct_values(
    tmp_path: Path, parameters: dict[str, list[Any]], seeds: int
) -> None:
    spec = load(tmp_path, yaml.safe_dump({"parameters": parameters, "seeds": seeds}))
    distinct = [dict.fromkeys(values) for _, values in sorted(parameters.items())]
    expected = itertools.product(*distinct, range(seeds))
    assert configs(spec, *sorted(parameters), "seed") == list(expected)


@FOLDER_OF_MANY
@given(VALUES.filter(bool), st.randoms())
def test_trials_do_not_depend_on_the_order_of_keys(
    tmp_path: Path, parameters: dict[str, list[Any]], random: Any
) -> None:
    shuffled = list(parameters.items())
    random.shuffle(shuffled)
    texts = [
        yaml.safe_dump({"parameters": dict(items)}, sort_keys=False)
        for items in (parameters.items(), shuffled)
    ]
    one, other = (load(tmp_path, text) for text in texts)
    assert {trial.trial_id for trial in trials(one)} == {trial.trial_id for trial in trials(other)}


def test_expansion_is_the_same_every_time(tmp_path: Path) -> None:
    text = "method: random\ncount: 9\nparameters: {lr: {min: 1e-4, max: 1}, depth: [1, 2]}\n"
    assert load(tmp_path, text) == load(tmp_path, text)


@pytest.mark.parametrize("form", ["{values: [3]}", "[3]", "{value: 3}", "3", "[3, 3.0, 3e0]"])
def test_a_parameter_may_be_written_in_every_form(tmp_path: Path, form: str) -> None:
    assert configs(load(tmp_path, f"parameters: {{depth: {form}}}\n"), "depth") == [(3,)]


@pytest.mark.parametrize(
    ("written", "lr"), [("1e-4", 1e-4), ("1E-4", 1e-4), ("1.0e-4", 1e-4), (".5", 0.5), ("1", 1.0)]
)
def test_numbers_are_read_as_people_write_them(tmp_path: Path, written: str, lr: float) -> None:
    assert configs(load(tmp_path, f"base: {{lr: {written}}}\n"), "lr") == [(lr,)]


def test_seeds_are_a_number_or_a_list(tmp_path: Path) -> None:
    assert configs(load(tmp_path, "seeds: 3\n"), "seed") == [(0,), (1,), (2,)]
    assert configs(load(tmp_path, "seeds: [7, 3, 7]\n"), "seed") == [(7,), (3,)]


def test_a_trial_that_grids_share_runs_once_at_its_first_place(tmp_path: Path) -> None:
    spec = load(tmp_path, "grids:\n  a: {lr: [1e-3, 1e-2]}\n  b: {depth: [1, 2]}\n")
    assert configs(spec, "lr", "depth") == [(1e-3, 2), (1e-2, 2), (1e-3, 1)]


def test_each_grid_stands_around_base(tmp_path: Path) -> None:
    text = "base: {epochs: 2, depth: 4}\ngrids:\n  a: {lr: [1e-2]}\n  b: {depth: [1, 2]}\n"
    assert configs(load(tmp_path, text), "epochs", "depth", "lr") == [
        (2, 4, 1e-2),
        (2, 1, 1e-3),
        (2, 2, 1e-3),
    ]


def test_model_may_stand_in_base_or_at_the_top_or_in_both(tmp_path: Path) -> None:
    for text in ("model: cnn\n", "base: {model: cnn}\n", "model: cnn\nbase: {model: cnn}\n"):
        assert load(tmp_path, text).model == "cnn"
        assert configs(load(tmp_path, text), "model", "width") == [("cnn", None)]


def test_exclude_drops_what_matches_all_of_an_entry(tmp_path: Path) -> None:
    text = """\
parameters: {opt: [adam, sgd], depth: [1, 2, 3]}
exclude: [{opt: sgd, depth: [1, 3]}]
"""
    assert configs(load(tmp_path, text), "opt", "depth") == [
        ("adam", 1),
        ("adam", 2),
        ("adam", 3),
        ("sgd", 2),
    ]


def test_exclude_sees_the_defaults_too(tmp_path: Path) -> None:
    text = "parameters: {opt: [adam, sgd]}\nexclude: [{opt: sgd, depth: 2}]\n"
    assert configs(load(tmp_path, text), "opt") == [("adam",)]


def test_an_exclusion_without_a_match_is_a_warning(tmp_path: Path) -> None:
    spec = load(tmp_path, "seeds: 1\nexclude:\n  - {opt: sgd, depth: [7, 8]}\n")
    assert [warning.removeprefix(f"{tmp_path}/") for warning in spec.warnings] == [
        "sweep.yaml:3: exclude: {opt: sgd, depth: [7, 8]} matches no configuration"
    ]


# Data set and metric


def test_data_set_is_a_name_or_a_mapping(tmp_path: Path) -> None:
    assert load(tmp_path, "dataset: mnist\n").dataset == DatasetConfig()
    assert load(tmp_path, "dataset: {name: mnist}\n").dataset == DatasetConfig()
    text = (
        "dataset: {name: fashion, dir: data/f, validation_size: 5, train_size: 6, test_size: 7}\n"
        "base: {batch_size: 6}\n"
    )
    text = text.replace("data/f", str(write_folder(tmp_path / "f")))
    dataset = load(tmp_path, text).dataset
    assert dataset == DatasetConfig("fashion", 5, 6, 7, SMALL)
    assert {trial.dataset for trial in trials(load(tmp_path, text))} == {dataset}


def test_a_folder_called_mnist_is_not_the_bundled_data(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "mnist")
    for text in (f"dataset: {{dir: {folder}}}\n", f"dataset: {{name: mnist, dir: {folder}}}\n"):
        dataset = load(tmp_path, text, "batch_size=9").dataset
        assert dataset.label == f"mnist@{SMALL}"
        assert not dataset.is_bundled


def test_every_way_to_name_the_same_files_means_the_same_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "data" / "dat")
    (tmp_path / "link").symlink_to(folder)
    ways = ["data/dat", "data/dat/", "./data/../data/dat", str(folder), "link", "data"]
    monkeypatch.chdir(tmp_path)
    of = "base: {{batch_size: 9}}\ndataset: {{dir: {}}}"
    ids = {trials(load(tmp_path, of.format(way)))[0].trial_id for way in ways}
    assert len(ids) == 1
    (folder / TEST_LABELS).write_bytes(idx_files(9)[TEST_LABELS])
    other = load(tmp_path, of.format("link")).dataset
    assert (other.name, other.digest != SMALL) == ("dat", True)


@pytest.mark.parametrize("name", ["a;b", "=x", "a/b", "é", "''"])
def test_a_name_that_no_cell_or_title_should_hold_is_refused(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "f")
    noted = problems(tmp_path, f"dataset: {{name: {name}, dir: {folder}}}") if name != "''" else []
    assert all("cannot name data; use at most 80 letters" in problem for problem in noted)


@pytest.mark.parametrize("section", ["seeds: 1", "dataset: fashion", "dataset: {dir: old}"])
def test_data_dir_replaces_the_data_set_of_the_file(tmp_path: Path, section: str) -> None:
    folder = write_folder(tmp_path / "new")
    dataset = load(tmp_path, section, "batch_size=9", data_dir=str(folder)).dataset
    assert (dataset.label, dataset.path) == (f"new@{SMALL}", str(folder))


def test_data_dir_keeps_the_sizes_of_the_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "new")
    spec = load(
        tmp_path, "dataset: {name: mnist, test_size: 9}\n", "batch_size=9", data_dir=str(folder)
    )
    assert spec.dataset == DatasetConfig("new", test_size=9, digest=SMALL)


@pytest.mark.parametrize(
    ("section", "metric"),
    [
        ("dataset: {validation_size: 5}", METRICS["val_accuracy"]),
        ("dataset: {validation_size: 0}", METRICS["test_accuracy"]),
        ("metric: train_loss", METRICS["train_loss"]),
        ("metric: {name: train_loss}", METRICS["train_loss"]),
        ("metric: {name: train_accuracy}", METRICS["train_accuracy"]),
        ("metric: {name: test_accuracy, goal: maximize}", METRICS["test_accuracy"]),
        ("metric: {name: train_loss, goal: minimize}", METRICS["train_loss"]),
        (
            "metric: {name: val_loss, goal: minimize}\ndataset: {validation_size: 5}",
            METRICS["val_loss"],
        ),
    ],
)
def test_metric_has_sensible_defaults(tmp_path: Path, section: str, metric: Metric) -> None:
    assert load(tmp_path, section).metric == metric


def test_a_validation_loss_needs_a_validation_split(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "metric: val_loss\ndataset: {validation_size: 0}")
    assert "val_loss needs images to validate on" in problem
    assert problem.endswith("or use test_loss")
    spec = load(tmp_path, "metric: val_loss")
    assert spec.dataset == DatasetConfig(validation_size=5000)
    assert "val_loss needs images to validate on; 5,000 are taken" in spec.warnings[0]


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        (
            "{name: test_accuracy, goal: minimize}",
            "test_accuracy is an accuracy, the more the better; write goal: maximize or leave "
            "goal: out",
        ),
        (
            "{name: train_loss, goal: maximize}",
            "train_loss is a loss, the less the better; write goal: minimize or leave goal: out",
        ),
    ],
)
def test_a_goal_that_contradicts_its_metric_is_refused(
    tmp_path: Path, metric: str, problem: str
) -> None:
    assert problems(tmp_path, f"seeds: 1\nmetric: {metric}\n") == [
        f"sweep.yaml:2: metric.goal: {problem}"
    ]


@pytest.mark.parametrize(
    ("name", "taken"),
    [("=1", "1"), ("-a", "a"), ("a b", "a_b"), ("a/../b", "a_.._b"), (".a", "a"), ("é1", "1")],
)
def test_a_name_is_made_one_that_no_spreadsheet_or_folder_trips_over(
    tmp_path: Path, name: str, taken: str
) -> None:
    spec = load(tmp_path, f"seeds: 1\nmodel: mlp\nname: '{name}'\n")
    assert spec.name == taken
    assert spec.warnings == (f"{tmp_path}/sweep.yaml: reads {name} as {taken}",)
    path = tmp_path / f"{name.replace('/', '')}.yaml"
    path.write_text("seeds: 1\n")
    assert load_spec(path).name == taken.replace("_.._", "..")


@pytest.mark.parametrize("name", ["..", "é", "=", "'  '"])
def test_a_name_without_a_letter_or_digit_becomes_the_files_if_that_has_one(
    tmp_path: Path, name: str
) -> None:
    spec = load(tmp_path, f"model: mlp\nname: {name}\n")
    assert (spec.name, len(spec.warnings)) == ("sweep", 1)
    path = tmp_path / "扫描.yaml"
    path.write_text(f"seeds: 1\nname: {name}\n", encoding="utf-8")
    with pytest.raises(SpecError, match=r":2: name: .* cannot name a sweep; use at most"):
        load_spec(path)


# What docs/spec.md says of the keys


def test_the_page_has_a_row_for_every_key_and_names_every_method() -> None:
    table = PAGE.read_text().split("| key | meaning |\n")[1].split("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    assert list(rows) == list(KEYS)
    for name, method in METHODS.items():
        assert f"`{name}`" in rows["method"]
        assert all(f"`{name}`" in rows[key] for key in method.keys)


# The spec as it is run


def reloaded(folder: Path, spec: SweepSpec, **arguments: Any) -> SweepSpec:
    path = folder / "again.yaml"
    path.write_text(spec.resolved, encoding="utf-8")
    return load_spec(path, **arguments)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*")), ids=lambda path: path.stem)
def test_the_resolved_text_of_a_published_spec_stands_for_the_same(
    tmp_path: Path, path: Path
) -> None:
    changes = ["epochs=7", "seeds=[4, 5]", "dataset.test_size=9"]
    spec = load_published(path.stem, overrides=changes)
    assert {(t.config.epochs, t.dataset.test_size) for t in trials(spec)} == {(7, 9)}
    again = reloaded(tmp_path, spec, best_configs=EARLIER[spec.model])
    # Warnings name the file's lines.
    assert replace(again, warnings=spec.warnings) == spec


@FOLDER_OF_MANY
@given(
    st.dictionaries(
        st.text(min_size=1), st.just({"lr": ["1e-3", 0.5, 3], "depth": {"values": [1]}})
    ),
    st.sampled_from(["mnist", "a: b", "'x", '"', "1e3", "null", "# no", "é\x85"]),
)
def test_a_resolved_text_keeps_every_scalar_as_it_was(
    tmp_path: Path, grids: dict[str, Any], folder: str
) -> None:
    folder = str(tmp_path / folder)
    if not Path(folder).exists():
        write_folder(Path(folder))
    text = yaml.safe_dump({"seeds": 1} | ({"grids": grids} if grids else {}), allow_unicode=True)
    try:
        spec = load(tmp_path, text.replace("'1e-3'", "1e-3"), data_dir=folder)
    except SpecError:
        return
    assert reloaded(tmp_path, spec) == spec


def test_a_resolved_text_says_what_a_later_default_could_change(tmp_path: Path) -> None:
    spec = load(tmp_path, "base: {lr: 3e-4, activation_fn: relu}\n", "dataset.test_size=9")
    assert yaml.safe_load(spec.resolved) == {
        "name": "sweep",
        "model": "mlp",
        "dataset": {"name": "mnist", "test_size": 9},
        "seeds": 1,
        "metric": {"name": "test_accuracy", "goal": "maximize"},
        "evals_per_epoch": 1,
        "base": {"lr": "3e-4", "activation_fn": "relu"},
        "method": "grid",
    }
    assert "\nbase: {lr: 3e-4, activation_fn: relu}\n" in spec.resolved
    folder = str(write_folder(tmp_path / "a b"))
    spec = load(tmp_path, "base: {batch_size: 9}", data_dir=folder)
    assert f"dataset: {{dir: '{folder}'}}\n" in spec.resolved


# Points from earlier results

FROM_RESULTS = "seeds: 2\nfrom_results:\n  file: results/a.csv\n  top: 3\n"


def test_from_results_asks_for_the_file_the_number_and_the_metric(tmp_path: Path) -> None:
    asked: list[tuple[Path, int, Metric]] = []

    def read(path: Path, count: int, metric: Metric) -> list[HPConfig]:
        asked.append((path, count, metric))
        return [HPConfig()] * 3

    load(tmp_path, FROM_RESULTS + "metric: train_loss\n", best_configs=read)
    assert asked == [(Path("results/a.csv"), 3, METRICS["train_loss"])]


def test_points_keep_their_rank_and_take_this_sweeps_seeds(tmp_path: Path) -> None:
    earlier = best(HPConfig(lr=2e-3, seed=5), HPConfig(lr=1e-3), HPConfig(lr=3e-3))
    spec = load(tmp_path, FROM_RESULTS, best_configs=earlier)
    assert configs(spec, "lr", "seed") == [
        (lr, seed) for lr in (2e-3, 1e-3, 3e-3) for seed in (0, 1)
    ]


def test_base_overrides_points_and_parameters_cross_with_them(tmp_path: Path) -> None:
    text = FROM_RESULTS + "base: {epochs: 9}\nparameters: {depth: [4, 5]}\n"
    earlier = best(HPConfig(lr=2e-3, epochs=2), HPConfig(lr=1e-3), HPConfig(lr=1e-3, depth=3))
    assert configs(load(tmp_path, text, best_configs=earlier), "lr", "depth", "epochs", "seed") == [
        (lr, depth, 9, seed) for lr in (2e-3, 1e-3) for depth in (4, 5) for seed in (0, 1)
    ]


def test_fewer_points_than_asked_for_are_a_warning(tmp_path: Path) -> None:
    (warning,) = load(tmp_path, FROM_RESULTS, best_configs=best(HPConfig())).warnings
    assert warning.endswith(
        "sweep.yaml:3: from_results: results/a.csv has only 1 of the 3 configurations asked for"
    )


def test_trouble_with_the_results_file_is_a_problem_of_its_line(tmp_path: Path) -> None:
    def read(path: Path, _count: int, _metric: Metric) -> list[HPConfig]:
        raise ResultsError(f"{path}: no such file; run that sweep first")

    assert problems(tmp_path, FROM_RESULTS + "evals_per_epoch: 0\n", best_configs=read) == [
        "sweep.yaml:3: from_results: results/a.csv: no such file; run that sweep first",
        "sweep.yaml:5: evals_per_epoch: must be between 1 and 10000, got 0",
    ]


def test_points_of_another_model_or_none_at_all_are_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, FROM_RESULTS, best_configs=best(HPConfig(model="cnn"))) == [
        "sweep.yaml:3: from_results: results/a.csv holds trials of model cnn, this sweep has "
        "model mlp; set model: cnn or use other results"
    ]
    assert problems(tmp_path, FROM_RESULTS, best_configs=best()) == [
        "sweep.yaml:3: from_results: results/a.csv has no finished trial; run that sweep first"
    ]


# A width for each layer


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("parameters: {width: [512, 512-256]}", [(512, 2), ("512-256", 2)]),
        ("parameters: {width: [[512, 256, 64], 128]}", [("512-256-64", 3), (128, 2)]),
        ("parameters: {width: {value: [64, 32]}}", [("64-32", 2)]),
        ("base: {width: [64, 32]}", [("64-32", 2)]),
        ("base: {width: '64-32'}", [("64-32", 2)]),
        ("parameters: {width: [[32], [64, 64]]}", [(32, 1), (64, 2)]),
        ("base: {width: [32]}", [(32, 1)]),
    ],
)
def test_a_width_for_each_layer_is_text_or_a_list(
    tmp_path: Path, text: str, widths: list[tuple[Any, int]]
) -> None:
    spec = load(tmp_path, text)
    assert configs(spec, "width", "depth") == widths
    assert spec.warnings == ()
    (tmp_path / "resolved.yaml").write_text(spec.resolved)
    assert trials(load_spec(tmp_path / "resolved.yaml")) == trials(spec)
    assert configs(load(tmp_path, "{}", "base.width=64-32"), "width") == [("64-32",)]


def test_widths_for_each_layer_are_not_crossed_with_depths(tmp_path: Path) -> None:
    text = "parameters: {width: [64, 64-64, 64-32-16], depth: [1, 2, 4]}\n"
    spec = load(tmp_path, text + "exclude: [{width: 64, depth: 4}]")
    assert configs(spec, "width", "depth") == [(64, 1), (64, 2), ("64-32-16", 3)]
    assert spec.warnings == (
        "depth: does not apply where width is 64-32-16 or width is 64-64; 1, 4 are replaced by 2 "
        "or 3",
        "5 of 8 configurations are the same training as another and run once",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("parameters: {width: [[0]]}", "width: must be between 1 and 65536, got 0"),
        ("parameters: {width: [[]]}", "width: the list is empty; fill it or remove it"),
        ("parameters: {width: [[64, [32]]]}", "width: expected a single value, got a list"),
        ("parameters: {width: [[64, x]]}", "width: expected a whole number, got '64-x'"),
        ("parameters: {depth: [[2, 3]]}", "depth: expected a single value, got a list"),
        (
            "method: random\ncount: 2\nparameters: {width: {min: 8, max: 64-32}}",
            "width: expected a number, got '64-32'",
        ),
        ("model: cnn\nbase: {width: 64-32}", "width: does not apply to model cnn; remove it here"),
    ],
)
def test_what_is_no_width_for_each_layer_is_one_problem(
    tmp_path: Path, text: str, problem: str
) -> None:
    (said,) = problems(tmp_path, text)
    assert problem in said
