"""Named tuples of arrays, lent to inner kernels by reference.

Numba passes a named tuple by value: every array in it becomes seven arguments of every call, which a kernel
that is handed sixty arrays pays for in seconds of compilation and in time per call. A *borrowed* tuple is a
pointer to it. Its fields are read as before; loops should read them into local names first, since the
compiler cannot know that writing to an array leaves the tuple alone. The tuple lives in the frame of the
kernel that lends it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from numba import typeof
from numba.core import cgutils, types
from numba.core.imputils import impl_ret_borrowed
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    models,
    register_model,
    type_callable,
)

__all__ = ["borrowed", "type_of_borrowed"]

_Tuple = TypeVar("_Tuple", bound=tuple[Any, ...])


def borrowed(record: _Tuple) -> _Tuple:
    """Return a reference to a named tuple; uncompiled, the tuple itself."""
    return record


class _Borrowed(types.Type):
    def __init__(self, record: types.NamedTuple) -> None:
        self.record = record
        super().__init__(f"borrowed({record})")


def type_of_borrowed(record: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Return the type with which inner kernels are compiled for this named tuple."""
    return _Borrowed(typeof(record))


@register_model(_Borrowed)
class _Pointer(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: _Borrowed) -> None:  # noqa: ANN401
        super().__init__(manager, kind, manager.lookup(kind.record).get_value_type().as_pointer())


@type_callable(borrowed)
def _typed_borrowed(context: Any) -> Any:  # noqa: ANN401
    return lambda record: _Borrowed(record) if isinstance(record, types.NamedTuple) else None


@lower_builtin(borrowed, types.NamedTuple)
def _lend(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ANN401
    return cgutils.alloca_once_value(builder, args[0])


@infer_getattr
class _Fields(AttributeTemplate):
    key = _Borrowed

    def generic_resolve(self, value: Any, attr: Any) -> Any:  # type: ignore[override] # noqa: ANN401
        if attr not in value.record.fields:
            return None
        field = value.record.types[value.record.fields.index(attr)]
        return _Borrowed(field) if isinstance(field, types.NamedTuple) else field


@lower_getattr_generic(_Borrowed)
def _read_field(context: Any, builder: Any, kind: _Borrowed, value: Any, name: str) -> Any:  # noqa: ANN401
    place = kind.record.fields.index(name)
    address = cgutils.gep_inbounds(builder, value, 0, place)
    field = kind.record.types[place]
    if isinstance(field, types.NamedTuple):
        return address
    return impl_ret_borrowed(context, builder, field, builder.load(address))
