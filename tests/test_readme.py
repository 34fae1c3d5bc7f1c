"""The README and the pages of docs/ say what the code says."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from functools import cache
from pathlib import Path

import pytest

from mnist_sweep.cli import main
from mnist_sweep.config import FIELDS, SPEC_FIELDS, HPConfig
from mnist_sweep.labels import value_text
from mnist_sweep.results.file import COLUMNS, CURVE_COLUMNS
from tests.python_examples import README as IN_PYTHON
from tests.runs import COMMAND

ROOT = Path(__file__).parents[1]
README, SPEC, COMMANDS, STUDY = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "docs/spec.md", "docs/commands.md", "docs/study.md")
)


def _described(name: str) -> str:
    """A field's line in the table of hyperparameters."""
    meta, default = FIELDS[name].metadata, getattr(HPConfig, name)
    choices = f": {', '.join(meta['choices'])}" if meta["type"] is str else ""
    return f"| `{name}` | {value_text(default, name)} | {meta['doc']}{choices} |"


def test_every_hyperparameter_is_described_as_its_field_does() -> None:
    _, _, table = SPEC.partition("| hyperparameter | default | meaning |\n|---|---|---|\n")
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
    assert [name for name in commands if f"mnist-sweep {name}" not in COMMANDS] == []
    texts = [_help(), *map(_help, commands)]
    options = {option for text in texts for option in re.findall(r"--[a-z-]+", text)}
    shown = re.findall(r"`([^`]*)`|^    (.*)$", COMMANDS + SPEC, re.MULTILINE)
    # Those of other programs: our scripts', pip's.
    ours = [line for line in map("".join, shown) if not re.match(r"\S*(scripts|bin)/|pip", line)]
    described = {option for line in ours for option in re.findall(r"--[a-z-]+", line)}
    assert described == options - {"--help"}


def test_the_columns_of_both_files_are_listed_in_their_order() -> None:
    """But for the hyperparameters, of which there is a table."""
    _, _, section = COMMANDS.partition("## The results file")
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


def test_the_first_screen_shows_what_its_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the published rows; only a run that trains says how many trials it did itself."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "results").mkdir()
    for name in ("quickstart.csv", "quickstart.curves.csv"):
        shutil.copy(ROOT / "plots" / "results" / name, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    screen = README.partition("\n## ")[0]
    blocks = re.findall(r"^    \$ mnist-sweep (.*)\n((?:    .*\n)+)", screen, re.MULTILINE)
    assert [command.split()[0] for command, _ in blocks] == ["run", "top"]
    for command, shown in blocks:
        with pytest.raises(SystemExit) as end:
            main(command.split())
        assert end.value.code == 0
        printed = capsys.readouterr().out.replace("(0 in this run)", "(18 in this run)")
        assert printed.startswith(textwrap.dedent(shown))


def test_accuracies_of_the_readme_are_the_study_s() -> None:
    text = " ".join(README.partition("\n## ")[0].split("How good.")[1].split())
    said = re.findall(r"\d+\.\d+ ± \d+\.\d+(?= %)", text)
    assert len(said) == 3
    assert [accuracy for accuracy in said if accuracy not in STUDY] == []


def test_the_readme_is_short_and_every_file_that_it_names_is_there() -> None:
    assert len(README.splitlines()) <= 160
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "plots" / "README.md"]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)[#)]", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_example_runs_as_it_stands_and_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On fewer images; the commands are those of test_cli."""
    (spec,) = re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    few = "validation_size: 500, train_size: 500, test_size: 500"
    (tmp_path / "sweep.yaml").write_text(spec.replace("validation_size: 5000", few))
    monkeypatch.chdir(tmp_path)
    exec(IN_PYTHON, {})
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert (tmp_path / "results" / "sweep" / "ranking.png").exists()
