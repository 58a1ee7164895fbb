"""What compiled code depends on: a key of each module with kernels, which an edit changes and a comment does not.

The key of a module is a hash of its own source and of every module of this package that it imports, directly or not:
whatever a kernel calls, inlines or reads as a constant was imported. Only the syntax tree without docstrings counts: so
comments, docstrings and layout change no key. A tree takes long to make: a record of it is kept beside the compiled
code, named by the hash of the file's bytes.
"""

from __future__ import annotations

import ast
import functools
import gc
import hashlib
import json
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).resolve().parents[1]


class ModuleSource(NamedTuple):
    """``code``: hash of what a file says to Python. ``imports``: names of modules it imports, those of others too."""

    code: str
    imports: tuple[str, ...]


def module_key(path: Path, records: Path | None, package: Path = PACKAGE) -> str:
    """Return the key of the module in a file, 24 hexadecimal digits; OSError where a source cannot be read.

    Parameters
    ----------
    path : of the module.
    records : folder of the records of sources; None: none is kept.
    package : folder of the package whose modules count.
    """
    found = {path: source_of(path, records)}
    waiting = [path]
    while waiting:
        for name in found[waiting.pop()].imports:
            file = _file(name, package)
            if file is not None and file not in found:
                found[file] = source_of(file, records)
                waiting.append(file)
    names = {_name(file, package): source.code for file, source in found.items()}
    lines = "\n".join(f"{name} {names[name]}" for name in sorted(names))
    return hashlib.blake2s(lines.encode(), digest_size=12).hexdigest()


@functools.cache
def source_of(path: Path, records: Path | None) -> ModuleSource:
    """Return what counts of a source, read once a process."""
    content = path.read_bytes()
    digest = hashlib.blake2s(content + str(sys.implementation.cache_tag).encode(), digest_size=16).hexdigest()
    kept = None if records is None else records / f"{digest}.source"
    if kept is not None and (source := _read(kept)) is not None:
        return source
    tree = _parsed(content)
    imports = tuple(sorted(set(_imports(tree))))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [part for part in body if not _is_text(part)] or [ast.Pass()]  # type: ignore[attr-defined]
    source = ModuleSource(hashlib.blake2s(ast.dump(tree).encode(), digest_size=16).hexdigest(), imports)
    if kept is not None:
        _write(kept, source)
    return source


def _parsed(content: bytes) -> ast.Module:
    """Return the syntax tree, without a garbage collection on the way.

    Where a collection runs code that parses too, early CPython 3.11 raises SystemError (python/cpython issue 106905).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(content)
    finally:
        if enabled:
            gc.enable()


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is a string by itself: a docstring."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str, package: Path) -> Path | None:
    """Return the file of a module of the package, None for any other."""
    head, *parts = module.split(".")
    if head != package.name or not parts:
        return None
    place = package.joinpath(*parts)
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def _name(file: Path, package: Path) -> str:
    return file.relative_to(package).as_posix() if file.is_relative_to(package) else file.name


def _read(path: Path) -> ModuleSource | None:
    """Return a record; None where there is none or it is not as it was written."""
    try:
        checksum, _, text = path.read_text(encoding="utf-8").partition("\n")
        if checksum != _checksum(path, text):
            return None
        code, imports = json.loads(text)
        return ModuleSource(code, tuple(imports))
    except (OSError, ValueError):
        return None


def _write(path: Path, source: ModuleSource) -> None:
    text = json.dumps(source)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with suppress(OSError):  # a full disk, a folder removed meanwhile
        try:
            temporary.write_text(f"{_checksum(path, text)}\n{text}", encoding="utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _checksum(path: Path, text: str) -> str:
    return hashlib.blake2s(f"{path.name}\n{text}".encode(), digest_size=16).hexdigest()
