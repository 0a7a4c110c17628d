"""Student percentiles corrected for measurement error in the prior scores, by simulation-extrapolation."""

from growth.student.simex.ahead import forget_simex, simex_ahead, simex_complete
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
    "corrected_curves",
    "forget_simex",
    "place_in",
    "ranked",
    "simex_ahead",
    "simex_complete",
    "simex_growth",
]
