"""The ``run`` command as a function: spec in, results file out."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from mnist_sweep.analysis.ranking import best_configs
from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset, train_images
from mnist_sweep.devices import is_cpu, physical_cores
from mnist_sweep.errors import ResultsError, UserError
from mnist_sweep.executors.interface import Executor, Session, Settings
from mnist_sweep.export.model import TrainedModel
from mnist_sweep.labels import count, duration, stage_text
from mnist_sweep.metrics import Metric
from mnist_sweep.pace import Deadline, Pace
from mnist_sweep.plan import check_batch_sizes, flops, plan, weight_bytes
from mnist_sweep.progress import Progress
from mnist_sweep.results.file import ResultsWriter, read_results
from mnist_sweep.results.lines import weights_path
from mnist_sweep.results.spec_beside import spec_evaluations
from mnist_sweep.search.protocol import Part, Search, missing, most
from mnist_sweep.spec.load import SweepSpec
from mnist_sweep.trial import Trial, TrialResult

#: Seconds until the first worker trains, for the estimate.
START_SECONDS = 3.0

Say = Callable[[str], None]
Weights = Literal["best", "all"]


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Counts are trials of the spec; ``done`` includes those of earlier runs, whose ``rows`` are all
    that the spec's trials have. ``searched``: which trials these are depended on results.
    """

    rows: Sequence[TrialResult]
    total: int
    done: int
    new: int
    diverged: int
    failed: int
    interrupted: bool
    searched: bool


def best_of_file(path: Path, count: int, metric: Metric) -> Sequence[HPConfig]:
    """The best configurations of an earlier sweep, for ``from_results``.

    Raises UserError if ``path`` cannot be read or has no trial with ``metric``.
    """
    if not path.exists():
        raise ResultsError(f"{path} does not exist; run the sweep that makes it first")
    results = read_results(path).results
    # Where a search has gone on with the best, these are what counts.
    last = [*dict.fromkeys(result.stage for result in results)][-1:]
    return best_configs([r for r in results if r.stage in last], count, metric)


def results_path(spec: SweepSpec, output: Path | None) -> Path:
    """Where ``run`` writes: ``output``, else results/NAME.csv. Raises UserError if it is no CSV."""
    if output is None:
        return Path("results", f"{spec.name}.csv")
    if output.suffix.lower() != ".csv":
        file = "" if output.is_dir() else f"; for a file: -o {output.with_suffix('.csv')}"
        folder = f"for a folder of that name: -o {output / spec.name}.csv"
        raise UserError(f"-o {output} is no CSV file; {folder}{file}")
    return output


def describe_plan(
    spec: SweepSpec,
    output: Path,
    *,
    device: str = "CPU",
    jobs: int | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    seconds: float | None = None,
    weights: Weights | None = None,
) -> str:
    """What ``run`` would do, as a few lines for a person: trials, cohorts, work.

    ``device`` is the one to train on and ``jobs`` how many workers there would be. Raises DataError
    or UserError if the data set does not have what the spec asks for, and ResultsError if
    ``output`` cannot be read.
    """
    check_batch_sizes(_of_all_stages(spec.search), train_images(spec.dataset))
    earlier = read_results(output) if output.exists() and not overwrite else None
    rows = {
        result.trial.trial_id: result
        for result in (earlier.results if earlier else ())
        if not (retry_failed and result.status == "failed")
    }
    state = _State(spec.search, rows)
    todo = state.proposed[:limit]
    cohorts = plan(todo)
    pace = Pace(row for row in state.rows.values() if row.device == device)
    cores = physical_cores() if is_cpu(device) else 1
    jobs = jobs or cores
    notes = [*earlier.notes] if earlier else []
    if is_cpu(device) and jobs > cores:
        notes.append(
            f"are {jobs} workers meant for the {count(cores, 'core')} of this machine? They take "
            f"the memory of {jobs} and are no faster than --jobs {cores}"
        )
    needed = pace.seconds(todo) / jobs + (START_SECONDS if todo else 0)
    if seconds is not None and seconds < needed:
        notes.append(f"--time {duration(seconds)} is less; the same command goes on from there")
    kept = sum(weight_bytes(trial.config) for trial in todo) / 1e6 if weights else 0
    known = [*(row.trial for row in state.rows.values()), *state.proposed]
    configurations = len({replace(trial.config, seed=0) for trial in known})
    later = state.total - len(known)
    return "\n".join(
        [
            f"sweep           {spec.name} ({spec.model})",
            f"trials          {len(known):,}: {configurations:,} configurations, "
            f"{len(state.rows):,} already in {output}",
            f"to run          {len(todo):,}"
            + (f", then at most {later:,} that depend on their results" if later else ""),
            f"cohorts         {len(cohorts):,}, each of one shape that is compiled once",
            f"work            {_work_text(flops(todo), needed)} with {count(jobs, 'job')}"
            + ("" if state.rows else " on CPU cores with AVX2; AVX-512 takes a third of that"),
            *state.stage_lines(pace, jobs),
            f"results         {output}"
            + (f", models of {kept:,.1f} MB at most in {weights_path(output)}" if kept else ""),
            *(f"note            {note}" for note in notes),
        ]
    )


