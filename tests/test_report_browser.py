"""The report as a reader uses it, in a real Chromium: mouse, keyboard, phone, paper.

scripts/test_browser installs what this needs and runs it.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mnist_sweep.analysis.sources import join
from mnist_sweep.config import HPConfig
from mnist_sweep.figures.style import BACKGROUND, COLOURS, FAINT, INK
from mnist_sweep.report import write_report
from mnist_sweep.trial import TrialResult
from tests import synthetic
from tests.report_browser import PHONE, WIDE, Open, column, settled
from tests.report_helpers import source

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the reports that the tests open."""
    folder = tmp_path_factory.mktemp("reports")
    diverged = [
        synthetic.broken(HPConfig(lr=0.1, seed=seed), "diverged", synthetic.WITH_VALIDATION)
        for seed in range(3)
    ]
    hostile = "</script><img src=x onerror=document.title='taken'>"
    results = [*synthetic.phase2(), *diverged]
    results[0] = replace(results[0], sweep=hostile, device=hostile)
    write_report(join([source(results)]), folder / "phase2.html")
    write_report(join([source(results[:1])]), folder / "alone.html")
    return folder


def pixels(page: Page, canvas: int = 0) -> int:
    """How many pixels of the lines (0) or the marks (1) are drawn on."""
    count: int = page.evaluate(
        "n => { const from = document.querySelectorAll('canvas')[n];"
        "const c = document.createElement('canvas'); c.width = from.width; c.height = from.height;"
        "const context = c.getContext('2d'); context.drawImage(from, 0, 0);"
        "const d = context.getImageData(0, 0, c.width, c.height).data;"
        "let drawn = 0; for (let i = 3; i < d.length; i += 4) drawn += d[i] > 0; return drawn; }",
        canvas,
    )
    return count


def test_a_report_opens_from_disk_without_a_word_on_the_console(show: Open) -> None:
    page = show()
    assert page.title() == "Sweep report: study"
    assert settled(page) == "38 of 38 configurations, 114 of 114 trials"
    assert pixels(page) > 10_000


def test_the_policy_stops_markup_that_would_get_in(browser: Browser, folder: Path) -> None:
    html = (folder / "phase2.html").read_text()
    attack = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    (folder / "attacked.html").write_text(html.replace("<header>", f"<header>{attack}"))
    page = browser.new_page()
    page.goto((folder / "attacked.html").as_uri())
    assert settled(page).startswith("38 of 38")
    assert page.title() == "Sweep report: study"
    page.close()


def test_heads_sort_the_table_both_ways_with_mouse_and_keyboard(show: Open) -> None:
    page = show()
    assert column(page, "rank") == [str(rank) for rank in range(1, 39)]
    page.get_by_role("button", name="lr", exact=True).click()
    rates = [float(text) for text in column(page, "lr")]
    assert rates == sorted(rates)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("lr")
    page.keyboard.press("Enter")
    assert [float(text) for text in column(page, "lr")] == sorted(rates, reverse=True)
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.locator(".heads").get_by_role("button", name="test accuracy").click()
    accuracies = [float(text) for text in column(page, "test accuracy\u00a0%") if text]
    assert accuracies == sorted(accuracies, reverse=True)
    # What diverged has none, and stays last whichever way.
    assert column(page, "test accuracy\u00a0%")[-1] == ""
    page.keyboard.press("Enter")
    assert column(page, "test accuracy\u00a0%")[-1] == ""


def test_heads_react_over_their_whole_width(show: Open) -> None:
    page = show()
    for head in page.locator(".heads th").all():
        box = head.bounding_box()
        assert box
        for x in (2, box["width"] - 2):
            before = head.get_attribute("aria-sort")
            head.click(position={"x": x, "y": box["height"] - 2})
            assert head.get_attribute("aria-sort") not in (None, before)


def test_the_filter_takes_words_and_comparisons(show: Open) -> None:
    page = show()
    for text, configurations in {
        "sgd": 5, "SGD": 5, "lr<=3e-4": 6, "opt=sgd lr>=3e-3": 2, "width!=512": 15, "batch=32": 1,
        "depth<": 38, "nothing": 0, "adam lr = 1e-3 depth > 4": 4, "batch size == 32": 1,
        "weights > 3,000,000": 2, "train_s < 5": 12, "lr <= 0.03%": 6,
    }.items():  # fmt: skip
        page.get_by_role("searchbox").fill(text)
        assert settled(page).startswith(f"{configurations} of 38 configurations"), text
        assert page.locator(".rows tr").count() == configurations
        page.get_by_role("button", name="Reset filters").click()
        assert settled(page) == "38 of 38 configurations, 114 of 114 trials"


