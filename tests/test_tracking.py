"""`run.track`: a service gets the numbers that log.jsonl gets and the pictures that samples/ gets, and an end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny import log, timeless, train

from dualmcmc import cli, config
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.training.loop import Trainer

STAND_IN = """
import os, pathlib
calls = []
class Error(Exception): pass
class Image:
    def __init__(self, path): self.bytes = pathlib.Path(path).read_bytes()
class Run:
    def define_metric(self, name, step_metric): calls.append(("metric", name, step_metric))
    def log(self, values): calls.append(("log", values))
    def finish(self, exit_code): calls.append(("finish", exit_code))
def init(**how):
    if os.environ.get("WANDB_MODE") == "broken": raise Error("no key")
    calls.append(("init", how))
    return Run()
"""
LOOKS = {"run.track": "wandb", "run.sample_every": 3, "run.evaluate_every": 3}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What was called of a module named wandb that only writes down what it is told."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "wandb.py").write_text(STAND_IN, encoding="utf-8")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    import wandb

    yield wandb.calls
    del sys.modules["wandb"]


def test_the_service_gets_the_numbers_of_the_log_and_the_pictures_on_disk(calls: Any, run_path: Path) -> None:
    train(run_path, LOOKS)
    kind, how = calls[0]
    assert (kind, how["project"], how["name"]) == ("init", "dualmcmc", run_path.name)
    assert (
        json.loads(json.dumps(how["config"]))
        == json.loads((run_path / "config.json").read_text(encoding="utf-8"))["config"]
    )
    assert calls[1] == ("metric", "*", "step")
    rows = [values for name, values in calls[2:-1] if name == "log"]
    pictures = [row for row in rows if {"samples", "reconstructions"} & set(row)]
    lines = [
        {"step": line["step"]}
        | {f"{line['kind']}/{name}": value for name, value in line.items() if isinstance(value, float)}
        for line in map(json.loads, (run_path / "log.jsonl").read_text(encoding="utf-8").splitlines())
    ]
    assert [row for row in rows if row not in pictures] == lines
    assert {name for line in lines for name in line} >= {"train/energy_gap", "evaluation/value"}
    assert [row["step"] for row in pictures] == [3, 3, 6, 6]
    for row in pictures:
        name = "samples" if "samples" in row else "reconstructions"
        path = run_path / "samples" / f"{name.replace('samples', 'step')}-{row['step']:07d}.png"
        assert row[name].bytes == path.read_bytes()
    assert calls[-1] == ("finish", 0)


def test_what_is_tracked_does_not_change_what_is_trained_or_kept(
    calls: Any, run_path: Path, tmp_path: Path
) -> None:
    train(run_path, LOOKS)
    train(tmp_path / "untracked", {**LOOKS, "run.track": "none"})
    assert [call[0] for call in calls].count("init") == 1
    weights = "model/model.safetensors"
    assert (run_path / weights).read_bytes() == (tmp_path / "untracked" / weights).read_bytes()
    assert timeless(log(run_path)) == timeless(log(tmp_path / "untracked"))
    assert {path.name for path in run_path.iterdir()} == {path.name for path in (tmp_path / "untracked").iterdir()}


def test_a_run_that_fails_is_ended_as_failed_and_goes_on_untracked(
    calls: Any, run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("dualmcmc.training.occasions.save_side_by_side", full)
        with pytest.raises(TrainingError, match="no room"):
            train(run_path, LOOKS)
    assert calls[-1] == ("finish", 1)
    before = len(calls)
    kept = RunFolder(run_path).read_config()
    settings = config.from_dict({**config.to_dict(kept), "run": {**config.to_dict(kept)["run"], "track": "none"}})
    assert Trainer(settings, run_path, resume=True, quiet=True).train().steps == 6
    assert len(calls) == before


def test_a_service_that_does_not_start_leaves_a_run_that_can_be_resumed(
    calls: Any, run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("WANDB_MODE", "broken")
        with pytest.raises(TrainingError, match="wandb did not start \\(no key\\)"):
            train(run_path, LOOKS)
    assert not calls
    assert Trainer(RunFolder(run_path).read_config(), run_path, resume=True, quiet=True).train().steps == 6
    assert calls[-1] == ("finish", 0)


@pytest.mark.parametrize("folder", [False, True])
def test_without_the_package_nothing_is_written(
    folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor where wandb has left its folder: Python takes a folder of that name for an empty package."""
    monkeypatch.chdir(tmp_path)
    if folder:
        (tmp_path / "site" / "wandb").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    assert cli.main(["train", "digits", "--run.track", "wandb", "--out", "run"]) == 2
    assert "pip install 'dualmcmc[track]'" in capsys.readouterr().err
    assert not Path("run").exists()


def test_another_service_is_refused() -> None:
    from dualmcmc import presets

    values = config.to_dict(presets.preset("digits"))
    with pytest.raises(InputError, match=r"setting run\.track is 'elsewhere'"):
        config.from_dict({**values, "run": {**values["run"], "track": "elsewhere"}})
