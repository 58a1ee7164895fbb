"""Tables as the kernels read them, and what follows from a model's structure.

A kernel reads everything that varies by parameter set and cell at one index, the *row* = parameter set · n_cells +
cell. Masks of markers, states and events are the bits of a signed integer. Three facts are found here, because they
decide how much work a patient is:

- which markers *matter* (to who is at risk, to a ratio, to the end of a course); the others change nothing;
- whether visits feed back into the race of events; if not, they are counted when the race is over;
- which events are *plain*: their budget is drawn when they come to be at risk and never put aside, so that whole
  columns are settled at once; every other event is settled patient by patient.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.elementary import normal_cdf
from simulator.kernels.quantiles import FIXED, quantile
from simulator.kernels.references import by_reference
from simulator.tables import NONE, Allocation, Clock, Driver, Flags, Floats, Integers, Masks, ModelTables, Per

MOST = 60
"""Most events, states or markers of a model that a kernel's masks have room for."""

LEAST_UNIFORM = 2.0**-53

TINY = 1e-150
"""Ratios and factors between this and its inverse can neither vanish nor overflow when they are multiplied."""

# Columns of `Plan.event`.
FROM, TO, SET, CLEAR, WHEN, UNLESS = 0, 1, 2, 3, 4, 5
CLOCK, SINCE, MAXIMUM, RECURRENT, BY_HAZARD = 6, 7, 8, 9, 10
STREAM, EVER_STREAM, CHOICE_STREAM, LAG_STREAM = 11, 12, 13, 14
FIRST_OUTCOME, LAST_OUTCOME, FIRST_EFFECT, LAST_EFFECT = 15, 16, 17, 18
WITHHOLDS, CURE, FAMILY, PLAIN, TRACKED, FACTORED, SAME_LAW = 19, 20, 21, 22, 23, 24, 25
N_ATTRIBUTES = 26

# Second index of `Plan.law` and of `Plan.code`.
EVER, RATIO, SUCCESS, LAG = 3, 4, 5, 6  # 0, 1, 2: the parameters of the hazard; 6, 7, 8: of the lag
N_LAWS = 9
FAMILY_CODE, FIRST_KNOT, LAST_KNOT, LAG_CODE = 0, 1, 2, 3
N_CODES = 4

# Entries of `Plan.fact`.
N_EVENTS, N_CELLS, N_TERMS, N_COVARIATES, AGE = 0, 1, 2, 3, 4
INITIAL_STATE, INITIAL_MARKERS, ON_TREATMENT, ABSORBING = 5, 6, 7, 8
FEEDBACK, ANY_COURSE, PLANNED_BY, PLANNED_DRAWN, DOSE_PER_PATIENT = 9, 10, 11, 12, 13
RANDOM_ALLOCATION, SHARED_FRAILTY, N_STATES, PLAIN_VISITS = 14, 15, 16, 17
N_FACTS = 18

# First index of `Plan.number`, and of `Plan.choice`.
HORIZON, START, INTERVAL, DELAY, FACTOR, ROOT_FRAILTY, ROOT_REST = 0, 1, 2, 5, 6, 7, 8
N_NUMBERS = 9
GIVEN, INTERVAL_CODE, PLANNED = 0, 1, 2  # PLANNED: for those who never and who ever have the planning event
N_CHOICES = 4


@by_reference
class Plan(NamedTuple):
    """What the kernels read. Dimensions: E events, R rows, F effects, G covariate effects, the rest as in tables."""

    fact: Integers  # (N_FACTS,)
    event: Integers  # (E, N_ATTRIBUTES)
    law: Floats  # (E, N_LAWS, R)
    code: Integers  # (E, N_CODES, R)
    knots: Floats  # (2, K): times, cumulative hazards
    effect: Integers  # (F, 2): state, marker; those of one event stand together, in declared order
    effect_ratio: Floats  # (F, R)
    slope_of: Integers  # (G, 2): event, covariate
    slope: Floats  # (G, 2, R): log hazard ratio per unit, reference value
    outcome_set: Integers  # (O,)
    outcome_cdf: Floats  # (O, R)
    number: Floats  # (N_NUMBERS, R)
    choice: Integers  # (N_CHOICES, R): is a course given; its interval's distribution; the number planned
    planned_cdf: Floats  # (2, P, R): where the planned number is drawn
    dose: Floats  # (2, D, R): levels, cumulative shares
    stop: Integers  # (S + M, C): reason by which a state, or a marker, ends the course; 0: it does not
    harm: Floats  # (2, T, R): threshold, probability without a frailty
    term: Integers  # (2, T): stream, markers set
    covariate: Floats  # (X, 3, R)
    covariate_of: Integers  # (2, X): code, stream
    allocation: Floats  # (B, C): cumulative shares


