"""Reports: what files say is on the page, digit by digit; nothing leaves the page; no file of the user is lost."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser, opened
from PIL import Image
from tiny import tiny

from dualmcmc import config
from dualmcmc.cli.report import report
from dualmcmc.errors import InputError
from dualmcmc.report import curves, numbers
from dualmcmc.report.page import LIMIT, MARK, render
from dualmcmc.report.pictures import Picture, embed
from dualmcmc.report.reading import read

TASKS = ("generation", "reconstruction", "revision", "interpolation", "inpainting", "ood")
SHA = "585c88d5" * 8


# -- a run whose every figure is known -------------------------------------------------------------


def protocol(seed: int = 0, **more: Any) -> dict[str, Any]:
    chain = {"steps": 30, "step": 0.5, "temperature": 4e-06}
    about = {"version": "0.1.0", "run": "runs/a", "step": 6, "weights": "ema", "seed": seed, "data": "digits:test"}
    return {**about, "split": "test", "fingerprint": "f" * 64, "n": 297, "test_chain": chain, **more}


def generation(seed: int, distance: float) -> dict[str, Any]:
    about = {
        "features": {"network": "inception768", "sha256": "c0ffee"},
        "reference": {"data": "digits", "n": 1437, "fingerprint": SHA},
        "samples": 10_000,
    }
    kernel = {"0": {"mean": 0.0391234, "standard_error": 0.00031}, "30": {"mean": 0.038, "standard_error": 0.0003}}
    score = {"0": {"mean": 5.125, "standard_error": 0.04}}
    return {
        "steps": [0, 30],
        "figures": {"fid768_10k": {"0": distance, "30": 40.1}, "kid768_10k": kernel, "is_resnet20": score},
        "log_density": {"0": -1201.25, "30": 1622.75},
        "seconds": 312.25,
        "seconds_chain": 288.125,
        "protocol": protocol(seed, **about),
    }


def reconstruction() -> dict[str, Any]:
    def stage(mse: float) -> dict[str, float]:
        psnr = 10 * math.log10(4 / mse)
        return {"mse": mse, "mse_standard_error": mse / 90, "mse01": mse / 4, "psnr": psnr, "ssim": 1 - mse}

    return {
        "inference": stage(0.0381),
        "from_inference": {"10": stage(0.0301)},
        "from_noise": {"10": stage(0.21), "30": stage(0.084)},
        "pca": {"dimensions": 4, **stage(0.0312)},
        "ssim_window": 7,
        "protocol": protocol(),
    }


def revision() -> dict[str, Any]:
    h = [i / 7000 for i in range(4)]
    data = {
        "h": h,
        "log_density": [x / 4e-6 for x in h],
        "moved": 0.00912,
        "gradient_norm": [0.041, 0.039, 0.0388],
    }
    long = {"steps": 30, "chains": 100, "h": [i / 9000 for i in range(31)], "outside": 0.2449}
    long["drift"] = 30 / 9000 - 3 / 7000
    latent = {"mse": [0.0381, 0.034, 0.0301], "log_joint": [-320.5, -300.0, -264.9], "moved": 0.381}
    distance = {"name": "fid768_1k", "0": 58.23, "30": 57.11}
    return {
        "data_chain": {**data, "outside": 0.0132, "long": long},
        "latent_chain": latent,
        "distance": distance,
        "protocol": protocol(),
    }


def interpolation() -> dict[str, Any]:
    linear = {"log_density": [1500.0, 1412.5, 1400.0, 1510.0], "dip": 131.25}
    paths = {"linear": linear, "spherical": {"log_density": [1.5] * 4, "dip": 2.125}}
    return {"prior": paths, "images": paths, "points": 4, "pairs": 8, "protocol": protocol()}


def inpainting() -> dict[str, Any]:
    def stage(psnr: float) -> dict[str, float]:
        names = ("mse", "ssim", "psnr_pasted", "ssim_pasted", "psnr_hidden", "ssim_hidden", "mse_hidden")
        return {"psnr": psnr, "psnr_standard_error": 0.03, **{n: psnr / (7 + i) for i, n in enumerate(names)}}

    stages = {"inference": stage(21.01), "latent_chain": stage(25.02), "data_chain": stage(25.13)}
    return {
        "masks": {"M20": {"hidden": 0.0977, "stages": stages}, "R40": {"hidden": 0.4, "stages": stages}},
        "ssim_window": 7,
        "protocol": protocol(),
    }


def ood() -> dict[str, Any]:
    def ranking(auroc: float) -> dict[str, float]:
        return {"auroc": auroc, "aupr": auroc - 0.0123, "fpr95": 1 - auroc}

    def scores(auroc: float) -> dict[str, Any]:
        names = ("log_density", "reconstruction_error", "gradient_norm", "combination")
        return {"n": 297, **{name: ranking(auroc + 0.01 * i) for i, name in enumerate(names)}}

    return {"sets": {"uniform noise": scores(0.9432), "inverted": scores(0.4123)}, "protocol": protocol()}


def log_line(step: int) -> dict[str, Any]:
    shares = {"share_data_chain": 0.375, "share_latent_chain": 0.5, "share_losses": 0.125}
    losses = {f"loss_{name}": math.sin(step) for name in ("energy", "generator", "inference")}
    norms = {f"gradient_{name}": 10.0 + step for name in ("energy", "generator", "inference")}
    moved = {"data_chain_moved": 0.01, "latent_chain_moved": 0.4, "energy_gap": math.cos(step)}
    return {"step": step, "kind": "train", "seconds_per_step": 0.5, **losses, **norms, **moved, **shares}


def picture(path: Path, side: tuple[int, int] = (60, 40), seed: int = 0) -> None:
    """Noise, which no encoding makes small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_run(path: Path, *, evaluated: bool = True, lines: int = 6, **about: Any) -> Path:
    path.mkdir(parents=True)
    settings = config.to_dict(tiny({"run.steps": 6}))
    known = {"library": "dualmcmc", "version": "0.1.0", "data_sha256": SHA, "config": settings}
    (path / "config.json").write_text(json.dumps({**known, **about}))
    (path / "log.jsonl").write_text("".join(json.dumps(log_line(i + 1)) + "\n" for i in range(lines)))
    small = {"step": 6, "mse_inference": 0.0611, "mse_chain": 0.0442, "feature_distance": 0.0402, "value": 0.2076}
    metrics: dict[str, Any] = {"training": [{**small, "protocol": {"images": 20, "weights": "ema", "seed": 7}}]}
    if evaluated:
        metrics |= {task: [globals()[task]()] for task in TASKS if task != "generation"}
        metrics["generation"] = [generation(0, 41.25)]
    (path / "metrics.json").write_text(json.dumps(metrics))
    for i in range(9):
        picture(path / f"samples/step-{i:07d}.png", seed=i)
    picture(path / "samples/reconstructions-0000006.png")
    for name in ("samples", "figure2", "figure3", "figure4", "figure5", "ood") if evaluated else ():
        picture(path / f"figures/{name}.png")
    return path


