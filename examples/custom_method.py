"""A method of your own, trained by the library's trainer: contrastive divergence from noisy images.

    python examples/custom_method.py --data digits --out runs/mine

    x- starts from          energy
    x+ with noise on it     x+ / x-

After Hinton (2002): the energy learns to tell an image from what K steps of its own chain make of a noisy copy.
There is no generator; the use of such a model is its score, which is compared with that of shuffled pixels.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from dualmcmc import Model, Trainer, data, presets
from dualmcmc.methods import Chain, ShortRun
from dualmcmc.metrics import ranking
from dualmcmc.noise import Noise
from dualmcmc.sampling import revise
from dualmcmc.settings import Run
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import Losses, Teaching, Update, energy_loss


class ContrastiveDivergence(Teaching):
    """The energy alone, from chains that start at noisy images."""

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()  # the networks as they are now, without gradient, for the chain
        start = x_data + s.data_noise * noise.stream("start").normal_like(x_data)
        x_model = revise(frozen, start, s.data_chain, noise=noise)
        loss, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        return Losses(energy=loss, seen=seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--out", default="runs/mine")
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()

    chain = Chain(steps=5, step=0.5, temperature=4e-6)
    settings = ShortRun(data_chain=chain, test_chain=chain, data_noise=0.3, energy_penalty=0.1)
    config = replace(presets.preset("digits"), data=options.data, method=settings, run=Run(steps=options.steps))
    Trainer(config, options.out, teaching=ContrastiveDivergence).train()

    model = Model.from_pretrained(options.out)
    heldout = data.holdout(options.data, config.images)
    x = heldout.tensor(range(len(heldout)))
    places = torch.randperm(x[0].numel(), generator=torch.Generator().manual_seed(0))
    shuffled = x.flatten(1)[:, places].reshape(x.shape)
    auroc = ranking(model.log_density(x), model.log_density(shuffled))["auroc"]
    print(f"images above the same with shuffled pixels: AUROC {auroc:.3f}")


if __name__ == "__main__":
    main()
