"""What the figures promise: which are drawn, from which numbers, and that no input breaks them."""

from __future__ import annotations

import io
import pkgutil
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.lines import Line2D
from matplotlib.text import Text

from mnist_sweep import analysis
from mnist_sweep.analysis.configurations import configurations, varying_values
from mnist_sweep.analysis.curves import generalisation_gap, mean_curve
from mnist_sweep.analysis.slices import crossing, log_spaced, parameter_slices, single
from mnist_sweep.analysis.study import Study, split_studies
from mnist_sweep.config import HPConfig
from mnist_sweep.figures.draw import FiguresReport, draw_figures, draw_study
from mnist_sweep.figures.scales import MetricScale, ParameterAxis
from mnist_sweep.figures.style import Format, save, styled
from mnist_sweep.metrics import METRICS, TEST_ACCURACY, VAL_ACCURACY, Metric
from mnist_sweep.trial import DatasetConfig, TrialResult
from tests import synthetic


def draw(results: Sequence[TrialResult]) -> tuple[list[str], list[str]]:
    """What is drawn of ``results``, and what is left out, as ``draw_figures`` says it."""
    drawn, left_out = [], []
    with styled():
        for study in split_studies(results, title="study"):
            for name, figure in draw_study(study):
                if isinstance(figure, str):
                    left_out.append(name)
                else:
                    figure.draw_without_rendering()
                    drawn.append(f"{study.prefix}{name}")
    return drawn, left_out


def study_of(name: str, metric: Metric | None = None) -> Study:
    (study,) = split_studies(getattr(synthetic, name)(), metric, "study")
    return study


@cache
def drawn(study: str, metric: Metric | None = None) -> dict[str, Figure | str]:
    """The figures of a synthetic study themselves, by name, or why they are left out."""
    with styled():
        return dict(draw_study(study_of(study, metric)))


QUICKSTART = [
    "test_accuracy_by_lr_and_opt",
    "test_accuracy_map_of_lr_and_opt",
    "importance",
    "ranking",
    "expected_best_test_accuracy",
    "curves",
]


def test_the_quickstart_gets_its_crossing_its_ranking_and_its_curves() -> None:
    assert draw(synthetic.quickstart()) == (
        QUICKSTART,
        ["test accuracy against work", "test accuracy against number of parameters"],
    )


def test_small_grids_around_one_base_get_a_figure_each() -> None:
    assert draw(synthetic.phase2()) == (
        [
            "val_accuracy_by_batch_size",
            "val_accuracy_by_lr_and_opt",
            "val_accuracy_by_lr_and_activation_fn",
            "val_accuracy_by_depth_and_width",
            "val_accuracy_map_of_lr_and_opt",
            "val_accuracy_map_of_width_and_depth",
            "val_accuracy_map_of_lr_and_activation_fn",
            "importance",
            "ranking",
            "val_accuracy_by_work",
            "val_accuracy_by_parameters",
            "expected_best_val_accuracy",
        ],
        ["accuracy against steps"],
    )


def test_a_full_grid_of_1600_gets_every_number_by_every_name_and_six_maps() -> None:
    found = drawn("full_grid")
    assert [name for name, figure in found.items() if isinstance(figure, Figure)] == [
        *(
            f"val_accuracy_by_{x}_and_{line}"
            for x in ("batch_size", "lr", "width", "depth")
            for line in ("opt", "activation_fn")
        ),
        *(name for name in found if "_map_of_" in name and "," not in name),
        "importance",
        "ranking",
        "val_accuracy_by_work",
        "val_accuracy_by_parameters",
        "expected_best_val_accuracy",
    ]
    maps = [name for name in found if "_map_of_" in name]
    assert len(maps) == 7
    assert "val_accuracy_map_of_width_and_depth" in maps
    # The rest of the 15 pairs are named, to be asked for.
    others = maps[-1].split(", ")
    assert len(others) == 9
    assert str(found[maps[-1]]).endswith("ask with --only")
    assert set(dict(draw_study(study_of("full_grid"), others[:1]))) == {others[0]}
    assert found["accuracy against steps"] == (
        "fewer than two evaluations in a trial; set evals_per_epoch in the spec"
    )


