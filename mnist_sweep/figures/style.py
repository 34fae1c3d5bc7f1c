"""The look of every figure: sizes, colours, letters."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import matplotlib.style
from matplotlib import rcParams
from matplotlib.figure import Figure

Format = Literal["png", "svg", "pdf"]
#: "paper": as wide as a column, without title and notes, which a paper has in its caption.
Style = Literal["screen", "paper"]

WIDTH_INCHES, HEIGHT_INCHES, DPI = 7.0, 4.3, 200
BACKGROUND, INK, FAINT, GRID = "#fdfdfc", "#222222", "#5f5f5f", "#e3e3e0"

#: Okabe and Ito's palette, which colour-blind readers can tell apart, less its yellow (too pale).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))

_RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": BACKGROUND,
    "axes.titlesize": 8.5,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 9),
    # The name of a file or a folder may hold dollar signs.
    "text.parse_math": False,
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.figsize": (WIDTH_INCHES, HEIGHT_INCHES),
    "svg.hashsalt": "mnist-sweep",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
_PAPER_RC: dict[str, Any] = {
    "figure.figsize": (3.3, HEIGHT_INCHES),
    "font.size": 8,
    "axes.titlesize": 7,
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 7),
    # Searched, copied and set in the paper's own size by whoever typesets it.
    "svg.fonttype": "none",
}


@contextmanager
def styled(style: Style = "screen") -> Iterator[None]:
    """matplotlib's own defaults plus this look, whatever the user's settings.

    Of all characters that the font lacks there is one warning, at the end.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", r"Glyph \d+ ")
        look = _RC | (_PAPER_RC if style == "paper" else {})
        with matplotlib.style.context(["default", look]):
            yield
    glyphs = [re.match(r"Glyph (\d+) ", str(warning.message)) for warning in caught]
    if letters := "".join(dict.fromkeys(chr(int(glyph[1])) for glyph in glyphs if glyph)):
        warnings.warn(f"the figures have boxes for {letters}: their font lacks them", stacklevel=3)


def paper() -> bool:
    """Whether figures are for a paper: only there the text of an SVG is text."""
    return bool(rcParams["svg.fonttype"] == "none")


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
