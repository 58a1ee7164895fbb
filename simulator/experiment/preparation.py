"""Everything that can be refused is refused here, all at once, before any work and any folder.

Knows arguments, the order of checks and where a run may write; imports neither xarray nor matplotlib.
"""

from __future__ import annotations

import argparse
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem, nearest, unknown

if TYPE_CHECKING:
    from simulator.cli.compose import Composition, Library
    from simulator.cli.overrides import Overrides
    from simulator.declaration.schema import Experiment

RUN, EXPLAIN, EVIDENCE, REPORT, VERIFY = "run", "explain", "evidence", "report", "verify"
COMMANDS = (EXPLAIN, EVIDENCE, REPORT, VERIFY)
OF_RESULTS = (REPORT, VERIFY)
"""Commands that take the path of results, and nothing else."""

_REFUSED_OPTIONS = {
    ("--config-path", "-cp", "--config-name", "-cn"): "cannot be set; your own files go into a folder given "
    "with --config-dir",
    ("--hydra-help", "--info", "-i", "--shell-completion", "-sc", "--resolve", "--package", "-p",
     "--experimental-rerun"): "is an option of Hydra's that is not offered here; see --help",
}  # fmt: skip
_TAKES = "takes one path: a results.nc, or the folder that holds one"
_OPTIONS = ("--help", "--version", "--cfg", "--config-dir", "--multirun", "--dry-run")


@dataclass(frozen=True)
class Arguments:
    """The command line, taken apart but not yet judged."""

    command: str = RUN
    overrides: tuple[str, ...] = ()
    config_dir: str | None = None
    cfg: bool = False
    help: bool = False
    version: bool = False
    multirun: bool = False
    dry: bool = False


@dataclass(frozen=True)
class Prepared:
    """A valid experiment and what belongs to running it."""

    container: dict[str, Any]
    experiment: Experiment
    cohort: str
    overrides: tuple[str, ...]
    parameters: str | None = None  # name of the file of parameters that was taken; None if it was given by a path
    folder: Path | None = None
    verbose: str = "false"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(_option_problem(message))


def read_arguments(argv: Sequence[str]) -> Arguments:
    """Take a command line apart. Raises ConfigError."""
    for argument in argv:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise ConfigError(Problem("argument", ascii(argument), "is not UTF-8 text"))
    given = dict.fromkeys(argument.partition("=")[0] for argument in argv)
    if barred := [option for option in given if any(option in options for options in _REFUSED_OPTIONS)]:
        raise ConfigError([_option_problem(option) for option in barred])
    parser = _Parser(prog="python -m simulator", add_help=False, allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--dry-run", dest="dry", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--cfg", "-c")
    parser.add_argument("--config-dir", "-cd", dest="config_dir")
    known, rest = parser.parse_known_intermixed_args(list(argv))
    problems = [_option_problem(argument) for argument in rest]
    words: list[str] = known.words
    if words[:1] and words[0] in OF_RESULTS:  # a folder may be called like a command
        commands, words = words[:1], words[1:]
    else:
        commands = [word for word in words if word in COMMANDS]
        words = [word for word in words if word not in COMMANDS]
    command = commands[0] if commands else RUN
    if len(commands) > 1:
        problems.append(Problem(" ".join(commands), MISSING, "one command at a time"))
    if known.cfg not in (None, "job"):
        problems.append(Problem("--cfg", known.cfg, "must be job: the composed configuration"))
    if known.multirun and commands:
        problems.append(Problem("--multirun", MISSING, f"sweeps simulations; {command} takes one scenario"))
    if known.dry and not known.multirun:
        problems.append(Problem("--dry-run", MISSING, "belongs to a sweep: add --multirun"))
    if command in OF_RESULTS and len(words) != 1:
        problems.append(Problem(command, " ".join(words) or MISSING, _TAKES))
    if command in OF_RESULTS:
        for option, given in (("--cfg", known.cfg), ("--config-dir", known.config_dir)):
            if given is not None:
                problems.append(Problem(option, given, f"says nothing of finished results; {command} {_TAKES}"))
    if problems and not (known.help or known.version):
        raise ConfigError(problems)
    return Arguments(
        command,
        tuple(words),
        known.config_dir,
        cfg=bool(known.cfg),
        help=known.help,
        version=known.version,
        multirun=known.multirun,
        dry=known.dry,
    )


