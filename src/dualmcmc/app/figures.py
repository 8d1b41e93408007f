"""Images and curves as HTML that needs nothing else: pixels stay sharp, every picture says what it shows."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import torch
from torch import Tensor

from dualmcmc.data.rule import to_uint8
from dualmcmc.pictures import enlarge, to_pil
from dualmcmc.report import curves


def address(image: Tensor | np.ndarray) -> str:
    """An image (C, S, S) in [-1, 1], or uint8 (S, S, C), enlarged, as the data: address of a PNG."""
    pixels = to_uint8(image[None].cpu())[0] if isinstance(image, Tensor) else image
    times = enlarge(pixels.shape[0])
    file = io.BytesIO()
    to_pil(pixels.repeat(times, axis=0).repeat(times, axis=1)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def picture(image: Tensor | np.ndarray, says: str) -> str:
    """One image; `says` is what a screen reader reads."""
    return f'<img class="dm-pixels" src="{address(image)}" alt="{escape(says)}">'


def figure(image: Tensor | np.ndarray, says: str, caption: str = "") -> str:
    """One image with a line of HTML below it."""
    return f"<figure>{picture(image, says)}<figcaption>{caption}</figcaption></figure>"


def sheet(images: Tensor, says: str, columns: int) -> str:
    """Images (N, C, S, S) as a grid; image i is said to be "says, i of N". A phone has four columns."""
    shown = "".join(picture(image, f"{says}, {i} of {len(images)}") for i, image in enumerate(images, 1))
    return f'<div class="dm-sheet" style="--columns: {columns}">{shown}</div>'


def row(figures: Sequence[str]) -> str:
    """Figures beside one another, as many as fit."""
    return f'<div class="dm-row">{"".join(figures)}</div>'


def block(heading: str, content: str, explanation: str = "") -> str:
    """Something to look at: a heading, a sentence on what one sees, and the thing."""
    below = f"<p>{explanation}</p>" if explanation else ""
    return f'<section class="dm-block"><h3>{escape(heading)}</h3>{below}{content}</section>'


def heat(values: Tensor) -> np.ndarray:
    """A map (S, S) from 0 (black) over red and yellow to 1 (white): uint8 (S, S, 3)."""
    ramp = 3 * values.cpu().double().clamp(0, 1)[..., None] - torch.arange(3)
    return np.asarray((255 * ramp.clamp(0, 1)).round().to(torch.uint8))


def curve(title: str, lines: Sequence[tuple[str, Sequence[float]]], x: str) -> str:
    """Lines over 0, 1, ..., drawn as a chart with their names, under a heading of their own."""
    drawn = curves.draw(
        curves.Panel(
            title=title,
            unit="",
            lines=[
                curves.Line("", name, list(enumerate(map(float, values))), series_index=i)
                for i, (name, values) in enumerate(lines)
            ],
            x=x,
            smooth=False,
        )
    )
    if drawn is None:
        return "<p>There is nothing finite to draw.</p>"
    keys = "".join(
        f'<li><svg class="key" viewBox="0 0 24 10" aria-hidden="true"><path class="l {key.classes}" d="M0 5H24"/>'
        f"</svg>{escape(key.text)}</li>"
        for key in drawn.keys
    )
    return f'<figure class="chart">{drawn.svg}<ul class="dm-keys">{keys}</ul></figure>'
