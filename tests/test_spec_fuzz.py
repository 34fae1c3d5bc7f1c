"""Promises of the spec reader about input that is wrong, hostile or arbitrary.

Each file of spec_corpus/ opens with the problems that it must be refused with, one ``#!`` line
each; ``...`` at the end stands for words of the YAML library.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnist_sweep.config import ACTIVATIONS, FIELD_NAMES, SPEC_FIELDS
from mnist_sweep.errors import SpecError
from mnist_sweep.metrics import CHOICE_METRICS
from mnist_sweep.models import MODELS
from mnist_sweep.optimizers import OPTIMIZERS
from mnist_sweep.search.methods import METHODS
from mnist_sweep.spec import yaml_lines
from mnist_sweep.spec.keys import KEYS
from mnist_sweep.spec.load import SweepSpec, load_spec
from mnist_sweep.trial import DatasetConfig
from tests.data_helpers import write_folder
from tests.spec_helpers import trials

CORPUS = sorted(Path(__file__).with_name("spec_corpus").glob("*.yaml"))

# No deadline: the time of an example says more about the machine than about the code.
QUIET = settings(deadline=None)


#: What stands in the corpus for a list that grows with the package.
LISTS = {
    "keys": KEYS,
    "hyperparameters": SPEC_FIELDS,
    "methods": METHODS,
    "metrics": CHOICE_METRICS,
    "optimizers": OPTIMIZERS,
    "activations": ACTIVATIONS,
    "models": MODELS,
}


def outcome_of(path: Path, **arguments: Any) -> SweepSpec | list[str]:
    """The spec, or the problems that it is refused with."""
    try:
        return load_spec(path, **arguments)
    except SpecError as error:
        return error.problems


def problems_of(path: Path) -> list[str]:
    outcome = outcome_of(path)
    return [] if isinstance(outcome, SweepSpec) else outcome


def problems_of_bytes(folder: Path, raw: bytes) -> list[str]:
    path = folder / "sweep.yaml"
    path.write_bytes(raw)
    return [problem.removeprefix(f"{folder}/") for problem in problems_of(path)]


def assert_as_expected(path: Path) -> None:
    head = path.read_bytes().decode("latin-1").splitlines()
    expected = [f"{path}:{line[3:]}" for line in head if line.startswith("#! ")]
    for name, words in LISTS.items():
        expected = [line.replace(f"<{name}>", ", ".join(words)) for line in expected]
    refused_with = problems_of(path)
    assert expected
    assert [
        problem[: len(line) - 3] + "..." if line.endswith("...") else problem
        for problem, line in zip(refused_with, expected, strict=False)
    ] == expected
    assert len(refused_with) == len(expected)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_hostile_file_is_refused_with_exactly_its_problems(path: Path) -> None:
    assert_as_expected(path)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_hostile_file_is_refused_alike_without_libyaml(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_lines, "_LOADER", yaml.SafeLoader)
    assert_as_expected(path)


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "nope.yaml"
    assert problems_of(path) == [f"{path}: no such file; check the path"]


def test_folder_is_one_line(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path}: is a folder; give the YAML file of a sweep"]


@pytest.mark.parametrize("name", ["a\0b.yaml", "x" * 5000 + ".yaml", "file.yaml/sub.yaml"])
def test_path_that_cannot_be_opened_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.yaml").touch()
    (problem,) = problems_of(tmp_path / name)
    assert "cannot be read (" in problem
    assert problem.isprintable()


def test_file_over_one_megabyte_is_refused_unread(tmp_path: Path) -> None:
    assert problems_of_bytes(tmp_path, b"# " + b"x" * 1_000_000) == [
        "sweep.yaml: is larger than 1 MB; this does not look like a sweep spec"
    ]


def test_endless_file_is_refused() -> None:
    assert problems_of(Path("/dev/zero")) == [
        "/dev/zero: is larger than 1 MB; this does not look like a sweep spec"
    ]


def test_utf16_is_refused(tmp_path: Path) -> None:
    assert problems_of_bytes(tmp_path, "seeds: 1\n".encode("utf-16")) == [
        "sweep.yaml:1: is not UTF-8 text; save the file as UTF-8"
    ]


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbfseeds: 2\n", b"seeds: 2\r\nmodel: mlp\r\n"])
def test_byte_order_mark_and_dos_line_ends_are_fine(tmp_path: Path, raw: bytes) -> None:
    assert problems_of_bytes(tmp_path, raw) == []


def test_more_than_a_hundred_problems_are_cut(tmp_path: Path) -> None:
    noted = problems_of_bytes(tmp_path, b"".join(b"key%d: 1\n" % i for i in range(50_000)))
    assert len(noted) == 101
    assert noted[-1] == "sweep.yaml:101: too many problems; put the ones above right first"


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 999_999,
        b"{" * 999_999,
        b"- " * 499_999,
        b"? " * 499_999,
        b"a: " * 300_000,
        b"&a " * 300_000,
        b"!" * 999_999,
        b"'" * 999_999,
        b"seeds: " + b"9" * 990_000,
        b"base: {lr: [" + b"1," * 120_000 + b"]}",
        b"parameters: {lr: [" + b"1e-3," * 50_000 + b"]}",
        b"a" * 999_000 + b": 1",
        b"method: random\ncount: 9\nparameters: {lr: {min: 1, max: 1.0000000000000002}}",
        b"method: random\ncount: 2\nparameters: {epochs: {min: 1, max: 100000}, patience: {min: 1, "
        b"max: 1000000}}\nexclude: [{patience: 1, epochs: [%s]}]" % b",".join([b"1"] * 100),
    ],
    ids=lambda raw: raw[:12].decode(),
)
def test_no_file_takes_long(tmp_path: Path, raw: bytes) -> None:
    start = time.process_time()
    problems_of_bytes(tmp_path, raw)
    # Seconds of CPU time; what is quadratic in the size of the file takes minutes.
    assert time.process_time() - start < 10


def assert_spec_or_problems(raw: bytes, overrides: tuple[str, ...] = ()) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_bytes(raw)
        outcome = outcome_of(path, overrides=overrides)
    if isinstance(outcome, SweepSpec):
        assert trials(outcome)
    else:
        assert outcome
        assert all(problem.isprintable() for problem in outcome)
        assert all(problem.startswith((str(path), "--set ")) for problem in outcome)


WORDS = st.sampled_from([*KEYS, *FIELD_NAMES]) | st.sampled_from(
    [
        *("values", "value", "min", "max", "file", "top", "dir", "goal", "validation_size"),
        *("distribution", "q", "mu", "sigma", "probabilities", "parameters", "optimizer"),
        *("learning_rate", "early_terminate", "min_iter", "layer1_size", "layer2_size"),
    ]
)
SCALARS = (
    (WORDS | st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=5))
    | st.sampled_from([1, 2, 1e-3, "1e-3", "0.1", "mnist", "cnn", "random", "sgd", "train_loss"])
    | st.sampled_from(
        ["log_uniform", "q_normal", "constant", "nesterov", "Adam", "val/acc", "bayes"]
    )
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@QUIET
@given(st.text())
@example("\u2028- \t")
def test_any_text_gives_a_spec_or_problems(text: str) -> None:
    assert_spec_or_problems(text.encode("utf-8", "surrogatepass"))


@QUIET
@given(st.binary())
def test_any_bytes_give_a_spec_or_problems(raw: bytes) -> None:
    assert_spec_or_problems(raw)


@QUIET
@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@,? \n\t1.~", max_size=40))
def test_any_yaml_punctuation_gives_a_spec_or_problems(text: str) -> None:
    assert_spec_or_problems(text.encode())


@settings(QUIET, max_examples=300)
@given(st.dictionaries(st.sampled_from([*KEYS, "run_cap", "early_terminate"]), TREES, max_size=6))
def test_any_tree_under_the_known_keys_gives_a_spec_or_problems(tree: dict[str, Any]) -> None:
    assert_spec_or_problems(yaml.safe_dump(tree, allow_unicode=True).encode())


@QUIET
@given(st.lists(st.text() | st.builds("{}={}".format, WORDS, st.text()), max_size=3))
def test_any_override_gives_a_spec_or_problems(overrides: list[str]) -> None:
    assert_spec_or_problems(b"dataset: mnist\n", tuple(overrides))


@QUIET
@given(st.builds("{}.{}={}".format, WORDS, WORDS, SCALARS | TREES.map(repr)))
def test_any_dotted_override_gives_a_spec_or_problems(override: str) -> None:
    assert_spec_or_problems(b"parameters: {lr: [1e-3]}\nseeds: [1]\nmetric: x\n", (override,))


@QUIET
@given(st.text(), st.booleans())
def test_any_data_folder_fits_one_cell_or_is_refused(data_dir: str, there: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text("seeds: 1\n")
        if there:
            data_dir = f"{folder}/_{data_dir}"
            with contextlib.suppress(OSError, ValueError):
                write_folder(Path(data_dir))
        outcome = outcome_of(path, data_dir=data_dir)
    if isinstance(outcome, SweepSpec):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", outcome.dataset.name)
        assert DatasetConfig.from_label(outcome.dataset.label) == outcome.dataset
    else:
        assert len(outcome) == 1
        assert outcome[0].startswith("--data-dir ")
        assert outcome[0].isprintable()
