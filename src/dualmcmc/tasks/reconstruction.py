"""How well codes explain images: MSE, PSNR and SSIM of x -> z -> x on held-out images (Tables 3, 4; Figure 3).

By the inference network alone, after K steps of the latent chain from its mean, and after K steps from the prior
(the paper's "noise-initialised" chain); one pass of the longest chain each. Beside them, what the best linear
code of as many dimensions reaches: PCA of training images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from dualmcmc.calls import inferring
from dualmcmc.metrics import Comparison, compare, ssim_window, summary
from dualmcmc.tasks.linear import IMAGES, principal_components
from dualmcmc.tasks.setting import Result, Setting

Start = Literal["mean", "prior"]
Kinds = dict[Start, list[int]]
SHOWN = 12


@inferring
def reconstruction(setting: Setting, *, steps: Sequence[int], noise_steps: Sequence[int]) -> Result:
    """Figures for every start and number of steps.

    Arguments:
        setting: model and held-out images.
        steps: lengths K of the chain from inference; inference alone (0) is always measured. Without an inference
            network neither is.
        noise_steps: lengths of the chain from the prior.
    """
    inferred = setting.model.has("inference")
    kinds: Kinds = {"mean": sorted({0, *steps}) if inferred else [], "prior": sorted(set(noise_steps))}
    seen: dict[tuple[Start, int], list[Comparison]] = {(start, k): [] for start, at in kinds.items() for k in at}
    linear: list[Comparison] = []
    project = principal_components(setting, setting.model.trio.latent_dim)
    for keys in setting.batches(setting.images, "reconstructing"):
        x = setting.heldout.tensor(list(keys))
        for place, found in _reconstructions(setting, x, keys, kinds).items():
            seen[place].append(compare(x, found))
        linear.append(compare(x, project(x)))
    figures = {place: summary(setting.collect(parts)) for place, parts in seen.items()}
    pca = {"dimensions": project.components.shape[1], **summary(setting.collect(linear))}
    fitted = {"pca_images": min(IMAGES, len(setting.train)), "pca_data": setting.train.title}
    return Result(
        {
            **({"inference": figures["mean", 0]} if inferred else {}),
            "from_inference": {str(k): figures["mean", k] for k in kinds["mean"] if k},
            "from_noise": {str(k): figures["prior", k] for k in kinds["prior"]},
            "pca": pca,
            "ssim_window": ssim_window(setting.model.config.images.size),
            "protocol": setting.protocol(**fitted),
        },
        _pictures(setting, kinds),
    )


def _reconstructions(
    setting: Setting, x: Tensor, keys: Sequence[int], kinds: Kinds
) -> dict[tuple[Start, int], Tensor]:
    """g of the codes after each number of steps from each start, on the CPU."""
    model, found = setting.model, {}
    for start, at in kinds.items():
        if not at:
            continue
        codes = model.latent_trajectory(x, at, seed=setting.seed, keys=keys, start=start).states
        for k, z in codes.items():
            found[start, k] = model.decode(z, batch_size=setting.batch_size).cpu()
    return found


def _pictures(setting: Setting, kinds: Kinds) -> dict[str, Tensor]:
    """Rows for Figure 3: images, then what each start and length makes of them."""
    keys = setting.shown(SHOWN)
    x = setting.heldout.tensor(keys)
    names: Mapping[Start, str] = {"mean": "inference", "prior": "noise"}
    rows = _reconstructions(setting, x, keys, kinds)
    found = {f"{names[start]} + {k} steps" if k else names[start]: row for (start, k), row in rows.items()}
    return {"images": x, **found}
