"""The reference of all configuration keys, from the schema itself: `python docs/schema_keys.py` prints it.

Knows how to read a declared model (fields, annotations, defaults, and the text below each field); knows no key by name.
`conf.py` puts it into `keys.md` when the site is built, and its tables of families and distributions into
`declaring.md`, so that no copy of them can grow old.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from calibration.schema import Calibration, Located, Positive
from simulator.configuration.fields import Declared, Expression, Kind, Name, Number, Text, Time
from simulator.evidence.evidence import EvidenceFile
from simulator.experiment.root import Root
from simulator.kernels.hazards import FAMILIES
from simulator.kernels.quantiles import DISTRIBUTIONS
from simulator.model.cohort import Cohort
from simulator.model.course import Course
from simulator.model.model import TABLES, Model
from simulator.model.study import Study
from simulator.units import DIMENSIONS

GROUPS: dict[str, tuple[type[Declared], str]] = {
    "": (Root, "Keys outside the groups"),
    "cohort": (Cohort, "cohort"),
    "model": (Model, "model"),
    "course": (Course, "course"),
    "study": (Study, "study"),
    "evidence": (EvidenceFile, "evidence"),
    "calibration": (Calibration, "calibration"),
}
"""What a configuration begins with: prefix of the keys → schema and heading."""

WORDS = {
    Name: "name",
    Text: "text",
    Time: "time",
    Number: "number",
    Positive: "number",
    Located: "number, or text with a unit",
    Expression: "expression",
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Any: "anything",
}
_ITEM = {
    "gt": "> {}",
    "ge": "≥ {}",
    "lt": "< {}",
    "le": "≤ {}",
    "min_length": "at least {}",
    "max_length": "at most {}",
}
_TABULATED = (
    ("piecewise_exponential", "sum of rate·time in each piece", "`msm::pexp`"),
    ("tabulated", "linear between the points, flat after the last", ""),
)


@dataclass
class Section:
    """A declared mapping: its schema and the places at which it may stand."""

    schema: type[Declared]
    places: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Key:
    """One key: its name, what may stand there, its default and its meaning, each as text for a table."""

    name: str
    type: str
    allowed: str
    default: str
    meaning: str


def sections() -> dict[str, list[Section]]:
    """Return the mappings that may stand in each group, outermost first, each once, with all of its places."""
    found: dict[type[Declared], Section] = {}
    by_group: dict[str, list[Section]] = {group: [] for group in GROUPS}

    def visit(schema: type[Declared], place: str, group: str) -> None:
        known = schema in found
        section = found.setdefault(schema, Section(schema))
        section.places.append(place)
        if not known:
            by_group[group].append(section)
            for name, hint in hints(schema).items():
                for inner, below in _schemas(hint):
                    visit(inner, f"{place}.{written(schema, name)}{below}".lstrip("."), group)

    for group, (schema, _) in GROUPS.items():
        visit(schema, group, group)
    return by_group


def keys(schema: type[Declared]) -> list[Key]:
    """Return the keys of a mapping, as declared."""
    meanings = meanings_of(schema)
    return [
        Key(written(schema, name), words(hint), _allowed(schema, name), _default(schema, name), meanings[name])
        for name, hint in hints(schema).items()
    ]


def kind_at(key: str) -> Kind | None:
    """Return how the numbers at a dotted key of a configuration are read, None where the schema does not say."""
    group, *path = key.split(".")
    hint: Any = GROUPS[group][0] if group in GROUPS else None
    kind = None
    for word in path:
        schema = next((schema for schema, below in _schemas(hint) if not below), None)
        if schema is not None:
            names = {written(schema, name): name for name in hints(schema)}
            if word not in names:
                return None
            hint = hints(schema)[names[word]]
            kind = _kind(hint)
        elif kind is None:
            hint = next((schema for schema, below in _schemas(hint) if below), None)
    return kind


@cache
def hints(schema: type[Declared]) -> dict[str, Any]:
    """Return the annotations of a schema's fields, those of the schema that it extends first."""
    every = get_type_hints(schema, include_extras=True)
    return {name: every[name] for name in schema.model_fields}


def written(schema: type[Declared], name: str) -> str:
    """Return a field's name as it is written in YAML."""
    return schema.model_fields[name].alias or name


@cache
def meanings_of(schema: type[Declared]) -> dict[str, str]:
    """Return the text below each field. KeyError, for whoever asks, where there is none."""
    found = {name: declared.description for name, declared in schema.model_fields.items() if declared.description}
    for owner in reversed(schema.__mro__):
        if not issubclass(owner, Declared) or owner is Declared:
            continue
        try:
            body = ast.parse(inspect.getsource(owner)).body[0].body
        except OSError:  # made of a table, which describes its fields
            continue
        for statement, after in pairwise(body):
            match statement, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def words(hint: Any) -> str:
    """Say in words what an annotation allows."""
    kind = _kind(hint)
    if kind is not None:
        by_name = get_origin(_bare(hint)) is dict
        said = f"distribution of: {kind.name}" if kind.distribution else f"{kind.name}, expression"
        return f"name → {said}" if by_name else said
    for part in (_given(hint), _bare(hint)):
        said = next((said for known, said in WORDS.items() if part == known), None)
        if said is not None:
            return said
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if inspect.isclass(hint) and issubclass(hint, Declared):
        return f"[mapping](#{anchor(hint)})"
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in inner)
    if origin is list:
        return f"list of: {words(inner[0])}"
    if origin is dict:
        return f"{words(inner[0])} → {words(inner[1])}"
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(words(part) for part in inner if part is not NoneType))
    raise TypeError(f"no words for {hint}")


