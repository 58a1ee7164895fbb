"""The code cells of a page of `docs/`, run one after another in a folder, as a reader would who follows it.

Knows three kinds of cell: Python, `%%bash` and `%%writefile PATH`. Knows neither Sphinx nor Jupyter, which build the
site from the same cells.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """A cell: its kind (``python``, ``bash`` or ``file``), the path of a file, what it holds, and its line."""

    kind: str
    path: str
    code: str
    line: int


def pages() -> list[Path]:
    """Return the pages that have cells."""
    return [path for path in sorted(DOCS.glob("*.md")) if cells(path)]


def cells(page: Path) -> list[Cell]:
    """Return the cells of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [_cell(found["code"], text.count("\n", 0, found.start("code")) + 1) for found in _CELL.finditer(text)]


def _cell(code: str, line: int) -> Cell:
    first, _, rest = code.partition("\n")
    if first == "%%bash":
        return Cell("bash", "", rest, line + 1)
    if first.startswith("%%writefile "):
        return Cell("file", first.removeprefix("%%writefile ").strip(), rest, line + 1)
    assert not code.startswith("%"), f"{first}: only %%bash and %%writefile are known"
    return Cell("python", "", code, line)


def follow(page: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a page in the working folder; return the names that its Python cells leave.

    ``environment``: of the shell. What a cell shows last is formatted, as a notebook would.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(page):
        if cell.kind == "file":
            Path(cell.path).write_text(cell.code, encoding="utf-8")
        elif cell.kind == "bash":
            done = subprocess.run(
                ["bash", "-e", "-c", cell.code], env=environment, capture_output=True, text=True, timeout=300
            )
            where = f"{page.name}, line {cell.line}"
            assert done.returncode == 0, f"{where}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
            print(done.stdout)
        else:
            _run(cell, f"{page.name}, line {cell.line}", names)
    return names


def _run(cell: Cell, where: str, names: dict[str, Any]) -> None:
    """Run Python, and format the value of a last expression, in HTML too where it knows how."""
    parsed = ast.parse(cell.code, where)
    last = parsed.body.pop() if parsed.body and isinstance(parsed.body[-1], ast.Expr) else None
    exec(compile(parsed, where, "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), where, "eval"), names)
        print(repr(value))
        if hasattr(value, "_repr_html_"):
            value._repr_html_()


def shell(root: Path) -> dict[str, str]:
    """Return an environment in which ``python`` is the running interpreter and finds Lobule in a checkout."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(root),
        "MPLBACKEND": "agg",
        "COLUMNS": "80",
    }
