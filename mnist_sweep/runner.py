"""The ``run`` command as a function: spec in, results file out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from mnist_sweep.analysis.ranking import best_configs
from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset, train_images
from mnist_sweep.devices import is_cpu, physical_cores
from mnist_sweep.errors import ResultsError, UserError
from mnist_sweep.executors.interface import Executor, Session, Settings
from mnist_sweep.labels import count, duration
from mnist_sweep.metrics import Metric
from mnist_sweep.plan import flops, plan
from mnist_sweep.progress import Progress
from mnist_sweep.results.file import ResultsWriter, read_results
from mnist_sweep.results.spec_beside import spec_evaluations
from mnist_sweep.search.protocol import Search, missing
from mnist_sweep.spec.load import SweepSpec
from mnist_sweep.trial import Trial, TrialResult

#: What one core of a CPU does in a second of training, for the estimate before a sweep; measured
#: on a server core with AVX2, whose peak is 100e9.
FLOPS_PER_CORE = 65e9
#: Seconds to compile a new shape, for the estimate.
COMPILE_SECONDS = 3.0
#: Seconds until the first worker trains, for the estimate.
START_SECONDS = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Counts are trials of the spec; ``done`` includes those of earlier runs, whose ``rows`` are all
    that the spec's trials have.
    """

    rows: Sequence[TrialResult]
    total: int
    done: int
    new: int
    diverged: int
    failed: int
    interrupted: bool


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


def default_output(spec: SweepSpec) -> Path:
    """Where ``run`` writes without ``-o``: results/NAME.csv."""
    return Path("results") / f"{spec.name}.csv"


def describe_plan(
    spec: SweepSpec,
    output: Path,
    *,
    device: str = "CPU",
    jobs: int | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
) -> str:
    """What ``run`` would do, as a few lines for a person: trials, cohorts, work.

    ``device`` is the one to train on and ``jobs`` how many workers there would be. Raises DataError
    or UserError if the data set does not have what the spec asks for, and ResultsError if
    ``output`` cannot be read.
    """
    _check_batch_sizes(missing(spec.search, {}).trials, train_images(spec.dataset))
    earlier = read_results(output) if output.exists() and not overwrite else None
    rows = {
        result.trial.trial_id: result
        for result in (earlier.results if earlier else ())
        if not (retry_failed and result.status == "failed")
    }
    state = _State(spec.search, rows)
    todo = state.proposed[:limit]
    cohorts = plan(todo)
    cores = physical_cores() if is_cpu(device) else 1
    jobs = jobs or cores
    notes = [*earlier.notes] if earlier else []
    if is_cpu(device) and jobs > cores:
        notes.append(
            f"are {jobs} workers meant for the {count(cores, 'core')} of this machine? They take "
            f"the memory of {jobs} and are no faster than --jobs {cores}"
        )
    work = flops(todo)
    seconds = (work / FLOPS_PER_CORE + len(cohorts) * COMPILE_SECONDS) / jobs
    seconds += START_SECONDS if todo else 0
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
            f"work            {work / 1e12:,.1f} TFLOP, about {duration(seconds)} "
            f"with {jobs} jobs on CPU cores at {FLOPS_PER_CORE / 1e9:.0f} GFLOP/s",
            f"results         {output}",
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
    stopped: Callable[[], bool] = lambda: False,
    say: Say = lambda _: None,
    progress: bool = False,
) -> Summary:
    """Run the trials that ``spec`` proposes and ``output`` lacks, and append each as it ends.

    ``limit`` caps the trials of this run; ``stopped`` is asked again and again whether to end
    early; ``say`` gets notes for the user; ``progress`` draws a bar on stderr, or has ``say`` tell
    how far the run is. The spec is left beside the rows. Raises DataError, ResultsError or
    DeviceError before any training where the cause can be known then; whatever had ended before an
    error is in ``output``.
    """
    # Loading it here also unpacks it, if need be, before several workers would.
    images = len(load_dataset(spec.dataset).train_rows)
    _check_batch_sizes(missing(spec.search, {}).trials, images)
    with ResultsWriter(output, overwrite=overwrite, retry_failed=retry_failed) as writer:
        state = _State(spec.search, writer.finished)
        before = spec_evaluations(output)
        writer.leave_spec(spec.resolved)
        ours = {t.dataset.label for t in (*(r.trial for r in state.rows.values()), *state.proposed)}
        for note in (*spec.warnings, *writer.notes, *_differences(ours, writer, device)):
            say(note)
        if state.rows and before not in (None, spec.evals_per_epoch):
            say(
                f"evals_per_epoch is {spec.evals_per_epoch} now and was {before}: the curves of "
                f"{count(len(state.rows), 'trial')} already done keep their points"
            )
        if not state.proposed:
            return state.summary()
        settings = Settings(spec.name, spec.evals_per_epoch)
        earlier = state.rows.values()
        bar = Progress(spec.metric, earlier, say if progress else None)

        def asked() -> bool:
            bar.show(session.under_way)
            return stopped()

        with executor.open(settings, asked) as session, closing(bar):
            for result in state.results(session, limit, images, bar.expect):
                writer.append(result)
                bar.add(result)
    return state.summary()


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
        self._interrupted = False
        self.rows: dict[str, TrialResult] = {}
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
        return self._search.most if self.proposed else len(self.rows)

    def results(
        self,
        session: Session,
        limit: int | None,
        images: int,
        expect: Callable[[Sequence[Trial], int], None],
    ) -> Iterator[TrialResult]:
        """Yield each result until the search is over, ``limit`` is reached or the run is stopped.

        ``expect`` is told what comes next, and how many trials may come after that. Raises
        UserError for trials that need more than the ``images`` of the training split.
        """
        while todo := self.proposed[: None if limit is None else limit - self._new]:
            _check_batch_sizes(todo, images)
            left = self.total - len(self.rows)
            expect(todo, (left if limit is None else min(left, limit - self._new)) - len(todo))
            for result in session.run(plan(todo)):
                row = replace(result, stage=self._stage)
                self.rows[row.trial.trial_id] = row
                self._new += 1
                yield row
            if any(trial.trial_id not in self.rows for trial in todo):
                self._interrupted = True
                return
            self._ask()

    def summary(self) -> Summary:
        """How the run has ended."""
        statuses = Counter(result.status for result in self.rows.values())
        return Summary(
            rows=list(self.rows.values()),
            total=self.total,
            done=len(self.rows),
            new=self._new,
            diverged=statuses["diverged"],
            failed=statuses["failed"],
            interrupted=self._interrupted,
        )


def _check_batch_sizes(trials: Sequence[Trial], images: int) -> None:
    """See that every trial gets a full batch out of ``images`` training images."""
    sizes = sorted({t.config.batch_size for t in trials if t.config.batch_size > images})
    if sizes:
        raise UserError(
            f"batch_size {', '.join(map(str, sizes))}: larger than the training split, which has "
            f"{images} images; use smaller batches or more of the data set"
        )


def _differences(datasets: set[str], writer: ResultsWriter, device: str) -> list[str]:
    """Notes about rows that were made in another way than the rows to come, on ``datasets``."""
    rows = [r for r in writer.finished.values() if r.status != "failed"]
    made_with = {
        "tinygrad": ({version("tinygrad")}, {r.tinygrad_version for r in rows}),
        "device": ({device}, {r.device for r in rows}),
        "data set": (datasets, {r.trial.dataset.label for r in rows}),
    }
    return [
        f"the file has rows made with {what} {', '.join(sorted(before - now))}; this run uses "
        f"{', '.join(sorted(now))}"
        for what, (now, before) in made_with.items()
        if before - now
    ]
