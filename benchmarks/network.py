"""Bytes that cross the network in an update, beside what is predicted; and, on paper, what that allows.

    python benchmarks/network.py            a minute or two: trains on 1, 2 and 4 processes over gloo
    python benchmarks/network.py --quick    tiny networks, 1 and 2 processes: does it run?
    python benchmarks/network.py --paper    docs/scaling.md's tables: arithmetic, nothing is run or measured

Measured is what the loopback of this machine carried (`lo` in /proc/net/dev), headers and acknowledgements
included, in the longer of two runs less in the shorter one: starting up, the last checkpoint and ending cancel.
The loopback is everybody's; one of its own is there for

    unshare -rn sh -c 'ip link set lo up; python benchmarks/network.py'

Predicted are the payloads that the processes send: a ring all-reduce of n numbers over P processes is
2 (P - 1) / P n numbers from each of them. An update reduces one gradient for every learned weight and one row of
figures. Its barrier sends no numbers.

This file is what torchrun starts, too: `torchrun ... network.py --worker PRESET UPDATES OUT`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

if __name__ == "__main__":  # by its path, from torchrun
    sys.path.insert(0, str(Path(__file__).resolve().parent))

import machine
from faulty import tiny

from dualmcmc import cost, methods
from dualmcmc.noise import BLOCK
from dualmcmc.presets import PRESETS
from dualmcmc.scoring import IMAGES as SCORED
from dualmcmc.settings import Config, Run
from dualmcmc.storage import pretrained
from dualmcmc.training.loop import Trainer
from dualmcmc.training.occasions import RECONSTRUCTIONS, SAMPLES

FIGURES = 14
"""Numbers in dual-MCMC's row of figures: losses, diagnostics, norms, the signal to stop, seconds."""
TINY = "tiny"
LOOPBACK = Path("/proc/net/dev")


# -- what is predicted ---------------------------------------------------------------------------


def ring_bytes(processes: int, numbers: int, width: int = cost.FLOAT) -> float:
    """What each of the processes sends in a ring all-reduce of so many numbers."""
    return 2 * (processes - 1) / processes * numbers * width


def predicted_bytes(processes: int, weights: int) -> float:
    """What all processes together send in an update."""
    return processes * (ring_bytes(processes, weights) + ring_bytes(processes, FIGURES))


# -- what is measured ----------------------------------------------------------------------------


def carried() -> int:
    """Bytes that the loopback has received, which are those that it has sent."""
    for line in LOOPBACK.read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[0])
    raise OSError(f"{LOOPBACK} knows no loopback")


def settings(preset: str, updates: int) -> Config:
    """The preset on the digits, which are at hand, with nothing to look at but the last checkpoint."""
    run = Run(steps=updates, log_every=updates, sample_every=0, evaluate_every=0, checkpoint_every=0)
    if preset == TINY:
        return tiny.config(run=run)
    return replace(PRESETS[preset], data="digits", run=run, seed=0)


def bytes_of_run(preset: str, processes: int, updates: int, out: Path) -> int:
    """What the loopback carries while a run starts, makes its updates and ends."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    command = [*torchrun, str(Path(__file__).resolve()), "--worker", preset, str(updates), str(out)]
    before = carried()
    child = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if child.returncode:
        raise RuntimeError(f"training {preset} on {processes} processes failed: {child.stderr.strip()[-2000:]}")
    return carried() - before


def measure(preset: str, processes: int, updates: tuple[int, int]) -> dict[str, Any]:
    """Bytes an update, predicted and measured."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = (bytes_of_run(preset, processes, n, Path(folder) / str(n)) for n in updates)
    weights = sum(cost.parameters(pretrained.build_trio(settings(preset, 1))).values())
    measured, predicted = (long - short) / (updates[1] - updates[0]), predicted_bytes(processes, weights)
    return {
        "preset": preset,
        "processes": processes,
        "weights": weights,
        "predicted": predicted,
        "measured": measured,
        "ratio": measured / predicted if predicted else None,
    }


