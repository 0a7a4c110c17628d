r"""Held-out losses of students, their paired differences, and calibration.

The check loss of a curve at tau is :math:`\rho_\tau(y - q)`, :math:`\rho_\tau(e) = e (\tau - 1[e < 0])`
(Koenker & Bassett 1978): proper, so that the true conditional quantile has the least expected loss (Gneiting
2011). Twice its mean over evenly spaced taus approximates the continuous ranked probability score. Losses are
also given as a share of those of the unconditional quantiles of the year, subject and grade, so that scales
can be added: 1 less that share is Koenker and Machado's :math:`R^1(\tau)`, here out of sample.

Differences between specifications are paired: the same student under both. Their standard error counts
students as units (all subjects and years of a student together), or schools where folds are of schools. It
takes curves as given; no estimate from one cross-validation knows what other students to fit would add
(Bengio & Grandvalet 2004), which in simulations is little: for a covariate too many the SD of differences
between systems is 0.9 to 1.1 times the standard error. Such a covariate costs something all the same, p / 2n
or so of the loss, which many students make certain however small it is. Two specifications are therefore told
apart only if the whole interval, simultaneous over all pairs (Bonferroni), lies beyond what is negligible.

References
----------
.. [1] R. Koenker and J. A. F. Machado (1999), Goodness of fit and related inference processes for quantile
   regression, JASA 94(448), 1296-1310.
.. [2] T. Gneiting (2011), Making and evaluating point forecasts, JASA 106(494), 746-762.
.. [3] Y. Bengio and Y. Grandvalet (2004), No unbiased estimator of the variance of k-fold cross-validation,
   JMLR 5, 1089-1105.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from growth._types import FloatArray, IntArray
from growth.study.selection.people import BLOCK

__all__ = [
    "ALL",
    "FIFTHS",
    "NEGLIGIBLE",
    "TAUS",
    "Foreseen",
    "calibration_table",
    "check_loss",
    "critical",
    "difference_table",
    "loss_table",
    "mean_and_se",
    "unconditional",
]

TAUS = np.arange(1, 20) / 20
"""Where curves are compared: 0.05, ..., 0.95."""
ALL = "all"
FIFTHS = 5
NEGLIGIBLE = 0.1
"""Differences of no account [% of the unconditional loss]: a tenth of what a second prior score is worth."""
_FAMILY = 0.05
"""Probability that any two specifications that differ negligibly are told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """What curves that have not seen them say of the n common results; arrays of shape (n, m)."""

    loss: FloatArray
    """Check losses [scale-score points]."""
    halves_below: NDArray[np.int8]
    """2 where the score lies below the curve, 1 where on it, else 0."""

    @classmethod
    def empty(cls, n: int) -> Foreseen:
        """Return room for n results."""
        return cls(np.empty((n, len(TAUS))), np.empty((n, len(TAUS)), dtype=np.int8))

    def put(self, rows: IntArray, score: FloatArray, curves: FloatArray) -> None:
        """Note the results `rows`, with scores of shape (r,) and curves of shape (r, m)."""
        self.loss[rows] = check_loss(score, curves, TAUS)
        self.halves_below[rows] = (score[:, None] < curves).astype(np.int8) + (score[:, None] <= curves)


def check_loss(score: FloatArray, curves: FloatArray, taus: FloatArray) -> FloatArray:
    """Return the check loss of scores, shape (n,), at curves, shape (n, m) or (m,); shape (n, m)."""
    error = score[:, None] - curves
    return np.asarray(error * (taus - (error < 0)))


def unconditional(common: pl.DataFrame) -> FloatArray:
    """Return the losses of the unconditional quantiles of the year, subject and grade, shape (n, m)."""
    score = common["score"].to_numpy()
    out = np.empty((len(score), len(TAUS)))
    for _, rows in _parts(common, BLOCK):
        out[rows] = check_loss(score[rows], np.quantile(score[rows], TAUS, method="hazen"), TAUS)
    return out


