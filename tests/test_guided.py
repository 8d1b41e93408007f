"""Methods in which a generator draws for an energy network: where they meet they agree; each is what it says."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from linear import QuadraticEnergy, linear_trio, posterior
from tiny import assert_same, checkpoint, train
from torch import Tensor, distributions

from dualmcmc import InputError, presets
from dualmcmc.extras import Sampler
from dualmcmc.methods import (
    Amortized,
    Chain,
    Cooperative,
    DivergenceTriangle,
    DualMCMC,
    Hat,
    NoMCMC,
)
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import explain, generate, prior, synthesise
from dualmcmc.settings import Config, Images, Networks
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import Losses, Teaching, Update, energy_loss, generator_loss, inference_loss, teaching
from dualmcmc.teaching.buffer import visit
from dualmcmc.teaching.losses import negative_elbo
from dualmcmc.teaching.no_mcmc import gradient_penalty, log_likelihood, posterior_score
from dualmcmc.trio import Trio

DATA_CHAIN = Chain(steps=3, step=0.2, temperature=0.5)
LATENT_CHAIN = Chain(steps=2, step=0.1)
CHAINS = {"data_chain": DATA_CHAIN, "latent_chain": LATENT_CHAIN}
D, LATENT, SIGMA = 5, 2, 0.4


def linear(*parts: str, temperature: float = 0.5, extra: bool = False) -> Trio:
    """The linear-Gaussian trio in float64, or those of its networks that are asked for."""
    trio = linear_trio(D, LATENT, sigma=SIGMA, seed=5)
    trio.temperature = temperature
    for name in ("energy", "generator", "inference"):
        if parts and name not in parts:
            setattr(trio, name, None)
    if extra:
        trio.extra = Sampler(LATENT, SIGMA, (0.01, 1.0)).double()
        trio.extra.log_sigma.data.fill_(math.log(SIGMA))  # to all of float64's digits
    return trio.double()


def data(count: int, dim: int = D) -> Tensor:
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gradients(trio: Trio, loss: Tensor) -> dict[str, Tensor]:
    """By parameter; of those that the loss does not reach, none."""
    trio.zero_grad()
    loss.backward(retain_graph=True)
    return {name: p.grad.clone() for name, p in trio.named_parameters() if p.grad is not None}


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor], part: str = "") -> None:
    """Equal up to rounding, of the parameters whose names start so."""
    ours, theirs = ({n: g for n, g in found.items() if n.startswith(part)} for found in (ours, theirs))
    assert ours.keys() == theirs.keys()
    assert ours
    for name in ours:
        assert torch.allclose(ours[name], theirs[name], rtol=1e-9, atol=1e-11), name


# -- cooperative learning ---------------------------------------------------------------------------


def small(family: str, norm: str, spectral_norm: bool, size: int = 8, channels: int = 1) -> Config:
    nets = Networks(
        family=family,  # type: ignore[arg-type]
        latent_dim=4,
        energy_width=16,
        generator_width=16,
        inference_width=4,
        norm=norm,  # type: ignore[arg-type]
        spectral_norm=spectral_norm,
    )
    images = Images(size=size, channels=channels)  # type: ignore[arg-type]
    return replace(presets.preset("digits"), images=images, networks=nets)


@pytest.mark.parametrize("kind", ["linear", "simple", "residual"])
@pytest.mark.parametrize("start", ["mean", "draw"])
def test_dual_mcmc_without_data_in_the_generator_is_cooperative_learning(kind: str, start: Any) -> None:
    """Bit for bit in the energy's and the generator's gradients, on the same noise."""
    if kind == "linear":
        full, x = linear(), data(6)
    else:
        torch.manual_seed(0)
        full, x = build_trio(small(kind, "group", True)), data(6, 64).float().reshape(6, 1, 8, 8)
    shared = {"sigma": SIGMA, "start": start, "energy_penalty": 0.1}
    alone = Trio(
        copy.deepcopy(full.energy),
        copy.deepcopy(full.generator),
        latent_dim=full.latent_dim,
        sigma=full.sigma,
        temperature=full.temperature,
    )
    dual = teaching(full, DualMCMC(**CHAINS, **shared, generator_data_weight=0.0))
    cooperative = teaching(alone, Cooperative(data_chain=DATA_CHAIN, **shared))
    theirs = gradients(full, dual(x, BatchNoise(0, range(6))).total())
    ours = gradients(alone, cooperative(x, BatchNoise(0, range(6))).total())
    assert_same(ours, {name: gradient for name, gradient in theirs.items() if name in ours})
    assert {name.partition(".")[0] for name in ours} == {"energy", "generator"}


def test_the_reference_adds_its_closed_form_to_the_drift_and_nothing_else() -> None:
    """CoopNets' Gaussian N(0, r^2 I): grad h gains -T x / r^2, and the page is that chain written out."""
    plain, r = linear("energy", "generator"), 0.6
    tilted = copy.deepcopy(plain)
    tilted.reference = r
    x = data(7).requires_grad_()
    with_reference, without = (torch.autograd.grad(trio.h(x).sum(), x)[0] for trio in (tilted, plain))
    assert torch.allclose(with_reference - without, -0.5 * x / r**2, rtol=1e-12)

    settings = Cooperative(data_chain=DATA_CHAIN, sigma=SIGMA, reference=r)
    ours = gradients(tilted, teaching(tilted, settings)(data(7), BatchNoise(0, range(7))).total())
    noise, s = BatchNoise(0, range(7)), DATA_CHAIN.step
    z = prior(plain, 7, noise=noise)
    state, drawn = plain.g(z).detach(), noise.stream("data_chain")
    for _ in range(DATA_CHAIN.steps):
        leaf = state.requires_grad_()
        (gradient,) = torch.autograd.grad(plain.h(leaf).sum(), leaf)
        move = s**2 / 2 * (gradient - DATA_CHAIN.temperature * leaf / r**2)
        state = (leaf + move + s * DATA_CHAIN.temperature**0.5 * drawn.normal_like(leaf)).detach()
    by_hand = energy_loss(plain, data(7), state)[0] + generator_loss(plain, state, z)
    assert_close(ours, gradients(plain, by_hand))


