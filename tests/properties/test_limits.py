"""Degenerate limits (V19), ties, states that are left and entered again, and the calendar. Deterministic: α = 0."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import simpy

from simulator.engines.reference import Calendar
from simulator.errors import ConfigError, SimulationError
from simulator.running.experiment import design_of
from simulator.study.observe import observe
from tests import models

SEED = 53
ENGINES = ("reference", *(["compiled"] if find_spec("numba") else []))


def run(config, n=300, **options):
    return models.simulated(models.compiled(config, **options), seed=SEED, n=n)


# -- V19 ----------------------------------------------------------------------------------------------------


def per_cycle(p, ratio=1.0, **more):
    return models.cycles(cycle=21.0, most=4, p=p, ratio=ratio, median=60.0, shape=1.0, stop=True, **more)


def test_a_certain_response_comes_at_the_first_assessment_of_all_alive():
    trajectories = run(per_cycle(1.0))
    onset, dead = trajectories.first_time(0), trajectories.absorbed_at
    assert (onset == np.where(dead > 21.0, 21.0, np.inf)).all()
    assert (trajectories.count(trajectories.codes.administration) == 1).all()


def test_an_impossible_response_never_comes():
    trajectories = run(per_cycle(0.0))
    assert trajectories.count(0).sum() == 0
    given = trajectories.count(trajectories.codes.administration)
    assert (given == np.minimum(np.ceil(trajectories.absorbed_at / 21.0), 4)).all()


@pytest.mark.parametrize(("probability", "share"), [(0, 0.0), (1, 1.0)])
def test_a_cure_fraction_may_be_all_patients_or_none(probability, share):
    hazard = {"family": "exponential", "mean": 10.0, "probability": probability}
    trajectories = run(models.container({"death": {"from": ["alive"], "to": "dead", "hazard": hazard}}))
    assert np.isfinite(trajectories.absorbed_at).mean() == share


def test_an_extreme_hazard_kills_everybody_at_once():
    death = {"from": ["alive"], "to": "dead", "hazard": {"family": "exponential", "rate": 1e12}}
    trajectories = run(models.container({"death": death}))
    assert (trajectories.absorbed_at < 1e-10).all()
    assert (trajectories.absorbed_at > 0.0).all()


@pytest.mark.parametrize(
    "hazard",
    [
        {"family": "exponential", "rate": 0.0},
        {"family": "weibull", "median": 1e12, "shape": 20.0},
        {"family": "tabulated", "times": [0.0, 10.0], "cumulative_hazard": [0.0, 0.0]},
    ],
)
def test_without_a_hazard_everybody_lives_to_the_horizon(hazard):
    config = models.container({"death": {"from": ["alive"], "to": "dead", "hazard": hazard}})
    trajectories = run(config, quiet=True)
    assert len(trajectories.log_time) == 0
    assert np.isinf(trajectories.absorbed_at).all()


def test_a_hazard_ratio_of_zero_makes_immortal():
    config = models.switch(at=30.0, ratio=0.0, median=60.0, shape=1.5)
    dead = run(config).absorbed_at
    assert (dead[np.isfinite(dead)] <= 30.0).all()
    assert np.isinf(dead).mean() > 0.5


def test_an_extreme_hazard_ratio_kills_at_the_change():
    dead = run(models.switch(at=30.0, ratio=1e12, median=60.0, shape=1.5), quiet=True).absorbed_at
    assert dead.max() < 30.0 + 1e-6
    assert (dead >= 30.0).mean() > 0.5


@pytest.mark.parametrize(
    "course", [{"max_administrations": 0}, {"max_administrations": 3, "interval": 21.0, "planned": {"number": 0}}]
)
def test_a_course_may_have_no_administration(course):
    config = models.container({"death": models.death(100.0)}, course={"marker": "on", **course}, markers=["on"])
    trajectories = run(config, quiet=True)
    assert trajectories.count(trajectories.codes.administration).sum() == 0
    assert np.isfinite(trajectories.absorbed_at).all()


def test_one_patient_is_a_cohort():
    config = models.rich()
    config["cohort"].pop("arms")
    config["cohort"]["n_patients"] = 1
    trajectories = models.simulated(config, seed=SEED)
    assert len(trajectories) == 1


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_no_patients_are_refused_by_name(n):
    with pytest.raises(ConfigError) as refusal:
        models.compiled(models.container({"death": models.death(100.0)}, n_patients=n))
    assert "cohort.n_patients" in {problem.key for problem in refusal.value.problems}


# -- ties -----------------------------------------------------------------------------------------------------


def timer(delay, *, start="well", **more):
    return {"from": [start], "hazard": {"family": "fixed", "delay": delay}, **more}


def said(config, patient=0, **options):
    """A patient's history as (day, what)."""
    history = models.history(models.simulated(models.compiled(config, **options), seed=SEED))
    return [(time, name) for time, name, _ in history.lines(patient)]


