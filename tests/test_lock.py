"""A run has one writer at a time, and a dead writer holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tiny import train

from dualmcmc.errors import InputError, TrainingError
from dualmcmc.storage import checkpoints
from dualmcmc.storage.lock import RunLock

HOLD = """
import sys
from pathlib import Path
from dualmcmc.storage.lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(run_path: Path) -> Any:
    """Another process that writes the run, once there is one."""
    children = []

    def hold() -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(run_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        return child

    yield hold
    for child in children:
        child.kill()
        child.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_run_that_another_process_writes_is_refused_and_left_alone(run_path: Path, holder: Any) -> None:
    train(run_path, {"run.steps": 2})
    child = holder()
    before = contents(run_path)
    with pytest.raises(InputError, match=f"is being written by process {child.pid} on "):
        train(run_path, {"run.steps": 4}, resume=True)
    assert contents(run_path) == before


def test_a_killed_writer_holds_nothing(run_path: Path, holder: Any) -> None:
    train(run_path, {"run.steps": 2})
    child = holder()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert (run_path / "owner.json").exists()
    train(run_path, {"run.steps": 4}, resume=True)
    assert checkpoints.steps(run_path / "checkpoints")[-1] == 4
    assert not {"owner.json", ".lock"} & {entry.name for entry in run_path.iterdir()}


def test_two_runs_that_begin_at_once_in_one_place_are_one(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another began between our look and our lock: theirs stays."""
    train(run_path, {"run.steps": 2})
    kept = contents(run_path)
    from dualmcmc.storage.run_folder import RunFolder

    monkeypatch.setattr(RunFolder, "check_free", lambda self: None)
    with pytest.raises(InputError, match="already holds a run"):
        train(run_path, {"run.steps": 2, "seed": 1})
    assert contents(run_path) == kept
    lock = RunLock(run_path)
    lock.acquire()  # and we hold nothing
    lock.release()


def test_a_lock_given_up_is_anybodys(run_path: Path, holder: Any) -> None:
    run_path.mkdir()
    ours = RunLock(run_path)
    for _ in range(2):
        ours.acquire()
        ours.release()
    holder()
    with pytest.raises(InputError, match="is being written"):
        ours.acquire()


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_checkpoint_without_room_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million float32 are 4 MB."""
    parts = {part: {"t": torch.zeros(250_000)} for part in checkpoints.PARTS}
    checkpoints.save(tmp_path, 1, parts, {})
    monkeypatch.setattr(
        checkpoints.shutil, "disk_usage", lambda place: _Usage(10**9, 10**9 - 4_000_000, 4_000_000)
    )
    with pytest.raises(TrainingError, match=r"takes 4.3 MB, and 4.0 MB are free .*step 1 is intact"):
        checkpoints.save(tmp_path, 2, parts, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["step-1"]
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda place: _Usage(10**9, 0, 10**9))
    checkpoints.save(tmp_path, 2, parts, {})
    assert checkpoints.steps(tmp_path) == [1, 2]
