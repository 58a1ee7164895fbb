"""Finding configurations and composing one with Hydra.

Knows groups, files, defaults lists and the order of merging; knows no key of a model. Hydra resolves the
defaults lists; the files themselves are read by `files`, so that no interpolation, resolver or `_target_`
ever reaches Hydra, and merged as plain dictionaries, as OmegaConf merges untyped ones. Nothing global is
needed or changed: no GlobalHydra, no plugin registry, no ConfigStore, no resolver.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hydra import version
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from simulator.configuration.files import ConfigFile
from simulator.configuration.layers import SET_BY_USER, is_leaf, laid_over_leaf, replaces
from simulator.configuration.library import COHORT, NAMED_BY_COHORT, PARAMETERS, PRIMARY, Library
from simulator.errors import MISSING, ConfigError, Problem, unknown

HYDRA_VERSION_BASE = "1.3"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_Entries = list[Any]  # a ConfigSource must have a method named list
_Names = list[str]

_LOCK = threading.RLock()


@dataclass(frozen=True)
class Composition:
    """A composed configuration, which file each group took, and which keys no file has."""

    container: dict[str, Any]
    choices: dict[str, str]
    new: tuple[str, ...] = ()
    flattened: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys at which one value was set in the place of several, and the names of those."""


def compose(library: Library, choices: Mapping[str, str], values: Sequence[tuple[str, Any]]) -> Composition:
    """Compose: `choices` of files by group, then `values` by dotted key, in order.

    Raises
    ------
    ConfigError
        With every problem of the files taken, or of the keys that cannot be set.
    """
    return with_values(compose_files(library, choices), values)


def with_values(composed: Composition, values: Sequence[tuple[str, Any]]) -> Composition:
    """Set `values` by dotted key, in order, in a composition; that one stays as it is. Raises ConfigError."""
    container: dict[str, Any] = dict(composed.container)
    new = tuple(key for key, _ in values if not _has(container, key))
    flattened = {key: names for key, value in values if (names := _flattened(container, key, value))}
    # a value set by hand takes with it what was said of the old one, never what is set by hand beside it
    ordered = sorted(values, key=lambda item: not _is_value(item[0]))
    problems = [problem for key, value in ordered if (problem := _set(container, key, value))]
    if problems:
        raise ConfigError(problems)
    return Composition(container, composed.choices, (*composed.new, *new), {**composed.flattened, **flattened})


def compose_files(library: Library, choices: Mapping[str, str]) -> Composition:
    """Compose the files that a choice by group takes. Raises ConfigError with every problem of theirs."""
    source = _LibrarySource(library)
    try:
        with hydra_lock():
            parser = OverridesParser.create()
            resolved = create_defaults_list(
                repo=_Repository(source),
                config_name=PRIMARY,
                overrides_list=parser.parse_overrides([f"{group}={name}" for group, name in choices.items()]),
                prepend_hydra=False,
                skip_missing=False,
            )
    except RecursionError:
        cohort = choices.get(COHORT, "the default cohort")
        source.problems.append(Problem(f"defaults lists of {cohort}", MISSING, "two files name each other"))
    except (HydraException, ValueError, AssertionError) as error:
        if not source.problems:
            source.problems.append(_defaults_problem(str(error), choices))
    if source.problems:
        raise ConfigError(source.problems)
    from simulator.configuration.closeness import Closeness  # reads declarations, which bad input need not wait for

    container: dict[str, Any] = {}
    closeness = Closeness(library, choices)
    for default in resolved.defaults:
        assert default.config_path is not None  # Hydra's type allows a placeholder that it never returns
        content = source.content(default.config_path)
        closeness.take(default.config_path, content)
        for step in reversed(default.package.split(".") if default.package else []):
            content = {step: content}
        container = _merged(container, content, f"set in {default.config_path}.yaml")
    taken = {group: str(name) for group, name in resolved.overrides.known_choices.items() if name}
    if problems := _missing(taken, container, library):
        raise ConfigError(problems)
    return Composition(closeness.told(container), taken)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any], whose: str, *, leaves: bool = False) -> dict[str, Any]:
    """Merge as OmegaConf does: mappings key by key, anything else replaced; the first order of keys stays.

    Two things differ: a distribution replaces another one, where Hydra would leave two keys; and of a parameter whose
    value changes nothing stays that was said of the old value. ``leaves``: these are parameters. ``whose``: `above` is.
    """
    if replaces(above, below):
        return dict(above)
    made = dict(below)
    for key, value in above.items():
        old, parameters = made.get(key), leaves or key == PARAMETERS
        if leaves and is_leaf(old) and value is not None:
            made[key] = laid_over_leaf(old, value, whose, by_hand=whose == SET_BY_USER)
        elif isinstance(old, dict) and isinstance(value, dict):
            made[key] = _merged(old, value, whose, leaves=parameters)
        else:
            made[key] = value
    return made


