"""Ray and Spark, where they are installed: they are too large for the extra `test`."""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import pandas as pd
import pytest

import growth
from growth import GrowthSpec

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

SMALL = GrowthSpec.preset("core").replace({"cohorts.other_priors": 0, "cohorts.grades": [5]})
KEEP = (
    "student_id string, year int, subject string, grade short, school_id string, sgp short, percentile double"
)


def test_ray(city_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    from ray.util.joblib import register_ray

    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=2):
            there = growth.run(city_file, SMALL)
    finally:
        ray.shutdown()
    assert there.manifest["outputs"] == growth.run(city_file, SMALL).manifest["outputs"]


def students(part: pd.DataFrame) -> pd.DataFrame:
    frame = growth.run(part, SMALL, n_jobs=1).students
    return frame[[column.split()[0] for column in KEEP.split(", ")]]


def test_spark(city_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe of `docs/howto/cluster.md`: parts that share no cohort give what one run gives."""
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    from pyspark.sql import SparkSession

    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    text = dict.fromkeys(("student_id", "school_id", "race_ethnicity"), "string")
    table = pd.read_csv(city_file, dtype=text)
    options = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2"}
    spark = SparkSession.builder.master("local[1]").config(map=options).getOrCreate()
    try:
        scores = spark.createDataFrame(table.astype(object).where(table.notna(), None))
        found = scores.groupBy("subject").applyInPandas(students, schema=KEEP).toPandas()
    finally:
        spark.stop()
    alone = growth.run(table, SMALL).students[list(found.columns)]
    key = ["student_id", "year", "subject"]
    left, right = (one.sort_values(key).reset_index(drop=True) for one in (found, alone))
    pd.testing.assert_frame_equal(left, right, check_dtype=False, check_exact=True)
