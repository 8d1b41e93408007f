"""Every method on 2-D states: small networks, settings to scale, one training loop, figures against the truth.

States live in the box [-1, 1]^2, where chains that start from uniform noise, clamped chains and kept buffers live.
`TRUTH` fits it: five Gaussians of deviation 0.3 on a circle of radius 1, all in units of `UNIT` = 0.4, so that 2 draws
in 10^7 lie outside. The best single Gaussian is 0.40 nats away. Neighbouring modes are 3.9 deviations apart, and
30 steps of `CHAIN` diffuse over 3.7: chains pass from mode to mode, so whether an energy is a density is a question of
its method, not of how far chains travel.

T is 1, so that exp(h) is to be the density itself; weights that sources give for pixels at T << 1 are replaced by those
that a divergence has. The exception is recovery likelihood, whose chains would not be stable: it keeps its own scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from dualmcmc import densities, methods
from dualmcmc.drawing import draw
from dualmcmc.extras import CodeDensity, Memory, Sampler
from dualmcmc.methods import Chain, Method
from dualmcmc.noise import BatchNoise
from dualmcmc.sampling import generate, prior
from dualmcmc.teaching import Teaching, Update, buffer, teaching
from dualmcmc.toys import Mixture, energy_distance, kl_on_grid
from dualmcmc.trio import Trio

UNIT = 0.4
TRUTH = Mixture.ring(modes=5, radius=UNIT, deviation=0.3 * UNIT)
LATENT_DIM, WIDTH = 2, 64
EXTENT, CELLS = 3.5 * UNIT, 100
"""Of the grid on which divergences are summed."""

# -- settings ------------------------------------------------------------------------------------

CHAIN = Chain(steps=30, step=0.2 * UNIT)
BOXED = replace(CHAIN, clamp=True)
LATENT_CHAIN = Chain(steps=10, step=0.1)
NOISE_CHAIN = Chain(steps=30, step=0.25)
_SCALE: Mapping[str, Any] = {
    "data_chain": CHAIN,
    "test_chain": CHAIN,
    "latent_chain": LATENT_CHAIN,
    "start": "draw",
    "sigma": 0.2 * UNIT,
    "temperature": 1.0,
    "buffer": 4096,
    "bank": 4096,
    "data_noise": 0.01,
}
"""What a method has of these it takes over."""
_OWN: Mapping[str, Mapping[str, Any]] = {
    "divergence_triangle": {"test_chain": Chain(steps=0, step=1.0)},
    # |grad h| has the unit 1 / x, which the released penalty and range have for pixels
    "no_mcmc": {
        "test_chain": Chain(steps=0, step=1.0),
        "gradient_penalty": 0.1 * UNIT**2,
        "sigma_range": (0.01, 0.3 * UNIT),
    },
    "persistent": {"data_chain": BOXED, "test_chain": BOXED, "energy_penalty": 0.0},
    # The entropy's weight is D T, that of a divergence
    "improved_cd": {"data_chain": BOXED, "test_chain": BOXED, "energy_penalty": 0.0, "entropy_weight": 2.0},
    "jem": {"classes": len(TRUTH.means)},
    "recovery_likelihood": {"temperature": 0.0},
    "vaebm": {"noise_chain": NOISE_CHAIN, "test_chain": NOISE_CHAIN},
    "abp": {"latent_chain": replace(LATENT_CHAIN, steps=30)},
    "short_run_abp": {"latent_chain": replace(LATENT_CHAIN, steps=30)},
}
RATE, SLOWER = 1e-2, {"recovery_likelihood": 3e-3}
"""Adam's rate at first, and of those whose h is small."""
_MODES = ("redraw", "redraw_unrevised", "persistent", "mixed")


def _settings(name: str) -> Method:
    default = methods.METHODS[name]()
    known = {field: value for field, value in _SCALE.items() if hasattr(default, field)}
    found: Method = replace(default, **{**known, **_OWN.get(name, {})})
    return found


def _dual(**changes: Any) -> Method:
    return replace(_settings("dual_mcmc"), **changes)


ROWS: Mapping[str, Method] = MappingProxyType(
    {name: _settings(name) for name in methods.METHODS}
    | {f"dual_mcmc {mode}": _dual(negatives=mode) for mode in _MODES}
    | {f"dual_mcmc {mode} reinferred": _dual(negatives=mode, pair="reinferred") for mode in ("reuse", "mixed")}
)
"""Settings by name: every method's, and dual-MCMC's with other ways of drawing the energy's negatives and of pairing."""

# -- networks ------------------------------------------------------------------------------------


def _layers(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, outputs)
    )


