"""Chains on a 2-D mixture: ours beside torchebm's Langevin sampler at equal settings, and whether the law is one.

    python benchmarks/chains.py                 1,000 steps of 4,096 chains, about a minute on one idle core
    python benchmarks/chains.py --quick         few chains and steps, seconds: does it run?

torchebm (in `constraints.txt` and the dev extra) steps by x' = x - eta grad U(x) + sqrt(2 eta) noise_scale eps, so
that eta = s^2/2, U = -f and noise_scale = sqrt(T) are our Eq. (L1) with f, s and T. It has no mixture of its own:
its users write f in a BaseModel's `forward`, which it then differentiates, or override `gradient` where they know
it. Both are timed, with the same function on both sides:

    automatic       f is `Mixture.log_density`, differentiated by either library
    closed form     grad f is `Mixture.gradient`, handed to either library

Differentiating f costs several times what is left of a step, and both pay it alike: there the ratio says little of
the samplers. So the target is for the closed form, where each library is at its fastest.

Rounds take turns. Neither side knows the other's random numbers; torchebm draws from torch's own generator, its
default, ours from `BatchNoise` in one block of all chains.

The law is looked at after the last step. Started at N(0, I), a ring's modes are equally likely by symmetry after
any number of steps, and a mode that keeps its distance from the others settles at Eq. (L2)'s variance, here 1.45
times the density's own: a sampler that scales its noise otherwise is seen. Shares, means and covariances of each
mode may be 5 standard errors away from that, and from each other, beyond what the others' tails account for; the
energy distance to each other, and to draws of the settled law, may not be above that of 999 permutations.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import machine
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dualmcmc import InputError
from dualmcmc.cli.arguments import parse
from dualmcmc.langevin import langevin
from dualmcmc.noise import BatchNoise
from dualmcmc.settings import Chain
from dualmcmc.stopwatch import Clock
from dualmcmc.storage.files import write_json
from dualmcmc.toys import Mixture

OURS, THEIRS, SETTLED = "ours", "torchebm", "settled law"
AUTOMATIC, CLOSED = "automatic", "closed form"
TARGET = 1.5
ERRORS = 5.0
"""Standard errors that a share, a mean or a covariance may be away."""
PERMUTATIONS, COMPARED = 999, 1500
"""Permutations of an energy distance, and rows of each sample that it is of."""

MIXTURE = Mixture.ring(modes=4, radius=1.0, deviation=0.18)
"""Near enough for exponentials not to underflow, which is slow on CPUs; far enough for modes to settle alone."""
STEP = 0.2
"""s: (L2) is 1.45 times the density's own variance."""


@dataclass(frozen=True)
class Options:
    """Times chains of ours beside torchebm's on a 2-D mixture, and compares their laws."""

    chains: Annotated[int, tyro.conf.arg(metavar="N")] = 4096
    """Chains side by side."""
    steps: Annotated[int, tyro.conf.arg(metavar="N")] = 1000
    """Steps of each."""
    repeats: Annotated[int, tyro.conf.arg(metavar="N")] = 11
    """Rounds after one that is not counted."""
    quick: bool = False
    """Few chains and steps, one round: shows that it runs, not how fast."""
    threads: int = 1
    """torch's threads."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write everything measured to this file."""


# -- the two samplers ----------------------------------------------------------------------------

Sampler = Callable[[Tensor, int], Tensor]
"""From starts (B, 2) and a seed to the last states (B, 2)."""


def ours(kind: str, steps: int, step: float = STEP) -> Sampler:
    """`langevin` with the noise of a batch in one block."""
    chain, gradient = Chain(steps=steps, step=step), MIXTURE.gradient if kind == CLOSED else None

    def sample(x: Tensor, seed: int) -> Tensor:
        noise = BatchNoise(seed, range(len(x)), block=len(x))
        return langevin(MIXTURE.log_density, x, chain, noise=noise, gradient=gradient)

    return sample


