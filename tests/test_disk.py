"""Writing: one process at a time, whole or not at all, and what an interruption leaves is put right."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from growth.disk import remove_leavings, reserve, whole_file, whole_folder
from growth.errors import StoreError

HOLD = """
import sys, time
from pathlib import Path
from growth.disk import reserve
with reserve(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
LEAVE = """
import os, signal, sys
from pathlib import Path
from growth.disk import reserve, whole_folder
target, moment = Path(sys.argv[1]), int(sys.argv[2])
renames = 0
rename = Path.rename
def counted(self, other):
    global renames
    if renames == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    renames += 1
    return rename(self, other)
Path.rename = counted
with reserve(target), whole_folder(target) as aside:
    (aside / "file").write_text("new")
    if moment < 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""

WRITE = """
import sys, time
from pathlib import Path
from growth.disk import reserve, whole_file, whole_folder
one, two = map(Path, sys.argv[1:])
with whole_file(one) as file, reserve(two), whole_folder(two) as folder:
    file.write_text("half")
    (folder / "file").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with start(HOLD, target) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="Another run is writing"), reserve(target):
            pass
        other.kill()
        other.wait()
    with reserve(target), reserve(target):
        assert names(tmp_path) == {".run.lock"}
    assert names(tmp_path) == set()


def test_another_thread_is_refused(tmp_path: Path) -> None:
    together = Barrier(2)

    def take() -> str:
        together.wait()
        try:
            with reserve(tmp_path / "run"):
                time.sleep(0.2)
                return "held"
        except StoreError:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        found = sorted(future.result() for future in [pool.submit(take), pool.submit(take)])
    assert found == ["held", "refused"]


@pytest.mark.parametrize("moment", [-1, 0, 1, 2])
def test_a_kill_leaves_the_old_or_the_new(tmp_path: Path, moment: int) -> None:
    """Killed while writing, before each of the two renames, and after both."""
    target = tmp_path / "run"
    target.mkdir()
    (target / "file").write_text("old")
    with start(LEAVE, target, moment) as other:
        assert other.wait() == -9
    with reserve(target):
        assert (target / "file").read_text() == ("new" if moment == 2 else "old")
    assert names(tmp_path) == {"run"}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with whole_file(target) as aside:
        aside.write_text("one")
    with pytest.raises(UnicodeEncodeError), whole_file(target) as aside:
        aside.write_text("tw\ud800", "utf-8")
    assert target.read_text() == "one"
    assert names(tmp_path) == {"file"}


def test_a_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "run"
    with pytest.raises(UnicodeEncodeError), reserve(target), whole_folder(target) as aside:
        (aside / "file").write_text("half\ud800", "utf-8")
    assert names(tmp_path) == set()


def test_leavings_go_when_their_writer_is_gone(tmp_path: Path) -> None:
    with start(WRITE, tmp_path / "one", tmp_path / "two") as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        before = names(tmp_path)
        remove_leavings(tmp_path)
        assert names(tmp_path) == before
        assert len(before) == 3
        other.kill()
        other.wait()
    (tmp_path / "whole").write_text("whole")
    remove_leavings(tmp_path)
    assert names(tmp_path) == {"whole"}
