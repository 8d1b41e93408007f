"""Paths between codes: linear (the paper's, Section 5.4) and spherical.

    linear       z(t) = (1 - t) a + t b
    spherical    z(t) = (sin((1 - t) w) a + sin(t w) b) / sin w,    w the angle between a and b

In many dimensions prior draws have nearly equal lengths and are nearly orthogonal: the spherical path keeps
that length, the linear one passes through codes shorter by up to sqrt(2), which the generator seldom sees.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from dualmcmc.errors import InputError

Path = Literal["linear", "spherical"]
PATHS: tuple[Path, ...] = get_args(Path)


def between(a: Tensor, b: Tensor, points: int, path: Path) -> Tensor:
    """Codes on the paths from a to b at t = 0, 1/(points - 1), ..., 1; the ends are a and b exactly.

    Arguments:
        a: (N, d).
        b: (N, d).
        points: on each path, 2 or more.
        path: linear or spherical; where a and b are parallel the spherical one is the linear.

    Returns:
        (N, points, d).

    Raises:
        InputError: unequal shapes, fewer points, or another path.
    """
    if path not in PATHS:
        raise InputError(f"path {path!r}: expected {' or '.join(PATHS)}")
    if points < 2:
        raise InputError(f"a path of {points} points: expected 2 or more")
    if a.shape != b.shape or a.ndim != 2:
        raise InputError(f"paths from {tuple(a.shape)} to {tuple(b.shape)}: expected two equal shapes (N, d)")
    t = torch.linspace(0, 1, points, dtype=torch.float64)[None, :, None]
    first, last = a.cpu().double()[:, None], b.cpu().double()[:, None]  # mps knows no float64
    codes = (1 - t) * first + t * last
    if path == "spherical":
        cosine = torch.nn.functional.cosine_similarity(first, last, dim=2)[..., None].clamp(-1, 1)
        angle = cosine.acos()
        arc = (((1 - t) * angle).sin() * first + (t * angle).sin() * last) / angle.sin()
        codes = torch.where(angle.sin() > 1e-6, arc, codes)
    codes = codes.to(a.dtype).to(a.device)
    codes[:, 0], codes[:, -1] = a, b
    return codes
