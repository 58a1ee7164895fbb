"""The page of a sweep in a real browser: nothing fails, nothing is fetched, all is seen, light or dark, wide or not.

Needs Playwright and a Chromium, which is looked for on the path; without one of them it is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.cli.commands import PAGE, main
from simulator.views import report
from tests.browsing import CHROMIUM, CONTRAST, PICTURES, SCHEMES, WIDTHS, chromium, opened

pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'lobule[test]'")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed: needs chromium or google-chrome"),
]
SWEEPS = {
    "lines": ["cohort=pj203_mmc", "course.interval=14,21,42", "parameters.survival.family=weibull,log_normal"],
    "cells": ["cohort=pj203_mmc", "course.interval=range(10,18)", "study.assessment_interval=range(7,15)"],
    "points": ["cohort=il2_hai_adjuvant", "parameters.recurrence.probability=interval(0.2,0.5)", "sweep.samples=8"],
    "words": ["cohort=glob(*)"],
}
EVIL = '</title></svg><script>document.title = "taken"</script><img src="http://127.0.0.1/x" onerror="alert(1)">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as shown:
        yield shown


@pytest.fixture(scope="module", params=SWEEPS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param) / "sweep"
    assert main(["--multirun", *SWEEPS[request.param], "study.replicates=20", f"hydra.sweep.dir={made}"]) == 0
    return made


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_seen_and_nothing_fails(browser: Any, folder: Path, scheme: str, width: int) -> None:
    shown, wrong = opened(browser, folder / PAGE, scheme=scheme, width=width)
    try:
        shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert wrong == []
        assert shown.evaluate("document.documentElement.scrollWidth") <= width  # only figures and tables scroll
        assert shown.eval_on_selector_all("h2, h3", "all => all.filter(e => e.checkVisibility()).length") >= 22
        pictures = shown.evaluate(PICTURES)
        assert len(pictures) >= 5
        for picture in pictures:
            assert picture["width"] > 250, picture
            assert picture["height"] > 70, picture
            assert picture["shapes"] > 5, picture
            assert picture["cut"] == [], picture
            assert picture["smallest"] > 7, picture  # pixels
            assert picture["wide"] or not picture["scrolls"], picture
        contrast = shown.evaluate(CONTRAST)
        assert (contrast["paper"] < 0.1) == (scheme == "dark")
        assert contrast["least"] > 3
    finally:
        shown.close()


def test_what_is_closed_opens_and_is_printed(browser: Any, folder: Path) -> None:
    shown, wrong = opened(browser, folder / PAGE, scheme="dark", width=1280)
    try:
        closed = shown.query_selector("details:not([open])")
        if closed is not None:
            inside = closed.query_selector(":scope > *:not(summary)")
            assert not inside.is_visible()
            shown.emulate_media(media="print")
            assert inside.evaluate("e => e.getBoundingClientRect().height") > 0
            shown.emulate_media(media="screen")
            closed.query_selector("summary").click()
            assert inside.is_visible()
        assert shown.pdf(format="A4").startswith(b"%PDF")
        assert wrong == []
    finally:
        shown.close()


def test_a_hostile_title_is_text_and_nothing_runs(browser: Any, folder: Path, tmp_path: Path) -> None:
    tree = simulator.open_results(folder)
    tree.attrs["title"] = EVIL
    shown, wrong = opened(browser, report.write(tree, tmp_path / PAGE), scheme="light", width=1280)
    try:
        assert wrong == []
        assert shown.title() == f"{EVIL} – Lobule"
        assert shown.query_selector("script, img") is None
    finally:
        shown.close()
