"""The page without a browser: what tabs show is what the model says; what cannot be used gets a sentence."""

from __future__ import annotations

import errno
import io
import json
import random
import re
import socket
import struct
import subprocess
import sys
import zlib
from base64 import b64decode
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import torch
from browser import serving
from PIL import Image
from tiny import train

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import uploads as malformed

from dualmcmc import Model, cli
from dualmcmc.app import chain, draw, figures, inpaint, interpolate, picker, reconstruct, score, uploads, working
from dualmcmc.app.page import TABS
from dualmcmc.app.painter import mask_of, middle
from dualmcmc.app.uploads import Upload
from dualmcmc.data import parse
from dualmcmc.data.rule import to_float, to_uint8
from dualmcmc.errors import InputError
from dualmcmc.settings import Images
from dualmcmc.storage.bundled import NAMES

ROUNDING = 1e-4
"""What another batch may change, in [-1, 1]."""
GREY = Images(size=8, channels=1)


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return Model.from_pretrained(trained)


@pytest.fixture(scope="module")
def digits(model: Model) -> picker.Examples:
    return picker.examples(model)


def last(steps: Any) -> Any:
    *_, end = steps
    return end


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= ROUNDING)


# -- what is shown is what the model says ---------------------------------------------------------------


def test_draw_shows_what_sample_gives_for_the_seed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the work was cut; the curve is log pi of what is shown."""
    for most in (1, 64):
        monkeypatch.setattr(working, "MOST", most)
        drawn = last(draw.draw(model, 7, 5, 3))
        assert close(drawn.before, model.sample(5, seed=7, steps=0))
        assert close(drawn.after, model.sample(5, seed=7, steps=3))
        assert drawn.log_density.shape == (5, 4)
        start = model.log_density(drawn.before)
        torch.testing.assert_close(drawn.log_density[:, 0], start, rtol=1e-3, atol=1.0)


def test_draw_grows_and_what_is_there_stays(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "MOST", 2)
    seen = list(draw.draw(model, 0, 5, 3))
    assert [len(one.before) for one in seen] == [1, 3, 5]
    for one in seen:
        assert torch.equal(one.after, seen[-1].after[: len(one.after)])


def test_another_seed_gives_other_pictures_and_the_same_seed_the_same(model: Model) -> None:
    first, again, other = (last(draw.draw(model, seed, 3, 2)).after for seed in (1, 1, 2))
    assert close(first, again)
    assert not close(first, other)


def test_the_chains_frames_end_where_sample_and_reconstruct_end(model: Model, digits: picker.Examples) -> None:
    frames = chain.data_chain(model, 3, 4)
    assert len(frames.images) == len(frames.climbs) == 5
    for k in (0, 2, 4):
        assert close(frames.images[k : k + 1], model.sample(1, seed=3, steps=k))
    image = to_float(digits.pixels[2][None])
    frames = chain.latent_chain(model, image, 3, 4)
    for k in (0, 2, 4):
        assert close(frames.images[k : k + 1], model.reconstruct(image, seed=3, steps=k))


def test_changes_are_enlarged_as_far_as_they_stay_within_range() -> None:
    for largest, times in ((0.0, 1), (0.3, 2), (1.7, 1), (0.004, 200), (0.5, 2), (0.19, 5)):
        images = torch.zeros(2, 1, 2, 2)
        images[1, 0, 0, 0] = largest
        assert chain.gain(chain.Frames(images, [0.0, 1.0])) == times


def test_reconstruct_shows_the_guess_and_the_chains_end(model: Model, digits: picker.Examples) -> None:
    image = to_float(digits.pixels[1][None])
    found = reconstruct.reconstruct(model, image, 5, 6)
    assert close(found.guessed, model.reconstruct(image, steps=0))
    assert close(found.found, model.reconstruct(image, seed=5, steps=6))
    page = reconstruct.show(model, found, 6)
    assert f"{reconstruct.error(image, found.found):.4g}"[:5] in page


def test_completions_are_the_librarys_and_differ_in_hidden_pixels_alone(
    model: Model, digits: picker.Examples
) -> None:
    image, hidden = to_float(digits.pixels[3][None]), torch.from_numpy(middle(8))[None, None]
    found = last(inpaint.complete(model, image, hidden, 2, 3, 5))
    theirs = model.inpaint(image.repeat(3, 1, 1, 1), hidden, seed=2, latent_steps=5)
    assert close(found.pasted, theirs)
    shown = found.pasted.masked_select(~hidden).reshape(3, -1)
    assert all(torch.equal(row, image.masked_select(~hidden)) for row in shown)
    assert not close(found.pasted[:1], found.pasted[1:2])
    stages = model.inpainting_stages(image.repeat(3, 1, 1, 1), hidden, seed=2, latent_steps=5)
    assert [*found.stages] == ["inference", "latent_chain", "data_chain"]
    assert all(close(ours, it) for ours, it in zip(found.stages.values(), stages[:3], strict=True))


def test_what_lies_below_the_mask_changes_nothing(model: Model, digits: picker.Examples) -> None:
    hidden = torch.from_numpy(middle(8))[None, None]
    image = to_float(digits.pixels[3][None])
    other = torch.where(hidden, -image, image)
    first, second = (last(inpaint.complete(model, x, hidden, 0, 1, 3)).pasted for x in (image, other))
    assert torch.equal(first, second)


def test_the_strip_is_interpolates_and_its_curve_is_log_density(model: Model, digits: picker.Examples) -> None:
    a, b = (to_float(digits.pixels[i][None]) for i in (0, 4))
    for name, path in interpolate.PATHS.items():
        strip = interpolate.between(model, a, b, 5, name, 1)
        assert close(strip.images, model.interpolate(a, b, steps=5, path=path, seed=1)[0])  # type: ignore[arg-type]
        torch.testing.assert_close(strip.log_density, model.log_density(strip.images))


def test_the_ranking_is_scores_ranking_the_least_usual_first(model: Model, digits: picker.Examples) -> None:
    pictures = score.odd_ones(digits)
    ranked = last(score.score(model, pictures, 4))
    x = to_float(np.stack([one.pixels for one in pictures]))
    theirs = model.score(x, seed=4)
    order = theirs.log_density.argsort().tolist()
    assert [one.upload.name for one in ranked] == [pictures[i].name for i in order]
    for one, i in zip(ranked, order, strict=True):
        assert abs(one.error - float(theirs.reconstruction_mse[i])) < ROUNDING
        assert abs(one.percentile - float(theirs.percentile[i])) < 0.1
        maps = model.surprise(x[i : i + 1], seed=4, keys=[i])
        assert close(one.maps["miss"], maps.residual[0].clamp(max=1))
    page = score.show(ranked)
    places = [page.index(f"<h4>{one.upload.name}</h4>") for one in ranked]
    assert places == sorted(places)


def test_pictures_are_shown_as_they_are_and_say_what_they_show(digits: picker.Examples) -> None:
    """PNG, every pixel repeated; a name cannot break out of its attribute."""
    html = figures.picture(digits.pixels[0], 'a "><script> b')
    encoded = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert encoded
    shown = np.asarray(Image.open(io.BytesIO(b64decode(encoded[1]))))
    assert np.array_equal(shown[::8, ::8], digits.pixels[0][..., 0])
    assert "<script>" not in html
    assert 'alt="a &quot;&gt;&lt;script&gt; b"' in html


def test_heat_goes_from_black_over_red_and_yellow_to_white() -> None:
    colours = figures.heat(torch.tensor([[0.0, 1 / 3, 2 / 3, 1.0]]))[0]
    assert colours.tolist() == [[0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255]]


# -- work in pieces ---------------------------------------------------------------------------------


def test_pieces_cover_all_and_the_first_is_one() -> None:
    for n in (0, 1, 2, 200):
        parts = list(working.pieces(n))
        assert [i for part in parts for i in part] == list(range(n))
        assert all(len(part) <= working.MOST for part in parts)
        assert n == 0 or len(parts[0]) == 1


def test_work_that_is_no_longer_asked_for_is_not_done(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Stop does: gradio takes nothing more from the generator."""
    monkeypatch.setattr(working, "MOST", 1)
    calls, whole = [], Model.data_trajectory

    def counted(self: Model, *args: Any, **options: Any) -> Any:
        calls.append(options["keys"])
        return whole(self, *args, **options)

    monkeypatch.setattr(Model, "data_trajectory", counted)
    steps = draw.draw(model, 0, 50, 1)
    next(steps)
    next(steps)
    steps.close()
    assert calls == [range(1), range(1, 2)]


