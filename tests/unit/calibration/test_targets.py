"""From evidence to likelihood terms: what becomes a term, with which numbers, and what is refused by name."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from calibration import schema
from calibration.likelihoods.closed_forms import ClosedForms
from calibration.likelihoods.order_statistics import Cut, OrderStatistic
from calibration.likelihoods.targets import terms_of
from calibration.likelihoods.terms import DeathCounts, Outcomes, ProportionTerm
from calibration.output.report import report
from calibration.posterior.components import components
from calibration.posterior.fit import fit
from calibration.priors.parameters import ParameterSets
from simulator.errors import ConfigError
from tests.models import compiled, container

MIX = {"colon": 20, "rectum": 10, "other": 7}


def entry(name: str, printed: str, value: float, unit: str, **more: Any) -> dict[str, Any]:
    statistic = more.pop("statistic")
    made = {
        **{"id": name, "name": f"entry {name}", "printed": printed, "value": value, "unit": unit},
        **{"population": "treated", "kind": "statistic", "source": {"file": "a.txt", "locator": "line 1"}},
        **{"provenance": "reported", "role": "fitted", "statistic": statistic},
    }
    return made | more


def median(name: str, days: int, stratum: str | None = None, **more: Any) -> dict[str, Any]:
    where = {"where": {"stratum": stratum}} if stratum else {}
    statistic = {"estimator": "kaplan_meier_median", "variable": "survival", **where, **more.pop("statistic", {})}
    return entry(name, f"{days} days", days, "d", statistic=statistic, **more)


def landmark(name: str, percent: float, stratum: str | None = None, *, at: str = "1 y", **more: Any) -> dict[str, Any]:
    where = {"where": {"stratum": stratum}} if stratum else {}
    statistic = {"estimator": "kaplan_meier_landmark", "variable": "survival", "time": at, **where}
    return entry(name, f"{percent:.1f}%", percent, "%", statistic=statistic, **more)


def share(name: str, n: int, of: int, variable: str, stratum: str | None = None, **more: Any) -> dict[str, Any]:
    where = {"where": {"stratum": stratum}} if stratum else {}
    statistic = {"estimator": "proportion", "variable": variable, **where, **more.pop("statistic", {})}
    percent = round(100 * n / of, 1)
    return entry(name, f"{percent}%", percent, "%", numerator=n, denominator=of, statistic=statistic, **more)


def not_reached(name: str, months: int, stratum: str | None = None) -> dict[str, Any]:
    said = {"printed": f"not reached by {months} months", "unit": "mo", "bound": "above"}
    return median(name, months, stratum) | said


def config(*entries: dict[str, Any], readings: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A cohort of 37 in three strata: a response as seen, one death whose curve is all patients's, two adverse
    events.
    """
    made = container(
        {
            "response": {
                "from": ["stable"],
                "to": "response",
                "set": ["responded"],
                "hazard": {
                    "family": "log_normal",
                    "probability": "parameters.response.probability",
                    "median": "60 d",
                    "sigma": 0.5,
                    "observed": ["probability"],
                },
                "choose": {
                    "complete": {"probability": "parameters.response.complete"},
                    "partial": {"probability": 0.6},
                },
            },
            "death": {
                "from": ["stable", "response"],
                "to": "dead",
                "hazard": {
                    "family": "weibull",
                    "median": "parameters.survival.median",
                    "weibull_shape": "parameters.survival.shape",
                    "solved_for": "response",
                },
                "ratios": [{"marker": "responded", "ratio": "parameters.response.hazard_ratio"}],
            },
        },
        states=("stable", "response", "dead"),
        markers=("responded",),
        cohort={"mix": dict(MIX)},
        course={
            "interval": "3 wk",
            "max_administrations": 4,
            "adverse_events": {
                "terms": {
                    "fever": {"probability": "parameters.fever", "scale": "ever"},
                    "pain": {"probability": 0.2, "scale": "per_administration"},
                }
            },
        },
        study={
            "assessed": ["response"],
            "assessment_interval": "3 wk",
            "populations": {
                "evaluable": {"probability": "parameters.evaluable"},
                "survivors": {"alive_at": "30 d"},
            },
        },
        parameters={
            "response": {
                "probability": {"colon": 0.4, "rectum": 0.3, "other": 0.2},
                "complete": 0.4,
                "hazard_ratio": 0.6,
            },
            "survival": {
                "median": {"colon": "400 d", "rectum": "300 d", "other": "200 d"},
                "shape": {"colon": 1.2, "rectum": 1.2, "other": 1.2},
            },
            "fever": 0.3,
            "evaluable": 0.8,
        },
        n_patients=37,
        horizon="5 y",
    )
    made["evidence"] = {
        "name": "lakes",
        "title": "Invented",
        "sources": [{"file": "a.txt", "citation": "nobody"}],
        "entries": [copy.deepcopy(one) for one in entries],
        "readings": readings or {},
    }
    for key, value in changes.items():
        node = made
        *steps, last = key.split("__")
        for step in steps:
            node = node[step]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return made


