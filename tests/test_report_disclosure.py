"""A solver reads the page and tries to work out what it withholds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from report_system import RACES, MadeRun, made_run
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array

from growth.report import render_report, report_input
from growth.report.disclosure import publishable_ledger

CLOSE = 1e-6
"""Tolerance of the linear programs, in students."""
LEAST = 20
"""min_n of the preset core."""
MOST = 10_000
"""Students in a group of a school: what the solver assumes without being told."""
FLAGS = {
    "English learners": "EL",
    "Students with disabilities": "SWD",
    "Socioeconomically disadvantaged": "SED",
}


class Attack:
    """Everything that a page tells about the numbers of students in one subject and year, as equations."""

    def __init__(self, page: str, at: tuple[int, int], totals: dict[str, int], races: list[str]) -> None:
        data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
        self.told = told_counts(data, at)
        flags = list(FLAGS)
        self.schools = sorted({school for school, _ in self.told})
        kinds = ["All students", *flags, *races, *(f"not {flag}" for flag in flags), "no race"]
        self.place = {name: i for i, name in enumerate((s, kind) for s in self.schools for kind in kinds)}
        self.rows: list[dict[int, float]] = []
        self.right: list[float] = []
        for s in self.schools:
            for flag in flags:
                self.know({(s, "All students"): 1, (s, flag): -1, (s, f"not {flag}"): -1}, 0)
            parts = {(s, "no race"): -1.0} | {(s, race): -1.0 for race in races}
            self.know({(s, "All students"): 1.0} | parts, 0)
        for kind, total in totals.items():
            if kind in kinds:
                self.know({(s, kind): 1 for s in self.schools}, total)
        for name, n in self.told.items():
            if n is not None:
                self.know({name: 1}, n)

    def know(self, terms: dict[tuple[str, str], float], total: float) -> None:
        self.rows.append({self.place[name]: sign for name, sign in terms.items()})
        self.right.append(total)

    @property
    def matrix(self) -> csr_array:
        values = [sign for row in self.rows for sign in row.values()]
        lines = [i for i, row in enumerate(self.rows) for _ in row]
        return csr_array(
            (values, (lines, [k for row in self.rows for k in row])), shape=(len(self.rows), len(self.place))
        )

    def range_of(self, name: tuple[str, str], *, whole: bool = False) -> tuple[float, float]:
        """Return the least and the largest number that agree with the page; of whole students if asked."""
        aim = np.zeros(len(self.place))
        aim[self.place[name]] = 1
        ends = []
        for sign in (1, -1):
            if whole:
                right = np.array(self.right)
                known = LinearConstraint(self.matrix, right, right)
                found = milp(sign * aim, constraints=known, integrality=1, bounds=Bounds(0, MOST))
            else:
                found = linprog(sign * aim, A_eq=self.matrix, b_eq=self.right, bounds=(0, MOST))
            assert found.status == 0
            ends.append(sign * found.fun)
        return ends[0], ends[1]


def told_counts(data: dict[str, Any], at: tuple[int, int]) -> dict[tuple[str, str], int | None]:
    """Return the numbers of students in the embedded data; None of schools without."""
    rows = data["rows"]
    told: dict[tuple[str, str], int | None] = {}
    for year, subject, group, school, n in zip(
        rows["year"], rows["subject"], rows["group"], rows["school"], rows["n"], strict=True
    ):
        name = data["groups"][group]
        if (year, subject) == at and "owest" not in name:
            told[data["schools"]["id"][school], name] = n
    return told


def truth_of(run: MadeRun, year: int, subject: str) -> dict[tuple[str, str], int]:
    """Return all numbers of students, with those outside of each group."""
    labels = {"All": "All students"} | {code: name for name, code in FLAGS.items()}
    rows = run.polars("schools").filter(pl.col("group") != "race:lowest", year=year, subject=subject)
    counts = {
        (school, labels.get(group, group.removeprefix("race:"))): n
        for school, group, n in rows.select("school_id", "group", "n").iter_rows()
    }
    schools = {school for school, _ in counts}
    outside = {
        (school, f"not {flag}"): counts[school, "All students"] - counts.get((school, flag), 0)
        for school in schools
        for flag in FLAGS
    }
    return counts | outside


def totals_of(run: MadeRun, year: int, subject: str) -> dict[str, int]:
    """Return the numbers of all schools together that the ledger tells, of earlier years as well."""
    labels = {"all": "All students"} | {run.spec.groups.flags[code]: name for name, code in FLAGS.items()}
    ledger = publishable_ledger(run.polars("fairness"), run.spec).filter(year=year, subject=subject)
    told = ledger.filter(pl.col("n").is_not_null()).select("kind", "column", "level", "n").iter_rows()
    totals = {level if kind == "race" else labels.get(column): n for kind, column, level, n in told}
    truth = truth_of(run, year, subject)
    for kind, n in totals.items():
        assert kind is None or n == sum(k for (_, name), k in truth.items() if name == kind)
    return {kind: n for kind, n in totals.items() if kind is not None}


@pytest.mark.parametrize("seed", range(4))
def test_no_hidden_number_can_be_worked_out(seed: int) -> None:
    years = (2024, 2025) if seed == 0 else (2025,)
    run = made_run(14 + 3 * seed, years=years, seed=seed)
    page = render_report(run)
    attacked = 0
    for at_year, year in enumerate(years):
        for at_subject, subject in enumerate(("ELA", "MATH")):
            attack = Attack(page, (at_year, at_subject), totals_of(run, year, subject), list(RACES))
            truth = truth_of(run, year, subject)
            small = [name for name, n in sorted(truth.items()) if 0 < n < LEAST]
            for name in small[seed % 2 :: 2]:
                low, high = attack.range_of(name)
                assert low - CLOSE <= truth[name] <= high + CLOSE
                assert high - low >= LEAST - CLOSE, name
            low, high = attack.range_of(small[len(small) // 2], whole=True)
            assert high - low >= LEAST
            attacked += len(small) // 2
    assert attacked > 60


def test_the_solver_finds_what_is_given_away() -> None:
    """With one more number told, that of a school's largest hidden group, others follow."""
    run = made_run(14, seed=1)
    attack = Attack(render_report(run), (0, 1), totals_of(run, 2025, "MATH"), list(RACES))
    truth = truth_of(run, 2025, "MATH")
    hidden = [name for name in attack.place if name in truth and attack.told.get(name) is None]
    hidden = [name for name in hidden if truth[name] >= LEAST]
    narrowed = 0
    for told in hidden:
        attack.know({told: 1}, truth[told])
        for name in (other for other in attack.place if other[0] == told[0] and other in truth):
            if 0 < truth[name] < LEAST:
                low, high = attack.range_of(name)
                narrowed += high - low < LEAST - CLOSE
        attack.rows.pop()
        attack.right.pop()
    assert narrowed > 0


