"""Print, or write, the hashes of the recorded experiments: ``python tests/golden/bits.py [--write] [name …]``."""

from __future__ import annotations

import hashlib
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
COLUMNS = ("parameter_set", "replicate", "patient", "cell", "covariates", "offset", "log_time", "log_code", "log_value")
TABLES = ("parameters", "probability", "knot_time", "knot_hazard", "effect_ratio", "success", "outcome_cdf")


def digest(overrides: list[str]) -> str:
    """Hash of an experiment's tables, of its histories, and of when their events were seen."""
    from simulator.cli.preflight import prepare
    from simulator.running.experiment import design_of, trajectories_of
    from simulator.study.observe import observe

    experiment = prepare(overrides).experiment
    histories = trajectories_of(experiment, REPLICATES)
    seen = observe(histories, design_of(experiment), seed=experiment.root.seed)
    arrays = [getattr(experiment.tables, name) for name in TABLES]
    arrays += [experiment.tables.course.term_threshold, experiment.tables.course.planned_cdf]
    arrays += [getattr(histories, name) for name in COLUMNS] + [seen.log_seen, seen.end]
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write = sys.argv[1:2] == ["--write"]
    names = sys.argv[2:] if write else sys.argv[1:]
    made = {name: digest(EXPERIMENTS[name]) for name in names or EXPERIMENTS}
    text = json.dumps(made, indent=2)
    if write:
        Path(__file__).with_name("hashes.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")
