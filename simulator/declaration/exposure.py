"""How many administrations patients receive, and what each may bring. Knows quadrature; simulates nothing.

A paper reports the share of patients who *ever* had an adverse event. The probability per administration
is solved so that this share holds with the shared frailty and with the number of administrations that
patients really receive at the reference design.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from simulator.declaration.latent import Solver, significant
from simulator.kernels.elementary import normal_cdf
from simulator.kernels.marginal import negative_exponential
from simulator.tables import Floats

NODES = 80


def number_of_administrations(
    solver: Solver, b: int, s: int, probability: float, median: float | None, base: Floats
) -> Floats:
    """P(N > k), k = 0 … maximum − 1, of the number of administrations under the design's course.

    The course goes on while no stopping state has been entered and fewer than the planned number have been
    given. Patients who will have the multiplier event may have another planned number; if the event does not
    stop the course, its hazard ratios act from its onset on.
    """
    model, course, parts = solver.model, solver.design.course, solver.parts
    time = solver.grid(b)
    stops = {*course.stop.states, *model.absorbing}
    events = list(model.events.values())
    before, after = np.zeros(time.size), np.zeros(time.size)
    for e in dict.fromkeys((*parts.deaths, *parts.competing, *parts.ending)):
        if events[e].to in stops:
            r0, r1 = solver.ratios(e, b, s)
            values = base if e == solver.solved else solver.hazard(e, b, s, time)
            before, after = before + r0 * values, after + r1 * values
    free = negative_exponential(before)
    never, ever = 1.0 - solver.planned(b, ever=False), 1.0 - solver.planned(b, ever=True)
    stopping = solver.event.to in stops or bool(set(solver.event.set) & set(course.stop.markers))
    visits = solver.visit_times(b)
    success = float(solver.arrays["success"][b, parts.multiplier, s]) if solver.driven else 0.0
    if solver.driven:
        onset = np.zeros(time.size)
    else:
        onset = solver.incidence(b, s, time, median)
    will = (1.0 - onset) * free
    if not stopping:
        gained = np.cumsum(np.diff(onset, prepend=0.0) * free / np.maximum(negative_exponential(after), 1e-300))
        will = will + gained * negative_exponential(after)
    share = np.empty(len(visits))
    for k, visit in enumerate(visits):
        kept = (1.0 - success) ** k if stopping else 1.0
        share[k] = float(
            np.cumsum(visit * ((1.0 - probability) * never[k] * free + probability * ever[k] * kept * will))[-1]
        )
    return share


@cache
def _normal_nodes() -> tuple[Floats, Floats]:
    """Nodes and weights of Gauss–Hermite quadrature over a standard normal variable."""
    node, weight = np.polynomial.hermite_e.hermegauss(NODES)
    return node, weight / weight.sum()


def per_administration_threshold(rate: float, more_than: Floats, frailty: float) -> float:
    """Return a = Φ⁻¹ of the marginal probability per administration at which a share ``rate`` ever has the event.

    ``rate = 1 − Σ_n P(N = n) E_z[(1 − Φ((a + √ρ z)/√(1 − ρ)))^n]``, z standard normal by Gauss–Hermite.
    """
    if rate <= 0.0:
        return -np.inf
    if not more_than.size or rate >= float(more_than[0]):
        return np.inf
    node, weight = _normal_nodes()
    exactly = -np.diff(np.concatenate([[1.0], more_than, [0.0]]))  # P(N = n), n = 0 … maximum
    numbers = np.arange(exactly.size)

    def ever(a: float) -> float:
        shifted = (a + np.sqrt(frailty) * node) / np.sqrt(1.0 - frailty)
        spared = 1.0 - np.array([normal_cdf(float(x)) for x in shifted])
        return float(1.0 - np.sum(exactly[:, None] * weight * spared ** numbers[:, None]))

    from scipy.optimize import brentq

    return significant(float(brentq(lambda a: ever(a) - rate, -12.0, 12.0, xtol=1e-12)))
