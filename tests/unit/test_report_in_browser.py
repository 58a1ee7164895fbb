"""The page of a run in a real browser: nothing fails, nothing is fetched, all is seen, light or dark, wide or not.

Needs Playwright and a Chromium, which is looked for on the path; without one of them it is skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.views import report

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed: needs chromium or google-chrome"),
]
SCHEMES = ("light", "dark")
WIDTHS = (360, 1280)
RUNS = {
    "pj203_mmc": ["cohort=pj203_mmc"],
    "ilp": ["cohort=ilp"],
    "draws": ["cohort=il2_hai_unresectable", "parameters=posterior", "parameters.draws=3"],
}
EVIL = '</title></svg><script>document.title = "taken"</script><img src="http://127.0.0.1/x" onerror="alert(1)">'

PICTURES = """() => [...document.querySelectorAll('svg')].map(svg => {
    const box = svg.getBoundingClientRect(), room = svg.parentElement.getBoundingClientRect();
    return {
        title: svg.querySelector('title').textContent, width: box.width, height: box.height,
        shapes: svg.querySelectorAll('path, use').length,
        scrolls: svg.parentElement.scrollWidth > svg.parentElement.clientWidth + 1,
        wide: svg.closest('figure').classList.contains('wide'), room: room.width,
        smallest: Math.min(...[...svg.querySelectorAll('text')].map(text => text.getBoundingClientRect().height)),
        cut: [...svg.querySelectorAll('text')].filter(text => {
            const at = text.getBoundingClientRect(), [beyond, under] = [at.right - box.right, at.bottom - box.bottom];
            return Math.max(box.left - at.left, beyond, box.top - at.top, under) > 1;
        }).map(text => text.textContent),
    };
})"""
CONTRAST = """() => {
    const shade = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
            c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = shade(getComputedStyle(document.body).backgroundColor);
    const of = (element, what) => {
        const ink = shade(getComputedStyle(element)[what]);
        return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    };
    return {
        paper, ink: of(document.body, 'color'),
        least: Math.min(...[...document.querySelectorAll('p, li, td, dt, a')].map(e => of(e, 'color')),
                        ...[...document.querySelectorAll('svg text')].map(e => of(e, 'fill'))),
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=RUNS)
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = simulator.simulate([*RUNS[request.param], "study.replicates=40"])
    return report.write(tree, tmp_path_factory.mktemp(request.param) / "report.html")


def opened(browser: Any, file: Path, *, scheme: str, width: int) -> tuple[Any, list[str]]:
    """Return the page as shown, and everything that went wrong or went out on the way."""
    shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong: list[str] = []
    shown.on("console", lambda message: wrong.append(f"console: {message.text}"))
    shown.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    shown.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    shown.on("request", lambda request: wrong.append(request.url) if request.url != file.as_uri() else None)
    shown.goto(file.as_uri(), wait_until="networkidle")
    return shown, wrong


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_seen_and_nothing_fails(browser: Any, page_file: Path, scheme: str, width: int) -> None:
    shown, wrong = opened(browser, page_file, scheme=scheme, width=width)
    try:
        assert wrong == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= width  # only figures and tables scroll
        headings = shown.eval_on_selector_all("h2, h3", "all => all.filter(e => e.checkVisibility()).length")
        assert headings >= 30
        pictures = shown.evaluate(PICTURES)
        assert len(pictures) >= 7
        for picture in pictures:
            assert picture["width"] > 250, picture
            assert picture["height"] > 80, picture
            assert picture["shapes"] > 5, picture
            assert picture["cut"] == [], picture
            assert picture["smallest"] > 7, picture  # pixels
            assert picture["wide"] or not picture["scrolls"], picture
        contrast = shown.evaluate(CONTRAST)
        assert (contrast["paper"] < 0.1) == (scheme == "dark")
        assert contrast["ink"] > 7  # WCAG AAA
        assert contrast["least"] > 3
    finally:
        shown.close()


def test_links_of_the_contents_lead_to_their_sections(browser: Any, page_file: Path) -> None:
    shown, wrong = opened(browser, page_file, scheme="light", width=1280)
    try:
        shown.click("nav a:text('3.4 Assumptions')")
        for _ in range(50):  # it scrolls smoothly
            top = shown.eval_on_selector("#assumptions", "section => section.getBoundingClientRect().top")
            if top < 300:
                break
            shown.wait_for_timeout(100)
        assert top < 300
        assert wrong == []
    finally:
        shown.close()


def test_a_page_prints_on_paper_that_is_light(browser: Any, page_file: Path) -> None:
    shown, wrong = opened(browser, page_file, scheme="dark", width=1280)
    try:
        printed = shown.pdf(format="A4")
        assert printed.startswith(b"%PDF")
        shown.emulate_media(media="print", color_scheme="dark")
        assert shown.evaluate(CONTRAST)["paper"] > 0.9
        assert wrong == []
    finally:
        shown.close()


def test_a_hostile_title_is_text_and_nothing_runs(browser: Any, tmp_path: Path) -> None:
    tree = simulator.simulate(["cohort=ilp", "study.replicates=5"])
    tree.attrs["title"] = EVIL
    file = report.write(tree, tmp_path / "report.html")
    shown, wrong = opened(browser, file, scheme="light", width=1280)
    try:
        assert wrong == []
        assert shown.title() == f"{EVIL} – Lobule"
        assert shown.inner_text("h1") == EVIL
        assert shown.query_selector("script, img") is None
    finally:
        shown.close()
