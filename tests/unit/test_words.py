"""Words of the glossary in CONTRIBUTING.md that nobody outside the project would know: none is in use."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVOIDED = "luck lucks foresight sighting sightings tallies regrouped lane lanes mine movers told begun".split()
WORD = re.compile(rf"(?<![a-z])({'|'.join(AVOIDED)})(?![a-z])", re.IGNORECASE)
STREAMS = ("studies regrouped",)
"""Addresses of random numbers: another name would be other numbers."""
MODULES = sorted(path for folder in ("simulator", "calibration") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "ARCHITECTURE.md"])


def found_in(path: Path, kinds: tuple[int, ...]) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    texts = [(token.start[0], token.string) for token in tokens if token.type in kinds]
    for stream in STREAMS:
        texts = [(line, text.replace(stream, "")) for line, text in texts]
    return [f"{path.relative_to(ROOT)}:{line}: {word}" for line, text in texts for word in WORD.findall(text)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_avoids_words_that_only_the_project_knows(path: Path) -> None:
    assert not found_in(path, (tokenize.NAME, tokenize.STRING, tokenize.COMMENT))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_identifiers_of_tests_avoid_them_too(path: Path) -> None:
    assert not found_in(path, (tokenize.NAME,))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_avoids_them(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert not WORD.findall(text)


def test_a_public_class_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_names_of_tests_fit_on_a_line() -> None:
    long = [name for path in TESTS for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))]
    assert [name for name in long if len(name) > 80] == []