def change(path: Path, **tasks: Any) -> None:
    """Other evaluations in metrics.json."""
    metrics = json.loads((path / "metrics.json").read_text())
    (path / "metrics.json").write_text(json.dumps({**metrics, **tasks}))


# -- reading the page ------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Tags with attributes, the text, and every table cell's text, its `title`, its section and its class."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.cells: list[dict[str, str]] = []
        self.section = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.append((tag, known))
        self.open.append(tag)
        if tag == "h2":
            self.section = known["id"]
        if tag in ("td", "th"):
            where = {"section": self.section, "tag": tag}
            self.cells.append(
                {**where, "text": "", "title": known.get("title", ""), "class": known.get("class", "")}
            )

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data + " "
        if self.cells and ("td" in self.open or "th" in self.open):
            self.cells[-1]["text"] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [known for name, known in self.tags if name == tag]


def page(*runs: Path, out: Path) -> Reader:
    report([*map(str, runs), "--out", str(out)])
    html = out.read_text(encoding="utf-8")
    assert html.startswith(MARK)
    return Reader(html)


def as_number(text: str) -> tuple[float, float]:
    """A shown figure and half a unit of its last digit."""
    text = text.replace(",", "").replace("\u2212", "-")
    mantissa, _, exponent = text.partition("×10")
    power = int(exponent.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) if exponent else 0
    decimals = len(mantissa.partition(".")[2])
    return float(mantissa) * 10.0**power, 0.5 * 10.0 ** (power - decimals)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers of an entry with their places; of lists, which are curves, the ends."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name != "protocol":
                yield from leaves(inner, f"{place}.{name}")
    elif isinstance(value, float):
        yield place, value
    elif isinstance(value, list) and isinstance(value[0], float):
        yield from ((place, end) for end in (value[0], value[-1]))


