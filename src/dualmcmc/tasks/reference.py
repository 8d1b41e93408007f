"""Statistics of training images in a feature network, which distances are measured to: found once, then cached.

An entry is a safetensors file in the cache's `statistics`, named by what it is of: fingerprint of the pixels,
how many of them, network and weights. It holds the moments of all images, and the features of up to
10,000 evenly spread ones for the kernel distance.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc.calls import inferring
from dualmcmc.data import ImageSet, statistics_folder
from dualmcmc.data.order import spread
from dualmcmc.errors import InputError
from dualmcmc.features import FeatureNetwork
from dualmcmc.metrics import Moments
from dualmcmc.storage import tensors
from dualmcmc.tasks.setting import Setting

KERNEL = 10_000
"""Images whose features the kernel distance sees, at most, of each side."""
_FORMAT = 1


class Reference(NamedTuple):
    """Moments of all images' features, and the features (m, F) of some, float32 on the CPU."""

    moments: Moments
    features: Tensor
    about: dict[str, Any]


def reference(setting: Setting, network: FeatureNetwork, count: int | None = None) -> Reference:
    """The statistics of the setting's training images, from the cache if they are there.

    Arguments:
        setting: the images, and the processes that share the work.
        network: the features.
        count: how many of them, evenly spread; None: all.

    Raises:
        InputError: there are fewer.
    """
    images = setting.train
    n = len(images) if count is None else count
    if n > len(images):
        raise InputError(f"--reference-images {n}: {images.title} has {len(images)} images")
    check_size(n)
    path = _place(network, images, n)
    about = {"data": images.title, "n": n, "fingerprint": images.fingerprint}
    held = _cached(setting, network, path)
    if held is None:
        found = _measure(setting, network, n)
        if setting.processes.main:
            _keep(path, found)
        setting.processes.wait()
        return Reference(Moments.from_tensors(found), found["features"], about)
    return Reference(Moments.from_tensors(held), held["features"], about)


def _cached(setting: Setting, network: FeatureNetwork, path: Path) -> dict[str, Tensor] | None:
    """The entry, if every process can read it: they must measure together, or none. A damaged one is none."""
    held: dict[str, Tensor] | None = None
    if path.is_file():
        try:
            held = tensors.load(path)
            if held["features"].shape[1] != network.num_features or Moments.from_tensors(held).n < 2:
                held = None
        except (InputError, KeyError, IndexError, ValueError):
            held = None
    readers = torch.tensor([0 if held is None else 1])
    setting.processes.add(readers)
    return held if int(readers) == setting.processes.count else None


def _keep(path: Path, found: dict[str, Tensor]) -> None:
    """Whole or not at all: a process that is killed leaves no damaged entry.

    Raises:
        InputError: the cache cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors.save(temporary, found)
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"the cache {path.parent} cannot be written ({error}): make room, or choose another by DUALMCMC_CACHE"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_size(n: int) -> None:
    """Refuses sets too small for a covariance, blocks of a kernel distance and ten splits of a score.

    Raises:
        InputError: saying so.
    """
    if n < 20:
        raise InputError(f"distances of {n} images: give 20 or more")


def _place(network: FeatureNetwork, images: ImageSet, n: int) -> Path:
    what = [_FORMAT, images.fingerprint, n, network.protocol, KERNEL]
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return statistics_folder() / f"{key}.safetensors"


@inferring
def _measure(setting: Setting, network: FeatureNetwork, n: int) -> dict[str, Tensor]:
    moments, kept, images = Moments(network.num_features), [], setting.train
    used, sampled = spread(len(images), n), set(spread(n, KERNEL))
    for keys in setting.batches(n, f"features of {images.title}"):
        x = images.tensor([used[key] for key in keys])
        features = network(x.to(setting.model.device)).features.cpu()
        moments.update(features)
        kept.append(features[[i for i, key in enumerate(keys) if key in sampled]])
    moments.add_over(setting.processes)
    rows = torch.cat(kept) if kept else torch.empty(0, network.num_features)
    return {**moments.tensors(), "features": setting.processes.collect(rows)}
