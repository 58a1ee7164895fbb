"""The shipped cohorts: solved numbers bring out what was declared (EVIDENCE B9, B12.4, B12.5; issue 3, section 3).

By quadrature of our own, which shares nothing with the solver but the numbers it returns: Irwin-Hall visits, a grid of
0.05 days, the midpoint rule (α = 0). By simulation on the reference design: α = 2.5e-9 a test, shared among its
comparisons.
"""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import pytest
from scipy import stats

from simulator.experiment.preparation import prepare
from simulator.kernels.hazards import FAMILIES
from simulator.running.experiment import design_of
from simulator.study.estimators import estimate
from simulator.study.observe import observe
from simulator.tables import NONE
from tests import models, oracles
from tests.oracles import ALPHA, Weibull

RATIOS = (0.45, 0.6, 0.8, 1.0)
CLOSE = 1e-4
"""|ΔS| allowed by the issue, at every time."""
MONTH = 30.4375
PJ203 = "pj203_mmc"


@cache
def composed(*overrides):
    return prepare(list(overrides)).container


@cache
def experiment(*overrides, **varied):
    """A shipped cohort, with parameters varied over sets (``a__b=(1, 2)`` varies ``a.b``)."""
    paths = {path.replace("__", "."): list(values) for path, values in varied.items()}
    return models.compiled(copy.deepcopy(composed(*overrides)), quiet=True, varied=paths)


DAYS = {"d": 1.0, "mo": 30.4375, "y": 365.25}


def value(cohort, path):
    """Return a declared parameter of a shipped cohort: days, or a plain number."""
    node = composed(f"cohort={cohort}")["parameters"]
    for name in path.split("."):
        node = node[name]
    given = node["value"] if isinstance(node, dict) else node
    if not isinstance(given, str):
        return float(given)
    amount, unit = given.split()
    return float(amount) * DAYS[unit]


def calibrated(cohort, stratum):
    """Return the calibrated survival of a stratum."""
    by = "" if stratum == "all" else f".{stratum}"
    return Weibull(value(cohort, f"survival.median{by}"), value(cohort, f"survival.shape{by}"))


def leaving(cohort):
    """Rate of leaving the state in which a response can set in."""
    return np.log(2.0) / value(cohort, {"pj203_mmc": "progression.median", "ilp": "relapse.median"}[cohort])


# -- survival by quadrature ------------------------------------------------------------------------------------


def baseline(tables, b, s):
    """H₀ of death in a set and stratum: the solved table, or the calibrated law where nothing was solved."""
    death = tables.events.index("death")
    h, p = int(tables.table[b, death, s]), tables.parameters[b, death, s]
    if h == NONE:
        assert tables.family[b, death, s] == FAMILIES["weibull"].code
        return lambda t: (t / p[0]) ** p[1]
    knots = slice(tables.knot_offset[h], tables.knot_offset[h + 1])
    time, hazard = tables.knot_time[knots], tables.knot_hazard[knots]
    return lambda t: np.interp(t, time, hazard) + p[0] * np.maximum(t - time[-1], 0.0)


def onset(tables, b, s, grid, *, leaving, interval=None):
    """G on a grid, absent death: latent law or administrations, in those who have not left the state before."""
    response = tables.events.index("response")
    probability = tables.probability[b, response, s]
    if tables.event_driver[response] == 0:
        median, sigma, _ = tables.parameters[b, response, s]
        law = stats.lognorm(sigma, scale=median).cdf(grid)
    else:
        success, lag = tables.success[b, response, s], tables.lag[b, response, 0]
        low, high = interval
        visits = (oracles.uniform_visits(k, low, high, grid - lag) for k in range(11))
        law = sum(success * (1.0 - success) ** k * visit for k, visit in enumerate(visits))
    middle = 0.5 * (grid[1:] + grid[:-1])
    return np.concatenate([[0.0], np.cumsum(probability * np.diff(law) * np.exp(-leaving * middle))])


