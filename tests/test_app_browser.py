"""The page in a real browser: every tab, a painted mask, bad uploads, two visitors, a phone, no other host."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from browser import Browser, opened, serving
from PIL import Image
from tiny import train

from dualmcmc import Model
from dualmcmc.app import picker
from dualmcmc.data.rule import to_float, to_uint8

TABS = {
    "Draw": "#drawn-draw_m0",
    "Chain": "#frames-chain_m0",
    "Reconstruct": "#reconstructed-reconstruct_m0",
    "Inpaint": "#inpainted-inpaint_m0",
    "Interpolate": "#strip-interpolate_m0",
    "Score": "#scored-score_m0",
}
"""Each tab, and where its results are."""
VISIBLE = "const seen = s => [...document.querySelectorAll(s)].filter(e => e.checkVisibility());"
BUSY = f"{VISIBLE} return !seen('.dm-status progress').length"


class App(NamedTuple):
    """Where the page is, what its server says, and the model that it opens on."""

    address: str
    log: Path
    model: Model


@pytest.fixture(scope="module")
def app(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Two models: a tiny one, and one of which a long chain takes seconds."""
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("app")
    train(folder / "slow", {"networks.energy_width": 64, "run.steps": 1})
    with serving([trained, folder / "slow"], folder / "log") as address:
        yield App(address, folder / "log", Model.from_pretrained(trained))


@pytest.fixture(scope="module")
def browsers(app: App) -> Iterator[list[Browser]]:
    with opened(2) as both:
        yield both


@pytest.fixture
def page(app: App, browsers: list[Browser]) -> Iterator[Browser]:
    """A fresh page. Whatever a test does, nothing is complained about, and no other host is asked for anything."""
    page = browsers[0]
    page.size(1200, 900)
    enter(page, app)
    page.log("browser"), page.requests()
    yield page
    assert page.log("browser") == []
    assert [url for url in page.requests() if not url.startswith((app.address, "data:", "blob:"))] == []
    assert "Traceback" not in app.log.read_text()


def enter(page: Browser, app: App) -> None:
    """Opens the page and waits for what it draws by itself."""
    page.go(app.address)
    page.until("return document.querySelectorAll('#drawn-draw_m0 img').length === 32")


def tab(page: Browser, name: str) -> None:
    page.run(f"{VISIBLE} seen('button[role=tab]').find(e => e.innerText.trim() === arguments[0]).click()", name)
    page.until(f"{VISIBLE} return seen('button[role=tab][aria-selected=true]')[0].innerText.trim() === '{name}'")


def press(page: Browser) -> None:
    """The tab's main button."""
    page.run(f"{VISIBLE} seen('button.primary')[0].click()")


def write(page: Browser, label: str, value: int) -> None:
    """A number into the visible field of that name."""
    page.run(
        f"""{VISIBLE}
        const named = e => e.getAttribute('aria-label') === arguments[0]
            || e.getAttribute('aria-label') === 'number input for ' + arguments[0];
        const e = seen('input[type=number]').find(named);
        Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(e, arguments[1]);
        for (const kind of ['input', 'change', 'blur']) e.dispatchEvent(new Event(kind, {{bubbles: true}}));""",
        label,
        value,
    )


def pictures(page: Browser, selector: str) -> np.ndarray:
    """The pictures below a selector, as the model's pixels: uint8 (N, 8, 8)."""
    found = page.run(f"return [...document.querySelectorAll('{selector} img')].map(e => e.src)")
    shown = [Image.open(io.BytesIO(b64decode(source.partition(",")[2]))) for source in found]
    return np.stack([np.asarray(image.convert("L"))[4::8, 4::8] for image in shown])


def like(shown: np.ndarray, images: torch.Tensor) -> bool:
    """Within a level of 255: what another batch may change."""
    theirs = to_uint8(images)[..., 0]
    return shown.shape == theirs.shape and int(np.abs(shown.astype(int) - theirs.astype(int)).max()) <= 1


def send(page: Browser, tab_key: str, paths: list[Path]) -> None:
    """Files through the upload button of a tab."""
    page.run(
        f"""{VISIBLE}
        const all = [...document.querySelectorAll('input[type=file]')];
        all.find(e => e.parentElement.checkVisibility() && e.closest('[role=tabpanel]').checkVisibility())
            .setAttribute('data-test', '{tab_key}')"""
    )
    page.type(f"[data-test={tab_key}]", "\n".join(map(str, paths)))


# -- every tab ------------------------------------------------------------------------------------------


def test_draw_shows_the_models_pictures_of_the_seed(page: Browser, app: App) -> None:
    write(page, "Seed", 5)
    press(page)
    after = "#drawn-draw_m0 .dm-pair > :nth-child(2)"
    wanted = app.model.sample(16, seed=5)
    page.until("return document.querySelectorAll('#drawn-draw_m0 img').length === 32")
    until_shown(page, after, wanted)
    assert page.run("return document.querySelectorAll('#drawn-draw_m0 svg.chart').length") == 1


