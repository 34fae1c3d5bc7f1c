"""No figure misleads: each test is a figure that did, or would."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.slices import crossed_pairs, crossing, panels, single
from mnist_sweep.analysis.study import split_studies
from mnist_sweep.config import HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.figures.draw import draw_figures, draw_study
from mnist_sweep.figures.scales import ParameterAxis
from mnist_sweep.figures.sheet import new_figure
from mnist_sweep.figures.style import save, styled
from mnist_sweep.labels import value_texts
from mnist_sweep.metrics import METRICS, TEST_ACCURACY
from mnist_sweep.results.file import read_results
from mnist_sweep.trial import TrialResult
from tests import synthetic


def figure_of(rows: list[TrialResult], name: str) -> Figure:
    (study,) = split_studies(rows, title="study")
    with styled():
        figure = dict(draw_study(study, [name]))[name]
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    return figure


def said(figure: Figure) -> str:
    """All that stands in the margins of ``figure``."""
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    return " ".join(" ".join(text.get_text() for text in texts).split())


def with_accuracies(configs: list[HPConfig], accuracies: list[float]) -> list[TrialResult]:
    pairs = zip(synthetic.sweep(configs), accuracies, strict=True)
    return [replace(row, test_accuracy=accuracy) for row, accuracy in pairs]


def test_two_humps_get_a_panel_each_and_every_median_is_where_trials_are() -> None:
    configs = synthetic.grid(
        HPConfig(), width=[64, 128], depth=[1, 2], lr=[1e-3, 1e-2, 1e-1], opt=["adam", "sgd"]
    )
    accuracies = [(0.95 if c.opt == "adam" else 0.1) - 0.1 * c.lr for c in configs]
    rows = with_accuracies(configs, accuracies)
    pooled = crossing(configurations(rows), "width", "depth")
    assert pooled
    parts = panels(pooled, TEST_ACCURACY)
    assert [(part.fixed, part.settings) for part in parts] == [
        ({"opt": "adam"}, 3),
        ({"opt": "sgd"}, 3),
    ]
    assert sum(len(part.configurations) for part in parts) == len(rows)
    figure = figure_of(rows, "test_accuracy_map_of_width_and_depth")
    assert [axes.get_title("left") for axes in figure.axes] == ["adam", "sgd"]
    assert "by width, depth and optimizer" in said(figure)


def test_one_hump_stays_one_panel_and_its_legend_says_what_the_bars_are() -> None:
    rng = random.Random(0)
    configs = synthetic.grid(HPConfig(), lr=[1e-3, 3e-3], opt=["adam", "sgd"], width=[64, 128],
                             batch_size=[32, 64], depth=[1, 2])  # fmt: skip
    rows = with_accuracies(configs, [0.9 + 0.01 * rng.random() for _ in configs])
    pooled = crossing(configurations(rows), "lr", "opt")
    assert pooled
    assert len(panels(pooled, TEST_ACCURACY)) == 1
    figure = figure_of(rows, "test_accuracy_by_lr_and_opt")
    assert len(figure.axes) == 1
    assert "middle half of 8 settings" in said(figure)


def test_where_few_settings_differ_in_one_parameter_the_bars_are_of_seeds() -> None:
    """Also where the parameter's effect has another sign in each cell, as a rate's has."""
    configs = synthetic.grid(
        HPConfig(), range(3), batch_size=[32, 256], lr_schedule=["cosine", "plateau"],
        lr=[1e-3, 3e-3],
    )  # fmt: skip
    figure = figure_of(synthetic.sweep(configs), "test_accuracy_by_batch_size_and_lr_schedule")
    assert [axes.get_title("left") for axes in figure.axes] == ["lr 1e-3", "lr 3e-3"]
    assert "95 % interval over n = 3 seeds" in said(figure)


def test_a_divided_figure_marks_what_diverged_and_a_lone_setting_is_no_interval() -> None:
    configs = synthetic.grid(HPConfig(), width=[64, 128], depth=[1, 2], opt=["adam", "sgd"])
    rows = [
        synthetic.broken(config, "diverged") if config.opt == "sgd" else synthetic.measured(config)
        for config in configs
    ]
    pooled = crossing(configurations(rows), "width", "depth")
    assert pooled
    assert [part.fixed["opt"] for part in panels(pooled, TEST_ACCURACY)] == ["adam", "sgd"]


def test_pairs_that_interact_come_first() -> None:
    configs = synthetic.grid(HPConfig(), lr=[1e-3, 1e-2], width=[64, 128], depth=[1, 2])
    shift = {(64, 2): 0.1, (128, 1): 0.1}
    accuracies = [0.5 + 10 * c.lr + shift.get((c.widths[0], len(c.widths)), 0) for c in configs]
    pairs = crossed_pairs(configurations(with_accuracies(configs, accuracies)), TEST_ACCURACY)
    assert (pairs[0].x, pairs[0].line) == ("width", "depth")
    assert len(pairs) == 3


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_no_random_trial_is_left_out(share: float) -> None:
    rng = random.Random(0)
    configs = [
        HPConfig(lr=10 ** rng.uniform(-4, -1), opt="sgd" if rng.random() < share else "adam")
        for _ in range(200)
    ]
    shown = single(configurations(synthetic.sweep(configs)), "lr")
    assert (shown.settings, shown.line, len(shown.configurations)) == (0, "opt", 200)
    figure = figure_of(synthetic.sweep(configs), "test_accuracy_by_lr_and_opt")
    (axes,) = figure.axes
    points = np.concatenate([dots.get_offsets() for dots in axes.collections])
    assert len(points) == 200
    assert "Shown:" not in said(figure)


def test_what_a_slice_leaves_out_is_counted() -> None:
    figure = figure_of(synthetic.phase2(), "val_accuracy_by_lr_and_opt")
    assert "Shown: 10 of 37 configurations." in said(figure)
    failed = synthetic.broken(HPConfig(lr=0.5), "failed")
    assert "Without a result: 1 more." in said(
        figure_of([*synthetic.quickstart(), failed], "ranking")
    )


def ticks_of(name: str, values: Sequence[float], inches: float = 6.0) -> list[str]:
    """The labels of an axis; those that would lie on another are an error."""
    with styled():
        figure: Figure = new_figure("title", "subtitle", "note")
        axes = figure.add_axes((0.1, 0.3, inches / 7, 0.5))
        ParameterAxis(name, sorted(values)).apply(axes)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(bool(a.x1 <= b.x0) for a, b in pairwise(boxes))
    return [label.get_text() for label in axes.get_xticklabels()]


def test_zero_stands_beside_a_logarithmic_axis_with_no_line_to_it() -> None:
    decays = [0.0, 1e-4, 1e-3, 1e-2, 1e-1]
    axis = ParameterAxis("weight_decay", decays)
    places = [axis(value) for value in decays]
    assert np.diff(places) == pytest.approx([1, 1, 1, 1])
    assert "(log scale, 0 apart)" in axis.label
    assert ticks_of("weight_decay", decays) == ["0", "1e-4", "1e-3", "1e-2", "1e-1"]
    figure = figure_of(
        synthetic.sweep(synthetic.grid(HPConfig(), range(2), weight_decay=decays)),
        "test_accuracy_by_weight_decay",
    )
    (line,) = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert np.isnan(np.asarray(line.get_xdata())).tolist() == [False, True, *[False] * 4]
    assert not ParameterAxis("dropout", [0.0, 0.1, 0.2, 0.4]).logarithmic
    assert ParameterAxis("dropout", [0.0, 0.1]).span == pytest.approx(0.1)


@pytest.mark.parametrize("inches", [6.0, 1.3])
@pytest.mark.parametrize("count", [8, 200])
@pytest.mark.parametrize(("low", "high"), [(1e-4, 1e-1), (1e-3, 8e-3), (2.1e-3, 2.9e-3)])
def test_a_sample_has_round_ticks(low: float, high: float, count: int, inches: float) -> None:
    rng = random.Random(count)
    values = [low * (high / low) ** rng.random() for _ in range(count)]
    labels = ticks_of("lr", values, inches)
    assert len(labels) >= (3 if inches > 2 else 1)
    assert max(len(label) for label in labels) <= 7
    widths = ticks_of("width", [rng.randrange(100, 1000) for _ in range(count)], inches)
    assert len(widths) >= 2
    assert all(width.endswith("0") for width in widths)


def test_the_values_of_a_grid_are_its_ticks() -> None:
    grids: list[tuple[str, list[float]]] = [
        ("width", [128, 256, 784, 1536]),
        ("lr_decay", [0.5, 0.7, 0.9, 0.95]),
        ("patience", [10, 50, 200]),
    ]
    for name, values in grids:
        assert ticks_of(name, values) == [str(value) for value in values]


def test_different_values_are_written_differently() -> None:
    assert value_texts([0.9999, 0.99999], "lr_decay") == ["0.9999", "0.99999"]
    assert value_texts([0.012345, 0.012346], "lr") == ["1.2345e-2", "1.2346e-2"]
    drawn = [0.01234512345678, 0.01234523456789]
    assert value_texts(drawn, "lr") == ["1.23451e-2", "1.23452e-2"]
    assert value_texts([*drawn[:1], 0.5, None], "lr") == ["1.235e-2", "5e-1", "-"]
    assert value_texts([0.3, 0.1 + 0.2], "dropout") == ["0.3", "0.30000000000000004"]


def curved(seeds: int = 3, worst: float | None = None) -> list[TrialResult]:
    """A configuration of some seeds; of the last one every accuracy is ``worst``."""
    rows = synthetic.sweep([HPConfig(seed=seed, epochs=5) for seed in range(seeds)], points=20)
    if worst is None:
        return rows
    curve = tuple(replace(p, train_accuracy=worst, test_accuracy=worst) for p in rows[-1].curve)
    bad = replace(rows[-1], train_accuracy=worst, test_accuracy=worst, curve=curve)
    return [*rows[:-1], bad]


def test_the_grey_bar_is_as_high_as_the_gap_that_is_printed() -> None:
    """Also where the curve of the training accuracy, of distorted images, is below the test's."""
    rows = [
        replace(row, train_accuracy=0.99, test_accuracy=0.98,
                curve=tuple(replace(p, train_accuracy=0.9) for p in row.curve))
        for row in curved()
    ]  # fmt: skip
    (axes,) = figure_of(rows, "curves").axes
    assert "gap 1.00" in axes.texts[0].get_text()
    (bar,) = axes.collections
    heights = np.asarray(bar.get_paths()[0].vertices)[:, 1]
    linear = 100 - 100 * 10**-heights if heights.max() < 5 else heights
    assert (linear.min(), linear.max()) == pytest.approx((98, 99))