PRIORS: dict[str, Any] = {
    "survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}},
    "survival.shape": {"log_normal": {"median": 1.3, "sigma": 0.35}},
    "response.probability": {"beta": {"a": 0.5, "b": 0.5}},
    "response.complete": {"beta": {"a": 0.5, "b": 0.5}},
    "fever": {"beta": {"a": 0.5, "b": 0.5}},
    "evaluable": {"beta": {"a": 1, "b": 1}},
}


def declared(**more: Any) -> schema.Calibration:
    return schema.load({"name": "lakes", "parameters": PRIORS} | more)


def terms(*entries: dict[str, Any], **changes: Any) -> tuple[Any, ...]:
    made, problems = found(*entries, **changes)
    assert [str(problem) for problem in problems] == []
    return made


def found(*entries: dict[str, Any], **changes: Any) -> tuple[Any, Any]:
    file = changes.pop("calibration", None) or declared()
    experiment = compiled(config(*entries, **changes), quiet=True)
    keys, wrong = schema.expanded(file, experiment.parameters)
    assert not wrong
    closed = ClosedForms(experiment, frozenset(path for paths in keys.values() for path in paths))
    return terms_of(file, closed)


def refused(*entries: dict[str, Any], **changes: Any) -> str:
    _, problems = found(*entries, **changes)
    assert len(problems) == 1, problems
    return str(problems[0])


# --------------------------------------------------------------------------------------------- what is a term


def test_printed_survival_of_one_stratum_becomes_one_term_within_rounding():
    (term,) = terms(median("K1", 410, "colon"), landmark("K2", 55, "colon"))
    assert isinstance(term, DeathCounts)
    assert term.targets == ("K1", "K2")
    assert term.parameters == {"survival.median.colon", "survival.shape.colon"}
    (sample,) = term.samples
    assert sample.size == 20
    assert sample.landmarks == (Cut(365.25, (9,)),)
    assert sample.median == OrderStatistic(10, 409.5, 410.5)


def test_strata_of_which_nothing_joint_is_printed_are_terms_of_their_own():
    made = terms(median("K1", 410, "colon"), median("K2", 290, "rectum"))
    assert [term.targets for term in made] == [("K1",), ("K2",)]


def test_a_median_of_all_ties_the_strata_together():
    (term,) = terms(median("K1", 410, "colon"), median("K2", 333))
    assert [sample.size for sample in term.samples] == [20, 10, 7]
    assert term.median == OrderStatistic(19, 332.5, 333.5)
    assert len(term.parameters) == 6


def test_a_median_in_months_has_half_a_month_either_side():
    months = median("K1", 14, "colon") | {"printed": "14 months", "unit": "mo"}
    (term,) = terms(months)
    assert term.samples[0].median == OrderStatistic(10, 13.5 * 30.4375, 14.5 * 30.4375)


def test_several_counts_that_print_the_percentage_are_all_admitted():
    # 33% of 300 is printed by 98 (32.67) to 100 (33.33): 201 to 203 deaths... of which 33 % needs [32.5, 33.5].
    coarse = landmark("K1", 33.0) | {"printed": "33%", "value": 33}
    (term,) = terms(coarse, cohort__mix={}, cohort__n_patients=300, **COMMON)
    assert term.samples[0].landmarks == (Cut(365.25, (200, 201, 202)),)


COMMON = {
    "parameters__survival__median": "300 d",
    "parameters__survival__shape": 1.2,
    "parameters__response__probability": 0.3,
}


def test_a_cohort_without_strata_has_one_curve():
    (term,) = terms(median("K1", 410), landmark("K2", 54.1), cohort__mix={}, **COMMON)
    assert len(term.samples) == 1
    assert term.median is None
    assert term.samples[0].median == OrderStatistic(19, 409.5, 410.5)


