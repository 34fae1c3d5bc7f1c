"""What trials can be compared by: columns of results.csv, their better end, how to write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Goal: TypeAlias = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Metric:
    """A column of results.csv: an accuracy (a fraction, the more the better) or a loss.

    ``label`` is its name in a sentence. ``may_choose``: whether configurations may be chosen by it.
    """

    name: str
    label: str
    goal: Goal = "maximize"
    may_choose: bool = True

    @property
    def is_accuracy(self) -> bool:
        """Whether it is a fraction, which people read as per cent."""
        return self.goal == "maximize"

    @property
    def split(self) -> str:
        """What it is measured on: "train", "val" or "test"."""
        return self.name.split("_")[-2]

    @property
    def measure(self) -> str:
        """What is measured there: "accuracy" or "loss"."""
        return self.name.rpartition("_")[2]

    def on(self, split: str) -> Metric:
        """The same measure of another split."""
        return METRICS[f"{split}_{self.measure}"]

    @property
    def sign(self) -> int:
        """What makes larger values better when it multiplies them."""
        return 1 if self.goal == "maximize" else -1

    @property
    def unit(self) -> str:
        """What follows its name at the head of a column: " %", or nothing."""
        return " %" if self.is_accuracy else ""

    def best(self, values: Iterable[float]) -> float:
        """The best of ``values``, of which there is at least one."""
        return max(values, key=lambda value: self.sign * value)

    def error(self, value: float) -> float:
        """How far ``value`` is from perfect: the error rate of an accuracy, a loss itself."""
        return 1 - value if self.is_accuracy else value

    def number(self, value: float, fewer_digits: int = 0) -> str:
        """A value for people, without its unit: "97.25", "0.0813"."""
        scale, digits = (100, 2) if self.is_accuracy else (1, 4)
        return f"{scale * value:.{digits - fewer_digits}f}"

    def text(self, mean: float | None, reach: float | None = None, unit: bool = True) -> str:
        """A mean, with how far its interval reaches: "97.25 ± 0.31 %", "0.0813 ± 0.0021".

        "-" where there is none; without ``unit`` no per cent sign.
        """
        if mean is None:
            return "-"
        spread = "" if reach is None else f" ± {self.number(reach)}"
        return f"{self.number(mean)}{spread}{self.unit if unit else ''}"


#: best_test_accuracy is the maximum over evaluations on the test set: to choose by it would be to
#: train on the test set.
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("val_accuracy", "validation accuracy"),
        Metric("test_accuracy", "test accuracy"),
        Metric("train_accuracy", "training accuracy"),
        Metric("best_test_accuracy", "best test accuracy on the way", may_choose=False),
        Metric("val_loss", "validation loss", "minimize"),
        Metric("test_loss", "test loss", "minimize"),
        Metric("train_loss", "training loss", "minimize"),
    )
}
VAL_ACCURACY, TEST_ACCURACY = METRICS["val_accuracy"], METRICS["test_accuracy"]

#: The names of those that may choose.
CHOICE_METRICS: tuple[str, ...] = tuple(m.name for m in METRICS.values() if m.may_choose)
