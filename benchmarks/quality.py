"""Time to quality: seconds of training until samples are as near to the data as a textbook run ever gets.

    python benchmarks/quality.py --data FASHION_MNIST --features cifar10_resnet20 --feature-weights FILE
    python benchmarks/quality.py --quick           embedded digits, seconds: does it run?

Two trainings of dual-MCMC teaching on the same images and the same networks (simple, narrowed to --width at
--size pixels), one thread each, one after the other:

    textbook   Algorithm 1 as most would write it (`textbook.py`), released chains, weights, rates and batch
    ours       the library: fewer chain steps with the same drift, negatives from the updated generator, twice
               rates that suit minutes, an average of weights (the settings of `family.py`, found on its runs)

At moments that grow by --growth the clock stops and one fixed evaluation is made: the Frechet distance, in one
feature network, of -n samples (by the generator, and after the run's test chain; the smaller counts) to as many
training images. Training stops at --budget. The distance to reach is the smallest that the textbook found in
its whole budget, unless --target states one; a time is where the line between two evaluations crosses it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import agreement
import machine
import torch
from family import SETTINGS
from rich.console import Console
from rich.table import Table
from textbook import Textbook
from torch import Tensor

from dualmcmc import config as configs
from dualmcmc import data, features, spectral
from dualmcmc.compare import budget, changes
from dualmcmc.data import ImageSet, batch_indices
from dualmcmc.errors import InputError
from dualmcmc.features import FeatureNetwork
from dualmcmc.metrics import Moments, frechet_distance
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.presets import PRESETS
from dualmcmc.sampling import generate, prior, revise
from dualmcmc.settings import Config, DualMCMC
from dualmcmc.teaching import Update, teaching
from dualmcmc.training import optimisation, setup

EVALUATION_SEED, PART = 1, 100
TARGET = 3.0
"""Times faster than the textbook, at least."""


@dataclass
class Point:
    """One evaluation: seconds and updates of training before it, and the distances found."""

    seconds: float
    updates: int
    generator: float
    chain: float

    @property
    def distance(self) -> float:
        return min(self.generator, self.chain)


def textbook_settings(size: int, channels: int, width: int, seed: int) -> Config:
    """Released chains, weights, rates and batch on simple networks."""
    released = PRESETS["cifar10_simple"]
    n = replace(released.networks, energy_width=width, generator_width=width, inference_width=width, latent_dim=64)
    images = replace(released.images, size=size, channels=channels)
    assert isinstance(released.method, DualMCMC)
    # The released test chain is for longer training: both are measured after a chain like training's.
    method = replace(released.method, test_chain=released.method.data_chain)
    return replace(released, networks=n, images=images, method=method, seed=seed)


def our_settings(size: int, channels: int, width: int, seed: int) -> Config:
    """What `family.py` gives dual-MCMC teaching for minutes, on the same networks."""
    values = configs.to_dict(textbook_settings(size, channels, width, seed))
    fashion = configs.to_dict(PRESETS["fashion_mnist"])
    values |= {"method": fashion["method"], "optim": fashion["optim"]}
    kept = [word for word in SETTINGS["fashion_mnist"] if not word.startswith("networks.")]
    changes.apply(changes.parse(kept), values)
    return configs.from_dict(values)


class Ours:
    """The library's loop, without a run folder."""

    def __init__(self, config: Config) -> None:
        self.config, self.trio, self.updates = config, setup.new_trio(config), 0
        self.module = teaching(self.trio, config.method)
        self.average = optimisation.Average(self.trio, config.optim)
        self.optimiser = optimisation.build_optimiser(self.trio, config.optim)

    def update(self, x: Tensor) -> None:
        c, step = self.config, self.updates
        factor = optimisation.rate_factor(step, c.optim, steps=c.run.steps, steps_per_epoch=10**9)
        optimisation.set_rates(self.trio, self.optimiser, c.optim, factor, lambda name: 1.0)
        noise = BatchNoise(c.seed, range(len(x)), path=("train", step))
        for phase in range(self.module.phases):
            self.module(x, noise, None, Update(step=step, phase=phase, batch=len(x))).total().backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
        self.average.update(self.trio, step)
        self.updates += 1

    def samples(self, n: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images by the averaged generator, and after the test chain on the averaged energy."""
        trio = self.average.trio
        with spectral.estimates_kept(trio.energy):
            spectral.power_iteration(trio.energy, 10)
            frozen = trio.frozen()
        assert isinstance(self.config.method, DualMCMC)
        for first in range(0, n, PART):
            noise = Noise(EVALUATION_SEED, range(first, min(first + PART, n)))
            x = generate(frozen, prior(frozen, len(noise.keys or ()), noise=noise), "mean", noise=noise)
            yield x, revise(frozen, x, self.config.method.test_chain, noise=noise)


class Book:
    """The textbook's loop, from the same weights."""

    def __init__(self, config: Config) -> None:
        self.config, self.updates = config, 0
        torch.manual_seed(config.seed)
        self.book = Textbook(config)
        agreement.copy_weights(setup.new_trio(config), self.book)

    def update(self, x: Tensor) -> None:
        self.book.iteration(x)
        self.updates += 1

    def samples(self, n: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images by the generator as it is, and after the data chain."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(EVALUATION_SEED)
            self.book.energy.eval()  # holds the spectral vectors still
            for first in range(0, n, PART):
                z = torch.randn(min(PART, n - first), self.book.latent_dim)
                with torch.no_grad():
                    x = self.book.generator(z)
                yield x, self.book.data_chain(x)
            self.book.energy.train()


Contender = Ours | Book


def train(
    contender: Contender,
    images: ImageSet,
    moments: Callable[[Iterator[Tensor]], Moments],
    reference: Moments,
    options: argparse.Namespace,
    say: Callable[[Point], None],
) -> list[Point]:
    """Trains for the budget; evaluations, which the clock does not count, at moments that grow."""
    points: list[Point] = []
    seconds, due = 0.0, options.first
    batch, seed = contender.config.optim.batch_size, contender.config.seed
    while True:
        indices = batch_indices(contender.updates, images=len(images), batch_size=batch, seed=seed)
        began = time.perf_counter()
        contender.update(images.tensor(indices))
        seconds += time.perf_counter() - began
        if seconds < due and seconds < options.seconds:
            continue
        pairs = list(contender.samples(options.n))
        found = [frechet_distance(moments(iter(x)), reference) for x in zip(*pairs, strict=True)]
        points.append(Point(seconds, contender.updates, *found))
        say(points[-1])
        if seconds >= options.seconds:
            return points
        due = max(due * options.growth, seconds)


def reached(points: list[Point], target: float) -> float | None:
    """Seconds at which the distance first falls to `target`, between two evaluations on the line; None: never."""
    for i, point in enumerate(points):
        if point.distance > target:
            continue
        if i == 0:
            return point.seconds
        before = points[i - 1]
        share = (before.distance - target) / (before.distance - point.distance)
        return before.seconds + share * (point.seconds - before.seconds)
    return None


def main(words: list[str] | None = None) -> int:
    options = arguments(words)
    torch.set_num_threads(options.threads)
    console = Console(width=150)
    try:
        kind = replace(PRESETS["digits" if options.quick else "fashion_mnist"].images, size=options.size)
        images = data.load(options.data, kind, split="train")
        network = features.load(options.features, options.feature_weights)
    except InputError as error:
        print(f"quality: {error}", file=sys.stderr)
        return 2
    console.print(f"{machine.describe('cpu')}; {images.title}; {network.label}, {options.n} samples")

    def moments(batches: Iterator[Tensor]) -> Moments:
        return _moments(network, batches)

    every = max(1, len(images) // options.n)
    chosen = torch.arange(0, every * min(options.n, len(images)), every).numpy()
    reference = moments(
        images.tensor(part) for part in (chosen[i : i + PART] for i in range(0, len(chosen), PART))
    )
    report = []
    for seed in range(options.seed, options.seed + options.seeds):
        shape = (options.size, kind.channels, options.width, seed)
        contenders: dict[str, Contender] = {"textbook": Book(textbook_settings(*shape))}
        contenders["ours"] = Ours(our_settings(*shape))
        points = {}
        for name, contender in contenders.items():

            def say(point: Point, name: str = name, seed: int = seed) -> None:
                figures = (
                    f"{network.label} {point.generator:.4g} by the generator, {point.chain:.4g} after the chain"
                )
                console.print(
                    f"seed {seed}  {name:<9}{point.seconds:7.0f} s  {point.updates:6d} updates  {figures}"
                )

            points[name] = train(contender, images, moments, reference, options, say)
        report.append({name: [vars(p) for p in found] for name, found in points.items()} | _times(points, options))
    held = _show(console, report, network.label)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        _plot(report, network.label, options.plot)
    return 0 if held or options.quick else 1


def _moments(network: FeatureNetwork, batches: Iterator[Tensor]) -> Moments:
    found = Moments(network.num_features)
    for x in batches:
        found.update(network(x.clamp(-1, 1)).features)
    return found


def _times(points: dict[str, list[Point]], options: argparse.Namespace) -> dict[str, float | None]:
    target = options.target or min(point.distance for point in points["textbook"])
    times = {f"seconds_{name}": reached(found, target) for name, found in points.items()}
    return {"target": target, **times}


def _show(console: Console, report: list[dict[str, object]], label: str) -> bool:
    """The table; whether the target was met by the median over seeds."""
    table = Table(title="Seconds of training until the distance is reached")
    for heading in ("seed", label, "textbook, s", "ours, s", "times faster"):
        table.add_column(heading)
    ratios = []
    for seed, row in enumerate(report):
        book, ours = row["seconds_textbook"], row["seconds_ours"]
        ratio = book / ours if isinstance(book, float) and isinstance(ours, float) else None
        ratios += [ratio or 0.0]
        shown = [f"{s:.0f}" if isinstance(s, float) else "not reached" for s in (book, ours)]
        table.add_row(str(seed), f"{row['target']:.4g}", *shown, f"{ratio:.2f}" if ratio else "-")
    console.print(table)
    middle = median(ratios)
    console.print(f"{middle:.2f} times faster (median); {TARGET} is the target")
    return middle >= TARGET


def _plot(report: list[dict[str, object]], label: str, place: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for name, colour in (("textbook", "tab:grey"), ("ours", "tab:blue")):
        for row in report:
            points = [Point(**p) for p in row[name]]  # type: ignore[attr-defined]
            axes.plot([p.seconds for p in points], [p.distance for p in points], "o-", color=colour, label=name)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training", ylabel=label, title="Time to quality")
    handles = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    axes.legend(handles.values(), handles.keys())
    figure.savefig(place)


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--size", type=int, choices=[8, 16, 28, 32], default=16)
    parser.add_argument("--width", type=int, default=16, help="of all three networks")
    parser.add_argument("--budget", default="10m", help="of training, for each, as 10m or 90s")
    parser.add_argument("--first", type=float, default=15.0, help="seconds before the first evaluation")
    parser.add_argument("--growth", type=float, default=1.3, help="of the moments of evaluations")
    parser.add_argument("--target", type=float, help="a distance; default: the textbook's smallest")
    parser.add_argument("--features", default="pixels")
    parser.add_argument("--feature-weights", type=Path)
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(words)
    if options.quick:
        quick = {"data": "digits", "size": 8, "width": 8, "seconds": 2.0, "first": 0.5, "n": 100}
        vars(options).update(quick)
    else:
        options.seconds = _seconds(options.budget)
    return options


def _seconds(text: str) -> float:
    """A budget of time, as `dualmcmc compare` reads it."""
    minutes = budget.parse(text).minutes
    if not minutes:
        raise SystemExit(f"quality: --budget {text}: give a time, as 10m")
    return 60 * minutes


if __name__ == "__main__":
    sys.exit(main())
