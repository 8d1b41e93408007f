"""Reconstruct: a picture, squeezed into its code and drawn again, before and after the latent chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from dualmcmc import methods
from dualmcmc.app import figures, picker, working
from dualmcmc.app.picker import Examples
from dualmcmc.model import Model
from dualmcmc.report.numbers import number

STEPS = 300
"""Of the latent chain."""


class Reconstruction(NamedTuple):
    """Images (1, C, S, S) in [-1, 1]: the given one, g of the first guess, g after the latent chain."""

    given: Tensor
    guessed: Tensor
    found: Tensor


def reconstruct(model: Model, image: Tensor, seed: int, steps: int) -> Reconstruction:
    """`model.reconstruct` of one image with no steps and with `steps`."""
    passed = model.latent_trajectory(image, {0, steps}, seed=seed)
    return Reconstruction(image, model.decode(passed.states[0]), model.decode(passed.states[steps]))


def error(a: Tensor, b: Tensor) -> float:
    """Mean squared error per pixel and channel, in [-1, 1]."""
    return float((a - b).square().mean())


def show(model: Model, found: Reconstruction, steps: int) -> str:
    """The three pictures side by side, and where the last one is off."""
    start = "Inference network" if model.has("inference") else "A random code"
    miss = (found.given - found.found).norm(dim=1)[0]
    panels = [
        figures.figure(found.given[0], "The picture itself", "<b>The picture</b>"),
        figures.figure(
            found.guessed[0],
            f"{start}: the first guess",
            f"<b>{start}</b><br>mean squared error {number(error(found.given, found.guessed))}",
        ),
        figures.figure(
            found.found[0],
            f"After {steps} steps of the latent chain",
            f"<b>After {steps} steps</b><br>mean squared error {number(error(found.given, found.found))}",
        ),
        figures.figure(
            figures.heat(miss), "Where the last one is off", "<b>Where it is off</b><br>white: by half the range"
        ),
    ]
    about = (
        f"The whole picture became {model.trio.latent_dim} numbers, and was drawn again from these alone. "
        "What is lost is what the model has no numbers for."
    )
    return figures.block("There and back", figures.row(panels), about)


def tab(model: Model, examples: Examples, key: str) -> None:
    """The tab's contents."""
    import gradio as gr

    gr.Markdown(ABOUT)
    length = methods.latent_chain(model.config.method).steps
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            given = picker.picker(model, examples, "Picture", key)
            about = f"The model was trained with {length}."
            steps = gr.Slider(
                0, max(STEPS, length), max(30, length), step=1, label="Steps of the latent chain", info=about
            )
            seed = gr.Number(0, label="Seed", info="Of the chain's noise.", precision=0, minimum=0)
            with gr.Row():
                button = gr.Button("Reconstruct", variant="primary")
                stop = gr.Button("Stop")
            status = gr.HTML(working.READY)
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML(elem_id=f"reconstructed-{key}")

    def work(choice: Any, own: list[Any], steps: Any, seed: Any) -> Iterator[tuple[str, str]]:
        k, number = working.whole(steps, "steps of the latent chain", 0, max(STEPS, length)), working.seeded(seed)
        image = picker.chosen(choice, own, examples, model)
        yield working.progress(0, 1), ""
        yield working.done("Done."), show(model, reconstruct(model, image, number, k), k)

    working.on_press(button, stop, work, [given.choice, given.own, steps, seed], status, shown, key)


ABOUT = """### A picture as a few numbers, and back
The **inference network** guesses the code of a picture at a glance; the **latent chain** improves the guess, step
by step. The **generator** draws the picture again from the code."""
