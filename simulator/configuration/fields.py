"""The base of everything declared.

A declared number may be a literal, text with a unit, a reference to a parameter (``parameters.response.onset_median``),
or a mapping from stratum to any of these. Which of them is a time, a rate or a plain number is known only where it is
used; `values.resolve` turns it into an array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from simulator import units


class Declared(BaseModel):
    """Strict, immutable: no unknown keys, no silent conversion of text to numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def _name(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a name; YAML reads NO, YES, ON and OFF as true or false: put it in quotes")
    return value


Name = Annotated[str, BeforeValidator(_name), Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
"""A name: a letter, then letters, digits and underscores."""

Text = Annotated[str, Field(min_length=1)]
"""Text that says something."""


def _bounded(read: Callable[[object], float]) -> Callable[[object], float]:
    def bounded(value: object) -> float:
        number = read(value)
        if refusal := units.out_of_range(number):
            raise ValueError(refusal)
        return number

    return bounded


Time = Annotated[float, BeforeValidator(_bounded(units.days))]
"""Days, from a number of days or text with a unit."""

Number = Annotated[float, BeforeValidator(_bounded(units.number))]
"""A number without a unit."""


@dataclass(frozen=True)
class Kind:
    """How the numbers at a key are read, for whoever reads the schema; the resolver gets them where it uses them.

    ``name``: one of `units.DIMENSIONS`, or ``whole``. ``distribution``: one may stand there.
    """

    name: str
    distribution: bool = False


Expression = float | int | str | dict[str, Any]
"""A literal, text with a unit, ``parameters.<path>``, or a mapping from stratum to these."""
