"""What an iteration costs, worked out by running the method on torch's meta device: nothing is computed.

FLOPs count a multiplication and an addition as two, in convolutions and matrix products, forward and
backward as each part runs them: chains differentiate for their state only, losses for weights. The optimiser
has neither; it is counted by its arithmetic (`optimiser`).

Bytes moved are a model of caches that keep nothing from one operator to the next: each reads every tensor it is
given and writes every tensor it gives, whole and in its own size, in float32. Views and allocations move nothing;
drawing noise is left out. Fused kernels move less, convolutions that unfold their input more.

A part is a chain, a network's own loss with its backward, or the optimiser. An operator of the losses belongs
to the loss whose gradient passes through its node of autograd's graph; a loss that teaches two networks at once
stands under one of them, as `Losses.named` has it. What carries no gradient goes with the loss that it precedes,
and so does what a loss ran to take its gradient early (`pieces.taught`): its graph is gone by then.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dualmcmc.counting import Operator, Trace, Work, total
from dualmcmc.methods import JEM
from dualmcmc.noise import Noise
from dualmcmc.settings import Config, Optim
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.storage import pretrained
from dualmcmc.teaching import Losses, Update, teaching
from dualmcmc.training import optimisation
from dualmcmc.trio import Trio

FLOAT = 4
"""Bytes of a float32."""
CLASSES = 10
"""Of JEM, where the data are to say."""
COPIES = 5
"""Weights, gradients, Adam's two moments, the average."""
CHAINS = ("data_chain", "latent_chain")
PARTS = (*CHAINS, "loss_energy", "loss_generator", "loss_inference", "optimiser")
"""What an iteration is made of."""
ADAM, NORM, DECAY, CLIP, AVERAGE = 13, 2, 2, 1, 3
"""FLOPs per number learned: Adam 3 for the mean, 4 for the mean square, 3 for its root, corrected and kept from 0,
3 for the move; the gradient's norm; the decay of weights, and clipping, where they are on; the running average."""
ADAM_MOVES, NORM_MOVES, CLIP_MOVES, AVERAGE_MOVES = 7, 1, 2, 3
"""Numbers read and written for each: Adam reads weight, gradient, two moments, and writes all but the gradient."""


def parameters(trio: Trio) -> dict[str, int]:
    """Learned numbers per network; of those a method has none of, 0."""
    counts = dict.fromkeys(("energy", "generator", "inference"), 0)
    return {**counts, **{name: sum(p.numel() for p in net.parameters()) for name, net in trio.named_children()}}


def iteration(config: Config, *, step: int | None = None) -> dict[str, Any]:
    """Parameters, and per iteration FLOPs, bytes moved and operators by part, and memory, of one process.

    Arguments:
        config: whose batch is the process's own.
        step: of the update; by default one after any first phase (VAEBM's autoencoder).

    Returns:
        parameters (energy, generator, inference); flops_per_iteration, of convolutions and matrix products, so
        without the optimiser's; flops_by_part, bytes_moved_by_part, operators_by_part (`PARTS`; the optimiser's
        few operators are not counted); bytes_moved_per_iteration, operators_per_iteration, of all parts;
        memory_bytes (weights with gradients, moments and average; activations, the most that autograd holds at
        any moment; what the method remembers; the sum, which an allocator's slack adds to).
    """
    b, images = config.optim.batch_size, config.images
    if isinstance(config.method, JEM) and not config.method.classes:  # left to data that are not at hand
        config = replace(config, method=replace(config.method, classes=CLASSES))
    with torch.device("meta"):
        trio = pretrained.build_trio(config, spectral_norm=False)
        x = torch.empty(b, images.channels, images.size, images.size)
        labels, positions = torch.zeros(b, dtype=torch.int64), torch.zeros(b, dtype=torch.int64)
    trio.at_once = config.run.micro_batch
    if step is None:
        step = getattr(config.method, "vae_steps", 0)
    module = teaching(trio, config.method)
    module.frozen()  # made once
    # Every image was seen before.
    update = Update(step=step, batch=b, total=b, images=positions, labels=labels)
    watch = _run(module, x, update, config.optim)
    if module.rows or module.tables:  # the first update fills what all others find
        watch = _run(module, x, update, config.optim)
    counts = parameters(trio)
    kept = {
        "weights": sum(counts.values()) * FLOAT * COPIES,
        "activations": watch.most,
        "memory": sum(t.numel() * t.element_size() for t in (*module.rows.values(), *module.tables.values())),
    }
    by_part = {part: watch.by_part[part] for part in PARTS}
    whole = total(by_part.values())
    return {
        "parameters": counts,
        "flops_per_iteration": whole.flops - by_part["optimiser"].flops,
        "flops_by_part": {part: work.flops for part, work in by_part.items()},
        "bytes_moved_per_iteration": whole.moved,
        "bytes_moved_by_part": {part: work.moved for part, work in by_part.items()},
        "operators_per_iteration": whole.operators,
        "operators_by_part": {part: work.operators for part, work in by_part.items()},
        "memory_bytes": {**kept, "total": sum(kept.values())},
    }