def test_survival_is_that_of_the_declared_family_at_the_parameters():
    (term,) = terms(landmark("K2", 55, "colon"))
    values = {"survival.median.colon": np.array([300.0, 500.0]), "survival.shape.colon": np.array([0.8, 2.0])}
    alive = np.exp(-math.log(2) * (365.25 / values["survival.median.colon"]) ** values["survival.shape.colon"])
    expected = stats.binom.logpmf(11, 20, alive)
    assert term.log_density(ParameterSets(values, 2)) == pytest.approx(expected)


def test_a_cure_fraction_is_part_of_the_curve():
    (term,) = terms(landmark("K2", 55, "colon"), model__events__death__hazard__probability=0.9)
    values = {"survival.median.colon": np.array([300.0]), "survival.shape.colon": np.array([0.8])}
    alive = 1 - 0.9 * (1 - math.exp(-math.log(2) * (365.25 / 300) ** 0.8))
    assert term.log_density(ParameterSets(values, 1))[0] == pytest.approx(stats.binom.logpmf(11, 20, alive))


def test_a_parameter_without_prior_keeps_its_value():
    priors = {"survival.median": PRIORS["survival.median"]}
    file = schema.load({"name": "lakes", "parameters": priors})
    (term,) = terms(landmark("K2", 55, "colon"), calibration=file)
    assert term.parameters == {"survival.median.colon"}
    alive = math.exp(-math.log(2) * (365.25 / 300) ** 1.2)
    value = term.log_density(ParameterSets({"survival.median.colon": np.array([300.0])}, 1))[0]
    assert value == pytest.approx(stats.binom.logpmf(11, 20, alive))


def test_a_parameter_that_a_mapping_of_strata_names_is_found():
    by_stratum = {"colon": "parameters.fever", "rectum": 0.2, "other": 0.2}
    (term,) = terms(share("S1", 7, 20, "response", "colon"), model__events__response__hazard__probability=by_stratum)
    assert term.parameters == {"fever"}


def test_shares_are_binomial_in_the_number_that_the_model_declares_as_seen():
    made = terms(
        share("S1", 7, 16, "response", "colon", statistic={"population": "evaluable"}),
        share("S2", 11, 37, "adverse_event.fever"),
        share("S3", 30, 37, "population.evaluable"),
    )
    assert all(isinstance(term, ProportionTerm) for term in made)
    assert [term.parameters for term in made] == [{"response.probability.colon"}, {"fever"}, {"evaluable"}]
    assert [(term.parts[0][1], term.counts) for term in made] == [(16, (7,)), (37, (11,)), (37, (30,))]


def test_a_share_of_all_treated_is_a_sum_of_binomials_where_strata_differ():
    (term,) = terms(share("S1", 12, 37, "response"))
    assert [size for _, size in term.parts] == [20, 10, 7]
    assert len(term.parameters) == 3


def test_outcomes_of_one_event_are_multinomial():
    (term,) = terms(
        share("S1", 3, 16, "response.complete", "colon", statistic={"population": "evaluable"}),
        share("S2", 5, 16, "response.partial", "colon", statistic={"population": "evaluable"}),
    )
    assert isinstance(term, Outcomes)
    assert (term.targets, term.counts, term.size) == (("S1", "S2"), (3, 5), 16)
    values = {"response.probability.colon": np.array([0.5]), "response.complete": np.array([0.4])}
    expected = stats.multinomial.logpmf([3, 5, 8], 16, [0.5 * 0.4, 0.5 * 0.6, 0.5])
    assert term.log_density(ParameterSets(values, 1))[0] == pytest.approx(float(expected))


def test_a_median_that_was_not_reached_is_an_entry_with_a_time():
    (term,) = terms(not_reached("K1", 24, "colon"), landmark("K2", 55, "colon"))
    assert term.samples[0].median == OrderStatistic(10, 24 * 30.4375, math.inf)
    assert set(term.targets) == {"K1", "K2"}


def test_a_bound_of_a_share_admits_every_count_that_keeps_it():
    few = share("S1", 3, 37, "adverse_event.fever")
    few |= {"printed": "less than 10 %", "value": 10, "bound": "below", "numerator": None}
    (term,) = terms({key: value for key, value in few.items() if value is not None})
    found = term.log_density(ParameterSets({"fever": np.array([0.02, 0.1, 0.4])}, 3))
    assert np.exp(found) == pytest.approx(stats.binom.cdf(3, 37, [0.02, 0.1, 0.4]))  # 4 of 37 are 10.8 %