def _of_block(common: pl.DataFrame, plain: FloatArray) -> FloatArray:
    """Return the mean unconditional loss of everybody's year, subject and grade, shape (n, m)."""
    whole = np.empty_like(plain)
    for _, rows in _parts(common, BLOCK):
        whole[rows] = plain[rows].mean(axis=0)
    return whole


def loss_table(common: pl.DataFrame, names: Sequence[str], found: Sequence[Foreseen]) -> pl.DataFrame:
    """Return mean losses by year, subject and tau.

    Returns
    -------
    polars.DataFrame
        spec, year, subject, tau (null: mean over all), n (results), loss [scale-score points], share (of the
        loss of the unconditional quantiles [%]). The subject ``all`` has the mean share of all results.
    """
    plain = unconditional(common)
    overall = _of_block(common, plain).mean(axis=1)
    rows: list[tuple[object, ...]] = [
        (name, None, ALL, None, common.height, None, 100 * float((one.loss.mean(axis=1) / overall).mean()))
        for name, one in zip(names, found, strict=True)
    ]
    for (year, subject), part in _parts(common, ["year", "subject"]):
        against = plain[part].mean(axis=0)
        for name, one in zip(names, found, strict=True):
            mean = one.loss[part].mean(axis=0)
            for tau, value, whole in zip(TAUS, mean, against, strict=True):
                rows.append((name, year, subject, float(tau), len(part), value, 100 * value / whole))
            share = 100 * float(mean.mean() / against.mean())
            rows.append((name, year, subject, None, len(part), float(mean.mean()), share))
    names_ = ("spec", "year", "subject", "tau", "n", "loss", "share")
    types = (pl.String, pl.Int32, pl.String, pl.Float64, pl.Int64, pl.Float64, pl.Float64)
    return pl.DataFrame(rows, schema=dict(zip(names_, types, strict=True)), orient="row")


def difference_table(
    common: pl.DataFrame, names: Sequence[str], found: Sequence[Foreseen], unit: str
) -> pl.DataFrame:
    """Return the paired differences of all pairs of specifications.

    Parameters
    ----------
    common : polars.DataFrame
        Results, n rows.
    names : sequence of str
    found : sequence of Foreseen
    unit : str
        Column whose values are the units of the standard errors; each missing one stands alone.

    Returns
    -------
    polars.DataFrame
        spec, against, subject (``all``: every subject together), tau (null: mean over all), units, difference
        (loss of `spec` less that of `against`, as a share of the unconditional loss [%]), se, low and high
        (simultaneous over all pairs), distinguishable (whether all between them is more than `NEGLIGIBLE`).
    """
    plain = unconditional(common)
    label = common.select(pl.coalesce(unit, pl.lit("\0") + pl.col("student_id"))).to_series()
    place = label.rank("dense").to_numpy().astype(np.int64) - 1
    z = critical(len(names))
    parts = [(str(subject), rows) for (subject,), rows in _parts(common, ["subject"])]
    parts = [(ALL, np.arange(common.height)), *(parts if len(parts) > 1 else [])]
    subjects = [(name, rows, np.unique(place[rows], return_inverse=True)[1]) for name, rows in parts]
    whole = _of_block(common, plain)
    overall = whole.mean(axis=1)
    out = []
    for a, b in combinations(range(len(names)), 2):
        gap = found[a].loss - found[b].loss
        columns: list[tuple[float | None, FloatArray]] = [(None, 100 * gap.mean(axis=1) / overall)]
        columns += [(float(tau), 100 * gap[:, t] / whole[:, t]) for t, tau in enumerate(TAUS)]
        for subject, rows, member in subjects:
            for tau, values in columns:
                mean, se, units = mean_and_se(values[rows], member)
                for one, two, sign in ((a, b, 1.0), (b, a, -1.0)):
                    low, high = sign * mean - z * se, sign * mean + z * se
                    row = (names[one], names[two], subject, tau, units, sign * mean, se, low, high)
                    out.append((*row, low > NEGLIGIBLE or high < -NEGLIGIBLE))
    types = {"spec": pl.String, "against": pl.String, "subject": pl.String, "tau": pl.Float64}
    types |= {"units": pl.Int64, "difference": pl.Float64, "se": pl.Float64, "low": pl.Float64}
    return pl.DataFrame(out, types | {"high": pl.Float64, "distinguishable": pl.Boolean}, orient="row")