def optimiser(trio: Trio, settings: Optim) -> Work:
    """The step after a backward: that of the networks that have a gradient."""
    flops = numbers = 0
    for name in optimisation.networks(trio):
        adam = optimisation.adam_of(name, settings)
        learned = sum(p.numel() for p in trio.get_submodule(name).parameters() if p.grad is not None)
        decay = bool(adam.weight_decay) and name != "extra"
        flops += learned * (ADAM + NORM + DECAY * decay + CLIP * bool(adam.clip))
        numbers += learned * (ADAM_MOVES + NORM_MOVES + CLIP_MOVES * bool(adam.clip))
    return Work(flops, numbers * FLOAT)


def average(trio: Trio) -> Work:
    """The running average's, once per update."""
    learned = sum(p.numel() for p in trio.parameters())
    return Work(learned * AVERAGE, learned * AVERAGE_MOVES * FLOAT)


def _run(module: Any, x: Tensor, update: Update, settings: Optim) -> _Watch:
    """One update's forwards, backwards and steps of the optimiser, booked."""
    with Trace() as trace:
        watch = _Watch(trace)
        for phase in range(module.phases):
            with torch.autograd.graph.saved_tensors_hooks(watch.pack, lambda saved: saved.tensor):
                losses = module.losses(x, _NoNoise(0), watch, update._replace(phase=phase))
            summed = losses.total()
            watch.mark("other")
            summed.backward()
            watch.losses_done(losses)
            watch.book("optimiser", optimiser(module.trio, settings))
            module.zero_grad()
    watch.book("optimiser", average(module.trio))
    return watch


class _NoNoise(Noise):
    """Draws of the right shape that hold nothing."""

    def _fill(self, eps: Tensor, keys: Sequence[int]) -> None:
        pass


class _Watch(Stopwatch):
    """Books work, not seconds, and the most bytes that autograd keeps at a time."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(enabled=False)
        self.trace = trace
        self.by_part: dict[str, Work] = defaultdict(Work)
        self._forward: list[Operator] = []
        self._kept: Counter[int] = Counter()
        self._held = self.most = 0

    def book(self, part: str, *works: Work) -> None:
        """This belongs to `part`."""
        self.by_part[part] = total((self.by_part[part], *works))

    def mark(self, part: str) -> None:
        """What ran since the last mark belongs to this chain, or to some loss."""
        ran = self.trace.take()
        if part in CHAINS:
            self.book(part, *(operator.work for operator in ran))
        else:
            self._forward += ran

    def pack(self, tensor: Tensor) -> _Saved:
        """Autograd keeps this tensor for a backward."""
        return _Saved(self, tensor)

    def keep(self, memory: int, size: int, times: int) -> None:
        """Once more, or once less, autograd keeps these `size` bytes."""
        before = self._kept[memory] > 0
        self._kept[memory] += times
        self._held += size * ((self._kept[memory] > 0) - before)
        self.most = max(self.most, self._held)

    def losses_done(self, losses: Losses) -> None:
        """Backward is over: what is in no chain belongs to these."""
        owners, early = _owners(losses)
        numbers = sorted(early)
        first = next(iter(losses.named()))
        # Without an owner are, before a loss, what carries no gradient, and after its backward sums of gradients.
        for ran in (self._forward[::-1], self.trace.take()):
            owner = first
            by_owner: dict[str, list[Work]] = defaultdict(list)
            for operator in ran:
                if operator.node in owners:
                    owner = owners[operator.node]
                elif operator.node is not None and (at := bisect_left(numbers, operator.node)) < len(numbers):
                    owner = early[numbers[at]]
                by_owner[owner].append(operator.work)
            for name, works in by_owner.items():
                self.book(f"loss_{name}", *works)
        self._forward.clear()


class _Saved:
    """A tensor while autograd keeps it."""

    def __init__(self, watch: _Watch, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        self.tensor, self.watch, self.memory = tensor, watch, (storage._cdata, storage.nbytes())
        watch.keep(*self.memory, 1)

    def __del__(self) -> None:
        self.watch.keep(*self.memory, -1)


def _owners(losses: Losses) -> tuple[dict[int | None, str], dict[int, str]]:
    """The numbers of autograd's nodes, each with the network whose loss it leads to: the first such.

    Apart, of those whose gradients were taken early: all nodes since the one before were its own.
    """
    owners: dict[int | None, str] = {}
    early: dict[int, str] = {}
    for name, loss in losses.named().items():
        left = [loss.grad_fn]
        while left:
            node = left.pop()
            if node is None or not node.next_functions or node._sequence_nr() in owners:
                continue  # a leaf, which has no number, or seen
            owners[node._sequence_nr()] = name
            if node.name() == "_KnownBackward":
                early[node._sequence_nr()] = name
            left += [following for following, _ in node.next_functions]
    return owners, early
