"""A fit as a file of parameters that the simulator takes, and its draws beside it.

The file is the cohort's own with its calibrated numbers replaced. A number that targets inform becomes the median of
its posterior under the reading that a run takes if nothing is said; what other readings give stands under `under`. A
number that no target informs becomes the median of its prior and says that it is an assumption; where the cut to what
the model can produce moves it, it becomes the median of what is left, since the others go with that, unless it is
borrowed. Shares that sum to one become their means, which do so too. Intervals are of the posterior, which draws have,
beside those of the prior.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from calibration.diagnostics.truncation import Truncated, truncated
from calibration.posterior import feasibility
from calibration.posterior.choices import taken
from calibration.posterior.draws import Draws
from calibration.posterior.fit import Fit, ReadingFit
from calibration.priors.parameters import Dirichlet
from calibration.samplers.summary import CredibleInterval, Row
from simulator.configuration.draws import CALIBRATED_ON, KEYS, READING, TRUNCATION
from simulator.configuration.values import Leaf
from simulator.tables import Floats
from simulator.text import csv_text
from simulator.units import DIMENSIONS, UNITS, Unit

DRAWS = 1000
"""Draws that travel with the point values; `calibration.nc` has all of them."""
DIGITS = 4  # of a point value; its Monte-Carlo error is about the fourth
ASSUMPTION = "assumption"
_NOTHING = "no target informs it; this is its prior"
_LITTLE = "targets hardly inform it (contraction); this is the median of its prior, and draws take what they say"

Nested = dict[str, Any]


def parameters_of(fitted: Fit, *, start: str | None, draws: str) -> Nested:
    """Return the content of a parameter file.

    Parameters
    ----------
    start : name of the file of starting values, as a cohort names it; None if it has no name.
    draws : name of the file of draws beside it.
    """
    default = fitted.readings[fitted.default]
    base = {key: value for key, value in copy.deepcopy(dict(fitted.config["parameters"])).items() if key not in KEYS}
    points = _points(fitted, default)
    under = {}
    for reading in fitted.readings if fitted.varied else ():
        others = {path: said for path, said in _points(fitted, reading).items() if said != points[path]}
        under[fitted.name_of(reading)] = _with_published(_nested(others), others, base)
    head: Nested = {"start": start} if start else {}
    head["posterior"] = draws
    head[CALIBRATED_ON] = _origin(fitted, default)
    if truncation := feasibility.said(fitted):
        head[TRUNCATION] = truncation
    if under:
        head["under"] = under
    return head | _laid_over(base, _with_published(_nested(points), points, base))


def _origin(fitted: Fit, reading: ReadingFit) -> Nested:
    """Return what the calibration was of: names of cohort and evidence, and the targets that it fitted as printed."""
    targets = {entry.id: entry.printed for entry in fitted.evidence.entries if entry.id in reading.targets}
    return {"cohort": reading.experiment.name, "evidence": fitted.evidence.name, "targets": targets}


def draws_table(fitted: Fit, draws: Draws, n: int = DRAWS) -> str:
    """Return the first n draws as a table with a header: how the text is read, then every parameter.

    Times are days. Nine significant digits.
    """
    paths = [path for path in _leaves(fitted) if path in draws.values]
    questions = fitted.varied
    rows: list[list[str]] = [[*(READING + question for question in questions), *paths]]
    for i in range(min(n, draws.size)):
        chosen = fitted.readings[int(draws.reading[i])].chosen
        numbers = (f"{draws.values[path][i]:.9g}" for path in paths)
        rows.append([*(chosen[question] for question in questions), *numbers])
    return csv_text(rows)


def _leaves(fitted: Fit) -> Iterator[str]:
    """Yield the calibrated parameters of the model, in declared order."""
    parameters = {path for reading in fitted.readings for path in reading.parameters}
    yield from (path for path in fitted.readings[fitted.default].experiment.parameters if path in parameters)


def _points(fitted: Fit, reading: ReadingFit) -> dict[str, Nested]:
    """Return what the file says of each calibrated parameter under one reading."""
    rows = {row.name: row for row in fitted.rows_of(reading)}
    truncation = {name: one for name, one in truncated(fitted, reading).items() if one.much}
    found: dict[str, Nested] = {}
    for component, summed in zip(reading.components, reading.summed, strict=True):
        centre = component.prior.parameter_sets(np.zeros((1, len(component.prior.coordinates)))).values
        for block in component.prior.blocks:
            means = _means(summed.values, summed.weights, block) if isinstance(block, Dirichlet) else {}
            for path in block.parameters:
                leaf, row = reading.experiment.parameters[path], rows[path]
                unit = UNITS[DIMENSIONS[reading.kinds[path]].unit]
                if row.informed:
                    value = means.get(path) or float(f"{row.posterior.median:.{DIGITS}g}")
                    sources = [name for t in component.terms if path in t.parameters for name in t.targets]
                    found[path] = {
                        "value": _written(value, unit),
                        "provenance": "calibrated",
                        "interval": _interval(row.posterior),
                        **_before(row),
                        "source": ", ".join(dict.fromkeys(sources)) or ", ".join(component.targets),
                        **({"note": _without(truncation[path])} if path in truncation else {}),
                    }
                else:
                    left = path in truncation and leaf.provenance != "borrowed"  # which has its value from elsewhere
                    middle, digits = (row.posterior.median, DIGITS) if left else (centre[path][0], 9)
                    value = means.get(path) or float(f"{middle:.{digits}g}")
                    looked_at = any(path in term.parameters for term in component.terms)
                    why = _note(fitted, path) or (_LITTLE if looked_at else _NOTHING)
                    if path in truncation:
                        why = f"{why}; {_without(truncation[path])}"
                    found[path] = _assumption(leaf, row, value, unit, why)
    return found


def _without(one: Truncated) -> str:
    """Say what a number is without the truncated to feasible parameter sets."""
    if one.without is None:
        return "truncated to feasible parameter sets; what it is without is not defined"
    lower, upper = _interval(one.without)
    of = f"what {', '.join(one.targets)} and the prior say" if one.targets else "the prior"
    without = f"{one.without.median:.3g} ({lower:g}–{upper:g})"
    others = "in conflict with the visit scheme and what else is assumed"
    return f"truncated to feasible parameter sets; without, {without}: {of}, {others}"


def _means(values: Mapping[str, Floats], weights: Floats, block: Dirichlet) -> dict[str, float]:
    """Means of shares, rounded so that they sum to one."""
    *first, last = block.parameters
    means = {path: round(float(np.sum(weights * values[path]) / np.sum(weights)), 9) for path in first}
    return means | {last: 1.0 - sum(means.values())}


def _assumption(leaf: Leaf, row: Row, value: float, unit: Unit, why: str) -> Nested:
    """Say of a number that no target informs what is known of it, and where that comes from."""
    same = _written(value, unit) == leaf.value and leaf.provenance != "calibrated"
    changed = not same and leaf.provenance in ("calibrated", "reported", "derived")
    provenance = "assumed" if changed else leaf.provenance
    said: Nested = {"value": _written(value, unit), "provenance": provenance, "interval": _interval(row.posterior)}
    said |= _before(row)
    if leaf.source and provenance == leaf.provenance:
        said["citation" if provenance == "borrowed" else "source"] = leaf.source
    return said | {"note": f"{ASSUMPTION}: {why}"}


def _note(fitted: Fit, path: str) -> str | None:
    declared = taken(fitted.declared, fitted.config).parameters
    prior = declared.get(path) or declared.get(path.rpartition(".")[0])
    return None if prior is None else prior.note


def _written(value: float, unit: Unit) -> float | str:
    """A number as it is declared: times and rates with their unit."""
    return f"{value:.9g}{unit.written}" if unit.written else value


def _before(row: Row) -> Nested:
    """What was known before the data, and what they did to it; nothing of a number that is fixed."""
    if math.isnan(row.contraction):
        return {}
    return {"prior": _interval(row.prior), "contraction": round(row.contraction, 2) + 0.0}  # no −0


def _interval(interval: CredibleInterval) -> list[float]:
    return [float(f"{end:.3g}") for end in (interval.lower, interval.upper)]


def _nested(points: Mapping[str, Any]) -> Nested:
    out: Nested = {}
    for path, said in points.items():
        *above, last = path.split(".")
        node = out
        for step in above:
            node = node.setdefault(step, {})
        node[last] = said
    return out


def _with_published(nested: Nested, points: Mapping[str, Nested], base: Nested) -> Nested:
    """Add the values of the published study, which are the calibrated ones, where the cohort states them."""
    stated = (base.get("reference") or {}).get("parameters") or {}
    values = {path: said["value"] for path, said in points.items() if _has(stated, path)}
    return nested | ({"reference": {"parameters": _nested(values)}} if values else {})


def _has(node: Any, path: str) -> bool:
    for step in path.split("."):
        if not isinstance(node, Mapping) or step not in node:
            return False
        node = node[step]
    return True


def _laid_over(base: Any, points: Nested) -> Nested:
    """The cohort's parameters with the calibrated ones in their places."""
    out = dict(base)
    for key, value in points.items():
        old = out.get(key)
        inside = isinstance(value, dict) and "value" not in value and isinstance(old, dict)
        out[key] = _laid_over(old, value) if inside else value
    return out
