"""What a report says of one study: its ranking, the worth of its best, and warnings, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mnist_sweep.analysis.ranking import (
    Comparison,
    Configuration,
    choice_note,
    compare_with_best,
    images_behind,
    rank,
    varying_fields,
)
from mnist_sweep.config import HPConfig
from mnist_sweep.figures.draw import Study
from mnist_sweep.labels import count, dataset_text, describe
from mnist_sweep.metrics import METRICS, Metric
from mnist_sweep.report.rerun import evaluations
from mnist_sweep.trial import TrialResult

#: A tie with the best is worth naming if it takes at most this share of the best's training time.
_CLEARLY_FASTER = 0.8
#: Different reasons of failed trials that are repeated.
_MAX_REASONS = 5


@dataclass(frozen=True)
class Review:
    """A study with its configurations, best first, each compared with the best.

    ``trials`` has every trial of a configuration (keyed with seed 0), whatever its status, by seed;
    ``varying`` are the hyperparameters with several values; ``evaluations`` are those of an epoch,
    by configuration. ``name`` begins the names of the specs that run configurations again.
    """

    study: Study
    comparisons: Sequence[Comparison]
    trials: Mapping[HPConfig, Sequence[TrialResult]]
    varying: Sequence[str]
    evaluations: Mapping[HPConfig, int]
    name: str

    @property
    def metric(self) -> Metric:
        """What ranks."""
        return METRICS[self.study.source.metric]

    @property
    def best(self) -> Configuration | None:
        """The first in the ranking; None where no trial has the metric."""
        first = self.comparisons[0].configuration
        return first if first.values(self.metric.name) else None

    def count(self, status: str) -> int:
        """The number of trials that ended in ``status``."""
        return sum(result.status == status for result in self.study.results)


def review_study(study: Study, name: str = "") -> Review:
    """Rank and compare the configurations of ``study``; ``name`` begins the names of its specs."""
    metric = study.source.metric
    trials: dict[HPConfig, list[TrialResult]] = {}
    for result in sorted(study.results, key=lambda r: r.trial.config.seed):
        trials.setdefault(replace(result.trial.config, seed=0), []).append(result)
    return Review(
        study,
        compare_with_best(rank(study.configurations, metric), metric),
        trials,
        varying_fields(trials),
        evaluations(trials),
        f"{name}{study.prefix}",
    )


def title(study: Study) -> str:
    """The model and the data set, for people: "MLP on mnist, validation size 5,000"."""
    trial = study.results[0].trial
    return f"{trial.config.model.upper()} on {dataset_text(trial.dataset.label)}"


def mean_text(configuration: Configuration, metric: Metric) -> str:
    """The mean of ``metric`` with the reach of its 95 % interval: "97.25 ± 0.31 %"."""
    interval = configuration.interval(metric.name)
    return metric.text(configuration.mean(metric.name), interval.half_width if interval else None)


def worth(review: Review, best: Configuration) -> list[str]:
    """What it is worth that ``best`` leads, in sentences."""
    others = review.comparisons[1:]
    if not others:
        return ["It is the only configuration."]
    # A choice on the test set is among the warnings.
    on_test_set = review.metric.name == "test_accuracy"
    note = [] if on_test_set else [choice_note(best, review.metric.name)]
    verdicts = Counter(comparison.verdict for comparison in others)
    compared = verdicts["tied"] + verdicts["worse"]
    end = "highest" if review.metric.goal == "maximize" else "lowest"
    lead = f"It has the {end} mean of {count(len(review.comparisons), 'configuration')}"
    if not compared:
        alone = "None of the others could be compared with it: that takes two seeds in common."
        return [f"{lead}. {alone}", *note]
    return [
        f"{lead}; of the {compared:,} compared with it, {verdicts['tied']:,} cannot be told apart "
        "from it (paired t-test over common seeds, Holm-corrected for all pairs).",
        *_fastest_tie(review, best),
        *note,
    ]


def _fastest_tie(review: Review, best: Configuration) -> list[str]:
    """A configuration that does about as well in clearly less time, if there is one.

    Few seeds leave much untold, so a tie is not enough: its mean must be in the best's interval.
    """
    metric = review.metric
    interval = best.interval(metric.name)
    if not interval or not best.train_seconds:
        return []
    close = [
        (seconds, c.configuration)
        for c in review.comparisons
        if c.verdict == "tied"
        and (seconds := c.configuration.train_seconds)
        and (mean := c.configuration.mean(metric.name)) is not None
        and interval.low <= mean <= interval.high
    ]
    if not close:
        return []
    seconds, fastest = min(close, key=lambda pair: pair[0])
    if seconds > _CLEARLY_FASTER * best.train_seconds:
        return []
    return [
        "The fastest of these with a mean inside the interval of the best trains in "
        f"{seconds:.3g} s instead of {best.train_seconds:.3g} s: "
        f"{describe(fastest.config, review.varying)} ({mean_text(fastest, metric)})."
    ]


def warnings(review: Review) -> list[str]:
    """What a reader must know before believing the rest, a sentence or two each."""
    return [*_choice(review), *_seeds(review), *_unfinished(review), *_mixed(review)]


def _choice(review: Review) -> list[str]:
    if review.best is None:
        return ["No trial finished well, so there is nothing to rank."]
    if review.metric.name != "test_accuracy" or len(review.comparisons) == 1:
        return []
    return [
        f"{choice_note(review.best, review.metric.name)} For an honest figure, sweep with "
        "dataset: {name: mnist, validation_size: 5000}."
    ]


def _seeds(review: Review) -> list[str]:
    counts = [len(c.configuration.values(review.metric.name)) for c in review.comparisons]
    if max(counts) == 1:
        behind = images_behind(review.comparisons[0].configuration, review.metric.name)
        return [
            f"One seed for each configuration: the intervals are over the {behind} and do not say "
            "how another seed would do, and nothing can be compared with the best. Sweep with "
            "seeds: 3 or more."
        ]
    every_seed = {result.trial.config.seed for result in review.study.results}
    lacking = [len(every_seed) - len(trials) for trials in review.trials.values()]
    if not any(lacking):
        return []
    return [
        f"{count(sum(lacking), 'trial')} missing: {sum(map(bool, lacking)):,} of "
        f"{count(len(lacking), 'configuration')} have fewer seeds than others. If a sweep was "
        "stopped, the same run command goes on with it."
    ]


def _unfinished(review: Review) -> list[str]:
    said = []
    if diverged := review.count("diverged"):
        configurations = sum(c.configuration.diverged > 0 for c in review.comparisons)
        said.append(
            f"{count(diverged, 'trial')} diverged, in {count(configurations, 'configuration')}; "
            "these rank after all others, however good their other seeds are."
        )
    if failed := review.count("failed"):
        reasons = Counter(
            r.error or "no reason" for r in review.study.results if r.status == "failed"
        )
        listed = "; ".join(f"{text} ({n:,})" for text, n in reasons.most_common(_MAX_REASONS))
        said.append(
            f"{count(failed, 'trial')} failed: {listed}. run --retry-failed tries them again."
        )
    return said


def _mixed(review: Review) -> list[str]:
    def several(column: str) -> str:
        done = (result for result in review.study.results if result.status == "ok")
        values = sorted({getattr(result, column) for result in done} - {""})
        return ", ".join(values) if len(values) > 1 else ""

    said = []
    if devices := several("device"):
        said.append(
            f"Trained on several devices ({devices}): training times compare within one only."
        )
    if versions := several("tinygrad_version"):
        said.append(
            f"Trained with several versions of tinygrad ({versions}), which may round differently."
        )
    return said
