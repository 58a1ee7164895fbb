"""Everything that can be refused is refused here, all at once, before any work and any folder."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import MISSING, ConfigError, DeclarationWarning, Problem, nearest, unknown

if TYPE_CHECKING:
    from simulator.configuration.compose import Composition
    from simulator.configuration.library import Library
    from simulator.configuration.overrides import Overrides
    from simulator.experiment.schema import Experiment


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


def prepare(
    texts: Sequence[str],
    *,
    config_dir: str | os.PathLike[str] | None = None,
    output: bool | str = False,
    hydra: bool = True,
    composed: Callable[[], None] | None = None,
) -> Prepared:
    """Check everything and return the experiment.

    With `output`, also where it may be written: the folder that the primary configuration names, or this one, both
    with cohort and time to be filled in. Without `hydra`, keys of Hydra's own are refused. ``composed`` is called when
    files and overrides have been read without a problem, before anything is declared.

    Raises
    ------
    ConfigError
        With every problem found: of the arguments, the files, the declaration and the output folder.
    """
    from simulator.configuration.overrides import read_overrides

    library = open_library(config_dir)
    made = read_overrides(texts, library)
    problems = [*library.problems(), *made.problems]
    composition = None
    if not misleads(problems, library):
        from simulator.configuration.parameters import composed_with_parameters

        try:
            composition = composed_with_parameters(library, made)
        except ConfigError as error:
            problems += error.problems
    problems += unknown_roots(made, library, composition.container if composition else {})
    cohort = composition.choices["cohort"] if composition else ""
    folder = None
    if output and composition:
        template = output if isinstance(output, str) else str(library.primary["hydra"]["run"]["dir"])
        folder, refused = _output_folder(made, _filled(template, cohort))
        problems += refused
    if not hydra:
        problems += [Problem(key, value, "belongs to the command line; leave it out")
                     for key, value in made.hydra.items()]  # fmt: skip
    experiment = None
    if composition:
        if composed is not None and not problems:
            composed()
        experiment, refused = declared(composition, made.texts)
        problems += refused
    if problems:
        raise ConfigError(list({str(problem): problem for problem in problems}.values()))
    if composition is None or experiment is None:
        raise RuntimeError("nothing was composed and nothing was wrong")
    return Prepared(
        container=composition.container,
        experiment=experiment,
        cohort=cohort,
        overrides=tuple(made.texts),
        parameters=composition.choices.get("parameters") if "parameters" not in library.given else None,
        folder=folder,
        verbose=made.hydra.get("hydra.verbose", "false"),
    )


def declared(composed: Composition, texts: Sequence[str]) -> tuple[Experiment | None, list[Problem]]:
    """Return the experiment of a composition that these overrides were set in, and every problem of it."""
    from simulator.experiment.schema import declare

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
    """Return the configurations there are: the shipped ones, and those of a folder of one's own.

    `config_dir` may be a file of such a folder, ``FOLDER/NAME.yaml``: the primary configuration, in the place of the
    shipped one. Raises ConfigError where it is empty, or there is no such file.
    """
    from simulator.configuration.library import PRIMARY, Library

    if config_dir is None:
        return Library()
    label = os.fspath(config_dir)
    if not label:
        raise ConfigError(Problem("--config-dir", MISSING, "needs a folder"))
    own, primary = Path(label).expanduser(), PRIMARY
    if own.suffix == ".yaml" and not own.is_dir():
        if not own.is_file():
            there = [path.stem for path in own.parent.glob("*.yaml")]
            raise ConfigError(Problem("--config-name", own.stem, f"there is no {label}", nearest(own.stem, there)))
        own, primary, label = own.parent, own.stem, label.rpartition("/")[0] or "."
    if own.exists() and own.resolve() == Library().shipped.resolve():
        return Library()
    return Library(own=own, own_label=label.rstrip("/\\") or label, primary_name=primary)


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
