"""Moves of students: what they reach is never more than a linear program finds, and mostly as much."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.sparse import block_diag, eye_array, hstack, vstack

from growth.errors import GrowthError
from growth.release import suppression
from growth.release.moves import Moves
from growth.release.published import count_table, shown_results
from growth.release.suppression import CountTable, bounds, protected
from growth.spec import GrowthSpec

CLOSE = 1e-6
"""Tolerance of the linear programs, in students."""
LEAST = 20
"""min_n of the preset core."""
RACES = ("A", "B", "F", "H", "T", "W", "P")
SHARES = (0.1, 0.14, 0.02, 0.45, 0.06, 0.2, 0.02)


def city(schools: int, seed: int, size: float = 4.6) -> pl.DataFrame:
    """Return the counts of a subject and year: many small groups, some small schools."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, int]] = []
    for school in range(schools):
        n = max(int(rng.lognormal(size, 0.8)), 1)
        own = [("All", n)]
        own += [(f, int(rng.binomial(n, rng.beta(4 * p, 4 - 4 * p)))) for f, p in (("EL", 0.2), ("SED", 0.6))]
        races = rng.multinomial(n, [*(0.99 * rng.dirichlet(8 * np.array(SHARES))), 0.01])
        own += [(f"race:{race}", int(k)) for race, k in zip(RACES, races[:-1], strict=True)]
        rows += [(f"S{school:05d}", group, k) for group, k in own if k or group == "All"]
    frame = pl.DataFrame(rows, schema=["school_id", "group", "n"], orient="row")
    return frame.with_columns(
        pl.lit(2025, dtype=pl.Int32).alias("year"),
        pl.lit("MATH").alias("subject"),
        pl.lit(None, dtype=pl.String).alias("group_detail"),
    )


def moves_of(table: CountTable, shown: np.ndarray) -> Moves:
    columns = int(np.count_nonzero(table.unit < 0))
    return Moves(table.value.reshape(-1, columns), ~shown.reshape(-1, columns), table.partitions)


