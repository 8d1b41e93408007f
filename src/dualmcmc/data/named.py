"""The data sets that are known by name: where each comes from, which revision, which splits.

A revision is a commit of the hub repository, so that a name means the same images for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Named:
    """One named set; size, channels and crop are those of the presets that train on it."""

    title: str
    """What it shows, in one line."""
    repo: str | None
    """owner/name on the Hugging Face hub; None for the set that scikit-learn ships."""
    revision: str | None = None
    """Commit of that repository; None where we know no confirmed one."""
    config: str | None = None
    """The repository's configuration; None is its default."""
    column: str | None = None
    """Name of the image column; None finds it by its type."""
    splits: Mapping[str, str]
    """Our split to the repository's. A set with `train` alone is divided by the hold-out rule."""
    size: Literal[8, 16, 28, 32, 64, 128, 256]
    """Side in pixels."""
    channels: Literal[1, 3]
    """1 for grey, 3 for RGB."""
    crop: Literal["square", "celeba"] = "square"
    """As `Images.crop`."""


_BOTH = {"train": "train", "test": "test"}

NAMED: Mapping[str, Named] = {
    "digits": Named(
        title="handwritten digits, 1,500 and 297, shipped with scikit-learn (no download)",
        repo=None,
        splits=_BOTH,
        size=8,
        channels=1,
    ),
    "mnist": Named(
        title="handwritten digits, 60,000 and 10,000",
        repo="ylecun/mnist",
        revision="77f3279092a1c1579b2250db8eafed0ad422088c",
        config="mnist",
        splits=_BOTH,
        size=28,
        channels=1,
    ),
    "fashion_mnist": Named(
        title="pieces of clothing, 60,000 and 10,000",
        repo="zalando-datasets/fashion_mnist",
        revision="531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        splits=_BOTH,
        size=28,
        channels=1,
    ),
    "cifar10": Named(
        title="photographs of 10 kinds of thing, 50,000 and 10,000",
        repo="uoft-cs/cifar10",
        revision="0b2714987fa478483af9968de7c934580d0bb9a2",
        column="img",
        splits=_BOTH,
        size=32,
        channels=3,
    ),
    "cifar100": Named(
        title="photographs of 100 kinds of thing, 50,000 and 10,000",
        repo="uoft-cs/cifar100",
        revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        column="img",
        splits=_BOTH,
        size=32,
        channels=3,
    ),
    "svhn": Named(
        title="house numbers, 73,257 and 26,032",
        repo="ufldl-stanford/svhn",
        revision="f9e1717d73324ebbc1ece84267ccd80d0aca0690",
        config="cropped_digits",
        splits=_BOTH,
        size=32,
        channels=3,
    ),
    "celeba64": Named(
        title="faces of celebrities, 162,770 and 19,867",
        repo="flwrlabs/celeba",
        revision="2d738f56e0e7f925ea36ae7c808ea925264aacec",
        # The paper's code evaluates on the 19,867 validation images, so these are our `test`.
        splits={"train": "train", "test": "valid"},
        size=64,
        channels=3,
        crop="celeba",
    ),
    "celeba_hq256": Named(
        title="faces of celebrities at 256 pixels",
        repo="korexyz/celeba-hq-256x256",
        revision=None,  # no confirmed commit is known to us: the newest one is what is fetched
        splits={"train": "train", "test": "validation"},
        size=256,
        channels=3,
    ),
    "lsun_church64": Named(
        title="church buildings (training images only: a tenth is held out)",
        repo="tglcourse/lsun_church_train",
        revision=None,  # no confirmed commit is known to us: the newest one is what is fetched
        splits={"train": "train"},
        size=64,
        channels=3,
    ),
}
"""Every named set, in the order in which they are listed."""