def theirs(kind: str, steps: int, device: str = "cpu", step: float = STEP) -> Sampler:
    """torchebm's LangevinDynamics at the same step and temperature 1."""
    from torchebm.core import BaseModel
    from torchebm.samplers import LangevinDynamics

    class Automatic(BaseModel):
        def forward(self, x: Tensor) -> Tensor:
            return -MIXTURE.log_density(x)

    class Closed(Automatic):
        def gradient(self, x: Tensor, model_kwargs: dict[str, Any] | None = None) -> Tensor:
            return -MIXTURE.gradient(x)

    model = (Closed if kind == CLOSED else Automatic)(device=device)
    sampler = LangevinDynamics(model, step_size=step**2 / 2, noise_scale=1.0, device=device)

    def sample(x: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        return sampler.sample(x=x, n_steps=steps)

    return sample


# -- the law -------------------------------------------------------------------------------------


class Modes(NamedTuple):
    """What a sample says of each mode of a ring, in a frame that has the mode on its first axis."""

    shares: Tensor
    """(M,)"""
    means: Tensor
    """(M, 2)"""
    covariances: Tensor
    """Of the first coordinate, of the second, of both: (M, 3)."""
    counts: Tensor
    """(M,)"""


def modes(x: Tensor) -> Modes:
    """x: (N, 2), each row being of the mode whose mean is nearest."""
    x = x.double().cpu()
    means = MIXTURE.means.double()
    which = torch.cdist(x, means).argmin(1)
    found = []
    for m, mean in enumerate(means):
        across = torch.stack([-mean[1], mean[0]])
        y = x[which == m] @ torch.stack([mean, across], 1) / mean.norm()
        (a, c), (_, b) = y.T.cov().tolist()
        found.append([*y.mean(0).tolist(), a, b, c])
    table = torch.tensor(found, dtype=torch.float64)
    counts = torch.bincount(which, minlength=len(means)).double()
    return Modes(counts / len(x), table[:, :2], table[:, 2:], counts)


def settled_deviation(step: float = STEP) -> float:
    """Eq. (L2) for a mode by itself."""
    return MIXTURE.deviation / math.sqrt(1 - step**2 / (4 * MIXTURE.deviation**2))


class Away(NamedTuple):
    """Standard errors that shares, means and covariances are away from what they are compared with, at most."""

    shares: float
    means: float
    covariances: float


def _errors(sample: Modes, deviation: float) -> tuple[Tensor, Tensor, Tensor]:
    """Standard errors of the three, for draws of the settled law."""
    n, count = sample.counts[:, None], len(sample.counts)
    shares = torch.full_like(sample.shares, math.sqrt((1 - 1 / count) / count / float(n.sum())))
    covariance = deviation**2 * torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64).sqrt()
    return shares, (deviation / n.sqrt()).expand(-1, 2), covariance / n.sqrt()


def _most(gap: Tensor, error: Tensor, slack: float) -> float:
    return float(((gap.abs() - slack).clamp_min(0) / error).max())


def from_settled(sample: Modes) -> Away:
    """How far a sample is from equal modes at their means with (L2)'s variance.

    Where a mode meets its neighbours, c deviations from its mean, it loses a tail and gains one: of the first
    moment 2 phi(c) deviations at most, of the second 2 (c phi(c) + Q(c)) variances, each twice over.
    """
    deviation = settled_deviation()
    c = float((MIXTURE.means[1] - MIXTURE.means[0]).norm()) / 2 / deviation
    phi, q = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi), math.erfc(c / math.sqrt(2)) / 2
    shares, means, covariances = _errors(sample, deviation)
    centre = torch.tensor([float(MIXTURE.means[0].norm()), 0.0], dtype=torch.float64)
    spread = torch.tensor([deviation**2, deviation**2, 0.0], dtype=torch.float64)
    return Away(
        _most(sample.shares - 1 / len(sample.counts), shares, 0.0),
        _most(sample.means - centre, means, 4 * phi * deviation),
        _most(sample.covariances - spread, covariances, 4 * (c * phi + q) * deviation**2),
    )


def from_each_other(a: Modes, b: Modes) -> Away:
    """How far two samples are from each other."""
    pairs = zip(a[:3], b[:3], _errors(a, settled_deviation()), _errors(b, settled_deviation()), strict=True)
    return Away(*(_most(x - y, (e.square() + f.square()).sqrt(), 0.0) for x, y, e, f in pairs))


def energy_test(x: Tensor, y: Tensor, seed: int = 0) -> tuple[float, float]:
    """The energy distance of x (N, D) and y (M, D), and the share of permutations that are no nearer: its p.

    Source: Szekely & Rizzo (2013); with M = N = `COMPARED` rows, or as many as there are.
    """
    n = min(len(x), len(y), COMPARED)
    pooled = torch.cat([x[:n], y[:n]]).double().cpu()
    distances = torch.cdist(pooled, pooled, compute_mode="donot_use_mm_for_euclid_dist")
    source = torch.Generator().manual_seed(seed)
    first = torch.zeros(2 * n, PERMUTATIONS + 1, dtype=torch.float64)
    first[:n, 0] = 1
    for column in range(1, PERMUTATIONS + 1):
        first[torch.randperm(2 * n, generator=source)[:n], column] = 1
    to_first = distances @ first
    total, row = distances.sum(), distances.sum(1)
    within = (first * to_first).sum(0)
    between = (first * row[:, None]).sum(0) - within
    statistic = 2 * between / n**2 - (within + total - within - 2 * between) / (n * (n - 1))
    return float(statistic[0]), float((statistic[1:] >= statistic[0]).sum() + 1) / (PERMUTATIONS + 1)