@pytest.mark.parametrize("seed", range(6))
def test_moves_reach_no_further_than_the_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (
        table,
        shown,
    ) = setup(7, seed, size=3.4)
    for _ in range(3):
        room = moves_of(table, shown).room().ravel()
        exact = 0
        for cell in np.flatnonzero(~shown[: len(room)])[::3].tolist():
            low, high = bounds(table, shown, cell)
            assert room[cell] <= high - low + CLOSE
            exact += room[cell] >= min(high - low, LEAST) - CLOSE
        assert exact > 0
        cells = np.flatnonzero(shown & np.isfinite(table.cost))
        shown = shown.copy()
        shown[rng.choice(cells, len(cells) // 4, replace=False)] = False


def setup(schools: int, seed: int, size: float = 4.6) -> tuple[CountTable, np.ndarray]:
    table, _, shown = count_table(city(schools, seed, size), (LEAST, LEAST))
    return table, shown & ~table.sensitive


def test_a_change_is_as_if_it_had_always_been_so() -> None:
    table, shown = setup(30, 4)
    moves = moves_of(table, shown)
    rng = np.random.default_rng(0)
    last = table.unit < 0
    for cell in rng.choice(np.flatnonzero(~last), 60).tolist():
        shown[cell] = ~shown[cell]
        moves.change(cell, hidden=not shown[cell])
    fresh = moves_of(table, shown)
    assert np.array_equal(moves.room(), fresh.room())
    one_by_one = [moves.room_of(cell) for cell in np.flatnonzero(~last).tolist()]
    assert one_by_one == fresh.room().ravel().tolist()


@pytest.mark.parametrize("seed", range(3))
def test_every_small_count_is_protected_in_full_view(seed: int) -> None:
    table, _, may = count_table(city(25, seed), (LEAST, LEAST))
    shown = protected(table, may, LEAST)
    cells = np.flatnonzero(table.sensitive)
    assert len(cells) > 100
    for cell in cells.tolist():
        low, high = bounds(table, shown, cell)
        assert high - low >= LEAST - CLOSE


def test_hardly_more_is_hidden_than_by_programs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    table, _, may = count_table(city(20, 9), (LEAST, LEAST))
    quick = protected(table, may, LEAST)
    monkeypatch.setattr(suppression, "_moves", lambda *_: None)
    exact = protected(table, may, LEAST)
    lost = np.count_nonzero(may & ~exact)
    assert lost > 0
    assert abs(np.count_nonzero(may & ~quick) - lost) <= 0.15 * lost + 1


def test_subjects_together_give_nothing_away_either() -> None:
    """Results over all subjects add up to those of each: the three tables are attacked as one."""
    parts = [
        city(16, seed).with_columns(pl.lit(name).alias("subject")) for seed, name in ((1, "A"), (2, "B"))
    ]
    keys = ["year", "subject", "group", "school_id"]
    every = parts[0].select("school_id").unique().join(pl.concat(parts).select("group").unique(), how="cross")
    parts = [every.join(part, on=["school_id", "group"], how="left") for part in parts]
    parts = [part.with_columns(pl.col("n").fill_null(0), pl.col("year", "subject").max()) for part in parts]
    both = parts[0].join(parts[1], on=["school_id", "group"], suffix="_other")
    whole = both.select(
        "school_id", "group", pl.col("n") + pl.col("n_other"), "year", pl.lit("ALL").alias("subject")
    )
    counts = pl.concat([*parts, whole], how="diagonal")
    told = shown_results(counts, GrowthSpec.preset("core")).select(*keys, "shown")
    tables, shown, sensitive = [], [], []
    for part in counts.partition_by("subject", maintain_order=True):
        table, cells, may = count_table(part, (LEAST, LEAST))
        safe = np.where(table.unit < 0, may, False)
        safe[cells] = part.join(told, on=keys, how="left", maintain_order="left")["shown"].to_numpy()
        tables.append(table)
        shown.append(safe)
        sensitive.append(table.sensitive)
    one = eye_array(len(tables[0].value))
    sums = hstack([one, one, -one])
    joint = CountTable(
        value=np.concatenate([table.value for table in tables]),
        relations=vstack([block_diag([table.relations for table in tables]), sums], format="csr"),
        unit=np.concatenate([table.unit for table in tables]),
        sensitive=np.concatenate(sensitive),
        cost=np.concatenate([table.cost for table in tables]),
    )
    assert not (joint.relations @ joint.value).any()
    cells = np.flatnonzero(joint.sensitive)
    assert len(cells) > 100
    for cell in cells[::2].tolist():
        low, high = bounds(joint, np.concatenate(shown), cell)
        assert high - low >= LEAST - CLOSE


def test_a_school_may_be_shown_from_fewer_than_its_groups() -> None:
    spec = GrowthSpec.preset("core").replace({"school.min_n": 12, "groups.min_n": 25})
    counts = city(60, 3, size=3.8)
    shown = counts.join(shown_results(counts, spec), on=["year", "subject", "group", "school_id"])
    everyone = pl.col("group") == "All"
    assert 12 <= shown.filter(everyone & pl.col("shown"))["n"].min() < 20  # type: ignore[operator]
    assert shown.filter(~everyone & pl.col("shown"))["n"].min() >= 25  # type: ignore[operator]


def test_large_tables_take_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes ten thousand schools a matter of seconds."""

    def never(*_: object) -> list[int]:
        raise GrowthError("a program was asked for")

    monkeypatch.setattr(suppression, "_programs", never)
    counts = city(1_500, 5)
    shown = shown_results(counts, GrowthSpec.preset("core"))["shown"]
    assert 0.8 < shown.sum() / counts.filter(pl.col("n") >= LEAST).height < 1.0
