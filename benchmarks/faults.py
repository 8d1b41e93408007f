"""What training, loading and reading survive: each kind of fault, so many times, and every failure.

    python benchmarks/faults.py                    every kind, about an hour on two idle cores
    python benchmarks/faults.py --quick            a few of each, minutes: does it run?
    python benchmarks/faults.py --kinds kills corruptions

Everything happens in a temporary folder, on a tiny run of the embedded digits; what is tried is a function of the
seed, and of a kill's moment. The exit code is 1 if anything failed; each failure is told in a line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import torch
from faulty.outcome import Outcome
from rich.console import Console
from rich.table import Table


class Kind(NamedTuple):
    """How often a kind is tried, and in a quick run."""

    what: str
    times: int
    quick: int


KINDS = {
    "kills": Kind("SIGKILL at a random moment of training, saving, evaluating", 200, 4),
    "corruptions": Kind("one file of a checkpoint or model damaged", 1000, 60),
    "divergences": Kind("a divergence, of each kind", 20, 1),
    "unstable": Kind("a rate 100 times too large, with the guard and without", 3, 1),
    "plants": Kind("code and names that lead out, planted in files", 58, 58),
    "fuzzing": Kind("fuzzed configurations, command lines and files", 5000, 150),
    "processes": Kind("2 processes against 1, in float64 and float32", 1, 1),
}


def main(words: Sequence[str] | None = None) -> int:
    """Runs the kinds asked for; 1 if anything failed."""
    options = arguments(words)
    torch.set_num_threads(1)
    outcomes: dict[str, Outcome] = {}
    for name in options.kinds:
        kind = KINDS[name]
        times = options.times or (kind.quick if options.quick else kind.times)
        with tempfile.TemporaryDirectory() as folder:
            outcomes[name] = import_module(f"faulty.{name}").run(times, options.seed, Path(folder))
        one = outcomes[name]
        print(f"{name}: {one.tried} tried, {len(one.failures)} failed, {one.seconds:.0f} s", flush=True)
    show(outcomes)
    if options.json:
        told = {name: one._asdict() for name, one in outcomes.items()}
        options.json.write_text(json.dumps({"seed": options.seed, "kinds": told}, indent=2))
    return 1 if any(one.failures for one in outcomes.values()) else 0


def show(outcomes: dict[str, Outcome]) -> None:
    """The table, and every failure below it."""
    table = Table("kind", "tried", "failed", "seconds", "what was seen")
    for name, one in outcomes.items():
        table.add_row(name, str(one.tried), str(len(one.failures)), f"{one.seconds:.0f}", one.note)
    console = Console()
    console.print(table)
    for name, one in outcomes.items():
        for failure in one.failures:
            console.print(f"{name}: {failure}", highlight=False, markup=False)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line's."""
    kinds = "\n".join(f"  {name:<12} {kind.what}: {kind.times}" for name, kind in KINDS.items())
    parser = argparse.ArgumentParser(
        description=f"{__doc__}\n{kinds}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS], default=[*KINDS], metavar="KIND")
    parser.add_argument("--times", type=int, help="how often, instead of each kind's own number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a few of each: does it run?")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
