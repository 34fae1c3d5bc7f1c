"""What ``import mnist_sweep`` offers: the commands as functions. See docs/python.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from mnist_sweep.analysis.records import records, row_record
from mnist_sweep.analysis.sources import Sources, read_sources
from mnist_sweep.config import HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.errors import SpecError, UserError
from mnist_sweep.executors.local import local_executor
from mnist_sweep.export import again
from mnist_sweep.export.model import TrainedModel, load_model
from mnist_sweep.figures.draw import draw_figures
from mnist_sweep.figures.style import Format
from mnist_sweep.runner import Summary, Weights, best_of_file, results_path, run_sweep
from mnist_sweep.spec import load
from mnist_sweep.terminal import note
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult

__all__ = ["DatasetConfig", "HPConfig", "SpecError", "TrainedModel", "Trial", "UserError"]
__all__ += ["load_model", "load_spec", "plot", "rank", "read_results", "rows", "run", "train"]


def load_spec(
    path: Path | str, overrides: Sequence[str] = (), data_dir: str | None = None
) -> load.SweepSpec:
    """The sweep spec in a YAML file; ``overrides`` are as of ``--set``. Raises SpecError."""
    return load.load_spec(
        Path(path), overrides=overrides, data_dir=data_dir, best_configs=best_of_file
    )


def run(
    spec: load.SweepSpec | Path | str,
    output: Path | str | None = None,
    *,
    device: str | None = None,
    jobs: int | None = None,
    weights: Weights | None = None,
    **options: Any,
) -> Summary:
    """Run what ``spec`` proposes and the file ``output`` (default: results/NAME.csv) lacks.

    ``spec`` may be a YAML file, ``options`` are the others of ``run_sweep``. KeyboardInterrupt ends
    it, with all that was done saved. Raises UserError, of which all errors of ours are kinds.
    """
    if not isinstance(spec, load.SweepSpec):
        spec = load_spec(spec)
    if weights not in (None, *get_args(Weights)):
        raise UserError(f"weights is {weights!r}; it may be {' or '.join(get_args(Weights))}")
    path = results_path(spec, Path(output) if output else None)
    local = local_executor(device, jobs, note)
    options = {"device": local.choice.device, "say": note, "weights": weights, **options}
    return run_sweep(spec, path, local, **options)


def read_results(*paths: Path | str, by: str | None = None) -> Sources:
    """Results files taken together, ranked ``by`` a metric. Raises ResultsError, UserError."""
    return read_sources([Path(path) for path in paths], by)


def rows(results: Sources) -> list[dict[str, Any]]:
    """One record of each trial by the columns of the file, which ``pandas.DataFrame`` takes."""
    return [row_record(row) for row in results.results]


def rank(results: Sources, n: int = 8) -> list[dict[str, Any]]:
    """The ``n`` best configurations of each study, best first, as ``records`` describes them."""
    return records(results.studies, n)


def plot(results: Sources, folder: Path | str, format: Format = "png") -> list[Path]:
    """Draw every figure that ``results`` have the trials for into ``folder``: their paths."""
    return draw_figures(results.studies, Path(folder), format).written


def train(trial: Trial, device: str | None = None) -> tuple[TrialResult, TrainedModel]:
    """Train a trial: its row with its curve, and the model. Raises UserError if there is none."""
    (result,) = again.train([trial], local_executor(device, 1, note))
    return replace(result, weights={}), TrainedModel.of(result, load_dataset(trial.dataset))
