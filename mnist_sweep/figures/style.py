"""The look of every figure: sizes, colours, frame, texts around the axes."""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mnist_sweep.analysis.study import Study

Format = Literal["png", "svg", "pdf"]

WIDTH_INCHES, HEIGHT_INCHES, DPI = 7.0, 4.3, 200
_NOTE_CHARACTERS = 126
BACKGROUND, INK, FAINT, GRID = "#fdfdfc", "#222222", "#5f5f5f", "#e3e3e0"

#: Okabe and Ito's palette, which colour-blind readers can tell apart, less its yellow (too pale).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": BACKGROUND,
    "axes.titlesize": 8.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "text.color": INK,
    # The name of a file or a folder may hold dollar signs.
    "text.parse_math": False,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "svg.hashsalt": "mnist-sweep",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """matplotlib's own defaults plus this look, whatever the user's settings.

    Of all characters that the font lacks there is one warning, at the end.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", r"Glyph \d+ ")
        with matplotlib.style.context(["default", _RC]):
            yield
    glyphs = [re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught]
    if letters := "".join(dict.fromkeys(chr(int(glyph[1])) for glyph in glyphs if glyph)):
        warnings.warn(f"the figures have boxes for {letters}: their font lacks them", stacklevel=3)


def footnote(study: Study, *sentences: str) -> str:
    """What stands at the foot of a figure: ``sentences`` and where its data is from, in lines."""
    return textwrap.fill(" ".join([*filter(None, sentences), study.origin]), _NOTE_CHARACTERS)


def new_figure(title: str, subtitle: str, note: str, height: float = HEIGHT_INCHES) -> Figure:
    """An empty figure, 7 inches wide, with its texts in place.

    ``title`` and ``subtitle`` stand at the top left, ``note`` (which may have several lines) at
    the bottom, footnote size. Axes go in with ``frame``.
    """
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    figure.text(0.025, 1 - 0.12 / height, title, size=11.5, weight="bold", va="top")
    figure.text(0.025, 1 - 0.36 / height, subtitle, size=8.5, color=FAINT, va="top")
    figure.text(0.025, 0.1 / height, note, size=7.5, color=FAINT, va="bottom", linespacing=1.25)
    return figure


def frame(
    figure: Figure, note: str, *, left: float = 0.85, legend: bool = True, above: float = 0.0
) -> dict[str, float]:
    """Margins for ``Figure.subplots(gridspec_kw=...)`` that keep clear of the texts.

    ``left`` and, for what stands over the axes, ``above`` are in inches; the bottom makes room for
    the axis label and the lines of ``note``, the top for the titles and a row of legend entries.
    """
    height = figure.get_figheight()
    lines = note.count("\n") + 1
    return {
        "left": left / WIDTH_INCHES,
        "right": 1 - 0.25 / WIDTH_INCHES,
        "bottom": (0.68 + 0.14 * lines) / height,
        "top": 1 - (above + (0.92 if legend else 0.68)) / height,
    }


def add_legend(figure: Figure, handles: Sequence[Line2D | Any], title: str = "") -> None:
    """One row of legend entries under the subtitle, left-aligned with it."""
    height = figure.get_figheight()
    if title:
        figure.text(0.025, 1 - 0.585 / height, f"{title}:", size=8.5, va="top")
    # The legend cannot know how wide the text before it is; 0.011 is a wide letter's share.
    figure.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.025 + (0.005 + 0.011 * len(title) if title else 0), 1 - 0.55 / height),
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        borderpad=0.2,
        columnspacing=1.3,
        handletextpad=0.5,
        handlelength=2.2,
        borderaxespad=0,
    )


def series_style(index: int, joined: bool = True) -> dict[str, Any]:
    """Colour, marker and dash of the line number ``index``, each distinct from the others'.

    Not ``joined``: without a line, for points that have no order.
    """
    i = index % len(COLOURS)
    return {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": DASHES[i] if joined else ""}


def save(figure: Figure, path: Path | BinaryIO, file_format: Format) -> None:
    """Write ``figure`` to a path or an open file, byte for byte the same each time: no dates."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    figure.savefig(path, format=file_format, metadata=metadata[file_format])
