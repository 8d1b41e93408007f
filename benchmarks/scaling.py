"""Cost against work: time and memory as chains, batch, networks, images, data and processes grow.

    python benchmarks/scaling.py --json scaling.json --plots plots     some ten minutes on two idle cores
    python benchmarks/scaling.py --quick                               tiny, seconds: does it run?

Each point is measured in a fresh process of one thread (`points.py`): the median of a few iterations after one
that is not counted, and the most memory that the process has held. Base: cifar10_simple's networks at width 16, 10
steps of either chain, batch 16. For each sweep a growth is expected, fitted and judged:

    kx, kz      time is a + b K, memory is flat: a chain keeps its last state alone
    batch       time is a + b B; memory a + c times what `train --dry-run` predicts, which is linear in B
    width, size time is a + b FLOPs, whose powers of the width or side are given, too; memory as for the batch
    images      seconds an update and memory are flat from 10^3 to 10^6 images: pixels stay on disk, mapped. The
                order of an epoch alone is held, 8 bytes an image and as much again while it is drawn
    processes   two processes of one thread against one, equal global batch: images a second, from the run's log

Memory of an images point is twofold: what is resident counts the pages of the mapped file that were read, and
of those beside them that the system maps along (up to a megabyte for each image read), all of which it takes back
when it needs them; `anonymous` is what the process alone can give back, and what is judged.
The cache is a temporary folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import fits
import machine
import numpy as np
import points
import torch
import tyro
from rich.console import Console
from rich.table import Table

from dualmcmc import InputError
from dualmcmc.cli.arguments import parse
from dualmcmc.storage.files import write_json

STRAIGHT, OFF = 0.99, 0.10
"""Of a linear growth: least R^2, and largest relative residual."""
FLAT = 0.02
"""Largest growth of a chain's memory over its sweep, as a share: the allocator's."""
RATE = 0.25
"""Largest relative residual of time against arithmetic: layers of other sizes compute at other rates."""
PREDICTED = (0.5, 2.5)
"""Bytes for each byte predicted: beside what autograd keeps, results and gradients are there for a time."""
FLAT_EXPONENT = 0.03
"""Of seconds an update against images: 23 % from 10^3 to 10^6."""
ORDER = 24.0
"""Bytes of anonymous memory an image: its place in this epoch's order and the next one's, and in a draft."""
RATIO = 1.8
"""Images a second, two processes to one."""
SIDE = 16
"""Of the images of the images sweep, grey."""

SWEEPS = {
    "kx": (10, 20, 40, 80),
    "kz": (5, 10, 20, 40),
    "batch": (8, 16, 32, 64),
    "width": (8, 16, 32, 48),
    "size": (16, 32, 64, 128),
    "images": (1_000, 10_000, 100_000, 1_000_000),
    "processes": (1, 2),
}
QUICK = {
    "kx": (1, 3),
    "kz": (1, 3),
    "batch": (2, 6),
    "width": (4, 8),
    "size": (16, 32),
    "images": (100, 1_000),
    "processes": (1, 2),
}
AXES = {
    "kx": "steps of the data chain",
    "kz": "steps of the latent chain",
    "batch": "images in a batch",
    "width": "width",
    "size": "side of an image",
    "images": "images in the data set",
    "processes": "processes",
}
OWN = {"kx": {"kz": 1}, "kz": {"kx": 1}, "size": {"batch": 4}}
"""What is not the base's: the other chain would hide the one looked at."""
TINY = {"kx": 1, "kz": 1, "batch": 4, "width": 4, "size": 16}
TRAINED = {"kx": 5, "kz": 5, "batch": 32, "width": 16, "size": SIDE, "channels": 1}
"""Of the images sweep: an update of some tens of milliseconds, so that reading its images could be seen."""


@dataclass(frozen=True)
class Options:
    """Measures how time and memory grow with work, and says what explains each growth."""

    sweeps: tuple[str, ...] = tuple(SWEEPS)
    """Which sweeps; by default all."""
    repeats: Annotated[int, tyro.conf.arg(metavar="N")] = 7
    """Iterations of each point after one that is not counted."""
    pairs: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """Runs of each number of processes, taking turns."""
    quick: bool = False
    """Tiny sizes and few of them: shows that it runs, not how costs grow."""
    threads: int = 1
    """Of each process."""
    json: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """Also write everything measured to this file."""
    plots: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Also draw each sweep into this folder, as PNG."""


class Verdict(NamedTuple):
    """What is expected of a growth, what was seen, and whether that is it."""

    expected: str
    seen: str
    holds: bool


class Sweep(NamedTuple):
    """All that was measured of one axis, with its fits."""

    rows: list[dict[str, Any]]
    verdicts: list[Verdict]
    panels: dict[str, tuple[Sequence[float], Sequence[float], fits.Line | fits.Power]]


# -- measuring -----------------------------------------------------------------------------------


def measure(spec: dict[str, Any], threads: int, cache: Path | None = None) -> dict[str, Any]:
    """A point, in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if cache:
        environment["DUALMCMC_CACHE"] = str(cache)
    command = [sys.executable, points.__file__, json.dumps({**spec, "threads": threads})]
    child = subprocess.run(command, capture_output=True, text=True, env=environment)
    if child.returncode:
        raise RuntimeError(f"measuring {spec} failed: {child.stderr.strip()[-2000:]}")
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return {**found, "median": median(found["seconds"])}


