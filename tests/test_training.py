"""A run is a function of its configuration: cut up anyhow, it ends at the same bits; nothing bad is kept."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import (
    PARTS,
    assert_same,
    at_update,
    checkpoint,
    flags,
    listing,
    log,
    timeless,
    tiny,
    train,
)
from torch import nn

from dualmcmc import InputError, Model, Trainer, TrainingError, spectral
from dualmcmc.cli import main
from dualmcmc.sampling import Synthesis
from dualmcmc.settings import Adam, Optim
from dualmcmc.storage import checkpoints, files, pretrained
from dualmcmc.teaching import DualMCMCTeaching, Losses, dual_mcmc
from dualmcmc.training import evaluation, occasions, optimisation, setup, stopping

EPS = torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 6 updates with checkpoints 2, 4 and 6 and nothing else switched on."""
    out = tmp_path_factory.mktemp("base") / "run"
    train(out)
    return out


@pytest.fixture
def copied(base: Path, run_path: Path) -> Path:
    shutil.copytree(base, run_path)
    return run_path


def resume(run: Path, changes: dict[str, Any] | None = None, *more: str) -> int:
    return main(["train", *flags(changes), "--out", str(run), "--resume", *more])


@contextmanager
def batches_seen() -> Iterator[list[torch.Tensor]]:
    seen: list[torch.Tensor] = []
    forward = DualMCMCTeaching.forward

    def recording(self: DualMCMCTeaching, x: torch.Tensor, *args: Any) -> Losses:
        seen.append(x.clone())
        return forward(self, x, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DualMCMCTeaching, "forward", recording)
        yield seen


# -- fact 7: the same bits, however a run is cut up ------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"images.flip": True, "networks.norm": "batch", "optim.schedule": "linear", "optim.warmup": 3},
        {
            "networks.family": "residual",
            "optim.energy.clip": 0.1,
            "precision": "bf16",
            "method.start": "draw",
        },
    ],
    ids=["plain", "flips-batchnorm-linear", "residual-clip-bf16"],
)
def test_2k_updates_equal_k_stop_resume_k_bit_for_bit(changes: dict[str, Any], tmp_path: Path) -> None:
    """Weights, EMA, Adam's moments, losses, batches; torch's global generator plays no part in either."""
    changes = {"run.checkpoint_every": 0, "optim.batch_size": 400, "run.steps": 8, **changes}
    changes |= {"method.data_chain.steps": 1, "method.latent_chain.steps": 1}  # 3 batches an epoch
    torch.manual_seed(1)
    with batches_seen() as whole:
        train(tmp_path / "whole", changes)
    torch.manual_seed(2)
    with batches_seen() as parts:
        with pytest.MonkeyPatch.context() as patch:
            at_update(patch, 4, lambda _, losses: (signal.raise_signal(signal.SIGINT), losses)[1])
            with pytest.raises(KeyboardInterrupt, match="step 4"):
                train(tmp_path / "parts", changes)
        torch.manual_seed(3)
        train(tmp_path / "parts", changes, resume=True)
    assert_same(checkpoint(tmp_path / "parts", 8), checkpoint(tmp_path / "whole", 8))
    assert timeless(log(tmp_path / "parts")) == timeless(log(tmp_path / "whole"))
    assert len(parts) == len(whole) == 8
    assert all(map(torch.equal, parts, whole))
    assert not torch.equal(whole[0], whole[3])  # another epoch, another order


def test_a_longer_run_continues_a_shorter_one_bit_for_bit(base: Path, run_path: Path) -> None:
    train(run_path, {"run.steps": 2})
    train(run_path, resume=True)
    assert_same(checkpoint(run_path, 6), checkpoint(base, 6))


def test_looking_changes_nothing(base: Path, run_path: Path) -> None:
    """Pictures, evaluations and checkpoints at every step leave weights, moments and average as they were."""
    train(run_path, {f"run.{what}_every": 1 for what in ("sample", "evaluate", "checkpoint")})
    assert_same(checkpoint(run_path, 6), checkpoint(base, 6))


def test_a_run_killed_at_a_random_moment_and_resumed_equals_the_unbroken_one(tmp_path: Path) -> None:
    """SIGKILL after a seeded number of log lines and a seeded pause, in whatever the process was doing."""
    changes = {"run.steps": 60, "run.checkpoint_every": 3, "run.sample_every": 10}
    drawn = random.Random(20231206)
    killed_after, pause = drawn.randint(10, 45), drawn.uniform(0, 0.03)
    command = [sys.executable, "-m", "dualmcmc", "train", *flags(changes), "--out", str(tmp_path / "killed")]
    train(tmp_path / "whole", changes)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    lines, deadline = tmp_path / "killed" / "log.jsonl", time.monotonic() + 60
    while not lines.exists() or lines.read_text().count("\n") < killed_after:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(pause)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert log(tmp_path / "killed")[-1]["step"] < 60
    assert resume(tmp_path / "killed", changes) == 0
    assert_same(checkpoint(tmp_path / "killed", 60), checkpoint(tmp_path / "whole", 60))
    assert timeless(log(tmp_path / "killed")) == timeless(log(tmp_path / "whole"))


def test_a_run_killed_before_its_first_update_can_be_resumed(base: Path, run_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 1, lambda _, losses: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["train", *flags(), "--out", str(run_path)])
    assert checkpoints.steps(run_path / "checkpoints") == [0]
    assert resume(run_path) == 0
    assert_same(checkpoint(run_path, 6), checkpoint(base, 6))


