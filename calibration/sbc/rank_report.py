"""A study of ranks in words and columns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from calibration.output.columns import aligned
from calibration.sbc.rank_checks import Coverage, QuantityChecks, Verdict
from calibration.sbc.ranks import Ranks

FAILS = "*"
"""Stands beside the checks that failed."""


def rank_report(found: Ranks, verdict: Verdict) -> str:
    """Return what a person wants to know first: how many papers, every check, what failed and at which level."""
    parts = (
        _papers(found),
        _table(verdict),
        _notes(verdict),
        _readings(verdict, len(found.papers.rank)),
        _search(found),
        _said(verdict),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def _papers(found: Ranks) -> Iterator[str]:
    papers = found.papers
    n = len(papers.rank)
    yield f"{n:,} simulated papers, truths drawn from the prior; ranks among {found.draws} draws each"
    if found.control is not None:
        yield f"NEGATIVE CONTROL {found.control}: the posteriors are wrong on purpose, and checks must fail"
    if papers.redrawn.any():
        share = papers.redrawn.sum() / (papers.redrawn.sum() + n)
        yield f"{share:.0%} of draws of the prior were drawn again, since the model cannot produce them;"
        yield f"  so were {np.mean(papers.left_out):.0%} of those of the posteriors (mean of papers)"
    yield ""


def _table(verdict: Verdict) -> Iterator[str]:
    levels = [interval.level for interval in verdict.quantities[0].coverage]
    rows = [("p-values; coverage (bounds)", "χ²", "ECDF", *(f"{level:.0%}" for level in levels))]
    rows += [_row(one, verdict.each) for one in verdict.quantities]
    yield from (line.rstrip() for line in aligned(rows))


def _row(one: QuantityChecks, each: float) -> tuple[str, ...]:
    p_values = (_p(one.chi_square, each), _p(one.ecdf, each))
    return (one.name, *p_values, *(_covered(interval, each) for interval in one.coverage))


def _p(p_value: float, each: float) -> str:
    text = f"{p_value:.2f}" if p_value >= 0.095 else f"{p_value:.1g}"
    return text + (FAILS if p_value < each else " ")


def _covered(found: Coverage, each: float) -> str:
    digits = f"{found.share:.3f} ({found.lower:.3f}–{found.upper:.3f})"
    return digits + (FAILS if found.p_value < each else " ")


def _notes(verdict: Verdict) -> Iterator[str]:
    yield f"coverage: central intervals; exact binomial bounds, false-alarm probability {verdict.level:g} each"
    n = len(list(verdict.checks()))
    yield f"{FAILS} fails: p < {verdict.each:.1g} = {verdict.level:g} over {n} checks (family-wise, Bonferroni)"


def _readings(verdict: Verdict, papers: int) -> Iterator[str]:
    for one in verdict.alternatives:
        yield f"{one.name}: true in {one.true:,} of {papers:,}, expected by the posteriors {one.expected:,.1f}, " + (
            f"p {_p(one.p_value, verdict.each)}".rstrip()
        )


def _search(found: Ranks) -> Iterator[str]:
    for number, name in enumerate(found.readings):
        refused = float(np.mean(found.papers.refused[:, number]))
        if refused > 0.0:
            yield f"{name}: {refused:.0%} of papers cannot have been printed so, and are not fitted under it"
    yield f"Importance sampling: effective size at least {found.papers.effective_size.min():,.0f}"
    left = int(np.sum(~found.papers.converged))
    if left:
        yield f"NOT CONVERGED in {left:,} papers: raise search.initial, search.step or search.stages"


def _said(verdict: Verdict) -> Iterator[str]:
    yield ""
    if verdict.passed:
        yield f"PASSED at the family-wise level {verdict.level:g}"
        return
    yield f"FAILED at the family-wise level {verdict.level:g}:"
    for name in verdict.failed:
        yield f"  {name}"