def survival(tables, b, s, grid, *, leaving, ratio=None, hazard=None, interval=None):
    """Everybody's survival from the tables of a set and stratum."""
    effect = int(np.flatnonzero(tables.effect_event == tables.events.index("death"))[0])
    r = tables.effect_ratio[b, effect, s] if ratio is None else ratio
    h = baseline(tables, b, s) if hazard is None else hazard
    g = onset(tables, b, s, grid, leaving=leaving, interval=interval)
    return oracles.mixture_survival(g, h(grid), h(0.5 * (grid[1:] + grid[:-1])), r)


GRID = np.arange(0.0, 1826.25, 0.05)
INTERVAL = (14.0, 21.0)
DESIGNS = [
    ("pj203_mmc", "continuous", "colorectal"),
    ("pj203_mmc", "continuous", "stomach"),
    ("pj203_mmc", "continuous", "other"),
    ("pj203_mmc", "per_administration", "colorectal"),
    ("pj203_mmc", "per_administration", "stomach"),
    ("pj203_mmc", "per_administration", "other"),
    ("ilp", "continuous", "all"),
]


def sweep(cohort, response):
    chosen = [] if response == "continuous" else ["course.response=per_administration"]
    return experiment(f"cohort={cohort}", *chosen, response__hazard_ratio=RATIOS).tables


@pytest.mark.parametrize(("cohort", "response", "stratum"), DESIGNS)
def test_prognostic_response_leaves_survival_at_the_calibrated_curve(cohort, response, stratum):
    # B12.4, B9: at every time and every hazard ratio, to 1e-4.
    tables = sweep(cohort, response)
    s = tables.strata.index(stratum)
    law = calibrated(cohort, stratum)
    for b in range(len(RATIOS)):
        curve = survival(tables, b, s, GRID, leaving=leaving(cohort), interval=INTERVAL)
        assert np.max(np.abs(curve - law.survival(GRID))) <= CLOSE


@pytest.mark.parametrize(("cohort", "response", "stratum"), DESIGNS)
def test_without_solving_the_baseline_survival_would_be_off(cohort, response, stratum):
    # The negative control (B9: colorectal median 456 instead of 388): the quadrature sees what the solver is for.
    tables = sweep(cohort, response)
    law = calibrated(cohort, stratum)
    s, b = tables.strata.index(stratum), RATIOS.index(0.6)
    curve = survival(tables, b, s, GRID, leaving=leaving(cohort), interval=INTERVAL, hazard=law.hazard)
    assert np.max(curve - law.survival(GRID)) > 0.02


def responses():
    """Observed response of the colorectal stratum: the reference's, lower, higher."""
    return (value(PJ203, "reference.parameters.response.probability.colorectal"), 0.2, 0.55)


@pytest.fixture(scope="module")
def causal():
    """Three response probabilities; the baseline solved at the reference."""
    chosen = ["cohort=pj203_mmc", "parameters.survival.response_effect=causal"]
    return experiment(*chosen, response__probability__colorectal=responses())


def test_causal_response_is_the_calibrated_curve_at_the_reference(causal):
    for s, stratum in enumerate(causal.tables.strata):
        curve = survival(causal.tables, 0, s, GRID, leaving=leaving(PJ203))
        assert np.max(np.abs(curve - calibrated(PJ203, stratum).survival(GRID))) <= CLOSE


def test_causal_response_keeps_the_baseline_and_changes_survival(causal):
    # More response, longer life, by as much as the mixture over the reference's baseline says; other strata stay.
    tables = causal.tables
    curves = [survival(tables, b, 0, GRID, leaving=leaving(PJ203)) for b in range(3)]
    late = GRID > 100.0
    for b in (1, 2):
        assert (baseline(tables, b, 0)(GRID) == baseline(tables, 0, 0)(GRID)).all()
        longer = responses()[b] > responses()[0]
        assert ((curves[b] > curves[0])[late] == longer).all()
        assert np.max(np.abs(curves[b] - curves[0])) > 0.01
        for s in (1, 2):
            here, there = (survival(tables, k, s, GRID, leaving=leaving(PJ203)) for k in (b, 0))
            assert np.max(np.abs(here - there)) <= CLOSE