class ToyEnergy(nn.Module):
    """h(x, level) = net - |x|^2 / (2 reach^2): (B, 2) to (B,), or logits (B, K) with `outputs` K.

    Arguments:
        outputs: K.
        levels: noise levels that it is told, one-hot beside x; 0: none.
        reach: how far out exp(h) decays, so that it can be normalised; infinite: nowhere.
    """

    def __init__(self, outputs: int = 1, levels: int = 0, reach: float = UNIT) -> None:
        super().__init__()
        self.layers, self.levels, self.reach = _layers(2 + levels, outputs), levels, reach

    def forward(self, x: Tensor, level: Tensor | int = 0) -> Tensor:
        """h of x (B, 2) at their levels, int64 (B,) or one for all."""
        told = [x / UNIT]
        if self.levels:
            levels = torch.as_tensor(level, device=x.device).expand(len(x))
            told.append(nn.functional.one_hot(levels, self.levels).to(x.dtype))
        out: Tensor = self.layers(torch.cat(told, 1)) - (x / self.reach).square().sum(1, keepdim=True) / 2
        return out.squeeze(1) if out.shape[1] == 1 else out


class ToyInference(nn.Module):
    """x (B, 2) to mean and log variance, both (B, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 2 * LATENT_DIM))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z given x)."""
        mean, log_variance = self.layers(x / UNIT).chunk(2, 1)
        return mean, log_variance


