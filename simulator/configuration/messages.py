"""What pydantic found, in a modeler's words."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from simulator.errors import MISSING, Problem, nearest

_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
_QUOTES = "YAML reads NO, YES, ON and OFF as true or false: put it in quotes"
_WORDS = {
    "missing": "must be given",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
    "none_required": "must be left out",
    "union_tag_not_found": "must say which kind it is",
}
_LIMITS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}
_LENGTHS = {
    "too_short": ("min_length", "must have at least {} items"),
    "too_long": ("max_length", "must have at most {} items"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
}


_Model = TypeVar("_Model", bound=BaseModel)


class Wrong(ValueError):
    """Raised by a model's validator: problems whose keys are relative to the model ("" for the whole)."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True)
class _Branch:
    depth: int
    label: str
    container: bool


@dataclass(frozen=True)
class _Found:
    path: tuple[str, ...]
    branches: tuple[_Branch, ...]
    known: tuple[str, ...]
    type: str
    value: object
    allowed: str
    close: str | None = None
    key: bool = False


def problems_of(error: ValidationError, root: str, model: type[BaseModel], data: object = None) -> list[Problem]:
    """Return one problem for each thing wrong: key, value, what is allowed, nearest valid name.

    ``root`` is the dotted key at which ``model`` stands (may be empty). With ``data``, the input that was
    validated, items of lists are called by their ``id`` or ``name`` instead of their position.
    """
    found: list[_Found] = []
    for item in error.errors(include_url=False):
        place = _locate(item["loc"], model, data)
        value = item["input"]
        raised = item.get("ctx", {}).get("error")
        if isinstance(raised, Wrong):
            for problem in raised.problems:
                path = (*place.path, *([problem.key] if problem.key else ()))
                found.append(_Found(path, place.branches, (), "wrong", problem.value, problem.allowed, problem.nearest))
            continue
        kind = item["type"]
        allowed, close = _allowed(kind, item.get("ctx", {}), value, item["msg"], place)
        path = (*place.path[:-1], str(value)) if place.key else place.path
        if kind == "missing" or (kind == "value_error" and isinstance(value, Mapping)):
            value = MISSING
        found.append(_Found(path, place.branches, place.known, kind, value, allowed, close))
    return [
        Problem(".".join([*([root] if root else []), *one.path]), one.value, one.allowed, one.close)
        for one in _flattened(found, 0)
    ]


