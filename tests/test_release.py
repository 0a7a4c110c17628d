"""Exports: nobody works out a small count, ids need a key, names are safe, every column is explained."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.optimize import linprog
from scipy.sparse import csr_array
from typer.testing import CliRunner

import growth
from growth import GrowthRun
from growth.cli import app
from growth.errors import GrowthError, SpecError
from growth.release import (
    LAYOUTS,
    Coarse,
    Terms,
    export_frame,
    export_run,
    hashed,
    published_results,
    read_key,
)
from growth.release.suppression import CountTable, bounds, protected
from growth.school.groups import ALL, LOWEST_RACE, RACE
from growth.store import save_run

CLOSE = 1e-6
"""Tolerance of the linear programs, in students."""
LEAST = 20
"""groups.min_n of the preset core."""
ALIKE = 4.0
"""Growth scores in SDs and in points agree where all grades spread alike, which they nearly do."""
KEY = b"0123456789abcdef0123456789abcdef"
KEYS = ["year", "subject", "group", "school_id"]


def two_way(values: list[list[int]], least: int) -> tuple[CountTable, np.ndarray]:
    """Return a table of units x groups with published totals of both."""
    inner = np.array(values)
    full = np.block([[inner, inner.sum(1, keepdims=True)], [inner.sum(0, keepdims=True), inner.sum()]])
    rows, columns = full.shape
    cell = np.arange(full.size).reshape(full.shape)
    relations = np.zeros((rows + columns, full.size))
    for i in range(rows):
        relations[i, cell[i, :-1]], relations[i, cell[i, -1]] = 1, -1
    for j in range(columns):
        relations[rows + j, cell[:-1, j]], relations[rows + j, cell[-1, j]] = 1, -1
    inside = np.zeros(full.shape, dtype=bool)
    inside[:-1, :-1] = True
    sensitive = inside & (full > 0) & (full < least)
    unit = np.repeat(np.append(np.arange(rows - 1), -1), columns)
    cost = np.where(inside, 1.0 + full / 1000, np.inf)
    table = CountTable(full.ravel(), csr_array(relations), unit, sensitive.ravel(), cost.ravel())
    return table, ~sensitive.ravel()


class TestSuppression:
    def test_a_single_small_count_costs_three_more(self) -> None:
        """Of a two-way table with all totals, a count is safe only on a rectangle of hidden ones."""
        table, shown = two_way([[5, 30, 40], [50, 60, 70], [80, 25, 90]], 10)
        assert bounds(table, shown, 0) == (5, 5)
        safe = protected(table, shown, 10)
        assert np.count_nonzero(~safe) == 4
        low, high = bounds(table, safe, 0)
        assert high - low >= 10

    def test_it_is_the_cheapest_of_all_ways(self) -> None:
        rng = np.random.default_rng(5)
        for _ in range(4):
            values = rng.integers(12, 60, (3, 3))
            values[tuple(rng.integers(0, 3, 2))] = rng.integers(1, 9)
            table, shown = two_way(values.tolist(), 10)
            cell = int(np.flatnonzero(table.sensitive)[0])
            safe = protected(table, shown, 10)
            paid = table.cost[shown & ~safe].sum()
            others = np.flatnonzero(shown & np.isfinite(table.cost))
            best = np.inf
            for size in range(len(others) + 1):
                for hidden in itertools.combinations(others, size):
                    price = table.cost[list(hidden)].sum() if hidden else 0.0
                    if price >= best:
                        continue
                    tried = shown.copy()
                    tried[list(hidden)] = False
                    low, high = bounds(table, tried, cell)
                    if high - low >= 10 - CLOSE:
                        best = price
            assert paid == pytest.approx(best)

    def test_large_tables_are_protected_in_full_view(self) -> None:
        rng = np.random.default_rng(2)
        values = rng.poisson(rng.choice([4, 30, 80], (60, 4)))
        table, shown = two_way(values.tolist(), 10)
        safe = protected(table, shown, 10)
        for cell in np.flatnonzero(table.sensitive)[::9]:
            low, high = bounds(table, safe, int(cell))
            assert high - low >= 10 - CLOSE

    def test_what_totals_give_away_is_refused(self) -> None:
        table, shown = two_way([[5, 30]], 10)
        with pytest.raises(GrowthError, match="ask for fewer groups"):
            protected(table, shown, 10)


@pytest.fixture(scope="module")
def published(city_run: GrowthRun) -> pl.DataFrame:
    return published_results(city_run)


class TestPublished:
    def test_nothing_small_is_shown(self, published: pl.DataFrame) -> None:
        assert published["n"].min() >= LEAST
        hidden = published.filter(pl.col("n").is_null())
        assert (hidden["reason"] == "withheld").all()
        results = [n for n in hidden.columns if n not in (*KEYS, "reason")]
        assert hidden.select(pl.col(results).null_count()).row(0) == (hidden.height,) * len(results)
        assert published.filter(pl.col("group") != ALL)["mean_percentile"].null_count() > 0
        assert published.filter(pl.col("group") != ALL)["mean_percentile"].count() == 0

    def test_what_is_shown_is_what_the_run_says(self, published: pl.DataFrame, city_run: GrowthRun) -> None:
        both = published.drop_nulls("n").join(city_run.polars("schools"), on=KEYS, suffix="_run")
        assert both.height == published["n"].count() > 50
        assert both["n"].equals(both["n_run"].rename("n"))
        assert both["growth_percentile"].equals(both["growth_percentile_run"].rename("growth_percentile"))

    def test_empty_groups_look_like_small_ones(self, published: pl.DataFrame, city_run: GrowthRun) -> None:
        schools = published["school_id"].n_unique()
        per_group = published.group_by("year", "subject", "group").len()
        assert (per_group["len"] == schools).all()
        assert published.height > city_run.polars("schools").height

    def test_subjects_withhold_together(self, published: pl.DataFrame) -> None:
        shown = published.group_by("year", "group", "school_id").agg(pl.col("n").is_not_null().n_unique())
        assert (shown.filter(pl.col("group") != LOWEST_RACE)["n"] == 1).all()

    def test_a_solver_cannot_work_out_small_counts(
        self, published: pl.DataFrame, city_run: GrowthRun
    ) -> None:
        """Bound every hidden count by all that is published, system totals of the ledger included."""
        attacked = 0
        truth = city_run.polars("schools").filter(pl.col("group") != LOWEST_RACE)
        for (_, subject), part in published.filter(pl.col("group") != LOWEST_RACE).group_by(
            "year", "subject"
        ):
            real = dict(
                truth.filter(subject=subject).select("school_id", "group", "n").rows_by_key("school_id")
            )
            counts = {(s, g): n for s, rows in real.items() for g, n in rows}
            attacked += attack(part, counts)
        assert attacked > 20


def attack(part: pl.DataFrame, truth: dict[tuple[str, str], int]) -> int:
    """Solve for every hidden count and every number of others; return how many small ones were hidden."""
    schools = sorted(part["school_id"].unique())
    groups = sorted(part["group"].unique())
    flags = [g for g in groups if g != ALL and not g.startswith(RACE)]
    races = [g for g in groups if g.startswith(RACE)]
    names = [(s, g) for s in schools for g in [*groups, *(f"not {f}" for f in flags), "no race"]]
    at = {name: i for i, name in enumerate(names)}
    rows: list[dict[int, float]] = []
    right: list[float] = []

    def require(terms: dict[tuple[str, str], float], total: float) -> None:
        rows.append({at[name]: sign for name, sign in terms.items()})
        right.append(total)

    for s in schools:
        for f in flags:
            require({(s, ALL): 1, (s, f): -1, (s, f"not {f}"): -1}, 0)
        require({(s, ALL): 1, (s, "no race"): -1} | {(s, r): -1 for r in races}, 0)
    for g in groups:
        total = sum(truth.get((s, g), 0) for s in schools)
        if total >= LEAST:
            require({(s, g): 1 for s in schools}, total)
    for s, g, n in part.select("school_id", "group", "n").iter_rows():
        if n is not None:
            require({(s, g): 1}, n)
    matrix = csr_array(
        (
            [v for row in rows for v in row.values()],
            ([i for i, row in enumerate(rows) for _ in row], [k for row in rows for k in row]),
        ),
        shape=(len(rows), len(names)),
    )
    small = 0
    for s in schools:
        everyone = truth[(s, ALL)]
        for g in [*groups, *(f"not {f}" for f in flags)]:
            n = everyone - truth.get((s, g[4:]), 0) if g.startswith("not ") else truth.get((s, g), 0)
            if not 0 < n < LEAST:
                continue
            small += 1
            aim = np.zeros(len(names))
            aim[at[(s, g)]] = 1
            low, high = (
                sign * linprog(sign * aim, A_eq=matrix, b_eq=right, bounds=(0, 10_000)).fun
                for sign in (1, -1)
            )
            assert low - CLOSE <= n <= high + CLOSE
            assert high - low >= LEAST - CLOSE, g
    return small


class TestIds:
    def test_hashes_depend_on_the_key_and_nothing_else(self) -> None:
        ids = pl.Series(["001", "1", None, "001"])
        first = hashed(ids, KEY, "student")
        assert first.to_list() == hashed(ids, KEY, "student").to_list()
        assert first[0] == first[3] != first[1]
        assert first[2] is None
        assert first[0] != hashed(ids, KEY[::-1], "student")[0] != hashed(ids, KEY, "school")[0]
        assert len(first[0]) == 32

    def test_it_is_the_standard_construction(self) -> None:
        import hashlib
        import hmac

        wanted = hmac.new(KEY, b"student\n42", hashlib.sha256).hexdigest()[:32]
        assert hashed(pl.Series(["42"]), KEY, "student").item() == wanted

    def test_keys_come_from_a_file_or_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "key").write_bytes(KEY + b"\n")
        assert read_key(tmp_path / "key") == KEY
        monkeypatch.setenv("GROWTH_ID_KEY", KEY.decode())
        assert read_key() == KEY
        monkeypatch.setenv("GROWTH_ID_KEY", "short-secret")
        with pytest.raises(GrowthError, match="short") as caught:
            read_key()
        assert "secret" not in str(caught.value)
        monkeypatch.delenv("GROWTH_ID_KEY")
        with pytest.raises(GrowthError, match="no key"):
            read_key()
        with pytest.raises(GrowthError, match="cannot be read"):
            read_key(tmp_path / "nothing")

    def test_files_of_students_need_one(self, city_run: GrowthRun) -> None:
        for layout in ("sgp", "research"):
            with pytest.raises(GrowthError, match="key"):
                export_frame(city_run, layout)
        with pytest.raises(GrowthError, match="Plain ids"):
            export_frame(city_run, "research", Terms(key=KEY, plain_ids=True))
        with pytest.raises(GrowthError, match="did you mean 'long'"):
            export_frame(city_run, "lon")
        assert KEY.decode() not in repr(Terms(key=KEY))


class TestLayouts:
    @pytest.mark.parametrize("layout", ["long", "wide", "sgp", "research"])
    def test_every_column_is_in_the_dictionary(
        self, city_run: GrowthRun, tmp_path: Path, layout: str
    ) -> None:
        folder = export_run(city_run, layout, tmp_path / "out", Terms(key=KEY))
        frame = pl.read_parquet(folder / f"{layout}.parquet")
        words = pl.read_csv(folder / "dictionary.csv")
        assert words["column"].to_list() == frame.columns
        assert words["text"].null_count() == words["unit"].null_count() == 0
        assert pl.read_csv(folder / f"{layout}.csv", infer_schema=False).shape == frame.shape

    def test_wide_is_long(self, city_run: GrowthRun, published: pl.DataFrame) -> None:
        wide = export_frame(city_run, "wide")
        assert wide.height == published["school_id"].n_unique()
        for row in published.sample(40, seed=1).iter_rows(named=True):
            found = wide.filter(school_id=row["school_id"], year=row["year"])
            for measure in ("n", "growth_percentile", "level"):
                assert found[f"{row['subject']}.{row['group']}.{measure}"].item() == row[measure]

    def test_sgp_has_the_names_of_the_package(self, city_run: GrowthRun) -> None:
        frame = export_frame(city_run, "sgp", Terms(plain_ids=True))
        students = city_run.polars("students").filter("highest")
        assert {"VALID_CASE", "ID", "YEAR", "CONTENT_AREA", "GRADE", "SCALE_SCORE", "SGP"} <= set(
            frame.columns
        )
        assert frame["ID"].equals(students["student_id"].rename("ID"))
        assert frame["SGP"].equals(students["sgp"].rename("SGP"))
        assert (frame["VALID_CASE"] == "VALID_CASE").sum() == students["score"].count()
        secret = export_frame(city_run, "sgp", Terms(key=KEY))
        assert not set(secret["ID"]) & set(students["student_id"])
        assert secret["ID"].n_unique() == students["student_id"].n_unique()

    def test_research_rows_have_company(self, city_run: GrowthRun) -> None:
        frame = export_frame(city_run, "research", Terms(key=KEY, coarse=Coarse(20, 0.05)))
        groups = ["english_learner", "disability", "econ_disadvantaged", "race_ethnicity"]
        crowd = frame.select(pl.len().over(["year", "subject", "grade", "school", *groups])).to_series()
        assert crowd.min() >= LEAST
        scored = city_run.polars("students").filter("highest", status="scored")
        assert 0.9 * scored.height < frame.height <= scored.height
        assert frame["school"].count() > 0
        assert ((frame["score"] - 10) % 20 == 0).all()
        ends = frame.filter(subject="ELA", grade=5)["score"]
        assert (ends == ends.max()).mean() >= 0.05
        ids = set(scored["student_id"]) | set(scored["school_id"])
        assert not ids & (set(frame["student"]) | set(frame["school"].drop_nulls()))
        with pytest.raises(SpecError, match="not usable"):
            Coarse(0, 0.1)

    def test_california(self, city_file: Path, city_run: GrowthRun) -> None:
        with pytest.raises(SpecError, match="mean residuals"):
            export_frame(city_run, "california")
        changes = {
            "school.aggregate": "mean_residual",
            "peers.composition": "none",
            "school.shrinkage": "none",
        }
        run = growth.run(city_file, city_run.spec.replace(changes))
        frame = export_frame(run, "california")
        assert frame.columns[:3] == ["cds", "rtype", "schoolname"]
        assert {"ALL", "EL", "SED", "SWD", "HI", "WH", "MR", "PI"} <= set(frame["studentgroup"])
        everyone = frame.filter(studentgroup="ALL", subject="ELA").sort("cds")
        own = run.polars("schools").filter(group="All", subject="ELA").sort("school_id")
        assert everyone["growthscore"].to_list() == (100 + own["effect"]).round(1).to_list()
        assert frame.filter(pl.col("n_growthscores") < 30)["decilerank"].count() == 0
        assert frame["decilerank"].count() > 0
        assert set(frame["reported_which"].drop_nulls()) == {"simple average"}
        scaled = growth.run(city_file, run.spec.replace({"school.residual_scale": "cohort_sd"}))
        near = export_frame(scaled, "california").filter(studentgroup="ALL", subject="ELA").sort("cds")
        assert np.abs(near["growthscore"] - everyone["growthscore"]).max() < ALIKE

    def test_names_of_schools_are_safe_in_spreadsheets(self, city_file: Path, tmp_path: Path) -> None:
        city = pl.read_csv(city_file, schema_overrides={"student_id": pl.String, "school_id": pl.String})
        for sign in "=+-@\t":
            named = city.with_columns(
                pl.lit(sign + "cmd|'/c calc'!A0 ").alias("school_id") + pl.col("school_id")
            )
            spec = growth.GrowthSpec.preset("core").replace(
                {"cohorts.grades": (5,), "peers.composition": "none", "groups.race": "", "groups.flags": {}}
            )
            run = growth.run(named, spec)
            for layout in ("long", "wide", "sgp"):
                folder = export_run(run, layout, tmp_path / f"{ord(sign)}{layout}", Terms(key=KEY))
                lines = (folder / f"{layout}.csv").read_text().splitlines()
                assert not any(
                    cell.lstrip('"')[:1] in "=+@\t" for line in lines for cell in line.split(",") if cell
                )
                assert f"'{sign}cmd" in lines[1]

    def test_the_command(self, city_run: GrowthRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("GROWTH_ID_KEY", raising=False)
        folder = save_run(city_run, tmp_path / "run")

        def command(*arguments: object) -> int:
            return CliRunner().invoke(app, ["export", str(folder), *map(str, arguments)]).exit_code

        assert command("--out", tmp_path / "a") == 0
        assert (tmp_path / "a" / "long.csv").is_file()
        assert command("--layout", "sgp", "--out", tmp_path / "b") == 1
        (tmp_path / "key").write_bytes(KEY)
        assert command("--layout", "sgp", "--key-file", tmp_path / "key", "--out", tmp_path / "b") == 0
        assert command("--layout", "sgp", "--plain-ids", "--out", tmp_path / "b", "--overwrite") == 0
        assert set(LAYOUTS) == {"long", "wide", "sgp", "california", "research"}
        assert "GROWTH_ID_KEY" not in os.environ
