"""The README says what the code says."""

from __future__ import annotations

from pathlib import Path

from mnist_sweep.config import FIELDS, SPEC_FIELDS, HPConfig
from mnist_sweep.labels import value_text

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _described(name: str) -> str:
    """A field's line in the table of hyperparameters."""
    meta, default = FIELDS[name].metadata, getattr(HPConfig, name)
    choices = f": {', '.join(meta['choices'])}" if meta["type"] is str else ""
    return f"| `{name}` | {value_text(default, name)} | {meta['doc']}{choices} |"


def test_every_hyperparameter_is_described_as_its_field_does() -> None:
    _, _, table = README.partition("| hyperparameter | default | meaning |\n|---|---|---|\n")
    lines = table.partition("\n\n")[0].splitlines()
    assert lines == [_described(name) for name in SPEC_FIELDS]
