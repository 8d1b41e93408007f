"""A batch in pieces is the batch: the same draws, the same chains, the same gradients, in a piece's memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from linear import linear_trio
from tiny import checkpoint, tiny, train
from torch import Tensor

from dualmcmc.config import check
from dualmcmc.errors import InputError
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.pieces import pieces, taught
from dualmcmc.sampling import explain, reinfer, synthesise
from dualmcmc.settings import Chain, DualMCMC
from dualmcmc.teaching import energy_loss, generator_loss, inference_loss, teaching
from dualmcmc.teaching.losses import negative_elbo
from dualmcmc.training import setup
from dualmcmc.trio import Trio

CHAIN = Chain(steps=3, step=0.2)
ROWS = 11


def trio_of(at_once: int) -> Trio:
    trio = linear_trio(5, 2, sigma=0.4).double()
    trio.at_once = at_once
    return trio


def data(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("rows", "at_once"), [(1, 0), (7, 0), (7, 1), (7, 3), (7, 7), (7, 9), (64, 32)])
def test_pieces_are_the_range_once_in_order(rows: int, at_once: int) -> None:
    found = pieces(rows, at_once)
    assert [i for piece in found for i in range(piece.start, piece.stop)] == list(range(rows))
    assert max(piece.stop - piece.start for piece in found) <= (at_once or rows)


@pytest.mark.parametrize("make", [Noise, BatchNoise])
@pytest.mark.parametrize("rows", [slice(0, 5), slice(3, 40), slice(32, 64), slice(63, 70)])
def test_a_parts_next_draws_are_its_rows_of_all(make: type[Noise], rows: slice) -> None:
    """After any number of draws before, and on a process whose keys begin anywhere."""
    whole = make(7, range(5, 75), path=("x",))
    whole.normal_like(torch.empty(70, 2))
    part = whole.part(rows, 70)
    for _ in range(2):
        drawn = whole.normal_like(torch.empty(70, 3))
        assert torch.equal(part.normal_like(torch.empty(rows.stop - rows.start, 3)), drawn[rows])


@pytest.mark.parametrize("at_once", [1, 4, 11, 20])
def test_chains_in_pieces_end_where_chains_at_once_do(at_once: int) -> None:
    """float64; a matrix product of other row counts may round otherwise, by some eps."""
    for make in (Noise, BatchNoise):
        found = []
        for trio in (trio_of(0), trio_of(at_once)):
            noise = make(1, range(ROWS))
            drawn = synthesise(trio, ROWS, CHAIN, "draw", noise=noise)
            explained = explain(trio, data(ROWS, 5), CHAIN, noise=noise)
            again = reinfer(trio, drawn.x_model, explained.z_post, CHAIN, noise=noise)
            found.append([*drawn, *explained, again])
        for ours, theirs in zip(*found, strict=True):
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-13)


def test_a_mask_per_image_or_for_all_is_cut_with_the_images() -> None:
    for mask in (data(ROWS, 5) > 0, data(1, 5) > 0):
        ends = [
            explain(trio_of(at_once), data(ROWS, 5), CHAIN, noise=Noise(0), visible=mask).z_post
            for at_once in (0, 4)
        ]
        assert torch.allclose(*ends, rtol=0, atol=1e-13)


LOSSES: dict[str, Callable[[Trio], Tensor]] = {
    "energy": lambda trio: energy_loss(trio, data(ROWS, 5), data(2 * ROWS, 5)[ROWS:], 0.1)[0],
    "generator": lambda trio: generator_loss(trio, data(ROWS, 5), data(ROWS, 2)),
    "inference": lambda trio: inference_loss(trio, data(ROWS, 5), data(ROWS, 2)),
    "elbo": lambda trio: negative_elbo(trio, data(ROWS, 5), kl_weight=0.7, noise=Noise(0))[0],
}


@pytest.mark.parametrize("which", LOSSES)
@pytest.mark.parametrize("at_once", [1, 4, 11])
def test_losses_in_pieces_have_the_whole_batchs_value_and_gradient(which: str, at_once: int) -> None:
    """A mean is the weighted mean of its pieces' means; factors put on the loss afterwards reach the gradient."""
    found = []
    for size in (0, at_once):
        trio = trio_of(size)
        loss = LOSSES[which](trio)
        (3 * loss + loss / 2).backward()
        found.append((loss.item(), {n: p.grad for n, p in trio.named_parameters() if p.grad is not None}))
    (value, gradients), (of_pieces, theirs) = found
    assert math.isclose(value, of_pieces, rel_tol=1e-13)
    assert gradients.keys() == theirs.keys()
    assert gradients
    for name, gradient in gradients.items():
        assert torch.allclose(gradient, theirs[name], rtol=1e-12, atol=1e-13), name


def test_gauges_and_codes_are_of_all_rows() -> None:
    whole, parts = (energy_loss(trio_of(n), data(ROWS, 5), 3 * data(2 * ROWS, 5)[ROWS:])[1] for n in (0, 4))
    assert whole.keys() == parts.keys()
    for name in whole:
        assert torch.allclose(whole[name], parts[name], rtol=1e-12), name
    codes = [negative_elbo(trio_of(n), data(ROWS, 5), kl_weight=1.0, noise=Noise(0))[1] for n in (0, 4)]
    assert torch.allclose(*codes, rtol=0, atol=1e-13)
    assert not codes[1].requires_grad


