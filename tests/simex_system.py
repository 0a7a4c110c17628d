"""A small specification with SIMEX, for tests of its run and of its pieces."""

from __future__ import annotations

from growth import GrowthSpec

__all__ = ["SIMEX"]

SIMEX = GrowthSpec.preset("core").replace(
    {
        "cohorts.subjects": ["MATH"],
        "cohorts.grades": [5, 6],
        "peers.composition": "one_step",
        "measurement.csem": "column",
        "simex.use": "simex",
        "simex.replicates": 2,
        "simex.lambdas": [1.0, 2.0],
    }
)
