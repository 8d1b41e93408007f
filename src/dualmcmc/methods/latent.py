"""Settings of methods with a generator and no energy network: alternating back-propagation and autoencoders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from dualmcmc.methods.chain import Chain, Positive, Weight
from dualmcmc.methods.guided import LATENT_CHAIN


@dataclass(frozen=True, kw_only=True)
class ABP:
    """Alternating back-propagation (Han et al., AAAI 2017): the latent chain goes on where each image's last one is."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator",)
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["abp"] = "abp"
    """The method."""
    latent_chain: Chain = LATENT_CHAIN
    """On log p(x, z), from the image's own code at its last visit."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""


@dataclass(frozen=True, kw_only=True)
class ShortRunABP:
    """Short-run inference (Nijkamp et al., ECCV 2020): the latent chain starts at the prior at each visit."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator",)
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["short_run_abp"] = "short_run_abp"
    """The method."""
    latent_chain: Chain = LATENT_CHAIN
    """On log p(x, z), from the prior."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""


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
    """Of KL(q(z given x) || p(z)); 1 is the ELBO."""
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
    mmd_weight: Weight = 100.0
    """Of the squared MMD between codes and prior draws, in nats beside -log p(x given z)."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""


@dataclass(frozen=True, kw_only=True)
class RAE:
    """Regularised autoencoder (Ghosh et al., ICLR 2020): samples come from a density fitted to the codes afterwards."""

    PARTS: ClassVar[tuple[str, ...]] = ("generator", "inference")
    SHARED: ClassVar[tuple[str, ...]] = ("latent_chain", "sigma")

    name: Literal["rae"] = "rae"
    """The method."""
    sigma: Positive = 0.3
    """Standard deviation of p(x given z)."""
    code_weight: Weight = 1e-3
    """Of half |z|^2 beside the sum of squares (released: 1e-3)."""
    decoder_decay: Weight = 1e-6
    """Of half the generator's squared weights beside it (released: 1e-6)."""
    latent_chain: Chain = LATENT_CHAIN
    """Revises a trained model's codes; training has none."""
