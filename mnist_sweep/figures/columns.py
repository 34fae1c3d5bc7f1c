"""Columns of text in a figure: which configuration each row is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.transforms import blended_transform_factory

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.figures.style import FAINT
from mnist_sweep.labels import short_name, value_texts

_CHARACTER_INCHES, _GAP_INCHES = 0.078, 0.16


class Columns:
    """A numbered row for each of ``configurations``: its ``fields``, and columns ``more``.

    Written from the left edge of the figure. Row i stands at y = -i of an axes, the names above the
    first. All is written smaller where it would be wider than ``most`` inches; ``inches`` is the
    width that it takes.
    """

    #: Inches from the edge to the first column: the numbers of the rows are before it.
    LEFT = 0.5

    def __init__(
        self,
        configurations: Sequence[Configuration],
        fields: Iterable[str],
        most: float,
        more: Sequence[tuple[str, list[str]]] = (),
    ) -> None:
        given = {name: [getattr(c.config, name) for c in configurations] for name in fields}
        self.columns = [(short_name(n), value_texts(v, n)) for n, v in given.items()] + [*more]
        self.rows = len(configurations)
        wanted = sum(self._inches(*column) for column in self.columns)
        self.shrink = min(1.0, most / wanted) if wanted else 1.0
        self.inches = self.shrink * wanted

    @staticmethod
    def _inches(name: str, texts: Sequence[str]) -> float:
        return _CHARACTER_INCHES * max(map(len, [name, *texts])) + _GAP_INCHES

    def write(self, axes: Axes, above: float = 0.75) -> None:
        """Write the rows beside ``axes``, the names ``above`` the middle of the first, in rows."""
        across = blended_transform_factory(axes.figure.dpi_scale_trans, axes.transData)
        look: dict[str, Any] = {"transform": across, "va": "center"}
        for row in range(self.rows):
            axes.text(0.32, -row, str(row + 1), ha="right", color=FAINT, **look)
        left = self.LEFT
        for name, texts in self.columns:
            axes.text(left, above, name, size=8.5 * self.shrink, color=FAINT, **look)
            for row, text in enumerate(texts):
                axes.text(left, -row, text, size=9 * self.shrink, **look)
            left += self.shrink * self._inches(name, texts)
