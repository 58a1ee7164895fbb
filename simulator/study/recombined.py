"""Studies put together anew from the patients of simulated ones.

Patients of one place in a study (the j-th of each) have one law and know nothing of each other, so any choice of one
patient for each place is a study that could have been. Averages over many such studies depend on how many patients were
simulated, no longer on how often each was used: an incomplete generalised U-statistic (Lee 1990, *U-Statistics*, 4.3),
for the price of estimation alone.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from simulator.endpoints.base import Column
from simulator.kernels.rng import stream_number, uniforms
from simulator.study.design import TREATED
from simulator.study.observe import StudyData
from simulator.study.patients import Patients
from simulator.tables import Flags, Floats, Integers, ModelTables

_Any = TypeVar("_Any", bound=np.generic)


def recombinations(n_studies: int, n_patients: int, times: int, *, seed: int) -> Integers:
    """Return which study each patient of new studies is taken from, (times · n_studies, n_patients).

    Every patient is used once in each of the ``times``, in a place that stays; the order at each place is random, and
    addressed by (seed, time, place).
    """
    study, place = np.arange(n_studies)[None, :, None], np.arange(n_patients)[None, None, :]
    u = uniforms(seed, study, np.arange(times)[:, None, None], stream_number("studies regrouped"), place)
    return np.argsort(u, axis=1).reshape(times * n_studies, n_patients)


class Recombined(Patients):
    """Studies put together from the patients of others.

    ``data``: S·R studies of N patients, R to each of S parameter sets. ``source``: (R′, N) as `recombinations` gives it
    for R studies. The result has S·R′ studies, those of one parameter set from its own patients.
    """

    def __init__(self, data: StudyData, source: Integers, sets: int = 1) -> None:
        self._data, (n_studies, n_patients) = data, data.shape
        first = np.arange(sets)[:, None, None] * (n_studies // sets)
        place = (first + source) * n_patients + np.arange(n_patients)
        self._place = place.reshape(-1, n_patients)
        self._kept: dict[tuple[str, Hashable], Any] = {}

    @property
    def model(self) -> ModelTables:
        return self._data.model

    @property
    def all_patients(self) -> Flags:
        return self.population(TREATED)

    def population(self, name: str) -> Flags:
        return self.kept("population", name, lambda: self._taken(self._data.population(name)))

    def is_stratum(self, stratum: int) -> Flags:
        return self.kept("stratum", stratum, lambda: self._taken(self._data.is_stratum(stratum)))

    def is_arm(self, arm: int) -> Flags:
        return self.kept("arm", arm, lambda: self._taken(self._data.is_arm(arm)))

    def is_dead(self) -> Flags:
        return self.kept("dead", None, lambda: self._taken(self._data.died))

    def was_seen(self, code: int) -> Flags:
        return self.kept("was_seen", code, lambda: self._taken(self._data.was_seen(code)))

    def seen(self, code: int) -> Floats:
        return self.kept("seen", code, lambda: self._taken(self._data.seen(code)))

    def marker_seen(self, marker: int) -> Floats:
        return self.kept("marker", marker, lambda: self._taken(self._data.marker_seen(marker)))

    def column(self, name: str) -> Column:
        return self.kept("column", name, lambda: self._column(name))

    def _column(self, name: str) -> Column:
        column, place = self._data.column(name), self._place
        event = _taken(column.event, place)
        has = event if column.has is column.event else _taken(column.has, place)
        return Column(lambda: _taken(column.value, place), event, has)

    def _taken(self, values: NDArray[_Any]) -> NDArray[_Any]:
        return _taken(values, self._place)


def _taken(values: NDArray[_Any], place: Integers) -> NDArray[_Any]:
    return values.reshape(-1).take(place)
