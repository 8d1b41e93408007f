"""Networks of your own: any three modules of the right shapes, taught by the library and used through `Model`.

    python examples/custom_networks.py --updates 600

    energy      images (B, C, S, S) to h, (B,); up is likelier
    generator   codes (B, d) to images (B, C, S, S)
    inference   images (B, C, S, S) to mean and log variance of codes, both (B, d)

No network may couple the images of a batch (BatchNorm does, GroupNorm does not), or results would depend on
neighbours. Run folders and `from_pretrained` need the networks that config.json describes; with your own, the loop
below is the training, and safetensors' `save_file(trio.state_dict(), "mine.safetensors")` keeps the weights.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from dualmcmc import Model, data, methods, presets
from dualmcmc.metrics import compare
from dualmcmc.noise import BatchNoise
from dualmcmc.teaching import teaching
from dualmcmc.trio import Trio

LATENT, WIDTH = 16, 256


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    """Two layers; enough for 8x8 pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, WIDTH), nn.SiLU(), nn.Linear(WIDTH, outputs))


class Energy(nn.Module):
    """h from an autoencoder of its own: high where an image is reproduced."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.auto = nn.Sequential(perceptron(pixels, LATENT), perceptron(LATENT, pixels))

    def forward(self, x: Tensor) -> Tensor:
        return -0.01 * (self.auto(x) - x.flatten(1)).square().sum(1)


class Inference(nn.Module):
    """Both halves of one output."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.layers = perceptron(pixels, 2 * LATENT)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.layers(x).chunk(2, 1)
        return mean, log_variance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=600)
    options = parser.parse_args()

    config = presets.preset("digits")  # images, chains, sigma and weights of the losses; its networks are not used
    pixels, shape = config.images.size**2, (config.images.channels, config.images.size, config.images.size)
    torch.manual_seed(config.seed)
    generator = nn.Sequential(perceptron(LATENT, pixels), nn.Tanh(), nn.Unflatten(1, shape))
    sigma, T = methods.sigma(config.method), methods.temperature(config.method)
    trio = Trio(Energy(pixels), generator, Inference(pixels), latent_dim=LATENT, sigma=sigma, temperature=T)

    train, heldout = data.load("digits:train", config.images), data.load("digits:test", config.images)
    learner = teaching(trio, config.method)
    optimiser = torch.optim.Adam(trio.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for t in range(options.updates):
        rows = data.batch_indices(t, images=len(train), batch_size=64, seed=config.seed)
        losses = learner(train.tensor(rows), BatchNoise(config.seed, range(64), path=("train", t)))
        losses.total().backward()
        optimiser.step()
        optimiser.zero_grad()

    model = Model(trio.frozen(), config, step=options.updates)  # all that a model of the library's networks can do
    x = heldout.tensor(range(len(heldout)))
    for how, steps in (("by inference", 0), ("after the latent chain", None)):
        print(f"held-out digits, MSE {how}: {compare(x, model.reconstruct(x, steps=steps)).mse.mean():.4f}")
    flat = compare(x, train.tensor(range(len(train))).mean(0).expand_as(x)).mse.mean()
    print(f"of the mean digit: {flat:.4f}; samples: {tuple(model.sample(4).shape)}")


if __name__ == "__main__":
    main()