# -- dual-MCMC's relatives and its ways of drawing negatives ------------------------------------------


class Signs(Noise):
    """Standard normal draws, but in one stream rows are (1, 1), (-1, 1), (1, -1), (-1, -1), over and over.

    Averages over these four are expectations under N(0, I) of polynomials of degree 2 (and 3) in its 2 components.
    """

    stream_of_signs = "q"

    def _fill(self, eps: Tensor, keys: Sequence[int]) -> None:
        super()._fill(eps, keys)
        if self.stream_of_signs in self.path:
            rows = torch.arange(len(eps))[:, None]
            eps.copy_(1 - 2 * ((rows >> torch.arange(eps.shape[1])) & 1))


def test_without_chains_dual_mcmc_has_the_expected_gradients_of_wake_sleep() -> None:
    """Wake: the generator explains x+ by z ~ q, whose expectation is closed-form here. Sleep: the inference
    network reads noise-free dreams. What Algorithm 1 has beside them vanishes: x- = g(z) leaves no residual, and
    log q(z given x+) at z ~ q has a score of mean 0."""
    trio, none = linear(), Chain(steps=0, step=1.0)
    rows = data(5)
    x, noise = rows.repeat_interleave(4, 0), Signs(0)
    settings = DualMCMC(data_chain=none, latent_chain=none, sigma=SIGMA)
    losses = teaching(trio, settings)(x, noise)
    ours = gradients(trio, losses.generator + losses.inference)

    w, b = trio.generator.weight.detach(), trio.generator.bias.detach()
    mean, log_variance = (moment.detach() for moment in trio.q(rows))
    second = mean.T @ mean / 5 + torch.diag(log_variance.exp().mean(0))
    wake_w = -((rows - b).T @ mean / 5 - w @ second) / SIGMA**2
    wake_b = -(rows - b - mean @ w.T).mean(0) / SIGMA**2
    assert_close(ours, {"generator.weight": wake_w, "generator.bias": wake_b}, "generator")

    z = prior(trio, 20, noise=noise)
    sleep = inference_loss(trio, trio.g(z).detach(), z)
    assert_close(ours, gradients(trio, sleep), "inference")


def redrawn(trio: Trio, settings: DualMCMC, move: float) -> tuple[Losses, Losses]:
    """Both phases, the generator's weights having moved in between."""
    module, x = teaching(trio, settings), data(6)
    assert module.phases == 2
    first = module(x, BatchNoise(0, range(6)), update=Update(phase=0))
    with torch.no_grad():
        trio.generator.weight.mul_(1 + move)
    return first, module(x, BatchNoise(0, range(6)), update=Update(phase=1))


