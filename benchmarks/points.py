"""One point of `scaling.py`, measured in a process of its own, which prints it as JSON.

python benchmarks/points.py '{"kind": "iteration", "threads": 1, "repeats": 5, "width": 16, ...}'
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

if __name__ == "__main__":  # by its path, from scaling.py
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from iteration import Ours

from dualmcmc import cost, data
from dualmcmc.devices import peak_memory
from dualmcmc.presets import PRESETS
from dualmcmc.settings import Config, Run
from dualmcmc.stopwatch import Clock
from dualmcmc.training.loop import Trainer

BASE = {"kx": 10, "kz": 10, "batch": 16, "width": 16, "size": 32, "channels": 3}
CPU = torch.device("cpu")


def settings(spec: dict[str, Any], **changes: Any) -> Config:
    """cifar10_simple's networks and chains, at the point's sizes; what it does not name is `BASE`'s."""
    at, config = {**BASE, **spec}, PRESETS["cifar10_simple"]
    width, m = at["width"], config.method
    networks = replace(config.networks, energy_width=width, generator_width=width, inference_width=width)
    method = replace(m, data_chain=replace(m.data_chain, steps=at["kx"]))  # type: ignore[attr-defined]
    method = replace(method, latent_chain=replace(m.latent_chain, steps=at["kz"]))  # type: ignore[attr-defined]
    images = replace(config.images, size=at["size"], channels=at["channels"])
    optim = replace(config.optim, batch_size=at["batch"])
    return replace(config, networks=networks, method=method, images=images, optim=optim, **changes)


def memory() -> dict[str, int]:
    """Bytes: the most resident until now, and what is resident and backed by no file (0 where nobody says)."""
    status = Path("/proc/self/status")
    found = re.search(r"^RssAnon:\s*(\d+) kB", status.read_text(), flags=re.M) if status.is_file() else None
    return {"peak": peak_memory(CPU), "anonymous": int(found[1]) * 1024 if found else 0}


def iteration(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds of training iterations after one that is not counted."""
    config, clock = settings(spec), Clock("cpu")
    torch.manual_seed(0)
    images, ours = config.images, Ours(config, "cpu")
    x = torch.rand(config.optim.batch_size, images.channels, images.size, images.size) * 2 - 1
    seconds = [clock.seconds(lambda: ours.iteration(x, nullcontext)) for _ in range(spec["repeats"] + 1)]
    if not all(p.isfinite().all() for p in ours.trio.parameters()):
        raise ArithmeticError("weights are not finite after a few updates: times mean nothing")
    held = memory()
    predicted = cost.iteration(config)
    return {
        "seconds": seconds[1:],
        **held,
        "flops": predicted["flops_per_iteration"],
        "predicted": predicted["memory_bytes"]["total"],
    }


def decode(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds of decoding a file's images, all of them, into the cache."""
    began = time.perf_counter()
    images = data.load(spec["data"], settings(spec).images)
    return {"seconds": [time.perf_counter() - began], "images": len(images), **memory()}


def train(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each update of a training on images that are in the cache, from its log; memory after each."""
    run = Run(steps=spec["repeats"] + 1, log_every=1, sample_every=0, evaluate_every=0, checkpoint_every=0)
    config = settings(spec, data=spec["data"], run=run)
    began, update, anonymous = time.perf_counter(), Trainer._update, []

    def watched(self: Trainer, step: int) -> dict[str, float]:
        figures = update(self, step)
        anonymous.append(memory()["anonymous"])
        return figures

    Trainer._update = watched  # type: ignore[method-assign]
    outcome = Trainer(config, spec["out"], device="cpu", quiet=True).train()
    whole = time.perf_counter() - began
    lines = [json.loads(line) for line in (Path(spec["out"]) / "log.jsonl").read_text().splitlines()]
    seconds = [line["seconds_per_step"] for line in lines if line["kind"] == "train"]
    assert len(seconds) == outcome.steps
    return {"first": seconds[0], "seconds": seconds[1:], "whole": whole, **memory(), "anonymous": max(anonymous)}


KINDS = {"iteration": iteration, "decode": decode, "train": train}


def main(argument: str) -> int:
    """Measures and prints."""
    spec = json.loads(argument)
    os.environ.setdefault("OMP_NUM_THREADS", str(spec["threads"]))
    torch.set_num_threads(spec["threads"])
    print(json.dumps(KINDS[spec["kind"]](spec)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
