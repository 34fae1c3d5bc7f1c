"""Promises of a trial's identity and of the data set's label."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_sweep.config import FIELD_NAMES, FIELDS, HPConfig
from mnist_sweep.labels import dataset_text
from mnist_sweep.trial import DatasetConfig, Trial

SIZES = st.none() | st.integers(min_value=1, max_value=10**9)
NAMES = st.text(min_size=1).filter(lambda name: ";" not in name)


def _other_value(name: str) -> Any:
    """A value of the field that is not its default."""
    meta, default = FIELDS[name].metadata, getattr(HPConfig, name)
    if meta["type"] is str:
        return next(choice for choice in meta["choices"] if choice != default)
    return default + 1 if meta["type"] is int else (default + meta["high"]) / 2


def test_trial_ids_of_published_results_still_hold() -> None:
    assert Trial(HPConfig()).trial_id == "af79b823cc5d"
    config = HPConfig(model="cnn", lr=3e-3, lr_schedule="cosine", epochs=5, seed=4)
    dataset = DatasetConfig("data/fashion", validation_size=5000, train_size=50_000)
    assert Trial(config, dataset).trial_id == "7fc3263d6d84"


def test_trial_id_is_twelve_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{12}", Trial(HPConfig()).trial_id)


def test_equal_settings_share_an_id() -> None:
    assert Trial(HPConfig(lr=1)).trial_id == Trial(HPConfig(lr=1.0)).trial_id
    assert Trial(HPConfig()).trial_id == Trial(HPConfig(), DatasetConfig()).trial_id


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_hyperparameter_changes_the_id(name: str) -> None:
    other = dataclasses.replace(HPConfig(), **{name: _other_value(name)})
    assert Trial(other).trial_id != Trial(HPConfig()).trial_id


@pytest.mark.parametrize(
    "dataset",
    [
        DatasetConfig("./mnist"),
        DatasetConfig(validation_size=5000),
        DatasetConfig(train_size=5000),
        DatasetConfig(test_size=5000),
    ],
)
def test_every_setting_of_the_data_set_changes_the_id(dataset: DatasetConfig) -> None:
    assert Trial(HPConfig(), dataset).trial_id != Trial(HPConfig()).trial_id


@pytest.mark.parametrize(
    ("dataset", "label"),
    [
        (DatasetConfig(), "mnist"),
        (DatasetConfig(validation_size=5000), "mnist;validation_size=5000"),
        (DatasetConfig("a/b", train_size=9, test_size=7), "a/b;train_size=9;test_size=7"),
    ],
)
def test_label_names_the_sizes_that_were_set(dataset: DatasetConfig, label: str) -> None:
    assert dataset.label == label


@given(NAMES, st.integers(0, 10**9), SIZES, SIZES)
def test_label_reads_back_as_the_same_data_set(
    name: str, validation_size: int, train_size: int | None, test_size: int | None
) -> None:
    dataset = DatasetConfig(name, validation_size, train_size, test_size)
    assert DatasetConfig.from_label(dataset.label) == dataset


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("mnist;validation_size=5000", "mnist, validation size 5,000"),
        ("fashion@0123456789ab", "fashion (0123456789ab)"),
        ("/home/me/data/fashion/;test_size=7", "fashion, test size 7"),
        ("../d@ta", "d@ta"),
    ],
)
def test_people_see_a_name_and_never_a_path(label: str, text: str) -> None:
    assert dataset_text(label) == text


def test_where_the_files_are_decides_nothing() -> None:
    here, there = (DatasetConfig("fashion", digest="0123456789ab", path=p) for p in ("/a", "/b"))
    assert here == there
    assert Trial(HPConfig(), here).trial_id == Trial(HPConfig(), there).trial_id
    others = [DatasetConfig("f", digest="0123456789ab"), replace(here, digest="ab0123456789")]
    assert len({Trial(HPConfig(), d).trial_id for d in (here, *others)}) == 3
    assert DatasetConfig.from_label(here.label) == here


@pytest.mark.parametrize(
    "label",
    [
        "",
        ";train_size=3",
        "mnist;",
        "mnist;train_size",
        "mnist;train_size=",
        "mnist;train_size=-3",
        "mnist;train_size=+3",
        "mnist;train_size=03",
        "mnist;train_size=0",
        "mnist;train_size=3.0",
        "mnist;train_size=\u0663",
        "mnist;size=3",
        "mnist;train_size=3;train_size=3",
        "mnist;test_size=3;train_size=3",
    ],
)
def test_what_no_data_set_is_labelled_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=r"^dataset: cannot read "):
        DatasetConfig.from_label(label)