@pytest.mark.parametrize("start", ["mean", "draw"])
def test_redraw_is_reuse_as_long_as_the_generator_stays(start: Any) -> None:
    """The second chain starts at the same z and meets the same noise; it does not once the generator has moved."""
    reuse = DualMCMC(**CHAINS, sigma=SIGMA, start=start)
    redraw = replace(reuse, negatives="redraw")
    whole = linear()
    at_once = gradients(whole, teaching(whole, reuse)(data(6), BatchNoise(0, range(6))).total())
    for move in (0.0, 0.01):
        trio = linear()
        first, second = redrawn(trio, redraw, move)
        assert first.energy is None
        assert second.named().keys() == {"energy"}
        energy = gradients(trio, second.total())
        assert energy.keys() == {name for name in at_once if name.startswith("energy")}
        assert all(torch.equal(energy[name], at_once[name]) for name in energy) == (move == 0)
        if move == 0:
            others = gradients(trio, first.total())
            assert_same(others, {name: g for name, g in at_once.items() if not name.startswith("energy")})


def test_redraw_unrevised_is_redraw_without_a_second_chain() -> None:
    settings = DualMCMC(**CHAINS, sigma=SIGMA, negatives="redraw_unrevised")
    still = replace(settings, negatives="redraw", data_chain=replace(DATA_CHAIN, steps=0))
    found = []
    for each in (settings, still, replace(settings, negatives="redraw")):
        trio = linear()
        found.append(gradients(trio, redrawn(trio, each, 0.01)[1].total()))
    ours, theirs, revised = found
    assert_same(ours, theirs)
    assert not torch.equal(ours["energy.matrix"], revised["energy.matrix"])


def test_runs_of_redraw_and_reuse_learn_the_same_energy_from_a_generator_that_cannot_learn(tmp_path: Path) -> None:
    """Rate and decay 0: after 6 updates all weights are the same bit for bit."""
    runs = {}
    for mode in ("reuse", "redraw"):
        changes = {"optim.generator.rate": 0.0, "method.negatives": mode, "run.checkpoint_every": 0}
        train(tmp_path / mode, changes)
        found = checkpoint(tmp_path / mode, 6)
        runs[mode] = {name: tensor for name, tensor in found.items() if name.startswith("weights/")}
    assert_same(runs["reuse"], runs["redraw"])


@pytest.mark.parametrize("mode", ["persistent", "mixed"])
def test_the_energys_negatives_are_the_buffers_at_all_or_at_every_second_place(mode: Any) -> None:
    """Without steps, x- is what its slot holds; restarted, it is the place's image by the generator."""
    none, marked = Chain(steps=0, step=1.0, temperature=0.5), 2.0
    trio, x = linear(), data(6)
    settings = DualMCMC(data_chain=none, latent_chain=none, sigma=SIGMA, negatives=mode, buffer=18, restart=0.0)
    module = teaching(trio, settings)
    noise = BatchNoise(0, range(6))
    module(x, noise, update=Update(batch=6))
    assert module.rows["buffer"].shape == ((6, 3, D) if mode == "persistent" else (3, 6, D))
    module.rows["buffer"].fill_(marked)
    gap = module(x, noise, update=Update(batch=6)).seen["energy_gap_h"]
    own = noise if mode == "persistent" else BatchNoise(0, range(3))  # half of the places, numbered anew
    h_data, h_gen = trio.h(x), trio.h(trio.g(prior(trio, len(own.keys or ()), noise=own)))
    h_marked = trio.h(torch.full((1, D), marked, dtype=torch.float64))
    of_model = h_marked if mode == "persistent" else (h_gen.mean() + h_marked) / 2
    assert torch.allclose(gap, h_data.mean() - of_model, rtol=1e-12)
    anew = teaching(trio, replace(settings, restart=1.0))
    anew.rows = module.rows
    gap = anew(x, noise, update=Update(batch=6)).seen["energy_gap_h"]
    h_anew = trio.h(trio.g(prior(trio, len(own.keys or ()), noise=own.stream("buffer"))))
    of_model = h_anew.mean() if mode == "persistent" else (h_gen.mean() + h_anew.mean()) / 2
    assert torch.allclose(gap, h_data.mean() - of_model, rtol=1e-12)


