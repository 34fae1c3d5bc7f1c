"""The specs that a report writes for its rows, read off the page in a real Chromium."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mnist_sweep.analysis.configurations import configurations
from mnist_sweep.analysis.ranking import default_metric, rank
from mnist_sweep.analysis.sources import join
from mnist_sweep.config import HPConfig
from mnist_sweep.report import write_report
from mnist_sweep.spec.load import SweepSpec, load_spec
from mnist_sweep.trial import DatasetConfig, TrialResult
from tests import synthetic
from tests.report_browser import Open, column, settled
from tests.report_helpers import source
from tests.spec_helpers import trials

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=document.title='taken'> ${7} \"'` <!--"
ODD = DatasetConfig('./it\'s "here": {é, жук} #1 & 😀 \\ *x', 5000, 40_000, 9_000)
SEEDS = (3, 0, 2**32 - 1)


def searched() -> list[TrialResult]:
    """A random search: extras on here and there, all statuses, curves of different density."""
    rng = random.Random(1)
    off_or_on = cycle([0.0, rng.uniform(0.01, 0.9)])
    results = []
    for place in range(8):
        config = HPConfig(
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
        synthetic.grid(HPConfig(), SEEDS, lr=[1e-3, 0.1]), DatasetConfig(HOSTILE)
    )


STUDIES = {"searched": searched, "convolved": convolved, "hostile": hostile}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reports that the tests open."""
    found = tmp_path_factory.mktemp("reports")
    for name, results in STUDIES.items():
        write_report(join([source(results())]), found / f"{name}.html")
    together = [result for results in STUDIES.values() for result in results()]
    write_report(join([source(together)]), found / "together.html")
    write_report(join([source(synthetic.phase2())]), found / "phase2.html")
    return found


def by_rank(results: Sequence[TrialResult]) -> list[list[TrialResult]]:
    """The trials of each row of the table, the first first."""
    ranked = rank(configurations(results), default_metric(results))
    return [[r for r in results if replace(r.trial.config, seed=0) == c.config] for c in ranked]


def rank_button(page: Page | Locator, place: int) -> Locator:
    return page.get_by_role("button", name=f"Run rank {place} again", exact=True)


def box(page: Page | Locator, place: int) -> Locator:
    return page.get_by_role("region", name=f"Run rank {place} again", exact=True)


def opened(within: Page | Locator, place: int, folder: Path) -> SweepSpec:
    """What mnist-sweep reads from the text that the page shows for a row."""
    rank_button(within, place).click()
    shown = box(within, place)
    command, name = shown.locator("code").inner_text().rsplit(" ", 1)
    assert command == "mnist-sweep run"
    assert shown.locator("a").get_attribute("download") == name
    assert shown.locator("pre *").count() == 0
    path = folder / name
    path.write_text(shown.locator("pre").inner_text(), encoding="utf-8")
    return load_spec(path)


def ids(results: Sequence[TrialResult]) -> set[str]:
    return {result.trial.trial_id for result in results}


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_row_has_a_spec_of_its_trials_and_no_others(
    show: Open, name: str, tmp_path: Path
) -> None:
    rows = by_rank(STUDIES[name]())
    page = show(name)
    assert column(page, "rank") == [str(place) for place in range(1, len(rows) + 1)]
    for place, results in enumerate(rows, 1):
        spec = opened(page, place, tmp_path)
        assert {trial.trial_id for trial in trials(spec)} == ids(results)
        assert spec.name == f"study_rank_{place}"
    assert page.title() == "Sweep report: study"


def test_the_studies_of_a_page_keep_to_their_own_rows(show: Open, tmp_path: Path) -> None:
    page = show("together")
    for place, results in enumerate(study() for study in STUDIES.values()):
        explorer = page.locator(".explorer").nth(place)
        for row in (1, 2):
            spec = opened(explorer, row, tmp_path)
            assert {trial.trial_id for trial in trials(spec)} == ids(by_rank(results)[row - 1])
    assert len(list(tmp_path.iterdir())) == 6


def test_curves_are_recorded_as_densely_as_those_of_the_row(show: Open, tmp_path: Path) -> None:
    page = show("searched")
    for place, results in enumerate(by_rank(searched()), 1):
        points = max(len(result.curve) for result in results) // results[0].trial.config.epochs
        # All seeds of one row diverged before their first evaluation.
        assert opened(page, place, tmp_path).evals_per_epoch == (points or 4)


