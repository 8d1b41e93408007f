"""Chain: one picture at every step of the data chain, and one code at every step of the latent chain."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import floor, isfinite, log10
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc import methods
from dualmcmc.app import figures, picker, working
from dualmcmc.app.draw import chain_length
from dualmcmc.app.picker import Examples
from dualmcmc.app.player import player
from dualmcmc.errors import InputError
from dualmcmc.model import Model
from dualmcmc.report.numbers import number

STEPS = 100
"""Of either chain: as many frames are sent."""


class Frames(NamedTuple):
    """After each step: images (K + 1, C, S, S) in [-1, 1], and what the chain climbs, K + 1 numbers."""

    images: Tensor
    climbs: list[float]


def data_chain(model: Model, seed: int, steps: int) -> Frames:
    """What `model.sample(1, seed=seed, steps=steps)` passes through, and log pi."""
    passed = model.data_trajectory(1, range(steps + 1), seed=seed)
    images = torch.cat([passed.states[k] for k in range(steps + 1)]).clamp(-1, 1)
    return Frames(images, (passed.log_density[0] / model.trio.temperature).tolist())


def latent_chain(model: Model, image: Tensor, seed: int, steps: int) -> Frames:
    """What `model.reconstruct(image, seed=seed, steps=steps)` passes through, and log p(x, z)."""
    passed = model.latent_trajectory(image, range(steps + 1), seed=seed)
    images = model.decode(torch.cat([passed.states[k] for k in range(steps + 1)]))
    return Frames(images, passed.log_density[0].tolist())


def gain(frames: Frames) -> float:
    """How much changes since step 0 are enlarged to be seen: 1, 2 or 5 times a power of ten, within range."""
    largest = float((frames.images - frames.images[:1]).abs().max())
    if not isfinite(largest):
        raise InputError("the chain left all numbers: the model is damaged, or so many steps are too many for it")
    if largest == 0:
        return 1.0
    power = 10.0 ** floor(log10(1 / largest))
    return max(1.0, max(m * power for m in (1, 2, 5) if m * power * largest <= 1))


def show(frames: Frames, heading: str, about: str, climbs: str) -> str:
    """Every frame, of which the player's slider shows one, and the curve."""
    times = gain(frames)
    changes = ((frames.images - frames.images[:1]) * times).clamp(-1, 1)
    last = len(frames.images) - 1
    shown = []
    for k, (image, change) in enumerate(zip(frames.images, changes, strict=True)):
        caption = f"step {k} of {last}: {escape(climbs)} {number(frames.climbs[k])}"
        pair = figures.figure(image, f"{heading}, step {k}", caption)
        pair += figures.figure(change, f"Change since step 0, times {times:g}", f"change since step 0, ×{times:g}")
        shown.append(f'<div class="dm-row dm-frame"{"" if k == last else " hidden"}>{pair}</div>')
    line = figures.curve(climbs, [(climbs, frames.climbs)], "step")
    return figures.block(heading, f'<div class="dm-frames">{"".join(shown)}</div>{line}', about)


def tab(model: Model, examples: Examples, key: str) -> None:
    """The tab's contents."""
    import gradio as gr

    gr.Markdown(ABOUT)
    both = {"data": model.has("energy"), "latent": model.has("generator")}
    latent = methods.latent_chain(model.config.method).steps if both["latent"] else 0
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            seed = gr.Number(0, label="Seed", info="Of the drawing, and of both chains.", precision=0, minimum=0)
            data_steps = gr.Slider(
                1,
                max(STEPS, chain_length(model)),
                max(1, chain_length(model)),
                step=1,
                label="Steps of the data chain",
                visible=both["data"],
            )
            latent_steps = gr.Slider(
                1,
                max(STEPS, latent),
                max(30, latent),
                step=1,
                label="Steps of the latent chain",
                visible=both["latent"],
            )
            given = picker.picker(model, examples, "Picture for the latent chain", key, visible=both["latent"])
            with gr.Row():
                button = gr.Button("Run the chains", variant="primary")
                stop = gr.Button("Stop")
            status = gr.HTML(working.READY)
        with gr.Column(scale=3, min_width=280):
            shown = player(f"frames-{key}")

    def work(
        seed: Any, data_steps: Any, latent_steps: Any, choice: Any, own: list[Any]
    ) -> Iterator[tuple[str, str]]:
        number = working.seeded(seed)
        parts: list[str] = []
        yield working.progress(0, sum(both.values()), "chains"), ""
        if both["data"]:
            k = working.whole(data_steps, "steps of the data chain", 1, max(STEPS, chain_length(model)))
            parts.append(
                show(data_chain(model, number, k), "Data chain: a drawing is revised", DATA, "log-density")
            )
            yield working.progress(len(parts), sum(both.values()), "chains"), "".join(parts)
        if both["latent"]:
            k = working.whole(latent_steps, "steps of the latent chain", 1, max(STEPS, latent))
            frames = latent_chain(model, picker.chosen(choice, own, examples, model), number, k)
            parts.append(show(frames, "Latent chain: a picture is explained", LATENT, "log p(x, z)"))
        yield working.done("Move the slider, or press Play."), f'<div class="dm-pair">{"".join(parts)}</div>'

    inputs = [seed, data_steps, latent_steps, given.choice, given.own]
    working.on_press(button, stop, work, inputs, status, shown, key)


ABOUT = """### What happens at every step
Two chains do the work. The **data chain** moves the pixels of a drawing towards what is more usual. The
**latent chain** looks for the few numbers (the code) from which the generator would draw a given picture."""
DATA = (
    "On the left the drawing, on the right what has changed in it, made visible: grey is no change. "
    "Each step goes a little uphill in log-density, plus a little noise."
)
LATENT = (
    "What the generator draws from the code found so far. log p(x, z) says how well the code explains the picture "
    "(how close the drawing is, how usual the code)."
)
