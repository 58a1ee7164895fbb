"""The commands: a run, an explanation, the evidence, the configuration, the page of a run or sweep."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import simulator
from simulator.cli.arguments import EVIDENCE, EXPLAIN, REPORT, VERIFY, read_arguments
from simulator.cli.console import (
    CONFIG,
    CONTRAST,
    PAGE,
    PICTURE,
    RESULTS,
    claimed,
    exit_code_of,
    listen,
    show,
    tell_files,
)
from simulator.cli.progress import Compilation, Progress
from simulator.configuration.files import dump
from simulator.errors import (
    ConfigError,
    IncompleteWarning,
)
from simulator.experiment.preparation import Prepared, prepare

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    return exit_code_of(_obey, argv)


def _obey(argv: Sequence[str]) -> None:
    arguments = read_arguments(argv)
    if arguments.version:
        print(f"lobule {simulator.__version__}")
    elif arguments.help:
        from simulator.cli.help import help_text

        print(help_text(arguments.overrides, config_dir=arguments.config_dir))
    elif arguments.multirun:
        from simulator.cli.multirun import run_sweep

        run_sweep(arguments.overrides, config_dir=arguments.config_dir, dry=arguments.dry, cfg=arguments.cfg)
    elif arguments.command == REPORT:
        [path] = arguments.overrides
        print(_report(Path(path).expanduser()))
    elif arguments.command == VERIFY:
        [path] = arguments.overrides
        _verify(Path(path).expanduser())
    elif arguments.cfg:
        print(dump(prepare(arguments.overrides, config_dir=arguments.config_dir).container), end="")
    elif arguments.command == EXPLAIN:
        print(_explained(prepare(arguments.overrides, config_dir=arguments.config_dir)))
    elif arguments.command == EVIDENCE:
        _show_evidence(prepare(arguments.overrides, config_dir=arguments.config_dir))
    else:
        with Compilation(arguments.overrides) as first_run:
            prepared = prepare(
                arguments.overrides, config_dir=arguments.config_dir, output=True, composed=first_run.begin
            )
            first_run.finish(prepared.experiment)
        run_and_write(prepared)


def run_and_write(prepared: Prepared) -> Path:
    """Simulate, write the results into a folder of their own, print the table. Returns the folder."""
    listen(prepared.verbose)
    assert prepared.folder is not None  # prepared with an output folder
    with claimed(prepared.folder, CONFIG) as folder:
        (folder / CONFIG).write_text(dump(prepared.container), encoding="utf-8")
        _log.debug("simulating %s into %s", prepared.cohort, folder)
        from simulator.results.store import save
        from simulator.running.draws import run

        with Progress("simulating") as progress:
            solved = functools.partial(progress.at, verb="solving draw")
            simulated = functools.partial(progress.at, verb="simulating")
            tree = run(prepared.experiment, progress=simulated, solved=solved)
        save(tree, folder / RESULTS)
    from simulator.views import decisions, estimates, figures
    from simulator.views.tables import targets_table

    figures.save(figures.survival(tree), folder / PICTURE)
    show(targets_table(tree))
    if estimates.NODE in tree.children:
        show(estimates.estimates_table(tree))
    if decisions.NODE in tree.children:
        show(decisions.decisions_table(tree))
    files = {
        RESULTS: f'the results: simulator.open_results("{(folder / RESULTS).as_posix()}")',
        CONFIG: "what was simulated",
        PICTURE: "survival, simulated and reported",
    }
    if prepared.experiment.root.output.report:
        from simulator.views import report

        report.write(tree, folder / PAGE)
        files[PAGE] = "all of it on a page, for a browser"
    tell_files(folder, files)
    return folder


def _report(path: Path) -> Path:
    """Write the page of results beside them, and return it; of a sweep also before it is finished."""
    from simulator.results.store import SWEEP
    from simulator.sweep.contrasts import named_beside
    from simulator.sweep.opening import open_results
    from simulator.views import report

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)  # the page says it
        tree = open_results(path)
    folder = path if path.is_dir() and path.name != SWEEP else path.parent
    try:
        return report.write(tree, folder / PAGE, source=str(path), against=named_beside(folder / CONTRAST))
    finally:
        tree.close()


def _verify(path: Path) -> None:
    """Print what was checked of results. Raises ConfigError with everything that is damaged."""
    from simulator.sweep.verification import verify

    found = verify(path)
    for line in found.checked:
        print(f"checked: {line}")
    for line in found.notes:
        print(f"note: {line}")
    if found.damaged:
        raise ConfigError(found.damaged)
    print(f"{path}: nothing is damaged")


def _explained(prepared: Prepared) -> str:
    from simulator.experiment.explain import explain

    return explain(prepared.experiment).rstrip()


def _show_evidence(prepared: Prepared) -> None:
    from simulator.evidence.evidence import load
    from simulator.views.tables import evidence_table

    show(evidence_table(load(prepared.container["evidence"])))
