"""The arguments that the commands take."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from mnist_sweep import __version__
from mnist_sweep.terminal import BAD_INPUT, complain

#: Does what its arguments say and returns the exit code.
Command = Callable[[argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        # An option cut short would be misread by whoever looks for it, such as _command_again.
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Report bad arguments as one line, like every other error."""
        complain(f"{message}; see {self.prog} --help")
        raise SystemExit(BAD_INPUT)


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return value


def _seconds(text: str) -> float:
    """A time: 90s, 30m or 2h."""
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        value = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 30m or 2h, got {text!r}")
    return value


def _share(text: str) -> float:
    """A number of GPUs: a whole one, or a fraction of one."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(f"expected 1, 2, ... or a fraction of 1, got {text!r}")
    return value


def parser(commands: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The whole command line; ``command`` of what it parses is that of ``commands`` to call."""
    whole = _Parser(prog="mnist-sweep", description=__import__("mnist_sweep").__doc__)
    whole.add_argument("--version", action="version", version=f"mnist-sweep {__version__}")
    subparsers = whole.add_subparsers(metavar="COMMAND", required=True)
    _add_run(subparsers)
    _add_views(subparsers)
    init = subparsers.add_parser(
        "init",
        help="write a spec to start from",
        description="Print a commented spec, or a W&B sweep file in the words of a spec.",
    )
    init.add_argument("--from", type=Path, dest="source", metavar="FILE", help="a W&B sweep file")
    init.add_argument("-o", "--output", type=Path, help="the spec to write (default: stdout)")
    _add_models(subparsers)
    data = subparsers.add_parser(
        "data",
        help="show what a data set holds",
        description="Print the images, classes and digest of the data set at PATH, and samples.",
    )
    data.add_argument(
        "path", metavar="PATH", help="a folder of IDX files or tables, or an .npz file"
    )
    doctor = subparsers.add_parser(
        "doctor",
        help="show versions, devices, the compiler, caches and data",
        description="Show what this machine can train on, and what run would choose and why.",
    )
    _add_executor(doctor, "ray: show its nodes instead")
    for name, command in commands.items():
        subparsers.choices[name].set_defaults(command=command)
    return whole


def _add_executor(command: argparse.ArgumentParser, help: str) -> None:
    command.add_argument("--executor", choices=["local", "ray"], default="local", help=help)
    command.add_argument(
        "--address",
        metavar="auto|HOST:PORT",
        help="the Ray cluster (default: RAY_ADDRESS, else a Ray of its own on this machine)",
    )


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    run = commands.add_parser(
        "run",
        help="run a sweep, or continue it",
        description="Train every trial of SPEC that the results file does not hold yet.",
    )
    add = run.add_argument
    add("spec", type=Path, metavar="SPEC", help="the sweep spec, a YAML file")
    add("-o", "--output", type=Path, help="the results file (default: results/NAME.csv)")
    add("--device", help="CPU, CUDA, METAL, ... (default: DEV, else the best usable)")
    jobs = "worker processes (default: one per CPU core, or one per GPU)"
    add("--jobs", type=_positive, help=jobs)
    _add_executor(run, "where workers run")
    share = "GPUs of each worker of Ray, such as 1 or 0.25 (default: 1, or 0 on the CPU)"
    add("--gpus-per-worker", type=_share, metavar="N", help=share)
    change = "change the spec, such as epochs=2, seeds=5 or dataset.validation_size=5000"
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help=change)
    add("--data-dir", help="a folder with four IDX files to use instead of MNIST")
    add("--limit", type=_positive, help="run at most this many trials now")
    span = "begin no trial that would not end within this time, such as 90s, 30m or 2h"
    add("--time", type=_seconds, metavar="TIME", dest="seconds", help=span)
    add("--dry-run", action="store_true", help="print what would be run, and stop")
    add("--overwrite", action="store_true", help="start again; the old file is kept, with a date")
    add("--retry-failed", action="store_true", help="run the trials again that failed")
    kept = "keep the trained models of all trials, or of those that are the best so far (default)"
    kinds = ["best", "all"]
    add("--save-weights", nargs="?", const="best", choices=kinds, dest="weights", help=kept)


