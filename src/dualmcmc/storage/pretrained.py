"""The model folder: what users ship. `model.safetensors`, `config.json`, a model card; never pickle.

`manifest.json` holds the SHA-256 of what a model computes with: one of which a bit has changed is refused. The
card (`card.py`), its picture and the evaluations (`evaluations.py`) are for people, who may edit them.

Weights are those of the average (EMA) of a run, spectral norm folded in, under plain names
`energy.*`, `generator.*`, `inference.*`, those that the method has, and `extra.*`, what it draws from beside them
(`extras.py`). `scores.json` holds quantiles of training images' log-densities.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dualmcmc import __version__, config, limits, methods, networks, reading, spectral
from dualmcmc.errors import InputError
from dualmcmc.extras import CodeDensity, Memory, Sampler
from dualmcmc.pictures import to_pil
from dualmcmc.scoring import QUANTILES, TrainingScores
from dualmcmc.settings import Config
from dualmcmc.storage import card, checkpoints, evaluations, tensors
from dualmcmc.storage.files import new_folder, read_written, write_json, write_text
from dualmcmc.storage.finding import WEIGHTS, find
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.teaching import buffer
from dualmcmc.trio import Trio

SCORES = "scores.json"
MEMORY = 10_000
"""States of a buffer that a model keeps, at most."""
MANIFEST = "manifest.json"
FORMAT = 2
"""Of config.json; raise it when what a model holds changes."""
FILES = {WEIGHTS, SCORES, MANIFEST, "config.json", card.CARD, card.PICTURE, evaluations.FILE}


class DamagedWarning(UserWarning):
    """A newer checkpoint is damaged, and an earlier one was taken."""


def plain_networks(settings: Config) -> Trio:
    """Networks of these settings as trained models have them: no spectral norm, with what they draw from."""
    return build_trio(settings, spectral_norm=False, trained=True)


def build_trio(settings: Config, *, spectral_norm: bool | None = None, trained: bool = False) -> Trio:
    """Freshly initialised networks of these settings.

    Arguments:
        settings: of the run.
        spectral_norm: overrides theirs if given.
        trained: with what a trained model draws from, still empty (`extras.py`).

    Raises:
        InputError: they would have more than `limits.PARAMETERS` numbers.
    """
    method, wanted = settings.method, settings.networks
    if spectral_norm is not None:
        wanted = replace(wanted, spectral_norm=spectral_norm)
    outputs = method.classes if isinstance(method, methods.JEM) else 1
    levels = method.levels if isinstance(method, methods.RecoveryLikelihood) else 0
    _check_parameters(settings, outputs, levels)
    built = networks.build(wanted, settings.images, method.PARTS, outputs=outputs, levels=levels)
    return Trio(
        **built._asdict(),
        latent_dim=wanted.latent_dim,
        sigma=methods.sigma(method),
        temperature=methods.temperature(method),
        reference=method.reference if isinstance(method, methods.Cooperative) else 0.0,
        extra=_extra(settings, trained),
    )


def _check_parameters(settings: Config, outputs: int = 1, levels: int = 0) -> None:
    """Counts on the meta device, where networks take no memory; all three, as all are made."""
    plain = replace(settings.networks, spectral_norm=False)
    with torch.device("meta"):
        built = networks.build(plain, settings.images, outputs=outputs, levels=levels)
    count = sum(p.numel() for network in built if network is not None for p in network.parameters())
    if count > limits.PARAMETERS:
        raise InputError(
            f"networks of {count:,} numbers: {limits.PARAMETERS:,} are taken at most; lower the widths "
            "of --networks, or --networks.latent-dim"
        )


def check_shapes(settings: Config, path: Path) -> None:
    """Refuses weights of other networks than these settings', before memory is taken for either.

    Raises:
        InputError: naming the first tensor that does not fit; or the file cannot be read.
    """
    with torch.device("meta"):
        own = plain_networks(settings).state_dict()
    _check_names(own, told := tensors.shapes(path), str(path))
    for name, shape in told.items():
        _check_shape(name, shape, own[name], str(path))


def _check_names(own: Mapping[str, Any], told: Mapping[str, Any], source: str) -> None:
    for name in sorted(own.keys() ^ told.keys()):
        problem = "is missing" if name in own else "belongs to other networks"
        raise InputError(f"{source}: tensor {name[:200]} {problem}; weights and config.json do not match")


def _check_shape(name: str, shape: tuple[int, ...], own: Tensor, source: str) -> None:
    if shape != tuple(own.shape):
        raise InputError(f"{source}: tensor {name} has shape {shape}, its config.json says {tuple(own.shape)}")


def _extra(settings: Config, trained: bool) -> nn.Module | None:
    """What the method has beside networks, freshly made."""
    method, images = settings.method, settings.images
    if isinstance(method, methods.NoMCMC):
        return Sampler(settings.networks.latent_dim, method.sigma, method.sigma_range)
    if trained and isinstance(method, methods.RAE):
        return CodeDensity(settings.networks.latent_dim)
    if trained and isinstance(method, methods.WITH_BUFFER):
        batch = settings.optim.batch_size
        kept = min(MEMORY, buffer.depth(method.buffer, batch) * batch)
        return Memory(kept, (images.channels, images.size, images.size))
    return None


def save(
    folder: Path,
    trio: Trio,
    settings: Config,
    step: int,
    scores: TrainingScores | None = None,
    *,
    dtype: torch.dtype | None = None,
    about: card.About | None = None,
    picture: np.ndarray | None = None,
) -> None:
    """Writes the model folder, whole or not at all, networks as `dtype` if given; a model there is replaced.

    Arguments:
        folder: where to.
        trio: the networks.
        settings: of the run.
        step: updates they have seen.
        scores: training images' quantiles.
        dtype: of networks on disk; None: theirs.
        about: licence and evaluations, for the card.
        picture: uint8 pixels (H, W, 1 or 3) that the card shows.

    Raises:
        InputError: something else is there, or no card can be made of `about`.
        OSError: it cannot be written.
    """
    folder, told = folder.absolute(), replace(about or card.About(), picture=picture is not None)
    readme = card.render(settings, step, told)
    if folder.exists() and (not folder.is_dir() or {entry.name for entry in folder.iterdir()} - FILES):
        raise InputError(f"{folder} holds other things than a model: name a new or empty folder")
    with new_folder(folder) as temporary:
        tensors.save(temporary / WEIGHTS, _stored(trio.state_dict(), dtype) if dtype else trio.state_dict())
        made = {"library": "dualmcmc", "version": __version__, "format": FORMAT, "step": step}
        write_json(temporary / "config.json", {**made, "config": config.to_dict(settings)})
        write_text(temporary / card.CARD, readme)
        if scores is not None:
            seen = {"log_density_quantiles": scores.quantiles.tolist(), "images": scores.images}
            write_json(temporary / SCORES, {**seen, "data": scores.data, "fingerprint": scores.fingerprint})
        if told.evaluations:
            write_json(temporary / evaluations.FILE, evaluations.kept(told.evaluations))
        if picture is not None:
            to_pil(picture).save(temporary / card.PICTURE)
        seal(temporary)


def _stored(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Floating-point tensors of networks as `dtype`; `extra.*`, a buffer's images among them, as they are."""
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() and not name.startswith("extra.") else tensor
        for name, tensor in state.items()
    }


