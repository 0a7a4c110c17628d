"""Objects of this package as bytes and back, bit for bit, without executing anything that the bytes hold.

An archive of arrays (numpy's, pickle refused), with frames as Parquet among them, and one JSON text that says
how they make up dataclasses and specifications of this package: no other class is ever made. A SHA-256 goes
before it: what was damaged is not read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any
from zipfile import BadZipFile

import numpy as np
import polars as pl
from pydantic import BaseModel

__all__ = ["decoded", "encoded"]

_PACKAGE = "growth."
_TEXT = "text"
_DAMAGED = (
    AttributeError,
    BadZipFile,
    EOFError,
    ImportError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
    pl.exceptions.PolarsError,
)


def encoded(value: Any) -> bytes:  # noqa: ANN401
    """Return dataclasses and specifications of this package, frames, arrays and plain values as bytes.

    Raises
    ------
    TypeError
        If there is anything else.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_plain(value, arrays))
    buffer = io.BytesIO()
    named = {f"a{i}": array for i, array in enumerate(arrays)}
    np.savez(buffer, **{_TEXT: np.array(text)}, **named)  # type: ignore[arg-type]
    data = buffer.getbuffer()
    return b"".join([hashlib.sha256(data).hexdigest().encode(), data])


def decoded(data: bytes) -> Any:  # noqa: ANN401
    """Return what `encoded` was given.

    Raises
    ------
    ValueError
        If the bytes are damaged or not of this kind.
    """
    digest, body = data[:64], memoryview(data)[64:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("damaged")
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as kept:
            return _object(json.loads(str(kept[_TEXT])), kept)
    except _DAMAGED:
        raise ValueError("not of this kind") from None


def _plain(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:  # noqa: ANN401
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {"array": _kept(value, arrays)}
    if isinstance(value, pl.DataFrame):
        buffer = io.BytesIO()
        value.write_parquet(buffer)
        return {"frame": _kept(np.frombuffer(buffer.getbuffer(), np.uint8), arrays)}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_plain(item, arrays) for item in value]}
    if isinstance(value, frozenset):
        return {"frozenset": sorted(_plain(item, arrays) for item in value)}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, Mapping):
        return {"dict": [[_plain(key, arrays), _plain(item, arrays)] for key, item in value.items()]}
    kind = type(value)
    if _is_ours(kind):
        names = [field.name for field in fields(value)] if is_dataclass(value) else kind.model_fields
        parts = {name: _plain(getattr(value, name), arrays) for name in names}
        return {"class": [kind.__module__, kind.__qualname__], "fields": parts}
    raise TypeError(f"A {kind.__name__} cannot be kept.")


def _kept(array: np.ndarray[Any, Any], arrays: list[np.ndarray[Any, Any]]) -> int:
    for place, known in enumerate(arrays):
        if known is array:
            return place
    arrays.append(array)
    return len(arrays) - 1


def _is_ours(kind: type[Any]) -> bool:
    return kind.__module__.startswith(_PACKAGE) and (is_dataclass(kind) or issubclass(kind, BaseModel))


def _object(value: Any, arrays: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        return value
    if "class" in value:
        parts = {name: _object(item, arrays) for name, item in value["fields"].items()}
        kind = _class(*value["class"])
        return kind.model_construct(**parts) if issubclass(kind, BaseModel) else kind(**parts)
    ((what, item),) = value.items()
    if what == "array":
        return arrays[f"a{item}"]
    if what == "frame":
        return pl.read_parquet(io.BytesIO(arrays[f"a{item}"].tobytes()))
    if what == "slice":
        return slice(*item)
    if what == "dict":
        return {_object(key, arrays): _object(one, arrays) for key, one in item}
    whole = [_object(one, arrays) for one in item]
    return {"tuple": tuple, "list": list, "frozenset": frozenset}[what](whole)


def _class(module: str, name: str) -> type[Any]:
    """Return a class of this package that `encoded` takes; nothing else can be named."""
    if not module.startswith(_PACKAGE):
        raise ValueError(module)
    kind = getattr(import_module(module), name)
    if not isinstance(kind, type) or kind.__module__ != module or not _is_ours(kind):
        raise ValueError(name)
    return kind
