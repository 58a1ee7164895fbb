"""Likelihoods by simulation: against closed forms, their luck, what they look at, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from calibration import schema
from calibration.likelihoods.simulated import PrintedTarget, Simulated, moved, simulation_error, with_seed
from calibration.likelihoods.targets import simulated_terms
from calibration.posterior.fit import fit
from calibration.priors.parameters import ParameterSets
from simulator.errors import ConfigError
from tests.models import compiled
from tests.unit.calibration import test_targets
from tests.unit.calibration.test_targets import PRIORS, declared, landmark, median, share, terms


def config(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return test_targets.config(*entries, engine="compiled", **changes)


MONTHS = median("K1", 14, "colon") | {"printed": "14 months", "unit": "mo"}
PRINTED = (MONTHS, landmark("K2", 55, "colon"))
SURVIVAL = ["survival.median.colon", "survival.shape.colon"]


def simulated(*entries: dict[str, Any], quiet: bool = True, **of: Any) -> tuple[tuple[Simulated, ...], list[Any]]:
    file = declared(simulated={"some": of})
    experiment = compiled(config(*entries), quiet=quiet)
    return simulated_terms(file, experiment, schema.prior_of(file, experiment.parameters, {"survival.median": "time"}))


def term(*entries: dict[str, Any], **of: Any) -> Simulated:
    (made,), problems = simulated(*entries, **of)
    assert not problems
    return made


def sets(**columns: list[float]) -> ParameterSets:
    values = {name.replace("__", "."): np.array(column) for name, column in columns.items()}
    return ParameterSets(values, len(next(iter(values.values()))))


SOME = sets(survival__median__colon=[300.0, 410.0, 500.0], survival__shape__colon=[1.0, 1.3, 1.8])


def test_it_estimates_the_exact_likelihood_of_median_and_landmark():
    """The exact terms are checked by enumeration elsewhere. Of 5,500 studies about 2 % print both figures. The mean
    under 6 seeds is within 6 standard errors: a false alarm in 0.2 % for each of three (t, 5 degrees of freedom). The
    same with 44,000 studies and 8 seeds was run once, and agreed."""
    (exact,) = terms(*PRINTED)
    own = term(*PRINTED, targets={"K1": "exact", "K2": "exact"}, parameters=SURVIVAL, replicates=500, recombined=10)
    runs = np.exp([own.with_other_seed(k).log_density(SOME) for k in range(1, 7)])
    error = runs.std(axis=0, ddof=1) / np.sqrt(6)
    assert (error < 0.2 * runs.mean(axis=0)).all()
    assert (np.abs(runs.mean(axis=0) - np.exp(exact.log_density(SOME))) < 6 * error).all()


def test_recombining_brings_more_from_the_same_patients():
    """The spread of 8 runs, of the same patients: with 10 recombinations less than half (about a quarter is found)."""

    def spread(recombined: int) -> float:
        targets = {"K1": "exact", "K2": "exact"}
        own = term(*PRINTED, targets=targets, parameters=SURVIVAL, replicates=100, recombined=recombined)
        runs = [own.with_other_seed(k).log_density(SOME.part(1, 2))[0] for k in range(1, 9)]
        return float(np.exp(runs).std() / np.exp(runs).mean())

    assert spread(10) < 0.5 * spread(0)


def test_a_row_knows_no_neighbour_and_the_same_parameters_have_the_same_bits(monkeypatch):
    own = term(*PRINTED, targets={"K1": "30 d", "K2": 0.05}, parameters=SURVIVAL, replicates=50)
    together = own.log_density(SOME)
    assert np.isfinite(together).all()
    for row in range(3):
        assert own.log_density(SOME.part(row, row + 1)) == together[row]
    monkeypatch.setenv("LOBULE_THREADS", "1")
    assert np.array_equal(own.log_density(SOME), together)


def test_a_tolerance_is_a_normal_error():
    exact, blurred = PrintedTarget("a", 9.5, 10.5, 0.0), PrintedTarget("a", 9.5, 10.5, 2.0)
    values = np.array([9.4, 9.5, 10.0, 10.5, 10.6, np.inf, np.nan])
    assert exact.probability(values).tolist() == [0, 1, 1, 1, 0, 0, 0]
    drawn = 9.4 + 2.0 * np.random.default_rng(1).standard_normal(400_000)
    expected = np.mean((drawn > 9.5) & (drawn < 10.5))  # standard error 0.0006
    assert abs(blurred.probability(values)[0] - expected) < 0.004
    assert blurred.probability(values)[-2:].tolist() == [0.0, 0.0]


def test_what_the_model_cannot_produce_has_no_probability():
    seen = share("R1", 10, 16, "response", "colon", statistic={"population": "evaluable"})
    own = term(seen, targets={"R1": "exact"}, parameters=["response.probability.colon"])
    found = own.log_density(sets(response__probability__colon=[0.5, 0.9999, 0.6, 0.99999]))
    assert np.isfinite(found).tolist() == [True, False, True, False]


def test_without_a_list_it_looks_at_every_parameter_that_moves_a_target():
    fever = share("F1", 11, 37, "adverse_event.fever")
    assert term(fever, targets={"F1": "exact"}, replicates=20).parameters >= {"fever"}
    deaths = term(*PRINTED, targets={"K1": "30 d", "K2": "exact"}, replicates=20).parameters
    assert set(SURVIVAL) <= deaths
    assert "survival.median.rectum" not in deaths  # patients of another stratum
    assert "fever" not in deaths


def test_a_list_may_name_all_strata_together():
    own = term(*PRINTED, targets={"K1": "30 d"}, parameters=["survival.median", "fever"])
    assert own.parameters == {"fever", *(f"survival.median.{s}" for s in ("colon", "rectum", "other"))}


def test_a_tolerance_of_a_share_may_be_in_percent():
    assert [term(*PRINTED, targets={"K2": of}).printed[0].tolerance for of in (0.03, "0.03", "3 %")] == [0.03] * 3


def test_what_is_not_listed_and_moves_a_target_is_named():
    own = term(*PRINTED, targets={"K1": "30 d"}, parameters=["survival.median.colon"], replicates=50)
    assert "survival.shape.colon" in own.held
    assert "fever" not in own.held
    assert "survival.median.colon" not in own.held


def test_what_is_fixed_counts_in_every_list():
    file = declared(
        parameters=PRIORS | {"fever": {"fixed": 0.9}},
        simulated={"some": {"targets": {"F1": "exact"}, "parameters": ["survival.median"], "replicates": 20}},
    )
    experiment = compiled(config(share("F1", 11, 37, "adverse_event.fever")), quiet=True)
    prior = schema.prior_of(file, experiment.parameters, {"survival.median": "time"})
    (own,), _ = simulated_terms(file, experiment, prior)
    assert "fever" in own.parameters


def test_random_numbers_go_by_the_name_of_a_term():
    of = {"targets": {"K1": "30 d"}, "parameters": SURVIVAL, "replicates": 20}
    fever = {"targets": {"F1": "exact"}, "parameters": ["fever"], "replicates": 20}
    entries = (*PRINTED, share("F1", 11, 37, "adverse_event.fever"))
    found = []
    for simulated in ({"some": of}, {"other": fever, "some": of}):
        file = declared(simulated=simulated)
        experiment = compiled(config(*entries), quiet=True)
        prior = schema.prior_of(file, experiment.parameters, {"survival.median": "time"})
        made, problems = simulated_terms(file, experiment, prior)
        assert not problems
        found.append(next(one for one in made if one.name == "some").log_density(SOME))
    assert np.array_equal(*found)


def test_two_readings_that_ask_the_same_of_the_same_studies_have_one_term():
    own = term(*PRINTED, targets={"K1": "30 d"}, parameters=SURVIVAL)
    same = replace(own, experiment=with_seed(own.experiment, "some", 3))
    assert own == same
    assert own != replace(own, recombined=3)
    fewer = replace(own, experiment=with_seed(own.experiment, "some", 3, replicates=20))
    assert own != fewer


# ------------------------------------------------------------------------------------------------- the error


def test_too_few_studies_are_seen_to_move_the_posterior():
    """V54. Draws around the truth, few studies and no tolerance: nearly every seed has another posterior."""
    rng = np.random.default_rng(1)
    z = rng.standard_normal((60, 2))
    drawn = sets(
        survival__median__colon=(400 * np.exp(0.2 * z[:, 0])).tolist(),
        survival__shape__colon=(1.3 * np.exp(0.2 * z[:, 1])).tolist(),
    )
    scaled = {"median": z[:, 0], "shape": z[:, 1]}

    def error(replicates: int, **targets: Any) -> Any:
        of = {"targets": targets, "parameters": SURVIVAL, "replicates": replicates, "recombined": 10}
        return simulation_error([term(*PRINTED, **of)], drawn, scaled)

    rough = error(20, K1="10 d", K2="exact")
    fine = error(300, K1="60 d", K2=0.05)
    assert rough.seeds == 4
    assert not rough.converged
    assert fine.converged
    assert fine.largest_shift < rough.largest_shift


def test_a_posterior_by_simulation_is_that_of_the_closed_form():
    """The same share, once fitted by its binomial and once by simulation. The difference of posterior medians has a
    standard deviation of about 0.06 posterior ones (1,500 replicates 0.03, two searches 0.05): 0.25 is a false alarm
    in 3e-5; the two log evidences differ with 0.05, 0.2 likewise."""
    fever = share("F1", 11, 37, "adverse_event.fever")
    search = {"initial": 1000, "draws": 1000}
    exact = fit(config(fever, seed=3), declared(search=search))
    own = fit(
        config(fever, seed=3),
        declared(
            search=search,
            simulated={
                "fever": {"targets": {"F1": "exact"}, "parameters": ["fever"], "replicates": 1500, "recombined": 1}
            },
        ),
    )
    (a,), (b,) = ([row for row in one.rows() if row.name == "fever"] for one in (exact, own))
    spread = (a.posterior.upper - a.posterior.lower) / 3.92
    assert abs(a.posterior.median - b.posterior.median) < 0.25 * spread
    assert abs(own.readings[0].log_evidence - exact.readings[0].log_evidence) < 0.2
    (component,) = [c for c in own.readings[0].components if c.simulation is not None]
    assert component.targets == ("F1",)
    assert component.converged


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ({"targets": {"K1": "soon"}}, r"simulated\.some\.targets\.K1 = soon: .*; or exact"),
        ({"targets": {"K1": 0}}, r"targets\.K1 = 0: must be > 0.*exact"),
        ({"targets": {"K2": 3}}, r"targets\.K2 = 3: must be > 0 and < 1, a share"),
        ({"targets": {"K2": "1 mo"}}, r"must be a share between 0 and 1, such as 0\.03, or 3 %; or exact"),
        ({"targets": {"K1": "exact"}, "parameters": ["survival.medan"]}, r"did you mean 'survival\.median'"),
    ],
)
def test_a_term_that_cannot_be_made_is_refused(of, words):
    made, problems = simulated(*PRINTED, **of)
    assert not made
    with pytest.raises(ConfigError, match=words):
        raise ConfigError(problems)


def test_targets_that_nobody_moves_are_refused():
    file = declared(
        parameters={"fever": PRIORS["fever"]}, simulated={"some": {"targets": {"K1": "30 d"}, "replicates": 20}}
    )
    with pytest.raises(ConfigError, match="no parameter with a prior moves these targets"):
        fit(config(MONTHS), file)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"simulated": {"a": {"targets": {"K9": "exact"}}}}, "K9.*known: K1"),
        (
            {"simulated": {"a": {"targets": {"K1": "exact"}}, "b": {"targets": {"K1": "exact"}}}},
            r"stands under calibration\.simulated\.a too",
        ),
        (
            {"simulated": {"a": {"targets": {"K1": "exact"}}}, "left_out": {"K1": "no"}},
            r"stands under calibration\.left_out too",
        ),
        ({"simulated": {"a": {"targets": {}}}}, "targets"),
        ({"simulated": {"a": {"targets": {"K1": "exact"}, "replicates": 2}}}, "replicates = 2"),
    ],
)
def test_names_that_nothing_has_are_refused(more, words):
    with pytest.raises(ConfigError, match=words):
        fit(config(MONTHS), declared(**more))


def test_a_target_without_a_closed_form_says_that_it_can_be_simulated():
    censored = {"study__data_cut": "2 y", "study__accrual": {"uniform": [0, "18 mo"]}}
    with pytest.raises(ConfigError, match=r"by simulation, under calibration\.simulated"):
        fit(config(MONTHS, **censored), declared())
    made = fit(
        config(MONTHS, **censored),
        declared(
            simulated={"survival": {"targets": {"K1": "60 d"}, "parameters": SURVIVAL, "replicates": 20}},
            search={"initial": 200, "step": 100, "draws": 100, "stages": 1},
        ),
    )
    assert [c.targets for c in made.readings[0].components if c.terms] == [("K1",)]


def test_moved_takes_whole_blocks():
    file = declared(parameters=PRIORS | {"survival.shape": {"pooled": {"centre": {"log_normal": {"median": 1.3, "sigma":
                    0.35}}, "between": {"half_normal": {"sd": 0.25}}}}})  # fmt: skip
    experiment = compiled(config(*PRINTED), quiet=True)
    prior = schema.prior_of(file, experiment.parameters, {"survival.median": "time"})
    own = term(*PRINTED, targets={"K1": "30 d"}, parameters=SURVIVAL, replicates=20)
    assert {f"survival.shape.{s}" for s in ("colon", "rectum", "other")} <= moved(own, prior)[0]