@pytest.mark.parametrize("value", [None, "7", True, -1, 1.5, float("nan"), float("inf"), 1e30, [1]])
def test_no_whole_number_is_said_so(value: Any) -> None:
    with pytest.raises(InputError, match=r"the seed: give a whole number from 0 to \d+"):
        working.seeded(value)
    assert working.seeded(3.0) == 3


def test_bad_input_is_a_sentence_on_the_page() -> None:
    def work() -> Any:
        yield working.progress(1, 2), "something"
        raise InputError("no <b>such</b> thing")

    *_, (status, shown) = working.saying(work, 1)()
    assert 'role="alert"' in status
    assert "no &lt;b&gt;such&lt;/b&gt; thing" in status
    assert shown["__type__"] == "update"
    assert "value" not in shown


# -- what visitors choose, paint and send -------------------------------------------------------------


@pytest.mark.parametrize("choice", [None, "", "8", "-1", "x", "²", 3, "1e2"])
def test_a_picture_that_is_none_of_them_is_refused(choice: Any, model: Model, digits: picker.Examples) -> None:
    with pytest.raises(InputError, match="no picture is chosen"):
        picker.chosen(choice, [], digits, model)


def test_ones_own_pictures_come_after_the_examples(model: Model, digits: picker.Examples) -> None:
    own = [Upload("mine", np.full((8, 8, 1), 255, np.uint8))]
    assert torch.equal(picker.chosen("8", own, digits, model), torch.ones(1, 1, 8, 8))
    assert torch.equal(picker.chosen("2", own, digits, model), to_float(digits.pixels[2][None]))
    html = picker.tray(digits, own, "n", 8)
    assert html.count("checked") == 1
    assert 'value="8" aria-label="Your mine" checked' in html


