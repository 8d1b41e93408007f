"""Presets: whole configurations under a name, each with the source of its numbers.

"released" is the authors' code (jcui1224/dual-MCMC, September 2023), "paper" is Cui & Han (2023). Common
to all released presets, in our terms: sigma = 0.3 / sqrt(2), since that code's latent chain and losses
drop the 1/2 of the Gaussian; generator losses are ours times 2 sigma^2 there, so its weight decay of 5e-4
is 5e-4 / (2 sigma^2) here. Ours everywhere: GroupNorm in the generator, an EMA of the weights.
"""

from __future__ import annotations

from dataclasses import replace

from dualmcmc import methods
from dualmcmc.errors import InputError
from dualmcmc.settings import Adam, Chain, Config, DualMCMC, Images, Networks, Optim, Run

RELEASED_SIGMA = 0.3 / 2**0.5
RELEASED_DECAY = 5e-4 / (2 * RELEASED_SIGMA**2)
CIFAR_CHAIN = Chain(steps=30, step=0.5, temperature=4e-6)
CELEBA_CHAIN = Chain(steps=30, step=0.3, temperature=(0.001 / 0.3) ** 2)
RELEASED_TEST_CHAIN = Chain(steps=70, step=0.4, temperature=6.25e-6)


def _released(data_chain: Chain, model_weight: float) -> DualMCMC:
    return DualMCMC(
        data_chain=data_chain,
        latent_chain=Chain(steps=10, step=0.1),
        test_chain=RELEASED_TEST_CHAIN,
        sigma=RELEASED_SIGMA,
        generator_model_weight=model_weight,
        inference_model_weight=0.1,
    )


RELEASED_OPTIM = Optim(
    batch_size=100,
    energy=Adam(rate=1e-4),
    generator=Adam(rate=3e-4, weight_decay=RELEASED_DECAY),
    inference=Adam(rate=1e-4, weight_decay=5e-4),
    schedule="epoch",
    epoch_factor=0.998,
    ema=0.999,
)

# Spectral norm on a simple network, as here, is our addition: it keeps h gentle at these temperatures.
SMALL_METHOD = DualMCMC(
    data_chain=CIFAR_CHAIN,
    test_chain=CIFAR_CHAIN,
    sigma=RELEASED_SIGMA,
    generator_model_weight=50,
    inference_model_weight=0.1,
)
SMALL_OPTIM = Optim(
    batch_size=64, energy=Adam(rate=1e-4), generator=Adam(rate=3e-4), inference=Adam(rate=3e-4), ema=0.99
)
# 64 pixels say less about a code than 3,072 do: a smaller sigma with the latent step in proportion moves
# codes as fast and with half the noise (docs/log.md).
DIGITS_METHOD = DualMCMC(
    data_chain=CIFAR_CHAIN,
    test_chain=CIFAR_CHAIN,
    latent_chain=Chain(steps=10, step=0.07),
    sigma=0.15,
    generator_model_weight=50,
    inference_model_weight=0.1,
)
DIGITS_OPTIM = Optim(
    batch_size=64, energy=Adam(rate=1e-4), generator=Adam(rate=5e-4), inference=Adam(rate=2e-4), ema=0.99
)

# Chains of the presets' drift in a tenth of their steps, and rates to match: minutes instead of days, as family.py
# and quality.py of benchmarks/ found them on Fashion-MNIST (docs/speed.md). In the long run: not measured.
QUICK_CHAIN = Chain(steps=3, step=1.58, temperature=4e-6)
QUICK_METHOD = DualMCMC(
    data_chain=QUICK_CHAIN,
    test_chain=QUICK_CHAIN,
    latent_chain=Chain(steps=3, step=0.18),
    sigma=RELEASED_SIGMA,
    generator_model_weight=10,
    inference_model_weight=0.1,
    negatives="redraw",
)
QUICK_OPTIM = Optim(
    batch_size=64, energy=Adam(rate=8e-4), generator=Adam(rate=2e-3), inference=Adam(rate=2e-3), ema=0.998
)


