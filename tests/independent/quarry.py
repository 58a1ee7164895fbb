"""A made-up trial for `tests.independent`: two arms, three strata of which one is empty, censoring, two readings.

It has what numbers go wrong with: medians that some studies do not reach, estimates that some cannot make, a bound,
ends of an interval, an odds ratio and a hazard ratio by arm, draws of a posterior that read the text in two ways.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CONTROL, DRUG = {"arm": "control"}, {"arm": "drug"}
KM = {"estimator": "kaplan_meier_median", "variable": "survival"}
AT = {"estimator": "kaplan_meier_landmark", "variable": "survival"}
RESPONSE = {"estimator": "proportion", "variable": "response"}
BOTH = {"where": DRUG, "against": CONTROL}
STATISTICS: dict[str, dict[str, Any]] = {
    "Q1": KM,
    "Q2": {**KM, "where": DRUG},
    "Q3": {**AT, "time": "12 mo", "where": {"stratum": "a"}},
    "Q4": {**AT, "time": "22 mo", "where": {"stratum": "b"}},
    "Q5": {"estimator": "naive_median", "variable": "survival", "where": {"status": "dead"}},
    "Q6": {**RESPONSE},
    "Q7": {"estimator": "median", "variable": "response", "where": {"ever": "response", "stratum": "b"}},
    "Q8": {"estimator": "hazard_ratio", "variable": "survival", **BOTH},
    "Q9": {"estimator": "log_rank_p", "variable": "survival", **BOTH},
    "Q10": {**KM, "where": CONTROL, "confidence": {"end": "lower"}},
    "Q11": {**KM, "where": CONTROL, "confidence": {"end": "upper"}},
    "Q12": {**AT, "time": "12 mo", **BOTH, "comparison": "difference"},
    "Q13": {"estimator": "mean", "variable": "administrations", "where": DRUG},
}
PRINTED: dict[str, tuple[str, float, str, dict[str, Any]]] = {
    "Q1": ("13 months", 13, "mo", {}),
    "Q2": ("not reached by 18 months", 18, "mo", {"bound": "above"}),
    "Q3": ("62%", 62, "%", {}),
    "Q4": ("31%", 31, "%", {}),
    "Q5": ("7.1 months", 7.1, "mo", {}),
    "Q6": ("14/40", 14, "patients", {"numerator": 14, "denominator": 40}),
    "Q7": ("31 days", 31, "d", {}),
    "Q8": ("0.61", 0.61, "1", {}),
    "Q9": ("p > 0.05", 0.05, "1", {"bound": "above"}),
    "Q10": ("8.0 months", 8.0, "mo", {}),
    "Q11": ("17.5 months", 17.5, "mo", {}),
    "Q12": ("12 % more", 12, "%", {}),
    "Q13": ("3.4", 3.4, "administrations", {}),
}
SIZES = {"control": 18, "drug": 22}
DRAWS = (
    (0.6, 3.0, 400.0, "as_printed"),
    (0.7, 1.5, 350.0, "other"),
    (0.5, 2.5, 330.0, "as_printed"),
    (0.9, 1.0, 300.0, "other"),
    (0.4, 2.0, 420.0, "as_printed"),
)
"""Effect on death, odds ratio of response, median survival (days), and how the text is read; the last are extreme."""


def written(folder: Path) -> Path:
    """Write the cohort as a folder for ``--config-dir``; the cohort is called quarry, its draws ``drawn``."""
    source = {"file": "quarry.txt", "locator": "line 1"}
    entries = [
        {"id": name, "name": f"figure {name}", "printed": printed, "value": value, "unit": unit, "population": "all",
         "kind": "statistic", "source": source, "provenance": "reported", "role": "held_out",
         "statistic": STATISTICS[name], **more}
        for name, (printed, value, unit, more) in PRINTED.items()
    ]  # fmt: skip
    other = {"note": "misprint", "entries": {"Q1": {"normalised": "14 months", "value": 14}}}
    reading = {
        "question": "Is 13 a misprint",
        "default": "as_printed",
        "alternatives": {"as_printed": {"note": "no"}, "other": other},
    }
    effects = {"hazard_ratio": {"death": "parameters.effect"}, "odds_ratio": {"response": "parameters.odds"}}
    shares = {"a": 0.3, "b": 0.15, "c": 0.5}
    onset = {"family": "exponential", "median": "25 d", "probability": shares}
    dying = {"family": "weibull", "median": "parameters.typical", "weibull_shape": 1.1}
    ratios = [{"marker": "responded", "ratio": 0.7}]
    response = {"from": ["alive"], "set": ["responded"], "hazard": onset}
    death = {"from": ["alive"], "to": "dead", "ratios": ratios, "hazard": dying}
    parameters = {"effect": {"value": 0.6}, "odds": {"value": 2.0}, "typical": {"value": "350 d"}}
    groups: dict[str, Any] = {
        "cohort": {
            "defaults": [
                *({f"/{g}": "quarry"} for g in ("evidence", "model", "course", "study", "parameters")),
                "_self_",
            ],
            "name": "quarry",
            "mix": {"a": 3, "b": 2, "c": 0},
            "arms": {
                "control": {"n_patients": SIZES["control"], "reference": True},
                "drug": {"n_patients": SIZES["drug"], "effects": effects},
            },
        },
        "evidence": {
            "name": "quarry",
            "title": "Invented",
            "sources": [{"file": "quarry.txt", "citation": "Invented"}],
            "entries": entries,
            "readings": {"misprint": reading},
        },
        "model": {
            "states": ["alive", "dead"],
            "absorbing": ["dead"],
            "initial": "alive",
            "markers": ["responded"],
            "events": {"response": response, "death": death},
        },
        "course": {"interval": "3 wk", "max_administrations": 4},
        "study": {
            "horizon": "3 y",
            "accrual": {"uniform": ["0 mo", "12 mo"]},
            "data_cut": "24 mo",
            "loss_to_follow_up": {"family": "exponential", "mean": "4 y"},
        },
        "parameters": parameters,
    }
    for group, content in groups.items():
        (folder / group).mkdir(parents=True)
        plain = json.loads(json.dumps(content))  # nothing shared, so that YAML needs no anchors
        (folder / group / "quarry.yaml").write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    drawn = {**parameters, "posterior": "drawn.csv", "start": "quarry"}
    (folder / "parameters/drawn.yaml").write_text(yaml.safe_dump(drawn, sort_keys=False), encoding="utf-8")
    lines = ["effect,odds,typical,reading:misprint", *(",".join(map(str, draw)) for draw in DRAWS)]
    (folder / "parameters/drawn.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
