"""`dualmcmc evaluate RUN`: what the paper measures, into RUN/metrics.json and RUN/figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dualmcmc import limits
from dualmcmc.cli.arguments import OnModel, check_counts, parse
from dualmcmc.cli.gists import gist
from dualmcmc.cli.output import check_finite, check_json, show, write_json
from dualmcmc.errors import InputError
from dualmcmc.tasks.plan import TASKS, Plan, Task, lacking

if TYPE_CHECKING:
    from dualmcmc.storage.run_folder import RunFolder
    from dualmcmc.tasks.setting import Result, Setting


DEFAULT = "inception"


@dataclass(frozen=True, kw_only=True)
class Evaluate(Plan, OnModel):
    """Measures a trained model: figures with their protocol into RUN/metrics.json, drawings into RUN/figures.

    generation: FID, KID, IS; reconstruction: MSE, PSNR, SSIM (Table 3, Figure 3); revision: Figure 2 and the
    chains' health; interpolation: Figure 4; ood: AUROC (Table 8); inpainting: Figure 5.
    """

    tasks: tuple[Task, ...] | None = None
    """Which of them; default: all that the method has the networks for."""
    data: str | None = None
    """Images to measure on, and their training images; default: the run's own data."""
    features: str | None = None
    """Of distances: inception (FID; its weights are fetched once), inception768, cifar10_resnet20, or pixels;
    default: inception, but revision by itself measures no distance then."""
    feature_weights: Path | None = None
    """Weights of that network: .safetensors, or .npz of plain arrays."""
    images: str | None = None
    """Measure these images (a folder, or any data reference) as generation does the model's, and nothing else."""
    resize: bool = False
    """Take data (or --images) of another size or other colours than the model's, made so by the data rule."""
    skip_bad: bool = False
    """Leave unreadable images out, and count them, instead of refusing the data."""
    out: Path | None = None
    """Folder for the drawings; default: RUN/figures (elsewhere: figures), of other data figures/other."""


def evaluate(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Evaluate, args, "evaluate")
    check_json(options.json)
    _check(options)
    from dualmcmc import figures
    from dualmcmc.cli.loading import check_inside, load_model, place_in_run
    from dualmcmc.parallel import Processes
    from dualmcmc.storage.files import check_folder
    from dualmcmc.tasks.running import same_place, setting_of

    run = _run(options.run)
    processes = Processes.current(options.device)
    setting = setting_of(
        load_model(replace(options, device=str(processes.device))),
        options.data,
        options.held_out,
        resize=options.resize,
        skip_bad=options.skip_bad,
        seed=options.seed,
        batch_size=options.batch_size,
        processes=processes,
        about={"run": str(options.run), "weights": options.weights},
    )
    # Drawings of other data must not pass for the run's own.
    own = options.data is None or same_place(options.data, setting.model.config.data)
    drawings = options.out or place_in_run(options.run, "figures" if own else "figures/other")
    check_inside(drawings, options.out, options.run)
    check_folder(drawings)
    found = {}
    for task, result in _results(options, setting):
        check_finite(result.figures, task)
        found[task] = result.figures
        if processes.main:
            drawing = figures.save(task, result, drawings)
            if run is not None:
                run.add_metrics(task, result.figures)
            show(f"{task}: {drawing}\n{gist(task, result.figures)}", options.json)
    if processes.main:
        write_json(options.json, found)
    processes.wait()


def _check(options: Evaluate) -> None:
    names = ("n", "held_out", "chains", "pairs", "batch_size", "reference_images")
    check_counts(**{name: getattr(options, name) for name in names})
    for name in ("steps", "latent_steps", "noise_steps"):
        if any(not 0 <= k <= limits.STEPS for k in getattr(options, name) or ()):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"{flag}: give whole numbers of 0 or more, up to {limits.STEPS:,}")
    if options.tasks == ():
        raise InputError(f"--tasks: name some of {', '.join(TASKS)}")
    if options.steps == ():
        raise InputError("--steps: give at least one length, as --steps 0 30")
    if options.images is not None and options.tasks not in (None, ("generation",)):
        raise InputError("--images measures these images and nothing else: leave --tasks out")


def _run(place: str) -> RunFolder | None:
    """The run whose metrics.json will be added to, if `place` is one.

    Raises:
        InputError: its metrics.json is damaged.
    """
    from dualmcmc.storage.run_folder import RunFolder

    run = RunFolder(Path(place))
    if not (run.path / "config.json").is_file() or (run.path / "model.safetensors").exists():
        return None
    run.check_inside()
    run.read_metrics()
    return run


def _results(options: Evaluate, setting: Setting) -> Iterator[tuple[str, Result]]:
    from dualmcmc.tasks import running

    if options.images is not None:
        yield "images", _of_images(options, options.images, setting)
        return
    parts = setting.model.config.method.PARTS
    tasks = options.tasks or tuple(task for task in TASKS if lacking(task, parts) is None)
    needed = {"generation", "revision"} & set(tasks)
    network = options.features
    if network is None and ("generation" in needed or options.feature_weights is not None):
        network = DEFAULT
    yield from running.run(
        tasks,
        setting,
        options,
        network if needed else None,
        options.feature_weights,
        skip_bad=options.skip_bad,
    )


def _of_images(options: Evaluate, ref: str, setting: Setting) -> Result:
    from dualmcmc import data
    from dualmcmc.tasks.generation import of_images
    from dualmcmc.tasks.reference import reference
    from dualmcmc.tasks.running import check_native, load_features

    if not options.resize:
        check_native(setting.model, ref)
    images = data.load(ref, setting.model.config.images, skip_bad=options.skip_bad)
    network = load_features(setting, options.features or DEFAULT, options.feature_weights)
    return of_images(setting, network, reference(setting, network, options.reference_images), images)
