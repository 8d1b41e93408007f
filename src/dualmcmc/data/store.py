"""Image sets ready for use: decoded once by the rule, then memory-mapped from the cache.

An entry's key is the SHA-256 of what the source is (for files: relative names, sizes and times of change),
the split, the rule, and whether bad pictures are skipped: nothing is read twice to find out that it is known.
`verify` reads everything and decodes anew what has changed without changing its key.

Of a stream (`stream.py`) only a view is decoded and kept: the first images of each split, as an image set like any
other, for all that needs more than one look at an image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualmcmc.data import entry as entries
from dualmcmc.data.decoding import NoImagesError, Progress, build
from dualmcmc.data.place import entries_folder
from dualmcmc.data.reference import Reference, parse
from dualmcmc.data.rule import to_float
from dualmcmc.data.source import Source, Split
from dualmcmc.data.sources import open_source
from dualmcmc.settings import Images

VIEW = 10_000
"""Images of a stream's view, at most; of held-out ones a ninth, if they are among the same rows."""
_FORMAT = 2  # of the entries and of the rule: raise it when either changes


@dataclass(frozen=True, eq=False)
class ImageSet:
    """One split of a data set as training images."""

    pixels: np.ndarray
    """uint8, (N, H, W, C), a read-only memory map."""
    names: Sequence[str]
    """What the set calls each image: for a folder its path in it, with / between."""
    labels: np.ndarray | None
    """The images' classes, int64, (N,), numbered from 0 alike in every split of the set (`source.py`), a
    read-only memory map; None unless every image has one."""
    reference: str
    """The reference it was loaded by."""
    split: str
    """The split's name in its set; of a stream's view `name[:n]`, n being how many it was cut to."""
    fingerprint: str
    """SHA-256 of shape and pixels: equal for equal images, wherever they came from."""
    skipped: int
    """Pictures that could not be read."""

    def __repr__(self) -> str:
        n, height, width, channels = self.pixels.shape
        return f"ImageSet({self.title}, {n} images {width}x{height}x{channels}, {self.skipped} skipped)"

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def title(self) -> str:
        """The reference with its split, once."""
        name = self.split.partition("[")[0]
        return f"{self.reference.removesuffix(f':{name}')}:{self.split}"

    @property
    def classes(self) -> int:
        """One more than the largest label here, which other splits may exceed; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def tensor(self, indices: Sequence[int] | np.ndarray | Tensor, mirrored: np.ndarray | None = None) -> Tensor:
        """Some images, float32 (B, C, H, W) in [-1, 1].

        Arguments:
            indices: positions, shape (B,).
            mirrored: bool, shape (B,): which of them are mirrored left to right.
        """
        return tensor(self.pixels[np.asarray(indices, dtype=np.int64)], mirrored)


def tensor(pixels: np.ndarray, mirrored: np.ndarray | None = None) -> Tensor:
    """Pixels, uint8 (B, H, W, C), as images, float32 (B, C, H, W) in [-1, 1].

    Arguments:
        pixels: of the images.
        mirrored: bool, shape (B,): which of them are mirrored left to right.
    """
    images = to_float(pixels)
    if mirrored is None:
        return images
    flip = torch.as_tensor(np.asarray(mirrored, dtype=bool))[:, None, None, None]
    return torch.where(flip, images.flip(3), images)


def load(
    ref: str,
    rule: Images,
    *,
    split: str | None = None,
    skip_bad: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> ImageSet:
    """The images that a reference names; of a stream, its view.

    Arguments:
        ref: a data reference (`reference.py`).
        rule: what every picture becomes (`rule.py`).
        split: the split if `ref` names none; None is the set's default: `train`, or `all` if it has no splits
            of its own (`source.py`).
        skip_bad: leave out and count pictures that cannot be read, instead of refusing the set.
        verify: compare contents, not only names, sizes and times, with what was decoded before.
        progress: called after each picture that is decoded.

    Raises:
        InputError: the reference, the split, a picture or the cache cannot be used.
    """
    reference = parse(ref)
    source = open_source(reference)
    chosen = source.find(reference.split or split or source.default)
    return _load(ref, source, chosen, rule, skip_bad, verify, progress, _view(reference, source, chosen))


def holdout(
    ref: str,
    rule: Images,
    *,
    skip_bad: bool = False,
    verify: bool = False,
    progress: Progress | None = None,
) -> ImageSet | None:
    """The images that evaluations of a training on `ref` use: its set's `test`, or else validation split.

    Of a stream, its view of them. None if the set has neither, if it is empty, or if training sees it:
    `ref` names that split itself, or `all`. The arguments are those of `load`.
    """
    reference = parse(ref)
    source = open_source(reference)
    held = source.held_out()
    if held is None or _trains_on(reference, source, held):
        return None
    try:
        return _load(ref, source, held, rule, skip_bad, verify, progress, _view(reference, source, held))
    except NoImagesError:
        return None


def _trains_on(reference: Reference, source: Source, held: str) -> bool:
    return reference.split is not None and source.find(reference.split) in ("all", "test", held)


def _load(
    ref: str,
    source: Source,
    split: str,
    rule: Images,
    skip_bad: bool,
    verify: bool,
    progress: Progress | None,
    first: int | None,
) -> ImageSet:
    folder = entries_folder() / _key(source, split, rule, skip_bad, first)
    part = source.splits[split] if first is None else _cut(source.splits[split], first)
    entry = entries.read(folder)
    if entry is not None and verify and not entries.verified(folder, entry, part):
        (folder / "entry.json").unlink(missing_ok=True)  # makes it a damaged one
        entry = None
    if entry is None:
        build(folder, source.title, part, rule, skip_bad, progress)
        entry = entries.read(folder)
        assert entry is not None, folder
    return ImageSet(
        pixels=entries.pixels(folder, entry),
        names=entries.Names(Path(folder, "names.jsonl"), entry.shape[0]),
        labels=entries.labels(folder, entry),
        reference=ref,
        split=f"{split}[:{first}]" if entry.shape[0] + entry.skipped == first else split,
        fingerprint=entry.pixels,
        skipped=entry.skipped,
    )


def _view(reference: Reference, source: Source, split: str) -> int | None:
    """How many images to take of a split; None: all."""
    if not reference.stream:
        return None
    return VIEW // 9 if split == "test" and source.default == "all" else VIEW


def _cut(split: Split, first: int) -> Split:
    count = None if split.count is None else min(split.count, first)
    return Split(lambda: islice(split.items(), first), count)


def _key(source: Source, split: str, rule: Images, skip_bad: bool, first: int | None) -> str:
    what = [_FORMAT, source.identity, split, rule.size, rule.channels, rule.crop, skip_bad]
    if first is not None:
        what.append(first)
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()
