"""What estimators ask of the patients of R studies, N in each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from simulator.endpoints.base import Column
from simulator.study.summaries import Extremes, Ranked, extremes, ranked
from simulator.study.survival import Ordered, ordered
from simulator.tables import Flags, Floats, ModelTables

_Kept = TypeVar("_Kept")


class Patients(ABC):
    """Patients of R studies, N in each; flags are of shape (R, N). What was made is kept as long as these are."""

    _kept: dict[tuple[str, Hashable], Any]

    @property
    @abstractmethod
    def model(self) -> ModelTables: ...

    @property
    @abstractmethod
    def all_patients(self) -> Flags: ...

    @abstractmethod
    def population(self, name: str) -> Flags:
        """Return who belongs to a population. Raises ConfigError if there is none of that name."""

    @abstractmethod
    def is_stratum(self, stratum: int) -> Flags:
        """Who is of a stratum, by its index."""

    @abstractmethod
    def is_arm(self, arm: int) -> Flags:
        """Who is in an arm, by its index."""

    @abstractmethod
    def is_dead(self) -> Flags:
        """Whose death was seen."""

    @abstractmethod
    def was_seen(self, code: int) -> Flags:
        """Whether something with this log code was ever seen."""

    @abstractmethod
    def seen(self, code: int) -> Floats:
        """Time at which something with this log code was first seen, +inf if it never was."""

    @abstractmethod
    def marker_seen(self, marker: int) -> Floats:
        """Time at which something that sets the marker was first seen, +inf if never; 0 if set at entry."""

    @abstractmethod
    def column(self, name: str) -> Column:
        """Return a variable by name. Raises ConfigError if there is none; the nearest name is suggested."""

    def ordered(self, variable: str, member: Flags) -> Ordered:
        """Members' times and events of a variable, in order; kept for as long as ``member`` is."""
        column = self.column(variable)
        return self.kept("ordered", (variable, id(member)), lambda: ordered(column.value, column.event, member))

    def ranked(self, variable: str, member: Flags) -> Ranked:
        """Members' values of a variable, in order; kept for as long as ``member`` is."""
        return self.kept("ranked", (variable, id(member)), lambda: ranked(self.column(variable).value, member))

    def extremes(self, variable: str, member: Flags) -> Extremes:
        """Smallest and largest of the members' values of a variable; kept for as long as ``member`` is."""
        return self.kept("extremes", (variable, id(member)), lambda: extremes(self.column(variable).value, member))

    def kept(self, kind: str, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """What was made before under this key, else what ``make`` gives now."""
        if (kind, key) not in self._kept:
            self._kept[kind, key] = make()
        kept: _Kept = self._kept[kind, key]
        return kept