def _option_problem(said: str) -> Problem:
    """Return the problem of an option, or of what argparse says of one."""
    if found := re.match(r"argument (\S+?)(?:/\S+)*: expected one argument", said):
        example = "--cfg job" if "cfg" in found[1] else "--config-dir FOLDER"
        return Problem(found[1], MISSING, f"needs a value: {example}")
    if said.startswith("-"):
        option = said.partition("=")[0]
        for options, allowed in _REFUSED_OPTIONS.items():
            if option in options:
                return Problem(option, MISSING, allowed)
        known = f"unknown option; known: {', '.join(_OPTIONS)}"
        return Problem(option, MISSING, known, nearest(option, _OPTIONS))
    return Problem("arguments", MISSING, said)


def prepare(
    texts: Sequence[str],
    *,
    config_dir: str | os.PathLike[str] | None = None,
    output: bool | str = False,
    hydra: bool = True,
) -> Prepared:
    """Check everything and return the experiment.

    With `output`, also where it may be written: the folder that the primary configuration names, or this one, both
    with cohort and time to be filled in. Without `hydra`, keys of Hydra's own are refused.

    Raises
    ------
    ConfigError
        With every problem found: of the arguments, the files, the declaration and the output folder.
    """
    from simulator.cli.overrides import read_overrides

    library = open_library(config_dir)
    made = read_overrides(texts, library, commands=COMMANDS)
    problems = [*library.problems(), *made.problems]
    composed = None
    if not misleads(problems, library):
        from simulator.cli.parameters import composed_with_parameters

        try:
            composed = composed_with_parameters(library, made)
        except ConfigError as error:
            problems += error.problems
    problems += unknown_roots(made, library, composed.container if composed else {})
    cohort = composed.choices["cohort"] if composed else ""
    folder = None
    if output and composed:
        template = output if isinstance(output, str) else str(library.primary["hydra"]["run"]["dir"])
        folder, refused = _output_folder(made, _filled(template, cohort))
        problems += refused
    if not hydra:
        problems += [Problem(key, value, "belongs to the command line; leave it out")
                     for key, value in made.hydra.items()]  # fmt: skip
    experiment = None
    if composed:
        experiment, refused = declared(composed, made.texts)
        problems += refused
    if problems:
        raise ConfigError(list({str(problem): problem for problem in problems}.values()))
    if composed is None or experiment is None:
        raise RuntimeError("nothing was composed and nothing was wrong")
    return Prepared(
        container=composed.container,
        experiment=experiment,
        cohort=cohort,
        overrides=tuple(made.texts),
        parameters=composed.choices.get("parameters") if "parameters" not in library.given else None,
        folder=folder,
        verbose=made.hydra.get("hydra.verbose", "false"),
    )


def declared(composed: Composition, texts: Sequence[str]) -> tuple[Experiment | None, list[Problem]]:
    """Return the experiment of a composition that these overrides were set in, and every problem of it."""
    from simulator.declaration.schema import declare

    problems = list(_unknown_strata(composed))
    try:
        experiment = declare(composed.container, overrides=texts)
    except ConfigError as error:
        return None, problems + list(error.problems)
    for key, names in composed.flattened.items():
        if set(names) == set(experiment.cohort.strata):
            warnings.warn(_flattening(key, names), DeclarationWarning, stacklevel=2)
    return experiment, problems + list(_unknown_parameters(composed.new, experiment))


def _flattening(key: str, names: Sequence[str]) -> str:
    each = ", ".join(f"{name}: …" for name in names)
    said = f"{key} is set to one value for all of {', '.join(names)}; for one of them write {key}.{names[0]}=…"
    return f"{said}, for each {key}={{{each}}}"


def open_library(config_dir: str | os.PathLike[str] | None) -> Library:
    """Return the configurations there are. Raises ConfigError on an empty `config_dir`."""
    from simulator.cli.compose import Library

    if config_dir is None:
        return Library()
    label = os.fspath(config_dir)
    if not label:
        raise ConfigError(Problem("--config-dir", MISSING, "needs a folder"))
    own = Path(label).expanduser()
    if own.exists() and own.resolve() == Library().shipped.resolve():
        return Library()
    return Library(own=own, own_label=label.rstrip("/\\") or label)