def _add_views(commands: argparse._SubParsersAction[_Parser]) -> None:
    plot = _add_view(
        commands,
        "plot",
        "draw the figures of results files",
        "Draw every figure that RESULTS have the trials for.",
    )
    folder = "the folder for the figures (default: RESULTS' name; of several, plots by the first)"
    plot.add_argument("-o", "--output", type=Path, help=folder)
    plot.add_argument("--format", choices=["png", "svg", "pdf"], default="png", help="file format")
    only = "draw the figures with these names alone, such as importance,ranking; may be repeated"
    plot.add_argument("--only", action="append", default=[], metavar="NAME", help=only)
    looks = "paper: as wide as a column, without title and notes (default: screen)"
    plot.add_argument("--style", choices=["screen", "paper"], default="screen", help=looks)
    plot.add_argument("-v", "--verbose", action="store_true", help="say why figures are left out")
    top = _add_view(
        commands,
        "top",
        "rank the configurations of results files",
        "Print the best configurations of RESULTS with their intervals.",
    )
    top.add_argument("-n", type=_positive, default=8, help="how many (default: 8)")
    formats = ["table", "markdown", "csv", "json"]
    unrounded = "csv and json have everything, unrounded (default: table)"
    top.add_argument("--format", choices=formats, default="table", help=unrounded)
    report = _add_view(
        commands,
        "report",
        "make an HTML report of results files",
        "Write all that RESULTS say into one HTML file that opens without a network: "
        "the recommended configuration, every configuration and trial, the figures.",
    )
    page = (
        "the HTML file, replaced if it is there (default: RESULTS' name with .html; of several, "
        "report.html beside the first)"
    )
    report.add_argument("-o", "--output", type=Path, help=page)


def _add_models(commands: argparse._SubParsersAction[_Parser]) -> None:
    export = _add_view(
        commands,
        "export",
        "train a row again, and write its model and what it gets wrong",
        "Train a row of RESULTS again, see that it comes out equal, and write the model, also for "
        "PyTorch, with figures of what it gets wrong.",
    )
    add = export.add_argument
    which = export.add_mutually_exclusive_group()
    place = "which configuration of the ranking; of its seeds the first (default: 1)"
    which.add_argument("--rank", type=_positive, metavar="N", help=place)
    which.add_argument("--trial", metavar="ID", help="the row with this trial_id instead")
    add("--seeds", type=_positive, default=1, metavar="N", help="train N seeds, as an ensemble")
    folder = "the folder to write (default: RESULTS' name with .model)"
    add("-o", "--output", type=Path, metavar="DIR", help=folder)
    add("--data-dir", help="where the data set is now, if it is not MNIST")
    add("--device", help="CPU, CUDA, METAL, ... (default: DEV, else the best usable)")
    add("--overwrite", action="store_true", help="replace the folder; the old one is kept")
    predict = commands.add_parser(
        "predict",
        help="say which digits are in pictures",
        description="Print what MODEL takes the images in each FILE for. Needs no compiler.",
    )
    model = "a folder of mnist-sweep export, or a file of run --save-weights"
    predict.add_argument("model", type=Path, metavar="MODEL", help=model)
    files = "pictures such as PNG, or IDX files"
    predict.add_argument("files", type=Path, nargs="+", metavar="FILE", help=files)
    predict.add_argument(
        "--format", choices=["table", "csv"], default="table", help="of the output"
    )


def _add_view(
    commands: argparse._SubParsersAction[_Parser], name: str, help: str, description: str
) -> argparse.ArgumentParser:
    """A command that reads results files and ranks what they hold."""
    view = commands.add_parser(name, help=help, description=description)
    files = "results files (CSV); of several rows of a trial, the first finished one counts"
    view.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help=files)
    by = (
        "rank by this metric (default: that of the spec which made the file, else val_accuracy, "
        "else test_accuracy)"
    )
    view.add_argument("--by", metavar="METRIC", help=by)
    return view