def test_the_buffers_chain_goes_on_where_it_was() -> None:
    """h = -|x|^2 / 2 without noise multiplies a state by a = 1 - s^2/2 at each visit, here of the only slot."""
    trio, chain = linear(), Chain(steps=1, step=0.3, temperature=0.0)
    settings = DualMCMC(data_chain=chain, latent_chain=LATENT_CHAIN, sigma=SIGMA, negatives="persistent", buffer=6)
    module, noise = teaching(trio, settings), slot_noise(6)
    first = generate(trio, prior(trio, 6, noise=noise), "mean", noise=noise)
    for step in range(5):
        module(data(6), BatchNoise(0, range(6), path=(step,)), update=Update(batch=6))
    assert torch.allclose(module.rows["buffer"][:, 0], (1 - 0.3**2 / 2) ** 5 * first, rtol=1e-12)


def slot_noise(places: int, slot: int = 0) -> Noise:
    """What fills a slot of a new memory at update 0."""
    return BatchNoise(0, range(places), path=(0,)).stream("buffer", slot)


def test_mixed_refuses_an_odd_number_of_images() -> None:
    module = teaching(linear(), DualMCMC(**CHAINS, negatives="mixed"))
    with pytest.raises(InputError, match="even number of images"):
        module(data(5), BatchNoise(0, range(5)), update=Update(batch=5))


def test_a_reinferred_pair_is_x_model_with_where_the_latent_chain_takes_its_code() -> None:
    trio, x, noise = linear(), data(6), BatchNoise(0, range(6))
    settings = DualMCMC(**CHAINS, sigma=SIGMA, generator_data_weight=0.0, pair="reinferred")
    ours = gradients(trio, teaching(trio, settings)(x, noise).generator)
    x_model = synthesise(trio, 6, DATA_CHAIN, "mean", noise=noise).x_model
    z = explain(trio, x_model, LATENT_CHAIN, noise=noise.stream("reinfer")).z_post
    assert_close(ours, gradients(trio, generator_loss(trio, x_model, z)))


def test_a_persistent_reinferred_pair_is_the_buffers_and_needs_no_other_chain() -> None:
    """What the energy is told apart from data is what the generator and the inference network learn."""
    trio, x, noise = linear(), data(6), BatchNoise(0, range(6))
    settings = DualMCMC(**CHAINS, sigma=SIGMA, negatives="persistent", pair="reinferred", buffer=6)
    settings = replace(settings, generator_data_weight=0.0, inference_data_weight=0.0)
    module = teaching(trio, settings)
    losses = module(x, noise, update=Update(batch=6))
    ends = module.rows["buffer"][:, 0]  # of the only slot
    z = explain(trio, ends, LATENT_CHAIN, noise=noise.stream("reinfer")).z_post
    assert torch.allclose(losses.generator, generator_loss(trio, ends, z), rtol=1e-12)
    assert torch.allclose(losses.inference, inference_loss(trio, ends, z), rtol=1e-12)
    assert torch.allclose(losses.seen["energy_gap_h"], trio.h(x).mean() - trio.h(ends).mean(), rtol=1e-12)


# -- memory -----------------------------------------------------------------------------------------

WITH_MEMORY = {
    "hat": Hat(data_chain=DATA_CHAIN, sigma=SIGMA, bank=5 * 48, data_noise=0.1),
    "persistent": DualMCMC(**CHAINS, sigma=SIGMA, negatives="persistent", buffer=5 * 48, restart=0.2),
    "mixed": DualMCMC(**CHAINS, sigma=SIGMA, negatives="mixed", buffer=5 * 48, restart=0.2),
}


