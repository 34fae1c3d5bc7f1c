"""What the trials were run on and with, and when, from their rows; what wrote the report."""

from __future__ import annotations

import platform
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

from mnist_sweep.devices import find_compiler
from mnist_sweep.labels import count, dataset_text, duration
from mnist_sweep.report.markup import Html, element
from mnist_sweep.results.file import ResultsFile
from mnist_sweep.trial import TrialResult


def environment(sources: Sequence[ResultsFile], results: Sequence[TrialResult]) -> Html:
    """A section: files, sweeps, data sets, devices, versions, dates and times."""
    facts = [
        ("results", [f"{s.path.name} ({count(len(s.results), 'trial')})" for s in sources]),
        ("sweeps", _counted(result.sweep for result in results)),
        ("data sets", _counted(dataset_text(result.trial.dataset.label) for result in results)),
        ("devices", _counted(result.device for result in results)),
        ("tinygrad", _counted(result.tinygrad_version for result in results)),
        ("mnist-sweep", _counted(result.mnist_sweep_version for result in results)),
        ("finished", [span(results)] if results else []),
        ("training time", _total(result.train_seconds for result in results)),
        ("compile time", _total(result.compile_seconds for result in results)),
        ("this report was written on", _this_machine()),
    ]
    said = [(name, "; ".join(values)) for name, values in facts if values]
    rows = [element("tr", element("th", name, scope="row"), element("td", v)) for name, v in said]
    table = element("table", element("tbody", *rows), class_="facts")
    return element("section", element("h2", "Environment"), element("div", table, class_="card"))


@cache
def _this_machine() -> list[str]:
    # Linux says there what Python does not know.
    told = Path("/proc/cpuinfo")
    text = told.read_text(errors="replace") if told.exists() else ""
    model = re.search(r"^model name\s*: (.+)", text, re.MULTILINE)
    compiler = "no C compiler"
    if found := find_compiler():
        command = [found.program, "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        compiler = said.partition("\n")[0] or found.program
    return [
        model[1] if model else platform.processor() or platform.machine(),
        f"Python {platform.python_version()}",
        f"numpy {version('numpy')}",
        compiler,
        "this machine need not be the one that trained",
    ]


def _counted(values: Iterable[str]) -> list[str]:
    """Each of ``values`` with its number of trials; only the value where it is one for all."""
    counts = Counter(values)
    if set(counts) == {""}:
        return []
    if len(counts) == 1:
        return list(counts)
    return [f"{value or 'unknown'} ({count(n, 'trial')})" for value, n in counts.most_common()]


def _total(seconds: Iterable[float | None]) -> list[str]:
    measured = [value for value in seconds if value is not None]
    if not measured:
        return []
    return [f"{duration(sum(measured))} of wall time, {count(len(measured), 'trial')} added up"]


def span(results: Iterable[TrialResult]) -> str:
    """When ``results`` finished: "2026-11-24 16:30 to 17:05 UTC"."""
    dates = sorted(result.finished_at for result in results if result.finished_at)
    if not dates:
        return "at unknown times"
    (first, start), (last, end) = ((d[:10], d[11:16]) for d in (dates[0], dates[-1]))
    if (first, start) == (last, end):
        return f"{first} {start} UTC"
    return f"{first} {start} to {end} UTC" if first == last else f"{first} to {last}"
