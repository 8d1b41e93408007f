"""How near samples are to the training images: Frechet and kernel distances, and the Inception Score.

Of the generator alone (K = 0) and after K steps of the data chain, from one pass of the longest chain. Samples
are clamped to [-1, 1] and not rounded to 8 bits, as in the released code. A distance carries the name of its
features and the number of samples: `fid` is that of the original papers' network, 50,000 samples; `fid768_10k`,
`fd_resnet20_10k` are not comparable with it. The kernel distance (KID: `kid...`, `kd...`) and its standard error
come from blocks of 1,000 of at most 10,000 samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dualmcmc.calls import inferring
from dualmcmc.data import ImageSet
from dualmcmc.features import FeatureNetwork
from dualmcmc.metrics import InceptionScore, Moments, frechet_distance, kernel_distance
from dualmcmc.tasks.reference import KERNEL, Reference, check_size
from dualmcmc.tasks.setting import Result, Setting

SHOWN = 64
"""Samples of each kind on the picture."""


class Stream:
    """The statistics of one kind of samples, as they are drawn."""

    def __init__(self, network: FeatureNetwork) -> None:
        self.network, self.moments = network, Moments(network.num_features)
        self.rows: list[Tensor] = []
        self.score = None if network.num_classes is None else InceptionScore(network.num_classes)

    def update(self, x: Tensor, keys: range) -> None:
        """Adds images (B, C, S, S) with their numbers."""
        features, probabilities = self.network(x.clamp(-1, 1))
        features = features.cpu()
        self.moments.update(features)
        self.rows.append(features[[i for i, key in enumerate(keys) if key < KERNEL]])
        if self.score is not None and probabilities is not None:
            self.score.update(probabilities.cpu(), keys)

    def figures(self, setting: Setting, reference: Reference, n: int) -> dict[str, Any]:
        """Distances to the reference, and the score if the network classifies, under their names."""
        names, processes = Names(self.network.label, n), setting.processes
        self.moments.add_over(processes)
        rows = torch.cat(self.rows) if self.rows else torch.empty(0, self.network.num_features)
        kernel = kernel_distance(processes.collect(rows), reference.features)
        found: dict[str, Any] = {
            names.frechet: frechet_distance(self.moments, reference.moments),
            names.kernel: kernel._asdict(),
        }
        if self.score is not None:
            self.score.add_over(processes)
            found[names.score] = self.score.compute()._asdict()
        return found


class Names:
    """What distances in features `label` of n samples are called; 50,000 need no mention."""

    def __init__(self, label: str, n: int) -> None:
        size = "" if n == 50_000 else f"_{n // 1000}k" if n % 1000 == 0 else f"_{n}"
        features = label.removeprefix("fid").removeprefix("fd")
        letter = "i" if label.startswith("fid") else ""
        self.frechet = f"{label}{size}"
        self.kernel = f"k{letter}d{features}{size}"
        self.score = f"is{features}{size}"


@inferring
def generation(
    setting: Setting, network: FeatureNetwork, reference: Reference, *, n: int, steps: Sequence[int]
) -> Result:
    """Figures of n samples of the generator and after each number of steps of the test chain.

    Arguments:
        setting: model, seed and processes; its images are not used.
        network: the features.
        reference: statistics of the images to be near to.
        n: samples.
        steps: lengths of the data chain; 0 is the generator, or where the method's chains start. Without an energy
            network there is no other, and there are no log-densities.
    """
    check_size(n)
    model = setting.model
    steps = sorted(set(steps))
    streams = {k: Stream(network) for k in steps}
    densities, shown = [], []
    for keys in setting.batches(n, "generating"):
        passed = model.data_trajectory(len(keys), steps, seed=setting.seed, keys=keys)
        for k, x in passed.states.items():
            streams[k].update(x, keys)
        if model.has("energy"):
            densities.append(passed.log_density[:, steps].cpu().double() / model.trio.temperature)
        shown.append(torch.stack([passed.states[k][: max(0, SHOWN - keys.start)].cpu() for k in steps], 1))
    means: list[float] = []
    if model.has("energy"):
        rows = torch.cat([torch.empty(0, len(steps), dtype=torch.float64), *densities])
        means = setting.processes.collect(rows).mean(0).tolist()
    figures: dict[str, Any] = {}
    for k, stream in streams.items():
        for name, value in stream.figures(setting, reference, n).items():
            figures.setdefault(name, {})[str(k)] = value
    protocol = {**setting.how(), "samples": n, "features": network.protocol, "reference": reference.about}
    pictures = torch.cat(shown) if shown else torch.empty(0)
    return Result(
        {
            "steps": steps,
            "figures": figures,
            "log_density": dict(zip(map(str, steps), means, strict=False)),
            "protocol": protocol,
        },
        {str(k): pictures[:, i] for i, k in enumerate(steps)} if len(pictures) else {},
    )


@inferring
def of_images(setting: Setting, network: FeatureNetwork, reference: Reference, images: ImageSet) -> Result:
    """The same figures of images from anywhere: somebody else's generator."""
    n = len(images)
    check_size(n)
    stream = Stream(network)
    for keys in setting.batches(n, f"features of {images.title}"):
        stream.update(images.tensor(list(keys)).to(setting.model.device), keys)
    figures = {name: {"images": value} for name, value in stream.figures(setting, reference, n).items()}
    code = {name: setting.how()[name] for name in ("version", "device", "torch")}
    seen = {"data": images.title, "fingerprint": images.fingerprint, "n": n}
    protocol = {**code, **seen, "features": network.protocol, "reference": reference.about}
    return Result({"figures": figures, "protocol": protocol}, {"images": images.tensor(range(min(SHOWN, n)))})