def test_the_best_seed_of_one_configuration_is_no_search() -> None:
    rows = synthetic.sweep(synthetic.grid(HPConfig(), range(5)))
    written, left_out = draw(rows)
    assert "expected_best_test_accuracy" not in written
    assert "expected best test accuracy" in left_out


def test_two_configurations_that_differ_in_all_say_nothing_of_one_parameter() -> None:
    rows = synthetic.sweep([HPConfig(lr=1e-3), HPConfig(lr=1e-2, width=256, opt="sgd")])
    written, left_out = draw(rows)
    assert not [name for name in written if "_by_lr" in name or "_by_opt" in name]
    assert {"test accuracy by learning rate", "test accuracy by width"} <= set(left_out)


def test_models_and_data_sets_are_drawn_apart() -> None:
    cnn = synthetic.sweep(synthetic.grid(HPConfig(model="cnn"), lr=[1e-3, 1e-2]))
    written, _ = draw([*synthetic.quickstart(), *cnn])
    assert written == [
        *(f"mlp_{name}" for name in QUICKSTART),
        "cnn_test_accuracy_by_lr",
        "cnn_ranking",
    ]
    other = synthetic.sweep(
        synthetic.grid(HPConfig(), lr=[1e-3, 1e-2]), DatasetConfig("../my data", 5000)
    )
    written, _ = draw([*synthetic.quickstart(), *other])
    assert written[:6] == [f"mnist_{name}" for name in QUICKSTART]
    assert written[6:] == [
        "my-data-validation_size=5000_val_accuracy_by_lr",
        "my-data-validation_size=5000_ranking",
    ]


def broken(count: int, status: str) -> list[TrialResult]:
    configs = [HPConfig(seed=seed) for seed in range(count)]
    return [synthetic.broken(config, status) for config in configs]


def test_without_a_finished_trial_nothing_is_drawn_and_it_says_so(tmp_path: Path) -> None:
    assert draw_figures([], tmp_path) == FiguresReport(
        [], ["every figure: no trial has finished yet"]
    )
    for status in ("failed", "diverged"):
        assert draw(broken(3, status)) == ([], ["every figure"])


def test_one_trial_gets_its_curve_and_the_reasons_for_the_rest() -> None:
    written, left_out = draw(synthetic.sweep([HPConfig()], points=5))
    assert written == ["curves"]
    assert left_out == [
        "test accuracy by parameter",
        "maps of test accuracy",
        "importance of the parameters",
        "ranking",
        "test accuracy against work",
        "test accuracy against number of parameters",
        "expected best test accuracy",
    ]


@pytest.mark.parametrize("seed", range(2))
def test_any_part_of_a_sweep_can_be_drawn(seed: int) -> None:
    rng = random.Random(seed)
    rows = rng.sample([*synthetic.phase2(), *synthetic.quickstart()], 40)
    for status in ("failed", "diverged", "diverged"):
        index = rng.randrange(40)
        rows[index] = synthetic.broken(rows[index].trial.config, status, rows[index].trial.dataset)
    rows += [replace(rows[0], val_accuracy=None), replace(rows[1], train_seconds=None, curve=())]
    assert draw(rows)[0]


def test_random_points_are_scattered() -> None:
    rng = random.Random(0)
    points = [
        HPConfig(lr=10 ** rng.uniform(-4, -2), width=rng.randrange(100, 1000), seed=0)
        for _ in range(30)
    ]
    written, _ = draw(synthetic.sweep(points))
    assert written == [
        "test_accuracy_by_lr",
        "test_accuracy_by_width",
        "importance",
        "ranking",
        "test_accuracy_by_work",
        "test_accuracy_by_parameters",
        "expected_best_test_accuracy",
    ]
    found = single(configurations(synthetic.sweep(points)), "lr")
    assert (found.settings, len(found.cells)) == (0, 30)


