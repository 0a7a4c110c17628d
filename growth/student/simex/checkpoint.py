"""What an interrupted SIMEX has finished, kept in a folder of the caller's choice.

One file per cohort, named after a digest of the numbers that went in, the choices that shape the result and
the engine's own source: another input, another choice or another version never meets it. It holds two arrays
of sums over replicates in the order of the cohort's rows and no ids; like scores they are student data.
This is the one place in the room that touches the disk: `growth.store` keeps whole results.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np

from growth._types import FloatArray
from growth.disk import remove_leavings, whole_file
from growth.panel import Panel
from growth.spec import GrowthSpec

__all__ = ["Checkpoint", "State", "code_digest"]

State: TypeAlias = tuple[int, FloatArray, FloatArray]
"""Blocks done, weighted sum over finished lambdas, sum over the replicates of the current one."""

_LIBRARIES = ("numpy", "scipy", "numba")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file of one cohort."""

    file: Path

    @classmethod
    def of(cls, folder: Path, panel: Panel, spec: GrowthSpec, curves: FloatArray) -> Checkpoint:
        """Return the checkpoint of a cohort whose curves before correction are given, shape (n, m)."""
        folder.mkdir(parents=True, exist_ok=True)
        remove_leavings(folder)
        choices = {
            part: getattr(spec, part).model_dump(mode="json") for part in ("simex", "basis", "quantiles")
        }
        digest = hashlib.blake2b(digest_size=20)
        digest.update(json.dumps([choices, panel.covariate_names, code_digest()], sort_keys=True).encode())
        arrays = [panel.priors, panel.score, panel.csem, panel.covariates, panel.school, curves]
        for array in arrays:
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return cls(folder / f"simex-{digest.hexdigest()}.npz")

    def load(self, beginning: State) -> State:
        """Return what is kept, or `beginning` if there is nothing."""
        if not self.file.is_file():
            return beginning
        try:
            with self.file.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                return int(kept["done"]), kept["total"], kept["part"]
        except (BadZipFile, EOFError, KeyError, OSError, ValueError):
            return beginning  # damaged by others: computed again

    def save(self, done: int, total: FloatArray, part: FloatArray) -> None:
        """Replace what is kept; an interruption leaves the old file or the new one."""
        with whole_file(self.file) as aside, aside.open("wb") as file:
            np.savez(file, done=np.int64(done), total=total, part=part)


@cache
def code_digest() -> str:
    """Return a digest of this package's source and the versions of the libraries it computes with."""
    package = Path(__file__).parents[2]
    digest = hashlib.blake2b(digest_size=20)
    for path in sorted(package.rglob("*.py")):
        digest.update(path.read_bytes())
    return " ".join([digest.hexdigest(), *(version(name) for name in _LIBRARIES)])
