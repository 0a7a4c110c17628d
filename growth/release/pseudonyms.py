"""Ids that leave the engine: keyed hashes, equal for equal ids under one key, and no way back without it.

HMAC-SHA-256 of the kind of id and the id, the first 128 bits in hexadecimal. Plain hashes would not do:
whoever knows the form of an id could try them all.

References
----------
.. [1] H. Krawczyk, M. Bellare and R. Canetti (1997), HMAC: keyed-hashing for message authentication,
   RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path

import polars as pl

from growth.errors import GrowthError, problem

__all__ = ["KEY_VARIABLE", "hashed", "read_key"]

KEY_VARIABLE = "GROWTH_ID_KEY"
"""Environment variable that holds the key, if no file does."""
SHORTEST = 16
"""Bytes of a key, at least."""
_DIGITS = 32


def read_key(file: str | Path | None = None) -> bytes:
    """Return the key of a file, or of the environment variable `KEY_VARIABLE`, without white space around it.

    Raises
    ------
    GrowthError
        If there is none, it cannot be read, or it is short.
    """
    try:
        given = os.environ.get(KEY_VARIABLE, "").encode() if file is None else Path(file).read_bytes()
    except OSError as error:
        what = f"The key file {str(file)!r} cannot be read: {error.strerror}"
        raise GrowthError(problem(what, fix="check the path and its permissions")) from None
    key = given.strip()
    if len(key) < SHORTEST:
        what = "There is no key for the ids" if not key else "The key for the ids is short"
        rule = f"at least {SHORTEST} bytes, in a file or in {KEY_VARIABLE}"
        raise GrowthError(problem(what, rule=rule, fix="make one from random bytes, and keep it to yourself"))
    return key


def hashed(ids: pl.Series, key: bytes, kind: str) -> pl.Series:
    """Return keyed hashes of ids, null where an id is null.

    Parameters
    ----------
    ids : polars.Series of text
    key : bytes
    kind : str
        ``"student"``, ``"school"``, ...: equal ids of two kinds get unlike hashes.
    """
    distinct = ids.drop_nulls().unique()
    codes = [
        hmac.new(key, f"{kind}\n{one}".encode(), hashlib.sha256).hexdigest()[:_DIGITS] for one in distinct
    ]
    return ids.replace_strict(
        distinct, pl.Series(codes, dtype=pl.String), default=None, return_dtype=pl.String
    )
