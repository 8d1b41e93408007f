"""The most memory of an iteration: ours, ours in micro-batches, and the textbook's, each in its own process.

    python benchmarks/memory.py                    cifar10_simple's networks, batch 128, fp32
    python benchmarks/memory.py --quick            tiny sizes, seconds: does it run?

The peak is a process's resident memory (on a GPU, what torch has allocated there) from the moment its networks
and images are there until the last iteration has ended; Python and torch alone, before there is a network, are
told beside and subtracted in the last columns. Chains are short (--steps): memory does not depend on their
length, as `scaling.py` shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import machine
from contender import BOOK, OURS, Child, Contender
from rich.console import Console
from rich.table import Table

from dualmcmc import config as configs
from dualmcmc.presets import PRESETS
from dualmcmc.settings import Config, DualMCMC

WHOLE, CUT = 1.0, 0.6
"""Of the textbook's, at most: with the whole batch at once, and in micro-batches."""
MB = 2**20


def settings(options: argparse.Namespace) -> Config:
    """The preset with short chains and this batch."""
    preset = PRESETS[options.preset]
    assert isinstance(preset.method, DualMCMC)
    chains = {
        name: replace(getattr(preset.method, name), steps=options.steps) for name in ("data_chain", "latent_chain")
    }
    networks = preset.networks
    if options.quick:
        networks = replace(networks, energy_width=8, generator_width=8, inference_width=8)
    optim = replace(preset.optim, batch_size=options.batch)
    return replace(preset, method=replace(preset.method, **chains), optim=optim, networks=networks)


def main(words: list[str] | None = None) -> int:
    options = arguments(words)
    values = configs.to_dict(settings(options))
    console = Console(width=150)
    console.print(f"{machine.describe(options.device)}; {options.preset}, batch {options.batch}")
    found = {}
    for contender in (Contender(BOOK), Contender(OURS), *(Contender(OURS, micro_batch=m) for m in options.micro)):
        child = Child(contender, values, options.threads, options.device)
        answers = [child.iteration() for _ in range(options.repeats + 1)]
        child.close()
        found[contender.name] = {
            "resting": child.base,
            "peak": max(answer["peak"] for answer in answers),
            "seconds": [answer["seconds"] for answer in answers[1:]],
        }
    table = Table(title="The most memory of an iteration")
    for heading in (
        "who",
        "resting, MB",
        "peak, MB",
        "of the textbook's",
        "above resting, MB",
        "of the textbook's",
        "s",
    ):
        table.add_column(heading)
    book = found[BOOK]
    shares = {}
    for name, one in found.items():
        above, of = one["peak"] - one["resting"], book["peak"] - book["resting"]
        shares[name] = one["peak"] / book["peak"], above / of
        figures = f"{one['resting'] / MB:.0f}", f"{one['peak'] / MB:.0f}", f"{shares[name][0]:.2f}"
        table.add_row(
            name, *figures, f"{above / MB:.0f}", f"{shares[name][1]:.2f}", f"{median(one['seconds']):.3g}"
        )
    console.print(table)
    cut = min(shares[name][1] for name in shares if name not in (BOOK, OURS))
    whole = max(shares[OURS])
    console.print(
        f"of the textbook's: {whole:.2f}, {WHOLE} is the target; in micro-batches, above resting, {cut:.2f}, {CUT}"
    )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if options.quick or (whole <= WHOLE and cut <= CUT) else 1


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=[*PRESETS], default="cifar10_simple")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--micro", type=int, nargs="+", default=[64, 32, 16])
    parser.add_argument("--steps", type=int, default=3, help="of both chains")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    if options.quick:
        vars(options).update(batch=16, micro=[4], repeats=1)
    return options


if __name__ == "__main__":
    sys.exit(main())