# -- every figure, with its digits -----------------------------------------------------------------


def test_every_figure_of_every_task_is_on_the_page_with_four_digits_and_all_of_them_in_its_title(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "a")
    seen = page(run, out=tmp_path / "r.html")
    exact: dict[str, str] = {}
    for cell in seen.cells:
        exact.setdefault(cell["title"].partition(" ± ")[0], cell["text"])
    metrics = json.loads((run / "metrics.json").read_text())
    # The ends of a path are shown as their mean; shares of hidden pixels in the row's name; errors beside values.
    elsewhere = re.compile(r"\.(linear|spherical)\.log_density|\.hidden$|standard_error$|long\.h$")
    checked = 0
    for task in TASKS:
        for place, value in leaves(metrics[task][0]):
            if elsewhere.search(place):
                continue
            assert repr(value) in exact, f"{task}{place} {value!r} is nowhere"
            text = exact[repr(value)]
            if " ± " not in text:
                shown, half = as_number(text)
                assert abs(shown - value) <= half * 1.0001, (place, value, text)
                assert half <= abs(value) * 5.0001e-4 or half == 0.5, (place, value, text)
            checked += 1
    assert checked > 100


def test_a_standard_error_has_two_digits_and_its_value_ends_where_it_does() -> None:
    for value, error, text in (
        (0.0391234, 0.00031, "0.03912 ± 0.00031"),
        (41.234, 0.577, "41.23 ± 0.58"),
        (-1234.5, 99.6, "\u22121,234 ± 100"),
        (25.0, 0.0, "25.00"),
        (3.0, None, "3.000"),
    ):
        assert numbers.with_error(value, error) == text
    shown = {0.0: "0", 9.99996: "10.00", 0.000123456: "1.235×10⁻⁴", -265.34: "\u2212265.3", 1e6: "1,000,000"}
    assert {value: numbers.number(value) for value in shown} == shown
    assert numbers.number(math.nan) == "not finite"


def test_numbers_read_back_are_within_half_their_last_digit_at_every_size() -> None:
    generator = random.Random(0)
    for _ in range(2000):
        value = generator.choice([-1, 1]) * 10 ** generator.uniform(-12, 14)
        shown, half = as_number(numbers.number(value))
        assert abs(shown - value) <= half * (1 + 1e-9)
        assert half <= 5.001e-4 * abs(value)


def test_known_figures_stand_under_their_own_names_beside_their_protocol(tmp_path: Path) -> None:
    seen = page(make_run(tmp_path / "a"), out=tmp_path / "r.html")
    for words in (
        "fid768_10k",
        "kid768_10k",
        "0.03912 ± 0.00031",
        "generator alone",
        "after 30 steps",
        "10 steps from inference",
        "PCA, 4 dimensions",
        "M20, 9.77 % hidden",
        "inception768",
        "c0ffee",
        "1,437 grey images of 8×8 pixels",
        "6 of 6 updates, each of 16 images, in 3 seconds (0.5 s an update)",
        "latent chain 50.0 %",
        "data chain 37.5 %",
        "step 6 · EMA weights · 10,000 samples · against 1,437 images of digits · seed 0",
    ):
        assert words in seen.text, words
    assert not re.search(r"\bFID\b", seen.text)
    text = seen.text.replace("\xa0", " ").replace("  ", " ")
    for named in ("fid768_10k ↓", "mse ↓", "psnr ↑", "auroc ↑", "fpr95 ↓", "is_resnet20 ↑"):
        assert named in text
    assert not re.search("(log_density|moved|gradient_norm|h) [↓↑]", text)


