"""What a calibration file declares: priors, what is left out, readings and their weights, alternatives of the model's
own choices, how hard to search.

A number that has a location (a mean, a median, an end) is kept as written, since only the model says whether it is a
time, a rate or a plain number; `prior_of` reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from calibration.priors.distributions import (
    Beta,
    Fixed,
    HalfNormal,
    Normal,
    PriorDistribution,
    Uniform,
    log_normal,
    logit_normal,
)
from calibration.priors.parameters import Dirichlet, Pooled, Prior, PriorBlock, Single
from simulator import units
from simulator.configuration.fields import Declared, Name, Text
from simulator.configuration.messages import Wrong, validated
from simulator.configuration.values import Leaf, Problems
from simulator.errors import MISSING, ConfigError, Problem, nearest

ROOT = "calibration"
EXACT = "exact"
"""Instead of a tolerance: a simulated statistic prints as the figure, or it does not."""
Positive = Annotated[float, BeforeValidator(units.number), Field(gt=0)]
Located = float | int | str


class NormalPrior(Declared):
    """Normal on the natural scale."""

    mean: Located
    """Mean."""
    sd: Located
    """Standard deviation."""


class MedianPrior(Declared):
    """Normal on the logarithm, or on the log odds, given by its median there."""

    median: Located
    """Median."""
    sigma: Positive
    """Standard deviation of the logarithm, or of the log odds."""


class HalfNormalPrior(Declared):
    """|Normal(0, sd)|."""

    sd: Positive
    """Standard deviation of the normal."""


class UniformPrior(Declared):
    """Uniform between two ends."""

    low: Located
    """Lower end."""
    high: Located
    """Upper end."""


class BetaPrior(Declared):
    """Beta(a, b)."""

    a: Positive
    """First shape."""
    b: Positive
    """Second shape; 0.5 and 0.5 is Jeffreys'."""


class DistributionPrior(Declared):
    """Exactly one distribution of one number."""

    normal: NormalPrior | None = None
    """Normal."""
    log_normal: MedianPrior | None = None
    """Normal logarithm."""
    logit_normal: MedianPrior | None = None
    """Normal log odds."""
    half_normal: HalfNormalPrior | None = None
    """Absolute value of a normal around 0."""
    uniform: UniformPrior | None = None
    """Uniform."""
    beta: BetaPrior | None = None
    """Beta."""
    fixed: Located | None = None
    """A value that does not vary."""

    @property
    def given(self) -> list[str]:
        """Names of the keys that are given, notes apart."""
        return [name for name in type(self).model_fields if name != "note" and getattr(self, name) is not None]

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        if len(self.given) != 1:
            names = ", ".join(name for name in type(self).model_fields if name != "note")
            allowed = f"must have exactly one of {names}; it has {', '.join(self.given) or 'none'}"
            raise Wrong([Problem("", MISSING, allowed)])
        return self


class PooledPrior(Declared):
    """Strata around a common centre, with a standard deviation between them on the centre's scale."""

    centre: DistributionPrior
    """Common centre of the strata: `normal`, `log_normal` or `logit_normal`."""
    between: DistributionPrior
    """Standard deviation between strata, on the scale of the centre."""

    @model_validator(mode="after")
    def _poolable(self) -> Self:
        wrong = []
        if self.centre.given[0] not in ("normal", "log_normal", "logit_normal"):
            wrong.append(Problem("centre", self.centre.given[0], "must be normal, log_normal or logit_normal"))
        if self.between.given[0] not in ("half_normal", "log_normal", "uniform", "fixed"):
            allowed = "must be half_normal, log_normal, uniform or fixed"
            wrong.append(Problem("between", self.between.given[0], allowed))
        if wrong:
            raise Wrong(wrong)
        return self


