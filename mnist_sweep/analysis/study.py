"""One study: the trials of one model on one data set, grouped, ranked, compared and described.

Every view of results reads it, so that all of them say the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mnist_sweep.analysis import verdicts
from mnist_sweep.analysis.configurations import Configuration, configurations, varying_values
from mnist_sweep.analysis.ranking import default_metric, rank
from mnist_sweep.labels import count, dataset_text, describe, stage_text
from mnist_sweep.metrics import METRICS, Metric
from mnist_sweep.trial import Status, TrialResult


@dataclass(frozen=True)
class Study:
    """Trials of one model on one data set, which compare by ``metric``; one row of each trial.

    ``origin`` says where they are from: "mlp_phase2: mlp, mnist.". Of several studies each has a
    ``name`` for people, "mlp, mnist", and a ``prefix`` for file names; else both are empty.
    ``rerun`` is the command that goes on with them, if one does. ``earlier`` are the other stages
    of the search of which these trials are the last, in their order.
    """

    results: Sequence[TrialResult]
    metric: Metric
    origin: str
    name: str = ""
    prefix: str = ""
    rerun: str = "mnist-sweep run SPEC"
    earlier: Sequence[Study] = ()

    @property
    def stage(self) -> str:
        """The part of a search that its trials are; "" for the method."""
        return self.results[0].stage

    @property
    def stages(self) -> list[Study]:
        """Those of the search of which it is the last; else itself."""
        return [*self.earlier, self]

    @cached_property
    def configurations(self) -> list[Configuration]:
        """All configurations, in the order of their first trial."""
        return configurations(self.results)

    @cached_property
    def comparisons(self) -> list[verdicts.Comparison]:
        """All configurations compared with the best of them, best first."""
        return verdicts.compare_with_best(rank(self.configurations, self.metric), self.metric)

    @property
    def measured(self) -> list[verdicts.Comparison]:
        """Those of ``comparisons`` that have the metric."""
        return [c for c in self.comparisons if c.configuration.values(self.metric)]

    @property
    def unmeasured(self) -> list[Configuration]:
        """Those that do not have it: diverged, failed, or finished without it."""
        return [c for c in self.configurations if not c.values(self.metric)]

    @property
    def best(self) -> Configuration | None:
        """The first in the ranking; None where no trial has the metric."""
        first = self.comparisons[0].configuration
        return first if first.values(self.metric) else None

    @cached_property
    def varying(self) -> dict[str, tuple[Any, ...]]:
        """Hyperparameter -> its values, ascending, for those that have several."""
        return varying_values(self.configurations)

    def common_text(self, shown: Iterable[Configuration]) -> str:
        """What varies in the study, but not among ``shown``: "lr 1e-3, adam"; may be empty."""
        several = list(shown)
        differing = varying_values(several)
        return describe(several[0].config, [n for n in self.varying if n not in differing])

    @property
    def title(self) -> str:
        """The model and the data set: "MLP on mnist, validation size 5,000"."""
        trial = self.results[0].trial
        return f"{trial.config.model.upper()} on {dataset_text(trial.dataset.label)}"

    def count(self, status: Status) -> int:
        """The number of trials that ended in ``status``."""
        return sum(result.status == status for result in self.results)

    def _judged(self, verdict: verdicts.Verdict) -> int:
        return sum(comparison.verdict == verdict for comparison in self.comparisons)

    @property
    def promise_text(self) -> str:
        """What the verdicts promise, in one sentence; empty where nothing was compared."""
        left, worse = 1 + self._judged("tied"), self._judged("worse")
        if left + worse == 1:
            return ""
        if not worse:
            return f"Any of the {left:,} may be the truly best: none is told from the first."
        if left == 1:
            return "With at least 95 % confidence the best is the truly best configuration."
        return (
            "With at least 95 % confidence the truly best configuration is among the "
            f"{left:,} of {left + worse:,} that may be the best."
        )

    @property
    def lost_text(self) -> str:
        """How much may be lost with the best, if another is better; empty where nothing is tied."""
        left = [c.configuration for c in self.comparisons if c.verdict in ("best", "tied")]
        lost = verdicts.most_lost(left, self.metric) if self._judged("tied") else math.inf
        if lost == math.inf:
            return ""
        unit = " points" if self.metric.is_accuracy else ""
        return (
            f"None of these is better than the best by more than {self.metric.number(lost)}{unit}."
        )

    @property
    def borrowed_text(self) -> str:
        """That those of one seed are judged by the noise of the others; may be empty."""
        judged = [c for c in self.comparisons if c.verdict != "untested"]
        single = sum(len(c.configuration.values(self.metric)) == 1 for c in judged)
        if not single or len(judged) == 1:
            return ""
        return f"Judged by the noise of the others: {count(single, 'configuration')} of one seed."

    @property
    def settle_text(self) -> str:
        """How many seeds would tell more; empty where nothing is tied."""
        ties, advised = self._judged("tied"), self._advice
        if not ties:
            return ""
        if advised is None:
            seeds = f"More than {verdicts.MOST_SEEDS} seeds"
            return f"{seeds} would be needed to tell any other from the best."
        every = "the other" if ties == 1 else f"all {ties:,} others"
        told = every if advised.told == ties else f"{advised.told:,} of the {ties:,} others"
        more = count(advised.trials, "more trial")
        return f"About {advised.seeds} seeds would tell {told} from the best ({more})."

    @property
    def settle_command(self) -> str:
        """The command that runs these seeds; empty where there is none."""
        if self._advice is None or not self.rerun:
            return ""
        return (
            f"{self.rerun} --set seeds={self._advice.seeds} runs all configurations so; a spec "
            f"with from_results: {{file: RESULTS, top: {self._advice.top}}} only the first ones."
        )

    @cached_property
    def _advice(self) -> verdicts.Advice | None:
        return verdicts.advice(self.comparisons, self.metric)

    @property
    def nothing_text(self) -> str:
        """Why no configuration has the metric, and what to do."""
        if self.count("ok"):
            return f"no trial has a {self.metric.label}"
        return (
            f"no trial finished well: {self.count('diverged')} diverged, {self.count('failed')} "
            "failed; the column error of the results says why trials failed, and a lower lr helps "
            "those that diverged"
        )

    @property
    def images_text(self) -> str:
        """The set that the metric was measured on: "10,000 test images"."""
        names = {"val": "validation images", "test": "test images"}
        images = self.configurations[0].images(METRICS[f"{self.metric.split}_accuracy"])
        return f"{images:,} {names[self.metric.split]}" if images else "the training images"

    @property
    def choice_note(self) -> str:
        """One sentence: on which images the best was chosen, and what that does to the numbers."""
        if len(self.comparisons) == 1:
            return "One configuration: nothing was chosen."
        if self.metric.split == "test":
            has_split = self.results[0].trial.dataset.validation_size
            reason = "" if has_split else ", for want of a validation split"
            label = self.metric.label
            return f"Chosen on the test set{reason}: the {label} of the best is flattering."
        if self.metric.split == "val":
            return f"Chosen on {self.images_text}; the test set had no part in the choice."
        return f"Chosen by {self.metric.label}, which says nothing about images not trained on."


def split_studies(
    results: Iterable[TrialResult],
    metric: Metric | None = None,
    title: str = "",
    preferred: Metric | None = None,
    rerun: str = Study.rerun,
) -> list[Study]:
    """Group ``results``, one row of each trial, by model, data set and stage of the search.

    In order of appearance, but a later stage of a search before those that it goes back on. Ranked
    by ``metric``, else each by its ``default_metric``: ``preferred`` where it was measured.
    ``title`` names the results, ``rerun`` is the command that goes on with them.
    """
    groups: dict[tuple[str, str, str], list[TrialResult]] = {}
    for result in results:
        key = result.stage, result.trial.config.model, result.trial.dataset.label
        groups.setdefault(key, []).append(result)
    several_stages, several_models, several_datasets = (
        len({key[i] for key in groups}) > 1 for i in range(3)
    )
    if several_stages:  # which may train on fewer images
        several_datasets = len(groups) > len({key[:2] for key in groups})
    stages = [*dict.fromkeys(stage for stage, _, _ in groups)]
    studies = []
    for key in sorted(groups, key=lambda key: -stages.index(key[0])):
        (stage, model, dataset), group = key, groups[key]
        data = dataset_text(dataset)
        first = [stage_text(stage)] * several_stages + [model] * several_models
        name = ", ".join(first + [data] * several_datasets)
        parts = first + [dataset] * several_datasets
        prefix = "".join(re.sub(r"[^A-Za-z0-9=._]+", "-", p).strip("-.") + "_" for p in parts)
        origin = f"{title}: {model}, {data}." if title else f"{model}, {data}."
        by = metric or default_metric(group, preferred)
        # More seeds for a search would be another search.
        again = "" if several_stages else rerun
        studies.append(Study(group, by, origin, name, prefix, again))
    return [_with_earlier(study, studies) for study in studies]


def _with_earlier(study: Study, studies: Sequence[Study]) -> Study:
    """``study``, if it is the last of its search in ``studies``, with the stages before it."""
    last, *earlier = [s for s in studies if _search(s) == _search(study)]
    if study.stage != last.stage:
        return study
    return replace(study, earlier=[s for s in earlier[::-1] if s.stage != last.stage])


def _search(study: Study) -> tuple[str, str, str]:
    """What all stages of a search have in common; some train on fewer of the images."""
    trial = study.results[0].trial
    return trial.config.model, trial.dataset.name, trial.dataset.digest
