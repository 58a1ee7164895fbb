"""Random valid declarations: a Hypothesis strategy for any test that must hold for every model.

Knows what may be declared (docs/declaring.md) and keeps a model cheap: some tens of events a patient, never a
recurrence without end. Two kinds: most times are continuous; on a *grid*, timers, visits, lags and delays are
multiples of one unit, so that several things are due at the same time in many patients.

`drawn` gives the model of a number, independent of those of other numbers: Hypothesis' own sequence of examples
repeats itself, being made of mutations of earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from tests.models import container

_STATES = ("well", "ill", "worse", "dead", "gone")
_MARKERS = ("red", "blue", "green")
ON_TREATMENT = "on_treatment"
_SPARE = 56
"""Unused markers in front of the others: with three of our own there are 60, as many as the compiled engine takes."""
GRID_STEPS = 38  # units from entry to the horizon of a model on a grid
_MOST = 10_000  # recurrences declared: reaching them is an error, and no model here comes near

_Drawn = TypeVar("_Drawn")
_Declaration = dict[str, Any]


def drawn(strategy: st.SearchStrategy[_Drawn], number: int) -> _Drawn:
    """Return the example that a strategy gives to a number; the same one for the same version of Hypothesis.

    Hypothesis also draws constants that stand in whatever modules of the project are loaded: not here, where an example
    would then depend on which tests ran before, and on the text of the engines.
    """
    found: list[_Drawn] = []

    @seed(number)
    @settings(
        max_examples=2,  # the first is always the simplest one
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: _Drawn) -> None:
        found.append(example)

    with (
        patch.object(providers, "CONSTANTS_CACHE", {}),
        patch.object(providers.HypothesisProvider, "_local_constants", providers.Constants()),
    ):
        collect()
    return found[-1]


@dataclass(frozen=True)
class _Outline:
    """What the parts of one declaration have in common."""

    living: list[str]
    absorbing: list[str]
    markers: list[str]
    strata: tuple[str, ...]
    names: list[str]
    covariates: dict[str, Any]
    response: str
    unit: float | None  # of the grid
    exact: bool  # nothing is off the grid, and sums of units are exact
    plain: bool  # states alone decide who is at risk, and none is entered again
    feedback: bool  # what an administration brings may change what happens next

    @property
    def flags(self) -> list[str]:
        return [*self.markers, ON_TREATMENT]


def _times(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda x: round(x, 3))


def _one_in(n: int) -> st.SearchStrategy[bool]:
    return st.integers(0, n - 1).map(lambda k: k == n - 1)


def _by_stratum(outline: _Outline, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return one value for all patients, or one a stratum."""
    if len(outline.strata) == 1:
        return values
    return st.one_of(values, st.fixed_dictionaries(dict.fromkeys(outline.strata, values)))


_PROBABILITIES = st.one_of(*[_times(0.05, 0.95)] * 4, st.sampled_from([0.0, 1.0]))
_RATIOS = st.one_of(_times(0.2, 3.0), _times(0.2, 3.0), st.sampled_from([0.0, 1.0]))


# ------------------------------------------------------------------------------------------------------- events


@st.composite
def _hazards(draw: st.DrawFn, o: _Outline, *, event: _Declaration) -> _Declaration:
    """Return any family at scales that bring between none and some tens of occurrences."""
    on_grid = o.unit is not None and (o.exact or not draw(_one_in(5)))
    recurrent = "maximum" in event
    hazard: _Declaration
    if event["clock"] == "age":
        hazard = draw(_hazards_by_age())
    elif (on_grid or draw(_one_in(8))) and (not recurrent or _may_be_a_timer(o, event)):
        step = o.unit or 21.0
        steps = st.integers(12, 30) if event.get("to") in o.absorbing else st.integers(1, 8)
        hazard = {"family": "fixed", "delay": draw(_by_stratum(o, steps.map(lambda k: step * k)))}
    else:
        hazard = draw(_continuous_hazards(o, recurrent))
    if draw(_one_in(4)):
        hazard["probability"] = draw(_by_stratum(o, _PROBABILITIES))
    return hazard


