"""Draw: pictures that the model makes up, as its chain finds them and as it leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc import methods
from dualmcmc.app import figures, working
from dualmcmc.errors import InputError
from dualmcmc.model import Model
from dualmcmc.report.numbers import number

COUNT = 64
"""Pictures at once."""
STEPS = 300
"""Of the data chain."""


class Drawn(NamedTuple):
    """Images (N, C, S, S) in [-1, 1] where the chain starts and ends; log pi after each step (N, K + 1)."""

    before: Tensor
    after: Tensor
    log_density: Tensor


def draw(model: Model, seed: int, n: int, steps: int) -> Iterator[Drawn]:
    """What `model.sample(n, seed=seed, steps=steps)` gives, and what it starts from, in pieces: ever more of them.

    Without an energy network there is no chain, and log pi is (N, 0).

    Raises:
        InputError: a picture is not finite.
    """
    rows: list[Drawn] = []
    for part in working.pieces(n):
        passed = model.data_trajectory(len(part), {0, steps}, seed=seed, keys=part)
        before, after = (passed.states[k].clamp(-1, 1) for k in (0, steps))
        if not (before.isfinite().all() and after.isfinite().all()):
            raise InputError(
                f"the pictures left all numbers: the model is damaged, or {steps} steps are too many for it"
            )
        rows.append(Drawn(before, after, passed.log_density / model.trio.temperature))
        yield Drawn(*map(torch.cat, zip(*rows, strict=True)))


def chain_length(model: Model) -> int:
    """Steps of the chain that the model is used with; 0 without an energy network."""
    return methods.test_chain(model.config.method).steps if model.has("energy") else 0


def show(model: Model, drawn: Drawn, steps: int) -> str:
    """Both sheets, and how log pi grows along the chain."""
    columns = 4 if len(drawn.before) <= 16 else 8
    first = "the generator" if model.has("generator") else "the start"
    if not model.has("energy"):
        return figures.block("What the generator draws", figures.sheet(drawn.before, "Drawn", columns), PLAIN)
    start = "What the generator draws" if model.has("generator") else "Where the chain starts"
    sheets = [
        figures.block(start, figures.sheet(drawn.before, f"From {first}", columns), BEFORE),
        figures.block(
            f"After {steps} steps of the chain", figures.sheet(drawn.after, "After the chain", columns), AFTER
        ),
    ]
    return f'<div class="dm-pair">{"".join(sheets)}</div>{_curve(drawn)}'


def _curve(drawn: Drawn) -> str:
    values = drawn.log_density
    kinds = [("highest", values.amax(0)), ("mean", values.mean(0)), ("lowest", values.amin(0))]
    lines = [(name, column.tolist()) for name, column in kinds]
    gained = number(float((values[:, -1] - values[:, 0]).mean()))
    text = f"{CURVE} Over the chain the mean changes by {gained}."
    return figures.block("How usual the model finds them", figures.curve("Log-density", lines, "step"), text)


def tab(model: Model, key: str, also: Sequence[Any] = ()) -> None:
    """The tab's contents; on the events of `also` it draws without being asked."""
    import gradio as gr

    length = chain_length(model)
    gr.Markdown(ABOUT if model.has("energy") else ABOUT_PLAIN)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            seed = gr.Number(0, label="Seed", info="Another number, other pictures.", precision=0, minimum=0)
            count = gr.Slider(1, COUNT, 16, step=1, label="How many pictures")
            about = f"The model is used with {length}. With 0 the pictures stay as they were."
            steps = gr.Slider(
                0, max(STEPS, length), length, step=1, label="Chain steps", info=about, visible=model.has("energy")
            )
            with gr.Row():
                button = gr.Button("Draw", variant="primary")
                stop = gr.Button("Stop")
            status = gr.HTML(working.READY)
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML(elem_id=f"drawn-{key}")

    def work(seed: Any, count: Any, steps: Any) -> Iterator[tuple[str, str]]:
        n = working.whole(count, "how many pictures", 1, COUNT)
        k = working.whole(steps, "chain steps", 0, max(STEPS, length)) if model.has("energy") else 0
        for drawn in draw(model, working.seeded(seed), n, k):
            found = len(drawn.before)
            line = working.progress(found, n) if found < n else working.done(f"{n} pictures.")
            yield line, show(model, drawn, k)

    working.on_press(button, stop, work, [seed, count, steps], status, shown, key, also=also)


ABOUT = """### Pictures that the model makes up
A **generator** draws quickly. A second network, the **energy network**, knows how usual a picture is; a chain of
small steps, each a little uphill on that and a little random, then revises the drawing."""
ABOUT_PLAIN = """### Pictures that the model makes up
None of them was ever in the training data."""
PLAIN = "This model has no energy network, so there is no chain that revises them."
BEFORE = "Each is made from a handful of random numbers, in one go."
AFTER = "The same pictures, revised. Changes are small: look at *Chain* for where they are.".replace(
    "*Chain*", "<em>Chain</em>"
)
CURVE = (
    "The log-density says how usual the model finds a picture, up to a constant that nobody knows: "
    "only differences mean something. The chain should climb."
)
