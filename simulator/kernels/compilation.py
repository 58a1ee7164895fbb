"""Compilation of kernels: one set of numba options and a cache on disk that notices every edit.

Numba's own cache stamps a function with the file it stands in, so that an edit in a helper of another file
gives stale results. Here every kernel is cached under a key of its module and of all that this imports (`sources`),
in a folder named by the versions of numba and llvmlite, the processor and the optimisation level. One file holds one
compiled signature, its name is derived from key and signature, and it is written under a temporary name and renamed:
there is no index that two processes could overwrite. Whatever goes wrong with the disk costs time, never a result:
without a writable folder kernels are compiled in memory. A file begins with a checksum of its place and its bytes, so
that a damaged or misplaced one is compiled again; and code is run only from a folder to which nobody but this user can
write.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import llvmlite
import numba
from llvmlite import binding as llvm
from numba.core import caching, config
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.types import unliteral  # type: ignore[attr-defined]

from simulator.kernels.linking import call_by_name, read, written
from simulator.kernels.sources import module_key

CACHE_VARIABLE = "LOBULE_CACHE_DIR"
"""Environment variable that names the root of the cache."""

_CHECKSUM_BYTES = 32
_PLAIN = (bool, int, float, complex, str, bytes, tuple, type(None))

_Function = TypeVar("_Function", bound=Callable[..., Any])


def environment_key() -> str:
    """Hash (32 hexadecimal digits) of all that compiled code depends on beside its sources."""
    parts = (numba.__version__, llvmlite.__version__, *_processor(), str(config.OPT))
    return hashlib.blake2s("\n".join(parts).encode(), digest_size=16).hexdigest()


def _processor() -> tuple[str, str]:
    """Name and features of the processor that code is made for; numba's settings may choose another."""
    features = config.CPU_FEATURES
    return (
        config.CPU_NAME or llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten() if features is None else features,
    )


def cache_root() -> Path | None:
    """LOBULE_CACHE_DIR, else the platform's folder for caches of this user; None where there is no home."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) / "lobule" / "Cache" if local else None
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "lobule"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg and Path(xdg).is_absolute() else home / ".cache") / "lobule"


@functools.cache
def cache_folder() -> Path | None:
    """This process's folder of compiled kernels, created and probed once; None where nothing is writable.

    A folder to which others can write is refused with a RuntimeWarning: None.
    """
    root = cache_root()
    if root is None:
        return None
    try:
        folder = root / f"kernels-{environment_key()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if why := _distrusted(folder):
            said = (
                f"{folder} {why}: compiled kernels are neither read from there nor kept; {CACHE_VARIABLE} names another"
            )
            warnings.warn(said, RuntimeWarning, stacklevel=2)
            return None
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


def _distrusted(folder: Path) -> str | None:
    """Return why code from a folder is not to be run: who else can write there. Windows gives each user a folder."""
    if os.name == "nt":
        return None
    found, above = folder.lstat(), folder.parent.stat()
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written to by other users"
    if above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX:
        return "can be replaced by other users"
    return None


class _KernelLocator(caching._CacheLocator):
    """Tells numba where a kernel is cached."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._py_file = function.__code__.co_filename  # numba names the file in its warnings
        self._folder = folder
        # Numba tells functions of one name apart by their lines, which move with comments; its key of a signature has
        # the function's bytecode, without constants.
        plain = [c for c in function.__code__.co_consts if isinstance(c, _PLAIN) and c != function.__doc__]
        self._constants = hashlib.blake2s(repr(plain).encode(), digest_size=4).hexdigest()

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return self._constants


class _KernelCacheImpl(caching.CompileResultCacheImpl):
    """Numba's serialisation of compiled functions, with our locator in place of its search for one."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        # Not super().__init__: it lets NUMBA_CACHE_DIR and the like choose another, unkeyed place.
        self._lineno = function.__code__.co_firstlineno
        self._locator = _KernelLocator(function, folder)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))

    def reduce(self, compiled: Any) -> Any:
        return written(compiled)

    def rebuild(self, target_context: Any, kept: Any) -> Any:
        return read(CompileResult._rebuild, target_context, kept)


def _checksum(path: Path, data: bytes) -> bytes:
    """Checksum of compiled code in its place: the folder names the versions, the file the sources and the signature."""
    digest = hashlib.blake2b(f"{path.parent.name}/{path.name}\n".encode(), digest_size=_CHECKSUM_BYTES)
    digest.update(data)
    return digest.digest()


class _KernelCacheFile:
    """One file for each compiled signature, so that processes never share a file they both change."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def _path(self, key: object) -> Path:
        digest = hashlib.blake2s(repr(key).encode(), digest_size=12).hexdigest()
        return self._folder / f"{self._name}.{digest}.nbc"

    def signatures(self) -> list[Path]:
        """Files of this function's compiled signatures."""
        return list(self._folder.glob(f"{self._name}.*.nbc"))

    def load(self, key: object) -> Any:
        path = self._path(key)
        try:
            held = path.read_bytes()
        except FileNotFoundError:
            return None
        data = held[_CHECKSUM_BYTES:]
        return pickle.loads(data) if held[:_CHECKSUM_BYTES] == _checksum(path, data) else None

    def save(self, key: object, data: object) -> None:
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        dumped = caching.dumps(data)
        try:
            temporary.write_bytes(_checksum(path, dumped) + dumped)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def flush(self) -> None:
        for path in self.signatures():
            path.unlink(missing_ok=True)


