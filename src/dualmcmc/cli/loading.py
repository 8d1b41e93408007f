"""A verb's model and images, and where its results go by default; torch is loaded from here on."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc.cli.arguments import OnImages, OnModel
from dualmcmc.errors import InputError
from dualmcmc.storage.files import check_folder

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.model import Model
    from dualmcmc.settings import Images


def load_model(options: OnModel, *, serving: bool = False) -> Model:
    """The model that RUN names, on the device asked for.

    Arguments:
        options: what names it.
        serving: by a process that lives long and reads others' files: what these took is given back.

    Raises:
        InputError: there is none, or no such device.
    """
    from dualmcmc.allocator import keep_freed_memory
    from dualmcmc.devices import best_device, check_device
    from dualmcmc.model import Model
    from dualmcmc.storage.pretrained import DamagedWarning

    check_device(options.device)
    device = options.device or best_device()
    if device == "cpu" and not serving:
        keep_freed_memory()
    how: dict[str, Any] = {"weights": options.weights, "precision": options.precision, "device": device}
    with warnings.catch_warnings(record=True, category=DamagedWarning) as seen:
        warnings.simplefilter("always", DamagedWarning)
        model = Model.from_pretrained(options.run, **how)
    for each in seen:
        print(f"dualmcmc: {each.message}", file=sys.stderr)
    return model


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
    # A model folder, which must hold nothing else, has a config.json as well.
    is_run = (folder / "config.json").is_file() and not (folder / "model.safetensors").exists()
    return folder / name if is_run else Path(name)


@contextmanager
def filling(place: Path) -> Iterator[None]:
    """A new or empty folder while results go into it; what is refused on the way leaves all as it was.

    So does a model whose weights, each a finite number, make images that are none.
    """
    missing = next((p for p in reversed((place, *place.absolute().parents)) if not p.exists()), None)
    place.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except InputError:
        for entry in place.iterdir() if missing is None else (missing,):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        raise


@lru_cache(maxsize=1)  # asked once per image, and to tell a folder is to list it
def folder_of(images: ImageSet) -> Path | None:
    """The folder that holds the images as files of their own, if one does."""
    from dualmcmc import data

    reference = data.parse(images.reference)
    return Path(reference.place) if reference.kind == "folder" else None


def file_name(images: ImageSet, i: int) -> str:
    """What files about image i are called, without suffix: its number, and in a folder its own name, cut."""
    if folder_of(images) is None:
        return f"{i:05d}"
    stem = os.fsencode(Path(images.names[i]).stem)[:80].decode("utf-8", "ignore")
    return f"{i:05d}-{stem}"


def free_file(out: Path | None, run: str, name: str) -> Path:
    """The file to write: --out, which must be new, or else `name` in the run, which is replaced.

    Raises:
        InputError: --out is of another kind than `name` or exists, or no file can be written there; or the place
            in the run is a link that leads out of it.
    """
    place, suffix = out or place_in_run(run, name), Path(name).suffix
    check_inside(place, out, run)
    there = _exists(place)
    if place.suffix.lower() != suffix or not place.absolute().parent.is_dir():
        raise InputError(f"--out {place}: give a file ending in {suffix} in a folder that exists")
    if there and (out is not None or not place.is_file()):
        raise InputError(f"{place} exists: name a new file with --out")
    check_folder(place.absolute().parent)
    return place


def free_folder(out: Path | None, run: str, name: str) -> Path:
    """The folder to write to, new or empty: --out, or else `name` in the run.

    Raises:
        InputError: it holds something, or cannot be made.
    """
    place = out or place_in_run(run, name)
    check_inside(place, out, run)
    return new_folder(place, "--out")


def check_inside(place: Path, out: Path | None, run: str) -> None:
    """Refuses a default place in a run that a link leads out of it: a run from elsewhere chooses no place here.

    Raises:
        InputError: saying so.
    """
    home = Path(run)
    if out is None and home in place.parents and not place.resolve().is_relative_to(home.resolve()):
        raise InputError(f"{place}: a link leads out of the run; name another place with --out")


def new_folder(place: Path, flag: str) -> Path:
    """`place`, if it is an empty folder or can be made; makes nothing.

    Raises:
        InputError: it is not; the line names the flag that gives another.
    """
    if _exists(place) and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{place} is not empty: name a new folder with {flag}")
    check_folder(place)
    return place


def _exists(place: Path) -> bool:
    try:
        place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:  # a name too long, a folder that may not be looked into
        raise InputError(f"{place} cannot be written: {error.strerror}") from None
    return True
