"""A page of ours in a real browser: Chromium, driven by Playwright. Knows what is measured of a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SCHEMES = ("light", "dark")
WIDTHS = (360, 1280)
EVIL = '</title></svg><script>document.title = "taken"</script><img src="http://127.0.0.1/x" onerror="alert(1)">'
"""A title that would run and fetch something if it were more than text."""

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


def playwright() -> list[pytest.MarkDecorator]:
    """Return the marks of tests that need a browser; skip the whole file, with a clear word, without Playwright."""
    pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install 'lobule[test]'")
    said = "no browser is installed: needs chromium or google-chrome"
    return [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason=said)]


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a browser that is closed behind it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        shown = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield shown
        shown.close()


@contextmanager
def opened(browser: Any, file: Path, *, scheme: str = "light", width: int = 1280) -> Iterator[Any]:
    """Give the page as shown; fail on everything that went wrong or went out while it was open."""
    shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong: list[str] = []
    shown.on("console", lambda message: wrong.append(f"console: {message.text}"))
    shown.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    shown.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    shown.on("request", lambda request: wrong.append(request.url) if request.url != file.as_uri() else None)
    try:
        shown.goto(file.as_uri(), wait_until="networkidle")
        yield shown
        assert wrong == []
    finally:
        shown.close()


def everything_is_seen(shown: Any, *, scheme: str, width: int, headings: int, pictures: int) -> None:
    """Fail unless at least so many headings and pictures are seen, whole and legible; the page itself never scrolls."""
    assert shown.evaluate("document.documentElement.scrollWidth") <= width  # only wide figures and tables scroll
    assert shown.eval_on_selector_all("h2, h3", "all => all.filter(e => e.checkVisibility()).length") >= headings
    found = shown.evaluate(PICTURES)
    assert len(found) >= pictures
    for picture in found:
        assert picture["width"] > 250, picture
        assert picture["height"] > 70, picture
        assert picture["shapes"] > 5, picture
        assert picture["cut"] == [], picture
        assert picture["smallest"] > 7, picture  # pixels
        assert picture["wide"] or not picture["scrolls"], picture
    contrast = shown.evaluate(CONTRAST)
    assert (contrast["paper"] < 0.1) == (scheme == "dark")
    assert contrast["ink"] > 7  # WCAG AAA
    assert contrast["least"] > 3
