"""Print, or write, the hashes of the recorded experiments: ``python tests/golden/bits.py [options] [name …]``.

``--engine E`` (repeatable; the reference if left out): a hash of each experiment by each engine. ``--models N``: also
one of N generated models, for what the shipped cohorts do not use; it changes with the version of Hypothesis and is
not recorded. ``--write``: record the hashes of all experiments, by the reference engine.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import sys
import warnings
from pathlib import Path

import numpy as np

EXPERIMENTS: dict[str, list[str]] = {
    "pj203_mmc": [],
    "ilp": ["cohort=ilp"],
    "il2_hai_unresectable": ["cohort=il2_hai_unresectable"],
    "il2_hai_adjuvant": ["cohort=il2_hai_adjuvant"],
    "another seed": ["seed=18446744073709551615"],
    "per administration": ["course.response=per_administration"],
    "fixed interval": ["course.interval=21", "study.assessment_interval=21"],
    "causal log-normal": [
        "parameters.survival.response_effect=causal",
        "parameters.survival.family=log_normal",
        "parameters.response.probability.colorectal=0.6",
    ],
    "log-logistic": ["parameters.survival.family=log_logistic", "parameters.response.hazard_ratio=0.45"],
    "ratio one": ["parameters.response.hazard_ratio=1.0"],
    "reading": ["study.reading=split_51_17_13"],
    "missing is non-response": ["study.reading=missing_is_nonresponse"],
    "case mix": ["cohort.mix.stomach=0.5", "cohort.n_patients=40"],
    "random allocation": ["cohort.allocation=random"],
    "delays and lower doses": ["course.after_adverse_event.delay=7", "course.after_adverse_event.dose_factor=0.75"],
    "no frailty": ["parameters.adverse_events.frailty=0"],
    "no administrations": ["course.max_administrations=0", "cohort=ilp"],
    "infusion with an effect": ["cohort=ilp", "parameters.additional_infusion.hazard_ratio=0.5"],
    "accrual, cut and loss": [
        "study.accrual={uniform: [0, 700]}",
        "study.data_cut=800",
        "study.loss_to_follow_up={family: exponential, median: 3 y}",
    ],
    "triangular intervals": ["course.interval={triangular: [10, 20, 40]}"],
}
REPLICATES = range(3)
MODELS = "generated models"
COLUMNS = ("parameter_set", "replicate", "patient", "cell", "covariates", "offset", "log_time", "log_code", "log_value")
TABLES = ("parameters", "probability", "knot_time", "knot_hazard", "effect_ratio", "success", "outcome_cdf")


def digest(overrides: list[str], engine: str) -> str:
    """Hash of an experiment's tables, of its histories, and of when their events were seen.

    From starting values: posteriors are made anew now and then, and no engine changes by that.
    """
    from simulator.experiment.preparation import prepare
    from simulator.running.experiment import design_of, trajectories_of
    from simulator.study.observe import observe

    experiment = prepare([*overrides, "parameters=start", f"engine={engine}"]).experiment
    histories = trajectories_of(experiment, REPLICATES)
    seen = observe(histories, design_of(experiment), seed=experiment.root.seed)
    arrays = [getattr(experiment.tables, name) for name in TABLES]
    arrays += [experiment.tables.course.term_threshold, experiment.tables.course.planned_cdf]
    return _hash([*arrays, *(getattr(histories, name) for name in COLUMNS), seen.log_seen, seen.end])


def digest_of_models(number: int, engine: str) -> str:
    """Hash of the histories of generated models."""
    from tests.parity.cases import generated

    module = importlib.import_module(f"simulator.engines.{engine}")
    runs = [generated(k, patients=120, study=40).by(module) for k in range(number)]
    return _hash([getattr(run, name) for run in runs for name in COLUMNS])


def _hash(arrays: list[np.ndarray]) -> str:
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", action="append", choices=("reference", "compiled"))
    parser.add_argument("--models", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    made = {}
    for engine in options.engine or ["reference"]:
        made[engine] = {name: digest(EXPERIMENTS[name], engine) for name in options.names or EXPERIMENTS}
        if options.models:
            made[engine][MODELS] = digest_of_models(options.models, engine)
    if options.write:
        path = Path(__file__).with_name("hashes.json")
        path.write_text(json.dumps(made["reference"], indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
