"""That the specs of a report run the same trials."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.ranking import rank
from mnist_sweep.analysis.study import split_studies
from mnist_sweep.config import HPConfig
from mnist_sweep.metrics import VAL_ACCURACY
from mnist_sweep.report.island import island
from mnist_sweep.report.rerun import Reruns, evaluations, rerun_spec, sweep_name
from mnist_sweep.spec.load import load_spec
from mnist_sweep.trial import DatasetConfig, TrialResult
from tests import synthetic
from tests.data_helpers import SMALL, write_folder
from tests.report_helpers import STUDIES, by_rank, page, specs, study
from tests.spec_helpers import trials


def reloaded(results: Sequence[TrialResult], folder: Path) -> set[str]:
    path = folder / "again.yaml"
    path.write_text(rerun_spec(results, "again"), encoding="utf-8")
    return {trial.trial_id for trial in trials(load_spec(path))}


@pytest.mark.parametrize(
    ("config", "dataset"),
    [
        (HPConfig(), DatasetConfig()),
        (HPConfig(model="cnn", lr=3e-3), DatasetConfig(validation_size=5000)),
        (HPConfig(lr=0.1234567890123456, lr_decay=1e-10), DatasetConfig(test_size=10)),
        (HPConfig(8, lr_schedule="cosine", epochs=3), DatasetConfig("null", 0, 12, digest=SMALL)),
        (HPConfig(8, activation_fn="relu", opt="sgd"), DatasetConfig("mnist", digest=SMALL)),
    ],
)
def test_the_spec_has_exactly_the_trials_it_was_made_of(
    config: HPConfig, dataset: DatasetConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / dataset.name)
    monkeypatch.chdir(tmp_path)
    results = synthetic.sweep([replace(config, seed=s) for s in (4, 0, 2**32 - 1)], dataset)
    assert reloaded(results, tmp_path) == {result.trial.trial_id for result in results}


def test_the_report_shows_a_spec_of_the_best_with_all_its_seeds(tmp_path: Path) -> None:
    results = synthetic.phase2()
    path = tmp_path / "best.yaml"
    path.write_text(study("phase2").by_id["spec-0"], encoding="utf-8")
    best = rank(configurations(results), VAL_ACCURACY)[0].config
    again = load_spec(path)
    assert again.name == "study_best"
    assert [trial.config for trial in trials(again)] == [replace(best, seed=s) for s in range(3)]
    assert {t.trial_id for t in trials(again)} <= {r.trial.trial_id for r in results}
    assert again.dataset == DatasetConfig(validation_size=5000)


def test_seeds_that_failed_or_diverged_are_run_again_too(tmp_path: Path) -> None:
    results = [synthetic.measured(HPConfig(seed=0)), synthetic.broken(HPConfig(seed=1), "failed")]
    path = tmp_path / "best.yaml"
    path.write_text(page(results).by_id["spec-0"], encoding="utf-8")
    assert [trial.config.seed for trial in trials(load_spec(path))] == [0, 1]


def test_curves_are_recorded_as_densely_as_they_were() -> None:
    assert "evals_per_epoch: 4" in study("quickstart").by_id["spec-0"]
    assert "evals_per_epoch" not in study("phase2").by_id["spec-0"]


def test_the_first_epoch_tells_how_often_it_was_evaluated() -> None:
    def cut(lr: float, points: int) -> list[TrialResult]:
        """A trial of two epochs with four evaluations each, of which it had so many."""
        result = synthetic.measured(HPConfig(lr=lr, epochs=2), points=8)
        return [replace(result, curve=result.curve[:points])]

    def told(*lengths: int) -> list[int]:
        results = {HPConfig(lr=1 / (i + 2)): cut(1 / (i + 2), n) for i, n in enumerate(lengths)}
        return list(evaluations(results).values())

    assert told(8, 5, 4) == [4, 4, 4]
    # Three evaluations, and then it diverged: the others know.
    assert told(3, 8, 0) == [4, 4, 4]
    assert told(3, 0) == [0, 0]
    config = HPConfig(epochs=2)
    seeds = [*cut(1e-3, 0), synthetic.measured(replace(config, seed=1), points=2)]
    assert evaluations({config: seeds, HPConfig(): cut(0.1, 8)}) == {config: 1, HPConfig(): 4}


def test_the_link_to_save_the_spec_holds_what_is_shown() -> None:
    shown = study("phase2")
    (link,) = (href for href in shown.values("href") if href.startswith("data:"))
    assert unquote(link.partition(",")[2]) == shown.by_id["spec-0"]


@pytest.mark.parametrize("text", ["a b_", "../x", "-n", "é", "", "a" * 300, "1e5"])
def test_any_text_begins_a_name_that_a_spec_takes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    # A page numbers its rows after it.
    for name in (sweep_name(text, "best"), f"{sweep_name(text, 'rank_')}1000000"):
        path.write_text(rerun_spec([synthetic.measured(HPConfig())], name))
        assert load_spec(path).name == name
        assert f"_{name}".endswith(("_best", "_rank_1000000"))


# Of every row


@cache
def data_of(name: str) -> Any:
    """The data of the page on the study called ``name``."""
    (data,) = json.loads(page(STUDIES[name]()).by_id["data"])
    return data


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_row_has_a_spec_of_its_trials_and_no_others(name: str, tmp_path: Path) -> None:
    path = tmp_path / "row.yaml"
    rows = by_rank(STUDIES[name]())
    folder = write_folder(tmp_path / "elsewhere")
    for place, (text, results) in enumerate(zip(specs(data_of(name)), rows, strict=True), 1):
        path.write_text(text, encoding="utf-8")
        dataset = results[0].trial.dataset
        # Of a folder, an old row has but a path: what is there now is other data.
        assert dataset.is_bundled or yaml.safe_load(text)["dataset"]["dir"] == dataset.name
        spec = load_spec(path, data_dir=None if dataset.is_bundled else str(folder))
        assert {trial.config for trial in trials(spec)} == {r.trial.config for r in results}
        assert spec.name == f"study_rank_{place}"
        points = max(len(result.curve) for result in results) // results[0].trial.config.epochs
        # All seeds of one row diverged before their first evaluation.
        assert spec.evals_per_epoch == (points or 4)


def test_the_first_row_has_the_spec_that_is_recommended() -> None:
    shown = study("phase2")
    (data,) = json.loads(shown.by_id["data"])
    head, _, rest = specs(data)[0].partition("\n")
    assert head == "name: study_rank_1"
    assert rest == shown.by_id["spec-0"].partition("\n")[2]


def test_a_page_holds_what_rows_share_once() -> None:
    (grid,) = split_studies(synthetic.full_grid())
    (data,) = json.loads(island([(grid, Reruns(grid))]))
    assert len(data["rows"]) == 1600
    # For each row some places of parts, where its spec has 250 characters.
    assert len(json.dumps(data["rerun"], separators=(",", ":"))) < 35 * 1600
    assert len(specs(data)[0]) > 200
