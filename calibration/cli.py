"""The command line: `python -m calibration [cohort=NAME] [calibration=NAME] [key=value ...]`.

Hydra's composition stops here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import simulator
from calibration.schema import Calibration, load
from simulator.cli.arguments import RUN, Arguments, read_arguments
from simulator.cli.console import claimed, exit_code_of, show, tell_files
from simulator.cli.progress import Compilation, say
from simulator.configuration.files import dump, read
from simulator.configuration.library import shipped_folder
from simulator.errors import MISSING, ConfigError, Problem, unknown
from simulator.experiment.preparation import Prepared, open_library, prepare

if TYPE_CHECKING:
    from xarray import DataTree

    from calibration.diagnostics.calibrated import Calibrated
    from calibration.posterior.fit import Fit
    from calibration.posterior.journal import Journal

GROUP = "calibration"
FOLDER = "outputs/calibration/${hydra:runtime.choices.cohort}/${now:%Y-%m-%d_%H-%M-%S-%f}"
RESULTS, PARAMETERS, DRAWS = "calibration.nc", "parameters.yaml", "draws.csv"
DIAGNOSTICS, DEPTHS = "diagnostics", ("standard", "full", "none")
STARTING_VALUES = "parameters=start"
HELP = """\
Lobule calibrates a cohort's parameters to what was published about it, with the paper's own estimators.

Usage
  python -m calibration [cohort=NAME] [calibration=NAME] [key=value ...]

  cohort=NAME         the cohort; the default is the simulator's
  calibration=NAME    its priors and targets, calibration/NAME.yaml; the default is the cohort's name
  key=value           any key of the simulator's: seed=7, study.reading=..., cohort.mix.stomach=0.2
  diagnostics=DEPTH   standard: profile likelihoods, collinearity, modes, targets left out one by one by reweighting,
                      alternatives of the model's own choices that have a closed form; full: also those that are
                      simulated, and targets of which reweighting says too little are left out anew (minutes); none
  hydra.run.dir=FOLDER  where to write, instead of outputs/calibration/<cohort>/<date>_<time>
  --config-dir FOLDER  your own files: FOLDER/calibration/NAME.yaml beside FOLDER/cohort/ and the others
  --help, --version

A run that was cut off (Ctrl-C, a killed process) goes on with the same command: likelihoods that it had found stand in
a file beside its folder until a run of it ends.

It prints prior and posterior of every parameter, and the evidence of every reading, and writes calibration.nc (xarray,
in the layout of ArviZ), parameters.yaml and draws.csv, which the simulator takes: python -m simulator
parameters=FOLDER. Calibrated so far: {known}
Whether the calibration of a cohort recovers what is true: python -m calibration.sbc --help.
Exit codes: 0 done, 1 an error of ours, 2 bad input, 130 interrupted.\
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    return exit_code_of(_obey, argv)


def _obey(argv: Sequence[str]) -> None:
    arguments = read_arguments(argv)
    if arguments.version:
        print(f"lobule {simulator.__version__}")
        return
    if arguments.help:
        print(HELP.format(known=", ".join(_files(arguments.config_dir))))
        return
    refuse_other_commands(arguments)
    depth, others = _taken(arguments.overrides, DIAGNOSTICS)
    depth = depth or DEPTHS[0]
    if depth not in DEPTHS:
        raise ConfigError(unknown(DIAGNOSTICS, depth, DEPTHS, what="depth of diagnostics"))
    with Compilation(others) as first_run:
        prepared, declared = preparation(others, arguments.config_dir, folder=FOLDER, composed=first_run.begin)
        first_run.finish(prepared.experiment)
    calibrate_and_write(prepared, declared, diagnostics=depth)


def refuse_other_commands(arguments: Arguments) -> None:
    """Refuse what only the simulator does. Raises ConfigError."""
    if arguments.command != RUN or arguments.cfg or arguments.multirun:
        what = "--cfg" if arguments.cfg else "--multirun" if arguments.multirun else arguments.command
        raise ConfigError(Problem(what, MISSING, "belongs to python -m simulator"))


