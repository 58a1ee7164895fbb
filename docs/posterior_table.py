"""The shipped posteriors before a change, after it, and exactly where that is known, as rows of a Markdown table.

    python docs/posterior_table.py REVISION [COHORT ...]

Before: `configs/parameters/*_calibrated.csv` at a revision of the repository; after: as they are now. Exact: what the
targets and the prior say by themselves, by quadrature over the prior's score, where a number has a prior of its own and
its targets have closed forms (counts with a beta prior: its conjugate posterior). Nothing is searched or simulated but
what is declared for the terms.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from calibration.cli import preparation
from calibration.diagnostics.truncation import MUCH
from calibration.likelihoods.simulated import Simulated
from calibration.posterior.components import components
from calibration.posterior.readings import prepare
from calibration.samplers.summary import CredibleInterval, interval

FOLDER = Path("configs/parameters")
GRID = 4001
HEAD = ("cohort", "number", "before", "after", "exact", "distance from exact, standard deviations")


def main(revision: str, *cohorts: str) -> None:
    """Print the table."""
    names = cohorts or sorted(p.stem.removesuffix("_calibrated") for p in FOLDER.glob("*_calibrated.csv"))
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for cohort in names:
        path = FOLDER / f"{cohort}_calibrated.csv"
        shown = subprocess.run(
            ["git", "show", f"{revision}:{path}"], capture_output=True, text=True, check=False
        ).stdout
        before, after, exact = drawn(shown), drawn(path.read_text(encoding="utf-8")), dict(exactly(cohort))
        for name, values in after.items():
            old = said(interval(before[name], np.ones(len(before[name])))) if name in before else "no prior"
            known, middle, spread = exact.get(name, (None, 0.0, 1.0))
            distance = (float(values.mean()) - middle) / spread if known else float("nan")
            mark = " **cut**" if known and abs(distance) > MUCH else ""
            cells = (
                cohort,
                f"`{name}`",
                old,
                said(interval(values, np.ones(len(values)))),
                said(known) if known else "",
            )
            print(f"| {' | '.join(cells)} | {f'{distance:+.2f}{mark}' if known else ''} |")


def drawn(text: str) -> dict[str, np.ndarray]:
    """Return the numbers of a file of draws by name."""
    rows = list(csv.DictReader(io.StringIO(text)))
    names = [name for name in (rows[0] if rows else {}) if not name.startswith("reading:")]
    return {name: np.array([float(row[name]) for row in rows if row[name]]) for name in names}


def exactly(cohort: str) -> Iterator[tuple[str, tuple[CredibleInterval, float, float]]]:
    """Yield numbers that a search of one dimension knows: quantiles, mean, standard deviation."""
    prepared, declared = preparation([f"cohort={cohort}"], None)
    reading = prepare(prepared.container, declared, prepared.overrides).readings[0]
    for prior, terms in components(reading.prior, reading.terms):
        if len(prior.coordinates) != 1 or not terms or any(isinstance(term, Simulated) for term in terms):
            continue
        z = np.linspace(-6.0, 6.0, GRID)[:, None]
        sets = prior.parameter_sets(z)
        log = np.asarray(sum(term.log_density(sets) for term in terms)) + stats.norm.logpdf(z[:, 0])
        weights = np.exp(log - log.max())
        weights /= weights.sum()
        for name in prior.names:
            middle = float(weights @ sets[name])
            yield name, (interval(sets[name], weights), middle, float(np.sqrt(weights @ (sets[name] - middle) ** 2)))


def said(found: CredibleInterval) -> str:
    """An interval in words."""
    return f"{found.median:.3g} ({found.lower:.3g}–{found.upper:.3g})"


if __name__ == "__main__":
    main(*sys.argv[1:])
