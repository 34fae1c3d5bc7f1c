"""The keys ``rungs``, ``race`` and ``confirm``: what a search goes on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from mnist_sweep.config import parse_number
from mnist_sweep.search.protocol import Search
from mnist_sweep.search.space import Space
from mnist_sweep.search.stages import Keep, Race, Rung, most_kept
from mnist_sweep.spec.draft import MAX_IMAGES, MAX_TRIALS, Draft, training_images
from mnist_sweep.spec.fields import read_base, read_seeds
from mnist_sweep.spec.nodes import Node, NodeError, Scalar, Table
from mnist_sweep.trial import Trial

_RUNG = "{epochs: 1, keep: 1/4}"


@dataclass(frozen=True)
class RungSpec:
    """An entry of ``rungs``: what it changes, also of the data set, and how many stay after it."""

    table: Table
    changes: Mapping[str, Any]
    sizes: Mapping[str, Any]
    seeds: Sequence[int] | None
    keep: Keep


def read_rungs(draft: Draft, node: Node) -> list[RungSpec]:
    """The entries of ``rungs``, two or more."""
    nodes = node.items("rungs")
    rungs = [draft.attempt(_rung, draft, child, child is nodes[-1]) for child in nodes]
    if len(nodes) < 2:
        raise NodeError("rungs", f"needs two stages or more, such as {_RUNG}")
    return [rung for rung in rungs if rung is not None]


def _rung(draft: Draft, node: Node, is_last: bool) -> RungSpec:
    table = node.mapping("rungs", _RUNG)
    rest = dict(table.entries)
    keep, seeds, size = (rest.pop(key, None) for key in ("keep", "seeds", "train_size"))
    if not (is_last or keep):
        draft.note(node, "rungs: say how many stay after this stage: keep: 64, 1/4, contenders")
    changes = read_base(draft, Table(table.place, rest, table.key_places)) if rest else {}
    return RungSpec(
        table,
        {name: value for name, value in changes.items() if value is not None},
        (draft.attempt(_sizes, draft, size) or {}) if size else {},
        draft.attempt(read_seeds, draft, seeds) if seeds else None,
        draft.attempt(_keep, keep) if keep else 1.0,
    )


def _sizes(draft: Draft, node: Node) -> Mapping[str, Any]:
    """The ``train_size``; None for all images there are, which are the data set as it is."""
    dataset = draft.values["dataset"]
    most = training_images(node, replace(dataset, train_size=None)) if dataset else MAX_IMAGES
    size = node.whole("rungs.train_size", 1, most)
    return {"train_size": size if size < most else None}


def _keep(node: Node) -> Keep:
    """A number of configurations, a share of them, or all that may be the best."""
    text = node.scalar("keep").text
    if text == "contenders":
        return None
    above, slash, below = text.partition("/")
    numbers = [parse_number(part) for part in (above, below if slash else "1")]
    if all(isinstance(number, int) and number > 0 for number in numbers):
        share = numbers[0] / numbers[1]  # type: ignore[operator]
        if not slash:
            return numbers[0]
        if share < 1:
            return share
    raise NodeError(node, f"keep: expected 64, 1/4 or contenders, got {node}")


def read_confirm(draft: Draft, node: Node) -> tuple[int, Sequence[int]]:
    """How many of the best, and the fresh seeds for them."""
    keys = ("top", "seeds")
    table = draft.table(node, "confirm", "{top: 5, seeds: [20, 21, 22]}", keys, keys)
    seeds = read_seeds(draft, table.entries["seeds"])
    return table.entries["top"].whole("confirm.top", 1, MAX_TRIALS), seeds


def read_race(draft: Draft, node: Node) -> tuple[Sequence[int], float]:
    """The seeds of a race, and the margin: a fraction for accuracies."""
    table = draft.table(node, "race", "{seeds: 10, margin: 0.1}", ("seeds", "margin"), ("seeds",))
    seeds = read_seeds(draft, table.entries["seeds"])
    if len(seeds) < 2:
        raise NodeError(table.entries["seeds"], "race.seeds: a race needs two seeds or more")
    margin = table.entries.get("margin", Scalar(table.place, "0")).number("race.margin")
    if isinstance(margin, str) or margin < 0:
        raise NodeError(table.entries["margin"], "race.margin: expected points such as 0.1")
    metric = draft.values["metric"]
    return seeds, margin / 100 if metric is None or metric.is_accuracy else margin


def stages_of(draft: Draft, method: Search, space: Space) -> list[Rung]:
    """The stages behind the ``method``, which searches ``space``; notes what has no effect."""
    values, dataset, seeds, metric = draft.values, space.dataset, space.seeds, space.metric
    stages: list[tuple[str, Rung]] = []
    rungs: Sequence[RungSpec] = values["rungs"] or ()
    for i, (before, rung) in enumerate(pairwise(rungs), 2):
        dataset = replace(dataset, **rung.sizes)
        seeds = rung.seeds or seeds
        stage = Rung(f"rung {i}", before.keep, rung.changes, dataset, seeds, metric)
        stages.append(("rungs", stage))
    if values["race"]:
        raced, margin = values["race"]
        name = stages[-1][1].name if stages else ""
        keep = rungs[-1].keep if rungs else 1.0
        stages.append(("race", Race(name, keep, {}, dataset, raced, metric, margin)))
    elif rungs and "keep" in rungs[-1].table.entries:
        draft.note(rungs[-1].table, "keep: after the last of rungs only a race: goes on; remove it")
    if values["confirm"]:
        top, fresh = values["confirm"]
        stages.append(("confirm", Rung("confirm", top, {}, dataset, fresh, metric)))
    _check(draft, stages, method)
    return [stage for _, stage in stages]


def _check(draft: Draft, stages: Sequence[tuple[str, Rung]], method: Search) -> None:
    """Note what has no effect in ``stages``, each with the key that asks for it."""
    *_, first = method.parts
    left, seeds, used = first.configurations, {*first.seeds}, {*first.seeds}
    done: list[Rung] = []
    for key, stage in stages:
        where, fresh = draft.root.key_places[key], {*stage.seeds}
        done.append(stage)
        if key == "confirm" and used & fresh:
            chose = ", ".join(map(str, sorted(used & fresh)))
            draft.note(where, f"confirm.seeds: {chose} chose the best; give fresh ones")
        elif fresh <= seeds and all(_is_idle(done, trial) for trial in first.variants):
            what = "trains" if key == "race" else f"{stage.name} trains"
            more = "give it more seeds, images or epochs"
            draft.note(key, f"{what} nothing that was not trained before it; {more}")
        all_stay = "contenders: one seed tells nothing apart" if stage.keep is None else ""
        if isinstance(stage.keep, int) and stage.keep > left:
            all_stay = f"{stage.keep} are more than the {left:,} configurations left"
        if all_stay and (stage.keep or len(seeds) == 1):
            draft.warnings.append(f"{where}: {key}: {all_stay}; all go on")
        left, seeds = most_kept(stage.keep, left), fresh
        used |= fresh


def _is_idle(stages: Sequence[Rung], trial: Trial) -> bool:
    """Whether the last of ``stages`` leaves ``trial`` as those before it made it."""
    before = trial
    for stage in stages:
        before, trial = trial, stage.trial(trial.config, trial.config.seed)
    return trial == before
