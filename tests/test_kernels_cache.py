"""Where compiled kernels are kept, and when they are compiled again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from numba import config

from growth.kernels import compiler

compiled_only = pytest.mark.skipif(config.DISABLE_JIT, reason="kernels are not compiled")

KERNEL = """
import numpy as np
from growth.kernels.redraw import rungs_below
rungs_below(np.array([[1.0, 2.0]]), np.array([[1.5]]))
print(sum(rungs_below.stats.cache_hits.values()), sum(rungs_below.stats.cache_misses.values()))
"""


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the package and the user's cache lie elsewhere."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "one.py").write_text("")
    monkeypatch.setattr(compiler, "__file__", str(package / "compiler.py"))
    monkeypatch.setattr(config, "CACHE_DIR", "")  # as if NUMBA_CACHE_DIR were not set
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    compiler.cache_folder.cache_clear()
    yield
    compiler.cache_folder.cache_clear()


def _deny(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
    """Nobody may write to these folders, not even a superuser who runs the tests."""
    allowed = os.access

    def access(path: str | os.PathLike[str], mode: int) -> bool:
        return allowed(path, mode) and not any(Path(path).is_relative_to(folder) for folder in folders)

    monkeypatch.setattr(compiler.os, "access", access)


def _block(place: Path) -> None:
    """No folder can be made where a file lies."""
    place.write_text("")


def test_kernels_lie_in_the_package(tmp_path: Path) -> None:
    assert Path(compiler.cache_folder()).parent == tmp_path / "package" / "__pycache__"


def test_an_edit_takes_another_folder(tmp_path: Path) -> None:
    before = compiler.cache_folder()
    (tmp_path / "package" / "one.py").write_text("x = 1")
    compiler.cache_folder.cache_clear()
    assert compiler.cache_folder() != before


def test_another_processor_takes_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiler.cache_folder()
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    compiler.cache_folder.cache_clear()
    assert compiler.cache_folder() != before


def test_a_read_only_installation_uses_the_users_cache(tmp_path: Path) -> None:
    _block(tmp_path / "package" / "__pycache__")
    assert Path(compiler.cache_folder()).parent == tmp_path / "user" / "growth"


@pytest.mark.parametrize("homeless", [False, True])
def test_nowhere_to_write_means_a_folder_of_ones_own(
    tmp_path: Path, homeless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _block(tmp_path / "package" / "__pycache__")
    _block(tmp_path / "user")
    if homeless:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", _homeless)
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    folder = Path(compiler.cache_folder())
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o077 == 0, "others must not plant machine code"


def _homeless() -> Path:
    raise RuntimeError("Could not determine home directory.")


@pytest.mark.parametrize("user_may_write", [True, False])
def test_what_another_user_compiled_is_copied(
    tmp_path: Path, user_may_write: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = Path(compiler.cache_folder())
    (built / "kernels_1").mkdir()
    (built / "kernels_1" / "one.nbi").write_text("index")
    compiler.cache_folder.cache_clear()
    # Only what lies in the folder belongs to the other user.
    _deny(monkeypatch, built / "kernels_1")
    if not user_may_write:
        _block(tmp_path / "user")
        monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    own = Path(compiler.cache_folder())
    assert own.parent == (tmp_path / "user" / "growth" if user_may_write else tmp_path)
    assert [str(path.relative_to(own)) for path in own.rglob("*.nbi")] == ["kernels_1/one.nbi"]
    assert not list(own.parent.glob("copy-*"))


def _earlier(age: float) -> tuple[Path, Path]:
    """Make the cache folder of an earlier version, last used so long ago [s]."""
    folder = Path(compiler.cache_folder()).with_name("numba-0123456789ab")
    (folder / "kernels_1").mkdir(parents=True)
    file = folder / "kernels_1" / "one.nbi"
    file.write_text("index")
    _last_used(folder, age)
    return folder, file


def _last_used(folder: Path, age: float) -> None:
    then = time.time() - age
    os.utime(folder, (then, then))


def test_what_nobody_has_used_for_long_goes() -> None:
    folder, file = _earlier(1.01 * compiler.UNUSED)
    foreign = folder.with_name("numba-notes")
    foreign.mkdir()
    _last_used(foreign, 2.0 * compiler.UNUSED)
    compiler.forget_unused()
    assert not file.exists()
    assert folder.exists(), "a process that still runs could not write any more"
    compiler.forget_unused()
    assert folder.exists()
    _last_used(folder, 1.01 * compiler.UNUSED)
    compiler.forget_unused()
    assert not folder.exists()
    assert foreign.exists()


def test_what_is_used_stays() -> None:
    _, file = _earlier(0.99 * compiler.UNUSED)
    own = Path(compiler.cache_folder())
    _last_used(own, 2.0 * compiler.UNUSED)
    compiler.forget_unused()
    assert file.exists()
    assert own.exists()


def test_use_is_noted() -> None:
    own = Path(compiler.cache_folder())
    _last_used(own, 2.0 * compiler.UNUSED)
    compiler.cache_folder.cache_clear()
    compiler.cache_folder()
    assert time.time() - own.stat().st_mtime < compiler.UNUSED


def test_folders_that_others_chose_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, file = _earlier(2.0 * compiler.UNUSED)
    monkeypatch.setattr(config, "CACHE_DIR", str(Path(file).parents[2]))
    compiler.forget_unused()
    assert file.exists()


@compiled_only
def test_machine_code_of_another_processor_is_not_run(tmp_path: Path) -> None:
    def run(**further: str) -> str:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "shared")} | further
        command = [sys.executable, "-c", KERNEL]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    assert run().split() == ["0", "1"]
    assert run().split() == ["1", "0"]
    assert run(**other).split() == ["0", "1"], "the same folder, another processor"
    assert run(**other).split() == ["1", "0"]
    assert run().split() == ["1", "0"], "both are kept"
