"""Feature networks: what FID, KID and IS see of an image.

A Fréchet distance (Heusel et al., 2017) and a kernel distance (Bińkowski et al., 2018) compare the features of two
sets of images; the Inception Score (Salimans et al., 2016) needs class probabilities. Their figures are those of
the network and of the rule by which images enter it, so a network here carries both: `label` is the name under
which a distance is printed, `protocol` the rest. Only the public weights of the one network are called FID; a
user's own arrays of the same architecture are `fd_<name of their file>`.

    inception.py, resnet20.py, pixels.py    the networks
    network.py     what they look like from outside: `FeatureNetwork`
    weights.py     files of weights, what is refused, what is known
    release.py     the public release of FID's network, fetched once and kept
    folding.py     batch norm into convolutions
    loading.py     arrays into a network

The sums over features are `metrics`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc.errors import InputError

if TYPE_CHECKING:
    import torch

    from dualmcmc.features.network import FeatureNetwork, Features

__all__ = ["NAMES", "FeatureNetwork", "Features", "load"]

NAMES = {
    "inception": "FID's Inception-v3 (2015-12-05): 2048 features, 1008 classes; fid, fetched once",
    "inception768": "its front part up to Mixed_6e: 768 features; fid768",
    "cifar10_resnet20": "ResNet-20 for CIFAR-10: 64 features, 10 classes; fd_resnet20, needs --feature-weights",
    "pixels": "the image averaged down to 16x16 or less; fd_pixels, needs no weights",
}
"""Every network that can be asked for, with one line on it."""


def load(name: str, weights: str | Path | None = None, device: str | torch.device = "cpu") -> FeatureNetwork:
    """A feature network, ready to use.

    Arguments:
        name: one of `NAMES`.
        weights: a .safetensors or .npz of its arrays, or the .pth of the public release of FID's network. None:
            for `inception` and `inception768`, that release from the cache or the network; `pixels` has none.
        device: where it runs.

    Raises:
        InputError: an unknown name, weights that are missing, refused or of another network.
    """
    if name not in NAMES:
        raise InputError(f"no feature network {name!r}: there are {', '.join(NAMES)}")
    if name == "pixels" and weights is not None:
        raise InputError("the feature network pixels has no weights: leave --feature-weights out")
    from dualmcmc.features import loading

    path = None if weights is None else Path(weights).expanduser()
    if name == "pixels":
        network = loading.load_pixels()
    elif name == "cifar10_resnet20":
        network = loading.load_resnet20(path)
    else:
        network = loading.load_inception(name, path)
    return network.to(device)


def __getattr__(name: str) -> Any:
    """`FeatureNetwork` and `Features`, imported when used: the command line lists `NAMES` without torch."""
    if name in ("FeatureNetwork", "Features"):
        return getattr(import_module("dualmcmc.features.network"), name)
    raise AttributeError(f"module 'dualmcmc.features' has no attribute {name!r}")
