"""How hyperparameters, data sets and numbers of things are written for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mnist_sweep.config import FIELDS, HPConfig


def parameter_name(name: str) -> str:
    """A hyperparameter's name in a sentence: "learning rate"."""
    return str(FIELDS[name].metadata.get("label", name.replace("_", " ")))


def axis_label(name: str) -> str:
    """A hyperparameter's name with its unit: "batch size (images per step)"."""
    unit = FIELDS[name].metadata.get("unit")
    return f"{parameter_name(name)} ({unit})" if unit else parameter_name(name)


def short_name(name: str) -> str:
    """A hyperparameter's name at the head of a column: "batch"."""
    return str(FIELDS[name].metadata.get("short", name))


#: Digits of a number that nobody wrote: a random search draws learning rates with 17.
_DRAWN_DIGITS = 4
#: A number with more digits than this was drawn, or is the result of a computation.
_WRITTEN_DIGITS = 9


def value_text(value: Any, name: str, digits: int = _DRAWN_DIGITS) -> str:
    """A hyperparameter's value: 3e-4 rather than 0.0003, "-" for one that does not apply.

    Small numbers are written so, and all of those called ``name`` whose values are powers of ten
    apart: 1e-1 beside 1e-2. What somebody wrote has all its digits, anything longer ``digits``.
    """
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if float(f"{value:.{_WRITTEN_DIGITS}g}") == value:
        digits = _WRITTEN_DIGITS
    if 0 < abs(value) < (1 if FIELDS[name].metadata.get("powers") else 0.01):
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{float(mantissa):.{digits}g}e{int(exponent)}"
    return f"{value:.{digits}g}"


def value_texts(values: Iterable[Any], name: str) -> list[str]:
    """``value_text`` of several values of ``name``, with as many digits as tell them apart."""
    several = list(values)
    # 17 digits tell any two numbers apart.
    for digits in range(_DRAWN_DIGITS, 18):
        texts = [value_text(value, name, digits) for value in several]
        if len(set(texts)) == len(set(several)):
            break
    return texts


def assignment(name: str, value: Any) -> str:
    """A hyperparameter with its value: "lr 1e-3", but "adam", which needs no name."""
    is_name = FIELDS[name].metadata["type"] is str
    return str(value) if is_name else f"{short_name(name)} {value_text(value, name)}"


def capital(text: str) -> str:
    """``text`` with its first letter as at the start of a sentence."""
    return text[:1].upper() + text[1:]


def count(number: int, noun: str) -> str:
    """``number`` with its noun: "1 trial", "1,600 trials"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time for people: "40 s", "7 min", "3.5 h"."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def dataset_text(label: str) -> str:
    """A data set's label in a sentence: "mnist, validation size 5,000", "fashion (0123456789ab)".

    Early versions put a folder's path there, of which the last part is its name.
    """
    path, *sizes = label.split(";")
    name = re.sub(r"@([0-9a-f]{12})$", r" (\1)", path.rstrip("/").rpartition("/")[2])
    pairs = (size.split("=") for size in sizes)
    return ", ".join([name, *(f"{key.replace('_', ' ')} {int(n):,}" for key, n in pairs)])


def describe(config: HPConfig, fields: Iterable[str]) -> str:
    """The values of ``fields``: "lr 1e-3, adam"."""
    return assignments({name: getattr(config, name) for name in fields})


def stage_text(stage: str) -> str:
    """What people call a stage of a search; that of its method has no name of its own."""
    return stage or "search"


def assignments(values: Mapping[str, Any]) -> str:
    """Hyperparameters with their values, less those that do not apply: "lr 1e-3, adam"."""
    return ", ".join(assignment(name, v) for name, v in values.items() if v is not None)