def test_the_filter_takes_accuracies_as_they_are_shown_and_as_fractions(show: Open) -> None:
    page = show()
    shown = [float(cell) for cell in column(page, "validation accuracy\u00a0%") if cell]
    for text in ("val_accuracy>96.5", "val > 96.5 %", "val>0.965", "VALIDATION accuracy % > 96.50%",
                 "validation_accuracy>.965", "val > 96.5 adam"):  # fmt: skip
        page.get_by_role("searchbox").fill(text)
        assert settled(page).startswith(f"{sum(v > 96.5 for v in shown)} of 38 config"), text


def test_the_filter_finds_an_accuracy_that_is_shown(show: Open) -> None:
    page = show()
    best = column(page, "validation accuracy\u00a0%")[0]
    for value in (best, f"{best}%", f"{float(best) / 100:.4f}"):
        page.get_by_role("searchbox").fill(f"val = {value}")
        assert settled(page).startswith("1 of 38 configurations")
        page.get_by_role("searchbox").fill(f"val < {value}")
        assert settled(page).startswith("36 of 38 configurations")


def test_a_filter_that_cannot_be_understood_or_met_says_so(show: Open) -> None:
    page = show()
    for text, problem in {
        "lrr<1": 'There is no column "lrr"; the columns are rank, verdict, batch_size, lr,',
        "adam constructor > 1": 'There is no column "constructor";',
        "> 5 foo = 3": 'There is no column "" or "foo"; the columns are rank,',
        "train > 1": "train may be train_accuracy, train_seconds.",
        "val > abc": "Nothing matches.",
        "val > 97,5": "Nothing matches.",
        "opt < sgd": "Nothing matches.",
        "val > 99.99 %": "Nothing matches.",
        "no-such-word": "Nothing matches.",
    }.items():
        page.get_by_role("searchbox").fill(text)
        settled(page)
        assert page.get_by_role("status").first.inner_text().startswith(problem)
    page.get_by_role("button", name="Reset filters").click()
    settled(page)
    assert page.get_by_role("status").first.inner_text() == ""


def drag(page: Page, axis: str, start: float, end: float, *, across: bool = False) -> None:
    """Drag along an axis between two places, shares of it from its low end."""
    track = page.get_by_role("group", name=f"Filter by {axis}", exact=True).locator(".track")
    track.scroll_into_view_if_needed()
    box = track.bounding_box()
    assert box

    def point(share: float) -> tuple[float, float]:
        if across:
            return box["x"] + share * box["width"], box["y"] + box["height"] / 2
        return box["x"] + box["width"] / 2, box["y"] + (1 - share) * box["height"]

    page.mouse.move(*point(start))
    page.mouse.down()
    page.mouse.move(*point((start + end) / 2))
    page.mouse.move(*point(end))
    page.mouse.up()


def test_dragging_along_an_axis_filters_lines_and_table_and_a_click_ends_it(show: Open) -> None:
    page = show()
    all_drawn = pixels(page)
    drag(page, "opt", 0.8, 1.0)
    assert settled(page) == "5 of 38 configurations, 15 of 114 trials"
    assert set(column(page, "opt")) == {"sgd"}
    assert page.locator(".chips").inner_text().startswith("opt: sgd")
    assert pixels(page) > all_drawn / 2  # the others stay, faint
    drag(page, "lr", 0.04, 0.5)  # next to the end is at the end
    assert {float(rate) for rate in column(page, "lr")} == {1e-4, 3e-4, 1e-3, 3e-3}
    assert len(column(page, "lr")) == 4
    # A click on the axis.
    drag(page, "opt", 0.5, 0.5)
    assert not settled(page).startswith("4 of")
    page.get_by_role("button", name="Remove the filter lr").click()
    assert settled(page) == "38 of 38 configurations, 114 of 114 trials"


