"""Batch norm that is done learning is one factor and one offset a channel: they go into the convolution before it.

    scale (w * x - mean) / sqrt(variance + eps) + shift = (f w) * x + (shift - f mean),
    f = scale / sqrt(variance + eps),

which zero padding does not disturb, since the convolution comes first.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.errors import InputError

PARTS = ("weight", "bias", "running_mean", "running_var")


def fold(arrays: dict[str, Tensor], kernel: str, norm: str, layer: str, eps: float, source: str) -> None:
    """Replaces a kernel and its batch norm by `LAYER.weight` and `LAYER.bias`, computed in float64; in place.

    Arguments:
        arrays: named weights, float32.
        kernel: name of the kernel, (O, I, H, W).
        norm: prefix of the batch norm's four arrays, each (O,).
        layer: prefix of the result.
        eps: what the batch norm adds to the variance.
        source: the file, for the message.

    Raises:
        InputError: an array of the batch norm is missing, misshapen or a negative variance.
    """
    weight = arrays.pop(kernel).double()
    for part in PARTS:
        name = f"{norm}.{part}"
        if name not in arrays:
            raise InputError(f"{source}: array {name} is missing")
        if arrays[name].shape != weight.shape[:1]:
            seen, told = tuple(arrays[name].shape), tuple(weight.shape[:1])
            raise InputError(f"{source}: array {name} has shape {seen}, {kernel} asks for {told}")
    scale, shift, mean, variance = (arrays.pop(f"{norm}.{part}").double() for part in PARTS)
    if (variance < 0).any():
        raise InputError(f"{source}: array {norm}.running_var has negative variances")
    factor = scale / (variance + eps).sqrt()
    arrays[f"{layer}.weight"] = (factor.view(-1, *(1,) * (weight.ndim - 1)) * weight).float()
    arrays[f"{layer}.bias"] = (shift - factor * mean).float()