def test_extreme_accuracies_can_be_drawn() -> None:
    for low, high in ((0.0, 1.0), (1.0, 1.0)):
        rows = [
            replace(row, test_accuracy=high if row.trial.config.opt == "adam" else low)
            for row in synthetic.quickstart()
        ]
        assert draw(rows)[0]


def test_costs_that_no_network_has_are_left_out() -> None:
    rows = synthetic.sweep(synthetic.grid(HPConfig(), lr=[1e-3, 1e-2], width=[64, 512]))
    odd = [replace(rows[0], parameters=0), replace(rows[1], parameters=-1)]
    assert "test_accuracy_by_parameters" not in draw(odd)[0]
    written, _ = draw([*odd, *rows[2:]])
    assert "test_accuracy_by_parameters" in written


def test_the_files_are_named_opaque_7_inches_wide_and_the_same_each_time(tmp_path: Path) -> None:
    rows = [row for row in synthetic.quickstart() if row.trial.config.opt == "adam"]
    first = draw_figures(split_studies(rows), tmp_path / "a").written
    second = draw_figures(split_studies(rows[::-1]), tmp_path / "b").written
    assert sorted(first) == sorted((tmp_path / "a").iterdir())
    assert [path.name for path in first][-2:] == ["expected_best_test_accuracy.png", "curves.png"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    for path in first:
        pixels = imread(path)
        assert pixels.shape[1] == 1400
        # Opaque and nearly white at the corners: legible on a dark page as on a light one.
        assert np.all(pixels[0, 0, :3] > 0.95)
        assert np.all(pixels[..., 3] == 1)


@pytest.mark.parametrize("format", ["svg", "pdf"])
def test_no_format_holds_a_date_or_a_name_that_changes(tmp_path: Path, format: Format) -> None:
    pages = []
    for _ in range(2):
        (study,) = split_studies(synthetic.quickstart())
        with styled():
            figure = dict(draw_study(study))["test_accuracy_by_lr_and_opt"]
            assert isinstance(figure, Figure)
            save(figure, page := io.BytesIO(), format)
        pages.append(page.getvalue())
    assert pages[0] == pages[1]


def texts(figure: Figure | str) -> list[Text]:
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()
    hidden = _hidden_tick_labels(figure)
    artists = figure.findobj(Text)
    return [
        text
        for text in artists
        if isinstance(text, Text) and text.get_visible() and text.get_text() and text not in hidden
    ]


@pytest.mark.parametrize(
    ("study", "metric"),
    [
        *(
            (name, None)
            for name in ("quickstart", "phase2", "phase4", "with_diverged", "full_grid", "widths")
        ),
        *((name, METRICS["train_loss"]) for name in ("phase2", "with_diverged")),
        ("phase4", METRICS["val_loss"]),
    ],
)
def test_no_text_lies_on_another_or_leaves_the_figure(study: str, metric: Metric | None) -> None:
    for name, figure in drawn(study, metric).items():
        if isinstance(figure, str):
            continue
        frame = figure.bbox
        said = texts(figure)
        boxes = np.array([text.get_window_extent().extents for text in said])
        low, high = boxes[:, :2], boxes[:, 2:]
        outside = (low < 0).any(axis=1) | (high > frame.max).any(axis=1)
        assert not [said[i].get_text() for i in np.flatnonzero(outside)], name
        apart = (low[:, None] >= high[None]).any(axis=2)
        pairs = np.argwhere(np.triu(~(apart | apart.T), 1))
        assert not [(said[i].get_text(), said[j].get_text()) for i, j in pairs], name


def test_numbers_on_a_front_lie_apart_however_steep_it_is() -> None:
    # Most are much worse, so that the front is a small part of the axis.
    reached = {100 + i: 0.97 + 0.0006 * i for i in range(6)} | {900: 0.974}
    reached |= {1000 + i: 0.9 for i in range(9)}
    rows = [
        replace(synthetic.measured(HPConfig(width=width)), test_accuracy=accuracy)
        for width, accuracy in reached.items()
    ]
    (study,) = split_studies(rows, title="study")
    with styled():
        ((_, figure),) = draw_study(study, ["test_accuracy_by_parameters"])
    assert isinstance(figure, Figure)
    numbers = [text for text in texts(figure) if text.get_text() in map(str, range(1, 9))]
    boxes = [text.get_window_extent() for text in numbers if text.axes is figure.axes[0]]
    assert len(boxes) > 1
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def _hidden_tick_labels(figure: Figure) -> set[Text]:
    """Labels that are not drawn: outside the limits, or switched off on a shared axis."""
    hidden: set[Text] = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    return hidden


def test_the_choice_on_the_test_set_is_noted_at_the_foot() -> None:
    for study, note in (
        ("quickstart", "Chosen on the test set, for want of a validation split"),
        ("phase2", "Chosen on 5,000 validation images"),
    ):
        shown = [text.get_text().replace("\n", " ") for text in texts(drawn(study)["ranking"])]
        assert any(note in text for text in shown)


def test_a_figure_says_how_many_seeds_and_what_was_held_fixed() -> None:
    found = [t.get_text() for t in texts(drawn("phase2")["val_accuracy_by_lr_and_opt"])]
    assert "Validation accuracy by learning rate and optimizer" in found
    assert "Mean and 95 % interval over n = 3 seeds; faint: each seed" in found
    assert any(t.startswith("Held fixed: batch 64, width 512, depth 2, silu.") for t in found)


def markers_of(figure: Figure | str) -> list[Line2D]:
    """What has a mark at every mean."""
    assert isinstance(figure, Figure)
    lines = [line for axes in figure.axes for line in axes.get_lines()]
    return [line for line in lines if line.get_marker() in ("o", "s")]


def test_categories_are_not_joined_as_though_they_had_an_order() -> None:
    rows = synthetic.sweep(synthetic.grid(HPConfig(), range(2), opt=["adam", "sgd"]))
    (study,) = split_studies(rows)
    with styled():
        figure = dict(draw_study(study))["test_accuracy_by_opt"]
    assert [line.get_linestyle() for line in markers_of(figure)] == ["None"]
    joined = markers_of(drawn("phase2")["val_accuracy_by_lr_and_opt"])
    assert [line.get_linestyle() for line in joined] == ["-", "--"]


def test_every_seed_is_seen_beside_its_mean() -> None:
    figure = drawn("phase2")["val_accuracy_by_lr_and_opt"]
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    means = np.concatenate([line.get_xydata() for line in markers_of(figure)])
    seeds = np.concatenate([dots.get_offsets() for dots in axes.collections])
    assert (len(means), len(seeds)) == (10, 30)
    apart = axes.transData.transform(seeds)[:, None] - axes.transData.transform(means)[None]
    # The radii of a marker and of a dot, in pixels.
    assert np.hypot(*apart.T).min() >= (5.5 / 2 + 13**0.5 / 2) * figure.dpi / 72 - 1


def test_the_generalisation_gap_is_stated_for_every_curve() -> None:
    found = [t.get_text() for t in texts(drawn("phase4")["curves"])]
    gaps = [text for text in found if text.startswith("gap ")]
    assert len(gaps) == 8
    best = configurations(synthetic.phase4())
    wanted = max(best, key=lambda c: c.mean(VAL_ACCURACY) or 0)
    train, test = (
        np.array(wanted.values(METRICS[f"{part}_accuracy"])) for part in ("train", "test")
    )
    half = 4.302653 * (train - test).std(ddof=1) / 3**0.5
    assert gaps[0] == f"gap {100 * (train - test).mean():.2f} ± {100 * half:.2f}"
    (one,) = configurations(synthetic.sweep([HPConfig()]))
    gap = generalisation_gap(one)
    assert gap
    assert gap[2] is None
    assert generalisation_gap(configurations([synthetic.broken(HPConfig(), "failed")])[0]) is None


def test_a_slice_compares_configurations_that_are_equal_in_all_else() -> None:
    found = crossing(configurations(synthetic.phase2()), "lr", "opt")
    assert found
    assert found.x_values == synthetic.LRS
    assert found.line_values == ["adam", "sgd"]
    assert found.fixed == {"batch_size": 64, "width": 512, "depth": 2, "activation_fn": "silu"}
    shown = found.cell(1e-4, "sgd", VAL_ACCURACY)
    wanted = [
        row.val_accuracy
        for row in synthetic.phase2()
        if row.trial.config.lr == 1e-4 and row.trial.config.opt == "sgd"
    ]
    assert shown
    assert shown.points == wanted
    assert shown.centre == pytest.approx(np.mean(shown.points))


def test_parameters_that_are_not_crossed_are_not_drawn_together() -> None:
    slices = parameter_slices(configurations(synthetic.phase2()))
    assert [(s.x, s.line) for s in slices] == [
        ("batch_size", None),
        ("lr", "opt"),
        ("lr", "activation_fn"),
        ("depth", "width"),
    ]


def test_a_nearly_full_crossing_is_drawn_with_its_gap() -> None:
    rows = [row for row in synthetic.phase2() if row.trial.config.seed == 0]
    base = [r for r in rows if r.trial.config.lr == 3e-3 and r.trial.config.opt == "sgd"]
    found = crossing(configurations([r for r in rows if r not in base]), "lr", "opt")
    assert len(base) == 1
    assert found
    assert found.cell(3e-3, "sgd", VAL_ACCURACY) is None
    assert len(found.cells) == 9


def test_a_full_grid_is_pooled_over_the_same_settings_everywhere() -> None:
    rows = synthetic.full_grid()
    found = crossing(configurations(rows), "lr", "opt")
    assert found
    assert (found.settings, found.fixed) == (160, {})
    shown = found.cell(1e-3, "adam", VAL_ACCURACY)
    values = sorted(
        row.val_accuracy or 0
        for row in rows
        if row.trial.config.lr == 1e-3 and row.trial.config.opt == "adam"
    )
    assert shown
    assert (shown.worse, shown.centre, shown.better) == (values[39], values[79], values[119])
    # One cell lost: its setting is left out of every cell.
    partial = crossing(configurations(rows[1:]), "lr", "opt")
    assert partial
    assert {len(cell) for cell in partial.cells.values()} == {159}


def test_the_median_of_two_settings_is_between_them() -> None:
    rows = [
        replace(row, test_accuracy=accuracy)
        for row, accuracy in zip(
            synthetic.sweep(synthetic.grid(HPConfig(), lr=[1e-3, 1e-2], depth=[1, 2])),
            (0.9, 0.8, 0.7, 0.6),
            strict=True,
        )
    ]
    found = single(configurations(rows), "lr")
    shown = [found.cell(lr, None, TEST_ACCURACY) for lr in (1e-3, 1e-2)]
    assert [cell and cell.centre for cell in shown] == pytest.approx([0.85, 0.65])


def test_settings_that_diverged_count_as_the_worst_of_a_pool() -> None:
    points = synthetic.grid(HPConfig(), lr=[1e-3, 1e-2], depth=[1, 2, 3, 4])
    rows = [
        synthetic.broken(c, "diverged") if (c.lr, c.depth) in ((1e-2, 1), (1e-2, 2), (1e-2, 3))
        else synthetic.measured(c)
        for c in points
    ]  # fmt: skip
    shown = single(configurations(rows), "lr").cell(1e-2, None, TEST_ACCURACY)
    assert shown
    assert (shown.worse, shown.centre, shown.diverged) == (None, None, 3)
    assert shown.better is None
    assert len(shown.points) == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e-4, 3e-4, 1e-3, 3e-3, 1e-2], True),
        ([32, 64, 128, 256], True),
        ([1e-3, 1e-2], True),
        ([1, 2, 3, 4, 5], False),
        ([2, 3], False),
        ([0.9, 0.95, 1.0], False),
        (["adam", "sgd"], False),
        ([7], False),
    ],
)
def test_an_axis_is_logarithmic_where_the_values_are(values: list[object], expected: bool) -> None:
    assert log_spaced(values) is expected