def too_large(model: ModelTables) -> str | None:
    """Say what of a model has no room in the kernels' masks, None if all of it has."""
    sizes = {
        "events": len(model.events),
        "states": len(model.states),
        "markers": len(model.markers),
        "adverse-event terms": len(model.course.terms),
        "effects on one event": int(np.bincount(model.effect_event, minlength=1).max()),
    }
    return next((f"{n} {what}; it takes at most {MOST}" for what, n in sizes.items() if n > MOST), None)


@lru_cache(maxsize=4)
def plan_of(model: ModelTables) -> Plan:
    """Lay out a model's tables for the kernels."""
    course, patients = model.course, model.patients
    n_rows = model.n_sets * model.n_cells
    arm = np.arange(model.n_cells) // len(model.strata)

    def by_cell(values: NDArray[Any], cell_axis: int) -> NDArray[Any]:
        """(B, …, C, …) → (…, R)."""
        cells_second = np.moveaxis(values, cell_axis, 1)
        rows_first = cells_second.reshape(n_rows, *cells_second.shape[2:])
        return np.array(np.moveaxis(rows_first, 0, -1), order="C")  # a copy: a kernel compiles anew for read-only ones

    def by_arm(values: NDArray[Any]) -> NDArray[Any]:
        """(B, A, …) → (…, R)."""
        return by_cell(values[:, arm], 1)

    def by_set(values: NDArray[Any]) -> NDArray[Any]:
        """(B, …) → (…, R)."""
        return by_cell(np.repeat(values[:, None], model.n_cells, axis=1), 1)

    law = np.empty((len(model.events), N_LAWS, n_rows))
    law[:, :EVER] = by_cell(model.parameters, 2)
    law[:, EVER], law[:, RATIO] = by_cell(model.probability, 2), by_cell(model.cell_ratio, 2)
    law[:, SUCCESS], law[:, LAG:] = by_cell(model.success, 2), by_set(model.lag)
    code = np.empty((len(model.events), N_CODES, n_rows), dtype=np.int64)
    table = by_cell(model.table, 2)
    edges = np.append(model.knot_offset, [0, 0])  # so that no table, NONE, has no knots
    code[:, FAMILY_CODE], code[:, LAG_CODE] = by_cell(model.family, 2), by_set(model.lag_code)
    code[:, FIRST_KNOT] = np.where(table == NONE, 0, edges[table])
    code[:, LAST_KNOT] = np.where(table == NONE, 0, edges[table + 1])

    order = np.argsort(model.effect_event, kind="stable")
    effect_ratio = by_cell(model.effect_ratio, 2)[order]
    relevant = _relevant_markers(model)
    event = _event_attributes(model, code[:, FAMILY_CODE], effect_ratio, relevant)
    event[:, SAME_LAW] = (law[:, :EVER] == law[:, :EVER, :1]).all(axis=(1, 2))
    threshold = by_cell(course.term_threshold, 1)
    unshared = np.array([normal_cdf(float(a)) for a in threshold.ravel()]).reshape(threshold.shape)
    term_set = _bits(course.term_set) & relevant
    number = np.empty((N_NUMBERS, n_rows))
    number[HORIZON], number[START] = by_set(model.horizon), by_arm(course.start)
    number[INTERVAL:DELAY] = by_arm(course.interval)
    number[DELAY] = by_arm(course.delay_after_adverse_event)
    number[FACTOR] = by_arm(course.dose_factor_after_adverse_event)
    number[ROOT_FRAILTY], number[ROOT_REST] = by_set(np.sqrt(course.frailty)), by_set(np.sqrt(1.0 - course.frailty))
    choice = np.empty((N_CHOICES, n_rows), dtype=np.int64)
    choice[GIVEN], choice[INTERVAL_CODE] = by_arm(course.given), by_arm(course.interval_code)
    choice[PLANNED:] = (by_arm(course.planned_cdf) <= 0.5).sum(axis=1)
    allocation = np.cumsum(patients.share, axis=1)
    allocation[:, -1] = 1.0
    return Plan(
        fact=_facts(model, event, term_set, relevant),
        event=event,
        law=law,
        code=code,
        knots=np.stack([model.knot_time, model.knot_hazard]),
        effect=np.stack([model.effect_state[order], model.effect_marker[order]], axis=1),
        effect_ratio=effect_ratio,
        slope_of=np.stack([model.covariate_effect_event, model.covariate_effect_covariate], axis=1),
        slope=by_set(model.covariate_effect),
        outcome_set=_bits(model.outcome_set) & relevant,
        outcome_cdf=by_cell(model.outcome_cdf, 2),
        number=number,
        choice=choice,
        planned_cdf=by_arm(course.planned_cdf),
        dose=np.stack([by_arm(course.dose_level), by_arm(course.dose_cdf)]),
        stop=np.concatenate([course.stop_states[arm].T, course.stop_markers[arm].T]).copy(order="C"),
        harm=np.stack([threshold, unshared]),
        term=np.stack([course.term_stream, term_set]),
        covariate=by_cell(patients.covariate, 1),
        covariate_of=np.stack([patients.covariate_code, patients.covariate_stream]),
        allocation=allocation,
    )