def test_the_ends_of_a_range_can_be_dragged(show: Open) -> None:
    page = show()
    drag(page, "width", 0.9, 1.0)
    assert set(column(page, "width")) == {"1024"}
    handle = page.get_by_role("slider", name="width, from")
    box = handle.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"], box["y"] + 90, steps=3)
    page.mouse.up()
    settled(page)
    assert set(column(page, "width")) == {"1024", "512"}


def test_an_axis_can_be_brushed_with_the_keyboard(show: Open) -> None:
    page = show()
    page.get_by_role("slider", name="lr, from").focus()
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    settled(page)
    assert {float(rate) for rate in column(page, "lr")} == {3e-3, 1e-2}
    low, high = (page.get_by_role("slider", name=f"lr, {end}") for end in ("from", "to"))
    assert [s.get_attribute("aria-valuetext") for s in (low, high)] == ["3e-3", "1e-2"]
    page.keyboard.press("Home")  # no further than the other end
    settled(page)
    assert high.get_attribute("aria-valuetext") == "3e-3"
    assert {float(rate) for rate in column(page, "lr")} == {3e-3}
    page.keyboard.press("Escape")
    assert settled(page) == "38 of 38 configurations, 114 of 114 trials"
    page.get_by_role("slider", name="validation accuracy\u00a0%, from").focus()
    page.keyboard.press("PageUp")
    assert settled(page) != "38 of 38 configurations, 114 of 114 trials"
    assert "" not in column(
        page, "validation accuracy\u00a0%"
    )  # a trial without one is no longer in


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 2400}, PHONE])
def test_the_axes_stay_where_they_are_while_ranges_come_and_go(show: Open, viewport: Any) -> None:
    page = show(viewport=viewport)
    page.locator(".coordinates").scroll_into_view_if_needed()
    page.evaluate("document.querySelectorAll('.explorer ~ *').forEach(e => e.remove())")
    page.mouse.wheel(0, 9999)  # to the end of the page, which gets shorter as rows go
    across = viewport == PHONE
    page.get_by_role("group", name="Filter by opt").locator(".track").scroll_into_view_if_needed()
    before = page.locator(".coordinates").bounding_box()
    for axis in ("opt", "depth", "width", "lr"):
        track = page.get_by_role("group", name=f"Filter by {axis}", exact=True).locator(".track")
        box = track.bounding_box()
        assert box
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(*((box["x"] + box["width"], y) if across else (x, box["y"])), steps=4)
        settled(page)
        assert page.locator(".coordinates").bounding_box() == before
        page.mouse.up()
    assert page.locator(".chips button").count() == 4
    assert page.get_by_role("status").first.inner_text() == "Nothing matches."
    assert page.locator(".coordinates").bounding_box() == before


def order(page: Page) -> list[str]:
    """The names of the axes as they stand, which the Tab key follows."""
    names = page.locator(".axis:not([hidden]) .name")
    boxes = [name.bounding_box() for name in names.all()]
    places = [(round(box["y"]), round(box["x"])) for box in boxes if box]
    assert places == sorted(places) or [x for _, x in places] == sorted(x for _, x in places)
    return [text.replace("\u00a0", " ") for text in names.all_inner_texts()]


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_axes_can_be_moved_by_their_names_and_with_the_keyboard(show: Open, viewport: Any) -> None:
    page = show(viewport=viewport)
    first, second, *others = order(page)
    page.get_by_role("button", name=f"Move {second}", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    assert order(page) == [second, first, *others]
    page.keyboard.press("ArrowLeft")  # there is no further
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert order(page) == [first, others[0], second, *others[1:]]
    assert page.evaluate("document.activeElement.textContent") == second
    page.get_by_role("button", name=f"Move {first}", exact=True).scroll_into_view_if_needed()
    boxes = [page.get_by_role("button", name=f"Move {name}", exact=True).bounding_box()
             for name in (first, others[2])]  # fmt: skip
    start, end = ((box["x"] + 5, box["y"] + box["height"] / 2) for box in boxes if box)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=5)
    page.mouse.up()
    assert order(page) == [others[0], second, others[1], others[2], first, *others[3:]]
    assert pixels(page) > 5_000
    drag(page, "opt", 0.8, 1.0, across=viewport == PHONE)
    assert settled(page) == "5 of 38 configurations, 15 of 114 trials"


