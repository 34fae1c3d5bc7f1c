"""One row of each trial, where there may be several."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Literal, NamedTuple, TypeVar

from mnist_sweep.trial import TrialResult

#: Where a row is: a file, or a line of one.
Place = TypeVar("Place")
#: What decides whether two rows say the same of a trial; not times, devices and versions.
_OUTCOME = (
    *("status", "train_loss", "train_accuracy", "val_accuracy", "test_accuracy"),
    *("best_test_accuracy", "best_step", "steps", "parameters"),
)


class Passed(NamedTuple, Generic[Place]):
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
) -> tuple[list[TrialResult], list[Passed[Place]]]:
    """The row that counts of each trial of ``rows``, in order of appearance, and those that do not.

    A finished row (ok or diverged) counts before a failed one, whatever their order; else the
    first one does.
    """
    counting: dict[str, tuple[TrialResult, Place]] = {}
    passed: list[Passed[Place]] = []
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