def _may_be_a_timer(o: _Outline, event: _Declaration) -> bool:
    """Whether a recurrent event may be a timer without going off for ever.

    A timer goes off once for each start of its clock, but where (origin + delay) − origin is rounded to less than
    the delay it does not know that it has run out: then it must leave the risk set.
    """
    if event["clock"] == "forward":
        return False
    leaves = "to" in event and event["to"] not in event["from"]
    return leaves or o.exact or bool(set(event.get("set", ())) & set(event.get("unless", ())))


def _continuous_hazards(o: _Outline, recurrent: bool) -> st.SearchStrategy[_Declaration]:
    # A hazard that rises as t^k over the whole follow-up would bring thousands of recurrences.
    scale = _by_stratum(o, _times(100.0 if recurrent else 20.0, 2000.0))
    shape = _times(0.6, 1.5 if recurrent else 3.0)
    rate = st.one_of(_times(0.001, 0.01), _times(0.001, 0.01), st.just(0.0))

    def family(name: str, **parameters: Any) -> st.SearchStrategy[_Declaration]:
        return st.fixed_dictionaries({"family": st.just(name), **parameters})

    return st.one_of(
        family("exponential", mean=scale),
        family("exponential", rate=_by_stratum(o, rate)),
        family("weibull", median=scale, shape=shape),
        family("log_logistic", median=scale, shape=shape),
        family("log_normal", median=scale, sigma=_times(0.2, 1.5)),
        family("gamma", mean=scale, shape=shape),
        family(
            "generalised_gamma",
            mu=_times(4.5 if recurrent else 3.0, 7.0),
            sigma=_times(0.7 if recurrent else 0.3, 1.2),
            Q=st.one_of(_times(0.3, 1.5), _times(-1.5, -0.3), st.just(0.0)),
        ),
        family("gompertz", rate=_times(0.001, 0.01), shape=st.sampled_from([-0.002, 0.0005, 0.001])),
        family("piecewise_exponential", breaks=st.just([50.0, 200.0]), rates=st.lists(rate, min_size=3, max_size=3)),
        family("piecewise_exponential", breaks=st.just([10.5]), rates=st.lists(rate, min_size=2, max_size=2)),
        family(
            "tabulated",
            times=st.just([40.0, 90.0, 400.0]),
            cumulative_hazard=st.sampled_from([[0.1, 0.1, 2.0], [0.0, 1.0, 1.0], [3.0, 3.5, 3.5]]),
        ),
    )


def _hazards_by_age() -> st.SearchStrategy[_Declaration]:
    """Return hazards whose time is an age of 40 to 70 years, in days."""
    return st.sampled_from(
        [
            {"family": "gompertz", "rate": 2e-6, "shape": 3e-4},
            {"family": "weibull", "median": 24_000.0, "shape": 5.0},
            {"family": "log_logistic", "median": 24_000.0, "shape": 4.0},
            {"family": "log_normal", "median": 24_000.0, "sigma": 0.2},
            {"family": "gamma", "mean": 24_000.0, "shape": 9.0},
            {"family": "piecewise_exponential", "breaks": [18_000.0, 22_000.0], "rates": [1e-4, 1e-3, 2e-3]},
            {"family": "fixed", "delay": 20_300.0},
        ]
    ).map(dict)