def test_prognostic_response_moves_no_survival_when_its_probability_moves():
    tables = experiment("cohort=pj203_mmc", response__probability__colorectal=responses()).tables
    for b in range(3):
        curve = survival(tables, b, 0, GRID, leaving=leaving(PJ203))
        assert np.max(np.abs(curve - calibrated(PJ203, "colorectal").survival(GRID))) <= CLOSE


# -- survival by simulation -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare():
    """PJ-203 with four hazard ratios, without adverse events and evidence (neither touches survival)."""
    config = copy.deepcopy(composed("cohort=pj203_mmc"))
    config["course"]["adverse_events"]["terms"] = {}
    config["evidence"] = models.NO_EVIDENCE
    return models.compiled(config, quiet=True, varied={"response.hazard_ratio": list(RATIOS)}).tables


@pytest.mark.parametrize("b", range(len(RATIOS)), ids=[str(r) for r in RATIOS])
def test_simulated_survival_is_the_calibrated_curve_at_every_hazard_ratio(battery, bare, b):
    # N = 16,200 a ratio. Detects: 4 points of the curve of all, 5 of the colorectal, 9 of the others.
    trajectories = models.simulated(bare, seed=battery.seed_of("prognostic"), n=battery.n(16_200), parameter_set=b)
    death, laws = trajectories.absorbed_at, {name: calibrated(PJ203, name) for name in bare.strata}
    share = np.bincount(trajectories.stratum) / len(trajectories)

    def all_patients(t):
        return sum(w * (1.0 - laws[name].survival(t)) for w, name in zip(share, bare.strata, strict=True))

    p = [oracles.p_of_curve(death, all_patients)]
    for s, name in enumerate(bare.strata):
        p.append(oracles.p_of_curve(death[trajectories.stratum == s], lambda t, law=laws[name]: 1.0 - law.survival(t)))
    assert oracles.smallest(p) >= ALPHA


def test_simulated_survival_moves_with_a_causal_response(battery, causal):
    # N = 12,150 colorectal patients of 20,250. Detects: 5 points of the curve; the planted difference is of that size.
    trajectories = models.simulated(causal, seed=battery.seed_of("causal"), n=battery.n(8_100), parameter_set=2)
    death = trajectories.absorbed_at[trajectories.stratum == 0]
    expected = survival(causal.tables, 2, 0, GRID, leaving=leaving(PJ203))
    assert oracles.p_of_curve(death, lambda t: np.interp(t, GRID, 1.0 - expected)) >= ALPHA


# -- what is observed on the reference design ----------------------------------------------------------------------


@pytest.fixture(scope="module", params=["continuous", "per_administration"])
def reference_design(battery, request):
    """PJ-203 as declared, both forms of response, as many studies of 81 as make N = 24,300 patients."""
    chosen = [] if request.param == "continuous" else ["course.response=per_administration"]
    declared = experiment("cohort=pj203_mmc", *chosen)
    seed = battery.seed_of(f"reference design {request.param}")
    trajectories = models.simulated(declared, seed=seed, n=battery.n(24_300))
    return request.param, declared, observe(trajectories, design_of(declared), seed=seed), seed


def test_observed_response_is_the_declared_one(reference_design):
    # By stratum, |z| < 5.961. Detects: 4.2 points (colorectal, 14,700), 6.8 (stomach, 5,100), 7.4 (other, 4,500).
    _, declared, data, _ = reference_design
    seen = np.isfinite(data.seen(0))
    p = []
    for s, stratum in enumerate(declared.tables.strata):
        ours = data.stratum == s
        expected = value(PJ203, f"response.probability.{stratum}")
        p.append(oracles.p_of_count(seen[ours].sum(), ours.sum(), expected))
        wrong = expected + 2.0 * oracles.detectable(np.sqrt(0.25 / ours.sum()))
        assert oracles.p_of_count(seen[ours].sum(), ours.sum(), wrong) < ALPHA  # 3.8 b
    assert oracles.smallest(p) >= ALPHA


