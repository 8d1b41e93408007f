"""Chains settle where Eqs. (L1) and (L2) say, for any log-density, and touch nothing else."""

from __future__ import annotations

import pytest
import torch
from linear import assert_moments, settled_covariance
from torch import nn

from dualmcmc.langevin import Trace, langevin, langevin_step, score
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.settings import Chain
from dualmcmc.toys import Mixture


@pytest.mark.parametrize(("step", "temperature"), [(0.8, 0.5), (0.5, 1.0), (0.9, 4e-6)])
def test_a_chain_on_a_gaussian_settles_at_the_biased_covariance(step: float, temperature: float) -> None:
    """Eq. (L2) per eigenvalue, rotated: a wrong sign, half, root or a lost correlation all show."""
    basis, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double())
    precision = basis @ torch.diag(torch.tensor([0.6, 1.5, 3.0], dtype=torch.float64)) @ basis.T
    mean = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def f(x: torch.Tensor) -> torch.Tensor:
        return -(((x - mean) @ precision) * (x - mean)).sum(1) / 2

    n, slowest = 40_000, 1 - step**2 * 0.6 / 2
    steps = int(torch.tensor(1e-5 * temperature).log() / (2 * torch.tensor(slowest).log())) + 1
    start = torch.zeros(n, 3, dtype=torch.float64)
    x = langevin(f, start, Chain(steps=steps, step=step, temperature=temperature), noise=BatchNoise(1, range(n)))
    assert_moments(x, mean, settled_covariance(precision, step, temperature))


def test_at_temperature_zero_a_chain_is_gradient_ascent() -> None:
    x = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(4, 3)
    by_hand = x.clone()
    for _ in range(7):
        by_hand = by_hand + 0.3**2 / 2 * -by_hand.sinh()  # grad of -cosh
    ours = langevin(lambda x: -x.cosh().sum(1), x, Chain(steps=7, step=0.3, temperature=0.0), noise=Noise(0))
    assert torch.allclose(ours, by_hand, rtol=1e-13, atol=0)


def test_a_chain_is_its_single_steps_with_the_same_draws() -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    chain = Chain(steps=6, step=0.4, temperature=0.7)
    whole = langevin(lambda x: -x.square().sum(1), x, chain, noise=Noise(3))
    noise, stepped = Noise(3), x
    for _ in range(6):
        stepped = langevin_step(lambda x: -x.square().sum(1), stepped, 0.4, 0.7, noise=noise)
    assert torch.equal(whole, stepped)


def test_a_trace_holds_the_states_asked_for_and_every_log_density_and_gradient_norm() -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return -x.square().sum(1) / 2

    x, chain = torch.ones(3, 2), Chain(steps=7, step=0.5)
    trace = Trace(at=(0, 3, 7))
    end = langevin(f, x, chain, noise=Noise(0), trace=trace)
    assert [len(trace.log_density), len(trace.gradient_norm)] == [8, 7]
    assert sorted(trace.states) == [0, 3, 7]
    assert torch.equal(trace.states[0], x)
    assert torch.equal(trace.states[7], end)
    for k, state in trace.states.items():
        assert torch.equal(trace.log_density[k], f(state))
    assert torch.allclose(trace.gradient_norm[3], trace.states[3].norm(dim=1))  # grad f = -x
    assert torch.equal(end, langevin(f, x, chain, noise=Noise(0)))  # looking changes nothing


def test_a_chain_leaves_start_and_parameters_alone_and_keeps_no_graph() -> None:
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    before = [p.clone() for p in network.parameters()]
    x = torch.randn(4, 3)
    start = x.clone()
    end = langevin(lambda x: network(x).squeeze(1), x, Chain(steps=5, step=0.5), noise=Noise(0))
    assert torch.equal(x, start)
    assert not end.requires_grad
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))
    assert all(p.grad is None for p in network.parameters())


def test_a_chain_runs_under_inference_mode_with_the_same_result() -> None:
    chain = Chain(steps=4, step=0.3)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    outside = langevin(lambda x: -x.cosh().sum(1), x, chain, noise=Noise(0))
    with torch.inference_mode():
        inside = langevin(lambda x: -x.cosh().sum(1), x + 0, chain, noise=Noise(0))
    assert torch.equal(outside, inside)
    assert not inside.is_inference()


def test_a_chain_takes_a_gradient_in_closed_form_for_the_derivative() -> None:
    """The same chain and the same trace up to rounding; without a trace f is not called at all."""
    truth = Mixture.ring(modes=5, radius=1.0, deviation=0.3)
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    chain = Chain(steps=8, step=0.2)
    ours, known = Trace(at=(4,)), Trace(at=(4,))
    by_autograd = langevin(truth.log_density, x, chain, noise=Noise(0), trace=ours)
    end = langevin(truth.log_density, x, chain, noise=Noise(0), trace=known, gradient=truth.gradient)
    assert torch.allclose(end, by_autograd, rtol=0, atol=1e-12)
    assert torch.allclose(torch.stack(known.log_density), torch.stack(ours.log_density), rtol=0, atol=1e-12)
    assert torch.allclose(torch.stack(known.gradient_norm), torch.stack(ours.gradient_norm), rtol=0, atol=1e-10)
    assert torch.allclose(known.states[4], ours.states[4], rtol=0, atol=1e-12)

    def never(x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("f is not needed")

    assert torch.equal(langevin(never, x, chain, noise=Noise(0), gradient=truth.gradient), end)


def test_the_score_is_the_gradient_of_each_row() -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    value, gradient = score(lambda x: x.square().prod(1), x)
    assert torch.allclose(value, x.square().prod(1))
    assert torch.allclose(gradient, 2 * value[:, None] / x, rtol=1e-12)


def test_states_and_updates_stay_float32_under_bfloat16() -> None:
    """Noise of 1e-3 is below bfloat16's spacing at 1 (4e-3): a state kept in it would not move."""
    network = nn.Linear(16, 1)
    with torch.autocast("cpu", torch.bfloat16):
        x = torch.ones(256, 16)
        end = langevin(
            lambda x: 0 * network(x).float().squeeze(1),
            x,
            Chain(steps=1, step=0.5, temperature=4e-6),
            noise=Noise(0),
        )
    assert end.dtype == torch.float32
    assert abs((end - x).std().item() / 1e-3 - 1) < 5 / (2 * x.numel()) ** 0.5