class ParameterPrior(DistributionPrior):
    """The prior of one parameter, or of one that every stratum has a value of."""

    pooled: PooledPrior | None = None
    """Strata around a common centre."""
    dirichlet: Annotated[dict[Name, Positive], Field(min_length=2)] | None = None
    """Shares that sum to one: the concentration of each."""
    note: Text | None = None
    """Why this prior."""


class Survivors(Declared):
    """How many of N a percentage of survival stands for, where no whole number of N prints it."""

    count: Annotated[int, Field(ge=0)]
    """How many are alive at the landmark."""
    because: Text
    """Why."""


class SimulatedTargets(Declared):
    """Targets whose likelihood is found by simulation, together; see `simulated`.

    ``targets``: id → tolerance, or `EXACT`. ``parameters``: those that vary; None: all that move a target.
    """

    targets: Annotated[dict[Text, Located], Field(min_length=1)]
    """By id: a tolerance, or `exact`."""
    parameters: Annotated[list[Text], Field(min_length=1)] | None = None
    """Those that vary; all that move a target if left out."""
    replicates: int = Field(default=400, ge=10, le=1_000_000)
    """Simulated studies at each parameter set."""
    recombined: int = Field(default=5, ge=0, le=10_000)
    """So many times as many studies more, of the same patients."""
    note: Text | None = None
    """For the reader."""


def _weighed(value: object) -> object:
    """A number alone is a weight."""
    return value if isinstance(value, Mapping) else {"weight": value}


class Alternative(Declared):
    """A value that a choice of the model may have: its prior weight, and priors that hold under it instead."""

    weight: Positive
    """Prior weight."""
    parameters: dict[str, ParameterPrior] = {}
    """Priors that hold under this choice instead."""
    note: Text | None = None
    """For the reader."""


class Search(Declared):
    """How hard the posterior is searched; see `samplers.imis`."""

    initial: int = Field(default=8000, ge=100, le=10_000_000)
    """Draws of the prior that the search begins with."""
    step: int = Field(default=1000, ge=50, le=1_000_000)
    """Draws of each further component."""
    draws: int = Field(default=4000, ge=100, le=1_000_000)
    """Size of the posterior sample."""
    stages: int = Field(default=100, ge=1, le=10_000)
    """Components at most."""
    batch: int = Field(default=2000, ge=1, le=1_000_000)
    """Parameter sets whose likelihood is found at a time; no result depends on it."""


class Calibration(Declared):
    """One cohort's calibration."""

    name: Name
    """Stands in the results."""
    title: Text | None = None
    """For the reader."""
    parameters: Annotated[dict[str, ParameterPrior], Field(min_length=1)]
    """By parameter, or by what the parameters of all strata begin with: its prior."""
    left_out: dict[str, Text] = {}
    """By id of a fitted target: the reason why it is not fitted."""
    survivors: dict[str, Survivors] = {}
    """By id of a landmark that no whole count prints: how many it stands for."""
    simulated: dict[Name, SimulatedTargets] = {}
    """By a name of yours: targets whose likelihood is found by simulation, together."""
    readings: dict[Name, Annotated[dict[Name, Positive], Field(min_length=1)]] = {}
    """By question: prior weights of its alternatives; other questions keep the reading that is chosen."""
    alternatives: dict[
        Text, Annotated[dict[Name, Annotated[Alternative, BeforeValidator(_weighed)]], Field(min_length=2)]
    ] = {}
    """By a choice of the model whose value is a name: other values, which are fitted beside it."""
    search: Search = Search()
    """How hard the posterior is searched."""

    def without(self, targets: Collection[str]) -> Calibration:
        """Return the same without what it says of how some targets are fitted; a simulated term keeps its others."""
        survivors = {name: given for name, given in self.survivors.items() if name not in targets}
        simulated = {}
        for name, given in self.simulated.items():
            others = {target: tolerance for target, tolerance in given.targets.items() if target not in targets}
            if others:
                simulated[name] = given.model_copy(update={"targets": others})
        return self.model_copy(update={"survivors": survivors, "simulated": simulated})