def test_a_median_reached_by_a_time_is_at_least_half_of_the_deaths_by_then():
    early = median("K1", 300, "colon") | {"printed": "less than 300 days", "bound": "below"}
    (term,) = terms(early)
    assert term.samples[0].median == OrderStatistic(10, 0.0, 300.0)
    values = {"survival.median.colon": np.array([250.0, 500.0]), "survival.shape.colon": np.array([1.0, 1.5])}
    dead = 1.0 - 2.0 ** -((300.0 / values["survival.median.colon"]) ** values["survival.shape.colon"])
    assert np.exp(term.log_density(ParameterSets(values, 2))) == pytest.approx(stats.binom.sf(9, 20, dead))


def test_held_out_targets_are_never_fitted():
    (term,) = terms(median("K1", 410, "colon"), median("K2", 333, role="held_out"))
    assert term.targets == ("K1",)


def test_a_count_may_be_named_where_none_prints_the_percentage():
    # 35.7% of 37 is printed by none (13/37 is 35.1, 14/37 is 37.8).
    file = declared(survivors={"K1": {"count": 13, "because": "one patient was censored late"}})
    (term,) = terms(landmark("K1", 35.7), calibration=file)
    assert term.landmark == Cut(365.25, (24,))


# ------------------------------------------------------------------------------------------- what is refused

NO_FORM = "has no closed form"


def test_a_percentage_that_no_count_prints_is_refused_by_name():
    said = refused(landmark("K1", 35.7, "colon"))
    assert said.startswith("evidence.entries.K1 = 35.7%: a censored curve has no closed form: no count of 20 prints it")
    assert "calibration.survivors.K1" in said


def test_a_target_without_a_closed_form_is_refused_by_name():
    statistic = {"estimator": "mean", "variable": "administrations"}
    said = refused(entry("A1", "3.1", 3.1, "administrations", statistic=statistic))
    assert said.startswith("evidence.entries.A1 = 3.1: the mean of administrations has no closed form")
    assert "calibration.left_out" in said


def test_it_may_be_left_out_by_name_only():
    statistic = {"estimator": "mean", "variable": "administrations"}
    given = entry("A1", "3.1", 3.1, "administrations", statistic=statistic)
    (term,) = terms(given, median("K1", 410, "colon"), calibration=declared(left_out={"A1": "no closed form"}))
    assert term.targets == ("K1",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {
                "model__events__death__hazard__response_effect": 0.5,
                "parameters__reference": {"parameters": {"response": {"probability": {"colon": 0.3}}}},
            },
            "response is not that of the published study (parameters.reference), and response_effect of death lets",
        ),
        (
            {"study__data_cut": "1.5 y", "study__accrual": {"uniform": [0, "1 y"]}},
            "censored before day 365.25; complete follow-up ends at day 182.6",
        ),
        (
            {"study__loss_to_follow_up": {"family": "exponential", "rate": "0.1 / y"}},
            "complete follow-up ends at day 0",
        ),
    ],
)
def test_survival_outside_the_closed_class_is_refused(changes, said):
    assert said in refused(landmark("K1", 55, "colon"), **changes)


def test_a_hazard_ratio_on_top_of_the_curve_is_refused():
    ratios = [{"marker": "responded", "ratio": 0.6}, {"state": "response", "ratio": 0.5}]
    made = config(landmark("K1", 55, "colon"))
    made["model"]["events"]["death"]["ratios"] = ratios
    made["model"]["events"]["death"]["hazard"].pop("solved_for")
    made["model"]["events"]["response"]["hazard"].pop("observed")
    closed = ClosedForms(compiled(made, quiet=True), frozenset(PRIORS))
    _, problems = terms_of(declared(), closed)
    assert "no `solved_for` that keeps the curve of all patients" in str(problems[0])


def test_another_hazard_ratio_beside_a_solved_baseline_is_refused():
    made = config(landmark("K1", 55, "colon"))
    made["model"]["markers"].append("extra")
    infusion = {"from": ["stable"], "set": ["extra"], "hazard": {"family": "exponential", "mean": "60 d"}}
    made["model"]["events"] = {"infusion": infusion, **made["model"]["events"]}
    made["model"]["events"]["death"]["ratios"].append({"marker": "extra", "ratio": 0.8})
    closed = ClosedForms(compiled(made, quiet=True), frozenset(PRIORS))
    _, (problem,) = terms_of(declared(), closed)
    assert "the hazard ratio of extra comes on top of the calibrated curve of death" in str(problem)