class _KernelCache(caching.FunctionCache):
    """Numba's function cache, which may fail without a word: a kernel that cannot be cached is compiled."""

    def __init__(self, function: Callable[..., Any], folder: Path) -> None:
        self._name = repr(function)
        self._py_func = function
        self._impl = _KernelCacheImpl(function, folder)
        self._cache_path = str(folder)
        sources = module_key(Path(function.__code__.co_filename), folder)
        self._cache_file = _KernelCacheFile(folder, f"{self._impl.filename_base}.{sources}")
        self.enable()

    def holds_any(self) -> bool:
        """Whether the folder has any signature of this function."""
        return bool(self._cache_file.signatures())

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Not super()'s: it makes numba ready to compile first, a third of a second. What is loaded needs no more than
        # the memory of arrays; whatever is compiled later makes numba ready itself.
        try:
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception:  # a damaged file, whatever it raises on being read, is only a missing one
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):  # a full disk, a folder removed meanwhile
            super().save_overload(sig, data)


def _compile(function: Callable[..., Any], **options: Any) -> Any:
    # A C wrapper, for kernels passed as arguments, is never needed and costs a tenth of the compile time.
    dispatcher = numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True, **options)(function)
    if not options.get("forceinline") and hasattr(dispatcher, "get_call_template"):  # none under NUMBA_DISABLE_JIT
        resolve = dispatcher.get_call_template

        def without_literals(args: Any, kws: Any) -> Any:
            """Numba compiles a callee anew for every literal argument; what is not inlined wants one for all values."""
            return resolve([unliteral(a) for a in args], {name: unliteral(a) for name, a in kws.items()})

        dispatcher.get_call_template = without_literals
    if hasattr(dispatcher, "compile"):
        dispatcher.compile = _without_collection(dispatcher.compile)
    folder = cache_folder()
    if folder is not None and hasattr(dispatcher, "_cache"):  # no dispatcher under NUMBA_DISABLE_JIT
        with contextlib.suppress(OSError):  # a kernel whose source is not a file, as in a notebook
            dispatcher._cache = _KernelCache(function, folder)
    return dispatcher


def _without_collection(compile_signature: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without garbage collection on the way: it finds nothing, and takes a tenth of the time."""

    def compile_it(signature: Any) -> Any:
        enabled = gc.isenabled()
        gc.disable()
        try:
            return compile_signature(signature)
        finally:
            if enabled:
                gc.enable()

    return compile_it


def n_cached() -> int:
    """Return how many compiled kernels the cache has; 0 without a cache."""
    folder = cache_folder()
    return 0 if folder is None else sum(1 for _ in folder.glob("*.nbc"))


def is_compiled(function: Callable[..., Any]) -> bool:
    """Whether a kernel has been compiled, in this process or, by any, into the folder of the cache."""
    if not hasattr(function, "signatures") or function.signatures:  # no dispatcher under NUMBA_DISABLE_JIT
        return True
    cache = getattr(function, "_cache", None)
    return isinstance(cache, _KernelCache) and cache.holds_any()


def kernel(function: _Function) -> _Function:
    """Compile `function`: nopython, IEEE arithmetic as written (no fastmath), no GIL, cached on disk."""
    compiled: _Function = _compile(function)
    return compiled


def inlined_kernel(function: _Function) -> _Function:
    """Like `kernel`, and always inlined where another kernel calls it, so that loops over it vectorise."""
    compiled: _Function = _compile(function, forceinline=True)
    return compiled


def entry_kernel(function: _Function) -> _Function:
    """Like `kernel`, for functions of many arrays: without numba's reference counts, so it can allocate nothing."""
    compiled: _Function = _compile(function, _nrt=False)
    return compiled


def bare_kernel(function: _Function) -> _Function:
    """Like `entry_kernel`, for kernels alone to call, by name (`linking`): Python cannot call it."""
    compiled: _Function = _compile(function, _nrt=False, no_cpython_wrapper=True)
    if hasattr(compiled, "add_overload"):  # no dispatcher under NUMBA_DISABLE_JIT
        call_by_name(compiled)
    return compiled


def inlined_bare_kernel(function: _Function) -> _Function:
    """Like `bare_kernel`, but part of each kernel that calls it."""
    compiled: _Function = _compile(function, _nrt=False, no_cpython_wrapper=True, forceinline=True)
    return compiled


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Typed form of `numba.extending.intrinsic`: an instruction that Python cannot spell."""
    compiled: Callable[..., Any] = numba.extending.intrinsic(function)
    return compiled


def compiled_form(function: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Typed form of `numba.extending.overload`: what kernels call in place of `function`; inlined."""
    options = {"error_model": "numpy", "nogil": True, "forceinline": True}
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]] = numba.extending.overload(
        function, jit_options=options
    )
    return decorator
