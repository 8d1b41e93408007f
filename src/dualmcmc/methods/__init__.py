"""The methods there are: their settings, and what of three networks each has; nothing here imports torch.

    chain.py      a chain, and the bounds of numbers
    diffusion.py  the noise levels of recovery_likelihood
    guided.py     energy with a generator: dual_mcmc, cooperative, amortized, divergence_triangle, no_mcmc, vaebm,
                  hat
    energies.py   energy alone: short_run, persistent, improved_cd, recovery_likelihood, jem
    latent.py     generator without energy: abp, short_run_abp, vae, wae, rae

Each class says in `PARTS` which networks it has and in `SHARED` which fields a preset's dual-MCMC settings give.
`teaching/` has a page for each, `docs/family.md` the sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from dualmcmc.errors import InputError
from dualmcmc.methods.chain import Chain
from dualmcmc.methods.diffusion import Level, noise_levels
from dualmcmc.methods.energies import JEM, ImprovedCD, Persistent, RecoveryLikelihood, ShortRun
from dualmcmc.methods.guided import (
    VAEBM,
    Amortized,
    Cooperative,
    DivergenceTriangle,
    DualMCMC,
    Hat,
    NoMCMC,
)
from dualmcmc.methods.latent import ABP, RAE, VAE, WAE, ShortRunABP

__all__ = [
    "ABP",
    "JEM",
    "METHODS",
    "NO_CHAIN",
    "RAE",
    "VAE",
    "VAEBM",
    "WAE",
    "WITH_BUFFER",
    "Amortized",
    "Chain",
    "Cooperative",
    "DivergenceTriangle",
    "DualMCMC",
    "Hat",
    "ImprovedCD",
    "Method",
    "NoMCMC",
    "Persistent",
    "RecoveryLikelihood",
    "ShortRun",
    "ShortRunABP",
    "latent_chain",
    "levels",
    "method",
    "partial",
    "sigma",
    "start",
    "temperature",
    "test_chain",
    "title",
    "what",
]

Method = (
    DualMCMC
    | Cooperative
    | Amortized
    | DivergenceTriangle
    | NoMCMC
    | ShortRun
    | Persistent
    | ImprovedCD
    | RecoveryLikelihood
    | VAEBM
    | Hat
    | ABP
    | ShortRunABP
    | VAE
    | WAE
    | RAE
    | JEM
)
METHODS: Mapping[str, type[Any]] = {kind().name: kind for kind in get_args(Method)}
"""By name, in the order in which they are listed."""
NO_CHAIN = Chain(steps=0, step=1.0)
WITH_BUFFER = (Persistent, ImprovedCD, JEM)
"""Methods whose trained models keep a buffer to start chains from."""


def method(name: str, base: DualMCMC) -> Method:
    """The default settings of a method, with what it shares taken from dual-MCMC settings.

    Raises:
        InputError: there is no such method; the line names those there are.
    """
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: choose one of {', '.join(METHODS)}")
    if name == base.name:
        return base
    kind = METHODS[name]
    found: Method = replace(kind(), **{field: getattr(base, field) for field in kind.SHARED})
    return found


def what(name: str) -> str:
    """A method in one line: its name in full with its source, and what distinguishes it."""
    return (METHODS[name].__doc__ or "").partition("\n")[0].rstrip(".")


def title(name: str) -> str:
    """Its name in full with its source."""
    return what(name).partition(":")[0]


def temperature(settings: Method) -> float:
    """T of pi = exp(h / T): that of the training data chain where there is one; 1 without an energy network.

    Recovery likelihood's is that of level 0, the images themselves; VAEBM's exp(h / T) corrects the VAE's density.
    """
    if isinstance(settings, RecoveryLikelihood):
        return levels(settings)[0].temperature
    if isinstance(settings, (DivergenceTriangle, NoMCMC, VAEBM)):
        return settings.temperature
    return settings.data_chain.temperature if hasattr(settings, "data_chain") else 1.0


def sigma(settings: Method) -> float:
    """The deviation of p(x given z), at first where it is learned; 1 (meaningless) without a generator."""
    return getattr(settings, "sigma", 1.0)


def latent_chain(settings: Method) -> Chain:
    """A trained model's latent chain; of no steps without a generator."""
    return getattr(settings, "latent_chain", NO_CHAIN)


def levels(settings: RecoveryLikelihood) -> Sequence[Level]:
    """Recovery likelihood's noise levels, the least noise first."""
    return noise_levels(settings.levels, settings.step_scale, settings.temperature)


def test_chain(settings: Method) -> Chain:
    """A trained model's data chain; of no steps without an energy network.

    Recovery likelihood's runs through all levels: its step is in units of each level's own, its temperature the
    square of a factor on the noise. VAEBM's moves the noise behind images.
    """
    if isinstance(settings, RecoveryLikelihood):
        return Chain(steps=settings.levels * settings.level_steps, step=1.0, temperature=settings.test_noise**2)
    return getattr(settings, "test_chain", NO_CHAIN)


def start(settings: Method) -> str:
    """Where the data chain starts: mean, draw (of the generator), noise, or buffer."""
    if isinstance(settings, WITH_BUFFER):
        return "buffer"
    if "generator" not in settings.PARTS:
        return "noise"
    return getattr(settings, "start", "draw" if isinstance(settings, (NoMCMC, VAEBM)) else "mean")


def remembers_images(settings: Method) -> bool:
    """Whether teaching must know which training images it sees, and how many there are; a stream cannot say."""
    return isinstance(settings, ABP)


def partial(settings: Method) -> bool:
    """Whether some backward passes leave networks or heads out, which DistributedDataParallel must look for."""
    if isinstance(settings, DualMCMC):
        return settings.negatives in ("redraw", "redraw_unrevised")
    # Deterministic autoencoders leave the variances' head out.
    return isinstance(settings, (VAEBM, WAE, RAE))
