"""Contrasts between arms that a study is asked for: the statistics of two groups that it then computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from simulator.configuration.values import Problems
from simulator.evidence.statistic import Statistic

ARM = "arm"
KEY = "output.contrast"


def contrasts(
    given: Mapping[str, object], arms: Sequence[str], events: Sequence[str], terms: Sequence[str], followed: float,
    problems: Problems,
) -> dict[str, Statistic]:  # fmt: skip
    """Return, for every other arm, what is compared with the reference arm that ``output.contrast`` names.

    Of survival the log-rank test, the hazard ratio, the ratio of medians and the difference of means restricted to
    ``followed``, the median potential follow-up of the design in days: one horizon for all studies. Of each of
    ``events`` and of any adverse event the difference of the shares of patients it was seen in.
    """
    for dimension in given:
        if dimension != ARM:
            problems.add(KEY, dimension, "is no arm: a contrast between scenarios is one of a sweep, --multirun")
    if ARM not in given:
        return {}
    reference = given[ARM]
    if len(arms) < 2:
        problems.add(f"{KEY}.arm", reference, "needs a cohort of two arms or more")
        return {}
    if reference not in arms:
        problems.unknown(f"{KEY}.arm", str(reference), arms, what="arm of the cohort")
        return {}
    if not followed > 0:
        allowed = "has no horizon that half of the patients are followed to: they enter after the data cut"
        problems.add(f"{KEY}.arm", reference, allowed)
        return {}
    found = {}
    for arm in arms:
        if arm != reference:
            groups = {"where": {ARM: arm}, "against": {ARM: reference}}
            for name, statistic in _compared(events, terms, followed):
                found[f"{arm}.{name}"] = Statistic.model_validate({**statistic, **groups})
    return found


def _compared(events: Sequence[str], terms: Sequence[str], followed: float) -> Iterator[tuple[str, dict[str, object]]]:
    of_survival = {"variable": "survival"}
    yield "log_rank_p", {"estimator": "log_rank_p", **of_survival}
    yield "hazard_ratio", {"estimator": "hazard_ratio", **of_survival}
    yield "ratio_of_medians", {"estimator": "kaplan_meier_median", "comparison": "ratio", **of_survival}
    yield (
        "difference_of_restricted_means",
        {"estimator": "restricted_mean", "comparison": "difference", "time": followed, **of_survival},
    )
    for name in (*events, *(["adverse_event.any"] if terms else [])):
        shares = {"estimator": "proportion", "variable": name, "comparison": "difference"}
        yield f"difference_of_{name.replace('.', '_')}", {**shares}
