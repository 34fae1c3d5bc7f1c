"""Promises of random search: which configurations a sampling seed draws."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mnist_sweep.search.protocol import most
from tests.spec_helpers import configs, load, trials

RANDOM = """\
method: random
count: {count}
sampling_seed: {seed}
parameters:
  lr: {{min: 1e-4, max: 1e-1, distribution: log_uniform_values}}
  lr_decay: {{min: 0.5, max: 0.9}}
  width: {{min: 100, max: 110}}
  opt: {{values: [adam, sgd]}}
  depth: 3
"""
FINITE = "method: random\ncount: {count}\nparameters: {{depth: [1, 2, 3, 4], opt: [adam, sgd]}}\n"
LARGE = """\
method: random
count: {count}
parameters: {{patience: {{min: 1, max: 1000000}}, depth: [1, 2]}}
"""


def test_random_draws_stay_in_their_ranges(tmp_path: Path) -> None:
    spec = load(tmp_path, RANDOM.format(count=500, seed=0))
    drawn = configs(spec, "lr", "lr_decay", "width", "opt", "depth")
    assert len(set(drawn)) == 500
    lrs, decays, widths, opts, depths = (list(column) for column in zip(*drawn, strict=True))
    assert 1e-4 <= min(lrs) < 2e-4
    assert 5e-2 < max(lrs) <= 1e-1
    # Uniform in the logarithm: half of the draws lie below the geometric mean of the ends.
    assert 0.4 < sum(lr < 10**-2.5 for lr in lrs) / 500 < 0.6
    assert 0.4 < sum(decay < 0.7 for decay in decays) / 500 < 0.6
    assert set(widths) == set(range(100, 111))
    assert (set(opts), set(depths)) == ({"adam", "sgd"}, {3})


@pytest.mark.parametrize("text", [RANDOM, FINITE, LARGE])
def test_a_longer_random_search_contains_a_shorter_one(tmp_path: Path, text: str) -> None:
    short, long = (load(tmp_path, text.format(count=count, seed=3)) for count in (4, 8))
    assert trials(long)[:4] == trials(short)
    assert len(set(trials(long))) == 8


def test_sampling_seed_changes_the_draws(tmp_path: Path) -> None:
    one, other = (load(tmp_path, RANDOM.format(count=3, seed=seed)) for seed in (0, 1))
    assert not set(trials(one)) & set(trials(other))


def test_a_random_search_can_exhaust_a_space(tmp_path: Path) -> None:
    spec = load(tmp_path, FINITE.format(count=8))
    assert set(configs(spec, "depth", "opt")) == set(
        itertools.product([1, 2, 3, 4], ["adam", "sgd"])
    )
    assert configs(spec, "depth", "opt") != sorted(configs(spec, "depth", "opt"))


def test_an_excluded_draw_is_replaced(tmp_path: Path) -> None:
    spec = load(tmp_path, FINITE.format(count=6) + "exclude: [{depth: 1}]\n")
    assert len(trials(spec)) == 6
    assert 1 not in {trial.config.depth for trial in trials(spec)}


def test_draws_are_distinct_even_from_a_tiny_interval(tmp_path: Path) -> None:
    # The interval holds three numbers of six digits.
    text = "method: random\ncount: 4\nparameters: {lr: {min: 1, max: 1.00002}}\n"
    spec = load(tmp_path, text)
    assert {trial.config.lr for trial in trials(spec)} == {1.0, 1.00001, 1.00002}
    assert "count: 4 is more than the 3 configurations there are; all of them run" in spec.warnings


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_more_draws_than_there_are_take_all(tmp_path: Path, method: str) -> None:
    text = FINITE.replace("random", method).format(count=7) + "exclude: [{depth: 1}]\n"
    spec = load(tmp_path, text)
    assert most(spec.search) == 6
    (said,) = spec.warnings
    assert said == "count: 7 is more than the 6 configurations there are; all of them run"


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_what_is_drawn_has_digits_that_any_program_saves(tmp_path: Path, method: str) -> None:
    text = RANDOM.replace("random", method).format(count=30, seed=0)
    for lr, decay in configs(load(tmp_path, text), "lr", "lr_decay"):
        assert (float(f"{lr:.6g}"), float(f"{decay:.6g}")) == (lr, decay)
