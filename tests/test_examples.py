"""Each example runs at tiny size, as a program, and what it says is true."""

from __future__ import annotations

import ast
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import train

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(EXAMPLES))


def run(words: list[str], folder: Path, launcher: tuple[str, ...] = ()) -> str:
    """What an example prints; it must end well."""
    command = [sys.executable, *launcher, str(EXAMPLES / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the digits preset's own widths, 150 updates."""
    out = tmp_path_factory.mktemp("digits") / "run"
    own = {"networks.latent_dim": 16, "networks.energy_width": 16, "networks.generator_width": 16}
    own |= {"networks.inference_width": 16, "optim.batch_size": 64, "run.steps": 150, "run.checkpoint_every": 0}
    train(out, {**own, "method.data_chain.steps": 5, "method.latent_chain.steps": 5, "method.test_chain.steps": 5})
    return out


def test_training_on_a_folder_counts_mixed_images_and_leaves_a_model_that_ranks_its_own(tmp_path: Path) -> None:
    """Grey, RGBA, palette and wide pictures at any depth, one of them broken: 59 are good, 6 are held out."""
    rng = np.random.default_rng(0)
    for i in range(59):
        mode, size = ("L", "RGB", "RGBA", "P")[i % 4], (12 + i % 3, 12)
        bands = {"L": (), "RGB": (3,), "RGBA": (4,), "P": ()}[mode]
        # Half dark, half bright, with noise: something to learn.
        pixels = 40 + 150 * (i % 2) + rng.integers(0, 40, (size[1], size[0], *bands))
        place = tmp_path / "photos" / ("deep/er" if i % 5 == 0 else "") / f"{i:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(place)
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    words = ["--out", "run", "--size", "8", "--steps", "2", "--batch-size", "16"]
    said = run(["train_on_a_folder.py", "photos", *words], tmp_path)
    good, held = 59, 6
    assert f"{good - held} images, 2 updates" in said
    percentiles = ast.literal_eval(re.search(r"training images: (\[.*\])", said)[1])  # type: ignore[index]
    assert len(percentiles) == held
    assert all(0 <= p <= 100 for p in percentiles)
    with Image.open(tmp_path / "run" / "look.png") as picture:
        assert picture.size == (held * 66 + 2, 3 * 66 + 2)


def test_a_threshold_chosen_on_held_out_images_keeps_its_rate_on_others(digits: Path, tmp_path: Path) -> None:
    """False alarms among n = 148 are beta-binomial, k = 7 of m = 149: more than 30 have a chance below 1e-4."""
    said = run(["anomalies.py", str(digits), "--normal", "digits:test", "--fpr", "0.05"], tmp_path)
    n, alarms = map(int, re.search(r"false alarms on (\d+) others: (\d+)", said).groups())  # type: ignore[union-attr]
    k, m = 7, 297 - n
    assert chance_of_more(30, n, k, m) < 1e-4
    assert alarms <= 30
    odd, of = map(int, re.search(r"called odd: (\d+) of (\d+)", said).groups())  # type: ignore[union-attr]
    assert odd / of > 10 * 0.05  # inverted digits are told from digits


def chance_of_more(alarms: int, n: int, k: int, m: int) -> float:
    """That more than so many of n fall below the k-th lowest of m others, all of one continuous law."""
    from math import comb

    # The j that fall below it, and the k - 1: j + k - 1 places before the threshold's in an order of n + m.
    return sum(comb(j + k - 1, j) * comb(n - j + m - k, n - j) for j in range(alarms + 1, n + 1)) / comb(n + m, n)


def test_the_threshold_is_the_order_statistic_that_bounds_the_rate() -> None:
    """By simulation: of uniform scores, the mean rate below it is k / (m + 1) <= fpr, within 5 standard errors."""
    from anomalies import threshold

    scores = torch.rand(20_000, 40, generator=torch.Generator().manual_seed(0))
    limits = torch.tensor([threshold(row, 0.1) for row in scores])
    k, m = 4, 40
    mean, deviation = k / (m + 1), (k * (m + 1 - k) / (m + 1) ** 2 / (m + 2)) ** 0.5  # Beta(k, m + 1 - k)
    assert mean <= 0.1
    assert abs(limits.mean() - mean) < 5 * deviation / len(scores) ** 0.5
    assert threshold(torch.rand(5), 0.1) == -float("inf")
    mean_alarms = sum(chance_of_more(j, 12, 3, 20) for j in range(12))
    assert abs(mean_alarms - 12 * 3 / 21) < 1e-12  # n k / (m + 1)


def test_mended_scratches_are_nearer_to_what_was_there_than_mid_grey(digits: Path, tmp_path: Path) -> None:
    said = run(["scratches.py", str(digits), "--data", "digits:test", "-n", "32", "--out", "mended.png"], tmp_path)
    psnr = {name: float(value) for name, value in re.findall(r"([\w-]+): PSNR ([\d.]+) dB", said)}
    assert psnr["mended"] > psnr["mid-grey"] + 1 > psnr["scratched"] + 1
    assert (tmp_path / "mended.png").is_file()


def test_the_landscape_comes_to_have_its_modes_where_the_datas_are(tmp_path: Path) -> None:
    """After 200 updates h is higher at every mode than at the centre and outside; it began the other way."""
    from landscape import TRUTH, train

    (_, before), *_, (_, after) = train(200, [200])
    inside, outside = torch.zeros(1, 2), 2.5 * TRUTH.means
    with torch.no_grad():
        assert (before.log_pi(TRUTH.means) < before.log_pi(inside)).all()
        assert (after.log_pi(TRUTH.means) > after.log_pi(inside)).all()
        assert (after.log_pi(TRUTH.means) > after.log_pi(outside)).all()
    said = run(["landscape.py", "--updates", "20", "--out", "l.png"], tmp_path)
    assert "after 20 updates: KL" in said
    with Image.open(tmp_path / "l.png") as picture:
        assert picture.width > 3 * picture.height


def test_networks_of_ones_own_are_taught_and_used(tmp_path: Path) -> None:
    """Reconstruction by inference beats the mean digit, and the latent chain improves on it."""
    said = run(["custom_networks.py", "--updates", "200"], tmp_path)
    inferred, explained = (float(value) for value in re.findall(r"MSE [a-z ]+: ([\d.]+)", said))
    flat = float(re.search(r"mean digit: ([\d.]+)", said)[1])  # type: ignore[index]
    assert inferred < 0.6 * flat
    assert explained < inferred


def test_a_method_of_ones_own_tells_digits_from_shuffled_pixels(tmp_path: Path) -> None:
    said = run(["custom_method.py", "--out", "run", "--steps", "150"], tmp_path)
    assert float(re.search(r"AUROC ([\d.]+)", said)[1]) > 0.95  # type: ignore[index]


def test_contrastive_divergence_of_no_steps_and_no_noise_teaches_nothing() -> None:
    """x- is then x+, so the energy's gradient is zero; float64, beside 1 / T."""
    from custom_method import ContrastiveDivergence
    from tiny import tiny

    from dualmcmc.methods import Chain, ShortRun
    from dualmcmc.noise import BatchNoise
    from dualmcmc.training.setup import new_trio

    settings = ShortRun(data_chain=Chain(steps=0, step=0.5), data_noise=0.0)
    trio = new_trio(tiny(method="short_run")).double()
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    ContrastiveDivergence(trio, settings)(x, BatchNoise(0, range(4))).total().backward()
    norms = [p.grad.abs().max().item() for p in trio.parameters()]
    assert max(norms) < 1e-12 / trio.temperature


def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    """Sums of halves: the first three updates agree to 1e-4 of themselves (1e-7 to 1e-5 seen)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port))
    run(["several_processes.py", "--out", "one", "--steps", "3"], tmp_path)
    words = ["several_processes.py", "--out", "two", "--like", "one", "--steps", "3"]
    said = run(words, tmp_path, launcher)
    gaps = [float(value) for value in re.findall(r"loss_\w+ (\S+?)[,\n]", said)]
    assert len(gaps) == 9
    assert max(gaps) < 1e-4


def test_every_example_fits_its_place_in_the_list() -> None:
    """docs/examples.md names each, and each says how to run it."""
    listed = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert f"examples/{path.name}" in text, path.name
        assert f"examples/{path.name}" in listed, path.name


def test_the_page_about_methods_shows_the_example_as_it_is() -> None:
    page = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
    assert (EXAMPLES / "custom_method.py").read_text(encoding="utf-8").strip() in page
