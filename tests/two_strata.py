"""An invented paper about strata of 49 and 17 patients: medians, one-year survival, and a share of those examined.

Its parameters and their priors are those of EVIDENCE B10: median log-normal around 300 days, shape log-normal around
1.3. How many patients are in which stratum is read in two ways. A third of the 66 patients, by chance, is not examined,
so that the denominator of the share differs from study to study.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from calibration.schema import Calibration, load

SIZES = {"large": 49, "small": 17}
SOURCE = {"source": {"file": "meadow.txt", "locator": "line 1"}, "provenance": "reported"}
ASSUMED = {"provenance": "assumed"}


def entry(name: str, printed: str, value: float, unit: str, **statistic: Any) -> dict[str, Any]:
    """Return an entry of the evidence that is a fitted target."""
    what = {"id": name, "name": name, "printed": printed, "value": value, "unit": unit, "population": "treated"}
    return {**what, **SOURCE, "kind": "statistic", "role": "fitted", "statistic": statistic}


def two_strata(*, seed: int, horizon: str = "5 y", readings: bool = True, share: bool = True) -> dict[str, Any]:
    """Return the composed configuration, with or without the second reading of the strata's sizes, and the share."""
    entries = []
    for stratum, days, percent in (("large", 419, 51), ("small", 239, 47)):
        of = {"variable": "survival", "where": {"stratum": stratum}}
        entries += [
            entry(f"M.{stratum}", f"{days} days", days, "d", estimator="kaplan_meier_median", **of),
            entry(f"L.{stratum}", f"{percent}%", percent, "%", estimator="kaplan_meier_landmark", time="365 d", **of),
        ]
    fever = {"estimator": "proportion", "variable": "adverse_event.fever", "population": "examined"}
    if share:
        entries.append({**entry("P", "25.0%", 25.0, "%", **fever), "numerator": 11, "denominator": 44})
    other = {"note": "two patients fewer in the large stratum", "cohort": {"mix": {"large": 47, "small": 19}}}
    sizes = {
        "question": "How many patients are in which stratum",
        "default": "split_49_17",
        "alternatives": {"split_49_17": {"note": "as it prints best"}, "split_47_19": other},
    }
    death = {
        "from": ["alive"],
        "to": "dead",
        "hazard": {
            "family": "weibull",
            "median": "parameters.survival.median",
            "weibull_shape": "parameters.survival.shape",
        },
    }
    terms = {"fever": {"probability": "parameters.fever", "scale": "ever"}}
    return {
        "seed": seed,
        "cohort": {"name": "meadow", "n_patients": 66, "mix": dict(SIZES)},
        "evidence": {
            "name": "meadow",
            "title": "An invented paper",
            "sources": [{"file": "meadow.txt", "citation": "nobody"}],
            "entries": entries,
            "readings": {"strata": sizes} if readings else {},
        },
        "model": {
            "states": ["alive", "dead"],
            "absorbing": ["dead"],
            "initial": "alive",
            "events": {"death": death},
        },
        "course": {
            "max_administrations": 1,
            "adverse_events": {"terms": terms if share else {}},
        },
        "study": {"horizon": horizon, "populations": {"examined": {"probability": 0.6666}}},
        "parameters": {
            "survival": {
                "median": {stratum: {"value": "300 d", **ASSUMED} for stratum in SIZES},
                "shape": {stratum: {"value": 1.3, **ASSUMED} for stratum in SIZES},
            },
            **({"fever": {"value": 0.25, **ASSUMED}} if share else {}),
        },
    }


def priors(*, share: bool = True, **keys: Any) -> Calibration:
    """Return the calibration file, with further keys."""
    return load(
        {
            "name": "meadow",
            "parameters": {
                "survival.median": {"log_normal": {"median": "300 d", "sigma": 0.6}},
                "survival.shape": {"log_normal": {"median": 1.3, "sigma": 0.35}},
                **({"fever": {"beta": {"a": 0.5, "b": 0.5}}} if share else {}),
            },
            **keys,
        }
    )


WEIGHTS = {"strata": {"split_49_17": 2.0, "split_47_19": 1.0}}
"""Prior weights of the two readings."""


def written(folder: Path, *, horizon: str = "5 y") -> Path:
    """Write the cohort and its calibration file as a folder for ``--config-dir``; the cohort is called meadow."""
    container = two_strata(seed=0, horizon=horizon)
    groups = {name: content for name, content in container.items() if name != "seed"}
    defaults = [*({f"/{name}": "meadow"} for name in groups if name != "cohort"), "_self_"]
    groups["cohort"] = {"defaults": defaults, **groups["cohort"]}
    groups["calibration"] = priors(readings=WEIGHTS).model_dump(mode="json", exclude_unset=True)
    for name, content in groups.items():
        (folder / name).mkdir(parents=True)
        plain = json.loads(json.dumps(content))  # nothing shared, so that YAML needs no anchors
        (folder / name / "meadow.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return folder
