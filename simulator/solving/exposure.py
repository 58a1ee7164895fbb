"""How many administrations patients receive, and what each may bring.

A paper reports the share of patients who *ever* had an adverse event. The probability per administration is solved so
that this share holds with the shared frailty and with the number of administrations that patients really receive at the
reference design.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from simulator.kernels.frailty import thresholds
from simulator.kernels.marginal import chances, negative_exponential
from simulator.solving.latent import Pieces
from simulator.solving.mixture import significant
from simulator.tables import Floats

NODES = 80


def number_of_administrations(
    pieces: Pieces, b: int, s: int, probability: float, median: float | None, base: Floats
) -> Floats:
    """P(N > k), k = 0 … maximum − 1, of the number of administrations under the design's course.

    The course goes on while no stopping state has been entered and fewer than the planned number have been
    given. Patients who will have the multiplier event may have another planned number; if the event does not
    stop the course, its hazard ratios act from its onset on.
    """
    model, course, parts = pieces.model, pieces.design.course, pieces.parts
    time = pieces.grid(b)
    stops = {*course.stop.states, *model.absorbing}
    events = list(model.events.values())
    before, after = np.zeros(time.size), np.zeros(time.size)
    for e in dict.fromkeys((*parts.deaths, *parts.competing, *parts.ending)):
        if events[e].to in stops:
            r0, r1 = pieces.ratios(e, b, s)
            values = base if e == pieces.solved else pieces.hazard(e, b, s, time)
            before, after = before + r0 * values, after + r1 * values
    free = negative_exponential(before)
    never, ever = 1.0 - pieces.planned(b, ever=False), 1.0 - pieces.planned(b, ever=True)
    stopping = pieces.event.to in stops or bool(set(pieces.event.set) & set(course.stop.markers))
    visits = pieces.visit_times(b)
    success = float(pieces.arrays["success"][b, parts.multiplier, s]) if pieces.driven else 0.0
    if pieces.driven:
        onset = np.zeros(time.size)
    else:
        law = pieces.laws((b,), None if median is None else np.array([median]))[0, s]
        onset = pieces.incidence(b, s, time, law)
    will = (1.0 - onset) * free
    if not stopping:
        gained = np.cumsum(np.diff(onset, prepend=0.0) * free / np.maximum(negative_exponential(after), 1e-300))
        will = will + gained * negative_exponential(after)
    share = np.empty(len(visits))
    for k, visit in enumerate(visits):
        kept = (1.0 - success) ** k if stopping else 1.0
        share[k] = chances(visit, (1.0 - probability) * never[k], free, probability * ever[k] * kept, will)
    return share


@cache
def _normal_nodes() -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss–Hermite quadrature over a standard normal variable."""
    node, weight = np.polynomial.hermite_e.hermegauss(NODES)
    return node, weight / weight.sum()


def per_administration_thresholds(rate: Floats, more_than: Sequence[Floats], frailty: Floats) -> Floats:
    """Return a = Φ⁻¹ of the marginal probability per administration at which a share ``rate`` ever has the event.

    Of each of K groups: its rate (K,), P(N > k) of its number of administrations, its frailty (K,).
    ``rate = 1 − Σ_n P(N = n) E_z[(1 − Φ((a + √ρ z)/√(1 − ρ)))^n]``, z standard normal by Gauss–Hermite.
    """
    found = np.full(rate.size, -np.inf)
    first = np.array([more[0] if more.size else 0.0 for more in more_than])
    found[(rate > 0.0) & (rate >= first)] = np.inf
    sought = np.flatnonzero((rate > 0.0) & (rate < first)).tolist()
    if sought:
        numbers = np.zeros((len(sought), 1 + max(more_than[i].size for i in sought)))
        for row, i in enumerate(sought):
            numbers[row, : more_than[i].size + 1] = -np.diff(np.concatenate([[1.0], more_than[i], [0.0]]))
        solved = thresholds(rate[sought], numbers, frailty[sought], *_normal_nodes())
        found[sought] = [significant(a) for a in solved.tolist()]
    return found