def test_axes_can_be_hidden_and_shown_again(show: Open) -> None:
    page = show()
    names = order(page)
    drag(page, "opt", 0.8, 1.0)
    page.get_by_role("button", name="Hide opt").click()
    # A range that nobody sees keeps nothing.
    assert settled(page) == "38 of 38 configurations, 114 of 114 trials"
    assert order(page) == [name for name in names if name != "opt"]
    page.get_by_role("button", name="Show opt").click()
    assert order(page) == names
    for name in names[2:]:
        page.get_by_role("button", name=f"Hide {name}", exact=True).click()
    assert order(page) == names[:2]
    assert not page.locator(".axis:not([hidden]) .hide").first.is_visible()  # a line takes two
    assert pixels(page) > 500
    for name in reversed(names[2:]):
        page.get_by_role("button", name=f"Show {name}", exact=True).click()
    assert order(page) == names


@pytest.mark.parametrize("viewport", [WIDE, PHONE])
def test_pointing_at_a_line_shows_the_values_of_its_trial(show: Open, viewport: Any) -> None:
    page = show(viewport=viewport)
    last = page.locator(".axis .track").last
    last.scroll_into_view_if_needed()
    box = last.bounding_box()
    assert box
    top = (box["x"] + box["width"] / 2, box["y"]) if viewport == WIDE else (
        box["x"] + box["width"], box["y"] + box["height"] / 2)  # fmt: skip
    page.mouse.move(*top)
    rank = int(page.locator(".about").inner_text().removeprefix("Rank "))
    values = [text.strip() for text in page.locator(".value").all_inner_texts()]
    shown = [
        column(page, name)[rank - 1] for name in ("batch", "lr", "opt", "width", "depth", "act")
    ]
    assert values[:6] == shown
    assert float(values[-1]) >= float(column(page, "validation accuracy\u00a0%")[0])
    assert pixels(page, 1) > 300
    page.mouse.move(5, 5)
    assert not page.locator(".value").first.is_visible()
    assert pixels(page, 1) == 0


def test_one_trial_alone_has_no_axes_and_no_message_on_the_console(show: Open) -> None:
    page = show("alone")
    page.locator(".coordinates").hover()
    page.get_by_role("searchbox").fill("test > 0.5")
    assert settled(page) == "1 of 1 configurations, 1 of 1 trials"
    assert page.locator(".axis").count() == 0


def test_everything_can_be_reached_with_the_tab_key(show: Open) -> None:
    page = show()
    page.get_by_role("searchbox").fill("adam")
    page.locator("body").click(position={"x": 2, "y": 2})
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(
            "[document.activeElement.tagName, document.activeElement.className,"
            " document.activeElement.getAttribute('aria-label')].join(' ')"
        ))  # fmt: skip
    text = "\n".join(reached)
    for what in (
        "INPUT search",
        "BUTTON reset",
        "DIV handle",
        "DIV table",
        "FIGURE",
        "PRE",
        "A button",
    ):
        assert what in text, what
    assert "SUMMARY" in text


def test_pointing_at_a_row_shows_its_trials(show: Open) -> None:
    page = show()
    assert pixels(page, 1) == 0
    page.locator(".rows tr").nth(3).hover()
    assert pixels(page, 1) > 500
    page.mouse.move(5, 5)
    assert pixels(page, 1) == 0


def test_the_spec_can_be_copied_and_saved(show: Open, tmp_path: Path) -> None:
    page = show(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    text = page.locator("#spec-0").inner_text()
    assert page.evaluate("navigator.clipboard.readText()").strip() == text.strip()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save").click()
    assert download.value.suggested_filename == "study_best.yaml"
    download.value.save_as(tmp_path / "spec.yaml")
    assert (tmp_path / "spec.yaml").read_text().strip() == text.strip()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 700])
def test_a_narrow_page_does_not_scroll_sideways_and_can_be_brushed(
    show: Open, scheme: str, width: int
) -> None:
    page = show(viewport={**PHONE, "width": width}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for figure in page.locator("figure").all():
        assert figure.evaluate("e => e.scrollWidth <= e.clientWidth")  # nothing is cut
    page.get_by_role("button", name="Run rank 2 again").click()
    assert page.get_by_role("region", name="Run rank 2 again").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 640:
        drag(page, "opt", 0.8, 1.0, across=True)
        assert settled(page) == "5 of 38 configurations, 15 of 114 trials"


def luminance(colour: NDArray[np.float64]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])


