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
from tests.browsing import CONTRAST, EVIL, SCHEMES, WIDTHS, chromium, everything_is_seen, opened, playwright

pytestmark = playwright()
RUNS = {
    "pj203_mmc": ["cohort=pj203_mmc"],
    "ilp": ["cohort=ilp"],
    "draws": ["cohort=il2_hai_unresectable", "parameters=posterior", "parameters.draws=3"],
}


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
    with opened(browser, page_file, scheme=scheme, width=width) as shown:
        everything_is_seen(shown, scheme=scheme, width=width, headings=30, pictures=7)


def test_links_of_the_contents_lead_to_their_sections(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file) as shown:
        shown.click("nav a:text('3.4 Assumptions')")
        for _ in range(50):  # it scrolls smoothly
            top = shown.eval_on_selector("#assumptions", "section => section.getBoundingClientRect().top")
            if top < 300:
                break
            shown.wait_for_timeout(100)
        assert top < 300


def test_a_page_prints_on_paper_that_is_light(browser: Any, page_file: Path) -> None:
    with opened(browser, page_file, scheme="dark") as shown:
        assert shown.pdf(format="A4").startswith(b"%PDF")
        shown.emulate_media(media="print", color_scheme="dark")
        assert shown.evaluate(CONTRAST)["paper"] > 0.9


def test_a_hostile_title_is_text_and_nothing_runs(browser: Any, tmp_path: Path) -> None:
    tree = simulator.simulate(["cohort=ilp", "study.replicates=5"])
    tree.attrs["title"] = EVIL
    with opened(browser, report.write(tree, tmp_path / "report.html")) as shown:
        assert shown.title() == f"{EVIL} – Lobule"
        assert shown.inner_text("h1") == EVIL
        assert shown.query_selector("script, img") is None
