"""Reports to look into, and what a browser would find in them."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from mnist_sweep.analysis.sources import join
from mnist_sweep.report import render_report
from mnist_sweep.results.file import ResultsFile
from mnist_sweep.trial import TrialResult

_VOID = {"meta", "input"}


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and their text by tag and by id.

    ``text`` is all that a reader can see; scripts and styles are not in it.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.by_tag: dict[str, list[str]] = {}
        self.by_id: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self._texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self.by_tag.setdefault(tag, []).append("")
        if tag not in _VOID:
            self._open.append((tag, attributes.get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        for tag, name in self._open:
            self.by_tag[tag][-1] += data
            if name:
                self.by_id[name] = self.by_id.get(name, "") + data
        if not {"script", "style"} & {tag for tag, _ in self._open}:
            self._texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self._texts)

    def values(self, attribute: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(attribute)) is not None]


def source(
    results: Sequence[TrialResult], name: str = "study.csv", notes: Sequence[str] = ()
) -> ResultsFile:
    return ResultsFile(Path(name), tuple(results), tuple(notes))


def page(results: Sequence[TrialResult], name: str = "study.csv", by: str | None = None) -> Page:
    return Page(render_report(join([source(results, name)], by)))
