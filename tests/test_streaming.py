"""A run on a stream ends at the same bits however it is cut up, and is refused where it cannot be right."""

from __future__ import annotations

import inspect
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from shards import parquet
from tiny import assert_same, checkpoint, flags, log, timeless, tiny, train

from dualmcmc import InputError, TrainingError, data, methods, presets
from dualmcmc.cli import main
from dualmcmc.data import store, stream
from dualmcmc.storage import checkpoints
from dualmcmc.teaching import PAGES
from dualmcmc.training import setup
from dualmcmc.training.streaming import Streaming

SHORT: dict[str, Any] = {"run.checkpoint_every": 0, "method.data_chain.steps": 1, "method.latent_chain.steps": 1}

TWO: dict[str, Any] = {**SHORT, "optim.batch_size": 60, "run.steps": 6}
"""For two processes."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,300 pictures, 1,170 to train on, in three shards, one a file."""
    return parquet(tmp_path_factory.mktemp("set") / "files", [750, 400, 150], 300, classes=3)


def line(capsys: pytest.CaptureFixture[str]) -> str:
    (only,) = capsys.readouterr().err.splitlines()
    return only


# -- resumed ---------------------------------------------------------------------------------------


def test_2k_updates_on_a_stream_equal_k_stop_resume_k(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 batches of 200 are more than an epoch, and end within blocks of 300: weights, moments, losses, place."""
    monkeypatch.setattr(stream, "BLOCK", 300)
    changes = {**SHORT, "data": f"stream:{files}", "images.flip": True, "optim.batch_size": 200, "run.steps": 8}
    train(tmp_path / "whole", {**changes, "run.evaluate_every": 4})
    train(tmp_path / "parts", {**changes, "run.evaluate_every": 4, "run.steps": 4})
    train(tmp_path / "parts", {**changes, "run.evaluate_every": 4}, resume=True)
    assert_same(checkpoint(tmp_path / "parts", 8), checkpoint(tmp_path / "whole", 8))
    assert timeless(log(tmp_path / "parts")) == timeless(log(tmp_path / "whole"))
    ours, theirs = (saved(tmp_path / name, 8) for name in ("parts", "whole"))
    assert ours == theirs
    assert [position["epoch"] for position in ours["positions"]] == [1]


def saved(run: Path, step: int) -> dict[str, Any]:
    state = json.loads((run / "checkpoints" / f"step-{step}" / "state.json").read_text())
    found: dict[str, Any] = state["stream"]
    return found


def test_a_running_stream_can_be_put_back(files: Path) -> None:
    """What a roll-back calls: the same images again, from a state that went through JSON."""
    settings = tiny({"data": f"stream:{files}"})
    streaming = Streaming(settings, setup.accelerator("cpu", "fp32"))
    streaming.take(None, 20)
    there = json.loads(json.dumps(streaming.state()))
    x, labels = streaming.take(None, 3000)
    assert labels is None
    assert streaming.restore(there) == []
    assert torch.equal(streaming.take(None, 3000)[0], x)
    with pytest.raises(InputError, match="has 3 shards, and had 9"):
        streaming.restore({**there, "shards": 9})
    streaming.stream.close()


def test_two_processes_resume_bit_for_bit_and_one_goes_on_from_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shards of 200, 30, 60 and 40 rows are uneven for two processes, as are epochs; an empty file is none."""
    place = parquet(tmp_path / "uneven", [200, 0, 30, 60, 40], 100)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port)]
    subprocess.run([*launch, __file__, str(place), str(tmp_path)], check=True, timeout=120)
    assert_same(checkpoint(tmp_path / "parts", 6), checkpoint(tmp_path / "whole", 6))
    there = saved(tmp_path / "whole", 6)
    assert (saved(tmp_path / "parts", 6), there["shards"]) == (there, 4)
    first, second = (position["epoch"] for position in there["positions"])
    assert first != second
    words = [*flags({**TWO, "data": f"stream:{place}"}), "--resume", "--steps", "7"]
    assert main(["train", *words, "--out", str(tmp_path / "whole")]) == 0
    epoch = 1 + max(first, second)
    assert f"read by 2 processes and is by 1 now: it goes on at epoch {epoch}," in capsys.readouterr().err
    assert [position["epoch"] for position in saved(tmp_path / "whole", 7)["positions"]] == [epoch]


# -- what the other verbs see ----------------------------------------------------------------------