def run_sweep(
    spec: SweepSpec,
    output: Path,
    executor: Executor,
    *,
    device: str,
    overwrite: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    seconds: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
    say: Say = lambda _: None,
    progress: bool = False,
    weights: Weights | None = None,
) -> Summary:
    """Run the trials that ``spec`` proposes and ``output`` lacks, and append each as it ends.

    ``limit`` caps the trials of this run. With ``seconds`` no trial is begun that would end later,
    and none for a second seed while a configuration has no first. ``stopped`` is asked again and
    again whether to end early; ``say`` gets notes for the user; ``progress`` draws a bar on stderr,
    or has ``say`` tell how far the run is. The spec is left beside the rows; if ``weights`` says
    so, also the trained models of all trials, or of those that are the best so far, each before its
    row. Raises DataError, ResultsError or DeviceError before any training where the cause can be
    known then; whatever had ended before an error is in ``output``.
    """
    began = time.time()
    load = cache(load_dataset)  # the models that are saved need it again
    # Loading it here also unpacks it, if need be, before several workers would.
    images = len(load(spec.dataset).train_rows)
    check_batch_sizes(_of_all_stages(spec.search), images)
    with ResultsWriter(output, overwrite=overwrite, retry_failed=retry_failed) as writer:
        state = _State(spec.search, writer.finished)
        before = spec_evaluations(output)
        writer.leave_spec(spec.resolved)
        for note in (*spec.warnings, *writer.notes, *_notes(spec, state, writer, before, device)):
            say(note)
        if weights and state.rows and not weights_path(output).exists():
            done = count(len(state.rows), "trial")
            say(f"{done} already done: their models were not saved; mnist-sweep export makes one")
        if not state.proposed:
            return state.summary()
        earlier = state.rows.values()
        bar = Progress(spec.metric, earlier, say if progress else None)
        pace = Pace(row for row in earlier if row.device == device)
        deadline = None if seconds is None else Deadline(began + seconds, pace)
        settings = Settings(spec.name, spec.evals_per_epoch, deadline, weights is not None)

        def asked() -> bool:
            bar.show(session.under_way)
            return stopped()

        with executor.open(settings, asked) as session, closing(bar):
            for result in state.results(session, limit, images, bar.expect, deadline):
                if result.weights and (weights == "all" or state.is_best(result, spec.metric)):
                    model = TrainedModel.of(result, load(result.trial.dataset))
                    writer.leave_weights(result.trial.trial_id, model.content)
                writer.append(result)
                bar.add(result)
        interrupted = bool(state.left) and (deadline is None or stopped())
        if state.left and not interrupted:
            needed = duration(pace.seconds(state.left))
            trials = count(len(state.left), "trial")
            say(f"out of time: {trials} of this stage left, about {needed} of one worker's time")
    return state.summary(interrupted)


