"""Likelihoods that were found, on disk until a calibration ends.

A search asks the same questions again when it is started again, in the same order, bit for bit: so it needs no state of
its own to go on from where it was cut off, only the answers that it had. A record is the hash of a question, the
answer, and a hash of both; one that was cut off in the middle is not read, and what follows it is. Records are appended
whole, so that two runs may write into one file (the first to end takes it away), and each flushed to the disk, so that
none is lost with the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import simulator
from simulator.errors import ConfigError, LobuleError, Problem
from simulator.results.provenance import software
from simulator.tables import Floats

START = b"likelihoods "
"""What a record begins with; after a broken one the next is looked for."""
HASH = 16
HEAD = struct.Struct(f"<{len(START)}s{HASH}sI")  # start, question, numbers of the answer


class Journal:
    """Answers of an earlier run of the same thing, and of this one.

    ``path`` need not be there; it is written to when there is something to write. ``found``: numbers that stood there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers = _read(path)
        self.found = sum(answer.size for answer in self.answers.values())

    def remembered(self, context: object, function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
        """Return a function of rows (m, d) → (m,) that is called only for what has no answer yet.

        ``context``, as JSON, is all that the answer depends on beside the rows.
        """
        said = _digest(_json(context))

        def answered(z: Floats) -> Floats:
            question = _digest(said, struct.pack("<2q", *z.shape), np.ascontiguousarray(z).tobytes())
            if question not in self.answers:
                self.answers[question] = function(z)
                self._append(question, self.answers[question])
            return self.answers[question]

        return answered

    def forget(self) -> None:
        """Take the file away: the calibration has ended, or was refused."""
        self.path.unlink(missing_ok=True)

    def _append(self, question: bytes, answer: Floats) -> None:
        record = HEAD.pack(START, question, answer.size) + answer.astype("<f8").tobytes()
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(record + _digest(record))
                os.fsync(file.fileno())
        except OSError as error:
            raise LobuleError(f"{self.path} cannot be written to: {error.strerror or error}") from error


def journal_of(folder: Path, *what: object) -> Journal:
    """Return the journal, beside the folder of a run, of everything that runs as this does: ``what``, as JSON.

    Other sources of this program or other versions of what it calls have a journal of their own.
    """
    name = _digest(_json(what), _json(software()), _sources()).hex()
    return Journal(folder.parent / f"unfinished_{name}.journal")


def _read(path: Path) -> dict[bytes, Floats]:
    """Return every record that is whole, by its question."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        why = f"cannot be read: {error.strerror or error}"
        raise ConfigError(Problem("hydra.run.dir", str(path), why)) from None
    answers = {}
    at = data.find(START)
    while at >= 0 and at + HEAD.size <= len(data):
        _, question, n = HEAD.unpack_from(data, at)
        end = at + HEAD.size + 8 * n
        whole = data[end : end + HASH] == _digest(data[at:end])
        if whole:
            answers[question] = np.frombuffer(data, "<f8", n, at + HEAD.size).astype(np.float64)
        at = data.find(START, end + HASH if whole else at + 1)
    return answers


def _sources() -> bytes:
    """Hash of the sources that run."""
    digest = hashlib.blake2s(digest_size=HASH)
    for folder in (Path(str(simulator.__file__)).parent, Path(__file__).parents[1]):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\n" + path.read_bytes())
    return digest.digest()


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2s(digest_size=HASH)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _json(value: object) -> bytes:
    """As text; mappings keep their order, which has a meaning in a configuration."""
    return json.dumps(value, default=_plain, ensure_ascii=False).encode()


def _plain(value: Any) -> object:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return dict(value) if isinstance(value, Mapping) else list(value)


__all__ = ["Journal", "journal_of"]
