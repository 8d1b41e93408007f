"""Pictures inside the page: as they are while they fit, else smaller, else fewer; and what was done is said.

PNGs go in unchanged as long as all of them fit. Beyond that they become WebP, ever smaller; then the samples over
training go; then single pictures, the largest first.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from dualmcmc import limits
from dualmcmc.reading import content

STRIP = "samples over training"
MARKUP = 600
"""Bytes of the page around a picture, at most: its caption and attributes."""


class Quality(NamedTuple):
    """A WebP of at most so many pixels across."""

    width: int
    quality: int


LADDER = (Quality(1600, 90), Quality(1100, 85), Quality(800, 75))
LAST = Quality(640, 60)
SMALL = 50_000
"""Bytes below which a picture stays a PNG to the last."""


@dataclass(frozen=True)
class Picture:
    """A picture of a run, and what is said of it."""

    path: Path
    caption: str
    alt: str
    run: str = ""
    """Its run's name, where there are several."""
    strip: bool = False
    """One of the samples over training."""
    detailed: bool = False
    """Has axes and words that must stay legible on a narrow screen."""


@dataclass(frozen=True)
class Embedded:
    """A picture's bytes as a data: URI and its size in pixels of the page."""

    uri: str
    width: int
    height: int
    pixelated: bool


@dataclass(frozen=True)
class Album:
    """All pictures that are on the page, by path, and what had to be done to fit them."""

    pictures: dict[Path, Embedded]
    notes: list[str]


class _File(NamedTuple):
    """An encoded picture; `shown` is the size it had on disk, which the page keeps."""

    data: bytes
    kind: str
    shown: tuple[int, int]

    @property
    def size(self) -> int:
        return len(self.data) * 4 // 3 + MARKUP


def embed(pictures: Sequence[Picture], budget: int) -> Album:
    """The pictures in at most `budget` bytes of HTML.

    Arguments:
        pictures: in the page's order; a path may occur twice and is read once.
        budget: bytes that the data: URIs may take together.
    """
    files, notes = _read(pictures)
    strip = {picture.path for picture in pictures if picture.strip}
    # Sharpness goes first, then the strip, then more of the sharpness.
    attempts: list[tuple[Quality | None, bool]] = [
        (None, True),
        *((quality, True) for quality in LADDER),
        *((quality, False) for quality in (*LADDER[-1:], LAST)),
    ]
    fitted: dict[Path, _File] = {}
    for quality, with_strip in attempts:
        kept = {path: file for path, file in files.items() if with_strip or path not in strip}
        fitted = {path: _smaller(path, file, quality) for path, file in kept.items()}
        if sum(file.size for file in fitted.values()) <= budget:
            break
    if quality is not None:
        notes.append(
            f"Larger pictures are WebP of at most {quality.width} pixels across, so that the page stays under its "
            "limit of 5 MB; the originals are in the run's folder."
        )
    if not with_strip and strip & files.keys():
        notes.append(f"The {STRIP} are left out: with them the page would be larger than 5 MB.")
    dropped = []
    while sum(file.size for file in fitted.values()) > budget:
        dropped.append(max(fitted, key=lambda path: fitted[path].size))
        del fitted[dropped[-1]]
    if dropped:
        notes.append(f"Left out, as the page would be larger than 5 MB: {', '.join(map(str, dropped))}.")
    return Album({path: _embedded(file) for path, file in fitted.items()}, notes)


def _read(pictures: Sequence[Picture]) -> tuple[dict[Path, _File], list[str]]:
    files: dict[Path, _File] = {}
    notes = []
    left = limits.REPORT_PICTURES
    for path in dict.fromkeys(picture.path for picture in pictures):
        try:
            data = content(path, left)
            left -= len(data)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                    if image.width * image.height > limits.PICTURE_PIXELS:
                        raise ValueError(f"{image.width}x{image.height} pixels are too many")
                    image.load()
                    files[path] = _File(data, "png", image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            notes.append(f"{path} cannot be read as a PNG and is left out ({error}).")
    return files, notes


def _smaller(path: Path, file: _File, quality: Quality | None) -> _File:
    if quality is None or (file.size < SMALL and quality is not LAST):
        return file
    with Image.open(io.BytesIO(file.data)) as png:
        width, height = png.size
        has_alpha = "A" in png.getbands() or "transparency" in png.info
        image = png.convert("RGBA" if has_alpha else "RGB")
        # WebP holds no more than 16,383 pixels either way.
        factor = max(width / quality.width, height / 16_000, 1.0)
        if factor > 1:
            image = image.resize((max(1, round(width / factor)), max(1, round(height / factor))))
        written = io.BytesIO()
        image.save(written, "WEBP", quality=quality.quality)
    smaller = _File(written.getvalue(), "webp", file.shown)
    return smaller if smaller.size < file.size else file


def _embedded(file: _File) -> Embedded:
    """Small pictures are enlarged by whole numbers, each pixel staying one."""
    width, height = file.shown
    times = max(1, 480 // width)
    uri = f"data:image/{file.kind};base64,{base64.b64encode(file.data).decode('ascii')}"
    return Embedded(uri, width * times, height * times, pixelated=width < 480)