@pytest.mark.parametrize("kind", WITH_MEMORY)
@pytest.mark.parametrize("cut", [24, 10])
def test_two_processes_hold_the_rows_that_one_holds(kind: str, cut: int) -> None:
    """Three updates of 48 places, whole and cut in two: the same memory and mean loss up to rounding (matrix
    products of 48 and of fewer rows; 1e-16 here, which chains that contract do not enlarge)."""
    total, x = 48, data(48)
    settings, shares = WITH_MEMORY[kind], (range(cut), range(cut, total))
    whole = teaching(linear(), settings)
    parts = [teaching(linear(), settings) for _ in shares]
    for step in range(3):
        found = []
        for module, places in ((whole, range(total)), *zip(parts, shares, strict=True)):
            update = Update(step=step, batch=total)
            losses = module(x[places.start : places.stop], BatchNoise(3, places, path=(step,)), update=update)
            found.append(losses.total() * len(places))
        assert torch.allclose(found[0], found[1] + found[2], rtol=1e-9)
        assert whole.rows
        for name, rows in whole.rows.items():
            assert torch.allclose(torch.cat([module.rows[name] for module in parts]), rows, rtol=0, atol=1e-12)
    fresh = teaching(linear(), settings)
    memory = {f"rows.{name}": rows for name, rows in whole.rows.items()}
    fresh.remember(memory, shares[1], total)
    for name, rows in parts[1].rows.items():
        assert torch.allclose(fresh.rows[name], rows, rtol=0, atol=1e-12)


def test_hats_generator_learns_from_the_pairs_that_were_put_into_its_bank() -> None:
    """The bank kept by hand: each place draws a slot, teaches what it holds, and leaves its new pair there."""
    places, depth, trio = 4, 3, linear("energy", "generator")
    settings = Hat(data_chain=DATA_CHAIN, sigma=SIGMA, bank=depth * places, data_noise=0.0)
    module = teaching(trio, settings)
    codes = torch.stack([prior(trio, places, noise=slot_noise(places, slot)) for slot in range(depth)], 1)
    bank = {
        (i, k): (codes[i, k], trio.g(codes[i, k][None])[0].detach()) for i in range(places) for k in range(depth)
    }
    met_again = 0
    put: set[tuple[int, int]] = set()
    for step in range(8):
        noise = BatchNoise(0, range(places), path=(step,))
        losses = module(data(places), noise, update=Update(batch=places))
        slots = visit(torch.zeros(places, depth), noise, restart=0.0, fresh=lambda _: torch.zeros(places)).slots
        old = [bank[i, int(k)] for i, k in enumerate(slots)]
        z_old, x_old = (torch.stack(part) for part in zip(*old, strict=True))
        by_hand = gradients(trio, generator_loss(trio, x_old, z_old))
        assert_close(gradients(trio, losses.generator), by_hand)
        if step == 0:  # filled with the generator's own images
            assert by_hand["generator.weight"].abs().max() < 1e-12
        z, _, x_model = synthesise(trio, places, DATA_CHAIN, "mean", noise=noise)
        met_again += sum((i, int(k)) in put for i, k in enumerate(slots))
        for i, k in enumerate(slots):
            bank[i, int(k)] = z[i], x_model[i]
            put.add((i, int(k)))
        with torch.no_grad():
            trio.generator.weight.mul_(1.01)
    for (i, k), (code, image) in bank.items():
        assert torch.equal(module.rows["codes"][i, k], code)
        assert torch.allclose(module.rows["images"][i, k], image, atol=1e-12)
    assert met_again > 8  # 32 visits of 12 slots


# -- who learns from what ---------------------------------------------------------------------------


def page(name: str) -> tuple[Teaching, dict[str, set[str]]]:
    """A method's module on linear networks, and which parameters each of its losses may reach."""
    energy, generator, inference = {"energy"}, {"generator"}, {"inference"}
    if name == "cooperative":
        settings: Any = Cooperative(data_chain=DATA_CHAIN, sigma=SIGMA)
        return teaching(linear("energy", "generator"), settings), {"energy": energy, "generator": generator}
    if name == "hat":
        settings = Hat(data_chain=DATA_CHAIN, sigma=SIGMA, bank=12)
        return teaching(linear("energy", "generator"), settings), {"energy": energy, "generator": generator}
    if name == "amortized":
        settings = Amortized(data_chain=DATA_CHAIN, sigma=SIGMA)
        return teaching(linear(), settings), {"energy": energy, "generator": generator | inference}
    if name == "divergence_triangle":
        settings = DivergenceTriangle(sigma=SIGMA, temperature=0.5)
        reached = {"energy": energy, "generator": generator | inference, "inference": inference}
        return teaching(linear(), settings), reached
    settings = NoMCMC(sigma=SIGMA, temperature=0.5)
    reached = {
        "energy": energy,
        "generator": generator | {"extra.log_sigma"},
        "inference": {"extra.log_deviations"},
    }
    return teaching(linear("energy", "generator", extra=True), settings), reached


