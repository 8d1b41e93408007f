"""Methods with an energy alone: buffers return what was put in, bounds hold, gradients are those written down."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from linear import QuadraticEnergy, linear_trio
from tiny import assert_same, checkpoint, log, timeless, train
from torch import Tensor, nn

from dualmcmc import InputError, networks, spectral
from dualmcmc.langevin import Trace, langevin
from dualmcmc.methods import JEM, Chain, ImprovedCD, Persistent, ShortRun
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.settings import Images, Networks
from dualmcmc.teaching import Teaching, Update, from_noise, teaching
from dualmcmc.teaching.augment import augmented
from dualmcmc.teaching.data_noise import dequantised, noised
from dualmcmc.teaching.improved_cd import last_step, log_distance
from dualmcmc.trio import Trio

WITH_BUFFER = (Persistent, ImprovedCD, JEM)
ALL = (ShortRun, *WITH_BUFFER)


class Diagonal(nn.Module):
    """Logits -|a_k x|^2 / 2 + b_k of images (B, *), by sums within rows: none rounds by what stands beside it."""

    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, outputs)[:, None].repeat(1, size))
        self.bias = nn.Parameter(torch.arange(outputs) / 10)

    def forward(self, x: Tensor) -> Tensor:
        out = -(self.scale * x.flatten(1)[:, None]).square().sum(2) / 2 + self.bias
        return networks.layers.squeezed(out)


class Smooth(nn.Module):
    """A small smooth energy, its weights spectrally normalised."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, 16), nn.Tanh(), nn.Linear(16, 1))
        spectral.attach(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1)).squeeze(1)


def alone(energy: nn.Module, temperature: float = 1.0) -> Trio:
    return Trio(energy, latent_dim=1, sigma=1.0, temperature=temperature)


def page(kind: Any, *, energy: nn.Module | None = None, **changes: Any) -> Teaching:
    """A method's module for images (B, 1, 4, 4), its chain short and gentle."""
    settings = kind(**{"data_chain": Chain(steps=2, step=0.3, temperature=0.1), **changes})
    energy = energy or Diagonal(16, 3 if kind is JEM else 1)
    return teaching(alone(energy, settings.data_chain.temperature or 1.0), settings)


