"""Who is treated: arms, strata, covariates."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from simulator.configuration.fields import Declared, Expression, Kind, Name
from simulator.configuration.values import Problems, Resolver
from simulator.errors import MISSING
from simulator.kernels.rng import stream_numbers
from simulator.tables import NONE, Allocation, Floats, PatientTable

MOST_PATIENTS = 1_000_000
"""Patients of one study."""
_MORE = "; for more patients raise study.replicates"
TAKEN = frozenset(
    {"arm", "stratum", "entry", "observation", "censoring", "cause_of_death", "state", "administrations", "replicate"}
    | {"patient"}
)
"""Columns of the patients' table that a covariate would overwrite."""


class Effects(Declared):
    """What an arm changes: hazard ratios and odds ratios of named events."""

    hazard_ratio: Annotated[dict[Name, Expression], Kind("ratio")] = {}
    """By event: multiplies its hazard throughout."""
    odds_ratio: Annotated[dict[Name, Expression], Kind("positive")] = {}
    """By event: acts on `probability` or `ever` where that is below 1, else on the probability per administration."""


class Arm(Declared):
    """One arm: its number of patients, its course where it differs, and its effects."""

    n_patients: int = Field(ge=1)
    """Patients of this arm in one study."""
    reference: bool = False
    """The comparator, for which things are solved; exactly one of several arms."""
    course: dict[str, Any] = {}
    """Keys of `course`, laid over the common one."""
    effects: Effects = Effects()
    """Hazard ratios and odds ratios of this arm."""
    label: str | None = None
    """For the reader."""


class Cohort(Declared):
    """A cohort: size, mix of strata, arms, covariates."""

    name: Name
    """Stands in the results."""
    title: str | None = None
    """For the reader."""
    description: str | None = None
    """For the reader."""
    n_patients: Annotated[Expression | None, Kind("whole")] = None
    """Patients of one study; with `arms` their sum, and left out."""
    mix: Annotated[dict[Name, float | int | str], Kind("ratio")] = {}
    """By stratum: share or count; only proportions matter."""
    allocation: Literal["deficit", "random"] = "deficit"
    """How patients get arm and stratum: in fixed numbers, or by a draw each."""
    arms: dict[Name, Arm] = {}
    """By name; one arm, `all`, if none is given."""
    covariates: Annotated[dict[Name, Any], Kind("real", distribution=True)] = {}
    """By name: what is drawn once a patient; `age` is a time."""

    @property
    def strata(self) -> tuple[str, ...]:
        return tuple(self.mix) or ("all",)

    @property
    def arm_names(self) -> tuple[str, ...]:
        return tuple(self.arms) or ("all",)

    def check(self, events: Any, problems: Problems) -> None:
        """Collect contradictions between sizes, arms and effects."""
        if self.arms:
            total = sum(arm.n_patients for arm in self.arms.values())
            if total > MOST_PATIENTS:
                problems.add("cohort.arms", f"{total} patients", f"must be at most {MOST_PATIENTS:,} together{_MORE}")
            if self.n_patients is not None and self.n_patients != total:
                problems.add(
                    "cohort.n_patients",
                    self.n_patients,
                    f"the arms have {total} patients together; leave it out or make it agree",
                )
            references = [name for name, arm in self.arms.items() if arm.reference]
            if len(self.arms) > 1 and len(references) != 1:
                allowed = "exactly one arm must be the reference (reference: true)"
                problems.add("cohort.arms", references or list(self.arms), allowed)
        elif self.n_patients is None:
            problems.add("cohort.n_patients", MISSING, "is missing")
        for what, names, reserved in (
            ("mix", self.mix, {"all"}),
            ("arms", self.arms, {"all"}),
            ("covariates", self.covariates, TAKEN),
        ):
            for name in sorted(reserved & set(names)):
                problems.add(f"cohort.{what}.{name}", name, "is a name that Lobule uses for something else")
        for name, arm in self.arms.items():
            for what in ("hazard_ratio", "odds_ratio"):
                for event in getattr(arm.effects, what):
                    if event not in events:
                        problems.unknown(f"cohort.arms.{name}.effects.{what}", event, events, what="event")


def compile_patients(cohort: Cohort, resolver: Resolver) -> PatientTable:
    """Return the patient rules of every parameter set."""
    n_sets = resolver.parameters.n_sets
    if cohort.arms:
        n_patients = np.full(n_sets, sum(arm.n_patients for arm in cohort.arms.values()))
        arm_share = np.array([arm.n_patients for arm in cohort.arms.values()], dtype=float)
    else:
        given = 1 if cohort.n_patients is None else cohort.n_patients  # refused by `check`
        n_patients = resolver.integers(given, "cohort.n_patients", least=1, most=MOST_PATIENTS, hint=_MORE)
        arm_share = np.ones(1)
    stratum_share = _shares(cohort, resolver)
    share = (arm_share / arm_share.sum())[None, :, None] * stratum_share[:, None, :]
    names = tuple(cohort.covariates)
    codes, values = np.zeros(len(names), dtype=np.int64), np.zeros((n_sets, share[0].size, len(names), 3))
    for x, name in enumerate(names):
        kind = "duration" if name == "age" else "real"
        codes[x], drawn = resolver.distribution(
            cohort.covariates[name], kind, f"cohort.covariates.{name}", by_stratum=True
        )
        values[:, :, x] = np.tile(drawn, (1, len(arm_share), 1))
    streams = stream_numbers([f"covariate.{name}" for name in names])
    return PatientTable(
        covariates=names,
        n_patients=n_patients,
        allocation=Allocation.DEFICIT if cohort.allocation == "deficit" else Allocation.RANDOM,
        share=share.reshape(n_sets, -1),
        covariate_code=codes,
        covariate=values,
        covariate_stream=np.array([streams[f"covariate.{name}"] for name in names], dtype=np.int64),
        age=names.index("age") if "age" in names else NONE,
    )


def _shares(cohort: Cohort, resolver: Resolver) -> Floats:
    """Shares of the strata in every set; the mix may be given as shares or as counts."""
    n_sets = resolver.parameters.n_sets
    if not cohort.mix:
        return np.ones((n_sets, 1))
    columns = [resolver.scalar(v, "ratio", f"cohort.mix.{k}") for k, v in cohort.mix.items()]
    mix = np.stack(columns, axis=1)
    total = mix.sum(axis=1, keepdims=True)
    if np.any(total <= 0):
        resolver.problems.add("cohort.mix", dict(cohort.mix), "at least one stratum needs a share > 0")
        return np.full(mix.shape, 1.0 / mix.shape[1])
    return np.asarray(mix / total)
