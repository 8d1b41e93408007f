"""Checkpoints of the released code (jcui1224/dual-MCMC) as networks of ours: the one place that reads a .pth.

Such a file is a pickled dictionary with `netE`, `netG`, `netI` (weights) and, not needed here, `epoch` and the
optimisers. torch reads it with `weights_only`: of a pickle it takes tensors and containers, and calls nothing.

    theirs                                     ours
    netE: conv_1, block2, ... (conv1, conv2, sc)   energy.blocks.0, 1, ... (first, second, skip)
          lin_N                                    energy.head, negated: their E is -h
    netG: lin_1                                    generator.project
          block2, ... (bn_1, conv1, bn_2, conv2, sc)   generator.blocks.0, ... (norm_first, first, ...)
          bn_N, convN                              generator.norm, generator.to_image
    netI: main.0, 2, 4, 6                          inference.trunk.0, 2, 4, 6
          conv51, conv52                           inference.mean, inference.log_variance

Every weight of netE is under spectral norm: stored are `weight_orig` W and estimates u, v of its leading singular
vectors, used is W / (u' W v), the reshaped kernel being the matrix. That is what is written out here: netE as it
is in its eval mode. (In train mode, which the released code never leaves, each call moves u and v on.)

netG has BatchNorm, and the released code draws with the statistics of each batch of prior codes. Its running
statistics are mostly of posterior codes and serve nothing. `networks` copies them; a model gets those of prior
draws (`pretrained.plain_trio`), the limit of large batches of what the released code computes.

Names of the 32-pixel networks are those of that code's nets.py of May 2023. The 64-pixel ones were published later
and not seen: they are assumed to go on in the same pattern, and what does not is refused by name.
"""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualmcmc import config as configs
from dualmcmc import limits, reading
from dualmcmc.errors import InputError
from dualmcmc.presets import preset
from dualmcmc.settings import Config, Networks
from dualmcmc.storage import pretrained
from dualmcmc.trio import Trio

PRESETS = {"cifar10": 4, "celeba64": 5}
"""Presets whose networks were released, with the number of the energy's blocks."""
LAYERS = {"first": "conv1", "second": "conv2", "skip": "sc", "norm_first": "bn_1", "norm_second": "bn_2"}
"""Ours to theirs, within a block."""
EPOCHS = 301
"""Of a whole released training."""
FAILURES = (
    *(OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError),
    *(struct.error, zipfile.BadZipFile),
)
"""What torch's reader raises on bytes that are no checkpoint."""
Weights = Mapping[str, Tensor]


def convert(file: Path, name: str) -> tuple[Trio, Config, int]:
    """Networks to sample from, settings and training step of a released checkpoint.

    Arguments:
        file: the checkpoint.
        name: the preset that it was trained as; widths and latent dimensions are the file's.

    Raises:
        InputError: the preset has no released networks, the file cannot be read without running code, or its
            tensors are not those of these networks; the line names the first.
    """
    if name not in PRESETS:
        raise InputError(f"--preset {name}: the released networks are those of {' and '.join(PRESETS)}")
    nets = read(file)
    settings = settings_of(nets, name, str(file))
    trio = networks(nets, settings, str(file))
    epoch = nets["epoch"].item() + 1 if "epoch" in nets else EPOCHS
    return pretrained.plain_trio(trio), settings, int(epoch) * settings.run.steps // EPOCHS


