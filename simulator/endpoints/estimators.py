"""Estimators that papers use, one record each: to which endpoints each applies, and what its value is.

How each is computed stands in `study.estimators`, under the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from simulator.endpoints.base import EndpointKind

_TIMES: tuple[EndpointKind, ...] = ("time_to_event",)
_SUMMARISED: tuple[EndpointKind, ...] = ("duration", "event", "number")


@dataclass(frozen=True)
class Estimator:
    """One estimator.

    Attributes
    ----------
    name : as evidence and configurations say it.
    kinds : of the endpoints that it applies to.
    share : whether its value is a share, 0 to 1.
    counted : whether that is a whole count over a denominator.
    two_groups : whether it compares two groups by itself; its value is then a ratio or a p value, without a unit.
    ratio : whether that is a ratio.
    interval : whether a confidence interval of it is known.
    time : whether it is of, or until, a time that must be given.
    value : whether it is of a value that must be given.
    point : which point of a survival curve it is, if any: its median, or its value at a time.
    midpoint : whether it is the middle of two times where the curve is ½ between them.
    censoring : whether it allows for censoring.
    closed_form : which closed form of an endpoint gives its likelihood, if any.
    """

    name: str
    kinds: tuple[EndpointKind, ...]
    share: bool = False
    counted: bool = False
    two_groups: bool = False
    ratio: bool = False
    interval: bool = False
    time: bool = False
    value: bool = False
    point: Literal["", "median", "landmark"] = ""
    midpoint: bool = False
    censoring: bool = True
    closed_form: Literal["", "curve", "share"] = ""


_ALL = (
    Estimator("proportion", ("share", "event"), share=True, counted=True, closed_form="share"),
    Estimator("kaplan_meier_median", _TIMES, interval=True, point="median", closed_form="curve"),
    Estimator("kaplan_meier_median_midpoint", _TIMES, point="median", midpoint=True, closed_form="curve"),
    Estimator(
        "kaplan_meier_landmark", _TIMES, share=True, interval=True, time=True, point="landmark", closed_form="curve"
    ),
    Estimator("restricted_mean", _TIMES, time=True),
    Estimator("naive_median", ("time_to_event", "duration"), point="median", censoring=False),
    Estimator("median", _SUMMARISED),
    Estimator("mean", _SUMMARISED),
    Estimator("minimum", _SUMMARISED),
    Estimator("maximum", _SUMMARISED),
    Estimator("mode_share", ("number",), share=True, counted=True, value=True),
    Estimator("hazard_ratio", _TIMES, two_groups=True, ratio=True, interval=True),
    Estimator("log_rank_p", _TIMES, two_groups=True),
)
ESTIMATORS = {estimator.name: estimator for estimator in _ALL}
"""Every estimator by its name."""


def names_of(*, of: str) -> tuple[str, ...]:
    """Return the names of the estimators of which an attribute holds."""
    return tuple(name for name, estimator in ESTIMATORS.items() if getattr(estimator, of))
