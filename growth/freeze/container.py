"""One file for plain values and arrays that can be read without executing anything.

A zip archive without compression: ``document.json``, ``arrays/00000.npy``, ``arrays/00001.npy``, ... and
``sha256``, the SHA-256 of all that comes before it. In the document an array is ``{"array": number}``. Times
are fixed and keys keep their order, so that equal content has equal bytes. The digest finds damage, not
forgery: whoever can change a file can change its digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from growth._types import FloatArray
from growth.errors import StoreError, problem

__all__ = ["pack", "unpack"]

DOCUMENT, DIGEST, ARRAY = "document.json", "sha256", "array"
MOST_BYTES = 2_000_000_000
"""Larger files are refused before they are read."""
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    struct.error,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What zipfile, json and numpy raise at bytes that are not what they seem."""
_FIX = "get the file again from whoever made it, or freeze the base year again"


def pack(document: Mapping[str, Any]) -> bytes:
    """Return plain values and float arrays, nested in mappings and lists, as the bytes of one file.

    Raises
    ------
    ValueError
        If a plain number is not finite.
    """
    arrays: list[FloatArray] = []
    plain = _without_arrays(document, arrays)
    text = json.dumps(plain, allow_nan=False, separators=(",", ":"))
    members = {DOCUMENT: text.encode()} | {_name(i): _npy(array) for i, array in enumerate(arrays)}
    members[DIGEST] = _digest(members).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, Any]:
    """Return what `pack` was given, arrays as read-only arrays of float64.

    Raises
    ------
    StoreError
        If the bytes are not such a file, or were changed.
    """
    if len(data) > MOST_BYTES:
        raise _refused(f"it has {len(data):,} bytes", f"at most {MOST_BYTES:,}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _members(archive)
        digest = members.pop(DIGEST)
        if digest != _digest(members).encode():
            raise _refused("it was changed since it was written", "the content agrees with its SHA-256")
        plain = json.loads(members.pop(DOCUMENT))
        arrays = [_array(members[_name(i)]) for i in range(len(members))]
        document = _with_arrays(plain, arrays)
    except StoreError:
        raise
    except _UNREADABLE as error:
        raise _refused(f"it cannot be read ({type(error).__name__})", "a file written by growth") from None
    if not isinstance(document, dict):
        raise _refused("it holds no document", "a file written by growth")
    return document


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Read every member; a stored member is no larger than the file, so that nothing can blow up."""
    found: dict[str, bytes] = {}
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.filename in found:
            raise _refused("it is packed in another way", "members are stored, each once")
        found[entry.filename] = archive.read(entry)
    return found


def _without_arrays(value: Any, arrays: list[FloatArray]) -> Any:  # noqa: ANN401
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value, dtype="<f8"))
        return {ARRAY: len(arrays) - 1}
    if isinstance(value, Mapping):
        return {str(key): _without_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, arrays: list[FloatArray]) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        if set(value) == {ARRAY}:
            return arrays[int(value[ARRAY])]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    return [_with_arrays(item, arrays) for item in value] if isinstance(value, list) else value


def _npy(array: FloatArray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _array(data: bytes) -> FloatArray:
    array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    if array.dtype != np.dtype("<f8"):
        raise ValueError(f"an array of {array.dtype}")
    found: FloatArray = np.array(array, dtype=np.float64)
    found.setflags(write=False)
    return found


def _name(number: int) -> str:
    return f"arrays/{number:05d}.npy"


def _digest(members: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name} {len(members[name])}\n".encode())
        digest.update(members[name])
    return digest.hexdigest()


def _refused(what: str, rule: str) -> StoreError:
    return StoreError(problem(f"The file cannot be used: {what}", rule=rule, fix=_FIX))
