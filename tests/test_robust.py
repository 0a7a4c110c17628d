"""The short form of the robustness command: awkward problems of all kinds, certified and without stalls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_random_problems_are_certified_without_stalls(repository: Path, tmp_path: Path) -> None:
    summary_file = tmp_path / "summary.json"
    command = [sys.executable, "-m", "benchmarks.robust", "--quick", "--json", str(summary_file)]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    run = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert summary_file.exists(), run.stderr[-2000:]
    summary = json.loads(summary_file.read_text())
    assert summary["failures"] == []
    assert summary["stalls"] == []
    assert summary["problems"] == 60
    assert summary["fallback_share"] < 0.01
    assert summary["largest_gap"] <= 1e-9
    assert run.returncode == 0