def test_ticks_stand_at_the_values_that_occur() -> None:
    figure = Figure()
    axes = figure.subplots()
    axis = ParameterAxis("lr", synthetic.LRS)
    axis.apply(axes)
    assert [t.get_text() for t in axes.get_xticklabels()] == [
        "1e-4",
        "3e-4",
        "1e-3",
        "3e-3",
        "1e-2",
    ]
    assert axis.label == "Learning rate (log scale)"


def test_the_accuracy_axis_shows_the_differences() -> None:
    narrow = MetricScale.fit(TEST_ACCURACY, [0.971, 0.975])
    assert not narrow.logarithmic
    assert narrow.low > 95
    wide = MetricScale.fit(TEST_ACCURACY, [0.3, 0.9, 0.97, 0.98])
    assert wide.logarithmic
    # From 97 to 98 % as far as from 70 to 80 %: a third fewer errors.
    assert wide(0.98) - wide(0.97) == pytest.approx(wide(0.8) - wide(0.7))
    places, labels = wide.ticks()
    assert len(places) >= 4
    assert [wide(float(label) / 100) for label in labels] == pytest.approx(places)


def test_a_wide_interval_does_not_squeeze_the_points_and_is_known_to_be_cut() -> None:
    scale = MetricScale.fit(TEST_ACCURACY, [0.96, 0.97], [0.5, 0.999])
    assert scale.high - scale.low < 4
    assert scale.cut_note([0.5])
    assert not scale.cut_note([0.96, 0.97])


