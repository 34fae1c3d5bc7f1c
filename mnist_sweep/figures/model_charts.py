"""Charts of one trained model: what it takes for what, how sure it is, and where it errs."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnist_sweep.analysis.intervals import wilson_interval
from mnist_sweep.analysis.predictions import Predictions
from mnist_sweep.figures.sheet import frame, new_figure
from mnist_sweep.figures.style import BACKGROUND, COLOURS, FAINT, INK
from mnist_sweep.models import SIDE

#: The mistakes that are shown: rows and columns of images.
_ROWS, _COLUMNS = 4, 8
_MISTAKES = LinearSegmentedColormap.from_list("mistakes", [BACKGROUND, COLOURS[1]])


def confusion_chart(seen: Predictions, note: str) -> Figure:
    """Classes against predictions: how many images of each class were taken for which."""
    table = seen.confusion
    size = len(table)
    about = f"{len(seen.wrong):,} of {len(seen.labels):,} wrong"
    figure = new_figure("What is taken for what", f"Test images, {about}", note, height=6.9)
    axes = figure.subplots(gridspec_kw=frame(figure, note, legend=False))
    axes.imshow(table - np.diag(np.diag(table)), cmap=_MISTAKES)
    for row, column in np.argwhere(table):
        colour = FAINT if row == column else INK
        axes.text(column, row, f"{table[row, column]:,}", ha="center", va="center",
                  size=90 / max(size, 10), color=colour)  # fmt: skip
    axes.grid(visible=False)
    axes.set(xlabel="Predicted class", ylabel="Class", xticks=range(size), yticks=range(size))
    return figure


def mistakes_chart(seen: Predictions, images: NDArray[np.uint8], note: str) -> Figure:
    """The mistakes that the model is surest of; ``images`` are those predicted, (n, 784)."""
    shown = seen.wrong[: _ROWS * _COLUMNS]
    about = f"{len(shown)} of {len(seen.wrong):,}: class > prediction, confidence"
    figure = new_figure("The most confident mistakes", about, note, height=5.6)
    grid = frame(figure, note, left=0.25, legend=False) | {"bottom": 0.07, "hspace": 0.3}
    panels = figure.subplots(_ROWS, _COLUMNS, gridspec_kw=grid)
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, place in zip(panels.flat, shown, strict=False):
        axes.imshow(images[place].reshape(SIDE, SIDE), cmap="gray_r", vmin=0, vmax=255)
        taken, sure = seen.classes[place], 100 * seen.confidences[place]
        axes.set_title(f"{seen.labels[place]} > {taken}, {sure:.1f} %", size=7)
    return figure


def calibration_chart(seen: Predictions, note: str) -> Figure:
    """A reliability diagram: accuracy against confidence (Guo et al., 2017)."""
    error = f"expected calibration error {100 * seen.calibration_error:.2f} points"
    about = f"Accuracy in each tenth of confidence; {error}"
    note = f"Bars: 95 % interval (Wilson) over images. Numbers: test images. {note}"
    figure = new_figure("Is the model as sure as it is right?", about, note)
    axes = figure.subplots(gridspec_kw=frame(figure, note, legend=False))
    axes.plot([0, 100], [0, 100], color=FAINT, lw=1, ls="--")
    for sure, right, n in seen.calibration:
        x, share = 100 * sure, wilson_interval(right, n)
        reach = [100 * value for value in (share.low, right, share.high)]
        axes.plot([x] * 3, reach, color=COLOURS[0], marker="o", ms=4, markevery=[1])
        axes.annotate(f"{n:,}", (x, 0), (3, 3), textcoords="offset points", rotation=90)
    axes.set(xlabel="Confidence (%)", ylabel="Accuracy (%)", xlim=(0, 102), ylim=(0, 102))
    return figure
