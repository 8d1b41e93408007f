"""What an iteration runs: FLOPs to the last, operators of a chain's step. A slip in cost fails, untimed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dualmcmc import cost
from dualmcmc.counting import flops_of
from dualmcmc.noise import BatchNoise
from dualmcmc.presets import preset
from dualmcmc.settings import Config, Networks
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import Teaching, Update, teaching

B, SIZE, D = 4, 8, 5
"""Images (1 channel), and dimensions of a code."""
WE, WG, WI = 8, 16, 6
"""Widths."""
KX, KZ = 3, 2


def config(family: str, kx: int = KX, kz: int = KZ) -> Config:
    c = preset("digits")
    networks = Networks(
        family=family,  # type: ignore[arg-type]
        latent_dim=D,
        energy_width=WE,
        generator_width=WG // 8 if family == "simple" else WG,
        inference_width=WI,
        spectral_norm=False,
    )
    method = replace(c.method, data_chain=replace(c.method.data_chain, steps=kx))
    method = replace(method, latent_chain=replace(method.latent_chain, steps=kz))
    return replace(c, networks=networks, method=method, optim=replace(c.optim, batch_size=B))


def conv(c_in: int, c_out: int, kernel: int, pixels: int) -> int:
    """FLOPs of one image: `pixels` is the side of its output, of its input where the convolution is transposed."""
    return 2 * c_in * c_out * kernel**2 * pixels**2


ENERGY = {  # the layers that see the image first
    "simple": [conv(1, WE, 3, 8), conv(WE, 2 * WE, 4, 4), conv(2 * WE, 1, 4, 1)],
    "residual": [
        *(conv(1, WE, 3, 8), conv(1, WE, 1, 4), conv(WE, WE, 4, 4)),  # a pooled 3x3 is a strided 4x4
        *(conv(WE, WE, 3, 4), conv(WE, WE, 1, 2), conv(WE, WE, 4, 2)),
        *[conv(WE, WE, 3, 2)] * 4,
        2 * WE,
    ],
}
SEE_IMAGE = {"simple": 1, "residual": 2}
GENERATOR = {  # the layer that sees the code first
    "simple": [conv(D, WG, 4, 1), conv(WG, WG // 4, 4, 4), conv(WG // 4, 1, 3, 8)],
    "residual": [2 * D * WG * 16, conv(WG, WG, 1, 4), *[conv(WG, WG, 3, 8)] * 2, conv(WG, 1, 3, 8)],
}
INFERENCE = [conv(1, WI, 3, 8), conv(WI, 2 * WI, 4, 4), *[conv(2 * WI, D, 4, 1)] * 2]


def by_hand(family: str, kx: int = KX, kz: int = KZ) -> dict[str, int]:
    """FLOPs of an iteration: forward, gradient of the input, of the weights cost alike, where they are needed."""
    h, g, q = sum(ENERGY[family]), sum(GENERATOR[family]), sum(INFERENCE)
    return {
        "data_chain": B * (g + kx * 2 * h),
        "latent_chain": B * (q + kz * 2 * g),
        "loss_energy": 2 * B * (3 * h - sum(ENERGY[family][: SEE_IMAGE[family]])),
        "loss_generator": 2 * B * (3 * g - GENERATOR[family][0]),
        "loss_inference": 2 * B * (3 * q - INFERENCE[0]),
    }


class Operators(TorchDispatchMode):
    """Names of those that compute something: no views, no allocations, no questions about types."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, name = func(*args, **(kwargs or {})), str(func)
        if (
            isinstance(out, torch.Tensor | tuple)
            and not func.is_view
            and "empty" not in name
            and "view" not in name
        ):
            self.names.append(name)
        return out


def iterations(c: Config) -> tuple[Teaching, Any]:
    """The method, and what runs an iteration of it, its second or later one."""
    torch.manual_seed(0)
    module = teaching(build_trio(c), c.method)
    x = torch.rand(B, 1, SIZE, SIZE) * 2 - 1

    def run() -> None:
        module(x, BatchNoise(0, range(B)), None, Update()).total().backward()
        module.zero_grad()

    run()  # makes the frozen copies
    return module, run


def operators(c: Config) -> list[str]:
    _, run = iterations(c)
    with Operators() as seen:
        run()
    return seen.names


@pytest.mark.parametrize("family", ["simple", "residual"])
def test_flops_of_an_iteration_are_those_worked_out_by_hand(family: str) -> None:
    """Chains: forward and gradient of the input, never of a weight; losses: on draws without gradient."""
    expected = by_hand(family)
    _, run = iterations(config(family))
    assert flops_of(run) == sum(expected.values())
    told = cost.iteration(config(family))["flops_by_part"]
    assert {part: told[part] for part in expected} == expected


DRAW = 2
"""Operators of a step's noise: a block of rows is drawn, and this batch's taken from it."""
# f forward, backward, the drift and the noise added; an activation, a norm, a doubling, a sum are one each.
STEP = {
    ("simple", "data"): (2 + 2 + 3) + (1 + 1 + 2 + 2) + 2,  # the head: to matrix, product, sum of the batch
    ("simple", "latent"): 46,  # of which the log-density of x and z is 29
    ("residual", "data"): 64,  # of which the kernels of two pooled convolutions are 8
    ("residual", "latent"): 60,
}
"""Operators of a chain's step beside its noise."""


@pytest.mark.parametrize("family", ["simple", "residual"])
@pytest.mark.parametrize("chain", ["data", "latent"])
def test_a_chains_step_starts_so_many_operators(family: str, chain: str) -> None:
    """At most; no copy of the weights fits in, no normalisation of theirs, no second evaluation."""
    base, longer = config(family), config(family, KX + (chain == "data"), KZ + (chain == "latent"))
    added = Counter(operators(longer)) - Counter(operators(base))
    assert added.total() <= STEP[family, chain] + DRAW, added
    told = [cost.iteration(c)["operators_by_part"][f"{chain}_chain"] for c in (base, longer)]
    # The meta device chooses a layout of its own: one copy more, or less.
    assert abs(told[1] - told[0] - (added.total() - DRAW)) <= 1