def _facts(model: ModelTables, event: Integers, term_set: Integers, relevant: int) -> Integers:
    course, patients = model.course, model.patients
    on_treatment = 0 if course.on_treatment == NONE else (1 << course.on_treatment) & relevant
    any_course = bool(course.given.any())
    fact = np.zeros(N_FACTS, dtype=np.int64)
    fact[N_EVENTS], fact[N_CELLS], fact[N_TERMS] = len(model.events), model.n_cells, len(course.terms)
    # Of an interval that nearly drowns in the rounding of times, `count_plain` could not say which visit is too late.
    visible = course.interval[:, :, 0] >= 16.0 * np.spacing(model.horizon)[:, None]
    fixed = (course.interval_code == FIXED) & visible
    plain = fixed & (course.delay_after_adverse_event == 0.0)
    fact[PLAIN_VISITS] = (plain | ~course.given).all()
    fact[N_STATES] = len(model.states)
    fact[N_COVARIATES], fact[AGE] = len(patients.covariates), patients.age
    fact[INITIAL_STATE], fact[INITIAL_MARKERS] = model.initial_state, int(model.initial_markers) & relevant
    fact[ON_TREATMENT] = on_treatment
    fact[ABSORBING] = _mask(model.absorbing)
    fact[ANY_COURSE] = any_course
    fact[FEEDBACK] = any_course and (not event[:, BY_HAZARD].all() or term_set.any() or on_treatment != 0)
    fact[PLANNED_BY] = course.planned_event
    undecided = (course.planned_cdf > 0.0) & (course.planned_cdf < 1.0)
    fact[PLANNED_DRAWN] = undecided.any()
    fact[DOSE_PER_PATIENT] = course.dose_per == Per.PATIENT
    fact[RANDOM_ALLOCATION] = patients.allocation == Allocation.RANDOM and model.n_cells > 1
    fact[SHARED_FRAILTY] = (course.frailty != 0.0).any()
    return fact


def _relevant_markers(model: ModelTables) -> int:
    """Mask of the markers that anything depends on."""
    relevant = 0
    for masks in (model.event_when, model.event_unless):
        relevant |= int(np.bitwise_or.reduce(masks, initial=0))
    for marker in model.effect_marker.tolist():
        relevant |= 0 if marker == NONE else 1 << marker
    for marker in np.flatnonzero(model.course.stop_markers.any(axis=0)).tolist():
        relevant |= 1 << marker
    return relevant


