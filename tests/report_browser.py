"""A real Chromium in which tests open reports."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
#: Chromium looks for updates and for its maker's hosts otherwise.
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]

NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    assert path, "no Chromium found; scripts/test_browser installs one, CHROMIUM=PATH names one"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> Iterator[dict[str, Page]]:
    """Pages by the settings that they were opened with; a new one takes a second."""
    opened: dict[str, Page] = {}
    yield opened
    for page in opened.values():
        page.context.close()


@pytest.fixture
def show(browser: Browser, tabs: dict[str, Page], folder: Path) -> Iterator[Open]:
    """Opens a report; any message on the console and any request but for the file fails."""
    problems: list[str] = []
    requests: list[str] = []
    events: dict[str, Callable[[Any], None]] = {
        "console": lambda message: problems.append(message.text),
        "pageerror": lambda error: problems.append(str(error)),
        "request": lambda request: requests.append(request.url),
    }
    watched: list[Page] = []

    def opened(name: str = "phase2", viewport: Any = WIDE, **settings: Any) -> Page:
        key = repr((viewport, settings))
        if key not in tabs:
            tabs[key] = browser.new_context(viewport=viewport, **settings).new_page()
        page = tabs[key]
        for event, handler in events.items():
            cast(Any, page).on(event, handler)
        watched.append(page)
        page.emulate_media(media="screen")
        page.mouse.move(1, 1)
        page.goto((folder / f"{name}.html").as_uri())
        page.evaluate(NEXT_FRAME)
        return page

    yield opened
    for page in watched:
        for event, handler in events.items():
            page.remove_listener(event, handler)
    assert problems == []
    assert all(url.startswith(("file:", "data:image/svg+xml,")) for url in requests)


def column(page: Page, name: str) -> list[str]:
    """The texts of a column of the table."""
    heads = [text.split("\n")[0].strip(" ▲▼\u00a0") for text in
             page.locator(".heads th").all_inner_texts()]  # fmt: skip
    place = heads.index(name) + 1
    texts: list[str] = page.locator(f".rows td:nth-child({place})").all_inner_texts()
    return texts


def settled(page: Page) -> str:
    """What the page counts, once it has dealt with what happened."""
    page.evaluate(NEXT_FRAME)
    text: str = page.locator(".count").inner_text()
    return text
