"""Seconds per training iteration: ours, the textbook's Algorithm 1, and the released order of updates.

    python benchmarks/iteration.py                 every case, minutes on two idle cores
    python benchmarks/iteration.py --quick         tiny sizes, seconds: does it run?

An iteration is both chains, the losses, their backward and the optimiser's step; no data, no average of
weights. Each contender has a process of its own with torch's default settings (`contender.py`); they take turns
(A B C A B C ...), start from the same weights and see the same images; a ratio is the median over rounds.
Where this machine convolves 1.3 times faster in bfloat16, ours runs in it, too (networks in bfloat16; states,
updates, sums and weights in float32), against the textbook in float32. Before anything is timed, `agreement.py`
states that ours and the textbook's are the same function; where they are not, the exit code is 1 and nothing is
timed.

The machine's rate is the best that torch's convolutions reach here, forward and backward to the input, on
the largest layers of each case in either memory layout. The useful share is the textbook's arithmetic, the
executed share our own (some of it is saved by rewriting), per second and per that rate. Of all alone is the
executed arithmetic per the rate of all convolutions of our chains, each run alone in its best layout.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Literal

import agreement
import layouts
import machine
import torch
import tyro
from contender import BOOK, OURS, RELEASED, Child, Contender
from rich.console import Console
from rich.table import Table
from textbook import Textbook
from torch import Tensor

from dualmcmc import InputError, rate, spectral
from dualmcmc import config as configs
from dualmcmc.cli.arguments import parse
from dualmcmc.counting import flops_of
from dualmcmc.noise import BatchNoise
from dualmcmc.presets import PRESETS
from dualmcmc.settings import Config
from dualmcmc.stopwatch import Clock
from dualmcmc.storage import pretrained
from dualmcmc.teaching import DualMCMCTeaching
from dualmcmc.training import optimisation

TARGETS = {
    "digits": (2.0, None),
    "mnist": (2.0, None),
    "cifar10_simple": (1.4, 2.2),
    "residual_32": (1.8, 2.8),
}
"""Times faster than the textbook, and than the released order."""


@dataclass(frozen=True)
class Case:
    """Networks to time, and in words what of a preset is left out to keep this to minutes."""

    config: Config
    note: str


def _case(preset: str, batch: int, width: int = 0, inference: int = 0, note: str = "") -> Case:
    config = PRESETS[preset]
    full = f"width {config.networks.energy_width}, batch {config.optim.batch_size}"
    n = config.networks
    if width:
        n = replace(n, energy_width=width, generator_width=width, inference_width=inference)
    config = replace(config, networks=n, optim=replace(config.optim, batch_size=batch))
    mine = f"width {n.energy_width}, batch {batch}"
    return Case(config, "; ".join(filter(None, [mine if mine == full else f"{mine} for {full}", note])))


def _tiny(case: Case) -> Case:
    c, tiny = case.config, case.config.images.size >= 64
    width = 16 if tiny else 8
    networks = replace(c.networks, latent_dim=4, energy_width=width, generator_width=width, inference_width=4)
    method = replace(c.method, data_chain=replace(c.method.data_chain, steps=3))
    method = replace(method, latent_chain=replace(c.method.latent_chain, steps=2))
    config = replace(c, networks=networks, method=method, optim=replace(c.optim, batch_size=2))
    return Case(config, "tiny")


CASES = {
    "digits": _case("digits", 64),
    "mnist": _case("mnist", 64, note="fashion_mnist's too"),
    "cifar10_simple": _case("cifar10_simple", 32),
    "residual_32": _case("cifar10", 32, 64, 64, note="cifar10's networks, the size the target is for"),
    "cifar10": _case("cifar10", 8, 128, 32),
    "celeba64": _case("celeba64", 8, 256, 32, note="lsun_church64's too"),
    "celeba_hq256": _case("celeba_hq256", 1, 128, 16),
}


@dataclass(frozen=True)
class Options:
    """Times one training iteration of ours beside the textbook's and the released order's."""

    cases: tuple[str, ...] = tuple(CASES)
    """Which cases; by default all."""
    repeats: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Rounds after one that is not counted."""
    quick: bool = False
    """Tiny widths, batches and chains, one round: shows that it runs, not how fast."""
    threads: int | None = None
    """torch's threads; by default its own choice."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the networks, for all three alike."""
    chains: tuple[Literal["plain", "compiled", "graphed"], ...] = ("plain",)
    """Ways to run ours; each is a contender."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write everything measured to this file."""