def test_several_deaths_are_refused():
    other = {"from": ["stable", "response"], "to": "dead", "hazard": {"family": "exponential", "rate": "0.05 / y"}}
    said = refused(landmark("K1", 55, "colon"), model__events__other=other)
    assert "survival has no closed form: several events are deaths (death, other)" in said


def test_arms_are_refused_where_they_change_anything():
    arms = {"a": {"n_patients": 37, "effects": {"hazard_ratio": {"death": 0.8}}}}
    said = refused(landmark("K1", 55, "colon"), cohort__arms=arms, cohort__n_patients=None)
    assert "survival has no closed form: arm a has effects" in said
    arms = {"a": {"n_patients": 20, "reference": True}, "b": {"n_patients": 17}}
    said = refused(share("S1", 11, 37, "adverse_event.fever"), cohort__arms=arms, cohort__n_patients=None)
    assert "has no closed form: the cohort has several arms" in said


def test_a_mix_without_whole_numbers_is_refused():
    said = refused(median("K1", 410, "colon"), cohort__mix={"colon": 0.5, "rectum": 0.3, "other": 0.2})
    assert "needs the number of patients in each stratum" in said


def test_numbers_that_a_prior_moves_are_not_taken_as_known():
    moving = {"study__data_cut": "parameters.cut", "parameters__cut": "8 y"}
    file = declared(parameters=PRIORS | {"cut": {"uniform": {"low": "1 y", "high": "9 y"}}})
    said = refused(landmark("K1", 55, "colon"), calibration=file, **moving)
    assert "survival has no closed form: cut, which has a prior, decides how long patients are followed" in said
    moving = {"study__minimum_follow_up": "parameters.cut", "parameters__cut": "8 y"}
    said = refused(landmark("K1", 55, "colon"), calibration=file, **moving)
    assert "survival has no closed form: cut, which has a prior, decides how long patients are followed" in said
    mix = {"colon": "parameters.n.colon", "rectum": 10, "other": 7}
    file = declared(parameters=PRIORS | {"n.colon": {"uniform": {"low": 10, "high": 30}}})
    said = refused(landmark("K1", 55, "colon"), calibration=file, cohort__mix=mix, parameters__n={"colon": 20})
    assert "needs the number of patients in each stratum" in said


def test_a_stratum_without_patients_is_refused():
    said = refused(median("K1", 410, "other"), cohort__mix={"colon": 20, "rectum": 17, "other": 0})
    assert "is about other, in which the cohort has no patients" in said


def test_a_denominator_that_is_not_the_cohorts_is_refused():
    said = refused(median("K1", 410, "colon", denominator=27))
    assert "has 27 patients as denominator, and the cohort 20" in said


def test_a_midpoint_median_of_an_even_number_is_refused():
    midpoint = {"estimator": "kaplan_meier_median_midpoint"}
    said = refused(median("K1", 410, "colon", statistic=midpoint))
    assert "of 20, an even number, it is the middle of two deaths" in said
    (term,) = terms(median("K1", 410, "other", statistic=midpoint))
    assert term.samples[0].median == OrderStatistic(4, 409.5, 410.5)


def test_survival_of_an_analysis_set_is_refused():
    said = refused(median("K1", 410, statistic={"population": "evaluable"}))
    assert "survival of population evaluable has no closed form" in said


@pytest.mark.parametrize(
    ("variable", "more", "said"),
    [
        ("adverse_event.pain", {}, "pain is declared per administration"),
        ("adverse_event.any", {}, "any adverse event is a union of terms that share a frailty"),
        ("state.response", {}, "the share of state.response is a consequence of the whole course"),
        ("death", {}, "the probability of death is latent, not as seen"),
        ("response", {"population": "survivors"}, "who belongs to survivors depends on what happened (`alive_at`)"),
        ("response", {"where": {"status": "alive"}}, "it is conditional on `where.status`"),
        ("response", {"population": "evaluable"}, "how many of the denominator are of which stratum is not known"),
    ],
)
def test_shares_that_are_no_declared_number_are_refused(variable, more, said):
    assert said in refused(share("S1", 12, 30, variable, statistic=more))


def test_a_share_without_denominator_is_refused():
    given = share("S1", 12, 30, "adverse_event.fever") | {"denominator_unknown": True}
    del given["numerator"], given["denominator"]
    assert "has no denominator, so no count is known" in refused(given)


