"""Figures of images and of features; what is measured on which data, and how images are made, is `tasks/`.

    reconstruction.py    MSE, PSNR and SSIM of pairs of images, or of what a mask hides of them
    frechet.py           the Fréchet distance of two sets of features (FID), from sums that processes share
    kernel.py            the kernel distance of two sets of features (KID)
    inception_score.py   the inception score of class probabilities (IS)
    ranking.py           how well scores tell two sets apart: AUROC, AUPR, FPR at 95 %
    estimate.py          a mean and its standard error
    importing.py         torchmetrics, loaded where it is needed

No figure knows which network its features come from; `dualmcmc.features` does. Importing this package loads
neither torchmetrics nor scikit-learn.
"""

from dualmcmc.metrics.estimate import Estimate
from dualmcmc.metrics.frechet import Moments, frechet_distance
from dualmcmc.metrics.importing import import_torchmetrics
from dualmcmc.metrics.inception_score import InceptionScore
from dualmcmc.metrics.kernel import kernel_distance
from dualmcmc.metrics.ranking import ranking
from dualmcmc.metrics.reconstruction import (
    Comparison,
    compare,
    compare_where,
    concatenate,
    ssim_window,
    summary,
)

__all__ = [
    "Comparison",
    "Estimate",
    "InceptionScore",
    "Moments",
    "compare",
    "compare_where",
    "concatenate",
    "frechet_distance",
    "import_torchmetrics",
    "kernel_distance",
    "ranking",
    "ssim_window",
    "summary",
]