def test_a_loss_of_pieces_is_taught_by_plain_differentiation_too() -> None:
    """The gradient handed on is that of the mean itself, taken without this file."""
    trio = trio_of(3)
    x, z = data(ROWS, 5), data(ROWS, 2)
    generator_loss(trio, x, z).backward()
    ours = {n: p.grad.clone() for n, p in trio.named_parameters() if p.grad is not None}
    trio.zero_grad()
    (-trio.log_joint(x, z).mean()).backward()
    for name, gradient in ours.items():
        assert torch.allclose(gradient, trio.get_parameter(name).grad, rtol=1e-12, atol=1e-13)


def test_without_gradients_a_loss_is_a_plain_mean() -> None:
    trio = trio_of(4)
    with torch.no_grad():
        loss = generator_loss(trio, data(ROWS, 5), data(ROWS, 2))
    assert not loss.requires_grad
    assert not generator_loss(trio.frozen(), data(ROWS, 5), data(ROWS, 2)).requires_grad


@pytest.mark.parametrize("family", ["simple", "residual"])
def test_under_autocast_a_gradient_taken_early_is_that_of_a_backward_outside(family: str) -> None:
    """Heads compute in float32 within a bfloat16 network; so must their gradients, not in bfloat16."""
    config = tiny({"networks.family": family})
    x = torch.rand(2, 6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = []
    for early in (True, False):
        trio = setup.new_trio(config)
        with torch.autocast("cpu", torch.bfloat16):
            if early:
                loss = energy_loss(trio, x[0], x[1])[0]
            else:
                h_data, h_model = trio.h(x.flatten(0, 1)).chunk(2)
                loss = (h_model.mean() - h_data.mean()) / trio.temperature
        loss.backward()
        found.append({n: p.grad for n, p in trio.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert (gradient - found[1][name]).norm() <= 1e-5 * gradient.norm(), name


class Aliasing(torch.nn.Module):
    """Autograd gives one tensor to both matrices of the sum, and an expanded scalar to the shift."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (torch.nn.Parameter(data(3, 2)) for _ in range(2))
        self.shift = torch.nn.Parameter(data(4))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ (self.a + self.b)).sum(1) + self.shift.sum()


@pytest.mark.parametrize("at_once", [0, 1, 4])
def test_gradients_that_share_memory_are_not_changed_twice(at_once: int) -> None:
    found = []
    for early in (True, False):
        net, x = Aliasing(), data(7, 3)
        loss = taught(7, at_once, [net], lambda rows, net=net, x=x: (net(x[rows]).mean(),))[0]
        (3 * (loss if early else net(x).mean())).backward()
        found.append([p.grad for p in net.parameters()])
    for ours, theirs in zip(*found, strict=True):
        assert ours is not None
        assert torch.allclose(ours, theirs, rtol=1e-12)


def test_gradients_that_were_handed_on_are_not_handed_on_again() -> None:
    loss = LOSSES["generator"](trio_of(0))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once"):
        loss.backward()


@pytest.mark.parametrize(("at_once", "most"), [(0, 64), (16, 16), (4, 4)])
def test_autograd_never_holds_more_rows_than_a_piece(at_once: int, most: int) -> None:
    """Of the generator's loss, in the numbers saved at the moment a piece's gradient is taken."""
    net, x = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh()), torch.randn(64, 3)
    alive, peak = 0, 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal alive, peak
            self.tensor, self.rows = tensor, len(tensor) if tensor.shape[-1] == 8 and tensor.ndim == 2 else 0
            alive += self.rows
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= self.rows

    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        (loss,) = taught(64, at_once, [net], lambda rows: (net(x[rows]).sum(1).mean(),))
    assert peak == most
    assert alive == 0
    loss.backward()


@pytest.mark.parametrize("family", ["simple", "residual"])
def test_an_update_of_networks_in_pieces_is_the_update_up_to_rounding(family: str) -> None:
    """float64 and image networks with spectral norm: chains and losses, all four negatives that pieces touch."""
    for negatives in ("reuse", "redraw", "mixed"):
        found = []
        for size in (0, 3):
            changes: dict[str, Any] = {"networks.family": family, "networks.spectral_norm": True}
            config = tiny({**changes, "method.negatives": negatives, "method.buffer": 32, "images.size": 8})
            trio = setup.new_trio(config).double()
            trio.at_once = size
            assert isinstance(config.method, DualMCMC)
            module = teaching(trio, config.method)
            x = torch.rand(8, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
            losses = module(x, BatchNoise(0, range(8)))
            losses.total().backward()
            found.append({n: p.grad for n, p in trio.named_parameters() if p.grad is not None})
        for name, gradient in found[0].items():
            gap = (gradient - found[1][name]).norm()
            assert gap <= 1e-9 * gradient.norm(), (negatives, name)


def test_training_in_micro_batches_is_training(tmp_path: Path) -> None:
    """Three updates in float32: rounding only, relative to how far weights moved, as two processes against one."""
    whole = train(tmp_path / "whole", {"run.steps": 3})
    train(tmp_path / "parts", {"run.steps": 3, "run.micro_batch": 5})
    start = setup.new_trio(whole.config)
    ours, theirs = (checkpoint(tmp_path / name, 3) for name in ("parts", "whole"))
    for network in ("energy", "generator", "inference"):
        names = [f"{network}.{name}" for name, _ in start.get_submodule(network).named_parameters()]
        gap = math.hypot(*((ours[f"weights/{n}"] - theirs[f"weights/{n}"]).norm() for n in names))
        moved = math.hypot(*((theirs[f"weights/{n}"] - start.get_parameter(n).detach()).norm() for n in names))
        assert 0 < gap < 1e-4 * moved, (network, gap / moved)


def test_batchnorm_is_not_cut() -> None:
    with pytest.raises(InputError, match="BatchNorm needs the whole batch"):
        check(tiny({"networks.norm": "batch", "run.micro_batch": 4}))
