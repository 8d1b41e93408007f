"""How near images are to others, per image: MSE, PSNR and SSIM of the whole, or of the pixels a mask selects.

    MSE    per pixel and channel of images in [-1, 1]; a quarter of it is the MSE in [0, 1] ("mse01").
    PSNR   10 log10(4 / MSE) in dB, of each image by itself, averaged afterwards. An exact copy's would be
           infinite, which neither an average nor JSON can hold: MSE counts as 1e-10 at least there, so
           none exceeds 106.02 dB (rounding to 8 bits alone gives 58.9 dB).
    SSIM   Wang et al. (2004) on the data range 2: a Gaussian window of the largest odd side up to
           min(11, image side), sigma 1.5 for 11 and in proportion, variances over n; the mean over channels
           and all places where the window lies inside the image, as theirs and scikit-image's is.

torchmetrics' own mean includes the border, where its window sees the image reflected: at 32 pixels half of
all places, and a value lower by 0.05 to 0.1 for noise. Only a mask's SSIM is taken from there too, since
hidden pixels may lie at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.metrics.estimate import estimate
from dualmcmc.metrics.importing import import_torchmetrics

SMALLEST_MSE = 1e-10
"""What PSNR takes an exact copy's MSE for."""


class Comparison(NamedTuple):
    """One value per image, float64 on the CPU."""

    mse: Tensor
    psnr: Tensor
    ssim: Tensor


def ssim_window(side: int) -> int:
    """The side of SSIM's window for images of that side: the largest odd number up to min(11, side)."""
    return min(11, (side - 1) // 2 * 2 + 1)


@torch.no_grad()
def compare(x: Tensor, y: Tensor) -> Comparison:
    """MSE, PSNR and SSIM of images x against y, both (B, C, S, S) in [-1, 1]; each (B,).

    Raises:
        ValueError: shapes differ.
    """
    error = _squared_error(x, y).flatten(1).mean(1)
    border = ssim_window(x.shape[-1]) // 2
    inside = slice(border, x.shape[-1] - border)
    ssim = _ssim_map(x, y)[..., inside, inside].flatten(1).mean(1)
    return Comparison(error, _psnr(error), ssim)


@torch.no_grad()
def compare_where(x: Tensor, y: Tensor, where: Tensor) -> Comparison:
    """The same over a part of the pixels, say those that were hidden.

    SSIM is the mean over these pixels, at the border too; their windows see the pixels around as well.

    Arguments:
        x: images (B, C, S, S) in [-1, 1].
        y: images to compare them with, of the same shape.
        where: bool, (B, 1, S, S), or (1, 1, S, S) for all alike; True counts.

    Returns:
        mse, psnr and ssim, each (B,).

    Raises:
        ValueError: shapes differ, or a mask selects no pixel.
    """
    if where.dtype != torch.bool or where.shape[1:] != (1, *x.shape[2:]) or len(where) not in (1, len(x)):
        raise ValueError(f"a mask of {where.dtype} {tuple(where.shape)} for images of shape {tuple(x.shape)}")
    if not where.flatten(1).any(1).all():
        raise InputError("a mask hides no pixel of some image: there is nothing hidden to measure")
    share = where.cpu().double()
    share = share / (share.sum((2, 3), keepdim=True) * x.shape[1])
    error = (share * _squared_error(x, y)).sum((1, 2, 3))
    return Comparison(error, _psnr(error), (share * _ssim_map(x, y)).sum((1, 2, 3)))


def _squared_error(x: Tensor, y: Tensor) -> Tensor:
    if x.ndim != 4 or x.shape != y.shape:
        raise ValueError(f"images of shape {tuple(x.shape)} and {tuple(y.shape)}: expected the same (B, C, S, S)")
    return (x.cpu().double() - y.cpu().double()).square()  # on the CPU: not every device has float64


def _psnr(mse: Tensor) -> Tensor:
    return 10 * (4 / mse.clamp(min=SMALLEST_MSE)).log10()


def _ssim_map(x: Tensor, y: Tensor) -> Tensor:
    """SSIM at every place, (B, C, S, S), by float32 where the images are: to 2e-4 each, and 1e-6 on average."""
    ssim = import_torchmetrics().functional.image.structural_similarity_index_measure
    # torchmetrics derives the window from sigma; this sigma gives ours, and 1.5 for the usual 11.
    sigma = 1.5 * ssim_window(x.shape[-1]) / 11
    # Variances are differences of means of squares: TensorFloat-32's 10 bits would drown them.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        _, values = ssim(y, x, sigma=sigma, data_range=2.0, reduction="none", return_full_image=True)
    assert isinstance(values, Tensor)
    return values.cpu().double()


def concatenate(comparisons: Sequence[Comparison]) -> Comparison:
    """Comparisons of several batches as one; of none, an empty one."""
    none = torch.empty(0, dtype=torch.float64)
    return Comparison(*(torch.cat(values) for values in zip((none, none, none), *comparisons, strict=True)))


def summary(comparison: Comparison) -> dict[str, float]:
    """Averages over images: mse, mse01, psnr and ssim; of two images or more, standard errors of mse and psnr."""
    means = {name: values.mean().item() for name, values in comparison._asdict().items()}
    figures = {"mse": means["mse"], "mse01": means["mse"] / 4, "psnr": means["psnr"], "ssim": means["ssim"]}
    if len(comparison.mse) > 1:
        figures["mse_standard_error"] = estimate(comparison.mse).standard_error
        figures["psnr_standard_error"] = estimate(comparison.psnr).standard_error
    return figures
