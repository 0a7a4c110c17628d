"""Run one library on one problem and leave the result beside the data: `python -m benchmarks.worker`."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

import numpy as np

from benchmarks.peers import PYTHON, Data
from benchmarks.problems import TAUS


def load(folder: Path) -> Data:
    """Read the arrays that `benchmarks.grid` wrote."""
    shape = json.loads((folder / "shape.json").read_text())
    design = np.fromfile(folder / "design.bin").reshape(shape["n"], shape["p"])
    blocks = [slice(*pair) for pair in shape["blocks"]]
    return Data(design, np.fromfile(folder / "response.bin"), blocks)


def main(library: str, folder: Path, budget: float) -> None:
    """Run, then write LIBRARY.json and LIBRARY.coef (row-major float64)."""
    data = load(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run = PYTHON[library](data, TAUS, budget)
    run.coef.tofile(folder / f"{library}.coef")
    (folder / f"{library}.json").write_text(
        json.dumps(
            {
                "done": run.done.tolist(),
                "seconds": run.seconds,
                "wall": run.wall,
                "fastest": run.spread[0],
                "slowest": run.spread[1],
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "data_mb": before,
                "notes": run.notes,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
