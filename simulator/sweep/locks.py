"""Who works in a folder.

A lock is a file that its holder keeps locked with the operating system for as long as it lives, so that the lock of a
process that was killed is no obstacle on the same machine, whatever number its process had. Of a holder on another
machine nothing can be known; taking over from it is the user's decision.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from simulator.errors import ConfigError, Problem

if os.name == "nt":
    import msvcrt
else:
    import fcntl

WHOLE = "whole"
"""Name of the lock on all the work of a folder."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as it says itself."""

    name: str
    host: str
    process: int

    def __str__(self) -> str:
        part = "" if self.name == WHOLE else f" ({self.name.replace('_', ' ')})"
        return f"process {self.process} on {self.host}{part}"


@contextmanager
def held(folder: Path, name: str = WHOLE, *, takeover: bool = False) -> Iterator[None]:
    """Hold the lock ``name`` of a folder.

    The whole excludes every part, and a part excludes the whole and itself. Parts are named ``<kind>_<i>_of_<n>``;
    parts of another ``n`` are excluded too.

    Raises
    ------
    ConfigError
        If somebody else works there, named, or holds it on another machine and ``takeover`` is false; or if the
        folder cannot be written to.
    """
    places = folder / "locks"
    ours = places / f"{name}.json"
    try:
        with closed(folder):
            for path in sorted(places.glob("*.json")):
                if path == ours or not _beside(path.stem, name):
                    _refuse_or_clear(path, takeover)
            file = ours.open("a+", encoding="utf-8")
            _lock(file)
            file.truncate(0)
            json.dump({"name": name, "host": _host(), "process": os.getpid()}, file)
            file.flush()
    except OSError as error:
        raise _not_writable(folder, error) from None
    try:
        yield
    finally:
        with suppress(OSError):
            if os.name != "nt":
                ours.unlink()
        file.close()
        if os.name == "nt":
            with suppress(OSError):
                ours.unlink()


def _beside(other: str, name: str) -> bool:
    """Whether two locks may be held at once."""
    return WHOLE not in (other, name) and other != name and other.rpartition("_")[2] == name.rpartition("_")[2]


def _refuse_or_clear(path: Path, takeover: bool) -> None:
    """Take a dead holder's lock away, or raise."""
    try:
        file = path.open("r+", encoding="utf-8")
    except FileNotFoundError:
        return
    with file:
        held_here = not _lock(file, wait=False)
        holder = _holder(file, path.stem)
        if held_here or (holder.host != _host() and not takeover):
            elsewhere = "" if held_here else "; if nothing runs there any more, add launcher.takeover=true"
            raise ConfigError(Problem("hydra.sweep.dir", str(path.parent.parent), f"is in use by {holder}{elsewhere}"))
        path.unlink(missing_ok=True)


def _holder(file: IO[str], name: str) -> Holder:
    try:
        said: dict[str, Any] = json.loads(file.read())
        return Holder(name, str(said["host"]), int(said["process"]))
    except (ValueError, KeyError, TypeError):  # killed before it could say who it is
        return Holder(name, _host(), 0)


def _host() -> str:
    return socket.gethostname()


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Keep all others from taking a lock of a folder meanwhile; wait for whoever does so now.

    Raises
    ------
    ConfigError
        If the folder cannot be written to.
    """
    places = folder / "locks"
    try:
        places.mkdir(exist_ok=True)
        door = (places / "door").open("a+", encoding="utf-8")
    except OSError as error:
        raise _not_writable(folder, error) from None
    with door:
        _lock(door)
        yield


def _not_writable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(Problem("hydra.sweep.dir", str(folder), f"cannot be written to: {error.strerror or error}"))


def _lock(file: IO[str], *, wait: bool = True) -> bool:
    """Lock an open file until it is closed or the process dies; whether that was possible."""
    try:
        if os.name == "nt":
            file.seek(2**30)  # a lock there keeps nobody from reading who holds it
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            file.seek(0)
        else:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