def test_the_loss_axis_goes_down_to_the_best_and_counts_no_per_cent() -> None:
    loss = METRICS["train_loss"]
    narrow, wide = (MetricScale.fit(loss, values) for values in ([0.05, 0.08], [0.001, 0.02, 2.0]))
    assert (narrow.logarithmic, wide.logarithmic) == (False, True)
    for scale in (narrow, wide):
        places, labels = scale.ticks()
        assert len(places) >= 3
        assert scale(0.05) > scale(0.08)
        assert [scale(float(label)) for label in labels] == pytest.approx(places)
        assert [scale.value(place) for place in places] == pytest.approx([*map(float, labels)])
    assert MetricScale.fit(loss, [0.0, 0.0]).ticks()[1]


def test_by_a_loss_the_curves_are_losses_and_the_gap_is_what_the_test_loss_is_above() -> None:
    figures = drawn("phase4", METRICS["val_loss"])
    curves, ranking = figures["curves"], figures["ranking"]
    assert isinstance(curves, Figure)
    assert isinstance(ranking, Figure)
    found = [text.get_text() for text in texts(curves)]
    assert "Loss against training steps, best configurations" in found
    best = study_of("phase4", METRICS["val_loss"]).best
    assert best
    gap = np.subtract(best.values(METRICS["test_loss"]), best.values(METRICS["train_loss"])).mean()
    assert next(t for t in found if t.startswith("gap ")).startswith(f"gap {gap:.4f} ± ")
    assert {"training", "validation", "test"} <= {*found}
    assert "test loss" in {text.get_text() for text in texts(ranking)}


