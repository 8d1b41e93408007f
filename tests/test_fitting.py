"""`--memory` picks the most images at a time that fit, and a run that was so fitted stays within."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny

from dualmcmc import config, cost, fitting
from dualmcmc.cli import main
from dualmcmc.errors import InputError
from dualmcmc.presets import preset
from dualmcmc.settings import Config


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8e9), ("500 MB", 5e8), ("1.5GiB", 1.5 * 2**30), ("64kib", 2**16), ("7", 7), ("2t", 2e12), ("3B", 3)],
)
def test_sizes_are_read(text: str, size: float) -> None:
    assert fitting.parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "8 giga", "-1GB", "0", "0.0GB", "1e9", "nan", "9" * 20])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="give a size, as 8GB"):
        fitting.parse_bytes(text)


def sized(micro: int, batch: int = 96, **norm: str) -> Config:
    values = config.to_dict(preset("cifar10_simple"))
    values["optim"]["batch_size"], values["run"]["micro_batch"] = batch, micro
    for chain in ("data_chain", "latent_chain"):
        values["method"][chain]["steps"] = 2
    values["networks"] |= {"energy_width": 8, "generator_width": 8, "inference_width": 8, **norm}
    return config.from_dict(values)


def test_the_largest_that_fits_is_taken() -> None:
    """At exactly a size's need it is taken, a byte below it is not; the whole batch is 0."""
    needs = fitting.Needs(sized(0))
    sizes = (0, 48, 24, 12, 6, 3, 2, 1)
    asked = [needs.bytes(size) for size in sizes]
    for i, size in enumerate(sizes[1:], start=1):
        assert asked[i] < asked[i - 1], size
        assert fitting.within(sized(5), asked[i]).run.micro_batch == size
        assert fitting.within(sized(0), asked[i - 1] - 1).run.micro_batch == size
    assert fitting.within(sized(5), asked[0]).run.micro_batch == 0
    with pytest.raises(InputError, match="GB are too few"):
        fitting.within(sized(0), asked[-1] - 1)


def test_processes_share_the_batch() -> None:
    """What two processes hold of 96 images each holds of 48."""
    half = fitting.Needs(sized(0, 48))
    assert fitting.within(sized(0), half.bytes(0), processes=2).run.micro_batch == 0
    assert fitting.within(sized(0), half.bytes(24), processes=2).run.micro_batch == 24


def test_batchnorm_takes_all_or_nothing() -> None:
    whole = sized(0, norm="batch")
    need = fitting.Needs(whole).bytes(0)
    assert fitting.within(whole, need).run.micro_batch == 0
    with pytest.raises(InputError, match="too few"):
        fitting.within(whole, need - 1)


@pytest.mark.parametrize("method", ["rae", "jem", "recovery_likelihood"])
def test_what_a_method_does_not_cut_is_not_promised(method: str) -> None:
    whole = preset("digits", method)
    needs = fitting.Needs(whole)
    assert needs.bytes(1) == needs.bytes(0)
    with pytest.raises(InputError, match="too few"):
        fitting.within(whole, needs.bytes(0) - 1)


def test_activations_follow_the_piece_not_the_batch() -> None:
    """What autograd holds is no more than is foreseen: a part per image seen at a time, and weights beside."""
    held = {
        (size, batch): cost.iteration(sized(size, batch))["memory_bytes"]["activations"]
        for size, batch in ((0, 32), (0, 64), (32, 64), (16, 64))
    }
    weights = cost.iteration(sized(0))["memory_bytes"]["weights"] / cost.COPIES
    assert held[32, 64] == pytest.approx(held[0, 32], rel=0.01)
    for (size, batch), found in held.items():
        part = (size or batch) / 64
        assert part * held[0, 64] <= found <= part * held[0, 64] + weights


def test_a_run_stays_within_its_memory(tmp_path: Path) -> None:
    """2,048 images of 32x32 at a time would need 1.7 GB; the process's measured peak is below the 900 MB given."""
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (2400, 32, 32), dtype=np.uint8))
    words = ["train", "cifar10_simple", "--data", str(tmp_path / "images.npy"), "--out", str(tmp_path / "run")]
    settings = {"images.channels": 1, "optim.batch-size": 2048, "run.steps": 1, "run.log-every": 1}
    settings |= {f"networks.{name}-width": 8 for name in ("energy", "generator", "inference")}
    settings |= {"method.data-chain.steps": 1, "method.latent-chain.steps": 1, "method.test-chain.steps": 1}
    settings |= {"run.evaluate-every": 0, "run.sample-every": 0, "run.checkpoint-every": 0}
    words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    words += ["--run.evaluate-images", "20", "--device", "cpu", "--memory", "900MB"]
    done = subprocess.run([sys.executable, "-m", "dualmcmc", *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert 0 < kept["run"]["micro_batch"] < 2048
    whole = config.from_dict({**kept, "run": {**kept["run"], "micro_batch": 0}})
    assert fitting.Needs(whole).bytes(0) > 1.2e9
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    peak = max(line["peak_memory_bytes"] for line in lines if line["kind"] == "train")
    assert peak < 900e6


def test_a_dry_run_shows_what_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    needs = fitting.Needs(preset("digits"))
    assert main(["train", "digits", "--memory", f"{needs.bytes(32)}B", "--dry-run"]) == 0
    shown = re.search(r"run\.micro_batch = (\d+)", capsys.readouterr().out)
    assert shown
    assert shown[1] == "32"
    assert main(["train", "digits", "--memory", "1MB", "--dry-run"]) == 2
    assert "too few" in capsys.readouterr().err


def test_tiny_networks_fit_anywhere() -> None:
    assert fitting.within(tiny(), 10**9).run.micro_batch == 0
