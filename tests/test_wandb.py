"""Promises about W&B sweep files: they run as they are, or say by line what means nothing here.

A file of wandb_corpus/ opens with what it must come to: ``#=`` the trials that are asked for first,
and lines of the resolved spec; ``#!`` the problems that it must be refused with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import yaml

from mnist_sweep.aliases import meant, names, suggest
from mnist_sweep.cli import main
from mnist_sweep.config import FIELDS, SPEC_FIELDS, HPConfig
from mnist_sweep.devices import DEVICES
from mnist_sweep.metrics import CHOICE_METRICS
from mnist_sweep.search.methods import METHODS
from mnist_sweep.search.space import Interval
from mnist_sweep.spec.keys import KEYS
from mnist_sweep.spec.load import load_spec
from mnist_sweep.spec.start import ported_spec
from tests.data_helpers import SMALL, write_folder
from tests.runs import rows
from tests.spec_helpers import configs, load, problems, trials
from tests.test_cli import run
from tests.test_spec_fuzz import assert_as_expected

CORPUS = sorted(Path(__file__).with_name("wandb_corpus").glob("*.yaml"))
RUNNING = [path for path in CORPUS if not path.stem.startswith("refused")]


def expected(path: Path) -> list[str]:
    return [line[3:] for line in path.read_text().splitlines() if line.startswith("#= ")]


@pytest.mark.parametrize("path", RUNNING, ids=lambda path: path.stem)
def test_file_runs_as_it_is(path: Path, tmp_path: Path) -> None:
    spec = load_spec(path)
    number, *lines = expected(path)
    assert f"{len(trials(spec))} trials" == number
    for line in lines:
        assert line in [written.strip() for written in spec.resolved.splitlines()], spec.resolved
    ported = tmp_path / path.name
    ported.write_text(ported_spec(path))
    assert trials(load_spec(ported)) == trials(spec)
    assert yaml.safe_load(ported.read_text()) == yaml.safe_load(spec.resolved)


@pytest.mark.parametrize("path", [p for p in CORPUS if p not in RUNNING], ids=lambda p: p.stem)
def test_file_is_refused_by_its_lines(path: Path) -> None:
    assert_as_expected(path)


def test_notes_say_once_what_was_read_as_what_and_what_was_not_read(tmp_path: Path) -> None:
    text = """\
program: train.py
method: random
metric: {name: val/accuracy, goal: maximize, target: 0.99}
run_cap: 2
command: ["${env}", python]
parameters:
  learning-rate: {values: [1e-3, 1e-2, 1e-3]}
  optimizer: {values: [Adam, sgd]}
  activation: {value: Swish}
  loss: {value: cross_entropy}
