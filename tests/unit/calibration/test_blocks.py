"""Targets that are left out in blocks: their density by quadrature, the reference model, what the others predict."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from calibration.diagnostics.blocks import BlockCheck, TargetBlock, blocks_of, check_blocks, reference_density
from calibration.output.report import blocks_checked
from calibration.output.results import blocks_node
from calibration.posterior.fit import Fit, fit
from calibration.schema import load
from tests.two_arms import CALIBRATION, two_arms
from tests.two_strata import entry, priors, two_strata
from tests.unit.calibration.test_alternatives import PRINTED, config, declared

POOLED = {
    "survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}},
    "survival.shape": {
        "pooled": {"centre": {"log_normal": {"median": 1.3, "sigma": 0.35}}, "between": {"half_normal": {"sd": 0.25}}}
    },
}


def strata(**changes: object) -> Fit:
    given = {"name": "meadow", "parameters": POOLED, "search": {"draws": 1000}} | changes
    return fit(two_strata(seed=3, readings=False, share=False), load(given))


def log_printed(*, median: bool, landmark: bool) -> float:
    """Log probability of what 20 patients print, by enumeration and a trapezoid over both priors.

    The 10th death is at day 299.5 to 300.5; 8 of 20 are alive at day 365.25. Deaths in the four intervals between are
    multinomial.
    """
    z = np.linspace(-6, 6, 241)
    m, k = 300 * np.exp(0.6 * z)[:, None], 1.3 * np.exp(0.35 * z)[None, :]
    times = np.array([0.0, 299.5, 300.5, 365.25, math.inf])
    share = -np.diff(np.stack([np.exp(-math.log(2) * (t / m) ** k) for t in times]), axis=0)
    total = np.zeros(share.shape[1:])
    for a in range(21):
        for b in range(21 - a):
            for c in range(21 - a - b):
                d = 20 - a - b - c
                if (not median or (a < 10 <= a + b)) and (not landmark or d == 8):
                    ways = math.factorial(20) // math.prod(map(math.factorial, (a, b, c, d)))
                    total += ways * np.prod([p**n for p, n in zip(share, (a, b, c, d), strict=True)], axis=0)
    weight = stats.norm.pdf(z)[:, None] * stats.norm.pdf(z)[None, :] * (z[1] - z[0]) ** 2
    return math.log(float(np.sum(total * weight)))


def test_the_density_of_a_block_is_that_of_a_quadrature():
    """Five standard errors of either search: false alarms 1e-6."""
    found = {one.block.name: one for one in check_blocks(fit(config(*PRINTED), declared(search={"draws": 1000})))}
    both = log_printed(median=True, landmark=True)
    expected = {
        "all medians": both - log_printed(median=False, landmark=True),
        "all landmarks": both - log_printed(median=True, landmark=False),
    }
    assert found.keys() == expected.keys()
    for name, one in found.items():
        assert abs(one.log_density - expected[name]) < 5 * one.errors[0] < 0.5
        assert abs(one.reference - expected[name]) < 5 * one.errors[1] < 0.5  # one stratum shares nothing
        assert not one.alarm


def test_blocks_are_strata_arms_medians_and_landmarks_from_a_time_on():
    made = two_strata(seed=3, readings=False)
    of = {"estimator": "kaplan_meier_landmark", "variable": "survival", "where": {"stratum": "large"}}
    made["evidence"]["entries"].append(entry("L2.large", "20%", 20, "%", **of, time="2 y"))
    assert blocks_of(fit(made, priors())) == [
        TargetBlock("stratum large", ("M.large", "L.large", "L2.large")),
        TargetBlock("stratum small", ("M.small", "L.small")),
        TargetBlock("all medians", ("M.large", "M.small")),
        TargetBlock("all landmarks", ("L.large", "L.small", "L2.large")),
        TargetBlock("landmarks from day 730.5 on", ("L2.large",)),
    ]


def test_a_block_that_is_all_there_is_of_survival_is_not_left_out():
    made = two_strata(seed=3, readings=False, share=False)
    made["evidence"]["entries"] = made["evidence"]["entries"][:1]
    assert blocks_of(fit(made, priors(share=False))) == []


def test_strata_that_share_nothing_are_their_own_reference():
    fitted = fit(two_strata(seed=3, readings=False), priors())
    (one, *_) = check_blocks(fitted)
    assert abs(one.log_density - one.reference) < 5 * math.hypot(*one.errors[:2]) < 0.5


def test_in_the_reference_the_other_stratum_says_nothing():
    """The large stratum's density is then that of its own figures, whatever the other's are."""
    block = TargetBlock("stratum large", ("M.large", "L.large"))
    made = two_strata(seed=3, readings=False, share=False)
    made["evidence"]["entries"][2] |= {"printed": "80 days", "value": 80}
    made["evidence"]["entries"][3] |= {"printed": "6%", "value": 6}
    (one, error), _ = reference_density(strata(), block)
    (other, other_error), _ = reference_density(
        fit(made, load({"name": "meadow", "parameters": POOLED, "search": {"draws": 1000}})), block
    )
    assert abs(one - other) < 5 * math.hypot(error, other_error) < 0.5


def test_a_trial_of_two_arms_has_no_reference_and_says_why():
    made = two_arms()
    made["evidence"]["entries"] = [e for e in made["evidence"]["entries"] if e["id"] in ("median", "waited", "ratio")]
    given = {"median": "2 mo", "waited": "exact", "ratio": 0.2}
    term = {"targets": given, "parameters": ["survival.median", "effect.death"], "replicates": 20, "recombined": 0}
    file = {**CALIBRATION, "simulated": {"survival": term}, "search": {"draws": 100, "initial": 200}}
    fitted = fit(made, load(file))
    added, standard, medians = blocks_of(fitted)
    assert added == TargetBlock("arm standard", ("median", "ratio"))
    assert standard == TargetBlock("arm added", ("waited", "ratio"))
    assert medians == TargetBlock("all medians", ("median", "waited"))
    (density, _), why = reference_density(fitted, medians)
    assert math.isnan(density)
    assert why == "no reference model: the cohort has several arms"


def test_percentiles_and_shares_stand_in_tree_and_report():
    block = TargetBlock("all medians", ("M1", "M2"))
    fine = BlockCheck(block, -3.0, -3.5, 0.4, (0.1, 0.2, 0.01), {"M1": (0.3, 0.6), "M2": (0.5, math.nan)})
    bad = BlockCheck(TargetBlock("stratum a", ("M1",)), -9.0, -4.0, 0.4, (0.1, 0.2, 0.01), {"M1": (0.3, 0.6)})
    far = BlockCheck(TargetBlock("stratum b", ("M2",)), -9.0, math.nan, 0.002, (0.1, math.nan, 0.001), {})
    none = BlockCheck(TargetBlock("arm c", ("M2",)), why="no draw can be declared")
    assert [one.alarm for one in (fine, bad, far, none)] == [False, True, True, False]
    node = blocks_node([fine, bad, far, none])
    assert node["alarm"].values.tolist() == [False, True, True, False]
    assert float(node["posterior_percentile"].sel(block="all medians", target="M1")) == 0.6
    assert np.isnan(node["prior_percentile"].sel(block="stratum a", target="M2"))
    assert all({"long_name", "units"} <= set(v.attrs) for v in node.variables.values())
    said = " ".join(blocks_checked([fine, bad, far, none]).split())  # lines are wrapped
    assert "all medians -3.00 ± 0.10 (-3.50 ± 0.20); p = 0.40 ± 0.01; M1 30 % → 60 %, M2 50 % → –" in said
    assert "stratum a ALARM: -9.00" in said
    assert "arm c not checked: no draw can be declared" in said