def until_shown(page: Browser, selector: str, images: torch.Tensor) -> None:
    """Waits until the pictures below a selector are these."""
    for _ in range(100):
        if like(pictures(page, selector), images):
            return
        page.run("return new Promise(done => setTimeout(done, 100))")
    raise AssertionError(f"{selector} never shows what the model gives")


def test_the_chains_slider_shows_each_step(page: Browser, app: App) -> None:
    tab(page, "Chain")
    write(page, "Steps of the data chain", 4)
    press(page)
    page.until("return document.querySelectorAll('#frames-chain_m0 .dm-frames').length === 2")
    for step in (4, 1):
        page.run(
            """const e = document.querySelector('#frames-chain_m0 input[type=range]');
            e.value = arguments[0]; e.dispatchEvent(new Event('input', {bubbles: true}))""",
            step,
        )
        shown = pictures(page, "#frames-chain_m0 .dm-frames:first-of-type .dm-frame:not([hidden])")
        assert like(shown[:1], app.model.sample(1, seed=0, steps=step))
    assert page.run("return document.querySelector('#frames-chain_m0 output').textContent") == "1"


def test_reconstruct_takes_the_picture_that_was_picked(page: Browser, app: App) -> None:
    tab(page, "Reconstruct")
    page.click("#pick-reconstruct_m0 label:nth-of-type(3) img")
    press(page)
    page.until("return document.querySelectorAll('#reconstructed-reconstruct_m0 img').length === 4")
    image = to_float(picker.examples(app.model).pixels[2][None])
    theirs = torch.cat([image, app.model.reconstruct(image, steps=0), app.model.reconstruct(image, steps=30)])
    assert like(pictures(page, "#reconstructed-reconstruct_m0")[:3], theirs)


def test_a_mask_is_painted_by_mouse_and_filled_in(page: Browser, app: App) -> None:
    tab(page, "Inpaint")
    mask = "#mask-inpaint_m0"
    page.until(f"return document.querySelector('{mask} canvas')")
    page.click(f"{mask} button[data-mask=none]")
    assert "0 of 64" in page.run(f"return document.querySelector('{mask} output').textContent")
    page.run(f"document.querySelector('{mask} canvas').scrollIntoView({{block: 'center'}})")
    box = page.run(
        f"const b = document.querySelector('{mask} canvas').getBoundingClientRect(); return [b.x, b.y, b.width]"
    )

    def place(column: int, row: int) -> tuple[int, int]:
        return (round(box[0] + (column + 0.5) * box[2] / 8), round(box[1] + (row + 0.5) * box[2] / 8))

    page.drag([place(2, 1), place(2, 4), place(5, 4)])
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[1:5, 2] = hidden[4, 2:6] = True
    assert f"{int(hidden.sum())} of 64" in page.run(f"return document.querySelector('{mask} output').textContent")
    # The keyboard does the same: where the drag ended, one to the right, one pixel more.
    page.type(f"{mask} canvas", "\ue014 ")
    hidden[4, 6] = True
    write(page, "How many completions", 2)
    press(page)
    page.until("return document.querySelectorAll('#inpainted-inpaint_m0 .dm-sheet img').length === 2")
    image = to_float(picker.examples(app.model).pixels[0][None]).repeat(2, 1, 1, 1)
    theirs = app.model.inpaint(image, hidden, latent_steps=100)
    assert like(pictures(page, "#inpainted-inpaint_m0 .dm-sheet"), theirs)
    assert len(pictures(page, "#inpainted-inpaint_m0 .dm-row")) == 4


def test_interpolate_shows_the_strip(page: Browser, app: App) -> None:
    tab(page, "Interpolate")
    page.click("#pick-interpolate_m0_b label:nth-of-type(4) img")
    press(page)
    page.until("return document.querySelectorAll('#strip-interpolate_m0 img').length === 9")
    known = to_float(picker.examples(app.model).pixels)
    theirs = app.model.interpolate(known[:1], known[3:4], steps=9)[0]
    assert like(pictures(page, "#strip-interpolate_m0"), theirs)


def test_score_ranks_what_was_sent(page: Browser, app: App, tmp_path: Path) -> None:
    tab(page, "Score")
    page.run(f"{VISIBLE} seen('button').find(e => e.innerText === 'Remove all pictures').click()")
    page.until("return document.body.innerText.includes('No pictures yet.')")
    known = picker.examples(app.model).pixels[..., 0]
    sent = {"plain.png": known[0], "grey.png": np.full((8, 8), 128, np.uint8), "turned.png": 255 - known[1]}
    for name, pixels in sent.items():
        Image.fromarray(pixels).save(tmp_path / name)
    send(page, "score", [tmp_path / name for name in sent])
    page.until("return document.body.innerText.includes('3 added.')")
    press(page)
    page.until("return document.querySelectorAll('#scored-score_m0 article').length === 3")
    names = page.run("return [...document.querySelectorAll('#scored-score_m0 h4')].map(e => e.innerText)")
    values = app.model.log_density(to_float(np.stack([*sent.values()])[..., None]))
    assert names == [[*sent][i] for i in values.argsort().tolist()]


