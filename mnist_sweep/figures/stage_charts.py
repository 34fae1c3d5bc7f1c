"""Charts of a search that goes in stages: what it found for its work, and whom it dropped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from statistics import median

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.tracks import Track
from mnist_sweep.figures.scales import MetricScale
from mnist_sweep.figures.style import (
    FAINT,
    add_legend,
    footnote,
    frame,
    new_figure,
    series_style,
)
from mnist_sweep.labels import capital, count, describe, stage_text
from mnist_sweep.plan import flops

#: How many of those that see the last round are named.
_IN_COLOUR = 4


def best_so_far(study: Study) -> Figure:
    """Each trial of the search of which ``study`` is the last stage, and the best ones on the way.

    Stages measure different things, so that each has a best of its own.
    """
    metric = study.metric
    rows = [(row, place) for place, stage in enumerate(study.stages) for row in stage.results]
    spent = list(accumulate(flops([row.trial]) / 1e12 for row, _ in rows))
    points = [
        (work, value, place)
        for work, (row, place) in zip(spent, rows, strict=True)
        if (value := getattr(row, metric.name)) is not None
    ]
    values = [value for _, value, _ in points]
    middle = median(values)
    scale = MetricScale.fit(metric, [v for v in values if metric.sign * (v - middle) >= 0])
    below = sum(scale(value) < scale.low for value in values)
    note = footnote(
        study,
        "Work: matrix products of training. Stages measure different things: more epochs, other "
        "seeds.",
        f"Worse, below the frame: {below:,}." * (below > 0),
    )
    figure = new_figure(
        f"Best {metric.label} so far against the work spent",
        "Each point a trial; lines: the best so far of each stage",
        note,
    )
    axes = figure.subplots(gridspec_kw=frame(figure, note))
    handles = []
    for place, stage in enumerate(study.stages):
        style = series_style(place) | {"linestyle": "-"}
        own = [(work, value) for work, value, of in points if of == place]
        ends = [work for work, (_, of) in zip(spent, rows, strict=True) if of == place]
        axes.axvline(ends[-1], color=FAINT, lw=0.8, ls=":")
        best = list(accumulate((value for _, value in own), lambda a, b: metric.best([a, b])))
        works = [work for work, _ in own]
        axes.plot(works, [scale(v) for _, v in own], alpha=0.5, ms=4, mew=0,
                  **style | {"linestyle": ""})  # fmt: skip
        axes.plot([*works, ends[-1]], [scale(v) for v in [*best, best[-1]]],
                  color=style["color"], lw=1.6, drawstyle="steps-post")  # fmt: skip
        label = f"{stage_text(stage.results[0].stage)} ({count(len(stage.results), 'trial')})"
        handles.append(Line2D([], [], lw=1.6, ms=4, label=label, **style))
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlim(0)
    axes.set_xlabel("Work spent (TFLOP)")
    scale.apply(axes, metric.label)
    add_legend(figure, handles)
    return figure


def dropped(rounds: Sequence[tuple[str, int]], tracks: Sequence[Track], study: Study) -> Figure:
    """The ``tracks`` of configurations through ``rounds``, the last ones in colour."""
    metric = study.metric
    end = len(rounds) - 1
    left = [track for track in tracks if end in track.means][:_IN_COLOUR]
    further = [track for track in tracks if max(track.means) > 0]
    scale = MetricScale.fit(metric, [v for track in further for v in track.means.values()])
    first = [track.means[0] for track in tracks if 0 in track.means]
    below = sum(scale(value) < scale.low for value in first)
    common = (study.stages or [study])[0].common_text(track.last for track in left)
    note = footnote(
        study,
        "A line ends where its configuration was dropped, or had no further seed.",
        f"Worse, below the frame: {below:,} of {len(first):,} in the first round." * (below > 0),
        f"In colour: {common}." if common else "",
    )
    figure = new_figure(
        f"{capital(metric.label)} of {count(len(tracks), 'configuration')}, round by round",
        f"Mean of the seeds so far; in colour: {len(left):,} that saw the last round",
        note,
    )
    axes = figure.subplots(gridspec_kw=frame(figure, note))
    for track in tracks[::-1]:
        places, values = zip(*sorted(track.means.items()), strict=True)
        heights = [scale(value) for value in values]
        if track in left:
            axes.plot(places, heights, lw=1.8, ms=5, **series_style(left.index(track)))
        else:
            axes.plot(places, heights, color=FAINT, lw=0.8, alpha=0.6)
            if places[-1] < end:
                axes.plot(places[-1:], heights[-1:], "x", color=FAINT, ms=4, alpha=0.6)
    several = {stage for stage, seeds in rounds if seeds > 1}
    axes.set_xticks(
        range(len(rounds)),
        [
            stage_text(stage) + f"\n{count(seeds, 'seed')}" * (stage in several)
            for stage, seeds in rounds
        ],
    )
    axes.set_xlim(-0.3, end + 0.3)
    scale.apply(axes, metric.label)
    axes.set_ylim(scale.low, scale.high)
    shown = [track.last.config for track in left]
    handles = [
        Line2D([], [], lw=1.8, ms=5, label=describe(config, study.varying) or "the winner",
               **series_style(place))
        for place, config in enumerate(shown)
    ]  # fmt: skip
    add_legend(figure, handles)
    return figure
