"""The processes that share one evaluation, as torchrun or `accelerate launch` starts them; one is the plain case.

Work is cut by index: of n images, process r of W takes a contiguous part, and what belongs to image i (its
noise, its row of features) depends on i alone. Sums over processes then equal one process's up to rounding,
and rows collected in rank order are one process's rows.

Every process calls `add`, `collect` and `wait` equally often and in the same order, one with an empty share
too: the others wait for it.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module

import torch
from torch import Tensor, distributed

from dualmcmc.devices import best_device, check_device
from dualmcmc.errors import InputError


@dataclass(frozen=True)
class Processes:
    """This process's number among `count`, and the device that it computes on.

    Arguments:
        rank: from 0.
        count: how many there are.
        device: of this process; tensors of other devices are moved there to be exchanged, and back.
    """

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def current(cls, device: str | None = None) -> Processes:
        """The processes that this one was started among; starts nothing where it is alone.

        Arguments:
            device: cpu, cuda, cuda:N or mps; None: the best there is. Of several processes, each takes a
                device of its own.

        Raises:
            InputError: there is no such device, or the processes would share one or not find each other.
        """
        check_device(device)
        wanted, count = device or best_device(), world_size()
        if count < 2:
            return cls(device=torch.device(wanted))
        if ":" in wanted:
            raise InputError(f"--device {wanted}: each of several processes takes its own; give cuda or cpu")
        if wanted == "cpu":
            end_threads_at_exit()
        from accelerate import PartialState

        # Others wait while one process reads data or writes; a state that training has made serves on.
        state = PartialState(cpu=wanted == "cpu", timeout=timedelta(hours=12))
        if state.num_processes != count:
            raise InputError(f"{count} processes on {wanted} do not work together: give cuda or cpu, or start one")
        # accelerate calls the CPU cpu:0, which no tensor's device equals.
        own = torch.device("cpu") if wanted == "cpu" else state.device
        return cls(state.process_index, state.num_processes, own)

    @property
    def main(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """This process's part of range(n): contiguous, in rank order, lengths differ by one at most, maybe 0."""
        return range(n * self.rank // self.count, n * (self.rank + 1) // self.count)

    def add(self, *tensors: Tensor) -> None:
        """Replaces each tensor, in place, by its sum over all processes, in the tensor's own precision."""
        if self.count == 1:
            return
        for tensor in tensors:
            total = tensor.to(self.device).contiguous()
            distributed.all_reduce(total)
            if total is not tensor:
                tensor.copy_(total)

    def collect(self, rows: Tensor) -> Tensor:
        """All processes' rows, in rank order, on every process and on the device of `rows`.

        Arguments:
            rows: (N_r, *), N_r may be 0; type and * are those of the other processes.

        Returns:
            (sum of N_r, *).
        """
        if self.count == 1:
            return rows
        lengths = torch.zeros(self.count, dtype=torch.int64)
        lengths[self.rank] = len(rows)
        self.add(lengths)
        # One broadcast per process: exact lengths, so nothing is padded and cut again.
        parts = []
        for rank, length in enumerate(lengths.tolist()):
            part = rows.to(self.device).contiguous() if rank == self.rank else None
            if part is None:
                part = torch.empty((length, *rows.shape[1:]), dtype=rows.dtype, device=self.device)
            if part.numel():
                distributed.broadcast(part, src=rank)
            parts.append(part.to(rows.device))
        return torch.cat(parts)

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.count > 1:
            self.add(torch.zeros(1))


def world_size() -> int:
    """How many processes torchrun or `accelerate launch` says there are; 1 where nobody says.

    Raises:
        InputError: WORLD_SIZE is no number.
    """
    said = os.environ.get("WORLD_SIZE") or "1"
    if not said.isdecimal():
        raise InputError(f"WORLD_SIZE is {said[:20]!r} in the environment: torchrun sets it to a number; unset it")
    return max(1, int(said))


def end_threads_at_exit() -> None:
    """For gloo, before its process group begins: a thread of it that outlives Python may abort the exit."""
    # Loaded later, as DDP and optimisers do, it would keep the group, and so its threads, for good (torch 2.13).
    import_module("torch._dynamo")
    atexit.register(_leave)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