def toy_trio(settings: Method, *, seed: int = 0) -> Trio:
    """Freshly initialised networks of a method's parts; torch's global generators are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = {"energy": _energy(settings), "generator": _layers(LATENT_DIM, 2), "inference": ToyInference()}
    extra = None
    if isinstance(settings, methods.NoMCMC):
        extra = Sampler(LATENT_DIM, settings.sigma, settings.sigma_range)
    return Trio(
        **{name: made[name] for name in settings.PARTS},  # type: ignore[arg-type]
        latent_dim=LATENT_DIM,
        sigma=methods.sigma(settings),
        temperature=methods.temperature(settings),
        reference=getattr(settings, "reference", 0.0),
        extra=extra,
    )


def _energy(settings: Method) -> ToyEnergy:
    if isinstance(settings, methods.JEM):
        return ToyEnergy(outputs=settings.classes)
    if isinstance(settings, methods.RecoveryLikelihood):
        # The conditional's Gaussian holds chains; T_t differ by 10^4, so no one decay would do for all levels.
        return ToyEnergy(levels=settings.levels, reach=math.inf)
    if isinstance(settings, methods.VAEBM):
        return ToyEnergy(reach=math.inf)  # a correction of what is normalised already
    return ToyEnergy()


# -- training ------------------------------------------------------------------------------------


def train(
    settings: Method,
    truth: Mixture = TRUTH,
    *,
    updates: int,
    batch: int = 128,
    points: int = 4096,
    seed: int = 0,
) -> Trio:
    """A toy trained by a method: Adam on all networks, its rate going to 0 linearly.

    VAEBM spends half of the updates on its VAE.

    Arguments:
        settings: the method's.
        truth: where the training set is drawn from; its modes are the labels.
        updates: how many.
        batch: states per update.
        points: states in the training set.
        seed: of networks, training set, order and noise.

    Returns:
        The networks, with what the trained method draws from beside them (`extras.py`).
    """
    if isinstance(settings, methods.VAEBM):
        settings = replace(settings, vae_steps=updates // 2)
    rate = SLOWER.get(settings.name, RATE)
    source = torch.Generator().manual_seed(seed)
    x, labels = truth.labelled(points, source)
    trio = toy_trio(settings, seed=seed)
    module = teaching(trio, settings)
    optimiser = torch.optim.Adam(trio.parameters(), lr=rate, betas=(0.5, 0.99), fused=True)
    for t in range(updates):
        for group in optimiser.param_groups:
            group["lr"] = rate * (1 - t / updates)
        rows = torch.randint(points, (batch,), generator=source)
        update = Update(step=t, batch=batch, total=points, images=rows, labels=labels[rows])
        noise = BatchNoise(seed, range(batch), path=("train", t))
        for phase in range(module.phases):
            module(x[rows], noise, None, update._replace(phase=phase)).total().backward()
            optimiser.step()
            optimiser.zero_grad()
        module.settle(lambda own: own)
    return _finished(module, x)


@torch.no_grad()
def _finished(module: Teaching, x: Tensor) -> Trio:
    """The trained networks, frozen, with a buffer or a density of codes where the method draws from one."""
    trio = module.trio.frozen()
    if isinstance(module.settings, methods.WITH_BUFFER):
        states = module.rows["buffer"]
        trio.extra = Memory(states.shape[0] * states.shape[1], (2,))
        trio.extra.fill(buffer.spread(states, len(trio.extra.images)))
    if isinstance(module.settings, methods.RAE):
        trio.extra = CodeDensity(LATENT_DIM)
        trio.extra.fit(trio.q(x)[0])
    return trio


# -- figures -------------------------------------------------------------------------------------


@torch.no_grad()
def samples(trio: Trio, settings: Method, n: int, *, seed: int = 0) -> Tensor:
    """n draws of a trained toy (n, 2): `drawing.draw`, but draws of p(x given z) where that is the whole model."""
    noise = BatchNoise(seed, range(n), path=("samples",))
    if _generator_alone(settings):
        return generate(trio, prior(trio, n, noise=noise), "draw", noise=noise)
    return draw(trio, settings, (n, 2), methods.test_chain(settings), noise=noise)


def _generator_alone(settings: Method) -> bool:
    return isinstance(settings, (methods.VAE, methods.ABP, methods.ShortRunABP))


def log_generated(trio: Trio, *, cells: int = 100, extent: float = 4.5) -> Callable[[Tensor], Tensor]:
    """log p(x) = log of the integral of p(x, z) over z, summed over a grid on [-extent, extent]^2: (B, 2) to (B,)."""
    axis = (torch.arange(cells) + 0.5) / cells * 2 * extent - extent
    z = torch.cartesian_prod(axis, axis)
    z = z[densities.standard_normal(z) > -14]
    with torch.no_grad():
        means, prior_terms = trio.g(z), densities.standard_normal(z)
    constant = 2 * math.log(2 * extent / cells) - math.log(2 * math.pi * trio.sigma**2)

    def log_density(x: Tensor) -> Tensor:
        parts = [
            (prior_terms - torch.cdist(part, means).square() / (2 * trio.sigma**2)).logsumexp(1)
            for part in x.split(500)
        ]
        return torch.cat(parts) + constant

    return log_density


@dataclass(frozen=True)
class Figures:
    """How far a trained toy is from the truth; NaN where a method has no such thing."""

    kl: float
    """KL(truth || exp(h / T)), nats; with an energy that corrects a generator, of the corrected density."""
    generator_kl: float
    """KL(truth || the generator's marginal), nats."""
    covered: float
    """Share of samples within 3 deviations of a mode (truth: 0.99)."""
    least: float
    """Share of the least frequent mode, times the number of modes (truth: 1)."""
    distance: float
    """Energy distance of samples to as many draws of the truth, in units of x."""


def figures(trio: Trio, settings: Method, truth: Mixture = TRUTH, *, n: int = 5000, seed: int = 0) -> Figures:
    """A trained toy against the truth, by n samples."""
    drawn = samples(trio, settings, n, seed=seed)
    kl = generator_kl = float("nan")
    if trio.generator is not None and not isinstance(settings, (methods.WAE, methods.RAE)):
        generated = log_generated(trio)
        generator_kl = _kl(truth, generated)
    if isinstance(settings, methods.VAEBM):
        kl = _kl(truth, lambda x: generated(x) + trio.log_pi(x))
    elif trio.energy is not None:
        kl = _kl(truth, trio.log_pi)
    return Figures(kl, generator_kl, *by_samples(drawn, truth, seed=seed))


def one_gaussian(truth: Mixture = TRUTH, *, n: int = 5000, seed: int = 0) -> Figures:
    """The figures of the Gaussian that has the truth's mean and covariance: what any method must beat."""
    covariance = torch.cov(truth.means.T, correction=0) + truth.deviation**2 * torch.eye(2)
    law = torch.distributions.MultivariateNormal(truth.means.mean(0), covariance)
    kl = _kl(truth, law.log_prob)
    eps = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return Figures(kl, kl, *by_samples(law.mean + eps @ law.scale_tril.T, truth, seed=seed))


def _kl(truth: Mixture, learned: Callable[[Tensor], Tensor]) -> float:
    return kl_on_grid(truth.log_density, learned, extent=EXTENT, cells=CELLS)


def by_samples(drawn: Tensor, truth: Mixture = TRUTH, *, seed: int = 0) -> tuple[float, float, float]:
    """`Figures.covered`, `least` and `distance` of samples (n, 2)."""
    shares = truth.shares(drawn)
    others = truth.sample(len(drawn), torch.Generator().manual_seed(seed + 1_000_000))
    least = float(shares.min() * len(shares))
    return float(shares.sum()), least, energy_distance(drawn, others)
