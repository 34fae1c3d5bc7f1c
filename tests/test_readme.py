"""The README says what the code says."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

from mnist_sweep.config import FIELDS, SPEC_FIELDS, HPConfig
from mnist_sweep.labels import value_text
from mnist_sweep.results.file import COLUMNS, CURVE_COLUMNS
from tests.runs import COMMAND

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _described(name: str) -> str:
    """A field's line in the table of hyperparameters."""
    meta, default = FIELDS[name].metadata, getattr(HPConfig, name)
    choices = f": {', '.join(meta['choices'])}" if meta["type"] is str else ""
    return f"| `{name}` | {value_text(default, name)} | {meta['doc']}{choices} |"


def test_every_hyperparameter_is_described_as_its_field_does() -> None:
    _, _, table = README.partition("| hyperparameter | default | meaning |\n|---|---|---|\n")
    lines = table.partition("\n\n")[0].splitlines()
    assert lines == [_described(name) for name in SPEC_FIELDS]


@cache
def _help(*command: str) -> str:
    return subprocess.run([*COMMAND, *command, "--help"], capture_output=True, text=True).stdout


def _commands() -> list[str]:
    return re.findall(r"^    (\w+)  ", _help(), re.MULTILINE)


def test_every_command_and_option_is_described_and_no_other() -> None:
    commands = _commands()
    assert {"run", "plot", "top", "report", "doctor"} <= set(commands)
    assert [name for name in commands if f"mnist-sweep {name}" not in README] == []
    texts = [_help(), *map(_help, commands)]
    options = {option for text in texts for option in re.findall(r"--[a-z-]+", text)}
    shown = re.findall(r"`([^`]*)`|^    (.*)$", README, re.MULTILINE)
    # Those of other programs: our scripts', pip's.
    ours = [line for line in map("".join, shown) if not re.match(r"\S*(scripts|bin)/|pip", line)]
    described = {option for line in ours for option in re.findall(r"--[a-z-]+", line)}
    assert described == options - {"--help"}


def test_the_columns_of_both_files_are_listed_in_their_order() -> None:
    """But for the hyperparameters, of which there is a table."""
    _, _, section = README.partition("## The results file")
    rows, curves = (
        re.findall(r"`([a-z_]+)`", section.partition(start)[2].partition(end)[0])
        for start, end in (("One row per trial:", "\n\n- "), ("`NAME.curves.csv`:", ";"))
    )
    statuses = {"ok", "diverged", "failed"}
    hyperparameters = set(SPEC_FIELDS)
    assert [name for name in rows if name not in statuses] == [
        name for name in COLUMNS if name not in hyperparameters
    ]
    assert tuple(curves) == CURVE_COLUMNS
