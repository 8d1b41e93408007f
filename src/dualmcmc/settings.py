"""Every setting of a run, as frozen dataclasses with their bounds; nothing here imports torch.

`config.py` reads and checks them, `presets.py` fills them in, the command line is made from them. A
docstring under a field is its help text. Defaults are the paper's (Cui & Han, 2023) unless said
otherwise; `presets.py` gives each number's source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt, MinLen
from tyro.conf import Suppress

Count = Annotated[int, Ge(1)]
Weight = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A Langevin chain, Eq. (L1): x' = x + s^2/2 grad f + s sqrt(T) eps."""

    steps: Annotated[int, Ge(0)]
    """Number of transitions K."""
    step: Annotated[float, Gt(0)]
    """Step s, in units of the state; the released code's step size a."""
    temperature: Annotated[float, Ge(0)] = 1.0
    """T; the released code's noise size is b = s sqrt(T). At 0 the chain is gradient ascent."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """How any image becomes a training image (the rule is stated in `data/rule.py`)."""

    size: Literal[8, 16, 28, 32, 64, 128, 256]
    """Side in pixels; images are square."""
    channels: Literal[1, 3]
    """1 for grey, 3 for RGB."""
    crop: Literal["square", "celeba"] = "square"
    """square: the centred largest square; celeba: the box (15, 40, 163, 188) of a 178x218 photograph."""
    flip: bool = False
    """Mirror each training image left to right with probability 1/2."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The three networks; widths follow the released code's nef, ngf and nif."""

    family: Literal["residual", "simple"]
    """residual: SNGAN-like blocks (Table 1); simple: the Divergence Triangle's networks (Table 6)."""
    latent_dim: Count
    """Dimension d of z."""
    energy_width: Count
    """Channels of the energy network: of its widest block (residual), of its first layer (simple)."""
    generator_width: Count
    """Channels of the generator: of its widest block (residual), an eighth of its widest layer (simple)."""
    inference_width: Count
    """Channels of the inference network's first layer; its widest layer has 8 times as many."""
    norm: Literal["group", "batch"] = "group"
    """The generator's normalisation: group, which couples no images; batch, which the released code uses."""
    spectral_norm: bool = True
    """Divide every weight of the energy network by its largest singular value (the released choice)."""


@dataclass(frozen=True, kw_only=True)
class DualMCMC:
    """Dual-MCMC teaching, Algorithm 1; by default every weight is 1 as in Eqs. 17 to 19."""

    name: Literal["dual_mcmc"] = "dual_mcmc"
    """The method."""
    data_chain: Chain = Chain(steps=30, step=0.5, temperature=4e-6)
    """Revises generated images along the energy network, Eq. 20. Its T makes pi = exp(h / T) a density."""
    latent_chain: Chain = Chain(steps=10, step=0.1)
    """Revises inferred codes along log p(x, z), Eq. 21; at temperature 1 towards the posterior."""
    test_chain: Chain = Chain(steps=30, step=0.5, temperature=4e-6)
    """The data chain of a trained model (`sample`)."""
    start: Literal["mean", "draw"] = "mean"
    """Where the data chain starts: at g(z) (released code), or at a draw of p(x given z) (Eq. 20)."""
    latent_start: Literal["draw", "prior"] = "draw"
    """Where the latent chain starts: at a draw of q(z given x) (Eq. 21), or at the prior (Table 4, L = 10)."""
    sigma: Annotated[float, Gt(0)] = 0.3
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


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam for one network."""

    rate: Annotated[float, Ge(0)]
    """Learning rate, before the schedule."""
    betas: tuple[Fraction, Fraction] = (0.0, 0.9)
    """Decays of the gradient's running mean and square."""
    weight_decay: Weight = 0.0
    """L2 term added to the gradient (coupled, as in the released code)."""
    clip: Weight = 0.0
    """Largest norm of this network's gradient; 0 is off."""


@dataclass(frozen=True, kw_only=True)
class Optim:
    """Batch, rates, their schedule, and the average of the weights."""

    batch_size: Count = 100
    """Images per update, over all processes together."""
    energy: Adam = Adam(rate=1e-4)
    """The energy network's."""
    generator: Adam = Adam(rate=3e-4)
    """The generator's."""
    inference: Adam = Adam(rate=1e-4)
    """The inference network's."""
    schedule: Literal["constant", "epoch", "linear", "cosine"] = "constant"
    """Of all rates: constant; times `epoch_factor` per epoch (released); to 0 at the last step."""
    epoch_factor: Annotated[float, Gt(0), Le(1)] = 0.998
    """For the schedule `epoch`."""
    warmup: Annotated[int, Ge(0)] = 0
    """Steps over which the rates rise linearly from 0."""
    ema: Fraction = 0.999
    """Decay of the weights' running average (EMA); after t steps at most (1 + t) / (10 + t). 0: no average."""
    max_energy_gap: Annotated[float, Gt(0)] = 1e4
    """Training stops when the mean energies h of data and samples are further apart (released: 1e4)."""
    max_loss: Annotated[float, Gt(0)] = 1e6
    """It stops, too, beyond so many nats per pixel (generator's loss) or latent dimension (inference's)."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long, how often; 0 turns an interval off."""

    steps: Annotated[int, Ge(1)] = 100_000
    """Updates in all."""
    log_every: Count = 50
    """Steps between log lines."""
    sample_every: Annotated[int, Ge(0)] = 1000
    """Steps between pictures of samples and reconstructions."""
    evaluate_every: Annotated[int, Ge(0)] = 5000
    """Steps between the small evaluations that decide which checkpoint is best."""
    evaluate_images: Annotated[int, Ge(2)] = 1000
    """Samples, and held-out images, of each small evaluation."""
    checkpoint_every: Annotated[int, Ge(0)] = 1000
    """Steps between checkpoints; there is one at the end in any case."""
    keep: Count = 3
    """Newest checkpoints kept, beside the best."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole training run."""

    preset: Suppress[str]
    """The preset this started from; no flag, but the command's first word."""
    data: Annotated[str, MinLen(1)]
    """A data set: digits, mnist, ..., hf:owner/name, a folder, a Parquet file or folder, an .npy or .npz."""
    images: Images
    networks: Networks
    method: DualMCMC = field(default_factory=DualMCMC)
    optim: Optim = field(default_factory=Optim)
    run: Run = field(default_factory=Run)
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    """Of all randomness."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes networks in bfloat16; chain states, updates and losses stay float32."""
