"""Printed tables.

Every table is a rich renderable that looks at the width it gets: it fits 80 columns, and is plain text when it is
piped. All text from files is shown as it is, never read as markup.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import xarray as xr
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from simulator.text import visible
from simulator.units import DAYS_PER

CENTRAL = (0.025, 0.975)
"""A percentile outside lies outside the central 95 %."""
FEWEST = 40
"""With fewer replicates a percentile has no room outside the central 95 %, and nothing is called so."""

_ROOMY = 100
_WIDE = 130
_SHOWN_UNITS = {"%", "mg", *DAYS_PER}
_NOT_REACHED = "n.r."
_OUTSIDE = "bold yellow"


def targets_table(tree: xr.DataTree, *, spreads: bool = True) -> RenderableType:
    """Return reported numbers beside simulated ones, what to make of them and, of draws, their spreads."""
    rows = target_rows(tree)
    apart = [_spreads(tree), line()] if spreads and "draw" in tree["targets"].sizes else []
    return Group(_Targets(rows), line(), *apart, *map(line, remarks(tree, rows, spreads=spreads)))


def evidence_table(evidence: EvidenceShown) -> RenderableType:
    """Return all entries of an evidence file, and its checks with what they found."""
    checks = evidence.verify()
    failed = [check for check in checks if not check.passed]
    outcome = f"{len(failed)} of {len(checks)} failed" if failed else f"all {len(checks)} passed"
    title = line(f"{evidence.name}: {evidence.title}", style="bold")
    files = ", ".join(dict.fromkeys(entry.source.file for entry in evidence.entries))
    return Group(
        title,
        line(f"Source: {files}"),
        line(),
        _Evidence(evidence.entries),
        line(),
        _Checks(checks),
        line(),
        line(f"Checks: {outcome}"),
    )


def plain(renderable: RenderableType, *, width: int = 80) -> str:
    """Return what a pipe of this width would get: no colours, no control codes, no trailing blanks."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=False, color_system=None, legacy_windows=False)
    console.print(renderable)
    return "\n".join(each.rstrip() for each in stream.getvalue().splitlines()) + "\n"


@dataclass(frozen=True)
class TargetRow:
    """One target, as shown: no digit that its Monte-Carlo error does not support."""

    id: str
    what: str
    variable: str
    reported: str
    median: str
    interval: str
    percentile: str
    role: str
    provenance: str
    outside: bool
    ranked: bool
    miss_probability: float
    n_not_reached: int
    n_undefined: int


def target_rows(tree: xr.DataTree) -> list[TargetRow]:
    """Return the targets of a tree as they are shown."""
    node = tree["targets"].to_dataset()
    n_studies = _studies(node)
    return [_row(each, n_studies) for each in _each_target(node)]


def _each_target(node: xr.Dataset) -> Iterator[dict[str, Any]]:
    """Yield what is known of each target, by the name of the variable; looked up one by one it would take long."""
    columns = {str(name): each.values.tolist() for name, each in node.variables.items() if each.dims == ("target",)}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _row(target: Mapping[str, Any], n_studies: int) -> TargetRow:
    scale, decimals, percentile = (target[name] for name in ("scale", "decimals", "percentile"))
    n = n_studies - target["n_undefined"]
    widest = _larger(target["lower_standard_error"], target["upper_standard_error"])
    low, high = (supported(target[end], widest, scale, decimals) for end in ("lower", "upper"))
    outside = n >= FEWEST and (percentile < CENTRAL[0] or percentile > CENTRAL[1])
    return TargetRow(
        id=target["target"],
        what=target["name"],
        variable=target["variable"],
        reported=_as_printed(target["printed"], target["unit"]),
        median=supported(target["median"], target["median_standard_error"], scale, decimals),
        interval=f"{low}–{high}" if not math.isnan(target["lower"]) else "–",
        percentile=_percent(percentile, target["percentile_standard_error"], n) + (" *" if outside else "  "),
        role=target["role"].replace("_", " "),
        provenance=target["provenance"],
        outside=outside,
        ranked=not math.isnan(percentile),
        miss_probability=target["miss_probability"],
        n_not_reached=target["n_not_reached"],
        n_undefined=target["n_undefined"],
    )


