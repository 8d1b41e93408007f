"""A density in the plane, learned by dual-MCMC teaching, and its energy landscape drawn over training.

    python examples/landscape.py --out landscape.png

Five Gaussians on a ring give the points. The three networks are small ones of points instead of images (see
`toy_family.py`): nothing in `Trio` or in the teaching knows images. Blue is the density; orange are draws of the
generator, black where the data chain takes them.
"""

from __future__ import annotations

import argparse
from copy import deepcopy
from pathlib import Path

import torch
from matplotlib.figure import Figure

from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import synthesise
from dualmcmc.teaching import DualMCMCTeaching
from dualmcmc.toy_family import ROWS, TRUTH, UNIT, toy_trio
from dualmcmc.toys import kl_on_grid
from dualmcmc.trio import Trio

SETTINGS, BATCH = ROWS["dual_mcmc reuse reinferred"], 128
EXTENT, CELLS = 2.2 * UNIT, 110


def train(updates: int, looks: list[int], *, seed: int = 0) -> list[tuple[int, Trio]]:
    """The networks as they were after so many updates, those of `looks`."""
    trio = toy_trio(SETTINGS, seed=seed)
    teaching = DualMCMCTeaching(trio, SETTINGS)
    optimiser = torch.optim.Adam(trio.parameters(), lr=1e-2, betas=(0.5, 0.99))
    source, seen = torch.Generator().manual_seed(seed), [(0, deepcopy(trio))]
    for t in range(updates):
        optimiser.param_groups[0]["lr"] = 1e-2 * (1 - t / updates)
        x = TRUTH.sample(BATCH, source)
        teaching(x, BatchNoise(seed, range(BATCH), path=("train", t))).total().backward()
        optimiser.step()
        optimiser.zero_grad()
        if t + 1 in looks:
            seen.append((t + 1, deepcopy(trio)))
    return seen


@torch.no_grad()
def draw(seen: list[tuple[int, Trio]], out: Path) -> None:
    """A panel for the truth, and one for each look."""
    axis = (torch.arange(CELLS) + 0.5) / CELLS * 2 * EXTENT - EXTENT
    grid = torch.cartesian_prod(axis, axis)
    figure = Figure(figsize=(2 * (len(seen) + 1), 2.3), layout="constrained")
    panels = figure.subplots(1, len(seen) + 1)
    for panel, (t, trio) in zip(panels, [(None, None), *seen], strict=True):
        values = trio.log_pi(grid) if trio else TRUTH.log_density(grid)
        density = (values - values.logsumexp(0)).exp().reshape(CELLS, CELLS).T
        panel.imshow(density, origin="lower", extent=[-EXTENT, EXTENT] * 2, cmap="Blues")
        if trio:
            drawn = synthesise(trio, 100, SETTINGS.data_chain, "draw", noise=Noise(1))
            panel.plot(*drawn.x_gen.T, ".", color="darkorange", markersize=2)
            panel.plot(*drawn.x_model.T, ".", color="black", markersize=2)
        panel.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xticks=[], yticks=[])
        panel.set_title(f"after {t} updates" if trio else "the data's density", fontsize=9)
    figure.savefig(out, dpi=80, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("landscape.png"))
    options = parser.parse_args()
    seen = train(options.updates, [options.updates // 20, options.updates // 5, options.updates])
    for t, trio in seen:
        kl = kl_on_grid(TRUTH.log_density, trio.log_pi, extent=EXTENT)
        print(f"after {t} updates: KL(truth || exp(h)) = {kl:.3f} nats")
    draw(seen, options.out)
    print(f"{options.out}: density blue, the generator's draws orange, after the data chain black")


if __name__ == "__main__":
    main()
