"""What is known of a model from evaluations: the newest of each task, and the figures that its card shows.

A run's metrics.json has evaluations of several steps, weights and data. A model's own are those of the average's
weights at its step on the data it was trained on. A model folder keeps them in a metrics.json of its own, of the
same form, so that a copy of a copy still tells how its figures were found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from dualmcmc.errors import InputError
from dualmcmc.settings import STREAM, Config
from dualmcmc.storage.run_folder import RunFolder

FILE = "metrics.json"
TASKS = ("generation", "reconstruction", "ood", "inpainting", "revision", "interpolation", "training")
Entry = dict[str, Any]


class Figure(NamedTuple):
    """One number with what it is of."""

    kind: str
    """The metric, in one word: fid, fd_pixels_2k, mse, auroc, psnr."""
    name: str
    """In words."""
    value: float
    data: str
    """Which images."""
    how: str
    """The protocol in words; metrics.json has all of it."""


def of(place: Path, settings: Config, step: int) -> dict[str, Entry]:
    """The newest evaluation of each task that is of the model at `step` and on its own data; none without a file.

    Raises:
        InputError: metrics.json is damaged.
    """
    entries = RunFolder(place).read_metrics()
    found = {}
    for task in TASKS:
        own = [entry for entry in entries.get(task, []) if _is_own(entry, settings, step)]
        if own:
            found[task] = own[-1]
    return found


def kept(found: Mapping[str, Entry]) -> dict[str, list[Entry]]:
    """Evaluations by task as a model folder's metrics.json has them: without this machine's folders."""
    return {task: [public(entry)] for task, entry in found.items()}


def _is_own(entry: Entry, settings: Config, step: int) -> bool:
    how = entry.get("protocol")
    if not isinstance(how, dict) or how.get("weights", "ema") != "ema":
        return False
    name, data = _named(settings.data), _named(_data(how))
    return bool(entry.get("step", how.get("step")) == step and (data == name or data.startswith(f"{name}:")))


def _named(ref: str) -> str:
    """What a data reference and its splits' titles have in common."""
    return public_reference(ref).removeprefix(STREAM)


def _data(how: Entry) -> str:
    """The images that an evaluation used: held-out ones, or those that samples were compared with."""
    reference = how.get("reference")
    compared = reference.get("data") if isinstance(reference, dict) else None
    return public_reference(str(how.get("heldout") or how.get("data") or compared or ""))


def public(value: Any) -> Any:
    """The same without this machine's folders: of a path, wherever it stands, the last name is left.

    A relative path is told where data are named: by the keys of sets, and where `_DATA` says.
    """
    if isinstance(value, str):
        return public_reference(value) if _leads_away(value.removeprefix(STREAM)) else value
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for key, item in value.items():
            if key == "run":
                continue
            name = public_reference(str(key))
            if name in found:  # two folders of one name
                name = next(one for i in count(2) if (one := f"{name} ({i})") not in found)
            before = _DATA.get(str(key)) if isinstance(item, str) else None
            if before is not None and before in item:
                head = item[: item.index(before) + len(before)]
                found[name] = head + public_reference(item.removeprefix(head))
            else:
                found[name] = public(item)
        return found
    return [public(item) for item in value] if isinstance(value, list | tuple) else value


_DATA = {"data": "", "heldout": "", "pca_data": "", "combination": " images of "}
"""Keys of an evaluation under which a data reference stands, to the words before it."""


def public_reference(ref: str) -> str:
    """A data reference or title, of a path its last name; names, and the hub's (`hf:owner/name`), stay whole."""
    bare = ref.removeprefix(STREAM)
    if bare.startswith("hf:") or not ("/" in bare or "\\" in bare):
        return ref
    path = re.sub(r"[/\\]+(?=:|$)", "", bare)  # photos/ and photos/:train
    return ref.removesuffix(bare) + PureWindowsPath(path).name  # which splits at both kinds of slashes


def _leads_away(text: str) -> bool:
    """Whether it is a path from a root, of this machine or another, from a home, or out of the working folder."""
    roots = Path(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return roots or text.startswith(("~", "./", "../", ".\\", "..\\"))


def figures(found: Mapping[str, Entry]) -> list[Figure]:
    """The main figures of a model's evaluations, as its card shows them.

    Raises:
        InputError: an evaluation has not the form that `evaluate` gives it.
    """
    found = {task: public(entry) for task, entry in found.items()}
    read = {"generation": _generation, "reconstruction": _reconstruction, "ood": _ood, "inpainting": _inpainting}
    if "reconstruction" not in found:  # the small evaluation's is worth telling where there is no other
        read["training"] = _training
    rows: list[Figure] = []
    for task, of_task in read.items():
        try:
            rows += of_task(found[task]) if task in found else ()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"metrics.json: the evaluation under {task!r} is damaged ({type(error).__name__}: {error}): "
                "evaluate the run again, or remove that entry"
            ) from None
    return rows


def _generation(entry: Entry) -> Iterator[Figure]:
    how = entry["protocol"]
    told = f"{how['samples']:,} samples to {how['reference']['n']:,} images, features {how['features']['network']}"
    for kind, by_steps in entry["figures"].items():
        for steps, value in by_steps.items():
            if isinstance(value, Mapping):
                # An Inception Score by another classifier says nothing; kernel distances are left to metrics.json.
                if not kind.startswith("is") or how["features"]["network"] != "inception":
                    continue
                value = value["mean"]
            after = "generator alone" if steps == "0" else f"after {steps} steps of the data chain"
            yield Figure(kind, f"{kind}, {after}", float(value), _data(how), f"{told}, seed {how['seed']}")


def _reconstruction(entry: Entry) -> Iterator[Figure]:
    told, data = _heldout(entry)
    kinds = {"inference alone": entry["inference"]} if "inference" in entry else {}
    kinds |= {f"after {steps} steps of the latent chain": of for steps, of in entry["from_inference"].items()}
    for name, of_kind in kinds.items():
        value = float(of_kind["mse"])
        yield Figure("mse", f"reconstruction MSE, {name}", value, data, f"{told}, pixels in [-1, 1]")


def _ood(entry: Entry) -> Iterator[Figure]:
    told, data = _heldout(entry)
    for name, of_set in entry["sets"].items():
        by_what = [by for by in ("log_density", "combination") if by in of_set] or ["reconstruction_error"]
        for by in by_what:
            value = float(of_set[by]["auroc"])
            yield Figure("auroc", f"AUROC against {name}, by {by}", value, data, f"{told}, {of_set['n']:,} others")


def _inpainting(entry: Entry) -> Iterator[Figure]:
    told, data = _heldout(entry)
    for mask, of_mask in entry["masks"].items():
        stage, value = list(of_mask["stages"].items())[-1]
        yield Figure("psnr", f"inpainting {mask}, PSNR, {stage}", float(value["psnr"]), data, told)


def _training(entry: Entry) -> Iterator[Figure]:
    how = entry["protocol"]
    told = f"up to {how['images']:,} images, seed {how['seed']}, pixels in [-1, 1]; it decided which step was kept"
    names = {"mse_inference": "inference alone", "mse_chain": "after the latent chain"}
    for key in (name for name in names if name in entry):
        yield Figure("mse", f"reconstruction MSE, {names[key]}", float(entry[key]), _data(how), told)


def _heldout(entry: Entry) -> tuple[str, str]:
    how = entry["protocol"]
    return f"{how['n']:,} held-out images, seed {how['seed']}", _data(how)
