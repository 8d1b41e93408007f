"""A model as others get it: a folder for the hub that says nothing of the machine it was made on.

`save_pretrained` keeps data references as they are, since whoever saves a model goes on with it. What is published
keeps of a path on this machine its last name: in config.json, in the score quantiles, in evaluations and the card.
Nothing here talks to the hub; that is `cli/push.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dualmcmc.model import Model
from dualmcmc.settings import STREAM, Config
from dualmcmc.storage import pretrained
from dualmcmc.storage.card import CARD, PICTURE, About, license_of, with_licence
from dualmcmc.storage.evaluations import public_reference
from dualmcmc.storage.files import write_text


def export(model: Model, folder: Path, about: About, *, data: str | None = None) -> None:
    """Writes a model folder to be published, with a picture; a model already there is replaced.

    Arguments:
        model: what to write.
        folder: where to.
        about: licence, evaluations and whatever else the card says.
        data: the name that its training images have for others; None: the reference, of a path its last name.

    Raises:
        InputError: as `Model.save_pretrained`.
    """
    scores, name = model.training_scores, data or public_reference(model.config.data)
    settings: Config = replace(model.config, data=name)
    if scores is not None:
        split = scores.data.removeprefix(STREAM).removeprefix(model.config.data.removeprefix(STREAM))
        told = f"{name}{split}" if split.startswith(":") else public_reference(scores.data)
        scores = replace(scores, data=told)
    pretrained.save(folder, model.trio, settings, model.step, scores, about=about, picture=model.picture())


def keep_card(source: Path, folder: Path, about: About) -> None:
    """Puts the card and the picture that lie in a model folder in place of those of its copy: people edit them.

    Arguments:
        source: the model folder; without a card nothing is done.
        folder: the copy that `export` wrote.
        about: licence and place, which go into the card.
    """
    if not (source / CARD).is_file():
        return
    text = (source / CARD).read_text(encoding="utf-8").replace(About().place, about.place)
    if about.license != (own := license_of(source)):
        text = with_licence(text, own, about.license)
    write_text(folder / CARD, text)
    if (source / PICTURE).is_file():
        (folder / PICTURE).write_bytes((source / PICTURE).read_bytes())