def load(place: str | Path) -> tuple[Trio, Config, int]:
    """Networks, settings and training step of what `find` finds.

    Raises:
        InputError: there is no model there, or one of its files is missing, altered, misshapen or not finite.
    """
    folder = find(place)
    settings = config.read(folder / "config.json")
    about = reading.json_of(folder / "config.json")
    if about.get("format") != FORMAT:
        seen = about.get("format")
        raise InputError(f"{folder / 'config.json'} has format {seen!r}: this version reads {FORMAT}")
    _check_whole(folder)
    step = about.get("step", 0)
    if not isinstance(step, int):
        raise InputError(f"{folder / 'config.json'} has step {step!r}: a whole number is expected")
    check_shapes(settings, folder / WEIGHTS)
    trio = plain_networks(settings)
    fill(trio, tensors.load(folder / WEIGHTS), str(folder / WEIGHTS))
    return trio.eval().requires_grad_(False), settings, step


def seal(folder: Path) -> None:
    """Writes the manifest of the model files in a folder: whoever changes one by intent calls this after."""
    told = [folder / name for name in (WEIGHTS, SCORES, "config.json")]
    write_json(folder / MANIFEST, {file.name: tensors.sha256(file) for file in told if file.is_file()})


def _check_whole(folder: Path) -> None:
    """Refuses a model that is not as it was written.

    Raises:
        InputError: naming the file that is missing or altered.
    """
    try:
        sums = read_written(folder / MANIFEST)
    except FileNotFoundError:
        raise InputError(f"{folder / MANIFEST} is missing: fetch or copy the model whole") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({error}): fetch or copy the model again") from None
    needed = {WEIGHTS, "config.json"}
    if not isinstance(sums, dict) or not needed <= set(sums) <= {*needed, SCORES}:
        raise InputError(f"{folder / MANIFEST} does not list a model's files: fetch or copy the model again")
    for name in sorted({*sums, SCORES}):
        there, told = (folder / name).is_file(), sums.get(name)
        if not there and told is not None:
            raise InputError(f"{folder / name} is missing: fetch or copy the model whole")
        try:
            altered = there and tensors.sha256(folder / name) != told
        except OSError as error:
            raise InputError(f"{folder / name} cannot be read ({error.strerror}): fetch it again") from None
        if altered:
            raise InputError(f"{folder / name} is not what was saved with the model: fetch or copy it again")


