"""Who is in which cohort, against a slow obvious twin; covariates, knot scores, and the account of rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth.errors import CohortError
from growth.panel import Panel, PanelSet, Pattern, Prior, build_panels, read_table
from growth.spec import GrowthSpec

PLAIN = GrowthSpec.from_dict({"groups": {"flags": {}, "race": "", "lowest_race": False}})

Record = tuple[int, float | None]  # grade, score
Records = dict[tuple[str, int, str], Record]  # student, year, subject


def frame_of(records: Records) -> pl.DataFrame:
    rows = [(*key, *value) for key, value in records.items()]
    schema = {
        "student_id": pl.String,
        "year": pl.Int64,
        "subject": pl.String,
        "grade": pl.Int64,
        "score": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(school_id=pl.lit("s"))


def build(records: Records, spec: GrowthSpec) -> PanelSet:
    return build_panels(read_table(frame_of(records), spec), spec)


# The twin: one student at a time, straight from the definition.


@dataclass
class TwinCell:
    depth: dict[str, dict[str, int]] = field(default_factory=dict)  # student -> subject -> usable priors
    repeats: set[str] = field(default_factory=set)
    status: dict[str, str] = field(default_factory=dict)


def twin_depth(
    records: Records, student: str, subject: str, year: int, grade: int, steps: tuple[int, ...]
) -> int:
    depth = 0
    for step in steps:
        found = records.get((student, year - (grade - step), subject))
        if found is None or found[0] != step or found[1] is None:
            break
        depth += 1
    return depth


def twin_cell(records: Records, subject: str, year: int, grade: int, spec: GrowthSpec) -> TwinCell:
    steps = twin_steps(records, grade, spec)
    subjects = {key[2] for key in records}
    cell = TwinCell()
    for (student, when, what), (in_grade, score) in records.items():
        if (when, what, in_grade) != (year, subject, grade):
            continue
        own = twin_depth(records, student, subject, year, grade, steps[: spec.cohorts.own_priors])
        cell.depth[student] = {
            name: twin_depth(records, student, name, year, grade, steps[: spec.cohorts.other_priors])
            for name in subjects - {subject}
        } | {subject: own}
        before = records.get((student, year - 1, subject))
        first = records.get((student, year - (grade - steps[0]), subject)) if steps else None
        if before is not None and before[0] == grade:
            cell.repeats.add(student)
        if score is None:
            cell.status[student] = "no_current_score"
        elif student in cell.repeats and spec.cohorts.repeaters == "exclude":
            cell.status[student] = "repeater"
        elif student in cell.repeats:
            cell.status[student] = "no_prior_score" if before[1] is None else "candidate"
        elif own:
            cell.status[student] = "candidate"
        else:
            off_path = first is not None and first[0] != steps[0]
            cell.status[student] = "off_path" if off_path else "no_prior_score"
    return cell


def twin_steps(records: Records, grade: int, spec: GrowthSpec) -> tuple[int, ...]:
    lowest = min(grade for grade, _ in records.values())
    return spec.cohorts.progressions.get(grade) or tuple(range(grade - 1, lowest - 1, -1))


def twin_panels(
    records: Records, spec: GrowthSpec
) -> tuple[dict[str, list[str]], dict[tuple[str, str], tuple[str, str | None]]]:
    """Return key -> members, and (subject, student) -> (status, key of the highest panel)."""
    year = max(key[1] for key in records)
    enough = max(spec.cohorts.min_cohort, 1)
    panels: dict[str, list[str]] = {}
    current: dict[tuple[str, str], tuple[str, str | None]] = {}
    for subject, grade in sorted({(key[2], value[0]) for key, value in records.items() if key[1] == year}):
        steps = twin_steps(records, grade, spec)
        if not steps or not any(
            key[1:] == (year - (grade - steps[0]), subject) and value[0] == steps[0]
            for key, value in records.items()
        ):
            continue
        cell = twin_cell(records, subject, year, grade, spec)
        candidates = [student for student, status in cell.status.items() if status == "candidate"]
        path = [student for student in candidates if student not in cell.repeats]
        fullest = max((cell.depth[student][subject] for student in path), default=0)
        available = {
            name: max(
                (
                    m
                    for m in range(1, spec.cohorts.other_priors + 1)
                    if sum(cell.depth[student][name] >= m for student in path) >= enough
                ),
                default=0,
            )
            for name in {key[2] for key in records} - {subject}
        }
        tried = []
        for own in range(1, fullest + 1):
            for other in range(max(available.values(), default=0) + 1):
                needs = {name: min(other, most) for name, most in available.items()} | {subject: own}
                members = [s for s in path if all(cell.depth[s][name] >= n for name, n in needs.items())]
                label = f"own{own}" + (f"_other{other}" if other else "")
                tried.append((sum(needs.values()), own, label, members))
        tried.sort()
        if spec.cohorts.orders == "exact":
            tried = [pattern for pattern in tried if len(pattern[3]) >= enough][-1:]
        if repeaters := [student for student in candidates if student in cell.repeats]:
            tried.append((0, 0, "repeat1", repeaters))
        large = [pattern for pattern in tried if len(pattern[3]) >= enough]
        for _, _, label, members in large:
            panels[f"{subject}_{year}_G{grade}_{label}"] = sorted(members)
        for student, status in cell.status.items():
            keys = [f"{subject}_{year}_G{grade}_{label}" for _, _, label, m in large if student in m]
            if status == "candidate":
                was_tried = any(student in pattern[3] for pattern in tried)
                lost = (
                    "no_prior_score" if large and not was_tried and spec.cohorts.orders == "exact" else None
                )
                status = "scored" if keys else lost or "cohort_too_small"
            current[subject, student] = (status, keys[-1] if keys else None)
    return panels, current


@st.composite
def systems(draw: st.DrawFn) -> Records:
    """A few students in three years and two or three subjects, most of them on the way, some not."""
    subjects = draw(st.sampled_from([("A", "B"), ("A", "B", "C")]))
    record = st.tuples(st.sampled_from([0, 0, 0, 0, 0, -1, 1]), st.sampled_from([None, 1.0, 2.0, 3.0, 4.0]))
    records: Records = {}
    for student in range(draw(st.integers(1, 9))):
        start = draw(st.integers(2, 5))
        for year in range(2022, 2025):
            for subject in subjects:
                shift, score = draw(record)
                if draw(st.integers(0, 7)):
                    records[f"{student}", year, subject] = (start + year - 2022 + shift, score)
    records["x", 2024, "A"] = (5, 1.0)
    records["x", 2023, "A"] = (4, 2.0)
    return records


@given(
    records=systems(),
    own=st.integers(1, 4),
    other=st.integers(0, 2),
    min_cohort=st.integers(0, 3),
    orders=st.sampled_from(["nested", "exact"]),
    repeaters=st.sampled_from(["exclude", "own_cohort"]),
    progressions=st.sampled_from([{}, {5: (3,)}, {5: (4, 3), 6: (4,)}]),
)
@settings(max_examples=150, deadline=None)
def test_membership_equals_the_twin(
    records: Records,
    own: int,
    other: int,
    min_cohort: int,
    orders: str,
    repeaters: str,
    progressions: dict[int, tuple[int, ...]],
) -> None:
    spec = PLAIN.replace(
        {
            "cohorts.own_priors": own,
            "cohorts.other_priors": other,
            "cohorts.min_cohort": min_cohort,
            "cohorts.orders": orders,
            "cohorts.repeaters": repeaters,
            "cohorts.progressions": progressions,
        }
    )
    panels, current = twin_panels(records, spec)
    table = read_table(frame_of(records), spec)
    if not panels:
        with pytest.raises(CohortError):
            build_panels(table, spec)
        return
    built = build_panels(table, spec)
    check_account(built)
    ids, subjects = table.frame["student_id"], table.frame["subject"]
    assert {panel.key: ids.gather(panel.row).to_list() for panel in built.panels} == panels
    assert {
        (subjects[row], ids[row]): (status, highest) for row, status, highest in built.current.iter_rows()
    } == current
    for panel in built.panels:
        check_values(panel, table.frame, records)


def check_values(panel: Panel, frame: pl.DataFrame, records: Records) -> None:
    """The scores of a panel are those of its pattern; knot scores cover all of its priors."""
    for i, row in enumerate(panel.row.tolist()):
        student = frame["student_id"][row]
        assert panel.score[i] == records[student, panel.year, panel.subject][1]
        for j, prior in enumerate(panel.pattern.priors):
            found = records[student, panel.year - prior.lag, prior.subject]
            assert found == (prior.grade, panel.priors[i, j])
    for j, scores in enumerate(panel.knot_scores):
        assert np.isin(panel.priors[:, j], scores).all()
    assert panel.covariates.shape == (len(panel), 0)


def check_account(built: PanelSet) -> None:
    """Every line of the waterfall follows from the one before, and ends at the rows that get a result."""
    whole = built.counts.filter(subject="all")
    assert (whole["rows"] == whole["rows"].shift(1).fill_null(whole["rows"][0]) - whole["excluded"]).all()
    assert whole["step"].unique(maintain_order=True).to_list() == ["read", "valid", "unique", "in_scope"]
    cells = built.counts.filter(pl.col("subject") != "all")
    for _, part in cells.group_by("subject", "year"):
        assert (part["rows"] == part["rows"].shift(1).fill_null(part["rows"][0]) - part["excluded"]).all()
    assert cells.filter(step="in_scope")["rows"].sum() == whole["rows"][-1] == built.current.height
    scored = built.current.filter(status="scored")
    assert cells.filter(step="scored")["rows"].sum() == scored.height == scored["highest"].count()
    reasons = dict(
        cells.filter(pl.col("excluded") > 0).group_by("reason").agg(pl.sum("excluded")).iter_rows()
    )
    lost = built.current.filter(pl.col("status") != "scored").group_by("status").len()
    assert reasons == dict(lost.iter_rows())


def one_student(*path: tuple[int, int, float | None], subject: str = "A", name: str = "0") -> Records:
    return {(name, year, subject): (grade, score) for year, grade, score in path}


def test_statuses_one_by_one() -> None:
    records = (
        one_student((2023, 4, 1.0), (2024, 5, 2.0), name="fine")
        | one_student((2023, 4, 1.0), (2024, 5, None), name="no score now")
        | one_student((2022, 3, 1.0), (2024, 5, 2.0), name="away last year")
        | one_student((2023, 4, None), (2024, 5, 2.0), name="no score then")
        | one_student((2023, 3, 1.0), (2024, 5, 2.0), name="skipped a grade")
        | one_student((2023, 5, 1.0), (2024, 5, 2.0), name="repeated")
        | one_student((2023, 6, 1.0), (2024, 5, None), name="no score, off path")
    )
    table = read_table(frame_of(records), PLAIN)
    built = build_panels(table, PLAIN)
    names = table.frame["student_id"].gather(built.current["row"])
    assert dict(zip(names, built.current["status"], strict=True)) == {
        "fine": "scored",
        "no score now": "no_current_score",
        "away last year": "no_prior_score",
        "no score then": "no_prior_score",
        "skipped a grade": "off_path",
        "repeated": "repeater",
        "no score, off path": "no_current_score",
    }
    check_account(built)


def test_repeaters_among_themselves() -> None:
    records = one_student((2023, 4, 1.0), (2024, 5, 2.0), name="a") | one_student(
        (2022, 4, 7.0), (2023, 5, 8.0), (2024, 5, 9.0), name="b"
    )
    built = build(records, PLAIN.replace({"cohorts.repeaters": "own_cohort", "cohorts.own_priors": 3}))
    path, repeat = built.panels
    assert path.key == "A_2024_G5_own1"
    assert repeat.key == "A_2024_G5_repeat1"
    assert repeat.pattern == Pattern((Prior("A", 1, 5),))
    assert repeat.priors.tolist() == [[8.0]]
    assert repeat.norm_group == "2023/A_5; 2024/A_5"
    assert [scores.tolist() for scores in repeat.knot_scores] == [[8.0]]


def test_own_and_other_priors() -> None:
    records: Records = {}
    for i in range(4):
        for subject in ("ELA", "MATH"):
            records |= one_student((2023, 4, 10.0 + i), (2024, 5, 20.0 + i), subject=subject, name=f"{i}")
    del records["3", 2023, "MATH"]
    built = build(records, PLAIN.replace({"cohorts.other_priors": 1}))
    assert [panel.key for panel in built.panels] == [
        "ELA_2024_G5_own1",
        "ELA_2024_G5_own1_other1",
        "MATH_2024_G5_own1",
        "MATH_2024_G5_own1_other1",
    ]
    assert [len(panel) for panel in built.panels] == [4, 3, 3, 3]
    fuller = built.panels[1]
    assert fuller.pattern == Pattern((Prior("ELA", 1, 4), Prior("MATH", 1, 4)))
    assert fuller.norm_group == "2023/ELA_4; 2023/MATH_4; 2024/ELA_5"
    assert built.current["highest"].to_list() == [
        "ELA_2024_G5_own1_other1",
        "MATH_2024_G5_own1_other1",
    ] * 3 + [
        "ELA_2024_G5_own1",
        None,
    ]


def test_a_skipped_span_of_years() -> None:
    records = one_student((2021, 8, 1.0), (2024, 11, 2.0), name="a") | one_student(
        (2021, 7, 1.0), (2022, 8, 1.5), (2024, 11, 2.0), name="b"
    )
    spec = PLAIN.replace({"cohorts.progressions": {11: [8]}, "cohorts.own_priors": 4})
    built = build(records, spec)
    (panel,) = built.panels
    assert panel.pattern == Pattern((Prior("A", 3, 8),))
    assert panel.norm_group == "2021/A_8; 2024/A_11"
    assert built.current["status"].to_list() == ["scored", "off_path"]


def test_other_priors_come_from_the_subjects_named() -> None:
    records: Records = {}
    for subject in ("A", "B", "C"):
        records |= one_student((2023, 4, 1.0), (2024, 5, 1.0), subject=subject, name="0")
    named = PLAIN.replace({"cohorts.other_priors": 1, "cohorts.other_subjects": ["B", "A"]})
    givers = {
        panel.subject: [prior.subject for prior in panel.pattern.priors]
        for panel in build(records, named).panels
        if len(panel.pattern) > 1
    }
    assert givers == {"A": ["A", "B"], "B": ["B", "A"], "C": ["C", "A", "B"]}


def test_scope() -> None:
    records: Records = {}
    for subject in ("A", "B"):
        for name, start in (("0", 3), ("1", 4)):
            path = [(2022 + i, start + i, 1.0) for i in range(3)]
            records |= one_student(*path, subject=subject, name=name)
    keys = {p.key for p in build(records, PLAIN.replace({"cohorts.years": "all"})).panels}
    assert keys == {
        f"{s}_{y}_G{g}_own1" for s in "AB" for y, g in ((2023, 4), (2023, 5), (2024, 5), (2024, 6))
    }
    narrow = PLAIN.replace({"cohorts.years": [2023], "cohorts.grades": [5], "cohorts.subjects": ["B"]})
    built = build(records, narrow)
    assert [p.key for p in built.panels] == ["B_2023_G5_own1"]
    whole = built.counts.filter(subject="all", step="in_scope").select("excluded", "reason").rows()
    assert whole == [(8, "other_year"), (2, "other_subject"), (1, "other_grade")]
    check_account(built)


def test_subject_names_are_made_safe_for_files() -> None:
    built = build(one_student((2023, 4, 1.0), (2024, 5, 2.0), subject="ELA/Lit 1"), PLAIN)
    assert built.panels[0].key == "ELA%2FLit%201_2024_G5_own1"


COVARIATE_SPEC = PLAIN.replace(
    {
        "peers.flags": ["el"],
        "peers.categories": ["program"],
        "peers.composition": "one_step",
        "peers.missing": "exclude",
        "scale.bounds": {"A": {5: (0.0, 50.0)}},
    }
)


def covariate_table() -> pl.DataFrame:
    n = 7
    now = pl.DataFrame(
        {
            "student_id": [f"{i}" for i in range(n)],
            "year": ["2023_2024"] * n,
            "subject": ["A"] * n,
            "grade": [5] * n,
            "score": [20.0 + i for i in range(n)],
            "school_id": ["s", "s", "t", "t", "t", None, "s"],
            "el": [1, 0, 0, 1, 1, 0, None],
            "program": ["b", "a", "b", "c", "a", "a", "a"],
        }
    )
    before = now.with_columns(
        year=pl.lit("2022_2023"),
        grade=pl.lit(4, dtype=pl.Int64),
        score=pl.col("score") - 10,
        school_id=pl.lit("old"),
        el=pl.lit(0, dtype=pl.Int64),
        program=pl.lit("z"),
    )
    return pl.concat([now, before])


def test_covariates_come_from_the_current_row_and_the_cohort() -> None:
    built = build_panels(read_table(covariate_table(), COVARIATE_SPEC), COVARIATE_SPEC)
    (panel,) = built.panels
    # students 5 (no school) and 6 (no flag) are out; of a and b, two each, a is the reference
    assert panel.covariate_names == ("el", "program=b", "program=c", "school_mean:prior", "school_mean:el")
    np.testing.assert_allclose(
        panel.covariates,
        [
            [1, 1, 0, 10.5, 0.5],
            [0, 0, 0, 10.5, 0.5],
            [0, 1, 0, 13.0, 2 / 3],
            [1, 0, 1, 13.0, 2 / 3],
            [1, 0, 0, 13.0, 2 / 3],
        ],
        rtol=1e-15,
    )
    assert panel.bounds == (0.0, 50.0)
    assert panel.norm_group == "2022_2023/A_4; 2023_2024/A_5"
    assert built.current["status"].to_list() == ["scored"] * 5 + ["missing_covariate"] * 2
    check_account(built)


def test_knot_scores() -> None:
    records: Records = {}
    records |= one_student((2022, 3, 1.0), (2023, 4, 2.0), (2024, 5, 3.0), name="full")
    records |= one_student((2023, 4, 4.0), (2024, 5, 5.0), name="one prior")
    records |= one_student((2021, 3, 90.0), (2022, 4, 6.0), (2023, 5, 91.0), name="a year ahead")
    records |= one_student((2022, 3, 7.0), name="left")
    records |= one_student((2023, 3, 8.0), (2024, 4, 9.0), name="a year behind")
    spec = PLAIN.replace({"cohorts.own_priors": 8, "cohorts.grades": [5]})
    built = build(records, spec)
    assert [panel.key for panel in built.panels] == ["A_2024_G5_own1", "A_2024_G5_own2"]
    for panel in built.panels:
        # grade 4 and grade 3 in 2022 and 2023, for both orders: the fullest pattern goes two years back
        assert [sorted(scores) for scores in panel.knot_scores] == [[2.0, 4.0, 6.0], [1.0, 7.0, 8.0]][
            : len(panel.pattern)
        ]
    shallow = build(records, spec.replace({"cohorts.own_priors": 1}))
    assert sorted(shallow.panels[0].knot_scores[0]) == [2.0, 4.0]
    cohort = build(records, spec.replace({"basis.knots_from": "cohort"}))
    assert [[sorted(scores) for scores in panel.knot_scores] for panel in cohort.panels] == [
        [[2.0, 4.0]],
        [[2.0], [1.0]],
    ]


def test_knot_scores_of_an_other_prior_that_lies_further_back_than_any_own_one() -> None:
    records = one_student((2023, 4, 1.0), (2024, 5, 2.0))
    records |= one_student((2022, 3, 3.0), (2023, 4, 4.0), subject="B")
    records |= one_student((2022, 4, 9.0), name="earlier")
    built = build(records, PLAIN.replace({"cohorts.other_priors": 2}))
    fullest = built.panels[-1]
    assert fullest.pattern == Pattern((Prior("A", 1, 4), Prior("B", 1, 4), Prior("B", 2, 3)))
    assert [scores.tolist() for scores in fullest.knot_scores] == [[1.0], [4.0], [3.0]]


def test_order_of_rows_does_not_matter() -> None:
    table = covariate_table()
    one = build_panels(read_table(table, COVARIATE_SPEC), COVARIATE_SPEC)
    other = build_panels(
        read_table(table.sample(fraction=1.0, shuffle=True, seed=1), COVARIATE_SPEC), COVARIATE_SPEC
    )
    assert one.current.equals(other.current)
    for a, b in zip(one.panels, other.panels, strict=True):
        assert a.key == b.key
        np.testing.assert_array_equal(a.row, b.row)
        np.testing.assert_array_equal(a.covariates, b.covariates)


def test_reprs_count() -> None:
    built = build(one_student((2023, 4, 1.0), (2024, 5, 2.0)), PLAIN)
    assert repr(built) == "PanelSet(1 cohorts, 1 of 1 rows in scope to be scored)"
    assert repr(built.panels[0]) == "Panel(A_2024_G5_own1: 1 students)"
