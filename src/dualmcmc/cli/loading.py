"""A verb's model and images, and where its results go by default; torch is loaded from here on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc.cli.arguments import OnImages, OnModel
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.model import Model
    from dualmcmc.settings import Images


def load_model(options: OnModel) -> Model:
    """The model that RUN names, on the device asked for.

    Raises:
        InputError: there is none, or no such device.
    """
    from dualmcmc.devices import best_device, check_device
    from dualmcmc.model import Model

    check_device(options.device)
    return Model.from_pretrained(options.run, weights=options.weights, device=options.device or best_device())


def load_images(model: Model, options: OnImages) -> tuple[ImageSet, int]:
    """The images of --data, and how many of them are meant.

    Raises:
        InputError: they cannot be read, or -n asks for more than there are.
    """
    images = heldout(options.data, model.config.images, skip_bad=options.skip_bad, verify=options.verify)
    if options.n is not None and options.n > len(images):
        raise InputError(f"-n {options.n}: {options.data} has {len(images)} images")
    return images, len(images) if options.n is None else options.n


def heldout(ref: str, rule: Images, **how: Any) -> ImageSet:
    """All images of data without splits of their own; else the split that `ref` names, or the held-out one."""
    from dualmcmc import data
    from dualmcmc.training.progress import decoding

    images = data.load(ref, rule, progress=decoding(), **how)
    if images.split == "train" and data.parse(ref).split is None:
        images = data.holdout(ref, rule, progress=decoding(), **how) or images
    return images


def batches(n: int, batch_size: int, title: str) -> Iterator[range]:
    """range(n) in parts, with a progress bar on standard error where there is a terminal and more than a few."""
    from rich.console import Console
    from rich.progress import track

    starts, console = range(0, n, batch_size), Console(stderr=True)
    for first in track(starts, title, console=console, disable=len(starts) < 3 or not console.is_terminal):
        yield range(first, min(first + batch_size, n))


def place_in_run(run: str, name: str) -> Path:
    """RUN/name for a run folder, name in the working folder for a model elsewhere."""
    folder = Path(run)
    return folder / name if (folder / "config.json").is_file() else Path(name)


def check_new_file(out: Path | None, suffix: str) -> None:
    """Refuses an --out that is no new file of that kind in a folder that exists.

    Raises:
        InputError: saying so.
    """
    if out is None:
        return
    if out.suffix.lower() != suffix or not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: give a file ending in {suffix} in a folder that exists")
    if out.exists():
        raise InputError(f"--out {out} exists: name a new file")


def free_folder(out: Path | None, run: str, name: str) -> Path:
    """The folder to write to, new or empty: --out, or else `name` in the run.

    Raises:
        InputError: it holds something.
    """
    place = out or place_in_run(run, name)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{place} is not empty: name a new folder with --out")
    return place
