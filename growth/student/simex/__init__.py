"""Student percentiles corrected for measurement error in the prior scores, by simulation-extrapolation."""

from growth.student.simex.checkpoint import code_digest
from growth.student.simex.curves import Watch, blocks_of, corrected_curves
from growth.student.simex.draws import Draws, Perturbed
from growth.student.simex.engine import simex_growth
from growth.student.simex.places import SimexGrowth, place_in, ranked

__all__ = [
    "Draws",
    "Perturbed",
    "SimexGrowth",
    "Watch",
    "blocks_of",
    "code_digest",
    "corrected_curves",
    "place_in",
    "ranked",
    "simex_growth",
]
