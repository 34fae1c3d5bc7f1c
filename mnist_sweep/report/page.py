"""The page: everything that is said of some results files, as one self-contained HTML document.

The script and the style sheet are written by hand and stand in the page, 42 kB together: libraries
that draw parallel coordinates take 1.1 MB (Apache ECharts 6.1) or 4.8 MB (Plotly 4.1) and would
still lack the keyboard, the phone and the linked table. A content security policy allows this
script and no other, and no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import os
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from mnist_sweep import __version__
from mnist_sweep.analysis.sources import Sources
from mnist_sweep.errors import UserError
from mnist_sweep.files import make_folder, replace_file
from mnist_sweep.labels import count
from mnist_sweep.report.comparison import side_by_side
from mnist_sweep.report.environment import environment, span
from mnist_sweep.report.island import island
from mnist_sweep.report.markup import Html, element, join
from mnist_sweep.report.rerun import Reruns
from mnist_sweep.report.sections import overview, study_section, warning_box
from mnist_sweep.results.lines import reason

_SCRIPTS = ("axis.js", "coordinates.js", "rerun.js", "filter.js", "report.js")


def render_report(sources: Sources, folder: Path = Path()) -> str:
    """The report on the trials of ``sources``, an HTML document that stands in ``folder``.

    Each model on each data set is a study with a ranking of its own. The same results give the
    same document.
    """
    name = sources.name
    # Several files: the studies' own names are long enough.
    spec_name = f"{name}_" if len(sources.files) == 1 else ""
    studies = [(study, Reruns(study, spec_name)) for study in sources.studies]
    files_text = ", ".join(file.path.name for file in sources.files)
    heading = f"Sweep report: {name}"
    header = element("header", element("h1", heading), element("p", _lead(sources)))
    main = element(
        "main",
        warning_box("Notes on the files", sources.notes),
        overview(sources.studies) if len(studies) > 1 else None,
        side_by_side(sources) if len(sources.files) > 1 else None,
        *(study_section(*study, place) for place, study in enumerate(studies)),
        *(_exported(file.path.with_suffix(".model"), folder) for file in sources.files),
        environment(sources.files, sources.results),
    )
    footer = element("footer", f"Made by mnist-sweep {__version__} from {files_text}.")
    return _document(heading, join(header, main, footer), island(studies))


def write_report(sources: Sources, path: Path) -> None:
    """Write the report on ``sources`` to ``path``, at once; its folder is made if need be.

    Raises UserError where it cannot be written; what was there before then still is.
    """
    # A file's name may hold bytes that are no text.
    content = render_report(sources, path.parent).encode(errors="replace")
    try:
        make_folder(path.parent)
        replace_file(path, content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {reason(error)}; name another file with -o"
        ) from error


def _document(heading: str, body: Html, data: Html) -> str:
    folder = files("mnist_sweep.report")
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
    data = element("script", data, type="application/json", id="data")
    page = element("body", body, data, element("script", Html(script)))
    return f"<!DOCTYPE html>\n{element('html', head, page, lang='en')}\n"


def _exported(model: Path, folder: Path) -> Html | None:
    """Links to what ``export`` has made, if it has."""
    if not model.is_dir():
        return None
    there = {file.name: os.path.relpath(file, folder) for file in sorted(model.iterdir())}
    links = (element("a", name, href=quote(os.fsencode(path))) for name, path in there.items())
    items = (element("li", link) for link in links)
    return element("section", element("h2", f"Trained model: {model.name}"), element("ul", *items))


def _lead(sources: Sources) -> str:
    if not sources.results:
        return "No trial has finished yet."
    configurations = sum(len(study.configurations) for study in sources.studies)
    return (
        f"{count(len(sources.results), 'trial')} of {count(configurations, 'configuration')}, "
        f"finished {span(sources.results)}."
    )