def test_widths_for_each_layer_are_compared_whatever_their_depth() -> None:
    study = study_of("widths")
    ordered = [128, "128-256", "256-128", "512-256-128", "1024-512-256-128", 512]
    assert list(study.varying["width"]) == ordered
    assert "depth" not in study.varying
    shown = crossing(study.configurations, "lr", "width")
    assert shown
    assert shown.line_values == ordered
    deep, *others = HPConfig(width=64, depth=3), HPConfig(width=64), HPConfig(width="64-32-16")
    assert "depth" in varying_values(configurations(synthetic.sweep([deep, *others])))
    assert "depth" not in varying_values(configurations(synthetic.sweep(others)))
    one_layer = HPConfig(width=32, depth=1)
    assert "depth" in varying_values(configurations(synthetic.sweep([one_layer, others[1]])))
    figures = drawn("widths")
    assert "val_accuracy_by_lr_and_width" in figures
    importance = figures["importance"]
    assert isinstance(importance, Figure)
    assert "width" in " ".join(text.get_text() for text in texts(importance))


def test_files_from_before_there_were_losses_have_curves_of_accuracies() -> None:
    rows = [
        replace(
            row,
            val_loss=None,
            test_loss=None,
            curve=tuple(replace(point, val_loss=None, test_loss=None) for point in row.curve),
        )
        for row in synthetic.quickstart()
    ]
    (study,) = split_studies(rows, METRICS["train_loss"])
    with styled():
        curves = dict(draw_study(study, ["curves"]))["curves"]
    assert isinstance(curves, Figure)
    assert "Accuracy against training steps, best configurations" in [
        text.get_text() for text in texts(curves)
    ]


