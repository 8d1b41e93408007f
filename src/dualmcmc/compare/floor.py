"""How far held-out images are from the training images: what a perfect sampler's distance would be near."""

from __future__ import annotations

from typing import Any

from dualmcmc.features import FeatureNetwork
from dualmcmc.tasks.generation import Names, Stream
from dualmcmc.tasks.reference import Reference
from dualmcmc.tasks.setting import Setting


def floor(setting: Setting, network: FeatureNetwork, reference: Reference, n: int) -> dict[str, Any] | None:
    """The distance (and score) of the first n held-out images, or all there are; None where none are held out.

    A Frechet distance falls as n grows, so `n` stands beside it.
    """
    heldout = setting.heldout
    count = min(n, len(heldout))
    if heldout.fingerprint == setting.train.fingerprint or count < 20:
        return None
    stream = Stream(network)
    for keys in setting.batches(count, f"features of {heldout.title}"):
        stream.update(heldout.tensor(list(keys)).to(setting.model.device), keys)
    figures, names = stream.figures(setting, reference, count), Names(network.label, count)
    score = figures.get(names.score)
    return {
        "data": heldout.title,
        "n": count,
        "distance": figures[names.frechet],
        "score": score and score["mean"],
    }