def grid(order, horizon=200.0):
    """Everything falls on visits every 21 days."""
    events = {
        "mark": timer(21.0, set=["m"]),
        "fall": timer(42.0, to="ill"),
        "note": timer(42.0, set=["n"]),
        "after": {
            "from": ["ill"],
            "set": ["o"],
            "clock": {"since": "fall"},
            "hazard": {"family": "fixed", "delay": 0.0},
        },
        "die": timer(84.0, start="ill", to="dead"),
    }
    return models.container(
        {name: events[name] for name in order},
        states=["well", "ill", "dead"],
        markers=["m", "n", "o"],
        course={"interval": 21.0, "max_administrations": 9},
        horizon=horizon,
        n_patients=2,
    )


def test_ties_go_to_events_in_declared_order_then_to_the_administration():
    given = "administration"
    assert said(grid(["mark", "note", "fall", "after", "die"])) == [
        (0.0, given),
        (21.0, "mark"),
        (21.0, given),
        (42.0, "note"),
        (42.0, "fall"),
        (42.0, "after"),
        (42.0, given),
        (63.0, given),
        (84.0, "die"),
        (84.0, "end_of_course"),
    ]


def test_the_first_of_a_tie_may_take_the_other_s_chance():
    # "fall" before "note": the patient is no longer well when the note's turn comes.
    assert (42.0, "note") not in said(grid(["mark", "fall", "note", "after", "die"]))


@pytest.mark.parametrize("order", [["sick", "dead_at_once"], ["dead_at_once", "sick"]])
def test_of_two_fates_at_one_time_the_first_declared_wins(order):
    events = {"sick": timer(42.0, to="ill"), "dead_at_once": timer(42.0, to="dead")}
    config = models.container({name: events[name] for name in order}, states=["well", "ill", "dead"], n_patients=3)
    assert said(config) == [(42.0, order[0])]


def test_a_time_equal_to_the_horizon_is_outside():
    assert said(grid(["mark", "note", "fall", "after", "die"], horizon=84.0))[-1] == (63.0, "administration")
    assert said(grid(["mark", "note", "fall", "after", "die"], horizon=84.0000001))[-1] == (84.0, "end_of_course")


@pytest.mark.parametrize(("dies", "expected"), [(63.0, 42.0), (42.0, np.inf)])
def test_an_assessment_comes_after_the_events_of_its_time(dies, expected):
    # A response on the day of a visit is seen at it, unless its patient died on that very day.
    events = {"respond": timer(42.0, set=["m"]), "die": timer(dies, to="dead")}
    config = models.container(
        events,
        states=["well", "dead"],
        markers=["m"],
        study={"assessment_interval": 21.0, "assessed": ["respond"]},
        n_patients=2,
    )
    experiment = models.compiled(config)
    data = observe(models.simulated(experiment, seed=SEED), design_of(experiment), seed=SEED)
    assert (data.seen(0) == expected).all()
    assert (data.death == dies).all()


def test_patients_of_one_time_do_not_mix():
    # 1,000 patients share a calendar, and on this grid every time: each still has the history of one alone.
    config = grid(["mark", "note", "fall", "after", "die"])
    alone = said(config)
    config["cohort"]["n_patients"] = 1_000
    history = models.history(models.simulated(config, seed=SEED))
    assert all([(t, name) for t, name, _ in history.lines(i)] == alone for i in range(1_000))


# -- states that are entered again ------------------------------------------------------------------------------


def swing(maximum=1000, **more):
    """Well and ill by turns, 10 and 5 days each."""
    events = {
        "fall": {
            "from": ["well"],
            "to": "ill",
            "clock": "reset",
            "maximum": maximum,
            "hazard": {"family": "fixed", "delay": 10.0},
        },
        "rise": {
            "from": ["ill"],
            "to": "well",
            "clock": "reset",
            "maximum": maximum,
            "hazard": {"family": "fixed", "delay": 5.0},
        },
        "die": {"from": ["well", "ill"], "to": "dead", "hazard": {"family": "fixed", "delay": 52.0}},
    }
    return models.container(events, states=["well", "ill", "dead"], n_patients=2, **more)


def test_a_reset_clock_starts_again_at_every_change_of_state():
    turns = [(10.0, "fall"), (15.0, "rise"), (25.0, "fall"), (30.0, "rise"), (40.0, "fall"), (45.0, "rise")]
    assert said(swing()) == [*turns, (52.0, "die")]


def test_reaching_the_maximum_is_an_error_that_names_the_event():
    assert said(swing(maximum=3))[-1] == (52.0, "die")
    with pytest.raises(SimulationError, match=r"'fall' .* maximum of 2"):
        said(swing(maximum=2))


def test_the_first_exit_stops_the_course_for_good():
    config = swing(course={"interval": 7.0, "max_administrations": 9, "stop": {"states": ["ill"]}})
    given = [time for time, name in said(config) if name == "administration"]
    ended = [time for time, name in said(config) if name == "end_of_course"]
    assert given == [0.0, 7.0]
    assert ended == [10.0]


