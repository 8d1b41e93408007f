"""Interpolate: from one picture to another, through the codes between theirs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from dualmcmc.app import figures, picker, working
from dualmcmc.app.picker import Examples
from dualmcmc.errors import InputError
from dualmcmc.model import Model

POINTS = 15
"""Pictures on a path."""
PATHS = {"straight": "linear", "on an arc": "spherical"}


class Strip(NamedTuple):
    """Images on the path (N, C, S, S) in [-1, 1], and log pi of each (N,), None without an energy network."""

    images: Tensor
    log_density: Tensor | None


def between(model: Model, a: Tensor, b: Tensor, points: int, path: str, seed: int) -> Strip:
    """`model.interpolate` of one pair (1, C, S, S), and the log-density along it.

    Raises:
        InputError: no such path.
    """
    if path not in PATHS:
        raise InputError(f"the path has to be one of {', '.join(PATHS)}")
    images = model.interpolate(a, b, steps=points, path=PATHS[path], seed=seed)[0]  # type: ignore[arg-type]
    return Strip(images, model.log_density(images) if model.has("energy") else None)


def show(strip: Strip) -> str:
    """The strip, and the curve below it."""
    page = figures.block("On the way", figures.sheet(strip.images, "On the way", len(strip.images)), STRIP)
    if strip.log_density is None:
        return page
    line = figures.curve("Log-density", [("log-density", strip.log_density.tolist())], "picture")
    return page + figures.block("How usual the model finds them", line, CURVE)


def tab(model: Model, examples: Examples, key: str) -> None:
    """The tab's contents."""
    import gradio as gr

    gr.Markdown(ABOUT)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            first = picker.picker(model, examples, "From this picture", f"{key}_a", first=0)
            second = picker.picker(model, examples, "To this one", f"{key}_b", first=1)
            points = gr.Slider(3, POINTS, 9, step=1, label="Pictures on the way, ends included")
            path = gr.Radio([*PATHS], value="straight", label="Path between the codes")
            seed = gr.Number(0, label="Seed", info="Of the chains that find the codes.", precision=0, minimum=0)
            with gr.Row():
                button = gr.Button("Go from one to the other", variant="primary")
                stop = gr.Button("Stop")
            status = gr.HTML(working.READY)
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML(elem_id=f"strip-{key}")

    def work(
        a: Any, own_a: list[Any], b: Any, own_b: list[Any], points: Any, path: Any, seed: Any
    ) -> Iterator[tuple[str, str]]:
        n, number = working.whole(points, "pictures on the way", 3, POINTS), working.seeded(seed)
        ends = [picker.chosen(choice, own, examples, model) for choice, own in ((a, own_a), (b, own_b))]
        yield working.progress(0, n), ""
        yield working.done("Done."), show(between(model, ends[0], ends[1], n, path, number))

    inputs = [first.choice, first.own, second.choice, second.own, points, path, seed]
    working.on_press(button, stop, work, inputs, status, shown, key)


ABOUT = """### From one picture to another
Both pictures become codes, and the generator draws what lies between them. Fading one photo into another would
show two ghosts; here every picture on the way should look like one of its kind."""
STRIP = "The ends are the model's own versions of your two pictures."
CURVE = "A dip means that the way leads through pictures that the model finds unusual."
