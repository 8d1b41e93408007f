"""What a run starts from: devices and processes, data that fits, networks from a seed, a model or a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import torch
from torch import nn

from dualmcmc import config, data, methods, spectral
from dualmcmc.allocator import keep_freed_memory
from dualmcmc.devices import best_device, check_device
from dualmcmc.errors import InputError
from dualmcmc.parallel import end_threads_at_exit, world_size
from dualmcmc.settings import Config
from dualmcmc.storage import checkpoints, pretrained
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.teaching import Teaching
from dualmcmc.training import optimisation
from dualmcmc.trio import Trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate import Accelerator


def accelerator(device: str | None, precision: str, *, partial: bool = False) -> Accelerator:
    """accelerate's view of devices, precision and processes; None takes the best device there is.

    `partial` says that some backward passes will leave networks out (`methods.partial`).
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
    from accelerate.state import AcceleratorState

    check_device(device)
    if device and device.startswith("cuda:"):
        torch.cuda.set_device(device)
    # The state is one per Python process: a second run would be refused another precision and get the first
    # one's device. A process group, where there is one, outlives its runs.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    cpu = (device or best_device()) == "cpu"
    if cpu:
        keep_freed_memory()
    if cpu and world_size() > 1:
        end_threads_at_exit()
    if precision == "fp32":  # the default lets CUDA convolutions round to TensorFloat-32, 1e-3
        torch.backends.cudnn.allow_tf32 = False
    return Accelerator(
        # Without a word from us accelerate ignores torchrun where there is no accelerator.
        cpu=cpu,
        mixed_precision="bf16" if precision == "bf16" else "no",
        kwargs_handlers=[
            DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=partial),
            # The others wait while one process downloads, decodes or evaluates.
            InitProcessGroupKwargs(timeout=timedelta(hours=12)),
        ],
    )


class Sets(NamedTuple):
    """Training images, and those held out from them (the training images again where there are none)."""

    train: data.ImageSet
    heldout: data.ImageSet


