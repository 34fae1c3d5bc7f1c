"""The chart of importance: what share of the variance each hyperparameter and pair explains."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.transforms import blended_transform_factory

from mnist_sweep.analysis.best_tenth import best_tenth
from mnist_sweep.analysis.effects import Effect, Importance, percent
from mnist_sweep.analysis.study import Study
from mnist_sweep.figures.sheet import add_legend, footnote, frame, new_figure
from mnist_sweep.figures.style import BACKGROUND, COLOURS, FAINT, HEIGHT_INCHES, INK, WIDTH_INCHES
from mnist_sweep.labels import assignment, assignments, count, parameter_name, value_texts

#: Effects of one grid that get a row of their own; the smaller ones share one.
MAX_EFFECTS = 10
_LEFT, _RIGHT, _ROW, _ABOVE_HEADING = 1.9, 2.0, 0.225, 0.4
#: A longer name is written smaller.
_NAME_CHARACTERS = 26
_HEADING_CHARACTERS = 112

#: Verdict -> label, colour of the edge, colour of the face.
_VERDICTS = {
    "real": ("certain", COLOURS[0], COLOURS[0]),
    "unclear": ("unclear", COLOURS[0], BACKGROUND),
    "none": ("no difference beyond noise", FAINT, BACKGROUND),
}
_REST = ("#b9b9b5", "#b9b9b5")
_HOW = {
    "grid": "Exact functional ANOVA; noise taken out of every effect.",
    "scattered": "Additive model of groups of values; noise: all that it does not explain.",
}


class _Row(NamedTuple):
    """A bar; without a ``share`` a heading."""

    name: str
    share: float | None = None
    interval: tuple[float, float] | None = None
    colours: tuple[str, str] = _REST
    text: str = ""


# It has too many words for one column of a paper.
@rc_context({"figure.figsize": (WIDTH_INCHES, HEIGHT_INCHES)})
def importance_chart(parts: Sequence[Importance], study: Study) -> Figure:
    """Shares with their intervals, a group of bars for each of ``parts``."""
    scattered = parts[0].kind == "scattered"
    one_seed = not scattered and any(part.seeds == 1 for part in parts)
    entrances = _entrance_rows(study)
    note = footnote(
        study,
        f"Share of the variance of one trial's {study.metric.label}.",
        _HOW[parts[0].kind],
        "With one seed, the rest is seeds and all interactions that are not shown." * one_seed,
        "Certain: after Holm's correction for all effects.",
        *(_carrier_text(part, study) for part in parts),
        "Best tenth: how far its values differ from all (Pearson divergence, less chance)."
        * bool(entrances),
    )
    whose = "each parameter" if scattered else "each parameter, and each pair,"
    rows = [row for part in parts for row in _rows(part, study)] + entrances
    headings = sum(row.share is None for row in rows)
    # The first heading has no room above it.
    in_rows = len(rows) + _ABOVE_HEADING * (headings - 1)
    figure = new_figure(
        f"What {study.metric.label} depends on",
        f"Share of the variance that {whose} explains; line: 95 % interval",
        note,
        height=1.75 + 0.14 * note.count("\n") + _ROW * in_rows,
    )
    margins = frame(figure, note, left=_LEFT)
    margins["right"] = 1 - _RIGHT / WIDTH_INCHES
    axes = figure.subplots(gridspec_kw=margins)
    _draw(axes, rows)
    verdicts = {effect.verdict for part in parts for effect in part.effects}
    there = [_VERDICTS[verdict] for verdict in _VERDICTS if verdict in verdicts]
    add_legend(figure, [Patch(ec=edge, fc=face, lw=1.2, label=text) for text, edge, face in there])
    return figure


def _rows(part: Importance, study: Study) -> list[_Row]:
    rows = [_Row(_heading(part, study))]
    effects = part.effects if len(part.effects) <= MAX_EFFECTS + 1 else part.effects[:MAX_EFFECTS]
    rows += [_effect_row(effect) for effect in effects]
    others = part.effects[len(effects) :]
    if others:
        share = sum(effect.share for effect in others)
        rows.append(_Row(f"{len(others)} others", share, text=f"{percent(share)} together"))
    if part.higher is not None:
        rows.append(_Row("three or more", part.higher, text=percent(part.higher)))
    rest = "noise" if part.seeds > 1 or part.kind == "scattered" else "rest"
    return [*rows, _Row(rest, part.noise, text=percent(part.noise))]


def _entrance_rows(study: Study) -> list[_Row]:
    """What gets a configuration into the best tenth, beside what moves the metric."""
    entrances = best_tenth(study.configurations, study.metric)
    if not entrances:
        return []
    rows = [_Row("What gets a configuration into the best tenth; which values it has most often")]
    for entrance in entrances[:MAX_EFFECTS]:
        texts = value_texts(entrance.usual, entrance.name)
        usual = texts[0] if len(texts) == 1 else f"{texts[0]} to {texts[-1]}"
        text = f"{usual}: {percent(entrance.among_best)}, of all {percent(entrance.among_all)}"
        rows.append(_Row(parameter_name(entrance.name), entrance.share, text=text))
    return rows


def _carrier_text(part: Importance, study: Study) -> str:
    """Which trial an effect hangs on, in a sentence; empty where there is none."""
    carrier = part.carrier
    if carrier is None:
        return ""
    effect = " x ".join(parameter_name(name) for name in carrier.fields)
    trial = f"{assignments(carrier.settings)}, seed {carrier.seed}"
    shares = f"{percent(carrier.without)} instead of {percent(carrier.share)}"
    value = study.metric.text(carrier.value)
    return f"One trial changes this: {trial}, {value}; without it {effect} has {shares}."


def _heading(part: Importance, study: Study) -> str:
    """What went in, and what of the study did not."""
    total = len(study.measured)
    of_all = f" of {total:,}" if part.configurations < total else ""
    text = f"{part.configurations:,}{of_all} configurations, {count(part.seeds, 'seed')}"
    given = [(name, value) for name in part.levels for value in study.varying[name]]
    missing = [assignment(name, v) for name, v in given if v not in part.levels[name]]
    text += f"; without {', '.join(missing)}" if missing else ""
    text += f"; all with {fixed}" if (fixed := assignments(part.fixed)) else ""
    return textwrap.shorten(text, _HEADING_CHARACTERS, placeholder=" ...")


def _effect_row(effect: Effect) -> _Row:
    _, edge, face = _VERDICTS[effect.verdict]
    name = " x ".join(parameter_name(name) for name in effect.fields)
    if effect.verdict == "none":
        text = f"no difference (at most {percent(effect.high)})"
    elif effect.low == 0:
        text = f"unclear (at most {percent(effect.high)})"
    else:
        text = f"{percent(effect.share)} ({effect.interval_text})"
    return _Row(name, effect.share, (effect.low, effect.high), (edge, face), text)


def _draw(axes: Axes, rows: Sequence[_Row]) -> None:
    across = blended_transform_factory(axes.figure.dpi_scale_trans, axes.transData)
    beside: dict[str, Any] = {"transform": across, "va": "center"}
    left, right = _LEFT - 0.1, WIDTH_INCHES - _RIGHT + 0.1
    y = 0.0
    for row in rows:
        if row.share is None:
            y -= _ABOVE_HEADING if y else 0
            # Over the axis and the grid, which begin anew below it.
            box = {"fc": BACKGROUND, "ec": "none", "pad": 1.5}
            axes.text(0.175, y, row.name, size=8, color=FAINT, bbox=box, **beside)
        else:
            edge, face = row.colours
            axes.barh(y, 100 * row.share, 0.62, ec=edge, fc=face, lw=1.2)
            if row.interval:
                ends = [100 * end for end in row.interval]
                axes.plot(ends, [y, y], color=INK, lw=1.1, solid_capstyle="butt")
            size = min(8.5, 8.5 * _NAME_CHARACTERS / len(row.name))
            axes.text(left, y, row.name, ha="right", size=size, **beside)
            axes.text(right, y, row.text, size=8, color=FAINT, **beside)
        y -= 1
    axes.set(xlim=(0, 100), xlabel="Share (%)", yticks=[], ylim=(y + 0.5, 0.6))
