"""Score: how usual pictures are, ranked, each with where it surprises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from dualmcmc.app import figures, uploads, working
from dualmcmc.app.picker import KEPT, Examples
from dualmcmc.app.uploads import Upload
from dualmcmc.data.rule import to_float
from dualmcmc.errors import InputError
from dualmcmc.model import Model
from dualmcmc.report.numbers import number


class Scored(NamedTuple):
    """One picture: log pi up to a constant, reconstruction error (NaN without a generator), percentile 0 to 100,
    and the maps (S, S) of where it surprises, by name, in [0, 1]."""

    upload: Upload
    log_density: float
    error: float
    percentile: float
    maps: dict[str, Tensor]


def score(model: Model, pictures: Sequence[Upload], seed: int) -> Iterator[list[Scored]]:
    """`model.score` of pictures under keys 0, 1, ..., in pieces: ever more of them, the least usual first."""
    seen: list[Scored] = []
    for part in working.pieces(len(pictures)):
        x = to_float(np.stack([pictures[i].pixels for i in part])).to(model.device)
        scores, maps = model.score(x, seed=seed, keys=part), _maps(model, x, seed, part)
        for j, i in enumerate(part):
            usual, error, percentile = (float(column[j]) for column in scores)
            own = {name: rows[j] for name, rows in maps.items()}
            seen.append(Scored(pictures[i], usual, error, percentile, own))
        yield sorted(seen, key=lambda one: one.log_density)


def _maps(model: Model, x: Tensor, seed: int, keys: range) -> dict[str, Tensor]:
    """As `score --heatmap` draws them: a residual of 1 of [-1, 1]'s 2 is white, and so is the steepest pixel."""
    residual = None
    if model.has("generator"):
        residual, steep = model.surprise(x, seed=seed, keys=keys)
    else:
        steep = model.gradient(x)[1].norm(dim=1)
    pull = steep / steep.flatten(1).amax(1).clamp_min(1e-30)[:, None, None]
    return {"pull": pull} if residual is None else {"miss": residual.clamp(max=1), "pull": pull}


def odd_ones(examples: Examples) -> list[Upload]:
    """Four examples, and three pictures that are none of their kind: noise, an inverted and a striped one."""
    first = [Upload(f"{examples.kind.lower()} {i + 1}", examples.pixels[i]) for i in range(4)]
    noise = np.random.default_rng(0).integers(0, 256, examples.pixels[0].shape, dtype=np.uint8)
    striped = examples.pixels[2].copy()
    striped[:, ::2] = 255 - striped[:, ::2]
    return [
        *first,
        Upload("noise", noise),
        Upload("inverted", 255 - examples.pixels[1]),
        Upload("striped", striped),
    ]


def show(scored: Sequence[Scored]) -> str:
    """The ranking, the least usual first."""
    return figures.block("The least usual first", "".join(map(_card, scored)), RANKING)


def _card(one: Scored) -> str:
    name = escape(one.upload.name)
    panels = [figures.figure(one.upload.pixels, one.upload.name, "as the model sees it")]
    captions = {"miss": "what it cannot redraw", "pull": "what it would change"}
    for kind, values in one.maps.items():
        panels.append(figures.figure(figures.heat(values), f"{one.upload.name}: {captions[kind]}", captions[kind]))
    rank = _percent(one.percentile)
    meter = f'<meter min="0" max="100" value="{one.percentile:.1f}" aria-label="percentile of {name}"></meter>'
    error = "" if np.isnan(one.error) else f"<li>reconstruction error {number(one.error)}</li>"
    return (
        f'<article class="dm-card"><h4>{name}</h4>{figures.row(panels)}<div>{meter}'
        f"<p>More usual than <b>{rank} %</b> of the training pictures.</p>"
        f"<ul><li>log-density {number(one.log_density)}</li>{error}</ul></div></article>"
    )


def _percent(percentile: float) -> str:
    if percentile < 0.1:
        return "less than 0.1"
    return f"{percentile:.1f}" if percentile < 10 or percentile > 99 else f"{percentile:.0f}"


def tray(pictures: Sequence[Upload]) -> str:
    """The pictures that would be scored."""
    if not pictures:
        return "<p>No pictures yet.</p>"
    return f'<div class="dm-tray">{"".join(figures.picture(one.pixels, one.name) for one in pictures)}</div>'


def tab(model: Model, examples: Examples, key: str) -> None:
    """The tab's contents."""
    import gradio as gr

    if model.training_scores is None:
        gr.Markdown(UNKNOWN)
        return
    gr.Markdown(ABOUT)
    start = odd_ones(examples)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            shelf = gr.HTML(tray(start))
            upload = gr.UploadButton(
                "Send pictures of your own", file_count="multiple", type="filepath", size="sm"
            )
            clear = gr.Button("Remove all pictures", size="sm")
            sent = gr.HTML(working.READY)
            seed = gr.Number(0, label="Seed", info="Of the reconstruction's chain.", precision=0, minimum=0)
            with gr.Row():
                button = gr.Button("Score", variant="primary")
                stop = gr.Button("Stop")
            status = gr.HTML(working.READY)
            pictures = gr.State(start, time_to_live=KEPT)
        with gr.Column(scale=3, min_width=280):
            shown = gr.HTML(elem_id=f"scored-{key}")

    def add(paths: list[str] | None, there: list[Upload]) -> tuple[Any, ...]:
        new, complaints = uploads.read(paths or [], model.config.images, there=len(there))
        line = working.bad("; ".join(complaints)) if complaints else working.done(f"{len(new)} added.")
        return line, [*there, *new], tray([*there, *new])

    def work(pictures: list[Upload], seed: Any) -> Iterator[tuple[str, str]]:
        if not pictures:
            raise InputError("there is no picture to score: send some first")
        for scored in score(model, pictures, working.seeded(seed)):
            n, total = len(scored), len(pictures)
            yield working.progress(n, total) if n < total else working.done(f"{n} pictures."), show(scored)

    how: dict[str, Any] = {"concurrency_id": "uploads", "concurrency_limit": 1, "show_progress": "hidden"}
    upload.upload(add, [upload, pictures], [sent, pictures, shelf], api_name=f"send_{key}", **how)
    clear.click(
        lambda: (working.READY, [], tray([])), None, [sent, pictures, shelf], api_visibility="private", **how
    )
    working.on_press(button, stop, work, [pictures, seed], status, shown, key)


ABOUT = """### How usual is a picture?
The energy network gives every picture a score. By itself the number says little, so it is compared with the scores
of the training pictures: below a few percent, a picture is unlike what the model has learned. Send some, or try
those that are here."""
UNKNOWN = """### How usual is a picture?
This model holds no scores of its training pictures, so there is nothing to compare with. `model.calibrate(images)`
finds them, and `save_pretrained` keeps them."""
RANKING = (
    "Bright spots show where a picture surprises: what the model cannot redraw from a code, and which pixels it "
    "would change to make the picture more usual. Unseen pictures score a little lower than training pictures."
)
