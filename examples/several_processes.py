"""Several processes train one model: the same batch, the same noise, the same losses as one process.

    python examples/several_processes.py --out runs/one
    torchrun --nproc_per_node 2 examples/several_processes.py --out runs/two --like runs/one
    accelerate launch --num_processes 2 --cpu examples/several_processes.py --out runs/three --like runs/one

There is nothing to do for it in the program: `Trainer` finds the processes that it was started among, each takes
its share of the batch, and noise belongs to places of the global batch. Losses agree up to the rounding of sums;
later, networks drift apart as rounding grows (docs/recovery.md).
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

from dualmcmc import Trainer, presets
from dualmcmc.settings import Run

LOSSES = ("loss_energy", "loss_generator", "loss_inference")


def losses(run: Path) -> list[dict[str, float]]:
    """Those of each logged update."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: line[name] for name in LOSSES} for line in lines if line["kind"] == "train"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--like", type=Path, help="a run of one process to compare with")
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()

    run = Run(steps=options.steps, log_every=1, evaluate_every=0, sample_every=0)
    Trainer(replace(presets.preset("digits"), run=run), options.out, device="cpu").train()

    if options.like is None or int(os.environ.get("RANK", "0")):  # one process speaks for all
        return
    for step, (ours, theirs) in enumerate(zip(losses(options.out), losses(options.like), strict=True), 1):
        gaps = ", ".join(f"{name} {abs(ours[name] / theirs[name] - 1):.0e}" for name in LOSSES)
        print(f"update {step}, relative difference to one process: {gaps}")


if __name__ == "__main__":
    main()
