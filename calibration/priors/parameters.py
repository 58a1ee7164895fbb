"""Named parameters and their joint prior, in batches.

A prior is a list of blocks. Each block reads some coordinates and gives named numbers; a coordinate is a standard
normal score (see `distributions`), so the prior of all coordinates together is a standard normal vector of independent
components: that is the whole of `Prior.log_density`. Hierarchies are non-centred for the same reason (Papaspiliopoulos,
Roberts & Sköld 2007, Statistical Science 22:59): strata are centre + between·score on the pooled scale.

Throughout n is the number of parameter sets, d the number of coordinates; times are days.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy import special

from calibration.priors.distributions import SCALES, Beta, Normal, PriorDistribution
from simulator.kernels.rng import stream_number, uniforms
from simulator.tables import Floats

LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class ParameterSets:
    """A batch: ``size`` parameter sets, for each name its value in every set, shape (size,)."""

    values: Mapping[str, Floats]
    size: int

    def __getitem__(self, name: str) -> Floats:
        return self.values[name]

    def part(self, start: int, stop: int) -> ParameterSets:
        """Return the sets from start to before stop, or to the last."""
        values = {name: column[start:stop] for name, column in self.values.items()}
        return ParameterSets(values, len(range(self.size)[start:stop]))


class PriorBlock(Protocol):
    """Some coordinates and the named numbers they stand for."""

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the coordinates it reads, in order."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers it gives."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those of the names that are parameters of the model, not of the prior itself."""

    def values(self, z: Floats) -> Mapping[str, Floats]:
        """Return the numbers, (n,) each, at scores z (n, coordinates)."""

    def scaled(self, z: Floats) -> Mapping[str, Floats]:
        """Return the numbers on scales where their prior is normal, or nearly: there spreads are compared."""

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        """Return the scores (n, coordinates) at which the numbers have these values: the inverse."""


@dataclass(frozen=True)
class Single:
    """One parameter with a distribution of its own."""

    name: str
    distribution: PriorDistribution

    @property
    def coordinates(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def parameters(self) -> tuple[str, ...]:
        return (self.name,)

    def values(self, z: Floats) -> Mapping[str, Floats]:
        return {self.name: self.distribution.value(z[:, 0])}

    def scaled(self, z: Floats) -> Mapping[str, Floats]:
        low, high = self.distribution.support
        return {self.name: z[:, 0] if low < high else np.zeros(len(z))}

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        return self.distribution.score(values[self.name])[:, None]


@dataclass(frozen=True)
class Pooled:
    """One parameter in several strata, partially pooled: scaled value = centre + between·score of the stratum.

    ``centre`` is normal on some scale, which is the scale of pooling; ``between``, ≥ 0, is the standard deviation
    between strata on that scale. Both appear among the names, as ``<name> (centre)`` and ``<name> (between)``.
    """

    name: str
    strata: tuple[str, ...]
    centre: Normal
    between: PriorDistribution

    @property
    def hyper(self) -> tuple[str, str]:
        """Names of centre and spread."""
        return f"{self.name} (centre)", f"{self.name} (between)"

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"{self.name}.{stratum}" for stratum in self.strata)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return (*self.hyper, *self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.hyper, *self.parameters)

    def values(self, z: Floats) -> Mapping[str, Floats]:
        inverse = SCALES[self.centre.scale].inverse
        strata = {name: inverse(value) for name, value in self._strata(z).items()}
        return {self.hyper[0]: self.centre.value(z[:, 0]), self.hyper[1]: self.between.value(z[:, 1]), **strata}

    def scaled(self, z: Floats) -> Mapping[str, Floats]:
        return {self.hyper[0]: z[:, 0], self.hyper[1]: z[:, 1], **self._strata(z)}

    def _strata(self, z: Floats) -> dict[str, Floats]:
        """Strata on the pooled scale."""
        middle, between = self.centre.mean + self.centre.sd * z[:, 0], self.between.value(z[:, 1])
        return {name: middle + between * z[:, 2 + s] for s, name in enumerate(self.parameters)}

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        forward = SCALES[self.centre.scale].forward
        middle, between = forward(values[self.hyper[0]]), values[self.hyper[1]]
        strata = [(forward(values[name]) - middle) / between for name in self.parameters]
        return np.stack([(middle - self.centre.mean) / self.centre.sd, self.between.score(between), *strata], axis=1)