@st.composite
def _events(draw: st.DrawFn, o: _Outline, *, name: str, loop: tuple[str, str] | None) -> _Declaration:
    """Return one event; with ``loop`` it recurs and leads from one state to the other."""
    some = st.lists(st.sampled_from(o.living), min_size=1, unique=True)
    event: _Declaration = {"from": draw(st.one_of(*[st.just(list(o.living))] * 2, some))}
    if o.plain:
        event["from"] = o.living[: 1 + max(o.living.index(state) for state in event["from"])]
    if draw(st.booleans()):
        after = o.living[o.living.index(event["from"][-1]) + 1 :] if o.plain else o.living
        event["to"] = draw(st.sampled_from(2 * after + o.absorbing))
    for what, one_in, most in (("set", 2, 2), ("clear", 3, 2), ("when", 6, 2), ("unless", 5, 2)):
        if draw(_one_in(one_in)) and not (o.plain and what in ("when", "unless")):
            event[what] = draw(st.lists(st.sampled_from(o.flags), unique=True, min_size=1, max_size=most))
    clocks: list[Any] = ["forward", "reset"] * 2
    clocks.append({"since": draw(st.sampled_from(o.names))})  # itself among them
    if o.covariates and not o.exact:
        clocks.append("age")
    event["clock"] = draw(st.sampled_from(clocks))
    if loop is not None:
        event |= {"from": [loop[0]], "to": loop[1], "clock": "reset"}
        event.pop("when", None)
    continuous = event["clock"] == "age" or (o.exact and event["clock"] == "forward")
    recurrent = loop is not None or (not continuous and draw(st.booleans()))
    if recurrent:
        event["maximum"] = _MOST
    driven = draw(st.sampled_from(["hazard", "hazard", "both", "administration"]))
    if loop is not None or not o.feedback:
        driven = "hazard"
    if driven != "administration":
        event["hazard"] = draw(_hazards(o, event=event))
        event["ratios"] = draw(_ratios(o))
    if driven != "hazard":
        event["per_administration"] = draw(_per_administration(o))
    changes = any(event.get(key) for key in ("to", "set", "clear"))
    if not changes or draw(_one_in(5)):
        event["choose"] = draw(_choices(o))
    return event


@st.composite
def _per_administration(draw: st.DrawFn, o: _Outline) -> _Declaration:
    lags: list[Any] = [0, 21.0, {"uniform": [0.0, 30.0]}, {"gamma": [20.0, 10.0]}, {"exponential": 10.0}]
    if o.unit is not None:
        lags = [0, 0, o.unit, 2 * o.unit, {"uniform": [o.unit, o.unit]}]
    return {
        "probability": draw(_by_stratum(o, _PROBABILITIES)),
        "ever": draw(_by_stratum(o, st.sampled_from([1, 1, 0.6]))),
        "lag": draw(st.sampled_from(lags)),
        "withhold": draw(st.booleans()),
    }


@st.composite
def _choices(draw: st.DrawFn, o: _Outline) -> _Declaration:
    """Return two or three outcomes with their markers, which may differ by stratum in probability."""
    shares = draw(st.sampled_from([((0.25, 0.75), (0.5, 0.5)), ((0.0, 1.0), (1.0, 0.0)), ((0.2, 0.3, 0.5),) * 2]))
    out: _Declaration = {}
    for k, outcome in enumerate(("one", "two", "three")[: len(shares[0])]):
        by_stratum = len(o.strata) > 1 and shares[0] != shares[1]
        probability = dict(zip(o.strata, (shares[0][k], shares[1][k]), strict=True)) if by_stratum else shares[0][k]
        out[outcome] = {
            "probability": probability,
            "set": draw(st.lists(st.sampled_from(o.flags), unique=True, max_size=1)),
        }
    return out


@st.composite
def _ratios(draw: st.DrawFn, o: _Outline) -> list[_Declaration]:
    """Return up to four hazard ratios, of markers, states, both, and covariates, in any order."""
    out: list[_Declaration] = []
    for _ in range(draw(st.sampled_from([1, 2, 4, 0]))):
        kinds = ["marker", "marker", "state", "both", *(["covariate"] * 2 if o.covariates else [])]
        kind = draw(st.sampled_from(kinds))
        ratio: _Declaration = {}
        if kind in ("marker", "both"):
            ratio["marker"] = draw(st.sampled_from(o.flags))
        if kind in ("state", "both"):
            ratio["state"] = draw(st.sampled_from(o.living))
        if kind == "covariate":
            ratio["covariate"] = draw(st.sampled_from(sorted(o.covariates)))
            ratio["ratio"] = draw(st.sampled_from([0.7, 1.0, 1.4]))
            if ratio["covariate"] == "age":
                ratio |= {"per": 3652.5, "reference": 20_000.0}
            else:
                ratio |= draw(st.sampled_from([{}, {"per": 1.7, "reference": 0.3}, {"per": 0.5, "reference": 0.25}]))
        else:
            ratio["ratio"] = draw(_by_stratum(o, _RATIOS))
        out.append(ratio)
    return out