def test_the_first_row_has_the_spec_that_is_recommended(show: Open) -> None:
    page = show()
    rank_button(page, 1).click()
    head, _, rest = box(page, 1).locator("pre").inner_text().partition("\n")
    assert head == "name: study_rank_1"
    assert rest == page.locator("#spec-0").inner_text().partition("\n")[2]


def test_the_spec_of_a_row_can_be_copied_and_saved(show: Open, tmp_path: Path) -> None:
    page = show("searched", permissions=["clipboard-read", "clipboard-write"])
    rank_button(page, 3).click()
    text = box(page, 3).locator("pre").inner_text()
    box(page, 3).get_by_role("button", name="Copy").click()
    box(page, 3).get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").strip() == text.strip()
    with page.expect_download() as download:
        box(page, 3).get_by_role("link", name="Save").click()
    assert download.value.suggested_filename == "study_rank_3.yaml"
    download.value.save_as(tmp_path / "spec.yaml")
    saved = {trial.trial_id for trial in trials(load_spec(tmp_path / "spec.yaml"))}
    assert saved == ids(by_rank(searched())[2])


def focused(page: Page) -> str:
    name: str = page.evaluate(
        "(e => e.getAttribute('aria-label') ?? (e.textContent.slice(0, 20) || e.tagName))"
        "(document.activeElement)"
    )
    return name


@pytest.fixture
def keyboard(show: Open) -> Page:
    """A page whose focus is on the table."""
    page = show()
    page.get_by_role("region", name="Configurations").focus()
    for _ in page.locator(".heads button").all():
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    return page


def test_the_keyboard_goes_from_rank_to_rank_and_opens_a_spec(keyboard: Page) -> None:
    assert focused(keyboard) == "Run rank 1 again"
    for key, place in [("ArrowUp", 1), ("ArrowDown", 2), ("ArrowDown", 3), ("ArrowUp", 2),
                       ("End", 37), ("ArrowDown", 37), ("Home", 1), ("ArrowDown", 2)]:  # fmt: skip
        keyboard.keyboard.press(key)
        assert focused(keyboard) == f"Run rank {place} again"
    keyboard.keyboard.press("Enter")
    assert box(keyboard, 2).evaluate("box => box === document.activeElement")
    for wanted in ("Close", "Copy", "Save", "name: study_rank_2"):
        keyboard.keyboard.press("Tab")
        assert focused(keyboard).startswith(wanted)
    keyboard.keyboard.press("Escape")
    assert box(keyboard, 2).count() == 0
    assert focused(keyboard) == "Run rank 2 again"


def test_the_ranks_are_one_stop_of_the_tab_key(keyboard: Page) -> None:
    keyboard.keyboard.press("ArrowDown")
    keyboard.keyboard.press("Tab")
    assert "rank" not in focused(keyboard)
    keyboard.keyboard.press("Shift+Tab")
    assert focused(keyboard) == "Run rank 2 again"
    # Where that row is filtered out, the first of the others is the stop.
    keyboard.get_by_role("searchbox").fill("sgd")
    settled(keyboard)
    assert (
        keyboard.locator(".rows button[tabindex='0']").inner_text() == column(keyboard, "rank")[0]
    )


def test_a_button_says_whether_its_spec_is_open_and_closes_it_too(show: Open) -> None:
    page = show()
    expanded = page.locator(".rows [aria-expanded=true]")
    assert expanded.count() == 0
    rank_button(page, 4).click()
    assert expanded.all_inner_texts() == ["4"]
    identifier = expanded.get_attribute("aria-controls")
    assert box(page, 4).get_attribute("id") == identifier
    rank_button(page, 5).click()
    assert expanded.all_inner_texts() == ["5"]
    # Sorting makes the table anew.
    page.get_by_role("button", name="lr", exact=True).click()
    assert expanded.all_inner_texts() == ["5"]
    rank_button(page, 5).click()
    assert expanded.count() == 0
    assert box(page, 5).count() == 0


def test_a_spec_stays_open_when_its_row_is_filtered_out(show: Open) -> None:
    page = show()
    rank_button(page, 1).click()
    page.get_by_role("searchbox").fill("sgd")
    settled(page)
    assert rank_button(page, 1).count() == 0
    box(page, 1).get_by_role("button", name="Close").click()
    assert focused(page) == "Configurations"
    page.get_by_role("button", name="Reset filters").click()
    assert rank_button(page, 1).get_attribute("aria-expanded") == "false"


def test_without_a_row_nothing_breaks(show: Open) -> None:
    page = show()
    page.get_by_role("searchbox").fill("nothing like this")
    settled(page)
    assert page.locator(".rows button").count() == 0
