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
from mnist_sweep.metrics import TEST_ACCURACY
from mnist_sweep.trial import TrialResult

#: The notes below the table are not wider than this, however wide the terminal.
NOTE_WIDTH = 100


class _Column(NamedTuple):
    """Its name and a text for every row; a row says nothing without the columns ``needed``."""

    texts: list[str]
    needed: bool = False

    @property
    def width(self) -> int:
        return max(map(len, self.texts))


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
        shown = study.measured[:n]
        columns, notes = _columns(study, shown), _notes(study, shown)
        lines = _markdown_lines(columns) if markdown else _plain_lines(columns, width)
        below = "\n\n".join(notes) if markdown else _wrapped(notes, width)
        sections.append("\n".join([heading + lines[0], *lines[1:], "", below]))
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
    last = f"Its last stage has {compared:,} of these." if compared < tried else ""
    sure = study.promise_text
    if not sure and compared > 1:
        sure = "One seed does not say how sure that is; confirm: or race: would."
    return " ".join(filter(None, [cost, last, sure, study.lost_text, study.settle_text]))


def _columns(study: Study, shown: Sequence[Comparison]) -> list[_Column]:
    configurations = [comparison.configuration for comparison in shown]
    columns = [
        _Column(["rank", *map(str, range(1, len(shown) + 1))], needed=True),
        _Column(["", *(MARKS[c.kind][0] for c in shown)], needed=True),
    ]
    for name in study.varying:
        values = [getattr(c.config, name) for c in configurations]
        columns.append(_Column([short_name(name), *value_texts(values, name)]))
    for metric in dict.fromkeys([study.metric, TEST_ACCURACY]):
        means = [c.text(metric, unit=False) for c in configurations]
        columns.append(_Column([f"{metric.label}{metric.unit}", *means], metric == study.metric))
    seeds = [str(len(c.values(study.metric))) for c in configurations]
    columns.append(_Column(["n", *seeds], needed=True))
    if any(c.diverged for c in configurations):
        columns.append(_Column(["diverged", *(str(c.diverged or "") for c in configurations)]))
    seconds = [c.cost("train_seconds") for c in configurations]
    return [*columns, _Column(["wall s", *("-" if s is None else f"{s:.1f}" for s in seconds)])]


def _plain_lines(columns: Sequence[_Column], width: int | None) -> list[str]:
    """Lines of aligned text; columns beyond ``width`` go to a second line under their row."""
    room = math.inf if width is None else width
    room -= sum(column.width + 2 for column in columns if column.needed)
    beside, below = [], []
    for column in columns:
        if not column.needed and column.width > room:
            below.append(column)
            continue
        room -= 0 if column.needed else column.width + 2
        beside.append(column)
    lines = []
    for row in range(len(columns[0].texts)):
        lines.append("  ".join(c.texts[row].rjust(c.width) for c in beside).rstrip())
        if row and below:
            text = ", ".join(f"{c.texts[0]} {c.texts[row]}" for c in below if c.texts[row])
            room_below = max((width or NOTE_WIDTH) - 6, 1)
            lines += [" " * 6 + line for line in textwrap.wrap(text, room_below)]
    return lines


def _markdown_lines(columns: Sequence[_Column]) -> list[str]:
    """Lines of a GitHub table."""
    rows = zip(*(column.texts for column in columns), strict=True)
    header, *body = [f"| {' | '.join(row)} |" for row in rows]
    return [header, "|" + "---|" * len(columns), *body]


def _escaped(text: str) -> str:
    """``text`` with nothing in it that Markdown would take for markup."""
    return re.sub(r"([\\`*_<>\[\]|#~&])", r"\\\1", text)


def _wrapped(notes: Sequence[str], width: int | None) -> str:
    most = min(width or NOTE_WIDTH, NOTE_WIDTH)
    return "\n".join(textwrap.fill(note, most, break_on_hyphens=False) for note in notes)


def _notes(study: Study, shown: Sequence[Comparison]) -> list[str]:
    kinds = {c.kind for c in shown}
    marks = [f"{mark}: {said}." for kind, (mark, said) in MARKS.items() if mark and kind in kinds]
    words = [study.promise_text, study.borrowed_text, study.settle_text, study.settle_command]
    notes = [_interval_note(study, shown), *marks, *filter(None, words)]
    if without := len(study.unmeasured):
        have = "more has" if without == 1 else "more have"
        notes.append(f"{without} {have} no {study.metric.label}: diverged, failed or unmeasured.")
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
