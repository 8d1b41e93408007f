"""What the two chains change (the paper's Figure 2), and whether they are healthy.

The data chain from the generator's samples: log-density over steps, how far images move, how large gradients are,
how many pixels leave [-1, 1], and whether h goes on rising in a chain ten times as long (a sampler at
its density would not drift). The latent chain from inference on held-out images: MSE and log p(x, z) over steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dualmcmc import methods
from dualmcmc.calls import inferring
from dualmcmc.tasks.setting import Result, Setting

SHOWN, EVERY, LONGER = 8, 3, 10
LONG_CHAINS = 100
"""Chains of ten times the length, at most."""


@inferring
def revision(setting: Setting, *, samples: int, distance: dict[str, Any] | None) -> Result:
    """Figure 2's curves and the chains' health; None for a chain that the method's networks have not.

    Arguments:
        setting: model and held-out images; the latent chain runs on all of these.
        samples: data chains.
        distance: of x_0 and x_K to the training images: {"name": ..., "0": ..., "K": ...}, measured elsewhere.
    """
    pictures: dict[str, Tensor] = {}
    data = _data_chain(setting, samples, pictures) if setting.model.has("energy") else None
    latent = _latent_chain(setting, pictures) if setting.model.has("generator") else None
    figures = {"data_chain": data, "latent_chain": latent, "distance": distance}
    return Result({**figures, "protocol": setting.protocol(samples=samples)}, pictures)


def _data_chain(setting: Setting, samples: int, pictures: dict[str, Tensor]) -> dict[str, Any]:
    model, temperature = setting.model, setting.model.trio.temperature
    steps = methods.test_chain(model.config.method).steps
    h, norms, moved, outside = [], [], [], []
    for keys in setting.batches(samples, "data chains"):
        passed = model.data_trajectory(len(keys), (0, steps), seed=setting.seed, keys=keys)
        first, last = passed.states[0], passed.states[steps]
        h.append(passed.log_density)
        norms.append(passed.gradient_norm)
        moved.append((last - first).square().flatten(1).mean(1))
        outside.append((last.abs() > 1).flatten(1).float().mean(1))
    frames = sorted({*range(0, steps, EVERY), steps})
    shown = model.data_trajectory(min(SHOWN, samples), frames, seed=setting.seed).states
    pictures["data_frames"] = torch.stack([shown[k].cpu() for k in frames], 1).clamp(-1, 1)
    pictures["data_steps"] = torch.tensor(frames)
    mean_h = _mean(setting, h, steps + 1)
    return {
        "steps": steps,
        "temperature": temperature,
        "h": mean_h,
        "log_density": [value / temperature for value in mean_h],
        "gradient_norm": _mean(setting, norms, steps),
        "moved": _mean(setting, moved) ** 0.5,
        "outside": _mean(setting, outside),
        "long": _long_chain(setting, min(LONG_CHAINS, samples), steps),
    }


def _long_chain(setting: Setting, n: int, steps: int) -> dict[str, Any]:
    """h in chains ten times as long, and how much it gains after the usual length."""
    longer, h, outside = LONGER * max(steps, 1), [], []
    for keys in setting.batches(n, f"chains of {longer} steps"):
        passed = setting.model.data_trajectory(len(keys), (longer,), seed=setting.seed, keys=keys)
        h.append(passed.log_density)
        outside.append((passed.states[longer].abs() > 1).flatten(1).float().mean(1))
    mean_h = _mean(setting, h, longer + 1)
    drift = mean_h[-1] - mean_h[steps]
    return {"steps": longer, "chains": n, "h": mean_h, "drift": drift, "outside": _mean(setting, outside)}


def _latent_chain(setting: Setting, pictures: dict[str, Tensor]) -> dict[str, Any]:
    model = setting.model
    steps = methods.latent_chain(model.config.method).steps
    at, mse, joint, moved = range(steps + 1), [], [], []
    for keys in setting.batches(setting.images, "latent chains"):
        x = setting.heldout.tensor(list(keys)).to(model.device)
        passed = model.latent_trajectory(x, at, seed=setting.seed, keys=keys)
        errors = [(x - model.decode(passed.states[k])).square().flatten(1).mean(1) for k in at]
        mse.append(torch.stack(errors, 1))
        joint.append(passed.log_density)
        moved.append((passed.states[steps] - passed.states[0]).square().mean(1))
    shown = setting.shown(SHOWN)
    x = setting.heldout.tensor(shown)
    codes = model.latent_trajectory(x, at, seed=setting.seed, keys=shown).states
    pictures["latent_frames"] = torch.stack([model.decode(codes[k]).cpu() for k in at], 1)
    pictures["latent_images"] = x
    return {
        "steps": steps,
        "mse": _mean(setting, mse, steps + 1),
        "log_joint": _mean(setting, joint, steps + 1),
        "moved": _mean(setting, moved) ** 0.5,
    }


def _mean(setting: Setting, parts: list[Tensor], columns: int | None = None) -> Any:
    """The mean over images of all processes, of numbers or of rows of `columns`."""
    shape = (0,) if columns is None else (0, columns)
    rows = torch.cat([torch.empty(shape, dtype=torch.float64), *(part.cpu().double() for part in parts)])
    return setting.processes.collect(rows).mean(0).tolist()