def _has(container: Mapping[str, Any], key: str) -> bool:
    node: Any = container
    for step in key.split("."):
        if not isinstance(node, Mapping) or step not in node:
            return False
        node = node[step]
    return True


def _is_value(key: str) -> bool:
    return key.startswith(f"{PARAMETERS}.") and "value" in key.split(".")


def _flattened(container: Mapping[str, Any], key: str, value: Any) -> tuple[str, ...]:
    """Return the names below a parameter that one value is set in the place of."""
    node: Any = container
    for step in key.split("."):
        node = node.get(step) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping) and isinstance(node.get("value"), Mapping):
        node = node["value"]
    one = key.startswith("parameters.") and not isinstance(value, Mapping)
    return tuple(map(str, node)) if one and isinstance(node, Mapping) and "value" not in node else ()


def _set(container: dict[str, Any], key: str, value: Any) -> Problem | None:
    """Set one dotted key; new keys are made, for the schema to judge.

    What lies on the way is copied, so that nothing below a key that is not set belongs to this container alone.
    """
    *steps, last = key.split(".")
    node: Any = container
    leaves = steps[:1] == [PARAMETERS]
    for number, step in enumerate([*steps, last]):
        shown = ".".join(key.split(".")[:number])
        if isinstance(node, list):
            if not step.isdigit() or int(step) >= len(node):
                return Problem(key, MISSING, f"{shown} is a list of {len(node)}: "
                               f"its items are {shown}.0 to {shown}.{len(node) - 1}")  # fmt: skip
        elif not isinstance(node, dict):
            return Problem(key, value, f"{shown} is the single value {node!r} and has no keys below it")
        elif (
            leaves
            and number < len(steps)
            and is_leaf(node.get(step))
            and "value" in (rest := [*steps[number + 1 :], last])
        ):
            for below in reversed(rest):
                value = {below: value}
            node[step] = laid_over_leaf(node[step], value, SET_BY_USER, by_hand=True)
            return None
        if number == len(steps):
            break
        here: Any = int(step) if isinstance(node, list) else step
        below = node[here] if isinstance(node, list) else node.get(here, {})
        node[here] = below.copy() if isinstance(below, dict | list) else below
        node = node[here]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        old = node.get(last)
        both = isinstance(old, dict) and isinstance(value, dict)
        made = _merged({last: old}, {last: value}, SET_BY_USER, leaves=leaves) if both else {last: value}
        node[last] = made[last]
    return None


def _missing(taken: Mapping[str, str], made: Mapping[str, Any], library: Library) -> list[Problem]:
    absent = [group for group in NAMED_BY_COHORT if group not in taken and group not in made]
    if not absent:
        return []
    label = library.file(f"{COHORT}/{taken[COHORT]}").label
    lines = ", ".join(f"'- /{group}: <name>'" for group in absent)
    return [Problem(label, MISSING, f"its defaults list must name {', '.join(absent)}: add {lines}")]


def _defaults_problem(said: str, choices: Mapping[str, str]) -> Problem:
    """Say in a modeler's words what Hydra found wrong with the defaults lists as a whole."""
    lists = f"defaults lists of {choices.get(COHORT, 'the default cohort')}"
    if found := re.search(r"Multiple values for (\w+)", said):
        group = found[1]
        return Problem(lists, group, "is named twice with different files; in the list that builds on "
                       f"another file write '- override /{group}: <name>', last")  # fmt: skip
    if found := re.search(r"(\w+) appears more than once", said):
        return Problem(lists, found[1], "is named twice; keep one")
    if found := re.search(r"Could not override '(\w+)", said):
        group = found[1]
        if group in choices:
            allowed = f"the cohort names no {group}: add '- /{group}: <name>' to its defaults list"
            return Problem(group, choices[group], allowed)
        return Problem(lists, f"override /{group}", "no list names one to override; leave out 'override'")
    return Problem(lists, MISSING, "cannot be put together; see the shipped cohorts for how one is written")


