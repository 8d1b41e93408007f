"""The doctor finds each fault that is planted, and none where none is."""

from __future__ import annotations

import json
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from dualmcmc import cli, data, doctor
from dualmcmc.doctor import chains, machine, runs
from dualmcmc.langevin import langevin
from dualmcmc.methods import Chain
from dualmcmc.storage.run_folder import RunFolder


def bad(findings: Any) -> dict[str, str]:
    return {found.name: found.seen for found in findings if found.state == "bad"}


# -- the chain -------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_the_variance_is_that_of_the_recursion(steps: int) -> None:
    """x' = a x + s sqrt(T) eps has Var' = a^2 Var + s^2 T."""
    chain = Chain(steps=steps, step=0.5, temperature=0.7)
    var = 0.0
    for _ in range(steps):
        var = (1 - 0.25 * 2.0 / 2) ** 2 * var + 0.25 * 0.7
    assert chains.variance(2.0, chain) == pytest.approx(var, rel=1e-12)


def test_a_sound_chain_passes() -> None:
    assert doctor.self_test().state == "ok"


@pytest.mark.parametrize("change", ["temperature", "drift", "shift", "nan"])
def test_a_chain_that_is_a_hundredth_off_does_not(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 % of variance is 7 standard deviations with 2^20 draws, as is a shift of 0.7 % of a deviation."""

    def wrong(f: Any, x: torch.Tensor, chain: Chain, **more: Any) -> torch.Tensor:
        if change == "temperature":
            return langevin(f, x, Chain(steps=chain.steps, step=chain.step, temperature=0.707), **more)
        if change == "drift":
            return langevin(lambda y: 0.98 * f(y), x, chain, **more)
        out = langevin(f, x, chain, **more)
        return out + 0.007 * out.std() if change == "shift" else out * float("nan")

    monkeypatch.setattr(chains, "langevin", wrong)
    found = doctor.self_test()
    assert found.state == "bad"
    assert found.remedy


# -- the machine -----------------------------------------------------------------------------------


def test_this_machine_is_in_order() -> None:
    assert not bad(machine.examine_machine())


def test_a_library_that_is_too_old_or_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["numpy>=99", "no-such-thing>=1", "pytest; extra == 'x'"]
    )
    found = machine.libraries()
    assert found.state == "bad"
    assert found.remedy == "pip install 'numpy>=99' 'no-such-thing>=1'"


def test_a_torchvision_that_does_not_import_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert machine.torchvision().state == "ok"  # no environment of ours holds it
    place = tmp_path / "torchvision"
    place.mkdir()
    (place / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    found = machine.torchvision()
    assert found.state == "bad"
    assert "nms does not exist" in found.seen
    assert "torchvision" not in sys.modules
    (place / "__init__.py").write_text("__version__ = '9.9'\n")
    assert machine.torchvision() == ("ok", "torchvision", "9.9, imports; not needed", "")
    (place / "__init__.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.setattr(machine, "PATIENCE", 1)
    assert machine.torchvision().seen == "its import does not end within 1 s"


def test_more_threads_than_cores_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cores", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    assert machine.threads().remedy == "set OMP_NUM_THREADS=4"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert machine.threads().state != "bad"


@pytest.mark.parametrize(("free", "state"), [(1e8, "bad"), (1e9, "note"), (1e10, "ok")])
def test_a_disk_without_room_is_told(
    free: float, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=int(free))
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    assert machine.disk("cache", tmp_path / "not" / "there").state == state


# -- a run -----------------------------------------------------------------------------------------


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def test_a_sound_run_and_its_model_are_in_order(trained: Path) -> None:
    found = list(doctor.examine_run(trained))
    assert {one.state for one in found} == {"ok"}
    assert [one.name for one in found] == ["settings", "checkpoints", "log", "evaluations", "model"]
    assert {one.state for one in doctor.examine_run(trained / "model")} == {"ok"}


def test_each_damaged_checkpoint_is_named_with_the_one_that_serves(copy: Path) -> None:
    place = copy / "checkpoints" / "step-6"
    weights = place / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (one,) = (found for found in doctor.examine_run(copy) if found.state == "bad")
    assert (one.name, one.seen) == ("checkpoint 6", "weights.safetensors is cut short or altered")
    assert one.remedy == "--resume goes on from step 4"
    for step in (2, 4):
        (copy / "checkpoints" / f"step-{step}" / "manifest.json").unlink()
    assert set(bad(doctor.examine_run(copy))) == {"checkpoint 2", "checkpoint 4", "checkpoint 6", "checkpoints"}


def test_a_save_that_was_killed_is_told(copy: Path) -> None:
    (copy / "checkpoints" / ".step-8.tmp").mkdir()
    (one,) = (found for found in doctor.examine_run(copy) if found.state == "note")
    assert "1 begun and not finished" in one.seen


def test_a_checkpoint_put_aside_is_told(copy: Path) -> None:
    (copy / "checkpoints" / "step-6").rename(copy / "checkpoints" / "unusable-step-6")
    notes = [one.seen for one in doctor.examine_run(copy) if one.state == "note"]
    assert ["unusable-step-6" in seen for seen in notes] == [True]


def test_a_log_that_left_the_numbers_is_told(copy: Path) -> None:
    log = copy / "log.jsonl"
    good = log.read_text()
    log.write_text(good + '{"step": 7, "loss_en')
    assert runs.log(RunFolder(copy)).state == "note"  # a killed process's last line
    log.write_text(good + json.dumps({"step": 7, "loss_energy": float("nan")}) + "\n")
    assert runs.log(RunFolder(copy)).seen == "loss_energy is not finite at step 7"
    log.unlink()
    assert runs.log(RunFolder(copy)).state == "note"


@pytest.mark.parametrize(
    ("file", "name"),
    [("config.json", "settings"), ("metrics.json", "evaluations"), ("model/model.safetensors", "model")],
)
def test_a_damaged_file_is_told(file: str, name: str, copy: Path) -> None:
    (copy / file).write_bytes(b"{")
    assert set(bad(doctor.examine_run(copy))) == {name}


# -- the verb --------------------------------------------------------------------------------------


def test_the_verb_says_all_and_fails_where_something_is_bad(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "cache_folder", lambda: tmp_path)
    place = tmp_path / "findings.json"
    assert cli.main(["doctor", str(copy), "--device", "cpu", "--json", str(place)]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = json.loads(place.read_text())
    assert [line for line in lines if not line.startswith("      do:")] == [
        f"{one['state']:<4}  {one['name']}: {one['seen']}" for one in found
    ]
    (copy / "metrics.json").write_text("[")
    assert cli.main(["doctor", str(copy), "--device", "cpu"]) == 1
    said = capsys.readouterr()
    assert said.err == f"dualmcmc: 1 of {len(found)} are bad: evaluations\n"
    assert "      do: mend metrics.json, or move it away" in said.out


def test_what_is_no_run_is_refused_before_anything_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert not said.out
    assert said.err == f"dualmcmc: {tmp_path} holds no config.json: give a run or a model folder\n"