# --------------------------------------------------------------------------------------------- cohort and course


_LAWS: list[Any] = [
    {"normal": [0.0, 1.0]},
    {"uniform": [-1.0, 1.0]},
    {"triangular": [-1.0, 0.0, 2.0]},
    {"log_normal": [1.0, 0.5]},
    {"exponential": 1.0},
    {"weibull": [1.0, 1.5]},
    {"gamma": [1.0, 0.5]},
    {"normal": [0.5, 0.0]},
    0.5,
]
_AGES: list[Any] = [
    {"uniform": [15_000.0, 25_000.0]},
    {"normal": [20_000.0, 2_500.0]},
    {"triangular": [15_000.0, 18_000.0, 25_000.0]},
    20_000.0,
]


@st.composite
def _covariates(draw: st.DrawFn, strata: tuple[str, ...]) -> _Declaration:
    if draw(_one_in(3)):
        return {}
    out: _Declaration = {"age": draw(st.sampled_from(_AGES)), "score": draw(st.sampled_from(_LAWS))}
    if draw(st.booleans()):
        out["grade"] = draw(st.sampled_from(_LAWS))
        if len(strata) > 1 and draw(st.booleans()):
            mean = dict(zip(strata, (-0.5, 1.0), strict=True))
            out["grade"] = {"normal": {"mean": mean, "sd": dict(zip(strata, (1.0, 0.25), strict=True))}}
    return out


@st.composite
def _cohorts(draw: st.DrawFn, o: _Outline, events: _Declaration, course: _Declaration, n: int) -> _Declaration:
    cohort: _Declaration = {"allocation": draw(st.sampled_from(["deficit", "random"]))}
    if len(o.strata) > 1:
        cohort["mix"] = {name: draw(st.integers(0, 5)) for name in o.strata}
        if not sum(cohort["mix"].values()):
            cohort["mix"][o.strata[0]] = 1
    if o.covariates:
        cohort["covariates"] = o.covariates
    names = ("control", "active", "third")[: draw(st.sampled_from([0, 0, 2, 2, 3]))]
    if names:
        smaller = n // (2 * len(names))
        sizes = [n - smaller * (len(names) - 1), *[smaller] * (len(names) - 1)]
        cohort["arms"] = {
            name: {
                "n_patients": size,
                "reference": name == "control",
                "effects": {} if name == "control" else draw(_effects(o, events)),
                "course": {} if name == "control" or draw(st.booleans()) else draw(_own_courses(o, course)),
            }
            for name, size in zip(names, sizes, strict=True)
        }
    return cohort


@st.composite
def _effects(draw: st.DrawFn, o: _Outline, events: _Declaration) -> _Declaration:
    """Return hazard ratios of events with a hazard, and odds ratios of those that may never happen."""

    def driven(event: _Declaration) -> bool:
        return "hazard" not in event or ("per_administration" in event and o.response == "per_administration")

    hazards = [n for n, e in events.items() if not driven(e) and e["hazard"]["family"] != "fixed"]
    chances = []
    for name, event in events.items():
        p = (event["per_administration"] if driven(event) else event["hazard"]).get("probability")
        if isinstance(p, float) and 0.0 < p < 1.0:
            chances.append(name)
    out: _Declaration = {}
    if hazards:
        chosen = draw(st.lists(st.sampled_from(hazards), unique=True, max_size=2))
        out["hazard_ratio"] = {name: draw(_by_stratum(o, st.sampled_from([0.0, 0.5, 2.0]))) for name in chosen}
    if chances and draw(st.booleans()):
        out["odds_ratio"] = {draw(st.sampled_from(chances)): draw(_by_stratum(o, st.sampled_from([0.4, 3.0])))}
    return out