def make_images(file: Path, count: int, side: int, channels: int) -> None:
    """An .npy of so many images of noise, written 10,000 at a time."""
    rng, shape = np.random.default_rng(0), (side, side, channels)
    with file.open("wb") as out:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(out, header)
        for first in range(0, count, 10_000):
            out.write(rng.integers(0, 256, (min(10_000, count - first), *shape), dtype=np.uint8).tobytes())


def iterations(axis: str, values: Sequence[int], options: Options) -> list[dict[str, Any]]:
    """A point of training iterations for each value."""
    base = TINY if options.quick else OWN.get(axis, {})
    spec = {"kind": "iteration", "repeats": options.repeats, **base}
    return [{axis: value, **measure({**spec, axis: value}, options.threads)} for value in values]


def data_sets(values: Sequence[int], options: Options, folder: Path) -> list[dict[str, Any]]:
    """Decodes and trains on sets of so many images."""
    sizes = {**TRAINED, **({"kx": 1, "kz": 1, "width": 4} if options.quick else {})}
    rows = []
    for count in values:
        place, cache = folder / f"{count}.npy", folder / f"cache-{count}"
        make_images(place, count, SIDE, 1)
        spec = {**sizes, "data": f"{place}:all", "repeats": 3 * options.repeats}
        decoded = measure({"kind": "decode", **spec}, options.threads, cache)
        out = str(folder / f"run-{count}")
        trained = measure({"kind": "train", "out": out, **spec}, options.threads, cache)
        place.unlink()
        rows.append({"images": count, **trained, "decoding": decoded["median"], "decoding_peak": decoded["peak"]})
    return rows


def runs(values: Sequence[int], options: Options, folder: Path) -> list[dict[str, Any]]:
    """Trains on so many processes, taking turns; seconds an update from the log, its first line left out."""
    at = {**points.BASE, "batch": 64, **({**TINY, "batch": 8} if options.quick else {})}
    place = folder / "processes.npy"
    make_images(place, 4 * at["batch"], at["size"], at["channels"])
    flags = {
        "data": str(place),
        "images.size": at["size"],
        "networks.energy-width": at["width"],
        "networks.generator-width": at["width"],
        "networks.inference-width": at["width"],
        "method.data-chain.steps": at["kx"],
        "method.latent-chain.steps": at["kz"],
        "optim.batch-size": at["batch"],
        "run.steps": 4 if options.quick else 15,
        "run.log-every": 2 if options.quick else 3,
        "run.sample-every": 0,
        "run.evaluate-every": 0,
        "run.checkpoint-every": 0,
        "device": "cpu",
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "DUALMCMC_CACHE": str(folder / "cache")}
    rows: list[dict[str, Any]] = [{"processes": count, "seconds": [], "peak": 0} for count in values]
    for turn in range(options.pairs):
        for row in rows:
            count, out = row["processes"], folder / f"run-{row['processes']}-{turn}"
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
            command = [sys.executable, *torchrun, "-m", "dualmcmc", "train", "cifar10_simple", *words]
            child = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, env=environment)
            if child.returncode:
                raise RuntimeError(f"training on {count} processes failed: {child.stderr.strip()[-2000:]}")
            lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
            lines = [line for line in lines if line["kind"] == "train"]
            row["seconds"].append(median(line["seconds_per_step"] for line in lines[1:]))
            row["peak"] = max(row["peak"], *(line["peak_memory_bytes"] for line in lines))
    return [{**row, "median": median(row["seconds"]), "batch": at["batch"]} for row in rows]


# -- judging -------------------------------------------------------------------------------------


def _linear(xs: Sequence[float], ys: Sequence[float], unit: str) -> tuple[fits.Line, Verdict]:
    fit = fits.line(xs, ys, relative=True)
    seen = f"{fit.a:.3g} s + {fit.b:.3g} s {unit}, R^2 {fit.r2:.4f}, off by {fit.residual:.1%} at most"
    return fit, Verdict("time is a + b x", seen, fit.r2 >= STRAIGHT and fit.residual <= OFF)


