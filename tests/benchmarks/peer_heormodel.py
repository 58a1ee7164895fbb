"""W1 and W2 in heormodel, through its public calls: ``python peer_heormodel.py w1 10000 1``.

Knows heormodel, which is run by a Python of its own. Prints the processor seconds of one run as JSON. W1 is its
discrete-event engine (SimPy); W2 its continuous-time microsimulation, with totals only or with every event.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
from heormodel.models import DESModel, MicrosimModel
from heormodel.run import run_psa

YEAR = 365.25
HORIZON = 1826.25
SCALE = 300.0 / np.log(2.0) ** (1.0 / 1.3)
DRAWS = pd.DataFrame({"hazard_ratio": [0.6]}, index=pd.RangeIndex(1, name="iteration"))
NEVER = np.inf


def two_strata(rng, n):
    return pd.DataFrame({"stratum": np.arange(n) % 2})


def treated(env, entity, params, intervention, toolkit):
    rng = toolkit.rng
    budget = rng.exponential()
    death = SCALE * budget ** (1.0 / 1.3)
    progression = rng.exponential(200.0 / np.log(2.0))
    end = min(progression, death, HORIZON)
    ever = rng.random() < (0.688 if entity["stratum"] else 0.407)
    response = rng.lognormal(np.log(42.0), 0.5) if ever else NEVER
    if response < end:
        spent = (response / SCALE) ** 1.3
        death = SCALE * (spent + (budget - spent) / params["hazard_ratio"]) ** (1.0 / 1.3)
        end = min(progression, death, HORIZON)
    else:
        response = NEVER
    visit = 0.0
    for _ in range(11):
        if visit >= end:
            break
        if env.now < response <= visit:
            yield env.timeout(response - env.now)
        if visit > env.now:
            yield env.timeout(visit - env.now)
        toolkit.accrue_cost(1.0, component="visits")
        if rng.random() < 0.3:
            toolkit.accrue_cost(1.0, component="adverse_events")
        visit += 21.0
    for time_of_event in sorted((response, progression, death)):
        if env.now < time_of_event <= min(death, HORIZON):
            yield env.timeout(time_of_event - env.now)


def transitions(params, intervention, state, attrs, rng):
    """Times to (healthy, ill, dead) in years, drawn afresh in every state: the clock is reset."""
    older = attrs["stratum"].to_numpy() == 1
    times = np.full((state.size, 3), NEVER)
    healthy, ill = np.flatnonzero(state == 0), np.flatnonzero(state == 1)
    times[healthy, 1] = np.where(older[healthy], 400.0, 500.0) / YEAR * rng.weibull(1.2, healthy.size)
    times[healthy, 2] = np.where(older[healthy], 1600.0, 2500.0) / YEAR * rng.weibull(1.1, healthy.size)
    times[ill, 2] = np.where(older[ill], 500.0, 700.0) / YEAR * rng.weibull(0.9, ill.size)
    return times


def alive(params, intervention, state, attrs):
    living = (state < 2).astype(float)
    return living, living


def engine(workload, n):
    if workload == "w1":
        return DESModel(
            process=treated,
            population=two_strata,
            n_individuals=n,
            interventions=["treatment"],
            horizon=HORIZON,
            discount_rate=0.0,
        )
    return MicrosimModel.continuous(
        states=("healthy", "ill", "dead"),
        event_times=transitions,
        state_reward_rates=alive,
        population=two_strata,
        n_individuals=n,
        interventions=["natural history"],
        horizon=HORIZON / YEAR,
        discount_rate=0.0,
    )


def run(workload, n, seed):
    """Run w1, w2 (totals) or w2_events; return heormodel's result."""
    model = engine(workload.removesuffix("_events"), n)
    collect = "events" if workload.endswith("_events") else None
    return run_psa(model, DRAWS, seed=seed, collect=collect, sequential=True, progress=False)


if __name__ == "__main__":
    name, size, key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    run(name, 1_000, key)
    before = time.process_time()
    run(name, size, key)
    json.dump({"seconds": time.process_time() - before}, sys.stdout)