def _event_attributes(model: ModelTables, family: Integers, effect_ratio: Floats, relevant: int) -> Integers:
    n_events = len(model.events)
    event = np.zeros((n_events, N_ATTRIBUTES), dtype=np.int64)
    event[:, FROM] = [_mask(row) for row in model.event_from]
    event[:, TO] = model.event_to
    event[:, SET], event[:, CLEAR] = _bits(model.event_set) & relevant, _bits(model.event_clear) & relevant
    event[:, WHEN], event[:, UNLESS] = _bits(model.event_when), _bits(model.event_unless)
    event[:, CLOCK], event[:, SINCE] = model.event_clock, model.event_since
    event[:, MAXIMUM], event[:, RECURRENT] = model.event_maximum, model.event_recurrent
    event[:, BY_HAZARD] = model.event_driver == Driver.HAZARD
    event[:, STREAM], event[:, EVER_STREAM] = model.event_stream, model.ever_stream
    event[:, CHOICE_STREAM], event[:, LAG_STREAM] = model.choice_stream, model.lag_stream
    event[:, FIRST_OUTCOME], event[:, LAST_OUTCOME] = model.outcome_offset[:-1], model.outcome_offset[1:]
    owner = np.sort(model.effect_event)
    event[:, FIRST_EFFECT] = np.searchsorted(owner, np.arange(n_events), side="left")
    event[:, LAST_EFFECT] = np.searchsorted(owner, np.arange(n_events), side="right")
    event[:, WITHHOLDS] = model.withholds
    event[:, CURE] = (model.probability < 1.0).any(axis=(0, 2))
    event[:, FAMILY] = np.where((family == family[:, :1]).all(axis=1), family[:, 0], NONE)
    factored = (model.cell_ratio != 1.0).any(axis=(0, 2))
    factored[model.covariate_effect_event] = True
    event[:, FACTORED] = factored
    event[:, TRACKED] = _may_be_at_risk_again(model)
    ratios = [effect_ratio[event[e, FIRST_EFFECT] : event[e, LAST_EFFECT]] for e in range(n_events)]
    event[:, PLAIN] = _structurally_plain(model)
    for e in np.flatnonzero((event[:, PLAIN] == 1) & (model.event_clock == Clock.RESET)).tolist():
        # Without a reset clock a budget has no number, so that it is the same whenever it is drawn.
        event[e, PLAIN] = _moderate(model, e, ratios[e])
    return event


def _moderate(model: ModelTables, e: int, ratios: Floats) -> bool:
    """Whether no product of these ratios of event e, taken or left out, and of a patient's own factor is 0 or infinite.

    A quantile does not fall where its uniform rises, so a factor is largest and least at the ends.
    """
    least = most = model.cell_ratio[:, e]
    with np.errstate(under="ignore", over="ignore"):
        for g in np.flatnonzero(model.covariate_effect_event == e).tolist():
            x = int(model.covariate_effect_covariate[g])
            code, laws = int(model.patients.covariate_code[x]), model.patients.covariate[:, :, x]
            slope, reference = model.covariate_effect[:, None, g, 0], model.covariate_effect[:, None, g, 1]
            ends = []
            for u in (LEAST_UNIFORM, 1.0 - LEAST_UNIFORM):
                values = np.array([[quantile(code, u, *law) for law in row] for row in laws.tolist()])
                ends.append(np.exp(slope * (values - reference)))
            least, most = least * np.minimum(*ends), most * np.maximum(*ends)
        below = np.minimum(least, 1.0).min() * np.minimum(ratios, 1.0).min(axis=1, initial=1.0).prod()
        above = np.maximum(most, 1.0).max() * np.maximum(ratios, 1.0).max(axis=1, initial=1.0).prod()
    return bool(below > TINY and above < 1.0 / TINY)


def _reachable(model: ModelTables) -> Flags:
    """(S, S): whether events may lead from one state to another, in no step or many."""
    n_states = len(model.states)
    reached = np.eye(n_states, dtype=bool)
    for e, to in enumerate(model.event_to.tolist()):
        if to != NONE:
            reached[model.event_from[e], to] = True
    for _ in range(n_states):
        reached |= (reached.astype(np.int64) @ reached) > 0
    return reached


def _may_be_at_risk_again(model: ModelTables) -> Flags:
    """Events that happen once, and whose states do not tell that they have."""
    reached = _reachable(model)
    again = np.zeros(len(model.events), dtype=bool)
    for e, to in enumerate(model.event_to.tolist()):
        after = model.event_from[e] if to == NONE else np.arange(len(model.states)) == to
        again[e] = (reached[after].any(axis=0) & model.event_from[e]).any()
    return again & ~model.event_recurrent


def _structurally_plain(model: ModelTables) -> Flags:
    """Events by hazard that states alone put at risk, each time with a new budget, and never put aside."""
    reached = _reachable(model)
    plain = (model.event_driver == Driver.HAZARD) & (model.event_when == 0) & (model.event_unless == 0)
    for e in np.flatnonzero(plain):
        own = model.event_from[e]
        if model.event_clock[e] == Clock.RESET:
            plain[e] = not model.event_recurrent[e] or model.event_to[e] != NONE
        else:
            left = reached[own].any(axis=0) & ~own
            returns = (reached[left].any(axis=0) & own).any()
            plain[e] = model.event_clock[e] != Clock.SINCE and not model.event_recurrent[e] and not returns
    return np.asarray(plain, dtype=bool)


def _bits(masks: Masks) -> Integers:
    return masks.view(np.int64)


def _mask(flags: Flags) -> int:
    return sum(1 << int(i) for i in np.flatnonzero(flags))
