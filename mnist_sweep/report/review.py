"""What a report says of one study: its ranking, the recommendation and the warnings, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.study import Study
from mnist_sweep.config import HPConfig
from mnist_sweep.labels import count, describe
from mnist_sweep.metrics import TEST_ACCURACY
from mnist_sweep.report.rerun import evaluations, rerun_spec, sweep_name
from mnist_sweep.trial import TrialResult

#: A tie with the best is worth naming if it takes at most this share of the best's training time.
_CLEARLY_FASTER = 0.8
#: Different reasons of failed trials that are repeated.
_MAX_REASONS = 5


@dataclass(frozen=True)
class Review:
    """A study with what it takes to run its configurations again.

    ``trials`` has every trial of a configuration (keyed with seed 0), whatever its status, by seed;
    ``evaluations`` are those of an epoch, by configuration. ``name`` begins the names of the specs
    that run configurations again.
    """

    study: Study
    trials: Mapping[HPConfig, Sequence[TrialResult]]
    evaluations: Mapping[HPConfig, int]
    name: str


@dataclass(frozen=True)
class Recommendation:
    """The best configuration, sentences on how sure that is, and the spec that runs it again."""

    configuration: Configuration
    sentences: Sequence[str]
    spec: str
    spec_name: str


def review(study: Study, name: str = "") -> Review:
    """Collect the trials of ``study``; ``name`` begins the names of its specs."""
    trials: dict[HPConfig, list[TrialResult]] = {}
    for result in sorted(study.results, key=lambda r: r.trial.config.seed):
        trials.setdefault(replace(result.trial.config, seed=0), []).append(result)
    return Review(study, trials, evaluations(trials), f"{name}{study.prefix}")


def recommend(reviewed: Review) -> Recommendation | None:
    """What to use, by this study; None where no trial has the metric."""
    study, best = reviewed.study, reviewed.study.best
    if best is None:
        return None
    spec_name = sweep_name(reviewed.name, "best")
    spec = rerun_spec(reviewed.trials[best.config], spec_name, reviewed.evaluations[best.config])
    sentences = _certainty(study)
    # A choice on the test set is among the warnings.
    if study.metric != TEST_ACCURACY and len(study.comparisons) > 1:
        sentences.append(study.choice_note)
    return Recommendation(best, sentences, spec, spec_name)


def _certainty(study: Study) -> list[str]:
    """What its lead is worth."""
    others = study.comparisons[1:]
    if not others:
        return ["It is the only configuration."]
    verdicts = Counter(comparison.verdict for comparison in others)
    compared = verdicts["tied"] + verdicts["worse"]
    end = "highest" if study.metric.is_accuracy else "lowest"
    lead = f"It has the {end} mean of {count(len(study.comparisons), 'configuration')}"
    if not compared:
        return [
            f"{lead}. None of the others could be compared with it: that takes two seeds in common."
        ]
    sentences = [
        f"{lead}; of the {compared:,} compared with it, {verdicts['tied']:,} cannot be told apart "
        "from it (paired t-test over common seeds, Holm-corrected for all pairs)."
    ]
    return sentences + _fastest_tie(study)


def _fastest_tie(study: Study) -> list[str]:
    """A configuration that does about as well in clearly less time, if there is one.

    Few seeds leave much untold, so a tie is not enough: its mean must be in the best's interval.
    """
    metric, best = study.metric, study.comparisons[0].configuration
    interval, best_seconds = best.interval(metric), best.cost("train_seconds")
    close = [
        (seconds, c.configuration)
        for c in study.comparisons
        if c.verdict == "tied"
        and (seconds := c.configuration.cost("train_seconds"))
        and interval
        and (mean := c.configuration.mean(metric)) is not None
        and interval.low <= mean <= interval.high
    ]
    if not close or not best_seconds:
        return []
    seconds, fastest = min(close, key=lambda pair: pair[0])
    if seconds > _CLEARLY_FASTER * best_seconds:
        return []
    return [
        "The fastest of these with a mean inside the interval of the best trains in "
        f"{seconds:.3g} s instead of {best_seconds:.3g} s: "
        f"{describe(fastest.config, study.varying)} ({fastest.text(metric)})."
    ]


def warnings(reviewed: Review) -> list[str]:
    """What a reader must know before believing the rest, a sentence or two each."""
    study = reviewed.study
    return [*_choice(study), *_seeds(reviewed), *_unfinished(study), *_mixed(study)]


def _choice(study: Study) -> list[str]:
    if study.best is None:
        lack = f"has a {study.metric.label}" if study.count("ok") else "finished well"
        return [f"No trial {lack}, so there is nothing to rank."]
    if study.metric != TEST_ACCURACY or len(study.comparisons) == 1:
        return []
    return [
        f"{study.choice_note} For an honest figure, sweep with "
        "dataset: {name: mnist, validation_size: 5000}."
    ]


def _seeds(reviewed: Review) -> list[str]:
    study = reviewed.study
    if max(len(c.values(study.metric)) for c in study.configurations) == 1:
        has_interval = any(c.interval(study.metric) for c in study.configurations)
        return [
            "One seed for each configuration: "
            + (
                f"the intervals are over the {study.images_text} and do not say"
                if has_interval
                else "there is no interval to say"
            )
            + " how another seed would do, and nothing can be compared with the best. Sweep with "
            "seeds: 3 or more."
        ]
    every_seed = {result.trial.config.seed for result in study.results}
    lacking = [len(every_seed) - len(trials) for trials in reviewed.trials.values()]
    if not any(lacking):
        return []
    return [
        f"{count(sum(lacking), 'trial')} missing: {sum(map(bool, lacking)):,} of "
        f"{count(len(lacking), 'configuration')} have fewer seeds than others. If a sweep was "
        "stopped, the same run command goes on with it."
    ]


def _unfinished(study: Study) -> list[str]:
    said = []
    if diverged := study.count("diverged"):
        configurations = sum(c.configuration.diverged > 0 for c in study.comparisons)
        said.append(
            f"{count(diverged, 'trial')} diverged, in {count(configurations, 'configuration')}; "
            "these rank after all others, however good their other seeds are."
        )
    if failed := study.count("failed"):
        reasons = Counter(r.error or "no reason" for r in study.results if r.status == "failed")
        listed = "; ".join(f"{text} ({n:,})" for text, n in reasons.most_common(_MAX_REASONS))
        said.append(
            f"{count(failed, 'trial')} failed: {listed}. run --retry-failed tries them again."
        )
    return said


def _mixed(study: Study) -> list[str]:
    said = []
    done = [result for result in study.results if result.status == "ok"]
    devices = sorted({result.device for result in done} - {""})
    if len(devices) > 1:
        said.append(
            f"Trained on several devices ({', '.join(devices)}): training times compare within one "
            "only."
        )
    versions = sorted({result.tinygrad_version for result in done} - {""})
    if len(versions) > 1:
        said.append(
            f"Trained with several versions of tinygrad ({', '.join(versions)}), which may round "
            "differently."
        )
    return said