def _intervals(o: _Outline) -> st.SearchStrategy[Any]:
    if o.unit is not None:
        return st.sampled_from([o.unit, o.unit, {"uniform": [o.unit, o.unit]}, 2 * o.unit])
    laws: list[Any] = [21.0, {"uniform": [14.0, 21.0]}, {"gamma": {"mean": 28.0, "sd": 7.0}}]
    return st.sampled_from([*laws, {"triangular": [14.0, 21.0, 35.0]}, {"log_normal": [21.0, 0.2]}])


def _starts(o: _Outline) -> st.SearchStrategy[float]:
    return st.sampled_from([0.0, 0.0, 7.0 if o.unit is None else o.unit, 21.0 if o.unit is None else 2 * o.unit])


def _delays(o: _Outline) -> st.SearchStrategy[_Declaration]:
    delays = [0.0, 3.5] if o.unit is None else [0.0, o.unit]
    return st.fixed_dictionaries({"delay": st.sampled_from(delays), "dose_factor": st.sampled_from([1.0, 0.8, 0.0])})


def _numbers(most: int) -> st.SearchStrategy[Any]:
    return st.sampled_from(
        [
            {"geometric": {"probability": 0.3}},
            {"poisson": {"mean": 2.5}},
            {"poisson": {"mean": 1.5, "shift": 1}},
            {"negative_binomial": {"mean": 2.0, "size": 2, "shift": 1}},
            {"choice": {"of": [0, 1, most], "shares": [0.2, 0.3, 0.5]}},
            max(most - 1, 0),
        ]
    )


@st.composite
def _doses(draw: st.DrawFn, per: str) -> _Declaration:
    levels = draw(st.sampled_from([[100.0], [100.0, 200.0], [300.0, 100.0, 200.0]]))
    shares = {1: [1.0], 2: [0.3, 0.7], 3: [0.5, 0.0, 0.5]}[len(levels)]
    return {"levels": levels, "per": per, "shares": shares}


@st.composite
def _stops(draw: st.DrawFn, o: _Outline) -> _Declaration:
    markers = draw(st.lists(st.sampled_from(o.markers), unique=True, max_size=3)) if o.markers else []
    return {
        "states": draw(st.lists(st.sampled_from(o.living), unique=True, max_size=1)),
        "markers": [*markers, *([ON_TREATMENT] if draw(_one_in(12)) else [])],
    }


@st.composite
def _courses(draw: st.DrawFn, o: _Outline) -> _Declaration:
    most = draw(st.sampled_from([6, 8, 10, 4, 2, 1, 0]))
    course: _Declaration = {"max_administrations": most, "response": o.response}
    if o.feedback and not draw(_one_in(4)):
        course["marker"] = ON_TREATMENT
    if not most:
        return course
    if most > 1 or draw(st.booleans()):
        course["interval"] = draw(_intervals(o))
    course["start"] = draw(_starts(o))
    if draw(st.booleans()):
        course["planned"] = {"number": draw(_numbers(most))}
        if draw(st.booleans()):
            course["planned"] |= {"if_ever": draw(st.sampled_from(o.names)), "then": draw(_numbers(most))}
    if draw(st.booleans()):
        course["stop"] = draw(_stops(o))
    if draw(st.booleans()):
        course["dose"] = draw(_doses(draw(st.sampled_from(["patient", "administration"]))))
    if not draw(_one_in(3)):
        course["after_adverse_event"] = draw(_delays(o))
    if not draw(_one_in(3)):
        flags = st.lists(st.sampled_from(o.flags), unique=True, max_size=1)
        terms = {
            name: {"probability": draw(_by_stratum(o, _PROBABILITIES)), "set": draw(flags) if o.feedback else []}
            for name in ("pain", "rash", "fever")[: draw(st.integers(1, 3))]
        }
        course["adverse_events"] = {"frailty": draw(st.sampled_from([0.4, 0.0, 0.9])), "terms": terms}
    return course


