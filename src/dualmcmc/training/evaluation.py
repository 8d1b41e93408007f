"""The small evaluation during training: cheap, on fixed seeds, and what decides which checkpoint is best.

    value = MSE of reconstructions / variance of pixels + distance of samples / variance of features

that is, the share of held-out images that reconstruction (inference, then the latent chain) leaves
unexplained, plus the Fréchet distance between samples (after the test chain) and training images in the
features of the inference network's trunk, as a share of those features' variance. The features move as
the network learns, which the division allows for only in scale: the value ranks checkpoints of one run.
It is no FID, and nothing to compare runs by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from dualmcmc.data import ImageSet
from dualmcmc.metrics import Moments, frechet_distance
from dualmcmc.model import Model
from dualmcmc.networks import Inference
from dualmcmc.settings import Config

STATEMENT = (
    "lowest value of the small evaluation: reconstruction MSE / pixel variance on held-out images + "
    "Frechet distance of samples to training images / feature variance in the inference network's trunk"
)
SEED = 20_231_206


def evaluation_protocol(config: Config) -> dict[str, Any]:
    """How the figures of `small_evaluation` are found, to be kept beside them."""
    chains = {name: asdict(getattr(config.method, name)) for name in ("test_chain", "latent_chain")}
    return {"seed": SEED, "features": "inference network's trunk, mean over its map", **chains}


@torch.no_grad()
def small_evaluation(
    model: Model, train: ImageSet, heldout: ImageSet, images: int, batch_size: int = 100
) -> dict[str, float]:
    """Figures of `model` on `images` samples and as many images of each set (or all there are).

    Returns:
        mse_inference and mse_chain (in [-1, 1]), feature_distance (trunk features), and `value`.
    """
    mse_inference, mse_chain, pixels = _reconstruct(model, heldout, images, batch_size)
    reference = _trunk_moments(model, (train.tensor(part) for part in _spread(len(train), images, batch_size)))
    parts = (range(first, min(first + batch_size, images)) for first in range(0, images, batch_size))
    samples = (model.sample(len(keys), seed=SEED, keys=keys, batch_size=batch_size) for keys in parts)
    feature_distance = frechet_distance(reference, _trunk_moments(model, samples))
    variance = max(reference.covariance.trace().item(), 1e-12)
    return {
        "mse_inference": mse_inference,
        "mse_chain": mse_chain,
        "feature_distance": feature_distance,
        "value": mse_chain / pixels + feature_distance / variance,
    }


def _spread(total: int, wanted: int, batch_size: int) -> list[list[int]]:
    """Evenly spread indices, in batches."""
    n = min(wanted, total)
    chosen = [i * total // n for i in range(n)]
    return [chosen[first : first + batch_size] for first in range(0, n, batch_size)]


def _reconstruct(model: Model, heldout: ImageSet, images: int, batch_size: int) -> tuple[float, float, float]:
    """MSE by inference, MSE after the latent chain, and the variance of pixels about the mean image."""
    inferred, revised, n = 0.0, 0.0, 0
    seen = []
    for indices in _spread(len(heldout), images, batch_size):
        x = heldout.tensor(indices).to(model.device)
        inferred += (x - model.reconstruct(x, steps=0)).square().sum().item()
        revised += (x - model.reconstruct(x, seed=SEED, keys=indices)).square().sum().item()
        n += x.numel()
        seen.append(x)
    variance = torch.cat(seen).var(0, correction=0).mean().item()
    return inferred / n, revised / n, max(variance, 1e-12)


def _trunk_moments(model: Model, batches: Iterable[Tensor]) -> Moments:
    """Moments of the features of batches of images in the inference network's trunk."""
    inference = model.trio.inference
    assert isinstance(inference, Inference)
    moments = Moments(inference.num_features)
    for x in batches:
        moments.update(inference.features(x.to(model.device)))
    return moments
