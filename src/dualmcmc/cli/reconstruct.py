"""`dualmcmc reconstruct RUN --data REF`: x, g(mu(x)), and after the latent chain, as a picture and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from dualmcmc.cli.arguments import OnImages, check_counts, parse
from dualmcmc.cli.output import check_json, show, table, write_json

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.model import Model

SHOWN = 16
"""Columns of the picture, at most."""
FIGURES = ("mse", "mse01", "psnr", "ssim")


@dataclass(frozen=True, kw_only=True)
class Reconstruct(OnImages):
    """Explains images and measures it: MSE, PSNR and SSIM by inference alone and after the latent chain.

    The picture's rows are the images, g(mu(x)), and g of the code after the latent chain. Without an inference
    network the chain starts at noise, and there is no second row.
    """

    steps: Annotated[int, Ge(0)] | None = None
    """Length of the latent chain; default: as in training."""
    out: Path | None = None
    """A new .png; default: RUN/reconstruction.png (elsewhere: reconstruction.png), which is replaced."""


def reconstruct(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Reconstruct, args, "reconstruct")
    check_json(options.json)
    check_counts(n=options.n, batch_size=options.batch_size, steps=options.steps)
    from dualmcmc.cli.loading import free_file, load_images, load_model

    out = free_file(options.out, options.run, "reconstruction.png")
    model = load_model(options)
    model.trio.part("generator")
    images, n = load_images(model, options)
    figures = _measure(model, images, n, out, options)
    about = {"n": n, "skipped": images.skipped, "data": images.title, "seed": options.seed}
    write_json(options.json, {**figures, **about})
    kinds = {kind: kind.replace("chain", "latent chain") for kind in figures["mse"]}
    rows = [["", *kinds.values()]]
    rows += [[name, *(f"{figures[name][kind]:.4f}" for kind in kinds)] for name in FIGURES]
    picture = f"{out}: the first {min(n, SHOWN)} of {n} images of {about['data']}"
    show(f"{table(rows)}\n{picture}", options.json)


def _measure(model: Model, images: ImageSet, n: int, out: Path, options: Reconstruct) -> dict[str, Any]:
    """Figures by inference and after the latent chain, streamed; writes the picture of the first images."""
    from dualmcmc.cli.loading import batches
    from dualmcmc.metrics import Comparison, compare, concatenate, ssim_window, summary
    from dualmcmc.pictures import save_rows

    lengths = {"inference": 0, "chain": options.steps} if model.has("inference") else {"chain": options.steps}
    seen: dict[str, list[Comparison]] = {kind: [] for kind in lengths}
    for keys in batches(n, options.batch_size, "reconstructing"):
        x = images.tensor(list(keys)).to(model.device)
        both = {
            kind: model.reconstruct(x, seed=options.seed, keys=keys, steps=steps, batch_size=options.batch_size)
            for kind, steps in lengths.items()
        }
        for kind, reconstruction in both.items():
            seen[kind].append(compare(x, reconstruction))
        if keys.start == 0:
            rows = [row[:SHOWN] for row in (x, *both.values())]
            save_rows(out, rows)
    computed = {kind: summary(concatenate(parts)) for kind, parts in seen.items()}
    figures: dict[str, Any] = {name: {kind: values[name] for kind, values in computed.items()} for name in FIGURES}
    return {**figures, "ssim_window": ssim_window(model.config.images.size)}
