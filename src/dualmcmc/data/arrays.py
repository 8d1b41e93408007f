"""Arrays of pixels: .npy, or .npz with one array, one named `images`, or one per split.

uint8 of shape (N, H, W), (N, H, W, 1), (N, H, W, 3) or (N, H, W, 4), memory-mapped; nothing is unpickled. A
member of an .npz cannot be mapped where it lies, so it is unpacked into a temporary file first, once its header
and the room there is allow it.

The classes of `images` are the integer array `labels`, or else `y`, of shape (N,); those of a split `train` are
`train_labels`, or else `train_y`. An array of another type or shape is none, and an .npy has none.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from dualmcmc import limits, npy
from dualmcmc.data.folders import SPLITS
from dualmcmc.data.source import Item, Source, Split, source
from dualmcmc.errors import InputError


def array(place: str) -> Source:
    """The images of an .npy or .npz file.

    Raises:
        InputError: another type or shape, pickled objects, no image, or a file that is neither.
    """
    path = Path(place).absolute()
    status = path.stat()
    identity = ["array", str(path), status.st_size, status.st_mtime_ns]
    if path.suffix.lower() == ".npz":
        splits = {split: Split(_items(path, *members)) for split, members in _members(path).items()}
    else:
        splits = {"all": Split(_items(path, None, None), len(_open(path, str(path))))}
    return source(repr(place), identity, splits)


def _members(path: Path) -> dict[str, tuple[str, str | None]]:
    """Names of the arrays of an .npz, of images and of labels, by the split they hold."""
    try:
        with npy.archive_of(path) as archive:
            names = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
    except npy.BAD_ZIP as error:
        raise InputError(f"{str(path)!r} is not an .npz file ({error}): save it with numpy.savez") from error
    lower = {name.lower(): member for name, member in names.items()}
    own = {
        name: (member, lower.get(f"{name}_labels", lower.get(f"{name}_y")))
        for name, member in lower.items()
        if name in SPLITS
    }
    if own:
        return own
    if "images" in names:
        return {"all": (names["images"], names.get("labels", names.get("y")))}
    if len(names) == 1:
        return {"all": (next(iter(names.values())), None)}
    raise InputError(
        f"{str(path)!r} holds {len(names)} arrays ({', '.join(names)[:200]}): one is expected, or one named "
        "images, or train and test"
    )


def _open(path: Path, where: str) -> np.ndarray:
    """The array of an .npy file as a read-only map; `where` names it in messages."""
    try:
        pixels = npy.array(path)
    except (ValueError, OSError) as error:
        raise _not_plain(where, error) from error
    if pixels.dtype != np.uint8:
        raise InputError(f"{where!r} is {pixels.dtype}: images must be uint8, with values 0 to 255")
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] not in (1, 3, 4)):
        raise InputError(f"{where!r} has the shape {pixels.shape}: (N, H, W) or (N, H, W, 1, 3 or 4) is expected")
    if 0 in pixels.shape:
        raise InputError(f"{where!r} is empty, its shape being {pixels.shape}: bring at least one image")
    height, width = pixels.shape[1:3]
    if height * width > limits.PICTURE_PIXELS:
        raise InputError(
            f"{where!r} holds pictures of {width}x{height}: {limits.PICTURE_PIXELS:,} pixels are taken at most"
        )
    return pixels


@contextmanager
def _mapped(path: Path, member: str | None) -> Iterator[np.ndarray]:
    if member is None:
        yield _open(path, str(path))
        return
    with _unpacked(path, member) as plain:
        yield _open(plain, _where(path, member))


@contextmanager
def _unpacked(path: Path, member: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dualmcmc-", ignore_cleanup_errors=True) as room:
        unpacked = Path(room, "array.npy")
        try:
            with npy.archive_of(path) as archive:
                _check_room(archive.getinfo(member), Path(room))
                _check_header(archive, path, member)
                with archive.open(member) as packed, unpacked.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 1 << 20)  # ends where the archive's list says
        except InputError:
            raise
        except npy.BAD_ZIP as error:
            raise InputError(
                f"{_where(path, member)!r} cannot be unpacked ({error}): save it again, or make room"
            ) from error
        yield unpacked


def _check_header(archive: zipfile.ZipFile, path: Path, member: str) -> None:
    try:
        npy.member_header(archive, member)
    except ValueError as error:
        raise _not_plain(_where(path, member), error) from error


def _not_plain(where: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())
    return InputError(f"{where!r} is not an array of plain numbers ({reason}): save it with numpy.save")


def _check_room(entry: zipfile.ZipInfo, room: Path) -> None:
    free = shutil.disk_usage(room).free
    if entry.file_size > min(free, limits.UNPACKED):
        why = f"{free:,} are free" if entry.file_size > free else f"{limits.UNPACKED:,} are taken at most"
        raise ValueError(f"it takes {entry.file_size:,} bytes unpacked, and {why}: save it as an .npy")


def _where(path: Path, member: str | None) -> str:
    return f"{path}, array {member.removesuffix('.npy')}" if member else str(path)


def _labels(path: Path, member: str, images: int) -> np.ndarray | None:
    try:
        with npy.archive_of(path) as archive:
            npy.member_header(archive, member)
    except ValueError:
        return None  # other things than numbers
    except npy.BAD_ZIP as error:
        raise InputError(f"{_where(path, member)!r} cannot be unpacked ({error}): save it again") from error
    with _unpacked(path, member) as plain:
        try:
            labels = npy.array(plain)
        except (ValueError, OSError):
            return None  # other things than numbers
        return np.array(labels) if labels.dtype.kind in "iu" and labels.shape == (images,) else None


def _items(path: Path, member: str | None, label_member: str | None) -> Callable[[], Iterator[Item]]:
    def items() -> Iterator[Item]:
        with _mapped(path, member) as pixels:
            labels = _labels(path, label_member, len(pixels)) if label_member else None
            for i in range(len(pixels)):
                label = None if labels is None else int(labels[i])
                yield Item(str(i), f"{_where(path, member)}, image {i}", partial(_image, pixels, i), label)

    return items


def _image(pixels: np.ndarray, i: int) -> np.ndarray:
    return np.asarray(pixels[i])
