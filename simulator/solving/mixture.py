"""The baseline of a mixture, and the latent response behind an observed one.

Two equations a stratum: the share in whom the multiplier is seen is the printed one, and half of those in whom it is
seen, in all strata together, have been seen by the printed median. The unknowns are a latent probability by stratum and
one latent median. Newton's method, Broyden's formula for its matrices (Broyden 1965), from where a coarse grid ends;
what does not converge so is searched with care, and what cannot be solved is named.

Parameter sets are worked on side by side, and none knows its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.marginal import baseline_hazards, mixture_survival, onset_distribution, seen_masses, totals
from simulator.solving.latent import EARLY, SPREAD, STEP, Elements, Pieces, Schedule, Task
from simulator.solving.mediation import Mediation, caused_ratio
from simulator.tables import Flags, Floats

DIGITS = 9
"""Significant digits kept of a solved number, so that rounding in the solver never reaches a trajectory."""
COARSE = 8.0 * STEP
"""Grid step on which the search begins, days."""
WIDTH = 48
"""Elements (set and stratum) that are solved together, about: their arrays stay in the processor's cache."""
MOST_STEPS = 25
SETTLED = 1e-10
"""A step in a logarithm after which the next would be far below the digits kept."""
MOVED = 1e-4
"""By how much an unknown's logarithm is moved to see what changes."""
PRESSED = 8
"""Steps in a row that would take a probability beyond 1, after which a search gives up."""


def significant(value: float) -> float:
    """Round to the digits kept of a solved number."""
    return float(f"{value:.{DIGITS}g}")


@dataclass(frozen=True, eq=False)
class Latent:
    """What was solved in one parameter set: latent probabilities (strata,), common median, baselines (n, strata)."""

    probability: Floats
    median: float | None
    baseline: Floats


@dataclass(frozen=True, eq=False)
class PrintedShares:
    """What papers print, by parameter set of some elements: shares (k, strata), medians (k,); None: it is latent."""

    share: Floats
    median: Floats | None
    solve_share: bool


@dataclass(eq=False)
class _State:
    """Where a search stands: logarithms of the unknowns, and the matrix of each element (two equations by two)."""

    probability: Floats  # (k, strata)
    median: Floats  # (k,)
    slope: Floats  # (k, strata, 2, 2): of log share and of half, by log probability and log median
    settled: Flags  # (k,)
    pressed: Flags  # (k,): gave up, since a probability would be beyond 1


Knots = tuple[Floats, Floats, float]
"""Times and cumulative hazards of a tabulated baseline, and its slope after the last."""

Errors = Callable[[_State], Floats]


