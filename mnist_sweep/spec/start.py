"""A spec to start from: a new one, or another program's in the words of this one."""

from __future__ import annotations

from pathlib import Path

from mnist_sweep.config import FIELDS, SPEC_FIELDS
from mnist_sweep.labels import value_text
from mnist_sweep.spec.load import load_spec

_START = """\
# To see what would run: mnist-sweep run THIS_FILE --dry-run
model: mlp                       # or cnn
dataset: {name: mnist, validation_size: 5000}
seeds: 3                         # replicates of each configuration; or a list of seeds
metric: val_accuracy             # what to choose by
base: {epochs: 1}                # what all trials share
method: grid                     # or random, bayes: then count: 50, and ranges {min: 1, max: 9}
parameters:                      # what is swept
  lr: [1e-4, 1e-3, 1e-2]
  opt: [adam, sgd]
# What else may stand in base and in parameters, with its default:
"""


def new_spec() -> str:
    """A commented spec that runs as it is, and every hyperparameter with its default."""
    lines = [
        (f"{name}: {value_text(FIELDS[name].default, name)}", FIELDS[name].metadata["doc"])
        for name in SPEC_FIELDS
    ]
    return _START + "".join(f"#  {entry:29} # {doc}\n" for entry, doc in lines)


def ported_spec(path: Path) -> str:
    """The spec that the file at ``path`` stands for, its notes as comments. Raises SpecError."""
    spec = load_spec(path)
    return "".join(f"# {line}\n" for line in spec.warnings) + spec.resolved
