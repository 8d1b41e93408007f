"""A slider over frames that are all in the page already: moving it asks nobody (player.js)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr

TEMPLATE = """
<div class="dm-player" hidden>
  <button type="button" class="dm-play">Play</button>
  <label>Step <input type="range" min="0" max="0" value="0" step="1"> <output>0</output></label>
</div>
<div class="dm-shown">${value}</div>
"""


def player(name: str) -> gr.HTML:
    """A component whose value is HTML with `.frames`, of whose children one is not hidden."""
    import gradio as gr

    script = Path(__file__).with_name("player.js").read_text(encoding="utf-8")
    return gr.HTML("", html_template=TEMPLATE, js_on_load=script, elem_id=name)
