"""Which pixels are hidden: the masks of the paper's Figure 5, and a user's own.

    center:20       a centred square of 20 pixels a side
    blocks:0.3      square blocks that cover 30 % of the pixels
    mask.png        a picture; white is hidden
    M20, M30, M40   centred squares of round(20/64), ... of the side (20, ... pixels at 64: the paper's)
    R20, R30, R40   blocks:0.2, ...

Blocks are cells of the grid that divides the image into 8x8 cells (7x7 at 28 pixels); as many of them as come
nearest to the share asked for. Which ones is a function of (seed, key of the image). The paper states
neither size nor place of its blocks. A centred square of odd excess lies one pixel towards the top left.

A picture becomes 8-bit grey by the data rule (`data/rule.py`), from 128 on it is white; it is resized to the
images' side by nearest pixel. A transparent one is refused: whether that means hidden, only its author knows.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualmcmc import limits
from dualmcmc.errors import InputError
from dualmcmc.noise import Noise
from dualmcmc.reading import content
from dualmcmc.settings import Images

if TYPE_CHECKING:
    from PIL import Image

    MaskLike = str | Path | Tensor | np.ndarray | Image.Image

PAPER = ("M20", "M30", "M40", "R20", "R30", "R40")
_SPEC = "center:PIXELS, blocks:SHARE, M20, R20 (and 30, 40), or a mask picture whose white is hidden"


def hidden(mask: MaskLike, size: int, keys: Sequence[int], seed: int = 0) -> Tensor:
    """The hidden pixels of images with these keys.

    Arguments:
        mask: a specification (above), a PIL picture, or an array or tensor of (S, S), (1, S, S) or (N, 1, S, S)
            in which what is not 0 is hidden.
        size: side S of the images.
        keys: one integer per image; blocks lie elsewhere for another key.
        seed: of the blocks' places.

    Returns:
        bool, (N, 1, S, S).

    Raises:
        InputError: the mask cannot be understood or read, or has another size.
    """
    if isinstance(mask, (str, Path)):
        return _from_spec(str(mask), size, keys, seed)
    if isinstance(mask, np.ndarray):
        return _from_values(_tensor(mask), size, len(keys))
    if isinstance(mask, Tensor):
        return _from_values(mask, size, len(keys))
    from PIL import Image

    if isinstance(mask, Image.Image):
        return _for_all(_from_picture(mask, "the mask", size), len(keys))
    raise InputError(
        f"a mask of type {type(mask).__name__}: expected an array, a tensor, a PIL picture, or {_SPEC}"
    )


def _from_spec(spec: str, size: int, keys: Sequence[int], seed: int) -> Tensor:
    kind, _, value = spec.partition(":")
    if named := re.fullmatch(r"([MR])([1-9]\d)", spec):
        percent = int(named[2])
        if named[1] == "R":
            return _blocks(percent / 100, size, keys, seed)
        side = round(percent * size / 64)
        if side > size:
            raise InputError(f"mask {spec}: {side} of {size} pixels a side cannot be hidden: give M64 or less")
        return _for_all(_centre(side, size), len(keys))
    if kind == "center" and value:
        side = int(value) if re.fullmatch("[0-9]{1,9}", value) else 0
        if not 1 <= side <= size:
            raise InputError(f"mask {spec}: give a whole number of pixels from 1 to {size}, the images' side")
        return _for_all(_centre(side, size), len(keys))
    if kind == "blocks" and value:
        try:
            share = float(value)
        except ValueError:
            share = 0.0
        if not 0 < share < 1:
            raise InputError(f"mask {spec}: give the share of pixels to hide, between 0 and 1")
        return _blocks(share, size, keys, seed)
    if not os.path.isfile(spec):  # unlike Path's, it takes names too long for any file
        raise InputError(f"mask {spec!r} is neither a specification nor a file: give {_SPEC}")
    return _for_all(_from_file(spec, size), len(keys))


def _centre(side: int, size: int) -> Tensor:
    mask = torch.zeros(size, size, dtype=torch.bool)
    first = (size - side) // 2
    mask[first : first + side, first : first + side] = True
    return mask


def _blocks(share: float, size: int, keys: Sequence[int], seed: int) -> Tensor:
    side = size // 8 if size % 8 == 0 else size // 7
    cells = (size // side) ** 2
    order = Noise(seed, keys, path=("blocks",)).normal_like(torch.empty(len(keys), cells)).argsort(1)
    chosen = torch.zeros(len(keys), cells, dtype=torch.bool)
    chosen.scatter_(1, order[:, : max(1, round(share * cells))], True)
    grid = chosen.reshape(len(keys), 1, size // side, size // side)
    return grid.repeat_interleave(side, 2).repeat_interleave(side, 3)


def _from_file(path: str, size: int) -> Tensor:
    from PIL import Image

    from dualmcmc.data.picture import formats

    with warnings.catch_warnings():  # as in data/picture.py: of Pillow's warnings that of a giant picture counts
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            encoded = io.BytesIO(content(Path(path), limits.PICTURE_BYTES))
            with Image.open(encoded, formats=formats()) as picture:
                return _from_picture(picture, f"mask {path}", size)
        except InputError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise InputError(f"mask {path} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: shrink it") from None
        except Exception as error:
            # Format plugins raise whatever their parsing meets: OSError, SyntaxError, struct.error, ...
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"mask {path} cannot be read as a picture ({reason}): give {_SPEC}") from error


def _from_picture(picture: Image.Image, name: str, size: int) -> Tensor:
    from PIL import Image

    from dualmcmc.data.picture import check_pixels
    from dualmcmc.data.rule import fit

    try:
        check_pixels(picture)
    except InputError as error:
        raise InputError(f"{name}: {error}: shrink it") from error
    if picture.width != picture.height:
        raise InputError(f"{name} is {picture.width}x{picture.height}: a mask must be square, as images are")
    if _see_through(picture):
        raise InputError(f"{name} is transparent in places: save it without transparency, white is hidden")
    itself = Images(size=picture.width, channels=1)  # type: ignore[arg-type]  # its own side: not resized
    try:
        grey = fit(picture, itself)[..., 0]
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    nearest = Image.fromarray(grey).resize((size, size), Image.Resampling.NEAREST)
    return torch.from_numpy(np.asarray(nearest) >= 128)


def _see_through(picture: Image.Image) -> bool:
    if not picture.has_transparency_data:
        return False
    if picture.mode.startswith("I") or picture.mode == "La":  # modes that Pillow cannot take to RGBA
        return True
    return picture.convert("RGBA").getchannel("A").getextrema()[0] != 255


def _tensor(mask: np.ndarray) -> Tensor:
    if mask.dtype.kind not in "biuf":
        raise InputError(f"a mask of {mask.dtype}: expected bool, or 0 for visible and 1 for hidden")
    # A copy in a type that torch has: arrays may be read-only, reversed, big-endian or of 16 bits without sign.
    return torch.from_numpy(np.array(mask, dtype=np.float64 if mask.dtype.kind == "f" else bool, order="C"))


def _from_values(mask: Tensor, size: int, n: int) -> Tensor:
    shapes = [(size, size), (1, size, size), (1, 1, size, size), (n, 1, size, size)]
    if tuple(mask.shape) not in shapes:
        raise InputError(
            f"a mask of shape {tuple(mask.shape)}: expected ({size}, {size}) or ({n}, 1, {size}, {size})"
        )
    if mask.is_floating_point() and not mask.isfinite().all():
        raise InputError("the mask holds NaN or infinity: expected bool, or 0 for visible and 1 for hidden")
    return _for_all(mask != 0, n) if len(mask) != n or mask.ndim < 4 else mask != 0


def _for_all(mask: Tensor, n: int) -> Tensor:
    size = mask.shape[-1]
    return mask.reshape(1, 1, size, size).expand(n, 1, size, size)
