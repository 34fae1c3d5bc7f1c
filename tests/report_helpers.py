"""Reports to look into, and what a browser would find in them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.ranking import default_metric, rank
from mnist_sweep.analysis.sources import join
from mnist_sweep.config import HPConfig
from mnist_sweep.report import render_report
from mnist_sweep.results.file import ResultsFile
from mnist_sweep.trial import DatasetConfig, TrialResult
from tests import synthetic

_VOID = {"img", "input", "meta"}


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
        return [value for _, named in self.elements if (value := named.get(attribute)) is not None]

    def figures(self) -> list[str]:
        """The SVG of each figure."""
        start = "data:image/svg+xml,"
        assert all(source.startswith(start) for source in self.values("src"))
        return [unquote(source.removeprefix(start)) for source in self.values("src")]


def source(
    results: Sequence[TrialResult], name: str = "study.csv", notes: Sequence[str] = ()
) -> ResultsFile:
    return ResultsFile(Path(name), tuple(results), tuple(notes))


def page(results: Sequence[TrialResult], name: str = "study.csv", by: str | None = None) -> Page:
    return Page(render_report(join([source(results, name)], by)))


@cache
def study(name: str) -> Page:
    """The page on the results that ``synthetic`` has under ``name``."""
    return page(getattr(synthetic, name)())


def specs(data: dict[str, Any]) -> list[str]:
    """The spec of each row of a table, as the page writes it from a study's ``data``."""
    name, parts = data["rerun"]["name"], data["rerun"]["parts"]
    return [
        f"name: {name}{rank}\n" + "".join(parts[place] for place in places)
        for rank, places in enumerate(data["rerun"]["rows"], 1)
    ]


# Studies whose specs are hard to write


HOSTILE = "</script><img src=x onerror=document.title='taken'> ${7} \"'` <!--"
ODD = DatasetConfig('./it\'s "here": {é, жук} #1 & 😀 \\ *x', 5, 12, 9)
SEEDS = (3, 0, 2**32 - 1)


def searched() -> list[TrialResult]:
    """A random search: extras on here and there, all statuses, curves of different density."""
    rng = random.Random(1)
    off_or_on = cycle([0.0, rng.uniform(0.01, 0.9)])
    results = []
    for place in range(8):
        config = HPConfig(
            batch_size=8,
            lr=10 ** rng.uniform(-9, -1),
            lr_decay=[1e-10, 1.0, 0.1 + 0.2][place % 3],
            weight_decay=rng.uniform(0, 90) if place % 3 else 0.0,
            dropout=next(off_or_on),
            shift=[0.0, 2.0][place // 4],
            width=rng.randint(1, 65_536),
            opt=["adam", "sgd"][place % 2],
            epochs=[1, 3][place % 2],
        )
        points = config.epochs * [1, 4][place // 4]
        results += synthetic.sweep([replace(config, seed=seed) for seed in SEEDS], ODD, points)
    statuses = {0: "diverged", 4: "failed", 6: "diverged", 7: "diverged", 8: "diverged"}
    return [
        synthetic.broken(r.trial.config, statuses[i], ODD) if i in statuses else r
        for i, r in enumerate(results)
    ]


def convolved() -> list[TrialResult]:
    base = HPConfig(model="cnn", label_smoothing=0.1)
    configs = synthetic.grid(base, SEEDS, lr=[1e-3, 1 / 3e4], rotation=[0.0, 1e-7, 12.5])
    return synthetic.sweep(configs)[1:]


def hostile() -> list[TrialResult]:
    return synthetic.sweep(
        synthetic.grid(HPConfig(8), SEEDS, lr=[1e-3, 0.1]), DatasetConfig(HOSTILE)
    )


STUDIES = {"searched": searched, "convolved": convolved, "hostile": hostile}


def by_rank(results: Sequence[TrialResult]) -> list[list[TrialResult]]:
    """The trials of each row of the table, the first first."""
    ranked = rank(configurations(results), default_metric(results))
    return [[r for r in results if replace(r.trial.config, seed=0) == c.config] for c in ranked]
