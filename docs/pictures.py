"""Makes the pictures of README, ebm.md and tuning.md anew, with a run of the digits preset; minutes on one thread.

    dualmcmc train digits --out runs/demo
    python docs/pictures.py runs/demo

Numbers that the pages quote of them are printed. Everything is seeded; another machine rounds otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from dualmcmc import Model, Trainer, TrainingError, data, presets
from dualmcmc.langevin import langevin
from dualmcmc.noise import BatchNoise
from dualmcmc.pictures import save_rows
from dualmcmc.settings import Adam, Chain, Guard, Run

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import landscape

HERE = Path(__file__).parent / "pictures"
COLUMNS = 12


def small(path: Path) -> None:
    """Rewrites a PNG with 64 colours, which these pictures do not need more than."""
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(64).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def of_fashion() -> None:
    """fashion_mnist.png: three rows that the bundled model drew, lower halves of the last, completions."""
    model = Model.from_pretrained("fashion_mnist")
    x = model.sample(3 * COLUMNS).reshape(3, COLUMNS, 1, 28, 28)
    hidden = torch.zeros(1, 28, 28, dtype=torch.bool)
    hidden[:, :14] = True
    completed = model.inpaint(x[2], hidden.expand(COLUMNS, 1, 28, 28))
    save_rows(HERE / "fashion_mnist.png", [*x, torch.where(hidden, 0.0, x[2]), completed])
    small(HERE / "fashion_mnist.png")


def in_the_plane() -> None:
    """landscape.png: the energy over training; temperature.png: one energy's chains at three temperatures."""
    seen = landscape.train(2000, [100, 400, 2000])
    landscape.draw(seen, HERE / "landscape.png")
    small(HERE / "landscape.png")
    trio, extent = seen[-1][1], landscape.EXTENT
    start = 0.3 * torch.randn(250, 2, generator=torch.Generator().manual_seed(0))
    figure = Figure(figsize=(6, 2.3), layout="constrained")
    for panel, T in zip(figure.subplots(1, 3), (0.0, 1.0, 8.0), strict=True):
        chain = Chain(steps=200, step=0.08, temperature=T)
        x = langevin(trio.frozen().h, start, chain, noise=BatchNoise(0, range(250)))
        panel.plot(*x.T, ".", color="black", markersize=2)
        panel.set(xlim=(-extent, extent), ylim=(-extent, extent), xticks=[], yticks=[], aspect="equal")
        panel.set_title(f"T = {T:g}: {('too cold', 'as trained', 'too hot')[(T > 0) + (T > 1)]}", fontsize=9)
    figure.savefig(HERE / "temperature.png", dpi=80, metadata={"Software": None})
    small(HERE / "temperature.png")


def of_digits(run: Path) -> None:
    """data-chain.png, latent-chain.png, scores.png: what a trained model's chains and energy do."""
    model = Model.from_pretrained(run)
    lengths = [0, 10, 30]
    save_rows(HERE / "data-chain.png", [model.sample(COLUMNS, seed=3, steps=steps) for steps in lengths])
    h = model.data_trajectory(1000, lengths, seed=3).log_density.mean(0)
    print("mean h along the data chain:", {k: round(h[k].item(), 4) for k in lengths})
    small(HERE / "data-chain.png")

    heldout = data.load("digits:test", model.config.images)
    x = heldout.tensor(range(len(heldout)))
    some = x[:COLUMNS]
    noise = [model.reconstruct(some, start="prior", steps=steps) for steps in (0, 10)]
    save_rows(HERE / "latent-chain.png", [some, model.reconstruct(some, steps=0), model.reconstruct(some), *noise])
    small(HERE / "latent-chain.png")

    places = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    shuffled = some.flatten(1)[:, places].reshape(some.shape)
    order = model.log_density(x).argsort()
    rows = [x[order[-COLUMNS:]], x[order[:COLUMNS]], -some, shuffled]
    save_rows(HERE / "scores.png", rows)
    print("mean percentile of each row:", [round(model.score(row).percentile.mean().item(), 1) for row in rows])
    small(HERE / "scores.png")


def of_a_divergence() -> None:
    """divergence.png: a run whose energy learns a hundred times too fast, and its chains before and after."""
    base = presets.preset("digits", "short_run")
    chain = Chain(steps=2, step=2**0.5, temperature=5e-5)
    config = replace(
        base,
        networks=replace(base.networks, spectral_norm=False, energy_width=8),
        method=replace(base.method, data_chain=chain, test_chain=chain),
        optim=replace(base.optim, batch_size=16, energy=Adam(rate=1e-2)),
        run=Run(steps=600, log_every=1, sample_every=0, evaluate_every=0, checkpoint_every=20),
    )
    with tempfile.TemporaryDirectory() as place:
        lost, held = Path(place) / "lost", Path(place) / "held"
        try:
            Trainer(replace(config, guard=Guard(trips=0)), lost, device="cpu", quiet=True).train()
        except TrainingError as error:
            print(str(error).replace(place, "runs"))
        lines = [json.loads(line) for line in (lost / "log.jsonl").read_text().splitlines()]
        Trainer(config, held, device="cpu", quiet=True).train()
        samples = [model.sample(24) for model in (Model.from_pretrained(lost), Model.from_pretrained(held))]
    figure = Figure(figsize=(8, 2.4), layout="constrained")
    curve, before, after = figure.subplots(1, 3, width_ratios=(1.4, 1, 1))
    steps = [line["step"] for line in lines]
    for name in ("energy_gap_size", "data_chain_moved", "saturation"):
        curve.semilogy(steps, [max(line[name], 1e-3) for line in lines], label=name, linewidth=1)
    curve.set(xlabel="update", xlim=(100, steps[-1] + 1))
    curve.legend(fontsize=7)
    for panel, images, title in zip((before, after), samples, ("just before", "after 600 updates"), strict=True):
        panel.imshow(grid(images), cmap="gray", vmin=-1, vmax=1)
        panel.set(xticks=[], yticks=[])
        panel.set_title(f"chains' ends, {title}", fontsize=9)
    figure.savefig(HERE / "divergence.png", dpi=80, metadata={"Software": None})
    small(HERE / "divergence.png")


def grid(images: Tensor, columns: int = 6) -> Tensor:
    """Images (N, 1, S, S) as one of (N / columns S, columns S), a pixel of white between."""
    apart = torch.nn.functional.pad(images, (0, 1, 0, 1), value=1.0)
    rows = apart.reshape(-1, columns, *apart.shape[2:])
    return rows.transpose(1, 2).flatten(2).flatten(0, 1)


def main() -> None:
    """All of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run of the digits preset")
    run = parser.parse_args().run
    HERE.mkdir(exist_ok=True)
    of_fashion()
    of_digits(run)
    of_a_divergence()
    in_the_plane()


if __name__ == "__main__":
    main()
