"""`dualmcmc sample RUN`: images from the generator and after the data chain, written as they are drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Ge

from dualmcmc import methods
from dualmcmc.cli.arguments import OnModel, check_counts, parse
from dualmcmc.cli.output import check_finite, check_json, show, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from dualmcmc.model import Model

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
        means = _draw(model, options, out)
    steps = methods.test_chain(model.config.method).steps if options.steps is None else options.steps
    figures = {"out": str(out), "n": options.n, "steps": steps, "seed": options.seed, **means}
    write_json(options.json, figures)
    about = f"{out}: {options.n} images"
    if means:
        start = "from the generator" if model.has("generator") else "where chains start"
        about += f", mean log-density {means['log_density_generator']:.6g} {start}, "
        about += f"{means['log_density_chain']:.6g} after {steps} steps"
    show(about, options.json)


def _draw(model: Model, options: Sample, out: Path) -> dict[str, float]:
    """Writes pictures, CSV and grid batch by batch; returns the mean log-densities, with an energy network."""
    import torch

    from dualmcmc.cli.loading import batches
    from dualmcmc.pictures import save_side_by_side

    for kind in ("generator", "chain"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    sums, shown = {"generator": 0.0, "chain": 0.0}, {"generator": [], "chain": []}  # type: ignore[var-annotated]
    with (out / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["index", "log_density_generator", "log_density_chain"])
        for keys in batches(options.n, options.batch_size, "drawing"):
            drawn = {
                kind: model.sample(
                    len(keys), seed=options.seed, keys=keys, steps=steps, batch_size=options.batch_size
                )
                for kind, steps in (("generator", 0), ("chain", options.steps))
            }
            densities: dict[str, list[Any]] = {kind: [""] * len(keys) for kind in drawn}
            if model.has("energy"):
                densities = {kind: model.log_density(x).tolist() for kind, x in drawn.items()}
                check_finite({f"log-density ({kind})": values for kind, values in densities.items()})
                sums = {kind: total + sum(densities[kind]) for kind, total in sums.items()}
            rows.writerows(zip(keys, densities["generator"], densities["chain"], strict=True))
            for kind, x in drawn.items():
                _write(out / kind, x, keys.start)
                shown[kind].append(x[: max(0, GRID - keys.start)].cpu())
    panels = [torch.cat(shown["generator"]), torch.cat(shown["chain"])]
    save_side_by_side(out / "grid.png", panels, columns=8)
    if not model.has("energy"):
        return {}
    return {f"log_density_{kind}": value / options.n for kind, value in sums.items()}


def _write(folder: Path, x: Tensor, first: int) -> None:
    from dualmcmc.data.rule import to_uint8
    from dualmcmc.pictures import to_pil

    for i, pixels in enumerate(to_uint8(x.cpu()), start=first):
        to_pil(pixels).save(folder / f"{i:05d}.png")