class _Repository(ConfigRepository):
    """Hydra's repository over one source, each file loaded once."""

    def __init__(self, source: ConfigSource) -> None:
        self.sources = [source]
        self._loaded: dict[str, ConfigResult | None] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self._loaded:
            self._loaded[config_path] = super().load_config(config_path)
        return self._loaded[config_path]


class _LibrarySource(ConfigSource):
    """Gives Hydra the defaults lists of a library; keeps the contents, and collects the problems."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.provider = "lobule"
        self.path = ""
        self.problems: list[Problem] = []
        self._contents: dict[str, dict[str, Any]] = {}

    def content(self, config_path: str) -> dict[str, Any]:
        return self._contents[config_path]

    @staticmethod
    def scheme() -> str:
        return "lobule"

    def load_config(self, config_path: str) -> ConfigResult:
        defaults: list[Any] = []
        content: dict[str, Any] = {}
        try:
            file = self.library.file(config_path)
            content = {key: value for key, value in file.content.items() if key != "defaults"}
            if config_path == PRIMARY:
                content.pop("hydra", None)
            if "defaults" in file.content:
                defaults = self._defaults(file, config_path)
        except ConfigError as error:
            self.problems += error.problems
        self._contents[config_path] = content
        config = OmegaConf.create({"defaults": defaults})
        return ConfigResult(self.provider, self.path, config, {"package": None})

    def _defaults(self, file: ConfigFile, config_path: str) -> _Entries:
        """Return a defaults list in Hydra's absolute form: what is wrong with it is collected and left out.

        A group that a cohort names belongs at the root, not below the cohort where Hydra would put it.
        """
        given = file.content["defaults"]
        if not isinstance(given, list):
            self.problems.append(Problem(file.where("defaults"), MISSING, "defaults must be a list"))
            return []
        group = config_path.rpartition("/")[0]
        made: list[Any] = []
        overriding = False
        for number, entry in enumerate(given):
            where = file.where("defaults", number)
            if entry == "_self_" and entry not in made:
                made.append(entry)
            elif isinstance(entry, str) and _NAME.fullmatch(entry) and group and not overriding:
                if self._known(where, group, entry):
                    made.append(entry)
            elif isinstance(entry, dict) and len(entry) == 1:
                ((key, name),) = entry.items()
                match = re.fullmatch(r"(override )?/?(\w+(?:/\w+)?)(?:@(?:_global_\.)?(\w+))?", key)
                if not group and key.startswith("override hydra/"):
                    continue  # settings of Hydra's own main, which is not in use here
                if not match or match[3] not in (None, match[2]) or (overriding and not match[1]):
                    self.problems.append(Problem(where, f"{key}: {name}", _ENTRY))
                elif match[2] not in self.library.groups:
                    self.problems.append(unknown(where, match[2], self.library.groups, what="group"))
                elif self._known(where, match[2], name):
                    overriding = bool(match[1])
                    made.append({f"{match[1] or ''}/{match[2]}@_global_.{match[2]}": name})
            else:
                self.problems.append(Problem(where, entry, _ENTRY))
        return made

    def _known(self, where: str, group: str, name: object) -> bool:
        options = self.library.options(group)
        if isinstance(name, str) and name in options:
            return True
        self.problems.append(unknown(where, str(name), options, what=group))
        return False

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", *self.library.groups)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.rpartition("/")
        if not group:
            return name == PRIMARY
        return group in self.library.groups and name in self.library.options(group)

    def available(self) -> bool:
        return True

    def list(self, config_path: str, results_filter: ObjectType | None) -> _Names:
        if not config_path:
            return [PRIMARY, *self.library.groups]
        return sorted(self.library.options(config_path))


_ENTRY = ("must be '_self_', '/<group>: <name>', the name of another file of the same folder, "
          "or, last, 'override /<group>: <name>'")  # fmt: skip


@contextmanager
def hydra_lock() -> Iterator[None]:
    """Hold Hydra's parser and singletons, made for one thread, for the milliseconds they are used."""
    with _LOCK, _version_base():
        yield


@contextmanager
def _version_base() -> Iterator[None]:
    """Give Hydra a version base while it is used, where its host has set none, and take it back."""
    holder: Any = version.VersionBase.instance()
    unset = holder.version_base
    if type(unset) is not object:  # Hydra 1.3 marks what is not set by a bare object; 1.4 always has a base
        yield
        return
    ours = holder.version_base = version._get_version(HYDRA_VERSION_BASE)
    try:
        yield
    finally:
        if holder.version_base is ours:
            holder.version_base = unset