def drawn(figure: Locator) -> NDArray[np.uint8]:
    """Its pixels: (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(figure.screenshot())).convert("RGB"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_and_texts_and_lines_of_figures_are_dark_on_light_or_light_on_dark(
    show: Open, scheme: str
) -> None:
    """WCAG 2.1 asks for a contrast of 4.5 of text (ours is grey) and of 3 of graphics."""
    page = show(color_scheme=scheme)
    colours = (BACKGROUND, INK, FAINT, *COLOURS[:3])
    bars = "".join(
        f"<path d='M{10 * place} 0h10v10h-10z' fill='%23{colour[1:]}'/>"
        for place, colour in enumerate(colours)
    )
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {10 * len(colours)} 10'>{bars}</svg>"
    )
    figure = page.locator("figure img").first
    corner = drawn(figure)[3, 3]
    figure.evaluate(
        "(image, svg) => { image.src = `data:image/svg+xml,${svg}`; image.style.padding = 0;"
        " image.removeAttribute('height'); return image.decode(); }",
        svg,
    )
    shot = drawn(figure)
    height, width, _ = shot.shape
    seen = [shot[height // 2, int((i + 0.5) * width / len(colours))] for i in range(len(colours))]
    assert list(corner) == list(seen[0])  # the frame is of the figure's colour
    background, *others = (luminance(pixel / 255) for pixel in seen)
    assert (background < 0.05) == (scheme == "dark")
    for light, colour in zip(others, colours[1:], strict=True):
        contrast = (max(light, background) + 0.05) / (min(light, background) + 0.05)
        assert contrast > (4.5 if colour in (INK, FAINT) else 3), colour
    body = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", body)[:3])) < 40) == (scheme == "dark")


def test_it_prints_dark_on_light_without_its_controls(show: Open, tmp_path: Path) -> None:
    page = show(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    settled(page)
    assert not page.locator(".search").is_visible()
    assert not page.get_by_role("button", name="Reset filters").is_visible()
    assert not page.get_by_role("link", name="Save").is_visible()
    assert page.locator("th button").first.is_visible()
    assert page.locator("td button").first.is_visible()  # a rank
    assert page.locator(".coordinates").is_visible()
    assert page.locator(".rows tr").last.is_visible()
    assert page.locator("figure img").last.is_visible()
    assert page.locator("figure img").last.evaluate("e => getComputedStyle(e).filter") == "none"
    ink = page.evaluate("getComputedStyle(document.body).color")
    assert max(map(int, re.findall(r"\d+", ink)[:3])) < 60
    paper = page.pdf(path=tmp_path / "report.pdf", format="A4", print_background=True)
    assert paper.startswith(b"%PDF")
    assert 2 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 20


def busy_seconds(page: Page) -> float:
    """CPU time that it takes the page to open again, which does not depend on the machine's load.

    Nearly all of it is one thread's, so on an idle machine it is the time that a reader waits.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    before = spent()
    page.reload()
    settled(page)
    return spent() - before


def many() -> list[TrialResult]:
    configs = synthetic.grid(
        HPConfig(),
        range(5),
        lr=synthetic.LRS,
        depth=[1, 2, 3, 4, 5],
        width=synthetic.WIDTHS,
        batch_size=[32, 64, 128, 256, 512],
        opt=["adam", "sgd"],
        activation_fn=["relu", "silu"],
    )
    return synthetic.sweep(configs, synthetic.WITH_VALIDATION)


def test_10_000_trials_open_in_under_3_seconds(show: Open, folder: Path) -> None:
    write_report(join([source(many())]), folder / "many.html")
    assert (folder / "many.html").stat().st_size < 5_000_000
    page = show("many")
    assert settled(page) == "2,000 of 2,000 configurations, 10,000 of 10,000 trials"
    assert busy_seconds(page) < 3
    assert page.locator(".rows tr").count() == 100
    page.get_by_role("button", name="Show 500 more").click()
    assert page.locator(".rows tr").count() == 600
