"""An invented trial of two arms of 70, entered within two years and reported after three, so that many are censored.

Printed are what papers of trials print: a median with its interval, a median that was not reached, a hazard ratio with
its interval, a log-rank p value as a bound, a difference of shares.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

SOURCE = {"source": {"file": "harbour.txt", "locator": "line 1"}, "provenance": "reported", "kind": "statistic"}
ARM = 70
ADDED, STANDARD = {"arm": "added"}, {"arm": "standard"}
MEDIAN = {"estimator": "kaplan_meier_median", "variable": "survival"}
RATIO = {"estimator": "hazard_ratio", "variable": "survival", "where": ADDED, "against": STANDARD}
FIGURES: Mapping[str, tuple[str, float, str]] = {
    "median": ("12 months", 12, "mo"),
    "median.lower": ("9.5", 9.5, "mo"),
    "median.upper": ("15.1", 15.1, "mo"),
    "waited": ("not reached by 18 months", 18, "mo"),
    "ratio": ("0.50", 0.5, "1"),
    "ratio.lower": ("0.33", 0.33, "1"),
    "ratio.upper": ("0.76", 0.76, "1"),
    "test": ("p < 0.05", 0.05, "1"),
    "gain": ("20 % more", 20, "%"),
}
"""What is printed of each: text, number, unit."""
STATISTICS: Mapping[str, dict[str, Any]] = {
    "median": {**MEDIAN, "where": STANDARD},
    "median.lower": {**MEDIAN, "where": STANDARD, "confidence": {"end": "lower"}},
    "median.upper": {**MEDIAN, "where": STANDARD, "confidence": {"end": "upper"}},
    "waited": {**MEDIAN, "where": ADDED},
    "ratio": RATIO,
    "ratio.lower": {**RATIO, "confidence": {"end": "lower"}},
    "ratio.upper": {**RATIO, "confidence": {"end": "upper"}},
    "test": {**RATIO, "estimator": "log_rank_p"},
    "gain": {**RATIO, "estimator": "proportion", "variable": "response", "comparison": "difference"},
}
BOUNDS = {"waited": "above", "test": "below"}


def entry(name: str, figures: Mapping[str, tuple[str, float, str]] = FIGURES) -> dict[str, Any]:
    """Return an entry of the evidence that is a fitted target."""
    printed, value, unit = figures[name]
    bound = {"bound": BOUNDS[name]} if name in BOUNDS else {}
    what = {"id": name, "name": name, "printed": printed, "value": value, "unit": unit, "population": "randomised"}
    return {**what, **bound, **SOURCE, "role": "fitted", "statistic": STATISTICS[name]}


def two_arms(*, seed: int = 1, figures: Mapping[str, tuple[str, float, str]] = FIGURES) -> dict[str, Any]:
    """Return the composed configuration."""
    effects = {
        "hazard_ratio": {"death": "parameters.effect.death"},
        "odds_ratio": {"response": "parameters.effect.odds"},
    }
    response = {
        "from": ["alive"],
        "set": ["responded"],
        "hazard": {"family": "exponential", "median": "30 d", "probability": "parameters.response"},
    }
    hazard = {"family": "weibull", "median": "parameters.survival.median", "weibull_shape": 1.2}
    return {
        "seed": seed,
        "engine": "compiled",
        "cohort": {
            "name": "harbour",
            "arms": {
                "standard": {"n_patients": ARM, "reference": True},
                "added": {"n_patients": ARM, "effects": effects},
            },
        },
        "evidence": {
            "name": "harbour",
            "title": "An invented trial",
            "sources": [{"file": "harbour.txt", "citation": "nobody"}],
            "entries": [entry(name, figures) for name in STATISTICS],
        },
        "model": {
            "states": ["alive", "dead"],
            "absorbing": ["dead"],
            "initial": "alive",
            "markers": ["responded"],
            "events": {"response": response, "death": {"from": ["alive"], "to": "dead", "hazard": hazard}},
        },
        "course": {"max_administrations": 1},
        "study": {"horizon": "5 y", "accrual": {"uniform": ["0 mo", "24 mo"]}, "data_cut": "36 mo"},
        "parameters": {
            "survival": {"median": {"value": "12 mo", "provenance": "assumed"}},
            "response": {"value": 0.3, "provenance": "assumed"},
            "effect": {
                "death": {"value": 0.6, "provenance": "assumed"},
                "odds": {"value": 2.0, "provenance": "assumed"},
            },
        },
    }


CALIBRATION: Mapping[str, Any] = {
    "name": "harbour",
    "parameters": {
        "survival.median": {"log_normal": {"median": "12 mo", "sigma": 0.5}},
        "effect.death": {"log_normal": {"median": 1.0, "sigma": 0.5}},
        "response": {"beta": {"a": 1, "b": 1}},
        "effect.odds": {"log_normal": {"median": 1.0, "sigma": 0.7}},
    },
    "simulated": {
        "survival": {
            "targets": {
                **{"median": "0.7 mo", "median.lower": "0.5 mo", "median.upper": "1 mo", "waited": "exact"},
                **{"ratio": 0.05, "ratio.lower": 0.05, "ratio.upper": 0.08, "test": "exact"},
            },
            "parameters": ["survival.median", "effect.death"],
            "replicates": 200,
            "recombined": 5,
        },
        "response": {
            "targets": {"gain": "2 %"}, "parameters": ["response", "effect.odds"], "replicates": 200, "recombined": 5,
        },
    },
    "search": {"draws": 500},
}  # fmt: skip


def written(folder: Path, figures: Mapping[str, tuple[str, float, str]] = FIGURES, **calibration: Any) -> Path:
    """Write the cohort and its calibration file as a folder for ``--config-dir``; the cohort is called harbour."""
    groups = {k: v for k, v in two_arms(figures=figures).items() if k not in ("seed", "engine")}
    defaults = [*({f"/{name}": "harbour"} for name in groups if name != "cohort"), "_self_"]
    groups["cohort"] = {"defaults": defaults, **groups["cohort"]}
    groups["model"] = {"name": "harbour", **groups["model"]}
    groups["calibration"] = {**CALIBRATION, **calibration}
    for name, content in groups.items():
        (folder / name).mkdir(parents=True)
        plain = json.loads(json.dumps(content))  # nothing shared, so that YAML needs no anchors
        (folder / name / "harbour.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return folder
