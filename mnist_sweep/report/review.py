"""What a report says of one study in words: what its best is worth, and warnings."""

from __future__ import annotations

from collections import Counter

from mnist_sweep.analysis.study import Study
from mnist_sweep.labels import count

#: Different reasons of failed trials that are repeated.
_MAX_REASONS = 5


def worth(study: Study) -> list[str]:
    """What it is worth that the first of ``study`` leads, in sentences."""
    others = study.comparisons[1:]
    if not others:
        return ["It is the only configuration."]
    end = "highest" if study.metric.is_accuracy else "lowest"
    lead = f"It has the {end} mean of {count(len(study.comparisons), 'configuration')}"
    if study.promise_text:
        words = [study.promise_text, study.borrowed_text, study.settle_text, study.settle_command]
        said = [f"{lead}.", *filter(None, words)]
    else:
        said = [f"{lead}. The others could not be compared with it: that takes several seeds."]
    # A choice on the test set is among the warnings.
    return said if study.metric.split == "test" else [*said, study.choice_note]


def warnings(study: Study) -> list[str]:
    """What a reader must know before believing the rest, a sentence or two each."""
    return [*_choice(study), *_seeds(study), *_unfinished(study), *_mixed(study)]


def _choice(study: Study) -> list[str]:
    if study.best is None:
        lack = f"has a {study.metric.label}" if study.count("ok") else "finished well"
        return [f"No trial {lack}, so there is nothing to rank."]
    if study.metric.split != "test" or len(study.comparisons) == 1:
        return []
    return [
        f"{study.choice_note} For an honest figure, sweep with "
        "dataset: {name: mnist, validation_size: 5000}."
    ]


def _seeds(study: Study) -> list[str]:
    if max(len(c.values(study.metric)) for c in study.configurations) == 1:
        behind = f"the intervals are over the {study.images_text} and do not say"
        if not any(c.interval(study.metric) for c in study.configurations):
            behind = "there is no interval to say"
        return [
            f"One seed for each configuration: {behind} how another seed would do, and nothing can "
            "be compared with the best. Sweep with seeds: 3 or more."
        ]
    every_seed = {result.trial.config.seed for result in study.results}
    tried = [len(c.results) + c.diverged + c.failed for c in study.configurations]
    lacking = [len(every_seed) - n for n in tried]
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
    notes = {
        "device": "Trained on several devices ({}): training times compare within one only.",
        "tinygrad_version": (
            "Trained with several versions of tinygrad ({}), which may round differently."
        ),
    }
    said = []
    for column, note in notes.items():
        values = {getattr(r, column) for r in study.results if r.status == "ok"} - {""}
        if len(values) > 1:
            said.append(note.format(", ".join(sorted(values))))
    return said
