"""The ranking as a table for people, in plain text or in Markdown."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import MARKS, Comparison
from mnist_sweep.labels import count, describe, duration, short_name, value_texts
from mnist_sweep.metrics import TEST_ACCURACY, Metric
from mnist_sweep.trial import TrialResult

#: The notes below the table are not wider than this, however wide the terminal.
NOTE_WIDTH = 100


class _Table(NamedTuple):
    """Columns, each its name and a text for every row; ``notes`` are sentences."""

    first: list[list[str]]
    settings: list[list[str]]
    values: list[list[str]]
    notes: list[str]


def format_top(
    studies: Sequence[Study], n: int = 8, *, width: int | None = None, markdown: bool = False
) -> str:
    """The ``n`` best configurations of each of ``studies``, best first, a table for each.

    Rank, tie mark, the parameters that vary, mean and reach of the 95 % interval (accuracies in
    per cent), number of seeds, mean wall time of training; below it what the marks and intervals
    are and on which set the choice was made. The plain text is aligned; in ``width`` characters, if
    given, what does not fit stands on a line of its own under the row.
    """
    if not studies:
        return "no trial has finished yet; run the sweep first"
    sections = []
    for study in studies:
        name = _escaped(study.name) if markdown else study.name
        heading = f"{name}:\n\n" if name else ""
        if not study.measured:
            sections.append(heading + study.nothing_text)
            continue
        table = _table(study, n)
        lines = _markdown_lines(table) if markdown else _plain_lines(table, width)
        notes = "\n\n".join(table.notes) if markdown else _wrapped(table.notes, width)
        sections.append("\n".join([heading + lines[0], *lines[1:], "", notes]))
    return "\n\n".join(sections)


def format_winner(study: Study) -> str:
    """The best configuration of ``study`` in a line, with its interval; or why there is none."""
    best = study.best
    if best is None:
        return study.nothing_text
    # All that the search chose, though its last stage may have only some of that left.
    chosen = study.stages[0].varying
    settings = describe(best.config, chosen) or "the only configuration so far"
    seeds = count(len(best.values(study.metric)), "seed")
    return f"best: {settings}: {study.metric.label} {best.text(study.metric)} ({seeds})"


def format_search(study: Study, rows: Sequence[TrialResult], size: float) -> str:
    """What a search of ``size`` configurations has found and cost, in sentences.

    ``rows`` are all of its trials, ``study`` is that of its last stage.
    """
    tried = len(configurations(row for row in rows if row.stage == rows[0].stage))
    there = f" of the {size:,.0f}" if size < math.inf else ""
    seconds = sum((row.train_seconds or 0.0) + (row.compile_seconds or 0.0) for row in rows)
    cost = (
        f"The search took {count(len(rows), 'trial')}, of {tried:,}{there} configurations, and "
        f"{duration(seconds)} of one worker's time."
    )
    compared = len(study.configurations)
    last = f"Its last stage compares {compared:,} of these." if 1 < compared < tried else ""
    return " ".join(filter(None, [cost, last, study.promise_text, study.lost_text]))


def _table(study: Study, n: int) -> _Table:
    shown = study.measured[:n]
    ranks = ["rank", *(str(i) for i, _ in enumerate(shown, 1))]
    marks = ["", *(MARKS[c.kind][0] for c in shown)]
    configs = [comparison.configuration.config for comparison in shown]
    settings = [
        [short_name(name), *value_texts([getattr(config, name) for config in configs], name)]
        for name in study.varying
    ]
    values = _value_columns(shown, study.metric)
    return _Table([ranks, marks], settings, values, _notes(study, shown))


def _value_columns(shown: Sequence[Comparison], metric: Metric) -> list[list[str]]:
    configurations = [c.configuration for c in shown]
    columns = [
        [f"{m.label}{m.unit}", *(c.text(m, unit=False) for c in configurations)]
        for m in dict.fromkeys([metric, TEST_ACCURACY])
    ]
    columns.append(["n", *(str(len(c.values(metric))) for c in configurations)])
    if any(c.diverged for c in configurations):
        columns.append(["diverged", *(str(c.diverged or "") for c in configurations)])
    seconds = [c.cost("train_seconds") for c in configurations]
    columns.append(["wall s", *("-" if s is None else f"{s:.1f}" for s in seconds)])
    return columns


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


def _notes(study: Study, shown: Sequence[Comparison]) -> list[str]:
    without = study.unmeasured
    notes = [_interval_note(study, shown)]
    kinds = {c.kind for c in shown}
    said = [
        f"{mark}: {meaning}." for kind, (mark, meaning) in MARKS.items() if mark and kind in kinds
    ]
    said += [study.promise_text, study.borrowed_text, study.settle_text, study.settle_command]
    notes += filter(None, said)
    if without:
        have = "more has" if len(without) == 1 else "more have"
        notes.append(
            f"{len(without)} {have} no {study.metric.label}: diverged, failed or unmeasured."
        )
    return [*notes, study.choice_note]


def _interval_note(study: Study, shown: Sequence[Comparison]) -> str:
    intervals = [c.configuration.interval(study.metric) for c in shown]
    kinds = {interval.kind for interval in intervals if interval}
    texts = []
    if "t over seeds" in kinds:
        texts.append("Student t over n seeds")
    if "binomial over images" in kinds:
        texts.append(
            f"for n = 1 binomial (Wilson) over {study.images_text}, which says nothing about seeds"
        )
    if not texts:
        return f"One seed: no interval of the {study.metric.label}."
    return f"±: reach of the 95 % interval: {'; '.join(texts)}."
