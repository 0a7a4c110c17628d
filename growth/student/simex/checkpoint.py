"""What an interrupted SIMEX has finished, kept in a folder of the caller's choice.

One file per cohort and lambda, named after a digest of the numbers that went in, the choices that shape the
result and the engine's own source: another input, another choice or another version never meets it. It holds
a sum over replicates in the order of the cohort's rows and no ids; like scores it is student data. This is
the one place in the room that touches the disk: `growth.store` keeps whole results.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np

from growth._types import FloatArray
from growth.disk import remove_leavings, whole_file
from growth.panel import Panel
from growth.source import cohort_digest
from growth.spec import GrowthSpec

__all__ = ["Checkpoint", "State"]

State: TypeAlias = tuple[int, FloatArray]
"""Blocks done, and the sum over their replicates, shape (n, m)."""

_ELSEWHERE = {"use", "lambdas", "extrapolation"}
"""Choices that do not shape the sum at one lambda."""
_DAMAGED = (BadZipFile, EOFError, KeyError, OSError, ValueError)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The file of one cohort and lambda."""

    file: Path

    @classmethod
    def of(cls, folder: Path, panel: Panel, spec: GrowthSpec, level: int) -> Checkpoint:
        """Return the checkpoint of a cohort at ``spec.simex.lambdas[level]``."""
        choices = [
            spec.simex.model_dump(mode="json", exclude=_ELSEWHERE),
            *(getattr(spec, part).model_dump(mode="json") for part in ("basis", "quantiles")),
            [level, spec.simex.lambdas[level], panel.covariate_names, cohort_digest()],
        ]
        digest = hashlib.blake2b(digest_size=20)
        digest.update(json.dumps(choices, sort_keys=True).encode())
        for array in (panel.priors, panel.score, panel.csem, panel.covariates, panel.school):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return cls(folder / f"simex-{digest.hexdigest()}.npz")

    def prepare(self) -> None:
        """Make the folder, and remove what interruptions left there."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        remove_leavings(self.file.parent)

    def load(self, beginning: State) -> State:
        """Return what is kept, or `beginning` if there is nothing."""
        if not self.file.is_file():
            return beginning
        try:
            with self.file.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                return int(kept["done"]), kept["part"]
        except _DAMAGED:
            return beginning  # by others: computed again

    def done(self) -> int:
        """Return how many blocks are kept."""
        try:
            with self.file.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                return int(kept["done"])
        except _DAMAGED:
            return 0

    def save(self, done: int, part: FloatArray) -> None:
        """Replace what is kept; an interruption leaves the old file or the new one."""
        with whole_file(self.file) as aside, aside.open("wb") as file:
            np.savez(file, done=np.int64(done), part=part)