def calibrate_and_write(prepared: Prepared, declared: Calibration, *, diagnostics: str = DEPTHS[0]) -> Path:
    """Calibrate, print what was found, write it into a folder of its own. Returns the folder."""
    assert prepared.folder is not None  # prepared with an output folder
    with claimed(prepared.folder, PARAMETERS) as folder:
        from calibration.diagnostics.calibrated import calibrated
        from calibration.diagnostics.comparison import check
        from calibration.output.results import tree_of
        from calibration.posterior.fit import fit
        from calibration.posterior.journal import journal_of

        container, overrides = prepared.container, prepared.overrides
        progress = say if sys.stderr.isatty() else None
        if diagnostics != "none":
            check(container, declared, overrides)
        with _kept(journal_of(folder, container, declared, overrides)) as journal:
            fitted = fit(container, declared, overrides=overrides, progress=progress, journal=journal)
            found = calibrated(fitted, depth=diagnostics, progress=progress, journal=journal)
            tree = tree_of(found)
            pictures = _write(folder, prepared, found, tree)
    _show(found, tree)
    files = {
        RESULTS: f'draws and diagnostics: simulator.open_results("{(folder / RESULTS).as_posix()}")',
        PARAMETERS: f"point values for the simulator: parameters={folder.as_posix()}",
        DRAWS: "draws for the simulator: the same, with parameters.draws=100",
        **pictures,
    }
    tell_files(folder, files)
    return folder


def _write(folder: Path, prepared: Prepared, found: Calibrated, tree: DataTree) -> dict[str, str]:
    """Write every file; return what each picture shows."""
    from calibration.output.parameter_file import draws_table, parameters_of
    from simulator.results.store import save

    content = parameters_of(found.fitted, start=prepared.parameters, draws=DRAWS)
    save(tree, folder / RESULTS)
    (folder / DRAWS).write_text(draws_table(found.fitted, found.posterior), encoding="utf-8")
    title = f"# Calibrated parameters of {prepared.cohort}, by python -m calibration; times in days.\n"
    (folder / PARAMETERS).write_text(title + dump(content, compact=True), encoding="utf-8")
    if found.predicted is None:
        return {}
    from calibration.output import figures

    return figures.write(folder, found, tree)


def _show(found: Calibrated, tree: DataTree) -> None:
    """Print the report, and the table of targets where it belongs."""
    from calibration.output.report import compared, diagnosis, joint, report
    from simulator.views.tables import targets_table

    print(report(found.fitted), compared(found.compared), sep="\n", end="")
    if found.predicted is not None:
        print()
        show(targets_table(tree, spreads=False))
        print(joint(found.predicted), end="")
    for section in diagnosis(found):
        print("\n" + section, end="")


@contextmanager
def _kept(journal: Journal) -> Iterator[Journal]:
    """Say what is known of a run that was cut off; take the journal away unless this one is cut off too."""
    if journal.found:
        print(f"going on: {journal.found:,} likelihoods are known of a run that was cut off", file=sys.stderr)
    try:
        yield journal
    except KeyboardInterrupt:
        if journal.path.exists():
            print(f"the likelihoods found so far are kept in {journal.path}: the same command goes on", file=sys.stderr)
        raise
    except ConfigError:
        journal.forget()
        raise
    journal.forget()


def calibrate(overrides: Sequence[str] = (), *, config_dir: str | os.PathLike[str] | None = None) -> Fit:
    """Calibrate a cohort, as the command with these overrides; nothing is written.

    Parameters
    ----------
    overrides
        Texts as on the command line, such as ``["cohort=pj203_mmc", "seed=7"]``.
    config_dir
        A folder with configurations of your own, as ``--config-dir``.

    Raises
    ------
    ConfigError
        With every problem of the input.
    """
    with Compilation(overrides) as first_run:
        prepared, declared = preparation(overrides, config_dir, composed=first_run.begin)
        first_run.finish(prepared.experiment)
    return _truncated(prepared.container, declared, prepared.overrides, say if sys.stderr.isatty() else None)