def measured_table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| preset | learned weights | processes | predicted, bytes | measured, bytes | ratio |"]
    lines.append("|---|---|---|---|---|---|")
    for r in rows:
        ratio = f"{r['ratio']:.3f}" if r["ratio"] else "–"
        sent = f"{r['predicted']:,.0f} | {r['measured']:,.0f} | {ratio}"
        lines.append(f"| {r['preset']} | {r['weights']:,} | {r['processes']} | {sent} |")
    return "\n".join(lines)


# -- on paper ------------------------------------------------------------------------------------


class Assumed(NamedTuple):
    """A card and a network, none of which was measured."""

    rate: float = 200e12
    """FLOP/s of updates in bf16, sustained."""
    rate_alone: float = 60e12
    """FLOP/s of what process 0 does alone, whose networks compute in float32 (convolutions in TF32)."""
    launch: float = 5e-6
    """Seconds from one operator's start to the next one's, however small it is."""
    normals: float = 1e10
    """Normal numbers drawn a second."""
    bandwidth: float = 25e9
    """Bytes a second that a card sends."""
    latency: float = 5e-6
    """Seconds of a ring's step beside its bytes."""
    bucket: int = 25 * 2**20
    """Bytes of gradients in one all-reduce (PyTorch's default)."""
    disk: float = 1e9
    """Bytes a second that a checkpoint is written with, and parameters are hashed with."""


class Work(NamedTuple):
    """What a preset asks of a machine."""

    weights: int
    flops: float
    """An update's, for one image."""
    operators: int
    """An update's but for the optimiser's few, which start one after the other whatever the batch is."""
    draws: int
    """Normal numbers that an update draws for one image."""
    alone: float
    """Process 0's FLOPs beside updates, on average for one update."""
    kept: float
    """Bytes of checkpoints written, on average for one update."""
    hashed: float
    """Bytes of parameters hashed by every process, on average for one update."""


def work(config: Config) -> Work:
    """A dual-MCMC preset's, from `cost.iteration`, which `train --dry-run` prints."""
    found = cost.iteration(config)
    method, run = config.method, config.run
    images, pixels = config.optim.batch_size, config.images.channels * config.images.size**2
    chain, latent = method.data_chain, methods.latent_chain(method)  # type: ignore[attr-defined]
    test = methods.test_chain(method)
    assert latent is not None
    assert test is not None
    move = found["flops_by_part"]["data_chain"] / images / chain.steps
    explain = found["flops_by_part"]["latent_chain"] / images
    weights = sum(found["parameters"].values())
    sampled = run.evaluate_images / run.evaluate_every + 2 * SAMPLES / run.sample_every
    explained = run.evaluate_images / run.evaluate_every + RECONSTRUCTIONS / run.sample_every
    scored = SCORED / run.evaluate_every * move / 2  # h alone, without its gradient
    return Work(
        weights=weights,
        flops=found["flops_per_iteration"] / images,
        operators=found["operators_per_iteration"],
        draws=chain.steps * pixels + (latent.steps + 2) * config.networks.latent_dim,
        alone=sampled * test.steps * move + explained * explain + scored,
        kept=weights * cost.FLOAT * (cost.COPIES - 1) / run.checkpoint_every,
        hashed=weights * cost.FLOAT / run.checkpoint_every,
    )


def drawn(share: int) -> int:
    """Rows of noise that a process draws for its share of the batch, which begins at a multiple of it."""
    if share % BLOCK == 0 or BLOCK % share == 0:
        return max(share, BLOCK)
    return (math.ceil(share / BLOCK) + 1) * BLOCK  # at worst


def all_reduce(processes: int, weights: int, a: Assumed) -> float:
    """Seconds of an update's reductions: gradients in buckets, the figures, the barrier; nothing overlaps."""
    calls = math.ceil(weights * cost.FLOAT / a.bucket) + 2
    return ring_bytes(processes, weights) / a.bandwidth + calls * 2 * (processes - 1) * a.latency


