"""The ``run`` command as a function: spec in, results file out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mnist_sweep.analysis.ranking import best_configs
from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset, train_images
from mnist_sweep.errors import ResultsError, UserError
from mnist_sweep.executors.local import Executor, Settings
from mnist_sweep.metrics import Metric
from mnist_sweep.plan import flops, plan
from mnist_sweep.results.file import ResultsWriter, read_results
from mnist_sweep.spec.load import SweepSpec, load_spec
from mnist_sweep.trial import TrialResult

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
    """How a run ended. Counts are trials of the spec; ``done`` includes those of earlier runs."""

    total: int
    done: int
    new: int
    diverged: int
    failed: int
    interrupted: bool


def load_sweep(
    path: Path, *, overrides: Sequence[str] = (), data_dir: str | None = None
) -> SweepSpec:
    """The sweep that the YAML file ``path`` describes, with ``overrides`` (KEY=VALUE) applied.

    Raises SpecError with every problem found.
    """
    return load_spec(path, overrides=overrides, data_dir=data_dir, best_configs=_best_configs)


def _best_configs(path: Path, count: int, metric: Metric) -> Sequence[HPConfig]:
    """The best configurations of an earlier sweep, for ``from_results``."""
    if not path.exists():
        raise ResultsError(f"{path} does not exist; run the sweep that makes it first")
    return best_configs(read_results(path).results, count, metric.name, metric.goal)


def default_output(spec: SweepSpec) -> Path:
    """Where ``run`` writes without ``-o``: results/NAME.csv."""
    return Path("results") / f"{spec.name}.csv"


def describe_plan(
    spec: SweepSpec,
    output: Path,
    jobs: int,
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
) -> str:
    """What ``run`` would do, as a few lines for a person: trials, cohorts, work.

    Does not open tinygrad. Raises DataError or UserError if the data set does not have what the
    spec asks for, and ResultsError if ``output`` cannot be read.
    """
    _check_batch_sizes(spec, train_images(spec.dataset))
    notes: tuple[str, ...] = ()
    finished: dict[str, TrialResult] = {}
    if output.exists() and not overwrite:
        earlier = read_results(output)
        notes = earlier.notes
        finished = {
            result.trial.trial_id: result
            for result in earlier.results
            if not (retry_failed and result.status == "failed")
        }
    left = spec.search.propose(finished)
    todo = left[:limit]
    cohorts = plan(todo)
    work = flops(todo)
    seconds = (work / FLOPS_PER_CORE + len(cohorts) * COMPILE_SECONDS) / jobs
    minutes = (seconds + (START_SECONDS if todo else 0)) / 60
    configurations = len({replace(trial.config, seed=0) for trial in spec.search.propose({})})
    return "\n".join(
        [
            f"sweep           {spec.name} ({spec.model})",
            f"trials          {spec.search.most:,}: {configurations:,} configurations, "
            f"{spec.search.most - len(left):,} already in {output}",
            f"to run          {len(todo):,}",
            f"cohorts         {len(cohorts):,}, each of one shape that is compiled once",
            f"work            {work / 1e12:,.1f} TFLOP, about {_duration(minutes)} "
            f"with {jobs} jobs on CPU cores at {FLOPS_PER_CORE / 1e9:.0f} GFLOP/s",
            f"results         {output}",
            *(f"note            {note}" for note in notes),
        ]
    )


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


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
    """Run the trials of ``spec`` that ``output`` does not hold yet, and append each as it ends.

    ``limit`` caps the trials of this run; ``stopped`` is asked again and again whether to end
    early; ``say`` gets notes for the user; ``progress`` draws a bar on stderr. Raises DataError,
    ResultsError or DeviceError before any training where the cause can be known then; whatever
    had ended before an error is in ``output``.
    """
    # Loading it here also unpacks it, if need be, before several workers would.
    _check_batch_sizes(spec, len(load_dataset(spec.dataset).train_rows))
    with ResultsWriter.open(output, overwrite=overwrite, retry_failed=retry_failed) as writer:
        for note in (*spec.warnings, *writer.notes, *_differences(spec, writer, device)):
            say(note)
        finished = dict(writer.finished)
        todo = [trial for trial in spec.search.propose({}) if trial.trial_id not in finished][
            :limit
        ]
        new: list[TrialResult] = []
        settings = Settings(spec.name, spec.evals_per_epoch)
        with (
            closing(executor.run(plan(todo), settings, stopped)) as results,
            _Bar(len(todo), spec.metric, finished.values(), progress) as bar,
        ):
            for result in results:
                completed = replace(
                    result,
                    sweep=spec.name,
                    finished_at=result.finished_at
                    or datetime.now(UTC).isoformat(timespec="seconds"),
                )
                writer.append(completed)
                new.append(completed)
                bar.add(completed)
    ids = {trial.trial_id for trial in spec.search.propose({})}
    done = [r for r in (*finished.values(), *new) if r.trial.trial_id in ids]
    return Summary(
        total=spec.search.most,
        done=len(done),
        new=len(new),
        diverged=sum(r.status == "diverged" for r in done),
        failed=sum(r.status == "failed" for r in done),
        interrupted=len(new) < len(todo),
    )


def _check_batch_sizes(spec: SweepSpec, images: int) -> None:
    """See that every trial gets a full batch out of ``images`` training images."""
    sizes = sorted(
        {t.config.batch_size for t in spec.search.propose({}) if t.config.batch_size > images}
    )
    if sizes:
        raise UserError(
            f"batch_size {', '.join(map(str, sizes))}: larger than the training split, which has "
            f"{images} images; use smaller batches or more of the data set"
        )


def _differences(spec: SweepSpec, writer: ResultsWriter, device: str) -> list[str]:
    """Notes about rows that were made in another way than the rows to come."""
    rows = [r for r in writer.finished.values() if r.status != "failed"]
    now = {
        "tinygrad": version("tinygrad"),
        "device": device,
        "data set": spec.dataset.label,
    }
    before = {
        "tinygrad": {r.tinygrad_version for r in rows},
        "device": {r.device for r in rows},
        "data set": {r.trial.dataset.label for r in rows},
    }
    return [
        f"the file has rows made with {what} {', '.join(sorted(others))}; this run uses {now[what]}"
        for what, values in before.items()
        if (others := values - {now[what]})
    ]


class _Bar:
    """The progress bar on stderr; silent where stderr is no terminal.

    A terminal that has gone away must not end a run.
    """

    def __init__(
        self, total: int, metric: Metric, earlier: Iterable[TrialResult], enabled: bool
    ) -> None:
        from tqdm import tqdm

        self._metric = metric
        self._best: float | None = None
        self._tqdm = tqdm(
            total=total, unit="trial", dynamic_ncols=True, disable=None if enabled else True
        )
        for result in earlier:
            self._note(result)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, ValueError):
            self._tqdm.close()

    def _note(self, result: TrialResult) -> None:
        value = getattr(result, self._metric.name)
        if value is not None:
            better = max if self._metric.goal == "maximize" else min
            self._best = value if self._best is None else better(self._best, value)

    def add(self, result: TrialResult) -> None:
        """Count ``result`` and show the best value so far."""
        self._note(result)
        if self._best is not None:
            text = (
                f"{100 * self._best:.2f} %"
                if "accuracy" in self._metric.name
                else f"{self._best:.4f}"
            )
            self._tqdm.set_postfix_str(f"best {self._metric.name} {text}", refresh=False)
        with suppress(OSError, ValueError):
            self._tqdm.update()
