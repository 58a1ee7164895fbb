"""W1 and W2 in plain SimPy, in its best form: one process a patient, batches of 1,000 patients an environment.

Knows SimPy and Python's `random`; nothing of the project, of NumPy or numba, beside which its garbage collector
slows. So it is run in a process of its own: ``python plain_simpy.py w1 100000 1`` prints the processor time of the
simulation alone, in seconds, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from math import exp, inf, log
from random import Random

import simpy
from simpy.events import Timeout

BATCH = 1_000
HORIZON = 1826.25

SHAPE = 1.3
SCALE = 300.0 / log(2.0) ** (1.0 / SHAPE)
PROGRESSION_RATE = log(2.0) / 200.0
MU = log(42.0)
SIGMA = 0.5
HAZARD_RATIO = 0.6
INTERVAL = 21.0
MOST_VISITS = 11
RESPONSE_PROBABILITY = (0.407, 0.688)
ADVERSE_EVENT = 0.3

# Shape and, by stratum, scale in days: to illness, to death while healthy, to death while ill.
ILLNESS = (1.2, (500.0, 400.0))
DEATH_WHILE_HEALTHY = (1.1, (2500.0, 1600.0))
DEATH_WHILE_ILL = (0.9, (700.0, 500.0))


def treated(env, random, stratum, out):
    """W1: live from visit to visit, with a response in between, then to progression and death."""
    draw = random.random
    budget = -log(1.0 - draw())
    death = SCALE * budget ** (1.0 / SHAPE)
    progression = -log(1.0 - draw()) / PROGRESSION_RATE
    end = min(progression, death, HORIZON)
    response = exp(random.gauss(MU, SIGMA)) if draw() < RESPONSE_PROBABILITY[stratum] else inf
    if response >= end:
        response = inf
    now = visit = 0.0
    visits = adverse_events = 0
    waiting = response
    while visits < MOST_VISITS and visit < end:
        if waiting < visit:
            yield Timeout(env, waiting - now)
            now, waiting = waiting, inf
            death = after_response(now, budget)
            end = min(progression, death, HORIZON)
        if visit > now:
            yield Timeout(env, visit - now)
            now = visit
        visits += 1
        if draw() < ADVERSE_EVENT:
            adverse_events += 1
        visit += INTERVAL
    if waiting < end:
        yield Timeout(env, waiting - now)
        now = waiting
        death = after_response(now, budget)
    if progression < death and progression < HORIZON:
        yield Timeout(env, progression - now)
        now = progression
    else:
        progression = inf
    if death < HORIZON:
        yield Timeout(env, death - now)
    else:
        death = inf
    out.append((response, progression, death, visits, adverse_events))


def after_response(now, budget):
    """Time of death when the rest of the budget is spent at the lower hazard from now on."""
    spent = (now / SCALE) ** SHAPE
    return SCALE * (spent + (budget - spent) / HAZARD_RATIO) ** (1.0 / SHAPE)


def fallen_ill(env, random, stratum, out):
    """W2: healthy until illness or death, then ill until death."""
    draw = random.weibullvariate
    illness = draw(ILLNESS[1][stratum], ILLNESS[0])
    death = draw(DEATH_WHILE_HEALTHY[1][stratum], DEATH_WHILE_HEALTHY[0])
    if illness < death:
        if illness < HORIZON:
            yield Timeout(env, illness)
            death = illness + draw(DEATH_WHILE_ILL[1][stratum], DEATH_WHILE_ILL[0])
            if death < HORIZON:
                yield Timeout(env, death - illness)
            else:
                death = inf
        else:
            illness = death = inf
    else:
        illness = inf
        if death < HORIZON:
            yield Timeout(env, death)
        else:
            death = inf
    out.append((illness, death))


LIVES = {"w1": treated, "w2": fallen_ill}


def simulate(workload, n, *, seed):
    """Simulate n patients, strata alternating; return a tuple a patient, in the order in which they leave."""
    random = Random(seed)
    live, out = LIVES[workload], []
    for first in range(0, n, BATCH):
        env = simpy.Environment()
        for i in range(first, min(first + BATCH, n)):
            env.process(live(env, random, i & 1, out))
        env.run()
    return out


if __name__ == "__main__":
    name, size, key = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    simulate(name, BATCH, seed=key)
    before = time.process_time()
    simulate(name, size, seed=key)
    json.dump({"seconds": time.process_time() - before}, sys.stdout)
