"""Telling images of another kind apart: AUROC, AUPR and FPR at 95 % (the paper's Table 8).

Four scores, higher for usual images, held-out images being the positives:

    log_density            log pi(x) = h(x) / T; one forward pass (the paper's)
    reconstruction_error   -MSE after the latent chain
    gradient_norm          -|grad h(x)|
    combination            the sum of these, each centred and divided by its deviation on training images

The first and third need an energy network, the second a generator: a method without has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dualmcmc.calls import inferring
from dualmcmc.data import ImageSet
from dualmcmc.data.order import spread
from dualmcmc.metrics import ranking
from dualmcmc.model import Model
from dualmcmc.tasks.others import OTHERS
from dualmcmc.tasks.setting import Result, Setting

SCORES = ("log_density", "reconstruction_error", "gradient_norm")
TABLE_8 = ("svhn", "cifar100", "celeba64")
STANDARDISED_BY = 1000
"""Training images that the combination is standardised by, at most."""
SHOWN = 8

Pictures = Callable[[Sequence[int]], Tensor]


@inferring
def ood(setting: Setting, *, builtin: Sequence[str], sets: Mapping[str, ImageSet]) -> Result:
    """Figures of each other set against the held-out images.

    Arguments:
        setting: model and held-out images.
        builtin: names of `OTHERS`.
        sets: other image sets by the name they are reported under, as many images of each as of held-out ones,
            the first, or all there are.
    """
    train, heldout, n = setting.train, setting.heldout, setting.images
    chosen = spread(len(train), STANDARDISED_BY)
    usual = _scores(setting, len(chosen), lambda keys: train.tensor([chosen[i] for i in keys]), "training images")
    inside = _scores(setting, n, lambda keys: heldout.tensor(list(keys)), heldout.title)
    makers: dict[str, tuple[int, Pictures]] = {name: (n, _maker(setting, name)) for name in builtin}
    makers |= {name: (min(n, len(other)), _reader(other)) for name, other in sets.items()}
    figures, pictures = {}, {heldout.title: setting.picture(SHOWN)}
    for name, (count, images) in makers.items():
        outside = _scores(setting, count, images, name)
        kinds = dict(zip(scores_of(setting.model), zip(inside.T, outside.T, strict=True), strict=True))
        kinds["combination"] = (_combined(inside, usual), _combined(outside, usual))
        figures[name] = {"n": count, **{kind: ranking(*both) for kind, both in kinds.items()}}
        pictures[name] = images(range(min(SHOWN, count)))
    about = {name: {"data": other.title, "fingerprint": other.fingerprint} for name, other in sets.items()}
    protocol = setting.protocol(sets=about, combination=f"standardised on {len(chosen)} images of {train.title}")
    return Result({"sets": figures, "protocol": protocol}, pictures)


def _maker(setting: Setting, name: str) -> Pictures:
    return lambda keys: OTHERS[name](setting.heldout, keys, setting.images, setting.seed)


def _reader(images: ImageSet) -> Pictures:
    return lambda keys: images.tensor(list(keys))


def scores_of(model: Model) -> list[str]:
    """Which of `SCORES` a model's networks can give."""
    part = {"log_density": "energy", "reconstruction_error": "generator", "gradient_norm": "energy"}
    return [name for name in SCORES if model.has(part[name])]


def _scores(setting: Setting, n: int, images: Pictures, title: str) -> Tensor:
    """The scores of n images, (n, len(scores_of)) float64, on every process."""
    model, names = setting.model, scores_of(setting.model)
    rows = [torch.empty((0, len(names)), dtype=torch.float64)]
    for keys in setting.batches(n, f"scores of {title}"):
        x, found = images(keys).to(model.device), {}
        if model.has("energy"):
            h, gradient = model.gradient(x, batch_size=setting.batch_size)
            found["log_density"] = h / model.trio.temperature
            found["gradient_norm"] = -gradient.flatten(1).norm(dim=1)
        if model.has("generator"):
            again = model.reconstruct(x, seed=setting.seed, keys=keys, batch_size=setting.batch_size)
            found["reconstruction_error"] = -(x - again).square().flatten(1).mean(1)
        rows.append(torch.stack([found[name].cpu().double() for name in names], 1))
    return setting.processes.collect(torch.cat(rows))


def _combined(scores: Tensor, usual: Tensor) -> Tensor:
    return ((scores - usual.mean(0)) / usual.std(0).clamp_min(1e-12)).sum(1)
