"""Images that are not of the training kind and need no download, made from held-out ones and seeded noise.

uniform      every value uniform in [-1, 1]
gaussian     every value N(0, 1), clamped to [-1, 1]
constants    one colour for the whole image, uniform in [-1, 1] per channel
shuffled     a held-out image with its pixels in random order
inverted     -x
means        (x_i + x_j) / 2 with j = i + n/2: what most EBM papers call interpolation
blurred      Gaussian blur of deviation side / 16
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from dualmcmc.data import ImageSet
from dualmcmc.noise import Noise

Maker = Callable[[ImageSet, Sequence[int], int, int], Tensor]


def _noise(images: ImageSet, keys: Sequence[int], seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    return Noise(seed, keys, path=(name,)).normal_like(torch.empty(len(keys), *shape))


def _shape(images: ImageSet) -> tuple[int, int, int]:
    _, height, width, channels = images.pixels.shape
    return channels, height, width


def _uniform(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    # The normal's distribution function makes its draws uniform.
    return 2 * torch.special.ndtr(_noise(images, keys, seed, "uniform", _shape(images))) - 1


def _gaussian(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    return _noise(images, keys, seed, "gaussian", _shape(images)).clamp(-1, 1)


def _constants(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    channels, *sides = _shape(images)
    colours = 2 * torch.special.ndtr(_noise(images, keys, seed, "constants", (channels, 1, 1))) - 1
    return colours.expand(-1, -1, *sides).contiguous()


def _shuffled(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    x = images.tensor(list(keys))
    pixels = x.flatten(2)
    order = _noise(images, keys, seed, "shuffled", (pixels.shape[2],)).argsort(1)
    return pixels.gather(2, order[:, None].expand_as(pixels)).reshape(x.shape)


def _inverted(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    return -images.tensor(list(keys))


def _means(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    return (images.tensor(list(keys)) + images.tensor([(key + n // 2) % n for key in keys])) / 2


def _blurred(images: ImageSet, keys: Sequence[int], n: int, seed: int) -> Tensor:
    x = images.tensor(list(keys))
    deviation = x.shape[-1] / 16
    reach = min(int(3 * deviation + 0.5), x.shape[-1] - 1)
    weights = (-torch.arange(-reach, reach + 1).float().square() / (2 * deviation**2)).exp()
    line = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
    x = functional.pad(x, (reach,) * 4, mode="reflect")
    x = functional.conv2d(x, line, groups=x.shape[1])
    return functional.conv2d(x, line.transpose(2, 3), groups=x.shape[1])


OTHERS: dict[str, Maker] = {
    "uniform": _uniform,
    "gaussian": _gaussian,
    "constants": _constants,
    "shuffled": _shuffled,
    "inverted": _inverted,
    "means": _means,
    "blurred": _blurred,
}
"""(held-out images, keys, how many images are used, seed) to images (B, C, S, S) in [-1, 1]."""
