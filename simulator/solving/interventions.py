"""Effects of arms, and the solved baselines of all groups (arm × stratum) of a scenario.

What a scenario or an arm changes of a response changes survival by one rule (`mediation`), whichever of them it is.
Effects of an arm on the solved death itself act on top of its baseline.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simulator.kernels.hazards import TABULATED
from simulator.model.course import Course
from simulator.model.events import CompiledEvents
from simulator.solving.latent import Schedule, Task
from simulator.solving.mediation import Mediation
from simulator.solving.mixture import Knots, Latent, Solver, knots, stacked
from simulator.tables import Floats

_BY_GROUP = ("family", "parameters", "table", "probability", "success", "effect_ratio")
"""Arrays of compiled events with a column for each group that a quadrature looks at."""


@dataclass(frozen=True, eq=False)
class ArmEffects:
    """What arms change, by parameter set, event and group; the course of each arm; which arm is the reference.

    ``odds_ratio`` is NaN where none is declared.
    """

    hazard_ratio: Floats  # (B, events, groups)
    odds_ratio: Floats
    courses: tuple[Course, ...]
    reference: int
    without: set[tuple[int, int]] = field(default_factory=set)
    """Arms and events in which an odds ratio has met no probability that it could change."""

    @property
    def n_strata(self) -> int:
        return int(self.hazard_ratio.shape[2]) // len(self.courses)

    def groups(self, arm: int) -> slice:
        """The groups of an arm."""
        return slice(arm * self.n_strata, (arm + 1) * self.n_strata)

    def any_of(self, arm: int) -> bool:
        """Whether an arm declares an effect."""
        members = self.groups(arm)
        return bool(
            np.any(self.hazard_ratio[:, :, members] != 1.0) or not np.isnan(self.odds_ratio[:, :, members]).all()
        )

    def apply_odds(self, arrays: Mapping[str, Any], b: int) -> None:
        """Apply odds ratios to the probabilities of a parameter set, in place."""
        for arm in range(len(self.courses)):
            members = self.groups(arm)
            probability, success = arrays["probability"][b, :, members], arrays["success"][b, :, members]
            self.without.update((arm, e) for e in apply_odds(probability, success, self.odds_ratio[b, :, members]))


def apply_odds(probability: Floats, success: Floats, odds_ratio: Floats) -> list[int]:
    """Apply odds ratios (events, strata) in place to shares that ever have an event, else to successes.

    Returns the events without a probability below 1 and without a success.
    """
    without = []
    for e in np.flatnonzero(~np.isnan(odds_ratio).any(axis=1)).tolist():
        changed = probability if np.any(probability[e] < 1.0) else success
        p, ratio = changed[e], odds_ratio[e]
        if not np.any(p) and changed is success:
            without.append(e)
        changed[e] = np.where(ratio == 1.0, p, ratio * p / (1.0 - p + ratio * p))
    return without


@dataclass
class Changes:
    """Whether anything changes the distribution of response, so that mediation matters, in any parameter set.

    ``scenario``: it is not the published study's. ``arms``: those in which it is not the scenario's.
    """

    scenario: bool = False
    arms: set[int] = field(default_factory=set)


class ArmGroups:
    """Writes the latent values and the solved baselines of all groups of a scenario into its compiled arrays."""

    def __init__(self, task: Task, effects: ArmEffects, *, study: Solver) -> None:
        """``study``: the published study's distribution of response, with the scenario's own law of death."""
        self.task, self.effects, self.study = task, effects, study
        assessment, own = study.design.assessment, effects.courses[effects.reference]
        self.here = Solver(_part(task, effects.groups(0)), Schedule(own, assessment))
        self.there = Solver(replace(study.task, horizon=task.horizon), study.design)
        self.arms: dict[int, Solver] = {}
        for arm, course in enumerate(effects.courses):
            if effects.any_of(arm) or (self.here.pieces.driven and course != own):
                members = effects.groups(arm)
                part = _part(task, members, effects.hazard_ratio[:, :, members])
                self.arms[arm] = Solver(part, Schedule(course, assessment))
        self.changes = Changes()

    def write(
        self, sets: Sequence[int], latent: Mapping[int, Latent], published: Mapping[int, Latent], share: Floats
    ) -> None:
        """Write the solution of some parameter sets.

        Parameters
        ----------
        latent : what was solved of the scenario; its ``baseline`` is that of the groups without effects.
        published : what was solved of ``study``.
        share : φ, (B,); empty where no baseline is solved.
        """
        for b in sets:
            self._write_latent(b, latent[b])
        if self.here.pieces.solved is None:
            return
        by_arm = {arm: {b: self._of_arm(arm, b, latent[b]) for b in sets} for arm in self.arms}
        solved = [b for b in sets if any(self.here.pieces.solved_ratio(b, s) != 1.0 for s in self._strata)]
        numbers = {b: _onset_numbers(self.here, b, latent[b]) for b in solved}
        moved = {b for b in solved if numbers[b] != _onset_numbers(self.study, b, published[b])}
        changed = {
            arm: {b for b in solved if _onset_numbers(solver, b, by_arm[arm][b]) != numbers[b]}
            for arm, solver in self.arms.items()
        }
        self.changes.scenario |= bool(moved)
        self.changes.arms |= {arm for arm, some in changed.items() if some}
        anywhere = moved.union(*changed.values())
        mediation = mediations(self.there, [b for b in sorted(anywhere) if share[b] > 0.0], share, published)
        plain = {b: each for b, each in mediation.items() if b in moved}
        common = self._tables(self.here, sets, latent, plain, as_solved=latent)
        own = {arm: self._tables(self.arms[arm], sorted(some), by_arm[arm], mediation) for arm, some in changed.items()}
        for b in sets:
            theirs = [arm for arm in range(len(self.effects.courses)) if b not in own.get(arm, ())]
            if theirs:
                self._write_tables(b, theirs, common[b])
            for arm, tables in own.items():
                if b in tables:
                    self._write_tables(b, [arm], tables[b])

    @property
    def _strata(self) -> range:
        return range(self.here.pieces.n_strata)

    def _of_arm(self, arm: int, b: int, latent: Latent) -> Latent:
        """Return latent values of an arm: those of the scenario, changed by its odds ratios."""
        m, members = self.here.pieces.parts.multiplier, self.effects.groups(arm)
        arrays, whole = self.arms[arm].pieces.arrays, self.task.compiled.arrays
        for name in ("probability", "success"):
            arrays[name][b] = whole[name][b, :, members]
        return replace(latent, probability=arrays["probability"][b, m].copy())

    def _tables(
        self,
        solver: Solver,
        sets: Sequence[int],
        latent: Mapping[int, Latent],
        mediation: Mapping[int, Mediation],
        *,
        as_solved: Mapping[int, Latent] | None = None,
    ) -> dict[int, list[Knots | None]]:
        """Baselines as knots, by parameter set and stratum; None where a hazard stays as it is declared.

        ``as_solved``: the baselines of sets with the grid of the published study are those that were solved there.
        """
        pieces = solver.pieces
        made: dict[int, tuple[Floats, Floats | None]] = {}
        if as_solved is not None and not pieces.driven:
            known = {b: as_solved[b].baseline for b in sets}
            made = {b: (base, None) for b, base in known.items() if len(base) == pieces.n_points(b)}
        for some in solver.alike([b for b in sets if b not in made]):
            elements, along = pieces.elements(some), None
            if any(b in mediation for b in some):
                nothing = Mediation(np.zeros((elements.time.size, pieces.n_strata)), np.zeros(pieces.n_strata))
                along = Mediation.side_by_side([mediation.get(b, nothing) for b in some])
            base, atom = solver.baselines(elements, *stacked([latent[b] for b in some]), along)
            each = (np.split(array, len(some), axis=1) for array in (base, atom))
            made |= zip(some, zip(*each, strict=True), strict=True)
        found: dict[int, list[Knots | None]] = {}
        for b in sets:
            base, mass = made[b]
            found[b] = [
                knots(base[:, s], None if mass is None else mass[:, s], pieces.solved_start(b, s))
                if pieces.solved_ratio(b, s) != 1.0
                else None
                for s in self._strata
            ]
        return found

    def _write_latent(self, b: int, latent: Latent) -> None:
        """Put latent values into the arrays of all groups, and the effects of arms on them."""
        pieces, arrays = self.here.pieces, self.task.compiled.arrays
        m = pieces.parts.multiplier
        for s, probability in enumerate(latent.probability):
            groups = slice(s, None, pieces.n_strata)
            arrays["probability"][b, m, groups] = probability
            if latent.median is not None:
                arrays["parameters"][b, m, groups] = pieces.laws((b,), np.array([latent.median]))[0, s]
        self.effects.apply_odds(arrays, b)

    def _write_tables(self, b: int, arms: Collection[int], tables: Sequence[Knots | None]) -> None:
        """Put tabulated baselines of a parameter set into the arrays of some arms."""
        arrays, death = self.task.compiled.arrays, self.here.pieces.solved
        for s, table in enumerate(tables):
            if table is None:
                continue
            groups = [arm * len(tables) + s for arm in arms]
            time, hazard, slope = table
            arrays["family"][b, death, groups] = TABULATED
            arrays["table"][b, death, groups] = len(self.task.compiled.knots)
            arrays["probability"][b, death, groups] = 1.0
            arrays["parameters"][b, death, groups] = (slope, 0.0, 0.0)
            self.task.compiled.knots.append((time, hazard))


def _part(task: Task, groups: slice, hazard_ratio: Floats | None = None) -> Task:
    """Return a task of some groups, with arrays of its own; ``hazard_ratio`` of an arm (B, events, strata)."""
    arrays = dict(task.compiled.arrays)
    arrays |= {name: arrays[name][:, :, groups].copy() for name in _BY_GROUP}
    if hazard_ratio is not None:
        arrays["cell_ratio"] = hazard_ratio
    return replace(task, compiled=CompiledEvents(arrays, task.compiled.knots))


def _onset_numbers(solver: Solver, b: int, latent: Latent) -> tuple[Any, ...]:
    return solver.pieces.onset_numbers(b, latent.probability, latent.median)


def mediations(
    study: Solver, sets: Sequence[int], share: Floats, published: Mapping[int, Latent]
) -> dict[int, Mediation]:
    """Return the mediation of parameter sets, with baselines of the published study on a solver's grid."""
    found: dict[int, Mediation] = {}
    for some in study.alike(sets):
        each = study.mediation(some, share[list(some)], [published[b] for b in some])
        found |= zip(some, each, strict=True)
    return found
