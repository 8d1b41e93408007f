"""`dualmcmc sample RUN`: images from the generator and after the data chain, written as they are drawn."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from annotated_types import Ge

from dualmcmc.cli.arguments import Json, Run, Weights, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from dualmcmc.model import Model

GRID = 64
"""Images of each kind on grid.png, at most."""


@dataclass(frozen=True)
class Sample:
    """Draws images: generator/00000.png ... and chain/00000.png ..., grid.png, samples.csv with log-densities."""

    run: Run
    """A run folder, a model folder or a hub id."""
    n: Annotated[int, Ge(1), tyro.conf.arg(aliases=["-n"])] = 64
    """How many images."""
    steps: Annotated[int, Ge(0)] | None = None
    """Length of the data chain; default: the run's test chain."""
    out: Path | None = None
    """Folder to write to, new or empty; default: RUN/generated, or generated for a model elsewhere."""
    seed: int = 0
    """Of all randomness; image i depends on the seed and i only."""
    weights: Weights = "ema"
    """ema: the average over training; live: the newest checkpoint's weights."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Images at once; changes speed and memory, never a result."""
    json: Json = None
    """Write the figures as JSON to this file; - is standard output."""


def sample(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Sample, args, "sample")
    check_json(options.json)
    if options.n < 1 or options.batch_size < 1 or (options.steps or 0) < 0:
        raise InputError("-n and --batch-size must be 1 or more, --steps 0 or more")
    from dualmcmc.devices import best_device, check_device
    from dualmcmc.model import Model

    check_device(options.device)
    out = _free_folder(options)
    model = Model.from_pretrained(options.run, weights=options.weights, device=options.device or best_device())
    means = _draw(model, options, out)
    steps = model.config.method.test_chain.steps if options.steps is None else options.steps
    figures = {"out": str(out), "n": options.n, "steps": steps, "seed": options.seed, **means}
    write_json(options.json, figures)
    show(
        f"{out}: {options.n} images, mean log-density {means['log_density_generator']:.6g} from the generator, "
        f"{means['log_density_chain']:.6g} after {steps} steps",
        options.json,
    )


def _free_folder(options: Sample) -> Path:
    run = Path(options.run)
    out = options.out or (run / "generated" if (run / "config.json").is_file() else Path("generated"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: name a new folder with --out")
    return out


def _draw(model: Model, options: Sample, out: Path) -> dict[str, float]:
    """Writes pictures, CSV and grid batch by batch; returns the mean log-densities."""
    import torch
    from rich.console import Console
    from rich.progress import track

    from dualmcmc.pictures import save_side_by_side

    for kind in ("generator", "chain"):
        (out / kind).mkdir(parents=True, exist_ok=True)
    sums, shown = {"generator": 0.0, "chain": 0.0}, {"generator": [], "chain": []}  # type: ignore[var-annotated]
    starts = range(0, options.n, options.batch_size)
    with (out / "samples.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["index", "log_density_generator", "log_density_chain"])
        for first in track(starts, "drawing", console=Console(stderr=True), disable=len(starts) < 3):
            keys = range(first, min(first + options.batch_size, options.n))
            drawn = {
                kind: model.sample(
                    len(keys), seed=options.seed, keys=keys, steps=steps, batch_size=options.batch_size
                )
                for kind, steps in (("generator", 0), ("chain", options.steps))
            }
            densities = {kind: model.log_density(x).tolist() for kind, x in drawn.items()}
            rows.writerows(zip(keys, densities["generator"], densities["chain"], strict=True))
            for kind, x in drawn.items():
                sums[kind] += sum(densities[kind])
                _write(out / kind, x, first)
                shown[kind].append(x[: max(0, GRID - first)].cpu())
    panels = [torch.cat(shown["generator"]), torch.cat(shown["chain"])]
    save_side_by_side(out / "grid.png", panels, columns=8)
    return {f"log_density_{kind}": value / options.n for kind, value in sums.items()}


def _write(folder: Path, x: Tensor, first: int) -> None:
    from dualmcmc.data.rule import to_uint8
    from dualmcmc.pictures import to_pil

    for i, pixels in enumerate(to_uint8(x.cpu()), start=first):
        to_pil(pixels).save(folder / f"{i:05d}.png")