class Time(NamedTuple):
    """Seconds of an update."""

    compute: float
    reduce: float
    alone: float

    def total(self) -> float:
        return sum(self)


def update_time(w: Work, processes: int, share: int, a: Assumed) -> Time:
    """An update of `share` images on each of the processes."""
    compute = max(share * w.flops / a.rate, w.operators * a.launch) + drawn(share) * w.draws / a.normals
    alone = w.alone / a.rate_alone + w.kept / a.disk + (w.hashed / a.disk if processes > 1 else 0.0)
    return Time(compute, all_reduce(processes, w.weights, a) if processes > 1 else 0.0, alone)


COUNTS = (1, 8, 64, 256, 1024)
SHARE, BATCH = 64, 1024
"""Images on each process where the batch grows with their number; images in all where it does not."""


def paper_table(w: Work, shares: dict[int, int], a: Assumed) -> str:
    heads = ["GPUs", "global batch", "images per process", "noise drawn / used", "compute, ms", "all-reduce, ms"]
    heads += ["waiting for process 0, ms", "its share", "images/s", "efficiency"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for processes, share in shares.items():
        t = update_time(w, processes, share, a)
        speed = processes * share / t.total()
        cells = [f"{processes:,}", f"{processes * share:,}", f"{share:,}", f"{drawn(share) / share:g}"]
        cells += [f"{1000 * part:,.1f}" for part in t]
        cells += [f"{t.alone / t.total():.1%}", f"{speed:,.0f}", f"{speed * w.flops / a.rate / processes:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def paper(preset: str, a: Assumed) -> str:
    """What docs/scaling.md holds of this arithmetic, word for word."""
    w = work(PRESETS[preset])
    facts = (
        f"`{preset}`: {w.weights:,} learned weights, {w.flops / 1e12:.3f} TFLOP per image and update, "
        f"{w.operators:,} operators and {w.draws:,} normal numbers per image in an update; process 0 alone "
        f"{w.alone / 1e12:.2f} TFLOP and {w.kept / 1e6:.2f} MB of checkpoints per update, on average."
    )
    weak = paper_table(w, dict.fromkeys(COUNTS, SHARE), a)
    strong = paper_table(w, {p: BATCH // p for p in COUNTS}, a)
    titles = f"Weak scaling, {SHARE} images on each:", f"Strong scaling, {BATCH:,} images in all:"
    return "\n\n".join([facts, titles[0], weak, titles[1], strong])


# -- the program ---------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints a table, or prints the paper's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=[TINY, "digits"], choices=[TINY, *PRESETS])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--updates", type=int, nargs=2, default=[20, 120], metavar=("SHORT", "LONG"))
    parser.add_argument("--quick", action="store_true", help="tiny networks, 1 and 2 processes, a few updates")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything measured to this file")
    parser.add_argument("--paper", metavar="PRESET", nargs="?", const="cifar10", help="print the arithmetic")
    for name, value in Assumed._field_defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, metavar="X")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        preset, updates, out = options.worker
        torch.set_num_threads(1)
        Trainer(settings(preset, int(updates)), out, device="cpu", quiet=True).train()
        return 0
    if options.paper:
        print(paper(options.paper, Assumed(*(getattr(options, name) for name in Assumed._fields))))
        return 0
    if options.quick:
        options.presets, options.processes, options.updates = [TINY], [1, 2], [2, 12]
    rows = []
    print(machine.describe("cpu"), file=sys.stderr)
    for preset in options.presets:
        for processes in options.processes:
            rows.append(measure(preset, processes, tuple(options.updates)))
            print(measured_table(rows).splitlines()[-1], file=sys.stderr, flush=True)
    print(measured_table(rows))
    if options.json:
        report = {"machine": machine.describe("cpu"), "updates": options.updates, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
