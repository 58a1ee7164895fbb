"""Whether blocks of targets left out find a wrong model, and how rarely they accuse a right one.

Papers of two strata, large and small, each with a median and survival at one, two and five years. The right model:
medians log-normal around 300 days, Weibull shapes pooled. Planted: a third of the patients is cured, under that model;
hazards that cross (Weibull shapes 0.7 and 2.0), under a model with one shape for both strata. At the published size (49
and 17 patients) false alarms are bounded and the power is printed; at ten times the size it must be 0.8.

The landmarks are what makes a cure visible. With median, one and two years a Weibull curve has its shape at about
0.85 ± 0.10 (490 patients), which predicts 14 ± 3 % alive at five years where 33 ± 2 % are: about five standard errors.
With one and three years alone the shape rests on the median and the first year, which lie close together, and a pilot
of six papers found 0.67.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats

from calibration.diagnostics.blocks import ALARM, BlockCheck, check_blocks
from calibration.posterior.fit import fit
from calibration.schema import load
from simulator.errors import ConfigError
from tests.two_strata import SIZES, entry, two_strata

PAPERS = 30
LANDMARKS = {f"{years} y": years * 365.25 for years in (1, 2, 5)}
MEDIAN = {"survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}}}
ONE_SHAPE = {"log_normal": {"median": 1.3, "sigma": 0.35}}
POOLED = {"pooled": {"centre": ONE_SHAPE, "between": {"half_normal": {"sd": 0.25}}}}
CURED = ({"large": 1.3, "small": 1.3}, 1 / 3, POOLED)
CROSSING = ({"large": 0.7, "small": 2.0}, 0.0, ONE_SHAPE)

Truth = tuple[Mapping[str, float], Mapping[str, float], float]
"""Medians of those who are not cured, days; Weibull shapes; the share that is cured."""


def paper(rng: np.random.Generator, times: int, truth: Truth, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose evidence is what a study of ``times`` the published size prints of a truth."""
    medians, shapes, cured = truth
    made = two_strata(seed=3, readings=False, share=False, horizon="6 y")
    sizes = {stratum: times * n for stratum, n in SIZES.items()}
    made["cohort"] |= {"n_patients": sum(sizes.values()), "mix": sizes}
    if "pooled" not in shape:
        made["parameters"]["survival"]["shape"] = 1.3
    entries = made["evidence"]["entries"] = []
    for stratum, n in sizes.items():
        dead = medians[stratum] * (rng.exponential(size=n) / math.log(2)) ** (1 / shapes[stratum])
        dead = np.sort(np.where(rng.random(n) < cured, np.inf, dead))
        of = {"variable": "survival", "where": {"stratum": stratum}}
        middle = dead[math.ceil(n / 2) - 1]  # the first death after which at most half are alive
        if middle < 1800:
            what = (f"{middle:.0f} days", round(middle), "d")
            entries.append(entry(f"M.{stratum}", *what, estimator="kaplan_meier_median", **of))
        for name, time in LANDMARKS.items():
            alive = round(100 * float(np.mean(dead > time)), 1)
            what = (f"{alive}%", alive, "%")
            landmark = {"estimator": "kaplan_meier_landmark", "time": name, **of}
            entries.append(entry(f"L{name[0]}.{stratum}", *what, **landmark))
    return made


def checked(seed: int, times: int, truths: Any, shape: Mapping[str, Any]) -> list[list[BlockCheck]]:
    """Return the checks of some papers, one for each truth; a paper that the model itself refuses counts as found."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(PAPERS):
        made = paper(rng, times, truths(rng), shape)
        file = {"name": "meadow", "parameters": {**MEDIAN, "survival.shape": shape}, "search": {"draws": 1000}}
        try:
            found.append(check_blocks(fit(made, load(file))))
        except ConfigError as refusal:
            if "excludes the data" not in str(refusal):
                raise
    return found


def from_the_prior(rng: np.random.Generator) -> Truth:
    centre, between = math.log(1.3) + 0.35 * rng.normal(), abs(0.25 * rng.normal())
    medians = {stratum: 300 * math.exp(0.6 * rng.normal()) for stratum in SIZES}
    return medians, {stratum: math.exp(centre + between * rng.normal()) for stratum in SIZES}, 0.0


def test_a_right_model_is_hardly_ever_accused(battery):
    """At most 2·ALARM a block; the bound on all blocks of all papers is exceeded with probability 1e-6."""
    checks = [one for paper in checked(battery.seed, 1, from_the_prior, POOLED) for one in paper]
    alarms = sum(one.alarm for one in checks)
    print(f"false alarms at the published size: {alarms} of {len(checks)} blocks")
    # Blocks of one paper are not independent: bounded as if all of a paper raised it together.
    most = stats.binom.isf(1e-6, PAPERS, 2 * ALARM) * len(checks) / PAPERS
    assert len(checks) >= 4 * PAPERS
    assert alarms <= most


@pytest.mark.parametrize(("shapes", "cured", "shape"), [CURED, CROSSING], ids=["cured", "crossing"])
def test_a_wrong_model_is_found_at_ten_times_the_size(shapes, cured, shape, battery):
    power = {}
    for times in (1, 10):
        checks = checked(battery.seed, times, lambda rng: (dict.fromkeys(SIZES, 300.0), shapes, cured), shape)
        found = [any(one.alarm or one.why for one in paper) for paper in checks]
        power[times] = (sum(found) + PAPERS - len(checks)) / PAPERS
    print(f"found at the published size {power[1]:.2f}, at ten times the size {power[10]:.2f}")
    assert power[10] >= 0.8
