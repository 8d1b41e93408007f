"""What users hand to a model, checked: float images in [-1, 1], or anything the data rule converts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualmcmc.data.rule import fit, to_float
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

if TYPE_CHECKING:
    from PIL import Image

    Pictures = Tensor | np.ndarray | Image.Image | Sequence[Image.Image]

ROUNDING = 1e-4
"""How far outside [-1, 1] a float image may be by rounding; it is clamped."""


def to_images(pictures: Pictures, rule: Images) -> Tensor:
    """Float32 images (N, C, S, S) in [-1, 1] that share no memory with the input, on its device.

    Arguments:
        pictures: float tensor or array (N, C, S, S) in [-1, 1]; uint8 tensor (N, C, H, W); uint8 array
            (N, H, W) or (N, H, W, C); a PIL image or a sequence of them. 8-bit pictures may have any
            size and mode and go through the rule of `data/rule.py`.
        rule: the model's size and channels.

    Raises:
        InputError: anything else; the line says what was seen and what is expected.
    """
    if isinstance(pictures, np.ndarray):
        pictures = _from_array(pictures, rule)
    elif not isinstance(pictures, Tensor):
        pictures = _from_pil(pictures, rule)
    if pictures.dtype == torch.uint8:
        if pictures.ndim != 4:
            raise InputError(f"uint8 tensor of shape {tuple(pictures.shape)}: expected (N, C, H, W)")
        device = pictures.device
        return _from_array(pictures.permute(0, 2, 3, 1).cpu().numpy(), rule).to(device)
    return _check_float(pictures, rule)


def _check_float(images: Tensor, rule: Images) -> Tensor:
    wanted = (rule.channels, rule.size, rule.size)
    if not images.is_floating_point():
        raise InputError(f"images of type {images.dtype}: expected float in [-1, 1], or uint8 in 0..255")
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise InputError(f"images of shape {tuple(images.shape)}: expected (N, {', '.join(map(str, wanted))})")
    if len(images):
        low, high = (float(bound) for bound in images.aminmax())
        if not (low >= -1 - ROUNDING and high <= 1 + ROUNDING):  # true of NaN as well
            raise InputError(f"images in [{low:.4g}, {high:.4g}]: expected finite floats in [-1, 1]")
    return images.detach().float().clamp(-1, 1)


def _from_array(array: np.ndarray, rule: Images) -> Tensor:
    from PIL import Image

    if np.issubdtype(array.dtype, np.floating):
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    if array.dtype != np.uint8:
        raise InputError(f"array of type {array.dtype}: expected float in [-1, 1], or uint8 in 0..255")
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    # Three numbers that end in 3 or 4 are one colour picture, not pictures 3 or 4 pixels wide.
    if array.ndim not in (3, 4) or (array.shape[-1] in (3, 4)) != (array.ndim == 4):
        raise InputError(f"uint8 array of shape {array.shape}: expected (N, H, W) or (N, H, W, 1 | 3 | 4)")
    return _from_pil([Image.fromarray(np.ascontiguousarray(row)) for row in array], rule)


def _from_pil(pictures: Image.Image | Sequence[Image.Image], rule: Images) -> Tensor:
    from PIL import Image

    row = [pictures] if isinstance(pictures, Image.Image) else pictures
    if not isinstance(row, Sequence) or not all(isinstance(picture, Image.Image) for picture in row):
        raise InputError(
            f"images of type {type(pictures).__name__}: expected a tensor, an array, a PIL image or a list of them"
        )
    empty = np.empty((0, rule.size, rule.size, rule.channels), np.uint8)
    return to_float(np.stack([fit(picture, rule) for picture in row]) if row else empty)
