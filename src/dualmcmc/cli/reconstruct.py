"""`dualmcmc reconstruct RUN --data REF`: x, g(mu(x)), and after the latent chain, as a picture and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Ge

from dualmcmc.cli.arguments import Json, Run, Weights, parse
from dualmcmc.cli.output import check_json, show, table, write_json
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.model import Model

SHOWN = 16
"""Columns of the picture, at most."""
FIGURES = ("mse", "mse01", "psnr", "ssim")


@dataclass(frozen=True)
class Reconstruct:
    """Explains images and measures it: MSE, PSNR and SSIM by inference alone and after the latent chain.

    The picture's rows are the images, g(mu(x)), and g of the code after the latent chain.
    """

    run: Run
    """A run folder, a model folder or a hub id."""
    data: str
    """Images: a data reference as for `train`; sets with splits of their own give their test split."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """How many images, the first ones; default: all."""
    steps: Annotated[int, Ge(0)] | None = None
    """Length of the latent chain; default: as in training."""
    out: Path | None = None
    """A new .png; default: RUN/reconstruction.png (elsewhere: reconstruction.png), which is replaced."""
    seed: int = 0
    """Of all randomness."""
    weights: Weights = "ema"
    """ema: the average over training; live: the newest checkpoint's weights."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Images at once; changes speed and memory, never a result."""
    skip_bad: bool = False
    """Leave unreadable images out, and count them, instead of refusing the data."""
    verify: bool = False
    """Read all of the data again to see whether it is what was decoded before; else names, sizes, times decide."""
    json: Json = None
    """Write the figures as JSON to this file; - is standard output."""


def reconstruct(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Reconstruct, args, "reconstruct")
    check_json(options.json)
    if options.batch_size < 1 or (options.steps or 0) < 0 or (options.n is not None and options.n < 1):
        raise InputError("-n and --batch-size must be 1 or more, --steps 0 or more")
    _check_picture(options.out)
    from dualmcmc.devices import best_device, check_device
    from dualmcmc.model import Model

    check_device(options.device)
    model = Model.from_pretrained(options.run, weights=options.weights, device=options.device or best_device())
    images = _images(model, options)
    n = len(images) if options.n is None else options.n
    figures = _measure(model, images, n, options)
    about = {"n": n, "skipped": images.skipped, "data": images.title, "seed": options.seed}
    write_json(options.json, {**figures, **about})
    rows = [("", "inference", "latent chain")]
    rows += [(name, f"{figures[name]['inference']:.4f}", f"{figures[name]['chain']:.4f}") for name in FIGURES]
    picture = f"{options.out or _picture(options.run)}: the first {min(n, SHOWN)} of {n} images of {about['data']}"
    show(f"{table(rows)}\n{picture}", options.json)


def _images(model: Model, options: Reconstruct) -> ImageSet:
    from dualmcmc import data
    from dualmcmc.training.progress import decoding

    rule = model.config.images
    # Data with no splits of their own give all their images; a held-out split is used where there is one.
    how: dict[str, Any] = {"skip_bad": options.skip_bad, "verify": options.verify, "progress": decoding()}
    images = data.load(options.data, rule, **how)
    if images.split == "train" and data.parse(options.data).split is None:
        images = data.holdout(options.data, rule, **how) or images
    if options.n is not None and options.n > len(images):
        raise InputError(f"-n {options.n}: {options.data} has {len(images)} images")
    return images


def _measure(model: Model, images: ImageSet, n: int, options: Reconstruct) -> dict[str, Any]:
    """Figures by inference and after the latent chain, streamed; writes the picture of the first images."""
    from dualmcmc.metrics import Reconstruction
    from dualmcmc.pictures import save_rows

    seen = {"inference": Reconstruction(), "chain": Reconstruction()}
    for first in range(0, n, options.batch_size):
        keys = range(first, min(first + options.batch_size, n))
        x = images.tensor(list(keys)).to(model.device)
        both = {
            kind: model.reconstruct(x, seed=options.seed, keys=keys, steps=steps, batch_size=options.batch_size)
            for kind, steps in (("inference", 0), ("chain", options.steps))
        }
        for kind, reconstruction in both.items():
            seen[kind].update(x, reconstruction)
        if first == 0:
            rows = [row[:SHOWN] for row in (x, both["inference"], both["chain"])]
            save_rows(options.out or _picture(options.run), rows)
    computed = {kind: stream.compute() for kind, stream in seen.items()}
    figures: dict[str, Any] = {name: {kind: values[name] for kind, values in computed.items()} for name in FIGURES}
    return {**figures, "ssim_window": computed["chain"]["ssim_window"]}


def _check_picture(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix.lower() != ".png" or not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: give a file ending in .png in a folder that exists")
    if out.exists():
        raise InputError(f"--out {out} exists: name a new file")


def _picture(run: str) -> Path:
    folder = Path(run)
    return folder / "reconstruction.png" if (folder / "config.json").is_file() else Path("reconstruction.png")