def test_patients_are_not_counted_twice():
    own = (share("S1", 12, 37, "response"), share("S2", 8, 20, "response", "colon"))
    assert "evidence.entries.S1 = 32.4%: counts patients of S2 once more" in refused(*own)
    again = (share("S1", 8, 20, "response", "colon"), share("S2", 8, 20, "response", "colon"))
    assert "evidence.entries.S2 = 40.0%: counts patients of S1 once more" in refused(*again)
    nested = (share("S1", 8, 20, "response", "colon"), share("S2", 3, 20, "response.complete", "colon"))
    assert "evidence.entries.S1 = 40.0%: counts patients of S2 once more" in refused(*nested)


def test_contradictory_targets_are_refused():
    # Curves that rise are refused with the evidence.
    all_strata = [landmark(f"K{i}", 50, s) for i, s in enumerate(("colon", "rectum"))]
    said = refused(*all_strata, landmark("K9", 5.4))  # 2 of 37 alive, though 15 of two strata are
    assert "cannot add up to those of all" in said


def test_two_medians_of_one_group_are_refused():
    assert "is the second median of one group" in refused(median("K1", 400, "colon"), median("K2", 410, "colon"))


def test_a_target_that_no_prior_touches_is_refused():
    file = schema.load({"name": "lakes", "parameters": {"fever": PRIORS["fever"]}})
    assert "depends on no parameter that has a prior" in refused(median("K1", 410, "colon"), calibration=file)


def test_names_in_the_file_must_mean_something():
    file = declared(
        left_out={"K3": "x", "K9": "no such entry"},
        survivors={"K1": {"count": 3, "because": "x"}},
    )
    _, problems = found(median("K1", 410, "colon"), median("K3", 333, role="held_out"), calibration=file)
    said = "\n".join(map(str, problems))
    assert "calibration.left_out.K3 = held_out: is no fitted target anyway" in said
    assert "calibration.left_out.K9 = K9: unknown entry of the evidence; known: K1, K3" in said
    assert "calibration.survivors.K1 = kaplan_meier_median: must be a kaplan_meier_landmark" in said


def test_a_count_of_survivors_is_for_percentages_that_nothing_prints():
    file = declared(survivors={"K1": {"count": 12, "because": "x"}})
    assert "is printed by 11/20: leave out calibration.survivors.K1" in refused(
        landmark("K1", 55, "colon"), calibration=file
    )


# ------------------------------------------------------------------------------------------------ components


def test_parameters_that_no_target_ties_together_are_searched_apart():
    entries = (median("K1", 410, "colon"), share("S1", 11, 37, "adverse_event.fever"))
    file = declared()
    experiment = compiled(config(*entries), quiet=True)
    keys, _ = schema.expanded(file, experiment.parameters)
    closed = ClosedForms(experiment, frozenset(path for paths in keys.values() for path in paths))
    made, _ = terms_of(file, closed)
    prior = schema.prior_of(file, experiment.parameters, closed.kinds)
    parts = {part.parameters: tuple(t.targets for t in own) for part, own in components(prior, made)}
    assert parts["survival.median.colon", "survival.shape.colon"] == (("K1",),)
    assert parts["fever",] == (("S1",),)
    assert parts["evaluable",] == ()
    assert sorted(name for names in parts for name in names) == sorted(prior.parameters)


# ------------------------------------------------------------------------------------------------------- fits


SMALL = {"initial": 2000, "step": 500, "draws": 2000}


def test_a_beta_prior_with_a_binomial_gives_its_conjugate_posterior():
    # Beta(½, ½) and 7 of 16: Beta(7.5, 9.5); evidence C(16, 7)·B(7.5, 9.5)/B(½, ½). Five standard errors.
    only = {"response.probability": PRIORS["response.probability"], "evaluable": PRIORS["evaluable"]}
    file = schema.load({"name": "lakes", "parameters": only, "search": SMALL})
    fitted = fit(config(share("S1", 7, 16, "response", "colon", statistic={"population": "evaluable"})), file)
    (reading,) = fitted.readings
    truth = stats.betabinom.logpmf(7, 16, 0.5, 0.5)
    assert abs(reading.log_evidence - truth) < 5 * max(reading.log_evidence_error, 1e-3)
    by_name = {row.name: row for row in fitted.rows()}
    row = by_name["response.probability.colon"]
    exact = stats.beta(7.5, 9.5)
    for found_, level in ((row.posterior.lower, 0.025), (row.posterior.median, 0.5), (row.posterior.upper, 0.975)):
        q = exact.ppf(level)
        error = math.sqrt(level * (1 - level) / row.effective_size) / exact.pdf(q)
        assert abs(found_ - q) < 5 * error
    assert row.informed
    rectum = by_name["response.probability.rectum"]
    assert not rectum.informed
    assert rectum.contraction == pytest.approx(0.0, abs=1e-12)
    assert not by_name["evaluable"].informed


