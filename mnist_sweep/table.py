"""The ranking as a table for people."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from mnist_sweep.analysis import (
    METRICS,
    Comparison,
    Configuration,
    check_metric,
    choice_note,
    compare_with_best,
    configurations,
    default_metric,
    images_behind,
    rank,
    varying_fields,
)
from mnist_sweep.labels import short_name, value_text
from mnist_sweep.trial import TrialResult

WIDTH = 100
_MARKS = {"best": "", "tied": "=", "worse": "", "untested": "?"}


def format_top(results: Sequence[TrialResult], n: int = 8, metric: str | None = None) -> str:
    """The ``n`` best configurations by ``metric`` (default: ``default_metric``), best first.

    Aligned plain text, at most 100 columns wide unless a single cell is wider: rank, tie mark, the
    parameters that vary, mean and half of the 95 % interval in per cent, number of seeds, mean
    training time; below it what the interval is and on which set the choice was made. Raises
    UserError if ``metric`` cannot rank these results.
    """
    metric = metric or default_metric(results)
    check_metric(metric, results)
    everything = rank(configurations(results), metric)
    ranked = [c for c in everything if c.mean(metric) is not None]
    if not ranked:
        return _nothing(everything)
    compared = compare_with_best(ranked, metric)
    shown = compared[:n]
    settings = _setting_columns([c.configuration for c in shown], everything)
    values = _value_columns(shown, metric)
    marks = ["", *(_MARKS[c.verdict] for c in shown)]
    ranks = ["rank", *(str(i) for i, _ in enumerate(shown, 1))]
    lines = _layout([[ranks, marks], settings, values])
    left_out = len(everything) - len(ranked)
    return "\n".join([*lines, "", *_notes(compared, shown, metric, left_out)])


def _nothing(everything: Sequence[Configuration]) -> str:
    diverged = sum(c.diverged for c in everything)
    failed = sum(c.failed for c in everything)
    if not diverged + failed:
        return "no trial has finished yet; run the sweep first"
    return (
        f"no trial finished well: {diverged} diverged, {failed} failed; the column error of the "
        "results says why trials failed, and a lower lr helps those that diverged"
    )


def _setting_columns(
    shown: Sequence[Configuration], everything: Sequence[Configuration]
) -> list[list[str]]:
    columns = [
        [short_name(name), *(value_text(getattr(c.config, name)) for c in shown)]
        for name in varying_fields(c.config for c in everything)
    ]
    for name, texts in (
        ("model", [c.config.model for c in shown]),
        ("dataset", [c.dataset.label for c in shown]),
    ):
        of_all = {c.config.model if name == "model" else c.dataset.label for c in everything}
        if len(of_all) > 1 and name not in (column[0] for column in columns):
            columns.append([name, *texts])
    return columns


def _value_columns(shown: Sequence[Comparison], metric: str) -> list[list[str]]:
    found = [c.configuration for c in shown]
    header = METRICS[metric].label + ("" if metric == "train_loss" else " %")
    columns = [[header, *(_mean_text(c, metric) for c in found)]]
    if metric != "test_accuracy":
        columns.append(["test accuracy %", *(_mean_text(c, "test_accuracy") for c in found)])
    columns.append(["n", *(str(len(c.values(metric))) for c in found)])
    if any(c.diverged for c in found):
        columns.append(["diverged", *(str(c.diverged or "") for c in found)])
    seconds = [c.train_seconds for c in found]
    columns.append(["train s", *("-" if s is None else f"{s:.1f}" for s in seconds)])
    return columns


def _mean_text(configuration: Configuration, metric: str) -> str:
    mean, interval = configuration.mean(metric), configuration.interval(metric)
    if mean is None:
        return "-"
    scale, digits = (1, 4) if metric == "train_loss" else (100, 2)
    spread = f" ± {scale * interval.half_width:.{digits}f}" if interval else ""
    return f"{scale * mean:.{digits}f}{spread}"


def _layout(groups: list[list[list[str]]]) -> list[str]:
    """Lines of a table; parameters that do not fit go to a second line under their row."""
    ranks, settings, values = groups
    widths = {id(c): max(map(len, c)) for group in groups for c in group}
    fixed = sum(widths[id(c)] + 2 for c in ranks + values) - 2
    kept: list[list[str]] = []
    for column in settings:
        if fixed + sum(widths[id(c)] + 2 for c in [*kept, column]) <= WIDTH:
            kept.append(column)
    spilled = [column for column in settings if all(column is not c for c in kept)]
    lines = []
    for row in range(len(ranks[0])):
        cells = [
            *(c[row].rjust(widths[id(c)]) for c in ranks + kept),
            *(c[row].rjust(widths[id(c)]) for c in values),
        ]
        lines.append("  ".join(cells).rstrip())
        if row and spilled:
            text = ", ".join(f"{c[0]} {c[row]}" for c in spilled)
            lines += textwrap.wrap(
                text, WIDTH - 6, initial_indent=" " * 6, subsequent_indent=" " * 6
            )
    return lines


def _notes(
    compared: Sequence[Comparison], shown: Sequence[Comparison], metric: str, left_out: int
) -> list[str]:
    notes = [_interval_note([c.configuration for c in shown], metric)]
    verdicts = [c.verdict for c in shown]
    if "tied" in verdicts:
        tied = sum(c.verdict == "tied" for c in compared)
        notes.append(
            f"=: cannot be told apart from the best: {tied} of the {len(compared) - 1} others "
            "(paired t over common seeds, Holm-corrected for all pairs); more seeds tell more."
        )
    if "untested" in verdicts:
        notes.append(
            "?: not compared with the best; that takes two seeds in common and none that diverged."
        )
    if left_out:
        have = "more has" if left_out == 1 else "more have"
        notes.append(
            f"{left_out} {have} no {METRICS[metric].label}: diverged, failed or unmeasured."
        )
    notes.append(choice_note(compared[0].configuration, metric))
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, break_on_hyphens=False)]


def _interval_note(shown: Sequence[Configuration], metric: str) -> str:
    kinds = [interval.kind for c in shown if (interval := c.interval(metric))]
    texts = []
    if "t over seeds" in kinds:
        texts.append("Student t over n seeds")
    if "binomial over images" in kinds:
        images = images_behind(shown[kinds.index("binomial over images")], metric)
        texts.append(f"for n = 1 binomial (Wilson) over {images}, which says nothing about seeds")
    return (
        f"±: half of the 95 % interval: {'; '.join(texts)}." if texts else "One seed: no interval."
    )
