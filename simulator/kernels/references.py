"""Groups of arrays that kernels receive by reference.

Numba passes a NamedTuple of arrays by value: an array of d dimensions is 5 + 2 d numbers, so a kernel with the two that
the compiled engine hands round has 338, and each call and each attribute copies all of them in the intermediate code. A
class decorated with `by_reference` is passed as one pointer to those numbers. They never change while a kernel runs,
and loads say so to LLVM, so that loops over arrays vectorise as before.
"""

from __future__ import annotations

from typing import Any, TypeVar

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.typing.templates import AttributeTemplate
from numba.extending import NativeValue, infer_getattr, lower_getattr_generic, register_model, typeof_impl, unbox

_Tuple = TypeVar("_Tuple", bound=type)

_WORD = 8  # bytes of a pointer and of a number


class ByReference(types.Type):
    """Numba's type of a pointer to the fields of a NamedTuple, which kernels only read.

    ``fields``: numba's type of that NamedTuple.
    """

    def __init__(self, fields: Any) -> None:
        self.fields = fields
        super().__init__(name=f"ByReference({fields.name})")


def by_reference(cls: _Tuple) -> _Tuple:
    """Pass instances of a NamedTuple of arrays and numbers to kernels by reference.

    A kernel reads its attributes. It cannot make one, change an attribute, index or unpack it.
    """

    def typeof(value: Any, context: Any) -> ByReference:
        of_fields = [typeof_impl(field, context) for field in value]
        return ByReference(types.NamedTuple(of_fields, cls))  # type: ignore[attr-defined]

    typeof_impl.register(cls)(typeof)
    return cls


@register_model(ByReference)
class _ByReferenceModel(models.PrimitiveModel):
    """A pointer to the fields, laid out as numba lays out a NamedTuple."""

    def __init__(self, dmm: Any, fe_type: ByReference) -> None:
        fields = dmm.lookup(fe_type.fields).get_value_type()
        self._bytes = _WORD * _words(fields)
        super().__init__(dmm, fe_type, fields.as_pointer())

    def from_argument(self, builder: Any, value: Any) -> Any:
        if isinstance(value, ir.Argument):
            value.attributes.add("noalias")
            value.attributes.add("nonnull")
            value.attributes.dereferenceable = self._bytes
        return value


def _words(layout: Any) -> int:
    """Return a lower bound of the size of a type, in words: the number of its pointers and 64-bit numbers."""
    if isinstance(layout, ir.Aggregate):
        return sum(_words(element) for element in layout.elements)
    return 1 if isinstance(layout, ir.PointerType) or getattr(layout, "width", 0) == 64 else 0


@unbox(ByReference)  # type: ignore[untyped-decorator]
def _unbox(reference: ByReference, value: Any, c: Any) -> NativeValue:
    native = c.unbox(reference.fields, value)
    place = cgutils.alloca_once_value(c.builder, native.value)
    return NativeValue(place, is_error=native.is_error, cleanup=native.cleanup)


@infer_getattr
class _ByReferenceAttributes(AttributeTemplate):
    key = ByReference

    def generic_resolve(self, reference: ByReference, name: str) -> types.Type | None:
        names = reference.fields.instance_class._fields
        return reference.fields[names.index(name)] if name in names else None


@lower_getattr_generic(ByReference)  # type: ignore[untyped-decorator]
def _load(context: Any, builder: Any, reference: ByReference, value: Any, name: str) -> Any:
    names = reference.fields.instance_class._fields
    place = cgutils.gep_inbounds(builder, value, 0, names.index(name))
    return _invariant(builder, place)


def _invariant(builder: Any, place: Any) -> Any:
    """Load a value, number by number, and say that it does not change."""
    layout = place.type.pointee
    if not isinstance(layout, ir.Aggregate):
        loaded = builder.load(place)
        loaded.set_metadata("invariant.load", builder.module.add_metadata([]))
        return loaded
    value = cgutils.get_null_value(layout)
    for i in range(len(layout.elements)):
        value = builder.insert_value(value, _invariant(builder, cgutils.gep_inbounds(builder, place, 0, i)), i)
    return value