READINGS = {
    "size": {
        "question": "How many had colon",
        "default": "twenty",
        "alternatives": {
            "twenty": {"note": "as printed"},
            "twenty_two": {"note": "as read", "cohort": {"mix": {"colon": 22, "rectum": 8, "other": 7}}},
        },
    }
}


def test_readings_are_weighed_by_their_evidence():
    file = declared(readings={"size": {"twenty": 1, "twenty_two": 3}}, search=SMALL)
    fitted = fit(config(landmark("K1", 50, "colon"), readings=READINGS), file)
    assert [reading.chosen["size"] for reading in fitted.readings] == ["twenty", "twenty_two"]
    log = np.array([reading.log_evidence for reading in fitted.readings]) + np.log([0.25, 0.75])
    assert fitted.probabilities == pytest.approx(np.exp(log) / np.exp(log).sum())
    # P(10 of 20) and P(11 of 22) with a survival that is nearly uniform: 1/21 and 1/23.
    assert fitted.readings[0].log_evidence - fitted.readings[1].log_evidence == pytest.approx(
        math.log(23 / 21), abs=0.1
    )


def test_the_summary_of_all_readings_weighs_them_by_their_probability():
    file = declared(readings={"size": {"twenty": 1e-9, "twenty_two": 1}}, search=SMALL)
    fitted = fit(config(landmark("K1", 50, "colon"), median("K2", 333), readings=READINGS), file)
    first, second = fitted.readings
    of_all, of_second = fitted.rows(), fitted.rows_of(second)
    for one, other in zip(of_all, of_second, strict=True):
        assert one.posterior.median == pytest.approx(other.posterior.median, rel=1e-3)  # draws a little closer together
    apart = [
        abs(one.posterior.median / other.posterior.median - 1)
        for one, other in zip(of_all, fitted.rows_of(first), strict=True)
    ]
    assert max(apart) > 0.01


def test_a_reading_chosen_by_hand_is_the_only_one():
    file = declared(readings={"size": {"twenty": 1, "twenty_two": 3}}, search=SMALL)
    made = config(landmark("K1", 50, "colon"), readings=READINGS, study__reading="twenty")
    assert [dict(reading.chosen) for reading in fit(made, file).readings] == [{"size": "twenty"}]


def overruled(**study: str) -> dict[str, Any]:
    """Readings of which a closer file overrules one, as composition says it."""
    readings = copy.deepcopy(READINGS)
    readings["size"]["alternatives"]["twenty_two"]["overruled"] = {"cohort.mix": "cohort/mine.yaml"}
    return config(landmark("K1", 50, "colon"), readings=readings, **study)


def test_a_reading_that_a_closer_file_overrules_is_refused_by_name():
    file = declared(readings={"size": {"twenty": 1, "twenty_two": 3}}, search=SMALL)
    said = r"readings\.size\.twenty_two = 3.*cannot be fitted: cohort/mine\.yaml, closer to the run, sets cohort\.mix"
    with pytest.raises(ConfigError, match=said):
        fit(overruled(), file)


def test_an_overruled_reading_that_the_command_line_names_is_fitted():
    file = declared(readings={"size": {"twenty": 1, "twenty_two": 3}}, search=SMALL)
    named = overruled(study__reading="twenty_two")
    (reading,) = fit(named, file, overrides=["study.reading=twenty_two"]).readings
    assert reading.chosen == {"size": "twenty_two"}
    assert reading.experiment.tables.patients.share[0][0] == pytest.approx(22 / 37)
    assert not reading.experiment.not_applied


def test_a_reading_that_is_not_applied_is_said_in_the_report():
    made = overruled(study__reading="twenty_two")  # set by a file that is no closer than the reading
    fitted = fit(made, declared(search=SMALL))
    assert fitted.readings[0].chosen == {"size": "twenty"}
    said = "Not applied: twenty_two, cohort/mine.yaml, closer to the run, sets cohort.mix"
    assert said in " ".join(report(fitted).split())


