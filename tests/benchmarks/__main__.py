"""Measure the engines and the yardsticks, and print one table: ``python -m tests.benchmarks [--quick]``.

Processor time (user and system) of one thread, compilation excluded; every part of the table in interleaved rounds,
the median of its rounds with the smallest and the largest. A program, never a test: it fails on no timing.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.benchmarks import systems
from tests.benchmarks.measure import Measured, machine, peak_memory
from tests.benchmarks.sections import LIMIT, SECTIONS, YARDSTICKS, Options, measured, memory_of


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.split("\n\n")[1])
    parser.add_argument("--quick", action="store_true", help="a twentieth of the patients, three rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each part (default 7)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="parts of the table")
    parser.add_argument(
        "--engine", choices=("compiled", "reference"), default="compiled", help="whose growth to measure"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every sample")
    parser.add_argument(
        "--peers-python",
        action="append",
        default=[],
        metavar="PYTHON",
        help=f"a Python in which a peer is installed; may be given again; also {systems.PEERS_VARIABLE}",
    )
    parser.add_argument("--memory", nargs=3, metavar=("WHAT", "N", "ENGINE"), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> None:
    given = arguments(argv)
    if given.memory:  # a process of our own, whose memory is measured
        what, n, engine = given.memory
        memory_of(what, int(n), engine)
        print(json.dumps(peak_memory()))
        return
    options = Options(
        quick=given.quick,
        rounds=given.rounds or (3 if given.quick else 7),
        pythons=tuple(systems.peer_pythons(given.peers_python)),
        growth=given.engine,
    )
    header = machine()
    header["peers"] = ", ".join(f"{k} {v}" for k, v in systems.peer_versions(options.pythons).items()) or "none"
    console = Console(width=None if sys.stdout.isatty() else 165)
    rows: list[Measured] = []
    with Console(stderr=True).status("") as status:
        for name in given.only:
            rows += measured(SECTIONS[name](options), options.rounds, tell=status.update)
    console.print(table(rows, header, options))
    if given.json:
        record = {"header": header, "rounds": options.rounds, "rows": [asdict(row) for row in rows]}
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def table(rows: Sequence[Measured], header: dict[str, str], options: Options) -> Table:
    """Lay the rows out, with the ratio to every yardstick they are compared with."""
    made = Table(
        title="\n".join(header.values()),
        title_justify="left",
        title_style="",
        caption=f"Processor time of one thread, compilation excluded, unless a part says otherwise; median (smallest – "
        f"largest) of {options.rounds} interleaved rounds. ns: a patient. SimPy and peers: processes of their own.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    made.add_column("", max_width=60, overflow="fold")
    for name in ("patients", "median", "spread"):
        made.add_column(name, justify="right", no_wrap=True)
    for name in YARDSTICKS:
        said = "time of" if name == LIMIT else "faster than"
        made.add_column(f"{said}\n{name}", justify="right")
    yardsticks = {row.role: row.median for row in rows if row.role and row.samples}
    section = None
    for row in rows:
        if row.section != section:
            made.add_section()
            made.add_row(f"[bold]{row.section}[/bold]")
            section = row.section
        if not row.samples:
            made.add_row(f"  {row.name}: {row.missing}")
            continue
        made.add_row(
            f"  {row.name}",
            f"{row.patients:,}" if row.patients else "",
            f"{_short(row.median)} {row.unit}",
            f"{_short(min(row.samples))} – {_short(max(row.samples))}",
            *(_ratio(row, column, yardsticks) for column in YARDSTICKS),
        )
    return made


def _ratio(row: Measured, column: str, yardsticks: dict[str, float]) -> str:
    """Time over the hand-written kernel's; of other yardsticks theirs over this one's."""
    compared = [yardsticks[name] for name in YARDSTICKS[column] if name in row.against and name in yardsticks]
    if not compared:
        return ""
    return _short(row.median / compared[0] if column == LIMIT else compared[0] / row.median) + " ×"


def _short(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1:])
