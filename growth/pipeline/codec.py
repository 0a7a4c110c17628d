"""Fitted cohorts as bytes and back, bit for bit, without executing anything that a file holds.

An archive of arrays (numpy's, pickle refused) and one JSON text that says how they make up the objects of
a few classes listed here. A SHA-256 goes before it: what was damaged is not read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from zipfile import BadZipFile

import numpy as np

from growth.pipeline.students import RecalledGrowth
from growth.quantile import QuantileProcess, SplineBasis
from growth.quantile.prepare import Geometry
from growth.quantile.start import Start
from growth.student import LinearGrowth, NormalGrowth, QuantileGrowth, StudentIntervals
from growth.student.engines.normal import SpreadCourse
from growth.student.least_squares import LinearFit
from growth.student.simex import SimexGrowth

__all__ = ["decoded", "encoded"]

_CLASSES: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        Geometry,
        LinearFit,
        LinearGrowth,
        NormalGrowth,
        QuantileGrowth,
        QuantileProcess,
        RecalledGrowth,
        SimexGrowth,
        SplineBasis,
        SpreadCourse,
        Start,
        StudentIntervals,
    )
}
_TEXT = "text"
_DAMAGED = (BadZipFile, EOFError, KeyError, LookupError, OSError, TypeError, ValueError)


def encoded(value: Any) -> bytes:  # noqa: ANN401
    """Return an object of the classes above, or plain values and arrays of them, as bytes.

    Raises
    ------
    TypeError
        If it holds anything else.
    """
    arrays: list[np.ndarray[Any, Any]] = []
    text = json.dumps(_plain(value, arrays))
    buffer = io.BytesIO()
    named = {f"a{i}": array for i, array in enumerate(arrays)}
    np.savez(buffer, **{_TEXT: np.array(text)}, **named)  # type: ignore[arg-type]
    data = buffer.getvalue()
    return hashlib.sha256(data).hexdigest().encode() + data


def decoded(data: bytes) -> Any:  # noqa: ANN401
    """Return what `encoded` was given.

    Raises
    ------
    ValueError
        If the bytes are damaged or not of this kind.
    """
    digest, body = data[:64], data[64:]
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
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, tuple | list):
        return {type(value).__name__: [_plain(item, arrays) for item in value]}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, Mapping):
        return {"dict": [[_plain(key, arrays), _plain(item, arrays)] for key, item in value.items()]}
    name = type(value).__name__
    if is_dataclass(value) and _CLASSES.get(name) is type(value):
        parts = {field.name: _plain(getattr(value, field.name), arrays) for field in fields(value)}
        return {"class": name, "fields": parts}
    raise TypeError(f"A {name} cannot be kept.")


def _object(value: Any, arrays: Mapping[str, Any]) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        return value
    if "class" in value:
        parts = {name: _object(item, arrays) for name, item in value["fields"].items()}
        return _CLASSES[value["class"]](**parts)
    ((kind, item),) = value.items()
    if kind == "array":
        return arrays[f"a{item}"]
    if kind == "slice":
        return slice(*item)
    if kind == "dict":
        return {_object(key, arrays): _object(one, arrays) for key, one in item}
    whole = [_object(one, arrays) for one in item]
    return tuple(whole) if kind == "tuple" else whole