def _studies(targets: Any) -> int:
    """Number of simulated studies: replicates, of each draw if there are several."""
    return int(targets.sizes["replicate"] * targets.sizes.get("draw", 1))


def _spreads(tree: xr.DataTree) -> RenderableType:
    """Return the table that keeps the three spreads apart: standard deviations, in printed units."""
    right = {"justify": "right", "no_wrap": True}
    table = ruled_table(
        ("id", {"no_wrap": True}), ("what", {}), ("mean", right),
        ("study\nsampling ±", right), ("parameters ±", right), ("Monte\nCarlo ±", right),
    )  # fmt: skip
    for cells in spread_rows(tree):
        add_row(table, cells)
    return table


def spread_rows(tree: xr.DataTree) -> Iterator[tuple[str, ...]]:
    """Yield id, name, mean, and the standard deviations of study sampling, parameters and Monte Carlo of each target.

    Only the targets of a run over draws have them apart.
    """
    for target in _each_target(tree["targets"].to_dataset()):

        def figure(name: str, error: str, target: Mapping[str, Any] = target) -> str:
            return supported(target[name], target[error], target["scale"], target["decimals"] + 1)

        yield (
            target["target"],
            target["name"],
            figure("mean", "monte_carlo_error"),
            figure("study_sd", "study_sd_standard_error"),
            figure("parameter_sd", "parameter_sd_standard_error"),
            significant(target["monte_carlo_error"] * target["scale"]),
        )