def test_results_of_several_years_come_with_the_latest_count_only() -> None:
    """The difference of two windows of years would be a count of single years."""
    run = made_run(20, years=(2024, 2025))
    page = render_report(replace(report_input(run), spec=run.spec.replace({"school.years": 3})))
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    counts = pl.DataFrame({name: data["rows"][name] for name in ("year", "n")})
    assert counts.filter(year=0)["n"].count() == 0 < counts.filter(year=1)["n"].count()
    assert "20 or more" in page


def test_every_percentage_of_a_group_is_of_numbers_that_are_told() -> None:
    """What the page derives (shares of groups, sums of districts) comes from the embedded rows."""
    run = made_run(30)
    page = render_report(run)
    data = json.loads(page.split('id="data">', 1)[1].split("</script>", 1)[0])
    told = told_counts(data, (0, 0))
    for district in range(len(data["schools"]["districts"])):
        at = data["districts"]["name"].index(data["schools"]["districts"][district])
        places = zip(data["schools"]["id"], data["schools"]["district"], strict=True)
        own = [school for school, place in places if place == district]
        assert data["districts"]["n"][at] == sum(told[s, "All students"] or 0 for s in own)
    assert not re.findall(r'"(mean|median)_percentile"', page)
    for others in data["similar"]:
        # the order of similar schools, and no distances, which would locate hidden shares
        assert all(isinstance(other, int) and isinstance(signs, str) for other, signs in others or ())
