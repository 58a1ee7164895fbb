"""Quantities of a declared model that have a closed form: survival of all patients, shares as they were seen.

Where there is no closed form it says why, in words that follow the name of a target: "survival has no closed form: …".

Survival is closed where one death by hazard is all the mortality there is, at risk from entry in every living state:
either it has no hazard ratios, or its baseline is solved so that its declared curve is that of all patients
(`solved_for`), and response is that of the published study or moves no survival (`response_effect` 0). A share is
closed where the declared number *is* the share seen: an event's `observed` probability, a term's `scale: ever`, a
population's probability.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Any

import numpy as np

from calibration.priors.parameters import ParameterSets
from simulator.configuration.values import PREFIX, Parameters, Problems, Resolver
from simulator.evidence.entries import EvidenceEntry
from simulator.evidence.statistic import Statistic
from simulator.experiment.follow_up import EARLIEST, LATEST, potential_follow_up
from simulator.experiment.schema import Experiment
from simulator.kernels.hazards import FAMILIES, cumulative_hazards, kernel_parameters
from simulator.model.events import by_administration
from simulator.model.model import TABLES, Event, Hazard, references
from simulator.tables import Floats

CURE = "name it, with the reason, under calibration.left_out, or give it the role used or held_out"
SIMULATE = "find its likelihood by simulation, under calibration.simulated"


class NoClosedForm(ValueError):
    """A quantity has no closed form; the message says why."""


@dataclass(frozen=True)
class Value:
    """One number of the model in one stratum: a calibrated parameter, or a constant in internal units."""

    parameter: str | None
    constant: float

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset() if self.parameter is None else frozenset({self.parameter})

    def of(self, sets: ParameterSets) -> Floats:
        return np.full(sets.size, self.constant) if self.parameter is None else sets[self.parameter]


@dataclass(frozen=True)
class ShareOf:
    """A product of numbers: the probability of an event, times that of its outcome."""

    factors: tuple[Value, ...]

    @property
    def parameters(self) -> frozenset[str]:
        return frozenset[str]().union(*(factor.parameters for factor in self.factors))

    def of(self, sets: ParameterSets) -> Floats:
        return np.asarray(reduce(np.multiply, (factor.of(sets) for factor in self.factors)))


@dataclass(frozen=True)
class SurvivalOf:
    """Survival under one hazard family, S(t) = 1 − p·(1 − e^−H(t)), with p = ``probability`` that it ever happens.

    NaN where the family's own parameters leave floating point (a Weibull shape below about 0.0006).
    """

    family: str
    named: tuple[tuple[str, Value], ...]
    probability: Value

    @property
    def parameters(self) -> frozenset[str]:
        return self.probability.parameters.union(*(value.parameters for _, value in self.named))

    def log_survival(self, sets: ParameterSets, times: Floats) -> Floats:
        given = {name: value.of(sets) for name, value in self.named}
        p0, p1, p2 = _kernel_parameters(self.family, given)[..., None]
        hazard = cumulative_hazards(FAMILIES[self.family].code, times[None, :], p0, p1, p2)
        if self.probability == Value(None, 1.0):
            return -hazard
        return np.asarray(np.log1p(-self.probability.of(sets)[:, None] * -np.expm1(-hazard)))


def _kernel_parameters(family: str, named: Mapping[str, Floats]) -> Floats:
    """Return p0, p1, p2 of each parameter set, (3, n); NaN for sets whose parameters are out of range."""
    size = len(next(iter(named.values())))
    try:
        return np.stack([np.broadcast_to(p, size) for p in kernel_parameters(family, **named)])
    except ValueError:
        if size == 1:
            return np.full((3, 1), np.nan)
    halves = (slice(None, size // 2), slice(size // 2, None))
    return np.concatenate([_kernel_parameters(family, {n: x[h] for n, x in named.items()}) for h in halves], axis=1)


@dataclass
class ClosedForms:
    """The closed forms of one experiment, with some of its parameters calibrated.

    ``kinds`` collects, for each calibrated parameter that was met, how the model reads it (`units.DIMENSIONS`).
    """

    experiment: Experiment
    calibrated: Collection[str]
    kinds: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _resolver(self) -> Resolver:
        return Resolver(Parameters(self.experiment.parameters), self.experiment.cohort.strata, Problems())

    @property
    def strata(self) -> tuple[str, ...]:
        return self.experiment.cohort.strata

    @cached_property
    def sizes(self) -> dict[str, int] | None:
        """Patients by stratum; None where the mix does not give whole numbers of them, or a prior moves them."""
        if self._moved(self.experiment.cohort.mix, self.experiment.cohort.n_patients):
            return None
        patients = self.experiment.tables.patients
        sizes = float(patients.n_patients[0]) * patients.share[0].reshape(-1, len(self.strata)).sum(axis=0)
        whole = np.rint(sizes)
        if np.any(np.abs(sizes - whole) > 1e-6):
            return None
        return {stratum: int(size) for stratum, size in zip(self.strata, whole, strict=True)}

    @cached_property
    def follow_up(self) -> float:
        """Days for which every patient is under observation if alive; 0 where some are lost at random."""
        if self.experiment.study.loss_to_follow_up is not None:
            return 0.0
        return self._until(LATEST)

    @property
    def last_follow_up(self) -> float:
        """Days for which a patient is under observation at most; those of the horizon where a prior moves it."""
        study = self.experiment.study
        if self._moved(study.accrual, study.data_cut, study.minimum_follow_up, study.horizon):
            return float(self.experiment.tables.horizon[0])
        return self._until(EARLIEST)

    def _until(self, share: float) -> float:
        """Days until the data cut or the horizon of those who enter at a quantile of accrual."""
        return float(potential_follow_up(self.experiment.tables.horizon, self.experiment.design, share)[0])

    def survival(self) -> dict[str, SurvivalOf]:
        """Return the survival curve of all patients, by stratum. Raises NoClosedForm."""
        self._one_arm()
        study = self.experiment.study
        if moved := self._moved(study.accrual, study.data_cut, study.minimum_follow_up, study.horizon):
            raise NoClosedForm(f"{moved[0]}, which has a prior, decides how long patients are followed")
        model = self.experiment.model
        deaths = {name: event for name, event in model.events.items() if event.to in model.absorbing}
        if len(deaths) > 1:
            raise NoClosedForm(f"several events are deaths ({', '.join(deaths)})")
        (name, event), *_ = deaths.items()
        hazard = event.hazard
        if hazard is None or by_administration(event, self.experiment.course.response):
            raise NoClosedForm(f"{name} follows administrations")
        living = set(model.states) - set(model.absorbing)
        if set(event.from_) != living or event.when or event.unless or event.clock != "forward":
            raise NoClosedForm(f"{name} is not at risk from entry in every living state")
        self._whole_curve(name, event, hazard)
        key = f"model.events.{name}.hazard"
        families = set(FAMILIES) | set(TABLES)
        family = self._resolver.names(hazard.family, families, f"{key}.family", what="hazard family")[0]
        if family in TABLES or not FAMILIES[family].smooth:
            raise NoClosedForm(f"the hazard of {name} is {family}")
        kinds = FAMILIES[family].dimensions
        named = {n: self._values(x, kinds[n], f"{key}.{n}") for n, x in hazard.named().items() if n in kinds}
        probability = self._values(hazard.probability, "probability", f"{key}.probability")
        return {
            stratum: SurvivalOf(family, tuple((n, values[s]) for n, values in named.items()), probability[s])
            for s, stratum in enumerate(self.strata)
        }

    def shares(self, statistic: Statistic) -> tuple[ShareOf, ...]:
        """Return the share that a proportion estimates, by stratum. Raises NoClosedForm."""
        self._one_arm()
        if (condition := narrowed(statistic)) is not None:
            raise NoClosedForm(f"it is conditional on `where.{condition}`")
        for name in self._chain(statistic.population):
            population = self.experiment.study.populations[name]
            given = [what for what in ("always", "exclude", "alive_at") if getattr(population, what) is not None]
            if given:
                raise NoClosedForm(f"who belongs to {name} depends on what happened (`{given[0]}`)")
        if statistic.endpoint.share is None:
            raise NoClosedForm(f"the share of {statistic.variable} is a consequence of the whole course")
        factors = statistic.endpoint.share(self, statistic.column, statistic.population)
        return tuple(ShareOf(tuple(values[s] for values in factors)) for s in range(len(self.strata)))

    def _moved(self, *expressions: Any) -> list[str]:
        """Return the calibrated parameters that some declarations refer to."""
        named = references(expressions)
        return sorted(p for p in self.calibrated if p in named or p.rpartition(".")[0] in named)

    def _one_arm(self) -> None:
        arms = self.experiment.cohort.arms
        if len(arms) > 1:
            raise NoClosedForm("the cohort has several arms")
        for name, arm in arms.items():
            if arm.effects.hazard_ratio or arm.effects.odds_ratio:
                raise NoClosedForm(f"arm {name} has effects on top of the declared numbers")

    def _whole_curve(self, name: str, event: Event, hazard: Hazard) -> None:
        """Refuse a death whose declared hazard is not that of all patients."""
        if hazard.solved_for is None:
            if event.ratios:
                why = "has hazard ratios, and no `solved_for` that keeps the curve of all patients"
                raise NoClosedForm(f"{name} {why}")
            return
        key = f"model.events.{name}.hazard.response_effect"
        shares = self._values(hazard.response_effect, "mediation", key)
        none = all(share.parameter is None and share.constant == 0.0 for share in shares)
        if self.experiment.solved.scenario and not none:
            raise NoClosedForm(
                f"response is not that of the published study (parameters.reference), and response_effect of {name}"
                " lets it move survival"
            )
        markers = self.experiment.model.events[hazard.solved_for].set
        for ratio in event.ratios:
            if ratio.marker not in markers or ratio.state is not None:
                other = ratio.marker or ratio.state or ratio.covariate
                raise NoClosedForm(f"the hazard ratio of {other} comes on top of the calibrated curve of {name}")

    def _chain(self, population: str) -> Iterator[str]:
        """Yield a population and those it is part of, without `treated`."""
        while population != "treated":
            yield population
            population = self.experiment.study.populations[population].of

    def membership(self, name: str, within: str) -> list[tuple[Value, ...]]:
        """Return the probabilities whose product is the share of a population in another one. Raises NoClosedForm."""
        chain, above = list(self._chain(name)), list(self._chain(within))
        if chain[len(chain) - len(above) :] != above:
            raise NoClosedForm(f"{name} is not a part of {within}")
        own = chain[: len(chain) - len(above)]
        populations = self.experiment.study.populations
        for part in own:
            if any(getattr(populations[part], what) is not None for what in ("always", "exclude", "alive_at")):
                raise NoClosedForm(f"who belongs to {part} depends on what happened")
        keys = {part: f"study.populations.{part}.probability" for part in own}
        return [self._values(populations[part].probability, "probability", key) for part, key in keys.items()]

    def term(self, name: str) -> list[tuple[Value, ...]]:
        """Return the probability of an adverse event of a term. Raises NoClosedForm."""
        terms = self.experiment.course.adverse_events.terms
        if name not in terms:
            raise NoClosedForm("any adverse event is a union of terms that share a frailty")
        if terms[name].scale != "ever":
            raise NoClosedForm(f"{name} is declared per administration")
        return [self._values(terms[name].probability, "probability", f"course.adverse_events.terms.{name}.probability")]

    def event(self, name: str, outcome: str | None) -> list[tuple[Value, ...]]:
        """Return the probability of an event as seen, and that of its outcome. Raises NoClosedForm."""
        if name not in self.experiment.model.events:
            raise NoClosedForm(f"{name} is no event of the model")
        event = self.experiment.model.events[name]
        hazard = event.hazard
        if hazard is None or by_administration(event, self.experiment.course.response):
            raise NoClosedForm(f"{name} follows administrations")
        if "probability" not in hazard.observed:
            raise NoClosedForm(f"the probability of {name} is latent, not as seen (`observed: [probability]`)")
        key = f"model.events.{name}"
        factors = [self._values(hazard.probability, "probability", f"{key}.hazard.probability")]
        if outcome is not None:
            chosen = event.choose[outcome].probability
            factors.append(self._values(chosen, "probability", f"{key}.choose.{outcome}.probability"))
        return factors

    def _values(self, expression: Any, kind: str, key: str) -> tuple[Value, ...]:
        """Return a declared number in every stratum."""
        constants = self._resolver.array(expression, kind, key)[0]
        found = []
        for origin, constant in zip(self._resolver.origins(expression, key), constants, strict=True):
            path = origin.removeprefix(PREFIX)
            calibrated = origin != path and path in self.calibrated
            if calibrated:
                self.kinds[path] = kind
            found.append(Value(path if calibrated else None, float(constant)))
        return tuple(found)


# ------------------------------------------------------------------------- entries of the evidence as targets


def statistic_of(entry: EvidenceEntry) -> Statistic:
    """Return the statistic of a target."""
    if entry.statistic is None:
        raise RuntimeError(f"{entry.id} is no target")
    return entry.statistic


def narrowed(statistic: Statistic) -> str | None:
    """Return the first condition, other than a stratum, that the statistic's patients must meet; None without one."""
    keys = ("arm", "status", "ever", "never", "landmark")
    return next((key for key in keys if getattr(statistic.where, key) is not None), None)


def wrong(problems: Problems, entry: EvidenceEntry, allowed: str) -> None:
    """Add a problem of one entry."""
    problems.add(f"evidence.entries.{entry.id}", entry.printed, allowed)


def no_closed_form(problems: Problems, entry: EvidenceEntry, what: str, why: str = "") -> None:
    """Refuse a target by name: ``what`` has no closed form, since ``why``."""
    reason = f": {why}" if why else ""
    wrong(problems, entry, f"{what} has no closed form{reason}; {SIMULATE}, or {CURE}")