@st.composite
def _own_courses(draw: st.DrawFn, o: _Outline, common: _Declaration) -> _Declaration:
    """Return what an arm lays over the common course; response, marker and adverse events are common."""
    most = draw(st.sampled_from([6, 0, 1, 3]))
    course: _Declaration = {"max_administrations": most, "interval": draw(_intervals(o))}
    if draw(st.booleans()):
        course["start"] = draw(_starts(o))
    if draw(st.booleans()):
        course["stop"] = draw(_stops(o))
    if draw(st.booleans()):
        course["after_adverse_event"] = draw(_delays(o))
    if "dose" in common and draw(st.booleans()):
        course["dose"] = draw(_doses(common["dose"]["per"]))
    if "if_ever" not in common.get("planned", {}) and draw(st.booleans()):
        course["planned"] = {"number": draw(_numbers(most))}
    return course


# -------------------------------------------------------------------------------------------------- declarations


@st.composite
def random_models(
    draw: st.DrawFn, *, n_patients: int = 30, horizon: float | None = None, grid: bool | None = None
) -> _Declaration:
    """Return a valid declaration: any states, events, clocks, markers, ratios, strata, arms and courses.

    ``grid``: all on a grid, or none of it; one in four if None. ``horizon``: 800 days, or 38 units of the grid.
    """
    if grid is None:
        grid = draw(_one_in(4))
    strata = ("all",) if draw(st.booleans()) else ("a", "b")
    unit = draw(st.sampled_from([21.0, 21.0, 30.4375, 13.7])) if grid else None
    o = _Outline(
        living=list(_STATES[: draw(st.integers(2, 3))]),
        absorbing=list(_STATES[3 : 3 + draw(st.integers(1, 2))]),
        markers=list(_MARKERS[: draw(st.sampled_from([3, 2, 3, 1, 0]))]),
        strata=strata,
        names=[f"event_{k}" for k in range(draw(st.sampled_from([6, 5, 7, 8, 3, 1])))],
        covariates=draw(_covariates(strata)),
        response=draw(st.sampled_from(["continuous", "per_administration"])),
        unit=unit,
        exact=unit is not None and unit != 13.7 and draw(st.booleans()),
        plain=draw(_one_in(4)),
        feedback=not draw(_one_in(4)),
    )
    loops: list[tuple[str, str] | None] = [None] * len(o.names)
    if len(o.names) > 1 and not o.plain and not draw(_one_in(3)):  # states are left and entered again
        loops[0], loops[-1] = (o.living[0], o.living[1]), (o.living[1], o.living[0])
    events = {name: draw(_events(o, name=name, loop=loop)) for name, loop in zip(o.names, loops, strict=True)}
    if o.unit is not None and draw(st.booleans()):
        _due_at_once(events, draw(st.sampled_from(o.names)))
    course = draw(_courses(o))
    spare = [f"spare_{k}" for k in range(_SPARE if draw(_one_in(6)) else 0)]
    config = container(
        events,
        states=[*o.living, *o.absorbing],
        absorbing=o.absorbing,
        markers=[*spare, *o.flags],
        cohort=draw(_cohorts(o, events, course, n_patients)),
        n_patients=n_patients,
        horizon=horizon or (800.0 if o.unit is None else GRID_STEPS * o.unit),
        course=course,
    )
    config["model"]["initial"] = draw(st.sampled_from([o.living[0], *o.living]))
    if draw(_one_in(4)):
        config["model"]["initial_markers"] = draw(st.lists(st.sampled_from(o.flags), unique=True, max_size=2))
    return config


def _due_at_once(events: _Declaration, name: str) -> None:
    """Let one timer that does not recur have no delay: it is due where its clock starts. (Two could go on for ever.)"""
    if events[name].get("hazard", {}).get("family") == "fixed" and "maximum" not in events[name]:
        events[name]["hazard"]["delay"] = 0.0


def grid_models(**more: Any) -> st.SearchStrategy[_Declaration]:
    """Return declarations on a grid: ties are common, and states are left and entered again."""
    return random_models(grid=True, **more)


__all__ = ["ON_TREATMENT", "drawn", "grid_models", "random_models"]
