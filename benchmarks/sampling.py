"""What writing costs `dualmcmc sample`, beside drawing or in turn with it; and memory for few and many images.

    python benchmarks/sampling.py                 minutes on an idle core
    python benchmarks/sampling.py --quick         tiny sizes, seconds: does it run?

An untrained model of the preset draws n images in three ways that take turns (A B C A B C ...), after one round
that is not counted:

    together    as the verb does: batches are written in a thread while the next is drawn
    in turn     each batch is written before the next is drawn
    drawing     nothing is written but the table's header and the grid: the other two cannot be faster

A ratio is the median over rounds. The first two must write the same files; where they do not, the exit code is 1.
Peak memory is that of a process of its own for each number of images, with a chain of one step, as the chain's
length changes no size.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import machine
import torch
import tyro
from rich.console import Console
from rich.table import Table

from dualmcmc import InputError, Model
from dualmcmc.cli import writing
from dualmcmc.cli.arguments import parse
from dualmcmc.cli.sample import Sample, draw_into
from dualmcmc.devices import peak_memory
from dualmcmc.presets import preset
from dualmcmc.stopwatch import Clock
from dualmcmc.storage import pretrained

TOGETHER, IN_TURN, DRAWING = "together", "in turn", "drawing"


@dataclass(frozen=True)
class Options:
    """Times `sample` with its writing beside the drawing, in turn with it, and left out; measures its memory."""

    preset: str = "cifar10_simple"
    """Whose networks and chains."""
    n: Annotated[int, tyro.conf.arg(metavar="N", aliases=["-n"])] = 256
    """Images of each round."""
    memory: tuple[int, ...] = (500, 2000)
    """Numbers of images to measure memory for."""
    steps: int | None = None
    """Length of the data chain; by default the preset's test chain."""
    batch_size: int = 64
    """Images at once."""
    repeats: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Rounds after one that is not counted."""
    quick: bool = False
    """Tiny networks, few images, one round: shows that it runs, not how fast."""
    threads: int | None = None
    """torch's threads; by default its own choice."""
    device: str = "cpu"
    """cpu, cuda, cuda:1, ..."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write everything measured to this file."""


def untrained(options: Options) -> Model:
    """A model of the preset's networks as they are initialised."""
    torch.manual_seed(0)
    config = preset(options.preset)
    if options.quick:
        narrow = replace(config.networks, latent_dim=4, energy_width=8, generator_width=8, inference_width=8)
        config = replace(config, networks=narrow)
    return Model(pretrained.plain_trio(pretrained.build_trio(config)), config, device=options.device)


def drawn(model: Model, options: Options, out: Path, n: int) -> None:
    """What the verb does after it has loaded a model."""
    draw_into(out, model, Sample(run="", n=n, steps=options.steps, batch_size=options.batch_size))


@contextmanager
def _written_by(way: str) -> Iterator[None]:
    """While inside, batches are written in this way."""

    @contextmanager
    def instead(write: Callable[[Any], None], waiting: int = 0) -> Iterator[Callable[[Any], None]]:
        yield write if way == IN_TURN else lambda batch: None

    beside = writing.writing
    try:
        writing.writing = beside if way == TOGETHER else instead
        yield
    finally:
        writing.writing = beside


def measure(options: Options) -> dict[str, Any]:
    """Seconds by way, and whether the files of the first two are the same, byte for byte."""
    model, clock = untrained(options), Clock(options.device)
    seconds: dict[str, list[float]] = {TOGETHER: [], IN_TURN: [], DRAWING: []}
    sums: dict[str, set[str]] = {TOGETHER: set(), IN_TURN: set()}
    for counted in [False] + [True] * options.repeats:
        for way, taken in seconds.items():
            with tempfile.TemporaryDirectory() as out, _written_by(way):
                took = clock.seconds(lambda: drawn(model, options, Path(out), options.n))
                if way in sums:
                    sums[way].add(_checksum(Path(out)))
            if counted:
                taken.append(took)
    return {"seconds": seconds, "same_files": len(set.union(*sums.values())) == 1}


def _checksum(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    whole = hashlib.sha256()
    for path in files:
        whole.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return whole.hexdigest()


def peak_of(options: Options, n: int) -> int:
    """Bytes at most of this process, which draws n images."""
    if options.threads:
        torch.set_num_threads(options.threads)
    model = untrained(options)
    with tempfile.TemporaryDirectory() as out:
        drawn(model, replace(options, steps=1), Path(out), n)
    return peak_memory(model.device)


def times_table(seconds: dict[str, list[float]], n: int) -> Table:
    """One row per way."""
    table = Table(title=f"{n} images: median (min-max)")
    for heading in ("written", "seconds", "images/s", f"times as long as {TOGETHER}"):
        table.add_column(heading, no_wrap=True)
    for way, taken in seconds.items():
        ratios = [a / b for a, b in zip(taken, seconds[TOGETHER], strict=True)]
        name = "not at all: drawing" if way == DRAWING else way
        table.add_row(name, _spread(taken), f"{n / median(taken):.4g}", _spread(ratios))
    return table


def _spread(values: list[float]) -> str:
    return f"{median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def main(args: list[str]) -> int:
    """Times, measures, prints."""
    try:
        options = parse(Options, args, "sampling.py")
        preset(options.preset)
    except InputError as error:
        print(f"sampling: {error}", file=sys.stderr)
        return 2
    if options.quick:
        options = replace(options, preset="digits", n=12, memory=(8, 32), steps=2, batch_size=4, repeats=1)
    if options.threads:
        torch.set_num_threads(options.threads)
    console = Console(width=115)
    about = f"{machine.describe(options.device)}, {options.preset}, batches of {options.batch_size}"
    console.print(about)
    found = measure(options)
    console.print(times_table(found["seconds"], options.n))
    console.print(f"the same files {TOGETHER} and {IN_TURN}: {'yes' if found['same_files'] else 'NO'}")
    found["peak_bytes"] = {}
    for n in options.memory:
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            found["peak_bytes"][str(n)] = alone.apply(peak_of, (options, n))
        console.print(f"peak memory of {n} images: {found['peak_bytes'][str(n)] / 2**20:.1f} MiB")
    if options.json:
        report = {"machine": about, "options": asdict(options), **found}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if found["same_files"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