@pytest.mark.parametrize("best", ["long", "short"])
def test_no_curve_is_cut_where_another_is_shorter(best: str) -> None:
    long, short = synthetic.sweep([HPConfig(epochs=epochs) for epochs in (4, 1)], points=8)
    rows = [replace(long, test_accuracy=0.98 if best == "long" else 0.8), short]
    most = max(point.step for row in rows for point in row.curve)
    assert all(axes.get_xlim()[1] > 1.1 * most for axes in figure_of(rows, "curves").axes)


def test_every_column_of_panels_has_tick_labels() -> None:
    rows = synthetic.sweep([HPConfig(seed=0, depth=depth) for depth in range(1, 8)], points=8)
    places = figure_of(rows, "curves").axes
    labels = [axes.xaxis.get_tick_params()["labelbottom"] for axes in places]
    assert labels == [False] * 3 + [True] * 4


def test_a_map_of_nine_columns_has_its_intervals_and_frames_all_that_are_equal() -> None:
    values = {"lr": [10**-n for n in range(1, 10)], "opt": ["adam", "sgd"]}
    configs = synthetic.grid(HPConfig(), seeds=(0, 1), **values)
    accuracies = [0.9] * len(configs)
    # The mean of these is 0.9906 as well, less the last bit.
    accuracies[:4] = [0.9906, 0.9906, 0.9898, 0.9914]
    figure = figure_of(with_accuracies(configs, accuracies), "test_accuracy_map_of_lr_and_opt")
    (axes,) = figure.axes
    assert sum("±" in text.get_text() for text in axes.texts) == 18
    assert len([patch for patch in axes.patches if not patch.get_fill()]) == 2


