"""What several processes of one run must agree on, and how one learns that another is gone."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator


def share_of_batch(accelerator: Accelerator, batch: int) -> range:
    """This process's places in the global batch.

    Raises:
        InputError: the batch cannot be divided evenly.
    """
    processes = accelerator.num_processes
    if batch % processes:
        raise InputError(
            f"setting optim.batch_size is {batch}: it must be a multiple of the {processes} processes"
        )
    share = batch // processes
    first = accelerator.process_index * share
    return range(first, first + share)


def any_of(accelerator: Accelerator, here: bool) -> bool:
    """Whether it is so on some process; all must ask together."""
    flag = torch.full((), float(here), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum").item() > 0)


def means(accelerator: Accelerator, figures: dict[str, Tensor]) -> dict[str, float]:
    """Each scalar's mean over all processes, which all must have in this order: one host sync."""
    row = torch.stack([value.detach().float() for value in figures.values()])
    return dict(zip(figures, accelerator.reduce(row, "mean").tolist(), strict=True))


def average_buffers(accelerator: Accelerator, network: nn.Module) -> None:
    """Keeps BatchNorm statistics, which each process gathers from its own rows, equal on all."""
    if accelerator.num_processes == 1:
        return
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.copy_(accelerator.reduce(buffer, "mean"))


def strangers(accelerator: Accelerator, module: nn.Module) -> list[int]:
    """Processes whose parameters are not, bit for bit, those of the most; all must ask together."""
    if accelerator.num_processes == 1:
        return []
    own = torch.tensor([parameter_hash(module)], device=accelerator.device)
    found: list[int] = accelerator.gather(own).tolist()
    common = Counter(found).most_common(1)[0][0]
    return [process for process, seen in enumerate(found) if seen != common]


def parameter_hash(module: nn.Module) -> int:
    """63 bits of the SHA-256 of all parameters, as int64 holds them."""
    digest = hashlib.sha256()
    for parameter in module.parameters():
        digest.update(parameter.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return int.from_bytes(digest.digest()[:8], "little") >> 1


def lost_peer(error: RuntimeError) -> bool:
    """Whether a collective failed because another process is gone."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error)
