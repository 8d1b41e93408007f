"""The machine's rate is measured in little time, on the run's own layers, and touches nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, checkpoint, flags, log, tiny
from torch import nn

from dualmcmc import cost, rate
from dualmcmc.cli import main
from dualmcmc.counting import flops_of
from dualmcmc.methods import Chain
from dualmcmc.networks.layers import PooledConv2d
from dualmcmc.presets import preset
from dualmcmc.training.loop import Trainer
from dualmcmc.training.speed import Speed


def test_layers_are_found_by_what_runs_the_costliest_first() -> None:
    """FLOPs are those of forward and backward to the input, as torch counts them."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), PooledConv2d(4, 4), nn.ConvTranspose2d(4, 2, 4, 2, 1), nn.Conv2d(2, 2, 1)
    )
    x = torch.rand(5, 3, 8, 8)
    layers = rate.convolutions(net, x)
    assert [layer.kernel for layer in layers] == [(4, 3, 3, 3), (4, 4, 4, 4), (4, 2, 4, 4), (2, 2, 1, 1)]
    assert [layer.image for layer in layers] == [(3, 8, 8), (4, 8, 8), (4, 4, 4), (2, 8, 8)]
    for layer in layers:
        work = rate._work(layer, 5, torch.device("cpu"), torch.float32, torch.channels_last)
        assert flops_of(work) == 5 * layer.flops
    assert rate.convolutions(net.to("meta"), x.to("meta")) == layers


def test_the_largest_layers_of_a_run_are_its_energys_and_its_generators() -> None:
    images = [layer.image for layer in rate.largest(preset("digits"))]
    assert images == [(16, 8, 8), (128, 4, 4)]
    assert [layer.image for layer in rate.largest(preset("digits", "short_run"))] == images[:1]
    assert rate.largest(preset("digits", "jem"))


def test_measuring_gives_a_rate_and_touches_no_random_state() -> None:
    before, tf32 = torch.get_rng_state(), torch.backends.cudnn.allow_tf32
    found = rate.of(tiny(), device="cpu", limit=0.01)
    assert 1e6 < found < 1e16
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.backends.cudnn.allow_tf32 is tf32


def test_time_is_bounded_by_running_few_images_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no time left, each layer runs once in each layout, on as few images as hold `FIRST` FLOPs."""
    ran = []
    work = rate._work
    monkeypatch.setattr(rate, "_work", lambda layer, rows, *how: ran.append(rows) or work(layer, rows, *how))
    (layer,) = rate.convolutions(nn.Conv2d(8, 8, 3, padding=1), torch.rand(1, 8, 16, 16))
    monkeypatch.setattr(rate, "FIRST", 3 * layer.flops)
    assert rate.convolution_rate([layer], 100, device="cpu", limit=0.0) > 0
    assert ran == [3, 3]
    ran.clear()
    assert rate.convolution_rate([layer], 100, device="cpu", limit=60.0) > 0
    assert ran == [3, 12, 48, 100] * 2


def test_layers_that_would_take_long_are_passed_over() -> None:
    with torch.device("meta"):
        huge = rate.convolutions(nn.Conv2d(8192, 8192, 3), torch.empty(1, 8192, 64, 64))
    assert rate.convolution_rate(huge, 1, device="cpu") == 0.0
    assert rate.convolution_rate([], 1, device="cpu") == 0.0


@pytest.mark.parametrize(("bf16", "gain"), [(0.9, 0.0), (1.2, 1.2), (2.0, 2.0)])
def test_what_bfloat16_gains_is_measured(monkeypatch: pytest.MonkeyPatch, bf16: float, gain: float) -> None:
    """Where a small layer is no faster, no large one is tried."""
    tried = []

    def measure(layers: Any, rows: int, *, device: str, dtype: torch.dtype, limit: float) -> float:
        tried.append(layers)
        return bf16 if dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(rate, "convolution_rate", measure)
    assert rate.gain_of_bf16(preset("digits"), device="cpu") == gain
    assert len(tried) == (4 if gain else 2)


# -- what is told of it ----------------------------------------------------------------------------


def test_log_lines_hold_the_share_of_the_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FLOPs of an update over its seconds and the rate, which is measured once."""
    assert main(["train", *flags(), "--steps", "2", "--out", str(tmp_path / "run")]) == 0
    lines = log(tmp_path / "run")
    flops = cost.iteration(tiny())["flops_per_iteration"]
    assert len(lines) == 2
    assert lines[0]["convolution_rate"] == lines[1]["convolution_rate"] > 0
    for line in lines:
        expected = flops / line["seconds_per_step"] / line["convolution_rate"]
        assert line["convolution_share"] == pytest.approx(expected)
    shown = [text for text in capsys.readouterr().err.splitlines() if text.startswith("step ")]
    assert [f" {100 * line['convolution_share']:.0f} % of this machine's convolution rate" in text
            for line, text in zip(lines, shown, strict=True)] == [True, True]  # fmt: skip


