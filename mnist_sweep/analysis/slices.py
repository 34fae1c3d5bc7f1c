"""Which results belong in one figure: slices of the search space that compare like with like.

A sweep may be one full grid, several small grids around one base, or random points. To show the
effect of one or two parameters, a slice takes configurations that are equal in all the others
(a *setting* of the others): the setting that has the most of the wanted values. In a full grid
every setting has them all; then all such settings are pooled, each cell over the same settings,
unless one of the pooled hyperparameters decides where in its cell a setting is: see ``panels``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, product
from statistics import fmean, pvariance
from typing import Any

import numpy as np

from mnist_sweep.analysis.configurations import Configuration, varying_values
from mnist_sweep.config import FIELD_NAMES, in_order
from mnist_sweep.metrics import Metric

#: More lines than this in one panel cannot be told apart.
MAX_LINES = 6
#: More rows or columns than this in a heat map cannot be read.
MAX_LEVELS = 12
#: Share of the cells of two crossed parameters that must be there to draw them together.
NEARLY_FULL = 0.8
#: A pooled hyperparameter that explains more than this share of the spread within the cells divides
#: them: two equal normal distributions have two humps from there on, with the median in between.
DIVIDES = 0.5


@dataclass(frozen=True)
class Cell:
    """What one point of a figure shows; ``diverged`` counts trials.

    With one setting of the other parameters: ``centre`` is the mean over seeds, ``worse`` and
    ``better`` are the ends of its 95 % interval, ``points`` the seeds. With several: median,
    quartiles, and the settings' means, where a setting that diverged counts as the worst. None
    where nothing (or, pooled, not even half) finished.
    """

    points: list[float]
    centre: float | None
    worse: float | None
    better: float | None
    diverged: int
    configurations: tuple[Configuration, ...]


@dataclass(frozen=True)
class Slice:
    """Configurations by ``x`` and, unless it is None, by ``line``.

    ``cells`` maps (x value, line value or None) to one configuration per setting of the other
    parameters, of which ``settings`` are pooled; ``fixed`` holds the values that they have in
    common. ``settings`` is 0 where no setting has enough values of ``x``, as in a random search:
    each cell then holds whatever has that value.
    """

    x: str
    line: str | None
    settings: int
    cells: Mapping[tuple[Any, Any], tuple[Configuration, ...]]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def configurations(self) -> list[Configuration]:
        """All that it shows."""
        return [configuration for cell in self.cells.values() for configuration in cell]

    @property
    def x_values(self) -> list[Any]:
        """The values of ``x``, ascending."""
        return sorted({x for x, _ in self.cells}, key=in_order)

    @property
    def line_values(self) -> list[Any]:
        """The values of ``line``, ascending; [None] without one."""
        return sorted({line for _, line in self.cells}, key=in_order)

    def cell(self, x: Any, line: Any, metric: Metric) -> Cell | None:
        """What to show at (``x``, ``line``); None where there is no trial."""
        members = self.cells.get((x, line), ())
        if not members:
            return None
        points = [mean for c in members if (mean := c.mean(metric)) is not None]
        worse, centre, better = None, None, None
        if self.settings == 1:
            (only,) = members
            points, centre = only.values(metric), only.mean(metric)
            if interval := only.interval(metric):
                worse, better = [interval.low, interval.high][:: metric.sign]
        elif self.settings:
            # What has no mean is worse than all that have.
            values = points + [-math.inf * metric.sign] * (len(members) - len(points))
            worse, centre, better = _quartiles(sorted(values)[:: metric.sign])
        return Cell(points, centre, worse, better, sum(c.diverged for c in members), members)


def _quartiles(ordered: Sequence[float]) -> list[float | None]:
    """The quartiles of ``ordered`` values; None for one that is not finite."""
    n = len(ordered)
    # The median of an even number is between the middle two.
    median = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    quartiles = ordered[math.ceil(n / 4) - 1], median, ordered[math.ceil(3 * n / 4) - 1]
    return [value if math.isfinite(value) else None for value in quartiles]


def parameter_slices(configurations: Sequence[Configuration]) -> list[Slice]:
    """The slices that show each varying parameter, in the order of HPConfig's fields.

    Every number crossed with every name (lr x opt); what is left is paired with whatever it is
    crossed with, else shown alone.
    """
    usable = _usable(configurations)
    varying = list(varying_values(usable))
    numbers = [name for name in varying if not _is_name(usable, name)]
    pairs = product(numbers, [name for name in varying if name not in numbers])
    slices = [found for x, line in pairs if (found := crossing(usable, x, line))]
    for name in varying:
        if not any(name in (shown.x, shown.line) for shown in slices):
            slices.append(_paired(usable, name, varying) or single(usable, name))
    return sorted(slices, key=lambda s: (varying.index(s.x), varying.index(s.line or s.x)))


def crossed_pairs(configurations: Sequence[Configuration], metric: Metric) -> list[Slice]:
    """The slices of all pairs of parameters that are crossed, those that interact most first.

    The interaction is what the means of the cells have beyond the sum of two effects, squared.
    """
    usable = _usable(configurations)
    pairs: list[tuple[float, Slice]] = []
    for pair in combinations(varying_values(usable), 2):
        x, line = sorted(pair, key=lambda name: _is_name(usable, name))
        if crossed := crossing(usable, x, line, MAX_LEVELS):
            means = np.full((len(crossed.x_values), len(crossed.line_values)), np.nan)
            for (a, b), cell in crossed.cells.items():
                place = crossed.x_values.index(a), crossed.line_values.index(b)
                means[place] = fmean(_error(c, metric) for c in cell)
            rest = means - np.nanmean(means, axis=1, keepdims=True)
            rest -= np.nanmean(rest, axis=0)
            pairs.append((float(np.nanmean(rest**2)), crossed))
    return [crossed for _, crossed in sorted(pairs, key=lambda pair: -pair[0])]


def panels(shown: Slice, metric: Metric) -> list[Slice]:
    """``shown``, or a slice for each value of the pooled hyperparameter that divides its cells.

    Where one does, the median of a cell may be where no trial is, and its quartiles show that
    hyperparameter instead of any uncertainty.
    """
    if shown.settings < 2:
        return [shown]
    common = _common(shown.configurations, FIELD_NAMES)
    others = [name for name in FIELD_NAMES if name not in (shown.x, shown.line, *common)]
    shares = {name: _share(shown, name, metric) for name in others}
    divider = max(shares, key=lambda name: shares[name])
    if shares[divider] <= DIVIDES:
        return [shown]
    parts: dict[Any, dict[Any, tuple[Configuration, ...]]] = {}
    for key, cell in shown.cells.items():
        for c in cell:
            cells = parts.setdefault(getattr(c.config, divider), {})
            cells[key] = (*cells.get(key, ()), c)
    # A lone setting beside pooled ones is drawn as they are.
    settings = max(len(cell) for cells in parts.values() for cell in cells.values())
    found = [replace(shown, settings=settings, cells=parts[v]) for v in sorted(parts, key=in_order)]
    return [
        replace(part, fixed={**shown.fixed, **_common(part.configurations, others)})
        for part in found
    ]


def _share(shown: Slice, name: str, metric: Metric) -> float:
    """The share of the variance within cells that is between values of ``name``; 0 for too many."""
    within = total = 0.0
    for cell in shown.cells.values():
        groups: dict[Any, list[float]] = {}
        for c in cell:
            groups.setdefault(getattr(c.config, name), []).append(_error(c, metric))
        if len(groups) > MAX_LINES:
            return 0.0
        within += sum(len(group) * pvariance(group) for group in groups.values())
        total += len(cell) * pvariance([*chain(*groups.values())])
    return 1 - within / total if total else 0.0


def _error(configuration: Configuration, metric: Metric) -> float:
    """The error of the mean; of what diverged that of knowing nothing of ten classes, or more."""
    mean = configuration.mean(metric)
    return metric.error(mean) if mean is not None else 1.0 if metric.is_accuracy else math.log(10)


def _usable(configurations: Sequence[Configuration]) -> list[Configuration]:
    return [c for c in configurations if c.results or c.diverged]


def _is_name(configurations: Sequence[Configuration], name: str) -> bool:
    return any(isinstance(getattr(c.config, name), str) for c in configurations)


def _paired(usable: list[Configuration], name: str, varying: list[str]) -> Slice | None:
    """The largest crossing of ``name`` with another parameter; more values go along x."""
    counts = {n: len({getattr(c.config, n) for c in usable}) for n in varying}
    pairs = (
        sorted((name, other), key=lambda n: (_is_name(usable, n), -counts[n]))
        for other in varying
        if other != name
    )
    slices = [found for x, line in pairs if (found := crossing(usable, x, line))]
    return max(slices, key=lambda s: len(s.cells), default=None)


def crossing(
    configurations: Sequence[Configuration], x: str, line: str, most: int | None = None
) -> Slice | None:
    """The slice by ``x`` and ``line`` where they are crossed, fully or nearly, else None.

    ``most`` is how many values either may have; by default MAX_LINES of ``line``.
    """
    crossed = _slice(_usable(configurations), x, line)
    if crossed is None:
        return None
    xs, lines = crossed.x_values, crossed.line_values
    per_line = Counter(value for _, value in crossed.cells)
    full = len(crossed.cells) >= NEARLY_FULL * len(xs) * len(lines)
    fits = len(lines) <= (most or MAX_LINES) and len(xs) <= (most or len(xs))
    wide = len(xs) >= 2 and len(lines) >= 2 and min(per_line.values()) >= 2
    return crossed if full and wide and fits else None


def single(configurations: Sequence[Configuration], x: str) -> Slice:
    """The slice by ``x`` alone, or all configurations where one setting does not stand for them.

    As in a random search. All of them are by a second parameter, too, if a name has few values.
    """
    usable = [c for c in _usable(configurations) if getattr(c.config, x) is not None]
    alone = _slice(usable, x, None)
    if alone and len(alone.cells) >= 2:
        stood_for = sum((getattr(c.config, x), None) in alone.cells for c in usable)
        if stood_for >= NEARLY_FULL * len(usable):
            return alone
    varying = {} if _is_name(usable, x) else varying_values(usable)
    few = (n for n, values in varying.items() if len(values) <= MAX_LINES and _is_name(usable, n))
    line = next(few, None)
    cells: dict[tuple[Any, Any], tuple[Configuration, ...]] = {}
    for c in usable:
        key = _place(c, x, line)
        cells[key] = (*cells.get(key, ()), c)
    return Slice(x, line, 0, cells)


def _place(configuration: Configuration, x: str, line: str | None) -> tuple[Any, Any]:
    config = configuration.config
    return getattr(config, x), getattr(config, line) if line else None


def _slice(usable: Sequence[Configuration], x: str, line: str | None) -> Slice | None:
    others = [n for n in varying_values(usable) if n not in (x, line)]
    settings: dict[tuple[Any, ...], dict[tuple[Any, Any], Configuration]] = {}
    for c in usable:
        key = _place(c, x, line)
        if key[0] is not None and (line is None or key[1] is not None):
            setting = tuple(getattr(c.config, n) for n in others)
            settings.setdefault(setting, {})[key] = c
    if not settings:
        return None
    most = max(len(cells) for cells in settings.values())
    # Of several largest sets of cells, the one that most settings have.
    wanted = Counter(frozenset(cells) for cells in settings.values() if len(cells) == most)
    keys = wanted.most_common(1)[0][0]
    chosen = [cells for cells in settings.values() if cells.keys() >= keys]
    cells = {key: tuple(cells[key] for cells in chosen) for key in keys}
    found = Slice(x, line, len(chosen), cells)
    return replace(found, fixed=_common(found.configurations, others))


def _common(configurations: Sequence[Configuration], names: Sequence[str]) -> dict[str, Any]:
    """Those of ``names`` that have the same value everywhere, with it."""
    values = {name: {getattr(c.config, name) for c in configurations} for name in names}
    return {name: next(iter(found)) for name, found in values.items() if len(found) == 1}


def log_spaced(values: Sequence[Any]) -> bool:
    """Whether numbers call for a log axis: their ratios are more even than their differences."""
    if len(values) < 2 or any(isinstance(v, str) or v <= 0 for v in values):
        return False
    ordered = np.sort(values)
    if ordered[-1] < 4 * ordered[0]:
        return False
    differences, ratios = np.diff(ordered), np.diff(np.log(ordered))
    even = ratios.std() / ratios.mean() < differences.std() / differences.mean()
    return bool(even) or len(ordered) == 2
