"""Settings of methods in which a generator draws for an energy network.

Whatever stands in `SHARED` is taken from the preset's dual-MCMC settings unless said otherwise, so that methods
are compared under equal chains; sources of the other numbers are beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from dualmcmc import limits
from dualmcmc.methods.chain import Chain, Count, Positive, Weight

CIFAR_CHAIN = Chain(steps=30, step=0.5, temperature=4e-6)
STILL_CHAIN = Chain(steps=0, step=0.5, temperature=4e-6)
LATENT_CHAIN = Chain(steps=10, step=0.1)
NOISE_CHAIN = Chain(steps=10, step=0.01)
NOISE_TEST_CHAIN = Chain(steps=16, step=0.01)
ALL = ("energy", "generator", "inference")


@dataclass(frozen=True, kw_only=True)
class DualMCMC:
    """Dual-MCMC teaching (Cui & Han, NeurIPS 2023): each chain teaches the network that started it.

    By default every weight is 1 as in Eqs. 17 to 19.
    """

    PARTS: ClassVar[tuple[str, ...]] = ALL
    SHARED: ClassVar[tuple[str, ...]] = ()

    name: Literal["dual_mcmc"] = "dual_mcmc"
    """The method."""
    data_chain: Chain = CIFAR_CHAIN
    """Revises generated images along the energy network, Eq. 20. Its T makes pi = exp(h / T) a density."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises inferred codes along log p(x, z), Eq. 21; at temperature 1 towards the posterior."""
    test_chain: Chain = CIFAR_CHAIN
    """The data chain of a trained model (`sample`)."""
    start: Literal["mean", "draw"] = "mean"
    """Where the data chain starts: at g(z) (released code), or at a draw of p(x given z) (Eq. 20)."""
    latent_start: Literal["draw", "prior"] = "draw"
    """Where the latent chain starts: at a draw of q(z given x) (Eq. 21), or at the prior (Table 4, L = 10)."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    generator_data_weight: Weight = 1.0
    """Of log p(x+, z+) in the generator's loss, the first term of Eq. 18."""
    generator_model_weight: Weight = 1.0
    """Of log p(x-, z) in the generator's loss, the second term of Eq. 18."""
    inference_data_weight: Weight = 1.0
    """Of log q(z+ given x+) in the inference loss, the first term of Eq. 19."""
    inference_model_weight: Weight = 1.0
    """Of log q(z given x-) in the inference loss, the second term of Eq. 19."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss (IGEBM uses 1); 0 is off."""
    negatives: Literal["reuse", "redraw", "redraw_unrevised", "persistent", "mixed"] = "reuse"
    """The energy's x-: the generator-started chain's end (Algorithm 1); a second chain from the updated generator
    (released code); the updated generator's images (first release); a buffer of chains; half and half."""
    pair: Literal["prior", "reinferred"] = "prior"
    """What generator and inference network learn with x-: the z that a generator-started chain came from, or, for
    the energy's x- whatever they are, z' re-inferred by the latent chain."""
    buffer: Count = 1000
    """States of `persistent` and `mixed`, divided evenly among the places of a batch. Training must be long
    against the 2 m / (K s^2 lambda) updates that m states a place take to forget where they began."""
    restart: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of the buffer's chains that start anew from the generator at each update."""


