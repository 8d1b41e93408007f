"""The page: a heading, a choice where there are several models, and for each model its tabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dualmcmc.app import chain, draw, inpaint, interpolate, picker, reconstruct, score
from dualmcmc.app.picker import Examples
from dualmcmc.model import Model

if TYPE_CHECKING:
    import gradio as gr


class Tab(NamedTuple):
    """A tab, what fills it, and the networks without which it has nothing to show."""

    title: str
    fill: Callable[[Model, Examples, str], None]
    needs: tuple[str, ...]


TABS = (
    Tab("Draw", lambda model, _, key: draw.tab(model, key), ()),
    Tab("Chain", chain.tab, ()),
    Tab("Reconstruct", reconstruct.tab, ("generator",)),
    Tab("Inpaint", inpaint.tab, ("generator",)),
    Tab("Interpolate", interpolate.tab, ("generator",)),
    Tab("Score", score.tab, ("energy",)),
)
NETWORKS = {"generator": "generator", "energy": "energy network"}


def build(models: Sequence[tuple[str, Model]]) -> gr.Blocks:
    """The page of these models, under their names; each name is shown as it is."""
    import gradio as gr

    with gr.Blocks(title="dualmcmc", analytics_enabled=False, delete_cache=(30, 60), fill_width=True) as page:
        gr.HTML(HEADING)
        groups = []
        if len(models) > 1:
            names = [name for name, _ in models]
            choice = gr.Radio(names, value=names[0], label="Model", type="index")
        for i, (name, model) in enumerate(models):
            with gr.Column(visible=i == 0) as group:
                _tabs(name, model, f"m{i}")
            groups.append(group)
        if len(models) > 1:
            choice.change(
                lambda chosen: [gr.Column(visible=i == chosen) for i in range(len(models))],
                choice,
                groups,
                queue=False,
                show_progress="hidden",
                api_visibility="private",
            )
    page.queue(default_concurrency_limit=1, max_size=64)
    return page


def _tabs(name: str, model: Model, key: str) -> None:
    import gradio as gr

    examples = picker.examples(model)
    gr.HTML(_about(name, model))
    with gr.Tabs():
        for tab in TABS:
            with gr.Tab(tab.title):
                lacking = [NETWORKS[part] for part in tab.needs if not model.has(part)]
                if lacking:
                    gr.Markdown(f"### Not with this model\nIt has no {lacking[0]}, which this needs.")
                else:
                    tab.fill(model, examples, f"{tab.title.lower()}_{key}")


def _about(name: str, model: Model) -> str:
    from html import escape

    images, numbers = model.config.images, model.trio.latent_dim
    colours = "in grey" if images.channels == 1 else "in colour"
    learned = (
        f"It learned from {escape(model.config.data)}: pictures of {images.size}×{images.size} pixels {colours}"
    )
    code = f", each of which it can describe by {numbers} numbers" if model.has("generator") else ""
    return f'<p class="about"><b>{escape(name)}</b> {learned}{code}.</p>'


HEADING = """<header class="heading"><h1>dualmcmc</h1>
<p>An <b>energy-based model</b> has learned which pictures are usual. Here it draws new ones, explains yours, fills in what
is hidden and says what is odd. Everything is computed on this machine.</p></header>"""


def looks() -> dict[str, Any]:
    """Theme and style: the system's fonts, nothing from elsewhere."""
    from pathlib import Path

    import gradio as gr

    theme = gr.themes.Soft(
        primary_hue="orange",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return {"theme": theme, "css": Path(__file__).with_name("style.css").read_text(encoding="utf-8")}
