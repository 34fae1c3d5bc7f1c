"""Results files taken together: one row of each trial, and what to rank by."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnist_sweep.analysis.ranking import check_metric
from mnist_sweep.analysis.study import Study, split_studies
from mnist_sweep.metrics import METRICS
from mnist_sweep.results.file import ResultsFile, read_results
from mnist_sweep.results.lines import spec_path
from mnist_sweep.results.merge import Place, merge, passed_notes
from mnist_sweep.results.spec_beside import spec_metric
from mnist_sweep.trial import TrialResult

_MAX_NAMES = 3


@dataclass(frozen=True)
class Sources:
    """Results ``files`` taken together: ``results`` have one row of each trial.

    ``name`` is that of all files, for people; ``notes`` are on the files, and on rows that do not
    count because another file has the trial, too.
    """

    files: Sequence[ResultsFile]
    results: Sequence[TrialResult]
    studies: Sequence[Study]
    name: str
    notes: Sequence[str]


def read_sources(paths: Sequence[Path], by: str | None = None) -> Sources:
    """Read the results files ``paths``, each once, and ``join`` them.

    Raises ResultsError if one cannot be read; UserError if ``by`` cannot rank their trials.
    """
    return join([read_results(path) for path in dict.fromkeys(paths)], by)


def join(files: Sequence[ResultsFile], by: str | None = None) -> Sources:
    """Take ``files`` together, with studies that rank by the metric called ``by``.

    Without it, by the metric of the spec beside the files if these agree, where a trial has it;
    else by validation accuracy where a trial has it, else by test accuracy. Raises UserError if
    ``by`` cannot rank their trials.
    """
    results, passed = merge((row, Place(file.path)) for file in files for row in file.results)
    notes = [note for file in files for note in file.notes] + passed_notes(passed)
    metric = check_metric(by, results) if by is not None else None
    specs = [] if metric else [spec_metric(file.path) for file in files]
    wanted = {preference.name for preference in specs if preference}
    if len(wanted) > 1:
        notes.append(
            f"the specs beside these files rank by {' and '.join(sorted(wanted))}; neither is "
            "taken, choose with --by"
        )
    preferred = METRICS[wanted.pop()] if len(wanted) == 1 else None
    name = _name(files)
    studies = split_studies(results, metric, name, preferred, _rerun(files))
    return Sources(files, results, studies, name, notes)


def _rerun(files: Sequence[ResultsFile]) -> str:
    """The command that goes on with ``files``, as far as the spec beside them is known."""
    first = files[0].path
    if len(files) > 1 or not spec_path(first).exists():
        return Study.rerun
    return shlex.join(["mnist-sweep", "run", str(spec_path(first)), "-o", str(first)])


def _name(files: Sequence[ResultsFile]) -> str:
    # A name that is no valid text can be opened, but neither drawn nor written as UTF-8.
    stems = (file.path.stem.encode(errors="replace").decode() for file in files)
    names = list(dict.fromkeys(stems))
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
