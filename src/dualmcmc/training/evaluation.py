"""The small evaluation during training: cheap, on fixed seeds, and what decides which checkpoint is best.

    value = MSE of reconstructions / variance of pixels + distance of samples / variance of features

that is, the share of held-out images that reconstruction (inference, then the latent chain) leaves
unexplained, plus the Fréchet distance between samples (after the test chain) and training images in the
features of the inference network's trunk, as a share of those features' variance. The features move as
the network learns, which the division allows for only in scale: the value ranks checkpoints of one run.
It is no FID, and nothing to compare runs by. Without an inference network the features are pixels (`fd_pixels`)
and codes come from the latent chain alone; without a generator there is no first term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc import features, methods
from dualmcmc.calls import inferring
from dualmcmc.data import ImageSet
from dualmcmc.methods import Method
from dualmcmc.metrics import Moments, frechet_distance
from dualmcmc.model import Model
from dualmcmc.networks import Inference
from dualmcmc.settings import Config

SEED = 20_231_206


def statement(method: Method) -> str:
    """How `best` is decided, for config.json."""
    features = "the inference network's trunk" if "inference" in method.PARTS else "pixels"
    distance = f"Frechet distance of samples to training images / feature variance in {features}"
    error = "reconstruction MSE / pixel variance on held-out images + " if "generator" in method.PARTS else ""
    return f"lowest value of the small evaluation: {error}{distance}"


def evaluation_protocol(config: Config) -> dict[str, Any]:
    """How the figures of `small_evaluation` are found, to be kept beside them."""
    method = config.method
    chains = {"test_chain": methods.test_chain(method), "latent_chain": methods.latent_chain(method)}
    features = "inference network's trunk, mean over its map" if "inference" in method.PARTS else "pixels"
    return {"seed": SEED, "features": features, **{name: asdict(chain) for name, chain in chains.items()}}


@inferring
def small_evaluation(
    model: Model, train: ImageSet, heldout: ImageSet, images: int, batch_size: int = 100
) -> dict[str, float]:
    """Figures of `model` on `images` samples and as many images of each set (or all there are).

    Returns:
        mse_inference and mse_chain (in [-1, 1]; those there are), feature_distance, and `value`.
    """
    figures: dict[str, float] = {}
    value = 0.0
    if model.has("generator"):
        figures, pixels = _reconstruct(model, heldout, images, batch_size)
        value = figures["mse_chain"] / pixels
    trunk = _trunk(model)
    reference = _moments(
        trunk, (train.tensor(part).to(model.device) for part in _spread(len(train), images, batch_size))
    )
    parts = (range(first, min(first + batch_size, images)) for first in range(0, images, batch_size))
    samples = (model.sample(len(keys), seed=SEED, keys=keys, batch_size=batch_size) for keys in parts)
    figures["feature_distance"] = frechet_distance(reference, _moments(trunk, samples))
    variance = max(reference.covariance.trace().item(), 1e-12)
    return {**figures, "value": value + figures["feature_distance"] / variance}


def _spread(total: int, wanted: int, batch_size: int) -> list[list[int]]:
    """Evenly spread indices, in batches."""
    n = min(wanted, total)
    chosen = [i * total // n for i in range(n)]
    return [chosen[first : first + batch_size] for first in range(0, n, batch_size)]


def _reconstruct(model: Model, heldout: ImageSet, images: int, batch_size: int) -> tuple[dict[str, float], float]:
    """MSE by inference and after the latent chain (those there are), and the pixels' variance about their mean."""
    lengths = {"mse_inference": 0, "mse_chain": None} if model.has("inference") else {"mse_chain": None}
    sums, n = dict.fromkeys(lengths, 0.0), 0
    seen = []
    for indices in _spread(len(heldout), images, batch_size):
        x = heldout.tensor(indices).to(model.device)
        for name, steps in lengths.items():
            again = model.reconstruct(x, seed=SEED, keys=indices, steps=steps)
            sums[name] += (x - again).square().sum().item()
        n += x.numel()
        seen.append(x)
    variance = torch.cat(seen).var(0, correction=0).mean().item()
    return {name: total / n for name, total in sums.items()}, max(variance, 1e-12)


class _Trunk(NamedTuple):
    """Images (B, C, S, S) to features (B, F)."""

    num_features: int
    features: Callable[[Tensor], Tensor]


def _trunk(model: Model) -> _Trunk:
    inference = model.trio.inference
    if isinstance(inference, Inference):
        return _Trunk(inference.num_features, inference.features)
    network = features.load("pixels")
    return _Trunk(network.num_features, lambda x: network(x).features)


def _moments(trunk: _Trunk, batches: Iterable[Tensor]) -> Moments:
    """Moments of the features of batches of images."""
    moments = Moments(trunk.num_features)
    for x in batches:
        moments.update(trunk.features(x))
    return moments