def test_a_share_is_of_the_processs_own_rows_and_of_the_method_as_it_is_taught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "of", lambda config, device: 2.0)
    config = tiny()
    whole, half = (Speed(config, rows, torch.device("cpu")).figures(config.method, 0, 1.0) for rows in (16, 8))
    assert whole["convolution_share"] == 2 * half["convolution_share"] > 0
    longer = replace(config.method, data_chain=Chain(steps=6, step=0.1))
    speed = Speed(config, 16, torch.device("cpu"))
    assert speed.figures(longer, 0, 1.0)["convolution_share"] > whole["convolution_share"]
    monkeypatch.setattr(rate, "of", lambda config, device: 0.0)
    assert Speed(config, 16, torch.device("cpu")).figures(config.method, 0, 1.0) == {}


def test_a_first_phase_has_arithmetic_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """VAEBM's autoencoder has no chain."""
    monkeypatch.setattr(rate, "of", lambda config, device: 1.0)
    config = tiny({"method.vae_steps": 3}, "vaebm")
    speed = Speed(config, 16, torch.device("cpu"))
    early, late = (speed.figures(config.method, step, 1.0)["convolution_share"] for step in (2, 3))
    assert early == cost.iteration(config, step=0)["flops_per_iteration"]
    assert late == cost.iteration(config)["flops_per_iteration"] != early


def test_measuring_changes_no_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Trainer(tiny(), tmp_path / "with", device="cpu", quiet=True).train()
    monkeypatch.setattr(rate, "of", lambda config, device: 0.0)
    Trainer(tiny(), tmp_path / "without", device="cpu", quiet=True).train()
    assert_same(checkpoint(tmp_path / "with", 6), checkpoint(tmp_path / "without", 6))
    assert "convolution_rate" not in log(tmp_path / "without")[0]


def test_a_dry_run_predicts_seconds_at_the_measured_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate, "of", lambda settings, device: 2e9)
    monkeypatch.setattr(rate, "gain_of_bf16", lambda settings, device: 1.3)
    assert main(["train", *flags(), "--dry-run", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    seconds = told["flops_per_iteration"] / 2e9
    assert told["machine"] == {
        "device": "cpu", "convolution_rate": 2e9, "seconds_per_iteration": seconds, "bf16_gain": 1.3
    }  # fmt: skip
    assert main(["train", *flags(), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"at 2 GFLOP/s, measured here: at least {seconds:.3g} s an iteration" in lines
    assert lines[-1] == "--precision bf16: convolutions are 1.3 times faster here"
    monkeypatch.setattr(rate, "gain_of_bf16", lambda settings, device: 1.29)
    assert main(["train", *flags(), "--dry-run"]) == 0
    assert "bf16" not in capsys.readouterr().out
    assert main(["train", *flags(), "--dry-run", "--precision", "bf16"]) == 0
    assert capsys.readouterr().out.count("bf16") == 1  # the setting


def test_a_dry_run_may_plan_for_a_device_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    words = [word if word != "cpu" else "cuda:77" for word in flags()]
    assert main(["train", *words, "--dry-run"]) == 0
    assert "nothing is measured: unknown device 'cuda:77'" in capsys.readouterr().out
