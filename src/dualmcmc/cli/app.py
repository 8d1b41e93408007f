"""`dualmcmc app [RUN ...]`: a local page over trained models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from packaging.version import Version

from dualmcmc.cli.arguments import OnModel, Weights, parse
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from dualmcmc.model import Model

MOST = 8
"""Models on one page."""
OLDEST = Version("6.24")
"""Version of gradio that has all that the page asks of it."""


@dataclass(frozen=True)
class App:
    """Shows a page in the browser: draw, watch the chains, reconstruct, inpaint, interpolate, score.

    It is served from this machine to this machine alone unless --host says otherwise, and needs no network.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN ...")] = ()
    """Run folders, model folders, names of bundled models; the page offers a choice. Default: the bundled ones."""
    host: str = "127.0.0.1"
    """Address to serve at; 0.0.0.0 lets everybody in the network in, who may then use this machine's time."""
    port: int | None = None
    """Default: the first free one from 7860."""
    browser: bool = False
    """Open the page in a browser."""
    weights: Weights = "ema"
    """ema: the average over training; live: the newest checkpoint's weights."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes networks in bfloat16; chain states and figures stay float32."""


def app(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(App, args, "app")
    if find_spec("gradio") is None:
        raise InputError("app needs gradio, which is not installed: pip install 'dualmcmc[app]'")
    if Version(there := version("gradio")) < OLDEST:
        raise InputError(f"app needs gradio {OLDEST} or newer, not {there}: pip install -U 'dualmcmc[app]'")
    if options.port is not None and not 1 <= options.port <= 65_535:
        raise InputError(f"--port {options.port}: give a number from 1 to 65535")
    if len(options.runs) > MOST:
        raise InputError(f"{len(options.runs)} models: one page shows {MOST} at most")
    from dualmcmc.app.serving import listen, serve

    door = listen(options.host, options.port)
    with door:
        serve(_models(options), door, open_browser=options.browser)


def _models(options: App) -> list[tuple[str, Model]]:
    from dualmcmc.cli.loading import load_model

    runs = options.runs or _bundled()
    how = {"weights": options.weights, "device": options.device, "precision": options.precision}
    loaded = [load_model(OnModel(run=run, **how), serving=True) for run in runs]  # type: ignore[arg-type]
    return [(_name(run, runs), model) for run, model in zip(runs, loaded, strict=True)]


def _bundled() -> tuple[str, ...]:
    from dualmcmc.storage.bundled import NAMES

    return tuple(NAMES)


def _name(run: str, runs: tuple[str, ...]) -> str:
    """Its last part; the whole where that names another run, too."""
    last = [Path(one).name or one for one in runs]
    return last[runs.index(run)] if last.count(Path(run).name) <= 1 else run
