"""Runs the tasks of a plan on a setting, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dualmcmc import data, features, methods
from dualmcmc.errors import InputError
from dualmcmc.features import FeatureNetwork
from dualmcmc.model import Model
from dualmcmc.settings import Images
from dualmcmc.tasks.generation import Names, generation
from dualmcmc.tasks.inpainting import inpainting
from dualmcmc.tasks.interpolation import check_pairs, interpolation
from dualmcmc.tasks.ood import TABLE_8, ood
from dualmcmc.tasks.others import OTHERS
from dualmcmc.tasks.plan import Plan, Task, lacking
from dualmcmc.tasks.reconstruction import reconstruction
from dualmcmc.tasks.reference import Reference, check_size, reference
from dualmcmc.tasks.revision import revision
from dualmcmc.tasks.setting import Result, Setting

HELD_OUT, PAIRS = 1000, 64
"""Held-out images, and pairs of them, that are used where nobody says how many, at most."""


def setting_of(
    model: Model,
    ref: str | None,
    held_out: int | None = None,
    *,
    resize: bool = False,
    skip_bad: bool = False,
    **options: Any,
) -> Setting:
    """A setting on the images of `ref` (None: the run's data): its training images, and those held out.

    Arguments:
        model: what is measured.
        ref: a data reference. One that names another split than `train` is measured on that split. Data without a
            split to hold out are measured on their training images, and the protocol says so.
        held_out: how many held-out images; None: up to 1,000.
        resize: take pictures of another size or other colours than the model's, too; the run's own data always.
        skip_bad: leave unreadable images out.
        options: seed, batch_size, processes, quiet, about.

    Raises:
        InputError: the data cannot be read, hold fewer images, or other ones than the model's.
    """
    ref, rule = ref or model.config.data, model.config.images
    if not resize and not same_place(ref, model.config.data):
        check_native(model, ref)
    train, images = _train_and_heldout(ref, rule, skip_bad)
    if held_out is not None and held_out > len(images):
        raise InputError(f"--held-out {held_out}: {images.title} has {len(images)} images")
    count = held_out or min(HELD_OUT, len(images))
    about = options.pop("about", {})
    if images.fingerprint == train.fingerprint:
        about = {**about, "held_out_is_training": True}
    return Setting(model=model, train=train, heldout=images, images=count, about=about, **options)


def _train_and_heldout(ref: str, rule: Images, skip_bad: bool) -> tuple[data.ImageSet, data.ImageSet]:
    reference = data.parse(ref)
    images = data.load(ref, rule, split="train", skip_bad=skip_bad)  # `ref`'s own split, if it names one
    if reference.split in (None, "train", "all"):
        return images, data.holdout(ref, rule, skip_bad=skip_bad) or images
    whole = ref.removesuffix(f":{reference.split}")
    if "train" not in data.splits(whole):
        return images, images
    return data.load(whole, rule, split="train", skip_bad=skip_bad), images


def same_place(ref: str, own: str) -> bool:
    """Whether both name the same data, whatever the split; the run's own may be gone by now."""
    if ref == own:
        return True
    try:
        mine, theirs = data.parse(own), data.parse(ref)
    except InputError:
        return False
    return (mine.kind, mine.place, mine.revision) == (theirs.kind, theirs.place, theirs.revision)


def check_native(model: Model, ref: str) -> None:
    """Refuses pictures of another size or other colours than the model's: resized ones measure something else.

    Raises:
        InputError: saying what they are.
    """
    rule = model.config.images
    others = data.natives(ref) - {(rule.size, rule.size, rule.channels)}
    if others:
        width, height, channels = min(others)
        colours, more = {1: "grey", 3: "colour"}, " among others" if len(others) > 1 else ""
        raise InputError(
            f"{ref} holds {width}x{height} {colours[channels]} pictures{more}, the model's are {rule.size}x"
            f"{rule.size} {colours[rule.channels]}: give such, or --resize to measure on them made so"
        )


def run(
    tasks: Sequence[Task],
    setting: Setting,
    plan: Plan,
    network: str | None,
    weights: Path | None = None,
    *,
    skip_bad: bool = False,
) -> Iterator[tuple[Task, Result]]:
    """Measures task after task.

    Arguments:
        tasks: which.
        setting: model, images, seed, processes.
        plan: the tasks' settings.
        network: the feature network of distances (`features.NAMES`); None: revision does without.
        weights: its weights.
        skip_bad: leave unreadable images of other sets out.

    Raises:
        InputError: a network, a data set or a mask that is not there, or too few images; most before any work.
    """
    _check(tasks, setting, plan)
    others = _others(setting, plan.ood, skip_bad) if "ood" in tasks else {}
    measured = None
    if network is not None:
        seen = load_features(setting, network, weights)
        measured = seen, reference(setting, seen, plan.reference_images)
    generated: dict[str, Any] | None = None
    for task in dict.fromkeys(tasks):
        if task == "generation":
            if measured is None:
                raise InputError(f"generation needs a feature network: one of {', '.join(features.NAMES)}")
            result = generation(setting, *measured, n=plan.n, steps=_steps(setting, plan))
            generated = result.figures
        elif task == "revision":
            distance = _distance(setting, plan, measured, generated)
            result = revision(setting, samples=plan.chains, distance=distance)
        elif task == "reconstruction":
            trained = (methods.latent_chain(setting.model.config.method).steps,)
            steps = trained if plan.latent_steps is None else plan.latent_steps
            result = reconstruction(setting, steps=steps, noise_steps=plan.noise_steps)
        elif task == "interpolation":
            result = interpolation(setting, pairs=plan.pairs or min(PAIRS, setting.images // 2))
        elif task == "ood":
            builtin = [name for name in plan.ood if name in OTHERS]
            result = ood(setting, builtin=[*OTHERS] if "builtin" in plan.ood else builtin, sets=others)
        else:
            result = inpainting(setting, masks=plan.masks, visible=plan.visible)
        yield task, result


def _check(tasks: Sequence[Task], setting: Setting, plan: Plan) -> None:
    """What would fail after hours, before any work."""
    method = setting.model.config.method
    for task in tasks:
        if part := lacking(task, method.PARTS):
            raise InputError(f"{task} needs a {part}, and method {method.name} learns none: name other --tasks")
    if "energy" not in method.PARTS and any(plan.steps or ()):
        raise InputError(
            f"--steps: method {method.name} learns no energy network, so it has no data chain; give 0"
        )
    if "generation" in tasks:
        check_size(plan.n)
    if "interpolation" in tasks:
        check_pairs(setting, plan.pairs or 1)
    if "ood" in tasks and not plan.ood:
        raise InputError("--ood: name some sets, or builtin")
    if "inpainting" in tasks:
        if not plan.masks:
            raise InputError("--masks: name some, as M20 or blocks:0.3")
        for mask in plan.masks:
            if not setting.model.hidden(1, mask).any():
                raise InputError(f"mask {mask} hides nothing: there is nothing to find")


def load_features(setting: Setting, name: str, weights: Path | None) -> FeatureNetwork:
    """A feature network on the model's device; what must be fetched is fetched by one process."""
    if not setting.processes.main:
        setting.processes.wait()
    network = features.load(name, weights, setting.model.device)
    if setting.processes.main:
        setting.processes.wait()
    return network


def _steps(setting: Setting, plan: Plan) -> Sequence[int]:
    return plan.steps if plan.steps is not None else (0, methods.test_chain(setting.model.config.method).steps)


def _distance(
    setting: Setting,
    plan: Plan,
    measured: tuple[FeatureNetwork, Reference] | None,
    generated: dict[str, Any] | None,
) -> dict[str, Any] | None:
    """Of x_0 and x_K to the training images: from the generation task where it has both, else measured."""
    if measured is None:
        return None
    last, n = methods.test_chain(setting.model.config.method).steps, plan.n
    if last == 0:
        return None  # nothing is revised
    if generated is None or not {0, last} <= set(generated["steps"]):
        n = max(plan.chains, 20)
        generated = generation(setting, *measured, n=n, steps=(0, last)).figures
    name = Names(measured[0].label, n).frechet
    return {"name": name, **{str(k): generated["figures"][name][str(k)] for k in (0, last)}}


def _others(setting: Setting, names: Sequence[str], skip_bad: bool) -> dict[str, data.ImageSet]:
    """The sets that are not built in, by name: held-out splits where a set has one."""
    found: dict[str, data.ImageSet] = {}
    for name in names:
        if name == "builtin" or name in OTHERS:
            continue
        for ref in TABLE_8 if name == "table8" else (name,):
            images = _other(ref, setting, skip_bad)
            if images.title in found:
                raise InputError(f"--ood names {images.title} twice")
            found[images.title] = images
    return found


def _other(ref: str, setting: Setting, skip_bad: bool) -> data.ImageSet:
    # Another set's pictures need not have the shape that this one's crop asks for.
    rule = replace(setting.model.config.images, crop="square")
    images = data.load(ref, rule, skip_bad=skip_bad)
    if images.split == "train" and data.parse(ref).split is None:
        images = data.holdout(ref, rule, skip_bad=skip_bad) or images
    return images
