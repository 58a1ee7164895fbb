"""A fit in words and columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calibration.diagnostics.blocks import BlockCheck
from calibration.diagnostics.calibrated import Calibrated
from calibration.diagnostics.comparison import Comparison
from calibration.diagnostics.identifiability import COLLINEAR, Diagnostics
from calibration.diagnostics.sensitivity import pressed, sensitivities
from calibration.diagnostics.truncation import MUCH, Truncated, conflict, truncated
from calibration.diagnostics.wider import Wider
from calibration.likelihoods.simulated import LARGEST_ERROR, LARGEST_SHIFT, Simulated
from calibration.output.columns import aligned, figure, shown
from calibration.posterior import feasibility
from calibration.posterior.choices import taken
from calibration.posterior.fit import Fit
from calibration.posterior.readings import chosen_in
from calibration.prediction.predictive import Predictive
from calibration.prediction.survival import named_times
from calibration.samplers.summary import CredibleInterval, Row
from simulator.tables import Floats
from simulator.units import DAYS_PER

WIDTH = 80  # of sentences; the table is as wide as the names of the parameters
EXTRAPOLATED = "*"
TRUNCATED = "†"
ASSUMPTION = "assumption"
"""What a number is called that the data do not inform: its posterior is its prior."""


def report(fitted: Fit) -> str:
    """Return what a person wants to know first: posterior, readings, what was fitted, what was not."""
    truncation = truncated(fitted)
    parts = (
        _columns(fitted.rows(), truncation),
        _readings(fitted),
        _feasibility(fitted),
        _truncated(fitted, truncation),
        _alarms(fitted),
        _targets(fitted),
        _search(fitted),
    )
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def diagnosis(found: Calibrated) -> Iterator[str]:
    """Yield a section for each diagnostic beside comparison and prediction."""
    if found.identified is not None:
        yield diagnosed(found.identified)
    if found.blocks:
        yield blocks_checked(found.blocks)
    if found.wider:
        yield widened(found.wider)


def joint(predicted: Predictive) -> str:
    """Return what the joint check found, in a sentence or two."""
    found = [f"{each.what} ({len(each.targets)}) p = {_chance(each.p, each.p_error)}" for each in predicted.joint]
    said = f"Together, accounting for correlation: {'; '.join(found)}: share of simulated studies that lie at least as"
    said += " far from their middle as what was reported; below 0.01 is an alarm, near 1 is usual of fitted targets"
    return "\n".join(_wrapped(said)) + "\n"


def diagnosed(found: Diagnostics) -> str:
    """Return what the targets can tell apart."""
    lines = []
    if found.profiles:
        said = "most likely value (95 % by profile; open: it does not fall far enough)"
        lines.append(f"Likelihood alone, without the prior: {said}")
    width = max((len(one.parameter) for one in found.profiles), default=0)
    for one in found.profiles:
        low, high = ("open" if math.isinf(end) else figure(end) for end in (one.lower, one.upper))
        lines.append(f"  {one.parameter.ljust(width)}  {figure(one.best)} ({low}–{high})")
    for index in found.collinear:
        much = " and more: they make up for each other" if index.index >= COLLINEAR else ""
        lines += _wrapped(f"Collinearity index {figure(index.index)} of {', '.join(index.parameters)} (from 10{much})")
    for hills in found.modes:
        lines += _wrapped("SEVERAL MODES: the posterior has separate places; its median may lie in none of them")
        for hill in hills:
            values = ", ".join(f"{name} {figure(value)}" for name, value in hill.values.items())
            lines += _wrapped(f"  {100 * hill.mass:.0f} % around {values}")
    if not found.modes:
        lines.append("One mode")
    known = [one for one in found.left_out if not math.isnan(one.percentile)]
    if known:
        said = ", ".join(f"{one.target} {100 * one.percentile:.0f} %" for one in known)
        lines += _wrapped(f"Percentile of a target under the posterior of the others: {said}")
    for why in dict.fromkeys(one.why for one in found.left_out if math.isnan(one.percentile)):
        names = ", ".join(one.target for one in found.left_out if math.isnan(one.percentile) and one.why == why)
        lines += _wrapped(f"Not left out: {names}: {why}")
    return "\n".join(lines) + "\n"


def blocks_checked(found: Sequence[BlockCheck]) -> str:
    """Return how well blocks of survival targets are predicted by the others, a line each."""
    lines = ["Survival targets left out together: log predictive density (reference: strata share nothing); share of"]
    lines.append("studies at least as far out; percentiles of the printed figures, prior → posterior without the block")
    width = max(len(one.block.name) for one in found)
    for one in found:
        if math.isnan(one.p):
            lines += _wrapped(f"  {one.block.name.ljust(width)}  not checked: {one.why}")
            continue
        reference = "none" if math.isnan(one.reference) else f"{one.reference:.2f} ± {one.errors[1]:.2f}"
        density = f"{one.log_density:.2f} ± {one.errors[0]:.2f} ({reference})"
        ranks = ", ".join(f"{name} {_share(a)} → {_share(b)}" for name, (a, b) in one.percentiles.items())
        alarm = "ALARM: " if one.alarm else ""
        chance = _chance(one.p, one.errors[2])
        lines += _wrapped(f"  {one.block.name.ljust(width)}  {alarm}{density}; p = {chance}; {ranks}")
    return "\n".join(lines) + "\n"


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def widened(rows: Sequence[Wider]) -> str:
    """Return the posterior under the declared priors beside that under priors twice as wide."""
    cells = [("median (95 %)", "declared priors", "twice as wide")]
    cells += [(row.name, shown(row.declared), shown(row.wider)) for row in rows]
    return "\n".join(aligned(cells)) + "\n"


def compared(found: Comparison) -> str:
    """Return survival by group, and under other choices of the model."""
    parts = (_survival(found), _alternatives(found), _not_compared(found))
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def _survival(found: Comparison) -> Iterator[str]:
    first = found.sides[0].survival
    several = len(found.sides) > 1
    head = [*found.names, "averaged"] if several else ["posterior"]
    share = [*found.share, found.averaged_share] if several else list(found.share)
    mean = [*found.mean, found.averaged_mean] if several else list(found.mean)
    lines: list[tuple[str, ...]] = [("survival; median (95 %)", *head)]
    for g, group in enumerate(first.groups):
        for time in (time for time in named_times(found.sides[0].fitted) if time <= first.times[-1]):
            t = int(np.argmin(np.abs(first.times - time)))
            mark = EXTRAPOLATED if found.extrapolated[g, t] else ""
            lines.append((f"{group}, {_time(time)}{mark}", *(_shares(each[:, g, t]) for each in share)))
        mark = EXTRAPOLATED if found.mean_extrapolated[g] else ""
        what = f"{group}, mean days within {_time(first.restricted_to)}{mark}"
        lines.append((what, *(shown(CredibleInterval(*each[:, g])) for each in mean)))
    yield from aligned(lines)
    if not first.closed:
        yield from _wrapped(f"Survival is that of {len(first.share)} draws, simulated")
    if found.extrapolated.any() or found.mean_extrapolated.any():
        last = "; ".join(
            f"{group}: {f'day {found.informed[group]:g}' if found.informed[group] else 'none'}"
            for group in first.groups
        )
        said = f"{EXTRAPOLATED} extrapolated, beyond the last time at which a target informs survival ({last})"
        yield from _wrapped(said)


def _alternatives(found: Comparison) -> Iterator[str]:
    if len(found.sides) == 1:
        return
    yield f"Side by side: {', '.join(found.sides[0].combination.chosen)}"
    for side, before, after in zip(found.sides, found.weighing.probabilities(), found.probabilities, strict=True):
        evidence = f"log evidence {side.log_evidence:.2f} ± {side.log_evidence_error:.2f}"
        unsure = "" if side.fitted.converged else "; NOT CONVERGED"
        yield f"{side.combination.name}: {evidence}, probability {before:.2f} before, {after:.2f} after{unsure}"
    if not found.differing:
        return
    yield ""
    lines = [("times in days; median (95 %)", *found.names)]
    rows = [{row.name: row for row in side.rows} for side in found.sides]
    for name in found.differing:
        lines.append((name, *(shown(side[name].posterior) if name in side else "" for side in rows)))
    yield from aligned(lines)
    yield from _wrapped(
        "A number may mean another thing under another alternative, such as a shape; survival always means the same"
    )


def _not_compared(found: Comparison) -> Iterator[str]:
    for key, choice in found.held.items():
        yield from _wrapped(f"Not compared: {key} is {choice}, which is none of its alternatives")
    for depth in dict.fromkeys(found.skipped.values()):
        names = "; ".join(name for name, needed in found.skipped.items() if needed == depth)
        yield from _wrapped(f"Not compared: {names} (diagnostics={depth} does)")
    for name, why in found.refused.items():
        yield from _wrapped(f"Not compared: {name}: {why}")


def _time(days: float) -> str:
    years = days / DAYS_PER["y"]
    whole = round(years)
    return f"{whole} y" if whole and abs(years - whole) * DAYS_PER["y"] <= 1.0 else f"{days:g} d"


def _shares(quantiles: Floats) -> str:
    lower, median, upper = quantiles
    return f"{median:.3f} ({lower:.3f}–{upper:.3f})"


def _chance(p: float, error: float) -> str:
    return f"{p:.2f} ± {error:.1g}" if error > 0.0 else f"{p:.2f}"


def _columns(rows: Sequence[Row], truncation: Mapping[str, Truncated]) -> Iterator[str]:
    marks = {name: TRUNCATED if one.much else "" for name, one in truncation.items()}
    after = [marks.get(row.name, "") + shown(row.posterior) for row in rows]
    cells = [(row.name, shown(row.prior), a, _contraction(row)) for row, a in zip(rows, after, strict=True)]
    cells.insert(0, ("times in days; median (95 %)", "prior", "posterior", "contraction"))
    yield from aligned(cells)
    yield "contraction: 1 − variance after/before, on a scale where the prior is normal"
    if any(not row.informed for row in rows):
        yield f"{ASSUMPTION}: the data say next to nothing; this is the prior"
    if any(marks.values()):
        yield f"{TRUNCATED}: truncated to feasible parameter sets, which moves it; see below"


def _contraction(row: Row) -> str:
    if math.isnan(row.contraction):
        return "fixed"
    return f"{row.contraction:.2f}" if row.informed else ASSUMPTION


def _readings(fitted: Fit) -> Iterator[str]:
    questions = {
        question: {reading.chosen[question] for reading in fitted.readings} for question in fitted.readings[0].chosen
    }
    several = [question for question, names in questions.items() if len(names) > 1]
    before = fitted.alternatives.probabilities()
    for reading, prior, posterior in zip(fitted.readings, before, fitted.probabilities, strict=True):
        evidence = f"log evidence {reading.log_evidence:.2f} ± {reading.log_evidence_error:.2f}"
        if not several:
            yield evidence
            continue
        name = ", ".join(reading.chosen[question] for question in several)
        yield f"{name}: {evidence}, probability {prior:.2f} before, {posterior:.2f} after"
    common = [f"{question} {min(names)}" for question, names in questions.items() if question not in several]
    if common:
        yield f"Read as: {', '.join(common)}"
    for name, why in chosen_in(fitted.evidence, fitted.config, fitted.overrides).not_applied.items():
        yield from _wrapped(f"Not applied: {name}, {why}")


def _feasibility(fitted: Fit) -> Iterator[str]:
    if any(reading.truncation is not None for reading in fitted.readings):
        yield from _wrapped(feasibility.said(fitted) or "All draws of the posterior that were tried can be produced.")


def _truncated(fitted: Fit, truncation: Mapping[str, Truncated]) -> Iterator[str]:
    """What the truncation moves: each number with and without it, and what is in conflict."""
    much = [one for one in truncation.values() if one.much]
    if not much:
        return
    share = 1.0 - feasibility.shares(fitted)[0]
    yield from _wrapped(
        f"TRUNCATED: {100 * share:.0f} % of the posterior is infeasible and left out; numbers that this moves by more "
        f"than {MUCH:g} standard deviations, without the truncation and with it, and the distance in standard "
        "deviations of the former"
    )
    cells = [("", "without", "with", "distance")]
    for one in much:
        without = "not defined" if one.without is None else shown(one.without)
        distance = "" if math.isnan(one.distance) else f"{one.distance:+.2f}".replace("-", "−")
        cells.append((one.name, without, shown(one.joint), distance))
    yield from aligned(cells)
    yield from _wrapped(conflict(much))
    undefined = {
        name: s for r in fitted.readings if r.truncation is not None for name, s in r.truncation.undefined.items()
    }
    for name, part in undefined.items():
        yield from _wrapped(
            f"{name} has no likelihood at {100 * part:.0f} % of the prior: the model cannot produce its own parameters "
            "there, whatever the others are; so it is not known what it would say without the truncation"
        )


def _alarms(fitted: Fit) -> Iterator[str]:
    """Numbers that lean on a bound, and those whose prior matters, under the reading that a run takes."""
    reading = fitted.readings[fitted.default]
    for one in pressed(reading):
        days = " d" if reading.kinds.get(one.name) == "time" else ""
        yield from _wrapped(
            f"PRESSED AGAINST A BOUND: {one.name}, {100 * one.share:.0f} % of the posterior lies close to "
            f"{figure(one.bound)}{days}, where its prior, or the model, ends"
        )
    said: dict[str, list[str]] = {}
    for name, answer in sensitivities(reading).items():
        if answer.said:
            said.setdefault(answer.said, []).append(f"{name} ({answer.prior:.2f}, {answer.likelihood:.2f})")
    for what, names in said.items():
        yield from _wrapped(f"Power-scaling of prior and likelihood, {what}: {', '.join(names)}")


def _targets(fitted: Fit) -> Iterator[str]:
    yield from _wrapped(f"Fitted: {', '.join(sorted(fitted.readings[0].targets))}")
    for name, reason in fitted.declared.left_out.items():
        yield from _wrapped(f"Left out: {name}, {reason}")
    others = [e.id for e in fitted.evidence.entries if e.role not in (None, "fitted")]
    if others:
        yield from _wrapped(f"Used, held out or borrowed, not fitted: {', '.join(others)}")
    bare = [name for name, prior in taken(fitted.declared, fitted.config).parameters.items() if not prior.note]
    if bare:
        yield from _wrapped(f"Priors without a source, or a reason for their width (note): {', '.join(bare)}")
    for name, given in fitted.declared.survivors.items():
        yield from _wrapped(f"{name} taken as {given.count} alive: {given.because}")


def _search(fitted: Fit) -> Iterator[str]:
    least = min(reading.effective_size for reading in fitted.readings)
    yield f"Importance sampling: effective size at least {least:,.0f}"
    components = [c for reading in fitted.readings for c in reading.components]
    if not all(c.draws.converged for c in components):
        yield "NOT CONVERGED: the stages ran out; raise search.initial, search.step or search.stages"
    simulated = {c.draws: (c.targets, c.simulation) for c in components if c.simulation is not None}
    if simulated:
        seeds = max(error.seeds for _, error in simulated.values())
        what = "posterior means move by (posterior standard deviations), log likelihood at the mode by"
        yield from _wrapped(f"Likelihood by simulation; between {seeds} seeds {what}:")
    for targets, error in simulated.values():
        yield f"  {error.largest_shift:.2f}  {error.log_likelihood:.2f}  {', '.join(targets)}"
    terms = {term.name: term for c in components for term in c.terms if isinstance(term, Simulated)}
    for name, term in terms.items():
        if term.held:
            yield from _wrapped(f"Held at their declared values in {name}, though they move it: {', '.join(term.held)}")
        if term.untried:
            names = ", ".join(term.untried)
            yield from _wrapped(f"Held in {name}; the model cannot produce a trial of whether they move it: {names}")
    if not all(error.converged for _, error in simulated.values()):
        cure = "raise replicates or recombined under calibration.simulated, or its tolerances"
        yield from _wrapped(f"NOT CONVERGED: they must be below {LARGEST_SHIFT:g} and {LARGEST_ERROR:g}; {cure}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")
