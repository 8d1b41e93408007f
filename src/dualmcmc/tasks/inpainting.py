"""Finding hidden pixels: the paper's Figure 5 and its table, PSNR and SSIM over three stages.

Each stage's image is scored whole without paste-back (the paper's, by its numbers), whole with the visible pixels
put back, and over the hidden region alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dualmcmc import methods
from dualmcmc.calls import inferring
from dualmcmc.metrics import Comparison, compare, compare_where, ssim_window, summary
from dualmcmc.model import Model
from dualmcmc.tasks.setting import Result, Setting

STAGES = ("inference", "latent_chain", "data_chain")
"""Those of a model with all networks; see `stages_of`."""
VIEWS = ("whole", "pasted", "hidden")
SHOWN = 6

Found = dict[tuple[str, str], Comparison]


def stages_of(model: Model) -> list[str]:
    """Which of `STAGES` a model goes through: without inference network the latent chain starts at noise.

    VAEBM's data chain moves the noise behind images of its own, and has no part in it.
    """
    part = {"inference": "inference", "latent_chain": "generator", "data_chain": "energy"}
    own = [stage for stage in STAGES if model.has(part[stage])]
    return own[:-1] if isinstance(model.config.method, methods.VAEBM) else own


@inferring
def inpainting(
    setting: Setting,
    *,
    masks: Sequence[str],
    latent_steps: int | None = None,
    data_steps: int | None = None,
    visible: Literal["free", "clamped"] = "free",
) -> Result:
    """Figures of every mask and stage.

    Arguments:
        setting: model and held-out images.
        masks: specifications (`masks.py`), such as M20 or blocks:0.3.
        latent_steps: length of the latent chain; None: as in training.
        data_steps: length of the data chain; None: the run's test chain.
        visible: whether the data chain may move visible pixels.
    """
    model, method = setting.model, setting.model.config.method
    own = stages_of(model)
    if data_steps is None:
        data_steps = methods.test_chain(method).steps if "data_chain" in own else 0
    how: dict[str, Any] = {
        "latent_steps": methods.latent_chain(method).steps if latent_steps is None else latent_steps,
        "data_steps": data_steps,
        "visible": visible,
    }
    figures, pictures = {}, {}
    for mask in masks:
        seen: dict[tuple[str, str], list[Comparison]] = {(stage, view): [] for stage in STAGES for view in VIEWS}
        share: list[Tensor] = [torch.empty(0, dtype=torch.float64)]
        for keys in setting.batches(setting.images, f"inpainting {mask}"):
            x = setting.heldout.tensor(list(keys))
            found, hidden = measure(model, x, mask, seed=setting.seed, keys=keys, **how)
            for place, comparison in found.items():
                seen[place].append(comparison)
            share.append(hidden.flatten(1).double().mean(1))
        stages = {stage: _figures(setting, {view: seen[stage, view] for view in VIEWS}) for stage in own}
        hidden_share = setting.processes.collect(torch.cat(share)).mean().item()
        figures[mask] = {"hidden": hidden_share, "stages": stages}
        shown = setting.shown(SHOWN)
        pictures[mask] = strip(model, setting.heldout.tensor(shown), mask, seed=setting.seed, keys=shown, **how)
    window = ssim_window(model.config.images.size)
    return Result({"masks": figures, "ssim_window": window, "protocol": setting.protocol(**how)}, pictures)


def measure(
    model: Model, x: Tensor, mask: Any, *, seed: int, keys: Sequence[int], **how: Any
) -> tuple[Found, Tensor]:
    """Comparisons of each stage in each view with the true images x (B, C, S, S), and the hidden pixels."""
    hidden = model.hidden(len(x), mask, seed=seed, keys=keys).cpu()
    stages = model.inpainting_stages(x, hidden, seed=seed, keys=keys, batch_size=max(len(x), 1), **how)
    return compare_stages(x, [stage.cpu() for stage in stages[:3]], hidden), hidden


def compare_stages(x: Tensor, stages: Sequence[Tensor], hidden: Tensor) -> Found:
    """Comparisons of each stage's images (B, C, S, S) in each view; hidden (B, 1, S, S)."""
    found: Found = {}
    for stage, image in zip(STAGES, stages, strict=True):
        found[stage, "whole"] = compare(x, image)
        found[stage, "pasted"] = compare(x, torch.where(hidden, image, x))
        found[stage, "hidden"] = compare_where(x, image, hidden)
    return found


def occlude(x: Tensor, hidden: Tensor) -> Tensor:
    """Images with mid-grey in their hidden pixels."""
    return torch.where(hidden, torch.zeros_like(x), x)


def figures_of(views: dict[str, Comparison]) -> dict[str, float]:
    """One stage's figures: those of the whole image under plain names, the others' with the view behind."""
    whole, pasted, hidden = (summary(views[view]) for view in VIEWS)
    return {
        **whole,
        "psnr_pasted": pasted["psnr"],
        "ssim_pasted": pasted["ssim"],
        "mse_hidden": hidden["mse"],
        "psnr_hidden": hidden["psnr"],
        "ssim_hidden": hidden["ssim"],
    }


def _figures(setting: Setting, views: dict[str, list[Comparison]]) -> dict[str, float]:
    return figures_of({view: setting.collect(parts) for view, parts in views.items()})


def strip(model: Model, x: Tensor, mask: Any, *, seed: int, keys: Sequence[int], **how: Any) -> Tensor:
    """Figure 5's rows: images, occluded, the stages there are: (5 or fewer, B, C, S, S) on the CPU."""
    hidden = model.hidden(len(x), mask, seed=seed, keys=keys).cpu()
    stages = model.inpainting_stages(x, hidden, seed=seed, keys=keys, **how)
    x = x.cpu()
    own = [stage.cpu() for name, stage in zip(STAGES, stages, strict=False) if name in stages_of(model)]
    return torch.stack([x, occlude(x, hidden), *own])