def _as_predicted(rows: list[dict[str, Any]]) -> Verdict:
    """Memory against what `cost` predicts, in bytes."""
    fit = fits.line([r["predicted"] for r in rows], [r["peak"] for r in rows])
    seen = f"{fit.a / 2**20:.0f} MB + {fit.b:.2f} bytes for each that is predicted, R^2 {fit.r2:.4f}"
    return Verdict("memory is a + c predicted", seen, fit.r2 >= 0.95 and PREDICTED[0] <= fit.b <= PREDICTED[1])


def judge_chain(axis: str, rows: list[dict[str, Any]]) -> Sweep:
    """Time is linear, memory flat."""
    xs, ys, peaks = [r[axis] for r in rows], [r["median"] for r in rows], [r["peak"] for r in rows]
    fit, verdict = _linear(xs, ys, "a step")
    growth, slope = max(peaks) / min(peaks) - 1, fits.line(xs, peaks)
    flat = Verdict(
        "memory is flat, as a chain keeps its last state",
        f"{growth:.1%} more at most, {slope.b / 1e3:+.0f} kB a step",
        growth <= FLAT,
    )
    return Sweep(rows, [verdict, flat], {"seconds": (xs, ys, fit), "peak, bytes": (xs, peaks, slope)})


def judge_batch(axis: str, rows: list[dict[str, Any]]) -> Sweep:
    """Time is linear, memory as predicted."""
    xs, ys, peaks = [r[axis] for r in rows], [r["median"] for r in rows], [r["peak"] for r in rows]
    fit, verdict = _linear(xs, ys, "an image")
    slope = fits.line(xs, peaks)
    predicted = _as_predicted(rows)
    predicted = predicted._replace(seen=f"{predicted.seen}; {slope.b / 1e6:.2f} MB an image")
    return Sweep(rows, [verdict, predicted], {"seconds": (xs, ys, fit), "peak, bytes": (xs, peaks, slope)})


def judge_power(axis: str, rows: list[dict[str, Any]]) -> Sweep:
    """Time is linear in the arithmetic, memory as predicted."""
    xs, ys, peaks, flops = ([r[name] for r in rows] for name in (axis, "median", "peak", "flops"))
    time, arithmetic, fit = fits.power(xs, ys), fits.power(xs, flops), fits.line(flops, ys, relative=True)
    seen = f"{fit.a:.3g} s + FLOPs / {1e-9 / fit.b:.0f} GFLOP/s, off by {fit.residual:.1%} at most"
    verdict = Verdict(
        "time follows the arithmetic",
        f"{seen}; exponent of {axis} {time.exponent:.2f}, of FLOPs {arithmetic.exponent:.2f}",
        fit.b > 0 and fit.residual <= RATE,
    )
    panels: dict[str, tuple[Sequence[float], Sequence[float], fits.Line | fits.Power]] = {
        "seconds": (xs, ys, time),
        "FLOPs": (xs, flops, arithmetic),
        "peak, bytes": (xs, peaks, fits.power(xs, peaks)),
    }
    return Sweep(rows, [verdict, _as_predicted(rows)], panels)


def judge_images(axis: str, rows: list[dict[str, Any]]) -> Sweep:
    """Seconds an update are flat, memory is the order's."""
    xs, ys = [r[axis] for r in rows], [r["median"] for r in rows]
    anonymous, decoding = [r["anonymous"] for r in rows], [r["decoding"] for r in rows]
    time, held, decoded = fits.power(xs, ys), fits.line(xs, anonymous), fits.line(xs, decoding)
    lately = fits.power(xs[-2:], decoding[-2:]).exponent  # small sets are opened for longer than they are decoded
    verdicts = [
        Verdict(
            "seconds an update are flat",
            f"exponent {time.exponent:+.3f}",
            abs(time.exponent) <= FLAT_EXPONENT,
        ),
        Verdict(
            f"anonymous memory is the order's, {ORDER:g} bytes an image at most, not the {SIDE**2} of its pixels",
            f"{held.b:.1f} bytes an image",
            held.b <= ORDER,
        ),
        Verdict(
            "decoding is linear, once for each set",
            f"{1e6 * decoded.b:.0f} us an image, exponent {lately:.2f} between the two largest sets",
            abs(lately - 1) <= OFF,
        ),
    ]
    panels: dict[str, tuple[Sequence[float], Sequence[float], fits.Line | fits.Power]] = {
        "seconds an update": (xs, ys, time),
        "anonymous, bytes": (xs, anonymous, held),
        "decoding, seconds": (xs, decoding, decoded),
    }
    return Sweep(rows, verdicts, panels)


