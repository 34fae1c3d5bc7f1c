"""The sections of a report that are about studies, as HTML."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from importlib.resources import files
from urllib.parse import quote

from matplotlib.figure import Figure

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.analysis.study import Study
from mnist_sweep.analysis.verdicts import MARKS
from mnist_sweep.config import FIELDS, settings
from mnist_sweep.figures.draw import draw_study
from mnist_sweep.figures.style import save, styled
from mnist_sweep.labels import count, describe, duration, value_text
from mnist_sweep.metrics import TEST_ACCURACY
from mnist_sweep.report.markup import Html, element, join, table
from mnist_sweep.report.rerun import Reruns, rerun_spec, sweep_name
from mnist_sweep.report.review import warnings, worth

#: What needs no escape in a data: URL, nor in an attribute between double quotes.
_UNQUOTED = " !$'()*+,-./:;<=>?@[]^_`{|}~"


def overview(studies: Sequence[Study]) -> Html:
    """A table of several studies: the best of each, with a link to its section."""
    heads = ("study", "configurations", "ranked by", "best", "with")
    rows = []
    for place, study in enumerate(studies):
        best, link = study.best, element("a", study.title, href=f"#study-{place}")
        found = ["none", ""]
        if best:
            found = [best.text(study.metric), describe(best.config, study.varying)]
        rows.append([link, f"{len(study.comparisons):,}", study.metric.label, *found])
    content = element("div", table("Studies", heads, rows), class_="card overview")
    return element("section", element("h2", "Studies"), content)


def study_section(study: Study, reruns: Reruns, place: int) -> Html:
    """All of one study, number ``place`` of the page."""
    best = study.best
    parts = [
        _tiles(study, best),
        warning_box("Before you rely on it", warnings(study)),
        _recommendation(study, best, reruns, place) if best else None,
        _explorer(study, place),
        _figures(study),
    ]
    return element("section", element("h2", study.title), *parts, id=f"study-{place}")


def warning_box(heading: str, lines: Sequence[str]) -> Html | None:
    """``lines`` that a reader must not miss; None where there are none."""
    if not lines:
        return None
    items = element("ul", *(element("li", line) for line in lines))
    return element("div", element("h3", heading), items, class_="card warnings", role="note")


def _tiles(study: Study, best: Configuration | None) -> Html:
    tiles = []
    if best:
        tiles.append((best.text(study.metric), f"best {study.metric.label}"))
        if study.metric != TEST_ACCURACY:
            tiles.append((best.text(TEST_ACCURACY), "its test accuracy"))
    tiles.append((f"{len(study.comparisons):,}", "configurations"))
    broken = {"diverged": study.count("diverged"), "failed": study.count("failed")}
    told = [f"{n:,} {status}" for status, n in broken.items() if n]
    tiles.append((f"{len(study.results):,}", ", ".join(["trials", *told])))
    seconds = sum(result.train_seconds or 0.0 for result in study.results)
    if seconds:
        tiles.append((duration(seconds), "wall time of training, trials added up"))
    items = [element("li", element("b", value), element("span", what)) for value, what in tiles]
    return element("ul", *items, class_="tiles")


def _recommendation(study: Study, best: Configuration, reruns: Reruns, place: int) -> Html:
    values = {n: v for n, v in settings(best.config).items() if n != "seed" and v is not None}
    chips = []
    for name in sorted(values, key=lambda name: name not in study.varying):
        value = element("b", value_text(values[name], name))
        varies, doc = "varies" if name in study.varying else None, FIELDS[name].metadata["doc"]
        chips.append(element("li", f"{name} ", value, class_=varies, title=doc))
    words = element(
        "div",
        element("h3", "Recommended configuration"),
        element("ul", *chips, class_="settings"),
        *(element("p", sentence) for sentence in worth(study)),
    )
    name = sweep_name(reruns.name, "best")
    spec = rerun_spec(reruns.trials[best.config], name, reruns.evaluations[best.config])
    file = _spec_file(f"spec-{place}", f"{name}.yaml", spec)
    again = element("div", element("h3", "Run it again"), file)
    return element("div", words, again, class_="card recommendation")


def _spec_file(spot: str, name: str = "", spec: str = "") -> Html:
    """A spec with its command, to copy and to save; one without a name is for rerun.js to fill."""
    link = f"data:text/yaml;charset=utf-8,{quote(spec)}"
    bar = element(
        "p",
        element("code", f"mnist-sweep run {name}"),
        element("button", "Copy", type="button", data_copy=spot, hidden=True),
        element("a", "Save", href=link if name else None, download=name, class_="button"),
        class_="file",
    )
    return join(bar, element("pre", spec, id=spot, tabindex=0))


def _explorer(study: Study, place: int) -> Html:
    """The empty frame that report.js fills from the data island; rerun.js fills the box in it."""
    form = (files("mnist_sweep.report") / "explorer.html").read_text(encoding="utf-8")
    marks = "; ".join(f"{mark}: {meaning}" for mark, meaning in MARKS.values() if mark)
    spec, example = _spec_file(f"row-spec-{place}"), join(_filter_example(study))
    return Html(form.format(place=place, example=example, marks=join(marks), spec=spec))


def _filter_example(study: Study) -> str:
    """A filter that the best of this study passes: "adam lr<=1e-3 test_accuracy>=97%"."""
    config = study.comparisons[0].configuration.config
    parts = []
    for name in list(study.varying)[:2]:
        value = getattr(config, name)
        parts.append(value if isinstance(value, str) else f"{name}<={value_text(value, name)}")
    if study.best and (mean := study.best.mean(study.metric)):
        percent = f">={math.floor(100 * mean)}%"
        bound = percent if study.metric.is_accuracy else f"<={2 * mean:.1g}"
        parts.append(f"{study.metric.name}{bound}")
    return " ".join(parts)


def _figures(study: Study) -> Html:
    drawn, left_out = [], []
    with styled():
        for name, figure in draw_study(study):
            if isinstance(figure, str):
                left_out.append(f"{name}: {figure}")
            else:
                drawn.append(element("figure", _image(figure), tabindex=0))
    summary = element("summary", f"{count(len(left_out), 'figure')} left out")
    reasons = element("ul", *(element("li", line) for line in left_out))
    return element(
        "div",
        element("h3", "Figures"),
        element("p", "Tap a figure to enlarge it.", class_="hint enlarge"),
        element("div", *drawn, class_="figures"),
        element("details", summary, reasons) if left_out else None,
    )


def _image(figure: Figure) -> Html:
    """``figure`` as SVG within the page, which says its texts (title, subtitle, note) too."""
    buffer = io.BytesIO()
    save(figure, buffer, "svg")
    # Without double quotes most of it can stand in an attribute as it is: shorter than base64.
    svg = " ".join(buffer.getvalue().decode().split()).replace('"', "'")
    width, height = figure.get_size_inches()
    return element(
        "img",
        src=Html(f"data:image/svg+xml,{quote(svg, safe=_UNQUOTED)}"),
        alt=" ".join(_sentence(text.get_text()) for text in figure.texts),
        width=round(96 * width),
        height=round(96 * height),
    )


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", ":")) else f"{text}."
