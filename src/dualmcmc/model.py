"""A trained model: draw, explain, reconstruct, score.

Result i depends on image i, its key and the seed, never on what else is in its batch: noise is a function
of (seed, key, chain step), no network couples images, and results agree up to rounding whatever the batch
size, order or neighbours. Everything works inside a caller's `torch.inference_mode()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.inputs import to_images
from dualmcmc.noise import Noise
from dualmcmc.sampling import explain, generate, prior, revise
from dualmcmc.settings import Chain, Config
from dualmcmc.storage import pretrained
from dualmcmc.trio import Trio

if TYPE_CHECKING:
    from dualmcmc.inputs import Pictures

P = ParamSpec("P")
R = TypeVar("R")


def _plain_mode(method: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """Chains need gradients and ordinary tensors in float32, whatever mode the caller is in."""

    @wraps(method)
    def wrapped(self: Model, *args: P.args, **kwargs: P.kwargs) -> R:
        device = self.device.type
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast(device, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            return method(self, *args, **kwargs)

    return wrapped


class Model:
    """Energy network, generator and inference network with the settings they were trained under.

    Arguments:
        trio: the networks, spectral norm folded in (`pretrained.load` gives such).
        config: the run's settings; `images` says what images are, `method` holds the chains.
        step: updates the networks have seen.
        device: where to compute; None: where the networks are.
    """

    def __init__(
        self, trio: Trio, config: Config, *, step: int = 0, device: str | torch.device | None = None
    ) -> None:
        self.trio = trio.to(device).eval().requires_grad_(False)
        self.config, self.step = config, step

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        *,
        weights: Literal["ema", "live"] = "ema",
        device: str | torch.device | None = None,
    ) -> Model:
        """A model from a run folder, a model folder or a hub id ("owner/name").

        Arguments:
            place: where it is.
            weights: ema, the average over training that `model/` holds; live, the newest checkpoint's (of a run).
            device: where to compute; None: the CPU.

        Raises:
            InputError: there is no model there, or its weights are missing, misshapen or not finite.
        """
        if weights not in ("ema", "live"):
            raise InputError(f"weights {weights!r}: expected ema or live")
        with torch.inference_mode(False):
            load = pretrained.load_live if weights == "live" else pretrained.load
            trio, config, step = load(place)
            return cls(trio, config, step=step, device=device)

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes safetensors, config.json and a model card; a model already there is replaced.

        Raises:
            InputError: the folder holds something else.
        """
        pretrained.save(Path(folder), self.trio, self.config, self.step)

    def __repr__(self) -> str:
        images, networks = self.config.images, self.config.networks
        kind = f"{networks.family} networks, {networks.latent_dim} latent dimensions"
        return (
            f"Model({self.config.preset}, {images.size}x{images.size}x{images.channels}, {kind}, step {self.step})"
        )

    @property
    def device(self) -> torch.device:
        """Where the networks are, and results will be."""
        return next(self.trio.parameters()).device

    @_plain_mode
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Images from the generator, revised by the test chain and clamped at its end.

        Arguments:
            n: how many.
            seed: of all randomness.
            keys: one integer per image; equal seed and key give an equal image. None: 0 to n - 1.
            steps: length of the data chain; 0 gives the generator's images; None: the run's test chain.
            batch_size: images at once; changes speed and memory only.

        Returns:
            (n, C, S, S) float32 in [-1, 1].
        """
        method = self.config.method
        chain = _of_length(method.test_chain, steps)
        shape = (0, self.config.images.channels, self.config.images.size, self.config.images.size)
        rows = [torch.empty(shape, device=self.device)]
        for part, noise in _batches(n, seed, keys, batch_size):
            z = prior(self.trio, part.stop - part.start, noise=noise)
            x = generate(self.trio, z, method.start, noise=noise)
            rows.append(revise(self.trio, x, chain, noise=noise).clamp_(-1, 1))
        return torch.cat(rows)

    @_plain_mode
    def infer(
        self,
        images: Pictures,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        start: Literal["mean", "draw", "prior"] = "mean",
        batch_size: int = 64,
    ) -> Tensor:
        """Codes of images: the latent chain on log p(x, z).

        Arguments:
            images: whatever `inputs.to_images` takes: float in [-1, 1], uint8, PIL.
            seed: of all randomness.
            keys: one integer per image; None: 0 to N - 1.
            steps: length of the latent chain; 0 gives its start; None: as in training.
            start: at mu(x), at a draw of q(z given x), or at the prior.
            batch_size: images at once; changes speed and memory only.

        Returns:
            (N, d) float32.

        Raises:
            InputError: images of another size, range or type.
        """
        if start not in ("mean", "draw", "prior"):
            raise InputError(f"start {start!r}: expected mean, draw or prior")
        x = self._images(images)
        chain = _of_length(self.config.method.latent_chain, steps)
        rows = [torch.empty((0, self.trio.latent_dim), device=self.device)]
        for part, noise in _batches(len(x), seed, keys, batch_size):
            rows.append(explain(self.trio, x[part], chain, noise=noise, start=start).z_post)
        return torch.cat(rows)

    @_plain_mode
    def reconstruct(
        self,
        images: Pictures,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        start: Literal["mean", "draw", "prior"] = "mean",
        batch_size: int = 64,
    ) -> Tensor:
        """g of the codes that `infer` finds; its arguments and errors. Returns (N, C, S, S) in [-1, 1]."""
        z = self.infer(images, seed=seed, keys=keys, steps=steps, start=start, batch_size=batch_size)
        return self.decode(z, batch_size=batch_size)

    @_plain_mode
    def decode(self, z: Tensor, *, batch_size: int = 64) -> Tensor:
        """g(z), the mean image of each code: z (N, d); returns (N, C, S, S) in [-1, 1].

        Raises:
            InputError: z is not (N, d), or not finite floats.
        """
        z = torch.as_tensor(z)
        if z.ndim != 2 or z.shape[1] != self.trio.latent_dim:
            raise InputError(f"codes of shape {tuple(z.shape)}: expected (N, {self.trio.latent_dim})")
        if not z.is_floating_point() or not z.isfinite().all():
            raise InputError(
                f"codes of type {z.dtype} that are not all finite floats: expected what `infer` gives"
            )
        size, channels = self.config.images.size, self.config.images.channels
        rows = [torch.empty((0, channels, size, size), device=self.device)]
        parts = _fresh(z).to(self.device).float().split(_positive(batch_size))
        rows += [self.trio.g(part) for part in parts]
        return torch.cat(rows).clamp_(-1, 1)

    @_plain_mode
    def log_density(self, images: Pictures, *, batch_size: int = 64) -> Tensor:
        """log pi(x) = h(x) / T in nats, up to one constant; T is the training data chain's. Returns (N,).

        Raises:
            InputError: images of another size, range or type.
        """
        x = self._images(images)
        rows = [torch.empty(0, device=self.device)]
        return torch.cat([*rows, *(self.trio.log_pi(part) for part in x.split(_positive(batch_size)))])

    def _images(self, images: Pictures) -> Tensor:
        return _fresh(to_images(images, self.config.images)).to(self.device)


def _fresh(x: Tensor) -> Tensor:
    """A tensor autograd may save: those made under inference mode must be cloned outside it."""
    return x.clone() if x.is_inference() else x


def _of_length(chain: Chain, steps: int | None) -> Chain:
    if steps is not None and steps < 0:
        raise InputError(f"a chain of {steps} steps: expected 0 or more")
    return chain if steps is None else replace(chain, steps=steps)


def _positive(batch_size: int) -> int:
    if batch_size < 1:
        raise InputError(f"batches of {batch_size} images: expected 1 or more")
    return batch_size


def _batches(n: int, seed: int, keys: Sequence[int] | None, batch_size: int) -> Iterator[tuple[slice, Noise]]:
    if n < 0:
        raise InputError(f"{n} images: expected 0 or more")
    if keys is None:
        keys = range(n)
    if len(keys) != n:
        raise InputError(f"{len(keys)} keys for {n} images: give one key per image")
    for first in range(0, n, _positive(batch_size)):
        part = slice(first, min(first + batch_size, n))
        yield part, Noise(seed, keys[part])
