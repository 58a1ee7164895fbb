"""Whole counts that print as a share: the same as trying each, and at once of however many patients."""

from __future__ import annotations

import itertools
import math

import pytest

from simulator.evidence.entries import TINY, EvidenceEntry


def entry(printed: str, value: float, unit: str, bound: str | None = None) -> EvidenceEntry:
    statistic = {"estimator": "proportion", "variable": "response", "population": "treated"}
    declared = {"id": "I1", "name": "response", "printed": printed, "value": value, "unit": unit, "denominator": 10,
                "kind": "statistic", "provenance": "reported", "population": "all treated", "role": "fitted",
                "statistic": statistic, "source": {"file": "invented.txt", "locator": "line 1"}}  # fmt: skip
    return EvidenceEntry.model_validate(declared | ({} if bound is None else {"bound": bound}))


@pytest.mark.parametrize(
    ("printed", "value", "unit", "bound"),
    [("44 %", 44, "%", None), ("0.5", 0.5, "1", None), ("33.3 %", 33.3, "%", None), ("0 %", 0, "%", None),
     ("100 %", 100, "%", None), ("< 5 %", 5, "%", "below"), ("> 90 %", 90, "%", "above")],
)  # fmt: skip
def test_counts_that_print_a_share_are_those_found_by_trying_each(
    printed: str, value: float, unit: str, bound: str | None
) -> None:
    one = entry(printed, value, unit, bound)
    assert one.decimals is not None
    half, scale = 0.5 * 10.0**-one.decimals, 100 if unit == "%" else 1
    for n in itertools.chain(range(1, 120), (997, 1000)):
        figures = [scale * count / n for count in range(n + 1)]
        below, above = bound == "below", bound == "above"
        lowest, highest = (-math.inf if below else value), (math.inf if above else value)
        reach = 0.0 if bound else half
        expected = [k for k, each in enumerate(figures) if lowest - reach - TINY <= each <= highest + reach + TINY]
        assert [k for k in one.counts_of(n) if k <= n] == expected, n


def test_a_denominator_of_any_size_is_answered_at_once() -> None:
    counts = entry("44 %", 44, "%").counts_of(10**12)
    assert (counts[0], counts[-1]) == pytest.approx((0.435e12, 0.445e12), rel=1e-9)