def load_sets(
    settings: Config,
    *,
    skip_bad: bool = False,
    verify: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Sets:
    """The run's data, decoded and cached, or the views of a stream; the whole batch must fit into the data.

    Raises:
        InputError: the reference, an image, or the batch size cannot be used.
    """
    how: dict[str, Any] = {"skip_bad": skip_bad, "verify": verify, "progress": progress}
    train = data.load(settings.data, settings.images, split="train", **how)
    whole = not data.is_stream(settings.data) or len(train) + train.skipped < data.VIEW
    if whole:  # a view that is shorter than it could be is all that there is
        data.batch_indices(0, images=len(train), batch_size=settings.optim.batch_size, seed=settings.seed)
    heldout = data.holdout(settings.data, settings.images, **how)
    if settings.run.evaluate_every and len(train) < 2:
        raise InputError(
            f"data {train.title} has 1 image: evaluations need 2; add images or set --run.evaluate-every 0"
        )
    return Sets(train, heldout or train)


def with_classes(settings: Config, train: data.ImageSet) -> Config:
    """The settings with JEM's classes, where they are left to the data.

    Raises:
        InputError: the images have no labels, or more classes than the settings say.
    """
    method = settings.method
    if not isinstance(method, methods.JEM):
        return settings
    if train.labels is None:
        raise InputError(
            f"method jem needs labels, and {train.title} has none: choose another method or other data"
        )
    if max(method.classes, train.classes) < 2:
        raise InputError(f"method jem needs two classes or more, and {train.title} has one: choose other data")
    if method.classes and method.classes < train.classes:
        raise InputError(f"setting method.classes is {method.classes}: {train.title} has {train.classes} classes")
    return replace(settings, method=replace(method, classes=method.classes or train.classes))


def new_trio(settings: Config) -> Trio:
    """Networks initialised from the seed, on the CPU; torch's global generators are left as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        return pretrained.build_trio(settings)


def start_from(trio: Trio, place: str | Path, settings: Config) -> None:
    """Fine-tuning: copies the weights of a model into a freshly made trio, of the networks that both have.

    Raises:
        InputError: there is no model, or it has other networks or images.
    """
    source, theirs, _ = pretrained.load(place)
    wanted = settings.networks
    if theirs.networks.spectral_norm and not wanted.spectral_norm:
        wanted = replace(wanted, spectral_norm=True)  # folded weights fit a plain energy network
    lines = [f"networks.{line}" for line in config.differences(wanted, theirs.networks)]
    if (settings.images.size, settings.images.channels) != (theirs.images.size, theirs.images.channels):
        lines += [f"images.{line}" for line in config.differences(settings.images, theirs.images)]
    if lines:
        raise InputError(f"--init {place}: its networks differ: {lines[0]} there; set the same to start from it")
    common = [name for name, _ in trio.named_children() if getattr(source, name) is not None]
    if not common:
        raise InputError(
            f"--init {place}: method {theirs.method.name} has no network that {settings.method.name} has"
        )
    for name in common:
        ours, others = spectral.frozen_copy(trio.get_submodule(name)), source.get_submodule(name)
        if _shapes(ours) != _shapes(others):
            raise InputError(
                f"--init {place}: {theirs.method.name} has another {name} network than {settings.method.name}"
            )
    for name in common:
        spectral.assign(trio.get_submodule(name), source.get_submodule(name))
    if trio.energy is not None:
        spectral.power_iteration(trio.energy, times=50)


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def check_resumable(run: RunFolder, settings: Config) -> None:
    """Refuses to continue a run under another configuration; only lengths, intervals and the guard may change.

    Raises:
        InputError: naming the first field that differs.
    """
    theirs = run.read_config()
    if isinstance(settings.method, methods.JEM) and isinstance(theirs.method, methods.JEM):
        settings = replace(settings, method=replace(settings.method, classes=theirs.method.classes))
    scheduled = settings.optim.schedule in ("linear", "cosine")
    lines = [
        line
        for line in config.differences(settings, theirs)
        if not line.startswith(("run.", "guard.")) or (scheduled and line.startswith("run.steps "))
    ]
    if lines:
        raise InputError(f"--resume: {run.path} was started with another configuration: {lines[0]}")


def check_same_teaching(run: RunFolder, page: type[Teaching] | None) -> None:
    """Refuses to continue a run by another page than it was begun with.

    Raises:
        InputError: naming both.
    """
    theirs, ours = run.read_about().get("teaching"), page and page.__qualname__
    if theirs != ours:
        own = "its method's own page"
        raise InputError(
            f"--resume: {run.path} was taught by {theirs or own}, not {ours or own}: continue it from the program "
            "that began it"
        )


def check_same_data(run: RunFolder, train: data.ImageSet) -> None:
    """Refuses to continue a run on other images than it was started on.

    Raises:
        InputError: the decoded training images differ.
    """
    started_on = run.read_about().get("data_sha256")
    if started_on is None:
        raise InputError(f"--resume: {run.path} is no run but a model; --init fine-tunes it in a new folder")
    if started_on != train.fingerprint:
        raise InputError(
            f"--resume: the images of {train.title} are not those that {run.path} was started on; restore them, "
            "or fine-tune on the new ones with --init in a new folder"
        )


def new_state() -> dict[str, Any]:
    """What a checkpoint keeps beside tensors, as it is before the first update."""
    return {
        "attempt": 0,  # roll-backs
        "best": None,  # step and value of the best small evaluation
        "seconds": 0.0,  # spent on updates, by this process's clock
        "trips": [],  # the divergences gone back from
        "guard": {"seen": 0, "largest": {}, "marks": []},  # ranges of figures
        "owed": [],  # which of this step's looks a signal put off
        "stream": None,  # where the processes were in a stream of images
    }


def flaw(trio: Trio, average: optimisation.Average, optimiser: torch.optim.Adam, teaching: Teaching) -> str | None:
    """The first of all that a checkpoint would hold that is not finite; None if there is none."""
    everything: dict[str, torch.Tensor] = {
        **trio.state_dict(),
        **{f"average.{name}": tensor for name, tensor in average.trio.state_dict().items()},
        **optimisation.state_tensors(trio, optimiser),
        **teaching.rows,
        **teaching.tables,
    }
    numbers = {name: tensor for name, tensor in everything.items() if tensor.is_floating_point()}
    device = next(trio.parameters()).device
    sound = torch.stack(
        [tensor.isfinite().all().to(device) for tensor in numbers.values()]
    )  # one host sync for all
    if sound.all():
        return None
    return next(name for name, fine in zip(numbers, sound.tolist(), strict=True) if not fine)


def restore(
    run: RunFolder,
    trio: Trio,
    average: optimisation.Average,
    optimiser: torch.optim.Adam,
    before: int | None = None,
) -> tuple[checkpoints.Checkpoint, list[str]]:
    """Loads the newest complete checkpoint (before a step) into the networks, their average and the optimiser.

    Returns:
        The checkpoint, and a line for each newer one that was passed over as incomplete.

    Raises:
        InputError: there is no complete checkpoint, or it is of other networks.
    """
    checkpoint, passed_over = checkpoints.newest(run.checkpoints, before)
    source = str(run.checkpoints / f"step-{checkpoint.step}")
    _check_state(checkpoint.state, source)
    pretrained.fill(trio, checkpoint.parts["weights"], source)
    pretrained.fill(average.trio, checkpoint.parts["average"], source)
    optimisation.load_state_tensors(trio, optimiser, checkpoint.parts["optimiser"])
    return checkpoint, passed_over


def _check_state(state: dict[str, Any], source: str) -> None:
    """Refuses counters, a best value, divergences and ranges that none of this library's runs has.

    Raises:
        InputError: naming the first such.
    """
    attempt, spent, best = (state.get(name) for name in ("attempt", "seconds", "best"))
    trips, guard = state.get("trips"), state.get("guard")
    sound = {
        "trips": isinstance(trips, list)
        and all(isinstance(t, dict) and _whole(t.get("diverged_at")) and _whole(t.get("back_to")) for t in trips),
        "guard": isinstance(guard, dict) and _ranges(guard),
        "owed": state.get("owed") in ([], ["evaluate"], ["draw"], ["evaluate", "draw"]),
        "stream": state.get("stream") is None or isinstance(state["stream"], dict),
        "attempt": _whole(attempt),
        "seconds": _number(spent) and spent >= 0,
        "best": best is None
        or (isinstance(best, dict) and _whole(best.get("step")) and _number(best.get("value"))),
    }
    for name, good in sound.items():
        if not good:
            raise InputError(f"{source}/state.json: {name} is none that a run has; resume from another checkpoint")


def _ranges(guard: dict[str, Any]) -> bool:
    """Whether a guard can be restored from it."""
    largest, marks = guard.get("largest"), guard.get("marks")
    if not (_whole(guard.get("seen")) and isinstance(largest, dict) and isinstance(marks, list)):
        return False
    if not all(isinstance(m, list) and len(m) == 2 and _whole(m[0]) and isinstance(m[1], dict) for m in marks):
        return False
    return all(_number(value) for named in (largest, *(mark[1] for mark in marks)) for value in named.values())


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
