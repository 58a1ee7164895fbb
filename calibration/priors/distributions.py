"""Prior distributions of one number, written as functions of a standard normal score.

Every distribution is the image of a standard normal variable z under an increasing function: x = F⁻¹(Φ(z)). A prior
over any number of parameters is then an independent standard normal in these scores, whatever its distributions: it
needs no Jacobian, has no border, and a proposal can be compared with it directly. `value` goes from scores to numbers,
`score` back.

| distribution | x                                    | scipy.stats                     |
|--------------|--------------------------------------|---------------------------------|
| normal       | mean + sd·z                          | norm(mean, sd)                  |
| log_normal   | median·e^(sigma·z)                   | lognorm(sigma, scale=median)    |
| logit_normal | 1/(1 + e^−(logit(median) + sigma·z)) |                                 |
| half_normal  | sd·Φ⁻¹((1 + Φ(z))/2)                 | halfnorm(scale=sd)              |
| uniform      | low + (high − low)·Φ(z)              | uniform(low, high − low)        |
| beta         | I⁻¹(Φ(z); a, b)                      | beta(a, b)                      |
| fixed        | value, whatever z                    |                                 |

The upper half of a distribution is computed from the upper tail, so that no score up to 37 loses its digits to 1 −
Φ(z).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from scipy import special

from simulator.tables import Floats

INFINITY = math.inf


@dataclass(frozen=True)
class Scale:
    """A monotone scale on which a quantity is roughly symmetric, and back."""

    forward: Callable[[Floats], Floats]
    inverse: Callable[[Floats], Floats]
    support: tuple[float, float]


def _exp(x: Floats) -> Floats:
    """e^x, infinite without a word beyond floating point: a likelihood has nothing there."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(x))


SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "natural": Scale(np.array, np.array, (-INFINITY, INFINITY)),
        "log": Scale(np.log, _exp, (0.0, INFINITY)),
        "logit": Scale(special.logit, special.expit, (0.0, 1.0)),
    }
)
"""Natural, logarithm, log odds."""


class PriorDistribution(Protocol):
    """One number's distribution. `value` and `score` work element by element and are each other's inverse."""

    @property
    def support(self) -> tuple[float, float]:
        """Least and greatest value, either of them possibly infinite."""

    def value(self, z: Floats) -> Floats: ...

    def score(self, x: Floats) -> Floats: ...


@dataclass(frozen=True)
class Normal:
    """Normal on a scale: mean and sd > 0 are those of the scaled quantity (log x, log odds of x)."""

    mean: float
    sd: float
    scale: str = "natural"

    @property
    def support(self) -> tuple[float, float]:
        return SCALES[self.scale].support

    def value(self, z: Floats) -> Floats:
        return SCALES[self.scale].inverse(self.mean + self.sd * z)

    def score(self, x: Floats) -> Floats:
        return (SCALES[self.scale].forward(x) - self.mean) / self.sd


def log_normal(median: float, sigma: float) -> Normal:
    """Return the distribution of x > 0 whose logarithm is normal; sigma > 0 is the standard deviation of log x."""
    return Normal(math.log(median), sigma, "log")


def logit_normal(median: float, sigma: float) -> Normal:
    """Return the distribution of a share whose log odds are normal; sigma > 0 is their standard deviation."""
    return Normal(math.log(median / (1.0 - median)), sigma, "logit")


@dataclass(frozen=True)
class HalfNormal:
    """|Normal(0, sd)|, for standard deviations between strata."""

    sd: float
    support: tuple[float, float] = (0.0, INFINITY)

    def value(self, z: Floats) -> Floats:
        return np.asarray(-self.sd * special.ndtri(0.5 * special.ndtr(-z)))

    def score(self, x: Floats) -> Floats:
        upper = 2.0 * special.ndtr(-np.asarray(x) / self.sd)
        return np.asarray(-special.ndtri(upper))


@dataclass(frozen=True)
class Uniform:
    """Uniform between low and high > low."""

    low: float
    high: float

    @property
    def support(self) -> tuple[float, float]:
        return (self.low, self.high)

    def value(self, z: Floats) -> Floats:
        width = self.high - self.low
        return np.asarray(np.where(z < 0, self.low + width * special.ndtr(z), self.high - width * special.ndtr(-z)))

    def score(self, x: Floats) -> Floats:
        width = self.high - self.low
        below, above = (x - self.low) / width, (self.high - x) / width
        return np.asarray(np.where(below < 0.5, special.ndtri(below), -special.ndtri(above)))


@dataclass(frozen=True)
class Beta:
    """Beta(a, b), a and b > 0; Beta(½, ½) is Jeffreys' prior of a share."""

    a: float
    b: float
    support: tuple[float, float] = (0.0, 1.0)

    def value(self, z: Floats) -> Floats:
        below = special.betaincinv(self.a, self.b, special.ndtr(z))
        above = special.betainccinv(self.a, self.b, special.ndtr(-z))
        return np.asarray(np.where(z < 0, below, above))

    def score(self, x: Floats) -> Floats:
        below, above = special.betainc(self.a, self.b, x), special.betaincc(self.a, self.b, x)
        return np.asarray(np.where(below < 0.5, special.ndtri(below), -special.ndtri(above)))


@dataclass(frozen=True)
class Fixed:
    """One value: an assumption without spread."""

    at: float

    @property
    def support(self) -> tuple[float, float]:
        return (self.at, self.at)

    def value(self, z: Floats) -> Floats:
        return np.full(np.shape(z), self.at)

    def score(self, x: Floats) -> Floats:
        return np.zeros(np.shape(x))
