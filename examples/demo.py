"""What `make demo` shows of the run it trained on scikit-learn's digits: a picture and a table.

    python examples/demo.py runs/demo

1,000 samples are sorted by a classifier (a support vector machine trained on the real digits), and the
297 held-out digits are reconstructed by inference alone, after the latent chain, and by chains from noise.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from dualmcmc import InputError, Model, data
from dualmcmc.cli.arguments import parse
from dualmcmc.data import ImageSet, to_uint8
from dualmcmc.metrics import compare
from dualmcmc.pictures import save_rows, save_side_by_side
from dualmcmc.storage.run_folder import RunFolder


@dataclass(frozen=True)
class Demo:
    """Pictures and figures of a run trained on the digits."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    n: int = 1000
    """Samples to draw."""
    seed: int = 0
    """Of samples and chains."""


def classifier(train: ImageSet) -> SVC:
    """A support vector machine on the training images; labels are found by the pixels themselves."""
    digits = load_digits()
    pixels = np.round(digits.images * 255 / 16).astype(np.uint8)
    label_of = {image.tobytes(): label for image, label in zip(pixels, digits.target, strict=True)}
    labels = [label_of[image.tobytes()] for image in train.pixels[..., 0]]
    return SVC(C=10, gamma=0.02).fit(features(np.asarray(train.pixels)), labels)


def features(pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, 8, 8, 1) as rows in [0, 1]."""
    return pixels.reshape(len(pixels), -1) / 255.0


def mse(model: Model, x: torch.Tensor, seed: int, **how: object) -> float:
    """Reconstruction error of images x, as `Model.reconstruct` with these arguments makes it."""
    return compare(x, model.reconstruct(x, seed=seed, **how)).mse.mean().item()


def main(args: list[str]) -> int:
    """Prints the table, writes demo.png and reconstructions.png, adds the figures to metrics.json."""
    try:
        options = parse(Demo, args, "demo")
        model = Model.from_pretrained(options.run)
    except InputError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    train = data.load("digits:train", model.config.images)
    heldout = data.load("digits:test", model.config.images)
    before = model.sample(options.n, seed=options.seed, steps=0)
    after = model.sample(options.n, seed=options.seed)
    machine = classifier(train)
    predicted = machine.predict(features(to_uint8(after)))
    shares = np.bincount(predicted, minlength=10) / options.n

    x = heldout.tensor(range(len(heldout)))
    errors = {
        "inference alone": mse(model, x, options.seed, steps=0),
        "inference, then the latent chain": mse(model, x, options.seed),
        "10 steps from noise": mse(model, x, options.seed, steps=10, start="prior"),
        "30 steps from noise": mse(model, x, options.seed, steps=30, start="prior"),
    }
    save_side_by_side(options.run / "demo.png", [before[:100], after[:100]], columns=10)
    rows = [x[:16], model.reconstruct(x[:16], steps=0), model.reconstruct(x[:16], seed=options.seed)]
    save_rows(options.run / "reconstructions.png", rows)

    table = Table(title=f"{options.run}: share of {options.n} samples that a classifier reads as each digit")
    for digit in range(10):
        table.add_column(str(digit), justify="right")
    table.add_row(*(f"{share:.1%}" for share in shares))
    console = Console(width=100)
    console.print(table)
    table = Table(title=f"MSE of {len(x)} held-out digits, pixels in [-1, 1]")
    table.add_column("how the code is found")
    table.add_column("MSE", justify="right")
    for how, value in errors.items():
        table.add_row(how, f"{value:.4f}")
    console.print(table)
    console.print(f"pictures: {options.run / 'demo.png'} (generator | after the data chain),")
    console.print(
        f"          {options.run / 'reconstructions.png'} (digits, by inference, after the latent chain)"
    )
    RunFolder(options.run).add_metrics(
        "demo",
        {
            "n": options.n,
            "seed": options.seed,
            "step": model.step,
            "digit_shares": shares.tolist(),
            "mse": errors,
        },
    )
    print("in a browser: `. .venv/bin/activate`, then `dualmcmc app runs/demo`, or without it the bundled models")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
