"""Compiles a module whose source has one line changed, beside the right one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

from simulator.kernels import compilation


def planted(module: ModuleType, old: str, new: str, folder: Path) -> ModuleType:
    """Return a module of its own with ``new`` in the place of ``old``, which must stand there exactly once.

    Its kernels are compiled in memory: nothing of it reaches the cache of the right ones.
    """
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    if source.count(old) != 1:
        raise LookupError(f"{old!r} stands {source.count(old)} times in {module.__name__}: name the line anew")
    path = folder / f"planted_{module.__name__.rpartition('.')[2]}.py"
    path.write_text(source.replace(old, new), encoding="utf-8")
    name = f"planted_{abs(hash((module.__name__, old, new)))}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    changed = importlib.util.module_from_spec(spec)
    sys.modules[name] = changed  # a dataclass looks for its own module there
    try:
        with mock.patch.object(compilation, "cache_folder", return_value=None):
            spec.loader.exec_module(changed)
    finally:
        del sys.modules[name]
    return changed
