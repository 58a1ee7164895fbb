"""W1 in Cimba, through the public calls of its Python package: ``python peer_cimba.py w1 10000 1``.

Knows Cimba, which is run by a Python of its own. Prints the processor seconds of one run as JSON, its compilation
excluded. One process a patient, 1,000 patients a trial; what comes back of a trial are counts, not patients.
"""

from __future__ import annotations

import json
import sys
import time
from math import exp, inf, log

import cimba as cb

BATCH = 1_000
HORIZON = 1826.25
SCALE = 300.0 / log(2.0) ** (1.0 / 1.3)
PROGRESSION_MEAN = 200.0 / log(2.0)
MU = log(42.0)


class Cohort(cb.Model):
    """All patients of one trial, and the sums over them."""

    visits: cb.Output[float] = 0.0
    adverse_events: cb.Output[float] = 0.0
    responders: cb.Output[float] = 0.0
    progressed: cb.Output[float] = 0.0
    alive: cb.Output[float] = 0.0

    @cb.process
    def enter(self):
        for _ in range(BATCH // 2):
            cb.spawn(Patient, cohort=self, probability=0.407)
            cb.spawn(Patient, cohort=self, probability=0.688)


class Patient(cb.Model):
    """Lives from one visit to the next, with a response in between, then to progression and death."""

    cohort: cb.Ref[Cohort]
    probability: cb.Param[float] = 0.0

    @cb.process
    def live(self):
        budget = cb.random.exponential(1.0)
        death = SCALE * budget ** (1.0 / 1.3)
        progression = cb.random.exponential(PROGRESSION_MEAN)
        end = min(progression, death, HORIZON)
        response = inf
        if cb.random.uniform(0.0, 1.0) < self.probability:
            response = exp(MU + 0.5 * cb.random.normal(0.0, 1.0))
        now = 0.0
        visit = 0.0
        number = 0
        while now < HORIZON and now < death:
            # The next of: response, visit, progression, death, horizon.
            next_visit = visit if number < 11 and visit < end else inf
            coming = min(response if response < end else inf, next_visit)
            coming = min(coming, progression if progression > now else inf, death, HORIZON)
            if coming > now:
                cb.hold(coming - now)
                now = coming
            if coming == response:
                spent = (now / SCALE) ** 1.3
                death = SCALE * (spent + (budget - spent) / 0.6) ** (1.0 / 1.3)
                end = min(progression, death, HORIZON)
                response = inf
                self.cohort.responders += 1.0
            elif coming == next_visit:
                self.cohort.visits += 1.0
                if cb.random.uniform(0.0, 1.0) < 0.3:
                    self.cohort.adverse_events += 1.0
                number += 1
                visit = 21.0 * number
            elif coming == progression:
                self.cohort.progressed += 1.0
                response = inf
        if death >= HORIZON:
            self.cohort.alive += 1.0


def run(n, seed):
    cohort = Cohort()
    experiment = cb.Experiment(cohort, replications=n // BATCH, window=cb.Window.until_idle(), seed=seed)
    return experiment.run(workers=1)[cohort]


if __name__ == "__main__":
    size, key = int(sys.argv[2]), int(sys.argv[3])
    run(BATCH, key)
    before = time.process_time()
    run(size, key)
    json.dump({"seconds": time.process_time() - before}, sys.stdout)
