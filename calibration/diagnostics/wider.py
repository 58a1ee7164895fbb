"""The posterior under priors twice as wide.

The standard deviation is doubled on the scale where a prior is normal, of pooled strata that of the centre and of the
spread; concentrations of beta and Dirichlet priors are halved; uniform and fixed ones stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from calibration.posterior import feasibility
from calibration.posterior.choices import taken
from calibration.posterior.fit import Fit, fit
from calibration.samplers.summary import CredibleInterval
from calibration.schema import Calibration, DistributionPrior

DRAWS = 400
"""Draws of the posterior under the wider priors, at most."""
_SPREADS = {"normal": "sd", "log_normal": "sigma", "logit_normal": "sigma", "half_normal": "sd"}


@dataclass(frozen=True)
class Wider:
    """The posterior of one number under the declared priors, and under priors twice as wide."""

    name: str
    declared: CredibleInterval
    wider: CredibleInterval


def wider(fitted: Fit, progress: Callable[[str], None] | None = None) -> list[Wider]:
    """Calibrate with priors twice as wide; one row for each number that a target looks at. Raises ConfigError."""
    declared = widened(taken(fitted.declared, fitted.config))
    again = fit(fitted.config, declared, overrides=fitted.overrides, progress=progress)
    again = feasibility.truncate(again, min(DRAWS, fitted.declared.search.draws), progress=progress)
    found = {row.name: row for row in again.rows()}
    looked_at = {n for r in fitted.readings for c in r.components for n in c.prior.names if c.depends(n)}
    return [Wider(row.name, row.posterior, found[row.name].posterior) for row in fitted.rows() if row.name in looked_at]


def widened(declared: Calibration) -> Calibration:
    """Return a calibration whose priors are twice as wide; alternatives, whose priors are others, are dropped."""
    parameters = {key: _twice(prior) for key, prior in declared.parameters.items()}
    return declared.model_copy(update={"parameters": parameters, "alternatives": {}})


def _twice(prior: Any) -> Any:
    changes: dict[str, Any] = {}
    for name in prior.given:
        given = getattr(prior, name)
        if name in _SPREADS:
            spread = _SPREADS[name]
            changes[name] = given.model_copy(update={spread: _twice_as_much(getattr(given, spread))})
        elif name == "beta":
            changes[name] = given.model_copy(update={"a": given.a / 2.0, "b": given.b / 2.0})
        elif name == "dirichlet":
            changes[name] = {member: concentration / 2.0 for member, concentration in given.items()}
        elif name == "pooled":
            parts = {"centre": _twice(given.centre), "between": _twice(given.between)}
            changes[name] = given.model_copy(update=parts)
    assert isinstance(prior, DistributionPrior)
    return prior.model_copy(update=changes)


def _twice_as_much(value: Any) -> Any:
    """A spread, perhaps with a unit, doubled."""
    if not isinstance(value, str):
        return 2.0 * value
    number, _, unit = value.strip().partition(" ")
    return f"{2.0 * float(number):.12g} {unit}"
