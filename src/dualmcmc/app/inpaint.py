"""Inpaint: a part of a picture is hidden, and the model says what may be there, several times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc.app import figures, painter, picker, working
from dualmcmc.app.picker import Examples
from dualmcmc.errors import InputError
from dualmcmc.model import Model
from dualmcmc.tasks.inpainting import stages_of

COUNT = 8
"""Completions at once."""
STEPS = 300
"""Of the latent chain."""
LENGTH = 100
"""Of the latent chain at first: longer than in training, so that it leaves its first guess."""


class Completions(NamedTuple):
    """The picture with its hidden pixels grey (1, C, S, S); Figure 5's stages of each completion, nothing pasted,
    and each with the given pixels put back: (N, C, S, S) in [-1, 1]."""

    given: Tensor
    stages: dict[str, Tensor]
    pasted: Tensor


def complete(model: Model, image: Tensor, hidden: Tensor, seed: int, n: int, steps: int) -> Iterator[Completions]:
    """`model.inpaint` of one image (1, C, S, S) under keys 0 to n - 1, in pieces: ever more of them.

    Arguments:
        model: with a generator.
        image: what it holds in hidden pixels changes nothing.
        hidden: bool (1, 1, S, S).
        seed: of all randomness.
        n: how many completions.
        steps: of the latent chain.
    """
    hidden = hidden.to(image.device)
    given = torch.where(hidden, torch.zeros_like(image), image)
    own, rows = stages_of(model), []
    for part in working.pieces(n):
        copies = image.expand(len(part), -1, -1, -1)
        mask = hidden.expand(len(part), -1, -1, -1)
        found = model.inpainting_stages(copies, mask, seed=seed, keys=part, latent_steps=steps)
        rows.append(found[:3])
        by_inference, by_latent, by_data = (torch.cat(stage) for stage in zip(*rows, strict=True))
        stages = {"inference": by_inference, "latent_chain": by_latent, "data_chain": by_data}
        pasted = torch.where(hidden, by_data, image)
        yield Completions(given, {name: stages[name] for name in own}, pasted)


def show(found: Completions, steps: int) -> str:
    """The stages of the first completion, then all completions."""
    captions = {
        "inference": "<b>1. Inference network</b><br>a first guess at a glance",
        "latent_chain": f"<b>2. Latent chain</b><br>{steps} steps towards what explains the visible pixels",
        "data_chain": "<b>3. Data chain</b><br>pixels revised",
    }
    panels = [
        figures.figure(found.given[0], "The picture with its hidden part in grey", "<b>What the model sees</b>")
    ]
    for name, images in found.stages.items():
        says = f"Stage {name.replace('_', ' ')} of the first completion"
        panels.append(figures.figure(images[0], says, captions[name]))
    several = figures.sheet(found.pasted, "Completion", 4)
    return figures.block("Three stages", figures.row(panels), STAGES_ARE) + figures.block(
        "What may be there", several, COMPLETIONS_ARE
    )


def tab(model: Model, examples: Examples, key: str) -> None:
    """The tab's contents."""
    import gradio as gr

    gr.Markdown(ABOUT)
    size = model.config.images.size
    with gr.Row():
        with gr.Column(scale=2, min_width=260):
            given = picker.picker(model, examples, "Picture", key)
            mask = painter.painter(f"mask-{key}", figures.address(examples.pixels[0]), size)
            count = gr.Slider(1, COUNT, 4, step=1, label="How many completions")
            steps = gr.Slider(
                0, STEPS, LENGTH, step=1, label="Steps of the latent chain", info="Longer: more apart, and later."
            )
            seed = gr.Number(0, label="Seed", info="Another number, other completions.", precision=0, minimum=0)
            with gr.Row():
                button = gr.Button("Fill in", variant="primary")
                stop = gr.Button("Stop")
            status = gr.HTML(working.READY)
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML(elem_id=f"inpainted-{key}")

    def work(
        choice: Any, own: list[Any], mask: Any, count: Any, steps: Any, seed: Any
    ) -> Iterator[tuple[str, str]]:
        n, k = working.whole(count, "how many completions", 1, COUNT), working.whole(steps, "steps", 0, STEPS)
        hidden, number = painter.mask_of(mask, size), working.seeded(seed)
        image = picker.chosen(choice, own, examples, model)
        yield working.progress(0, n, "completions"), ""
        for found in complete(model, image, hidden, number, n, k):
            there = len(found.pasted)
            line = working.progress(there, n, "completions") if there < n else working.done("Done.")
            yield line, show(found, k)

    def under(choice: Any, own: list[Any]) -> Any:
        """The chosen picture, below the mask; one that the page no longer has is told of on the next press."""
        try:
            picture = picker.chosen(choice, own, examples, model)[0]
        except InputError:
            return gr.skip()
        return gr.HTML(picture=figures.address(picture))

    given.choice.change(
        under, [given.choice, given.own], mask, queue=False, show_progress="hidden", api_visibility="private"
    )
    inputs = [given.choice, given.own, mask, count, steps, seed]
    working.on_press(button, stop, work, inputs, status, shown, key)


ABOUT = """### Hide a part, and let the model fill it in
Choose a picture and paint over what should be hidden. The model never sees what is below the paint: it looks for
pictures of its own that agree with all the rest."""
STAGES_ARE = "How the first completion came about: the model's own pictures, of which the hidden part is used."
COMPLETIONS_ARE = (
    "The picture as given, its hidden part filled in: as often as asked, each with other random numbers."
)