class _State:
    """How far the rows of a results file take a search.

    ``rows`` are those of trials that the search has proposed, by trial_id; ``proposed`` are the
    trials that it proposes next. The search sees no other rows, so that what else the file holds
    does not change what it proposes.
    """

    def __init__(self, search: Search, earlier: Mapping[str, TrialResult]) -> None:
        self._search = search
        self._earlier = earlier
        self._new = 0
        self.rows: dict[str, TrialResult] = {}
        #: Trials of the last proposal that were not run: for want of time, or as all was stopped.
        self.left: Sequence[Trial] = ()
        self.proposed: Sequence[Trial] = ()
        self._ask()

    def _ask(self) -> None:
        while True:
            self._stage, self.proposed = missing(self._search, self.rows)
            ids = [trial.trial_id for trial in self.proposed]
            known = {i: self._earlier[i] for i in ids if i in self._earlier}
            if not known:
                return
            self.rows |= known

    @property
    def total(self) -> int:
        """How many trials there are in all; at most, if that depends on results."""
        return most(self._search) if self.proposed else len(self.rows)

    def results(
        self,
        session: Session,
        limit: int | None,
        images: int,
        expect: Callable[[Sequence[Trial], int, float, str], None],
        deadline: Deadline | None,
    ) -> Iterator[TrialResult]:
        """Yield each result until the search is over, ``limit`` is reached or the run is stopped.

        Or until a trial does not end by the ``deadline``. ``expect`` is told what comes next, and
        how many trials may come after that. Raises UserError for trials that need more than the
        ``images`` of the training split.
        """
        while todo := (self._round() if deadline else self.proposed)[
            : None if limit is None else limit - self._new
        ]:
            check_batch_sizes(todo, images)
            later = self.total - len(self.rows) - len(todo)
            cut = later if limit is None else min(later, limit - self._new - len(todo))
            expect(todo, cut, self._later_work(todo) * cut / max(later, 1), self._stage)
            # No worker is to start for what it would not do.
            before = self._new
            begun = [trial for trial in todo if deadline is None or deadline.allows([trial])]
            for result in session.run(plan(begun)):
                row = replace(result, stage=self._stage)
                self.rows[row.trial.trial_id] = replace(row, weights={})
                self._new += 1
                yield row
            # With every row more is known of what ends in time.
            if any(trial.trial_id not in self.rows for trial in todo) and (
                deadline is None or self._new == before
            ):
                self.left = [t for t in self.proposed if t.trial_id not in self.rows]
                return
            self._ask()

    @property
    def _searched(self) -> bool:
        """Whether which trials there are depends on results."""
        return most(self._search) > len(missing(self._search, {}).trials)

    def _later_work(self, todo: Sequence[Trial]) -> float:
        """What may come after ``todo``: trials like these in this stage, any in those after it."""
        parts = self._search.parts
        here = [part.stage for part in parts].index(self._stage)
        known = sum(row.stage == self._stage for row in self.rows.values())
        rest = max(parts[here].most - known - len(todo), 0)
        return rest * flops(todo) / len(todo) + sum(map(_most_work, parts[here + 1 :]))

    def _round(self) -> Sequence[Trial]:
        """Of what is proposed, a seed of each configuration that has the fewest rows."""
        begun = Counter(_without_seed(row.trial) for row in self.rows.values())
        rounds = defaultdict(list)
        for trial in self.proposed:
            rounds[begun[_without_seed(trial)]].append(trial)
            begun[_without_seed(trial)] += 1
        return rounds[min(rounds)] if rounds else []

    def stage_lines(self, pace: Pace, jobs: int) -> Iterator[str]:
        """What each stage costs, a line each, where trials depend on results."""
        asked = self._search.asked(self.rows)
        for place, part in enumerate(self._search.parts if self._searched else ()):
            known = len({t.trial_id for a in asked if a.stage == part.stage for t in a.trials})
            if place < len(dict.fromkeys(a.stage for a in asked)) - bool(self.proposed):
                text = f"{count(known, 'trial')}, done"
            else:
                seconds = part.most * pace.seconds(part.variants) / len(part.variants) / jobs
                text = "" if part.fixed else "at most "
                text += f"{count(part.most, 'trial')}, {_work_text(_most_work(part), seconds)}"
            yield f"{'stages' if not place else '':<15} {stage_text(part.stage)}: {text}"

    def is_best(self, row: TrialResult, metric: Metric) -> bool:
        """Whether no row so far is better than ``row``."""
        values = [getattr(other, metric.name) for other in self.rows.values()]
        value = getattr(row, metric.name)
        return value is not None and value == metric.best(v for v in values if v is not None)

    def summary(self, interrupted: bool = False) -> Summary:
        """How the run has ended."""
        statuses = Counter(result.status for result in self.rows.values())
        return Summary(
            rows=list(self.rows.values()),
            total=self.total,
            done=len(self.rows),
            new=self._new,
            diverged=statuses["diverged"],
            failed=statuses["failed"],
            interrupted=interrupted,
            searched=self._searched,
        )


def _without_seed(trial: Trial) -> Trial:
    return replace(trial, config=replace(trial.config, seed=0))


def _most_work(part: Part) -> float:
    return part.most * flops(part.variants) / len(part.variants)


def _work_text(work: float, seconds: float) -> str:
    return f"{work / 1e12:,.1f} TFLOP, about {duration(seconds)}"


def _of_all_stages(search: Search) -> list[Trial]:
    return [trial for part in search.parts for trial in part.variants]


def _notes(
    spec: SweepSpec, state: _State, writer: ResultsWriter, evaluations: int | None, device: str
) -> Iterator[str]:
    """What of the rows there are may surprise; those of the spec had ``evaluations`` an epoch."""
    rows = [row for row in writer.finished.values() if row.status != "failed"]
    ours = [*(row.trial for row in state.rows.values()), *state.proposed]
    made_with = {
        "tinygrad": ({version("tinygrad")}, {r.tinygrad_version for r in rows}),
        "device": ({device}, {r.device for r in rows}),
        "data set": ({t.dataset.label for t in ours}, {r.trial.dataset.label for r in rows}),
    }
    for what, (now, before) in made_with.items():
        if before - now:
            others, these = (", ".join(sorted(names)) for names in (before - now, now))
            yield f"the file has rows made with {what} {others}; this run uses {these}"
    if state.rows and evaluations not in (None, spec.evals_per_epoch):
        yield (
            f"evals_per_epoch is {spec.evals_per_epoch} now and was {evaluations}: the curves of "
            f"{count(len(state.rows), 'trial')} already done keep their points"
        )
    values = [getattr(row, spec.metric.name) for row in state.rows.values() if row.status == "ok"]
    if None in values:
        yield (
            f"{count(values.count(None), 'trial')} already done: no {spec.metric.label}, so that "
            "none of them can be chosen; use another metric, or --overwrite to train them again"
        )
    names = [row.sweep for trial_id, row in writer.finished.items() if trial_id not in state.rows]
    if spec.name in names:
        yield (
            f"{count(names.count(spec.name), 'row')} of sweep {spec.name} stay, but decide "
            "nothing: the spec, if it was changed, does not ask for them, or not yet"
        )
