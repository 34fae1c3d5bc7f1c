"""From results to figure files: which figures the data allow, and what each is called."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from matplotlib.figure import Figure

from mnist_sweep.analysis.curves import mean_curve
from mnist_sweep.analysis.expected_best import expected_best, searched
from mnist_sweep.analysis.importance import importance
from mnist_sweep.analysis.pareto import COSTS, cost_of, pareto_front
from mnist_sweep.analysis.slices import crossed_pairs, parameter_slices
from mnist_sweep.analysis.study import Study
from mnist_sweep.errors import UserError
from mnist_sweep.figures import charts, ranking_charts, search_charts, stage_charts
from mnist_sweep.figures.importance_charts import importance_chart
from mnist_sweep.figures.style import Format, Style, save, styled
from mnist_sweep.labels import parameter_name
from mnist_sweep.metrics import TEST_ACCURACY

#: How many of the best are shown.
TOP = 8
#: How many heat maps are drawn unless they are asked for by name.
MAX_MAPS = 6
#: Costs within this factor are taken for the same: nobody chooses by less.
SAME_COST = 1.25


@dataclass(frozen=True)
class FiguresReport:
    """The files ``written``, and a line for each figure ``left_out``: what it shows, and why."""

    written: list[Path]
    left_out: list[str]


#: The name of a file with its figure; or what a figure would show, and why there is none.
Drawing = tuple[str, Figure | str]
#: The same before anything is drawn.
Offer = tuple[str, Callable[[], Figure] | str]


def draw_figures(
    studies: Sequence[Study],
    out_dir: Path,
    format: Format = "png",
    only: Collection[str] = (),
    style: Style = "screen",
) -> FiguresReport:
    """Draw every figure that ``studies`` allow, or those named in ``only``, into ``out_dir``.

    The folder is made if need be; other files in it stay. The same results give the same bytes.
    Raises OSError where it cannot be written, UserError for a name that no study has a figure of.
    """
    report = FiguresReport([], [])
    if not studies:
        report.left_out.append("every figure: no trial has finished yet")
        return report
    offers = chain.from_iterable(_offers(study, only) for study in studies if only)
    names = dict.fromkeys(name for name, offer in offers if not isinstance(offer, str))
    if unknown := " or ".join(repr(name) for name in only if name not in names):
        there = ", ".join(names) or "none"
        raise UserError(f"--only: no figure here is called {unknown}; there are {there}")
    out_dir.mkdir(parents=True, exist_ok=True)
    with styled(style):
        for study in studies:
            for name, drawn in draw_study(study, only):
                if isinstance(drawn, str):
                    whose = f"{study.name}: " if study.name else ""
                    report.left_out.append(f"{whose}{name}: {drawn}")
                    continue
                path = out_dir / f"{study.prefix}{name}.{format}"
                save(drawn, path, format)
                report.written.append(path)
    return report


def draw_study(study: Study, only: Collection[str] = ()) -> Iterator[Drawing]:
    """Yield the figures of ``study``, or the reasons why there are none. Call within ``styled``.

    Of ``only`` these names, if any are given, and then no reasons.
    """
    for name, offer in _offers(study, only):
        if isinstance(offer, str):
            if not only:
                yield name, offer
        elif not only or name in only:
            yield name, offer()


def _offers(study: Study, only: Collection[str]) -> Iterator[Offer]:
    if not study.measured:
        yield "every figure", study.nothing_text
        return
    yield from _parameters(study)
    yield from _maps(study, MAX_MAPS if not only else None)
    yield _importance(study)
    ranking = partial(ranking_charts.ranking, study, TOP)
    yield "ranking", ranking if len(study.measured) > 1 else "only one configuration has a result"
    if study.earlier:
        yield "best_so_far", partial(stage_charts.best_so_far, study)
    if (
        study.earlier
        or len({len(c.results) + c.diverged + c.failed for c in study.configurations}) > 1
    ):
        yield "dropped", partial(stage_charts.dropped, study)
    yield from _costs(study)
    yield _expected_best(study)
    yield _curves(study)


def _parameters(study: Study) -> Iterator[Offer]:
    label = study.metric.label
    slices = parameter_slices(study.configurations)
    mixed = len(study.configurations) <= len(study.varying)
    if not slices:
        yield f"{label} by parameter", "every parameter has one value only"
    for shown in slices:
        if mixed and not shown.settings:
            reason = "other parameters change with it in these few configurations"
            yield f"{label} by {parameter_name(shown.x)}", reason
            continue
        by = f"{shown.x}_and_{shown.line}" if shown.line else shown.x
        yield f"{study.metric.name}_by_{by}", partial(charts.by_parameter, shown, study)


def _maps(study: Study, most: int | None) -> Iterator[Offer]:
    lines = [{shown.x, shown.line} for shown in parameter_slices(study.configurations)]
    pairs = crossed_pairs(study.configurations, study.metric)
    # A pair that has lines is shown already.
    pairs.sort(key=lambda pair: {pair.x, pair.line} in lines)
    names = [f"{study.metric.name}_map_of_{pair.x}_and_{pair.line}" for pair in pairs]
    if not pairs:
        yield f"maps of {study.metric.label}", "no two parameters are crossed in these trials"
    for name, pair in list(zip(names, pairs, strict=True))[:most]:
        yield name, partial(charts.heat_map, pair, study)
    if most is not None and (others := names[most:]):
        reason = f"{most} maps are drawn, of the strongest interactions; ask with --only"
        yield ", ".join(others), reason


def _importance(study: Study) -> Offer:
    try:
        parts = importance(study.configurations, study.metric)
    except UserError as reason:
        return "importance of the parameters", str(reason)
    return "importance", partial(importance_chart, parts, study)


def _costs(study: Study) -> Iterator[Offer]:
    for cost, name in COSTS.items():
        what = f"{study.metric.label} against {name}"
        measured = (c for c in study.configurations if c.values(study.metric))
        priced = [c for c in measured if (cost_of(c, cost) or 0.0) > 0]
        prices = [cost_of(c, cost) or 0.0 for c in priced]
        front = pareto_front(priced, study.metric, cost)
        if not priced:
            yield what, f"no trial has a {name}"
        elif max(prices) < SAME_COST * min(prices):
            yield what, f"every configuration has about the same {name}"
        elif not front:
            yield what, "every configuration has a seed that diverged"
        else:
            chart = partial(search_charts.metric_and_cost, priced, front, cost, study)
            yield f"{study.metric.name}_by_{cost}", chart


def _expected_best(study: Study) -> Offer:
    fruitful, nothing = searched(study.results, study.metric)
    trials = len(fruitful) + nothing
    what = f"expected best {study.metric.label}"
    if len(study.configurations) < 2:
        return what, "only one configuration: its best seed is luck"
    if trials < 3:
        return what, "needs three trials"
    # Evenly over the logarithm: the curve is flat where there are many.
    counts = sorted({round(trials ** (i / 199)) for i in range(200)})
    best = expected_best(study.results, study.metric, counts)
    return f"expected_best_{study.metric.name}", partial(search_charts.best_by_trials, best, study)


def _curves(study: Study) -> Offer:
    best = [comparison.configuration for comparison in study.comparisons[:TOP]]
    test = study.metric.on("test")
    if not any(c.values(test) for c in best):  # losses of held-out images came later
        test = TEST_ACCURACY
    shown = [(place, c, curve) for place, c in enumerate(best, 1) if (curve := mean_curve(c, test))]
    if shown:
        return "curves", partial(ranking_charts.curves, shown, study, test)
    reason = "fewer than two evaluations in a trial; set evals_per_epoch in the spec"
    return f"{test.measure} against steps", reason
