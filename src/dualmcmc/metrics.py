"""Reconstruction figures by torchmetrics: MSE in [-1, 1] and [0, 1], PSNR, SSIM.

MSE is per pixel and channel; PSNR = 10 log10(4 / MSE) per image, then averaged; SSIM has a Gaussian
window of the largest odd side up to min(11, image side), sigma 1.5 for 11 and in proportion, on the data
range 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from torch import nn
    from torchmetrics import Metric


class Reconstruction:
    """Streams pairs of images; `compute` gives the figures over all seen so far."""

    def __init__(self) -> None:
        self.psnr: list[Tensor] = []
        self.ssim: list[Tensor] = []
        self.mse: list[Tensor] = []
        self.window = 0

    def update(self, x: Tensor, reconstruction: Tensor) -> None:
        """Adds images (B, C, S, S) and their reconstructions, both in [-1, 1]."""
        similarity = import_torchmetrics().functional.image.structural_similarity_index_measure

        mse = (x - reconstruction).square().flatten(1).mean(1)
        self.window = min(11, (x.shape[-1] - 1) // 2 * 2 + 1)
        # torchmetrics derives the window from sigma; this sigma gives ours, and 1.5 for the usual 11.
        sigma = 1.5 * self.window / 11
        ssim = similarity(reconstruction, x, sigma=sigma, data_range=2.0, reduction="none")
        assert isinstance(ssim, Tensor)
        mse = mse.cpu().double()  # on the CPU first: not every device has float64
        self.mse.append(mse)
        self.psnr.append(10 * (4 / mse).log10())
        self.ssim.append(ssim.reshape(-1).cpu().double())

    def compute(self) -> dict[str, float]:
        """mse, mse01, psnr and ssim, averaged over images, and the side of SSIM's window."""
        mse = torch.cat(self.mse).mean().item()
        return {
            "mse": mse,
            "mse01": mse / 4,
            "psnr": torch.cat(self.psnr).mean().item(),
            "ssim": torch.cat(self.ssim).mean().item(),
            "ssim_window": self.window,
        }


def import_torchmetrics() -> Any:
    """torchmetrics, or a clear line where a broken torchvision keeps it from importing."""
    try:
        import torchmetrics
        import torchmetrics.functional.image
        import torchmetrics.image.fid
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"torchmetrics cannot be imported ({error}): if torchvision or torch-fidelity is installed, "
            "uninstall it or install the one that matches torch"
        ) from None
    return torchmetrics


def frechet(features: nn.Module) -> Metric:
    """A Fréchet distance in the features of a module to (B, `num_features`), of this process alone."""
    import_torchmetrics()
    from torchmetrics.image.fid import FrechetInceptionDistance

    # One process computes it while the others wait: a collective here would wait for ever.
    return FrechetInceptionDistance(feature=features, normalize=True, sync_on_compute=False)
