"""The run that faults are done to: the digits preset at width 8 with short chains, for 40 updates."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualmcmc import methods, presets
from dualmcmc.settings import Config, Run
from dualmcmc.storage import checkpoints
from dualmcmc.training.loop import Trainer

LENGTHS = Run(
    steps=40, log_every=1, sample_every=20, evaluate_every=10, evaluate_images=20, checkpoint_every=5, keep=3
)


def config(name: str = "dual_mcmc", run: Run = LENGTHS, seed: int = 0) -> Config:
    """A tiny run of a method."""
    base = presets.preset("digits", name)
    short = {
        field: replace(chain, steps=2)
        for field in ("data_chain", "latent_chain", "test_chain")
        if (chain := getattr(base.method, field, None))
    }
    changes: dict[str, Any] = {**short, **({"buffer": 64} if isinstance(base.method, methods.WITH_BUFFER) else {})}
    return replace(
        base,
        networks=replace(base.networks, latent_dim=4, energy_width=8, generator_width=8, inference_width=8),
        method=replace(base.method, **changes),
        optim=replace(base.optim, batch_size=16),
        run=run,
        seed=seed,
    )


def train(settings: Config, out: Path, *, resume: bool = False) -> Trainer:
    """Trains on one thread, showing nothing."""
    torch.set_num_threads(1)
    trainer = Trainer(settings, out, device="cpu", quiet=True, resume=resume)
    trainer.train()
    return trainer


def tensors_of(run: Path) -> dict[str, Tensor]:
    """All tensors of the newest complete checkpoint, as part/name; nothing if there is none."""
    if not checkpoints.steps(run / "checkpoints"):
        return {}
    found, _ = checkpoints.newest(run / "checkpoints")
    return {f"{part}/{name}": tensor for part, named in found.parts.items() for name, tensor in named.items()}


def different(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are not equal bit for bit, or not in both."""
    return [
        n for n in sorted({*ours, *theirs}) if n not in ours or n not in theirs or not ours[n].equal(theirs[n])
    ]


def logged_step(run: Path) -> int:
    """The last step of the log; 0 without a line."""
    path = run / "log.jsonl"
    whole = [line for line in path.read_text().split("\n")[:-1] if line] if path.exists() else []
    return max((json.loads(line)["step"] for line in whole), default=0)


def figure(run: Path, name: str) -> float:
    """A figure of the last line of a run's log that is about training."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return float([line for line in lines if line["kind"] == "train"][-1][name])