class Ours:
    """The library's iteration, as `training/loop.py` runs it."""

    def __init__(self, config: Config, device: str) -> None:
        self.trio = pretrained.build_trio(config).to(device)
        spectral.power_iteration(self.trio.energy, 10)
        self.teaching = DualMCMCTeaching(self.trio, config.method)
        self.optimiser = optimisation.build_optimiser(self.trio, config.optim)
        self.step = 0

    def iteration(self, x: Tensor, autocast: Callable[[], AbstractContextManager[Any]]) -> None:
        noise = BatchNoise(0, range(len(x)), path=("train", self.step))
        with autocast():
            losses = self.teaching(x, noise)
        losses.total().backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1


def contenders(case: Case, options: Options) -> list[Contender]:
    """Ours, in bfloat16 too where it is worth it, and the others."""
    precisions = [options.precision]
    if options.precision == "fp32" and rate.gain_of_bf16(case.config, device=options.device) >= rate.GAIN:
        precisions.append("bf16")
    found = [Contender(OURS, precision, chains=how) for how in options.chains for precision in precisions]
    return [*found, Contender(BOOK, options.precision), Contender(RELEASED, options.precision)]


def take_turns(case: Case, options: Options) -> dict[str, list[dict[str, Any]]]:
    """What each contender answers, round by round, after a round that is not counted."""
    values = configs.to_dict(case.config)
    with ExitStack() as stack:
        children = {}
        for contender in contenders(case, options):
            child = Child(contender, values, options.threads or 0, options.device)
            stack.callback(child.close)
            children[contender.name] = child
        rounds = [{n: child.iteration() for n, child in children.items()} for _ in range(options.repeats + 1)]
        return {name: [turn[name] for turn in rounds[1:]] for name in children}


def measure(case: Case, options: Options) -> dict[str, Any]:
    """Everything measured of one case: seconds and ratios, FLOPs and rates, layouts, memory."""
    answers = take_turns(case, options)
    seconds = {name: [answer["seconds"] for answer in found] for name, found in answers.items()}
    config, device, clock = case.config, options.device, Clock(options.device)
    bf16 = partial(torch.autocast, torch.device(device).type, torch.bfloat16)
    autocast: Callable[[], AbstractContextManager[Any]] = bf16 if options.precision == "bf16" else nullcontext
    torch.manual_seed(0)
    x, ours = agreement.images(config, device=device), Ours(config, device)
    book, released = Textbook(config, "algorithm1", device), Textbook(config, "released", device)
    for other in (book, released):
        agreement.copy_weights(ours.trio, other)
    works: dict[str, Callable[[], None]] = {
        OURS: lambda: ours.iteration(x, autocast),
        BOOK: lambda: book.iteration(x),
        RELEASED: lambda: released.iteration(x),
    }
    flops = {name: flops_of(work) for name, work in works.items()}
    if not all(p.isfinite().all() for p in ours.trio.parameters()):
        raise ArithmeticError("weights are not finite after an update: times mean nothing")
    z = torch.randn(len(x), config.networks.latent_dim, device=device)
    nets = [(book.energy, x), (book.generator, z)]
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    used = {name: "bf16" if "bf16" in name else options.precision for name in seconds}
    rates = {name: machine.convolution_rate(nets, dtypes[name]) for name in sorted(set(used.values()))}
    method: Any = config.method
    frozen = ours.teaching.frozen()
    chains = [(frozen.part("energy"), x, method.data_chain), (frozen.part("generator"), z, method.latent_chain)]
    runs = [(net, state, chain.steps) for net, state, chain in chains]
    alone = {name: machine.isolated_rate(runs, dtypes[name]) for name in rates}
    with autocast():
        by_layout = layouts.times(ours.trio, x, clock, rounds=options.repeats + 2)
    middle = {name: median(times) for name, times in seconds.items()}
    mine = [name for name in seconds if name.startswith(OURS)]
    useful = {name: flops[BOOK] if name in mine else flops[name.partition(",")[0]] for name in seconds}
    return {
        "note": case.note,
        "seconds": seconds,
        "ratios": {
            name: {
                n: [b / a for a, b in zip(seconds[name], seconds[n], strict=True)]
                for n in seconds
                if n not in mine
            }
            for name in mine
        },
        "flops": flops,
        "flops_per_second_of_convolutions": rates,
        "flops_per_second_alone": alone,
        "useful_share": {name: useful[name] / middle[name] / rates[used[name]] for name in seconds},
        "executed_share": {name: flops[OURS] / middle[name] / rates[used[name]] for name in mine},
        "share_alone": {name: flops[OURS] / middle[name] / alone[used[name]] for name in mine},
        "layouts": by_layout,
        "peak_bytes": {name: max(answer["peak"] for answer in found) for name, found in answers.items()},
    }