"""
    file = f"{tmp_path}/sweep.yaml"
    assert list(load(tmp_path, text).warnings) == [
        f"{file}: reads run_cap as count, learning-rate as lr, optimizer as opt, activation as "
        "activation_fn, val/accuracy as val_accuracy, Swish as silu",
        f"{file}: program, command, loss: nothing that matters here",
        f"{file}: model: not given; mlp is taken, not cnn",
        f"{file}:3: metric.target: no search here acts on it",
        f"{file}:3: metric: val_accuracy needs images to validate on; 5,000 are taken from the "
        "training set (dataset: validation_size:)",
        f"{file}:7: lr: 1e-3: given twice, counts once",
    ]
    assert load(tmp_path, "model: mlp\nparameters: {lr: [1e-3]}\n").warnings == ()


def test_a_note_says_what_means_something_else_in_a_wandb_file(tmp_path: Path) -> None:
    command = ["${env}", "python", "train.py", "--hidden_size", "64", "optim/lr=0.1", "${args}"]
    text = f"program: a.py\ncommand: {command}\nmodel: mlp\nparameters: {{patience: [5]}}\n"
    file = f"{tmp_path}/sweep.yaml"
    assert list(load(tmp_path, text).warnings) == [
        f"{file}: program: nothing that matters here",
        f"{file}: patience: of the plateau schedule, in steps; no run stops early here",
        f"{file}:2: command: sets width, lr, which is not read; give it in base:",
    ]
    assert load(tmp_path, "model: mlp\nparameters: {patience: [5]}\n").warnings == ()
    ranges = "parameters: {lr: {min: 1, max: 2}, depth: {min: 1, max: 2}}"
    (note,) = load(tmp_path, f"method: random\ncount: 9\n{ranges}\n").warnings
    assert note == f"{file}:3: lr: any number from 1 to 2, where W&B draws whole ones"


# Distributions


def drawn(folder: Path, name: str, form: str) -> Interval:
    text = f"method: bayes\ncount: 1\nparameters: {{{name}: {{{form}}}}}\n"
    search: Any = load(folder, text).search
    domain: Interval = search.space.grids[0][name]
    return domain


@pytest.mark.parametrize(
    ("form", "quantile"),
    [
        ("uniform, min: 1, max: 3", lambda f: 1 + 2 * f),
        ("log_uniform, min: -7, max: 2", lambda f: math.exp(-7 + 9 * f)),
        ("log_uniform_values, min: 1e-4, max: 10", lambda f: 10 ** (-4 + 5 * f)),
        ("log-uniform-values, min: 1e-4, max: 10", lambda f: 10 ** (-4 + 5 * f)),
        ("inv_log_uniform, min: -2, max: 7", lambda f: math.exp(-7 + 9 * f)),
        ("inv_log_uniform_values, min: 1e-4, max: 10", lambda f: 10 ** (-4 + 5 * f)),
        ("normal, mu: 500, sigma: 9", NormalDist(500, 9).inv_cdf),
        ("log_normal, mu: -3, sigma: 0.5", lambda f: math.exp(NormalDist(-3, 0.5).inv_cdf(f))),
        ("q_normal, mu: 500, sigma: 90, q: 20", lambda f: _near(NormalDist(500, 90), f, 20)),
        ("q_log_uniform_values, min: 1, max: 100, q: 5", lambda f: max(1, 5 * round(100**f / 5))),
    ],
)
def test_a_distribution_means_what_it_means_to_wandb(
    tmp_path: Path, form: str, quantile: Callable[[float], float]
) -> None:
    domain = drawn(tmp_path, "lr", f"distribution: {form}")
    for fraction in (0.1, 0.25, 0.5, 0.77, 0.9):
        value = domain.at(fraction)
        assert value == pytest.approx(quantile(fraction), rel=1e-5)
        assert float(f"{value:.6g}") == value
        if not domain.step:
            assert domain.fraction(value) == pytest.approx(fraction, abs=1e-4)


def _near(normal: NormalDist, fraction: float, step: int) -> float:
    return step * round(normal.inv_cdf(fraction) / step)


@pytest.mark.parametrize(
    ("name", "form", "values"),
    [
        ("depth", "min: 1, max: 3", [1, 2, 3]),
        ("depth", "distribution: uniform, min: 1, max: 3.0", [1, 2, 3]),
        ("width", "distribution: q_uniform, min: 32, max: 100, q: 32", [32, 64, 96]),
        ("dropout", "distribution: q_uniform, min: 0, max: 0.3, q: 0.1", [0, 0.1, 0.2, 0.3]),
        ("dropout", "distribution: int_uniform, min: 0, max: 0.9", [0]),
        ("lr", "distribution: constant, value: 3", [3]),
        ("lr", "distribution: categorical, values: [3, 4]", [3, 4]),
    ],
)
def test_what_can_be_listed_is_a_list_also_for_a_grid(
    tmp_path: Path, name: str, form: str, values: Sequence[float]
) -> None:
    spec = load(tmp_path, f"parameters: {{{name}: {{{form}}}}}\n")
    assert [value for (value,) in configs(spec, name)] == values


def test_whole_numbers_stay_whole_on_a_log_scale_and_in_the_range_of_their_field(
    tmp_path: Path,
) -> None:
    log = drawn(tmp_path, "width", "distribution: log_uniform_values, min: 16, max: 1024")
    values = [log.at(place / 1000) for place in range(1001)]
    assert {type(value) for value in values} == {int}
    assert (min(values), max(values)) == (16, 1024)
    assert 0.48 < sum(value < 128 for value in values) / 1001 < 0.52
    wide = drawn(tmp_path, "depth", "distribution: normal, mu: 3, sigma: 50")
    assert {1, 100} <= {wide.at(place / 1000) for place in range(1001)} <= set(range(1, 101))
    # W&B's own example begins at a rate of 0, which is no rate and never drawn.
    assert 0 < drawn(tmp_path, "lr", "min: 0, max: 0.1").at(0) < 1e-6


def test_probable_values_are_drawn_earlier(tmp_path: Path) -> None:
    text = """\
