"""The arrays an engine reads.

A *cell* is an (arm, stratum) pair: cell = arm · n_strata + stratum. A *parameter set* is one row of the leading
dimension; scenarios, draws and calibration steps are all rows of the same arrays.

Dimensions named in the shapes below: ``B`` parameter sets, ``C`` cells, ``A`` arms, ``S`` states, ``E`` events, ``F``
effects of states and markers, ``G`` effects of covariates, ``O`` outcomes that an event chooses among (all events
together), ``X`` covariates, ``T`` adverse-event terms, ``P`` planned numbers of administrations (0 to the largest),
``D`` dose levels, ``K`` knots, ``H`` tabulated hazards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Masks = NDArray[np.uint64]

NONE = -1
"""Index that stands for "no state", "no event", "no marker"."""


class Clock(IntEnum):
    """Where an event's time is counted from."""

    FORWARD = 0  # entry into the cohort
    RESET = 1  # the last entry into the present state (mstate's clock reset)
    SINCE = 2  # the last occurrence of a named event; of the event itself, entry before the first
    AGE = 3  # birth


class Driver(IntEnum):
    """What makes an event happen."""

    HAZARD = 0  # a budget spent by a cumulative hazard
    ADMINISTRATION = 1  # success of an administration, after a lag


class Allocation(IntEnum):
    """How a patient gets an arm and a stratum."""

    DEFICIT = 0  # the cell whose count is furthest below its share
    RANDOM = 1  # one draw per patient


class Per(IntEnum):
    """What a dose or an interval is drawn for."""

    ADMINISTRATION = 0
    PATIENT = 1


def shaped(dims: str, dtype: Any = np.float64) -> Any:
    """Declare an array field: one letter a dimension, checked and made read-only on construction."""
    return field(metadata={"dims": dims, "dtype": dtype})


def freeze(table: Any, sizes: dict[str, int]) -> None:
    """Convert, check and write-protect every array field of a frozen dataclass.

    Raises
    ------
    ValueError
        If an array does not have the shape its field declares; the field is named.
    """
    for spec in fields(table):
        dims = spec.metadata.get("dims")
        if dims is None:
            continue
        array = np.ascontiguousarray(getattr(table, spec.name), dtype=spec.metadata["dtype"])
        expected = tuple(sizes.setdefault(dim, size) for dim, size in zip(dims, array.shape, strict=False))
        if array.ndim != len(dims) or array.shape != expected:
            wanted = ", ".join(f"{dim}={sizes.get(dim, '?')}" for dim in dims)
            raise ValueError(f"{type(table).__name__}.{spec.name}: shape {array.shape}, expected ({wanted})")
        if array is getattr(table, spec.name) and array.flags.writeable:
            array = array.copy()
        array.flags.writeable = False
        object.__setattr__(table, spec.name, array)


@dataclass(frozen=True, kw_only=True, eq=False)
class CourseTables:
    """A course of administrations, by parameter set and arm. Times in days, doses as declared."""

    terms: tuple[str, ...]
    reasons: tuple[str, ...]  # why a course ended; 0 "completed", then the stopping rules in order

    given: Flags = shaped("BA", np.bool_)  # False: nothing is administered
    start: Floats = shaped("BA")
    interval_code: Integers = shaped("BA", np.int64)  # of kernels.quantiles.DISTRIBUTIONS; NONE: given once
    interval: Floats = shaped("BA3")
    maximum: Integers = shaped("BA", np.int64)
    planned_event: int = NONE  # the event whose "ever" draw selects the planned number
    planned_cdf: Floats = shaped("BA2P")  # P(planned ≤ n) for those who never / ever; last column 1
    stop_states: Integers = shaped("AS", np.int64)  # index into reasons, 0: does not stop
    stop_markers: Integers = shaped("AM", np.int64)  # likewise for each marker
    on_treatment: int = NONE  # marker that is set while the course lasts
    dose_per: int = 0
    dose_level: Floats = shaped("BAD")
    dose_cdf: Floats = shaped("BAD")
    delay_after_adverse_event: Floats = shaped("BA")
    dose_factor_after_adverse_event: Floats = shaped("BA")
    frailty: Floats = shaped("B")  # correlation ρ of the shared probit frailty, 0 ≤ ρ < 1
    term_threshold: Floats = shaped("BCT")  # Φ⁻¹ of the marginal probability per administration; −inf never
    term_set: Masks = shaped("T", np.uint64)  # markers that an occurrence sets
    term_stream: Integers = shaped("T", np.int64)

    def __post_init__(self) -> None:
        freeze(self, {"T": len(self.terms)})


