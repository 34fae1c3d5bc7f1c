"""One row of each trial, where there may be several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from mnist_sweep.labels import count
from mnist_sweep.trial import TrialResult

#: What decides whether two rows say the same of a trial; not times, devices and versions.
_OUTCOME = (
    *("status", "train_loss", "train_accuracy", "val_accuracy", "test_accuracy"),
    *("best_test_accuracy", "best_step", "steps", "parameters"),
)
#: Why rows do not count, as part of a sentence.
_WHY = {
    "same": "of trials that another row has with the same result",
    "failed": "of failed trials that another row has finished",
    "differs": "with another result than that of an earlier row, which counts",
}


class Place(NamedTuple):
    """Where a row is: in a file, or at a line of one."""

    path: Path
    line: int | None = None


class Passed(NamedTuple):
    """A row that does not count, where it is, and where the row that does is.

    ``why``: "same" says what the other says, "failed" did not finish as the other did, "differs"
    finished with another result.
    """

    row: TrialResult
    place: Place
    counted: Place
    why: Literal["same", "failed", "differs"]


def merge(
    rows: Iterable[tuple[TrialResult, Place]],
) -> tuple[list[TrialResult], list[Passed]]:
    """The row that counts of each trial of ``rows``, in order of appearance, and those that do not.

    A finished row (ok or diverged) counts before a failed one, whatever their order; else the
    first one does.
    """
    counting: dict[str, tuple[TrialResult, Place]] = {}
    passed: list[Passed] = []
    for row, place in rows:
        trial_id = row.trial.trial_id
        if trial_id not in counting:
            counting[trial_id] = row, place
            continue
        first, where = counting[trial_id]
        if first.status == "failed" != row.status:
            counting[trial_id] = row, place
            passed.append(Passed(first, where, place, "failed"))
        elif row.status == "failed" != first.status:
            passed.append(Passed(row, place, where, "failed"))
        else:
            same = all(getattr(row, name) == getattr(first, name) for name in _OUTCOME)
            passed.append(Passed(row, place, where, "same" if same else "differs"))
    return [row for row, _ in counting.values()], passed


def passed_notes(passed: Iterable[Passed]) -> list[str]:
    """The notes on rows that do not count, one for each file and reason."""
    groups: dict[tuple[Path, str], list[Passed]] = {}
    for one in passed:
        groups.setdefault((one.place.path, one.why), []).append(one)
    notes = []
    for (path, why), group in groups.items():
        first = min(group, key=lambda one: one.place.line or 0)
        at = f"at line {first.place.line} " if first.place.line else ""
        line = first.counted.line
        notes.append(
            f"{path}: left out {count(len(group), 'row')} {_WHY[why]}, the first {at}of trial "
            f"{first.row.trial.trial_id} (see {f'line {line}' if line else first.counted.path})"
        )
    return notes