def remarks(tree: xr.DataTree, rows: Sequence[TargetRow], *, spreads: bool = True) -> Iterator[str]:
    """Yield what to make of the rows of `target_rows`, a line each."""
    n_replicates = _studies(tree["targets"])
    n_draws = tree["targets"].sizes.get("draw", 0)
    studies = _counted(n_replicates // max(n_draws, 1), "simulated study", "simulated studies")
    if n_draws:
        studies = f"{_counted(n_draws, 'draw', 'draws')} of the parameters, {studies}"
    if "n_patients" in tree.attrs:
        studies += f" of {_counted(int(tree.attrs['n_patients']), 'patient', 'patients')}"
    yield f"{studies} each; seed {tree.attrs.get('seed', 'not recorded')}"
    if size := str(tree.attrs.get("size", "")):
        yield size[0].upper() + size[1:]
    if n_replicates < FEWEST:
        yield f"fewer than {FEWEST} studies: nothing can be called outside the central 95 %"
    else:
        yield _misses("* outside the central 95 %", rows)
    roles = dict.fromkeys(row.role for row in rows)
    if len(roles) > 1 and n_replicates >= FEWEST:
        yield from (f"  {_misses(role, [row for row in rows if row.role == role])}" for role in roles)
    chosen_by = [role for role in ("fitted", "used") if role in roles]
    if chosen_by:
        yield f"  a {' or '.join(chosen_by)} target can hardly miss: it checks the transcription, not the model"
    for what, counts in (
        ("Not reached, ranked highest", {row.id: row.n_not_reached for row in rows}),
        ("Undefined, left out", {row.id: row.n_undefined for row in rows}),
    ):
        some = ", ".join(f"{name} in {count:,}" for name, count in counts.items() if count)
        if some:
            yield f"{what}: {some} of {n_replicates:,} studies"
    yield f"Parameters: {tree.attrs.get('parameter_uncertainty', 'not recorded')}"
    if n_draws:
        yield "Interval and percentile: all studies of all draws, so study sampling and parameters together"
    if n_draws and spreads:
        yield "±: one standard deviation, over studies of one draw; over draws; of the mean, by finite simulation"
    if assumed := str(tree.attrs.get("assumed", "")):
        yield assumed[0].upper() + assumed[1:]
    worst = 50 / math.sqrt(n_replicates) if n_replicates else math.nan
    if n_draws:
        worst = 100 * float(tree["targets"]["percentile_standard_error"].max())
    yield (
        f"Monte Carlo: a percentile has a standard error of at most {significant(worst)} points; "
        "no digit is shown that this error does not support"
    )


def _misses(what: str, rows: Sequence[TargetRow]) -> str:
    ranked = [row for row in rows if row.ranked]
    outside = [row.id for row in ranked if row.outside]
    expected = sum(row.miss_probability for row in ranked)
    names = f" ({', '.join(outside)})" if outside else ""
    return f"{what}: expected {expected:.1f} of {len(ranked)}, observed {len(outside)}{names}"


def _as_printed(printed: str, unit: str) -> str:
    bare = not any(character.isalpha() or character == "%" for character in printed)
    return f"{printed} {unit}" if bare and unit in _SHOWN_UNITS else printed


def supported(value: float, error: float, scale: float, decimals: int) -> str:
    """Return a value in the printed unit, with the printed decimals or as many as its Monte-Carlo error supports.

    What is not reached is `n.r.`; a difference or ratio whose second group does not reach it (−inf) is `−n.r.`
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return _NOT_REACHED if value > 0 else f"−{_NOT_REACHED}"
    shown = value * scale
    places = min(decimals, _places(error * scale, shown))
    return f"{_rounded(shown, places):,.{max(places, 0)}f}"


def _places(error: float, value: float) -> int:
    """Decimals down to the leading digit of the error; one significant digit if the error has no bound."""
    if error == 0 or math.isnan(error):
        return 12
    leading = error if math.isfinite(error) else abs(value)
    return -math.floor(math.log10(leading)) if leading > 0 else 0


def _rounded(value: float, places: int) -> float:
    # A half is rounded away from zero, as papers do, and −0 is 0.
    unit = 10.0**-places
    return math.copysign(math.floor(abs(value) / unit + 0.5 + 1e-9) * unit, value) + 0.0


def _percent(percentile: float, error: float, n: int) -> str:
    if math.isnan(percentile):
        return "–"
    if percentile in (0.0, 1.0):
        edge = significant(100 / n)
        return f"<{edge} %" if percentile == 0 else f">{100 - float(edge):g} %"
    return f"{supported(percentile, error, 100.0, 1)} %"


def swept_heads(root: xr.Dataset) -> list[str]:
    """Return the heads of swept dimensions, with the unit of those that have one."""
    units = [str(root[name].attrs.get("units", "")) if name in root.coords else "" for name in root.sizes]
    return [
        f"{name} ({unit})" if unit not in ("", "1") else str(name) for name, unit in zip(root.sizes, units, strict=True)
    ]


def swept_labels(root: xr.Dataset, at: Mapping[str, int]) -> list[str]:
    """Return the labels at a place of the swept dimensions, as shown: 21, not 21.0."""
    labels = [root[name].values[where] for name, where in at.items()]
    return [f"{label:.10g}" if isinstance(label, float) else str(label) for label in labels]


def significant(value: float) -> str:
    """Return a number with one significant digit."""
    return f"{float(f'{value:.1g}'):g}"


def _larger(a: float, b: float) -> float:
    return b if math.isnan(a) else a if math.isnan(b) else max(a, b)


def _counted(n: int, one: str, more: str) -> str:
    return f"{n:,} {one if n == 1 else more}"


def line(text: str = "", style: str = "") -> Text:
    """Return text as it is shown on a terminal: never read as markup, with no character that is obeyed."""
    return Text(visible(text), style=style)


def ruled_table(*columns: tuple[str, Mapping[str, Any]]) -> Table:
    """Return an empty table in our style; each column has a heading and rich's options."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False, show_edge=False)
    for heading, options in columns:
        table.add_column(line(heading), **({"overflow": "fold"} | dict(options)))
    return table


def add_row(table: Table, cells: Iterable[str], style: str = "") -> None:
    """Add a row of plain text, never read as markup."""
    table.add_row(*(line(cell, style=style) for cell in cells))


@dataclass(frozen=True)
class _Targets:
    rows: Sequence[TargetRow]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        narrow = options.max_width < _ROOMY
        fixed = {"no_wrap": True}
        right = {"justify": "right", "no_wrap": True}
        figures = (
            ("reported", {"justify": "right"}),
            ("simulated\nmedian", right),
            ("95 %\ninterval", right),
            ("percen-\ntile" if narrow else "percentile", right),
        )
        origin = (("role,\nprovenance", fixed),) if narrow else (("role", fixed), ("provenance", fixed))
        table = ruled_table(("id", fixed), ("what", {}), *figures, *origin)
        for row in self.rows:
            from_where = (f"{row.role}\n{row.provenance}",) if narrow else (row.role, row.provenance)
            shown = (row.id, row.what, row.reported, row.median, row.interval, row.percentile, *from_where)
            add_row(table, shown, _OUTSIDE if row.outside else "")
        yield table


class SourceShown(Protocol):
    """Where a figure stands."""

    @property
    def file(self) -> str: ...
    @property
    def locator(self) -> str: ...


class EntryShown(Protocol):
    """One reported figure or statement: `simulator.evidence.entries.EvidenceEntry`."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def printed(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def numerator(self) -> int | None: ...
    @property
    def denominator(self) -> int | None: ...
    @property
    def population(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def estimator_name(self) -> str | None: ...
    @property
    def provenance(self) -> str: ...
    @property
    def role(self) -> str | None: ...
    @property
    def source(self) -> SourceShown: ...


class CheckShown(Protocol):
    """One thing checked: `simulator.evidence.entries.Check`."""

    @property
    def entry(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def passed(self) -> bool: ...


class EvidenceShown(Protocol):
    """A cohort's evidence: `simulator.evidence.evidence.EvidenceFile`."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def entries(self) -> Sequence[EntryShown]: ...
    def verify(self) -> Sequence[CheckShown]: ...


@dataclass(frozen=True)
class _Evidence:
    entries: Sequence[EntryShown]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._wide() if options.max_width >= _WIDE else self._narrow()

    def _source(self, entry: EntryShown) -> str:
        one = len({each.source.file for each in self.entries}) == 1
        return entry.source.locator if one else f"{entry.source.file}: {entry.source.locator}"

    def _wide(self) -> Table:
        fixed = {"no_wrap": True}
        table = ruled_table(
            ("id", fixed), ("what", {}), ("printed", {}), ("n/N", fixed), ("population", {}),
            ("estimator", {}), ("provenance", fixed), ("role", fixed), ("source", {}),
        )  # fmt: skip
        for entry in self.entries:
            printed = _as_printed(entry.printed, entry.unit)
            cells = (entry.id, entry.name, printed, _counts(entry), entry.population, _label(entry))
            add_row(table, (*cells, entry.provenance, _role(entry), self._source(entry)))
        return table

    def _narrow(self) -> Table:
        """One cell for what, population and estimator; one for the figure and its counts; and so on."""
        table = ruled_table(
            ("id", {"no_wrap": True}), ("what; population; estimator", {}), ("printed,\nn/N", {}),
            ("provenance,\nrole", {"no_wrap": True}), ("source", {}),
        )  # fmt: skip
        for entry in self.entries:
            what = f"{entry.name}\n{entry.population}; {_label(entry)}"
            printed = "\n".join(filter(None, (_as_printed(entry.printed, entry.unit), _counts(entry))))
            origin = "\n".join(filter(None, (entry.provenance, _role(entry))))
            add_row(table, (entry.id, what, printed, origin, self._source(entry)))
        return table


@dataclass(frozen=True)
class _Checks:
    checks: Sequence[CheckShown]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = ruled_table(
            ("id", {"no_wrap": True}), ("check", {}), ("found", {}),
            ("outcome", {"no_wrap": True}),
        )  # fmt: skip
        for check in self.checks:
            cells = (check.entry, check.what, check.outcome, "passed" if check.passed else "FAILED")
            add_row(table, cells, "" if check.passed else "bold red")
        yield table


def _counts(entry: EntryShown) -> str:
    if entry.denominator is None:
        return ""
    return f"{'?' if entry.numerator is None else entry.numerator}/{entry.denominator}"


def _label(entry: EntryShown) -> str:
    return (entry.estimator_name or entry.kind).replace("_", " ")


def _role(entry: EntryShown) -> str:
    return (entry.role or "").replace("_", " ")
