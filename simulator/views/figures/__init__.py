"""Figures.

Each takes a results tree and, if wanted, the axes to draw on; without axes it makes a figure of its own, without
pyplot, so that figures may be drawn in threads and inside other programs. Every axis carries its unit.
"""

from simulator.views.figures.calibrated import calibrated
from simulator.views.figures.occurrences import cumulative_incidence, states, time_to_event
from simulator.views.figures.percentiles import targets
from simulator.views.figures.scenarios import contrasts, heat_map, outcome, scatter, survival_beside, tornado
from simulator.views.figures.style import ASSUMED, OKABE_ITO, RESOLUTION, new_figure, save
from simulator.views.figures.survival_curves import survival
from simulator.views.figures.treatment import administrations, adverse_events, histories

__all__ = [
    "ASSUMED",
    "OKABE_ITO",
    "RESOLUTION",
    "administrations",
    "adverse_events",
    "calibrated",
    "contrasts",
    "cumulative_incidence",
    "heat_map",
    "histories",
    "new_figure",
    "outcome",
    "save",
    "scatter",
    "states",
    "survival",
    "survival_beside",
    "targets",
    "time_to_event",
    "tornado",
]
