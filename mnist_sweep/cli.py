"""The command line: parse, call one function, print, exit code.

Imports of the parts stand inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from mnist_sweep.arguments import Command, parser
from mnist_sweep.errors import UserError
from mnist_sweep.labels import count
from mnist_sweep.terminal import (
    BAD_INPUT,
    INTERRUPTED,
    Stop,
    complain,
    note,
    prepare_streams,
    say,
    show,
)

if TYPE_CHECKING:
    from mnist_sweep.analysis.sources import Sources
    from mnist_sweep.executors.interface import Executor

DONE, SOME_FAILED = 0, 1
_FEW_FILES = "; raise the limit (ulimit -n) or use fewer --jobs"
_FULL = "; free some space and run the same command again"
#: What to do about an error of the system.
_ADVICE = {errno.EMFILE: _FEW_FILES, errno.ENFILE: _FEW_FILES, errno.ENOSPC: _FULL}


def _run(arguments: argparse.Namespace) -> int:
    from mnist_sweep.analysis.study import split_studies
    from mnist_sweep.runner import best_of_file, describe_plan, results_path, run_sweep
    from mnist_sweep.spec.load import load_spec
    from mnist_sweep.table import format_search, format_winner

    spec = load_spec(
        arguments.spec,
        overrides=arguments.overrides,
        data_dir=arguments.data_dir,
        best_configs=best_of_file,
    )
    output = arguments.output
    if output and output.resolve() == arguments.spec.resolve():
        raise UserError(f"-o {output} is the spec itself; name a results file, such as out.csv")
    output = results_path(spec, output)
    names = ("overwrite", "retry_failed", "limit", "seconds", "weights")
    which = {name: getattr(arguments, name) for name in names}
    executor, device, jobs = _executor(arguments)
    if arguments.dry_run:
        for warning in spec.warnings:
            note(warning)
        show(describe_plan(spec, output, device=device, jobs=jobs, **which))
        return DONE
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
    again = _command_again(arguments)
    counts = f"{summary.done} of {summary.total} trials done ({summary.new} in this run)"
    if summary.interrupted:
        say(f"mnist-sweep: interrupted; {counts}, all saved. To go on: {again}")
        return INTERRUPTED
    show(f"{counts}, {summary.diverged} diverged, {summary.failed} failed: {output}")
    if summary.failed:
        retry = _command_again(arguments, "--retry-failed")
        failed = count(summary.failed, "trial")
        say(f"mnist-sweep: {failed} failed, the column error says why; to try again: {retry}")
    following = f"to see more: {shlex.join(['mnist-sweep', 'report', str(output)])}"
    if left := summary.total - summary.done:
        following = f"{count(left, 'trial')} left; to go on: {again}"
    if not summary.rows:
        show(following)
        return DONE
    study = split_studies(summary.rows, preferred=spec.metric)[0]
    if summary.searched:
        show(format_search(study, summary.rows, spec.size))
    show(f"{format_winner(study)}; {following}")
    return SOME_FAILED if summary.failed else DONE


def _executor(arguments: argparse.Namespace) -> tuple[Executor, str, int | None]:
    """What runs the trials, the device it runs them on, and how many workers if that is known."""
    from mnist_sweep.executors.local import local_executor

    if arguments.executor == "ray":
        from mnist_sweep.executors.ray_executor import RayExecutor, cluster_options

        options = cluster_options(
            arguments.address, arguments.jobs, arguments.device, arguments.gpus_per_worker
        )
        return RayExecutor(options, note), options.device, options.jobs
    if arguments.address is not None or arguments.gpus_per_worker is not None:
        raise UserError("--address and --gpus-per-worker are for --executor ray")
    local = local_executor(arguments.device, arguments.jobs, note)
    return local, local.choice.device, local.jobs


def _command_again(arguments: argparse.Namespace, *options: str) -> str:
    # A second --overwrite would throw away what the first run had done.
    words = [word for word in arguments.argv if word not in ("--overwrite", *options)]
    return shlex.join(["mnist-sweep", *words, *options])


def _read(arguments: argparse.Namespace) -> Sources:
    from mnist_sweep.analysis.sources import read_sources

    for folder in filter(Path.is_dir, arguments.results):
        inside = sorted({*folder.glob("*.csv")} - {*folder.glob("*.curves.csv")})
        if inside:
            files = " ".join(map(str, inside))
            raise UserError(f"{folder} is a folder; name a results file in it: {files}")
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
    only = [name.strip() for names in arguments.only for name in names.split(",")]
    folder = _output(arguments, "", "plots")
    if folder.is_file():
        raise UserError(f"{folder} is a file; name a folder for the figures, such as -o plots")
    report = draw_figures(studies, folder, arguments.format, only, arguments.style)
    if arguments.verbose or not report.written:
        for reason in report.left_out:
            note(f"left out: {reason}")
    elif report.left_out:
        note(f"left out: {count(len(report.left_out), 'figure')}, -v says why")
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


def _init(arguments: argparse.Namespace) -> int:
    from mnist_sweep.files import make_folder, replace_file
    from mnist_sweep.spec.start import new_spec, ported_spec

    text = ported_spec(arguments.source) if arguments.source else new_spec()
    if arguments.output is None:
        show(text, end="")
        return DONE
    if arguments.output.exists():
        raise UserError(f"{arguments.output} is there already; name another file")
    make_folder(arguments.output.parent)
    replace_file(arguments.output, text.encode())
    show(str(arguments.output))
    return DONE


def _export(arguments: argparse.Namespace) -> int:
    from mnist_sweep.executors.local import local_executor
    from mnist_sweep.export.again import chosen, files_of, located, train, with_seeds
    from mnist_sweep.files import new_folder

    sources = _read(arguments)
    row = chosen(sources, arguments.rank or 1, arguments.trial)
    row = located(row, sources, arguments.data_dir)
    _model_folder(arguments)  # what cannot be written is not worth a training
    trials = with_seeds(row, sources.results, arguments.seeds)
    executor = local_executor(arguments.device, None, note)
    with Stop() as stop:
        results = train(trials, executor, lambda: stop.requested, note)
    if len(results) < len(trials):
        say(f"mnist-sweep: interrupted; nothing is written. Again: {_command_again(arguments)}")
        return INTERRUPTED
    files = files_of(row, results)
    folder = _model_folder(arguments)  # where another export may have written meanwhile
    if old := new_folder(folder, files):
        note(f"the old {folder} is kept as {old.name}")
    show(f"{files['evaluation.txt'].decode()}{folder}: {', '.join(files)}")
    return DONE


def _model_folder(arguments: argparse.Namespace) -> Path:
    """The folder that ``export`` is to write. Raises UserError where that cannot be."""
    from mnist_sweep.export.model import MODEL_FILE
    from mnist_sweep.files import make_folder

    folder = _output(arguments, ".model", "model")
    if folder.name in ("", ".."):
        raise UserError(f"-o {folder} has no name of its own; name the folder to write")
    if folder.exists() and not (folder / MODEL_FILE).exists():
        raise UserError(f"{folder} is there already and is no export; name another folder with -o")
    if folder.exists() and not arguments.overwrite:
        raise UserError(f"{folder} is there already; name another with -o, or give --overwrite")
    make_folder(folder.parent)
    if not os.access(folder.parent, os.W_OK):
        raise UserError(f"{folder.parent} cannot be written; name another folder with -o")
    return folder


def _predict(arguments: argparse.Namespace) -> int:
    from mnist_sweep.export.digits import format_predictions, read_digits
    from mnist_sweep.export.model import load_model

    model = load_model(arguments.model)
    rows = []
    code = DONE
    for path in arguments.files:
        try:
            images, changed = read_digits(path)
        except UserError as error:
            complain(str(error))
            code = SOME_FAILED
            continue
        if changed:
            note(f"{path}: {changed}")
        for number, shares in enumerate(model.probabilities(images).tolist(), 1):
            rows.append((path, number, shares.index(max(shares)), max(shares)))
    show(format_predictions(rows, arguments.format == "csv"))
    return code


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


COMMANDS: Mapping[str, Command] = {
    "run": _run,
    "plot": _plot,
    "top": _top,
    "report": _report,
    "init": _init,
    "export": _export,
    "predict": _predict,
    "data": _data,
    "doctor": _doctor,
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code; never a traceback for what a user can mend."""
    sys.exit(_guarded(lambda: _main(argv)))


def _main(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    try:
        arguments = parser(COMMANDS).parse_args(words, argparse.Namespace(argv=words))
        _check_folder()
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: note(str(message))
            code: int = arguments.command(arguments)
    except SystemExit as end:  # argparse's, after --help or an error
        code = int(end.code or 0)
    show("", end="")
    return code


def _check_folder() -> None:
    try:
        os.getcwd()
    except OSError as error:
        raise UserError(f"the working folder is gone; cd to one that exists ({error})") from error


def _guarded(command: Callable[[], int]) -> int:
    try:
        return command()
    except UserError as error:
        complain(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}{_ADVICE.get(error.errno or 0, '')}")
    return BAD_INPUT
