"""What limits a calibrated number besides its targets: held parameters, the cut, bounds, and priors; issue 16, §2."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy import special, stats

from calibration.cli import declaration, preparation
from calibration.diagnostics.sensitivity import CONFLICT, WEAK, distance, pressed, sensitivities
from calibration.diagnostics.truncation import truncated
from calibration.diagnostics.wider import widened
from calibration.likelihoods import held
from calibration.likelihoods.simulated import moved
from calibration.output.parameter_file import parameters_of
from calibration.output.report import report
from calibration.posterior import feasibility
from calibration.posterior.feasibility import truncate
from calibration.posterior.fit import fit
from calibration.posterior.readings import prepare
from calibration.priors.distributions import Uniform, log_normal
from calibration.priors.parameters import ParameterSets, Prior, Single
from simulator.configuration.library import shipped_folder
from simulator.experiment.batches import Possible

RATE = "response.probability"


# ------------------------------------------------------------------------------------------------------- held values


@pytest.fixture(scope="module")
def ilp():
    prepared, declared = preparation(["cohort=ilp", "study.reading=naive"], None)
    (reading,) = prepare(prepared.container, declared, prepared.overrides).readings
    return reading


def test_survival_has_a_likelihood_where_a_held_response_cannot_be_seen(ilp):
    # Case 10. 200,000 studies in plain NumPy (exponential times of median 400 d, 8 % operative deaths, entry uniform
    # over 50 months, cut 8.5 months later, 41 of 46 observed), with the same kernels: log probability −11.55 ± 0.03.
    # Between seeds of this term the standard deviation is about 0.3; four of a mean of three are 0.7.
    month = 30.4375
    values = {
        "survival.median": 400.0,
        "survival.shape": 1.0,
        "study.accrual": 50 * month,
        "study.minimum_follow_up": 8.5 * month,
        "additional_infusion.hazard_ratio": 1.0,
    }
    sets = ParameterSets({name: np.array([value]) for name, value in values.items()}, 1)
    term = next(term for term in ilp.terms if term.name == "survival")
    assert len(held.possible(term.experiment, {name: sets[name] for name in values}).rows) == 0
    assert not term.undefined(sets).any()
    found = [one.log_density(sets)[0] for one in (term, term.with_other_seed(1), term.with_other_seed(2))]
    assert np.mean(found) == pytest.approx(-11.55, abs=0.7)


def test_only_what_makes_a_set_possible_is_moved(ilp):
    term = next(term for term in ilp.terms if term.name == "survival")
    names = {name for move in term.moves for name in move}
    assert "response.probability" in names
    assert not names & {"operative_death.probability", "study.observed", *term.parameters}


def test_a_refused_trial_does_not_count_as_a_move(ilp, monkeypatch):
    term = next(term for term in ilp.terms if term.name == "operation")
    prior = Prior((Single("relapse.median", log_normal(600.0, 0.5)),))
    assert moved(term, prior) == (frozenset(), frozenset())
    refuse = Possible(None, (), {0: "no", 1: "no"})
    monkeypatch.setattr("calibration.likelihoods.simulated.possible", lambda *_: refuse)
    assert moved(term, prior) == (frozenset(), frozenset({"relapse.median"}))


# ----------------------------------------------------------------------------------------------------- a joint cut


def below(limit):
    """A model in which the rate of response times a factor of the progression must stay below a limit."""

    def possible(config, values, *, overrides=()):
        pairs = zip(values[RATE], values["progression.median"], strict=True)
        bad = {row: "rate: is too much" for row, (rate, days) in enumerate(pairs) if rate >= limit(days)}
        return Possible(None, tuple(row for row in range(len(values[RATE])) if row not in bad), bad)

    return possible


@pytest.fixture(scope="module")
def fitted():
    prepared, declared = preparation(["cohort=il2_hai_unresectable"], None)
    return fit(prepared.container, declared, overrides=prepared.overrides)


@pytest.fixture(scope="module")
def joint(fitted):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feasibility, "declare_possible", below(lambda days: days / (days + 60.0)))
        return truncate(fitted, 1000, threads=1)


def test_a_rate_and_what_limits_it_are_cut_together(joint):
    # Posterior Beta(19.5, 6.5) times progression log-normal(300 d, 0.5), on rate < days/(days + 60): the mean rate by
    # quadrature over days. Five standard errors of 1,000 draws; false alarm below 1e-6.
    z = np.linspace(-6.0, 6.0, 4001)
    days = 300.0 * np.exp(0.5 * z)
    w = stats.norm.pdf(z)
    at = days / (days + 60.0)
    share = np.sum(w * stats.beta(19.5, 6.5).cdf(at)) / np.sum(w)
    first = np.sum(w * stats.beta(20.5, 6.5).cdf(at)) / np.sum(w) * 19.5 / 26.0 / share
    middle = np.sum(w * stats.beta(19.5, 6.5).cdf(at) * z) / np.sum(w) / share
    (reading,) = joint.readings
    draws = reading.draws(1000)
    assert reading.truncation.share == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / 1000))
    assert draws[RATE].mean() == pytest.approx(first, abs=5 * 0.085 / math.sqrt(1000))
    score = np.log(draws["progression.median"] / 300.0) / 0.5
    assert score.mean() == pytest.approx(middle, abs=5 / math.sqrt(1000))
    assert middle > 0.1  # progression shares the blame


def test_a_number_that_the_cut_moves_is_shown_with_and_without_it(joint):
    found = truncated(joint)
    rate, progression, ratio = (found[n] for n in (RATE, "progression.median", "response.hazard_ratio"))
    assert rate.much
    assert rate.targets == ("I04",)
    assert rate.distance < -0.1
    assert rate.without.median == pytest.approx(stats.beta(19.5, 6.5).median(), abs=0.01)
    assert progression.much
    assert progression.targets == ()
    assert not ratio.much
    said = " ".join(report(joint).split())
    assert "TRUNCATED" in said
    assert "In conflict: I04; the visit scheme and progression.median" in said
    note = parameters_of(joint, start=None, draws="d.csv")["response"]["probability"]["note"]
    assert "without, 0.75" in note
    assert "in conflict with" in note


def test_without_a_likelihood_outside_the_cut_it_is_not_defined(joint):
    from calibration.likelihoods.simulated import Simulated

    (reading,) = joint.readings
    component = next(c for c in reading.components if RATE in c.prior.names)
    term = object.__new__(Simulated)
    object.__setattr__(term, "name", "simulated")
    object.__setattr__(term, "printed", ())
    object.__setattr__(term, "parameters", frozenset({RATE}))
    parts = tuple(replace(c, terms=(term,)) if c is component else c for c in reading.components)
    other = replace(reading, components=parts, truncation=replace(reading.truncation, undefined={"simulated": 0.1}))
    one = truncated(replace(joint, readings=(other,)))[RATE]
    assert one.without is None
    assert one.much


def test_the_shipped_stomach_response_says_what_it_is_without_the_cut():
    # Case 11: 11 of 16 with Jeffreys' prior is Beta(11.5, 5.5), 0.684 (0.444–0.869). With a wide prior of progression
    # about a quarter stays impossible and the median is about 0.65: said beside the number.
    path = shipped_folder() / "parameters" / "pj203_mmc_calibrated.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    leaf, progression = content["response"]["probability"]["stomach"], content["progression"]["median"]
    exact = stats.beta(11.5, 5.5)
    assert 0.63 < leaf["value"] < exact.median()
    assert f"without, {exact.median():.2f}" in leaf["note"]
    assert "D08 and the prior say, in conflict with the visit scheme" in leaf["note"]
    assert progression["provenance"] == "assumed"
    assert float(progression["value"].removesuffix(" d")) > 205.0  # slower than the 200 d of its prior


# --------------------------------------------------------------------------------------------- priors, bounds, power


def test_the_cumulative_distance_of_two_points():
    # P steps to ½ and Q to ¼ between points 0 and 1: (½·log₂(½/⅜) + ¼·log₂(¼/⅜) + corrections that cancel) over ¾;
    # mirrored the steps are ½ and ¾, over 5/4.
    def half(p, q):
        m = (p + q) / 2
        both = p * math.log2(p / m) + q * math.log2(q / m)
        return math.sqrt(both / (p + q))

    x = np.array([0.0, 1.0])
    expected = max(half(0.5, 0.25), half(0.5, 0.75))
    assert distance(x, np.array([0.5, 0.5]), np.array([0.25, 0.75])) == pytest.approx(expected, rel=1e-12)
    assert distance(x, np.array([0.5, 0.5]), np.array([0.5, 0.5])) == 0.0
    assert distance(x, np.array([1e-323, 1.0]), np.array([0.0, 1.0])) == pytest.approx(0.0, abs=1e-9)  # no overflow


def posterior(law, log_likelihood, name="response.hazard_ratio"):
    """A reading of the cohort whose one component is a prior with a made-up likelihood, by importance weights."""
    prepared, declared = preparation(["cohort=il2_hai_unresectable"], None)
    made = fit(prepared.container, declared, overrides=prepared.overrides).readings[0]
    component = next(c for c in made.components if c.terms)
    prior = Prior((Single(RATE, law),))
    z = special.ndtri((np.arange(8000) + 0.5) / 8000)[:, None]
    log = log_likelihood(prior.parameter_sets(z)[RATE])
    weights = np.exp(log - log.max())
    draws = replace(component.draws, coordinates=z, weights=weights / weights.sum(), log_likelihood=log)
    return replace(made, components=(replace(component, prior=prior, draws=draws, before=z),))


def test_a_prior_beside_the_data_is_a_conflict_and_a_weak_likelihood_is_called_so():
    # log x normal: prior (0, 0.5²); data at 2 ± 0.3 in conflict, at 0 ± 5 weak, at 0 ± 0.02 strong beside the prior.
    def normal(at, sd):
        return lambda x: -0.5 * ((np.log(x) - at) / sd) ** 2

    law = log_normal(1.0, 0.5)
    assert sensitivities(posterior(law, normal(1.2, 0.3)))[RATE].said == CONFLICT
    assert sensitivities(posterior(law, normal(0.0, 5.0)))[RATE].said == WEAK
    assert sensitivities(posterior(law, normal(0.0, 0.05)))[RATE].said == ""


def test_a_posterior_that_leans_on_a_bound_is_named_and_others_are_not():
    law = Uniform(0.0, 365.0)
    (found,) = pressed(posterior(law, lambda x: x / 100.0))
    assert (found.name, found.bound) == (RATE, 365.0)
    assert pressed(posterior(law, lambda x: -0.5 * ((x - 180.0) / 40.0) ** 2)) == []
    assert pressed(posterior(law, lambda x: 0.0 * x)) == []  # nothing but the prior


def test_priors_twice_as_wide_double_spreads_and_halve_concentrations():
    found = widened(declaration("pj203_mmc")).parameters
    assert found["survival.median"].log_normal.sigma == 1.4
    assert found["survival.shape"].pooled.centre.log_normal.sigma == 0.7
    assert found["survival.shape"].pooled.between.half_normal.sd == 0.5
    assert found["response.probability"].beta.a == 0.25
    ilp = widened(declaration("ilp")).parameters
    assert ilp["study.accrual"] == declaration("ilp").parameters["study.accrual"]
    assert ilp["response.category"].dirichlet == {"complete": 0.25, "partial": 0.25}


@pytest.mark.parametrize("cohort", ["il2_hai_adjuvant", "il2_hai_unresectable", "ilp", "pj203_mmc"])
def test_every_shipped_prior_names_its_source_or_why_it_is_so_wide(cohort):
    assert [name for name, prior in declaration(cohort).parameters.items() if len(prior.note or "") < 20] == []