def _members(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation: unions and Annotated opened, None left out."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin is typing.Union or origin is types.UnionType:
        return [member for part in typing.get_args(annotation) for member in _members(part)]
    return [] if annotation is type(None) else [annotation]


def _fits(member: Any, label: str) -> bool:
    """Whether a label in pydantic's location means this member of a union."""
    if _is_model(member):
        tags = [tag for field in member.model_fields.values() for tag in _tags(field.annotation)]
        return label == member.__name__ or label in tags
    if isinstance(member, type) and typing.get_origin(member) is None:
        return member.__name__ in re.split(r"\W+", label) and not re.match(r"(list|dict|tuple)\[", label)
    origin = typing.get_origin(member)
    return isinstance(origin, type) and label.startswith(f"{origin.__name__}[")


def _tags(annotation: Any) -> list[Any]:
    return list(typing.get_args(annotation)) if typing.get_origin(annotation) is typing.Literal else []


def _is_model(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, BaseModel)


def _locate(loc: Sequence[int | str], model: type[BaseModel], data: object) -> _Found:
    """Turn pydantic's location into dotted keys, setting aside the labels of union branches."""
    path: list[str] = []
    branches: list[_Branch] = []
    candidates: list[Any] = [model]
    known: tuple[str, ...] = ()
    for element in loc:
        if element == "[key]":
            continue
        if len(candidates) > 1 and isinstance(element, str):
            chosen = [member for member in candidates if _fits(member, element)]
            container = any(_is_model(m) or typing.get_origin(m) in (dict, list, tuple) for m in chosen)
            branches.append(_Branch(len(path), element, container))
            candidates = chosen[:1]
            continue
        inside, known = _inside(candidates, element)
        candidates = inside
        data = _entered(data, element)
        path.append(_called(element, data))
    return _Found(tuple(path), tuple(branches), known, "", MISSING, "", key=loc[-1:] == ("[key]",))


def _inside(candidates: list[Any], element: int | str) -> tuple[list[Any], tuple[str, ...]]:
    """Return what may stand under a key, and the keys its level knows."""
    for member in candidates:
        if _is_model(member):
            fields = member.model_fields
            known = tuple(field.alias or name for name, field in fields.items())
            by_key = {field.alias or name: field.annotation for name, field in fields.items()}
            return _members(by_key[element]) if element in by_key else [], known
        arguments = typing.get_args(member)
        if typing.get_origin(member) is not None and arguments:
            return _members(arguments[-1] if arguments[-1] is not ... else arguments[0]), ()
    return [], ()


def _entered(data: object, element: int | str) -> object:
    if isinstance(data, Mapping):
        return data.get(element)
    if isinstance(data, Sequence) and not isinstance(data, str) and isinstance(element, int):
        return data[element] if element < len(data) else None
    return None


def _called(element: int | str, item: object) -> str:
    if isinstance(element, int) and isinstance(item, Mapping):
        for key in ("id", "name"):
            if isinstance(item.get(key), str):
                return str(item[key])
    return str(element)


def _allowed(
    kind: str, context: Mapping[str, Any], value: object, message: str, place: _Found
) -> tuple[str, str | None]:
    """Return what is allowed in plain words, and the nearest valid name where one is close."""
    if kind == "extra_forbidden":
        key = place.path[-1]
        return f"unknown key; known: {', '.join(sorted(place.known))}", nearest(key, place.known)
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", message)), None
    if kind == "invalid_key":
        return "a key must be text: put it in quotes", None
    if kind in _LIMITS:
        key, sign = _LIMITS[kind]
        return f"must be {sign} {context[key]:g}", None
    if kind in _LENGTHS:
        key, words = _LENGTHS[kind]
        return "must not be empty" if context[key] == 1 else words.format(context[key]), None
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        names = re.findall(r"'([^']*)'", str(context.get("expected", context.get("expected_tags", ""))))
        listed = ", ".join(names) or context.get("expected", "a known name")
        tried = context.get("tag", value)
        return f"must be one of: {listed}", nearest(tried, names) if isinstance(tried, str) else None
    if kind == "string_pattern_mismatch":
        if context.get("pattern") == _NAME:
            return "must be a name: a letter, then letters, digits and underscores", None
        return f"must match the pattern {context.get('pattern')}", None
    if kind == "string_type" and isinstance(value, bool):
        return f"must be text; {_QUOTES}", None
    if kind == "string_type" and isinstance(value, (int, float)) and place.key:
        return "must be a name; YAML read a number, as it does from 49:17:15: begin it with a letter", None
    if kind == "string_type" and isinstance(value, (int, float)):
        return "must be text; YAML read a number (10:30 too is one): put it in quotes", None
    if kind in ("int_type", "float_type") and isinstance(value, str):
        return f"{_WORDS[kind]}, not text", None
    if kind in _WORDS:
        return _WORDS[kind], None
    return re.sub(r"^(Input|Value|String|List|Dictionary) should", "must", message), None


def _flattened(found: Sequence[_Found], level: int) -> list[_Found]:
    """Return one line for each union instead of one for each of its branches."""
    result: list[_Found] = []
    unions: dict[tuple[str, ...], list[_Found]] = {}
    for one in found:
        if len(one.branches) <= level:
            result.append(one)
            continue
        key = one.path[: one.branches[level].depth]
        if key not in unions:
            unions[key] = []
            result.append(one)  # holds the place of the union among the problems
        unions[key].append(one)
    return [line for one in result for line in _lines(one, unions, level)]


def _lines(one: _Found, unions: Mapping[tuple[str, ...], list[_Found]], level: int) -> list[_Found]:
    if len(one.branches) <= level:
        return [one]
    key = one.path[: one.branches[level].depth]
    branches: dict[str, list[_Found]] = {}
    for member in unions[key]:
        branches.setdefault(member.branches[level].label, []).append(member)
    ranked = {label: min(_rank(member, level) for member in members) for label, members in branches.items()}
    best = min(ranked.values())
    chosen = [branches[label] for label in branches if ranked[label] == best]
    if best == 0:
        return _flattened(min(chosen, key=len), level + 1)
    if len(chosen) == 1:
        return _flattened(chosen[0], level + 1)
    parts = [member.allowed.removeprefix("must be ").partition("; ") for part in chosen for member in part]
    words = list(dict.fromkeys(head for head, _, _ in parts))
    hint = next((f"; {hint}" for _, _, hint in parts if hint), "")
    if "a number" in words and "a whole number" in words:
        words.remove("a whole number")
    text = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    return [_Found(key, (), (), "union", one.value, f"must be {text}{hint}", one.close)]


def _rank(one: _Found, level: int) -> int:
    """0: the branch of the right shape with something wrong inside; 1: of the right type; 2: another type."""
    branch = one.branches[level]
    wrong_type = one.type.endswith("_type")
    if len(one.path) > branch.depth or (branch.container and not wrong_type):
        return 0
    return 2 if wrong_type or isinstance(one.value, (Mapping, list, bool)) or one.value is MISSING else 1


def validated(kind: type[_Model], data: Any, root: str, problems: list[Problem]) -> _Model | None:
    """Return a declaration, or None with its problems added to those found so far."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems.extend(problems_of(error, root, kind, data))
        return None
