"""Settings of methods with a generator and no energy network: alternating back-propagation and autoencoders.

Autoencoders' weights are those of ParthaEth/Regularized_autoencoders-RAE- for CIFAR-10 ("released"). That code has
pixels in [0, 1] and the mean squared error over pixels and channels, MSE; with D numbers in [-1, 1] the squared
error is SSE = 4 D MSE, and -log p(x given z) is SSE / (2 sigma^2) = 2 D / sigma^2 MSE, plus a constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dualmcmc.methods.chain import Chain, Positive, Weight
from dualmcmc.methods.guided import LATENT_CHAIN


@dataclass(frozen=True, kw_only=True)
class ABP:
    """Alternating back-propagation (Han et al., AAAI 2017): an image's latent chain goes on at each visit."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator",)
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["abp"] = "abp"
    """The method."""
    latent_chain: Chain = LATENT_CHAIN
    """On log p(x, z), from the image's own code at its last visit."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z) (CoopNets' family: 0.3, latent step 0.1)."""


@dataclass(frozen=True, kw_only=True)
class ShortRunABP:
    """Short-run inference (Nijkamp et al., ECCV 2020): the latent chain starts at the prior at each visit."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator",)
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["short_run_abp"] = "short_run_abp"
    """The method."""
    latent_chain: Chain = LATENT_CHAIN
    """On log p(x, z), from the prior (released: step 0.05)."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z) (released: 0.15)."""


@dataclass(frozen=True, kw_only=True)
class VAE:
    """Variational autoencoder (Kingma & Welling, 2014)."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator", "inference")
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["vae"] = "vae"
    """The method."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    kl_weight: Weight = 1.0
    """Of KL(q(z given x) || p(z)); 1 is the ELBO. Released: 0.024 beside SSE / (4 channels), that is 1 beside
    SSE / 0.288: the ELBO at sigma 0.38, or a weight of 3.2 at 0.212."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""


@dataclass(frozen=True, kw_only=True)
class WAE:
    """Wasserstein autoencoder (Tolstikhin et al., ICLR 2018): codes match the prior by MMD."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator", "inference")
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["wae"] = "wae"
    """The method."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    mmd_weight: Weight = 3e-2
    """Of the squared MMD of codes and prior draws, beside the mean squared error of pixels in [0, 1], Eq. (W2)
    (released: 3e-2 for MNIST, 6e-3 for CIFAR-10; tolstikhin/wae's 10 beside 0.05 SSE is 4e-3 for its CelebA)."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""


@dataclass(frozen=True, kw_only=True)
class RAE:
    """Regularised autoencoder (Ghosh et al., ICLR 2020): samples come from a density fitted to its codes."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator", "inference")
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["rae"] = "rae"
    """The method."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    code_weight: Weight = 1e-3
    """Of the codes' mean square beside the mean squared error of pixels in [0, 1], Eq. (R1) (released: 1e-3)."""
    decoder_decay: Weight = 1e-6
    """Of the generator's squared weights, summed, beside it (released: 1e-6)."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""
