"""Several results files side by side: what each says of the configurations that they share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.pairs import Pair, pairs
from mnist_sweep.analysis.sources import Sources
from mnist_sweep.analysis.study import Study
from mnist_sweep.labels import capital, count, describe
from mnist_sweep.report.markup import Html, element, table

#: Rows of a table, the best configurations first.
_MAX_ROWS = 200


def side_by_side(sources: Sources) -> Html:
    """A section with a table for each two files of ``sources`` that share configurations."""
    names = [file.path.name for file in sources.files]
    if len(set(names)) < len(names):
        names = [str(file.path) for file in sources.files]
    files = [configurations(file.results) for file in sources.files]
    cards = []
    for study in sources.studies:
        ranked = [comparison.configuration for comparison in study.comparisons]
        places = {(c.config, c.dataset): place for place, c in enumerate(ranked)}
        sides = [[c for c in file if (c.config, c.dataset) in places] for file in files]
        for a, b in combinations(range(len(files)), 2):
            if shared := pairs(sides[a], sides[b], study.metric):
                shared.sort(key=lambda pair: places[pair.first.config, pair.first.dataset])
                cards.append(_card(study, shared, names[a], names[b]))
    nothing = element("p", "No configuration is in two of these files.")
    return element("section", element("h2", "Files side by side"), *(cards or [nothing]))


def _card(study: Study, shared: Sequence[Pair], first: str, second: str) -> Html:
    heading = f"{study.title}: {first} and {second}"
    cut = f" (here the best {_MAX_ROWS})" if len(shared) > _MAX_ROWS else ""
    said = (
        f"{capital(study.metric.label)}{study.metric.unit} of "
        f"{count(len(shared), 'configuration')} in both files{cut}. The difference is {second} "
        f"less {first}, with its 95 % interval over seeds: better or worse where that leaves out "
        "0, as 1 in 20 does where nothing differs."
    )
    rows = []
    for pair in shared[:_MAX_ROWS]:
        means = [side.text(study.metric, unit=False) for side in (pair.first, pair.second)]
        name = describe(pair.first.config, study.varying) or "the only configuration"
        rows.append([name, *means, *_difference(study, pair)])
    heads = ["with", first, second, "difference", "over"]
    content = element("p", said), table(heading, heads, rows)
    return element("div", element("h3", heading), *content, class_="card overview")


def _difference(study: Study, pair: Pair) -> tuple[str, str]:
    """What a row says of the difference, and over which seeds it is."""
    seeds = [len(side.values(study.metric)) for side in (pair.first, pair.second)]
    over = f"{pair.common} common seeds" if pair.common > 1 else f"{seeds[0]} and {seeds[1]} seeds"
    if pair.difference is None:
        diverged = pair.first.diverged or pair.second.diverged
        return "a seed diverged" if diverged else "not measured in both", over
    sign = "" if pair.difference < 0 else "+"
    text = f"{sign}{study.metric.number(pair.difference)}"
    if pair.interval is None:
        return f"{text}, no interval: one seed", over
    text += f" ± {study.metric.number(pair.interval.half_width)}"
    if pair.interval.low <= 0 <= pair.interval.high:
        return text, over
    return f"{text}, {'better' if study.metric.sign * pair.difference > 0 else 'worse'}", over
