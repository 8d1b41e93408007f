"""Curves that an evaluation holds: what the chains change step by step, and log-densities along paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualmcmc.report.curves import Drawing, Line, Panel, Point, draw
from dualmcmc.report.evaluations import Evaluation

REVISION = (
    ("h over the data chain", "mean", ("data_chain", "h"), True),
    ("h over a chain ten times as long", "mean", ("data_chain", "long", "h"), False),
    ("Gradient norm over the data chain", "mean", ("data_chain", "gradient_norm"), False),
    ("MSE over the latent chain", "images in [−1, 1]", ("latent_chain", "mse"), True),
)
"""Title, unit, place in the entry, whether Figure 2 shows it, too."""


def task_drawings(
    task: str, evaluations: dict[str, Evaluation | None], points: int, *, drawn: bool
) -> list[Drawing]:
    """The curves of a task's newest evaluations, each panel with all runs.

    Arguments:
        task: its name.
        evaluations: by the run's name.
        points: of each curve, at most.
        drawn: the task's figure is on the page: curves that it shows are not drawn again.
    """
    panels: list[Panel] = []
    if task == "revision":
        panels += [
            Panel(title, unit, _lines(evaluations, {"": place}), smooth=False)
            for title, unit, place, shown in REVISION
            if not (drawn and shown)
        ]
    if task == "interpolation" and not drawn:
        panels += [
            Panel(
                f"Log-density between {'prior draws' if ends == 'prior' else 'two images'}",
                "mean, nats up to a constant",
                _lines(evaluations, {kind: (ends, kind, "log_density") for kind in ("linear", "spherical")}),
                "point",
                smooth=False,
            )
            for ends in ("prior", "images")
        ]
    drawings = [draw(panel, points=points) for panel in panels]
    return [drawing for drawing in drawings if drawing]


def _lines(evaluations: dict[str, Evaluation | None], series: dict[str, tuple[str, ...]]) -> list[Line]:
    return [
        Line(run, name, _points(evaluation.entry, place), i, j)
        for i, (run, evaluation) in enumerate(evaluations.items())
        if evaluation
        for j, (name, place) in enumerate(series.items())
    ]


def _points(entry: dict[str, Any], place: Sequence[str]) -> list[Point]:
    """The list at this place of an entry, against its index; empty where there is none."""
    node: Any = entry
    for name in place:
        node = node.get(name) if isinstance(node, dict) else None
    values = node if isinstance(node, list) else []
    return [(i, value) for i, value in enumerate(values) if isinstance(value, int | float)]