method: random
sampling_seed: {}
count: 1
parameters: {{opt: {{values: [adam, sgd], probabilities: [0.9, 0.1]}}}}
"""
    first = [configs(load(tmp_path, text.format(seed)), "opt")[0] for seed in range(100)]
    assert 0.8 < first.count(("adam",)) / 100 < 0.97
    both = load(tmp_path, text.format(0).replace("count: 1", "count: 2"))
    assert set(configs(both, "opt")) == {("adam",), ("sgd",)}
    grid = load(tmp_path, text[text.index("parameters") :].format())
    assert any("probabilities: nothing that matters here" in line for line in grid.warnings)


# Names


def test_no_alias_is_another_name_of_two_things() -> None:
    choices = [field.metadata["choices"] for field in FIELDS.values() if field.type == "str"]
    for options in (SPEC_FIELDS, [*SPEC_FIELDS, "seeds", "model"], METHODS, KEYS, *choices):
        for option in options:
            for alias in names(option):
                assert meant(alias, options) == option, alias
                assert [other for other in options if meant(alias, [other])] == [option]


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ("learning_rate", "lr"),
        ("Learning-Rate", "lr"),
        ("learningRate", "lr"),
        ("model.lr", "lr"),
        ("optimizer.name", "opt"),
        ("fc_layer_size", "width"),
        ("n_hidden_layers", "depth"),
        ("WD", "weight_decay"),
        ("decay", None),
        ("hidden", None),
        ("gamma", None),
        ("scheduler", "lr_schedule"),
        ("num_neurons_per_layer", "width"),
        ("number_of_fc_layers", "depth"),
        ("fc_layer", None),
        ("keep_prob", None),
        ("batch_norm", None),
    ],
)
def test_a_name_means_one_thing_or_none(written: str, field: str | None) -> None:
    assert meant(written, SPEC_FIELDS) == field


@pytest.mark.parametrize(
    ("written", "metric"),
    [
        ("val_acc", "val_accuracy"),
        ("val/accuracy", "val_accuracy"),
        ("Validation Accuracy", "val_accuracy"),
        ("accuracy", "val_accuracy"),
        ("test.acc", "test_accuracy"),
        ("acc_train", "train_accuracy"),
        ("training_loss", "train_loss"),
        ("epoch/val_accuracy", "val_accuracy"),
        ("val/loss_epoch", "val_loss"),
        ("epoch/loss", None),
        ("val_f1", None),
        ("best_val_acc", None),
    ],
)
def test_a_metric_is_known_by_its_words(written: str, metric: str | None) -> None:
    assert meant(written, CHOICE_METRICS) == metric


NAMES = (*SPEC_FIELDS, "momentum", "nesterov", "weight_init", "clip_norm")
OPTIMIZER_NAMES = ("adam", "adamw", "sgd", "rmsprop", "nadam", "adagrad", "adamax")
ACTIVATION_NAMES = ("relu", "silu", "gelu", "elu", "leaky_relu", "tanh", "sigmoid")


@pytest.mark.parametrize(
    ("word", "options", "name"),
    [
        ("adma", OPTIMIZER_NAMES, "adam"),
        ("sdg", OPTIMIZER_NAMES, "sgd"),
        ("rmspro", OPTIMIZER_NAMES, "rmsprop"),
        ("rellu", ACTIVATION_NAMES, "relu"),
        ("tahn", ACTIVATION_NAMES, "tanh"),
        ("sigmod", ACTIVATION_NAMES, "sigmoid"),
        ("widht", NAMES, "width"),
        ("lerning_rate", NAMES, "lr"),
        ("lr_dekay", NAMES, "lr_decay"),
        ("batch_sise", NAMES, "batch_size"),
        ("hidden_sise", NAMES, "width"),
        ("ephocs", NAMES, "epochs"),
        ("test_acuracy", CHOICE_METRICS, "test_accuracy"),
        ("CDUA", DEVICES, "CUDA"),
    ],
)
def test_a_slip_of_the_pen_is_recognised(word: str, options: Sequence[str], name: str) -> None:
    assert suggest(word, options) == f"; did you mean '{name}'?"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("radam adan nadamw adamp lion adadelta amsgrad adabelief lamb lars", OPTIMIZER_NAMES),
        ("selu celu prelu relu6 mish softplus hardswish softmax", ACTIVATION_NAMES),
        ("decay gamma min_lr lr_step lr_gamma hidden weight_norm weight_std kernel_size", NAMES),
        ("input_size class_weight num_heads max_steps dropout_1 dropout_fc warmup seq_len", NAMES),
        ("val_f1 error auc recall", CHOICE_METRICS),
        ("GPU TPU", DEVICES),
    ],
)
def test_another_thing_is_never_suggested(words: str, options: Sequence[str]) -> None:
    assert [suggest(word, options) for word in words.split()] == [""] * len(words.split())


@pytest.mark.parametrize(
    ("owner", "text"),
    [
        ("Optuna", "study_name: a\nn_trials: 9\nparameters: {lr: {low: 1e-5, high: 0.1}}\n"),
        ("Hydra", "defaults: [_self_]\nhydra: {sweeper: {params: {lr: 0.1}}}\nlr: 0.1\n"),
        ("NNI", "searchSpace: {lr: {_type: loguniform, _value: [1e-4, 0.1]}}\ntuner: TPE\n"),
        ("Guild", "- model: mnist\n  operations: {train: {flags: {lr: [0.1]}}}\n"),
        ("Determined", "hyperparameters: {lr: {base: 10}}\nsearcher: {name: random}\n"),
        ("Ray Tune", "param_space: {lr: {loguniform: [1e-4, 0.1]}}\n"),
        ("Keras Tuner", "hyperparameters: {space: [{class_name: Int, config: {name: units}}]}\n"),
        ("SageMaker", "Strategy: Bayesian\nParameterRanges: {ContinuousParameterRanges: []}\n"),
        ("Ax", "parameters: [{name: lr, bounds: [0.1, 1.0], log_scale: true}]\n"),
        ("Azure ML", "search_space: {lr: {type: uniform}}\nsampling_algorithm: random\n"),
        ("Katib", "kind: Experiment\nspec: {parameters: [{feasibleSpace: {min: 0.1}}]}\n"),
        ("Vertex AI", "studySpec: {parameters: [{parameterId: lr}]}\n"),
        ("Jupyter", '{"cells": [], "nbformat": 4}\n'),
    ],
)
def test_a_file_for_another_program_is_one_line(tmp_path: Path, owner: str, text: str) -> None:
    assert problems(tmp_path, text) == [
        f"sweep.yaml:1: this is a file for {owner}, not a spec; mnist-sweep init writes one"
    ]


# Paths


def test_a_path_is_looked_for_beside_the_spec_then_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_folder(tmp_path / "work" / "here")
    write_folder(tmp_path / "specs" / "beside")
    for name, place in (("here", "here"), ("beside", str(tmp_path / "specs" / "beside"))):
        spec = load(tmp_path / "specs", f"dataset: {{dir: {name}}}\n", "batch_size=9")
        assert spec.dataset.label == f"{name}@{SMALL}"
        assert yaml.safe_load(spec.resolved)["dataset"]["dir"] == place
    monkeypatch.setenv("HOME", str(tmp_path / "specs"))
    assert load(tmp_path, "dataset: {dir: ~/beside}\n", "batch_size=9").dataset.digest == SMALL
    asked: list[Path] = []

    def read(path: Path, *_: Any) -> list[HPConfig]:
        asked.append(path)
        return [HPConfig()]

    load(tmp_path, "from_results: {file: ~/a.csv, top: 1}\n", best_configs=read)
    assert asked == [tmp_path / "specs" / "a.csv"]


# Commands


def test_init_writes_a_spec_that_runs_and_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.yaml"
    for code in (0, 2):
        with pytest.raises(SystemExit) as ended:
            main(["init", "-o", str(path)])
        assert ended.value.code == code
    assert "new.yaml is there already; name another file" in capsys.readouterr().err
    spec = load_spec(path)
    assert spec.warnings == ()
    assert len(trials(spec)) == 18
    text = path.read_text()
    commented = "".join(line[1:] for line in text.splitlines(True) if line.startswith("#  "))
    assert [*yaml.safe_load(commented)] == [*SPEC_FIELDS]
    assert configs(load(tmp_path, f"base:\n{commented}"), *SPEC_FIELDS) == [
        tuple(getattr(HPConfig(), name) for name in SPEC_FIELDS)
    ]


def test_a_wandb_file_is_run_and_ranked_by_its_own_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wandb.yaml").write_text("""\
program: train.py
method: random
metric: {name: val_acc, goal: maximize}
run_cap: 3
early_terminate: {type: hyperband, min_iter: 1, eta: 3}
parameters:
  learning_rate: {distribution: log_uniform, min: -7, max: -4}
  hidden_size: {value: 16}
  optimizer: {value: SGD}
  epochs: {value: 2}
""")
    small = ["--set", "dataset={train_size: 300, test_size: 200, validation_size: 200}"]
    done = run("run", "wandb.yaml", "--device", "CPU", "--jobs", "1", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 trials done (4 in this run)" in done.stdout
    assert "reads run_cap as count, learning_rate as lr" in done.stderr
    table = rows(tmp_path / "results" / "wandb.csv")
    assert [(row["epochs"], row["stage"]) for row in table] == [("1", "")] * 3 + [("2", "rung 2")]
    assert all(len(row["lr"].lstrip("0.")) <= 6 for row in table)
    again = trials(load_spec(tmp_path / "results" / "wandb.spec.yaml"))
    assert [trial.trial_id for trial in again] == [row["trial_id"] for row in table[:3]]
    with pytest.raises(SystemExit):
        main(["top", str(tmp_path / "results" / "wandb.csv"), "--by", "acc"])
    assert "validation accuracy" in capsys.readouterr().out