def read(file: Path) -> dict[str, Any]:
    """netE, netG and netI of a checkpoint, each a dictionary of tensors, and its epoch as a tensor if it has one.

    Raises:
        InputError: there is no such file, it asks to run code, or it holds something else.
    """
    try:
        reading.check_size(file, limits.TENSORS)
        _check_unpacked(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except pickle.UnpicklingError:
        raise InputError(f"{file} holds more than tensors, or is no checkpoint: nothing of it was run") from None
    except FAILURES as error:
        kind = type(error).__name__
        raise InputError(f"{file} cannot be read as a checkpoint ({kind}): check the path, or fetch it") from None
    for name in ("netE", "netG", "netI"):
        weights = found.get(name) if isinstance(found, dict) else None
        if not isinstance(weights, Mapping) or not all(isinstance(w, Tensor) for w in weights.values()):
            raise InputError(f"{file} holds no {name}: give a checkpoint that the released train.py saved")
    epoch = found.get("epoch")
    nets: dict[str, Any] = {name: dict(found[name]) for name in ("netE", "netG", "netI")}
    return {**nets, "epoch": torch.tensor(epoch)} if isinstance(epoch, int) and 0 <= epoch < EPOCHS else nets


def _check_unpacked(file: Path) -> None:
    """Refuses an archive that is compressed: torch writes none, and a small one may hold more than memory does."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise InputError(f"{file} is a compressed archive, which no checkpoint is: nothing of it was read")


def settings_of(nets: Mapping[str, Weights], name: str, source: str) -> Config:
    """The preset's settings with the file's widths, and BatchNorm.

    Raises:
        InputError: a tensor that tells a width is missing, or the width is beyond what is taken.
    """
    energy = _tensor(nets, "netE", f"lin_{PRESETS[name] + 1}.weight_orig", source, ndim=2)
    latent = _tensor(nets, "netG", "lin_1.weight", source, ndim=2)
    trunk = _tensor(nets, "netI", "main.0.weight", source, ndim=4)
    widths = Networks(
        family="residual",
        latent_dim=latent.shape[1],
        energy_width=energy.shape[1],
        generator_width=len(latent) // 16,
        inference_width=len(trunk),
        norm="batch",
    )
    return configs.check(replace(preset(name), networks=widths))


def networks(nets: Mapping[str, Weights], settings: Config, source: str) -> Trio:
    """Our networks with a checkpoint's weights, BatchNorm's running statistics among them.

    Raises:
        InputError: naming the first tensor of theirs that is missing, left over, or of another shape.
    """
    trio = pretrained.build_trio(settings, spectral_norm=False)
    weights, taken = {}, {"netE": set[str](), "netG": set[str](), "netI": set[str]()}
    for ours, own in trio.state_dict().items():
        net, theirs = theirs_of(ours, PRESETS[settings.preset])
        if net == "netE":
            names = [f"{theirs}{end}" for end in ("_orig", "_u", "_v")]
            w, u, v = (_tensor(nets, net, name, source) for name in names)
            _check_shape(w, own, net, theirs, source)
            tensor = _normalised(w, u, v, f"{source}: {net}.{theirs}")
            tensor = -tensor if ours == "energy.head.weight" else tensor
        else:
            names, tensor = [theirs], _tensor(nets, net, theirs, source)
        _check_shape(tensor, own, net, theirs, source)
        weights[ours] = tensor
        taken[net] |= {*names}
    for net, names_taken in taken.items():
        if left := sorted(nets[net].keys() - names_taken):
            raise InputError(f"{source}: {net}.{left[0][:200]} belongs to other networks than the released ones")
    pretrained.fill(trio, weights, source)
    return trio.eval().requires_grad_(False)


def theirs_of(ours: str, blocks: int) -> tuple[str, str]:
    """The network and the name, there, of a tensor of ours, of networks whose energy has that many blocks."""
    part, *path, leaf = ours.split(".")
    if part == "inference":
        place = {"mean": "conv51", "log_variance": "conv52"}.get(path[0], ".".join(["main", *path[1:]]))
        return "netI", f"{place}.{leaf}"
    if path[0] == "blocks":
        number = int(path[1]) + (1 if part == "energy" else 2)
        block = "conv_1" if number == 1 else f"block{number}"
        return ("netE" if part == "energy" else "netG"), f"{block}.{LAYERS[path[2]]}.{leaf}"
    last = blocks + 1
    if part == "energy":
        return "netE", f"lin_{last}.{leaf}"
    return "netG", {"project": "lin_1", "norm": f"bn_{last}", "to_image": f"conv{last}"}[path[0]] + f".{leaf}"


def _check_shape(tensor: Tensor, own: Tensor, net: str, theirs: str, source: str) -> None:
    if tensor.shape != own.shape:
        seen, expected = tuple(tensor.shape), tuple(own.shape)
        raise InputError(f"{source}: {net}.{theirs} has shape {seen}, and {expected} is expected")


def _normalised(weight: Tensor, u: Tensor, v: Tensor, source: str) -> Tensor:
    """W / (u' W v), the kernel W (O, ...) being the matrix (O, N); u (O,), v (N,)."""
    matrix = weight.flatten(1) if weight.ndim > 1 else weight[None]
    if u.shape != matrix.shape[:1] or v.shape != matrix.shape[1:]:
        raise InputError(
            f"{source}: its u and v have shapes {tuple(u.shape)} and {tuple(v.shape)}, not its weight's"
        )
    return weight / torch.dot(u, matrix @ v)


def _tensor(nets: Mapping[str, Weights], net: str, name: str, source: str, ndim: int | None = None) -> Tensor:
    found = nets[net].get(name)
    # Others cannot be computed with, or stand for more numbers than they hold.
    plain = found is not None and found.layout == torch.strided and found.is_contiguous()
    if found is None or not plain or (ndim is not None and found.ndim != ndim):
        raise InputError(f"{source}: {net} has no fitting {name}: is it of this preset, and of the released code?")
    return found.float() if found.is_floating_point() else found
