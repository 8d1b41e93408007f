"""A trained model: draw, explain, reconstruct, inpaint, interpolate, score.

Result i depends on image i, its key and the seed, never on what else is in its batch: noise is a function
of (seed, key, chain step), no network couples images, and results agree up to rounding whatever the batch
size, order or neighbours. All but the chains runs under `torch.inference_mode`, and the caller may be inside it;
what is returned are ordinary tensors, without a graph.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from dualmcmc import masks, methods, paths, pictures, scoring
from dualmcmc.calls import batches, noise_of, of_length, on_model, positive
from dualmcmc.data.order import spread
from dualmcmc.drawing import draw
from dualmcmc.errors import InputError
from dualmcmc.extras import CodeDensity
from dualmcmc.inputs import to_images
from dualmcmc.langevin import Trace, score
from dualmcmc.methods import Chain
from dualmcmc.noise import Noise
from dualmcmc.sampling import Inpainting, Start, Trajectory, explain, inpaint, prior
from dualmcmc.scoring import Scores, Surprise, TrainingScores
from dualmcmc.settings import Config
from dualmcmc.storage import evaluations, pretrained
from dualmcmc.storage.card import About
from dualmcmc.storage.finding import find
from dualmcmc.trio import Trio

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.inputs import Pictures
    from dualmcmc.masks import MaskLike


class Model:
    """Energy network, generator and inference network with the settings they were trained under.

    Arguments:
        trio: the networks, spectral norm folded in (`pretrained.load` gives such).
        config: the run's settings; `images` says what images are, `method` holds the chains.
        step: updates the networks have seen.
        training_scores: quantiles of training images' log-densities, for percentiles; `calibrate` finds them.
        precision: bf16 computes networks in bfloat16; chain states, updates and results stay float32.
        device: where to compute; None: where the networks are.

    Raises:
        InputError: another precision.
    """

    def __init__(
        self,
        trio: Trio,
        config: Config,
        *,
        step: int = 0,
        training_scores: TrainingScores | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
        device: str | torch.device | None = None,
    ) -> None:
        if precision not in ("fp32", "bf16"):
            raise InputError(f"precision {precision!r}: expected fp32 or bf16")
        self.precision = precision
        self.trio = trio.to(device).eval().requires_grad_(False)
        self.config, self.step, self.training_scores = config, step, training_scores
        self.source: Path | None = None
        """Where it was loaded from, whose evaluations its card shows; None: from nowhere that has any."""

    @classmethod
    def from_pretrained(
        cls,
        place: str | Path,
        *,
        weights: Literal["ema", "live"] = "ema",
        precision: Literal["fp32", "bf16"] = "fp32",
        device: str | torch.device | None = None,
    ) -> Model:
        """A model from a run folder, a model folder, a bundled model ("digits") or a hub id ("owner/name").

        Arguments:
            place: where it is; a path that exists comes before a bundled model, and this before the hub.
            weights: ema, the average over training that `model/` holds; live, the newest checkpoint's (of a run).
            precision: of the networks: fp32 or bf16.
            device: where to compute; None: the CPU.

        Raises:
            InputError: there is no model there, or its weights are missing, misshapen or not finite.
        """
        if weights not in ("ema", "live"):
            raise InputError(f"weights {weights!r}: expected ema or live")
        with torch.inference_mode(False):
            how: dict[str, Any] = {"precision": precision, "device": device}
            if weights == "live":
                trio, config, step = pretrained.load_live(place)
                return cls(trio, config, step=step, **how)
            folder = find(place)
            trio, config, step = pretrained.load(folder)
            # Quantiles and evaluations there are the average's: live weights give other values.
            model = cls(trio, config, step=step, training_scores=pretrained.load_scores(folder), **how)
            model.source = (Path(place) if Path(place).is_dir() else folder).resolve()
            return model

    def save_pretrained(
        self,
        folder: str | Path,
        *,
        weights: Literal["fp32", "bf16"] = "fp32",
        license: str | None = None,
        picture: bool = True,
    ) -> None:
        """Writes safetensors, config.json, score quantiles and a model card; a model already there is replaced.

        The card (docs/sharing.md) shows samples and, of a model that was loaded from a run or a model folder, the
        evaluations there that are of these very weights.

        Arguments:
            folder: where to.
            weights: bf16 rounds the networks' to bfloat16, half the size on disk, each off by at most 2^-8 of it.
                They are float32 again once loaded. Score quantiles are left out: divided by T, the rounding of
                an energy moves log-densities by more than images differ. `calibrate` what was loaded. So are
                evaluations, which are of the weights before the rounding.
            license: identifier of the weights' licence on the hub, such as apache-2.0; None: the card says that
                none is stated.
            picture: draw some samples for the card; large networks take minutes for that without a GPU.

        Raises:
            InputError: the folder holds something else, `weights` is neither, a licence that cannot be one,
                evaluations that are damaged, or samples that are not finite.
        """
        if weights not in ("fp32", "bf16"):
            raise InputError(f"weights {weights!r}: expected fp32 or bf16")
        half = weights == "bf16"
        pretrained.save(
            Path(folder),
            self.trio,
            self.config,
            self.step,
            None if half else self.training_scores,
            dtype=torch.bfloat16 if half else None,
            about=About(license=license, evaluations={} if half else self.evaluations()),
            picture=self.picture() if picture else None,
        )

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """The newest evaluation of each task, of these very weights, where the model was loaded from.

        Raises:
            InputError: the metrics.json there is damaged.
        """
        return {} if self.source is None else evaluations.of(self.source, self.config, self.step)

    def picture(self) -> np.ndarray:
        """Samples of seed 0 as one picture, uint8 (H, W, C): 32 in rows of 8, of images above 64 pixels 8.

        Raises:
            InputError: they are not finite.
        """
        x = self.sample(32 if self.config.images.size <= 64 else 8)
        if not x.isfinite().all():
            raise InputError(
                "the model's samples are not finite: its weights are damaged; picture=False saves it without"
            )
        return pictures.tile(x, columns=8)

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

    @on_model
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Images from the generator (or where the method's chains start), revised by the test chain, then clamped.

        Arguments:
            n: how many.
            seed: of all randomness.
            keys: one integer per image; equal seed and key give an equal image. None: 0 to n - 1.
            steps: length of the data chain; 0 gives the generator's images; None: the run's test chain.
            batch_size: images at once; changes speed and memory only.

        Returns:
            (n, C, S, S) float32 in [-1, 1].
        """
        chain = self._data_chain(steps)
        rows = [torch.empty(self._shape(0), device=self.device)]
        for part, noise in batches(n, seed, keys, batch_size):
            shape = self._shape(part.stop - part.start)
            rows.append(draw(self.trio, self.config.method, shape, chain, noise=noise).clamp_(-1, 1))
        return torch.cat(rows)

    @on_model
    def infer(
        self,
        images: Pictures,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        start: Start | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Codes of images: the latent chain on log p(x, z).

        Arguments:
            images: whatever `inputs.to_images` takes: float in [-1, 1], uint8, PIL.
            seed: of all randomness.
            keys: one integer per image; None: 0 to N - 1.
            steps: length of the latent chain; 0 gives its start; None: as in training.
            start: at mu(x), at a draw of q(z given x), or at the prior; None: at mu(x), or at the prior where
                there is no inference network.
            batch_size: images at once; changes speed and memory only.

        Returns:
            (N, d) float32.

        Raises:
            InputError: images of another size, range or type; a model without generator.
        """
        start = self._latent_start(start)
        x = self._images(images)
        chain = of_length(self._latent_chain(), steps)
        rows = [torch.empty((0, self.trio.latent_dim), device=self.device)]
        for part, noise in batches(len(x), seed, keys, batch_size):
            rows.append(explain(self.trio, x[part], chain, noise=noise, start=start).z_post)
        return torch.cat(rows)

    @on_model
    def reconstruct(
        self,
        images: Pictures,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        start: Start | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """g of the codes that `infer` finds; its arguments and errors. Returns (N, C, S, S) in [-1, 1]."""
        z = self.infer(images, seed=seed, keys=keys, steps=steps, start=start, batch_size=batch_size)
        return self.decode(z, batch_size=batch_size)

    @on_model
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
        parts = z.to(self.device).float().split(positive(batch_size))
        rows += [self.trio.g(part) for part in parts]
        return torch.cat(rows).clamp_(-1, 1)

    @on_model
    def log_density(self, images: Pictures, *, batch_size: int = 64) -> Tensor:
        """log pi(x) = h(x) / T in nats, up to one constant; T is the training data chain's. Returns (N,).

        Of vaebm it is the correction of the VAE's density alone, as that density is not known in closed form.

        Raises:
            InputError: images of another size, range or type.
        """
        x = self._images(images)
        rows = [torch.empty(0, device=self.device)]
        return torch.cat([*rows, *(self.trio.log_pi(part) for part in x.split(positive(batch_size)))])

    @on_model
    def data_trajectory(
        self, n: int, at: Collection[int], *, seed: int = 0, keys: Sequence[int] | None = None
    ) -> Trajectory:
        """What `sample` passes through, for n chains at once: states after the steps of `at`, not clamped.

        One chain as long as the largest of `at` serves all; the state after step k is `sample`'s of k steps.
        `log_density` is h(x), not divided by a temperature; without an energy network (n, 0).
        """
        trace, noise = Trace(at=at), noise_of(n, seed, keys)
        chain = self._data_chain(max(at, default=0))
        draw(self.trio, self.config.method, self._shape(n), chain, noise=noise, trace=trace)
        return _trajectory(trace, n)

    @on_model
    def latent_trajectory(
        self,
        images: Pictures,
        at: Collection[int],
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        start: Start | None = None,
    ) -> Trajectory:
        """What `infer` passes through, for all images at once: codes after the steps of `at`; f is log p(x, z)."""
        x = self._images(images)
        noise, trace = noise_of(len(x), seed, keys), Trace(at=at)
        chain = of_length(self._latent_chain(), max(at, default=0))
        explain(self.trio, x, chain, noise=noise, start=self._latent_start(start), trace=trace)
        return _trajectory(trace, len(x))

    @on_model
    def prior(self, n: int, *, seed: int = 0, keys: Sequence[int] | None = None) -> Tensor:
        """Codes drawn from the prior N(0, I), those that `sample` decodes for the same seed and keys: (n, d)."""
        rows = [torch.empty((0, self.trio.latent_dim), device=self.device)]
        return torch.cat(
            rows + [prior(self.trio, n, noise=noise) for _, noise in batches(n, seed, keys, max(n, 1))]
        )

    @on_model
    def inpaint(
        self,
        images: Pictures,
        mask: MaskLike,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        latent_steps: int | None = None,
        data_steps: int | None = None,
        visible: Literal["free", "clamped"] = "free",
        paste: bool = True,
        batch_size: int = 64,
    ) -> Tensor:
        """Images with their hidden pixels found: inference, latent chain, data chain (Figure 5's last stage).

        Arguments:
            images: as for `infer`; what they hold in hidden pixels (any finite value) changes nothing.
            mask: True, 1 or white is hidden: an array of (S, S) or (N, 1, S, S), a picture, or a specification
                such as "center:20" or "blocks:0.3" (`masks.py`).
            seed: of all randomness, the places of blocks included.
            keys: one integer per image; None: 0 to N - 1.
            latent_steps: length of the latent chain, which explains the visible pixels; None: as in training.
            data_steps: length of the data chain after it; None: the run's test chain (vaebm: 0, the only one).
            visible: whether the data chain may move visible pixels (free) or holds them (clamped).
            paste: put the given visible pixels into the result; False: the model's own image (paper's figures).
            batch_size: images at once; changes speed and memory only.

        Returns:
            (N, C, S, S) float32 in [-1, 1].

        Raises:
            InputError: images or a mask of another size, range or type.
        """
        x = self._images(images)
        hidden = self.hidden(len(x), mask, seed=seed, keys=keys)
        rows = [x[:0]]
        for part, noise in batches(len(x), seed, keys, batch_size):
            found = self._stages(x[part], hidden[part], noise, latent_steps, data_steps, visible).by_data_chain
            rows.append(torch.where(hidden[part], found, x[part]) if paste else found)
        return torch.cat(rows).clamp_(-1, 1)

    @on_model
    def inpainting_stages(
        self,
        images: Pictures,
        mask: MaskLike,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        latent_steps: int | None = None,
        data_steps: int | None = None,
        visible: Literal["free", "clamped"] = "free",
        batch_size: int = 64,
    ) -> Inpainting:
        """Figure 5's three stages, nothing pasted, each (N, C, S, S) in [-1, 1]; arguments: those of `inpaint`."""
        x = self._images(images)
        hidden = self.hidden(len(x), mask, seed=seed, keys=keys)
        parts = [
            self._stages(x[part], hidden[part], noise, latent_steps, data_steps, visible)
            for part, noise in batches(len(x), seed, keys, batch_size)
        ]
        if not parts:
            return Inpainting(x, x, x, torch.empty((0, self.trio.latent_dim), device=self.device))
        *stages, z_post = (torch.cat(rows) for rows in zip(*parts, strict=True))
        inferred, explained, revised = (stage.clamp_(-1, 1) for stage in stages)
        return Inpainting(inferred, explained, revised, z_post)

    def hidden(self, n: int, mask: MaskLike, *, seed: int = 0, keys: Sequence[int] | None = None) -> Tensor:
        """The pixels that a mask hides of n images with these keys: bool (n, 1, S, S); see `masks.py`.

        Raises:
            InputError: the mask cannot be understood, or there is not one key per image.
        """
        keys = range(n) if keys is None else keys
        if len(keys) != n:
            raise InputError(f"{len(keys)} keys for {n} images: give one key per image")
        return masks.hidden(mask, self.config.images.size, keys, seed).to(self.device)

    def _stages(
        self,
        x: Tensor,
        hidden: Tensor,
        noise: Noise,
        latent_steps: int | None,
        data_steps: int | None,
        visible: Literal["free", "clamped"],
    ) -> Inpainting:
        if visible not in ("free", "clamped"):
            raise InputError(f"visible {visible!r}: expected free or clamped")
        if isinstance(self.config.method, methods.VAEBM):
            if data_steps:
                raise InputError("vaebm's data chain moves the noise behind images of its own: give data_steps 0")
            data_steps = 0
        chains = of_length(self._latent_chain(), latent_steps), self._data_chain(data_steps)
        start = self._latent_start(None)
        return inpaint(self.trio, x, hidden, *chains, noise=noise, start=start, visible_pixels=visible)

    @on_model
    def interpolate(
        self,
        a: Pictures,
        b: Pictures,
        *,
        steps: int = 8,
        path: paths.Path = "linear",
        seed: int = 0,
        keys: Sequence[int] | None = None,
        latent_steps: int | None = None,
        batch_size: int = 64,
    ) -> Tensor:
        """Images on the path between the codes of a[i] and b[i], both ends included (the paper's Figure 4).

        Arguments:
            a: images, as for `infer`.
            b: equally many; row i of both has the same noise.
            steps: images on each path, 2 or more.
            path: linear (the paper's) or spherical (`paths.py`).
            seed: of all randomness.
            keys: one integer per pair; None: 0 to N - 1.
            latent_steps: length of the latent chain; None: as in training.
            batch_size: images at once; changes speed and memory only.

        Returns:
            (N, steps, C, S, S) float32 in [-1, 1]; the first and last images are `reconstruct`'s of a and b.
        """
        ends = [self.infer(x, seed=seed, keys=keys, steps=latent_steps, batch_size=batch_size) for x in (a, b)]
        codes = paths.between(ends[0], ends[1], steps, path)
        images = self.decode(codes.flatten(0, 1), batch_size=batch_size)
        return images.reshape(len(codes), steps, *images.shape[1:])

    @on_model
    def score(
        self,
        images: Pictures,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        batch_size: int = 64,
    ) -> Scores:
        """How usual images are: log-density, reconstruction error after the latent chain, percentile in training.

        Arguments: those of `reconstruct`.

        Returns:
            log_density (N,), reconstruction_mse (N,) (NaN without a generator), percentile (N,) from 0 (unlike any
            training image) to 100.

        Raises:
            InputError: images of another size, range or type, or the model knows no training scores.
        """
        self.trio.part("energy")
        if self.training_scores is None:
            raise InputError(
                "this model holds no scores of its training images: give it some with model.calibrate"
            )
        x = self._images(images)
        log_density = self.log_density(x, batch_size=batch_size)
        mse = torch.full_like(log_density, float("nan"))
        if self.has("generator"):
            error = x - self.reconstruct(x, seed=seed, keys=keys, steps=steps, batch_size=batch_size)
            mse = error.square().flatten(1).mean(1)
        percentile = self.training_scores.percentile(log_density.cpu().double().numpy())
        return Scores(log_density, mse, torch.from_numpy(percentile).float().to(self.device))

    @on_model
    def surprise(
        self,
        images: Pictures,
        *,
        seed: int = 0,
        keys: Sequence[int] | None = None,
        steps: int | None = None,
        batch_size: int = 64,
    ) -> Surprise:
        """Where in images the surprise lies: per pixel |x - reconstruction| and |grad h(x)|, over channels.

        Arguments: those of `reconstruct`. Returns two tensors (N, S, S), not negative.
        """
        x = self._images(images)
        residual = x - self.reconstruct(x, seed=seed, keys=keys, steps=steps, batch_size=batch_size)
        return Surprise(residual.norm(dim=1), self.gradient(x, batch_size=batch_size)[1].norm(dim=1))

    def calibrate(self, images: ImageSet, *, batch_size: int = 64) -> None:
        """Finds `training_scores` on up to 10,000 evenly spread images of a set; `save_pretrained` keeps them."""
        chosen = spread(len(images), scoring.IMAGES)
        parts = [
            self.log_density(images.tensor(part), batch_size=batch_size)
            for part in (chosen[first : first + 1000] for first in range(0, len(chosen), 1000))
        ]
        self.training_scores = scoring.summarise(torch.cat(parts).cpu().double().numpy(), images)

    @on_model
    def gradient(self, images: Pictures, *, batch_size: int = 64) -> tuple[Tensor, Tensor]:
        """h(x) and its gradient, (N,) and (N, C, S, S); over T they are log pi's. Errors: `log_density`'s."""
        x = self._images(images)
        parts = [score(self.trio.h, part) for part in x.split(positive(batch_size))]
        h = torch.cat([x.new_empty(0), *(part[0] for part in parts)])
        return h, torch.cat([x[:0], *(part[1] for part in parts)])

    def _images(self, images: Pictures) -> Tensor:
        return to_images(images, self.config.images).to(self.device)

    def has(self, part: str) -> bool:
        """Whether there is an energy network, a generator or an inference network."""
        return getattr(self.trio, part) is not None

    def fit_codes(self, images: ImageSet, *, batch_size: int = 64) -> None:
        """Finds the density of training images' codes that a regularised autoencoder draws from; else nothing."""
        density = self.trio.extra
        if not isinstance(density, CodeDensity):
            return
        chosen = spread(len(images), scoring.IMAGES)
        parts = [chosen[first : first + 1000] for first in range(0, len(chosen), 1000)]
        density.fit(torch.cat([self.infer(images.tensor(part), steps=0, batch_size=batch_size) for part in parts]))

    def _shape(self, n: int) -> tuple[int, int, int, int]:
        images = self.config.images
        return n, images.channels, images.size, images.size

    def _data_chain(self, steps: int | None) -> Chain:
        if steps and not self.has("energy"):
            raise InputError(
                f"{steps} steps of the data chain: method {self.config.method.name} has no energy network"
            )
        return of_length(methods.test_chain(self.config.method), steps)

    def _latent_chain(self) -> Chain:
        self.trio.part("generator")
        return methods.latent_chain(self.config.method)

    def _latent_start(self, start: Start | None) -> Start:
        if start not in ("mean", "draw", "prior", None):
            raise InputError(f"start {start!r}: expected mean, draw or prior")
        if start in ("mean", "draw"):
            self.trio.part("inference")
        return start or ("mean" if self.has("inference") else "prior")


def _trajectory(trace: Trace, n: int) -> Trajectory:
    device = next(iter(trace.states.values())).device if trace.states else None
    values, norms = (
        torch.stack(seen, 1) if seen else torch.empty(n, 0, device=device)
        for seen in (trace.log_density, trace.gradient_norm)
    )
    return Trajectory(trace.states, values, norms)
