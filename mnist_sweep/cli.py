"""The command line: parse, call one function, print, exit code.

Imports of the parts stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mnist_sweep import __version__
from mnist_sweep.errors import UserError
from mnist_sweep.terminal import INTERRUPTED, Stop, complain, give_up_stdout, note, say, show

if TYPE_CHECKING:
    from mnist_sweep.analysis.sources import Sources
    from mnist_sweep.executors.interface import Executor

DONE, SOME_FAILED, BAD_INPUT = 0, 1, 2


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


def _share(text: str) -> float:
    """A number of GPUs: a whole one, or a fraction of one."""
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(f"expected 1, 2, ... or a fraction of 1, got {text!r}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mnist-sweep", description=__import__("mnist_sweep").__doc__)
    parser.add_argument("--version", action="version", version=f"mnist-sweep {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_views(commands)
    data = commands.add_parser(
        "data",
        help="show what a data set holds",
        description="Print the images, classes and digest of the data set at PATH, and samples.",
    )
    data.add_argument(
        "path", metavar="PATH", help="a folder of IDX files or tables, or an .npz file"
    )
    data.set_defaults(command=_data)
    doctor = commands.add_parser(
        "doctor",
        help="show versions, devices, the compiler, caches and data",
        description="Show what this machine can train on, and what run would choose and why.",
    )
    _add_executor(doctor, "ray: show its nodes instead")
    doctor.set_defaults(command=_doctor)
    return parser


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
    add("--dry-run", action="store_true", help="print what would be run, and stop")
    add("--overwrite", action="store_true", help="start again; the old file is kept, with a date")
    add("--retry-failed", action="store_true", help="run the trials again that failed")
    run.set_defaults(command=_run)


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
    plot.set_defaults(command=_plot)
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
    top.set_defaults(command=_top)
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
    report.set_defaults(command=_report)


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


def _run(arguments: argparse.Namespace) -> int:
    from mnist_sweep.runner import best_of_file, default_output, describe_plan, run_sweep
    from mnist_sweep.spec.load import load_spec

    spec = load_spec(
        arguments.spec,
        overrides=arguments.overrides,
        data_dir=arguments.data_dir,
        best_configs=best_of_file,
    )
    output = arguments.output or default_output(spec)
    if output.resolve() == arguments.spec.resolve():
        raise UserError(f"-o {output} is the spec itself; name a results file, such as out.csv")
    which = {name: getattr(arguments, name) for name in ("overwrite", "retry_failed", "limit")}
    if arguments.dry_run:
        for warning in spec.warnings:
            note(warning)
        show(describe_plan(spec, output, device=arguments.device, jobs=arguments.jobs, **which))
        return DONE
    executor, device = _executor(arguments)
    with Stop() as stop:
        summary = run_sweep(
            spec,
            output,
            executor,
            device=device,
            **which,
            stopped=lambda: stop.requested,
            say=note,
            progress=True,
        )
    counts = f"{summary.done} of {summary.total} trials done ({summary.new} in this run)"
    if summary.interrupted:
        say(f"mnist-sweep: interrupted; {counts}, all saved. To go on: {_command_again()}")
        return INTERRUPTED
    show(f"{counts}, {summary.diverged} diverged, {summary.failed} failed: {output}")
    if summary.failed:
        say(
            f"mnist-sweep: {summary.failed} trials failed, the reasons are in the column error; "
            "run the same command with --retry-failed to try them again"
        )
        return SOME_FAILED
    return DONE


def _executor(arguments: argparse.Namespace) -> tuple[Executor, str]:
    """What runs the trials, and the device it runs them on."""
    from mnist_sweep.devices import choose_device, default_jobs
    from mnist_sweep.executors.local import LocalExecutor

    if arguments.executor == "ray":
        from mnist_sweep.executors.ray_executor import RayExecutor, cluster_options

        options = cluster_options(
            arguments.address, arguments.jobs, arguments.device, arguments.gpus_per_worker
        )
        return RayExecutor(options, note), options.device
    if arguments.address is not None or arguments.gpus_per_worker is not None:
        raise UserError("--address and --gpus-per-worker are for --executor ray")
    choice = choose_device(arguments.device)
    return LocalExecutor(arguments.jobs or default_jobs(choice), choice, note), choice.device


def _command_again() -> str:
    # A second --overwrite would throw away what the first run had done.
    return shlex.join(["mnist-sweep", *(a for a in sys.argv[1:] if a != "--overwrite")])


def _read(arguments: argparse.Namespace) -> Sources:
    from mnist_sweep.analysis.sources import read_sources

    sources = read_sources(arguments.results, arguments.by)
    for line in sources.notes:
        note(line)
    return sources


def _output(arguments: argparse.Namespace, suffix: str, of_several: str) -> Path:
    """Where a view of RESULTS is written: as asked for, else beside the first of them."""
    first, *others = dict.fromkeys(arguments.results)
    default: Path = first.with_name(of_several) if others else first.with_suffix(suffix)
    return arguments.output or default


def _plot(arguments: argparse.Namespace) -> int:
    from mnist_sweep.figures.draw import draw_figures

    studies = _read(arguments).studies
    report = draw_figures(studies, _output(arguments, "", "plots"), arguments.format)
    for reason in report.left_out:
        note(f"left out: {reason}")
    for path in report.written:
        show(str(path))
    if not report.written:
        files = ", ".join(map(str, arguments.results))
        raise UserError(f"no figure can be drawn from {files}; the notes above say why")
    return DONE


def _top(arguments: argparse.Namespace) -> int:
    from shutil import get_terminal_size

    from mnist_sweep.analysis.records import records, records_as_csv, records_as_json
    from mnist_sweep.table import format_top

    studies = _read(arguments).studies
    if arguments.format in ("csv", "json"):
        write = records_as_csv if arguments.format == "csv" else records_as_json
        show(write(records(studies, arguments.n)))
    else:
        width = get_terminal_size().columns if sys.stdout.isatty() else None
        markdown = arguments.format == "markdown"
        show(format_top(studies, arguments.n, width=width, markdown=markdown))
    return DONE


def _report(arguments: argparse.Namespace) -> int:
    from mnist_sweep.report import write_report

    output = _output(arguments, ".html", "report.html")
    if output.suffix not in (".html", ".htm"):
        raise UserError(f"-o {output} is no HTML file; name one, such as report.html")
    write_report(_read(arguments), output)
    show(str(output))
    return DONE


def _data(arguments: argparse.Namespace) -> int:
    from mnist_sweep.data.samples import describe

    show(describe(arguments.path))
    return DONE


def _doctor(arguments: argparse.Namespace) -> int:
    from mnist_sweep.doctor import diagnose, diagnose_cluster

    if arguments.executor == "ray":
        lines, healthy = diagnose_cluster(arguments.address)
    elif arguments.address is not None:
        raise UserError("--address is for --executor ray")
    else:
        lines, healthy = diagnose()
    show("\n".join(lines))
    return DONE if healthy else SOME_FAILED


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; never a traceback for what a user can mend."""
    sys.exit(_guarded(lambda: _main(argv)))


def _main(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.command(arguments)
    except SystemExit as end:  # argparse's, after --help or an error
        code = int(end.code or 0)
    show("", end="")
    return code


def _guarded(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
        give_up_stdout()
    return BAD_INPUT