def _small_grey(name: str) -> Config:
    networks = Networks(family="simple", latent_dim=64, energy_width=32, generator_width=32, inference_width=32)
    return Config(
        preset=name,
        data=name,
        images=Images(size=28, channels=1),
        networks=networks,
        method=SMALL_METHOD,
        optim=SMALL_OPTIM,
        run=Run(steps=20_000),
    )


def _celeba_like(name: str, size: int, *, crop: str = "square", batch_size: int = 100) -> Config:
    networks = Networks(
        family="residual", latent_dim=128, energy_width=1024, generator_width=1024, inference_width=128
    )
    return Config(
        preset=name,
        data=name,
        images=Images(size=size, channels=3, crop=crop, flip=True),  # type: ignore[arg-type]
        networks=networks,
        method=_released(CELEBA_CHAIN, 70),
        optim=Optim(**{**vars(RELEASED_OPTIM), "batch_size": batch_size}),
        run=Run(steps=489_727),
    )


PRESETS: dict[str, Config] = {
    "digits": Config(
        preset="digits",
        data="digits",
        images=Images(size=8, channels=1),
        networks=Networks(family="simple", latent_dim=16, energy_width=16, generator_width=16, inference_width=16),
        method=DIGITS_METHOD,
        optim=DIGITS_OPTIM,
        run=Run(steps=1600, log_every=50, sample_every=400, evaluate_every=400, checkpoint_every=400),
    ),
    "mnist": _small_grey("mnist"),
    "fashion_mnist": _small_grey("fashion_mnist"),
    "quick": Config(
        preset="quick",
        data="cifar10",
        images=Images(size=32, channels=3),
        networks=Networks(family="simple", latent_dim=64, energy_width=16, generator_width=16, inference_width=16),
        method=QUICK_METHOD,
        optim=QUICK_OPTIM,
        run=Run(steps=2000, sample_every=250, evaluate_every=250, checkpoint_every=250),
    ),
    "cifar10_simple": Config(
        preset="cifar10_simple",
        data="cifar10",
        images=Images(size=32, channels=3),
        networks=Networks(
            family="simple", latent_dim=128, energy_width=64, generator_width=64, inference_width=64
        ),
        method=_released(CIFAR_CHAIN, 50),
        optim=RELEASED_OPTIM,
        run=Run(steps=150_500),
    ),
    "cifar10": Config(
        preset="cifar10",
        data="cifar10",
        images=Images(size=32, channels=3),
        networks=Networks(
            family="residual", latent_dim=128, energy_width=512, generator_width=512, inference_width=128
        ),
        method=_released(CIFAR_CHAIN, 50),
        optim=RELEASED_OPTIM,
        run=Run(steps=150_500),
    ),
    "celeba64": _celeba_like("celeba64", 64, crop="celeba"),
    "celeba_hq256": _celeba_like("celeba_hq256", 256, batch_size=32),
    "lsun_church64": _celeba_like("lsun_church64", 64),
}

SOURCES: dict[str, str] = {
    "digits": "8x8 handwritten digits embedded in scikit-learn, minutes on a CPU; ours",
    "mnist": "28x28 grey, simple networks of half width; ours, chains and weights released for CIFAR-10",
    "fashion_mnist": "as mnist",
    "quick": "for a folder of your own (--data FOLDER): narrow networks and short chains, minutes on a CPU; ours",
    "cifar10_simple": "paper, Tables 6 and 9: Divergence Triangle's networks; chains and weights are not "
    "published, so CIFAR-10's; spectral norm ours",
    "cifar10": "released: networks, chains, weights, rates, 301 epochs of 500 steps (paper: FID 9.26)",
    "celeba64": "released: networks, chains, weights, crop, flips, 301 epochs of 1,627 steps (paper: FID 5.15)",
    "celeba_hq256": "stated nowhere: CelebA-64's settings, networks extended to 256 pixels, batch 32; ours",
    "lsun_church64": "stated nowhere: CelebA-64's settings and flips; ours",
}


def preset(name: str, method: str = "dual_mcmc") -> Config:
    """The preset of that name, taught by that method: networks, data, optimiser and length are the preset's.

    Raises:
        InputError: there is no such preset or method; the line names those there are.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    base = PRESETS[name]
    assert isinstance(base.method, methods.DualMCMC)
    return replace(base, method=methods.method(method, base.method))
