"""A configuration that trains in a fraction of a second, and what tests ask of run folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dualmcmc import config, presets
from dualmcmc.settings import Config
from dualmcmc.storage import checkpoints
from dualmcmc.teaching import DualMCMCTeaching, Losses
from dualmcmc.training.loop import Trainer

TINY: dict[str, Any] = {
    "networks.latent_dim": 4,
    "networks.energy_width": 8,
    "networks.generator_width": 8,
    "networks.inference_width": 8,
    "method.data_chain.steps": 3,
    "method.latent_chain.steps": 2,
    "method.test_chain.steps": 3,
    "optim.batch_size": 16,
    "run.steps": 6,
    "run.log_every": 1,
    "run.sample_every": 0,
    "run.evaluate_every": 0,
    "run.evaluate_images": 20,
    "run.checkpoint_every": 2,
}
PARTS = checkpoints.PARTS
MEASURED = ("seconds_per_step", "peak_memory_bytes", "convolution_rate", "convolution_share")
"""In a log line, what the machine did."""


def tiny(changes: dict[str, Any] | None = None, method: str = "dual_mcmc") -> Config:
    """The digits preset at width 8, taught by a method; `changes` are by path, as "optim.batch_size"."""
    values = config.to_dict(presets.preset("digits", method))
    for path, value in {**TINY, **(changes or {})}.items():
        *folders, leaf = path.split(".")
        node = values
        for folder in folders:
            node = node.get(folder) or {}
        assert leaf in node or (path in TINY and folders[0] == "method"), path  # not every method has every chain
        if leaf in node:
            node[leaf] = value
    return config.from_dict(values)


def flags(changes: dict[str, Any] | None = None, method: str = "dual_mcmc") -> list[str]:
    """The same as a command line: `train digits FLAGS`."""
    own = config.to_dict(presets.preset("digits", method))["method"]
    both = {**TINY, **(changes or {})}
    kept = {k: v for k, v in both.items() if not k.startswith("method.") or k.split(".")[1] in own}
    words = [word for k, v in kept.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    return ["digits", "--method", method, "--device", "cpu", *words]


def train(out: Path, changes: dict[str, Any] | None = None, method: str = "dual_mcmc", **options: Any) -> Trainer:
    trainer = Trainer(tiny(changes, method), out, device="cpu", quiet=True, **options)
    trainer.train()
    return trainer


def checkpoint(run: Path, step: int) -> dict[str, Tensor]:
    """All tensors of a checkpoint, as part/name."""
    from safetensors.torch import load_file

    folder = run / "checkpoints" / f"step-{step}"
    assert checkpoints.fault(folder) is None
    return {
        f"{part}/{name}": tensor
        for part in PARTS
        for name, tensor in load_file(folder / f"{part}.safetensors").items()
    }


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    """Equal bit for bit."""
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def log(run: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log lines without what the machine took."""
    return [{k: v for k, v in line.items() if not k.startswith("share_") and k not in MEASURED} for line in lines]


def listing(folder: Path) -> dict[str, str]:
    """Every path under a folder with a checksum of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


def at_update(patch: pytest.MonkeyPatch, number: int, act: Callable[[DualMCMCTeaching, Losses], Losses]) -> None:
    """From now on, the losses of the `number`-th update (from 1) are what `act` makes of them."""
    forward, calls = DualMCMCTeaching.forward, []

    def patched(self: DualMCMCTeaching, *args: Any) -> Losses:
        losses = forward(self, *args)
        calls.append(1)
        return act(self, losses) if len(calls) == number else losses

    patch.setattr(DualMCMCTeaching, "forward", patched)