@pytest.mark.parametrize("reference_design", ["continuous"], indirect=True)
def test_a_response_is_seen_at_the_declared_median(reference_design):
    # 42 days among those in whom it is seen, by the exact sign test. Detects: 4.3 points, about 1.4 days. (Per
    # administration the onset follows from cycle, lag and success, which are not solved for it.)
    _, _, data, _ = reference_design
    seen = data.seen(0)
    seen = seen[np.isfinite(seen)]
    median = value(PJ203, "response.onset_median")
    assert oracles.p_of_count((seen < median).sum(), seen.size, 0.5) >= ALPHA
    latent = data.onset(0)[np.isfinite(data.seen(0))]
    assert np.median(latent) < median - 5.0  # what is seen at a visit happened before it


def test_adverse_events_are_had_by_the_declared_share(reference_design):
    # Eight terms, with frailty and administrations as they come. Detects: 3.1 points of pain, 1.6 of anorexia.
    _, declared, data, _ = reference_design
    codes, n = declared.tables.log_codes, data.died.size
    p = []
    for k, term in enumerate(declared.tables.course.terms):
        had = np.isfinite(data.trajectories.first_time(codes.first_term + k)).sum()
        p.append(oracles.p_of_count(had, n, value(PJ203, f"adverse_events.{term}")))
    assert oracles.smallest(p) >= ALPHA


def test_the_mean_number_of_administrations_is_the_solved_one(reference_design):
    # The quadrature by which the rates above are solved, by stratum. Detects: 0.17 of 3.0 administrations (colorectal).
    _, declared, data, _ = reference_design
    solved = declared.solved.values["administrations (mean, reference course)"]
    given = data.trajectories.count(declared.tables.log_codes.administration)
    p = [
        oracles.p_of_mean(given[data.trajectories.stratum == s], solved[stratum])
        for s, stratum in enumerate(declared.tables.strata)
    ]
    assert oracles.smallest(p) >= ALPHA


