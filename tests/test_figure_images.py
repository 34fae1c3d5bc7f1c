"""Each kind of figure looks as it did when somebody last looked at it.

The pictures in tests/images are of figures from known results, at a fifth of the pixels and without
their texts, which every version of matplotlib sets a little differently; what these say and that
none lies on another is tested by test_figures. A line that is drawn a pixel aside is no difference,
a mark in another place is. After a change that is meant, look at the figures, then

    .venv/bin/python -m tests.test_figure_images
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave
from matplotlib.text import Text
from numpy.typing import NDArray

from mnist_sweep.analysis.study import split_studies
from mnist_sweep.figures.draw import draw_study
from mnist_sweep.figures.style import styled
from mnist_sweep.trial import Status, TrialResult
from tests import synthetic

IMAGES = Path(__file__).parent / "images"
#: Study -> its figures that are kept, one of each kind.
KEPT = {
    "phase2": [
        "val_accuracy_by_lr_and_opt",
        "val_accuracy_map_of_width_and_depth",
        "importance",
        "ranking",
        "val_accuracy_by_work",
        "expected_best_val_accuracy",
    ],
    "phase4": ["curves"],
}
DPI, BLOCK = 100, 5
#: Largest difference of a colour (0 .. 1): on average, and over 15 x 15 pixels. Matplotlib 3.8 and
#: 3.11 are 0.0005 and 0.09 apart at most; one trial that went otherwise makes 0.007 and 0.2.
MEAN_TOLERANCE, BLOCK_TOLERANCE = 0.0015, 0.12

Pixels = NDArray[np.float64]


def pictures(results: list[TrialResult], names: list[str]) -> dict[str, Pixels]:
    """The figures ``names`` of ``results``, (rows, columns, 3) from 0 to 1, in blocks of pixels."""
    (study,) = split_studies(results, title="study")
    with styled():
        return {name: shrunk(drawn) for name, drawn in draw_study(study) if name in names}


def shrunk(figure: Figure | str) -> Pixels:
    assert isinstance(figure, Figure)
    for text in figure.findobj(Text):
        text.set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    buffer.seek(0)
    return blocks(imread(buffer)[..., :3].astype(float), BLOCK)


def blocks(pixels: Pixels, size: int) -> Pixels:
    """Means over squares of ``size`` x ``size`` pixels; what is left over at the edges is cut."""
    rows, columns = (n // size for n in pixels.shape[:2])
    whole = pixels[: rows * size, : columns * size]
    means: Pixels = whole.reshape(rows, size, columns, size, 3).mean(axis=(1, 3))
    return means


def difference(ours: Pixels, kept: Pixels) -> str:
    """What tells the two apart; empty if they look alike."""
    if ours.shape != kept.shape:
        return f"{ours.shape} blocks instead of {kept.shape}"
    mean = float(np.abs(ours - kept).mean())
    worst = float(np.abs(blocks(ours, 3) - blocks(kept, 3)).max())
    alike = mean <= MEAN_TOLERANCE and worst <= BLOCK_TOLERANCE
    return "" if alike else f"differs by {mean:.4f} on average, by {worst:.2f} at worst"


@pytest.mark.parametrize("study", KEPT)
def test_the_figures_look_as_they_did(study: str) -> None:
    found = pictures(getattr(synthetic, study)(), KEPT[study])
    assert list(found) == KEPT[study]
    told = {
        name: text
        for name, ours in found.items()
        if (text := difference(ours, imread(IMAGES / f"{name}.png")[..., :3].astype(float)))
    }
    assert told == {}


@pytest.mark.parametrize("status", ["ok", "diverged"])
def test_one_trial_that_went_otherwise_is_another_look(status: Status) -> None:
    (name,) = names = ["val_accuracy_by_lr_and_opt"]
    rows = synthetic.phase2()
    place = next(i for i, row in enumerate(rows) if row.trial.config.opt == "sgd")
    before = pictures(rows, names)[name]
    accuracy = (rows[place].val_accuracy or 0) + 0.2 if status == "ok" else None
    rows[place] = replace(rows[place], status=status, val_accuracy=accuracy)
    assert difference(pictures(rows, names)[name], before)


def write() -> None:
    """Keep the figures as they are now."""
    for study, names in KEPT.items():
        for name, pixels in pictures(getattr(synthetic, study)(), names).items():
            imsave(IMAGES / f"{name}.png", pixels)


if __name__ == "__main__":
    write()
