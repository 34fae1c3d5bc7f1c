"""Promises of ``--set key=value`` and ``--data-dir``: changes to a spec from the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.spec_helpers import load, problems

SPEC = """\
seeds: 3
dataset: mnist
base: {epochs: 1, depth: 3}
parameters:
  lr: [1e-3, 1e-2]
  opt: {values: [adam, sgd]}
"""


@pytest.mark.parametrize(
    ("override", "old", "new"),
    [
        ("seeds=2", "seeds: 3", "seeds: 2"),
        ("seeds=[4, 5]", "seeds: 3", "seeds: [4, 5]"),
        ("epochs=4", "epochs: 1", "epochs: 4"),
        ("base.epochs=4", "epochs: 1", "epochs: 4"),
        ("width=64", "depth: 3}", "depth: 3, width: 64}"),
        ("hidden_size=64", "depth: 3}", "depth: 3, width: 64}"),
        ("parameters.optimizer=[Adam]", "{values: [adam, sgd]}", "[adam]"),
        ("base.num_epochs=4", "epochs: 1", "epochs: 4"),
        ("parameters.lr=[3e-3, 1e-4]", "lr: [1e-3, 1e-2]", "lr: [3e-3, 1e-4]"),
        ("parameters.opt.values=[sgd]", "[adam, sgd]", "[sgd]"),
        ("dataset.test_size=1000", "dataset: mnist", "dataset: {name: mnist, test_size: 1000}"),
        ("model=mlp", "seeds: 3", "seeds: 3\nmodel: mlp"),
        ("base={lr_decay: 0.5}", "{epochs: 1, depth: 3}", "{lr_decay: 0.5}"),
    ],
)
def test_set_equals_editing_the_file(tmp_path: Path, override: str, old: str, new: str) -> None:
    assert old in SPEC
    edited = load(tmp_path, SPEC.replace(old, new))
    assert edited != load(tmp_path, SPEC) or override == "model=mlp"
    changed = load(tmp_path, SPEC, override)
    assert replace(changed, warnings=edited.warnings) == edited


def test_the_last_set_wins(tmp_path: Path) -> None:
    assert load(tmp_path, SPEC, "seeds=1", "seeds=2") == load(tmp_path, SPEC, "seeds=2")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("epochs=x", "epochs: expected a whole number, got 'x'"),
        ('epochs="3"', "epochs: expected a number, got the text '3'; drop the quotes"),
        ("epochs=", "epochs: no value given; give one or remove the key"),
        ("epochs", "expected key=value, such as --set epochs=3"),
        ("=3", "expected key=value, such as --set epochs=3"),
        ("base..epochs=3", "expected key=value, such as --set epochs=3"),
        ("epohc=3", "epohc: unknown key; correct or remove it; the keys here are name, model, "),
        ("base.epohcs=3", "epohcs: unknown hyperparameter; did you mean 'epochs'?"),
        ("decay=3", "decay: unknown key; correct or remove it; the keys here are name, model, "),
        ("seed=3", "seed: give the seeds with the key seeds: of the spec"),
        (
            "lr=0.1",
            "lr: is swept in parameters; to override that, write --set parameters.lr=0.1",
        ),
        (
            "seeds.x=3",
            "seeds is 3 (at sweep.yaml:1), which has no keys; set it as a whole: --set seeds=...",
        ),
        ("seeds=[", "not valid YAML: "),
        ("seeds=*a", "aliases (*name) are not supported; write the value out"),
        ("base.lr=3e-3", "lr: is in base and in parameters; remove it from one of them"),
    ],
)
def test_a_bad_override_is_named_in_its_error(tmp_path: Path, override: str, problem: str) -> None:
    (noted,) = problems(tmp_path, SPEC, override)
    assert noted.replace(f"{tmp_path}/", "").startswith(f"--set {override}: {problem}")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("epochs=3", "epochs: is in base and in the first of rungs, which counts"),
        ("seeds=3", "seeds: is in the spec and in the first of rungs, which counts"),
        ("dataset.train_size=99", "train_size: is in dataset and in the first of rungs"),
    ],
)
def test_what_the_first_rung_sets_is_not_overridden_in_silence(
    tmp_path: Path, override: str, problem: str
) -> None:
    rungs = "rungs: [{epochs: 1, seeds: 2, train_size: 900, keep: 1}, {epochs: 2}]\n"
    (noted,) = problems(tmp_path, f"parameters: {{lr: [1e-3, 1e-2]}}\n{rungs}", override)
    assert noted.startswith(f"--set {override}: {problem}")


def test_all_problems_of_file_and_overrides_come_at_once(tmp_path: Path) -> None:
    text = "seeds: 0\nbase: {lr: 0}\n"
    noted = problems(tmp_path, text, "a=[", "epochs=x", data_dir="=x")
    places = [problem.split(": ")[0] for problem in noted]
    assert places[:2] == ["sweep.yaml:1", "sweep.yaml:2"]
    assert sorted(places[2:]) == ["--data-dir =x", "--set a=[", "--set epochs=x"]


def test_a_swept_field_of_a_named_grid_is_not_overridden_by_its_bare_name(tmp_path: Path) -> None:
    assert problems(tmp_path, "grids: {a: {lr: [1e-3]}, b: {depth: [1]}}\n", "depth=2") == [
        "--set depth=2: depth: is swept in grids.b; to override that, write --set grids.b.depth=2"
    ]
