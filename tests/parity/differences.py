"""Says where two engines part: the first patient whose histories differ, side by side."""

from __future__ import annotations

import numpy as np

from simulator.trajectories import Trajectories
from tests import models

COLUMNS = ("parameter_set", "replicate", "patient", "cell", "covariates")
LOG = ("log_time", "log_code", "log_value")


def explain_difference(reference: Trajectories, other: Trajectories) -> str | None:
    """Return None where all arrays are equal bit for bit, else which differ and the first patient who does."""
    if reference.difference(other) is None:
        return None
    names = (*COLUMNS, "offset", *LOG)
    arrays = [name for name in names if not _same(getattr(reference, name), getattr(other, name))]
    said = [f"arrays that differ: {', '.join(arrays)} (left: the first engine, right: the second)"]
    if len(reference) != len(other):
        said.append(f"patients: {len(reference)} and {len(other)}")
    i, differing = _first_patient(reference, other)
    if i is None:
        return "\n".join([*said, "no patient differs: the arrays have other types or shapes"])
    said.append(f"{differing} of {len(reference)} patients differ; the first, number {i}:")
    said += [f"  {name}: {_shown(reference, name, i)} | {_shown(other, name, i)}" for name in COLUMNS]
    return "\n".join([*said, *_side_by_side(_lines(reference, i), _lines(other, i))])


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _first_patient(a: Trajectories, b: Trajectories) -> tuple[int | None, int]:
    """Number of the first patient who differs, and how many do."""
    n = min(len(a), len(b))
    differs = np.zeros(n, dtype=bool)
    for name in COLUMNS:
        left, right = getattr(a, name)[:n], getattr(b, name)[:n]
        unequal = _bits(left) != _bits(right)
        differs |= unequal.reshape(n, -1).any(axis=1) if unequal.size else False
    lengths = np.diff(a.offset)[:n], np.diff(b.offset)[:n]
    differs |= lengths[0] != lengths[1]
    comparable = np.flatnonzero(~differs)
    rows = [_rows(t, comparable) for t in (a, b)]
    owner = np.repeat(comparable, lengths[0][comparable])
    for name in LOG:
        unequal = _bits(getattr(a, name)[rows[0]]) != _bits(getattr(b, name)[rows[1]])
        differs[owner[unequal]] = True
    who = np.flatnonzero(differs)
    if who.size:
        return int(who[0]), int(who.size)
    return (n, 0) if len(a) != len(b) else (None, 0)


def _bits(array: np.ndarray) -> np.ndarray:
    return array.view(np.int64) if array.dtype == np.float64 else array


def _rows(trajectories: Trajectories, patients: np.ndarray) -> np.ndarray:
    keep = np.zeros(len(trajectories), dtype=bool)
    keep[patients] = True
    return np.flatnonzero(keep[trajectories.owner])


def _shown(trajectories: Trajectories, name: str, i: int) -> str:
    return str(getattr(trajectories, name)[i].tolist()) if i < len(trajectories) else "no such patient"


def _lines(trajectories: Trajectories, i: int) -> list[str]:
    if i >= len(trajectories):
        return []
    names = models.codes(trajectories.model)
    return [
        f"{time!r} ({time.hex()}) {names[code] if 0 <= code < len(names) else code} {value!r}"
        for time, code, value in zip(
            *(
                getattr(trajectories, name)[trajectories.offset[i] : trajectories.offset[i + 1]].tolist()
                for name in LOG
            ),
            strict=True,
        )
    ]


def _side_by_side(left: list[str], right: list[str]) -> list[str]:
    """Two histories in two columns; the lines that differ are marked."""
    width = max([len(line) for line in left], default=0)
    n = max(len(left), len(right))
    pairs = zip(left + ["–"] * (n - len(left)), right + ["–"] * (n - len(right)), strict=True)
    return [f"{' ' if one == two else '≠'} {one:<{width}} | {two}" for one, two in pairs]
