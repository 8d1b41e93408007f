"""`dualmcmc train PRESET`: a preset, changed by flags, trained into a run folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from dualmcmc import config as configs
from dualmcmc import presets
from dualmcmc.cli.arguments import Json, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.errors import InputError
from dualmcmc.methods import METHODS
from dualmcmc.settings import Config
from dualmcmc.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Train:
    """Trains the networks of a preset by dual-MCMC teaching, or by the method that --method names.

    The first word is the preset (see `dualmcmc presets`); every setting below can be changed by its flag. Methods
    (see `dualmcmc methods`) have settings of their own: `train PRESET --method NAME --help` shows them.
    """

    preset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PRESET")]
    """The preset to start from; `dualmcmc presets` lists them."""
    config: Annotated[Config, tyro.conf.arg(name="")]
    out: Path | None = None
    """The run's folder; default: runs/PRESET."""
    steps: int | None = None
    """Updates in all; short for --run.steps."""
    resume: bool = False
    """Continue the run in --out from its newest complete checkpoint."""
    init: str | None = None
    """A model to start from (fine-tuning): run, model folder or hub id."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    skip_bad: bool = False
    """Leave unreadable images out, and count them, instead of refusing the data."""
    verify: bool = False
    """Read all of the data again to see whether it is what was decoded before; else names, sizes, times decide."""
    memory: str | None = None
    """As many images at a time as fit into so much memory of each process, as 8GB: sets --run.micro-batch."""
    dry_run: bool = False
    """Print the whole configuration and what an iteration costs, by part and at this machine's speed, and stop."""
    json: Json = None
    """Write the figures as JSON to this file; - is standard output."""


def train(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = _options(args)
    settings = options.config
    if options.steps is not None:
        settings = replace(settings, run=replace(settings.run, steps=options.steps))
    settings = configs.check(settings)
    if options.memory is not None:
        settings = _within(settings, options.memory)
    check_json(options.json)
    out = options.out or Path("runs") / settings.preset
    if options.dry_run:
        from dualmcmc import data

        data.parse(settings.data)
        _dry_run(settings, options.device, options.json)
        return
    from dualmcmc.training.loop import Trainer

    trainer = Trainer(
        settings,
        out,
        device=options.device,
        resume=options.resume,
        init=options.init,
        skip_bad=options.skip_bad,
        verify=options.verify,
    )
    outcome = trainer.train()
    if trainer.main:
        figures: dict[str, Any] = {"run": str(outcome.run), "steps": outcome.steps, "seconds": outcome.seconds}
        figures["rollbacks"] = outcome.rollbacks
        write_json(options.json, figures)
        took = f"{outcome.steps} steps, {outcome.seconds:.0f} s{_backs(outcome.rollbacks)}"
        show(f"{outcome.run}: {took}", options.json)


def _within(settings: Config, memory: str) -> Config:
    """As many images at a time as fit."""
    from dualmcmc import fitting
    from dualmcmc.parallel import world_size

    return fitting.within(settings, fitting.parse_bytes(memory), world_size())


def _backs(count: int) -> str:
    return f", {count} roll-backs from divergences" if count else ""


def _options(args: list[str]) -> Train:
    name = args[0] if args and not args[0].startswith("-") else None
    asked_for_help = "-h" in args or "--help" in args
    if name is None and not asked_for_help:
        raise InputError(f"train needs a preset first: one of {', '.join(presets.PRESETS)}")
    method, args = _take_method(args)
    settings = presets.preset(name or "digits", method or "dual_mcmc")
    if "--resume" in args and not asked_for_help:
        theirs = _of_run(args, settings)
        if method not in (None, theirs.method.name):
            raise InputError(f"--resume: the run was started with method {theirs.method.name}, not {method}")
        settings = theirs
    return parse(Train, args, "train", default=Train(preset=settings.preset, config=settings))


def _take_method(args: list[str]) -> tuple[str | None, list[str]]:
    """The method that --method (or --method.name) gives, and the arguments without it.

    It comes before all other settings: which flags there are depends on it.
    """
    method, rest, words = None, [], iter(args)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in ("--method", "--method.name"):
            rest.append(word)
            continue
        method = value if equals else next(words, None)
        if not method:
            raise InputError(f"{flag} needs a name: one of {', '.join(METHODS)}")
    return method, rest


def _of_run(args: list[str], settings: Config) -> Config:
    """With --resume the run's own configuration is the default, so that flags need not be repeated."""
    place = str(Path("runs") / settings.preset)
    for i, arg in enumerate(args):
        if arg == "--out" and i + 1 < len(args):
            place = args[i + 1]
        elif arg.startswith("--out="):
            place = arg.removeprefix("--out=")
    run = RunFolder(Path(place))
    if not (run.path / "config.json").is_file():
        raise InputError(f"--resume: there is no run at {place}; leave --resume out to start one")
    run.check_inside()
    theirs = run.read_config()
    if theirs.preset != settings.preset:
        raise InputError(f"--resume: {place} holds a run of preset {theirs.preset}, not {settings.preset}")
    return theirs


def _dry_run(settings: Config, device: str | None, json_place: str | None) -> None:
    from dualmcmc import cost

    figures: dict[str, Any] = cost.iteration(settings)
    machine, told = _on_this_machine(settings, device, figures["flops_per_iteration"])
    write_json(json_place, {"config": configs.to_dict(settings), **figures, "machine": machine})
    lines = [*_flat(configs.to_dict(settings)), ""]
    lines += [f"{'parameters':<21}{name:<14}{count:>14,}" for name, count in figures["parameters"].items()]
    for title, name in (("GFLOP/iteration", "flops_by_part"), ("GB moved/iteration", "bytes_moved_by_part")):
        lines += [f"{title:<21}{part:<14}{value / 1e9:>14,.3f}" for part, value in figures[name].items()]
    operators = figures["operators_by_part"].items()
    lines += [f"{'operators/iteration':<21}{part:<14}{value:>14,}" for part, value in operators if value]
    lines += [f"{'MB':<21}{part:<14}{value / 1e6:>14,.0f}" for part, value in figures["memory_bytes"].items()]
    show("\n".join([*lines, "", *told]), json_place)


def _on_this_machine(settings: Config, device: str | None, flops: int) -> tuple[dict[str, Any], list[str]]:
    """The measured rate and the least seconds of an iteration, as figures and in words; it takes seconds."""
    from dualmcmc import devices, rate

    device = device or devices.best_device()
    try:
        devices.check_device(device)
    except InputError as error:  # planning for another machine is no mistake
        return {}, [f"nothing is measured: {error}"]
    found = rate.of(settings, device=device)
    if not found:
        return {"device": device}, ["nothing is measured: one image's largest layers take too long"]
    seconds = flops / found
    machine: dict[str, Any] = {"device": device, "convolution_rate": found, "seconds_per_iteration": seconds}
    told = [f"at {found / 1e9:,.0f} GFLOP/s, measured here: at least {seconds:.3g} s an iteration"]
    if settings.precision == "fp32":
        gain = machine["bf16_gain"] = rate.gain_of_bf16(settings, device=device)
        if gain >= rate.GAIN:
            told.append(f"--precision bf16: convolutions are {gain:.1f} times faster here")
    return machine, told


def _flat(values: dict[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += _flat(value, f"{prefix}{name}.")
        else:
            lines.append(f"{prefix}{name} = {value}")
    return lines
