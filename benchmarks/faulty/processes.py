"""Two processes against one: the same global batch, the same noise, the same training up to rounding.

This file is what torchrun starts, too: `torchrun ... processes.py OUT float64|float32 [FAULT]` trains the tiny run
for 50 updates in that precision, with one of `FAULTS` on process 1 if it is named.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

if __name__ == "__main__":  # by its path, from torchrun
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dualmcmc.errors import TrainingError
from dualmcmc.settings import Config
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.teaching import Losses, Teaching
from dualmcmc.training import batches, occasions
from dualmcmc.training.loop import Trainer
from faulty import tiny
from faulty.outcome import Outcome

UPDATES, FAULTY_UPDATE = 50, 12
EXACT = 1e-9
"""Largest |difference| / |weights| of a network in float64."""
CLOSE = 1e-5
"""Largest relative difference of the first three losses in float32."""
FAULTS = ("none", "diverge", "alter", "die")


def settings() -> Config:
    """50 updates, a checkpoint every 10."""
    run = replace(tiny.LENGTHS, steps=UPDATES, evaluate_every=0, sample_every=0, checkpoint_every=10)
    return tiny.config(run=run)


def in_float64() -> None:
    """From now on this process trains in float64, and exports no model, which is float32's."""
    at = batches.Batches.at
    torch.set_default_dtype(torch.float64)

    def doubled(self: batches.Batches, step: int, attempt: int) -> Any:
        x, noise, update = at(self, step, attempt)
        return x.double(), noise, update

    batches.Batches.at = doubled  # type: ignore[method-assign]
    occasions.Occasions._export = lambda self, model: None  # type: ignore[method-assign]
    occasions.Occasions._calibrate = lambda self, model: None  # type: ignore[method-assign]


def at_fault(fault: str) -> None:
    """Something goes wrong in this process at update `FAULTY_UPDATE`, once."""
    update, forward, done = Trainer._update, Teaching.forward, []
    numbers = [0]

    def faulty_update(self: Trainer, step: int) -> dict[str, float]:
        numbers[0] = step + 1
        if step + 1 == FAULTY_UPDATE and fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        figures = update(self, step)
        if step + 1 == FAULTY_UPDATE and fault == "alter":
            with torch.no_grad():
                next(self.trio.parameters()).view(-1)[0] += 1e-3
        return figures

    def faulty_forward(self: Teaching, *args: Any, **how: Any) -> Losses:
        losses = forward(self, *args, **how)
        if numbers[0] == FAULTY_UPDATE and fault == "diverge" and not done:
            done.append(1)
            return losses._replace(generator=losses.generator * float("nan"))
        return losses

    Trainer._update, Teaching.forward = faulty_update, faulty_forward  # type: ignore[method-assign]


def launch(out: Path, count: int, precision: str, fault: str = "none") -> subprocess.Popen[str]:
    """Starts the training on so many processes of one thread each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        str(count),
        "--master_port",
        port,
    ]
    command = [*torchrun, str(Path(__file__).resolve()), str(out), precision, fault]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def distance(ours: dict[str, Tensor], theirs: dict[str, Tensor], network: str) -> float:
    """|difference| / |weights| of a network's learned weights."""
    names = [n for n in theirs if n.startswith(f"weights/{network}.") and not n.endswith(("._u", "._v"))]
    gap = math.hypot(*((ours[name] - theirs[name]).double().norm().item() for name in names))
    return gap / math.hypot(*(theirs[name].double().norm().item() for name in names))


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Both precisions, `count` times (the training is the same each time; its processes' timing is not)."""
    began, failures, notes = time.monotonic(), [], []
    for number in range(count):
        for precision in ("float64", "float32"):
            places = {n: folder / f"{precision}-{number}-{n}" for n in (1, 2)}
            for processes, place in places.items():
                child = launch(place, processes, precision)
                _, complaint = child.communicate(timeout=300)
                if child.returncode:
                    failures.append(f"{processes} processes in {precision}: {complaint.splitlines()[-1:]}")
            if failures:
                continue
            one, two = (tiny.tensors_of(places[n]) for n in (1, 2))
            gaps = {name: distance(two, one, name) for name in ("energy", "generator", "inference")}
            losses = [_losses(places[n]) for n in (1, 2)]
            off = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(*losses, strict=True))
            far = ", ".join(f"{name} {gap:.1e}" for name, gap in gaps.items())
            notes.append(f"{precision}: {far} of the weights, first three losses {off:.1e}")
            if precision == "float64" and max(gaps.values()) >= EXACT:
                failures.append(f"float64: {far} of the weights")
            if precision == "float32" and off >= CLOSE:
                failures.append(f"float32: the first three losses differ by {off:.1e}")
    return Outcome("2 processes", 2 * count, failures, time.monotonic() - began, "; ".join(notes[:2]))


def _losses(place: Path) -> list[float]:
    lines = [json.loads(line) for line in RunFolder(place).log.read_text().splitlines()][:3]
    return [line[f"loss_{network}"] for line in lines for network in ("energy", "generator", "inference")]


def main(out: str, precision: str, fault: str = "none") -> int:
    """One of the processes."""
    if precision == "float64":
        in_float64()
    if fault != "none" and os.environ["RANK"] == "1":
        at_fault(fault)
    try:
        tiny.train(settings(), Path(out))
    except TrainingError as error:
        print(f"process {os.environ['RANK']}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
