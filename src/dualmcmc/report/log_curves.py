"""Which curves a run's log gives, and where its time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dualmcmc.report.curves import Drawing, Line, Panel, Point, bar, draw
from dualmcmc.report.reading import RunRecord

LOSSES = {"loss_energy": "Energy loss", "loss_generator": "Generator's loss", "loss_inference": "Inference loss"}
NETWORKS = ("energy", "generator", "inference")


@dataclass(frozen=True)
class Curve:
    """A panel and the log's names of its series."""

    title: str
    unit: str
    series: dict[str, str]
    log: bool = False
    evaluation: bool = False
    """Of the small evaluations' lines."""


MORE = (
    Curve("Energy gap", "log π(data) − log π(samples), nats", {"": "energy_gap"}),
    Curve("How far the data chain moves", "rms per pixel", {"": "data_chain_moved"}),
    Curve("How far the latent chain moves", "rms per latent dimension", {"": "latent_chain_moved"}),
    Curve("Gradient norms", "", {name: f"gradient_{name}" for name in NETWORKS}, log=True),
    Curve("Time per update", "seconds", {"": "seconds_per_step"}),
    Curve("Of this machine's convolution rate", "share", {"": "convolution_share"}),
    Curve("Learning rates", "", {name: f"rate_{name}" for name in NETWORKS}, log=True),
)
EVALUATION = (
    Curve(
        "Reconstruction MSE",
        "held-out images in [−1, 1]",
        {"inference": "mse_inference", "after the latent chain": "mse_chain"},
        evaluation=True,
    ),
    Curve("Selection score", "lower is better", {"": "value"}, evaluation=True),
)


@dataclass(frozen=True)
class TimeSplit:
    """Shares of the time of all updates."""

    parts: list[str]
    runs: list[tuple[str, str, list[str]]]
    """Name, a bar as SVG, the share of each part as text."""


def log_drawings(runs: Sequence[RunRecord], points: int) -> list[Drawing]:
    """The curves of these runs' updates, each panel with all runs."""
    keys = dict.fromkeys(key for run in runs for line in run.log[-1:] for key in line if key.startswith("loss_"))
    losses = (Curve(LOSSES.get(key, key), "", {"": key}) for key in keys)
    return _drawn([curve for curve in (*losses, *MORE) if _worth_it(curve, runs)], runs, points)


def evaluation_drawings(runs: Sequence[RunRecord], points: int) -> list[Drawing]:
    """The curves of their small evaluations."""
    return _drawn(EVALUATION, runs, points)


def time_split(runs: Sequence[RunRecord]) -> TimeSplit | None:
    """Where the time of the updates went; None if no log says so."""
    shares = {run.name: _shares(run) for run in runs}
    totals: dict[str, float] = {}
    for parts in shares.values():
        for part, share in parts.items():
            totals[part] = totals.get(part, 0.0) + share
    order = sorted(totals, key=lambda part: (part == "other", -totals[part]))
    if not order:
        return None
    rows = [
        (
            name,
            bar([(_words(part), parts.get(part, 0.0)) for part in order]),
            [f"{100 * parts.get(part, 0.0):.1f} %" for part in order],
        )
        for name, parts in shares.items()
        if parts
    ]
    return TimeSplit([_words(part) for part in order], rows)


def _drawn(curves: Sequence[Curve], runs: Sequence[RunRecord], points: int) -> list[Drawing]:
    drawings = [draw(_panel(curve, runs), points=points) for curve in curves]
    return [drawing for drawing in drawings if drawing]


def _panel(curve: Curve, runs: Sequence[RunRecord]) -> Panel:
    lines = [
        Line(run.name, name, _points(_lines(curve, run), key), i, j)
        for i, run in enumerate(runs)
        for j, (name, key) in enumerate(curve.series.items())
    ]
    return Panel(curve.title, curve.unit, lines, log=curve.log, smooth=not curve.evaluation)


def _lines(curve: Curve, run: RunRecord) -> list[dict[str, Any]]:
    if not curve.evaluation:
        return run.log
    return run.metrics.get("training") or run.evaluations


def _points(lines: Sequence[dict[str, Any]], key: str) -> list[Point]:
    """Numbers under this name; lines that lack it, or hold something else, are passed over."""
    return [
        (line["step"], line[key])
        for line in lines
        if isinstance(line.get(key), int | float) and isinstance(line.get("step"), int)
    ]


def _worth_it(curve: Curve, runs: Sequence[RunRecord]) -> bool:
    """Rates that never change need no curve."""
    if curve.title != "Learning rates":
        return True
    values = {key: {value for run in runs for _, value in _points(run.log, key)} for key in curve.series.values()}
    return any(len(seen) > 1 for seen in values.values())


def _shares(run: RunRecord) -> dict[str, float]:
    """Of each part, weighted by the time each log line stands for."""
    sums: dict[str, float] = {}
    total = 0.0
    for line, seconds in run.durations():
        parts = {k.removeprefix("share_"): v for k, v in line.items() if k.startswith("share_")}
        if seconds > 0 and parts and all(isinstance(share, int | float) for share in parts.values()):
            total += seconds
            for part, share in parts.items():
                sums[part] = sums.get(part, 0.0) + seconds * share
    return {part: seconds / total for part, seconds in sums.items()}


def _words(part: str) -> str:
    return part.replace("_", " ")
