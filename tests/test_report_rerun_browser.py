"""The specs that a report writes for its rows, read off the page in a real Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mnist_sweep.analysis.sources import join
from mnist_sweep.report import write_report
from tests import synthetic
from tests.report_browser import Open, column, settled
from tests.report_helpers import STUDIES, source, specs

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reports that the tests open."""
    folder = tmp_path_factory.mktemp("reports")
    together = [result for results in STUDIES.values() for result in results()]
    write_report(join([source(together)]), folder / "together.html")
    write_report(join([source(synthetic.phase2())]), folder / "phase2.html")
    return folder


def rank_button(page: Page | Locator, place: int) -> Locator:
    return page.get_by_role("button", name=f"Run rank {place} again", exact=True)


def box(page: Page | Locator, place: int) -> Locator:
    return page.get_by_role("region", name=f"Run rank {place} again", exact=True)


def test_a_row_shows_the_spec_of_its_own_study_as_text(show: Open) -> None:
    page = show("together")
    studies = json.loads(page.locator("#data").text_content() or "")
    assert len(studies) == len(STUDIES)
    for place, data in enumerate(studies):
        explorer = page.locator(".explorer").nth(place)
        ranks = [str(rank) for rank in range(1, len(data["rows"]) + 1)]
        assert explorer.locator(".rows td:first-child").all_inner_texts() == ranks
        for rank, spec in enumerate(specs(data), 1):
            rank_button(explorer, rank).click()
            shown = box(explorer, rank)
            assert shown.locator("pre").inner_text().strip() == spec.strip()
            assert shown.locator("pre *").count() == 0
            name = spec.splitlines()[0].removeprefix("name: ")
            assert shown.locator("code").inner_text() == f"mnist-sweep run {name}.yaml"
            assert shown.locator("a").get_attribute("download") == f"{name}.yaml"
    assert page.title() == "Sweep report: study"


def test_the_spec_of_a_row_can_be_copied_and_saved(show: Open, tmp_path: Path) -> None:
    page = show("together", permissions=["clipboard-read", "clipboard-write"])
    explorer = page.locator(".explorer").first
    rank_button(explorer, 3).click()
    opened = box(explorer, 3)
    text = opened.locator("pre").inner_text()
    opened.get_by_role("button", name="Copy").click()
    opened.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").strip() == text.strip()
    with page.expect_download() as download:
        opened.get_by_role("link", name="Save").click()
    assert download.value.suggested_filename.endswith("_rank_3.yaml")
    download.value.save_as(tmp_path / "spec.yaml")
    assert (tmp_path / "spec.yaml").read_text(encoding="utf-8").strip() == text.strip()


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
