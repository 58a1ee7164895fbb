"""Sums of scenarios as bytes: what more studies can be added to exactly.

Equal arrays give equal bytes. Most counts are 0, so that those that are not stand with their places.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sums = Mapping[str, NDArray[Any]]
"""Arrays of one scenario by name: integers, and curves of single studies."""

_FASTEST = 1
_SPARSE, _SHAPE, _PLACES, _COUNTS = 8, "shape", "places", "counts"


def packed(scenarios: Mapping[int, Sums]) -> bytes:
    """Return the sums of scenarios, by their numbers, as bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, sums in scenarios.items():
        for name, values in sums.items():
            key = f"{number}/{name}"
            places = np.flatnonzero(values)
            if values.dtype.kind != "i" or places.size * _SPARSE >= values.size:
                arrays[key] = values
                continue
            arrays[f"{key}/{_SHAPE}"] = np.array(values.shape, dtype=np.int64)
            arrays[f"{key}/{_PLACES}"], arrays[f"{key}/{_COUNTS}"] = places, values.ravel()[places]
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stubs take a name for an option of a newer numpy
    return zlib.compress(file.getvalue(), _FASTEST)


def unpacked(data: bytes) -> dict[int, dict[str, NDArray[Any]]]:
    """Return what `packed` was given. Raises ValueError or zlib.error where the bytes are not of it."""
    found: dict[int, dict[str, NDArray[Any]]] = {}
    with np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False) as file:
        for key in file.files:
            number, name, *part = key.split("/")
            of_scenario = found.setdefault(int(number), {})
            if not part:
                of_scenario[name] = file[key]
            elif part == [_SHAPE]:
                of_scenario[name] = np.zeros(file[key], dtype=np.int64)
                of_scenario[name].ravel()[file[f"{number}/{name}/{_PLACES}"]] = file[f"{number}/{name}/{_COUNTS}"]
    return found
