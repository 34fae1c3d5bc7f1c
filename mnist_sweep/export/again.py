"""Training a row again, and all that there is to say of the model that comes of it."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from mnist_sweep.analysis.predictions import describe, describe_ensemble, predictions
from mnist_sweep.analysis.sources import Sources
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.errors import DataError, UserError
from mnist_sweep.executors.interface import Executor, Settings
from mnist_sweep.export.model import MODEL_FILE, TrainedModel
from mnist_sweep.figures.model_charts import calibration_chart, confusion_chart, mistakes_chart
from mnist_sweep.figures.style import save, styled
from mnist_sweep.labels import count, dataset_text
from mnist_sweep.metrics import TEST_ACCURACY
from mnist_sweep.plan import check_batch_sizes, plan
from mnist_sweep.progress import Progress
from mnist_sweep.results.spec_beside import spec_data
from mnist_sweep.trial import Trial, TrialResult

#: What a row and its repetition are compared by.
_COMPARED = ("steps", "parameters", "train_loss", "train_accuracy", "val_accuracy", "test_accuracy")


def chosen(sources: Sources, rank: int, trial_id: str | None) -> TrialResult:
    """The row of ``trial_id``, else the first seed's of the configuration at place ``rank``.

    Of a search its last stage is ranked. No seed is chosen by its result. Raises UserError where
    there is none that came to a model.
    """
    if trial_id is not None:
        rows = [row for row in sources.results if row.trial.trial_id == trial_id]
        if not rows or rows[0].status != "ok":
            why = f"is {rows[0].status}" if rows else "is no trial of these results"
            raise UserError(f"--trial {trial_id}: {why}; give the trial_id of a row that is ok")
        return rows[0]
    studies = sources.studies
    if studies and len(studies) > len(studies[0].stages):
        several = "; ".join(dict.fromkeys(study.title for study in studies))
        raise UserError(f"--rank is for one study, here are: {several}; give a row's --trial ID")
    ranked = studies[0].measured if studies else []
    if rank > len(ranked):
        there = count(len(ranked), "configuration")
        raise UserError(f"--rank {rank}: {there} with a result; mnist-sweep top lists them")
    return ranked[rank - 1].configuration.results[0]


def located(row: TrialResult, sources: Sources, data_dir: str | None) -> TrialResult:
    """``row`` with the place of its data: ``data_dir``, else as a spec beside the rows has it.

    Raises DataError where there is no such place. What it holds is compared when it is read.
    """
    dataset = row.trial.dataset
    if dataset.is_bundled:
        return row
    known = (spec_data(file.path) for file in sources.files)
    path = data_dir or next(filter(None, known), dataset.name)
    if not Path(path).expanduser().exists():
        raise DataError(
            f"{path}: no such folder; say where {dataset_text(dataset.label)} is with --data-dir"
        )
    return replace(row, trial=replace(row.trial, dataset=replace(dataset, path=path)))


def with_seeds(row: TrialResult, results: Sequence[TrialResult], seeds: int) -> list[Trial]:
    """``row``'s trial and others of its configuration: those that are ok, then untried seeds."""
    trial = row.trial

    def seeded(seed: int) -> Trial:
        return replace(trial, config=replace(trial.config, seed=seed))

    tried = {r.trial: r.status for r in results}
    done = [trial, *(t for t, status in tried.items() if status == "ok")]
    first = dict.fromkeys(t.config.seed for t in done if t == seeded(t.config.seed))
    further = (seed for seed in itertools.count() if seeded(seed) not in tried)
    return [seeded(seed) for seed in itertools.islice(itertools.chain(first, further), seeds)]


def train(
    trials: Sequence[Trial],
    executor: Executor,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] | None = None,
) -> list[TrialResult]:
    """Train ``trials``: their results, with weights, in their order; fewer if it was stopped.

    ``say`` is as for ``Progress``. Raises UserError for a trial that comes to no model, DataError
    and DeviceError as ``run_sweep`` does.
    """
    check_batch_sizes(trials, len(load_dataset(trials[0].dataset).train_rows))
    bar, results = Progress(TEST_ACCURACY, (), say), {}
    bar.expect(trials, 0, 0.0)

    def asked() -> bool:
        bar.show(session.under_way)
        return stopped()

    settings = Settings("export", 1, weights=True)
    with executor.open(settings, asked) as session, closing(bar):
        for result in session.run(plan(trials)):
            if result.status != "ok":
                why = f": {result.error}" if result.error else ""
                raise UserError(f"trial {result.trial.trial_id} is {result.status}{why}")
            bar.add(result)
            results[result.trial.trial_id] = result
    return [results[trial.trial_id] for trial in trials if trial.trial_id in results]


def compared(row: TrialResult, again: TrialResult) -> str:
    """How ``again``, the same training, differs from ``row``, for the user; empty if it does not.

    Other processors and versions round differently, which may move an accuracy by three standard
    errors of the difference between two samples of the test images, and halve or double the loss.
    Raises UserError beyond that.
    """
    n = again.test_images or 1
    error = max(1 - (again.test_accuracy or 0), 1 / n)
    noise = 3 * math.sqrt(2 * error * (1 - error) / n)
    pairs = {name: (getattr(again, name), getattr(row, name)) for name in _COMPARED}
    differing = {name: (now, was) for name, (now, was) in pairs.items() if was not in (None, now)}
    text = "; ".join(f"{n} {now} here, {was} in the row" for n, (now, was) in differing.items())
    for name, (now, was) in differing.items():
        slack = {"steps": 0.0, "parameters": 0.0, "train_loss": max(was, now) / 2}
        if abs(was - now) > slack.get(name, noise):
            raise UserError(
                f"trial {row.trial.trial_id} came out differently than rounding explains: {text}; "
                f"the row is from mnist-sweep {row.mnist_sweep_version} with tinygrad "
                f"{row.tinygrad_version} on {row.device}; was it, or the data, changed?"
            )
    return text


def files_of(row: TrialResult, results: Sequence[TrialResult]) -> dict[str, bytes]:
    """What ``export`` writes of ``results``, of which the first is ``row`` again: content by name.

    Its model is shown; those of other seeds stand beside it as model_seedN.safetensors. Raises
    UserError as ``compared`` does.
    """
    differs, trial = compared(row, results[0]), row.trial
    dataset = load_dataset(trial.dataset)
    images, labels = (array[dataset.test_rows] for array in (dataset.images, dataset.labels))
    models = [TrainedModel.of(replace(r, sweep=row.sweep), dataset) for r in results]
    said = [model.probabilities(images) for model in models]
    seen = predictions(labels, said[0])
    rounded = f"within rounding of its row: {differs}" if differs else "equal to its row"
    lines = [f"trial {trial.trial_id}, trained again, {rounded}", describe(seen)]
    lines += [describe_ensemble(labels, said)] if len(said) > 1 else []
    seeds = [f"model_seed{result.trial.config.seed}.safetensors" for result in results]
    files = dict(zip([MODEL_FILE, *seeds[1:]], (model.content for model in models), strict=True))
    files["model.json"] = json.dumps(models[0].about, indent=2).encode()
    files["evaluation.txt"] = "\n".join([*lines, ""]).encode()
    note = f"{trial.config.model}, {dataset_text(trial.dataset.label)}; trial {trial.trial_id}."
    with styled():
        for name, figure in (
            ("confusion.png", confusion_chart(seen, note)),
            ("mistakes.png", mistakes_chart(seen, images, note)),
            ("calibration.png", calibration_chart(seen, note)),
        ):
            buffer = io.BytesIO()
            save(figure, buffer, "png")
            files[name] = buffer.getvalue()
    return files
