"""What a study would have printed where a real paper printed a figure.

Rules, so that what is printed is a function of the study, and likelihoods can be exact:

- A figure has the decimals of the real one. Where that came with a denominator, or a numerator, so does this one: of
  the simulated study, whose populations may be of another size.
- A median with a closed form is printed as not reached where the interval that it would be rounded in does not end
  within complete follow-up; then by the last time at which such an interval can end. Any other is printed if the curve
  falls so far.
- Where the real paper printed a bound (p < 0.05, not reached by 24 months), so does this one, or the other way round.
- A share of nobody, in a population that is empty in this study, is not printed, nor is a ratio without bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.statistic import Statistic
from simulator.study.estimators import counts, estimate, members
from simulator.study.observe import StudyData

Keys = Mapping[str, Any]
"""Keys that an entry of the evidence has instead, None for those that it has no longer."""


@dataclass(frozen=True, eq=False)
class Printed:
    """The figures of the one study in ``data``.

    ``follow_up``: days for which all are followed, beyond which no median is printed; 0: that does not matter.
    """

    data: StudyData
    follow_up: float

    def target(self, entry: EvidenceEntry, statistic: Statistic) -> Keys | None:
        """Print a target with its statistic; None where the study says nothing of it.

        Raises
        ------
        ValueError
            If no figure of the real text is the value: then there is no number of decimals.
        """
        decimals = entry.decimals
        if decimals is None:
            raise ValueError(f"{entry.id}: no figure in {entry.printed!r} tells the rounding")
        value = float(estimate(self.data, statistic)[0])
        if math.isnan(value):
            return None
        if entry.bound is not None and entry.reported is not None:
            return {"bound": "below" if value <= entry.reported else "above"}
        unit = entry.scaled(1.0)
        if statistic.closed_form == "curve" and statistic.record.point == "median":
            return self._median(statistic, value, unit, decimals, entry)
        if math.isinf(value):
            ended = statistic.record.point == "median" and statistic.comparison is None
            return self._not_reached_at_all() if ended else None
        count = counts(self.data, statistic)
        sizes: dict[str, Any] = {}
        if entry.denominator is not None:
            of = members(self.data, statistic).sum() if count is None else count.denominator[0]
            sizes["denominator"] = int(of)
        if count is not None and entry.numerator is not None:
            sizes["numerator"] = int(count.count[0])
        figure = float(count.count[0]) if count is not None and entry.unit == "patients" else value / unit
        return {**_figure(figure, decimals), **sizes}

    def _median(self, statistic: Statistic, value: float, unit: float, decimals: int, entry: EvidenceEntry) -> Keys:
        """Print a median of ``value`` days in a unit of so many days, or that it is not reached."""
        step, limit = 10.0**-decimals * unit, self.follow_up
        if limit > 0.0:
            last = math.ceil(limit / step - 0.5) - 1  # the last figure whose interval of rounding ends before the limit
            if value > (last + 0.5) * step:
                return self._not_reached((last + 0.5) * step / unit, decimals + 1, entry.unit)
        elif math.isinf(value):
            return self._not_reached_at_all()
        size = {"denominator": int(members(self.data, statistic).sum())} if entry.denominator is not None else {}
        return {**_figure(value / unit, decimals), **size}

    def _not_reached_at_all(self) -> Keys:
        return self._not_reached(math.floor(float(self.data.end.max())), 0, "d")

    @staticmethod
    def _not_reached(by: float, decimals: int, unit: str) -> Keys:
        figure = _figure(by, decimals)
        printed = f"not reached by {figure['printed']} {unit}"
        return {**figure, "printed": printed, "unit": unit, "bound": "above", "denominator": None}


def _figure(figure: float, decimals: int) -> dict[str, Any]:
    """Return a figure rounded to so many decimals, as a number and in print; fewer than none: to powers of ten."""
    text = f"{figure:.{decimals}f}" if decimals >= 0 else f"{round(figure * 10.0**decimals)}x10^{-decimals}"
    value = float(text) if decimals >= 0 else float(f"{round(figure * 10.0**decimals)}e{-decimals}")
    return {"printed": text, "value": value, "normalised": None, "interval": None}
