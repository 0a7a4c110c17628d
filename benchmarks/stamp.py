"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent


def stamp() -> dict[str, str]:
    """Describe machine and software."""
    return {
        "cpu": f"{_cpu()}, {os.cpu_count()} cores, {_memory():.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "load": ", ".join(f"{value:.1f}" for value in os.getloadavg())
        + " (1, 5, 15 minutes, before the run)",
        "python": f"{platform.python_version()}, numpy {version('numpy')}, numba {version('numba')}",
        "r": r_versions()[0],
        "commit": _git("rev-parse", "--short", "HEAD")
        + (" + changes" if _git("status", "-s", ":/growth", ":/benchmarks") else ""),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def r_versions() -> tuple[str, set[str]]:
    """Return a description of R's quantreg and the methods it has; without R, the reason and nothing."""
    if shutil.which("Rscript") is None:
        return "Rscript is not installed", set()
    run = subprocess.run(
        ["Rscript", str(HERE / "quantreg.R"), "versions"], capture_output=True, text=True, check=False
    )
    if run.returncode:
        return "the R package quantreg is not installed", set()
    r, quantreg, methods = run.stdout.split()
    return f"R {r}, quantreg {quantreg}", {
        m.removesuffix("b") if m == "fnb" else m for m in methods.split(",")
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    wide = " (AVX-512)" if any("avx512f" in line for line in lines if line.startswith("flags")) else ""
    return (names[0] if names else platform.machine()) + wide


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _git(*arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True, check=False)
    return run.stdout.strip() or ("" if run.returncode == 0 else "unknown")
