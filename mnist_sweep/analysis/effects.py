"""Effects on a metric: what they are, whatever they were estimated from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mnist_sweep.analysis.intervals import f_upper_p

Verdict = Literal["real", "unclear", "none"]

#: A share of the variance that makes no difference: the limit of what may hide in the noise.
NEGLIGIBLE = 0.05


@dataclass(frozen=True)
class Effect:
    """A main effect (one of ``fields``) or an interaction (two of them).

    ``share`` of the variance of a single trial, 0 .. 1, with its interval ``low`` .. ``high``;
    ``p_value`` is adjusted for the number of effects in the study. ``verdict``: "real" is certain
    after that adjustment; "none" makes no difference beyond noise, and at most ``NEGLIGIBLE`` may
    hide there; "unclear" is neither, and more seeds would settle it.
    """

    fields: tuple[str, ...]
    share: float
    low: float
    high: float
    p_value: float
    verdict: Verdict

    @property
    def interval_text(self) -> str:
        """The interval for people: "0.9 to 32 %"."""
        return f"{percent(self.low).removesuffix(' %')} to {percent(self.high)}"


def percent(share: float) -> str:
    """A share of the variance for people: "42 %", "4.2 %", "0.02 %"."""
    digits = 0 if share >= 0.0995 or share == 0 else 1 if share >= 0.000995 else 2
    return f"{100 * share:.{digits}f} %"


@dataclass(frozen=True)
class Carrier:
    """The trial that most stands out, where some effect hangs on it: its ``value`` of the metric.

    With what the rest of the grid says in its place, the effect of ``fields`` has the share
    ``without`` instead of ``share``.
    """

    settings: Mapping[str, Any]
    seed: int
    value: float
    fields: tuple[str, ...]
    share: float
    without: float


@dataclass(frozen=True)
class Importance:
    """The effects in one complete grid, or in all ``configurations`` where there is no grid.

    ``effects``, largest share first, are of ``levels``' hyperparameters and their pairs (with one
    seed and two hyperparameters: of the first only), or "scattered" of single ones. ``higher`` is
    the share of all interactions of three or more, None where it is part of ``noise``, the share of
    everything else: of the seeds. ``configurations`` and ``seeds`` count what went in; ``fixed``
    has the values of the hyperparameters that vary elsewhere in the study. ``carrier`` is a trial
    that an effect hangs on.
    """

    kind: Literal["grid", "scattered"]
    levels: Mapping[str, tuple[Any, ...]]
    effects: tuple[Effect, ...]
    higher: float | None
    noise: float
    configurations: int
    seeds: int
    fixed: Mapping[str, Any] = field(default_factory=dict)
    carrier: Carrier | None = None


@dataclass(frozen=True)
class Measured:
    """An effect's mean square, the part that is expected of noise, and what it is tested with."""

    fields: tuple[str, ...]
    mean_square: float
    noise: float
    tested: float
    df: float
    df_error: float

    @property
    def variance(self) -> float:
        """The mean square that is not noise."""
        return max(self.mean_square - self.noise, 0.0)

    @property
    def p_value(self) -> float:
        """Of the F test, for this effect alone."""
        return f_upper_p(self.mean_square / self.tested, self.df, self.df_error)


@dataclass(frozen=True)
class Part:
    """An Importance whose effects are not compared yet; ``higher`` and ``noise`` are variances."""

    frame: Importance
    measured: list[Measured]
    higher: float
    noise: float

    @property
    def total(self) -> float:
        """The variance of a single trial."""
        return sum(m.variance for m in self.measured) + self.higher + self.noise