def test_a_recurrent_timer_fires_once_for_each_start_of_its_clock():
    # A timer that recurs needs the clock `reset` or `since` (model.model): started again, it fires again,
    # once. Here it neither leaves its state nor clears what it needs.
    config = swing()
    config["model"]["events"]["remind"] = {
        "from": ["well", "ill"],
        "set": ["m"],
        "clock": {"since": "rise"},
        "maximum": 1000,
        "hazard": {"family": "fixed", "delay": 3.0},
    }
    config["model"]["markers"] = ["m"]
    assert [time for time, name in said(config) if name == "remind"] == [18.0, 33.0, 48.0]


def test_a_clock_since_an_event_starts_at_its_last_occurrence():
    # Each rise starts the clock of `late` (12 days) again; the fall does not stop it; a new rise does.
    config = swing()
    config["model"]["events"]["late"] = {
        "from": ["well", "ill"],
        "set": ["m"],
        "clock": {"since": "rise"},
        "hazard": {"family": "fixed", "delay": 12.0},
    }
    config["model"]["markers"] = ["m"]
    assert (27.0, "late") in said(config)
    config["model"]["events"]["late"]["hazard"]["delay"] = 15.0  # a tie with the next rise: declared before it
    assert "late" not in dict(map(reversed, said(config)))


def timers(**events):
    """Times of what happens to one patient by timers, in a state that `relapse` may enter again; by both engines."""
    config = models.container(events, states=["well", "dead"], markers=["m"], horizon=50.0, n_patients=1)
    tables = models.compiled(config, quiet=True)
    said = []
    for engine in ENGINES:
        run = models.simulated(tables, seed=SEED, n=1, engine=engine)
        said.append([(float(t), run.model.events[c]) for t, c in zip(run.log_time, run.log_code, strict=True)])
    assert said[0] == said[-1]
    return said[0]


def test_a_self_transition_restarts_every_reset_clock_of_the_state():
    # `relapse` enters the state again each 20 days: `early` runs from each entry, `late` never gets so far.
    found = timers(
        relapse=timer(20.0, to="well", clock="reset", maximum=9),
        early=timer(15.0, set=["m"], clock="reset", maximum=9),
        late=timer(25.0, set=["m"], clock="reset", maximum=9),
    )
    assert found == [(15.0, "early"), (20.0, "relapse"), (35.0, "early"), (40.0, "relapse")]


def test_a_self_transition_leaves_forward_clocks_alone():
    found = timers(relapse=timer(20.0, to="well", clock="reset", maximum=9), late=timer(25.0, set=["m"]))
    assert found == [(20.0, "relapse"), (25.0, "late"), (40.0, "relapse")]


def test_an_event_that_leads_to_no_state_restarts_no_reset_clock():
    found = timers(
        relapse=timer(20.0, set=["m"], clock={"since": "relapse"}, maximum=9),
        late=timer(25.0, set=["m"], clock="reset", maximum=9),
    )
    assert found == [(20.0, "relapse"), (25.0, "late"), (40.0, "relapse")]


def test_a_clock_since_itself_starts_at_entry_and_at_each_occurrence():
    found = timers(relapse=timer(20.0, set=["m"], clock={"since": "relapse"}, maximum=9))
    assert found == [(20.0, "relapse"), (40.0, "relapse")]


# -- the calendar ---------------------------------------------------------------------------------------------


def processed(times, priorities, schedule):
    """Order and time in which a calendar processes entries."""
    calendar = Calendar()
    seen = []
    for i, (time, priority) in enumerate(zip(times, priorities, strict=True)):
        entry = simpy.Event(calendar)
        entry._ok, entry._value = True, None
        entry.callbacks.append(lambda _, i=i: seen.append((i, calendar.now)))
        schedule(calendar, entry, float(time), int(priority))
    calendar.run()
    return seen


def test_the_calendar_orders_as_simpy_does():
    # From time 0, where SimPy's relative delay is the absolute time: same order, same times, ties included.
    rng = np.random.default_rng(5)
    times = rng.choice(np.linspace(0.0, 30.0, 90), 2_000)
    priorities = rng.integers(0, 4, 2_000)
    ours = processed(times, priorities, lambda c, entry, t, p: c.schedule_at(entry, t, p))
    simpys = processed(times, priorities, lambda c, entry, t, p: c.schedule(entry, p, t))
    assert ours == simpys
    assert [i for i, _ in ours] == sorted(range(2_000), key=lambda i: (times[i], priorities[i], i))


def test_the_calendar_keeps_absolute_times_where_a_delay_would_round_them():
    rng = np.random.default_rng(6)
    starts, ends = np.sort(rng.uniform(0.0, 1e3, (2, 500)), axis=0)
    rounded = 0
    for start, end in zip(starts, ends, strict=True):
        calendar = Calendar(initial_time=start)
        entry, delayed = simpy.Event(calendar), calendar.timeout(end - start)
        entry._ok, entry._value = True, None
        seen = {}
        entry.callbacks.append(lambda _, seen=seen, calendar=calendar: seen.update(ours=calendar.now))
        delayed.callbacks.append(lambda _, seen=seen, calendar=calendar: seen.update(simpys=calendar.now))
        calendar.schedule_at(entry, end, 1)
        calendar.run()
        assert seen["ours"] == end
        rounded += seen["simpys"] != end
    assert rounded > 0
