"""The ranking as a table for people, in plain text or in Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from mnist_sweep.analysis.ranked import Ranking, rankings
from mnist_sweep.analysis.ranking import (
    METRICS,
    Comparison,
    Configuration,
    choice_note,
    images_behind,
    varying_fields,
)
from mnist_sweep.labels import dataset_text, short_name, value_texts
from mnist_sweep.trial import TrialResult

#: The notes below the table are not wider than this, however wide the terminal.
NOTE_WIDTH = 100
_MARKS = {"best": "", "tied": "=", "worse": "", "untested": "?"}


class _Table(NamedTuple):
    """Columns, each its name and a text for every row; ``notes`` are sentences."""

    first: list[list[str]]
    settings: list[list[str]]
    values: list[list[str]]
    notes: list[str]


def format_top(
    results: Sequence[TrialResult],
    n: int = 8,
    metric: str | None = None,
    *,
    width: int | None = None,
    markdown: bool = False,
) -> str:
    """The ``n`` best configurations by ``metric``, best first, a table for each data set.

    Rank, tie mark, the parameters that vary, mean and reach of the 95 % interval in per cent,
    number of seeds, mean training time; below it what the interval is and on which set the choice
    was made. The plain text is aligned; in ``width`` characters, if given, what does not fit
    stands on a line of its own under the row. ``metric`` is ``default_metric`` by default. Raises
    UserError if ``metric`` cannot rank these results.
    """
    found = rankings(results, metric)
    if not found:
        return "no trial has finished yet; run the sweep first"
    sections = []
    for ranking in found:
        name = dataset_text(ranking.dataset)
        heading = f"{_escaped(name) if markdown else name}:\n\n" if len(found) > 1 else ""
        if not ranking.compared:
            sections.append(heading + _nothing(ranking))
            continue
        table = _table(ranking, n)
        lines = _markdown_lines(table) if markdown else _plain_lines(table, width)
        notes = "\n\n".join(table.notes) if markdown else _wrapped(table.notes, width)
        sections.append("\n".join([heading + lines[0], *lines[1:], "", notes]))
    return "\n\n".join(sections)


def _nothing(ranking: Ranking) -> str:
    diverged = sum(c.diverged for c in ranking.without)
    failed = sum(c.failed for c in ranking.without)
    if not diverged + failed:
        return f"no trial has a {METRICS[ranking.metric].label}"
    return (
        f"no trial finished well: {diverged} diverged, {failed} failed; the column error of the "
        "results says why trials failed, and a lower lr helps those that diverged"
    )


def _table(ranking: Ranking, n: int) -> _Table:
    shown = ranking.compared[:n]
    everything = [*(c.configuration for c in ranking.compared), *ranking.without]
    ranks = ["rank", *(str(i) for i, _ in enumerate(shown, 1))]
    marks = ["", *(_MARKS[c.verdict] for c in shown)]
    configs = [comparison.configuration.config for comparison in shown]
    settings = [
        [short_name(name), *value_texts([getattr(config, name) for config in configs], name)]
        for name in varying_fields(c.config for c in everything)
    ]
    return _Table(
        [ranks, marks], settings, _value_columns(shown, ranking.metric), _notes(ranking, shown)
    )


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


def _plain_lines(table: _Table, width: int | None) -> list[str]:
    """Lines of aligned text; columns beyond ``width`` go to a second line under their row."""
    # Without its metric and its number of seeds a row says nothing.
    needed = [column for column in table.values if column is table.values[0] or column[0] == "n"]
    kept = [*table.first, *needed]
    for column in [*table.settings, *table.values]:
        if not any(column is k for k in kept):
            taken = sum(_wide(k) + 2 for k in kept) + _wide(column)
            if width is None or taken <= width:
                kept.append(column)
    columns = [*table.first, *table.settings, *table.values]
    beside = [column for column in columns if any(column is k for k in kept)]
    below = [column for column in columns if not any(column is k for k in kept)]
    lines = []
    for row in range(len(table.first[0])):
        lines.append("  ".join(c[row].rjust(_wide(c)) for c in beside).rstrip())
        if row and below:
            text = ", ".join(f"{c[0]} {c[row]}" for c in below if c[row])
            indent = " " * 6
            lines += textwrap.wrap(
                text, width or NOTE_WIDTH, initial_indent=indent, subsequent_indent=indent
            )
    return lines


def _wide(column: Sequence[str]) -> int:
    return max(map(len, column))


def _markdown_lines(table: _Table) -> list[str]:
    """Lines of a GitHub table."""
    columns = [*table.first, *table.settings, *table.values]
    rows = [[column[row] for column in columns] for row in range(len(table.first[0]))]
    header, *body = [f"| {' | '.join(row)} |" for row in rows]
    return [header, "|" + "---|" * len(columns), *body]


def _escaped(text: str) -> str:
    """``text`` with nothing in it that Markdown would take for markup."""
    return re.sub(r"([\\`*_<>\[\]|#~&])", r"\\\1", text)


def _wrapped(notes: Sequence[str], width: int | None) -> str:
    most = min(width or NOTE_WIDTH, NOTE_WIDTH)
    return "\n".join(textwrap.fill(note, most, break_on_hyphens=False) for note in notes)


def _notes(ranking: Ranking, shown: Sequence[Comparison]) -> list[str]:
    compared, metric = ranking.compared, ranking.metric
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
    if ranking.without:
        have = "more has" if len(ranking.without) == 1 else "more have"
        notes.append(
            f"{len(ranking.without)} {have} no {METRICS[metric].label}: diverged, failed or "
            "unmeasured."
        )
    if len(compared) + len(ranking.without) == 1:
        return [*notes, "One configuration: nothing was chosen."]
    return [*notes, choice_note(compared[0].configuration, metric)]


def _interval_note(shown: Sequence[Configuration], metric: str) -> str:
    kinds = [interval.kind for c in shown if (interval := c.interval(metric))]
    texts = []
    if "t over seeds" in kinds:
        texts.append("Student t over n seeds")
    if "binomial over images" in kinds:
        images = images_behind(shown[kinds.index("binomial over images")], metric)
        texts.append(f"for n = 1 binomial (Wilson) over {images}, which says nothing about seeds")
    return (
        f"±: reach of the 95 % interval: {'; '.join(texts)}." if texts else "One seed: no interval."
    )