def anchor(schema: type[Declared]) -> str:
    """Return the target that the section of a mapping has in the page."""
    return f"keys-of-{schema.__name__.lower()}"


def _given(hint: Any) -> Any:
    """Take None away: what stands there if something does."""
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(part for part in get_args(hint) if part is not NoneType)]  # noqa: UP007
    return hint


def _bare(hint: Any) -> Any:
    """Take away metadata and None."""
    given = _given(hint)
    return _bare(get_args(given)[0]) if get_origin(given) is Annotated else given


def _kind(hint: Any) -> Kind | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((part for part in get_args(hint)[1:] if isinstance(part, Kind)), None)


def _schemas(hint: Any, below: str = "") -> Iterator[tuple[type[Declared], str]]:
    """Yield the mappings within an annotation, each with what stands between: ``.NAME``, ``.N`` of a list."""
    hint = _bare(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if inspect.isclass(hint) and issubclass(hint, Declared):
        yield hint, below
    elif origin is list:
        yield from _schemas(inner[0], f"{below}.N")
    elif origin is dict:
        yield from _schemas(inner[1], f"{below}.NAME")
    elif origin in (Union, UnionType):
        for part in inner:
            yield from _schemas(part, below)


def _allowed(schema: type[Declared], name: str) -> str:
    """Say unit and range of a field's numbers."""
    hint, declared = hints(schema)[name], schema.model_fields[name]
    kind = _kind(hint)
    if kind is not None and kind.name in DIMENSIONS:
        return DIMENSIONS[kind.name].allowed.removeprefix("must be ")
    bounds = list(declared.metadata)
    for part in get_args(hint)[1:] if get_origin(hint) is Annotated else ():
        bounds += part.metadata if isinstance(part, FieldInfo) else []
    bare = _bare(hint)
    said = dict.fromkeys(
        text.format(_number(getattr(bound, what)))
        for bound in bounds
        for what, text in _ITEM.items()
        if getattr(bound, what, None) is not None and not (bare is str and what == "min_length")
    )
    return ", ".join(said)


def _number(value: float) -> str:
    return (
        f"2^{value.bit_length() - 1}" if isinstance(value, int) and value >= 2**31 else f"{value:,}".replace(",", " ")
    )


def _default(schema: type[Declared], name: str) -> str:
    declared = schema.model_fields[name]
    if declared.is_required():
        return "required"
    value = declared.default_factory() if declared.default is PydanticUndefined else declared.default
    if value is None or value in ([], {}):
        return "none"
    return (
        "its defaults" if isinstance(value, Declared) else f"`{value if isinstance(value, str) else json.dumps(value)}`"
    )


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page() -> str:
    """Return the whole reference, in Markdown."""
    parts = []
    for group, within in sections().items():
        title = GROUPS[group][1]
        for section in within:
            if section.places[0] == group:
                heading = f"## {f'`{title}`' if group else title}"
            else:
                heading = "### " + ", ".join(f"`{place}`" for place in section.places)
            said = inspect.cleandoc(section.schema.__doc__ or "").partition("\n\n")[0].replace("``", "`")
            parts.append(f"({anchor(section.schema)})=\n{heading}\n\n{' '.join(said.split())}")
            rows = [(f"`{k.name}`", k.type, k.allowed, k.default, k.meaning) for k in keys(section.schema)]
            parts.append(_table(("key", "type", "allowed", "default", "meaning"), rows))
    return "\n\n".join([*parts, *_numbers()])


def _numbers() -> Iterator[str]:
    """Yield the tables of kinds, distributions and families."""
    yield "## Kinds of numbers"
    rows = [(f"`{name}`", d.unit, d.allowed.removeprefix("must be ")) for name, d in DIMENSIONS.items()]
    yield _table(("kind", "unit of a bare number", "allowed"), rows)
    yield "## Distributions"
    yield distributions()
    yield "## Families of hazards"
    yield families()


def distributions() -> str:
    """Return the table of distributions, from their records."""
    rows = [
        (f"`{name}`", ", ".join(_parameters(law.parameters)), law.support, _code(law.scipy))
        for name, law in DISTRIBUTIONS.items()
    ]
    return _table(("distribution", "parameters, in order", "draws", "scipy.stats"), rows)


def families() -> str:
    """Return the table of hazard families, from their records; of those that are given as a table, its lists."""
    rows = [
        (
            f"`{name}`",
            family.hazard,
            "; ".join(" | ".join(_parameters(choice)) for choice in family.choices),
            "; ".join(filter(None, (_code(family.r), _code(family.scipy)))),
        )
        for name, family in FAMILIES.items()
        if name not in TABLES
    ]
    rows += [(f"`{name}`", said, ", ".join(map(_code, TABLES[name])), r) for name, said, r in _TABULATED]
    return _table(("family", "H(t)", "parameters", "R; scipy.stats"), rows)


def filled(text: str) -> str:
    """Return a page with what is made of the schema in its place."""
    for what, make in (("keys", page), ("distributions", distributions), ("families of hazards", families)):
        marker = f"<!-- the {what} stand here when the site is built -->"
        text = text.replace(marker, make()) if marker in text else text
    return text


def _parameters(given: Mapping[str, str]) -> list[str]:
    return [f"`{name}` ({what.replace('_', ' ')})" for name, what in given.items()]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    print(page())
