"""Builds an engine with one line changed, beside the right one."""

from __future__ import annotations

import importlib
import shutil
import sys
from itertools import count
from pathlib import Path
from types import ModuleType
from unittest import mock

from simulator.kernels import compilation

_number = count()


def planted(module: ModuleType, old: str, new: str, folder: Path) -> ModuleType:
    """Return a copy of a module or package with ``new`` in the place of ``old``, which must stand there exactly once.

    Its kernels are compiled in memory: nothing of it reaches the cache of the right ones.
    """
    source = Path(str(module.__file__))
    name = f"planted_{next(_number)}"
    if source.name == "__init__.py":
        shutil.copytree(source.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, folder / f"{name}.py")
    copies = sorted((folder / name).glob("*.py")) or [folder / f"{name}.py"]
    found = [path for path in copies for _ in range(path.read_text(encoding="utf-8").count(old))]
    if len(found) != 1:
        raise LookupError(f"{old!r} stands {len(found)} times in {module.__name__}: name the line anew")
    for path in copies:
        text = path.read_text(encoding="utf-8").replace(old, new).replace(module.__name__, name)
        path.write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    with (
        mock.patch.object(compilation, "cache_folder", return_value=None),
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
    ):
        return importlib.import_module(name)
