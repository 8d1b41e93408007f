"""`dualmcmc sample RUN`: images from the generator and after the data chain, written while more are drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro
from annotated_types import Ge

from dualmcmc import methods
from dualmcmc.cli.arguments import OnModel, check_counts, parse
from dualmcmc.cli.output import check_finite, check_json, show, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from dualmcmc.model import Model

KINDS = ("generator", "chain")
GRID = 64
"""Images of each kind on grid.png, at most."""


@dataclass(frozen=True, kw_only=True)
class Sample(OnModel):
    """Draws images: generator/00000.png ... and chain/00000.png ..., grid.png, samples.csv with log-densities.

    Where a method has no generator, generator/ holds what its chains start from; where it has no energy network,
    both hold the same images and the log-densities are left empty.
    """

    n: Annotated[int, Ge(1), tyro.conf.arg(aliases=["-n"])] = 64
    """How many images."""
    steps: Annotated[int, Ge(0)] | None = None
    """Length of the data chain; default: the run's test chain."""
    out: Path | None = None
    """Folder to write to; default: RUN/generated (elsewhere: generated); either must be new or empty."""


def sample(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Sample, args, "sample")
    check_json(options.json)
    check_counts(n=options.n, batch_size=options.batch_size, steps=options.steps)
    from dualmcmc.cli.loading import filling, free_folder, load_model

    out = free_folder(options.out, options.run, "generated")
    model = load_model(options)
    with filling(out):
        means = draw_into(out, model, options)
    steps = methods.test_chain(model.config.method).steps if options.steps is None else options.steps
    figures = {"out": str(out), "n": options.n, "steps": steps, "seed": options.seed, **means}
    write_json(options.json, figures)
    about = f"{out}: {options.n} images"
    if means:
        start = "from the generator" if model.has("generator") else "where chains start"
        about += f", mean log-density {means['log_density_generator']:.6g} {start}, "
        about += f"{means['log_density_chain']:.6g} after {steps} steps"
    show(about, options.json)


class Batch(NamedTuple):
    """What is written at once: images' numbers; by kind, images (B, C, S, S) on the CPU and log-densities (B,)."""

    keys: range
    images: dict[str, Tensor]
    densities: dict[str, list[Any]]


def draw_into(out: Path, model: Model, options: Sample) -> dict[str, float]:
    """Writes pictures and rows while more are drawn, then the grid; returns the mean log-densities there are."""
    import torch

    from dualmcmc.cli.loading import batches
    from dualmcmc.cli.writing import writing
    from dualmcmc.pictures import save_side_by_side

    for kind in KINDS:
        (out / kind).mkdir(parents=True, exist_ok=True)
    sums, shown = dict.fromkeys(KINDS, 0.0), {kind: [] for kind in KINDS}  # type: ignore[var-annotated]
    with (out / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["index", *(f"log_density_{kind}" for kind in KINDS)])

        def write(batch: Batch) -> None:
            rows.writerows(zip(batch.keys, *(batch.densities[kind] for kind in KINDS), strict=True))
            for kind in KINDS:
                _write(out / kind, batch.images[kind], batch.keys.start)

        with writing(write) as hand_over:
            for keys in batches(options.n, options.batch_size, "drawing"):
                batch = _draw(model, options, keys)
                for kind in KINDS:
                    # Cloned: a view, even of no image, would keep the whole batch.
                    shown[kind].append(batch.images[kind][: max(0, GRID - keys.start)].clone())
                    sums[kind] += sum(batch.densities[kind]) if model.has("energy") else 0.0
                hand_over(batch)
                del batch  # or it would be held while the next is drawn
    panels = [torch.cat(shown[kind]) for kind in KINDS]
    save_side_by_side(out / "grid.png", panels, columns=8)
    if not model.has("energy"):
        return {}
    return {f"log_density_{kind}": value / options.n for kind, value in sums.items()}


def _draw(model: Model, options: Sample, keys: range) -> Batch:
    """The images with these numbers, before and after the data chain; once where it moves nothing."""
    how: dict[str, Any] = {"seed": options.seed, "keys": keys, "batch_size": options.batch_size}
    end = model.sample(len(keys), steps=options.steps, **how)
    moved = model.has("energy") and options.steps != 0
    drawn = {"generator": model.sample(len(keys), steps=0, **how) if moved else end, "chain": end}
    densities: dict[str, list[Any]] = {kind: [""] * len(keys) for kind in KINDS}
    if model.has("energy"):
        densities = {kind: model.log_density(x).tolist() for kind, x in drawn.items()}
        check_finite({f"log-density ({kind})": values for kind, values in densities.items()})
    return Batch(keys, {kind: x.cpu() for kind, x in drawn.items()}, densities)


def _write(folder: Path, x: Tensor, first: int) -> None:
    from dualmcmc.data.rule import to_uint8
    from dualmcmc.pictures import to_pil

    for i, pixels in enumerate(to_uint8(x), start=first):
        to_pil(pixels).save(folder / f"{i:05d}.png")