def test_points_stand_at_their_value_and_those_below_the_frame_are_counted() -> None:
    path = Path(__file__).parents[1] / "plots" / "results" / "mlp_tuning.csv"
    rows = list(read_results(path).results)
    (axes,) = figure_of(rows, "val_accuracy_by_lr_schedule").axes
    places = np.concatenate([np.asarray(c.get_offsets())[:, 0] for c in axes.collections])
    assert set(places) == {0, 1}
    assert "Below the frame: 2 settings." in said(
        figure_of(rows, "val_accuracy_by_lr_and_activation_fn")
    )


def test_one_bad_run_does_not_squeeze_the_others_and_is_counted() -> None:
    figure = figure_of(curved(worst=0.1), "curves")
    wanted, found = (f.axes[0].get_ylim() for f in (figure_of(curved(), "curves"), figure))
    assert found == pytest.approx(wanted, abs=0.2)
    assert "Below the frame: 1 run of rank 1." in said(figure)
    # Of two runs nobody can say which is the odd one.
    assert "Below the frame" not in said(figure_of(curved(2, worst=0.1), "curves"))


def test_only_the_figures_that_were_asked_for(tmp_path: Path) -> None:
    studies = split_studies(synthetic.quickstart())
    written = draw_figures(studies, tmp_path, only=["ranking", "importance"])
    assert sorted(p.name for p in written.written) == ["importance.png", "ranking.png"]
    assert written.left_out == []
    with pytest.raises(
        UserError, match="is called 'rankin'; there are test_accuracy_by_lr_and_opt"
    ):
        draw_figures(studies, tmp_path / "none", only=["rankin"])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("study", ["quickstart", "phase4"])
