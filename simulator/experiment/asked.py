"""What is asked of results: statistics of the evidence and of the user, held against what the cohort has."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.configuration.values import Problems
from simulator.evidence.evidence import Selection
from simulator.evidence.statistic import Statistic
from simulator.experiment.root import Root
from simulator.model.cohort import Cohort
from simulator.model.course import Course
from simulator.model.model import Model
from simulator.model.study import Study


def asked(selection: Selection | None, root: Root | None) -> dict[str, Statistic]:
    """Return every statistic that a user or the evidence asks for, by the key where it stands."""
    targets = () if selection is None else selection.targets
    found = {f"evidence.entries.{e.id}.statistic": e.statistic for e in targets if e.statistic is not None}
    asked = {} if root is None else root.output.estimates
    return found | {f"output.estimates.{name}": statistic for name, statistic in asked.items()}


def check_names(
    wanted: Mapping[str, Statistic],
    model: Model,
    cohort: Cohort,
    course: Course,
    study: Study,
    problems: Problems,
) -> None:
    """Every statistic must refer to what this cohort has."""
    known = {
        "stratum": cohort.strata,
        "arm": cohort.arm_names,
        "population": ("treated", *study.populations),
        "adverse_event": ("any", *course.adverse_events.terms),
        "state": model.states,
        "event": model.events,
    }
    seen = {*model.events, *model.markers}
    for key, statistic in wanted.items():
        column = statistic.column
        if statistic.endpoint.needs_dose and course.dose is None:
            problems.add(f"{key}.variable", statistic.variable, "the course declares no dose")
        second = statistic.endpoint.second
        if second and column.name is not None and column.name not in known[second]:
            what = f"{column.kind} of this cohort"
            problems.unknown(f"{key}.variable", statistic.variable, known[second], what=what)
        elif (
            column.outcome is not None
            and column.name is not None
            and column.outcome not in model.events[column.name].choose
        ):
            problems.unknown(
                f"{key}.variable",
                statistic.variable,
                model.events[column.name].choose,
                what=f"outcome of {column.name}",
            )
        if statistic.population not in known["population"]:
            problems.unknown(
                f"{key}.population", statistic.population, known["population"], what="population of the study"
            )
        for group, where in (("where", statistic.where), ("against", statistic.against)):
            if where is None:
                continue
            for what in ("stratum", "arm"):
                name = getattr(where, what)
                if name is not None and name not in known[what]:
                    problems.unknown(f"{key}.{group}.{what}", name, known[what], what=f"{what} of the cohort")
            for what in ("ever", "never"):
                name = getattr(where, what)
                if name is not None and name not in seen:
                    problems.unknown(f"{key}.{group}.{what}", name, seen, what="event or marker of the model")


def check_times(
    wanted: Mapping[str, Statistic], horizon: float, problems: Problems, by_hand: Mapping[str, str]
) -> None:
    """Refuse times beyond the horizon: a restricted mean may end with it; every other time is before it."""
    for key, statistic in wanted.items():
        _check_times(key, statistic, horizon, problems, by_hand)


def _check_times(
    key: str, statistic: Statistic, horizon: float, problems: Problems, by_hand: Mapping[str, str]
) -> None:
    """A restricted mean may end at the horizon; every other time is before it."""
    mean = not statistic.record.point
    times = [(f"{key}.time", statistic.time, mean)]
    times += [
        (f"{key}.{group}.landmark", where.landmark, False)
        for group, where in (("where", statistic.where), ("against", statistic.against))
        if where is not None
    ]
    for place, time, may_equal in times:
        if time is None or time < horizon or (time == horizon and may_equal):
            continue
        inside = "must not be after" if may_equal else "must be before"
        if "study.horizon" in by_hand and not any(place.startswith(name) for name in by_hand):
            after = f"must {'not be before' if may_equal else 'be after'} {place}, day {time:g}"
            problems.add("study.horizon", by_hand["study.horizon"], after)
        else:
            problems.add(place, time, f"{inside} the horizon, day {horizon:g}")
