"""Every setting of a run, as frozen dataclasses with their bounds; nothing here imports torch.

`config.py` reads and checks them, `presets.py` fills them in, the command line is made from them. A
docstring under a field is its help text. Defaults are the paper's (Cui & Han, 2023) unless said
otherwise; `presets.py` gives each number's source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from tyro.conf import AvoidSubcommands, Suppress

from dualmcmc import limits
from dualmcmc.methods import Chain, DualMCMC, Method
from dualmcmc.methods.chain import Count, Fraction, Interval, Positive, Weight

__all__ = ["Adam", "Chain", "Config", "DualMCMC", "Guard", "Images", "Method", "Networks", "Optim", "Run"]


STREAM = "stream:"
"""Prefix of a data reference whose images training reads as it goes."""


Width = Annotated[int, Ge(1), Le(limits.WIDTH)]


class ByName:
    """Lets pydantic choose a method's settings by their `name`, without importing it here."""

    @staticmethod
    def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        kinds = {kind().name: handler(kind) for kind in get_args(source)}
        return core_schema.tagged_union_schema(kinds, discriminator="name")


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
    latent_dim: Annotated[int, Ge(1), Le(limits.LATENT)]
    """Dimension d of z."""
    energy_width: Width
    """Channels of the energy network: of its widest block (residual), of its first layer (simple)."""
    generator_width: Width
    """Channels of the generator: of its widest block (residual), an eighth of its widest layer (simple)."""
    inference_width: Width
    """Channels of the inference network's first layer; its widest layer has 8 times as many."""
    norm: Literal["group", "batch"] = "group"
    """The generator's normalisation: group, which couples no images; batch, which the released code uses."""
    spectral_norm: bool = True
    """Divide every weight of the energy network by its largest singular value (the released choice)."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam for one network."""

    rate: Weight
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

    batch_size: Annotated[int, Ge(1), Le(limits.BATCH)] = 100
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
    warmup: Interval = 0
    """Steps over which the rates rise linearly from 0."""
    ema: Fraction = 0.999
    """Decay of the weights' running average (EMA); after t steps at most (1 + t) / (10 + t). 0: no average."""
    max_energy_gap: Positive = 1e4
    """Training stops when the mean energies h of data and samples are further apart (released: 1e4)."""
    max_loss: Positive = 1e6
    """It stops, too, beyond so many nats per pixel (generator's loss) or latent dimension (inference's)."""


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What happens when training diverges: back to the newest checkpoint, other noise, a gentler energy."""

    trips: Annotated[int, Ge(0)] = 5
    """Roll-backs within `window` updates after which the next divergence ends training; 0: the first one does."""
    window: Count = 10_000
    """Updates, counted back from the one that diverges, in which earlier roll-backs count."""
    remedy: Literal["rate", "chain"] = "rate"
    """With each roll-back multiply the energy's rate (rate), or lengthen its data chain (chain), by `factor`."""
    factor: Annotated[float, Gt(0), Lt(1)] = 0.25
    """The energy's rate is multiplied by it; the chain's steps are divided by it."""
    range: Annotated[float, Gt(1)] = 50.0
    """Gap, size of h, chains' movement, gradients: limit, in units of the largest seen by earlier checkpoints."""
    warmup: Count = 100
    """Updates before which no such range is known."""
    saturation: Annotated[float, Gt(0), Le(1)] = 0.5
    """Largest share of the pixels of x- outside [-2, 2], unless there were half as many by the last checkpoint."""
    collapse: Annotated[float, Ge(0), Lt(1)] = 1e-5
    """Smallest geometric mean of q's variances; they are looked at before each checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How long, how often; 0 turns an interval off."""

    steps: Count = 100_000
    """Updates in all."""
    minutes: Weight = 0.0
    """End after so many minutes of updates, even before `steps`; looking and saving take none. 0: no limit."""
    log_every: Count = 50
    """Steps between log lines."""
    sample_every: Interval = 1000
    """Steps between pictures of samples and reconstructions."""
    evaluate_every: Interval = 5000
    """Steps between the small evaluations that decide which checkpoint is best."""
    evaluate_images: Annotated[int, Ge(2), Le(limits.IMAGES)] = 1000
    """Samples, and held-out images, of each small evaluation."""
    checkpoint_every: Interval = 1000
    """Steps between checkpoints; there is one at the end in any case."""
    keep: Count = 3
    """Newest checkpoints kept, beside the best."""
    micro_batch: Annotated[int, Ge(0), Le(limits.BATCH)] = 0
    """Images that chains and losses give the networks at a time, for less memory (docs/speed.md); 0: all."""
    chains: Literal["plain", "compiled", "graphed"] = "plain"
    """How training's chains run: operator by operator, with energy network and generator compiled, or so and each
    whole chain one CUDA graph; the same draws, equal up to rounding (docs/speed.md)."""
    track: Literal["none", "wandb"] = "none"
    """wandb: log lines and pictures go to Weights & Biases, too (extra `track`; WANDB_MODE=offline: to disk)."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole training run."""

    preset: Suppress[Annotated[str, MaxLen(limits.NAME)]]
    """The preset this started from; no flag, but the command's first word."""
    data: Annotated[str, MinLen(1), MaxLen(limits.NAME)]
    """A data set: digits, mnist, ..., hf:owner/name, a folder, a Parquet file or folder, an .npy or .npz; with
    stream: before it, training reads it as it goes and never holds all of it (docs/streaming.md)."""
    images: Images
    networks: Networks
    method: Annotated[Method, AvoidSubcommands, ByName] = field(default_factory=DualMCMC)
    optim: Optim = field(default_factory=Optim)
    run: Run = field(default_factory=Run)
    guard: Guard = field(default_factory=Guard)
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    """Of all randomness."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes networks in bfloat16; chain states, updates and losses stay float32."""