METHODS = ("cooperative", "amortized", "divergence_triangle", "no_mcmc", "hat")


@pytest.mark.parametrize("name", METHODS)
def test_each_loss_reaches_its_networks_only(name: str) -> None:
    module, reached = page(name)
    x = data(6)
    module(x, BatchNoise(0, range(6)), update=Update(batch=6))
    with torch.no_grad():  # or hat's pairs, of the generator's own images, teach nothing
        module.trio.generator.weight.mul_(1.1)
    losses = module(x, BatchNoise(1, range(6)), update=Update(batch=6))
    assert losses.named().keys() == reached.keys()
    for loss, of in losses.named().items():
        found = gradients(module.trio, of)
        for parameter, _ in module.trio.named_parameters():
            moved = parameter in found and bool(found[parameter].abs().sum() > 0)
            expected = {parameter, parameter.partition(".")[0]} & reached[loss]
            assert moved == bool(expected), (loss, parameter)


@pytest.mark.parametrize(
    "config",
    [
        small("simple", "group", True, 8, 1),
        small("simple", "batch", False, 28, 3),
        small("residual", "batch", True, 32, 3),
        small("residual", "group", False, 64, 1),
    ],
    ids=["simple8", "simple28", "residual32", "residual64"],
)
@pytest.mark.parametrize("name", METHODS)
def test_in_bfloat16_every_parameter_of_any_network_gets_a_finite_gradient(name: str, config: Config) -> None:
    """VERA's penalty differentiates the energy twice."""
    method = presets.preset("digits", name).method
    few = {"data_chain": replace(DATA_CHAIN, temperature=4e-6), "bank": 8, "posterior_draws": 2}
    method = replace(method, **{field: value for field, value in few.items() if hasattr(method, field)})
    torch.manual_seed(0)
    trio = build_trio(replace(config, method=method))
    shape = (4, config.images.channels, config.images.size, config.images.size)
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    module = teaching(trio, method)
    with torch.autocast("cpu", torch.bfloat16):
        module(x, BatchNoise(0, range(4)), update=Update(batch=4)).total().backward()
    for parameter in trio.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


# -- amortized --------------------------------------------------------------------------------------


def test_the_amortized_vae_learns_the_elbo_of_revised_images_and_never_sees_data() -> None:
    trio, noise = linear(), BatchNoise(0, range(6))
    settings = Amortized(data_chain=DATA_CHAIN, sigma=SIGMA, kl_weight=0.7)
    module = teaching(trio, settings)
    found = [gradients(trio, module(x, noise).generator) for x in (data(6), 10 - data(6))]
    assert_same(found[0], found[1])
    x_model = synthesise(trio, 6, DATA_CHAIN, "mean", noise=noise).x_model
    assert_close(found[0], gradients(trio, negative_elbo(trio, x_model, kl_weight=0.7, noise=noise)[0]))


# -- divergence triangle ----------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["mean", "draw"])
def test_the_triangle_has_the_gradients_of_its_objective_for_each_player(start: Any) -> None:
    """Rebuilt from torch.distributions: what a player does not move is a copy without gradient."""
    trio, x, noise = linear(), data(6), BatchNoise(0, range(6))
    s = DivergenceTriangle(sigma=SIGMA, temperature=0.5, start=start, kl_weight=0.7, dream_weight=0.3)
    losses = teaching(trio, s)(x, noise)
    ours = gradients(trio, losses.total())
    still = copy.deepcopy(trio).requires_grad_(False)
    z = prior(trio, 6, noise=noise)
    x_gen = trio.generator(z)
    if start == "draw":
        x_gen = x_gen + SIGMA * noise.stream("generator").normal_like(x_gen)
    mean, log_variance = trio.inference(x)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    drawn = mean + (log_variance / 2).exp() * noise.stream("q").normal_like(mean)
    unit = distributions.Normal(torch.zeros_like(z), 1.0)
    kl = distributions.kl_divergence(q, unit).sum(1)
    elbo = distributions.Normal(trio.generator(drawn), SIGMA).log_prob(x).sum(1) - 0.7 * kl

    def told(reader: Trio, image: Tensor) -> Tensor:
        m, v = reader.inference(image)
        return distributions.Normal(m, (v / 2).exp()).log_prob(z).sum(1)

    generator = -(elbo + still.energy(x_gen) / 0.5 + 0.3 * told(still, x_gen)).mean()
    inference = -0.3 * told(trio, x_gen.detach()).mean()
    energy = (trio.energy(x_gen.detach()).mean() - trio.energy(x).mean()) / 0.5
    assert torch.allclose(losses.generator, generator)
    assert torch.allclose(losses.inference, inference)
    assert_close(ours, gradients(trio, energy + generator + inference))