def test_for_a_paper_a_figure_is_a_column_wide_and_says_nothing_of_files(study: str) -> None:
    (split,) = split_studies(getattr(synthetic, study)(), title="study")
    with styled("paper"):
        for name, figure in draw_study(split):
            if isinstance(figure, Figure):
                figure.draw_without_rendering()
                assert figure.get_figwidth() == (7.0 if name == "importance" else 3.3), name
                texts = " ".join(text.get_text() for text in figure.texts)
                assert "study" not in texts, name
                assert split.metric.label.capitalize() + " by" not in texts, name
                for text in figure.texts:
                    box = text.get_window_extent()
                    assert box.x0 >= 0, (name, text.get_text())
                    assert box.x1 <= figure.bbox.x1, (name, text.get_text())


def test_the_text_of_a_papers_svg_is_text(tmp_path: Path) -> None:
    draw_figures(split_studies(synthetic.quickstart()), tmp_path, "svg", ["ranking"], style="paper")
    page = ElementTree.parse(tmp_path / "ranking.svg")
    texts = ["".join(node.itertext()).strip() for node in page.iter() if node.tag.endswith("text")]
    assert {"adam", "1e-3", "Test accuracy (%)"} & set(texts) >= {"adam", "1e-3"}
    with styled():
        figure = dict(draw_study(split_studies(synthetic.quickstart())[0], ["ranking"]))["ranking"]
        assert isinstance(figure, Figure)
        save(figure, tmp_path / "screen.svg", "svg")
    assert "<text" not in (tmp_path / "screen.svg").read_text()


def test_every_figure_is_by_the_metric_that_was_asked_for() -> None:
    (study,) = split_studies(synthetic.quickstart(), METRICS["train_accuracy"])
    with styled():
        for name, figure in draw_study(study):
            if isinstance(figure, Figure):
                assert "training accuracy" in said(figure).lower(), name