def test_readings_that_fit_other_targets_are_not_weighed():
    readings = copy.deepcopy(READINGS)
    readings["size"]["alternatives"]["twenty_two"]["entries"] = {"K2": {"role": "held_out"}}
    file = declared(readings={"size": {"twenty": 1, "twenty_two": 3}}, search=SMALL)
    entries = (landmark("K1", 50, "colon"), share("K2", 11, 37, "adverse_event.fever"))
    with pytest.raises(ConfigError, match=r"twenty_two does not fit the same targets as the first \(K2\)"):
        fit(config(*entries, readings=readings), file)
    (one,) = fit(config(*entries, readings=readings, study__reading="twenty_two"), file).readings
    assert one.chosen["size"] == "twenty_two"


def test_unknown_readings_are_refused_with_the_nearest_name():
    file = declared(readings={"sizes": {"twenty": 1}, "size": {"twenti": 1}})
    with pytest.raises(ConfigError) as refusal:
        fit(config(landmark("K1", 50, "colon"), readings=READINGS), file)
    said = str(refusal.value)
    assert "calibration.readings.sizes = sizes: unknown question of the evidence" in said
    assert "calibration.readings.size.twenti = twenti: unknown alternative of size" in said
    assert "(did you mean 'twenty'?)" in said


def test_problems_of_a_reading_say_under_which():
    file = declared(readings={"size": {"twenty": 1, "twenty_two": 1}})
    with pytest.raises(ConfigError, match=r"no count of 22 prints it.*\(under twenty_two\)"):
        fit(config(landmark("K1", 55, "colon"), readings=READINGS), file)


def test_priors_that_exclude_the_data_are_refused():
    priors = PRIORS | {"survival.median": {"uniform": {"low": "1 d", "high": "2 d"}}, "survival.shape": {"fixed": 8}}
    file = schema.load({"name": "lakes", "parameters": priors, "search": SMALL})
    with pytest.raises(ConfigError, match="gives K1 any probability"):
        fit(config(median("K1", 410, "colon")), file)


def test_a_fit_to_nothing_is_refused():
    with pytest.raises(ConfigError, match="no fitted target is left"):
        fit(config(median("K1", 410, "colon")), declared(left_out={"K1": "for a test"}))


def test_draws_are_equally_weighted_and_keep_what_hangs_together():
    file = declared(search=SMALL)
    # One landmark leaves a ridge of median and shape.
    entries = (landmark("K2", 15, "colon"), share("S1", 11, 37, "adverse_event.fever"))
    fitted = fit(config(*entries), file)
    (reading,) = fitted.readings
    draws = reading.draws(2000)
    assert {len(values) for values in draws.values()} == {2000}
    assert set(draws) == {row.name for row in fitted.rows()}
    rows = {row.name: row for row in fitted.rows()}
    for name in ("survival.median.colon", "fever"):
        assert np.median(draws[name]) == pytest.approx(rows[name].posterior.median, rel=0.02)
    together = np.corrcoef(np.log(draws["survival.median.colon"]), draws["survival.shape.colon"])[0, 1]
    apart = np.corrcoef(draws["survival.median.colon"], draws["fever"])[0, 1]
    assert abs(apart) < 5 / math.sqrt(2000) < abs(together)
    assert (
        np.mean(np.diff(draws["survival.median.colon"]) == 0.0) < 0.02
    )  # shuffled: the copies of a heavy draw do not stand together
    again = fit(config(*entries), file).readings[0].draws(2000)
    assert all(np.array_equal(again[name], draws[name]) for name in draws)


def test_another_target_elsewhere_changes_no_bit_of_a_component():
    file = declared(search=SMALL)
    alone = fit(config(median("K1", 410, "colon")), file).readings[0]
    beside = fit(config(median("K1", 410, "colon"), share("S1", 11, 37, "adverse_event.fever")), file).readings[0]
    for one in alone.components:
        if one.targets == ("K1",):
            (other,) = (c for c in beside.components if c.targets == ("K1",))
            assert np.array_equal(one.draws.weights, other.draws.weights)
            assert np.array_equal(one.draws.coordinates, other.draws.coordinates)


def test_the_size_of_batches_changes_no_bit():
    fits = [
        fit(config(median("K1", 410, "colon"), median("K2", 333)), declared(search=SMALL | {"batch": batch}))
        for batch in (100, 2000)
    ]
    first, second = (one.readings[0].components for one in fits)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one.draws.weights, other.draws.weights)
        assert one.draws.log_evidence == other.draws.log_evidence