def test_checkpoints_saved_after_a_fallback_outlive_the_damaged_ones_that_were_passed_over(run_path: Path) -> None:
    """Of 2, 4, 6 (keep 2: 4 and 6) the last is damaged; resuming from 4 leaves good ones only."""
    train(run_path, {"run.keep": 2})
    with (run_path / "checkpoints" / "step-6" / "weights.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 1, lambda _, losses: (signal.raise_signal(signal.SIGINT), losses)[1])
        assert main(["train", *flags({"run.keep": 2}), "--out", str(run_path), "--resume"]) == 130
    there = checkpoints.steps(run_path / "checkpoints")
    assert there == [4, 5]
    assert [checkpoints.fault(run_path / "checkpoints" / f"step-{step}") for step in there] == [None, None]


def test_a_stop_at_the_step_of_a_damaged_checkpoint_saves_it_anew(run_path: Path) -> None:
    """4 and 6 are damaged; resumed from 2 and stopped after 4, the run has a good 4."""
    train(run_path, {"run.keep": 4})
    for step in (4, 6):
        with (run_path / "checkpoints" / f"step-{step}" / "weights.safetensors").open("r+b") as file:
            file.truncate(100)
    changes = {"run.keep": 4, "run.checkpoint_every": 0}
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 2, lambda _, losses: (signal.raise_signal(signal.SIGINT), losses)[1])
        assert main(["train", *flags(changes), "--out", str(run_path), "--resume"]) == 130
    there = checkpoints.steps(run_path / "checkpoints")
    assert there == [0, 2, 4]
    assert [checkpoints.fault(run_path / "checkpoints" / f"step-{step}") for step in there] == [None] * 3


def test_a_resumed_run_goes_on_to_the_length_last_asked_for(run_path: Path) -> None:
    """--steps 8 on a run of 6, stopped at 7: a plain --resume goes on to 8; fewer than were made are refused."""
    train(run_path)
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 1, lambda _, losses: (signal.raise_signal(signal.SIGINT), losses)[1])
        assert main(["train", *flags(), "--steps", "8", "--out", str(run_path), "--resume"]) == 130
    assert main(["train", "digits", "--device", "cpu", "--out", str(run_path), "--resume"]) == 0
    assert checkpoints.steps(run_path / "checkpoints")[-1] == 8
    with pytest.raises(InputError, match="has made 8 updates, more than 6"):
        train(run_path, resume=True)


def test_a_model_replaced_halfway_is_put_back(tmp_path: Path) -> None:
    """A process killed between the two renames leaves the old folder beside; the next write restores it first."""
    (tmp_path / ".model.4711.old").mkdir()
    (tmp_path / ".model.4711.old" / "kept").touch()
    (tmp_path / ".model.4711.tmp").mkdir()
    with pytest.raises(ZeroDivisionError), files.new_folder(tmp_path / "model"):
        raise ZeroDivisionError
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "kept").exists()


