"""Large kernels that other kernels call by name.

Numba links a callee into each of its callers, and there optimises and translates it once more, at every level. What is
small has to be part of its caller; a kernel that works on whole columns need not. Such a one is translated once; its
callers hold its name, which LLVM's execution engine resolves. The cached form of a kernel brings along the kernels that
it calls by name.
"""

from __future__ import annotations

import hashlib
from typing import Any

from llvmlite import binding as llvm

State = tuple[str, str, Any]
"""A library of numba as it is written to the cache: name, kind, code."""

_LOADED: dict[bytes, Any] = {}
"""Libraries that were read with their callers, by a digest of their code. The engine forgets what nobody holds."""


def call_by_name(dispatcher: Any) -> None:
    """Let the callers of a kernel hold its name in place of its code."""
    add = dispatcher.add_overload

    def add_overload(compiled: Any) -> None:
        _hide(compiled.library)
        add(compiled)

    dispatcher.add_overload = add_overload


def _hide(library: Any) -> None:
    """Give the callers of a library nothing to link."""
    library.called_by_name = True
    library._get_module_for_linking = lambda: llvm.parse_assembly(
        str(library.codegen._create_empty_module(library.name))
    )


def written(compiled: Any) -> tuple[Any, list[State]]:
    """Return what the cache keeps of a compiled kernel: numba's own form, and the libraries that it calls by name."""
    return _unhidden(compiled.library, compiled._reduce), [_state(library) for library in _callees(compiled.library)]


def read(rebuild: Any, target_context: Any, kept: tuple[Any, list[State]]) -> Any:
    """Return a compiled kernel from what the cache keeps, after the libraries that it calls by name."""
    payload, states = kept
    callees = []
    for state in states:
        digest = hashlib.blake2b(state[2][0], digest_size=16).digest()
        if digest not in _LOADED:
            library = _LOADED[digest] = target_context.codegen().unserialize_library(state)
            library.state = state
            _hide(library)
        callees.append(_LOADED[digest])
    compiled = rebuild(target_context, *payload)
    compiled.library.state = payload[0]
    compiled.library._linking_libraries = callees
    return compiled


def _callees(library: Any) -> list[Any]:
    """Return the libraries that a library calls by name, itself or through others, each after those that it calls."""
    found: dict[int, Any] = {}

    def visit(caller: Any) -> None:
        for callee in caller._linking_libraries:
            if id(callee) not in found:
                visit(callee)
                found[id(callee)] = callee

    visit(library)
    return [callee for callee in found.values() if hasattr(callee, "called_by_name")]


def _state(library: Any) -> State:
    """Return a library as it is written to the cache; one that was read, as it was read."""
    if not hasattr(library, "state"):
        library.state = _unhidden(library, library.serialize_using_object_code)
    state: State = library.state
    return state


def _unhidden(library: Any, write: Any) -> Any:
    """Call ``write`` while a library shows its own code."""
    hidden = vars(library).pop("_get_module_for_linking", None)
    try:
        return write()
    finally:
        if hidden is not None:
            library._get_module_for_linking = hidden
