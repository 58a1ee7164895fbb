"""W1 in MISCore, through its public calls: ``python peer_miscore.py w1 10000 1``.

Knows MISCore (distributed as miscore-sim), which is run by a Python of its own. Prints the processor seconds of one
run as JSON. Ages are days; random numbers come in arrays of a block, as MISCore recommends; response, progression and
death are logged for each patient, visits and adverse events as totals.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
from miscore import Model, Process, Universe

HORIZON = 1826.25
SCALE = 300.0 / np.log(2.0) ** (1.0 / 1.3)
MOST_VISITS = 11


def later_death(response, budget):
    spent = (response / SCALE) ** 1.3
    return SCALE * (spent + (budget - spent) / 0.6) ** (1.0 / 1.3)


class Treatment(Process):
    """The whole of W1."""

    name = "treatment"
    event_tags = ("visit", "adverse_event", "death", "horizon")
    event_individual_tags = ("response", "progression", "death")

    def __init__(self):
        self.callbacks = {
            "__start__": self.begin,
            "visit": self.visit,
            "response": self.response,
            "progression": self.progression,
            "__end__": self.end,
        }

    def properties_tmp(self, rng, n, properties, properties_tmp):
        probability = np.where(np.arange(n) % 2, 0.688, 0.407)
        response = np.where(rng.random(n) < probability, rng.lognormal(np.log(42.0), 0.5, n), np.inf)
        budget = rng.exponential(size=n)
        return {
            "budget": budget,
            "progression": rng.exponential(200.0 / np.log(2.0), n),
            "death": SCALE * budget ** (1.0 / 1.3),
            "response": response,
            "harm": rng.random((n, MOST_VISITS)) < 0.3,
        }

    def begin(self, patient):
        drawn = patient.properties_tmp
        death, progression, response = drawn("death"), drawn("progression"), drawn("response")
        patient.memory["death"] = patient.add_to_queue_age(death, "death", terminate=True)
        patient.add_to_queue_age(HORIZON, "horizon", terminate=True)
        if progression < HORIZON:
            patient.add_to_queue_age(progression, "progression")
        if response < min(progression, death, HORIZON):
            patient.add_to_queue_age(response, "response")
        patient.memory["visits"] = 0
        patient.memory["visit"] = patient.add_to_queue(0.0, "visit")

    def visit(self, patient):
        number = patient.memory["visits"]
        patient.log_event("visit")
        if patient.properties_tmp("harm")[number]:
            patient.log_event("adverse_event")
        number += 1
        patient.memory["visits"] = number
        if number < MOST_VISITS:
            patient.memory["visit"] = patient.add_to_queue_age(21.0 * number, "visit")

    def response(self, patient):
        patient.log_event_individual("response")
        budget = patient.properties_tmp("budget")
        patient.remove_from_queue(patient.memory["death"])
        patient.add_to_queue_age(later_death(patient.age, budget), "death", terminate=True)

    def progression(self, patient):
        patient.log_event_individual("progression")
        patient.remove_from_queue(patient.memory["visit"])

    def end(self, patient, message):
        if message == "death":
            patient.log_event_individual("death")


def run(n, seed):
    model = Model([Universe("treated", [Treatment()])])
    return model.run(n, seed=seed)


if __name__ == "__main__":
    size, key = int(sys.argv[2]), int(sys.argv[3])
    run(1_000, key)
    before = time.process_time()
    run(size, key)
    json.dump({"seconds": time.process_time() - before}, sys.stdout)
