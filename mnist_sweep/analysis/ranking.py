"""What the results say: replicates, intervals, ranking, and what can be told apart.

Replicates are trials that are equal but for the seed. They are grouped into a ``Configuration``,
which has a mean and an interval; configurations are ranked, and compared with the best of them.
Works on any sequence of ``TrialResult``, complete or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Literal, NamedTuple, TypeAlias

from mnist_sweep.analysis.intervals import (
    Interval,
    holm,
    paired_t_p_value,
    t_interval,
    wilson_interval,
)
from mnist_sweep.config import FIELD_NAMES, HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.trial import DatasetConfig, TrialResult

Goal: TypeAlias = Literal["maximize", "minimize"]


class Metric(NamedTuple):
    """A column of results.csv that trials can be compared by."""

    label: str
    goal: Goal


METRICS: Mapping[str, Metric] = {
    "val_accuracy": Metric("validation accuracy", "maximize"),
    "test_accuracy": Metric("test accuracy", "maximize"),
    "train_accuracy": Metric("training accuracy", "maximize"),
    "best_test_accuracy": Metric("best test accuracy on the way", "maximize"),
    "train_loss": Metric("training loss", "minimize"),
}

#: Metrics that may decide. best_test_accuracy is the maximum over evaluations on the test set: to
#: choose by it would be to train on the test set.
CHOICE_METRICS: tuple[str, ...] = tuple(name for name in METRICS if name != "best_test_accuracy")

#: Images in the test file of a data set in MNIST's format.
TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Configuration:
    """One configuration on one data set, with what came of its seeds.

    ``config`` has seed 0. ``results`` are the trials that finished well, by seed; ``diverged`` and
    ``failed`` count the others. ``level`` of an interval is its confidence, 0 .. 1.
    """

    config: HPConfig
    dataset: DatasetConfig
    results: tuple[TrialResult, ...]
    diverged: int = 0
    failed: int = 0

    def by_seed(self, metric: str) -> dict[int, float]:
        """Seed -> value of ``metric``, for the trials that have one."""
        values = {r.trial.config.seed: getattr(r, metric) for r in self.results}
        return {seed: value for seed, value in values.items() if value is not None}

    def values(self, metric: str) -> list[float]:
        """The values of ``metric``, by seed."""
        return list(self.by_seed(metric).values())

    def mean(self, metric: str) -> float | None:
        """The mean of ``metric`` over the seeds; None where there is no value."""
        values = self.values(metric)
        return fmean(values) if values else None

    def interval(self, metric: str, level: float = 0.95) -> Interval | None:
        """Student's t interval over seeds, or Wilson's over images where there is one seed.

        Student's interval is cut where the metric ends (accuracies at 0 and 1, losses at 0): the
        mean cannot be beyond, so that the confidence stays the same. None where there is no value,
        and for one seed of a metric that is no proportion of images that the model has not seen
        (the training ones, or the best of several).
        """
        values, images = self.values(metric), self.images(metric)
        if len(values) >= 2:
            # Each value is rounded to whole images: two that are equal are not free of noise.
            found = t_interval(values, level, 1 / images / math.sqrt(12) if images else 0.0)
            most = 1.0 if METRICS[metric].goal == "maximize" else math.inf
            return replace(found, low=max(found.low, 0.0), high=min(found.high, most))
        return wilson_interval(values[0], images, level) if values and images else None

    def images(self, metric: str) -> int | None:
        """How many held-out images ``metric`` is a proportion of; None if it is not one.

        A folder's test file is taken to hold 10,000 images, as MNIST's does.
        """
        if metric == "val_accuracy":
            return self.dataset.validation_size or None
        return self.dataset.test_size or TEST_IMAGES if metric == "test_accuracy" else None

    @property
    def train_seconds(self) -> float | None:
        """Mean training time of a seed in seconds."""
        return self.mean("train_seconds")


def default_metric(results: Iterable[TrialResult]) -> str:
    """``val_accuracy`` where any trial has it, else ``test_accuracy``."""
    has_validation = any(result.val_accuracy is not None for result in results)
    return "val_accuracy" if has_validation else "test_accuracy"


def check_metric(metric: str, results: Iterable[TrialResult]) -> None:
    """Raise UserError if ``metric`` cannot rank ``results``."""
    if metric not in CHOICE_METRICS:
        raise UserError(f"{metric}: cannot rank by it; use one of {', '.join(CHOICE_METRICS)}")
    finished = [result for result in results if result.status == "ok"]
    if finished and all(getattr(result, metric) is None for result in finished):
        raise UserError(
            f"{metric}: no trial of these results has it; rank by {default_metric(finished)} "
            "instead, or run the sweep with a validation split"
        )


def configurations(results: Iterable[TrialResult]) -> list[Configuration]:
    """Group ``results`` by configuration and data set, in the order of their first trial.

    Of several rows of one trial the last counts.
    """
    latest = {result.trial: result for result in results}
    groups: dict[tuple[HPConfig, DatasetConfig], list[TrialResult]] = {}
    for trial, result in latest.items():
        groups.setdefault((replace(trial.config, seed=0), trial.dataset), []).append(result)
    return [
        Configuration(
            config,
            dataset,
            tuple(sorted((r for r in group if r.status == "ok"), key=_seed)),
            diverged=sum(r.status == "diverged" for r in group),
            failed=sum(r.status == "failed" for r in group),
        )
        for (config, dataset), group in groups.items()
    ]


def _seed(result: TrialResult) -> int:
    return result.trial.config.seed


def varying_values(configs: Iterable[HPConfig]) -> dict[str, tuple[Any, ...]]:
    """Field of HPConfig -> its values, ascending, for each with more than one; seed aside.

    In the order of the fields. A field that does not apply (None) is not a value.
    """
    seen: dict[str, set[Any]] = {name: set() for name in FIELD_NAMES if name != "seed"}
    for config in configs:
        for name, values in seen.items():
            values.add(getattr(config, name))
    found = {name: tuple(sorted(values - {None})) for name, values in seen.items()}
    return {name: values for name, values in found.items() if len(values) > 1}


def varying_fields(configs: Iterable[HPConfig]) -> list[str]:
    """The names of ``varying_values``."""
    return list(varying_values(configs))


def rank(
    configurations: Iterable[Configuration], metric: str, goal: Goal | None = None
) -> list[Configuration]:
    """Sort ``configurations`` by the mean of ``metric``, best first.

    A configuration with a seed that diverged comes after all without one, however good its other
    seeds are: the mean of the seeds that survived says nothing of the next run, and any number
    put in place of the missing ones would be invented. Then come those without the metric, those
    that only diverged, and those that only failed. A failure (say, out of memory) says nothing of
    the hyperparameters, so it does not lower the rank. Ties are broken by the fields, in order.
    """
    sign = -1.0 if (goal or METRICS[metric].goal) == "maximize" else 1.0

    def key(configuration: Configuration) -> tuple[Any, ...]:
        mean = configuration.mean(metric)
        if mean is not None:
            tier = 1 if configuration.diverged else 0
        else:
            tier = 2 if configuration.results else 3 if configuration.diverged else 4
        fields = [getattr(configuration.config, name) for name in FIELD_NAMES]
        # None does not compare with numbers.
        comparable = [(value is not None, value or 0) for value in fields]
        return tier, sign * (mean or 0.0), comparable, configuration.dataset.label

    return sorted(configurations, key=key)


def best_configs(
    results: Sequence[TrialResult], n: int, metric: str, goal: Goal | None = None
) -> list[HPConfig]:
    """The ``n`` best configurations (seed 0, no two equal), best first; fewer if there are fewer.

    Raises UserError if ``metric`` may not choose or if no trial has it.
    """
    check_metric(metric, results)
    ranked = rank(configurations(results), metric, goal)
    found = dict.fromkeys(c.config for c in ranked if c.mean(metric) is not None)
    return list(found)[:n]


Verdict = Literal["best", "tied", "worse", "untested"]


@dataclass(frozen=True)
class Comparison:
    """A configuration against the best one, over the seeds that both have.

    ``difference`` is the mean of best minus this, ``p_value`` is adjusted for the number of
    comparisons. ``verdict``: "tied" cannot be told apart from the best, "worse" can; "untested" has
    fewer than two seeds in common with it, or a seed that diverged, so nothing can be said.
    """

    configuration: Configuration
    verdict: Verdict
    seeds: int = 0
    difference: float | None = None
    p_value: float | None = None


def compare_with_best(
    ranked: Sequence[Configuration], metric: str, level: float = 0.95
) -> list[Comparison]:
    """Compare every configuration of ``ranked`` (best first) with the first of them.

    A two-sided paired t-test over common seeds, corrected by Holm's method for all k (k - 1) / 2
    pairs of the k configurations that could have come first: the best is picked by the same data,
    so that k - 1 comparisons would be too few (Hsu, "Multiple Comparisons", 1996, chapter 4). The
    adjusted p-values are at least those of Holm's method on all pairs, hence the probability of
    any false "worse" is at most 1 - ``level``. Pass all configurations of the study, not only its
    top: the leader's lead was picked from all of them.

    Tested are logarithms of error rates (or of losses), since seeds scatter these by about the
    same factor at 80 % as at 98 %. Assumes that the differences between two configurations are
    independent over seeds and roughly normal. Two or three seeds can show large differences only.
    """
    if not ranked:
        return []
    best, *others = ranked
    candidates = [c for c in ranked if not c.diverged and c.mean(metric) is not None]
    common = [sorted(best.by_seed(metric).keys() & c.by_seed(metric).keys()) for c in others]
    tested = [
        i
        for i, seeds in enumerate(common)
        if len(seeds) > 1 and not best.diverged and not others[i].diverged
    ]
    family = len(candidates) * (len(candidates) - 1) // 2
    p_values = holm([_p_value(best, others[i], common[i], metric) for i in tested], family)
    adjusted = dict(zip(tested, p_values, strict=True))
    found = [Comparison(best, "best" if candidates else "untested", len(best.values(metric)))]
    for i, (other, seeds) in enumerate(zip(others, common, strict=True)):
        p = adjusted.get(i)
        verdict: Verdict = "untested" if p is None else "tied" if p > 1 - level else "worse"
        found.append(Comparison(other, verdict, len(seeds), _lead(best, other, seeds, metric), p))
    return found


def _lead(
    best: Configuration, other: Configuration, seeds: Sequence[int], metric: str
) -> float | None:
    ours, theirs = best.by_seed(metric), other.by_seed(metric)
    return fmean(ours[s] - theirs[s] for s in seeds) if seeds else None


def _p_value(best: Configuration, other: Configuration, seeds: Sequence[int], metric: str) -> float:
    lead, overall = _lead(best, other, seeds, metric) or 0.0, _overall_lead(best, other, metric)
    if lead * overall <= 0:
        # On the common seeds alone the lower-ranked one is not behind: no proof against it.
        return 1.0
    step = 1 / (best.images(metric) or 1_000_000)
    ours, theirs = (_error(c.by_seed(metric), metric, step) for c in (best, other))
    differences = [math.log(ours[s] / theirs[s]) for s in seeds]
    # Each value is rounded to whole images: uniform over a step, relative to the error.
    smallest = min(min(ours[s], theirs[s]) for s in seeds)
    return paired_t_p_value(differences, step / smallest / math.sqrt(6))


def _overall_lead(best: Configuration, other: Configuration, metric: str) -> float:
    return (best.mean(metric) or 0.0) - (other.mean(metric) or 0.0)


def _error(values: Mapping[int, float], metric: str, step: float) -> dict[int, float]:
    """Error rates, or losses, by seed; none below half an image, so that there is a logarithm."""
    is_loss = METRICS[metric].goal == "minimize"
    return {s: max(value if is_loss else 1 - value, step / 2) for s, value in values.items()}


def indistinguishable_from_best(
    ranked: Sequence[Configuration], metric: str, level: float = 0.95
) -> list[Configuration]:
    """The configurations of ``ranked`` that cannot be told apart from its first, itself included.

    Those that could not be tested (see ``Comparison``) are not among them.
    """
    return [
        comparison.configuration
        for comparison in compare_with_best(ranked, metric, level)
        if comparison.verdict in ("best", "tied")
    ]


def images_behind(configuration: Configuration, metric: str) -> str:
    """The set that ``metric`` was measured on, for people: "10,000 test images"."""
    names = {"val_accuracy": "validation images", "test_accuracy": "test images"}
    images = configuration.images(metric)
    return f"{images:,} {names[metric]}" if images else "the training images"


def choice_note(best: Configuration, metric: str) -> str:
    """One sentence: on which images the choice was made, and what that does to the numbers."""
    if metric == "test_accuracy":
        reason = "" if best.dataset.validation_size else ", for want of a validation split"
        return f"Chosen on the test set{reason}: the test accuracy of the best is flattering."
    if metric == "val_accuracy":
        return f"Chosen on {images_behind(best, metric)}; the test set had no part in the choice."
    return f"Chosen by {METRICS[metric].label}, which says nothing about images not trained on."
