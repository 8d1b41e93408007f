"""Costs worked out on the meta device are those of the work itself."""

from __future__ import annotations

from dataclasses import replace

import torch

from dualmcmc import cost
from dualmcmc.noise import BatchNoise
from dualmcmc.presets import preset
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import teaching


def test_flops_of_an_iteration_are_those_that_run() -> None:
    config = preset("digits")
    config = replace(config, optim=replace(config.optim, batch_size=4))
    module = teaching(build_trio(config), config.method)
    x, noise = torch.rand(4, 1, 8, 8) * 2 - 1, BatchNoise(0, range(4))

    def iteration() -> None:
        module(x, noise).total().backward()

    ran = cost.flops_of(iteration)
    told = cost.iteration(config)["flops_per_iteration"]
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
    assert cost.flops_of(lambda: layer(x)) == 2 * 2 * 5 * 8 * 8 * 3 * 9