def step_of(folder: Path) -> int | None:
    """The training step of the model in a folder; None if there is none."""
    try:
        step = reading.json_of(folder / "config.json")["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if isinstance(step, int) else None


def load_scores(place: str | Path) -> TrainingScores | None:
    """The training images' score quantiles that a model folder keeps; None if it has none.

    Raises:
        InputError: there is no model there, or the file is damaged.
    """
    path = find(place) / SCORES
    if not path.is_file():
        return None
    try:
        kept = reading.json_of(path)
        quantiles = np.asarray(kept["log_density_quantiles"], dtype=np.float64)
        scores = TrainingScores(quantiles, int(kept["images"]), str(kept["data"]), str(kept["fingerprint"]))
    except (ValueError, KeyError, TypeError, OverflowError, OSError) as error:
        raise InputError(
            f"{path} is damaged ({error}): give score --reference TRAINING-IMAGES, or fetch the model again"
        ) from None
    if quantiles.shape != (QUANTILES,) or not (np.diff(quantiles) >= 0).all() or not np.isfinite(quantiles).all():
        raise InputError(f"{path} does not hold {QUANTILES} ascending quantiles: give score --reference")
    return scores


@torch.no_grad()
def fill(trio: Trio, weights: dict[str, Tensor], source: str) -> None:
    """Copies named weights into `trio`, keeping its memory layout; all must be there, fit and be finite.

    Raises:
        InputError: naming the first tensor that does not.
    """
    own = trio.state_dict()
    _check_names(own, weights, source)
    for name, tensor in weights.items():
        _check_shape(name, tuple(tensor.shape), own[name], source)
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise InputError(f"{source}: tensor {name} is {tensor.dtype}, and {own[name].dtype} is expected")
        tensor = tensor.to(own[name].dtype)  # float8 tells of no infinity, and float64 may become one
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{source}: tensor {name} holds NaN or infinity; the model is damaged")
        own[name].copy_(tensor)


def load_live(place: str | Path) -> tuple[Trio, Config, int]:
    """As `load`, but the live weights (not the average) of a run's newest complete checkpoint.

    Raises:
        InputError: `place` is no run, has no complete checkpoint, or its method has no live model.

    Warns:
        DamagedWarning: a newer one is damaged.
    """
    run = RunFolder(Path(place))
    settings = run.read_config()
    if isinstance(settings.method, methods.RAE):
        raise InputError(
            f"{place}: rae draws from a density fitted to codes, which only the averaged weights have: use these"
        )
    checkpoint, passed_over = checkpoints.newest(run.checkpoints)
    for line in passed_over:
        warnings.warn(DamagedWarning(f"{line}; using that of step {checkpoint.step}"), stacklevel=3)
    run.check_settings(settings, checkpoint)
    trio = build_trio(settings)
    fill(trio, checkpoint.parts["weights"], str(run.checkpoints / f"step-{checkpoint.step}"))
    return plain_trio(trio, settings, checkpoint.parts["memory"]), settings, checkpoint.step


@torch.no_grad()
def plain_trio(trio: Trio, settings: Config | None = None, memory: Mapping[str, Tensor] | None = None) -> Trio:
    """Networks to sample from: spectral norm converged and folded in, BatchNorm re-estimated on the prior.

    They share storage with `trio` where nothing was folded in.

    Arguments:
        trio: live or averaged networks.
        settings: give the model what its method draws from beside networks; None: nothing.
        memory: the method's (`Teaching.memory`), of which a model keeps the buffer.
    """
    if trio.energy is not None:
        spectral.power_iteration(trio.energy, times=10)
    if trio.generator is not None:
        _estimate_batch_norm(trio)
    plain = trio.frozen()
    if plain.extra is None and settings is not None:
        plain.extra = _extra(settings, trained=True)
    if isinstance(plain.extra, Memory):
        states = (memory or {}).get("rows.buffer")
        if states is not None:
            plain.extra.fill(buffer.spread(states, len(plain.extra.images)))
    if plain.extra is not None:
        plain.extra.to(next(plain.parameters()).device)
    return plain


def _estimate_batch_norm(trio: Trio, batches: int = 16, batch_size: int = 100) -> None:
    """Running statistics of the generator's BatchNorm layers as the mean over prior draws.

    Those of training are mostly of posterior codes; sampling with them would be another generator.
    """
    generator = trio.part("generator")
    layers = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    device = next(generator.parameters()).device
    source = torch.Generator().manual_seed(0)
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative mean
    generator.train()
    for _ in range(batches):
        trio.g(torch.randn(batch_size, trio.latent_dim, generator=source).to(device))
    generator.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