def test_a_run_on_a_stream_is_measured_on_its_view(
    files: Path, run_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (store, data):
        monkeypatch.setattr(place, "VIEW", 270)
    monkeypatch.chdir(run_path.parent)
    assert main(["train", *flags({**SHORT, "data": f"stream:{files}", "run.steps": 2}), "--out", "run"]) == 0
    said = capsys.readouterr().err
    views = f"evaluations use 270 of stream:{files}:train[:270] and 30 of stream:{files}:test[:30]"
    assert f"streaming 1170 images in 3 shards; {views}" in said
    about = json.loads((run_path / "config.json").read_text())
    assert (about["images"], about["heldout"]) == (1170, f"stream:{files}:test[:30]")
    assert about["stream"] == {"shards": 3, "dealt": "shards", "processes": 1, "block": 4096, "view": 270}
    assert (
        main(["evaluate", "run", "--tasks", "reconstruction", "generation", "--features", "pixels", "-n", "20"])
        == 0
    )
    entry = json.loads((run_path / "metrics.json").read_text())["generation"][-1]
    assert entry["protocol"]["reference"]["data"] == f"stream:{files}:train[:270]"
    assert entry["protocol"]["reference"]["n"] == 270
    assert main(["report", "run"]) == 0
    assert "1,170 grey images" in (run_path / "report.html").read_text()
    assert main(["interpolate", "run", "-n", "2"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        "score RUN --data REF",
        "score RUN --data digits --reference REF",
        "reconstruct RUN --data REF",
        "inpaint RUN --data REF --mask center:4",
        "interpolate RUN --data REF",
        "evaluate RUN --data REF",
        "evaluate RUN --images REF",
        "evaluate RUN --ood builtin REF",
        "compare digits --methods vae --data REF --out new",
        "reproduce table1 --data REF --out new",
    ],
)
def test_only_training_streams(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [word.replace("REF", "stream:photos").replace("new", str(tmp_path / "new")) for word in words.split()]
    assert main([str(tmp_path) if word == "RUN" else word for word in args]) == 2
    assert "data 'stream:photos': only training streams; leave `stream:` out" in line(capsys)
    assert not (tmp_path / "new").exists()


# -- refused before anything is written ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "method", "said"),
    [
        ({}, "abp", "method abp remembers something of every training image"),
        ({"optim.schedule": "epoch"}, "dual_mcmc", "nobody knows how many updates an epoch of a stream takes"),
        ({"optim.batch_size": 1171}, "dual_mcmc", "a batch of 1171 exceeds the 1170 images there are"),
        ({"method.classes": 2}, "jem", "method.classes is 2: .* has 3 classes"),
    ],
)
def test_what_a_stream_cannot_do_is_refused_in_one_line(
    changes: dict[str, Any],
    method: str,
    said: str,
    files: Path,
    run_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["train", *flags({"data": f"stream:{files}", **changes}, method), "--out", str(run_path)]
    assert main(command) == 2
    assert re.search(said, line(capsys))
    assert not run_path.exists()


def test_what_must_know_its_images_is_what_asks_for_them() -> None:
    for name, page in PAGES.items():
        asks = re.search(r"update\.(images|total)", inspect.getsource(page)) is not None
        assert asks == methods.remembers_images(presets.preset("digits", name).method), name


def test_labels_reach_a_method_that_needs_them(files: Path, tmp_path: Path) -> None:
    changes = {"data": f"stream:{files}", "run.steps": 1, "method.data_chain.steps": 1}
    trainer = train(tmp_path / "run", changes, method="jem")
    assert trainer.config.method.classes == 3
    with pytest.raises(InputError, match=r"method jem needs labels, and stream:.* has none"):
        train(
            tmp_path / "none", {**changes, "data": f"stream:{parquet(tmp_path / 'bare', [40], 40)}"}, method="jem"
        )


def test_a_bad_picture_in_the_middle_stops_the_run_which_skip_bad_goes_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond the view: exit code 1, what is saved, and then the bits of a run that skipped from its start."""
    for place in (store, data):
        monkeypatch.setattr(place, "VIEW", 50)
    monkeypatch.setattr(stream, "BLOCK", 100)
    place = parquet(tmp_path / "some", [400], 400, bad=[203])
    changes = {**SHORT, "data": f"stream:{place}", "optim.batch_size": 60, "run.steps": 6}
    command = ["train", *flags({**changes, "run.checkpoint_every": 1}), "--out"]
    assert main([*command, str(tmp_path / "run")]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    (step,) = checkpoints.steps(tmp_path / "run" / "checkpoints")[-1:]
    assert "part-0.parquet, row 203: not a picture in a known format (10 bytes); --skip-bad skips" in last
    assert f"the checkpoint of step {step} is intact" in last
    assert main([*command, str(tmp_path / "run"), "--resume", "--skip-bad"]) == 0
    assert "1 unreadable images of the stream were skipped so far" in capsys.readouterr().err
    train(tmp_path / "whole", changes, skip_bad=True)
    assert_same(checkpoint(tmp_path / "run", 6), checkpoint(tmp_path / "whole", 6))
    with pytest.raises(TrainingError):
        train(tmp_path / "again", changes)


def test_a_small_set_of_unknown_size_is_refused_a_larger_batch(tmp_path: Path) -> None:
    """Its whole view is less than a view: so that is all there is."""
    place = parquet(tmp_path / "some", [40], 40)
    with pytest.raises(InputError, match="a batch of 37 exceeds the 36 images"):
        train(tmp_path / "run", {"data": f"stream:{place}", "optim.batch_size": 37})


if __name__ == "__main__":  # as torchrun starts it, above
    torch.set_num_threads(1)
    changes, out = {**TWO, "data": f"stream:{sys.argv[1]}"}, Path(sys.argv[2])
    train(out / "whole", changes)
    train(out / "parts", {**changes, "run.steps": 3})
    train(out / "parts", changes, resume=True)
