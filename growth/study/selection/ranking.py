"""The ranking of specifications, with verdicts in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from growth.study.selection.losses import ALL

if TYPE_CHECKING:
    from growth.study.outcome import Outcome
    from growth.study.selection.result import Selection

__all__ = ["BEST", "EQUAL", "WORSE", "ranking_table", "sentences"]

BEST, EQUAL, WORSE = "least loss", "not distinguishable", "worse"
_SCHOOLS = ("reliability", "split_half", "level_accuracy", "level_consistency", "halves_near", "year_to_year")
_MADE_FOR_SCHOOLS = (
    "{names} corrected for measurement error, for the sake of schools: held-out loss, which is about single "
    "students with their observed scores, is no verdict on that."
)


def ranking_table(found: Selection) -> pl.DataFrame:
    """Return the specifications by held-out loss.

    Returns
    -------
    polars.DataFrame
        rank, spec, loss (share of the unconditional loss [%]), verdict, worse_by (than the first) [% of the
        unconditional loss] and its se; columns (of the models, mean over students), crossing (neighbouring
        curves that cross before sorting [%]; null without curves); calibration: root mean square of held-out
        shares below the curves less tau by fifth of prior scores, calibration_chance: what chance makes of it
        [percentage points]; r_prior: correlation of school results with the mean prior score, of the subject
        where it is largest, with its 95 % interval, r_share and share: the same of the flag with the largest
        one; reliability, split_half (0-1), level_accuracy, level_consistency (0-1), halves_near [%],
        year_to_year: means over subjects of the latest year; sentence.
    """
    overall = found.losses.filter(subject=ALL)
    order = overall.sort("share", maintain_order=True)["spec"].to_list()
    share = dict(overall.select("spec", "share").iter_rows())
    rows = []
    for rank, name in enumerate(order, start=1):
        place = found.names.index(name)
        row: dict[str, object] = {"rank": rank, "spec": name, "loss": share[name]}
        row |= _against(found, name, order[0])
        row |= _fit(found.outcomes[place]) | _calibration(found.calibration.filter(spec=name))
        row |= _neutrality(found, name) | _schools(found, name)
        rows.append(row | {"sentence": _sentence(row, order[0])})
    return pl.DataFrame(rows, infer_schema_length=None)


def sentences(found: Selection) -> tuple[str, ...]:
    """Return a sentence per specification, and what to make of them."""
    table = found.ranking
    lines = table["sentence"].to_list()
    close = table.filter(pl.col("verdict") != WORSE)
    if close.height > 1:
        least = close.sort("columns", maintain_order=True).row(0, named=True)
        lines.append(
            f"{close.height} specifications foresee students equally well, as far as these data tell; the "
            f"smallest of them is {least['spec']} ({least['columns']:.0f} columns)."
        )
    fair = table.filter(pl.col("r_prior").is_not_null())
    if fair.height:
        neutral = fair.sort(pl.col("r_prior").abs(), maintain_order=True).row(0, named=True)
        lines.append(
            f"Most neutral towards prior scores is {neutral['spec']} (r = {neutral['r_prior']:+.2f} with the "
            "mean prior score of schools); loss says nothing about that."
        )
    corrected = [
        name
        for name, spec in found.specs.items()
        if spec.student.engine == "eiv" or spec.simex.use == "simex"
    ]
    if corrected:
        names = ", ".join(corrected) + (" is" if len(corrected) == 1 else " are")
        lines.append(_MADE_FOR_SCHOOLS.format(names=names))
    return tuple(lines)


def _against(found: Selection, name: str, best: str) -> dict[str, object]:
    if name == best:
        return {"verdict": BEST, "worse_by": 0.0, "se": None}
    pair = found.difference(name, best)
    verdict = WORSE if pair["distinguishable"] else EQUAL
    return {"verdict": verdict, "worse_by": pair["difference"], "se": pair["se"]}


def _fit(one: Outcome) -> dict[str, object]:
    cells = one.frames["cells"]
    n = cells["n"].to_numpy().astype(np.float64)
    crossing = cells["crossing_share"].cast(pl.Float64).to_numpy()
    known = np.isfinite(crossing)
    return {
        "columns": float(n @ cells["p"].to_numpy() / n.sum()),
        "crossing": 100 * float(n[known] @ crossing[known] / n[known].sum()) if known.any() else None,
    }


def _calibration(shares: pl.DataFrame) -> dict[str, object]:
    part = shares.filter(by="prior")
    if part.is_empty():
        return {"calibration": None, "calibration_chance": None}
    off, se = part["off"].to_numpy(), part["se"].to_numpy()
    return {
        "calibration": float(np.sqrt(np.mean(off**2))),
        "calibration_chance": float(np.sqrt(np.mean(se**2))),
    }


def _neutrality(found: Selection, name: str) -> dict[str, object]:
    rows = found.neutrality.filter(pl.col("spec") == name, pl.col("r").is_finite())
    rows = rows.filter(pl.col("year") == pl.col("year").max()).sort(pl.col("r").abs(), descending=True)
    prior, flag = (rows.filter(kind=kind).head(1) for kind in ("prior", "flag"))
    ends = ("r", "r_low", "r_high")
    row: dict[str, object] = {
        f"r_prior{end.removeprefix('r')}": prior[end].item() if prior.height else None for end in ends
    }
    return row | {
        "r_share": flag["r"].item() if flag.height else None,
        "share": flag["column"].item() if flag.height else None,
    }


def _schools(found: Selection, name: str) -> dict[str, object]:
    rows = found.statistics.filter(spec=name)
    rows = rows.filter(pl.col("year") == pl.col("year").max())
    known = {column: rows[column].drop_nulls().cast(pl.Float64).to_numpy() for column in _SCHOOLS}
    return {column: float(values.mean()) if len(values) else None for column, values in known.items()}


def _sentence(row: dict[str, object], best: str) -> str:
    name, loss = row["spec"], f"{row['loss']:.2f} %"
    if row["verdict"] == BEST:
        text = f"{name} has the least held-out loss, {loss} of that without any model"
    else:
        size = f"{row['worse_by']:+.2f} points, SE {row['se']:.2f}"
        text = f"{name} is {row['verdict']} {'than' if row['verdict'] == WORSE else 'from'} {best} ({size})"
    if row["r_prior"] is None:
        return text + "."
    low, high = row["r_prior_low"], row["r_prior_high"]
    apart = low is not None and high is not None and (float(str(low)) > 0 or float(str(high)) < 0)
    tied = "go with" if apart else "show no certain relation to"
    return f"{text}; its school results {tied} prior scores (r = {row['r_prior']:+.2f})."