def _spread(values: list[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def times_table(results: dict[str, dict[str, Any]]) -> Table:
    """A row per case and contender."""
    table = Table(title="Seconds per iteration, and how many times faster ours is: median (min-max)")
    for heading in ("case", "who", "seconds", f"{BOOK} / ours", f"{RELEASED} / ours", "GFLOP/s of convolutions"):
        table.add_column(heading, no_wrap=True)
    for heading in ("useful share", "executed share", "of all alone", "peak, GiB"):
        table.add_column(heading, no_wrap=True)
    for case, r in results.items():
        for i, (name, times) in enumerate(r["seconds"].items()):
            ratios = r["ratios"].get(name, {}).values()
            rate_of = r["flops_per_second_of_convolutions"]
            executed = r["executed_share"].get(name)
            table.add_row(
                case if i == 0 else "",
                name,
                _spread(times),
                *([_spread(ratio) for ratio in ratios] or ["", ""]),
                f"{rate_of['bf16' if 'bf16' in name or 'fp32' not in rate_of else 'fp32'] / 1e9:.0f}",
                f"{r['useful_share'][name]:.0%}",
                "" if executed is None else f"{executed:.0%}",
                "" if executed is None else f"{r['share_alone'][name]:.0%}",
                f"{r['peak_bytes'][name] / 2**30:.2f}",
            )
        table.add_section()
    return table


def verdict(results: dict[str, dict[str, Any]]) -> tuple[list[str], bool]:
    """What must hold, and whether it did here: no case slower, targets reached in some precision."""
    slower = [
        case
        for case, r in results.items()
        if any(median(next(iter(x.values()))) < 1 for x in r["ratios"].values())
    ]
    lines, held = [f"slower than the textbook: {', '.join(slower) or 'none'}"], not slower
    for case, targets in TARGETS.items():
        for at, target in enumerate(targets):
            if case not in results or target is None:
                continue
            found = {name: median([*ratios.values()][at]) for name, ratios in results[case]["ratios"].items()}
            against = (BOOK, RELEASED)[at]
            told = ", ".join(f"{ratio:.2f} ({name})" for name, ratio in found.items())
            reached = max(found.values()) >= target
            lines.append(
                f"{case}: {told} times faster than the {against}; {target}: {'' if reached else 'NOT '}reached"
            )
            held = held and reached
    return lines, held


def main(args: list[str]) -> int:
    """Checks, times, prints."""
    try:
        options = parse(Options, args, "iteration.py")
        if unknown := set(options.cases) - set(CASES):
            raise InputError(f"unknown case {sorted(unknown)[0]!r}: choose among {', '.join(CASES)}")
    except InputError as error:
        print(f"iteration: {error}", file=sys.stderr)
        return 2
    if options.threads:
        torch.set_num_threads(options.threads)
    cases = {name: _tiny(CASES[name]) if options.quick else CASES[name] for name in options.cases}
    options = replace(options, repeats=1) if options.quick else options
    console = Console(width=200)
    about = f"{machine.describe(options.device)}, {options.precision}, {options.repeats} rounds"
    console.print(about)
    deviations, results = {}, {}
    for name, case in cases.items():
        console.print(f"{name}: {case.note}")
        few = replace(case.config, optim=replace(case.config.optim, batch_size=2))
        found = deviations[name] = agreement.check(few)
        worst = ", ".join(f"{what} {found[what]:.0e}" for what in sorted(found, key=found.__getitem__)[:-4:-1])
        console.print(f"    ours against the textbook's, largest relative deviations: {worst}")
        if wrong := agreement.beyond_tolerance(found):
            console.print(f"{name}: beyond the tolerance are {', '.join(wrong)}; nothing is timed")
            return 1
    for name, case in cases.items():
        results[name] = measure(case, options)
    lines, held = verdict(results)
    console.print(times_table(results), layouts.table(results), *lines, sep="\n")
    if options.json:
        report = {"machine": about, "deviations": deviations, "results": results}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if held or options.quick else 1  # at --quick's sizes times mean nothing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
