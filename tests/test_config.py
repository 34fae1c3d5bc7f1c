"""Promises of HPConfig and of the values it takes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_sweep.config import (
    ACTIVATIONS,
    EXTRA_NAMES,
    FIELD_NAMES,
    SCHEDULES,
    HPConfig,
    applies,
    check_value,
    in_order,
    int_or_none,
    normalised,
)
from mnist_sweep.models import MODELS
from mnist_sweep.optimizers import OPTIMIZERS

METADATA = {spec.name: spec.metadata for spec in dataclasses.fields(HPConfig)}
NUMBERS = [name for name in FIELD_NAMES if METADATA[name]["type"] is not str]
WHOLE = [name for name in FIELD_NAMES if METADATA[name]["type"] is int]
NAMES = [name for name in FIELD_NAMES if METADATA[name]["type"] is str]


def test_defaults_are_the_baseline_of_the_study() -> None:
    baseline = {
        "batch_size": 64,
        "lr": 1e-3,
        "lr_decay": 0.9,
        "patience": 50,
        "opt": "adam",
        "width": 512,
        "depth": 2,
        "activation_fn": "silu",
        "epochs": 1,
        "model": "mlp",
        "lr_schedule": "plateau",
        "seed": 0,
        "label_smoothing": 0.0,
        "weight_decay": 0.0,
        "dropout": 0.0,
        "shift": 0.0,
        "rotation": 0.0,
        "scale": 0.0,
    }
    values = vars(HPConfig())
    assert {name: values[name] for name in baseline} == baseline
    # What came later is off, so that earlier results are those of today's defaults.
    assert set(values) - set(baseline) <= set(EXTRA_NAMES)


def test_every_field_has_a_doc_line() -> None:
    assert all(METADATA[name]["doc"] for name in FIELD_NAMES)


def test_names_come_from_the_tables() -> None:
    assert METADATA["opt"]["choices"] is OPTIMIZERS
    assert METADATA["activation_fn"]["choices"] is ACTIVATIONS
    assert METADATA["lr_schedule"]["choices"] is SCHEDULES
    assert METADATA["model"]["choices"] is MODELS


def test_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        HPConfig().lr = 1.0  # type: ignore[misc]


def test_width_and_depth_of_the_cnn_are_none() -> None:
    config = HPConfig(model="cnn")
    assert (config.width, config.depth) == (None, None)


@pytest.mark.parametrize(("name", "value"), [("width", 3), ("depth", 3), ("precision", "bfloat16")])
def test_naming_what_the_cnn_lacks_is_an_error(name: str, value: Any) -> None:
    values: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"^{name}: does not apply to model cnn$"):
        HPConfig(model="cnn", **values)


def test_what_the_mlp_alone_has() -> None:
    cnn, mlp = vars(HPConfig(model="cnn")), vars(HPConfig())
    of_model = [name for name in FIELD_NAMES if METADATA[name].get("of") == "model"]
    assert of_model == ["width", "depth", "precision"]
    assert [applies(name, mlp) for name in of_model] == [True, True, True]
    assert [applies(name, cnn) for name in of_model] == [False, False, False]


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "plateau"])
def test_what_the_plateau_schedule_alone_uses_is_normalised_for_others(schedule: str) -> None:
    config = HPConfig(lr_schedule=schedule, patience=20, lr_decay=0.5, lr=0.1)
    values, reasons = normalised(vars(config))
    assert HPConfig(**values) == HPConfig(lr_schedule=schedule, lr=0.1)
    assert reasons == dict.fromkeys(("lr_decay", "patience"), f"lr_schedule is {schedule}")


@pytest.mark.parametrize(
    ("settings", "left", "reasons"),
    [
        ({"opt": "sgd", "nesterov": 1}, {"opt": "sgd"}, {"nesterov": "momentum is off"}),
        (
            {"opt": "rmsprop", "momentum": 0.9, "nesterov": 1},
            {"opt": "rmsprop", "momentum": 0.9},
            {"nesterov": "opt is rmsprop"},
        ),
        (
            {"momentum": 0.9, "nesterov": 1},
            {},
            {"momentum": "opt is adam", "nesterov": "opt is adam"},
        ),
    ],
)
def test_momentum_is_normalised_where_the_optimizer_has_none(
    settings: dict[str, Any], left: dict[str, Any], reasons: dict[str, str]
) -> None:
    values, why = normalised(vars(HPConfig(**settings)))
    assert HPConfig(**values) == HPConfig(**left)
    assert why == reasons


def test_adamw_is_adam_with_a_decay_that_is_never_off() -> None:
    assert HPConfig(opt="adamw").weight_decay == 0.01
    assert HPConfig(opt="adamw", weight_decay=0.3).weight_decay == 0.3
    assert normalised({"opt": "adamw", "weight_decay": 0.0})[0]["weight_decay"] == 0.01
    assert normalised({"opt": "adam"})[0] == {"opt": "adam"}


@pytest.mark.parametrize(
    "config",
    [
        HPConfig(),
        HPConfig(model="cnn"),
        HPConfig(patience=20),
        HPConfig(dropout=0.5),
        HPConfig(opt="sgd", momentum=0.5, nesterov=1),
    ],
)
def test_what_applies_is_left_as_it_is(config: HPConfig) -> None:
    assert normalised(vars(config)) == (vars(config), {})


def test_a_width_for_each_layer_fixes_the_depth() -> None:
    config = HPConfig(width="512-0256-128", depth=7)
    assert (config.width, config.depth, config.widths) == ("512-256-128", 3, (512, 256, 128))
    assert HPConfig(width=24, depth=3).widths == (24, 24, 24)
    assert HPConfig(model="cnn").widths == ()


def test_a_width_for_each_layer_that_are_alike_is_that_width() -> None:
    assert HPConfig(width="64-64-64") == HPConfig(width=64, depth=3)
    assert normalised({"width": "64-64", "depth": 2}) == ({"width": 64, "depth": 2}, {})
    values, reasons = normalised({"width": "64-32", "depth": 3})
    assert values == {"width": "64-32", "depth": 2}
    assert reasons == {"depth": "width is 64-32"}


@pytest.mark.parametrize(
    ("width", "problem"),
    [
        ("512-", "width: expected a whole number, got '512-'"),
        ("-5", "width: must be between 1 and 65536"),
        ("512-0", "width: must be between 1 and 65536"),
        ("512-70000", "width: must be between 1 and 65536"),
        ("1.5-2", "width: expected a whole number, got"),
        ("8-" * 100 + "8", "depth: must be between 1 and 100, got 101"),
    ],
)
def test_a_width_for_each_layer_is_checked(width: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        HPConfig(width=width)


def test_widths_ascend_by_their_mean_and_names_by_their_letters() -> None:
    widths = [None, 64, "100-60", 128, "256-128", "512-64", 512]
    assert sorted({*widths}, key=in_order) == widths
    assert sorted(["sgd", "adam"], key=in_order) == ["adam", "sgd"]


def test_mlp_needs_a_width() -> None:
    with pytest.raises(ValueError, match=r"^width: expected a whole number, got None$"):
        HPConfig(width=None)


def test_equal_numbers_make_equal_configs_whatever_their_type() -> None:
    config = HPConfig(lr=1, width=64.0)  # type: ignore[arg-type]
    assert config == HPConfig(lr=1.0, width=64)
    assert isinstance(config.lr, float)
    assert isinstance(config.width, int)


@pytest.mark.parametrize("name", [name for name in NUMBERS if METADATA[name]["high"] != 1])
@pytest.mark.parametrize("value", [True, False, None, "", "x", "1 2", "0x10", "1_000", [1], {}])
def test_what_is_no_number_is_refused_for_a_number(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected a (whole )?number, got "):
        check_value(name, value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, -math.inf, 10**30, "1e999"])
def test_numbers_out_of_range_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        check_value(name, value)


@pytest.mark.parametrize("name", [name for name in EXTRA_NAMES if name in NUMBERS])
@pytest.mark.parametrize("value", [0, "0", -0.0])
def test_zero_switches_an_extra_off(name: str, value: object) -> None:
    off = check_value(name, value)
    assert repr(off) == repr(METADATA[name]["type"](0))


@pytest.mark.parametrize("name", [name for name in NUMBERS if name not in ("seed", *EXTRA_NAMES)])
@pytest.mark.parametrize("value", [0, 0.0, "0"])
def test_zero_is_refused_where_it_makes_no_sense(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: must be "):
        check_value(name, value)
    assert check_value("seed", value) == 0


@pytest.mark.parametrize("name", WHOLE)
def test_fractions_are_refused_for_whole_numbers(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: expected a whole number, got 1.5$"):
        check_value(name, 1.5)


@pytest.mark.parametrize("name", WHOLE)
def test_ends_of_a_range_are_in_it(name: str) -> None:
    low, high = METADATA[name]["low"], METADATA[name]["high"]
    assert check_value(name, low) == low
    assert check_value(name, high) == high
    with pytest.raises(ValueError, match=f"must be between {low} and {high}, got {high + 1}$"):
        check_value(name, high + 1)


@pytest.mark.parametrize(
    ("value", "number"), [(True, 1), ("true", 1), ("False", 0), (False, 0), ("1", 1), (0.0, 0)]
)
def test_what_is_on_or_off_may_be_true_or_false(value: object, number: int) -> None:
    assert repr(check_value("nesterov", value)) == str(number)
    with pytest.raises(ValueError, match=r"^nesterov: expected a whole number, got 'yes'$"):
        check_value("nesterov", "yes")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["nope", "Adam", "", 1, None, True, ["adam"]])
def test_unknown_names_are_refused_with_the_choices(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .* is not one of "):
        check_value(name, value)


@pytest.mark.parametrize(
    ("text", "number"), [("1e-4", 1e-4), ("3E-3", 3e-3), (".5", 0.5), ("+2.", 2.0), ("1", 1.0)]
)
def test_numbers_may_be_written_as_text(text: str, number: float) -> None:
    assert check_value("lr", text) == number


@given(st.floats(min_value=1e-300, max_value=1e3))
def test_every_float_survives_being_written(lr: float) -> None:
    assert check_value("lr", repr(lr)) == lr


@given(st.text())
def test_messages_fit_one_short_printable_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^opt: ") as caught:
        check_value("opt", text + "?")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("number", "whole"), [(3, 3), (3.0, 3), (3.5, None), (math.nan, None), (math.inf, None)]
)
def test_int_or_none_takes_only_whole_numbers(number: float, whole: int | None) -> None:
    assert int_or_none(number) == whole


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_zero_and_the_top(name: str) -> None:
    factors = [SCHEDULES[name].factor(step / 1000) for step in range(1000)]
    assert min(factors) >= 0
    assert max(factors) == pytest.approx(1.0, abs=1e-4)


def test_cosine_starts_at_the_top_and_ends_near_zero() -> None:
    factor = SCHEDULES["cosine"].factor
    assert factor(0.0) == 1.0
    assert factor(0.5) == pytest.approx(0.5)
    assert factor(0.999) < 1e-5


def test_onecycle_warms_up_over_the_first_three_tenths() -> None:
    factor = SCHEDULES["onecycle"].factor
    assert factor(0.0) == pytest.approx(1 / 25)
    assert factor(0.1) < factor(0.2) < factor(0.3) == pytest.approx(1.0)
    assert factor(0.3) > factor(0.6) > factor(0.999)
    assert factor(0.999) < 1e-4


def test_only_plateau_reacts_to_the_loss() -> None:
    assert [name for name, s in SCHEDULES.items() if "patience" in s.uses] == ["plateau"]