# -- no MCMC ----------------------------------------------------------------------------------------


WIDE = 0.8
"""A posterior's precision is at least 1: with draws of precision 1 / 0.64 < 2, weights have a finite variance."""


def marginal(trio: Trio, sigma: float) -> distributions.MultivariateNormal:
    """p(x) of a linear generator: N(b, W W' + sigma^2 I)."""
    w, b = trio.generator.weight.detach(), trio.generator.bias.detach()
    return distributions.MultivariateNormal(b, w @ w.T + sigma**2 * torch.eye(D, dtype=torch.float64))


def test_the_weighted_score_is_the_marginals_and_the_mean_weight_is_its_density() -> None:
    """200 independent estimates for each of 4 images. The score within 5 standard errors of their mean (weighted
    means are biased by less than a tenth of one estimate's deviation at K = 1,000: 5 errors are 0.35 of it); the
    density, whose estimate is unbiased, within 5 standard errors."""
    trio, cases, repeats = linear("generator"), 4, 200
    noise = BatchNoise(0, range(cases))
    z = prior(trio, cases, noise=noise)
    x = generate(trio, z, "draw", noise=noise)
    deviations = torch.full((LATENT,), WIDE, dtype=torch.float64)
    found, log_p = posterior_score(
        trio.g,
        x.repeat_interleave(repeats, 0),
        z.repeat_interleave(repeats, 0),
        torch.tensor(SIGMA, dtype=torch.float64),
        deviations,
        1000,
        noise=BatchNoise(1, range(cases * repeats)),
    )
    found = found.reshape(cases, repeats, D)
    p = marginal(trio, SIGMA)
    score = -(x - p.mean) @ p.precision_matrix
    assert ((found.mean(1) - score).abs() < 5 * found.std(1) / repeats**0.5).all()
    assert (found.mean(1) - score).norm() < 0.02 * score.norm()
    ratio = (log_p.reshape(cases, repeats) - p.log_prob(x)[:, None]).exp()
    assert ((ratio.mean(1) - 1).abs() < 5 * ratio.std(1) / repeats**0.5).all()


def test_the_generators_gradient_under_a_flat_energy_is_the_entropys() -> None:
    """H = log det(W W' + sigma^2 I) / 2 + const: C^-1 W, 0, and sigma^2 tr C^-1 for log sigma, C the covariance.
    40 batches of 100; within 5 standard errors, beside which a bias of O(1/K), K = 300, is small."""
    trio = linear("energy", "generator", extra=True)
    with torch.no_grad():
        trio.energy.matrix.zero_()
        trio.extra.log_deviations.fill_(math.log(WIDE))
    s = NoMCMC(sigma=SIGMA, temperature=0.5, posterior_draws=300)
    module, n = teaching(trio, s), 40
    found = []
    for step in range(n):
        noise = BatchNoise(2, range(100), path=(step,))
        found.append(gradients(trio, module(data(100), noise, update=Update(batch=100)).generator))
    precision, w = marginal(trio, SIGMA).precision_matrix, trio.generator.weight.detach()
    closed = {
        "generator.weight": -precision @ w,
        "generator.bias": torch.zeros(D, dtype=torch.float64),
        "extra.log_sigma": -(SIGMA**2) * precision.trace(),
    }
    for name, expected in closed.items():
        drawn = torch.stack([gradient[name] for gradient in found])
        assert ((drawn.mean(0) - expected).abs() < 5 * drawn.std(0) / n**0.5).all(), name