def images(count: int) -> Tensor:
    """8-bit images (count, 1, 4, 4)."""
    levels = torch.randint(256, (count, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    return levels / 127.5 - 1


def labels(count: int) -> Tensor:
    return torch.arange(count) % 3


# -- buffers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WITH_BUFFER)
def test_a_later_visit_goes_on_from_what_the_slot_holds(kind: Any) -> None:
    """With grad h = -x and no noise each visit multiplies a state by a = 1 - s^2/2: after n visits it is a^n times
    its first, and the visits of a place's slots are as many as the updates."""
    depth, places, updates, a = 3, 5, 7, 1 - 0.3**2 / 2
    chain = Chain(steps=1, step=0.3, temperature=0.0)
    changes: dict[str, Any] = {"augment": False} if kind is ImprovedCD else {}
    module = page(kind, data_chain=chain, buffer=depth * places, restart=0.0, **changes)
    with torch.no_grad():
        module.trio.energy.scale.fill_(1.0)
    x = images(places)
    first = from_noise.filled(x, depth, noise=BatchNoise(0, range(places), path=(0,)))
    for step in range(updates):
        update = Update(step=step, batch=places, labels=labels(places))
        module(x, BatchNoise(0, range(places), path=(step,)), update=update)
    power = (module.rows["buffer"] / first).log() / torch.tensor(a).log()
    visits = power.flatten(2).mean(2)
    assert (power.flatten(2) - visits.round()[:, :, None]).abs().max() < 0.01
    assert (visits.round().sum(1) == updates).all()
    assert visits.round().max() > 1


@pytest.mark.parametrize("kind", WITH_BUFFER)
def test_the_stated_share_of_chains_restarts_from_uniform_noise(kind: Any) -> None:
    """Old states are marked by lying at 5; each new component is uniform, with mean 0 and variance 1/3."""
    n, share = 3000, 0.2
    module = page(kind, buffer=n, restart=share)
    x, noise = images(1).expand(n, -1, -1, -1), BatchNoise(1, range(n))
    rows = {"buffer": torch.full((n, 1, 1, 4, 4), 5.0)}
    visit = from_noise.visit(rows, x, n, module.settings.restart, noise=noise, update=Update(batch=n))
    assert abs(visit.fresh.float().mean() - share) < 5 * (share * (1 - share) / n) ** 0.5
    assert (visit.states[~visit.fresh] == 5).all()
    new = visit.states[visit.fresh]
    assert new.abs().max() <= 1
    assert abs(new.mean()) < 5 * (1 / 3 / new.numel()) ** 0.5
    assert abs(new.square().mean() - 1 / 3) < 5 * (4 / 45 / new.numel()) ** 0.5


@pytest.mark.parametrize("cut", [11, 32, 40])
@pytest.mark.parametrize("kind", ALL)
def test_two_processes_hold_the_rows_that_one_holds(kind: Any, cut: int) -> None:
    """Three updates of 48 places, whole and cut in two: the same states bit for bit, the same mean loss."""
    total = 48
    x = images(total).double()
    changes = {} if kind is ShortRun else {"buffer": 5 * total}
    whole, shares = page(kind, **changes).double(), (range(cut), range(cut, total))
    parts = [copy.deepcopy(whole) for _ in shares]
    for step in range(3):
        found = []
        for module, rows in ((whole, range(total)), *zip(parts, shares, strict=True)):
            here = slice(rows.start, rows.stop)
            update = Update(step=step, batch=total, labels=labels(total)[here])
            found.append(module(x[here], BatchNoise(3, rows, path=(step,)), update=update).energy * len(rows))
        assert torch.allclose(found[0], found[1] + found[2], rtol=1e-9)
        for name, tensor in whole.rows.items():
            assert torch.equal(torch.cat([module.rows[name] for module in parts]), tensor)
    assert ("buffer" in whole.rows) == (kind is not ShortRun)
    memory = whole.memory(lambda rows: rows)
    fresh = page(kind)
    fresh.remember(memory, shares[1], total)
    for name, tensor in parts[1].rows.items():
        assert torch.equal(fresh.rows[name], tensor)


@pytest.mark.parametrize("method", ["short_run", "persistent", "improved_cd", "jem"])
def test_a_tiny_run_is_finite_and_resumes_bit_for_bit(method: str, tmp_path: Path) -> None:
    """With its buffer, at the released settings: 6 updates equal 3, save, load, 3."""
    changes: dict[str, Any] = {"run.checkpoint_every": 3, "networks.spectral_norm": True}
    if method != "short_run":
        changes["method.buffer"] = 64
    train(tmp_path / "whole", changes, method)
    train(tmp_path / "parts", {**changes, "run.steps": 3}, method)
    train(tmp_path / "parts", changes, method, resume=True)
    ours = checkpoint(tmp_path / "parts", 6)
    assert_same(ours, checkpoint(tmp_path / "whole", 6))
    assert timeless(log(tmp_path / "parts")) == timeless(log(tmp_path / "whole"))
    if method != "short_run":
        assert ours["memory/rows.buffer"].shape == (16, 4, 1, 8, 8)


# -- chains and noise ------------------------------------------------------------------------------


def steep(x: Tensor) -> Tensor:
    return (3 * x).sin().sum(1) * 10


def test_igebms_chain_stays_in_the_box_and_moves_no_further_than_its_clip() -> None:
    """Per step and component at most s^2/2 * clip + |noise|: the clamp projects onto a box that holds it."""
    chain = Chain(steps=20, step=0.8, temperature=0.01, gradient_clip=0.5, clamp=True)
    trace = Trace(at=range(21))
    langevin(steep, torch.linspace(-1, 1, 60).reshape(12, 5), chain, noise=Noise(2), trace=trace)
    drawn, furthest = Noise(2), 0.0
    for k in range(20):
        move = (trace.states[k + 1] - trace.states[k]).abs()
        bound = 0.8**2 / 2 * 0.5 + 0.8 * 0.1 * drawn.normal_like(move).abs()
        assert (move <= bound + 1e-6).all()
        assert trace.states[k + 1].abs().max() <= 1
        furthest = max(furthest, (move / bound).max().item())
    assert furthest > 0.999  # the bound is reached


def test_a_chain_with_a_longest_drift_moves_at_most_that_and_otherwise_as_without_it() -> None:
    """T = 0; |grad f| = 30 |cos 3x| is beyond the bound at some states and within it at others."""
    x, longest = torch.linspace(0.4, 0.65, 40, dtype=torch.float64).reshape(40, 1), 0.3
    chain = Chain(steps=1, step=0.3, temperature=0.0, longest_drift=longest)
    free = langevin(steep, x, replace(chain, longest_drift=0.0), noise=Noise(0)) - x
    held = langevin(steep, x, chain, noise=Noise(0)) - x
    far = free.norm(dim=1) > longest
    assert 0 < far.sum() < 40
    assert torch.allclose(held[~far], free[~far], rtol=1e-12)
    assert torch.allclose(held[far], free[far].sign() * longest, rtol=1e-12)
    wide = torch.randn(9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert ((langevin(steep, wide, chain, noise=Noise(0)) - wide).norm(dim=1) <= longest * (1 + 1e-12)).all()


def test_without_bounds_a_chain_is_equation_l1_and_bounds_that_never_bind_change_nothing() -> None:
    x = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    chain = Chain(steps=4, step=0.2, temperature=0.5)
    by_hand, drawn = x, Noise(5)
    for _ in range(4):
        by_hand = by_hand + 0.2**2 / 2 * 30 * (3 * by_hand).cos() + 0.2 * 0.5**0.5 * drawn.normal_like(x)
    assert torch.allclose(langevin(steep, x, chain, noise=Noise(5)), by_hand, rtol=1e-12)
    loose = replace(chain, gradient_clip=1e9, longest_drift=1e9)
    assert torch.allclose(langevin(steep, x, loose, noise=Noise(5)), by_hand, rtol=1e-12)


def is_uniform(sample: Tensor, low: float = 0.0, high: float = 1.0) -> bool:
    """Kolmogorov-Smirnov: the distribution function is off by more than 2.5 / sqrt n with probability 8e-6."""
    u = ((sample.flatten().double() - low) / (high - low)).sort().values
    n = len(u)
    rank = torch.arange(n + 1, dtype=torch.float64) / n
    return bool(torch.maximum(rank[1:] - u, u - rank[:-1]).max() < 2.5 / n**0.5)


def test_uniform_draws_are_uniform() -> None:
    like = torch.empty(100, 300)
    assert is_uniform(Noise(3).uniform_like(like))
    assert is_uniform(BatchNoise(3, range(100)).uniform_like(like))
    assert is_uniform(from_noise.uniform_as(like, noise=Noise(4)), -1, 1)
    assert not is_uniform(Noise(3).normal_like(like))


def test_dequantised_images_fill_their_grey_levels_cells_and_the_box() -> None:
    """Level k of 256 is uniform in [k, k + 1] / 128 - 1; the cells of all levels make up [-1, 1]."""
    levels = torch.arange(256).repeat(200).reshape(-1, 1, 8, 8)
    x = dequantised(levels / 127.5 - 1, noise=Noise(0))
    within = (x + 1) * 128 - levels
    assert within.min() > -1e-4
    assert within.max() < 1 + 1e-4  # float32 in units of a cell
    assert is_uniform(within.clamp(0, 1))
    assert x.abs().max() <= 1
    points = torch.randn(5, 2)
    assert dequantised(points, noise=Noise(0)) is points


def test_noised_images_have_the_deviation_asked_for() -> None:
    x, deviation = images(2000), 0.03
    added = noised(x, deviation, noise=Noise(0)) - x
    assert abs(added.std() / deviation - 1) < 5 / (2 * x.numel()) ** 0.5
    assert noised(x, 0.0, noise=Noise(0)) is x


def test_augmentation_is_a_mirrored_crop_within_the_image() -> None:
    """Bilinear interpolation is exact on the ramp x(p) = p, which so tells side, centre and mirror: r^2 uniform in
    [least, 1], the crop inside, the rows mirrored with probability 1/2, the columns never."""
    n, least = 2000, 0.25
    axis = torch.linspace(-1, 1, 8)
    ramps = torch.stack([axis.expand(8, 8), axis[:, None].expand(8, 8)]).expand(n, -1, -1, -1)
    out = augmented(ramps, least, noise=Noise(0))
    across, down = out[:, 0].mean(1), out[:, 1].mean(2)  # each (n, 8), constant along the other axis
    assert torch.allclose(out[:, 0], across[:, None].expand(-1, 8, -1), atol=1e-5)
    assert torch.allclose(out[:, 1], down[:, :, None].expand(-1, -1, 8), atol=1e-5)
    side, centre = (down[:, -1] - down[:, 0]) / 2, torch.stack([across, down]).mean(2)
    assert torch.allclose(down, side[:, None] * axis + centre[1][:, None], atol=1e-5)
    turned = across[:, 0] > across[:, -1]
    assert torch.allclose((across[:, -1] - across[:, 0]).abs() / 2, side, atol=1e-5)
    assert is_uniform(side.square(), least, 1)
    assert (centre.abs() <= 1 - side + 1e-5).all()
    assert abs(turned.float().mean() - 0.5) < 5 * 0.5 / n**0.5


def test_augmentation_depends_on_a_rows_key_alone_and_leaves_points_alone() -> None:
    x, points = images(48), torch.randn(6, 2)
    whole = augmented(x, 0.08, noise=BatchNoise(0, range(48)))
    assert torch.equal(whole[19:], augmented(x[19:], 0.08, noise=BatchNoise(0, range(19, 48))))
    assert augmented(points, 0.08, noise=Noise(0)) is points
    whole = augmented(x, 1.0, noise=Noise(0))  # nothing but mirrored
    either = torch.stack([(whole - x).abs().amax((1, 2, 3)), (whole - x.flip(3)).abs().amax((1, 2, 3))])
    assert either.amin(0).max() < 1e-5


# -- losses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_the_loss_reaches_the_energy_only(kind: Any) -> None:
    trio = linear_trio(5, 2, sigma=0.4)
    if kind is JEM:
        trio.energy = Diagonal(5, 3)
    chain = Chain(steps=2, step=0.3)
    losses = teaching(trio, kind(data_chain=chain))(
        torch.randn(6, 5), BatchNoise(0, range(6)), update=Update(batch=6, labels=labels(6))
    )
    assert losses.named().keys() == {"energy"}
    losses.total().backward()
    for name, parameter in trio.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert reached == name.startswith("energy"), name


def test_short_run_and_persistent_losses_are_the_gap_between_noisy_data_and_their_chains_ends() -> None:
    """Each rebuilt from the same noise, in nats of T, with IGEBM's penalty."""
    x, noise = images(6), BatchNoise(0, range(6))
    for kind in (ShortRun, Persistent):
        module = page(kind)
        s, h = module.settings, module.trio.h
        ours = module(x, noise, update=Update(batch=6)).energy
        if kind is ShortRun:
            data, start = noised(x, 0.03, noise=noise), from_noise.uniform_as(x, noise=noise)
        else:
            visit = from_noise.visit({}, x, s.buffer, s.restart, noise=noise, update=Update(batch=6))
            data, start = dequantised(x, noise=noise), visit.states
        ends = langevin(h, start, s.data_chain, noise=noise.stream("data_chain"))
        theirs = h(ends).mean() - h(data).mean()
        theirs = theirs + s.energy_penalty * (h(data).square().mean() + h(ends).square().mean())
        assert torch.allclose(ours, theirs / s.data_chain.temperature, rtol=1e-5)


def improved(energy: nn.Module, x: Tensor, chain: Chain, **changes: Any) -> tuple[Teaching, Tensor, Tensor]:
    """One update from a buffer of three states in float64: the module, x_{K-1}, and the states of all slots."""
    settings = ImprovedCD(data_chain=chain, restart=0.0, augment=False, dequantise=False, **changes)
    module = teaching(alone(energy, chain.temperature), settings)
    source = torch.Generator().manual_seed(1)
    states = 0.7 * torch.randn(len(x), 3, *x.shape[1:], dtype=x.dtype, generator=source)
    module.rows["buffer"] = states.clone()
    noise = BatchNoise(0, range(len(x)))
    module(x, noise, update=Update(batch=len(x))).total().backward()
    visit = from_noise.visit({"buffer": states}, x, 0, 0.0, noise=noise, update=Update())
    own = noise.stream("data_chain")
    before = langevin(module.trio.h, visit.states, replace(chain, steps=chain.steps - 1), noise=own)
    others = torch.stack(
        [torch.cat([row[:slot], row[slot + 1 :]]) for row, slot in zip(states, visit.slots.tolist(), strict=True)]
    )
    return module, before, others


def last_draw(chain: Chain, like: Tensor) -> Tensor:
    own = BatchNoise(0, range(len(like))).stream("data_chain")
    for _ in range(chain.steps):
        eps = own.normal_like(like)
    return chain.step * chain.temperature**0.5 * eps


CHAINS = [
    Chain(steps=3, step=0.5, temperature=0.2),
    Chain(steps=1, step=0.5, temperature=0.2, clamp=True),
    Chain(steps=3, step=1.5, temperature=0.02, gradient_clip=0.15),
    Chain(steps=3, step=1.5, temperature=0.02, longest_drift=0.3),
]


@pytest.mark.parametrize("chain", CHAINS, ids=["free", "clamped", "clipped", "shortened"])
def test_improved_cds_gradient_is_autograd_through_one_step_by_hand(chain: Chain) -> None:
    """Of the whole loss, in every parameter, for an energy with spectral norms; h held fixed is a copy."""
    torch.manual_seed(0)
    energy = Smooth(4).double()
    x = torch.randn(9, 4, dtype=torch.float64)
    module, before, others = improved(energy, x, chain, kl_weight=0.7, entropy_weight=0.3, energy_penalty=0.5)
    ours = {name: p.grad.clone() for name, p in energy.named_parameters()}

    energy.zero_grad()
    fixed = copy.deepcopy(energy).requires_grad_(False)
    leaf = before.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(leaf).sum(), leaf, create_graph=True)
    if chain.gradient_clip:
        assert (gradient.abs() > chain.gradient_clip).any()
        gradient = gradient.clamp(-chain.gradient_clip, chain.gradient_clip)
    drift = chain.step**2 / 2 * gradient
    if chain.longest_drift:
        assert (drift.norm(dim=1) > chain.longest_drift).any()
        drift = drift * (chain.longest_drift / drift.norm(dim=1, keepdim=True)).clamp_max(1)
    end = before + drift + last_draw(chain, before)
    if chain.clamp:
        assert (end.abs() > 1).any()
        end = end.clamp(-1, 1)
    h_data, h_model = energy(x), energy(end.detach())
    loss = h_model.mean() - h_data.mean() + 0.5 * (h_data.square().mean() + h_model.square().mean())
    nearest = (end[:, None] - others).norm(dim=2).min(1).values
    loss = loss - 0.7 * fixed(end).mean() - 0.3 * nearest.log().mean()
    (loss / chain.temperature).backward()
    for name, p in energy.named_parameters():
        assert torch.allclose(ours[name], p.grad, rtol=1e-9, atol=1e-11), name
    # What was put back is where the chain ended.
    held = module.rows["buffer"].flatten(0, 1)
    assert torch.allclose(
        torch.cdist(end.detach(), held).min(1).values, torch.zeros(9, dtype=torch.float64), atol=1e-6
    )


def test_improved_cds_gradient_is_the_closed_form_for_a_quadratic_energy() -> None:
    """h = -x'Ax/2 + c'x with A = (M + M')/2 has x- = x + s^2/2 (c - A x) + noise, so that a force e on x-
    (c - A x- of the KL term, (x- - n) / |x- - n|^2 of the entropy) adds -s^2/2 mean e to the gradient in c, and
    s^2/2 mean (e x' + x e')/2 in M."""
    precision = torch.tensor([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 3.0]], dtype=torch.float64)
    energy = QuadraticEnergy(precision, torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64))
    x = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    chain = Chain(steps=3, step=0.5, temperature=0.2)
    _, before, others = improved(energy, x, chain, kl_weight=0.7, entropy_weight=0.3, energy_penalty=0.0)
    with torch.no_grad():
        c, half = energy.linear, chain.step**2 / 2
        end = before + half * (c - before @ precision) + last_draw(chain, before)
        away = end[:, None] - others
        away = away[torch.arange(9), away.norm(dim=2).argmin(1)]
        force = 0.7 * (c - end @ precision) + 0.3 * away / away.square().sum(1, keepdim=True)
        by_linear = end.mean(0) - x.mean(0) - half * force.mean(0)
        moments = (x.T @ x - end.T @ end) / 9 / 2
        by_matrix = moments + half * (force.T @ before + before.T @ force) / 9 / 2
    assert torch.allclose(energy.linear.grad, by_linear / chain.temperature, rtol=1e-10)
    assert torch.allclose(energy.matrix.grad, by_matrix / chain.temperature, rtol=1e-10)


