"""The page: a heading, a choice where there are several models, and for each model its tabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dualmcmc.app import chain, draw, inpaint, interpolate, picker, reconstruct, score
from dualmcmc.model import Model

if TYPE_CHECKING:
    import gradio as gr


class Tab(NamedTuple):
    """A tab, what fills it, and the networks without which it has nothing to show."""

    title: str
    fill: Callable[..., None]
    needs: tuple[str, ...]


TABS = (
    Tab("Draw", draw.tab, ()),
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
                _tabs(name, model, f"m{i}", [page.load] if i == 0 else [])
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


def _tabs(name: str, model: Model, key: str, opening: Sequence[Any]) -> None:
    """A model's tabs; on the events of `opening` the first one draws."""
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
                    own = {"also": opening} if tab.title == "Draw" else {"examples": examples}
                    tab.fill(model, key=f"{tab.title.lower()}_{key}", **own)


def _about(name: str, model: Model) -> str:
    images, numbers = model.config.images, model.trio.latent_dim
    colours = "in grey" if images.channels == 1 else "in colour"
    learned = (
        f"has learned from {escape(Path(model.config.data).name)}, {images.size}×{images.size} pixels {colours}"
    )
    code = f"; it describes a picture by {numbers} numbers" if model.has("generator") else ""
    return f'<p class="dm-about"><b>{escape(name)}</b> {learned}{code}.</p>'


HEADING = """<header class="dm-heading"><h1>dualmcmc</h1>
<p>An <b>energy-based model</b> has learned which pictures are usual. Here it draws new ones, explains yours,
fills in what is hidden and says what is odd. Everything is computed on this machine.</p></header>"""


def looks() -> dict[str, Any]:
    """Theme and style: the system's fonts, nothing from elsewhere."""
    import gradio as gr

    theme = gr.themes.Default(
        primary_hue="orange",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        # White on the hue's 500 and grey on white are too faint to read for many.
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
    )
    return {"theme": theme, "css": Path(__file__).with_name("style.css").read_text(encoding="utf-8")}
