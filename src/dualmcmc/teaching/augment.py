"""Augmented buffer states: crops of images, mirrored and enlarged to the full size, so that chains mix.

    x'(p) = x(r m p + c),    p in [-1, 1]^2,

with a crop's side r (r^2, its share of the area, uniform in [least, 1]), its centre c uniform where the crop stays
inside, and m = -1 in half of the images, left to right only. Between pixels x is bilinear.

Du et al. (2021) also stretch crops and distort colours; ours do neither, so that grey images are served as well.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dualmcmc.noise import Noise


@torch.no_grad()
def augmented(x: Tensor, least: float, *, noise: Noise) -> Tensor:
    """A crop of each image, at its size.

    Arguments:
        x: (B, C, S, S); other states, (B, d), are left as they are.
        least: smallest share of the area that a crop keeps, in [0, 1].
        noise: of the draws; those of row i depend on its key only.

    Returns:
        x', of x's shape.
    """
    if x.ndim < 4:
        return x
    u = noise.stream("augment").uniform_like(x.new_empty(len(x), 4))
    side = (least + (1 - least) * u[:, 0]).sqrt()
    centre = (1 - side)[:, None] * (2 * u[:, 1:3] - 1)
    mirror = torch.where(u[:, 3] < 0.5, -1.0, 1.0)
    matrix = x.new_zeros(len(x), 2, 3)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, :, 2] = mirror * side, side, centre
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=True)
    return functional.grid_sample(x, grid, align_corners=True)