@dataclass(frozen=True, kw_only=True, eq=False)
class PatientTable:
    """Rules that make a patient's row from an address: never the rows themselves."""

    covariates: tuple[str, ...]

    n_patients: Integers = shaped("B", np.int64)
    allocation: int = Allocation.DEFICIT
    share: Floats = shaped("BC")  # of cells, summing to 1
    covariate_code: Integers = shaped("X", np.int64)  # of kernels.quantiles.DISTRIBUTIONS
    covariate: Floats = shaped("BCX3")
    covariate_stream: Integers = shaped("X", np.int64)
    age: int = NONE  # the covariate that is the age at entry, in days

    def __post_init__(self) -> None:
        freeze(self, {"X": len(self.covariates)})


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelTables:
    """A compiled multi-state model with its course and its patients: all that an engine may know."""

    states: tuple[str, ...]
    markers: tuple[str, ...]
    events: tuple[str, ...]
    arms: tuple[str, ...]
    strata: tuple[str, ...]
    outcomes: tuple[str, ...]  # names of what events choose among
    causes: tuple[str, ...]  # by event: the cause it is reported under
    course: CourseTables
    patients: PatientTable

    horizon: Floats = shaped("B")  # follow-up is [0, horizon), days
    absorbing: Flags = shaped("S", np.bool_)
    initial_state: int = 0
    initial_markers: int = 0

    event_from: Flags = shaped("ES", np.bool_)
    event_to: Integers = shaped("E", np.int64)  # NONE: the state stays
    event_set: Masks = shaped("E", np.uint64)
    event_clear: Masks = shaped("E", np.uint64)
    event_when: Masks = shaped("E", np.uint64)  # markers that must all be set
    event_unless: Masks = shaped("E", np.uint64)  # markers none of which may be set
    event_clock: Integers = shaped("E", np.int64)
    event_since: Integers = shaped("E", np.int64)
    event_maximum: Integers = shaped("E", np.int64)
    event_recurrent: Flags = shaped("E", np.bool_)
    event_driver: Integers = shaped("E", np.int64)
    event_stream: Integers = shaped("E", np.int64)
    ever_stream: Integers = shaped("E", np.int64)
    choice_stream: Integers = shaped("E", np.int64)
    lag_stream: Integers = shaped("E", np.int64)

    family: Integers = shaped("BEC", np.int64)  # of kernels.hazards.FAMILIES
    parameters: Floats = shaped("BEC3")
    table: Integers = shaped("BEC", np.int64)  # tabulated hazard, NONE if the family has none
    knot_offset: Integers = shaped("H", np.int64)  # table h holds knots [offset[h], offset[h + 1])
    knot_time: Floats = shaped("K")
    knot_hazard: Floats = shaped("K")
    probability: Floats = shaped("BEC")  # that the event ever occurs (cure mixture); 1 if it always may
    cell_ratio: Floats = shaped("BEC")  # hazard ratio of the arm

    effect_event: Integers = shaped("F", np.int64)
    effect_state: Integers = shaped("F", np.int64)  # the state in which it acts, NONE: any
    effect_marker: Integers = shaped("F", np.int64)  # the marker while it is set, NONE: always
    effect_ratio: Floats = shaped("BFC")
    covariate_effect_event: Integers = shaped("G", np.int64)
    covariate_effect_covariate: Integers = shaped("G", np.int64)
    covariate_effect: Floats = shaped("BG2")  # log hazard ratio per unit, reference value

    outcome_offset: Integers = shaped("J", np.int64)  # event e chooses among outcomes [J[e], J[e + 1])
    outcome_set: Masks = shaped("O", np.uint64)
    outcome_cdf: Floats = shaped("BOC")  # within each event; its last outcome has 1

    success: Floats = shaped("BEC")  # probability per administration, administration-driven events
    lag_code: Integers = shaped("BE", np.int64)
    lag: Floats = shaped("BE3")
    withholds: Flags = shaped("E", np.bool_)  # no administration while a success is being assessed
    confirmed_at_onset: Flags = shaped("E", np.bool_)  # seen when it happens, without an assessment visit

    def __post_init__(self) -> None:
        freeze(
            self,
            {
                "S": len(self.states),
                "E": len(self.events),
                "J": len(self.events) + 1,
                "O": len(self.outcomes),
                "C": len(self.arms) * len(self.strata),
                "B": self.patients.n_patients.size,
                "3": 3,
                "2": 2,
            },
        )

    @property
    def n_sets(self) -> int:
        return int(self.horizon.size)

    @property
    def n_cells(self) -> int:
        return len(self.arms) * len(self.strata)

    @cached_property
    def log_codes(self) -> LogCodes:
        return LogCodes(len(self.events), len(self.course.terms))


