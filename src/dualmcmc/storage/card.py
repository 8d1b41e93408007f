"""The model card, README.md of a model folder: what the model is, its figures and their protocols, its limits.

Its front matter is what the Hugging Face hub reads: library, task, tags, licence, data set, figures. It is written
by that library's own classes, so what it would refuse is refused here, without a network. A licence that nobody
gave is not guessed: the card says that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc import __version__, methods
from dualmcmc.data.named import NAMED
from dualmcmc.errors import InputError
from dualmcmc.settings import STREAM, Config
from dualmcmc.storage.evaluations import Entry, Figure, figures, public_reference

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
PICTURE = "picture.png"
PIPELINE = "unconditional-image-generation"
BLIND = 0.8
"""AUROC below which a card warns of the score; 0.5 is chance."""
PAPER = """@inproceedings{cui2023learning,
  title     = {Learning Energy-based Model via Dual-{MCMC} Teaching},
  author    = {Cui, Jiali and Han, Tian},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {36},
  year      = {2023},
  note      = {arXiv:2312.02469}
}"""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a card says beside the settings."""

    license: str | None = None
    """Identifier as the hub has it, such as apache-2.0; None: none is stated."""
    evaluations: Mapping[str, Entry] = field(default_factory=dict)
    """The newest of each task (`evaluations.of`)."""
    picture: bool = False
    """Whether picture.png, samples that the model drew, lies beside the card."""
    place: str = "path/or/hub-id"
    """What `from_pretrained` is given to load it."""
    command: str | None = None
    """The command that trained it, where it is known."""


def check_license(license: str | None) -> None:
    """Refuses what cannot be a licence's identifier on the hub.

    Raises:
        InputError: saying what one looks like.
    """
    well = isinstance(license, str) and re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,63}", license)
    if license is not None and not well:  # a card may say anything
        raise InputError(
            f"license {str(license)[:100]!r}: give the hub's identifier, as apache-2.0, mit, cc-by-4.0 or other"
        )


def license_of(folder: Path) -> str | None:
    """The licence that the card in a model folder states; None without one, or without a card."""
    return front_matter(folder).get("license")


def front_matter(folder: Path) -> dict[str, Any]:
    """What the card in a model folder tells the hub; empty without a card.

    Raises:
        InputError: it cannot be read.
    """
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        return dict(ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data.to_dict())
    except (ValueError, OSError, YAMLError) as error:
        kind = type(error).__name__
        raise InputError(f"{path} is damaged ({kind}): mend its first lines, or remove it") from None


def render(settings: Config, step: int, about: About) -> str:
    """The card of a model with these settings after `step` updates.

    Raises:
        InputError: the licence is none, or an evaluation is damaged.
    """
    check_license(about.license)
    rows = figures(about.evaluations)
    parts = [_title(settings), _what(settings, step, about), _use(settings, about)]
    if rows:
        parts.append(_figures(rows))
    parts += [
        _intended(settings, rows),
        _training(settings, step, about),
        f"## Licence\n\n{licence(about.license)}",
        _citation(settings),
    ]
    return f"---\n{_metadata(settings, rows, about)}\n---\n" + "\n\n".join(parts) + "\n"


def _metadata(settings: Config, rows: Sequence[Figure], about: About) -> str:
    from huggingface_hub import ModelCardData

    repository, method = hub_id(settings), settings.method.name.replace("_", "-")
    data = ModelCardData(
        library_name="dualmcmc",
        license=about.license,
        pipeline_tag=PIPELINE,
        tags=["energy-based-model", "langevin-dynamics", method, "image-generation"],
        datasets=[repository] if repository else None,
        metrics=list(dict.fromkeys(row.kind for row in rows)) or None,
        model_name=settings.preset if rows else None,
        eval_results=[_result(row, repository) for row in rows] or None,
    )
    return str(data.to_yaml())


def _result(row: Figure, repository: str | None) -> EvalResult:
    from huggingface_hub import EvalResult

    name, _, split = row.data.rpartition(":")
    return EvalResult(
        task_type=PIPELINE,
        dataset_type=repository or name or row.data,
        dataset_name=name or row.data,
        dataset_split=split if name else None,
        metric_type=row.kind,
        metric_name=row.name,
        metric_value=row.value,
    )


def hub_id(settings: Config) -> str | None:
    """owner/name of the training images on the hub, where the data reference is one."""
    ref = settings.data.removeprefix(STREAM)
    if ref.startswith("hf:"):
        return re.split("[@:]", ref.removeprefix("hf:"), maxsplit=1)[0]
    known = NAMED.get(ref.partition(":")[0])
    return known.repo if known else None


def _title(settings: Config) -> str:
    images = settings.images
    return f"# {settings.preset}, {images.size}x{images.size}, by {settings.method.name}"


def _what(settings: Config, step: int, about: About) -> str:
    names = {"energy": "an energy network", "generator": "a generator", "inference": "an inference network"}
    parts = [names[part] for part in settings.method.PARTS]
    listed = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    images = settings.images
    colours = {1: "grey", 3: "colour"}[images.channels]
    text = (
        f"{listed[0].upper()}{listed[1:]} for {colours} images of {images.size}x{images.size} pixels, learned by "
        f"`{settings.method.name}` ({methods.title(settings.method.name)}) with dualmcmc {__version__}: "
        f"{step:,} updates of {settings.optim.batch_size} images of `{public_reference(settings.data)}`."
    )
    if about.picture:
        text += f"\n\n![Samples that the model drew, not chosen]({PICTURE})"
    return text


