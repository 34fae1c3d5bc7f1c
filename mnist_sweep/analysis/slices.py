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
from itertools import chain, combinations, pairwise
from statistics import fmean, pstdev, pvariance
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
    """What one point of a figure shows.

    With one setting of the other parameters: ``centre`` is the mean over seeds, ``worse`` and
    ``better`` are the ends of its 95 % interval, ``points`` the seeds. With several: median,
    quartiles, and the settings' means, where a setting that diverged counts as the worst.
    ``centre`` is None where nothing (or, pooled, not even half) finished. ``diverged`` counts
    trials.
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
        diverged = sum(c.diverged for c in members)
        if self.settings == 1:
            (only,) = members
            interval = only.interval(metric)
            ends = [interval.low, interval.high] if interval else [None, None]
            worse, better = ends[:: metric.sign]
            return Cell(only.values(metric), only.mean(metric), worse, better, diverged, members)
        points = [mean for c in members if (mean := c.mean(metric)) is not None]
        if self.settings == 0:
            return Cell(points, None, None, None, diverged, members)
        worst_first = sorted(points, reverse=not metric.is_accuracy)
        worse, centre, better = _quartiles(worst_first, len(members))
        return Cell(points, centre, worse, better, diverged, members)


def _quartiles(worst_first: Sequence[float], n: int) -> list[float | None]:
    """The quartiles of ``n`` values of which the worst, before ``worst_first``, are unknown."""
    known: list[float | None] = [*[None] * (n - len(worst_first)), *worst_first]
    worse, lower, better = (known[math.ceil(q * n) - 1] for q in (0.25, 0.5, 0.75))
    upper = known[n // 2]
    # The median of an even number is between the middle two.
    centre = None if lower is None or upper is None else (lower + upper) / 2
    return [worse, centre, better]


def parameter_slices(configurations: Sequence[Configuration]) -> list[Slice]:
    """The slices that show each varying parameter, in the order of HPConfig's fields.

    Every number crossed with every name (lr x opt); what is left is paired with whatever it is
    crossed with, else shown alone.
    """
    usable = _usable(configurations)
    varying = list(varying_values(usable))
    named = [name for name in varying if _is_name(usable, name)]
    slices = [
        crossed
        for x in varying
        if x not in named
        for line in named
        if (crossed := crossing(usable, x, line))
    ]
    covered = {name for crossed in slices for name in (crossed.x, crossed.line)}
    for name in varying:
        if name not in covered:
            slices.append(_paired(usable, name, varying) or single(usable, name))
            covered |= {slices[-1].x, slices[-1].line}
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

    Where one explains more than half of the spread within the cells, the median of a cell may be
    where no trial is, and its quartiles show that hyperparameter instead of any uncertainty.
    """
    if shown.settings < 2:
        return [shown]
    common = _common(shown.configurations, FIELD_NAMES)
    others = [name for name in FIELD_NAMES if name not in (shown.x, shown.line, *common)]
    shares = {name: _share(shown, name, metric) for name in others}
    divider = max(shares, key=lambda name: shares[name])
    if shares[divider] <= DIVIDES:
        return [shown]
    parts: dict[Any, dict[Any, list[Configuration]]] = {}
    for key, cell in shown.cells.items():
        for c in cell:
            value = getattr(c.config, divider)
            parts.setdefault(value, {}).setdefault(key, []).append(c)
    # A lone setting beside pooled ones is drawn as they are.
    settings = max(len(cell) for cells in parts.values() for cell in cells.values())
    found = [
        Slice(shown.x, shown.line, settings, {key: tuple(cell) for key, cell in cells.items()})
        for _, cells in sorted(parts.items(), key=lambda part: in_order(part[0]))
    ]
    return [
        replace(part, fixed={**shown.fixed, **_common(part.configurations, others)})
        for part in found
    ]


def _share(shown: Slice, name: str, metric: Metric) -> float:
    """The share of the variance within cells that is between values of ``name``.

    0 for one that has too many values for panels.
    """
    within = total = 0.0
    for cell in shown.cells.values():
        groups: dict[Any, list[float]] = {}
        for c in cell:
            groups.setdefault(getattr(c.config, name), []).append(_error(c, metric))
        if len(groups) > MAX_LINES:
            return 0.0
        every = list(chain.from_iterable(groups.values()))
        within += sum(len(group) * pvariance(group) for group in groups.values())
        total += len(every) * pvariance(every)
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
    slices: list[Slice] = []
    for other in varying:
        if other == name:
            continue
        counts = {n: len({getattr(c.config, n) for c in usable}) for n in (name, other)}
        x, line = sorted(counts, key=lambda n: (_is_name(usable, n), -counts[n]))
        if crossed := crossing(usable, x, line):
            slices.append(crossed)
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

    So it is where other settings have other values, as in a random search. All of them are by a
    second parameter, too, where there is a name with few values.
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
        key = getattr(c.config, x), getattr(c.config, line) if line else None
        cells[key] = (*cells.get(key, ()), c)
    return Slice(x, line, 0, cells)


def _slice(usable: Sequence[Configuration], x: str, line: str | None) -> Slice | None:
    others = [n for n in varying_values(usable) if n not in (x, line)]
    settings: dict[tuple[Any, ...], dict[tuple[Any, Any], Configuration]] = {}
    for c in usable:
        key = getattr(c.config, x), getattr(c.config, line) if line else None
        if key[0] is not None and (line is None or key[1] is not None):
            setting = tuple(getattr(c.config, n) for n in others)
            settings.setdefault(setting, {})[key] = c
    if not settings:
        return None
    most = max(len(cells) for cells in settings.values())
    # Of several largest sets of cells, the one that most settings have.
    wanted = Counter(frozenset(cells) for cells in settings.values() if len(cells) == most)
    keys = wanted.most_common(1)[0][0]
    chosen = {setting: cells for setting, cells in settings.items() if cells.keys() >= keys}
    cells = {key: tuple(cells[key] for cells in chosen.values()) for key in keys}
    found = Slice(x, line, len(chosen), cells)
    return replace(found, fixed=_common(found.configurations, others))


def _common(configurations: Sequence[Configuration], names: Sequence[str]) -> dict[str, Any]:
    """Those of ``names`` that have the same value everywhere, with it."""
    values = {name: {getattr(c.config, name) for c in configurations} for name in names}
    return {name: next(iter(found)) for name, found in values.items() if len(found) == 1}


def log_spaced(values: Sequence[Any]) -> bool:
    """Whether numbers call for a log axis: their ratios are more even than their differences."""
    if any(isinstance(v, str) or v <= 0 for v in values) or len(values) < 2:
        return False
    ordered = sorted(values)
    if ordered[-1] / ordered[0] < 4:
        return False
    if len(ordered) == 2:
        return True
    differences = [b - a for a, b in pairwise(ordered)]
    ratios = [math.log(b / a) for a, b in pairwise(ordered)]
    return _unevenness(ratios) < _unevenness(differences)


def _unevenness(steps: Sequence[float]) -> float:
    return pstdev(steps) / fmean(steps)
