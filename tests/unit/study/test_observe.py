"""What is seen of hand-made histories; every expected value follows from the history beside it."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from simulator.endpoints.registry import variables
from simulator.errors import ConfigError, SimulationError
from simulator.kernels.quantiles import DISTRIBUTIONS, quantiles
from simulator.kernels.rng import stream_number, uniforms
from simulator.running.experiment import design_of
from simulator.study.accumulators import Accumulator
from simulator.study.design import AnalysisSet, StudyDesign
from simulator.study.estimators import counts, estimate
from simulator.study.observe import observe, observe_each
from simulator.tables import NONE, CourseTables, ModelTables, PatientTable
from simulator.trajectories import Trajectories, concatenate
from tests import models

INF = np.inf
STATES = ("stable", "response", "progression", "dead")
EVENTS = ("response", "progression", "infusion", "death_disease", "death_other")
RESPONSE, PROGRESSION, INFUSION, DISEASE, OTHER = range(5)
GIVEN, PAIN, FEVER, END = range(5, 9)
COMPLETE, PARTIAL = 0.0, 1.0
DAYS = 1000.0


def tables(n_sets=1, n_patients=1, strata=("colorectal", "stomach"), arms=("all",), horizon=DAYS):
    n_cells, n_events = len(strata) * len(arms), len(EVENTS)
    masks, flags = np.zeros(n_events, np.uint64), np.zeros(n_events, bool)
    additional = np.array([0, 0, 2, 0, 0], np.uint64)
    by_cell, per_arm = (n_sets, n_events, n_cells), (n_sets, len(arms))
    course = CourseTables(
        terms=("pain", "fever"), reasons=("completed", "progression"), given=np.ones(per_arm, bool),
        start=np.zeros(per_arm), interval_code=np.full(per_arm, NONE), interval=np.zeros((*per_arm, 3)),
        maximum=np.ones(per_arm), planned_cdf=np.ones((*per_arm, 2, 2)),
        stop_states=np.zeros((len(arms), 4)), stop_markers=np.zeros((len(arms), 2)), on_treatment=0,
        dose_level=np.ones((*per_arm, 1)), dose_cdf=np.ones((*per_arm, 1)),
        delay_after_adverse_event=np.zeros(per_arm), dose_factor_after_adverse_event=np.ones(per_arm),
        frailty=np.zeros(n_sets), term_threshold=np.zeros((n_sets, n_cells, 2)),
        term_set=np.zeros(2, np.uint64), term_stream=np.zeros(2),
    )  # fmt: skip
    patients = PatientTable(
        covariates=(), n_patients=np.full(n_sets, n_patients), share=np.full((n_sets, n_cells), 1 / n_cells),
        covariate_code=[], covariate=np.zeros((n_sets, n_cells, 0, 3)), covariate_stream=[],
    )  # fmt: skip
    return ModelTables(
        states=STATES, markers=("on_treatment", "additional"), events=EVENTS, arms=arms, strata=strata,
        outcomes=("complete", "partial"), causes=("", "", "", "disease", "other"), course=course,
        patients=patients, horizon=np.full(n_sets, horizon), absorbing=[False, False, False, True],
        event_from=np.ones((n_events, 4), bool), event_to=[1, 2, NONE, 3, 3], event_set=additional,
        event_clear=masks, event_when=masks, event_unless=masks, event_clock=np.zeros(n_events),
        event_since=np.full(n_events, NONE), event_maximum=np.ones(n_events),
        event_recurrent=flags, event_driver=np.zeros(n_events), event_stream=np.zeros(n_events),
        ever_stream=np.zeros(n_events), choice_stream=np.zeros(n_events), lag_stream=np.zeros(n_events),
        family=np.zeros(by_cell), parameters=np.zeros((*by_cell, 3)), table=np.full(by_cell, NONE),
        knot_offset=[0], knot_time=[], knot_hazard=[],
        probability=np.ones(by_cell), cell_ratio=np.ones(by_cell),
        effect_event=[], effect_state=[], effect_marker=[], effect_ratio=np.zeros((n_sets, 0, n_cells)),
        covariate_effect_event=[], covariate_effect_covariate=[], covariate_effect=np.zeros((n_sets, 0, 2)),
        outcome_offset=[0, 2, 2, 2, 2, 2], outcome_set=np.zeros(2, np.uint64),
        outcome_cdf=np.ones((n_sets, 2, n_cells)), success=np.ones(by_cell),
        lag_code=np.zeros((n_sets, n_events)), lag=np.zeros((n_sets, n_events, 3)), withholds=flags,
        confirmed_at_onset=flags,
    )  # fmt: skip


def histories(*patients, model=None, replicates=1, parameter_set=0, cells=None):
    """Trajectories of replicates of the same histories, each a list of (time, code[, value])."""
    model = model or tables(n_patients=len(patients))
    rows = [(*row, np.nan)[:3] for _ in range(replicates) for history in patients for row in history]
    time, code, value = (np.array(column) for column in zip(*rows, strict=True)) if rows else np.zeros((3, 0))
    n = len(patients) * replicates
    lengths = [len(history) for history in patients] * replicates
    return Trajectories(
        model, np.full(n, parameter_set), np.repeat(np.arange(replicates), len(patients)),
        np.tile(np.arange(len(patients)), replicates), np.tile(cells or [0] * len(patients), replicates),
        np.zeros((n, 0)), np.concatenate([[0], np.cumsum(lengths)]), time.astype(float),
        code.astype(np.int16), value.astype(float),
    )  # fmt: skip


def protocol(n_sets=1, n_cells=2, **changes):
    """A design without limits: all patients enter on day 0, no cut, no loss, events seen when they happen."""
    given = {
        "populations": (), "entry_code": np.full(n_sets, NONE), "entry": np.zeros((n_sets, 3)),
        "data_cut": np.full(n_sets, INF), "loss_family": np.full(n_sets, NONE), "loss": np.zeros((n_sets, 3)),
        "assessment_code": np.full(n_sets, NONE), "assessment": np.zeros((n_sets, 3)),
        "assessed": [True, True, False, False, False], "counted": [True, True],
    }  # fmt: skip
    return StudyDesign(**{**given, **changes})


def every(interval, **changes):
    """A design with a visit every so many days."""
    return protocol(assessment_code=[DISTRIBUTIONS["fixed"].code], assessment=[[interval, 0.0, 0.0]], **changes)


def seen(data, name):
    """Times at which something was seen, +inf where it was not, of the first study."""
    column = data.column(name)
    return np.where(column.event, column.value, INF)[0].tolist()


def wanted(estimator, variable, population="treated", time=None, value=None, **where):
    none = dict.fromkeys(("stratum", "arm", "status", "ever", "never", "landmark"))
    return SimpleNamespace(
        estimator=estimator, variable=variable, population=population, time=time, value=value,
        where=SimpleNamespace(**{**none, **where}), against=None, comparison=None, confidence=None,
        extend=False,
    )  # fmt: skip


def population(name, probability=1.0, **rules):
    return AnalysisSet(
        name=name, probability=np.full((1, 2), probability), alive_at=[rules.pop("alive_at", np.nan)], **rules
    )


# -- follow-up ------------------------------------------------------------------------------------------


def test_follow_up_is_half_open():
    happened = [[(99.0, DISEASE)], [(100.0, DISEASE)], [(np.nextafter(100.0, 0.0), DISEASE)]]
    data = observe(histories(*happened), protocol(data_cut=[100.0]), seed=1)
    assert data.died.tolist() == [[True, False, True]]
    assert data.column("survival").value[0, :2].tolist() == [99.0, 100.0]
    assert data.cause[0].tolist() == [DISEASE, NONE, DISEASE]
    assert data.death[0, 1] == 100.0  # it happened, and was not seen


def test_without_limits_follow_up_ends_at_the_horizon():
    data = observe(histories([(10.0, OTHER)], []), protocol(), seed=1)
    assert data.end.tolist() == [[DAYS, DAYS]]
    assert data.observed.tolist() == [[10.0, DAYS]]
    assert data.column("follow_up").event.tolist() == [[False, True]]


def test_data_cut_counts_from_the_opening_of_accrual():
    design = protocol(entry_code=[DISTRIBUTIONS["uniform"].code], entry=[[0.0, 200.0, 0.0]], data_cut=[100.0])
    n = 400
    data = observe(histories(*[[]] * n), design, seed=5)
    u = uniforms(5, np.arange(n), np.zeros(n, np.int64), stream_number("study.entry"), np.zeros(n, np.int64))
    assert np.array_equal(data.entry[0], quantiles(DISTRIBUTIONS["uniform"].code, u, 0.0, 200.0, 0.0))
    assert np.array_equal(data.end[0], np.clip(100.0 - data.entry[0], 0.0, DAYS))
    entered = data.column("entered")
    assert np.array_equal(entered.event[0], data.entry[0] < 100.0)


def test_loss_ends_follow_up_and_is_drawn_from_its_own_stream():
    from simulator.kernels.hazards import FAMILIES

    design = protocol(loss_family=[FAMILIES["exponential"].code], loss=[[1 / 300.0, 0.0, 0.0]])
    n = 200
    data = observe(histories(*[[]] * n), design, seed=3)
    u = uniforms(3, np.arange(n), np.zeros(n, np.int64), stream_number("study.loss"), np.zeros(n, np.int64))
    assert np.allclose(data.end[0], np.minimum(-np.log(u) * 300.0, DAYS), rtol=1e-12)


def test_deaths_seen_under_staggered_accrual_are_as_many_as_they_should_be():
    """V31: uniform accrual on [0, a], cut at f, exponential: P(seen) = 1 − (e^(−h(f−a)) − e^(−hf))/(ha).

    200,000 patients, |z| < 5.96: false alarm 2.5e-9; a share wrong by 0.0075 is found with probability 0.999.
    """
    n, hazard, accrual, cut = 200_000, 1 / 300.0, 600.0, 900.0
    death = np.random.default_rng(31).exponential(1 / hazard, n)
    happened = Trajectories(
        tables(n_patients=n, horizon=1e6), np.zeros(n, np.int64), np.zeros(n, np.int64), np.arange(n),
        np.zeros(n, np.int64), np.zeros((n, 0)), np.arange(n + 1), death, np.full(n, DISEASE, np.int16),
        np.full(n, np.nan),
    )  # fmt: skip
    design = protocol(entry_code=[DISTRIBUTIONS["uniform"].code], entry=[[0.0, accrual, 0.0]], data_cut=[cut])
    found = observe(happened, design, seed=31).died.mean()
    p = 1 - (np.exp(-hazard * (cut - accrual)) - np.exp(-hazard * cut)) / (hazard * accrual)
    assert abs(found - p) < 5.96 * np.sqrt(p * (1 - p) / n)


# -- assessments ----------------------------------------------------------------------------------------


def test_an_assessed_event_is_seen_at_the_first_visit_at_or_after_it():
    times = (0.0, 1.0, 20.999, 21.0, 21.001, 42.0)
    data = observe(histories(*[[(t, RESPONSE, PARTIAL)] for t in times]), every(21.0), seed=1)
    assert seen(data, "response") == [21.0, 21.0, 21.0, 21.0, 42.0, 42.0]
    assert data.onset(RESPONSE)[0].tolist() == list(times)


@pytest.mark.parametrize("interval", [0.1, 7.0, 1 / 3, 30.4375])
def test_a_visit_at_the_very_time_of_an_event_shows_it(interval):
    # k·interval is what a course's visits are; dividing by the interval and rounding up may miss it.
    visits = np.arange(1, 501) * interval
    times = np.concatenate([visits[:-1], np.nextafter(visits[:-1], 0.0), np.nextafter(visits[:-1], INF)])
    model = tables(n_patients=times.size, horizon=1e6)
    happened = histories(*[[(t, RESPONSE, PARTIAL)] for t in times], model=model)
    data = observe(happened, every(interval), seed=1)
    assert seen(data, "response") == [*visits[:-1], *visits[:-1], *visits[1:]]


def test_a_visit_after_death_or_at_the_end_of_follow_up_shows_nothing():
    happened = [
        [(5.0, RESPONSE, PARTIAL), (20.0, DISEASE)],
        [(5.0, RESPONSE, PARTIAL), (21.0, DISEASE)],  # a model event comes before the assessment
        [(5.0, RESPONSE, PARTIAL), (22.0, DISEASE)],
        [(80.0, RESPONSE, PARTIAL)],  # next visit at 84, when follow-up ends
    ]
    data = observe(histories(*happened), every(21.0, data_cut=[84.0]), seed=1)
    assert seen(data, "response") == [INF, INF, 21.0, INF]
    assert data.column("response").value[0].tolist() == [20.0, 21.0, 21.0, 84.0]


def test_an_assessed_event_without_a_state_is_seen_only_in_the_living():
    happened = [[(5.0, INFUSION), (20.0, DISEASE)], [(5.0, INFUSION), (21.0, DISEASE)], [(5.0, INFUSION)]]
    design = every(21.0, assessed=[False, False, True, False, False])
    assert seen(observe(histories(*happened), design, seed=1), "infusion") == [INF, INF, 21.0]


def test_a_response_left_before_the_visit_is_never_seen():
    happened = [
        [(5.0, RESPONSE, PARTIAL), (20.0, PROGRESSION)],
        [(5.0, RESPONSE, PARTIAL), (21.0, PROGRESSION)],  # left at the visit: model events come first
        [(5.0, RESPONSE, PARTIAL), (22.0, PROGRESSION)],
    ]
    data = observe(histories(*happened), every(21.0), seed=1)
    assert seen(data, "response") == [INF, INF, 21.0]
    assert seen(data, "progression") == [21.0, 21.0, 42.0]


def test_an_event_left_and_entered_again_is_seen_when_it_lasts_until_a_visit():
    model = replace(tables(), event_recurrent=[True, True, False, False, False])
    history = [(5.0, RESPONSE, COMPLETE), (9.0, PROGRESSION), (30.0, RESPONSE, PARTIAL)]
    data = observe(histories(history, model=model), every(21.0), seed=1)
    assert data.onset(RESPONSE)[0, 0] == 5.0
    assert seen(data, "response") == [42.0]
    assert seen(data, "response.partial") == [42.0]
    assert seen(data, "response.complete") == [INF]
    assert seen(data, "progression") == [21.0]


def test_events_that_are_not_assessed_and_those_confirmed_at_onset_wait_for_no_visit():
    history = [(5.0, RESPONSE, PARTIAL), (6.0, INFUSION), (7.0, PROGRESSION)]
    assert seen(observe(histories(history), every(21.0), seed=1), "infusion") == [6.0]
    model = replace(tables(), confirmed_at_onset=[True, False, False, False, False])
    data = observe(histories(history, model=model), every(21.0), seed=1)
    assert (seen(data, "response"), seen(data, "progression")) == ([5.0], [21.0])


def test_without_an_assessment_interval_events_are_seen_when_they_happen():
    history = [(5.0, RESPONSE, PARTIAL), (5.0, PROGRESSION), (5.0, DISEASE)]
    data = observe(histories(history), protocol(), seed=1)
    assert (seen(data, "response"), seen(data, "progression")) == ([5.0], [5.0])


def test_random_intervals_are_the_running_sum_of_the_visit_stream():
    n = 100
    design = protocol(assessment_code=[DISTRIBUTIONS["uniform"].code], assessment=[[14.0, 21.0, 0.0]])
    u = uniforms(11, np.arange(n)[:, None], 0, stream_number("visit"), np.arange(40))
    visits = np.cumsum(quantiles(DISTRIBUTIONS["uniform"].code, u, 14.0, 21.0), axis=1)
    onset = np.linspace(0.0, 300.0, n)
    onset[::3] = visits[::3, 4]  # at the very time of a visit
    data = observe(histories(*[[(t, RESPONSE, PARTIAL)] for t in onset]), design, seed=11)
    expected = [row[np.searchsorted(row, t, side="left")] for row, t in zip(visits, onset, strict=True)]
    assert seen(data, "response") == expected


def test_an_interval_that_is_not_positive_is_refused():
    with pytest.raises(SimulationError, match="assessment interval"):
        observe(histories([(5.0, RESPONSE, PARTIAL)]), every(0.0), seed=1)


# -- columns --------------------------------------------------------------------------------------------


def test_administrations_before_an_event_are_those_before_it_was_seen():
    given = [(0.0, GIVEN, 4.0), (21.0, GIVEN, 4.0), (42.0, GIVEN, 4.0), (63.0, GIVEN, 4.0)]
    history = sorted([*given, (30.0, RESPONSE, PARTIAL)])
    data = observe(histories(history, given), every(21.0, data_cut=[60.0]), seed=1)
    assert data.column("administrations").value.tolist() == [[3.0, 3.0]]
    assert data.column("administrations_before.response").value.tolist() == [[2.0, 3.0]]  # seen on day 42
    assert data.column("administrations_before.progression").value.tolist() == [[3.0, 3.0]]


def test_dose_is_that_of_the_first_administration_seen():
    happened = [[(0.0, GIVEN, 600.0), (21.0, GIVEN, 300.0)], [], [(50.0, GIVEN, 900.0)]]
    dose = observe(histories(*happened), protocol(data_cut=[50.0]), seed=1).column("dose")
    assert dose.value[0, 0] == 600.0
    assert dose.has.tolist() == [[True, False, False]]


def test_an_outcome_is_that_of_the_first_occurrence_seen():
    model = replace(tables(), event_recurrent=[True, False, False, False, False])
    happened = histories([(5.0, RESPONSE, PARTIAL), (30.0, RESPONSE, COMPLETE)], model=model)
    data = observe(happened, every(21.0), seed=1)
    assert (seen(data, "response.partial"), seen(data, "response.complete")) == ([21.0], [INF])


def test_any_adverse_event_counts_only_counted_terms():
    happened = [[(0.0, PAIN, 0.0), (21.0, FEVER, 1.0)], [(0.0, FEVER, 0.0)], []]
    data = observe(histories(*happened), protocol(counted=[True, False]), seed=1)
    assert seen(data, "adverse_event.any") == [0.0, INF, INF]
    assert seen(data, "adverse_event.fever") == [21.0, 0.0, INF]


def test_state_at_the_end_is_the_state_as_seen():
    happened = [
        [],
        [(5.0, RESPONSE, PARTIAL)],
        [(5.0, RESPONSE, PARTIAL), (90.0, PROGRESSION)],  # progression would be seen on day 105
        [(90.0, PROGRESSION), (95.0, DISEASE)],
        [(100.0, DISEASE)],
    ]
    data = observe(histories(*happened), every(21.0, data_cut=[100.0]), seed=1)
    assert data.state[0].tolist() == [0, 1, 1, 3, 0]
    assert data.column("state.response").event[0].tolist() == [False, True, True, False, False]


def test_a_marker_is_seen_with_what_sets_it():
    data = observe(histories([(50.0, INFUSION)], [(0.0, GIVEN, 1.0)]), protocol(data_cut=[60.0]), seed=1)
    assert data.marker_seen(1)[0].tolist() == [50.0, INF]
    assert data.marker_seen(0)[0].tolist() == [INF, 0.0]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("survial", "survival"),
        ("adverse_event.pian", "adverse_event.pain"),
        ("response.complet", "response.complete"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(name, suggestion):
    data = observe(histories([]), protocol(), seed=1)
    with pytest.raises(ConfigError, match=f"did you mean '{suggestion}'"):
        data.column(name)


def test_every_listed_column_exists():
    data = observe(histories([]), protocol(populations=(population("evaluable"),)), seed=1)
    for name in variables(data):
        assert data.column(name).value.shape == (1, 1)


def test_what_was_seen_is_forgotten_at_once():
    # Arrays in a ring of references would stay until the garbage collector comes, and memory would grow with patients.
    gc.collect()
    gc.disable()
    try:
        data = observe(concatenate(random_histories(12, 2, np.random.default_rng(1))), every(21.0), seed=1)
        Accumulator(np.array([0.0, 100.0])).add(data)
        for name in variables(data):
            assert data.column(name).value.shape == (2, 12)
            estimate(data, wanted("naive_median", name))
        alive = weakref.ref(data)
        del data
        assert alive() is None
    finally:
        gc.enable()


# -- populations ----------------------------------------------------------------------------------------


def test_a_population_is_drawn_from_the_stream_of_its_name():
    n = 300
    design = protocol(populations=(population("evaluable", 0.64), population("tested", 0.9, of="evaluable")))
    data = observe(histories(*[[]] * n), design, seed=7)
    zeros = np.zeros(n, np.int64)
    evaluable, tested = (
        uniforms(7, np.arange(n), zeros, stream_number(f"study.{name}"), zeros) < p
        for name, p in (("evaluable", 0.64), ("tested", 0.9))
    )
    assert np.array_equal(data.population("evaluable")[0], evaluable)
    assert np.array_equal(data.population("tested")[0], evaluable & tested)
    assert data.population("treated").all()


def test_adding_a_population_changes_no_other():
    n = 100
    happened = histories(*[[]] * n)
    alone = observe(happened, protocol(populations=(population("evaluable", 0.5),)), seed=7)
    extra = (population("tested", 0.5), population("evaluable", 0.5))
    both = observe(happened, protocol(populations=extra), seed=7)
    assert np.array_equal(alone.population("evaluable"), both.population("evaluable"))


def test_rules_of_a_population():
    happened = [[(5.0, RESPONSE, PARTIAL)], [(3.0, OTHER)], [(30.0, DISEASE)], [(31.0, DISEASE)]]
    rules = (
        population("responders", 0.0, always_event=RESPONSE),
        population("observed", exclude_event=OTHER),
        population("alive", alive_at=30.0),
    )
    data = observe(histories(*happened), protocol(populations=rules), seed=1)
    assert data.population("responders")[0].tolist() == [True, False, False, False]
    assert data.population("observed")[0].tolist() == [True, False, True, True]
    assert data.population("alive")[0].tolist() == [True, False, False, True]


def test_a_population_of_an_undeclared_one_is_refused():
    with pytest.raises(ValueError, match="not declared before"):
        protocol(populations=(population("tested", of="evaluable"),))
    with pytest.raises(ValueError, match="twice"):
        protocol(populations=(population("treated"),))


# -- several sets, replicates ---------------------------------------------------------------------------


def test_parameter_sets_are_observed_one_by_one_or_together():
    model = tables(n_sets=2, n_patients=2)
    happened = [[(5.0, RESPONSE, PARTIAL)], [(50.0, DISEASE)]]
    both = concatenate([histories(*happened, model=model, replicates=3, parameter_set=b) for b in range(2)])
    design = protocol(n_sets=2, data_cut=[INF, 40.0])
    first, second = observe_each(both, design, seed=1)
    assert first.died.tolist() == [[False, True]] * 3
    assert second.died.tolist() == [[False, False]] * 3
    together = observe(both, design, seed=1)
    assert np.array_equal(together.died, np.concatenate([first.died, second.died]))
    assert together.replicate.tolist() == [0, 1, 2, 0, 1, 2]


def test_studies_of_different_size_are_refused_together():
    model = tables(n_sets=2)
    ragged = concatenate([histories([], model=model), histories([], [], model=model, parameter_set=1)])
    with pytest.raises(ValueError, match="differ in number of patients"):
        observe(ragged, protocol(n_sets=2), seed=1)
    assert [data.shape for data in observe_each(ragged, protocol(n_sets=2), seed=1)] == [(1, 1), (1, 2)]


# -- statistics by name ---------------------------------------------------------------------------------


def study():
    happened = [
        [(5.0, RESPONSE, COMPLETE), (60.0, INFUSION), (300.0, DISEASE)],
        [(30.0, RESPONSE, PARTIAL), (400.0, DISEASE)],
        [(100.0, DISEASE)],
        [(200.0, OTHER)],
        [(70.0, INFUSION)],
    ]
    return observe(histories(*happened, cells=[0, 1, 0, 1, 0]), every(21.0, data_cut=[500.0]), seed=1)


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [
        (wanted("proportion", "response"), 2 / 5),
        (wanted("proportion", "response.complete"), 1 / 5),
        (wanted("proportion", "response", stratum="stomach"), 1 / 2),
        (wanted("median", "response"), (21.0 + 42.0) / 2),
        (wanted("median", "survival", status="dead"), 250.0),
        (wanted("median", "follow_up", status="alive"), 500.0),
        (wanted("naive_median", "survival"), 300.0),
        (wanted("naive_median", "survival", ever="additional"), 400.0),
        (wanted("naive_median", "survival", never="infusion"), 200.0),
        (wanted("kaplan_meier_median", "survival"), 300.0),
        (wanted("kaplan_meier_landmark", "survival", time=365.0), 2 / 5),
        (wanted("maximum", "survival", status="dead"), 400.0),
        (wanted("minimum", "survival"), 100.0),
        (wanted("mean", "survival", ever="response"), 350.0),
        (wanted("proportion", "state.dead"), 4 / 5),
        (wanted("proportion", "response", arm="all"), 2 / 5),
    ],
)  # fmt: skip
def test_statistics_of_a_small_study(statistic, expected):
    assert estimate(study(), statistic) == pytest.approx([expected], abs=1e-12)


def test_an_empty_group_is_undefined_and_an_unreached_median_is_infinite():
    data = study()
    nobody = {"stratum": "stomach", "ever": "infusion"}
    assert np.isnan(estimate(data, wanted("kaplan_meier_median", "survival", **nobody)))[0]
    assert np.isnan(estimate(data, wanted("proportion", "response", **nobody)))[0]
    assert estimate(data, wanted("kaplan_meier_median", "survival", status="alive"))[0] == INF


def test_what_happens_at_entry_is_seen_at_the_first_visit_and_not_before():
    timer = {"family": "fixed", "delay": 0.0}
    events = {"onset": {"from": ["alive"], "set": ["ill"], "hazard": timer}, "death": models.death(900.0)}
    study = {"assessed": ["onset"], "assessment_interval": {"uniform": [10, 20]}}
    config = models.container(events, markers=["ill"], study=study, n_patients=200, horizon=1000.0)
    experiment = models.compiled(config, quiet=True)
    data = observe(models.simulated(experiment, seed=1), design_of(experiment), seed=1)
    seen = data.seen(experiment.tables.events.index("onset"))
    assert ((seen >= 10.0) & ((seen <= 20.0) | np.isinf(seen))).all()
    assert np.isfinite(seen).mean() > 0.9


def test_pooled_statistics_of_a_group_nobody_is_in_are_undefined():
    events = {
        "progression": {"from": ["alive"], "set": ["ill"], "hazard": {"family": "exponential", "mean": 100.0}},
        "death": models.death(300.0),
    }
    course = {"interval": 30.0, "max_administrations": 3}
    cohort = {"mix": {"some": 1, "none": 0}}
    config = models.container(events, markers=["ill"], cohort=cohort, course=course, n_patients=50, horizon=1000.0)
    experiment = models.compiled(config, quiet=True)
    pooled = Accumulator(np.array([0.0, 200.0, 900.0]))
    pooled.add(observe(models.simulated(experiment, seed=1), design_of(experiment), seed=1))
    found = pooled.conclude()
    group = found["group"].values.tolist().index("none")
    of_group = {name: each.values[group] for name, each in found.items() if each.dims[0] == "group" and name != "group"}
    counted = {name for name in of_group if name.removesuffix("_standard_error") in ("n_patients", "number_at_risk")}
    assert all((of_group[name] == 0).all() for name in counted)
    assert {name for name, values in of_group.items() if not np.isnan(values).all()} == counted
    assert len(of_group) - len(counted) >= 20  # occupancy, survival, incidence, means, times; with their errors


def test_counts_stand_behind_shares():
    share = counts(study(), wanted("proportion", "response", stratum="stomach"))
    assert (share.count.tolist(), share.denominator.tolist()) == ([1], [2])
    assert counts(study(), wanted("median", "response")) is None


@pytest.mark.parametrize(
    ("statistic", "suggestion"),
    [
        (wanted("kaplan_meier_medain", "survival"), "kaplan_meier_median"),
        (wanted("proportion", "response", population="treted"), "treated"),
        (wanted("proportion", "response", stratum="stomac"), "stomach"),
        (wanted("proportion", "response", ever="infusio"), "infusion"),
        (wanted("proportion", "response", never="aditional"), "additional"),
        (wanted("proportion", "response", status="died"), "dead"),
    ],
)
def test_an_unknown_name_in_a_statistic_is_refused_with_the_nearest(statistic, suggestion):
    with pytest.raises(ConfigError, match=f"did you mean '{suggestion}'"):
        estimate(study(), statistic)


def test_every_estimator_that_evidence_may_name_is_computed():
    from simulator.endpoints import estimators as records
    from simulator.study.estimators import ESTIMATORS

    assert set(records.ESTIMATORS) == set(ESTIMATORS)


# -- pooled statistics ----------------------------------------------------------------------------------


def random_histories(n, replicates, rng):
    """Patients with all kinds of things in their histories."""
    parts = []
    for r in range(replicates):
        patients = []
        for _ in range(n):
            onset, left, death = rng.exponential(60), rng.exponential(150), rng.exponential(300)
            rows = [(t, GIVEN, 4.0) for t in np.arange(0.0, min(death, left, 200.0), 21.0)]
            rows += [(t + 0.0, PAIN, 0.0) for t, *_ in rows if rng.random() < 0.2]
            rows += [(onset, RESPONSE, float(rng.integers(2)))] if onset < min(left, death, DAYS) else []
            rows += [(left, PROGRESSION)] if left < min(death, DAYS) else []
            rows += [(min(left, death, 210.0), END, float(left < death))]
            rows += [(death, DISEASE if rng.random() < 0.7 else OTHER)] if death < DAYS else []
            patients.append(sorted(rows, key=lambda row: row[:2]))
        part = histories(*patients, cells=[i % 2 for i in range(n)], model=MODEL)
        part.replicate[:] = r
        parts.append(part)
    return parts


MODEL = tables(n_patients=12)


def test_pooled_statistics_do_not_depend_on_how_replicates_are_cut():
    parts = random_histories(12, 9, np.random.default_rng(4))
    design = every(21.0, data_cut=[700.0])
    grid = np.arange(0.0, DAYS + 1, 50.0)
    results = []
    for blocks in ([9], [1] * 9, [2, 3, 4]):
        pooled, at = Accumulator(grid), 0
        for size in blocks:
            pooled.add(observe(concatenate(parts[at : at + size]), design, seed=1))
            at += size
        results.append(pooled.conclude())
    for other in results[1:]:
        assert list(other) == list(results[0])
        for name, variable in results[0].items():
            if variable.values.dtype == object:
                assert variable.values.tolist() == other[name].values.tolist()
            else:
                assert variable.values.tobytes() == other[name].values.tobytes(), name


def equal(found, expected):
    """Whether all variables are the same, bit for bit."""
    assert list(found) == list(expected)
    for name, variable in expected.items():
        own = found[name].values
        if own.dtype == object:
            assert own.tolist() == variable.values.tolist(), name
        else:
            assert own.tobytes() == variable.values.tobytes(), name


def test_blocks_counted_in_any_order_and_by_several_threads_are_the_same():
    parts = random_histories(12, 6, np.random.default_rng(4))
    grid = np.arange(0.0, DAYS + 1, 50.0)
    one, many = Accumulator(grid), Accumulator(grid)
    data = [observe(part, protocol(), seed=1) for part in parts]
    for each in data:
        one.add(each)
    with ThreadPoolExecutor(3) as pool:
        reduced = list(pool.map(many.count, reversed(data)))
    for part in reversed(reduced):
        many.append(part)
    equal(many.conclude(), one.conclude())


def test_pooled_statistics_are_those_of_the_histories():
    parts = concatenate(random_histories(12, 40, np.random.default_rng(5)))
    data = observe(parts, every(21.0, data_cut=[700.0]), seed=1)
    grid = np.arange(0.0, DAYS + 1, 50.0)
    pooled = Accumulator(grid)
    pooled.add(data)
    found = pooled.conclude()
    assert found["group"].values.tolist() == ["all", "colorectal", "stomach"]
    assert found["event"].values.tolist() == [
        "response", "progression", "infusion", "death.disease", "death.other"
    ]  # fmt: skip
    death, stomach = parts.absorbed_at, parts.stratum == 1
    alive = found["overall_survival"].values
    assert np.allclose(alive[0], [(death > t).mean() for t in grid])
    assert np.allclose(alive[2], [(death[stomach] > t).mean() for t in grid])
    occupied = found["state_occupancy"].values
    assert np.allclose(occupied.sum(axis=1), 1.0)  # V10
    assert np.allclose(occupied[:, 3], 1 - alive)
    for i, t in enumerate(grid):
        states = parts.state_at(np.full(len(parts), t))
        assert np.allclose(occupied[0, :, i], np.bincount(states, minlength=4) / len(parts))
    incidence = found["cumulative_incidence"].values
    assert np.allclose(incidence[:, 3] + incidence[:, 4] + alive, 1.0)  # V25
    assert np.allclose(incidence[0, 0], [(parts.first_time(RESPONSE) <= t).mean() for t in grid])
    lived = np.minimum(death, grid[-1])
    assert found["rmst"].values[0] == pytest.approx(lived.mean(), rel=1e-12)
    error = lived.std() / np.sqrt(lived.size)
    assert found["rmst_standard_error"].values[0] == pytest.approx(error, rel=1e-9)
    at_risk = [(data.observed >= t).sum(axis=1) for t in grid]
    assert np.allclose(found["number_at_risk"].values[0], [n.mean() for n in at_risk])
    given = parts.count(GIVEN)
    reached = [(given >= k).mean() for k in found["visit"].values]
    assert np.allclose(found["administrations"].values[0], reached)
    assert found["administrations_mean"].values[0] == pytest.approx(given.mean())
    spent = np.where(given > 0, np.minimum(parts.first_time(END), death), 0.0)
    assert found["time_on_treatment"].values[0] == pytest.approx(spent[given > 0].mean())
    assert np.allclose(found["on_treatment"].values[0], [(spent > t).mean() for t in grid])
    pain = (parts.count(PAIN) > 0).mean()
    assert found["ae_incidence"].values[0].tolist() == pytest.approx([pain, 0.0, pain])
    for what, time in (("true", parts.first_time(RESPONSE)), ("observed", data.seen(RESPONSE).ravel())):
        finite = np.sort(time[np.isfinite(time)])
        exact = finite[np.ceil(np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * finite.size).astype(int) - 1]
        quantile = found[f"time_to_event_{what}"].values[0, 0]
        assert ((exact - quantile >= 0) & (exact - quantile < 1 / 16)).all()
    assert found["history_row_size"].values.sum() == found["history_time"].values.size
    assert found["history_replicate"].values.tolist() == [i // 12 for i in range(50)]
    for name, variable in found.items():
        assert len(variable.dims) == variable.values.ndim, name
        assert "long_name" in variable.attrs
        for dim, size in zip(variable.dims, variable.values.shape, strict=True):
            assert dim not in found or found[dim].values.size == size


def test_pooled_statistics_count_what_happens_at_a_time_of_the_grid():
    happened = [
        [(0.0, GIVEN, 4.0), (0.0, FEVER, 0.0), (40.0, RESPONSE, PARTIAL), (50.0, PROGRESSION), (100.0, DISEASE)],
        [(0.0, GIVEN, 4.0), (50.0, DISEASE)],
        [(0.0, GIVEN, 4.0), (80.0, DISEASE)],
        [(0.0, GIVEN, 4.0)],
    ]
    pooled = Accumulator(np.array([0.0, 50.0, 100.0]))
    design = protocol(data_cut=[90.0], counted=[True, False])
    parts = [histories(*happened), histories(*[[(0.0, GIVEN, 4.0)]] * 4)]
    for replicate, part in enumerate(parts):
        part.replicate[:] = replicate
    pooled.add(observe(concatenate([replace(p, model=parts[0].model) for p in parts]), design, seed=1))
    found = {name: variable.values for name, variable in pooled.conclude().items()}
    assert found["overall_survival"][0].tolist() == [1, 7 / 8, 5 / 8]
    error = np.sqrt(7 / 8 * 1 / 8 / 8)
    assert found["overall_survival_standard_error"][0].tolist() == [0, error, np.sqrt(5 / 8 * 3 / 8 / 8)]
    assert found["state_occupancy"][0, 2].tolist() == [0, 1 / 8, 0]  # progression
    assert found["number_at_risk"][0].tolist() == [4, 4, 0]  # dead on day 50: still at risk then
    assert found["number_at_risk_standard_error"][0].tolist() == [0, 0, 0]
    deaths = found["cumulative_incidence"][0, 3]
    assert deaths.tolist() == [0, 1 / 8, 3 / 8]
    true, seen_ = (found[f"time_to_event_{what}"][0, 3].tolist() for what in ("true", "observed"))
    assert (true, seen_) == ([50, 50, 80, 100, 100], [50, 50, 50, 80, 80])  # day 100 comes after the cut
    assert found["ae_incidence"][0].tolist() == [0, 1 / 8, 0]  # fever is not counted among "any"
    assert found["on_treatment"][0].tolist() == [1, 7 / 8, 5 / 8]
    assert found["rmst"][0] == (100 + 50 + 80 + 5 * 100) / 8


def test_errors_of_pooled_statistics_are_their_spread_over_repetitions():
    """Each stated error against the standard deviation of 400 independent accumulations.

    The ratio of the two has a standard deviation of 0.036 (a normal estimate, 400 repetitions), so that 0.25
    is more than six of them: false alarm below 2.5e-9 for each of the four.
    """
    rng = np.random.default_rng(9)
    grid = np.array([0.0, 200.0, 400.0])
    runs = []
    for _ in range(400):
        death = rng.exponential(300.0, 300)
        happened = Trajectories(
            tables(n_patients=30), np.zeros(300, np.int64), np.repeat(np.arange(10), 30),
            np.tile(np.arange(30), 10), np.tile(np.arange(30) % 2, 10), np.zeros((300, 0)),
            np.concatenate([[0], np.cumsum(death < DAYS)]), death[death < DAYS],
            np.full((death < DAYS).sum(), DISEASE, np.int16), np.full((death < DAYS).sum(), np.nan),
        )  # fmt: skip
        pooled = Accumulator(grid)
        pooled.add(observe(happened, protocol(), seed=1))
        runs.append(pooled.conclude())
    for name, at in (
        ("overall_survival", (0, 1)),
        ("rmst", (1,)),
        ("number_at_risk", (0, 1)),
        ("time_to_event_true", (0, 3, 2)),
    ):
        values = np.array([run[name].values[at] for run in runs])
        errors = np.array([run[f"{name}_standard_error"].values[at] for run in runs])
        assert values.std() / np.sqrt((errors**2).mean()) == pytest.approx(1.0, abs=0.25), name


def test_the_band_is_the_spread_of_the_studies_own_estimates():
    data = observe(concatenate(random_histories(12, 40, np.random.default_rng(6))), protocol(), seed=1)
    pooled = Accumulator(np.array([0.0, 200.0]))
    pooled.add(data)
    ranked = np.sort(estimate(data, wanted("kaplan_meier_landmark", "survival", time=200.0)))
    band = [pooled.conclude()[f"kaplan_meier_{name}"].values[0, 1] for name in ("lower", "median", "upper")]
    assert band == [
        ranked[0],
        ranked[19],
        ranked[38],
    ]  # of 40: ⌈0.025·40⌉ = 1, ⌈0.5·40⌉ = 20, ⌈0.975·40⌉ = 39


def test_replicates_are_added_in_order_and_once():
    parts = random_histories(12, 2, np.random.default_rng(7))
    pooled = Accumulator(np.array([0.0, 100.0]))
    pooled.add(observe(parts[1], protocol(), seed=1))
    with pytest.raises(ValueError, match="ascending order"):
        pooled.add(observe(parts[0], protocol(), seed=1))