def judge_processes(axis: str, rows: list[dict[str, Any]]) -> Sweep:
    """The most processes against the fewest."""
    one, many = rows[0], rows[-1]
    ratios = [a / b for a, b in zip(one["seconds"], many["seconds"], strict=True)]
    seen = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) times the images a second"
    verdict = Verdict(f"{many[axis]} processes to {one[axis]}: at least {RATIO}", seen, median(ratios) >= RATIO)
    xs, speeds = [r[axis] for r in rows], [r["batch"] / r["median"] for r in rows]
    return Sweep(rows, [verdict], {"images a second": (xs, speeds, fits.power(xs, speeds))})


JUDGES: dict[str, Callable[[str, list[dict[str, Any]]], Sweep]] = {
    "kx": judge_chain,
    "kz": judge_chain,
    "batch": judge_batch,
    "width": judge_power,
    "size": judge_power,
    "images": judge_images,
    "processes": judge_processes,
}


# -- the program ---------------------------------------------------------------------------------

MB = 2**20
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "seconds: median (min-max)": lambda r: f"{r['median']:.3g} ({min(r['seconds']):.3g}-{max(r['seconds']):.3g})",
    "images/s": lambda r: f"{r['batch'] / r['median']:.1f}" if "batch" in r and "flops" not in r else "",
    "GFLOP": lambda r: f"{r['flops'] / 1e9:.3g}" if "flops" in r else "",
    "GFLOP/s": lambda r: f"{r['flops'] / 1e9 / r['median']:.0f}" if "flops" in r else "",
    "peak, MB": lambda r: f"{r['peak'] / MB:.0f}",
    "predicted, MB": lambda r: f"{r['predicted'] / MB:.0f}" if "predicted" in r else "",
    "anonymous, MB": lambda r: f"{r['anonymous'] / MB:.1f}" if r.get("anonymous") else "",
    "first update, s": lambda r: f"{r['first']:.3g}" if "first" in r else "",
    "decoding, s": lambda r: f"{r['decoding']:.3g}" if "decoding" in r else "",
    "decoding's peak, MB": lambda r: f"{r['decoding_peak'] / MB:.0f}" if "decoding_peak" in r else "",
}
"""Headings and cells; a column without any is left out."""


def table(axis: str, rows: list[dict[str, Any]]) -> Table:
    shown = Table(title=f"Cost against {AXES[axis]}")
    cells = {heading: [cell(row) for row in rows] for heading, cell in COLUMNS.items()}
    cells = {heading: column for heading, column in cells.items() if any(column)}
    for heading in (axis, *cells):
        shown.add_column(heading, no_wrap=True, justify="right")
    for number, row in enumerate(rows):
        shown.add_row(f"{row[axis]:,}", *(column[number] for column in cells.values()))
    return shown


def sweep(axis: str, options: Options) -> Sweep:
    """Measures and judges one."""
    values = (QUICK if options.quick else SWEEPS)[axis]
    with tempfile.TemporaryDirectory() as folder:
        if axis == "images":
            rows = data_sets(values, options, Path(folder))
        elif axis == "processes":
            rows = runs(values, options, Path(folder))
        else:
            rows = iterations(axis, values, options)
    return JUDGES[axis](axis, rows)


def main(args: list[str]) -> int:
    """Measures, prints, draws."""
    try:
        options = parse(Options, args, "scaling.py")
        if unknown := set(options.sweeps) - set(SWEEPS):
            raise InputError(f"unknown sweep {sorted(unknown)[0]!r}: choose among {', '.join(SWEEPS)}")
    except InputError as error:
        print(f"scaling: {error}", file=sys.stderr)
        return 2
    if options.quick:
        options = replace(options, repeats=2, pairs=1)
    torch.set_num_threads(options.threads)
    console, report, held = Console(width=150), {}, True
    about = f"{machine.describe('cpu')}; every point in a process of {options.threads} thread(s)"
    console.print(about)
    for axis in options.sweeps:
        found = sweep(axis, options)
        report[axis] = {"rows": found.rows, "verdicts": [verdict._asdict() for verdict in found.verdicts]}
        console.print(table(axis, found.rows))
        for verdict in found.verdicts:
            word = "as expected" if verdict.holds else "NOT AS EXPECTED"
            console.print(f"{axis}: {verdict.expected}: {verdict.seen}: {word}", highlight=False, soft_wrap=True)
            held = held and verdict.holds
        if options.plots:
            Path(options.plots).mkdir(parents=True, exist_ok=True)
            fits.plot(found.panels, AXES[axis]).savefig(Path(options.plots) / f"{axis}.png")
    if options.json:
        write_json(Path(options.json), {"machine": about, "repeats": options.repeats, "sweeps": report})
    odd = sorted({axis for axis, r in report.items() if not all(v["holds"] for v in r["verdicts"])})
    console.print(f"every growth is explained but for {', '.join(odd)}" if odd else "every growth is explained")
    return 0 if held or options.quick else 1  # at --quick's sizes costs mean nothing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
