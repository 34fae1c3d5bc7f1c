"""What an addition costs: each is made in one place, and everything else works with it at once.

A model, an activation and an optimizer are entries of tables, which a test can add to. A field is
part of a class, so it is added to the source of a copy, whose own tests then run, too.
"""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinygrad import Tensor

from mnist_sweep.analysis.study import split_studies
from mnist_sweep.config import ACTIVATIONS, HPConfig
from mnist_sweep.data.dataset import load_dataset
from mnist_sweep.figures.draw import draw_figures
from mnist_sweep.models import MODELS, Model, Net
from mnist_sweep.optimizers import OPTIMIZERS, Optimizer
from mnist_sweep.plan import flops, plan, shape_of, stack_size
from mnist_sweep.results.file import read_results
from mnist_sweep.spec.load import load_spec
from mnist_sweep.training.compiled import CompiledShape, DeviceData
from mnist_sweep.training.net import initial_values, logits
from mnist_sweep.trial import DatasetConfig, Trial, TrialResult
from tests import reference
from tests.results_helpers import write
from tests.spec_helpers import trials

ROOT = Path(__file__).parents[1]
DATA = DatasetConfig(train_size=300, test_size=250)


def _residual(net: Net, x: Any, config: HPConfig) -> Any:
    """A small residual MLP, which has no width."""
    x = net.linear(x, 24)
    for _ in range(config.depth or 0):
        x = x + net.activation(net.linear(x, 24))
    return net.linear(x, net.classes)


def _heavy_ball(
    parameter: Any, gradient: Any, state: Any, lr: Any, _step: Any
) -> tuple[Any, list[Any]]:
    velocity = 0.5 * state[0] + gradient
    return parameter - lr * velocity, [velocity]


def _add(monkeypatch: pytest.MonkeyPatch, table: Mapping[str, Any], name: str, entry: Any) -> None:
    assert isinstance(table, dict)
    monkeypatch.setitem(table, name, entry)


@pytest.fixture
def additions(monkeypatch: pytest.MonkeyPatch) -> HPConfig:
    """A configuration of a model, an activation and an optimizer that are one entry each."""
    _add(monkeypatch, MODELS, "residual", Model(_residual, uses=("depth",)))
    _add(monkeypatch, ACTIVATIONS, "squash", lambda x: 2 * (2 * x).sigmoid() - 1)
    _add(monkeypatch, OPTIMIZERS, "heavy_ball", Optimizer(1, _heavy_ball))
    return HPConfig(
        model="residual", activation_fn="squash", opt="heavy_ball", batch_size=50, lr=0.05, depth=2
    )


def test_an_added_model_computes_and_learns_what_numpy_says(additions: HPConfig) -> None:
    """Forward, gradients, and two steps of training with an optimizer that has state of its own."""
    data = DeviceData(load_dataset(DATA))
    compiled = CompiledShape(shape_of(Trial(additions, DATA)), data)
    compiled.prepare(additions)
    values = {n: v.astype(np.float64) for n, v in initial_values(additions, 10).items()}
    velocity = {name: np.zeros_like(value) for name, value in values.items()}
    rows = np.random.default_rng([0, 1, 0]).permutation(data.dataset.train_rows)
    for step in range(2):
        compiled.train_step()
        batch = rows[50 * step :][:50]
        pixels = data.dataset.images[batch] / 255
        x = ((pixels - data.dataset.mean) / data.dataset.std).astype(np.float32)
        labels = data.dataset.labels[batch].astype(np.int32)
        expected = reference.logits(values, x, additions, True)
        tensors = {n: Tensor(v.astype(np.float32)).realize() for n, v in values.items()}
        out, _ = logits(tensors, Tensor(x), additions, training=True)
        loss = out.sparse_categorical_crossentropy(Tensor(labels))
        gradients = loss.gradient(*tensors.values())
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-4, atol=1e-4)
        for name, gradient in zip(tensors, gradients, strict=True):
            velocity[name] = 0.5 * velocity[name] + gradient.numpy()
            values[name] = values[name] - 0.05 * velocity[name]
    for name, trained in compiled.state().items():
        np.testing.assert_allclose(trained, values[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_an_added_model_is_stacked_and_priced_like_any_other(additions: HPConfig) -> None:
    seeds = [Trial(replace(additions, seed=seed), DATA) for seed in (0, 1)]
    data = DeviceData(load_dataset(DATA))
    alone = CompiledShape(shape_of(seeds[0]), data)
    together = CompiledShape(shape_of(seeds[0]), data, stack=2).train_stack(seeds)
    for trial, stacked in zip(seeds, together, strict=True):
        single = alone.train(trial)
        assert stacked.test_accuracy == pytest.approx(single.test_accuracy, abs=0.01)
        assert stacked.train_loss == pytest.approx(single.train_loss, rel=1e-3)
    weights = 784 * 24 + 2 * 24 * 24 + 24 * 10
    assert flops(seeds) == 2 * 300 * 2 * (3 * weights - 784 * 24)
    assert stack_size(shape_of(seeds[0]), 2**40) > 1
    assert len(plan(seeds)) == 1


def test_added_names_go_through_spec_csv_and_figures(additions: HPConfig, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "model: residual\nseeds: 2\nbase: {opt: heavy_ball}\n"
        "parameters: {activation_fn: [squash, relu], depth: [1, 2]}\n"
    )
    expanded = trials(load_spec(path))
    assert {trial.config.activation_fn for trial in expanded} == {"squash", "relu"}
    assert {trial.config.width for trial in expanded} == {None}
    rows = [
        TrialResult("s", trial, "ok", test_accuracy=0.9 + 0.01 * place)
        for place, trial in enumerate(expanded)
    ]
    write(tmp_path / "results.csv", *rows)
    read = read_results(tmp_path / "results.csv").results
    assert [row.trial for row in read] == expanded
    drawn = draw_figures(split_studies(read), tmp_path / "figures", "svg")
    assert any("activation_fn" in figure.name for figure in drawn.written)


FIELD = """
    inertia: float = _real(
        0.0, 0.999, "share of the last move that the next one keeps",
        extra=True, of="opt", slot=True,
    )  # fmt: skip
    arithmetic: str = _name("float32", {"float32": 4, "float16": 2}, "of sums", extra=True)
"""
ITS_USE = """
def _heavy_ball(
    parameter: Any, gradient: Any, state: Sequence[Any], lr: Any, _step: Any, inertia: Any
) -> tuple[Any, list[Any]]:
    velocity = inertia * state[0] + gradient
    return parameter - lr * velocity, [velocity]


OPTIMIZERS: Mapping[str, Optimizer] = {
    "heavy_ball": Optimizer(slots=1, update=_heavy_ball, uses=("inertia",)),
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose HPConfig has two more fields, one of words, and an optimizer that uses one."""
    copy = tmp_path_factory.mktemp("extended")
    for name in ("mnist_sweep", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "images")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "configs", "docs", "plots"):
        (copy / name).symlink_to(ROOT / name)
    for module, before, after in (
        ("config.py", "\n    def __post_init__", f"{FIELD}\n    def __post_init__"),
        ("optimizers.py", "\nOPTIMIZERS: Mapping[str, Optimizer] = {\n", ITS_USE),
    ):
        path = copy / "mnist_sweep" / module
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))
    return copy


