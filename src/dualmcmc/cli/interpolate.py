"""`dualmcmc interpolate RUN`: paths between prior draws and between two images' codes, as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from annotated_types import Ge

from dualmcmc import limits
from dualmcmc.cli.arguments import OnModel, check_counts, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from dualmcmc.model import Model


STEPS = 1000
"""Images on a path, at most."""


@dataclass(frozen=True, kw_only=True)
class Interpolate(OnModel):
    """Walks between codes: rows of a picture, the upper ones between prior draws, the lower between images' codes.

    Between images: pair i is images 2i and 2i + 1 of --data. The JSON holds the log-density along every path.
    """

    data: str | None = None
    """Images: a data reference as for `train`; sets with splits of their own give their test split; default: the
    run's own data."""
    n: Annotated[int, Ge(1), tyro.conf.arg(aliases=["-n"])] = 4
    """Paths of each kind."""
    steps: Annotated[int, Ge(2)] = 8
    """Images on each path, the ends included."""
    path: Literal["linear", "spherical"] = "linear"
    """linear, as in the paper, or spherical, which keeps the codes' length."""
    latent_steps: Annotated[int, Ge(0)] | None = None
    """Length of the latent chain that finds images' codes; default: as in training."""
    skip_bad: bool = False
    """Leave unreadable images out instead of refusing the data."""
    out: Path | None = None
    """A new .png; default: RUN/interpolation.png (elsewhere: interpolation.png), which is replaced."""


def interpolate(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Interpolate, args, "interpolate")
    check_json(options.json)
    check_counts(n=options.n, batch_size=options.batch_size, latent_steps=options.latent_steps)
    if not 2 <= options.steps <= STEPS:
        raise InputError(f"--steps {options.steps}: a path has from 2 to {STEPS:,} images")
    from dualmcmc.cli.loading import free_file, heldout, load_model
    from dualmcmc.pictures import save_grid

    out = free_file(options.out, options.run, "interpolation.png")
    model = load_model(options)
    pixels = 2 * options.n * options.steps * model.config.images.size**2
    if pixels > limits.PICTURE_PIXELS:
        raise InputError(
            f"-n {options.n} --steps {options.steps}: the picture would have {pixels:,} pixels, more than "
            f"{limits.PICTURE_PIXELS:,}: lower either"
        )
    model.trio.part("generator")
    ref = options.data or model.config.data
    images = heldout(ref, model.config.images, skip_bad=options.skip_bad)
    if 2 * options.n > len(images):
        raise InputError(f"-n {options.n}: {options.n} pairs need {2 * options.n} images, {ref} has {len(images)}")
    x = images.tensor(range(2 * options.n)).to(model.device)
    rows = {"prior": _between_draws(model, options), "images": _between_images(model, x, options)}
    import torch

    save_grid(out, torch.cat([*rows.values()]).flatten(0, 1).cpu(), columns=options.steps)
    figures: dict[str, Any] = {}
    for kind, paths in rows.items() if model.has("energy") else ():
        densities = model.log_density(paths.flatten(0, 1), batch_size=options.batch_size)
        figures[kind] = {"log_density": densities.reshape(options.n, options.steps).tolist()}
    about = {"out": str(out), "n": options.n, "steps": options.steps, "path": options.path, "data": images.title}
    write_json(options.json, {**figures, **about, "seed": options.seed})
    kinds = f"{options.n} {options.path} paths between prior draws, as many between images of {images.title}"
    show(f"{out}: {kinds}", options.json)


def _between_draws(model: Model, options: Interpolate) -> Tensor:
    return _paths(
        model, options, [model.prior(options.n, seed=options.seed, keys=keys) for keys in _ends(options)]
    )


def _between_images(model: Model, x: Tensor, options: Interpolate) -> Tensor:
    how: dict[str, Any] = {"seed": options.seed, "steps": options.latent_steps, "batch_size": options.batch_size}
    return _paths(model, options, [model.infer(x[keys], keys=keys, **how) for keys in _ends(options)])


def _ends(options: Interpolate) -> tuple[range, range]:
    """Where the paths begin and end: the images' own numbers, which their noise goes by, as in `evaluate`."""
    return range(0, 2 * options.n, 2), range(1, 2 * options.n, 2)


def _paths(model: Model, options: Interpolate, ends: list[Tensor]) -> Tensor:
    """Images (n, steps, C, S, S) on the paths between codes."""
    from dualmcmc.paths import between

    codes = between(ends[0], ends[1], options.steps, options.path)
    images = model.decode(codes.flatten(0, 1), batch_size=options.batch_size)
    return images.reshape(options.n, options.steps, *images.shape[1:])
