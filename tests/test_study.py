"""The published study is complete, and its pages say what its results files say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_sweep.cli import main
from mnist_sweep.results.file import read_results
from mnist_sweep.runner import best_of_file
from mnist_sweep.spec.load import load_spec
from tests.spec_helpers import trials

ROOT = Path(__file__).resolve().parents[1]
PLOTS = ROOT / "plots"
RESULTS = sorted(p for p in (PLOTS / "results").glob("*.csv") if ".curves" not in p.name)
GALLERY = PLOTS / "README.md"
PAGE = ROOT / "docs" / "study.md"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_published_results_are_all_trials_of_their_spec(path: Path) -> None:
    config = ROOT / "configs" / f"{path.stem}.yaml"
    earlier = re.search(r"^  file: results/(.*)", config.read_text(), re.MULTILINE)
    overrides = [f"from_results.file={PLOTS / 'results' / earlier[1]}"] if earlier else []
    file = read_results(path)
    assert not file.notes
    spec = load_spec(config, overrides=overrides, best_configs=best_of_file)
    assert {r.trial for r in file.results} == set(trials(spec))
    assert {r.status for r in file.results} <= {"ok", "diverged"}
    assert all(r.curve for r in file.results if r.status == "ok")


def test_every_spec_of_the_study_is_published() -> None:
    specs = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    # Searches look for winners of grids of the study, and are no part of it.
    searches = {"mlp_search", "mlp_study", "cnn_study"}
    assert specs - {path.stem for path in RESULTS} == {"quickstart", "smoke", *searches}
    script = (ROOT / "scripts" / "study").read_text()
    assert {path.stem for path in RESULTS} == set(re.findall(r"\b(?:mlp|cnn)_\w+", script))


def test_gallery_links_every_figure_and_nothing_else() -> None:
    linked = re.findall(r"\(([\w/.]+\.png)\)", GALLERY.read_text())
    drawn = {str(path.relative_to(PLOTS)) for path in PLOTS.rglob("*.png")}
    assert set(linked) == drawn
    assert len(linked) == len(drawn)


def test_tables_of_the_page_are_what_the_claims_come_to() -> None:
    printed = subprocess.run(
        [sys.executable, ROOT / "scripts" / "claims"], capture_output=True, text=True, check=True
    ).stdout
    tables = [block for block in printed.split("\n\n") if block.startswith("|")]
    assert len(tables) == 10
    page = PAGE.read_text()
    assert [table for table in tables if table not in page] == []


def test_rankings_of_the_page_are_what_its_commands_print(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page = PAGE.read_text()
    commands = re.findall(r"^    mnist-sweep (top .*)", page, re.MULTILINE)
    assert commands
    for command in commands:
        with pytest.raises(SystemExit) as end:
            main(shlex.split(command))
        assert end.value.code == 0
        assert capsys.readouterr().out.strip() in page, command