def _run(copy: Path, *command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command],
        cwd=cwd or copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def test_an_added_field_breaks_no_test_of_specs_ids_plans_or_results(extended: Path) -> None:
    names = "config trial plan spec spec_overrides results results_columns table"
    files = [f"tests/test_{name}.py" for name in names.split()]
    _run(extended, "pytest", "-q", "-x", "-p", "no:cacheprovider", *files)


def test_an_added_word_that_is_off_is_in_no_id_and_nowhere_else(extended: Path) -> None:
    program = """
from mnist_sweep.config import HPConfig, settings
from mnist_sweep.trial import Trial
off, on = HPConfig(), HPConfig(arithmetic="float16")
print(Trial(off).trial_id, Trial(on).trial_id)
print(settings(off).get("arithmetic"), settings(on)["arithmetic"])
"""
    (extended / "words.py").write_text(program)
    off, on, *words = _run(extended, "words").split()
    assert off == Trial(HPConfig()).trial_id
    assert on != off
    assert words == ["None", "float16"]


def test_an_older_file_goes_on_with_an_added_field(extended: Path, tmp_path: Path) -> None:
    old = ROOT / "tests" / "release_0_1_0" / "mlp.csv"
    shutil.copy(old, tmp_path / "mlp.csv")
    (tmp_path / "mlp.yaml").write_text(
        "dataset: {name: mnist, train_size: 2000, validation_size: 500, test_size: 500}\n"
        "base: {width: 32, depth: 1, lr: 1e-3}\n"
        "parameters: {opt: [adam, heavy_ball], inertia: [0, 0.9]}\n"
    )
    said = _run(extended, "mnist_sweep", "run", "mlp.yaml", "-o", "mlp.csv", cwd=tmp_path)
    assert "inertia" in said  # with adam it means nothing, so that trial runs once
    assert "opt is adam" in said
    assert "3 of 3 trials done (2 in this run)" in said
    with (tmp_path / "mlp.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    later = ["stage", "val_loss", "test_loss", "val_images", "test_images"]
    assert [*rows[0]][-7:] == ["inertia", "arithmetic", *later]
    assert {row["arithmetic"] for row in rows} == {"float32"}
    trained = {row["inertia"]: row for row in rows if row["opt"] == "heavy_ball"}
    assert sorted(trained) == ["0.0", "0.9"]
    assert {row["inertia"] for row in rows if row["opt"] == "adam"} == {"0.0"}
    before = old.read_text(encoding="utf-8").splitlines()
    now = (tmp_path / "mlp.csv").read_text(encoding="utf-8").splitlines()
    added = f",0.0,0,uniform,0.0,float32,0.0,float32{',' * len(later)}"
    assert [line.removesuffix(added) for line in now[1 : len(before)]] == before[1:]
    slow, fast = (float(trained[inertia]["train_loss"]) for inertia in ("0.0", "0.9"))
    assert fast < slow  # it is used
    table = _run(extended, "mnist_sweep", "top", "mlp.csv", cwd=tmp_path)
    assert "inertia" in table
    assert "arithmetic" not in table
    figures = _run(extended, "mnist_sweep", "plot", "mlp.csv", "-o", "out", cwd=tmp_path)
    assert "inertia" in figures
