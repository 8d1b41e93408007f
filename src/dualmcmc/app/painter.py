"""Painting a mask over a picture, with a mouse, a finger or the keyboard (painter.js).

One cell is one pixel of the model. The component's value is the mask as text, a 1 for each hidden pixel, row by
row: nobody's picture travels back, and there is nothing to decode.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dualmcmc.errors import InputError

if TYPE_CHECKING:
    import gradio as gr

TEMPLATE = """
<div class="dm-painter">
  <p id="${name}-how">Paint over what should be hidden: with mouse or finger, or with arrow keys and space.</p>
  <canvas tabindex="0" role="application" aria-label="Mask over the picture" aria-describedby="${name}-how">
  </canvas>
  <div class="dm-tools">
    <label>Brush width, in pixels <input type="range" class="dm-brush" min="1" step="1"></label>
    <label><input type="checkbox" class="dm-erase"> Erase</label>
    <button type="button" data-mask="none">Clear</button>
    <button type="button" data-mask="top">Hide the top half</button>
    <button type="button" data-mask="centre">Hide the middle</button>
  </div>
  <output role="status"></output>
</div>
"""


def painter(name: str, picture: str, size: int) -> gr.HTML:
    """The component, over a picture's address; the middle is hidden at first."""
    import gradio as gr

    script = Path(__file__).with_name("painter.js").read_text(encoding="utf-8")
    mask = "".join("01"[int(hidden)] for hidden in middle(size).flatten())
    return gr.HTML(
        mask, html_template=TEMPLATE, js_on_load=script, elem_id=name, name=name, picture=picture, size=size
    )


def middle(size: int) -> np.ndarray:
    """The mask at first: a centred square of half the side, bool (S, S)."""
    mask, first = np.zeros((size, size), bool), size // 4
    mask[first : first + size // 2, first : first + size // 2] = True
    return mask


def mask_of(value: Any, size: int) -> Tensor:
    """The painted mask, bool (1, 1, S, S), True where a pixel is hidden.

    Raises:
        InputError: nothing is hidden, or it is no mask of that size.
    """
    if not isinstance(value, str) or len(value) != size * size or set(value) - {"0", "1"}:
        raise InputError(f"the mask has to be {size * size} digits, 1 for each hidden pixel and 0 for all others")
    if "1" not in value:
        raise InputError("nothing is hidden: paint over a part of the picture first")
    return torch.tensor([c == "1" for c in value]).reshape(1, 1, size, size)
