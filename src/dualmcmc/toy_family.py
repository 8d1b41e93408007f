"""Every method on 2-D states: small networks, settings to scale, one training loop.

States live in the box [-1, 1]^2, where chains that start from uniform noise, clamped chains and kept buffers live.
`TRUTH` fits it: five Gaussians of deviation 0.3 on a circle of radius 1, in units of `UNIT` = 0.4; 1 draw in 10^7
lies outside. The best single Gaussian is 0.40 nats away. Neighbouring modes are 3.9 deviations apart, and `CHAIN`
diffuses over 3.7: chains pass from mode to mode, so whether an energy is a density is a question of its method,
not of how far chains travel.

T is 1, so that exp(h) is to be the density itself, and weights that sources give for pixels at T << 1 are replaced
by those that a divergence has. Recovery likelihood alone keeps its released temperatures, those of its steps: with
T = 1 it diverged where steps were long enough to relax. With the released steps chains at the least noise would
forget 1 % of where they start; here they are 5 times as long (at 6 times it diverged) and twice as many.

What a trained toy is worth is measured by `toy_figures.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from dualmcmc import methods
from dualmcmc.extras import CodeDensity, Memory, Sampler
from dualmcmc.methods import Chain, Method
from dualmcmc.noise import BatchNoise
from dualmcmc.teaching import Teaching, Update, buffer, teaching
from dualmcmc.toys import Mixture
from dualmcmc.trio import Trio

UNIT = 0.4
TRUTH = Mixture.ring(modes=5, radius=UNIT, deviation=0.3 * UNIT)
LATENT_DIM, WIDTH = 2, 64

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
    # Lengths to scale: the released penalty is on |grad h|^2
    "no_mcmc": {
        "test_chain": Chain(steps=0, step=1.0),
        "gradient_penalty": 0.1 * UNIT**2,
        "sigma_range": (0.01, 0.3 * UNIT),
    },
    "persistent": {"data_chain": BOXED, "test_chain": BOXED, "energy_penalty": 0.0},
    # The entropy's weight is D T, that of a divergence
    "improved_cd": {"data_chain": BOXED, "test_chain": BOXED, "energy_penalty": 0.0, "entropy_weight": 2.0},
    "jem": {"classes": len(TRUTH.means)},
    "recovery_likelihood": {"temperature": 0.0, "step_scale": 0.07, "level_steps": 60},
    "wae": {"mmd_weight": 1.0},
    "vaebm": {"noise_chain": NOISE_CHAIN, "test_chain": NOISE_CHAIN},
    "abp": {"latent_chain": replace(LATENT_CHAIN, steps=30)},
    "short_run_abp": {"latent_chain": replace(LATENT_CHAIN, steps=30)},
}
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
"""Settings by name: every method's, and dual-MCMC's with other negatives of the energy and other pairs."""

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
        made: dict[str, Any] = {
            "energy": _energy(settings),
            "generator": _layers(LATENT_DIM, 2),
            "inference": ToyInference(),
        }
    extra = None
    if isinstance(settings, methods.NoMCMC):
        extra = Sampler(LATENT_DIM, settings.sigma, settings.sigma_range)
    return Trio(
        **{name: made[name] for name in settings.PARTS},
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
    rate: float = 1e-2,
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
        rate: Adam's, at first.
        seed: of networks, training set, order and noise.

    Returns:
        The networks, with what the trained method draws from beside them (`extras.py`).
    """
    if isinstance(settings, methods.VAEBM):
        settings = replace(settings, vae_steps=updates // 2)
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
