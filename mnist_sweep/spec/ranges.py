"""Ranges in a sweep spec: ``{min:, max:, distribution:}`` and its kin -> what to choose from."""

from __future__ import annotations

import math
from statistics import NormalDist

from mnist_sweep.config import FIELDS, check_value
from mnist_sweep.search.space import Domain, Interval
from mnist_sweep.spec.draft import MAX_TRIALS, Draft
from mnist_sweep.spec.nodes import NodeError, Table

#: W&B's, each with its meaning there.
DISTRIBUTIONS = (
    "uniform", "int_uniform", "q_uniform", "log_uniform", "log_uniform_values", "q_log_uniform",
    "q_log_uniform_values", "inv_log_uniform", "inv_log_uniform_values", "normal", "q_normal",
    "log_normal", "q_log_normal",
)  # fmt: skip
RANGE_KEYS = ("min", "max", "distribution", "q", "mu", "sigma")


def read_range(draft: Draft, name: str, table: Table) -> Domain:
    """The numbers of a range; those that can be listed as a list. Raises NodeError."""
    meta, given = FIELDS[name].metadata, table.entries
    whole = meta["type"] is int
    if meta["type"] is str:
        raise NodeError(table, f"{name}: takes names, not a range; use values: [...]")
    form = "uniform"
    if "distribution" in given:
        form = given["distribution"].choice(name, DISTRIBUTIONS)
    log = "log" in form
    step: float = 0
    if whole or form.startswith(("q", "int")):
        step = _number(name, table, "q", 1)
        if step <= 0 or (whole and step != int(step)):
            raise NodeError(given["q"], f"{name}: q must be above 0, and whole for whole numbers")
        step = int(step) if whole else float(step)
    if "normal" in form:
        mu, sigma = _number(name, table, "mu", 0), _number(name, table, "sigma", 1)
        if sigma <= 0:
            raise NodeError(given["sigma"], f"{name}: sigma must be above 0")
        least = 0 if (whole or meta.get("extra")) and not log else step or 1e-9
        drawn = Interval(meta["low"] or least, meta["high"], log, step, NormalDist(mu, sigma))
        if drawn.at(0) == drawn.at(1):
            raise NodeError(table, f"{name}: mu and sigma are far from all that it may be")
        return drawn
    if not {"min", "max"} <= set(given):
        raise NodeError(table, f"{name}: a range needs min: and max:")
    low, high = (_number(name, table, limit) for limit in ("min", "max"))
    if {type(low), type(high)} == {int} and not whole and "distribution" not in given:
        real = f"any number from {low} to {high}, where W&B draws whole ones"
        draft.warnings.append(f"{table.place}: {name}: {real}")
    hint = ""
    if "log_uniform" in form and not form.endswith("_values"):
        low, high = (-high, -low) if form.startswith("inv") else (low, high)
        low, high = (float(f"{math.exp(min(place, 700)):.6g}") for place in (low, high))
        low, high = (round(low), round(high)) if whole else (low, high)
        hint = f"; {form} takes exponents of e, as in W&B, and log_uniform_values takes values"
        draft.warnings.append(f"{table.place}: {name}: is from {low:g} to {high:g}{hint}")
    if log and low <= 0:
        raise NodeError(given["min"], f"{name}: min must be above 0 for the logarithm of {name}")
    if low == 0 < high and not whole and not meta.get("extra"):
        low = step or high * 1e-6  # 0 itself is never drawn, and W&B's own example begins there
    try:
        low, high = check_value(name, low), check_value(name, high)
    except ValueError as error:
        raise NodeError(table, f"{error}{hint}") from None
    if low >= high:
        raise NodeError(table, f"{name}: min must be below max")
    if log or not step:
        return Interval(low, high, log, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    if not 0 <= last - first < MAX_TRIALS * 10:
        raise NodeError(table, f"{name}: holds no multiple of q, or too many; change q")
    if isinstance(step, int):
        return range(first * step, last * step + 1, step)
    return [float(f"{multiple * step:.12g}") for multiple in range(first, last + 1)]


def _number(name: str, table: Table, key: str, default: float | None = None) -> float:
    if default is not None and key not in table.entries:
        return default
    node = table.entries[key]
    value = node.number(name)
    if isinstance(value, str) or not math.isfinite(value):
        raise NodeError(node, f"{name}: expected a number, got {node}")
    return value