def test_examples_are_held_out_digits_or_the_models_own(model: Model, digits: picker.Examples) -> None:
    from dualmcmc import data

    held_out = data.load("digits:test", model.config.images).tensor(range(picker.SHOWN))
    assert np.array_equal(digits.pixels, to_uint8(held_out))


@pytest.mark.parametrize("value", [None, "", "1" * 63, "2" * 64, "1" * 63 + "\n", 1, "0" * 64])
def test_what_is_no_mask_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"the mask has to be 64 digits|nothing is hidden"):
        mask_of(value, 8)


def test_a_mask_is_read_row_by_row() -> None:
    mask = mask_of("1" + "0" * 8 + "1" + "0" * 54, 8)
    assert mask.shape == (1, 1, 8, 8)
    assert mask[0, 0].nonzero().tolist() == [[0, 0], [1, 1]]


def png(width: int, height: int, *, rows: bytes = b"") -> bytes:
    """A PNG that says it is so large, whatever it holds."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


MALFORMED = {
    "empty.png": (b"", "not a picture"),
    "noise.png": (np.random.default_rng(0).bytes(500), "not a picture"),
    "text.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    "cut.png": (encoded(Image.effect_noise((64, 64), 50))[:900], "cannot be decoded"),
    "huge.png": (png(30_000, 30_000), "more than"),
    "wide.png": (png(6_000_000, 5), "more than 25,000,000 pixels"),
    "float.tiff": (encoded(Image.new("F", (8, 8)), "TIFF"), "floating-point"),
}
FINE = {
    "grey.png": encoded(Image.new("L", (20, 10), 128)),
    "deep.png": encoded(Image.fromarray(np.full((9, 9), 30_000, np.uint16))),
    "cmyk.jpg": encoded(Image.new("CMYK", (9, 9)), "JPEG"),
    "palette.png": encoded(Image.new("P", (9, 9)), transparency=0),
    "moving.gif": encoded(
        Image.new("L", (9, 9)), "GIF", save_all=True, append_images=[Image.new("L", (9, 9), 200)]
    ),
    "bit.bmp": encoded(Image.new("1", (9, 9)), "BMP"),
    "wrong.txt": encoded(Image.new("RGBA", (9, 9), (1, 2, 3, 4))),
}


def put(folder: Path, name: str, content: bytes) -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_upload_gets_a_sentence_with_its_name(name: str, tmp_path: Path) -> None:
    content, says = MALFORMED[name]
    pictures, complaints = uploads.read([put(tmp_path, name, content)], GREY)
    assert pictures == []
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{name}: ")
    assert says in complaints[0]
    assert "\n" not in complaints[0]
    assert str(tmp_path) not in complaints[0]


@pytest.mark.parametrize("name", FINE)
def test_an_odd_upload_becomes_a_picture_of_the_models_size(name: str, tmp_path: Path) -> None:
    (picture,), complaints = uploads.read([put(tmp_path, name, FINE[name])], GREY)
    assert complaints == []
    assert picture.pixels.shape == (8, 8, 1)
    assert picture.pixels.dtype == np.uint8


def test_pixels_and_bytes_are_counted_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any) -> None:
        raise AssertionError("decoded")

    paths = [put(tmp_path, "wide.png", png(6_000_000, 5)), put(tmp_path, "long.png", b"\x89PNG" + bytes(99))]
    monkeypatch.setattr(uploads, "BYTES", 90)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    pictures, (wide, long) = uploads.read(paths, GREY)
    assert pictures == []
    assert "6000000x5, more than 25,000,000 pixels" in wide
    assert "it has 103 bytes, more than 90" in long


def test_good_ones_among_bad_ones_are_kept_and_no_more_than_the_limit(tmp_path: Path) -> None:
    good = [put(tmp_path, f"{i}.png", FINE["grey.png"]) for i in range(uploads.COUNT)]
    bad = put(tmp_path, "bad.png", b"no")
    pictures, complaints = uploads.read([bad, *good], GREY)
    assert [one.name for one in pictures] == [f"{i}.png" for i in range(uploads.COUNT - 1)]
    assert complaints[1] == "16 pictures are taken at most: 1 left out, clear some first"
    pictures, complaints = uploads.read(good[:2], GREY, there=uploads.COUNT)
    assert pictures == []
    assert complaints == ["16 pictures are taken at most: 2 left out, clear some first"]


def test_a_file_that_is_gone_is_a_sentence_too(tmp_path: Path) -> None:
    assert uploads.read([str(tmp_path / "gone.png")], GREY) == (
        [],
        ["gone.png: the file cannot be read (No such file or directory): send another"],
    )


def test_a_long_name_keeps_its_end() -> None:
    short = uploads.shortened("x" * 300 + ".jpeg")
    assert len(short) == uploads.NAME
    assert short.endswith("….jpeg"[1:])


@pytest.mark.parametrize("kind", [kind for kind in malformed.KINDS if kind != "as large as is taken"])
def test_what_the_benchmark_sends_is_refused_in_a_sentence_or_taken(kind: str, tmp_path: Path) -> None:
    dice = random.Random(3)
    for _ in range(4):
        sent = malformed.KINDS[kind](dice)
        pictures, complaints = uploads.read([put(tmp_path, sent.name, sent.content)], GREY)
        assert len(pictures) + len(complaints) == 1
        assert sent.taken is None or sent.taken == bool(pictures), complaints
        assert not complaints or "\n" not in complaints[0]


# -- the page and the command ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "lacks", "has"),
    [
        ("short_run", ["Reconstruct", "Inpaint", "Interpolate"], ["Draw", "Chain", "Score"]),
        ("vae", ["Score"], ["Draw", "Reconstruct", "Inpaint", "Interpolate"]),
    ],
)
def test_a_tab_that_a_model_cannot_fill_says_why(
    method: str, lacks: list[str], has: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("gradio")
    from dualmcmc.app.page import TABS

    train(tmp_path / "run", method=method)
    model = Model.from_pretrained(tmp_path / "run")
    said = {tab.title: all(model.has(part) for part in tab.needs) for tab in TABS}
    assert [name for name in said if not said[name]] == lacks
    texts = _texts(tmp_path / "run")
    assert sum("Not with this model" in text for text in texts) == 2 * len(lacks)
    assert last(draw.draw(model, 0, 2, draw.chain_length(model))).after.shape == (2, 1, 8, 8)
    assert all(said[name] for name in has)


def _texts(run: Path) -> list[str]:
    """What the page's Markdown says; in a process of its own, as gradio leaves event loops behind."""
    script = """
import json, sys
import gradio as gr
from dualmcmc import Model
from dualmcmc.app.page import build
model = Model.from_pretrained(sys.argv[1])
page = build([("one", model), ("two", model)])
print(json.dumps([b.value for b in page.blocks.values() if isinstance(b, gr.Markdown)]))
"""
    done = subprocess.run([sys.executable, "-c", script, str(run)], capture_output=True, text=True, check=True)
    texts: list[str] = json.loads(done.stdout)
    return texts