def load(container: object) -> Calibration:
    """Return what a file declares, checked by itself. ConfigError lists everything wrong with it."""
    if not isinstance(container, Mapping):
        raise ConfigError(Problem(ROOT, container, "must be a mapping of keys to values"))
    problems: list[Problem] = []
    declared = validated(Calibration, dict(container), ROOT, problems)
    if declared is None:
        raise ConfigError(problems)
    return declared


def expanded(declared: Calibration, leaves: Mapping[str, Leaf]) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Return, for each declared key, the parameters of the cohort that it stands for, and what is wrong.

    A key is a parameter, or what the parameters of all strata have before their last dot.
    """
    found: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    problems = []
    groups = {path.rpartition(".")[0] for path in leaves} - {""}
    for key, prior in declared.parameters.items():
        here = f"{ROOT}.parameters.{key}"
        below = tuple(path for path in leaves if path.rpartition(".")[0] == key)
        if key not in leaves and not below:
            allowed = "unknown parameter of this cohort"
            problems.append(Problem(here, MISSING, allowed, nearest(key, {*leaves, *groups})))
            continue
        if key in leaves and isinstance(leaves[key].value, Mapping):
            allowed = "has a mapping as its value; declare a parameter for each of its keys to calibrate it"
            problems.append(Problem(here, MISSING, allowed))
            continue
        if key in leaves and (prior.pooled or prior.dirichlet):
            allowed = "needs several parameters below this key, one a stratum or a share; this is a single one"
            problems.append(Problem(f"{here}.{prior.given[0]}", MISSING, allowed))
            continue
        members = {path.rpartition(".")[2] for path in below}
        if prior.dirichlet is not None and members != set(prior.dirichlet):
            allowed = f"must give a concentration for each of: {', '.join(sorted(members))}"
            problems.append(Problem(f"{here}.dirichlet", sorted(prior.dirichlet), allowed))
            continue
        found[key] = (key,) if key in leaves else below
        for path in found[key]:
            if path in owner:
                problems.append(Problem(here, MISSING, f"gives {path} a second prior; {owner[path]} gives it one"))
            owner.setdefault(path, key)
    return found, problems


def prior_of(declared: Calibration, leaves: Mapping[str, Leaf], kinds: Mapping[str, str]) -> Prior:
    """Return the joint prior of a cohort's parameters.

    Parameters
    ----------
    leaves : the cohort's parameters by path.
    kinds : how the model reads a parameter (`units.DIMENSIONS`), as far as it is known; else its declared value tells.

    Raises
    ------
    ConfigError
        For unknown parameters, numbers that cannot be read, and distributions that leave what a parameter may be.
    """
    keys, wrong = expanded(declared, leaves)
    problems = Problems(wrong)
    blocks: list[PriorBlock] = []
    for key, paths in keys.items():
        prior, here = declared.parameters[key], f"{ROOT}.parameters.{key}"
        kind = _kind_of(paths, leaves, kinds)
        if prior.dirichlet is not None:
            order = [path.rpartition(".")[2] for path in paths]
            blocks.append(Dirichlet(key, {member: prior.dirichlet[member] for member in order}))
            _inside((0.0, 1.0), kind, f"{here}.dirichlet", "dirichlet", problems)
        elif prior.pooled is not None:
            strata = tuple(path.rpartition(".")[2] for path in paths)
            centre = _distribution(prior.pooled.centre, kind, f"{here}.pooled.centre", problems)
            between = _distribution(prior.pooled.between, "real", f"{here}.pooled.between", problems)
            if isinstance(centre, Normal) and between is not None:
                if between.support[0] < 0.0:
                    problems.add(f"{here}.pooled.between", MISSING, "must not fall below 0: it is a standard deviation")
                blocks.append(Pooled(key, strata, centre, between))
        else:
            distribution = _distribution(prior, kind, here, problems)
            if distribution is not None:
                blocks += [Single(path, distribution) for path in paths]
    problems.raise_any()
    return Prior(tuple(blocks))


def kinds_of(
    keys: Mapping[str, tuple[str, ...]], leaves: Mapping[str, Leaf], kinds: Mapping[str, str]
) -> dict[str, str]:
    """Return how every parameter is read: ``keys`` as `expanded` gives them, the others as for `prior_of`."""
    return {path: _kind_of(paths, leaves, kinds) for paths in keys.values() for path in paths}


def _kind_of(paths: tuple[str, ...], leaves: Mapping[str, Leaf], kinds: Mapping[str, str]) -> str:
    """How the parameters of one key are read: alike."""
    return next((kinds[path] for path in paths if path in kinds), _kind(leaves[paths[0]].value))


def _kind(value: Any) -> str:
    """Say how a parameter is read that no closed form looks at: by the unit of its declared value."""
    return {"d": "time", "1/d": "rate"}.get(units.unit_of(value) or "", "real")


def _distribution(prior: DistributionPrior, kind: str, key: str, problems: Problems) -> PriorDistribution | None:
    """Return one distribution with its numbers read as the parameter's kind; None where a problem was added."""
    before = len(problems.found)
    name = prior.given[0]
    here = f"{key}.{name}"

    def read(field: str, value: Located, *, spread: bool = False) -> float:
        place = f"{here}.{field}" if field else here
        try:
            number = units.DIMENSIONS[kind].read(value)
        except ValueError as refusal:
            problems.add(place, value, str(refusal))
            return 1.0
        if spread and number <= 0:
            problems.add(place, value, "must be > 0")
        return number

    distribution: PriorDistribution | None = None
    if prior.normal is not None:
        mean, sd = read("mean", prior.normal.mean), read("sd", prior.normal.sd, spread=True)
        distribution = Normal(mean, sd)
    elif prior.log_normal is not None:
        median = read("median", prior.log_normal.median, spread=True)
        distribution = log_normal(median, prior.log_normal.sigma) if median > 0 else None
    elif prior.logit_normal is not None:
        median = read("median", prior.logit_normal.median)
        if 0 < median < 1:
            distribution = logit_normal(median, prior.logit_normal.sigma)
        else:
            problems.add(f"{here}.median", prior.logit_normal.median, "must be > 0 and < 1")
    elif prior.half_normal is not None:
        distribution = HalfNormal(prior.half_normal.sd)
    elif prior.uniform is not None:
        low, high = read("low", prior.uniform.low), read("high", prior.uniform.high)
        if low >= high:
            problems.add(here, [prior.uniform.low, prior.uniform.high], "must be in order: low < high")
        distribution = Uniform(low, high)
    elif prior.beta is not None:
        distribution = Beta(prior.beta.a, prior.beta.b)
    elif prior.fixed is not None:
        distribution = Fixed(read("", prior.fixed))
    if distribution is not None and len(problems.found) == before:
        _inside(distribution.support, kind, here, name, problems)
    return distribution if len(problems.found) == before else None


def _inside(support: tuple[float, float], kind: str, key: str, name: str, problems: Problems) -> None:
    """Refuse a distribution that can leave what the parameter may be."""
    dimension = units.DIMENSIONS[kind]
    low, high = (min(max(end, -1e9), 1e9) for end in support)
    inner = (low + 1e-9 * max(1.0, abs(low)), high - 1e-9 * max(1.0, abs(high))) if low < high else (low, high)
    if not all(dimension.holds(end) for end in inner):
        fitting = {"probability": "beta, logit_normal, or uniform within 0 and 1", "time": "log_normal, or uniform"}
        fitting |= {"positive": "log_normal, or uniform", "rate": "log_normal, half_normal, or uniform"}
        hint = f"; use {fitting[kind]}" if kind in fitting else ""
        problems.add(key, MISSING, f"{name} leaves what this parameter may be: it {dimension.allowed}{hint}")