@dataclass(frozen=True)
class Dirichlet:
    """Shares that sum to one, Dirichlet with these concentrations > 0, as a chain of beta variables.

    Share i takes Beta(aᵢ, aᵢ₊₁ + …) of what the shares before it have left (stick breaking; Connor & Mosimann 1969).
    """

    name: str
    concentration: Mapping[str, float]

    @cached_property
    def _sticks(self) -> tuple[Beta, ...]:
        alpha = list(self.concentration.values())
        return tuple(Beta(a, math.fsum(alpha[i + 1 :])) for i, a in enumerate(alpha[:-1]))

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(f"{self.name}.{member}" for member in self.concentration)

    @property
    def coordinates(self) -> tuple[str, ...]:
        return self.parameters[:-1]

    @property
    def names(self) -> tuple[str, ...]:
        return self.parameters

    def scaled(self, z: Floats) -> Mapping[str, Floats]:
        with np.errstate(divide="ignore"):
            return {name: np.clip(special.logit(share), -700.0, 40.0) for name, share in self.values(z).items()}

    def values(self, z: Floats) -> Mapping[str, Floats]:
        left = np.ones(len(z))
        shares = {}
        for i, (name, stick) in enumerate(zip(self.parameters[:-1], self._sticks, strict=True)):
            broken = stick.value(z[:, i])
            shares[name] = left * broken
            left = left * (1.0 - broken)
        return {**shares, self.parameters[-1]: left}

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        columns = []
        left = np.ones(len(values[self.parameters[0]]))
        for name, stick in zip(self.parameters[:-1], self._sticks, strict=True):
            columns.append(stick.score(values[name] / left))
            left = left - values[name]
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Prior:
    """The joint prior of independent blocks."""

    blocks: tuple[PriorBlock, ...]

    @cached_property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the coordinates, in the order of their columns."""
        return tuple(name for block in self.blocks for name in block.coordinates)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers, parameters of the prior itself among them."""
        return tuple(name for block in self.blocks for name in block.names)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Names of the model's parameters."""
        return tuple(name for block in self.blocks for name in block.parameters)

    def scaled(self, z: Floats) -> dict[str, Floats]:
        """Return the numbers at coordinates z (n, d) on scales where their prior is normal, or nearly."""
        return {name: v for block, columns in self._columns() for name, v in block.scaled(z[:, columns]).items()}

    def parameter_sets(self, z: Floats) -> ParameterSets:
        """Return the numbers at coordinates z, (n, d)."""
        values = {name: v for block, columns in self._columns() for name, v in block.values(z[:, columns]).items()}
        return ParameterSets(values, len(z))

    def scores(self, values: Mapping[str, Floats]) -> Floats:
        """Return the coordinates, (n, d), at which the numbers have these values."""
        return np.concatenate([block.scores(values) for block in self.blocks], axis=1)

    def log_density(self, z: Floats) -> Floats:
        """Return the log prior density of coordinates, (n,): that of independent standard normal variables."""
        return standard_normal_log_density(z)

    def draw(self, n: int, *, seed: int, stream: str) -> Floats:
        """Return n coordinates drawn from the prior, (n, d); the same whatever is drawn beside them."""
        return normal_scores(n, len(self.coordinates), seed=seed, stream=stream)

    def _columns(self) -> Iterator[tuple[PriorBlock, slice]]:
        start = 0
        for block in self.blocks:
            stop = start + len(block.coordinates)
            yield block, slice(start, stop)
            start = stop


def standard_normal_log_density(z: Floats) -> Floats:
    """Return Σ log φ(z), (n,), of scores (n, d); summed column by column, so that no row depends on its neighbours."""
    total = np.full(len(z), -0.5 * LOG_2PI * z.shape[1])
    for column in z.T:
        total -= 0.5 * column * column
    return total


def normal_scores(n: int, d: int, *, seed: int, stream: str, stage: int = 0) -> Floats:
    """Return standard normal scores (n, d), one for each address (seed, stream, stage, row, column).

    A score depends on its address alone: not on n, on the order of evaluation or on the number of workers.
    """
    rows, columns = np.arange(n)[:, None], np.arange(d)[None, :]
    return np.asarray(special.ndtri(uniforms(seed, rows, stage, stream_number(stream), columns)))


@dataclass(frozen=True)
class Alternatives:
    """Discrete alternatives of which one holds, with prior weights: the readings of a text.

    ``names`` are what each alternative is called; ``weights`` > 0 need not sum to one.
    """

    names: tuple[tuple[str, ...], ...]
    weights: tuple[float, ...]

    def probabilities(self, log_evidence: Sequence[float] | None = None) -> Floats:
        """Return their probabilities: prior, or posterior where the log evidence of each is given (Bayes)."""
        log = np.log(self.weights) + (0.0 if log_evidence is None else np.asarray(log_evidence))
        return np.asarray(np.exp(log - special.logsumexp(log)))
