"""The published study is complete, and its pages say what its results files say."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from mnist_sweep.results.file import read_results
from mnist_sweep.runner import best_of_file
from mnist_sweep.search.protocol import missing
from mnist_sweep.spec.load import load_spec

ROOT = Path(__file__).resolve().parents[1]
PLOTS = ROOT / "plots"
RESULTS = sorted(p for p in (PLOTS / "results").glob("*.csv") if ".curves" not in p.name)
GALLERY = PLOTS / "README.md"
PAGE = ROOT / "docs" / "study.md"
#: Specs that are no part of the study: a test, and searches.
OTHERS = {"smoke", "mlp_search"}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_published_results_are_all_trials_of_their_spec(path: Path) -> None:
    config = ROOT / "configs" / f"{path.stem}.yaml"
    earlier = re.search(r"^  file: results/(.*)", config.read_text(), re.MULTILINE)
    overrides = [f"from_results.file={PLOTS / 'results' / earlier[1]}"] if earlier else []
    file = read_results(path)
    rows = {result.trial.trial_id: result for result in file.results}
    spec = load_spec(config, overrides=overrides, best_configs=best_of_file)
    asked = [trial for part in spec.search.asked(rows) for trial in part.trials]
    assert not file.notes
    if "fashion" in path.stem:
        # Its images are not on every machine; the rows have their digest.
        datasets = {result.trial.dataset.label for result in file.results}
        assert [label.partition(";")[0] for label in datasets] == ["fashion-mnist@339190681e1a"]
        assert {r.trial.config for r in file.results} == {trial.config for trial in asked}
    else:
        assert {r.trial for r in file.results} == set(asked)
        assert not missing(spec.search, rows).trials
    assert {r.status for r in file.results} <= {"ok", "diverged"}
    assert all(r.curve for r in file.results if r.status == "ok")


def test_every_spec_of_the_study_is_published() -> None:
    specs = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert specs - {path.stem for path in RESULTS} == OTHERS
    script = (ROOT / "scripts" / "study").read_text()
    names = set(re.findall(r"\b(?:mlp|cnn)_\w+|quickstart", script))
    assert {path.stem for path in RESULTS} == names


def test_every_figure_is_shown_by_a_page_and_every_one_that_is_shown_is_there() -> None:
    shown = {
        (page.parent / figure).resolve()
        for page in (GALLERY, PAGE, ROOT / "README.md")
        for figure in re.findall(r"\(([\w/.]+\.png)\)", page.read_text())
    }
    assert {path for path in shown if PLOTS in path.parents} == set(PLOTS.rglob("*.png"))


def test_figures_are_small_enough_to_be_drawn_again() -> None:
    """Every redrawn figure stays in the history of the repository for good."""
    assert max(path.stat().st_size for path in PLOTS.rglob("*.png")) < 120_000


@cache
def _claims() -> str:
    command = [sys.executable, str(ROOT / "scripts" / "claims")]
    printed: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return printed


def test_the_page_says_what_the_claims_come_to() -> None:
    blocks = [" ".join(block.split()) for block in _claims().strip().split("\n\n")]
    page = " ".join(PAGE.read_text().split())
    titles = {block for block in blocks if block.startswith("# ")}
    assert len(titles) >= 10
    assert [block for block in blocks if block not in titles and block not in page] == []


def test_every_decimal_of_the_page_is_one_that_the_claims_print() -> None:
    """But for those of the settings, and of the section on what the intervals leave out."""
    text = PAGE.read_text().partition("## What a sceptic should ask")[0]
    printed = set(re.findall(r"\d+\.\d+", _claims()))
    said = set(re.findall(r"\d+\.\d+", re.sub(r"\]\([^)]*\)", "", text)))
    assert said - printed - {"0.9", "0.1", "0.2"} == set()
