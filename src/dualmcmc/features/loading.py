"""From named arrays to a network: batch norm folded in, every array in its place, and the name of the distance."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.features import inception, pixels, release, resnet20
from dualmcmc.features.folding import fold
from dualmcmc.features.inception import Inception, InceptionFront
from dualmcmc.features.network import FeatureNetwork
from dualmcmc.features.pixels import Pixels
from dualmcmc.features.resnet20 import ResNet20
from dualmcmc.features.weights import FRONT, RELEASE, RESNET20, Weights, read
from dualmcmc.networks.layers import use_channels_last

_LABELS = {
    ("inception", RELEASE): "fid",
    ("inception768", RELEASE): "fid768",
    ("inception768", FRONT): "fid768",
    ("cifar10_resnet20", RESNET20): "fd_resnet20",
}
_INPUT = "clamped to [-1, 1], not rounded to 8 bits"
_INCEPTION_RULE = {
    "input": f"{_INPUT}, grey repeated to RGB",
    "resize": f"torch bilinear to {inception.SIDE}x{inception.SIDE}, align_corners=False, as pytorch-fid",
}
_RESNET_RULE = {
    "input": f"{_INPUT}, grey repeated to RGB, mapped to [0, 1], minus {resnet20.MEAN}, over {resnet20.DEVIATION}",
    "resize": f"none at {resnet20.SIDE}x{resnet20.SIDE}, otherwise torch bilinear to it, antialiased",
}
_PIXELS_RULE = {"input": _INPUT, "resize": f"means of equal blocks, at most {pixels.SIDE}x{pixels.SIDE} pixels"}


def load_pixels() -> FeatureNetwork:
    """The features that are the pixels."""
    return FeatureNetwork(Pixels(), "fd_pixels", {"network": "pixels", "label": "fd_pixels", **_PIXELS_RULE})


def load_inception(name: str, path: Path | None) -> FeatureNetwork:
    """FID's network (`inception`) or its front part (`inception768`); without a file, of the public release."""
    weights = release.release() if path is None else read(path)
    if path is not None and weights.file == RELEASE:
        release.keep(weights)
    with torch.device("meta"):
        trunk = Inception() if name == "inception" else InceptionFront()
    arrays = dict(weights.arrays)
    for kernel in [key for key in arrays if key.endswith(".conv.weight")]:
        layer = kernel.removesuffix(".conv.weight")
        fold(arrays, kernel, f"{layer}.bn", layer, inception.EPSILON, str(weights.source))
    if name == "inception" and not any(key.startswith("Mixed_7") for key in arrays):
        raise InputError(f"{weights.source} has nothing after Mixed_6e: use it with --features inception768")
    fill(trunk, arrays, str(weights.source))
    return _network(name, trunk, weights, _INCEPTION_RULE)


def load_resnet20(path: Path | None) -> FeatureNetwork:
    """ResNet-20 for CIFAR-10, from a file."""
    if path is None:
        raise InputError(
            "cifar10_resnet20 needs its weights: give --feature-weights FILE, .safetensors or .npz of the arrays "
            "of resnet20-12fca82f.th (github.com/akamaster/pytorch_resnet_cifar10); --features pixels needs none"
        )
    weights = read(path)
    with torch.device("meta"):
        trunk = ResNet20()
    arrays = dict(weights.arrays)
    for kernel in [key for key in arrays if re.fullmatch(r"(layer\d\.\d\.)?conv\d\.weight", key)]:
        layer = kernel.removesuffix(".weight")
        fold(arrays, kernel, layer.replace("conv", "bn"), layer, resnet20.EPSILON, str(weights.source))
    fill(trunk, arrays, str(weights.source))
    return _network("cifar10_resnet20", trunk, weights, _RESNET_RULE)


def fill(trunk: InceptionFront | ResNet20, arrays: dict[str, Tensor], source: str) -> None:
    """Gives a network its weights: all must be there, fit and be finite, and nothing else but what is optional.

    Raises:
        InputError: naming the first array that does not fit.
    """
    own = trunk.state_dict()
    arrays = {name: array for name, array in arrays.items() if not re.fullmatch(trunk.optional, name)}
    for name in sorted(own.keys() - arrays.keys()):
        raise InputError(f"{source}: array {name} is missing, so it is no file of this network")
    for name in sorted(arrays.keys() - own.keys()):
        raise InputError(f"{source}: array {name} belongs to another network")
    for name, array in arrays.items():
        if array.shape != own[name].shape:
            seen, told = tuple(array.shape), tuple(own[name].shape)
            raise InputError(f"{source}: array {name} has shape {seen}, {told} is expected")
        if not array.isfinite().all():
            raise InputError(f"{source}: array {name} is not finite once batch norm is folded in")
    trunk.load_state_dict(arrays, assign=True)
    use_channels_last(trunk)


def _network(
    name: str, trunk: InceptionFront | ResNet20, weights: Weights, rule: dict[str, Any]
) -> FeatureNetwork:
    label = _LABELS.get((name, weights.file)) or _own_label(weights)
    protocol = {
        "network": name,
        "label": label,
        "weights_sha256": weights.file,
        "weights_known": weights.known,
        "content_sha256": weights.content,
        **rule,
    }
    return FeatureNetwork(trunk, label, protocol)


def _own_label(weights: Weights) -> str:
    """fd_<file's stem>, of letters, digits, - and _; no name of a network that this is not."""
    stem = re.sub(r"[^0-9A-Za-z_-]+", "_", weights.source.stem).strip("_")[:40] or "own"
    label = f"fd_{stem}"
    return f"{label}_{weights.content[:8]}" if label in (*_LABELS.values(), "fd_pixels") else label