def test_the_generators_loss_is_the_divergence_and_its_gradient_follows_score_and_energy() -> None:
    """Loss: log p(x) - h(x) / T by the same estimate; gradient: of (s(x) - grad h(x) / T) x with both held."""
    trio, noise = linear("energy", "generator", extra=True), BatchNoise(0, range(6))
    s = NoMCMC(sigma=SIGMA, temperature=0.5)
    loss = teaching(trio, s)(data(6), noise).generator
    ours = gradients(trio, loss)
    z = prior(trio, 6, noise=noise)
    x = trio.g(z) + trio.extra.sigma * noise.stream("generator").normal_like(data(6))
    deviations, sigma = trio.extra.log_deviations.exp().detach(), trio.extra.sigma.detach()
    score, log_p = posterior_score(
        trio.g, x.detach(), z, sigma, deviations, s.posterior_draws, noise=noise.stream("posterior")
    )
    leaf = x.detach().requires_grad_()
    (pull,) = torch.autograd.grad(trio.energy(leaf).sum() / 0.5, leaf)
    by_hand = ((score - pull) * x).sum(1).mean()
    assert_close(ours, gradients(trio, by_hand))
    assert torch.allclose(loss, (log_p - trio.energy(x) / 0.5).mean())


def test_the_posteriors_deviations_maximise_their_elbo() -> None:
    """Around the true code, log p(x, z') is quadratic with the posterior's precision P, so the ELBO's gradient
    in log deviation j is 1 - P_jj deviation_j^2, here exactly, as each x- and z meets all four signs."""

    class OfDeviations(Signs):
        stream_of_signs = "deviations"

    trio = linear("energy", "generator", extra=True)
    _, precision = posterior(trio.generator, SIGMA, data(1))  # type: ignore[arg-type]
    noise, optimum = OfDeviations(0, [0] * 4 + [1] * 4), -precision.diagonal().log() / 2
    for start in (optimum, optimum + 0.3):
        with torch.no_grad():
            trio.extra.log_deviations.copy_(start)
        loss = teaching(trio, NoMCMC(sigma=SIGMA, temperature=0.5))(data(8), noise).inference
        found = gradients(trio, loss)["extra.log_deviations"]
        expected = precision.diagonal() * (2 * start).exp() - 1
        assert torch.allclose(found, expected, atol=1e-9)


def test_the_gradient_penalty_is_half_the_squared_slope_with_its_own_gradient() -> None:
    """h = -x' A x / 2 + c' x has slope c - A x; the page adds gamma of its mean square's half, over T."""
    trio, x, noise = linear("energy", "generator", extra=True), data(6), BatchNoise(0, range(6))
    assert isinstance(trio.energy, QuadraticEnergy)
    with torch.no_grad():
        trio.energy.linear.copy_(torch.linspace(-1, 1, D))
    slope = trio.energy.linear - x @ trio.energy.precision
    closed = slope.square().sum(1).mean() / 2
    assert torch.allclose(gradient_penalty(trio, x), closed, rtol=1e-12)
    s = NoMCMC(sigma=SIGMA, temperature=0.5, gradient_penalty=0.3)
    with_penalty, without = (
        gradients(trio, teaching(trio, replace(s, gradient_penalty=gamma))(x, noise).energy)
        for gamma in (0.3, 0.0)
    )
    added = {name: with_penalty[name] - without[name] for name in with_penalty}
    assert_close(added, {n: 0.3 / 0.5 * g for n, g in gradients(trio, closed).items()})


def test_log_likelihood_with_a_tensor_sigma_is_the_normals() -> None:
    x, mean = data(6), data(6).flip(0)
    ours = log_likelihood(x, mean, torch.tensor(0.3, dtype=torch.float64))
    assert torch.allclose(ours, distributions.Normal(mean, 0.3).log_prob(x).sum(1), rtol=1e-12)


def test_sigma_is_held_in_its_range_and_can_come_back() -> None:
    """Outside, its value is the bound and its gradient in log sigma the bound's; after an update it is inside."""
    module, _ = page("no_mcmc")
    sampler = module.trio.extra
    assert isinstance(sampler, Sampler)
    for log_sigma, bound in ((3.0, 1.0), (-9.0, 0.01)):
        with torch.no_grad():
            sampler.log_sigma.fill_(log_sigma)
        assert sampler.sigma.item() == pytest.approx(bound)
        (gradient,) = torch.autograd.grad(sampler.sigma, sampler.log_sigma)
        assert gradient.item() == pytest.approx(bound)
        module.settle(lambda rows: rows)
        assert sampler.log_sigma.item() == pytest.approx(math.log(bound), abs=1e-12)
