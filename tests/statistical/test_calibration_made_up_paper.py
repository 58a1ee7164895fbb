"""A paper with known truth, written as evidence and calibration YAML outside the package, is calibrated with
`--config-dir`: three strata, one with a median and a landmark, one whose median was not reached and a landmark, one of
which only a response rate is printed.

Each of the 8 true values lies in its 99.9 % posterior interval: a false alarm in at most 0.8 % of seeds, and the seed
is fixed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from calibration.cli import calibrate
from calibration.samplers.summary import weighted_quantiles

SIZES = {"oat": 60, "rye": 40, "hay": 30}
TRUTH = {
    "survival.median.oat": 300.0,
    "survival.median.rye": 1500.0,
    "survival.median.hay": 450.0,
    "survival.shape.oat": 1.1,
    "survival.shape.rye": 1.5,
    "survival.shape.hay": 1.3,
    "response.probability.hay": 0.35,
    "response.probability.oat": 0.5,
}
GROUPS = ("evidence", "model", "course", "study", "parameters")
SOURCE = {"source": {"file": "meadow.txt", "locator": "line 1"}, "provenance": "reported"}


def entry(name: str, printed: str, value: float, unit: str, **more: object) -> dict[str, object]:
    made = {"id": name, "name": name, "printed": printed, "value": value, "unit": unit, "population": "treated"}
    return made | {"kind": "statistic", **SOURCE} | more


def printed_paper(seed: int) -> list[dict[str, object]]:
    """What would have been printed of 130 patients, followed for five years."""
    rng = np.random.default_rng(seed)
    times = {
        s: TRUTH[f"survival.median.{s}"]
        * (rng.standard_exponential(n) / math.log(2.0)) ** (1 / TRUTH[f"survival.shape.{s}"])
        for s, n in SIZES.items()
    }
    median = round(float(np.sort(times["oat"])[29]))
    alive = {s: int(np.sum(times[s] > 365.25)) for s in ("oat", "rye")}
    responded = int(rng.binomial(30, TRUTH["response.probability.hay"]))
    assert np.sort(times["rye"])[19] > 730.5  # the median of 40 was not reached by two years

    def landmark(name: str, stratum: str) -> dict[str, object]:
        percent = round(100 * alive[stratum] / SIZES[stratum], 1)
        where = {"where": {"stratum": stratum}, "time": "1 y"}
        statistic = {"estimator": "kaplan_meier_landmark", "variable": "survival", **where}
        return entry(name, f"{percent}%", percent, "%", role="fitted", statistic=statistic)

    km = {"estimator": "kaplan_meier_median", "variable": "survival", "where": {"stratum": "oat"}}
    rye = km | {"where": {"stratum": "rye"}}
    share = {"estimator": "proportion", "variable": "response", "where": {"stratum": "hay"}}
    percent = round(100 * responded / 30, 1)
    counts = {"numerator": responded, "denominator": 30}
    return [
        entry("M1", f"{median} days", median, "d", role="fitted", statistic=km),
        landmark("M2", "oat"),
        entry("M3", "not reached by 2 years", 2, "y", role="fitted", bound="above", statistic=rye),
        landmark("M4", "rye"),
        entry("M5", f"{percent}%", percent, "%", role="fitted", statistic=share, **counts),
    ]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    start = {"provenance": "assumed"}
    files = {
        "cohort": {
            "defaults": [*({f"/{group}": "meadow"} for group in GROUPS), "_self_"],
            "name": "meadow",
            "n_patients": sum(SIZES.values()),
            "mix": SIZES,
        },
        "evidence": {
            "name": "meadow",
            "title": "An invented paper",
            "sources": [{"file": "meadow.txt", "citation": "nobody"}],
            "entries": printed_paper(seed=20240917),
        },
        "model": {
            "states": ["stable", "responding", "dead"],
            "absorbing": ["dead"],
            "initial": "stable",
            "events": {
                "response": {
                    "from": ["stable"],
                    "to": "responding",
                    "hazard": {
                        **{"family": "log_normal", "probability": "parameters.response.probability"},
                        **{"median": "40 d", "sigma": 0.3, "observed": ["probability"]},
                    },
                },
                "death": {
                    "from": ["stable", "responding"],
                    "to": "dead",
                    "hazard": {
                        **{"family": "weibull", "median": "parameters.survival.median"},
                        "weibull_shape": "parameters.survival.shape",
                    },
                },
            },
        },
        "course": {"max_administrations": 0},
        "study": {"horizon": "5 y", "assessment_interval": "3 wk", "assessed": ["response"]},
        "parameters": {
            "response": {"probability": {s: {"value": 0.4, **start} for s in SIZES}},
            "survival": {
                "median": {s: {"value": "1 y", **start} for s in SIZES},
                "shape": {s: {"value": 1.2, **start} for s in SIZES},
            },
        },
        "calibration": {
            "name": "meadow",
            "parameters": {
                "survival.median": {"log_normal": {"median": "18 mo", "sigma": 0.8}},
                "survival.shape": {
                    "pooled": {
                        "centre": {"log_normal": {"median": 1.3, "sigma": 0.35}},
                        "between": {"half_normal": {"sd": 0.25}},
                    }
                },
                "response.probability": {"beta": {"a": 0.5, "b": 0.5}},
            },
        },
    }
    for group, content in files.items():
        (folder / group).mkdir(parents=True)
        plain = json.loads(json.dumps(content))  # nothing shared, so that YAML needs no anchors
        (folder / group / "meadow.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return folder


def test_every_true_value_lies_in_its_interval(own):
    fitted = calibrate(["cohort=meadow"], config_dir=own)
    (reading,) = fitted.readings
    assert reading.converged
    for name, truth in TRUTH.items():
        component = next(c for c in reading.components if name in c.prior.names)
        low, high = weighted_quantiles(component.values[name], component.draws.weights, (0.0005, 0.9995))
        assert low < truth < high, name
    rows = {row.name: row for row in fitted.rows()}
    assert all(rows[f"survival.median.{s}"].informed for s in ("oat", "rye"))
    assert rows["response.probability.hay"].informed
    assert not any(rows[name].informed for name in ("survival.median.hay", "response.probability.oat"))