def misleads(problems: Iterable[Problem], library: Library) -> bool:
    """Whether composing on would be about another cohort, or other files, than were asked for."""
    return any(problem.key == "--config-dir" or problem.key in library.groups for problem in problems)


def unknown_roots(made: Overrides, library: Library, container: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problems of keys that begin with nothing known, with the nearest of those that are valid."""
    valid = list(_keys(container))
    for key, value in made.unknown_roots:
        head, *rest = key.split(".")
        near = nearest(head, library.root_keys)
        if near is not None and rest:
            near = ".".join((near, *rest))
        if near is None:
            last = [name for name in valid if name.endswith(f".{key}")]
            near = last[0] if last else nearest(key, valid)
        problem = unknown(key, value, library.root_keys, what="key")
        yield Problem(key, value, problem.allowed.replace("known:", "keys begin with:"), near)


def _unknown_strata(composed: Composition) -> Iterator[Problem]:
    """Yield shares of strata that the cohort does not have: a stratum is declared, not set."""
    cohort = composed.container.get("cohort")
    mix = cohort.get("mix") if isinstance(cohort, Mapping) else None
    if not isinstance(mix, Mapping):
        return  # the schema says so
    known = [name for name in mix if f"cohort.mix.{name}" not in composed.new]
    for key in composed.new:
        if key.startswith("cohort.mix."):
            yield unknown(key, key.removeprefix("cohort.mix."), known, what="stratum of this cohort")


def _unknown_parameters(new: Sequence[str], experiment: Experiment) -> Iterator[Problem]:
    """Yield parameters that no file has, no declaration uses, and only a slip of the hand can have set."""
    for key in new:
        path = key.removeprefix("parameters.")
        if key != path and any(f"{unused}.".startswith(f"{path}.") for unused in experiment.unused):
            known = [f"parameters.{name}" for name in experiment.parameters if name not in experiment.unused]
            allowed = "unknown parameter: no declaration of this cohort uses it"
            yield Problem(key, MISSING, allowed, nearest(key, known))


def _keys(container: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield the dotted keys a user may set: all but those of evidence and model."""
    for key, value in container.items():
        if not before and key in ("evidence", "model"):
            continue
        yield f"{before}{key}"
        if isinstance(value, Mapping) and "value" not in value:
            yield from _keys(value, f"{before}{key}.")


def _output_folder(made: Overrides, usual: str) -> tuple[Path | None, list[Problem]]:
    """Return where a run writes, or why it cannot. Creates nothing."""
    key = "hydra.run.dir"
    shown = made.hydra.get(key, usual)
    try:
        folder = Path(shown).expanduser()
        if folder.is_dir():
            inside = list(folder.iterdir())
            if len(inside) == 1 and inside[0].is_file() and not inside[0].stat().st_size:
                return None, [Problem(key, shown, "is taken by a run that goes on or was killed: if none goes on, "
                                      f"remove the empty {inside[0].name} in it, or name a new folder")]  # fmt: skip
            if inside:
                return None, [Problem(key, shown, "is not empty; name a new folder, or leave it out for one "
                                      "named after the time")]  # fmt: skip
            lacks = not os.access(folder, os.W_OK | os.X_OK)
        else:
            above = folder
            while not (above.exists() or above.is_symlink()):
                above = above.parent
            if above == folder or not above.is_dir():
                return None, [Problem(key, shown, f"{above} is a file, so no folder can be made there")]
            lacks = not os.access(above, os.W_OK | os.X_OK)
            longest = os.pathconf(above, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
            if any(len(os.fsencode(part)) > longest for part in folder.parts):
                return None, [Problem(key, shown, f"has a name of more than {longest} bytes")]
    except (OSError, RuntimeError, ValueError) as error:
        return None, [Problem(key, shown, f"cannot be used: {getattr(error, 'strerror', None) or error}")]
    if lacks:
        allowed = "cannot be written to: no permission; set hydra.run.dir to a folder of your own"
        return None, [Problem(key, shown, allowed)]
    return folder, []


def _filled(template: str, cohort: str) -> str:
    """Fill in cohort and time, the two things that the default folder may name."""
    named = template.replace("${hydra:runtime.choices.cohort}", cohort)
    return re.sub(r"\$\{now:([^}]*)\}", lambda match: datetime.now().strftime(match[1]), named)
