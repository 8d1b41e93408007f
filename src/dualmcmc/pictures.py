"""Grids of images, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualmcmc.data.rule import to_uint8

if TYPE_CHECKING:
    from PIL import Image

GAP, WHITE = 2, 255


def enlarge(size: int) -> int:
    """How often a pixel is repeated so that small images can be looked at: up to a side of 64 or so."""
    return max(1, 64 // size)


def tile(images: Tensor, columns: int) -> np.ndarray:
    """Images (N, C, S, S) in [-1, 1] as one uint8 picture (H, W, C), row by row, on white."""
    pixels = to_uint8(images.cpu())
    times = enlarge(pixels.shape[1])
    pixels = pixels.repeat(times, axis=1).repeat(times, axis=2)
    n, side, _, channels = pixels.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (side + GAP) + GAP, columns * (side + GAP) + GAP, channels), WHITE, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = (GAP + place * (side + GAP) for place in divmod(i, columns))
        sheet[top : top + side, left : left + side] = picture
    return sheet


def to_pil(pixels: np.ndarray) -> Image.Image:
    """A PIL image of uint8 pixels (H, W, 1 or 3)."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def save_grid(path: Path, images: Tensor, columns: int) -> None:
    """Writes images (N, C, S, S) in [-1, 1] as one PNG with that many columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    to_pil(tile(images, columns)).save(path)


def save_side_by_side(path: Path, panels: Sequence[Tensor], columns: int) -> None:
    """Writes equally many images per panel, the panels next to one another with a wider gap."""
    sheets = [tile(panel, columns) for panel in panels]
    gap = np.full((sheets[0].shape[0], 4 * GAP, sheets[0].shape[2]), WHITE, np.uint8)
    row = [part for sheet in sheets for part in (sheet, gap)][:-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    to_pil(np.concatenate(row, axis=1)).save(path)


def save_rows(path: Path, rows: Sequence[Tensor]) -> None:
    """Writes one row of images per entry, aligned: column j shows image j of each."""
    save_grid(path, torch.cat([row.cpu() for row in rows]), columns=len(rows[0]))
