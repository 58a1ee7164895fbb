"""Durations and rates at the edge; the factors are those of EVIDENCE section E (Julian month and year)."""

from __future__ import annotations

import pytest

from simulator import units


@pytest.mark.parametrize(
    ("given", "days"),
    [
        (14, 14.0),
        (0.5, 0.5),
        ("14 d", 14.0),
        ("2wk", 14.0),
        ("14 mo", 426.125),
        ("5 years", 1826.25),
        ("1.5e1 day", 15.0),
    ],
)
def test_a_time_is_days_or_text_with_a_unit(given: object, days: float) -> None:
    assert units.days(given) == days


@pytest.mark.parametrize(
    "given", ["14", "mo", "14 parsecs", "1,5 d", True, None, float("nan"), float("inf"), "1e400 d", [1]]
)
def test_what_is_no_time_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="must be a time"):
        units.days(given)


@pytest.mark.parametrize(("given", "rate"), [(0.1, 0.1), ("0.1 / d", 0.1), ("36.525 per y", 0.1), ("7/wk", 1.0)])
def test_a_rate_is_per_day_or_text_with_a_unit(given: object, rate: float) -> None:
    assert units.per_day(given) == pytest.approx(rate, rel=1e-15)


@pytest.mark.parametrize("given", ["0.1 d", "0.1", False, "per y"])
def test_what_is_no_rate_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="must be a rate"):
        units.per_day(given)