@dataclass(frozen=True, kw_only=True)
class Cooperative:
    """Cooperative learning (Xie et al., 2018): the generator learns from revised samples only."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy", "generator")
    SHARED: ClassVar[tuple[str, ...]] = ("data_chain", "test_chain", "latent_chain", "start", "sigma")

    name: Literal["cooperative"] = "cooperative"
    """The method."""
    data_chain: Chain = CIFAR_CHAIN
    """Revises generated images."""
    test_chain: Chain = CIFAR_CHAIN
    """The data chain of a trained model (`sample`)."""
    latent_chain: Chain = LATENT_CHAIN
    """Explains images by a trained model, from the prior; training has none."""
    start: Literal["mean", "draw"] = "mean"
    """Where the data chain starts."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    reference: Weight = 0.0
    """Deviation r of the Gaussian that the energy tilts, log pi = h / T - |x|^2 / (2 r^2) (released: 0.016);
    0: none."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class Amortized:
    """A VAE as the energy's sampler (Xie et al., AAAI 2021): it learns from revised samples only."""

    PARTS: ClassVar[tuple[str, ...]] = ALL
    SHARED: ClassVar[tuple[str, ...]] = ("data_chain", "test_chain", "latent_chain", "start", "sigma")

    name: Literal["amortized"] = "amortized"
    """The method."""
    data_chain: Chain = CIFAR_CHAIN
    """Revises generated images."""
    test_chain: Chain = CIFAR_CHAIN
    """The data chain of a trained model (`sample`)."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""
    start: Literal["mean", "draw"] = "mean"
    """Where the data chain starts."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    kl_weight: Weight = 1.0
    """Of KL(q(z given x-) || p(z)) in the ELBO (released: 2 beside the sum of squares, which is 1 at sigma 1)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class DivergenceTriangle:
    """Divergence triangle (Han et al., CVPR 2019): no chains; the energy is the generator's adversary."""

    PARTS: ClassVar[tuple[str, ...]] = ALL
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "start", "sigma")

    name: Literal["divergence_triangle"] = "divergence_triangle"
    """The method."""
    temperature: Positive = 1e-3
    """T of pi = exp(h / T): what the adversary's h weighs against the ELBO (paper: 1; released: h beside the sum
    of squares, that is 2 sigma^2, with nothing to hold h's slope). Spectral norm makes h gentle: ours is lower."""
    test_chain: Chain = STILL_CHAIN
    """The data chain of a trained model; the method has none."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""
    start: Literal["mean", "draw"] = "mean"
    """What counts as a generated image: g(z), or a draw of p(x given z)."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    kl_weight: Weight = 1.0
    """Of KL(q(z given x+) || p(z)) in the ELBO (released: 1 / d, beside the sum of squares)."""
    dream_weight: Weight = 1.0
    """Of log q(z given g(z)) in the generator's and the inference network's loss (paper: 1; released: 0.1 beside
    the sum of squares, that is 1.1 at the released presets' sigma)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class NoMCMC:
    """No-MCMC training, VERA (Grathwohl et al., ICLR 2021), without labels: a generator with entropy samples."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy", "generator")
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain",)

    name: Literal["no_mcmc"] = "no_mcmc"
    """The method."""
    temperature: Positive = 1e-4
    """T of pi = exp(h / T): the released weight of the entropy against h."""
    test_chain: Chain = STILL_CHAIN
    """The data chain of a trained model; the method has none."""
    latent_chain: Chain = LATENT_CHAIN
    """Explains images by a trained model, from the prior; training has none."""
    sigma: Positive = 0.1
    """Deviation of p(x given z) at first; it is learned (released: 0.01)."""
    sigma_range: tuple[Positive, Positive] = (0.01, 0.3)
    """Where the learned deviation is held (released)."""
    posterior_draws: Annotated[int, Ge(1), Le(limits.BATCH)] = 20
    """Importance draws of z given x behind the entropy's gradient (released: 20)."""
    gradient_penalty: Weight = 0.1
    """Of half |grad h(x+)|^2 in the energy's loss (released: 0.1)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class VAEBM:
    """VAEBM (Xiao et al., ICLR 2021): an energy that corrects a trained VAE; its chain moves the VAE's noise.

    The VAE is this library's, one layer of codes, not the NVAE of the paper.
    """

    PARTS: ClassVar[tuple[str, ...]] = ALL
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["vaebm"] = "vaebm"
    """The method."""
    temperature: Positive = 2e-6
    """T of the correction exp(h / T); ours (released: 1, h having no bound). At sigma 0.2 a step moves pixels by
    grad h; at T = 1e-5 the energy outran the chains of 16-pixel images, its gap growing to 0.1 and more."""
    vae_steps: Count = 1000
    """Updates that train the VAE alone; afterwards it is frozen and the energy learns."""
    noise_chain: Chain = NOISE_CHAIN
    """In the noise (of codes and of pixels) behind x = g(z) + sigma eps; released: 10 steps of sqrt(8e-5)."""
    test_chain: Chain = NOISE_TEST_CHAIN
    """The same of a trained model (released: 16 steps)."""
    pixels: Literal["draw", "mean"] = "draw"
    """What the chain's end is shown as: g(z) + sigma eps, of the stated law; or g(z) (released: in samples, and in
    training but for CIFAR-10)."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    kl_weight: Weight = 1.0
    """Of KL(q(z given x+) || p(z)) in the VAE's loss."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class Hat:
    """Hat-EBM (Hill et al., NeurIPS 2022): x = g(z) + y, chains move y, the generator learns from old pairs."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy", "generator")
    SHARED: ClassVar[tuple[str, ...]] = ("data_chain", "test_chain", "latent_chain", "sigma")

    name: Literal["hat"] = "hat"
    """The method."""
    data_chain: Chain = CIFAR_CHAIN
    """Moves the residual y from 0, z being fixed (released: 50 steps s = 5 at T = 1e-8, `longest_drift` 2.5)."""
    test_chain: Chain = CIFAR_CHAIN
    """The data chain of a trained model (`sample`)."""
    latent_chain: Chain = LATENT_CHAIN
    """Explains images by a trained model, from the prior; training has none."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    bank: Count = 10_000
    """Old pairs (z, x-) that the generator learns from, divided evenly among the places of a batch (released)."""
    data_noise: Weight = 0.001
    """Deviation of the noise added to x+ (released)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""