class Solver:
    """Solves the baselines and latent values of one task's multiplier at one design."""

    def __init__(self, task: Task, design: Schedule) -> None:
        self.task, self.design = task, design
        self.pieces = Pieces(task, design)
        self._coarse = Pieces(task, design, step=COARSE)

    def alike(self, sets: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Parameter sets that can be worked on side by side."""
        return self.pieces.alike(sets, max(1, WIDTH // self.pieces.n_strata))

    def solve(self, sets: Sequence[int], wanted: PrintedShares, mediation: Sequence[Mediation] | None) -> list[Latent]:
        """Return what was solved in each of the parameter sets, in their order.

        ``mediation``: of the strata of each set, where survival is not to stay the calibrated curve.
        """
        found: dict[int, Latent] = {}
        place = {b: i for i, b in enumerate(sets)}
        for some in self.alike(sets):
            rows = [place[b] for b in some]
            reduced = PrintedShares(
                wanted.share[rows], None if wanted.median is None else wanted.median[rows], wanted.solve_share
            )
            here = None if mediation is None else Mediation.side_by_side([mediation[row] for row in rows])
            found |= zip(some, self._solve(some, reduced, here), strict=True)
        return [found[b] for b in sets]

    def baselines(
        self, elements: Elements, probability: Floats, median: Floats | None, mediation: Mediation | None = None
    ) -> tuple[Floats, Floats]:
        """Baselines of all elements for given latent values, and the atoms of the onset's distribution, each (n, L)."""
        onset, atom = self._onset(self.pieces, elements, probability, median)
        return self._baseline(self.pieces, elements, onset, atom, mediation), atom

    def mediation(self, sets: tuple[int, ...], share: Floats, latent: Sequence[Latent]) -> list[Mediation]:
        """Return, for each of some sets that are `alike`, baselines with r^φ of the study that this solver is of.

        ``share`` (k,): φ of each set. ``latent``: what was solved of them here.
        """
        elements, by_element = self.pieces.elements(sets), np.repeat(share, self.pieces.n_strata)
        weaker = replace(elements, ratio=caused_ratio(elements.ratio, by_element))
        whole = Mediation(self.baselines(weaker, *stacked(latent))[0], by_element)
        width = self.pieces.n_strata
        return [whole.part(slice(k * width, (k + 1) * width)) for k in range(len(sets))]

    # -- equations ----------------------------------------------------------------------------------
    def _onset(
        self, pieces: Pieces, elements: Elements, probability: Floats, median: Floats | None
    ) -> tuple[Floats, Floats]:
        """G on the grid and its atoms, for latent probabilities (k, strata) and medians (k,)."""
        if pieces.driven:
            mass = elements.administered * probability.ravel() * elements.free
            return np.cumsum(mass, axis=0), mass
        incidence = pieces.incidences(elements, median)
        onset = onset_distribution(incidence, elements.free, np.ascontiguousarray(probability).ravel())
        return onset, np.zeros_like(onset)

    def _baseline(
        self, pieces: Pieces, elements: Elements, onset: Floats, atom: Floats, mediation: Mediation | None
    ) -> Floats:
        """H₀ of the solved death at the grid, so that the mixture's net survival is the curve of all patients."""
        if pieces.solved is None or np.all(elements.ratio == 1.0):
            return elements.own
        marginal = elements.marginal
        if mediation is not None:
            base, share = np.ascontiguousarray(mediation.base), mediation.share
            if np.all(share == 1.0):
                return base
            curve = mixture_survival(base, onset, atom, caused_ratio(elements.ratio, share))
            marginal = np.where(share == 0.0, marginal, curve)
        solved = baseline_hazards(marginal, onset, atom, elements.ratio)
        if mediation is not None:
            solved = np.where(mediation.share == 1.0, mediation.base, solved)
        return np.where(elements.ratio == 1.0, elements.own, solved)

    def _seen(
        self,
        pieces: Pieces,
        elements: Elements,
        probability: Floats,
        median: Floats | None,
        at: Floats,
        mediation: Mediation | None,
    ) -> tuple[Floats, Floats]:
        """Shares in whom the multiplier is seen, and how many more than half of them are by ``at``, (k, strata)."""
        onset, atom = self._onset(pieces, elements, probability, median)
        base = self._baseline(pieces, elements, onset, atom, mediation)
        seen = seen_masses(
            elements.visits,
            elements.step,
            onset,
            base,
            elements.before,
            elements.after,
            elements.still,
            elements.ratio,
            elements.followed,
        )
        places = np.minimum(np.rint(np.repeat(at, pieces.n_strata) / pieces.step), elements.time.size - 1)
        share, more = totals(seen, places.astype(np.int64))
        return share.reshape(probability.shape), more.reshape(probability.shape)

    # -- solving ------------------------------------------------------------------------------------
    def _solve(self, sets: tuple[int, ...], wanted: PrintedShares, mediation: Mediation | None) -> list[Latent]:
        """Solve parameter sets that are alike."""
        elements = self.pieces.elements(sets)
        probability, median = wanted.share.copy(), None if wanted.median is None else wanted.median.copy()
        if wanted.solve_share or median is not None:
            with np.errstate(all="ignore"):  # what is no number ends a search
                state = self._search(self.pieces, elements, wanted, self._start(sets, wanted, mediation), mediation)
                probability, median = self._rounded(state, wanted)
            failed = np.flatnonzero(~(state.settled & (probability <= 1.0).all(axis=1)))
            probability[failed] = wanted.share[failed]
            if median is not None and wanted.median is not None:
                median[failed] = wanted.median[failed]
            plain, width = mediation is None, self.pieces.n_strata
            for row in self._at_one(sets, wanted, state, failed, probability, median) if plain else failed:
                own = None if mediation is None else mediation.part(slice(row * width, (row + 1) * width))
                alone = PrintedShares(
                    wanted.share[row : row + 1],
                    None if wanted.median is None else wanted.median[row : row + 1],
                    wanted.solve_share,
                )
                probability[row], found = self._carefully(sets[row], alone, own)
                if median is not None:
                    median[row] = found
        base = self.baselines(elements, probability, median, mediation)[0]
        by_set = base.reshape(len(base), len(sets), -1)
        return [
            Latent(probability[row], None if median is None else float(median[row]), by_set[:, row])
            for row in range(len(sets))
        ]

    @np.errstate(all="ignore")  # what is no number ends a search
    def _at_one(
        self,
        sets: tuple[int, ...],
        wanted: PrintedShares,
        state: _State,
        failed: NDArray[np.int64],
        probability: Floats,
        median: Floats | None,
    ) -> list[int]:
        """Search again where a probability was pressed against 1; return the rows that have to be searched with care.

        There it is held and the rest is solved. If its share is still not seen there is no solution, which is said; if
        it is, the search goes on from there, and what it finds is written into ``probability`` and ``median``.
        """
        if failed.size == 0 or not wanted.solve_share:
            return list(map(int, failed))
        share, printed = wanted.share[failed], None if wanted.median is None else wanted.median[failed]
        full = (share > 0.0) & (state.probability[failed] >= 0.0)
        some, free = tuple(sets[row] for row in failed), (share > 0.0) & ~full
        pieces, elements = self.pieces, self.pieces.elements(some)
        held = PrintedShares(np.where(full, 1.0, share), printed, True)
        start = self._search(self._coarse, self._coarse.elements(some), held, None, None, free)
        found = self._search(pieces, elements, held, start, None, free)
        p, at, by = np.where(full, 1.0, np.exp(found.probability)), None, np.zeros(len(failed))
        if printed is not None:
            at, by = np.exp(found.median), printed
            found.settled &= (at >= by / 50.0) & (at <= by * 3.0)
        seen, _ = self._seen(pieces, elements, np.where(share > 0.0, p, 0.0), at, by, None)
        short = full & (seen < share * (1.0 - 1e-9))
        solved = found.settled & full.any(axis=1)
        never = solved & (short == full).all(axis=1) & (p <= 1.0).all(axis=1)
        for k in np.flatnonzero(never):
            self._tell(sets[failed[k]], short[k], share[k], seen[k])
        again = solved & ~short.any(axis=1)
        if again.any():
            near = np.where(full, np.minimum(np.log(share / seen), 0.0), found.probability)
            nearer = replace(found, probability=near, settled=again, pressed=~again)
            better = self._search(pieces, elements, replace(held, share=share), nearer, None)
            p, at = self._rounded(better, replace(held, share=share))
            again &= better.settled & (p <= 1.0).all(axis=1)
            probability[failed[again]] = p[again]
            if median is not None and at is not None:
                median[failed[again]] = at[again]
        return list(map(int, failed[~(never | again)]))

    def _tell(self, b: int, short: Flags, target: Floats, seen: Floats) -> None:
        """Name the strata of a parameter set in which a share cannot be seen."""
        name, problems = self.pieces.names[self.pieces.parts.multiplier], self.task.resolver.problems
        for s in np.flatnonzero(short):
            shown = f"{seen[s]:.3f}" if np.isfinite(seen[s]) else "a share beyond the range of floating point"
            problems.add(
                self._origin("probability", int(s)),
                float(target[s]),
                f"cannot be the observed share in stratum {self.task.resolver.strata[s]!r}: even if every patient were"
                f" to have {name}, it would be seen in {shown} (death, progression and the assessment grid"
                " hide the rest)",
                parameter_set=b if self.task.resolver.parameters.n_sets > 1 else None,
            )

    def _origin(self, what: str, s: int) -> str:
        """Key at which a number of the multiplier's hazard stands, in one stratum."""
        key = f"model.events.{self.pieces.names[self.pieces.parts.multiplier]}.hazard.{what}"
        return self.task.resolver.origins(getattr(self.pieces.event.hazard, what), key)[s]

    def _start(self, sets: tuple[int, ...], wanted: PrintedShares, mediation: Mediation | None) -> _State | None:
        """Where the search on a coarse grid ends."""
        coarse, elements = mediation, self._coarse.elements(sets)
        if mediation is not None:
            base = mediation.base
            points = np.minimum(np.arange(elements.time.size) * round(COARSE / STEP), len(base) - 1)
            coarse = Mediation(base[points], mediation.share)
        return self._search(self._coarse, elements, wanted, None, coarse)

    def _search(
        self,
        pieces: Pieces,
        elements: Elements,
        wanted: PrintedShares,
        start: _State | None,
        mediation: Mediation | None,
        free: Flags | None = None,
    ) -> _State:
        """Search in all sets at once; a set that has settled, or failed, stays where it is.

        ``free``: the probabilities that are sought (k, strata), the others being as wanted; None: all that are seen.
        """
        if free is None:
            free = wanted.solve_share & (wanted.share > 0.0)
        weight = self._weights(elements.sets)

        def errors(at: _State) -> Floats:
            """What is not as printed yet, (k, strata, 2): log of the share over the printed, and half seen by then."""
            p = np.where(free, np.exp(at.probability), wanted.share)
            m = None if wanted.median is None else np.exp(at.median)
            by = np.zeros(len(p)) if wanted.median is None else wanted.median
            share, more = self._seen(pieces, elements, p, m, by, mediation)
            return np.stack([np.where(free, np.log(share / wanted.share), 0.0), more], axis=-1)

        state = self._first(wanted, free, start)
        error = errors(state)
        fresh = ~(state.settled | state.pressed)  # no matrix yet
        if fresh.any():
            self._look_around(state, errors, error, wanted, free, fresh)
        state.settled = np.zeros(len(free), dtype=bool)
        pressed = np.zeros(len(free), dtype=np.int64)
        moving = np.ones(len(free), dtype=bool) if start is None else ~start.pressed
        for _ in range(MOST_STEPS):
            step = self._step(state, error, weight, free, solve_median=wanted.median is not None)
            size = np.abs(step).max(axis=(1, 2))
            moving &= np.isfinite(size)
            near = moving & (size <= SETTLED)
            state.settled |= near
            step = np.where(moving[:, None, None], np.clip(step, -1.5, 0.7), 0.0)
            moving &= ~near
            before = state.probability
            state.probability = np.minimum(before + step[..., 0], 0.0)
            pressed = np.where((free & (before >= 0.0) & (step[..., 0] > 0.0)).any(axis=1), pressed + 1, 0)
            state.pressed |= moving & (pressed >= PRESSED)
            moving &= ~state.pressed
            state.median = state.median + step[:, 0, 1]
            if not moving.any():
                break
            moved = np.stack([state.probability - before, step[..., 1]], axis=-1)
            then, error = error, errors(state)
            lost = error - then - (state.slope @ moved[..., None])[..., 0]
            length = (moved**2).sum(axis=-1)
            turned = lost[..., :, None] * moved[..., None, :] / np.where(length > 0.0, length, 1.0)[..., None, None]
            state.slope = state.slope + np.where(moving[:, None, None, None], turned, 0.0)
        return state

    @staticmethod
    def _first(wanted: PrintedShares, free: Flags, start: _State | None) -> _State:
        """Where to begin: where an earlier search has settled, else at what is printed."""
        k, n_strata = wanted.share.shape
        probability = np.log(np.where(free, wanted.share, 1.0))
        median = np.zeros(k) if wanted.median is None else np.log(wanted.median)
        slope, settled = np.tile(np.eye(2), (k, n_strata, 1, 1)), np.zeros(k, dtype=bool)
        if start is not None:
            settled = start.settled & (start.probability <= 0.0).all(axis=1)
            probability = np.where(settled[:, None], start.probability, probability)
            median = np.where(settled, start.median, median)
            slope = np.where(settled[:, None, None, None], start.slope, slope)
            # What was pressed against 1 on a coarse grid is looked at with that held, see `_at_one`.
            probability = np.where(start.pressed[:, None], np.minimum(start.probability, 0.0), probability)
        pressed = np.zeros(k, dtype=bool) if start is None else start.pressed.copy()
        return _State(probability, median, slope, settled, pressed)

    @staticmethod
    def _look_around(
        state: _State, errors: Errors, error: Floats, wanted: PrintedShares, free: Flags, fresh: Flags
    ) -> None:
        """Fill in the matrices of fresh sets from differences."""
        where = fresh[:, None, None]
        if wanted.solve_share:
            moved = errors(replace(state, probability=state.probability - MOVED))
            change = np.where(free[..., None], (error - moved) / MOVED, [1.0, 0.0])
            state.slope[..., 0] = np.where(where, change, state.slope[..., 0])
        if wanted.median is not None:
            moved = errors(replace(state, median=state.median - MOVED))
            state.slope[..., 1] = np.where(where, (error - moved) / MOVED, state.slope[..., 1])

    @staticmethod
    def _step(state: _State, error: Floats, weight: Floats, free: Flags, *, solve_median: bool) -> Floats:
        """Newton's step, (k, strata, 2): strata share the median, and nothing else."""
        (share_p, share_m), (half_p, half_m) = np.moveaxis(state.slope, (2, 3), (0, 1))
        step = np.zeros_like(error)
        if solve_median:
            left = (weight * (error[..., 1] - half_p * error[..., 0] / share_p)).sum(axis=1)
            step[..., 1] = (-left / (weight * (half_m - half_p * share_m / share_p)).sum(axis=1))[:, None]
        step[..., 0] = np.where(free, -(error[..., 0] + share_m * step[..., 1]) / share_p, 0.0)
        return step

    def _rounded(self, state: _State, wanted: PrintedShares) -> tuple[Floats, Floats | None]:
        """Solved numbers with the digits that are kept: the median first, the probabilities where it then stands."""
        median, logarithm = None, state.probability
        if wanted.median is not None:
            median = np.array([significant(m) for m in np.exp(state.median).tolist()])
            shift = (np.log(median) - state.median)[:, None]
            logarithm = logarithm - state.slope[..., 0, 1] / state.slope[..., 0, 0] * shift
            state.settled &= (median >= wanted.median / 50.0) & (median <= wanted.median * 3.0)
        if not wanted.solve_share:
            return wanted.share.copy(), median
        solved = np.array([[significant(p) for p in row] for row in np.exp(logarithm).tolist()])
        return np.where(wanted.share > 0.0, solved, 0.0), median

    def _weights(self, sets: tuple[int, ...]) -> Floats:
        shares = self.task.shares[list(sets)]
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def _carefully(self, b: int, wanted: PrintedShares, mediation: Mediation | None) -> tuple[Floats, float]:
        """One set, by fixed-point iteration inside a bracket; names what cannot be solved."""
        elements, weight, target = self.pieces.elements((b,)), self._weights((b,)), wanted.share
        by = np.zeros(1) if wanted.median is None else wanted.median
        free = wanted.solve_share & (target > 0.0)
        last = target.copy()

        def given(median: float) -> tuple[Floats, Floats, Floats]:
            """Probabilities for a latent median, shares seen, and how many more than half of them by the printed."""
            nonlocal last
            at = None if wanted.median is None else np.array([median])
            p = last
            for _ in range(60):
                share, more = self._seen(self.pieces, elements, p, at, by, mediation)
                with np.errstate(all="ignore"):
                    better = np.where(share > 0.0, p * target / share, 1.1)
                better = np.where(free, np.minimum(better, 1.0), p)
                settled = np.abs(better - p) <= 1e-11
                p = better
                if settled.all():
                    break
            last = p
            return p, share, more

        median = np.nan
        problems = self.task.resolver.problems
        which = b if self.task.resolver.parameters.n_sets > 1 else None
        if wanted.median is not None:
            from scipy.optimize import brentq

            printed = float(wanted.median[0])
            low, high = np.log(printed / 50.0), np.log(printed * 3.0)

            def gap(logarithm: float) -> float:
                return float((weight * given(float(np.exp(logarithm)))[2]).sum())

            try:
                bracketed = gap(low) >= 0.0 >= gap(high)
                root = brentq(gap, low, high, xtol=1e-11, rtol=1e-12) if bracketed else np.nan
            except ValueError:  # between the ends, something is no number
                root = np.nan
            if not np.isfinite(root):
                problems.add(
                    self._origin("median", 0),
                    printed,
                    "cannot be the median time at which the event is seen on the reference assessment grid, whatever"
                    " the latent median; give it a larger value or a shorter reference assessment interval",
                    parameter_set=which,
                )
                return target[0], printed
            median = significant(float(np.exp(root)))
        p, share, _ = given(median)
        self._tell(b, free[0] & ~(p[0] < 1.0) & ~(share[0] >= target[0] * (1.0 - 1e-9)), target[0], share[0])
        return np.array([significant(x) for x in p[0].tolist()]), median


def stacked(latent: Sequence[Latent]) -> tuple[Floats, Floats | None]:
    """Latent probabilities (k, strata) and medians (k,) of some sets."""
    medians = [each.median for each in latent if each.median is not None]
    return np.stack([each.probability for each in latent]), np.array(medians) if medians else None


def knots(own: Floats, mass: Floats | None, start: Floats) -> Knots:
    """Knots of a solved baseline (n,): thinned at absolute times, atoms (n,) kept; the slope after the last one.

    ``start`` (FINEST + 1,): cumulative hazard of the calibrated curve inside the first grid cell and at its end.
    """
    n = own.size
    spaced = np.round(SPREAD * np.arange(int(np.sqrt(n / SPREAD)) + 2) ** 2).astype(np.int64)
    stepped = np.zeros(0, dtype=np.int64) if mass is None else np.flatnonzero(mass > 1e-9)
    chosen = np.unique(np.concatenate([spaced, stepped, np.maximum(stepped - 1, 0)]))
    chosen = chosen[chosen < n]
    time, hazard = chosen * STEP, np.maximum.accumulate(own[chosen])
    slope = float((hazard[-1] - hazard[-2]) / (time[-1] - time[-2]))
    if start[-1] > 0.0 and chosen[1] == 1:
        time = np.concatenate([time[:1], EARLY, time[1:]])
        hazard_inside = _inside(start, float(hazard[1]))
        hazard = np.concatenate([hazard[:1], hazard_inside, hazard[1:]])
    return time, hazard, slope


def _inside(start: Floats, end: float) -> Floats:
    """Return the solved hazard inside the first grid cell: the calibrated one (FINEST + 1,), scaled to its end."""
    if not np.isfinite(start[-1]):
        return np.asarray(np.where(np.isfinite(start[:-1]), 0.0, end))
    with np.errstate(over="ignore"):
        ratio = end / start[-1]
    return np.asarray(start[:-1] * ratio if np.isfinite(ratio) else end * (start[:-1] / start[-1]))


__all__ = ["Knots", "Latent", "PrintedShares", "Solver", "knots", "significant", "stacked"]