def _use(settings: Config, about: About) -> str:
    images = settings.images
    lines = [
        "from dualmcmc import Model",
        "",
        f'model = Model.from_pretrained("{about.place}")',
        f"x = model.sample(16)  # (16, {images.channels}, {images.size}, {images.size}) in [-1, 1]",
    ]
    if "generator" in settings.method.PARTS:
        lines.append("again = model.reconstruct(x)  # images or uint8 or PIL pictures of your own, too")
    if "energy" in settings.method.PARTS:
        lines.append("score = model.log_density(x)  # (16,), up to one constant; up is likelier")
    return "## Use\n\n```python\n" + "\n".join(lines) + "\n```"


def _figures(rows: Sequence[Figure]) -> str:
    table = ["| figure | value | images | how |", "|---|---|---|---|"]
    table += [f"| {row.name} | {row.value:.4g} | {row.data} | {row.how} |" for row in rows]
    told = (
        "Measured by the library on this model; `metrics.json` holds each one's whole protocol. A distance has "
        "the name of its features and its number of samples, and compares with no other. Only what is called "
        "`fid` is an FID."
    )
    return "## Figures\n\n" + "\n".join(table) + "\n\n" + told


def _intended(settings: Config, rows: Sequence[Figure]) -> str:
    size, parts = settings.images.size, settings.method.PARTS
    uses, limits = ["drawing images like those it was trained on"], []
    if "generator" in parts:
        uses.append("finding codes, reconstructing, inpainting and interpolating such images")
    if "energy" in parts:
        uses.append("ranking images by how usual they are")
        limits += [
            "The log-density is known up to one constant, so a single value says nothing; percentiles do.",
            _scope(settings),
            *_blind(rows),
            "Choose a threshold on held-out images of your own: training images score a little higher than unseen "
            "ones. It is no basis for a decision about people or safety.",
        ]
    limits += [
        f"It knows one kind of images, at {size}x{size} pixels. Others are resized to that, and what it says of "
        "them is a guess. It repeats whatever is lopsided in its training images.",
        "Whether samples repeat single training images was not measured, nor anything else that no figure names.",
    ]
    listed = "\n".join(f"- {line}" for line in limits)
    return f"## Intended use and limits\n\nMeant for {', '.join(uses)}, in research and teaching.\n\n{listed}"


def _blind(rows: Sequence[Figure]) -> list[str]:
    """What the log-density was measured not to tell apart, said where it will be read."""
    ranked = [(row.name.split("against ")[1].split(", by ")[0], row.value) for row in rows if _ranks(row)]
    weak = [f"{name} {value:.2f}" for name, value in ranked if value < BLIND]
    if not weak:
        return []
    return [
        f"By its log-density alone it does not tell these apart from usual images (AUROC measured below {BLIND}): "
        f"{', '.join(weak)}. Look at the reconstruction error, too."
    ]


def _ranks(row: Figure) -> bool:
    return row.kind == "auroc" and row.name.endswith("by log_density")


def _scope(settings: Config) -> str:
    """Where the energy says something: docs/maths.md, "What the energy is, and what it is not"."""
    method = settings.method
    chain = getattr(method, "data_chain", None)
    if chain is None or not chain.steps:
        return "It was taught without a Langevin chain: it ranks, and need not be the density of anything."
    if isinstance(method, methods.WITH_BUFFER) or getattr(method, "negatives", "") in ("persistent", "mixed"):
        return (
            f"It was taught by chains of {chain.steps} steps that go on from update to update: the longer the "
            "training, the more directions it describes."
        )
    return (
        f"It was taught by chains of {chain.steps} steps: along directions in which these move an image (texture, "
        "noise, local structure) it says something, along others it is blind. Good samples are no sign of a good "
        "density."
    )


def _training(settings: Config, step: int, about: About) -> str:
    nets, optim = settings.networks, settings.optim
    text = (
        f"{nets.family.capitalize()} networks, {nets.latent_dim} latent dimensions, widths {nets.energy_width}, "
        f"{nets.generator_width} and {nets.inference_width}; seed {settings.seed}. Weights are "
        f"{'the average over training (EMA)' if optim.ema else 'the last ones'} at step {step:,}, spectral norm "
        "folded in. `config.json` holds every setting, `manifest.json` the checksums."
    )
    if about.command:
        text += f"\n\n```sh\n{about.command}\n```"
    return f"## Training\n\n{text}"


def licence(license: str | None) -> str:
    """What a card says of the weights' licence."""
    if license is None:
        return "None is stated: ask whoever published the model before you use or share it."
    return f"{license}, of the weights. The training images have terms of their own."


def with_licence(text: str, old: str | None, new: str | None) -> str:
    """A card that states another licence, in its front matter and where this module has put it into the text."""
    from huggingface_hub import ModelCard

    kept = ModelCard(text.replace(licence(old), licence(new)), ignore_metadata_errors=True)
    kept.data["license"] = new
    return str(kept)


def _citation(settings: Config) -> str:
    method = settings.method.name
    if method != "dual_mcmc":
        return f"## Citation\n\nThe method: {methods.title(method)}. The library: dualmcmc {__version__}."
    return f"## Citation\n\nThe library, dualmcmc {__version__}, and the paper:\n\n```bibtex\n{PAPER}\n```"
