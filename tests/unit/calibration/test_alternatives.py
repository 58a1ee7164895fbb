"""Other words for the model's own choices: what is compared, what it says, what is refused; what is extrapolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from calibration import schema
from calibration.diagnostics.comparison import Comparison, check, compare
from calibration.output import figures
from calibration.output.comparison_tree import comparison_nodes
from calibration.output.report import compared
from calibration.posterior.choices import choices_of, combinations, held, taken, with_choices
from calibration.posterior.draws import Draws, posterior_draws
from calibration.posterior.feasibility import truncate
from calibration.posterior.fit import Fit, fit
from calibration.prediction.extrapolation import informed_until
from calibration.prediction.survival import _simulated, named_times, survival_of, times_of
from simulator.errors import ConfigError
from simulator.evidence.entries import EvidenceEntry
from simulator.results.assumptions import Look, last_looks, look_of
from simulator.running.batch import run
from simulator.views import figures as simulated_figures
from tests import two_arms
from tests.models import compiled, container
from tests.unit.calibration.test_targets import entry, landmark, median, not_reached

FAMILIES = ("weibull", "log_logistic", "log_normal")
FAMILY = "survival.family"
WEIGHTS = {FAMILY: dict.fromkeys(FAMILIES, 1)}
PRIORS: dict[str, Any] = {
    "survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}},
    "survival.shape": {"log_normal": {"median": 1.3, "sigma": 0.35}},
}
PRINTED = (median("K1", 300), landmark("K2", 40.0))
FEVER = {"estimator": "proportion", "variable": "adverse_event.fever"}
COURSE = {
    "interval": "3 wk",
    "max_administrations": 2,
    "adverse_events": {"terms": {"fever": {"probability": "parameters.fever", "scale": "ever"}}},
}


def config(*entries: dict[str, Any], n: int = 20, **changes: Any) -> dict[str, Any]:
    """One death of a family that a parameter names, in one stratum; a published study that names it as well."""
    hazard = {
        "family": "parameters.survival.family",
        "median": "parameters.survival.median",
        "weibull_shape": "parameters.survival.shape",
    }
    parameters = {
        "survival": {"family": {"value": "weibull", "provenance": "assumed"}, "median": "300 d", "shape": 1.3},
    }
    made = container(
        {"death": {"from": ["alive"], "to": "dead", "hazard": hazard}},
        parameters=parameters | changes.pop("parameters", {}),
        n_patients=n,
        horizon="6 y",
        seed=3,
        **changes,
    )
    made["engine"] = "compiled"
    source = {"name": "lake", "title": "Invented", "sources": [{"file": "a.txt", "citation": "nobody"}]}
    made["evidence"] = source | {"entries": list(entries)}
    return made


def declared(**more: Any) -> schema.Calibration:
    search = {"initial": 1000, "step": 200, "draws": 200}
    return schema.load({"name": "lake", "parameters": PRIORS, "search": search} | more)


def fitted(made: dict[str, Any], file: schema.Calibration, n: int = 200) -> tuple[Fit, Draws]:
    found = truncate(fit(made, file), n, threads=1)
    return found, posterior_draws(found, n)


def comparison(*entries: dict[str, Any], **of: Any) -> Comparison:
    return compare(*fitted(config(*entries), declared(alternatives=WEIGHTS | of.pop("alternatives", {}))), **of)


# ------------------------------------------------------------------------------------------------------ words


def test_every_combination_is_compared_and_the_configurations_own_comes_first():
    made = config(*PRINTED)
    made["model"]["events"]["death"]["clock"] = "forward"
    weights = {FAMILY: {"log_normal": 2, "weibull": 3}, "model.events.death.clock": {"reset": 5, "forward": 1}}
    found = combinations(declared(alternatives=weights), made)
    assert [(one.name, one.weight) for one in found] == [
        ("weibull, forward", 3.0),
        ("log_normal, reset", 10.0),
        ("log_normal, forward", 2.0),
        ("weibull, reset", 15.0),
    ]


def test_a_word_is_set_where_it_stands_and_in_the_published_study():
    made = config(*PRINTED)
    made["parameters"]["reference"] = {"parameters": {"survival": {"family": "weibull", "median": "200 d"}}}
    other, overrides = with_choices(made, {FAMILY: "log_normal"})
    assert other["parameters"]["survival"]["family"] == {"value": "log_normal", "provenance": "assumed"}
    assert other["parameters"]["reference"] == {"parameters": {"survival": {"median": "200 d"}}}
    assert overrides == ("parameters.survival.family=log_normal",)
    assert choices_of(declared(alternatives=WEIGHTS), made) == {FAMILY: "weibull"}  # the old one is as it was
    assert compiled(other).tables.family.tolist() != compiled(made).tables.family.tolist()


@pytest.mark.parametrize(
    ("alternatives", "said"),
    [
        ({"survival.familly": dict.fromkeys(FAMILIES, 1)}, "survival.familly: unknown choice.*'survival.family'"),
        ({"survival.shape": {"one": 1, "two": 1}}, r"survival.shape = 1.3: is no name"),
        (
            {"model.events.death.hazard.family": dict.fromkeys(FAMILIES, 1)},
            "= parameters.survival.family: is no name, so it has no alternatives; name survival.family",
        ),
        ({"evidence.name": {"lake": 1, "sea": 1}}, "evidence.name: unknown choice"),
        (
            {FAMILY: {"weibull": 1, "log_logistik": 1}},
            "alternatives.survival.family.log_logistik: unknown hazard family.*'log_logistic'",
        ),
        ({FAMILY: {"weibull": 1, "tabulated": 1}}, "tabulated"),
        (
            {FAMILY: {"weibull": 1, "log_normal": {"weight": 1, "parameters": {"survival.shapes": {"fixed": 1}}}}},
            "calibration.alternatives.survival.family.log_normal.parameters.survival.shapes: unknown parameter.*"
            "'survival.shape'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_by_its_key_before_anything_is_searched(alternatives, said):
    with pytest.raises(ConfigError, match=f"config error: .*{said}"):
        check(config(*PRINTED), declared(alternatives=alternatives), ())


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"weibull": 1}, "family"),
        ({"weibull": 1, "log_normal": 0}, "family.log_normal.weight"),
        ({"weibull": 1, "log_normal": {"wait": 1}}, "family.log_normal.wait"),
        ({"weibull": 1, "log_normal": {"weight": 1, "parameters": {"a": {}}}}, "family.log_normal.parameters.a"),
    ],
)
def test_the_file_is_checked_by_itself(weights, said):
    with pytest.raises(ConfigError, match=f"calibration.alternatives.survival.{said}"):
        declared(alternatives={FAMILY: weights})


def test_an_alternative_that_does_not_fit_the_same_targets_is_refused():
    made = config(*PRINTED)
    made["model"]["events"]["death"]["hazard"]["family"] = "weibull"
    made["model"]["events"]["death"]["clock"] = "forward"
    file = declared(alternatives={"model.events.death.clock": {"forward": 1, "reset": 1}})
    with pytest.raises(ConfigError, match=r"K1.*not at risk from entry.*under reset, one of"):
        check(made, file, ())


# ------------------------------------------------------------------------------------------------------ priors


def test_a_model_choice_set_by_hand_is_calibrated_with_its_priors():
    own = {"weight": 1, "parameters": {"survival.shape": {"log_normal": {"median": 2.0, "sigma": 0.1}}}}
    file = declared(alternatives={FAMILY: {"weibull": 1, "log_normal": own}})
    made, _ = with_choices(config(*PRINTED), {FAMILY: "log_normal"})
    assert taken(file, config(*PRINTED)) is file
    (shape,) = (row for row in fit(made, file).rows() if row.name == "survival.shape")
    assert shape.prior.median == pytest.approx(2.0, abs=0.02)
    assert fit(made, file).declared is file  # as it was written, so that it can be read again
    assert combinations(file, made)[0].chosen == {FAMILY: "log_normal"}
    found = compare(*fitted(made, file))
    before = [next(row.prior.median for row in side.rows if row.name == "survival.shape") for side in found.sides]
    assert before == pytest.approx([2.0, 1.3], abs=0.05)


def test_a_word_that_is_none_of_the_alternatives_is_calibrated_alone():
    file = declared(alternatives={FAMILY: {"weibull": 1, "log_normal": 1}})
    made, _ = with_choices(config(*PRINTED), {FAMILY: "log_logistic"})
    check(made, file, ())
    assert combinations(file, made) == []
    assert held(file, made) == {FAMILY: "log_logistic"}
    found = compare(*fitted(made, file))
    assert len(found.sides) == 1
    assert "Not compared: survival.family is log_logistic, which is none of its" in compared(found)


# -------------------------------------------------------------------------------------------------- comparison


def test_what_is_calibrated_has_the_same_bits_whatever_it_is_compared_with():
    (alone, of_alone), (beside, of_beside) = (
        fitted(config(*PRINTED), declared(**more)) for more in ({}, {"alternatives": WEIGHTS})
    )
    found = compare(beside, of_beside)
    assert found.sides[0].fitted is beside
    assert beside.readings[0].log_evidence == alone.readings[0].log_evidence
    for name, column in of_alone.values.items():
        assert np.array_equal(column, of_beside.values[name])
    assert compare(alone, of_alone).names == [""]


def test_the_same_fit_comes_of_a_word_alone_and_in_comparison():
    found = comparison(*PRINTED)
    made, overrides = with_choices(config(*PRINTED), {FAMILY: "log_normal"})
    alone = truncate(fit(made, declared(), overrides=overrides), 200, threads=1)
    side = found.sides[found.names.index("log_normal")]
    assert side.log_evidence == alone.readings[0].log_evidence
    assert side.rows == alone.rows()


def test_probabilities_are_weights_times_evidence():
    weights = {FAMILY: {"weibull": 1, "log_normal": 3}}
    found = compare(*fitted(config(*PRINTED), declared(alternatives=weights)))
    evidence = [side.fitted.readings[0].log_evidence for side in found.sides]
    odds = 3 * math.exp(evidence[1] - evidence[0])
    assert found.probabilities.tolist() == pytest.approx([1 / (1 + odds), odds / (1 + odds)])
    assert found.weighing.probabilities().tolist() == pytest.approx([0.25, 0.75])
    low, high = (found.mean[:, 1, 0].min(), found.mean[:, 1, 0].max())
    assert low < found.averaged_mean[1, 0] < high
    assert found.averaged_mean[0, 0] <= found.mean[:, 0, 0].max()
    assert found.averaged_mean[2, 0] >= found.mean[:, 2, 0].min()


def test_what_no_word_moves_is_not_searched_again(monkeypatch):
    fever = entry("A1", "30.0%", 30.0, "%", numerator=6, denominator=20, statistic=FEVER)
    made = config(*PRINTED, fever, course=COURSE, parameters={"fever": 0.3})
    priors = PRIORS | {"fever": {"beta": {"a": 1, "b": 1}}}
    main, draws = fitted(made, declared(parameters=priors, alternatives=WEIGHTS))
    searched: list[tuple[str, ...]] = []
    monkeypatch.setattr("calibration.posterior.components.imis", _counted(searched))
    found = compare(main, draws)
    assert len(searched) == 2  # survival, for each of the two other families
    assert found.differing == ["survival.median", "survival.shape"]
    shared = [c for side in found.sides for c in side.fitted.readings[0].components if "A1" in c.targets]
    assert shared[0] is shared[1] is shared[2]


def _counted(searched: list[Any]) -> Any:
    from calibration.samplers.imis import imis

    def search(*arguments: Any, **more: Any) -> Any:
        searched.append(more["stream"])
        return imis(*arguments, **more)

    return search


def test_a_family_that_gives_the_targets_no_probability_is_named():
    never = {"survival.median": {"fixed": "1 d"}, "survival.shape": {"fixed": 200}}  # nobody lives to day 300
    weights = {"weibull": {"weight": 1, "parameters": never}, "log_normal": 1, "log_logistic": 1}
    made, _ = with_choices(config(*PRINTED), {FAMILY: "log_logistic"})
    found = compare(*fitted(made, declared(alternatives={FAMILY: weights})))
    assert found.names == ["log_logistic", "log_normal"]
    assert "no draw of the priors" in found.refused["weibull"]
    assert "Not compared: weibull:" in compared(found)


def test_what_is_simulated_is_compared_only_where_it_is_asked_for():
    file = declared(
        alternatives={FAMILY: {"weibull": 1, "log_normal": 1}},
        simulated={"s": {"targets": {"K1": "60 d", "K2": 0.1}, "replicates": 20, "recombined": 1}},
        search={"initial": 100, "step": 50, "draws": 100, "stages": 2},
    )
    check(config(*PRINTED), file, ())
    main, draws = fitted(config(*PRINTED), file, 100)
    assert compare(main, draws, depth="none").skipped == {"log_normal": "full"}
    standard = compare(main, draws)
    assert standard.names == ["weibull"]
    assert "Not compared: log_normal (diagnostics=full does)" in compared(standard)
    full = compare(main, draws, depth="full")
    assert full.names == ["weibull", "log_normal"]
    assert full.differing == ["survival.median", "survival.shape"]
    first, second = (side.fitted.readings[0].components[0] for side in full.sides)
    assert first.terms == second.terms  # the same is asked of studies, but the studies are not the same
    assert not np.array_equal(first.draws.log_likelihood[:100], second.draws.log_likelihood[:100])
    assert full.informed["all"] == 365.25  # as in closed form


@pytest.mark.parametrize("truth", ["weibull", "log_normal"])
def test_the_evidence_prefers_the_family_that_is_true(truth):
    """1,000 deaths, landmarks at six times. The multinomial divergence of the truth from the nearest law of the other
    shape of tail is 0.045 a patient (numerical minimum), so the log Bayes factor is about N(45, 90): it is below 4.6,
    which leaves the wrong one more than 1 %, with probability Φ(−4.3) < 2e-5. Log-logistic and log-normal are not told
    apart by so few (divergence 0.003)."""
    n, times = 1000, (60, 120, 240, 480, 960, 1500)
    uniform = np.random.default_rng(11).uniform(size=n)
    quartiles = math.log(math.log(4) / math.log(4 / 3))  # of a Weibull of shape 1, of the logarithms
    sigma = quartiles / (2 * stats.norm.ppf(0.75) * 1.3)
    by_family = {
        "weibull": np.log(-np.log(uniform) / math.log(2)) / 1.3,
        "log_normal": sigma * stats.norm.ppf(uniform),
    }
    log_time = by_family[truth]
    death = 300 * np.exp(log_time)
    entries = [landmark(f"L{t}", round(100 * float((death > t).mean()), 1), at=f"{t} d") for t in times]
    main, draws = fitted(config(*entries, n=n), declared(alternatives=WEIGHTS))
    found = compare(main, draws)
    probability = dict(zip(found.names, found.probabilities, strict=True))
    assert probability["weibull"] > 0.99 if truth == "weibull" else probability["weibull"] < 0.01


# ------------------------------------------------------------------------------------------ survival, extrapolation


def test_survival_under_draws_is_the_closed_form_and_its_mean_the_integral():
    main, draws = fitted(config(*PRINTED), declared(), 20)
    found = survival_of(main, draws)
    assert found.closed
    assert found.groups == ("all",)
    m, k = draws.values["survival.median"], draws.values["survival.shape"]
    truth = np.exp(-math.log(2) * (found.times[None] / m[:, None]) ** k[:, None])
    assert found.share[:, 0] == pytest.approx(truth, abs=1e-12)

    def curve(t: float, i: int) -> float:
        return math.exp(-math.log(2) * (t / m[i]) ** k[i])

    means = [integrate.quad(curve, 0, 5 * 365.25, args=(i,), limit=200)[0] for i in range(20)]
    assert found.mean[:, 0] == pytest.approx(means, abs=0.05)
    assert found.restricted_to == 5 * 365.25


def test_simulated_survival_is_the_closed_one_within_its_error():
    """40 studies of 20 patients a draw, 50 draws: the share alive has a standard error of at most ½/√800 = 0.018 in
    each, binomial; any draw at any of four times is off by 5.5 of them with a probability of 200·4e-8 < 1e-5. So is the
    mean: the standard deviation of a time between 0 and 1,826 days is at most 913 days."""
    main, draws = fitted(config(*PRINTED), declared(), 50)
    closed = survival_of(main, draws)
    counted = _simulated(main, draws, *times_of(main))
    assert not counted.closed
    assert counted.groups == closed.groups
    at = np.searchsorted(closed.times, [100, 365, 730, 1500])
    # the share between points of a grid of 7 days is read off a line: 0.005 at most where a curve bends so little
    assert np.abs(counted.share - closed.share)[:, :, at].max() < 5.5 * 0.5 / math.sqrt(800) + 0.005
    assert np.abs(counted.mean - closed.mean).max() < 5.5 * 913 / math.sqrt(800)


def test_a_landmark_of_a_year_is_shown_once():
    year = fitted(config(*PRINTED, landmark("K3", 20.0, at="500 d")), declared(), 20)[0]
    assert named_times(year) == [365.25, 500.0, 730.5, 1826.25]
    days = fitted(config(PRINTED[0], landmark("K2", 40.0, at="365 d")), declared(), 20)[0]
    assert named_times(days) == [365.0, 730.5, 1826.25]


TWO = {"where": {"stratum": "large"}, "against": {"stratum": "small"}}


@pytest.mark.parametrize(
    ("printed", "unit", "statistic", "more", "until"),
    [
        ("50 %", "%", {"estimator": "kaplan_meier_landmark", "time": 365}, {}, 365.0),
        ("419 days", "d", {"estimator": "kaplan_meier_median"}, {}, 419.5),
        ("730 days", "d", {"estimator": "kaplan_meier_median"}, {"bound": "above"}, 730.0),
        ("1.5", "1", {"estimator": "kaplan_meier_median", "comparison": "ratio", **TWO}, {}, math.nan),
        ("500 days", "d", {"estimator": "kaplan_meier_median", "confidence": {"end": "upper"}}, {}, 500.5),
        (
            "10 %",
            "%",
            {"estimator": "kaplan_meier_landmark", "time": 365, "comparison": "difference", **TWO},
            {},
            365.0,
        ),
        ("60 days", "d", {"estimator": "kaplan_meier_median", "comparison": "difference", **TWO}, {}, math.nan),
    ],
)
def test_a_number_looks_until_its_own_time_or_the_end_of_its_rounding(printed, unit, statistic, more, until):
    given = entry("N", printed, float(printed.split()[0]), unit, statistic={"variable": "survival", **statistic})
    found = look_of(EvidenceEntry.model_validate({**given, **more}))
    assert found is not None
    assert found.until == pytest.approx(until, nan_ok=True)


def test_a_share_of_an_event_looks_at_no_survival():
    statistic = {"estimator": "proportion", "variable": "adverse_event.fever"}
    share = entry("N", "30 %", 30.0, "%", statistic=statistic)
    assert look_of(EvidenceEntry.model_validate({**share, "denominator": 10})) is None


def look(group: str, until: float) -> Look:
    return Look((group,), until)


def test_what_is_said_of_all_patients_speaks_of_each_and_what_is_said_of_each_of_all():
    looks = [look("colon", 500.0), look("rectum", 900.0), look("all", 300.0), look("new", 100.0)]
    assert last_looks(looks, ("all", "colon", "rectum", "arm.new")) == {
        "all": 300.0,
        "colon": 500.0,
        "rectum": 900.0,
        "arm.new": 300.0,
    }
    assert last_looks(looks[:2], ("all", "colon", "rectum"))["all"] == 500.0
    assert last_looks(looks[:1], ("all", "colon", "rectum")) == {"all": 0.0, "colon": 500.0, "rectum": 0.0}
    assert last_looks(looks[:1], ("all",)) == {"all": 500.0}  # one stratum is all patients


def test_a_comparison_carries_over_what_is_known_of_one_of_its_groups():
    looks = [look("old", 400.0), Look(("new", "old"), math.nan), Look(("newest", "new"), math.nan)]
    groups = ("all", "old", "arm.new", "newest", "other")
    assert last_looks(looks, groups) == {"all": 0.0, "old": 400.0, "arm.new": 400.0, "newest": 400.0, "other": 0.0}
    assert last_looks(looks[1:], groups) == dict.fromkeys(groups, 0.0)


def test_a_simulated_target_looks_no_further_than_the_same_target_in_closed_form():
    """A trial of two arms: a median of one, a hazard ratio; nothing is informed until the end of follow-up."""
    made = two_arms.two_arms()
    made["evidence"]["entries"] = [e for e in made["evidence"]["entries"] if e["id"] in ("median", "ratio")]
    term = {"targets": {"median": "2 mo", "ratio": 0.2}, "replicates": 20, "recombined": 0}
    term["parameters"] = ["survival.median", "effect.death"]
    search = {"draws": 100, "initial": 200}
    found = fit(made, schema.load({**two_arms.CALIBRATION, "simulated": {"survival": term}, "search": search}))
    until = 12.5 * 30.4375
    assert informed_until(found, ("all", "standard", "added")) == {"all": until, "standard": until, "added": until}


def test_a_landmark_at_ten_years_has_a_row():
    made = config(median("K1", 900), landmark("K2", 15.0, at="10 y"))
    made["study"]["horizon"] = "12 y"
    said = compared(compare(*fitted(made, declared())))
    assert "all, 10 y  " in said
    assert "all, 5 y  " in said
    assert "all, mean days within 5 y  " in said


@pytest.mark.parametrize(
    ("entries", "more", "until"),
    [
        (PRINTED, {}, 365.25),
        ((median("K1", 400),), {}, 400.5),
        ((landmark("K2", 60.0), not_reached("N1", 20)), {}, 20 * 30.4375),
        (PRINTED, {"left_out": {"K2": "not believed"}}, 300.5),
    ],
)
def test_the_last_informative_time_is_that_of_what_was_fitted(entries: Sequence[dict[str, Any]], more, until):
    found = fit(config(*entries), declared(**more))
    assert informed_until(found, ("all",)) == {"all": until}


# ------------------------------------------------------------------------------------------------ what is shown


def test_the_tree_holds_survival_by_alternative_with_a_flag_on_what_is_extrapolated():
    found = comparison(*PRINTED)
    nodes = comparison_nodes(found)
    survival, alternatives = nodes["survival"], nodes["alternatives"]
    assert survival["survival_median"].dims == ("alternative", "group", "time")
    assert survival["alternative"].values.tolist() == list(FAMILIES)
    assert alternatives["posterior_median"].dims == ("alternative", "parameter")
    for node in nodes.values():
        assert all({"long_name", "units"} <= set(v.attrs) for v in node.variables.values())
    beyond = survival["extrapolated"].sel(group="all")
    assert float(survival["last_informative_time"].sel(group="all")) == 365.25
    assert np.array_equal(beyond.values, survival["time"].values > 365.25)
    assert bool(survival["restricted_mean_extrapolated"].all())
    for name in ("survival", "averaged_survival"):
        low, mid, high = (survival[f"{name}_{end}"].values for end in ("lower", "median", "upper"))
        assert (low <= mid).all()
        assert (mid <= high).all()
    assert float(alternatives["probability"].sum()) == pytest.approx(1.0)


def test_a_calibration_alone_has_its_survival_in_the_tree_too():
    nodes = comparison_nodes(compare(*fitted(config(*PRINTED), declared())))
    assert set(nodes) == {"survival"}
    assert nodes["survival"]["alternative"].values.tolist() == ["calibration"]


def test_the_report_marks_what_is_extrapolated_and_says_since_when():
    said = compared(comparison(*PRINTED))
    lines = {line.split("  ")[0]: line for line in said.splitlines()}
    assert "all, 1 y" in lines
    assert "all, 2 y*" in lines
    assert "all, mean days within 5 y*" in lines
    assert "(all: day 365.25)" in " ".join(said.split())  # lines are wrapped
    assert lines["survival; median (95 %)"].split()[-4:] == [*FAMILIES, "averaged"]
    assert "Side by side: survival.family" in said
    assert said.count("0.33 before") == 3
    assert "such as a shape" in said


def test_the_figure_shows_each_alternative_and_where_extrapolation_begins():
    found = comparison(*PRINTED)
    figure = figures.alternatives(found)
    (panel,) = (ax for ax in figure.axes if ax.get_visible())
    assert panel.get_title(loc="left") == "All patients"
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels[0] == f"weibull, probability {found.probabilities[0]:.2f}"
    assert "beyond the last time that a target informs" in labels
    hatched = [c for c in panel.collections if c.get_hatch()]
    (beyond,) = hatched
    first = min(path.vertices[:, 0].min() for path in beyond.get_paths())
    assert first == pytest.approx(365.25, abs=15)  # the next point of the grid


def test_survival_is_hatched_from_the_last_informative_time_of_each_group():
    made = config(*PRINTED)
    made["parameters"]["survival"]["median"] = {"value": "300 d", "provenance": "reported", "source": "K1"}
    tree = run(compiled(made))  # not all of survival is assumed
    for informed, start in ((None, 365.25), ({"all": 700.0}, 700.0)):
        figure = simulated_figures.survival(tree, informed=informed)
        panel = next(ax for ax in figure.axes if ax.get_visible())
        (beyond,) = (c for c in panel.collections if c.get_hatch())
        first = min(path.vertices[:, 0].min() for path in beyond.get_paths())
        assert first == pytest.approx(start, abs=7)  # a grid of 7 days