def compare(samples: dict[str, Tensor]) -> list[dict[str, Any]]:
    """Each sample beside the settled law, and each pair of them."""
    n = max(map(len, samples.values()))
    settled = Mixture(MIXTURE.means, settled_deviation()).sample(n, torch.Generator().manual_seed(1))
    rows = []
    for name, x in samples.items():
        rows.append((name, SETTLED, from_settled(modes(x)), energy_test(x, settled)))
    for (name, x), (other, y) in combinations(samples.items(), 2):
        rows.append((name, other, from_each_other(modes(x), modes(y)), energy_test(x, y)))
    return [
        {"of": a, "to": b, **away._asdict(), "energy_distance": distance, "p": p, "same": _same(away, p)}
        for a, b, away, (distance, p) in rows
    ]


def _same(away: Away, p: float) -> bool:
    return max(away) < ERRORS and p > 1 / (PERMUTATIONS + 1)


# -- the program ---------------------------------------------------------------------------------


def measure(options: Options) -> tuple[dict[str, dict[str, list[float]]], dict[str, Tensor]]:
    """Seconds of every round by kind of gradient and library; the last round's samples."""
    clock, device = Clock(options.device), options.device
    seconds: dict[str, dict[str, list[float]]] = {kind: {OURS: [], THEIRS: []} for kind in (AUTOMATIC, CLOSED)}
    samplers = {
        (kind, who): make
        for kind in seconds
        for who, make in ((OURS, ours(kind, options.steps)), (THEIRS, theirs(kind, options.steps, device)))
    }
    samples: dict[str, Tensor] = {}
    for round_ in range(options.repeats + 1):
        for number, ((kind, who), sampler) in enumerate(samplers.items()):
            seed = 100 * round_ + number  # every sample has starts and noise of its own
            source = torch.Generator().manual_seed(seed)
            start = torch.randn(options.chains, 2, generator=source).to(device)
            taken = clock.seconds(lambda: samples.__setitem__(f"{who}, {kind}", sampler(start, seed)))  # noqa: B023
            if round_:
                seconds[kind][who].append(taken)
    return seconds, samples


def _ratios(seconds: dict[str, list[float]]) -> list[float]:
    return [b / a for a, b in zip(seconds[OURS], seconds[THEIRS], strict=True)]


def _spread(values: list[float]) -> str:
    return f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def times_table(seconds: dict[str, dict[str, list[float]]], steps: int) -> Table:
    table = Table(title="Seconds, microseconds a step, and times faster: median (min-max)")
    for heading in ("gradient", OURS, THEIRS, f"{OURS}, us", f"{THEIRS}, us", f"{THEIRS} / {OURS}"):
        table.add_column(heading, no_wrap=True)
    for kind, by in seconds.items():
        each = [f"{1e6 * median(by[who]) / steps:.0f}" for who in (OURS, THEIRS)]
        table.add_row(kind, _spread(by[OURS]), _spread(by[THEIRS]), *each, _spread(_ratios(by)))
    return table


def law_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"The law: standard errors away at most ({ERRORS:g} may be), energy distance and its p")
    for heading in ("of", "to", "shares", "means", "covariances", "energy distance", "p", ""):
        table.add_column(heading, no_wrap=True)
    for r in rows:
        away = [f"{r[name]:.1f}" for name in Away._fields]
        distance = f"{r['energy_distance']:.1e}"
        table.add_row(r["of"], r["to"], *away, distance, f"{r['p']:.3f}", "same" if r["same"] else "DIFFERS")
    return table


def main(args: list[str]) -> int:
    """Times, compares, prints."""
    try:
        options = parse(Options, args, "chains.py")
        version = metadata.version("torchebm")
    except (InputError, metadata.PackageNotFoundError) as error:
        missing = "torchebm is missing: pip install -c constraints.txt -e '.[dev]' has it"
        print(f"chains: {error if isinstance(error, InputError) else missing}", file=sys.stderr)
        return 2
    if options.quick:
        options = replace(options, chains=512, steps=60, repeats=1)
    torch.set_num_threads(options.threads)
    console = Console(width=130)
    about = f"{machine.describe(options.device)}, torchebm {version}, {options.repeats} rounds"
    console.print(f"{about}; {options.steps:,} steps of {options.chains:,} chains")
    seconds, samples = measure(options)
    law = compare(samples)
    ratio, automatic = (median(_ratios(seconds[kind])) for kind in (CLOSED, AUTOMATIC))
    same = all(row["same"] for row in law)
    console.print(times_table(seconds, options.steps), law_table(law))
    console.print(
        f"{ratio:.2f} times faster with the gradient in closed form, {TARGET} is the target; "
        f"{automatic:.2f} times where both differentiate; {'the same law' if same else 'the laws DIFFER'}"
    )
    if options.json:
        settings = {"chains": options.chains, "steps": options.steps, "step": STEP, "threads": options.threads}
        report = {"machine": about, **settings, "seconds": seconds, "ratio": ratio, "ratio_automatic": automatic}
        write_json(Path(options.json), {**report, "law": law})
    return 0 if same and (options.quick or ratio >= TARGET) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