@dataclass(frozen=True)
class LogCodes:
    """How a trajectory's log numbers what happened: events, administration, terms, end of course."""

    n_events: int
    n_terms: int

    @property
    def administration(self) -> int:
        return self.n_events

    @property
    def first_term(self) -> int:
        return self.n_events + 1

    @property
    def end_of_course(self) -> int:
        return self.n_events + 1 + self.n_terms


def stack(tables: Sequence[ModelTables]) -> ModelTables:
    """Return one table with the parameter sets of all, in order; each set is simulated as it was in its own.

    Raises
    ------
    ValueError
        If the tables differ in anything but what a parameter set may hold: names what does.
    """
    courses, patients = [each.course for each in tables], [each.patients for each in tables]
    differ = [*_differences(tables, ""), *_differences(courses, "course."), *_differences(patients, "patients.")]
    if differ:
        raise ValueError(f"tables differ in {', '.join(differ)}: they cannot be parameter sets of one model")
    n_tabulated = np.cumsum([0, *(each.knot_offset.size - 1 for each in tables)])
    n_knots = np.cumsum([0, *(each.knot_time.size for each in tables)])
    tabulated, offsets = [], []
    for each, first, knot in zip(tables, n_tabulated, n_knots, strict=False):
        tabulated.append(np.where(each.table == NONE, NONE, each.table + first))
        offsets.append(each.knot_offset[:-1] + knot)
    return replace(
        tables[0],
        **_joined(tables),
        table=np.concatenate(tabulated),
        knot_offset=np.append(np.concatenate(offsets), n_knots[-1]),
        knot_time=np.concatenate([each.knot_time for each in tables]),
        knot_hazard=np.concatenate([each.knot_hazard for each in tables]),
        course=replace(courses[0], **_joined(courses)),
        patients=replace(patients[0], **_joined(patients)),
    )


_OF_SETS = ("table", "knot_offset", "knot_time", "knot_hazard", "course", "patients")
"""Fields of a table that `stack` joins by a rule of their own."""

_FILLING = {"planned_cdf": 1.0, "dose_cdf": 1.0, "dose_level": 0.0}
"""Arrays whose last dimension is as long as the longest set needs, and what stands beyond a set's own."""


def _led_by_sets(table: Any) -> list[str]:
    """Names of the arrays whose first dimension is the parameter set."""
    named = [(spec.name, spec.metadata.get("dims", "")) for spec in fields(table)]
    return [name for name, dims in named if dims.startswith("B") and name not in _OF_SETS]


def _differences(tables: Sequence[Any], path: str) -> list[str]:
    """Names of what differs in structure: other shapes of what parameter sets hold, other values of the rest."""
    differ = []
    of_sets = _led_by_sets(tables[0])
    for name in (spec.name for spec in fields(tables[0]) if spec.name not in _OF_SETS):
        values = [getattr(table, name) for table in tables]
        if name in of_sets:
            last = -1 if name in _FILLING else None
            same = len({value.shape[1:last] for value in values}) == 1
        else:
            same = all(np.array_equal(value, values[0]) for value in values)
        if not same:
            differ.append(path + name)
    return differ


def _joined(tables: Sequence[Any]) -> dict[str, Any]:
    """The arrays that are led by parameter sets, one after another."""
    joined = {}
    for name in _led_by_sets(tables[0]):
        values = [getattr(table, name) for table in tables]
        if name in _FILLING:
            most = max(value.shape[-1] for value in values)
            beyond = [[(0, 0)] * (value.ndim - 1) + [(0, most - value.shape[-1])] for value in values]
            values = [
                np.pad(value, more, constant_values=_FILLING[name]) for value, more in zip(values, beyond, strict=True)
            ]
        joined[name] = np.concatenate(values)
    return joined