def test_by_a_loss_the_best_is_at_the_top_and_nothing_is_per_cent() -> None:
    loss = METRICS["train_loss"]
    figure = drawn("phase2", loss)["train_loss_by_lr_and_opt"]
    assert isinstance(figure, Figure)
    names = [text.get_text() for text in texts(figure)]
    assert "Training loss (log scale, less is better)" in names
    crossed = crossing(configurations(synthetic.phase2()), "lr", "opt")
    assert crossed
    for line, opt in zip(markers_of(figure), crossed.line_values, strict=True):
        cells = [crossed.cell(x, opt, loss) for x in crossed.x_values]
        means = [cell.centre for cell in cells if cell and cell.centre]
        heights = np.asarray(line.get_ydata())
        assert np.argsort(heights).tolist() == np.argsort(means)[::-1].tolist()
    for name, other in drawn("phase2", loss).items():
        if name != "importance" and isinstance(other, Figure):
            said = " ".join(text.get_text() for text in texts(other))
            assert "%" not in re.sub("(95|80) %", "", said), name


def test_of_a_loss_the_worst_quartile_is_the_highest() -> None:
    pooled = single(configurations(synthetic.phase2()), "depth")
    shown = pooled.cell(2, None, METRICS["train_loss"])
    assert shown
    assert pooled.settings > 1
    assert sorted(shown.points)[-1] >= (shown.worse or 0) > (shown.centre or 0)
    assert (shown.better or 1) < (shown.centre or 0)


def test_a_mean_curve_averages_the_seeds_step_by_step() -> None:
    rows = [row for row in synthetic.phase4() if row.trial.config.opt == "sgd"][:3]
    (configuration,) = configurations(rows)
    curve = mean_curve(configuration)
    assert curve
    assert len(curve.steps) == 40
    last = [row.test_accuracy for row in rows]
    assert curve.means["test"][-1] == pytest.approx(np.mean(last))  # type: ignore[arg-type]
    assert list(curve.seeds) == ["train", "val", "test"]


def test_a_curve_of_one_point_is_no_curve() -> None:
    (configuration,) = configurations(synthetic.sweep([HPConfig()], points=1))
    assert mean_curve(configuration) is None


def test_seeds_whose_curves_were_cut_are_averaged_where_all_have_points() -> None:
    whole, cut = synthetic.sweep([HPConfig(), HPConfig(seed=1)], points=8)
    (configuration,) = configurations([whole, replace(cut, curve=cut.curve[:5])])
    curve = mean_curve(configuration)
    assert curve
    assert len(curve.steps) == 5
    assert len(curve.means["test"]) == 5


def test_the_statistics_need_no_matplotlib_and_the_figures_no_pyplot() -> None:
    statistics = [info.name for info in pkgutil.iter_modules(analysis.__path__)]
    assert "ranking" in statistics
    for package, modules, absent in (
        ("analysis", statistics, "matplotlib"),
        ("figures", ["draw"], "matplotlib.pyplot"),
    ):
        names = ", ".join(f"mnist_sweep.{package}.{module}" for module in modules)
        code = f"import sys, mnist_sweep.table, {names}; sys.exit({absent!r} in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failed_row_that_holds_an_accuracy_is_no_trial_of_the_search() -> None:
    rows = synthetic.quickstart()
    odd = replace(rows[-1], status="failed")
    assert "expected_best_test_accuracy" in draw([*rows[:-1], odd])[0]
