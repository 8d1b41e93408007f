"""`dualmcmc inpaint RUN --data REF --mask SPEC`: hidden pixels found in three stages, as pictures and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from annotated_types import Ge

from dualmcmc.cli.arguments import OnImages, check_counts, parse
from dualmcmc.cli.output import check_json, show, table, write_json
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.model import Model

SHOWN = 16
"""Columns of stages.png, at most."""


@dataclass(frozen=True, kw_only=True)
class Inpaint(OnImages):
    """Hides pixels of images and finds them: by inference, after the latent chain, after the data chain too.

    Writes inpainted/00000.png ... (00000-NAME.png for a folder's images; visible pixels as given), and stages.png,
    whose rows are the images, occluded, and the three stages, nothing pasted.
    """

    mask: Annotated[str, tyro.conf.arg(metavar="SPEC")]
    """center:20 (pixels), blocks:0.3 (share), M20 to R40 (the paper's), or a picture whose white is hidden."""
    latent_steps: Annotated[int, Ge(0)] | None = None
    """Length of the latent chain, which explains the visible pixels; default: as in training."""
    data_steps: Annotated[int, Ge(0)] | None = None
    """Length of the data chain after it; default: the run's test chain."""
    visible: Literal["free", "clamped"] = "free"
    """Whether the data chain may move visible pixels."""
    out: Path | None = None
    """Folder to write to; default: RUN/inpainted (elsewhere: inpainted); either must be new or empty."""


def inpaint(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Inpaint, args, "inpaint")
    check_json(options.json)
    counts = {name: getattr(options, name) for name in ("n", "batch_size", "latent_steps", "data_steps")}
    check_counts(**counts)
    from dualmcmc.cli.loading import filling, free_folder, load_images, load_model
    from dualmcmc.metrics import ssim_window

    out = free_folder(options.out, options.run, "inpainted")
    model = load_model(options)
    model.trio.part("generator")
    # A mask that cannot be is refused before images are read.
    if not model.hidden(1, options.mask, seed=options.seed).any():
        raise InputError(f"mask {options.mask} hides nothing: white is hidden, black is visible")
    images, n = load_images(model, options)
    with filling(out):
        stages, hidden = _measure(model, images, n, out, options)
    about = {"out": str(out), "n": n, "skipped": images.skipped, "data": images.title, "seed": options.seed}
    about |= {"step": model.step, "weights": options.weights, "ssim_window": ssim_window(model.config.images.size)}
    write_json(options.json, {"mask": options.mask, "hidden": hidden, "stages": stages, **about})
    names = ("psnr", "ssim", "psnr_pasted", "ssim_pasted", "psnr_hidden", "ssim_hidden")
    rows = [("", *(name.replace("_", " ") for name in names))]
    rows += [(stage, *(f"{values[name]:.4f}" for name in names)) for stage, values in stages.items()]
    show(f"{table(rows)}\n{out}: {n} images of {images.title}", options.json)


def _measure(model: Model, images: ImageSet, n: int, out: Path, options: Inpaint) -> tuple[dict[str, Any], float]:
    """Writes pictures batch by batch; returns the figures of each stage, and the share of hidden pixels."""
    import torch

    from dualmcmc.cli.loading import batches, file_name
    from dualmcmc.data.rule import to_uint8
    from dualmcmc.metrics import Comparison, concatenate
    from dualmcmc.pictures import save_rows, to_pil
    from dualmcmc.tasks.inpainting import STAGES, VIEWS, compare_stages, figures_of, occlude, stages_of

    seen: dict[tuple[str, str], list[Comparison]] = {(stage, view): [] for stage in STAGES for view in VIEWS}
    how: dict[str, Any] = {"latent_steps": options.latent_steps, "data_steps": options.data_steps}
    share = 0.0
    (out / "inpainted").mkdir(parents=True, exist_ok=True)
    for keys in batches(n, options.batch_size, "inpainting"):
        x = images.tensor(list(keys))
        hidden = model.hidden(len(x), options.mask, seed=options.seed, keys=keys).cpu()
        found = model.inpainting_stages(
            x, hidden, seed=options.seed, keys=keys, visible=options.visible, batch_size=options.batch_size, **how
        )
        share += hidden.double().mean((1, 2, 3)).sum().item() / n
        stages = [stage.cpu() for stage in found[:3]]
        for place, comparison in compare_stages(x, stages, hidden).items():
            seen[place].append(comparison)
        pasted = torch.where(hidden, stages[-1], x)
        for i, pixels in zip(keys, to_uint8(pasted), strict=True):
            to_pil(pixels).save(out / "inpainted" / f"{file_name(images, i)}.png")
        if keys.start == 0:
            shown = [row for name, row in zip(STAGES, stages, strict=True) if name in stages_of(model)]
            save_rows(out / "stages.png", [row[:SHOWN] for row in (x, occlude(x, hidden), *shown)])
    own = stages_of(model)
    figures = {stage: figures_of({view: concatenate(seen[stage, view]) for view in VIEWS}) for stage in own}
    return figures, share