def test_every_answer_carries_the_policy_and_nothing_is_told_to_anyone(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from dualmcmc.app.serving import POLICY

    with serving([trained], tmp_path / "log") as address:
        assert address.startswith("http://127.0.0.1:")
        found = {}
        for place in ("/", "/theme.css", "/config"):
            with urlopen(address + place, timeout=20) as answer:
                assert answer.headers["Content-Security-Policy"] == POLICY
                found[place] = answer.read().decode()
        assert json.loads(found["/config"])["analytics_enabled"] is False
        assert not re.search(r"url\(.?(https?:|//)|@import", found["/theme.css"])
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_page_answers_to_its_own_address_alone_and_bounds_uploads(trained: Path, tmp_path: Path) -> None:
    """A name that leads here from elsewhere is refused (DNS rebinding), and so is more than a visitor may have."""
    pytest.importorskip("gradio")
    upload = "/gradio_api/upload"
    many = str(uploads.COUNT * uploads.BYTES + 1)
    wanted = [
        ("GET", "/", {"Host": "evil.example"}, 400),
        ("POST", upload, {"Host": "evil.example:80", "Content-Length": "1"}, 400),
        ("POST", upload, {"Content-Length": many}, 413),
        ("POST", upload, {"Transfer-Encoding": "chunked"}, 411),
        ("POST", upload, {"Transfer-Encoding": "chunked", "Content-Length": "1"}, 411),
    ]
    with serving([trained], tmp_path / "log") as address:
        place = address.removeprefix("http://")
        for method, path, headers, code in wanted:
            connection = HTTPConnection(place, timeout=20)
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status == code, headers
            connection.close()
        port = place.rpartition(":")[2]
        with urlopen(f"http://localhost:{port}/config", timeout=20) as answer:
            assert answer.status == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_chains_longer_than_the_sliders_are_offered(tmp_path: Path) -> None:
    """recovery_likelihood's own chain has more steps than a slider would end at."""
    pytest.importorskip("gradio")
    train(tmp_path / "run", {"method.test_chain.steps": 400}, method="short_run")
    model = Model.from_pretrained(tmp_path / "run")
    with (
        serving([tmp_path / "run"], tmp_path / "log") as address,
        urlopen(address + "/config", timeout=20) as found,
    ):
        parts = json.loads(found.read())["components"]
    sliders = [part["props"] for part in parts if part["type"] == "slider" and "hain" in part["props"]["label"]]
    assert draw.chain_length(model) == 400
    assert [s["maximum"] for s in sliders if s["value"] == 400] == [400, 400]
    assert all(s["minimum"] <= s["value"] <= s["maximum"] for s in sliders)


def test_frames_that_are_no_numbers_are_told_of() -> None:
    with pytest.raises(InputError, match="the chain left all numbers"):
        chain.gain(chain.Frames(torch.tensor([[0.0], [float("nan")]]), [0.0, 0.0]))


def test_a_model_whose_pictures_are_no_numbers_is_told_of(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no black picture."""
    no_number = torch.full((picker.SHOWN, 1, 8, 8), float("nan"))
    monkeypatch.setattr("dualmcmc.data.parse", lambda ref: replace(parse("digits"), place="folder"))
    monkeypatch.setattr(Model, "sample", lambda self, n, seed: no_number)
    with pytest.raises(InputError, match="own pictures are no numbers"):
        picker.examples(model)
    passed = SimpleNamespace(states={0: torch.zeros(1, 1, 8, 8), 2: no_number[:1]}, log_density=torch.zeros(1, 3))
    monkeypatch.setattr(Model, "data_trajectory", lambda *args, **options: passed)
    with pytest.raises(InputError, match="the pictures left all numbers"):
        next(draw.draw(model, 0, 1, 2))


def test_uploads_that_lie_there_count_and_one_that_goes_meanwhile_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = pytest.importorskip("starlette.requests")
    from dualmcmc.app import serving as server

    def asked(length: int) -> int | None:
        headers = [(b"host", b"localhost"), (b"content-length", str(length).encode())]
        scope = {"type": "http", "method": "POST", "path": "/upload", "scheme": "http", "query_string": b""}
        refused = server.refusal(requests.Request({**scope, "headers": headers}), "127.0.0.1")
        return refused and refused[0]

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(server, "TOGETHER", 100)
    (tmp_path / "of").mkdir()
    (tmp_path / "of" / "another").write_bytes(bytes(60))
    assert asked(40) is None
    assert asked(41) == 413
    there = Path.is_file

    def goes(file: Path) -> bool:
        was = there(file)
        file.unlink(missing_ok=True) if was else None
        return was

    monkeypatch.setattr(Path, "is_file", goes)
    assert asked(100) is None


@pytest.mark.parametrize("port", [None, 7860])
def test_a_port_that_the_system_keeps_is_passed_over_unless_it_was_asked_for(
    port: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows does with ranges of them."""
    from dualmcmc.app.serving import FIRST, listen

    class Kept(socket.socket):
        def bind(self, address: Any) -> None:
            if address[1] == FIRST:
                raise PermissionError(errno.EACCES, "Permission denied")
            super().bind(address)

    monkeypatch.setattr("dualmcmc.app.serving.socket.socket", Kept)
    if port is None:
        with listen("127.0.0.1", None) as door:
            assert door.getsockname()[1] > FIRST
    else:
        with pytest.raises(InputError, match="7860 cannot be used"):
            listen("127.0.0.1", port)


def test_a_browser_that_does_not_return_leaves_the_page_served_and_no_wildcard_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, whose browser answers once it has been served the page it was sent to."""
    pytest.importorskip("gradio")
    script = """
import os, sys, urllib.request, webbrowser
from dualmcmc import Model
from dualmcmc.app.serving import listen, serve
def text_browser(place):
    try:
        print("saw", urllib.request.urlopen(place + "/config", timeout=20).status, place, flush=True)
    except Exception as error:
        print("saw nothing:", error, flush=True)
    os._exit(0)
webbrowser.open = text_browser
serve([("one", Model.from_pretrained(sys.argv[1], device="cpu"))], listen("0.0.0.0", None), open_browser=True)
"""
    train(tmp_path / "run")
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert re.search(r"saw 200 http://127\.0\.0\.1:\d+$", done.stdout, re.M), done.stdout + done.stderr


def test_a_picture_that_is_forgotten_leaves_the_mask_as_it_is(trained: Path) -> None:
    """What is below the mask changes without a button, so there is no status line to say it in."""
    pytest.importorskip("gradio")
    script = """
import sys
import gradio as gr
from dualmcmc import Model
from dualmcmc.app.page import build
page = build([("one", Model.from_pretrained(sys.argv[1], device="cpu"))])
(under,) = [f.fn for f in page.fns.values() if getattr(f.fn, "__name__", "") == "under"]
print("same", under("8", []) == gr.skip())
"""
    done = subprocess.run([sys.executable, "-c", script, str(trained)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["same True"], done.stderr


def test_an_old_gradio_is_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dualmcmc.cli.app.version", lambda name: "6.9.1")
    assert cli.main(["app", str(trained)]) == 2
    assert "app needs gradio 6.24 or newer, not 6.9.1" in capsys.readouterr().err


def test_without_a_run_the_page_has_the_bundled_models(tmp_path: Path) -> None:
    """One choice between them, and for each the six tabs."""
    pytest.importorskip("gradio")
    with serving([], tmp_path / "log") as address, urlopen(address + "/config", timeout=20) as answer:
        parts = json.loads(answer.read())["components"]
    choices = [part["props"]["choices"] for part in parts if part["props"].get("label") == "Model"]
    assert choices == [[[name, name] for name in NAMES]]
    tabs = [part["props"]["label"] for part in parts if part["type"] == "tabitem"]
    assert tabs == [tab.title for tab in TABS] * len(NAMES)


def test_without_gradio_the_line_says_what_to_install(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("dualmcmc.cli.app.find_spec", lambda name: None)
    assert cli.main(["app", str(trained)]) == 2
    assert "pip install 'dualmcmc[app]'" in capsys.readouterr().err


def test_a_port_that_is_taken_and_other_bad_places_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gradio")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert cli.main(["app", str(trained), "--port", str(port)]) == 2
        assert (
            capsys.readouterr().err
            == f"dualmcmc: --port {port} is taken: give another, or leave it out for a free one\n"
        )
    assert cli.main(["app", str(trained), "--port", "0"]) == 2
    assert "--port 0: give a number from 1 to 65535" in capsys.readouterr().err
    assert cli.main(["app", str(trained), "--host", "no such host"]) == 2
    assert "is no address" in capsys.readouterr().err
    assert cli.main(["app", str(trained), "--host", "203.0.113.1"]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert cli.main(["app", str(tmp_path / "none")]) == 2
    assert cli.main(["app", *[str(trained)] * 9]) == 2
    assert "9 models: one page shows 8 at most" in capsys.readouterr().err


def test_without_a_port_the_first_free_one_is_taken() -> None:
    from dualmcmc.app.serving import listen

    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert 7860 <= first.getsockname()[1] < second.getsockname()[1]
        assert first.getsockname()[0] == "127.0.0.1"
