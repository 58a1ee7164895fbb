"""The page of a run in a real browser: nothing fails, nothing is fetched, all is seen, light or dark, wide or not.

Needs Playwright and a Chromium, which is looked for on the path; without one of them it is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.views import report
from tests.browsing import CHROMIUM, CONTRAST, PICTURES, SCHEMES, WIDTHS, chromium, opened

pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'lobule[test]'")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed: needs chromium or google-chrome"),
]
RUNS = {
    "pj203_mmc": ["cohort=pj203_mmc"],
    "ilp": ["cohort=ilp"],
    "draws": ["cohort=il2_hai_unresectable", "parameters=posterior", "parameters.draws=3"],
}
EVIL = '</title></svg><script>document.title = "taken"</script><img src="http://127.0.0.1/x" onerror="alert(1)">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as shown:
        yield shown


@pytest.fixture(scope="module", params=RUNS)
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = simulator.simulate([*RUNS[request.param], "study.replicates=40"])
    return report.write(tree, tmp_path_factory.mktemp(request.param) / "report.html")


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
