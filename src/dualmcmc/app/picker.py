"""Choosing a picture: some to pick from, and one's own.

The component's value is the number of the chosen picture, as text: examples first, then the visitor's own, which
are kept for that visitor alone, in the model's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from dualmcmc.app import figures, uploads, working
from dualmcmc.app.uploads import Upload
from dualmcmc.data.rule import to_float, to_uint8
from dualmcmc.errors import InputError
from dualmcmc.model import Model

if TYPE_CHECKING:
    import gradio as gr

SHOWN = 8
"""Examples."""
KEPT = 3600
"""Seconds for which a visitor's own pictures are kept after the last one came."""
TEMPLATE = '<fieldset class="dm-picker"><legend>${legend}</legend><div class="dm-tray">${tray}</div></fieldset>'


class Examples(NamedTuple):
    """Pictures to pick from, uint8 (N, S, S, C), and what they are."""

    pixels: np.ndarray
    kind: str


class Picker(NamedTuple):
    """The components that a tab reads."""

    choice: gr.HTML
    own: gr.State


def examples(model: Model) -> Examples:
    """Held-out digits for a model of digits, as these are embedded; for any other, pictures of its own.

    Raises:
        InputError: its own are not finite.
    """
    from dualmcmc import data

    if data.parse(model.config.data).place == "digits":
        held_out = data.load("digits:test", model.config.images)
        return Examples(to_uint8(held_out.tensor(range(SHOWN))), "Held-out digit")
    drawn = model.sample(SHOWN, seed=2023)
    if not drawn.isfinite().all():
        raise InputError("the model's own pictures are no numbers: it is damaged, make or fetch it again")
    return Examples(to_uint8(drawn), "Picture drawn by the model")


def chosen(choice: Any, own: Sequence[Upload], examples: Examples, model: Model) -> Tensor:
    """The chosen picture, (1, C, S, S) in [-1, 1].

    Raises:
        InputError: none is.
    """
    known = [*examples.pixels, *(upload.pixels for upload in own)]
    number = int(choice) if isinstance(choice, str) and choice.isascii() and choice.isdigit() else -1
    if not 0 <= number < len(known):
        raise InputError("no picture is chosen: pick one, or send one of your own")
    return to_float(known[number][None]).to(model.device)


def tray(examples: Examples, own: Sequence[Upload], name: str, number: int) -> str:
    """A radio button per picture."""
    shown = [(pixels, f"{examples.kind} {i}") for i, pixels in enumerate(examples.pixels, 1)]
    shown += [(upload.pixels, f"Your {upload.name}") for upload in own]
    return "".join(
        f'<label><input type="radio" name="{name}" value="{i}" aria-label="{escape(says)}"'
        f"{' checked' if i == number else ''}>"
        f"{figures.picture(pixels, says)}</label>"
        for i, (pixels, says) in enumerate(shown)
    )


def picker(
    model: Model, examples: Examples, legend: str, key: str, *, first: int = 0, visible: bool = True
) -> Picker:
    """The components: pictures to pick from, a button to send one's own."""
    import gradio as gr

    name = f"pick-{key}"
    script = Path(__file__).with_name("picker.js").read_text(encoding="utf-8")
    with gr.Column(visible=visible, min_width=240):
        choice = gr.HTML(
            str(first),
            html_template=TEMPLATE,
            js_on_load=script,
            elem_id=name,
            legend=escape(legend),
            tray=tray(examples, (), name, first),
        )
        upload = gr.UploadButton("Send a picture of your own", file_count="multiple", type="filepath", size="sm")
        status = gr.HTML(working.READY)
        own = gr.State([], time_to_live=KEPT)

    def add(paths: list[str] | None, there: list[Upload]) -> tuple[Any, ...]:
        new, complaints = uploads.read(paths or [], model.config.images, there=len(there))
        if not new:
            return working.bad("; ".join(complaints)), gr.skip(), gr.skip()
        line = working.bad("; ".join(complaints)) if complaints else working.done(ADDED)
        number = len(examples.pixels) + len(there) + len(new) - 1
        update = gr.HTML(str(number), tray=tray(examples, [*there, *new], name, number))
        return line, [*there, *new], update

    upload.upload(
        add,
        [upload, own],
        [status, own, choice],
        api_name=f"send_{key}",
        concurrency_id="uploads",
        concurrency_limit=1,
        show_progress="hidden",
    )
    return Picker(choice, own)


ADDED = "This is how the model sees it: its own size and colours."
