"""Settings of methods with an energy network alone: chains start from noise or from where earlier ones ended.

Chains are each method's own: nothing is shared. Short-run EBM and JEM have pixels x in [-1, 1] as we do, IGEBM and
improved CD u in [0, 1]. With x = 2 u - 1 and h(x) = -E(u), grad_u E is -2 grad_x h: u' = u - a grad_u E + b eps is
x' = x + 4 a grad_x h + 2 b eps, so that s^2 / 2 = 4 a, s sqrt(T) = 2 b; a clip of grad_u E at c is ours at c / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le

from dualmcmc import limits
from dualmcmc.methods.chain import Chain, Count, Positive, Weight

SHORT_RUN_CHAIN = Chain(steps=100, step=2**0.5, temperature=5e-5)
IGEBM_CHAIN = Chain(steps=60, step=80**0.5, temperature=1.25e-6, gradient_clip=0.005, clamp=True)
IMPROVED_CHAIN = Chain(steps=40, step=800**0.5, temperature=5e-9, clamp=True)
JEM_CHAIN = Chain(steps=20, step=2**0.5, temperature=5e-5)
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class ShortRun:
    """Short-run EBM (Nijkamp et al., NeurIPS 2019): the data chain always starts at uniform noise."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy",)
    SHARED: ClassVar[tuple[str, ...]] = ()

    name: Literal["short_run"] = "short_run"
    """The method."""
    data_chain: Chain = SHORT_RUN_CHAIN
    """From uniform noise in [-1, 1] (released: 100 steps x' = x + grad f + 0.01 eps)."""
    test_chain: Chain = SHORT_RUN_CHAIN
    """The data chain of a trained model (`sample`)."""
    data_noise: Weight = 0.03
    """Deviation of the noise added to x+ (released)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class Persistent:
    """Implicit generation by persistent chains, IGEBM (Du & Mordatch, NeurIPS 2019)."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy",)
    SHARED: ClassVar[tuple[str, ...]] = ()

    name: Literal["persistent"] = "persistent"
    """The method."""
    data_chain: Chain = IGEBM_CHAIN
    """Goes on where one of the buffer's states is (released: 60 clamped and clipped steps)."""
    test_chain: Chain = IGEBM_CHAIN
    """The data chain of a trained model, from the buffer that it keeps."""
    buffer: Count = 10_000
    """States kept, divided evenly among the places of a batch (released: 50,000 past ends, in 8 bits)."""
    restart: Share = 0.05
    """Share of chains that start anew from uniform noise (released)."""
    energy_penalty: Weight = 1.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss (released)."""
    dequantise: bool = True
    """Spread the 256 levels of images over the cells of [-1, 1] between them (released)."""


@dataclass(frozen=True, kw_only=True)
class ImprovedCD:
    """Improved contrastive divergence (Du et al., ICML 2021): with what the chain's dependence on h adds."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy",)
    SHARED: ClassVar[tuple[str, ...]] = ()

    name: Literal["improved_cd"] = "improved_cd"
    """The method."""
    data_chain: Chain = IMPROVED_CHAIN
    """From an augmented state of the buffer (released: 40 steps of 100 in [0, 1], noise 0.001)."""
    test_chain: Chain = IMPROVED_CHAIN
    """The data chain of a trained model, from the buffer that it keeps."""
    buffer: Count = 10_000
    """States kept, divided evenly among the places of a batch (released: 10,000)."""
    restart: Share = 0.001
    """Share of chains that start anew from uniform noise (released)."""
    augment: bool = True
    """Mirror, shift and rescale the buffer's images before the chain (released, which distorts colours, too)."""
    smallest_crop: Share = 0.08
    """Smallest share of an image's area that augmentation keeps and enlarges (released)."""
    kl_weight: Weight = 1.0
    """Of -h(x-) with the chain's last step differentiated (released)."""
    entropy_weight: Weight = 0.3
    """Of the mean log distance to the nearest of `neighbours` states of the buffer (released)."""
    neighbours: Count = 100
    """States among which the nearest is looked for (released)."""
    energy_penalty: Weight = 1.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss (released)."""
    dequantise: bool = True
    """Spread the 256 levels of images over the cells of [-1, 1] between them (released)."""


@dataclass(frozen=True, kw_only=True)
class RecoveryLikelihood:
    """Diffusion recovery likelihood (Gao et al., ICLR 2021): conditional energies over noise levels."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy",)
    SHARED: ClassVar[tuple[str, ...]] = ()

    name: Literal["recovery_likelihood"] = "recovery_likelihood"
    """The method."""
    levels: Annotated[int, Ge(1), Le(500)] = 6
    """Noise levels that the energy is told (released: 6, "T6"), spaced as `diffusion.py` says."""
    level_steps: Annotated[int, Ge(1), Le(limits.STEPS)] = 30
    """Langevin steps at each level, in training and by a trained model (released: 30)."""
    step_scale: Positive = 2e-4**0.5
    """Step b of a level's chain over sigma sqrt(S_t / S_0), sigma being the noise that it undoes and S_t the noise
    that stays (released: b^2 is 2e-4 sigma^2 S_t / S_0)."""
    temperature: Weight = 0.0
    """T of h / T at every level; 0: each level's b^2 (released), so that any step moves by half of grad h."""
    test_noise: Weight = 0.99
    """Factor on the noise of a trained model's chains (released: 0.99, 1 in training)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 in the energy's loss."""


@dataclass(frozen=True, kw_only=True)
class JEM:
    """Joint energy model (Grathwohl et al., ICLR 2020): h is the log-sum-exp of a classifier's logits."""

    PARTS: ClassVar[tuple[str, ...]] = ("energy",)
    SHARED: ClassVar[tuple[str, ...]] = ()

    name: Literal["jem"] = "jem"
    """The method."""
    data_chain: Chain = JEM_CHAIN
    """Goes on where one of the buffer's states is (released: 20 steps x' = x + grad f + 0.01 eps)."""
    test_chain: Chain = JEM_CHAIN
    """The data chain of a trained model, from the buffer that it keeps."""
    classes: Annotated[int, Ge(0), Le(limits.CLASSES)] = 0
    """Classes K; 0: as many as the training images have."""
    buffer: Count = 10_000
    """States kept, divided evenly among the places of a batch (released: 10,000)."""
    restart: Share = 0.05
    """Share of chains that start anew from uniform noise (released)."""
    class_weight: Weight = 1.0
    """Of the cross entropy of the labels, beside the gap of h, which is not divided by T here (released: 1)."""
    data_noise: Weight = 0.03
    """Deviation of the noise added to x+ (released)."""
    energy_penalty: Weight = 0.0
    """Of mean h(x+)^2 + mean h(x-)^2 beside the gap of h (the author suggests 0.1 against divergence)."""