def test_all_of_a_protocol_and_all_settings_are_there(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    seen = page(run, out=tmp_path / "r.html")
    metrics = json.loads((run / "metrics.json").read_text())
    for task in (*TASKS, "training"):
        for name in metrics[task][0]["protocol"]:
            assert name in seen.text
    for name in ("networks.latent_dim", "method.data_chain.temperature", "optim.energy.betas", "data_sha256"):
        assert name in seen.text
    assert "4e-06" in seen.text
    assert SHA in seen.text


def test_seeds_of_an_equal_protocol_are_averaged_and_others_are_not(tmp_path: Path) -> None:
    """41, 42, 43 have mean 42 and standard error 1 / sqrt(3); the entry with other samples does not count."""
    run = make_run(tmp_path / "a")
    other = generation(3, 99.0)
    other["protocol"]["samples"] = 50
    again = [generation(1, 77.0), generation(1, 42.0)]  # the same seed twice: the newer one counts
    change(run, generation=[other, generation(0, 41.0), *again, generation(2, 43.0)])
    seen = page(run, out=tmp_path / "r.html")
    assert "42.00 ± 0.58" in seen.text
    assert "Means over 3 seeds" in seen.text
    assert "seeds 0, 1, 2" in seen.text
    assert "40.10 ±" not in seen.text  # equal values have no error to show
    (exact,) = [c["title"] for c in seen.cells if c["text"] == "42.00 ± 0.58"]
    mean, error = map(float, exact.split(" ± "))
    assert mean == 42
    assert abs(error - 3**-0.5) < 1e-12
    change(run, generation=[generation(0, 41.0), other])
    seen = page(run, out=tmp_path / "r.html")
    assert "99.00" in seen.text
    assert "Means over" not in seen.text


# -- several runs ----------------------------------------------------------------------------------


def test_runs_stand_side_by_side_and_the_best_is_marked_if_they_were_measured_alike(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "x/run"), make_run(tmp_path / "y/run")
    better = generation(0, 31.25)
    change(b, generation=[better])
    settings = json.loads((b / "config.json").read_text())
    settings["config"]["method"]["sigma"] = 0.625
    (b / "config.json").write_text(json.dumps(settings))
    seen = page(a, b, out=tmp_path / "r.html")
    heads = [c["text"] for c in seen.cells if c["tag"] == "th" and c["section"] == "generation"]
    assert heads.index("x/run") + 1 == heads.index("y/run")
    row = [c for c in seen.cells if c["section"] == "generation" and c["text"] in ("41.25", "31.25")]
    assert [(c["text"], c["class"]) for c in row] == [("41.25", ""), ("31.25", "best")]
    assert "not measured alike" not in seen.text
    assert "Settings in which these runs differ. x/run y/run method.sigma" in seen.text

    better["protocol"]["n"] = 100
    change(b, generation=[better])
    seen = page(a, b, out=tmp_path / "r.html")
    assert "not measured alike ( n ): their" in seen.text.replace("(n)", "( n )")
    assert not [c for c in seen.cells if c["section"] == "generation" and c["class"] == "best"]


def test_a_run_that_lacks_an_evaluation_has_dashes_and_the_command_that_makes_it(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b c", evaluated=False)
    seen = page(a, b, out=tmp_path / "r.html")
    for task in TASKS:
        assert f"b c: not measured yet; dualmcmc evaluate '{b}' --tasks {task} does it." in seen.text
        assert f"dualmcmc evaluate {a} " not in seen.text
    alone = page(b, out=tmp_path / "r.html")
    assert f"Not measured yet; dualmcmc evaluate '{b}' --tasks inpainting does it." in alone.text
    assert "Not evaluated yet." in alone.text


def test_curves_that_the_figure_of_a_single_run_shows_are_not_drawn_again(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")

    def titles(seen: Reader) -> set[str]:
        return {known["aria-label"].partition(" (")[0] for known in seen.all("svg") if "aria-label" in known}

    shown = {"h over the data chain", "MSE over the latent chain", "Log-density between prior draws"}
    one, two = (titles(page(*runs, out=tmp_path / "r.html")) for runs in ([a], [a, b]))
    assert not shown & one
    assert shown < two
    assert "h over a chain ten times as long" in one
    for name in ("figure2", "figure4"):
        (a / f"figures/{name}.png").unlink()
    assert shown < titles(page(a, out=tmp_path / "r.html"))


def test_runs_in_one_panel_have_a_curve_each_and_a_legend(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    one, two = (page(*runs, out=tmp_path / "r.html") for runs in ([a], [a, b]))
    assert len(one.all("svg")) > 0
    lines = [len(seen.all("polyline")) for seen in (one, two)]
    assert lines[1] >= 2 * lines[0] > 20
    classes = {known["class"] for known in two.all("polyline")}
    assert {"l c0", "l c1", "l c0 d1", "l c1 d1"} <= classes


# -- nothing leaves the page -----------------------------------------------------------------------


def test_nothing_on_the_page_points_anywhere_else_and_no_script_runs(tmp_path: Path) -> None:
    seen = page(make_run(tmp_path / "a"), make_run(tmp_path / "b"), out=tmp_path / "r.html")
    places = [v for _, known in seen.tags for k, v in known.items() if k in ("src", "href", "srcset", "action")]
    assert len(places) > 20
    assert all(place.startswith(("data:", "#")) for place in places)
    assert {known["src"][:22] for known in seen.all("img")} == {"data:image/png;base64,"}
    assert not {"script", "iframe", "object", "form", "base", "foreignobject"} & {tag for tag, _ in seen.tags}
    assert not [k for _, known in seen.tags for k in known if k.startswith("on") or k == "style"]
    html = (tmp_path / "r.html").read_text()
    assert "url(" not in html
    assert "@import" not in html
    (policy,) = [known["content"] for known in seen.all("meta") if known.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    anchors = {known["href"][1:] for known in seen.all("a")} - {"top"}
    assert anchors == {known["id"] for known in seen.all("h2")}


def test_whatever_files_say_is_text(tmp_path: Path) -> None:
    """Settings, protocol, names of figures, sets, tasks, pictures and folders: none becomes a tag."""
    evil = "<script>alert(1)</script>\"'><img src=//x.example/y>{{ 7*7 }}&amp;"
    run = make_run(tmp_path / "<b>run</b>", heldout=evil)
    settings = json.loads((run / "config.json").read_text())
    settings["config"]["data"] = evil
    settings["config"]["<i>new</i>"] = {evil: [evil]}
    (run / "config.json").write_text(json.dumps(settings))
    entry, sets = generation(0, 41.0), ood()
    entry["figures"][evil] = {evil: 1.5}
    entry["protocol"][evil] = evil
    sets["sets"][evil] = sets["sets"].pop("inverted")
    line = {**log_line(7), f"loss_{evil}": 1.0}
    with (run / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    change(run, generation=[entry], ood=[sets], **{evil: [{"x": 2.5, "protocol": {evil: evil}}]})
    picture(run / "figures/<u>own<%2Fu>.png")
    other = make_run(tmp_path / "b")
    for runs in ([run], [run, other]):
        seen = page(*runs, out=tmp_path / "r.html")
        assert not {"script", "i", "u"} & {tag for tag, _ in seen.tags}
        assert not any("x.example" in known.get("src", "") for _, known in seen.tags)
        assert evil in seen.text
        assert "<b>run</b>" in seen.text
        assert "<u>own<%2Fu>" in seen.text
        assert any(f"loss_{evil}" in known.get("aria-label", "") for known in seen.all("svg"))
        html = (tmp_path / "r.html").read_text()
        assert "<script" not in html
        assert "//x.example/y>" not in html


def test_samples_over_training_are_six_evenly_spread_and_each_figure_is_in_its_section(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    seen = page(run, out=tmp_path / "r.html")
    steps = [re.search(r"at step (\d+)", known["alt"]) for known in seen.all("img")]
    assert [int(m[1]) for m in steps if m] == [0, 1, 3, 4, 6, 8, 6]  # six samples, then the reconstructions
    assert len(seen.all("img")) == 13
    assert len({known["src"] for known in seen.all("img")}) < 13  # equal pictures are equal
    shutil.rmtree(run / "figures")
    seen = page(run, out=tmp_path / "r.html")
    assert "Samples at step 8" in seen.text
    assert len(seen.all("img")) == 7


# -- under five megabytes --------------------------------------------------------------------------


def test_a_page_of_large_pictures_stays_under_five_megabytes_and_says_what_was_done(tmp_path: Path) -> None:
    """Three pictures of 3.2 MB; small ones stay as they are."""
    run = make_run(tmp_path / "a")
    for name in ("figure2", "figure3", "figure4"):
        picture(run / f"figures/{name}.png", (1800, 600), seed=1)
    report([str(run)])
    seen = Reader((run / "report.html").read_text())
    assert (run / "report.html").stat().st_size < LIMIT == 5_000_000
    assert "Larger pictures are WebP of at most 1600 pixels" in seen.text
    assert len(seen.all("img")) == 13
    assert [k["width"] for k in seen.all("img") if k["src"].startswith("data:image/webp")] == ["1800"] * 3


def test_too_tight_a_limit_drops_the_strip_first_then_the_largest_pictures_and_says_so(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / f"{i}.png", (100 + 20 * i, 80), seed=i)
    pictures = [Picture(tmp_path / f"{i}.png", "", "", strip=i == 3) for i in range(4)]
    seen = []
    for budget in range(160_000, 0, -2_500):
        album = embed(pictures, budget)
        assert sum(len(p.uri) for p in album.pictures.values()) <= budget
        kept = {int(path.stem) for path in album.pictures}
        assert (3 in kept) == (not any("over training are left out" in note for note in album.notes))
        dropped = [note for note in album.notes if note.startswith("Left out")]
        assert {i for i in range(3) if f"{i}.png" in "".join(dropped)} == {0, 1, 2} - kept
        seen.append(kept)
    stages = [kept for i, kept in enumerate(seen) if i == 0 or kept != seen[i - 1]]
    assert stages == [{0, 1, 2, 3}, {0, 1, 2}, {0, 1}, {0}, set()]
    assert embed(pictures, 10**7).notes == []


def test_a_picture_that_is_being_written_is_left_out_and_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    half = (run / "samples/step-0000008.png").read_bytes()
    (run / "samples/step-0000008.png").write_bytes(half[: len(half) // 2])
    (run / "figures/figure5.png").write_text("<svg onload='alert(1)'/>")
    seen = page(run, out=tmp_path / "r.html")
    assert f"{run / 'samples/step-0000008.png'} cannot be read as a PNG" in seen.text
    assert f"{run / 'figures/figure5.png'} cannot be read as a PNG" in seen.text
    assert len(seen.all("img")) == 11


# -- curves ----------------------------------------------------------------------------------------


def test_thinned_curves_keep_their_extremes_and_stay_short() -> None:
    points = [(i, math.sin(i / 50)) for i in range(10_000)]
    points[4321] = (4321, 99.0)
    points[777] = (777, -99.0)
    thin = curves.thinned(points, 400)
    assert len(thin) <= 400
    assert {(4321, 99.0), (777, -99.0)} <= set(thin)
    assert thin == sorted(thin)
    assert curves.thinned(points[:400], 400) == points[:400]


def test_a_running_mean_keeps_straight_lines_and_geometric_ones_on_log_axes() -> None:
    line = [(i, 3.0 * i - 5) for i in range(101)]
    assert all(abs(y - (3 * x - 5)) < 1e-9 for x, y in curves.running_mean(line))
    powers = [(i, 2.0**i) for i in range(101)]
    assert all(abs(y / 2**x - 1) < 1e-9 for x, y in curves.running_mean(powers, log=True))


def test_ticks_are_round_inside_and_evenly_apart() -> None:
    generator = random.Random(1)
    for _ in range(500):
        low = generator.uniform(-1, 1) * 10 ** generator.uniform(-6, 6)
        high = low + max(abs(low), 1e-6) * 10 ** generator.uniform(-4, 3)
        marks = curves.ticks(low, high)
        assert 2 <= len(marks) <= 6
        room = 1e-6 * (high - low)
        assert all(low - room <= tick <= high + room for tick in marks)
        step = (marks[-1] - marks[0]) / (len(marks) - 1)
        assert round(step / 10 ** math.floor(math.log10(step * 1.000001)), 6) in (1, 2, 5)
    assert curves.log_ticks(0.5, 2e5) == [1, 10, 100, 1000, 1e4, 1e5]


def drawn(values: list[float], **options: Any) -> curves.Drawing:
    lines = [curves.Line("a", "", list(enumerate(values)))]
    drawing = curves.draw(curves.Panel("t", "", lines, **options))
    assert drawing
    return drawing


def test_ticks_that_are_close_together_are_told_apart() -> None:
    for low, apart in ((-3500.0, 0.25), (1e6, 3.0), (0.0, 1e-5), (0.01, 0.002), (5e4, 1e4), (1e-7, 1e-8)):
        labels = re.findall(r'text-anchor="end">([^<]*)<', drawn([low + apart * i for i in range(9)]).svg)
        assert len(labels) >= 2
        assert len(set(labels)) == len(labels), labels


def test_a_few_outliers_do_not_flatten_a_curve_and_are_counted() -> None:
    drawing = drawn([1e6, *(math.sin(i) for i in range(99))])
    assert drawing.note == "1 of 100 points lie outside, between \u22121.000 and 1,000,000."
    heights = [float(y) for y in re.findall(r"[\d.]+,([-\d.]+)", drawing.svg)][1:100]
    assert max(heights) - min(heights) > 0.5 * curves.HEIGHT
    assert drawn([float(i) for i in range(100)]).note == ""


def test_points_that_are_not_numbers_or_have_no_logarithm_are_not_drawn() -> None:
    drawing = drawn([1.0, math.nan, math.inf, -1.0, 0.0, 10.0], log=True)
    assert len(re.findall(r"[\d.]+,[\d.]+", drawing.svg)) == 2
    assert curves.draw(curves.Panel("t", "", [curves.Line("a", "", [(1, math.nan)])])) is None
    assert "circle" in drawn([2.0]).svg


def test_the_ends_of_a_curve_are_where_its_values_say() -> None:
    """From (0, 0) at the lower left corner of the axes to (10, 5) at the upper right one."""
    svg = drawn([i / 2 for i in range(11)]).svg
    points = re.search(r'points="([^"]*)"', svg)
    assert points
    first, *_, last = points[1].split()
    assert first == f"{curves.LEFT},{curves.HEIGHT - curves.BOTTOM}"
    assert last == f"{curves.WIDTH - curves.RIGHT},{curves.TOP}"


# -- runs in any state -----------------------------------------------------------------------------


def test_a_run_that_has_only_just_started_has_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", evaluated=False)
    for name in ("log.jsonl", "metrics.json"):
        (run / name).unlink()
    shutil.rmtree(run / "samples")
    seen = page(run, out=tmp_path / "r.html")
    assert "No update is logged yet, of 6." in seen.text
    assert "No samples are drawn yet" in seen.text


def test_a_cut_log_line_is_passed_over_and_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", lines=3)
    with (run / "log.jsonl").open("ab") as file:
        file.write(b'{"step": 4, "kind": "train", "loss_en')
    seen = page(run, out=tmp_path / "r.html")
    assert "a: 1 log line could not be read" in seen.text
    assert "3 of 6 updates (50%: in training, or stopped)" in seen.text


def test_values_that_no_float_holds_do_not_stop_a_report(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    with (run / "log.jsonl").open("a") as file:
        file.write(
            '{"step": 7, "kind": "train", "loss_energy": NaN, "energy_gap": Infinity}\n[1]\n\n{"step": "x"}\n'
        )
    entry = generation(0, math.nan)
    change(run, generation=[entry])
    assert "not finite" in page(run, out=tmp_path / "r.html").text


def test_the_log_gives_the_time_of_all_updates(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    lines = [{"step": 10, "kind": "train", "seconds_per_step": 2.0}, {"step": 30, "kind": "train"}]
    lines += [{"step": 40, "kind": "train", "seconds_per_step": 0.5}]
    (run / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (record,) = read([str(run)])
    assert record.seconds == 10 * 2.0 + 10 * 0.5
    assert record.done == 40


def test_a_trained_run_has_a_report_with_its_parameters(trained: Path, tmp_path: Path) -> None:
    """What training really writes; parameters as torch counts them."""
    from dualmcmc import Model

    seen = page(trained, out=tmp_path / "r.html")
    trio = Model.from_pretrained(trained).trio
    for name, network in (("energy network", trio.energy), ("generator", trio.generator)):
        assert f"{name} {sum(p.numel() for p in network.parameters()):,}" in seen.text
    assert len(seen.all("img")) == 3
    assert "6 of 6 updates" in seen.text


# -- the command -----------------------------------------------------------------------------------


def test_the_report_lies_in_the_run_or_here_and_its_json_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    report(["a"])
    assert capsys.readouterr().out == f"a/report.html: 1 run, 13 pictures, {_megabytes(a / 'report.html')} MB\n"
    report(["a", "b", "--json", "-"])
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == "report.html"
    assert told["bytes"] == Path("report.html").stat().st_size
    assert told["runs"] == ["a", "b"]
    assert told["notes"] == []
    assert not (b / "report.html").exists()


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f}"


def test_a_report_is_replaced_and_no_other_file_ever(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    report([str(run)])
    first = (run / "report.html").read_text()
    change(run, generation=[generation(0, 12.5)])
    report([str(run)])
    assert "12.50" in (run / "report.html").read_text()
    assert "12.50" not in first
    foreign = tmp_path / "mine.html"
    for content in ("<!doctype html><p>mine", "", 'x<meta name="generator" content="dualmcmc report 0.1.0">'):
        foreign.write_text(content)
        with pytest.raises(InputError, match=r"no report of dualmcmc: name another file"):
            report([str(run), "--out", str(foreign)])
        assert foreign.read_text() == content
    (tmp_path / "folder.html").mkdir()
    for out in ("folder.html", "report.txt", "missing/r.html"):
        with pytest.raises(InputError, match=r"--out|name another"):
            report([str(run), "--out", str(tmp_path / out)])


def test_bad_input_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    shutil.copytree(run, tmp_path / "model")
    (tmp_path / "model/config.json").write_text(json.dumps({"format": 1, "config": {}}))
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd/config.json").write_text("[1]")
    for arguments, words in (
        ([], "name one or more run folders"),
        ([str(tmp_path / "missing")], "is no run"),
        ([str(tmp_path / "empty")], "is no run"),
        ([str(run / "config.json")], "is no run"),
        ([str(tmp_path / "odd")], "holds no configuration"),
        ([str(tmp_path / "model")], "is a model folder"),
        ([str(run), str(run / "../a")], "named twice"),
        ([str(run), "--outt", "x"], "perhaps --out"),
    ):
        with pytest.raises(InputError, match=words) as refusal:
            report(arguments)
        assert "\n" not in str(refusal.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    "metrics",
    [
        '{"training": [',
        "[]",
        '{"generation": {"figures": 1}}',
        '{"generation": [{"protocol": {}}]}',
        '{"reconstruction": [{"inference": {"mse": "low"}, "protocol": {}}]}',
        '{"revision": [{"data_chain": {"h": 3}, "protocol": {}}]}',
        '{"ood": [{"sets": [], "protocol": {}}]}',
        '{"inpainting": [{"masks": {"M20": {}}}]}',
    ],
)
def test_damaged_metrics_are_one_line_and_nothing_is_written(metrics: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    (run / "metrics.json").write_text(metrics)
    with pytest.raises(InputError, match=re.escape(str(run / "metrics.json"))) as refusal:
        report([str(run)])
    assert "\n" not in str(refusal.value)
    assert not (run / "report.html").exists()


def test_the_report_needs_no_torch(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    program = (
        "import sys\nfrom dualmcmc.cli.report import report\nreport(sys.argv[1:])\n"
        "heavy = {'torch', 'matplotlib', 'sklearn', 'torchmetrics', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program, str(run)], check=True, timeout=60, capture_output=True)
    assert (run / "report.html").is_file()


# -- a real browser, where there is one ------------------------------------------------------------


@pytest.fixture
def browser() -> Iterator[Browser]:
    with opened() as (one,):
        yield one


@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_it_without_an_error_a_request_or_sideways_scrolling(
    width: int, tmp_path: Path, browser: Browser
) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", evaluated=False)
    (tmp_path / "r.html").write_text(render(read([str(a), str(b)]), date(2026, 1, 2)).html)
    phone = width < 600
    size = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": phone}
    browser.command("Emulation.setDeviceMetricsOverride", **size)
    place = (tmp_path / "r.html").as_uri()
    browser.go(place)
    assert browser.log("browser") == []
    asked = browser.requests()
    assert place in asked
    assert all(url == place or url.startswith("data:") for url in asked)
    assert browser.run("return [...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.run("return document.images.length") == 13 + 7
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return document.querySelectorAll('svg.chart').length") > 10

    # The same page with a picture from elsewhere: the policy stops it, and the log that was empty says so.
    html = (tmp_path / "r.html").read_text().replace("<main>", '<main><img src="http://127.0.0.1:9/x.png">')
    (tmp_path / "r.html").write_text(html)
    browser.go(place)
    assert any("Content Security Policy" in entry["message"] for entry in browser.log("browser"))