def test_events_come_at_the_rates_of_the_tables(reference_design):
    # V35, V36 on the shipped design: N − Λ and Cox–Snell, by stratum and by response. Detects: 10 % of a hazard.
    response, declared, data, seed = reference_design
    trajectories, tables = data.trajectories, declared.tables
    few = np.arange(len(trajectories)) < 8_100 * (len(trajectories) // 24_300)
    trajectories = trajectories.select(few)
    cell = trajectories.cell
    curves = [baseline(tables, 0, s) for s in range(len(tables.strata))]

    def death(t, who):
        out = np.empty(t.size)
        for s, curve in enumerate(curves):
            ours = cell[who] == s
            out[ours] = curve(t[ours])
        return out

    states = ["stable", "response", "progression"]
    median, sigma, _ = tables.parameters[0, 0, 0]
    ratio = [{"marker": "responded", "ratio": value(PJ203, "response.hazard_ratio")}]
    events = {
        "response": {"from": ["stable"], "to": "response", "set": ["responded"]},
        "progression": {
            "from": ["stable", "response"],
            "to": "progression",
            "hazard": {"family": "exponential", "median": value(PJ203, "progression.median")},
        },
        "death": {"from": states, "to": "dead", "hazard": {"family": "solved"}, "ratios": ratio},
    }
    if response == "continuous":
        events["response"]["hazard"] = {"family": "log_normal", "median": median, "sigma": sigma}
    plain = models.declared(models.container(events, states=[*states, "dead"], markers=["responded"]))
    ever = {"response": models.susceptible(trajectories, seed)["response"]} if response == "continuous" else {}
    spells = oracles.integrated_intensities(
        models.history(trajectories), plain, susceptible=ever, hazards={"death": death}
    )
    p = []
    for name, ours in spells.items():
        p.append(ours.p())
        p += [ours.p(ours.labels["stratum"] == stratum) for stratum in tables.strata]
        if name != "response":
            p += [ours.p(ours.labels["responded"]), ours.p(~ours.labels["responded"])]
        p.append(oracles.p_of_curve(ours.residuals(1), lambda x: -np.expm1(-x)))
    assert oracles.smallest(p) >= ALPHA


# -- isolated perfusion: additional infusion does nothing, and looks as if it did ------------------------------------


@pytest.fixture(scope="module")
def perfused(battery):
    """ILP with hazard ratio 1 of the additional infusion: 400 studies of 50, N = 20,000."""
    declared = experiment("cohort=ilp", "parameters.additional_infusion.hazard_ratio=1.0")
    seed = battery.seed_of("ilp")
    trajectories = models.simulated(declared, seed=seed, n=battery.n(20_000))
    return declared, observe(trajectories, design_of(declared), seed=seed)


def naive_distributions():
    """P(observed time ≤ t | group) of those with and without an additional infusion that does nothing."""
    share, start = value("ilp", "additional_infusion.share"), value("ilp", "additional_infusion.mean_start")
    accrual = value("ilp", "study.accrual")
    cut = accrual + value("ilp", "study.minimum_follow_up")
    law, t = calibrated("ilp", "all"), np.linspace(0.0, cut, 200_001)
    followed = np.clip((cut - t) / accrual, 0.0, 1.0)
    mass = -np.diff(law.survival(t) * followed)
    none = 1.0 - share + share * np.exp(-0.5 * (t[1:] + t[:-1]) / start)
    without, with_ = np.cumsum(mass * none), np.cumsum(mass * (1.0 - none))
    return t[1:], with_ / with_[-1], without / without[-1]


def groups(declared, data):
    """Observed times of the patients whose course was observed, with and without an additional infusion."""
    member = data.population("observed")
    ever = np.isfinite(data.seen(declared.tables.events.index("additional_infusion")))
    return data.observed[member & ever], data.observed[member & ~ever]


def test_an_infusion_without_effect_gives_the_published_contrast(perfused):
    # Issue 3, "what shows that it is done" 3; B12.5. Expected medians by quadrature, then as the paper computes them:
    # pooled, and in the middle one of 400 studies of 50.
    declared, data = perfused
    t, with_, without = naive_distributions()
    medians = [float(np.interp(0.5, cdf, t)) / MONTH for cdf in (with_, without)]
    pooled = [float(np.median(group)) / MONTH for group in groups(declared, data)]
    entries = {entry.id: entry.statistic for entry in declared.selection.targets}
    studies = [float(np.median(estimate(data, entries[name]))) / MONTH for name in ("L13", "L12")]
    for longer, shorter in (medians, pooled, studies):
        assert 14.0 <= longer <= 20.0
        assert 5.5 <= shorter <= 9.5


def test_the_published_contrast_is_what_immortal_time_predicts(perfused):
    # Exact sign test at the expected medians. Detects: 4.1 points (with, 12,000), 6 points (without, 5,500): 5 to 8 %.
    t, *expected = naive_distributions()
    p = []
    for group, cdf in zip(groups(*perfused), expected, strict=True):
        median = np.interp(0.5, cdf, t)
        p.append(oracles.p_of_count((group <= median).sum(), group.size, 0.5))
        p.append(oracles.p_of_curve(group, lambda x, cdf=cdf: np.interp(x, t, cdf)))
    assert oracles.smallest(p) >= ALPHA


def test_remissions_are_seen_in_the_declared_share_of_the_observed(perfused):
    # 0.90 of those whose course was observed. Detects: 2.1 points.
    _, data = perfused
    expected = value("ilp", "response.probability")
    member = data.population("observed")
    assert oracles.p_of_count(np.isfinite(data.seen(0))[member].sum(), member.sum(), expected) >= ALPHA