# -- what goes wrong ------------------------------------------------------------------------------------


def test_a_bad_upload_is_a_sentence_and_a_good_one_is_chosen(page: Browser, tmp_path: Path) -> None:
    tab(page, "Reconstruct")
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    send(page, "reconstruct", [tmp_path / "bad.png"])
    says = page.until(f"{VISIBLE} return seen('[role=alert].dm-bad').map(e => e.innerText).join()")
    assert says == "bad.png: not a picture in a known format (17 bytes)"
    Image.new("RGB", (40, 20), (255, 255, 255)).save(tmp_path / "good.png")
    send(page, "reconstruct", [tmp_path / "good.png"])
    page.until("return document.querySelectorAll('#pick-reconstruct_m0 input').length === 9")
    checked = "return document.querySelector('#pick-reconstruct_m0 input:checked').getAttribute('aria-label')"
    page.until(f"{checked} === 'Your good.png'")
    press(page)
    page.until("return document.querySelectorAll('#reconstructed-reconstruct_m0 img').length === 4")
    assert (pictures(page, "#reconstructed-reconstruct_m0")[0] == 255).all()


def test_stop_ends_the_work(page: Browser) -> None:
    """A long chain on the slower model: after Stop no picture comes any more."""
    page.run("document.querySelectorAll('fieldset input[type=radio]')[1].click()")
    page.until(f"{VISIBLE} return seen('#drawn-draw_m1').length")
    write(page, "How many pictures", 64)
    write(page, "Chain steps", 300)
    press(page)
    page.until(f"{VISIBLE} return seen('.dm-status progress').length")
    page.run(f"{VISIBLE} seen('button').find(e => e.innerText === 'Stop').click()")
    page.until(f"{VISIBLE} return seen('.dm-status').some(e => e.innerText === 'Stopped.')")
    page.run("return new Promise(done => setTimeout(done, 1500))")
    count = "return document.querySelectorAll('#drawn-draw_m1 img').length"
    there = page.run(count)
    assert there < 128
    page.run("return new Promise(done => setTimeout(done, 1500))")
    assert page.run(count) == there
    assert page.run(f"{VISIBLE} return seen('.dm-status').some(e => e.innerText === 'Stopped.')")


# -- visitors -------------------------------------------------------------------------------------------


def test_two_visitors_at_once_get_their_own(page: Browser, app: App, browsers: list[Browser]) -> None:
    other = browsers[1]
    enter(other, app)
    for one, seed in ((page, 11), (other, 12)):
        write(one, "Seed", seed)
    press(page)
    press(other)
    for one, seed in ((page, 11), (other, 12)):
        until_shown(one, "#drawn-draw_m0 .dm-pair > :nth-child(2)", app.model.sample(16, seed=seed))


def test_everything_that_can_be_used_or_seen_has_a_name(page: Browser) -> None:
    """By the browser's own accessibility tree, on every tab after it was used."""
    roles = {"button", "slider", "spinbutton", "radio", "checkbox", "textbox", "tab", "application"}
    roles |= {"image", "img", "meter", "progressbar", "combobox", "link"}
    page.command("Accessibility.enable")
    counted = set()
    for name, results in TABS.items():
        tab(page, name)
        press(page)
        page.until(f"return document.querySelector('{results} img')")
        page.until(BUSY)
        nodes = [n for n in page.command("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
        used: list[dict[str, Any]] = [n for n in nodes if n.get("role", {}).get("value") in roles]
        nameless = [n["role"]["value"] for n in used if not n.get("name", {}).get("value", "").strip()]
        assert nameless == [], name
        counted |= {n["role"]["value"] for n in used}
    assert counted >= {"button", "slider", "spinbutton", "radio", "checkbox", "tab", "application", "meter"}
    page.command("Accessibility.disable")


def test_nothing_sticks_out_on_a_phone(page: Browser, app: App) -> None:
    page.size(390, 844, phone=True)
    enter(page, app)
    outside = f"""{VISIBLE} return seen('body *').filter(e => !e.closest('[aria-hidden=true]')
        && e.getBoundingClientRect().right > 390.5).map(e => e.outerHTML.slice(0, 80))"""
    for name, results in TABS.items():
        tab(page, name)
        press(page)
        page.until(f"return document.querySelector('{results} img')")
        page.until(BUSY)
        assert page.run(outside) == [], name
        assert page.run("return document.documentElement.scrollWidth") <= 390
    page.size(1200, 900)


def test_pixels_stay_sharp_and_only_the_systems_fonts_are_used(page: Browser) -> None:
    style = "return getComputedStyle(document.querySelector('#drawn-draw_m0 img')).imageRendering"
    assert page.run(style) == "pixelated"
    faces = page.run("return [...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
    assert faces == []
    fonts = page.run("return getComputedStyle(document.body).fontFamily")
    assert re.match(r"system-ui|Arial", fonts)