def test_a_full_disk_says_which_checkpoint_is_intact(run_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualmcmc.training.occasions.save_rows", full)
        with pytest.raises(TrainingError, match=r"No space left.*checkpoint of step 2 is intact"):
            train(run_path, {"run.sample_every": 2})


def test_a_second_run_gets_the_device_it_asks_for() -> None:
    """accelerate keeps one state per Python process; the first run's device must not be the second's."""
    from accelerate.state import PartialState

    setup.accelerator("cpu", "fp32")
    PartialState._shared_state["device"] = torch.device("meta")
    assert setup.accelerator("cpu", "bf16").device == torch.device("cpu")


def test_a_run_is_not_resumed_on_other_images(run_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = run_path.parent / "images.npy"
    np.save(images, np.zeros((40, 8, 8), np.uint8))
    assert main(["train", *flags(), "--data", str(images), "--out", str(run_path)]) == 0
    np.save(images, np.ones((40, 8, 8), np.uint8))
    capsys.readouterr()
    assert resume(run_path, {"data": str(images), "run.steps": 8}) == 2
    assert "are not those that" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_of_the_update_in_hand_and_exit_130(
    number: signal.Signals, base: Path, run_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: (signal.raise_signal(number), losses)[1])
        assert main(["train", *flags(), "--out", str(run_path)]) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("dualmcmc: stopped after step 3")
    assert checkpoints.steps(run_path / "checkpoints") == [0, 2, 3]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert resume(run_path) == 0
    assert_same(checkpoint(run_path, 6), checkpoint(base, 6))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_does_not_wait_for_an_evaluation_which_a_resumed_run_makes(
    number: int, run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while samples of the evaluation at 4 are drawn: no more are, 4 is saved, all else is as if not."""
    changes = {"run.evaluate_every": 2, "run.sample_every": 4}
    whole = run_path.with_name("whole")
    train(whole, changes)
    evaluate, calls, finished = occasions.small_evaluation, [], []

    def interrupted(*args: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(number)
        finished.append(len(calls))
        return evaluate(*args)

    monkeypatch.setattr(occasions, "small_evaluation", interrupted)
    assert main(["train", *flags(changes), "--out", str(run_path)]) == 130
    assert finished == [1]
    assert checkpoints.newest(run_path / "checkpoints")[0].step == 4
    assert [entry["step"] for entry in json.loads((run_path / "metrics.json").read_text())["training"]] == [2]
    assert main(["train", *flags(changes), "--out", str(run_path), "--resume"]) == 0
    for name in ("metrics.json", "checkpoints/index.json", "model/manifest.json"):
        assert (run_path / name).read_bytes() == (whole / name).read_bytes()
    drawn = [sorted(path.name for path in (place / "samples").iterdir()) for place in (run_path, whole)]
    assert drawn[0] == drawn[1]
    assert_same(checkpoint(run_path, 6), checkpoint(whole, 6))


def test_signals_that_repeat_the_first_do_not_stop_at_once(run_path: Path) -> None:
    """As under torchrun, which passes on what a scheduler sent to all: any SIGTERM, and Ctrl-C's echo."""
    numbers = [signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM]
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: ([signal.raise_signal(number) for number in numbers], losses)[1])
        assert main(["train", *flags(), "--out", str(run_path)]) == 130
    assert checkpoints.steps(run_path / "checkpoints") == [0, 2, 3]


def test_a_later_ctrl_c_stops_at_once(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PATIENCE", -1.0)
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: ([signal.raise_signal(signal.SIGINT) for _ in "ab"], losses)[1])
        assert main(["train", *flags(), "--out", str(run_path)]) == 130
    assert checkpoints.steps(run_path / "checkpoints") == [0, 2]


def test_signals_that_interrupt_one_evaluation_twice_lose_nothing(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the evaluation of 4, and again when it is made up for: no update is made before it has been."""
    changes = {"run.evaluate_every": 2}
    whole = run_path.with_name("whole")
    train(whole, changes)
    evaluate, calls = occasions.small_evaluation, []

    def interrupted(*args: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) in (2, 3):
            signal.raise_signal(signal.SIGTERM)
        return evaluate(*args)

    monkeypatch.setattr(occasions, "small_evaluation", interrupted)
    assert main(["train", *flags(changes), "--out", str(run_path)]) == 130
    for code in (130, 0):
        found = checkpoints.newest(run_path / "checkpoints")[0]
        assert (found.step, found.state["owed"]) == (4, ["evaluate"])
        assert main(["train", *flags(changes), "--out", str(run_path), "--resume"]) == code
    assert (run_path / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


def test_a_signal_in_the_last_update_leaves_the_last_looks_to_a_resumed_run(run_path: Path) -> None:
    changes = {"run.evaluate_every": 4}
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 6, lambda _, losses: (signal.raise_signal(signal.SIGTERM), losses)[1])
        assert main(["train", *flags(changes), "--out", str(run_path)]) == 130
    assert checkpoints.newest(run_path / "checkpoints")[0].step == 6
    assert main(["train", *flags(changes), "--out", str(run_path), "--resume"]) == 0
    evaluated = json.loads((run_path / "metrics.json").read_text())["training"]
    assert [entry["step"] for entry in evaluated] == [4, 6]


def test_a_budget_of_time_ends_with_everything_that_is_due(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows an update's figures takes most of the time here, and is when the budget is spent."""
    update = optimisation.Average.update

    def slow(self: optimisation.Average, *args: Any) -> None:
        time.sleep(0.1)
        update(self, *args)

    monkeypatch.setattr(optimisation.Average, "update", slow)
    changes = {"run.minutes": 0.35 / 60, "run.evaluate_every": 100, "run.steps": 100, "run.checkpoint_every": 50}
    train(run_path, changes)
    last = log(run_path)[-1]["step"]
    assert 1 <= last < 20
    assert checkpoints.newest(run_path / "checkpoints")[0].step == last
    assert [entry["step"] for entry in json.loads((run_path / "metrics.json").read_text())["training"]] == [last]


def test_a_checkpoint_that_was_passed_over_is_kept_aside(run_path: Path) -> None:
    """Perhaps it could only not be read that day: --resume goes on before it, and removes nothing."""
    train(run_path)
    state = run_path / "checkpoints" / "step-6" / "state.json"
    state.write_text(state.read_text().replace('"attempt": 0', '"attempt": 1'))
    before = listing(run_path / "checkpoints" / "step-6")
    train(run_path, resume=True)
    assert listing(run_path / "checkpoints" / "unusable-step-6") == before
    assert checkpoints.fault(run_path / "checkpoints" / "step-6") is None


def test_a_checkpoint_that_is_replaced_is_there_whatever_happens(tmp_path: Path) -> None:
    """A second Ctrl-C between the two renames, or a kill there: the old one is put back."""
    checkpoints.save(tmp_path, 3, {part: {} for part in PARTS}, {"best": None})
    with pytest.MonkeyPatch.context() as patch:
        rename, calls = Path.rename, []

        def interrupted(self: Path, target: Path) -> Path:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return rename(self, target)

        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(tmp_path, 3, {part: {} for part in PARTS}, {"best": None})
    assert checkpoints.fault(tmp_path / "step-3") is None
    (tmp_path / "step-3").rename(tmp_path / ".step-3.77.old")
    checkpoints.mend(tmp_path)
    assert checkpoints.fault(tmp_path / "step-3") is None
    assert list(tmp_path.glob(".*")) == []


def test_a_link_anywhere_in_a_run_is_refused_before_anything_is_written(copied: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"mine")
    (copied / "samples").mkdir(exist_ok=True)
    (copied / "samples" / "step-0000008.png").symlink_to(outside)
    with pytest.raises(InputError, match="leads out of the run"):
        train(copied, {"run.steps": 8, "run.sample_every": 8}, resume=True)
    assert outside.read_bytes() == b"mine"


def test_a_signal_while_drawing_puts_off_pictures_only(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated at 4, stopped while drawing there: one evaluation of 4, in metrics and log, and its pictures."""
    changes = {"run.evaluate_every": 4, "run.sample_every": 4}
    draw, calls = occasions.Occasions.draw, []

    def interrupted(self: occasions.Occasions, done: int) -> None:
        calls.append(done)
        with self.signals.at_once():
            if len(calls) == 1:
                signal.raise_signal(signal.SIGTERM)
        draw(self, done)

    monkeypatch.setattr(occasions.Occasions, "draw", interrupted)
    assert main(["train", *flags(changes), "--out", str(run_path)]) == 130
    assert checkpoints.newest(run_path / "checkpoints")[0].state["owed"] == ["draw"]
    assert list((run_path / "samples").glob("*")) == []
    assert main(["train", *flags(changes), "--out", str(run_path), "--resume"]) == 0
    assert calls == [4, 4, 6]
    evaluated = [entry["step"] for entry in json.loads((run_path / "metrics.json").read_text())["training"]]
    assert evaluated == [line["step"] for line in log(run_path, "evaluation")] == [4, 6]
    assert (run_path / "samples" / "step-0000004.png").exists()


def test_a_run_killed_before_its_first_checkpoint_begins_anew(base: Path, run_path: Path) -> None:
    """Killed with nothing but its folder, a run can be started there; with a config.json, resumed."""
    (run_path / "checkpoints").mkdir(parents=True)
    (run_path / ".lock").touch()
    (run_path / "owner.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occasions.Occasions, "begin", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(["train", *flags(), "--out", str(run_path)])
    assert checkpoints.steps(run_path / "checkpoints") == []
    assert resume(run_path) == 0
    assert_same(checkpoint(run_path, 6), checkpoint(base, 6))


def test_a_fine_tuning_killed_before_its_first_checkpoint_begins_from_the_same_model(
    base: Path, run_path: Path
) -> None:
    whole = run_path.with_name("whole")
    train(whole, init=base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occasions.Occasions, "begin", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(run_path, init=base)
    train(run_path, resume=True)
    assert_same(checkpoint(run_path, 6), checkpoint(whole, 6))


def test_settings_altered_in_config_json_are_noticed_when_resuming(copied: Path) -> None:
    path = copied / "config.json"
    about = json.loads(path.read_text())
    about["config"]["method"]["sigma"] *= 1.01
    path.write_text(json.dumps(about))
    changes = {"method.sigma": about["config"]["method"]["sigma"], "run.steps": 8}
    with pytest.raises(InputError, match=r"config\.json was altered"):
        train(copied, changes, resume=True)


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """The mean of two half-batch means is the batch's mean, the noise the same: only rounding differs.

    h and gradients carry relative errors of some 10 eps; the energy loss is a difference of means of h
    divided by T, so its error is 10 eps |h| / T. Adam divides by the gradient's size, so errors of
    updates are relative to the gradient too, 100 eps after three updates, but for the few components
    whose gradient is itself rounding: weights are compared in norm, relative to how far they moved.
    (torchrun, since `accelerate launch --cpu` starts one process whatever it is told.)
    """
    occasions = {"run.evaluate_every": 2, "run.sample_every": 3}  # on one process, while the other waits
    changes = {"run.steps": 3, "run.checkpoint_every": 1, **occasions}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port), "-m", "dualmcmc"]
    arguments = ["train", *flags(changes), "--out", str(tmp_path / "two")]
    process = subprocess.Popen(
        [sys.executable, "-m", *launch, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    one = train(tmp_path / "one", changes)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("3 steps") == 1  # of two processes one reports: they knew of each other
    start, h = setup.new_trio(one.config), 0.5
    for ours, theirs in zip(log(tmp_path / "two"), log(tmp_path / "one"), strict=True):
        assert abs(ours["loss_energy"] - theirs["loss_energy"]) < 10 * EPS * h / 4e-6
        for name in ("loss_generator", "loss_inference"):
            assert math.isclose(ours[name], theirs[name], rel_tol=1e-5)
    for step in (1, 3):
        ours, theirs = (checkpoint(tmp_path / name, step) for name in ("two", "one"))
        for network in ("energy", "generator", "inference"):
            names = [f"{network}.{name}" for name, _ in start.get_submodule(network).named_parameters()]
            for part in ("weights", "average"):
                gap = math.hypot(*((ours[f"{part}/{n}"] - theirs[f"{part}/{n}"]).norm() for n in names))
                moved = math.hypot(
                    *((theirs[f"{part}/{n}"] - start.get_parameter(n).detach()).norm() for n in names)
                )
                assert gap < 1e-4 * moved, (step, network, part, gap / moved)


_THREADS_AT_THE_END = """
import atexit, pathlib, sys

def threads():
    names = [(task / "comm").read_text().strip() for task in pathlib.Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]

atexit.register(lambda: print(f"left: {threads()}\\n", end="", flush=True))  # registered first, called last
from dualmcmc.cli import main
from dualmcmc.training.loop import Trainer

trained = Trainer.train
Trainer.train = lambda self: (trained(self), print(f"while there: {threads()}\\n", end="", flush=True))[0]
sys.exit(main())
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_no_thread_of_gloo_outlives_training(tmp_path: Path) -> None:
    """One that still let go of a tensor when Python had gone aborted a finished run, now and then."""
    (tmp_path / "script.py").write_text(_THREADS_AT_THE_END)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    arguments = ["train", *flags({"run.steps": 1}), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("while there: ['") == 2
    assert done.stdout.count("left: []") == 2


# -- what must never reach a checkpoint ------------------------------------------------------------


def _not_a_number(_: DualMCMCTeaching, losses: Losses) -> Losses:
    return losses._replace(generator=losses.generator * float("nan"))


def _infinite_energy(_: DualMCMCTeaching, losses: Losses) -> Losses:
    return losses._replace(energy=losses.energy + float("inf"))


def _gradient_not_a_number(teaching: DualMCMCTeaching, losses: Losses) -> Losses:
    p = next(teaching.trio.inference.parameters())
    return losses._replace(inference=losses.inference + (0 * p).sqrt().sum())  # adds 0; its gradient is inf * 0


def _exploded(_: DualMCMCTeaching, losses: Losses) -> Losses:
    return losses._replace(seen={**losses.seen, "energy_gap_h": torch.tensor(-2e4)})


def _burst_reconstruction(_: DualMCMCTeaching, losses: Losses) -> Losses:
    return losses._replace(generator=losses.generator * 0 + 1e9)


def _burst_codes(_: DualMCMCTeaching, losses: Losses) -> Losses:
    return losses._replace(inference=losses.inference * 0 - 1e9)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (_not_a_number, "loss_generator is nan"),
        (_infinite_energy, "loss_energy is inf"),
        (_gradient_not_a_number, "gradient_inference is nan"),
        (_exploded, "energy_gap_size is 2e+04"),
        (_burst_reconstruction, "loss_generator is 1e+09"),
        (_burst_codes, "loss_inference is -1e+09"),
    ],
)
def test_divergence_stops_before_the_bad_step_changes_or_saves_anything(
    act: Callable[[DualMCMCTeaching, Losses], Losses], reason: str, base: Path, run_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, act)
        trainer = Trainer(tiny({"run.checkpoint_every": 1, "guard.trips": 0}), run_path, device="cpu", quiet=True)
        with pytest.raises(TrainingError, match="diverged at step 4") as failure:
            trainer.train()
    assert reason in str(failure.value)
    assert checkpoints.steps(run_path / "checkpoints") == [1, 2, 3]
    live = {f"weights/{name}": value for name, value in trainer.trio.state_dict().items()}
    saved = checkpoint(run_path, 3)
    learned = [f"weights/{name}" for name, _ in trainer.trio.named_parameters()]
    assert all(torch.equal(live[name], saved[name]) for name in learned)
    train(run_path, resume=True)
    assert_same(checkpoint(run_path, 6), checkpoint(base, 6))


def test_the_command_says_that_training_diverged_and_exits_1(
    run_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", *flags({"optim.max_energy_gap": 1e-12, "guard.trips": 0}), "--out", str(run_path)]
    assert main(command) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("dualmcmc: training diverged at step 1: energy_gap_size is")
    assert checkpoints.steps(run_path / "checkpoints") == [0]  # the networks as they began


def _cut_short(folder: Path) -> None:
    file = folder / "weights.safetensors"
    os.truncate(file, file.stat().st_size // 2)


def _alter_a_bit(folder: Path) -> None:
    file = folder / "optimiser.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def _alter_state(folder: Path) -> None:
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "attempt": 1}))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "truncated": (_cut_short, "weights.safetensors is cut short or altered"),
    "altered": (_alter_a_bit, "optimiser.safetensors is cut short or altered"),
    "state": (_alter_state, "state.json is cut short or altered"),
    "missing": (lambda folder: (folder / "average.safetensors").unlink(), "average.safetensors is missing"),
    "manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
    "no-json": (lambda folder: (folder / "manifest.json").write_text("{"), "it cannot be read"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    kind: str, base: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, reason = DAMAGE[kind]
    damage(copied / "checkpoints" / "step-6")
    assert resume(copied) == 0
    said = capsys.readouterr().err
    assert f"step-6 is not complete: {reason}" in said
    assert "after step 4" in said
    assert_same(checkpoint(copied, 6), checkpoint(base, 6))


def test_without_any_complete_checkpoint_resuming_is_refused_and_changes_nothing(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (2, 4, 6):
        _cut_short(copied / "checkpoints" / f"step-{step}")
    before = listing(copied)
    assert resume(copied) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dualmcmc: no complete checkpoint in ")
    shutil.rmtree(copied / "checkpoints")
    assert resume(copied) == 2
    assert "the folder has none" in capsys.readouterr().err
    assert {name: sums for name, sums in before.items() if not name.startswith("checkpoints")} == listing(copied)


def test_what_a_process_killed_while_saving_leaves_is_no_checkpoint(base: Path, copied: Path) -> None:
    (copied / "checkpoints" / "step-6").rename(copied / "checkpoints" / ".step-6.4711.tmp")
    (copied / "checkpoints" / ".step-6.4711.tmp" / "manifest.json").unlink()
    assert checkpoints.newest(copied / "checkpoints")[0].step == 4
    assert resume(copied) == 0
    assert_same(checkpoint(copied, 6), checkpoint(base, 6))


@contextmanager
def _file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk does to a large file, for real."""
    import resource  # no Windows has it

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_saving_is_exit_1_and_the_previous_checkpoint_is_intact(
    base: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "checkpoints" / "step-6")
    before = listing(copied / "checkpoints")
    with _file_size_limit(30_000):
        assert resume(copied) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("dualmcmc: could not save the checkpoint of step 6 (")
    assert "the checkpoint of step 4 is intact" in last
    assert json.loads((copied / "checkpoints" / "index.json").read_text()) == {"latest": 4, "best": None}
    assert {**listing(copied / "checkpoints"), "index.json": before["index.json"]} == before
    assert resume(copied) == 0
    assert_same(checkpoint(copied, 6), checkpoint(base, 6))


def test_a_full_disk_while_exporting_the_model_keeps_model_and_checkpoint(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = listing(copied / "model")
    monkeypatch.setattr(pretrained, "write_text", full)
    assert resume(copied, {"run.steps": 8}) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("dualmcmc: could not write ")
    assert "No space left" in last
    assert listing(copied / "model") == before
    assert checkpoints.newest(copied / "checkpoints")[0].step == 8


# -- resuming, and refusing to ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"optim.batch_size": 8}, "optim.batch_size is 8, not 16"),
        ({"optim.energy.rate": 0.5}, "optim.energy.rate is 0.5, not 0.0001"),
        ({"method.data_chain.steps": 4}, "method.data_chain.steps is 4, not 3"),
        ({"seed": 5}, "seed is 5, not 0"),
        ({"networks.latent_dim": 5}, "networks.latent_dim is 5, not 4"),
    ],
)
def test_resuming_under_another_configuration_is_refused_naming_the_field(
    changes: dict[str, Any], named: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = listing(copied)
    assert resume(copied, changes) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dualmcmc: --resume: ")
    assert named in line
    assert listing(copied) == before


def test_a_schedule_that_ends_at_the_last_step_fixes_the_number_of_steps(run_path: Path) -> None:
    train(run_path, {"optim.schedule": "cosine", "run.steps": 2})
    with pytest.raises(InputError, match=r"run\.steps is 4, not 2"):
        train(run_path, {"optim.schedule": "cosine", "run.steps": 4}, resume=True)


def test_resume_without_a_run_and_start_into_an_occupied_folder_are_refused(
    tmp_path: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    before = listing(tmp_path)
    for place, more, said in [
        ("nowhere", ["--resume"], "there is no run at"),
        ("empty", ["--resume"], "there is no run at"),
        ("run", [], "already holds a run"),
        ("full", [], "already exists and is no run"),
        ("file", [], "already exists and is no run"),
    ]:
        assert main(["train", *flags(), "--out", str(tmp_path / place), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("dualmcmc: ")
        assert said in line
    with pytest.raises(InputError, match="is missing"):
        train(tmp_path / "nowhere", resume=True)
    assert listing(tmp_path) == before
    train(tmp_path / "empty", {"run.steps": 1})  # an empty folder is free


def test_resuming_a_finished_run_makes_no_further_update(base: Path, copied: Path) -> None:
    assert resume(copied) == 0
    assert timeless(log(copied)) == timeless(log(base))
    assert listing(copied / "checkpoints") == listing(base / "checkpoints")


def test_with_resume_the_runs_own_settings_need_not_be_repeated(base: Path, copied: Path) -> None:
    shutil.rmtree(copied / "checkpoints" / "step-6")
    assert main(["train", "digits", "--device", "cpu", "--resume", "--out", str(copied)]) == 0
    assert_same(checkpoint(copied, 6), checkpoint(base, 6))


def test_pruning_keeps_the_newest_and_the_best_and_model_is_the_best(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([3.0, 1.0, 2.0, 1.0, 5.0, 4.0])
    figures = {"mse_inference": 0.0, "mse_chain": 0.0, "feature_distance": 0.0}
    assert occasions.small_evaluation is evaluation.small_evaluation
    monkeypatch.setattr(occasions, "small_evaluation", lambda *_: {**figures, "value": next(values)})
    train(run_path, {"run.evaluate_every": 1, "run.checkpoint_every": 1, "run.keep": 2})
    assert checkpoints.steps(run_path / "checkpoints") == [2, 5, 6]  # the first of equals is the best
    assert json.loads((run_path / "model" / "config.json").read_text())["step"] == 2
    state = json.loads((run_path / "checkpoints" / "step-6" / "state.json").read_text())
    assert state["best"] == {"step": 2, "value": 1.0}
    assert [line["best_step"] for line in log(run_path, "evaluation")] == [1, 2, 2, 2, 2, 2]


# -- rates, clipping, average ----------------------------------------------------------------------


def test_schedules_and_warm_up_have_their_closed_forms() -> None:
    def factors(**settings: Any) -> list[float]:
        return [optimisation.rate_factor(t, Optim(**settings), steps=12, steps_per_epoch=5) for t in range(12)]

    assert factors() == [1.0] * 12
    assert factors(schedule="epoch", epoch_factor=0.5) == [1.0] * 5 + [0.5] * 5 + [0.25] * 2
    assert factors(schedule="linear") == pytest.approx([1 - t / 12 for t in range(12)], abs=1e-15)
    assert factors(schedule="cosine") == pytest.approx([math.cos(math.pi * t / 24) ** 2 for t in range(12)])
    assert factors(warmup=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors(warmup=4, schedule="linear")[2] == pytest.approx(0.75 * (1 - 2 / 12))


def test_each_update_is_made_at_its_own_rate(run_path: Path) -> None:
    """With one beta 0 Adam's first update moves every weight by its rate: the group's, times warm-up."""
    changes = {"optim.schedule": "linear", "optim.warmup": 4, "run.steps": 2, "run.checkpoint_every": 1}
    changes |= {"optim.energy.rate": 1e-3, "optim.generator.rate": 2e-3, "optim.inference.rate": 0.0}
    trainer = train(run_path, changes)
    lines = log(run_path)
    assert [line["rate_energy"] for line in lines] == [1e-3 / 4, 1e-3 / 2 * (1 - 1 / 2)]
    assert [line["rate_generator"] for line in lines] == [2e-3 / 4, 2e-3 / 2 * (1 - 1 / 2)]
    start, after = setup.new_trio(trainer.config), checkpoint(run_path, 1)
    for network, rate in (("energy", 1e-3), ("generator", 2e-3), ("inference", 0.0)):
        for name, before in start.get_submodule(network).named_parameters():
            gradient = after[f"optimiser/{network}.{name}:exp_avg"]
            moved = (after[f"weights/{network}.{name}"] - before).abs()
            # rate / 4 * |g| / (|g| + 1e-8), then rounded to the weight's float32
            expected = rate / 4 * gradient.abs() / (gradient.abs() + 1e-8)
            assert torch.allclose(moved, expected, rtol=1e-4, atol=2 * EPS)


def test_gradients_are_clipped_per_network_and_only_where_asked() -> None:
    trio = setup.new_trio(tiny())
    sizes = {"energy": 10.0, "generator": 3.0, "inference": 7.0}
    for name, size in sizes.items():
        parameters = list(trio.get_submodule(name).parameters())
        count = sum(p.numel() for p in parameters)
        for p in parameters:
            p.grad = torch.full_like(p, size / count**0.5)
    settings = Optim(energy=Adam(rate=1, clip=2.0), generator=Adam(rate=1, clip=5.0), inference=Adam(rate=1))
    before = optimisation.clip(trio, settings)
    assert {name: norm.item() for name, norm in before.items()} == pytest.approx(sizes, rel=1e-5)
    after = [
        nn.utils.get_total_norm([p.grad for p in trio.get_submodule(name).parameters()]).item() for name in sizes
    ]
    assert after == pytest.approx([2.0, 3.0, 7.0], rel=1e-5)


def test_clipping_bounds_what_adam_sees(run_path: Path) -> None:
    train(run_path, {"run.steps": 1, "optim.energy.clip": 1e-3})
    state, (line,) = checkpoint(run_path, 1), log(run_path)
    seen = math.hypot(
        *(v.norm() for k, v in state.items() if k.startswith("optimiser/energy") and k.endswith("exp_avg"))
    )
    assert line["gradient_energy"] > 1  # logged before clipping
    assert seen == pytest.approx(1e-3, rel=1e-4)


def test_the_average_follows_its_recursion_with_the_stated_warm_up(run_path: Path) -> None:
    """average <- d average + (1 - d) live with d = min(setting, (1 + t) / (10 + t)), from the start on."""
    trainer = train(run_path, {"run.checkpoint_every": 1, "run.keep": 6, "optim.ema": 0.3})
    names = [name for name, _ in trainer.trio.named_parameters()]
    average = {name: p.detach().clone() for name, p in setup.new_trio(trainer.config).named_parameters()}
    for t in range(6):
        decay = min(0.3, (1 + t) / (10 + t))
        saved = checkpoint(run_path, t + 1)
        for name in names:
            average[name].lerp_(saved[f"weights/{name}"], 1 - decay)
            assert torch.equal(saved[f"average/{name}"], average[name]), (t, name)


def test_without_averaging_the_average_is_the_live_networks(run_path: Path) -> None:
    train(run_path, {"run.steps": 2, "optim.ema": 0.0})
    state = checkpoint(run_path, 2)
    assert all(torch.equal(v, state["weights/" + k[8:]]) for k, v in state.items() if k.startswith("average/"))


# -- fine-tuning -----------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"networks.family": "residual", "networks.norm": "batch"}])
def test_init_copies_all_three_functions(changes: dict[str, Any], run_path: Path) -> None:
    """Generator and inference network exactly; h up to the estimates of the weights' norms.

    A folded weight has norm 1 and is divided by its estimate again. That estimate starts anew, so h is
    off by its error at first, and by rounding once it has converged, as here at the export too.
    """
    made = setup.new_trio(tiny(changes))
    spectral.power_iteration(made.energy, times=1000)
    model = Model(pretrained.plain_trio(made), tiny(changes))
    model.save_pretrained(run_path)
    trio = setup.new_trio(tiny({**changes, "seed": 9}))
    setup.start_from(trio, run_path, tiny({**changes, "seed": 9}))
    for network in ("generator", "inference"):
        ours, theirs = (t.get_submodule(network).state_dict() for t in (trio, model.trio))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        theirs, size = model.trio.h(x), model.trio.h(x).abs().max()
        assert ((trio.h(x) - theirs).abs() < 1e-2 * size).all()
        spectral.power_iteration(trio.energy, times=1000)
        assert ((trio.h(x) - theirs).abs() < 1e-5 * size).all()


def test_a_run_started_with_init_starts_there(base: Path, run_path: Path) -> None:
    """One update at rate 0 and no EMA later, the model is still the one it started from."""
    rates = {f"optim.{name}.rate": 0.0 for name in ("energy", "generator", "inference")}
    assert main(["train", *flags({**rates, "run.steps": 1}), "--init", str(base), "--out", str(run_path)]) == 0
    ours, theirs = Model.from_pretrained(run_path), Model.from_pretrained(base)
    x = torch.rand(20, 1, 8, 8) * 2 - 1
    assert torch.allclose(ours.sample(4, steps=0), theirs.sample(4, steps=0), rtol=0, atol=1e-6)
    assert torch.allclose(ours.log_density(x), theirs.log_density(x), rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"networks.latent_dim": 5}, "networks.latent_dim is 5, not 4"),
        ({"networks.energy_width": 16}, "networks.energy_width is 16, not 8"),
        ({"networks.family": "residual"}, "networks.family is residual, not simple"),
        ({"networks.norm": "batch"}, "networks.norm is batch, not group"),
        ({"images.size": 16}, "images.size is 16, not 8"),
        ({"images.channels": 3}, "images.channels is 3, not 1"),
    ],
)
def test_init_refuses_other_networks(
    changes: dict[str, Any], named: str, base: Path, run_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *flags(changes), "--init", str(base), "--out", str(run_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert not run_path.exists()


def test_init_refuses_to_divide_weights_that_were_learned_undivided(base: Path, tmp_path: Path) -> None:
    """Into a plain energy network the folded one goes as it is; the other way would change h."""
    plain = {"networks.spectral_norm": False}
    train(tmp_path / "plain", {**plain, "run.steps": 1}, init=base)
    with pytest.raises(InputError, match=r"networks\.spectral_norm is True, not False"):
        train(tmp_path / "divided", {"run.steps": 1}, init=tmp_path / "plain")


# -- what a run leaves -----------------------------------------------------------------------------


def test_a_log_line_holds_losses_gap_movement_rates_and_shares_of_time(base: Path) -> None:
    lines = log(base)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for line in lines:
        for name in ("energy", "generator", "inference"):
            assert math.isfinite(line[f"loss_{name}"])
            assert line[f"gradient_{name}"] > 0
            assert line[f"rate_{name}"] > 0
        assert line["energy_gap"] == pytest.approx(line["energy_gap_h"] / 4e-6)
        assert line["loss_energy"] == pytest.approx(-line["energy_gap"], rel=1e-4)
        assert line["data_chain_moved"] > 0
        assert line["latent_chain_moved"] > 0
        shares = {name: value for name, value in line.items() if name.startswith("share_")}
        assert set(shares) == {f"share_{p}" for p in ("data_chain", "latent_chain", "losses", "update", "other")}
        assert sum(shares.values()) == pytest.approx(1)
        assert all(value > 0 for value in shares.values())


def test_a_log_line_is_the_mean_since_the_last_one(base: Path, run_path: Path) -> None:
    train(run_path, {"run.log_every": 4})
    single, grouped = log(base), log(run_path)
    assert [line["step"] for line in grouped] == [4, 6]
    for name in ("loss_energy", "energy_gap", "latent_chain_moved", "gradient_generator"):
        means = [sum(line[name] for line in part) / len(part) for part in (single[:4], single[4:])]
        assert [line[name] for line in grouped] == pytest.approx(means)


def test_how_far_chains_move_is_noise_and_drift_of_their_settings(base: Path) -> None:
    """A chain of K steps spreads by s sqrt(T K) per component; drift only adds: 5 standard errors below."""
    for line in log(base):
        spread, n = 0.5 * (4e-6 * 3) ** 0.5, 16 * 64
        assert line["data_chain_moved"] > spread * (1 - 5 / (2 * n) ** 0.5)


def test_a_run_folder_holds_what_the_contract_names(trained: Path) -> None:
    assert {entry.name for entry in trained.iterdir()} == {
        "config.json", "log.jsonl", "metrics.json", "samples", "checkpoints", "model", "tensorboard"
    }  # fmt: skip
    about = json.loads((trained / "config.json").read_text())
    assert about["config"]["networks"]["latent_dim"] == 4
    assert about["version"]
    assert "Frechet" in about["best"]
    assert next((trained / "tensorboard").glob("events.out.tfevents.*")).stat().st_size > 1000
    figures = log(trained, "evaluation")
    assert [line["step"] for line in figures] == [2, 4, 6]
    for line in figures:
        assert {"mse_inference", "mse_chain", "feature_distance", "value", "best_step"} < line.keys()
    entries = json.loads((trained / "metrics.json").read_text())["training"]
    assert [entry["value"] for entry in entries] == [line["value"] for line in figures]
    assert all(entry["protocol"]["latent_chain"]["steps"] == 2 for entry in entries)
    assert [line["best_step"] for line in figures][-1] == min(figures, key=lambda line: line["value"])["step"]


def test_pictures_are_grids_of_their_counts(trained: Path) -> None:
    """8x8 images are enlarged to 64 with gaps of 2: two panels of 8x8 images 8 apart; 3 rows of 12."""
    cell = 64 + 2
    names = sorted(path.name for path in (trained / "samples").iterdir())
    assert names == [f"{kind}-{step:07d}.png" for kind in ("reconstructions", "step") for step in (3, 6)]
    for step in (3, 6):
        with Image.open(trained / "samples" / f"step-{step:07d}.png") as grid:
            assert grid.size == (2 * (8 * cell + 2) + 8, 8 * cell + 2)
            low, high = grid.crop((2, 2, 66, 66)).getextrema()
            assert low < high
        with Image.open(trained / "samples" / f"reconstructions-{step:07d}.png") as rows:
            assert rows.size == (12 * cell + 2, 3 * cell + 2)


def test_skipped_images_are_counted_and_missing_holdouts_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(20):
        Image.new("L", (8, 8), 10 * i).save(folder / f"{i:02d}.png")
    (folder / "broken.png").write_bytes(b"")
    command = ["train", *flags({"run.steps": 1, "optim.batch_size": 4}), "--data", f"{folder}:all"]
    assert main([*command, "--out", str(tmp_path / "run"), "--skip-bad"]) == 0
    said = capsys.readouterr().err
    assert "20 training images" in said
    assert "1 unreadable images were skipped" in said
    assert "no images are held out" in said


def test_under_bf16_chains_losses_and_weights_stay_float32(
    run_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of the data chain is s sqrt(T) = 1e-3, below bfloat16's spacing at 1 (8e-3)."""
    drawn: list[Synthesis] = []
    synthesise = dual_mcmc.synthesise

    def recording(*args: Any, **kwargs: Any) -> Synthesis:
        synthesis = synthesise(*args, **kwargs)
        drawn.extend([] if synthesis.x_gen.is_meta else [synthesis])  # the log's arithmetic draws nothing
        return synthesis

    monkeypatch.setattr(dual_mcmc, "synthesise", recording)
    train(run_path, {"precision": "bf16", "run.steps": 2})
    assert len(drawn) == 2
    for synthesis in drawn:
        assert {t.dtype for t in synthesis} == {torch.float32}
        moved = synthesis.x_model - synthesis.x_gen
        assert (moved.abs() > 0).float().mean() > 0.99
    state = checkpoint(run_path, 2)
    assert {t.dtype for t in state.values() if t.is_floating_point()} == {torch.float32}
    assert {name.split("/")[0] for name in state} == set(PARTS) - {"memory"}  # the method remembers nothing
