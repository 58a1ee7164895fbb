"""The page of a sweep in a real browser: nothing fails, nothing is fetched, all is seen, light or dark, wide or not.

Needs Playwright and a Chromium, which is looked for on the path; without one of them it is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import simulator
from simulator.cli.commands import main
from simulator.cli.console import PAGE
from simulator.views import report
from tests.browsing import EVIL, SCHEMES, WIDTHS, chromium, everything_is_seen, opened, playwright

pytestmark = playwright()
SWEEPS = {
    "lines": ["cohort=pj203_mmc", "course.interval=14,21,42", "parameters.survival.family=weibull,log_normal"],
    "cells": ["cohort=pj203_mmc", "course.interval=range(10,18)", "study.assessment_interval=range(7,15)"],
    "points": ["cohort=il2_hai_adjuvant", "parameters.recurrence.probability=interval(0.2,0.5)", "sweep.samples=8"],
    "words": ["cohort=glob(*)"],
}


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
    with opened(browser, folder / PAGE, scheme=scheme, width=width) as shown:
        shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        everything_is_seen(shown, scheme=scheme, width=width, headings=22, pictures=5)


def test_what_is_closed_opens_and_is_printed(browser: Any, folder: Path) -> None:
    with opened(browser, folder / PAGE, scheme="dark") as shown:
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


def test_a_hostile_title_is_text_and_nothing_runs(browser: Any, folder: Path, tmp_path: Path) -> None:
    tree = simulator.open_results(folder)
    tree.attrs["title"] = EVIL
    with opened(browser, report.write(tree, tmp_path / PAGE)) as shown:
        assert shown.title() == f"{EVIL} – Lobule"
        assert shown.query_selector("script, img") is None
