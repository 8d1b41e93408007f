"""Where an iteration's time goes that is no arithmetic: the kernel's page faults, dispatch, Python.

    python benchmarks/overheads.py                 digits, mnist, cifar10_simple, residual_32
    python benchmarks/overheads.py --quick         tiny sizes, seconds: does it run?

Page faults are counted by the operating system over plain iterations, and their share is the system's share of
the processor time. Operators are timed by torch's profiler: convolutions and matrix products, all others that
compute (activations, norms, sums, noise, the optimiser), and dispatch, which is wrappers, views, allocations and
autograd's own steps. What is left of the profiled iteration's seconds is Python's. The profiler makes operators
longer, so the last two are upper bounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import agreement
import iteration
import machine
import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from dualmcmc.allocator import keep_freed_memory

CASES = ("digits", "mnist", "cifar10_simple", "residual_32")
LIMIT = 0.15
"""Share of an iteration that page faults, dispatch and Python may each have."""
ARITHMETIC = ("convolution", "addmm", "::mm", "bmm", "linear")
WRAPPERS = (
    "aten::conv2d",
    "aten::conv_transpose2d",
    "aten::convolution",
    "aten::empty",
    "aten::view",
    "aten::as_strided",
    "aten::detach",
    "detach",
    "aten::to",
    "aten::_to_copy",
    "aten::expand",
    "aten::resize_",
    "aten::t",
    "aten::transpose",
    "aten::permute",
    "aten::slice",
    "aten::reshape",
    "aten::flatten",
    "aten::unsqueeze",
    "aten::squeeze",
    "aten::result_type",
    "aten::contiguous",
    "aten::empty_like",
    "aten::empty_strided",
    "aten::select",
)
"""Operators that compute nothing themselves."""


def measure(case: iteration.Case, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of an iteration, faults, and shares."""
    torch.manual_seed(0)
    x, ours = agreement.images(case.config), iteration.Ours(case.config, "cpu")
    if not options.default_allocator:
        keep_freed_memory()  # as training does
    for _ in range(3):
        ours.iteration(x, nullcontext)
    repeats = options.repeats
    import resource  # no Windows has it

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(repeats):
        ours.iteration(x, nullcontext)
    seconds = (time.perf_counter() - began) / repeats
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        began = time.perf_counter()
        ours.iteration(x, nullcontext)
        wall = time.perf_counter() - began
    kinds = dict.fromkeys(("arithmetic", "other", "dispatch"), 0.0)
    for event in profiled.key_averages():
        kinds[kind(event.key)] += event.self_cpu_time_total / 1e6
    return {
        "seconds": seconds,
        "faults": (after.ru_minflt - before.ru_minflt) / repeats,
        "page faults": system / (user + system),
        **{name: spent / wall for name, spent in kinds.items()},
        "python": max(0.0, 1 - sum(kinds.values()) / wall),
    }


def kind(name: str) -> str:
    """What an operator's own time is spent on."""
    if name in WRAPPERS or name.startswith(("autograd::", "Optimizer.")) or name.endswith(("Backward0", "Grad")):
        return "dispatch"
    return "arithmetic" if any(part in name for part in ARITHMETIC) else "other"


def main(words: list[str] | None = None) -> int:
    options = arguments(words)
    if options.threads:
        torch.set_num_threads(options.threads)
    console = Console(width=150)
    console.print(machine.describe("cpu"))
    columns = ("page faults", "arithmetic", "other", "dispatch", "python")
    table = Table(title="Shares of an iteration")
    for heading in ("case", "seconds", "faults", *columns):
        table.add_column(heading)
    results = {}
    for name in options.cases:
        case = iteration.CASES[name]
        found = results[name] = measure(iteration._tiny(case) if options.quick else case, options)
        shares = [f"{found[column]:.1%}" for column in columns]
        table.add_row(name, f"{found['seconds']:.3g}", f"{found['faults']:,.0f}", *shares)
    console.print(table)
    beyond = [
        f"{name}: {column}"
        for name, found in results.items()
        for column in ("page faults", "dispatch", "python")
        if found[column] > LIMIT
    ]
    console.print(f"beyond {LIMIT:.0%}: {', '.join(beyond) or 'none'}")
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0 if options.quick or not beyond else 1


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=[*iteration.CASES], default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--default-allocator", action="store_true", help="leave glibc as it is")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    if options.quick:
        options.repeats = 1
    return options


if __name__ == "__main__":
    sys.exit(main())
