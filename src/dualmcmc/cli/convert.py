"""`dualmcmc convert FILE.pth`: a checkpoint of the released code as a model folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dualmcmc.cli.arguments import Json, parse
from dualmcmc.cli.output import check_json, show, write_json


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Writes a checkpoint that the released train.py saved as a model folder: safetensors, never pickle again.

    Nothing in the file is run. The energy is negated (up is likelier), its spectral norm written out, and
    BatchNorm gets the statistics of prior draws. Percentiles need `score --reference TRAINING-IMAGES`.
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.pth")]
    """The checkpoint, a dictionary with netE, netG and netI."""
    preset: str = "cifar10"
    """What it was trained as: cifar10 or celeba64."""
    out: Path | None = None
    """Folder to write to, new or empty; default: the preset's name with -released behind, here."""
    license: str | None = None
    """Of the weights, as the hub names it; default: the card says that none is stated."""
    picture: bool = True
    """Draw some samples for the card; without a GPU that takes minutes."""
    json: Json = None
    """Write what was written as JSON to this file; - is standard output."""


def convert(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Convert, args, "convert")
    check_json(options.json)
    from dualmcmc.cli.loading import new_folder
    from dualmcmc.devices import best_device
    from dualmcmc.model import Model
    from dualmcmc.storage import released
    from dualmcmc.storage.card import check_license

    out = new_folder(options.out or Path(f"{options.preset}-released"), "--out")
    check_license(options.license)
    trio, settings, step = released.convert(options.file, options.preset)
    model = Model(trio, settings, step=step, device=best_device())  # where the picture is drawn
    model.save_pretrained(out, license=options.license, picture=options.picture)
    count = sum(parameter.numel() for parameter in trio.parameters())
    write_json(options.json, {"out": str(out), "step": step, "numbers": count, "preset": options.preset})
    show(f"{out}: {count:,} numbers of step {step:,}; dualmcmc sample {out} draws from it", options.json)
