"""Work that shows how far it is and can be stopped; and bad input, said in a sentence.

gradio calls a generator again for each thing it yields, and no more once the visitor has pressed Stop: so work is
cut into pieces of about half a second, and ends with the piece that is being computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from html import escape
from time import monotonic
from typing import TYPE_CHECKING, Any

from dualmcmc.errors import InputError

if TYPE_CHECKING:
    import gradio as gr

SECONDS = 0.4
"""Of a piece of work."""
MOST = 64
"""Images in a piece."""
SEED = (1 << 53) - 1
"""The largest seed: beyond, a browser's numbers have gaps."""
SCROLL = "() => { if (innerWidth < 640) document.getElementById('%s').scrollIntoView({behavior: 'smooth'}); }"
READY = '<p class="dm-status" role="status"></p>'
STOPPED = '<p class="dm-status" role="status">Stopped.</p>'


def pieces(n: int) -> Iterator[range]:
    """range(n) in parts: the first holds one image, any other as many as take `SECONDS`, going by the last one."""
    first, size = 0, 1
    while first < n:
        started = monotonic()
        part = range(first, min(first + size, n))
        yield part
        size = max(1, min(MOST, int(len(part) * SECONDS / max(monotonic() - started, 1e-3))))
        first = part.stop


def progress(done: int, total: int, what: str = "pictures") -> str:
    """The status line of work under way, with a bar."""
    bar = f'<progress max="{total}" value="{done}" aria-label="progress"></progress>'
    return f'<p class="dm-status" role="status">{bar} {done} of {total} {what}</p>'


def done(text: str) -> str:
    """The status line of finished work."""
    return f'<p class="dm-status" role="status">{escape(text)}</p>'


def bad(text: str) -> str:
    """The status line of what cannot be used."""
    return f'<p class="dm-status dm-bad" role="alert">{escape(text)}</p>'


def whole(value: Any, name: str, low: int, high: int) -> int:
    """A whole number that the page, or whoever talks to it, sent.

    Raises:
        InputError: it is none, or not from low to high.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
    if not number or not low <= value <= high or int(value) != value:
        raise InputError(f"{name}: give a whole number from {low} to {high}")
    return int(value)


def seeded(value: Any) -> int:
    """A seed that the page sent.

    Raises:
        InputError: see `whole`.
    """
    return whole(value, "the seed", 0, SEED)


def saying(work: Callable[..., Iterator[tuple[Any, ...]]], outputs: int) -> Callable[..., Any]:
    """`work`, an `InputError` of which becomes the status line; what is shown beside it stays."""

    @wraps(work)
    def told(*args: Any) -> Iterator[tuple[Any, ...]]:
        import gradio as gr

        try:
            yield from work(*args)
        except InputError as error:
            yield (bad(str(error)), *[gr.skip() for _ in range(outputs)])

    return told


def on_press(
    button: gr.Button,
    stop: gr.Button,
    work: Callable[..., Iterator[tuple[Any, ...]]],
    inputs: list[Any],
    status: gr.HTML,
    shown: gr.HTML,
    name: str,
    *,
    also: Sequence[Any] = (),
) -> None:
    """`work` when `button` is pressed, or on the events of `also`, until it ends or `stop` is pressed.

    It yields the status line and what is shown.
    """
    import gradio as gr

    event = gr.on(
        [button.click, *also],
        saying(work, 1),
        inputs,
        [status, shown],
        api_name=name,
        concurrency_id="model",  # of all tabs, models and visitors: one at a time
        concurrency_limit=1,
        show_progress="hidden",
    )
    stop.click(lambda: STOPPED, None, status, cancels=[event], queue=False, api_visibility="private")
    # On a phone results lie below the controls: whoever has pressed the button wants to see them.
    button.click(None, None, None, js=SCROLL % shown.elem_id, api_visibility="private")
