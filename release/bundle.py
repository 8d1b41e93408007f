"""Makes a bundled model of a finished run: measures it, writes its card, puts it into the package.

    python release/bundle.py RUN digits
    python release/bundle.py RUN fashion_mnist --feature-weights FILE

The run may have been trained on a copy of the data under another path; the model names them by NAME. The command
that the card records is made from the run's settings: it is the shortest that `dualmcmc train` reads as these.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from dualmcmc import InputError, Model, presets
from dualmcmc.cli.arguments import parse
from dualmcmc.cli.train import _options as train_options
from dualmcmc.settings import Config
from dualmcmc.sharing import export
from dualmcmc.storage.bundled import LARGEST, NAMES, folder
from dualmcmc.storage.card import About
from dualmcmc.storage.evaluations import figures
from dualmcmc.tasks.plan import Plan, Task
from dualmcmc.tasks.running import run, setting_of

LICENSE = "apache-2.0"
TASKS: tuple[Task, ...] = ("generation", "reconstruction", "ood")
PROTOCOLS = {"digits": ("pixels", 2_000), "fashion_mnist": ("cifar10_resnet20", 10_000)}
"""Features of the distance, and samples; the rest is `evaluate`'s defaults."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """Puts a run's model into the package, with figures, card and picture."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """What it is to be called."""
    feature_weights: Path | None = None
    """Weights of the feature network, where it needs some."""
    out: Path | None = None
    """Another folder than the package's."""


def measure(model: Model, name: str, weights: Path | None = None) -> dict[str, dict[str, Any]]:
    """Evaluations by task, under the protocol of that name, of data called `name`."""
    network, samples = PROTOCOLS[name]
    setting = setting_of(model, None, about={"weights": "ema"})
    found = {task: result.figures for task, result in run(TASKS, setting, Plan(n=samples), network, weights)}
    text = json.dumps(found).replace(json.dumps(model.config.data)[1:-1], name)
    renamed: dict[str, dict[str, Any]] = json.loads(text)
    return renamed


def command(settings: Config) -> str:
    """The shortest command that trains with these settings.

    Raises:
        InputError: some setting has no flag, so there is none.
    """
    base = presets.preset(settings.preset, settings.method.name)
    words = [settings.preset]
    words += ["--method", settings.method.name] if settings.method.name != "dual_mcmc" else []
    words += [word for flag in _flags(base, settings, "") for word in flag]
    words += [] if settings.seed else ["--seed", "0"]  # a default, but worth saying
    if train_options(words).config != settings:
        raise InputError(f"no command gives the settings of preset {settings.preset}: was config.json edited?")
    return f"dualmcmc train {shlex.join(words)}"


def _flags(base: Any, wanted: Any, path: str) -> list[list[str]]:
    found = []
    for field in fields(wanted):
        theirs, ours, name = getattr(base, field.name), getattr(wanted, field.name), f"{path}{field.name}"
        if is_dataclass(ours):
            found += _flags(theirs, ours, f"{name}.")
        elif theirs != ours and name != "preset":
            values = ours if isinstance(ours, tuple) else (ours,)
            flag = f"--{name.replace('_', '-')}"
            if isinstance(ours, bool):
                folder, _, leaf = flag.removeprefix("--").rpartition(".")
                found.append([flag if ours else f"--{folder}{'.' if folder else ''}no-{leaf}"])
            else:
                found.append([flag, *map(str, values)])
    return found


def main(args: list[str]) -> int:
    """Measures, writes, says what was written."""
    try:
        options = parse(Bundle, args, "bundle")
        if options.name not in NAMES:
            raise InputError(f"{options.name} is no bundled model: they are {', '.join(NAMES)}")
        model = Model.from_pretrained(options.run)
        asked = command(replace(model.config, data=options.name))
        about = About(license=LICENSE, evaluations=measure(model, options.name, options.feature_weights))
        about = replace(about, place=options.name, command=asked)
        out = options.out or folder(options.name)
        export(model, out, about, data=options.name)
    except InputError as error:
        print(f"bundle: {error}", file=sys.stderr)
        return 2
    for row in figures(about.evaluations):
        print(f"{row.value:<10.4g} {row.name} ({row.data}; {row.how})")
    size = (out / "model.safetensors").stat().st_size
    print(f"{out}: {size:,} bytes of weights; {asked}")
    if size > LARGEST:
        print(f"bundle: {size:,} bytes are more than {LARGEST:,}: train narrower networks", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
