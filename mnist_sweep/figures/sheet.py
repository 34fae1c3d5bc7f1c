"""What stands around the axes of a figure: titles, legend, names, note; and the room for them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mnist_sweep.analysis.study import Study
from mnist_sweep.figures.style import BACKGROUND, DPI, FAINT, HEIGHT_INCHES, paper

_NOTE_CHARACTERS = 118
#: What titles take above the legend, less what two more rows of it take in a column.
_TITLES_INCHES = 0.3
#: A longer title is written smaller.
_TITLE_CHARACTERS = 64
#: The width of a character of the labels of axes, roughly.
_CHARACTER_INCHES = 0.085
#: Points of a legend's letters, on a screen and on paper.
_LEGEND_SIZE = (8.5, 7.0)


def footnote(study: Study, *sentences: str) -> str:
    """What stands at the foot of a figure: ``sentences`` and where its data is from, in lines."""
    return textwrap.fill(" ".join([*filter(None, sentences), study.origin]), _NOTE_CHARACTERS)


def new_figure(title: str, subtitle: str, note: str, height: float = HEIGHT_INCHES) -> Figure:
    """An empty figure with its texts in place, ``note`` (of any lines) at the bottom.

    Axes go in with ``frame``. For a paper there are no texts, nor the part of ``height`` (inches)
    that is theirs.
    """
    width, _ = rcParams["figure.figsize"]
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=BACKGROUND)
    if paper():
        figure.set_figheight(height - _TITLES_INCHES - 0.14 * (note.count("\n") + 1))
        return figure
    size = min(11.5, 11.5 * _TITLE_CHARACTERS / len(title))
    figure.text(0.025, 1 - 0.12 / height, title, size=size, weight="bold", va="top")
    figure.text(0.025, 1 - 0.36 / height, subtitle, size=8.5, color=FAINT, va="top")
    figure.text(0.025, 0.1 / height, note, size=7.5, color=FAINT, va="bottom", linespacing=1.25)
    return figure


def frame(
    figure: Figure, note: str, *, left: float = 0.85, legend: bool = True, above: float = 0.0
) -> dict[str, float]:
    """Margins for ``Figure.subplots(gridspec_kw=...)`` that keep clear of texts and ``legend``.

    ``left`` and, for what stands over the axes, ``above`` are in inches.
    """
    width, height = figure.get_size_inches()
    lines, titles = (0, _TITLES_INCHES) if paper() else (note.count("\n") + 1, 0.0)
    bottom, top = 0.68 + 0.14 * lines, above + (0.92 if legend else 0.68) - titles
    sides = {"left": left / width, "right": 1 - 0.25 / width}
    return sides | {"bottom": bottom / height, "top": 1 - top / height}


def panel_grid(
    figure: Figure, count: int, columns: int, grid: dict[str, float], shared: bool = True
) -> list[Axes]:
    """``count`` axes in rows of ``columns``; what has none below has labels, also if ``shared``."""
    size = -(-count // columns), columns
    axes = figure.subplots(*size, sharex=shared, sharey=shared, squeeze=False, gridspec_kw=grid)
    for place in range(count, axes.size):
        axes.flat[place].remove()
        axes.flat[place - columns].tick_params(labelbottom=True)
    return list(axes.flat[:count])


def name_axes(figure: Figure, margins: Mapping[str, float], x: str, y: str) -> None:
    """Name the axes of all panels within ``margins`` once, in the middle below and left of them."""
    low, high = margins["bottom"], margins["top"]
    # It may be a little longer than the panels are high.
    room = (high - low) * figure.get_figheight() + 0.5
    size = rcParams["font.size"] * min(1.0, room / (len(y) * _CHARACTER_INCHES))
    left = 0.12 / figure.get_figwidth()
    figure.text(left, (low + high) / 2, y, rotation=90, va="center", size=size)
    centre = (margins["left"] + margins["right"]) / 2
    figure.text(centre, low - 0.46 / figure.get_figheight(), x, ha="center", va="center")


def _columns(figure: Figure, left: float, size: float, labels: Sequence[str]) -> int:
    """How many columns of legend entries fit beside what takes ``left`` inches."""
    entries = [0.45 + 0.0078 * size * len(label) for label in labels]

    def fits(columns: int) -> bool:
        rows = -(-len(entries) // columns)
        widest = [max(entries[i : i + rows]) for i in range(0, len(entries), rows)]
        return bool(left + sum(widest) <= figure.get_size_inches()[0])

    return next((n for n in range(len(entries), 1, -1) if fits(n)), 1)


def legend_excess(figure: Figure, labels: Sequence[str]) -> float:
    """Inches that a legend of ``labels`` takes below the two rows that ``frame`` has room for."""
    size = _LEGEND_SIZE[paper()]
    rows = math.ceil(len(labels) / _columns(figure, 0.025 * figure.get_figwidth(), size, labels))
    return max(rows - 2, 0) * size / 44


def add_legend(figure: Figure, handles: Sequence[Artist], title: str = "") -> None:
    """Legend entries under the subtitle, left-aligned with it, in one row if they fit."""
    width, height = figure.get_size_inches()
    size, top = _LEGEND_SIZE[paper()], 0.06 if paper() else 0.55
    if title:
        figure.text(0.025, 1 - (top + 0.035) / height, f"{title}:", size=size, va="top")
    # The legend cannot know how wide the text before it is; this is a wide letter's share.
    left = 0.025 * width + (0.035 + 0.009 * size * len(title) if title else 0.0)
    columns = _columns(figure, left, size, [str(handle.get_label()) for handle in handles])
    place = {"loc": "upper left", "bbox_to_anchor": (left / width, 1 - top / height)}
    gaps = {"borderpad": 0.2, "borderaxespad": 0, "columnspacing": 1.3, "handletextpad": 0.5}
    length = 1.7 if paper() else 2.2
    look: dict[str, Any] = {**place, **gaps, "frameon": False, "fontsize": size}
    figure.legend(handles=list(handles), ncols=columns, handlelength=length, **look)
