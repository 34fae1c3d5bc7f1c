"""Figures of a search that goes in stages: what they show is what its rows say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mnist_sweep.analysis.study import Study, split_studies
from mnist_sweep.errors import UserError
from mnist_sweep.figures.draw import draw_figures
from mnist_sweep.figures.stage_charts import best_so_far, dropped, tracks
from mnist_sweep.figures.style import Style, styled
from mnist_sweep.plan import flops
from mnist_sweep.trial import TrialResult
from tests.spec_helpers import load
from tests.test_stages import BAYES, SPACE, STAGED, by_stage, finish


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[TrialResult]:
    """Rungs, a race that is the last of them, and fresh seeds for its best two."""
    rungs = STAGED["rungs and a race"].replace("keep: contenders", "keep: 6")
    text = f"{rungs}confirm: {{top: 2, seeds: [11, 12]}}\n"
    search = load(tmp_path_factory.mktemp("spec"), text).search
    return by_stage(search, finish(search))


@pytest.fixture(scope="module")
def study(rows: list[TrialResult]) -> Study:
    return split_studies(rows)[0]


def test_the_last_stage_knows_those_before_it_in_their_order(
    rows: list[TrialResult], study: Study
) -> None:
    assert [s.stage for s in study.stages] == ["", "rung 2", "rung 3", "confirm"]
    assert [row for stage in study.stages for row in stage.results] == rows
    assert [s.prefix for s in split_studies(rows)] == ["confirm_", "rung-3_", "rung-2_", "search_"]
    assert not any(other.earlier for other in split_studies(rows)[1:])
    assert not split_studies(row for row in rows if not row.stage)[0].earlier


def test_searches_on_two_data_sets_are_two(rows: list[TrialResult], study: Study) -> None:
    def elsewhere(row: TrialResult) -> TrialResult:
        there = replace(row.trial.dataset, name="fashion", digest="0" * 12)
        return replace(row, trial=replace(row.trial, dataset=there))

    others = [elsewhere(row) for row in rows if row.stage in ("", "rung 2")]
    first, second = (found for found in split_studies([*rows, *others]) if found.earlier)
    assert [s.stage for s in first.stages] == [s.stage for s in study.stages]
    assert [s.stage for s in second.stages] == ["", "rung 2"]
    assert [row for found in (first, second) for s in found.stages for row in s.results] == [
        *rows,
        *others,
    ]


def test_a_track_has_a_round_for_each_seed_of_each_stage_and_ends_where_it_was_dropped(
    rows: list[TrialResult], study: Study
) -> None:
    rounds, ways = tracks(study.stages)
    seeds = {
        stage: Counter(
            replace(row.trial.config, seed=0, epochs=1)
            for row in rows
            if row.stage == stage and row.status == "ok"
        )
        for stage in ("", "rung 2", "rung 3", "confirm")
    }
    expected = [(s, n) for s, of in seeds.items() for n in range(1, max(of.values()) + 1)]
    assert rounds == expected
    for way in ways:
        config = replace(way.last.config, epochs=1)
        assert len(way.means) == sum(of[config] for of in seeds.values())
    # Nobody comes back: those that go further were never dropped.
    left = [sum(place in way.means for way in ways) for place in range(len(rounds))]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 2
    assert ways[0].last.config == (study.best and study.best.config)


def test_the_best_so_far_ends_with_all_the_work_and_each_stage_s_best(
    rows: list[TrialResult], study: Study
) -> None:
    with styled():
        figure = best_so_far(study)
    lines = figure.axes[0].get_lines()
    steps = [np.asarray(line.get_data()) for line in lines if line.get_drawstyle() == "steps-post"]
    assert [text.get_text() for text in figure.legends[0].texts] == [
        f"{stage.stage or 'search'} ({len(stage.results)} trials)" for stage in study.stages
    ]
    assert steps[-1][0, -1] == pytest.approx(flops([row.trial for row in rows]) / 1e12)
    points = [np.asarray(line.get_data()) for line in lines if line.get_linestyle() == "None"]
    for (_, best), (_, heights), stage in zip(steps, points, study.stages, strict=True):
        measured = [row.val_accuracy for row in stage.results if row.val_accuracy is not None]
        assert int(heights.argmax()) == int(np.argmax(measured))
        assert list(best[:-1]) == list(np.maximum.accumulate(heights))
        assert best[-1] == heights.max()


def test_the_last_ones_are_named_and_the_others_end_in_a_cross(study: Study) -> None:
    rounds, ways = tracks(study.stages)
    with styled():
        figure = dropped(study)
    lines = figure.axes[0].get_lines()
    ended = [line for line in lines if line.get_marker() == "x"]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels[0] == "1\nsearch"
    assert [int(label.split()[0]) for label in labels] == [seeds for _, seeds in rounds]
    assert len(lines) == len(ways)
    assert len(figure.legends[0].texts) == 2
    assert len(ended) == sum(max(way.means) < len(rounds) - 1 for way in ways)


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_names_of_stages_do_not_lie_on_each_other(study: Study, style: Style) -> None:
    with styled(style):
        figure = dropped(study)
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_figures_of_stages_are_drawn_where_there_are_stages(
    rows: list[TrialResult], tmp_path: Path
) -> None:
    only = ["best_so_far", "dropped"]
    names = {path.name for path in draw_figures(split_studies(rows), tmp_path, only=only).written}
    assert {name.rpartition("best")[0] for name in names if "best" in name} == {
        split_studies(rows)[0].prefix
    }
    # Each stage is a study, too, and in the race seeds were dropped.
    assert {name for name in names if "dropped" in name} >= {
        f"{study.prefix}dropped" + ".png" for study in split_studies(rows)[:2]
    }


def test_a_stage_whose_trials_all_diverged_is_drawn(rows: list[TrialResult]) -> None:
    broken = [
        replace(row, status="diverged", val_accuracy=None, test_accuracy=None)
        if row.stage == "rung 2"
        else row
        for row in rows
    ]
    study = split_studies(broken)[0]
    with styled():
        best_so_far(study)
        dropped(study)


def test_a_race_of_one_stage_shows_whom_it_dropped(tmp_path: Path) -> None:
    search = load(tmp_path, f"{SPACE}race: {{seeds: 8}}\n").search
    studies = split_studies(by_stage(search, finish(search)))
    report = draw_figures(studies, tmp_path, only=["dropped"])
    assert [path.name for path in report.written] == ["dropped.png"]
    search = load(tmp_path, BAYES).search
    with pytest.raises(UserError, match="no figure here is called 'dropped'"):
        draw_figures(split_studies(by_stage(search, finish(search))), tmp_path, only=["dropped"])
