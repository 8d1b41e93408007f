"""Costs worked out on the meta device are those of the work itself."""

from __future__ import annotations

from dataclasses import replace

import torch

from dualmcmc import cost
from dualmcmc.counting import Trace, flops_of
from dualmcmc.noise import BatchNoise
from dualmcmc.presets import preset
from dualmcmc.settings import Adam
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import Losses, teaching


def test_flops_of_an_iteration_are_those_that_run() -> None:
    config = preset("digits")
    config = replace(config, optim=replace(config.optim, batch_size=4))
    module = teaching(build_trio(config), config.method)
    x, noise = torch.rand(4, 1, 8, 8) * 2 - 1, BatchNoise(0, range(4))

    def iteration() -> None:
        module(x, noise).total().backward()

    ran = flops_of(iteration)
    told = cost.iteration(config)["flops_per_iteration"]
    assert told == sum(cost.iteration(config)["flops_by_part"][part] for part in cost.PARTS[:-1])
    # What runs beyond it: one power iteration per weight, matrix-vector products all.
    assert 0 <= ran - told < 0.01 * told


def test_flops_grow_linearly_in_chain_lengths_and_batch() -> None:
    config = preset("cifar10")
    whole = cost.iteration(config)
    twice = replace(config, optim=replace(config.optim, batch_size=200))
    assert cost.iteration(twice)["flops_per_iteration"] == 2 * whole["flops_per_iteration"]
    longer = replace(config.method, data_chain=replace(config.method.data_chain, steps=60))
    parts = [cost.iteration(replace(config, method=m))["flops_by_part"] for m in (config.method, longer)]
    per_step = (parts[1]["data_chain"] - parts[0]["data_chain"]) / 30
    assert parts[0]["data_chain"] - 30 * per_step > 0  # the generator's forward
    assert parts[0]["latent_chain"] == parts[1]["latent_chain"]


def test_a_convolution_counts_two_flops_per_multiplication_and_addition() -> None:
    layer, x = torch.nn.Conv2d(3, 5, 3, padding=1, device="meta"), torch.empty(2, 3, 8, 8, device="meta")
    assert flops_of(lambda: layer(x)) == 2 * 2 * 5 * 8 * 8 * 3 * 9


def test_the_optimisers_arithmetic_grows_with_the_networks_that_learn() -> None:
    """Of two phases each moves its own networks; decay and clipping cost more; the average has them all."""
    config = preset("digits")
    learned = sum(cost.iteration(config)["parameters"].values())
    once = learned * (cost.ADAM + cost.NORM + cost.AVERAGE)
    plain = replace(config.optim, **{name: Adam(rate=1e-4) for name in ("energy", "generator", "inference")})
    for negatives in ("reuse", "redraw"):
        c = replace(config, optim=plain, method=replace(config.method, negatives=negatives))
        assert cost.iteration(c)["flops_by_part"]["optimiser"] == once
        assert cost.iteration(c)["bytes_moved_by_part"]["optimiser"] == 4 * learned * (7 + 1 + 3)
    more = replace(plain, energy=replace(plain.energy, weight_decay=0.1, clip=1.0))
    energy = cost.iteration(config)["parameters"]["energy"]
    assert cost.iteration(replace(config, optim=more))["flops_by_part"]["optimiser"] == once + 3 * energy


def test_bytes_are_those_that_operators_read_and_write() -> None:
    x, y = torch.empty(4, 8, device="meta"), torch.empty(8, 16, device="meta")
    with Trace() as trace:
        (x @ y).view(-1).relu_()
        torch.zeros(3, device="meta", dtype=torch.float64)
    moved = [operator.work.moved for operator in trace.take()]
    assert moved == [4 * (32 + 128 + 64), 4 * 2 * 64, 8 * 3]  # the view is free
    assert trace.take() == []


def test_an_operator_belongs_to_the_loss_whose_gradient_passes_through_it() -> None:
    """Two losses that share a layer: it is the first one's; each has its own beside it, forward and backward."""
    shared, own = (torch.nn.Linear(8, 8, bias=False, device="meta") for _ in range(2))
    with Trace() as trace:
        watch = cost._Watch(trace)
        y = shared(torch.empty(2, 8, device="meta"))
        first = y.sum()
        with torch.no_grad():
            constant = own(y.detach())  # it precedes the second loss
        losses = Losses(energy=first, generator=(own(y) * constant).sum())
        summed = losses.total()
        watch.mark("other")
        summed.backward()
        watch.losses_done(losses)
    product = 2 * 2 * 8 * 8
    # Backward: the shared layer's weight, the own one's weight and input.
    assert {part: work.flops for part, work in watch.by_part.items()} == {
        "loss_energy": 2 * product,
        "loss_generator": 4 * product,
    }