def _truncated(
    container: Mapping[str, Any],
    declared: Calibration,
    overrides: Sequence[str],
    progress: Callable[[str], None] | None = None,
) -> Fit:
    """Calibrate, and truncate the posterior to what the model can produce."""
    from calibration.posterior.feasibility import draws_of, truncate
    from calibration.posterior.fit import fit

    fitted = fit(container, declared, overrides=overrides, progress=progress)
    return truncate(fitted, draws_of(fitted), progress=progress)


def rerun(path: str | os.PathLike[str]) -> Fit:
    """Calibrate again what a ``calibration.nc`` records; every draw is reproduced exactly.

    Raises
    ------
    ConfigError
        If there is no calibration at the path, or what it records is no valid one for this version.
    """
    from simulator.results.provenance import config_of
    from simulator.sweep.opening import open_results

    tree = open_results(path)
    config, overrides = config_of(tree), str(tree.attrs.get("overrides", "")).split("\n")
    if GROUP not in tree.attrs:
        raise ConfigError(
            Problem("results", os.fspath(path), f"must be a {RESULTS}: these are results of a simulation")
        )
    return _truncated(config, load(json.loads(tree.attrs[GROUP])), overrides)


def preparation(
    overrides: Sequence[str],
    config_dir: str | os.PathLike[str] | None,
    *,
    folder: str | None = None,
    composed: Callable[[], None] | None = None,
) -> tuple[Prepared, Calibration]:
    """Return what is calibrated: the cohort, from its starting values if nothing else is said, and its file.

    ``folder``: where it may be written, cohort and time to be filled in; None: nothing is written, and keys of Hydra's
    own are refused. ``composed``: called before anything is declared. Raises ConfigError.
    """
    chosen, others = _taken(overrides, GROUP)
    if not any(text.startswith("parameters=") for text in others):
        others.append(STARTING_VALUES)
    prepared = prepare(
        others, config_dir=config_dir, output=folder or False, hydra=folder is not None, composed=composed
    )
    return prepared, declaration(chosen or prepared.cohort, config_dir=config_dir)


def _taken(overrides: Sequence[str], key: str) -> tuple[str, list[str]]:
    """Return the value of a key of this command's own, empty if it is not given, and all other texts."""
    chosen = [text.partition("=")[2] for text in overrides if text.startswith(f"{key}=")]
    if len(chosen) > 1:
        raise ConfigError(Problem(key, ", ".join(chosen), "is given twice; keep one"))
    return (chosen[0] if chosen else ""), [text for text in overrides if not text.startswith(f"{key}=")]


def declaration(name: str, *, config_dir: str | os.PathLike[str] | None = None) -> Calibration:
    """Return the calibration file of this name. Raises ConfigError."""
    files = _files(config_dir)
    if name not in files:
        raise ConfigError(unknown(GROUP, name, files, what="calibration file"))
    path, label = files[name]
    return load(read(path, label=label).content)


def _files(config_dir: str | os.PathLike[str] | None) -> dict[str, tuple[Path, str]]:
    """Return every calibration file by its name, shipped ones first; refuse one of a shipped name."""
    shipped = {p.stem: (p, f"configs/{GROUP}/{p.name}") for p in sorted((shipped_folder() / GROUP).glob("*.yaml"))}
    if config_dir is None:
        return shipped
    library = open_library(config_dir)
    if library.own is None:
        return shipped
    folder = library.own / GROUP
    own = {path.stem: (path, f"{library.own_label}/{GROUP}/{path.name}") for path in sorted(folder.glob("*.yaml"))}
    for name in own.keys() & shipped.keys():
        allowed = "has the name of a shipped file; give it a name of its own"
        raise ConfigError(Problem("--config-dir", own[name][1], allowed))
    return shipped | own
