"""In short what benchmarks/faults.py does at length, and what only processes of a run can do to each other."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import faults
from faulty import corruptions, divergences, kills, processes, tiny, unstable

from dualmcmc.storage import checkpoints
from dualmcmc.training.guard import Guard


def test_runs_killed_at_random_moments_end_as_the_unbroken_one(tmp_path: Path) -> None:
    outcome = kills.run(3, 1, tmp_path)
    assert outcome.failures == []
    assert outcome.tried == 3


def test_damaged_checkpoints_and_models_are_never_taken_for_whole(tmp_path: Path) -> None:
    outcome = corruptions.run(60, 1, tmp_path)
    assert outcome.failures == []


@pytest.mark.parametrize("kind", divergences.KINDS, ids=lambda kind: kind.name)
def test_a_divergence_is_caught_before_a_checkpoint_and_survived(kind: divergences.Kind, tmp_path: Path) -> None:
    assert divergences.trial(kind, 18, 1, tmp_path / "run") is None


def test_a_rate_too_large_is_survived_with_the_guard_and_not_without(tmp_path: Path) -> None:
    outcome = unstable.run(1, 0, tmp_path)
    assert outcome.failures == []


def test_a_guard_that_sees_nothing_is_seen_by_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials above can fail."""
    monkeypatch.setattr(Guard, "watch", lambda *_: None)
    kind = next(kind for kind in divergences.KINDS if kind.name == "energy gap")
    assert divergences.trial(kind, 18, 1, tmp_path / "run") == "0 roll-backs: []"


def test_one_processs_divergence_trips_all_and_both_finish(tmp_path: Path) -> None:
    child = processes.launch(tmp_path / "run", 2, "float32", "diverge")
    _, complaint = child.communicate(timeout=120)
    assert child.returncode == 0, complaint
    state = checkpoints.newest(tmp_path / "run" / "checkpoints")[0].state
    (trip,) = state["trips"]
    assert (trip["signal"], trip["diverged_at"], trip["back_to"]) == (
        "loss_generator",
        processes.FAULTY_UPDATE,
        10,
    )


def test_a_process_with_other_weights_stops_the_run_and_is_named(tmp_path: Path) -> None:
    """Process 1's first weight moves by 1e-3 after update 12: before the checkpoint of 20 the hashes differ."""
    child = processes.launch(tmp_path / "run", 2, "float32", "alter")
    _, complaint = child.communicate(timeout=120)
    assert child.returncode == 1
    assert "at step 20 the weights of process 1 are not those of the others" in complaint
    assert checkpoints.steps(tmp_path / "run" / "checkpoints")[-1] == 10


def test_a_process_that_is_killed_stops_all_and_one_process_goes_on(tmp_path: Path) -> None:
    """Within a minute, with exit 1; and the run resumes on another number of processes, with the same noise."""
    began = time.monotonic()
    child = processes.launch(tmp_path / "run", 2, "float32", "die")
    _, complaint = child.communicate(timeout=120)
    assert child.returncode == 1
    assert time.monotonic() - began < 60
    assert "process 0: another process of this run is gone" in complaint
    assert "the checkpoint of step 10 is intact" in complaint
    tiny.train(processes.settings(), tmp_path / "run", resume=True)
    tiny.train(processes.settings(), tmp_path / "alone")
    ours, theirs = (tiny.tensors_of(tmp_path / name) for name in ("run", "alone"))
    for network in ("energy", "generator", "inference"):
        assert processes.distance(ours, theirs, network) < 0.02  # float32's rounding, 50 updates on


def test_two_processes_equal_one_to_1e_9_in_float64(tmp_path: Path) -> None:
    two = processes.launch(tmp_path / "two", 2, "float64")
    one = processes.launch(tmp_path / "one", 1, "float64")
    for child in (two, one):
        _, complaint = child.communicate(timeout=120)
        assert child.returncode == 0, complaint
    ours, theirs = (tiny.tensors_of(tmp_path / name) for name in ("two", "one"))
    for network in ("energy", "generator", "inference"):
        assert processes.distance(ours, theirs, network) < processes.EXACT


def test_the_program_prints_its_table_and_fails_where_something_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "faults.json"
    assert faults.main(["--kinds", "corruptions", "--times", "6", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["kinds"]["corruptions"]["tried"] == 6
    monkeypatch.setattr(checkpoints, "fault", lambda place: None)
    assert faults.main(["--kinds", "corruptions", "--times", "20"]) == 1
    assert "corruptions: " in capsys.readouterr().out
