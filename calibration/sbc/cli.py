"""The command line of simulation-based calibration: `python -m calibration.sbc [cohort=NAME] [key=value ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field

import simulator
from calibration.cli import preparation, refuse_other_commands
from calibration.schema import Calibration, Search
from simulator.cli.arguments import read_arguments
from simulator.cli.console import DONE, OUR_ERROR, claimed, exit_code_of, tell_files
from simulator.cli.progress import Progress
from simulator.configuration.fields import Declared
from simulator.configuration.messages import validated
from simulator.errors import ConfigError, Problem
from simulator.experiment.preparation import Prepared

if TYPE_CHECKING:
    from calibration.sbc.rank_checks import Verdict

FOLDER = "outputs/sbc/${hydra:runtime.choices.cohort}/${now:%Y-%m-%d_%H-%M-%S-%f}"
RESULTS = "sbc.nc"
SEARCH = "search."
LIGHT = {"initial": 2000, "step": 500, "draws": 1000}
"""Settings of the search that differ from those of a calibration: thousands of papers are searched, not one."""

HELP = """\
Lobule checks a calibration from beginning to end: parameters are drawn from their prior, a study is simulated with
them and printed as the paper was, the simulated paper is calibrated, and the truth is ranked among the draws of its
posterior. Over many papers ranks are uniform, and 95 % intervals hold the truth in 95 %, or something is wrong.

Usage
  python -m calibration.sbc [cohort=NAME] [calibration=NAME] [key=value ...]

  papers=200          simulated papers; the first are the same whatever their number
  draws=99            draws of each posterior
  control=prior       a wrong posterior on purpose, the prior, which ignores the data; the checks must fail
  false_alarm=0.001   probability that any check fails although all is well; also of the bounds of one coverage
  search.KEY=VALUE    how hard each paper is searched, as in the calibration file; the defaults are lighter
                      ({light})
  cohort, calibration, seed, key=value, hydra.run.dir=FOLDER, --config-dir FOLDER: as for python -m calibration

It prints every check, and writes sbc.nc (xarray: simulator.open_results) with all ranks. LOBULE_THREADS: as for the
simulator; no bit depends on it.
Exit codes: 0 all checks passed, 1 some failed (or an error of ours), 2 bad input, 130 interrupted.\
"""


class Settings(Declared):
    """Keys of this command alone."""

    papers: int = Field(default=200, ge=10, le=1_000_000)
    draws: int = Field(default=99, ge=9, le=9_999)
    control: Literal["prior"] | None = None
    false_alarm: float = Field(default=0.001, gt=0.0, lt=0.5)
    search: Search = Field(default=Search(**LIGHT))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    passed: list[bool] = []
    code = exit_code_of(lambda arguments: passed.extend(_obey(arguments)), argv)
    return OUR_ERROR if code == DONE and not all(passed) else code


def _obey(argv: Sequence[str]) -> list[bool]:
    """Obey a command line; return whether the checks passed, nothing if none were made."""
    arguments = read_arguments(argv)
    if arguments.version:
        print(f"lobule {simulator.__version__}")
        return []
    if arguments.help:
        print(HELP.format(light=", ".join(f"{SEARCH}{key}={value}" for key, value in LIGHT.items())))
        return []
    refuse_other_commands(arguments)
    settings, others = settings_of(arguments.overrides)
    prepared, declared = preparation(others, arguments.config_dir, folder=FOLDER)
    return [check_and_write(prepared, declared, settings).passed]


def settings_of(overrides: Sequence[str]) -> tuple[Settings, list[str]]:
    """Return what a command line says to this command, and the texts that are for others. Raises ConfigError."""
    own = {name for name in Settings.model_fields if name != "search"}
    given: dict[str, Any] = {}
    others, problems = [], list[Problem]()
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not (key in own or key.startswith(SEARCH)):
            others.append(text)
            continue
        if key in given:
            problems.append(Problem(key, value, "is given twice; keep one"))
        try:
            given[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            given[key] = value
    search = {key.removeprefix(SEARCH): value for key, value in given.items() if key.startswith(SEARCH)}
    plain = {key: value for key, value in given.items() if key in own}
    settings = validated(Settings, {**plain, "search": {**LIGHT, **search}}, "", problems)
    if problems or settings is None:
        raise ConfigError(problems)
    return settings, others


def check_and_write(prepared: Prepared, declared: Calibration, settings: Settings) -> Verdict:
    """Simulate papers and rank their truths, write the ranks into a folder of their own, print the checks."""
    assert prepared.folder is not None  # prepared with an output folder
    with claimed(prepared.folder, RESULTS) as folder, Progress("papers", settings.papers) as progress:
        from calibration.sbc.rank_checks import verdict
        from calibration.sbc.rank_report import rank_report
        from calibration.sbc.ranks import ranks
        from calibration.sbc.tree import ranks_tree
        from simulator.results.store import save

        try:
            found = ranks(
                prepared.container,
                declared,
                papers=settings.papers,
                draws=settings.draws,
                search=settings.search,
                control=settings.control,
                overrides=prepared.overrides,
                progress=lambda done: progress.at(done, settings.papers),
            )
        except KeyboardInterrupt:
            print(f"{progress.done:,} of {settings.papers:,} papers were done; nothing is written", file=sys.stderr)
            raise
        result = verdict(found, settings.false_alarm)
        save(ranks_tree(found, result), folder / RESULTS)
    print(rank_report(found, result), end="")
    tell_files(folder, {RESULTS: f'ranks and checks: simulator.open_results("{(folder / RESULTS).as_posix()}")'})
    return result