def mean_and_se(values: FloatArray, unit: IntArray) -> tuple[float, float, int]:
    """Return the mean, its standard error over units (infinite with fewer than two), and the units.

    Parameters
    ----------
    values : ndarray, shape (n,)
    unit : ndarray of int, shape (n,)
        Unit of each, 0, 1, ...
    """
    mean = float(values.mean())
    total = np.bincount(unit, weights=values - mean)
    units = len(total)
    if units < 2:
        return mean, np.inf, units
    return mean, float(np.sqrt(units / (units - 1) * (total @ total)) / len(values)), units


def critical(specs: int) -> float:
    """Return the normal quantile of simultaneous intervals for all pairs of specifications."""
    from scipy.stats import norm

    pairs = max(specs * (specs - 1) // 2, 1)
    return float(norm.isf(_FAMILY / 2 / pairs))


def calibration_table(
    common: pl.DataFrame, names: Sequence[str], found: Sequence[Foreseen], minimum: int
) -> pl.DataFrame:
    """Return the shares of scores below curves that have not seen them, in all and by fifth of prior scores.

    Returns
    -------
    polars.DataFrame
        spec, subject, by (``all`` or ``prior``), level (fifth of the prior scores within year and grade, 1
        the lowest), tau, n, below, off (below less tau [percentage points]), se (by chance, if calibrated);
        parts of at least `minimum` results.
    """
    fifth = _fifths(common)
    rows = []
    for (subject,), part in _parts(common, ["subject"]):
        groups = [("all", ALL, part)]
        groups += [("prior", str(k + 1), part[fifth[part] == k]) for k in range(FIFTHS)]
        for by, level, some in groups:
            if len(some) < minimum:
                continue
            for name, one in zip(names, found, strict=True):
                below = one.halves_below[some].mean(axis=0) / 2
                chance = 100 * np.sqrt(TAUS * (1 - TAUS) / len(some))
                rows += [
                    (
                        name,
                        subject,
                        by,
                        level,
                        float(tau),
                        len(some),
                        float(b),
                        100 * float(b - tau),
                        float(se),
                    )
                    for tau, b, se in zip(TAUS, below, chance, strict=True)
                ]
    types = {"spec": pl.String, "subject": pl.String, "by": pl.String, "level": pl.String, "tau": pl.Float64}
    types |= {"n": pl.Int64, "below": pl.Float64, "off": pl.Float64, "se": pl.Float64}
    return pl.DataFrame(rows, types, orient="row")


def _fifths(common: pl.DataFrame) -> IntArray:
    """Return the fifth of the most recent prior score within year, subject and grade, shape (n,)."""
    prior = common["prior"].to_numpy()
    out = np.empty(len(prior), np.int64)
    for _, rows in _parts(common, BLOCK):
        breaks = np.quantile(prior[rows], np.arange(1, FIFTHS) / FIFTHS)
        out[rows] = np.searchsorted(breaks, prior[rows], side="right")
    return out


def _parts(frame: pl.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[object, ...], IntArray]]:
    """Yield the values of columns and the rows that have them, in order of first appearance."""
    numbered = frame.select(keys).with_row_index("_row")
    for values, part in numbered.group_by(keys, maintain_order=True):
        yield values, part["_row"].to_numpy().astype(np.int64)
