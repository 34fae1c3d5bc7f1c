"""The page: everything that is said of some results files, as one self-contained HTML document.

The script and the style sheet are written by hand and stand in the page, 34 kB together: libraries
that draw parallel coordinates take 1.1 MB (Apache ECharts 6.1) or 4.8 MB (Plotly 4.1) and would
still lack the keyboard, the phone and the linked table. A content security policy allows this
script and no other, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from mnist_sweep import __version__
from mnist_sweep.errors import UserError
from mnist_sweep.figures.draw import split_studies
from mnist_sweep.files import make_folder, replace_file
from mnist_sweep.labels import count
from mnist_sweep.report.environment import environment, span
from mnist_sweep.report.island import island
from mnist_sweep.report.markup import Html, element, join
from mnist_sweep.report.review import Review, review_study
from mnist_sweep.report.sections import overview, study_section, warning_box
from mnist_sweep.results.file import ResultsFile
from mnist_sweep.results.lines import reason
from mnist_sweep.trial import TrialResult

_SCRIPTS = ("coordinates.js", "rerun.js", "report.js")
_MAX_NAMES = 3


def render_report(sources: Sequence[ResultsFile]) -> str:
    """The report on the trials of ``sources`` together, an HTML document.

    Of a trial that several files hold the first row counts. Each model on each data set is a study
    with a ranking of its own. The same results give the same document.
    """
    merged: dict[str, TrialResult] = {}
    for source in sources:
        for result in source.results:
            merged.setdefault(result.trial.trial_id, result)
    name = _name(sources)
    results = list(merged.values())
    # Several files: the studies' own names are long enough.
    spec_name = f"{name}_" if len(sources) == 1 else ""
    reviews = [review_study(study, spec_name) for study in split_studies(results, name)]
    sections = [study_section(review, place) for place, review in enumerate(reviews)]
    files = ", ".join(source.path.name for source in sources)
    notes = [note for source in sources for note in source.notes]
    header = element(
        "header",
        element("h1", f"Sweep report: {name}"),
        element("p", _lead(results, reviews)),
    )
    body = join(
        header,
        element(
            "main",
            warning_box("Notes on the files", notes),
            overview(reviews) if len(reviews) > 1 else None,
            *sections,
            environment(sources, results),
        ),
        element("footer", f"Made by mnist-sweep {__version__} from {files}."),
    )
    return _document(f"Sweep report: {name}", body, reviews)


def write_report(sources: Sequence[ResultsFile], path: Path) -> None:
    """Write the report on ``sources`` to ``path``, at once; its folder is made if need be.

    Raises UserError where it cannot be written; what was there before then still is.
    """
    # A file's name may hold bytes that are no text.
    content = render_report(sources).encode(errors="replace")
    try:
        make_folder(path.parent)
        replace_file(path, content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {reason(error)}; name another file with -o"
        ) from error


def _name(sources: Sequence[ResultsFile]) -> str:
    names = list(dict.fromkeys(source.path.stem for source in sources))
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _document(heading: str, body: Html, reviews: Sequence[Review]) -> str:
    folder = resources.files("mnist_sweep.report")
    script = "".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (folder / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=f"mnist-sweep {__version__}"),
        element("title", heading),
        element("style", Html(style)),
    )
    data = element("script", island(reviews), type="application/json", id="data")
    page = element("body", body, data, element("script", Html(script)))
    return f"<!DOCTYPE html>\n{element('html', head, page, lang='en')}\n"


def _lead(results: Sequence[TrialResult], reviews: Sequence[Review]) -> str:
    if not results:
        return "No trial has finished yet."
    configurations = sum(len(review.comparisons) for review in reviews)
    return (
        f"{count(len(results), 'trial')} of {count(configurations, 'configuration')}, finished "
        f"{span(results)}."
    )