@pytest.mark.parametrize("family", ["simple", "residual"])
@pytest.mark.parametrize("normalised", [True, False], ids=["spectral_norm", "plain"])
def test_presets_networks_give_the_last_steps_derivative(
    family: Any, normalised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along a random direction of all weights, by central differences in float64: neither what works in place, nor
    pooled convolutions, nor cached parametrisations spoil second derivatives. Differences at eps = 1e-6 err by
    1e-16 / eps of the value (rounding) and eps^2 (curvature), 1e-6 of the derivative, which is 1e-4 or more; kinks
    of the networks lie further from a state than eps but for one in 1e5 or so."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the heads' float32 is lifted
    torch.manual_seed(0)
    widths = {"energy_width": 4, "generator_width": 4, "inference_width": 4, "latent_dim": 2}
    chosen = Networks(family=family, spectral_norm=normalised, **widths)
    trio = alone(networks.build(chosen, Images(size=8, channels=1), ("energy",)).energy).double()
    with torch.no_grad():
        for p in trio.parameters():
            p.mul_(1 if normalised or family == "residual" else 10)  # N(0, 0.02^2) leaves h flat
    x = 0.5 * torch.randn(3, 1, 8, 8, dtype=torch.float64)
    chain = Chain(steps=1, step=0.5, temperature=0.0)
    kept = copy.deepcopy(trio.frozen())  # the frozen trio itself shares storage with what moves below

    def term() -> Tensor:
        return kept.h(last_step(trio, x, chain, noise=Noise(0))).sum()

    weights = [p for name, p in trio.named_parameters() if not name.endswith("bias")]  # a last bias moves no state
    grads = torch.autograd.grad(term(), weights)
    directions = [torch.randn_like(p) for p in weights]
    exact = sum((g * d).sum() for g, d in zip(grads, directions, strict=True))
    eps, ends = 1e-6, []
    for sign in (1, -2):
        with torch.no_grad():
            for p, d in zip(weights, directions, strict=True):
                p.add_(d, alpha=sign * eps)
        ends.append(term().detach())
    numeric = (ends[0] - ends[1]) / (2 * eps)
    assert exact.abs() > 1e-4
    assert torch.allclose(numeric, exact, rtol=1e-4)


def test_the_nearest_states_distance_has_a_gradient_even_where_it_is_zero() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    states = torch.tensor([[[1.0, 5.0], [9.0, 9.0]], [[0.0, 0.0], [3.0, 4.0]]])
    found = log_distance(x, states)
    found.sum().backward()
    assert found[0].item() == pytest.approx(torch.tensor(3.0).log().item())
    assert torch.allclose(x.grad, torch.tensor([[0.0, -1 / 3], [0.0, 0.0]]))


def test_improved_cd_refuses_a_buffer_without_neighbours_and_a_chain_without_a_step() -> None:
    x, noise = images(4), BatchNoise(0, range(4))
    with pytest.raises(InputError, match=r"method\.buffer is 4"):
        page(ImprovedCD, buffer=4)(x, noise)
    page(ImprovedCD, buffer=4, entropy_weight=0.0)(x, noise)
    with pytest.raises(InputError, match=r"method\.data_chain\.steps is 0"):
        page(ImprovedCD, data_chain=Chain(steps=0, step=1.0))(x, noise)


def test_neighbours_are_distinct_and_never_the_visited_slot() -> None:
    """Slot j of each place holds j: 6 of 9 slots, drawn 200 times; each other slot is drawn 6/8 of the time."""
    places, depth, n = 200, 9, 6
    module = page(ImprovedCD, buffer=places * depth, neighbours=n)
    module.rows["buffer"] = torch.arange(depth).float().expand(places, -1)[..., None].clone()
    slots = torch.arange(places) % depth
    found = module._neighbours(slots, BatchNoise(0, range(places)))[..., 0].long()
    counts = nn.functional.one_hot(found, depth).sum(1)
    assert counts.max() == 1
    assert (counts[torch.arange(places), slots] == 0).all()
    others = counts.sum() / (places * (depth - 1))
    assert others == n / (depth - 1)
    share, seen = n / (depth - 1), counts.sum(0) / (torch.bincount(slots).sum() - torch.bincount(slots))
    assert ((seen - share).abs() < 5 * (share * (1 - share) / (places * (1 - 1 / depth))) ** 0.5).all()


def test_jems_density_and_classifier_come_from_the_same_logits() -> None:
    """h = log sum exp of logits, log p(y given x) = logits_y - h(x); the loss's gradient is autograd's by hand."""
    torch.manual_seed(0)
    energy = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    module = page(JEM, energy=energy, class_weight=0.6, energy_penalty=0.1, data_noise=0.0)
    x, y, noise = images(12).double(), labels(12), BatchNoise(0, range(12))
    trio, logits = module.trio, energy(x)
    assert torch.allclose(trio.h(x), logits.exp().sum(1).log())
    log_p = logits - trio.h(x)[:, None]
    assert torch.allclose(log_p.exp(), logits.softmax(1))

    losses = module(x, noise, update=Update(batch=12, labels=y))
    losses.total().backward()
    ours = {name: p.grad.clone() for name, p in energy.named_parameters()}
    energy.zero_grad()
    s = module.settings
    visit = from_noise.visit({}, x, s.buffer, s.restart, noise=noise, update=Update(batch=12))
    ends = langevin(trio.h, visit.states, s.data_chain, noise=noise.stream("data_chain"))
    h_data, h_model = energy(x).logsumexp(1), energy(ends).logsumexp(1)
    cross_entropy = -(energy(x)[torch.arange(12), y] - h_data).mean()
    by_hand = 0.6 * cross_entropy + h_model.mean() - h_data.mean()
    by_hand = by_hand + 0.1 * (h_data.square().mean() + h_model.square().mean())
    by_hand.backward()
    assert torch.allclose(losses.energy, by_hand)
    for name, p in energy.named_parameters():
        assert torch.allclose(ours[name], p.grad, rtol=1e-10), name
    assert torch.allclose(losses.seen["cross_entropy"], cross_entropy)
    assert losses.seen["accuracy"] == (energy(x).argmax(1) == y).float().mean()


def test_jem_refuses_data_without_labels_or_with_one_class() -> None:
    x, noise = images(4), BatchNoise(0, range(4))
    with pytest.raises(InputError, match="the data have none"):
        page(JEM)(x, noise)
    with pytest.raises(InputError, match="two classes or more"):
        page(JEM, energy=Diagonal(16, 1))(x, noise, update=Update(batch=4, labels=torch.zeros(4).long()))


def test_released_chains_are_the_sources_in_our_pixels() -> None:
    """On E(u) with u in [0, 1] and x = 2u - 1, the source's u' = clamp(u - a clip(grad E) + b eps) is our chain on
    h(x) = -E((x + 1) / 2) with the same eps: IGEBM a 10, b 0.005, clip 0.01; improved CD a 100, b 0.001."""

    def energy(u: Tensor) -> Tensor:
        return 0.02 * (u * torch.linspace(1, 3, 4, dtype=u.dtype)).sin().sum(1)

    u = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sources = [(Persistent().data_chain, 10.0, 0.005, 0.01), (ImprovedCD().data_chain, 100.0, 0.001, float("inf"))]
    for chain, a, b, clip in sources:
        chain = replace(chain, steps=3)
        theirs, drawn = u, Noise(0)
        for _ in range(3):
            leaf = theirs.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(energy(leaf).sum(), leaf)
            theirs = (theirs - a * gradient.clamp(-clip, clip) + b * drawn.normal_like(u)).clamp(0, 1)
        ours = langevin(lambda x: -energy((x + 1) / 2), 2 * u - 1, chain, noise=Noise(0))
        assert torch.allclose(ours, 2 * theirs - 1, atol=1e-9)
