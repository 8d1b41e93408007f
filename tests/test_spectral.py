"""Spectral norms are 1 once power iteration has converged, and stand still within a chain."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dualmcmc import spectral
from dualmcmc.langevin import langevin
from dualmcmc.networks import build
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.presets import preset
from dualmcmc.settings import Chain, DualMCMC, Images, Networks
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import teaching


def _energy(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    settings = Networks(family="residual", latent_dim=4, energy_width=8, generator_width=8, inference_width=8)
    return build(settings, Images(size=16, channels=3))[0]


def _norms(plain: nn.Module) -> list[float]:
    return [torch.linalg.matrix_norm(p.flatten(1).double(), ord=2).item() for p in plain.parameters()]


def test_spectral_norms_are_one_after_power_iteration_has_converged() -> None:
    energy = _energy()
    spectral.power_iteration(energy, times=500)
    assert all(abs(norm - 1) < 1e-4 for norm in _norms(spectral.frozen_copy(energy)))


def test_a_power_iteration_never_lowers_the_estimate_and_never_passes_the_norm() -> None:
    """u' W v rises towards sigma from below, so W / sigma has norm 1 or a little more, falling to 1."""
    energy = _energy(1)
    before = _norms(spectral.frozen_copy(energy))
    spectral.power_iteration(energy, times=3)
    after = _norms(spectral.frozen_copy(energy))
    assert all(1 - 1e-5 < b <= a + 1e-5 for a, b in zip(before, after, strict=True))
    assert max(before) > max(after) + 1e-6


def test_evaluating_moves_nothing_and_training_mode_does_not_iterate() -> None:
    energy = _energy()
    state = copy.deepcopy(energy.state_dict())
    x = torch.randn(2, 3, 16, 16)
    with spectral.weights_once(energy):
        energy(x).sum().backward()
    energy(x)
    assert all(torch.equal(energy.state_dict()[name], value) for name, value in state.items())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in energy.parameters())


def test_a_chain_follows_one_energy_and_changes_no_parameter_or_buffer() -> None:
    energy = _energy()
    frozen = spectral.frozen_copy(energy)
    state = copy.deepcopy(energy.state_dict())
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    before = frozen(x)
    langevin(frozen, x, Chain(steps=5, step=0.5, temperature=4e-6), noise=Noise(0))
    assert torch.equal(frozen(x), before)
    assert all(torch.equal(energy.state_dict()[name], value) for name, value in state.items())
    assert all(not p.requires_grad and p.grad is None for p in frozen.parameters())


def test_a_frozen_copy_is_the_network_and_follows_it_when_refreshed() -> None:
    energy = _energy()
    frozen, x = spectral.frozen_copy(energy), torch.randn(3, 3, 16, 16)
    assert torch.equal(frozen(x), energy(x).detach())
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    spectral.power_iteration(energy)
    assert not torch.allclose(frozen(x), energy(x).detach())
    spectral.refresh(frozen, energy)
    assert torch.equal(frozen(x), energy(x).detach())


def test_assigning_a_plain_network_gives_its_function() -> None:
    energy, other = _energy(0), _energy(1)
    spectral.power_iteration(energy, times=300)
    spectral.assign(other, spectral.frozen_copy(energy))
    spectral.power_iteration(other, times=300)
    x = torch.randn(3, 3, 16, 16)
    assert torch.allclose(other(x), energy(x), rtol=1e-4, atol=1e-5)


def test_one_update_is_one_power_iteration_and_the_chains_see_one_energy() -> None:
    """The energies that the data chain evaluates are all those of one function, of the iterated weights."""
    config = preset("digits")
    trio = build_trio(config)
    expected = copy.deepcopy(trio)
    spectral.power_iteration(expected.energy)
    module = teaching(trio, DualMCMC(data_chain=Chain(steps=3, step=0.5, temperature=4e-6)))
    seen: list[tuple[Tensor, Tensor]] = []
    frozen_energy = module.frozen().energy
    frozen_energy.register_forward_hook(lambda _, args, out: seen.append((args[0].detach().clone(), out.detach())))
    module(torch.rand(4, 1, 8, 8) * 2 - 1, BatchNoise(0, range(4)))
    assert len(seen) == 3
    for x, h in seen:
        assert torch.allclose(h, expected.energy(x), rtol=1e-5, atol=1e-6)
    name = "energy.head.parametrizations.weight.0._u"
    assert torch.equal(trio.state_dict()[name], expected.state_dict()[name])
