"""What an evaluation costs beside the chain it cannot do without: seconds of both, interleaved, and peak memory.

    python benchmarks/evaluation.py --data CIFAR10 --features cifar10_resnet20 --feature-weights FILE

An untrained model of the preset draws n samples in rounds; each round is drawn twice, once by the generation task
(generator and end of the chain; features, distances, score) and once by the chain alone. The statistics of
training images are timed apart: they are found once and cached.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import torch

from dualmcmc import Model, features, presets
from dualmcmc.parallel import Processes
from dualmcmc.storage import pretrained
from dualmcmc.tasks.generation import generation
from dualmcmc.tasks.reference import reference
from dualmcmc.tasks.running import setting_of


def main() -> None:
    options = arguments()
    torch.manual_seed(0)
    config = presets.preset(options.preset)
    model = Model(pretrained.plain_trio(pretrained.build_trio(config)), config)
    setting = setting_of(model, options.data, resize=True, batch_size=options.batch_size, processes=Processes())
    network = features.load(options.features, options.feature_weights)
    began = perf_counter()
    statistics = reference(setting, network, options.reference_images)
    print(f"{options.preset}, {torch.get_num_threads()} threads, batches of {options.batch_size}")
    print(
        f"statistics of {statistics.about['n']} training images (or the cache's): {perf_counter() - began:.1f} s"
    )
    n, whole, alone = options.n // options.rounds, [], []
    for _ in range(options.rounds):
        began = perf_counter()
        generation(setting, network, statistics, n=n, steps=(0, options.steps))
        whole.append(perf_counter() - began)
        began = perf_counter()
        model.sample(n, steps=options.steps, batch_size=options.batch_size)
        alone.append(perf_counter() - began)
        print(f"  {n} samples: evaluation {whole[-1]:.1f} s, chain alone {alone[-1]:.1f} s", flush=True)
    import resource  # no Windows has it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    ratios = sorted(a / b for a, b in zip(whole, alone, strict=True))
    print(f"{n * options.rounds} samples, {options.steps} steps: {sum(whole):.0f} s against {sum(alone):.0f} s,")
    spread = f"{ratios[0]:.3f} to {ratios[-1]:.3f}"
    print(f"ratio {sum(whole) / sum(alone):.3f} (rounds {spread}), peak memory {peak:.2f} GiB")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cifar10_simple")
    parser.add_argument("--data", required=True)
    parser.add_argument("--features", default="pixels")
    parser.add_argument("--feature-weights", type=Path)
    parser.add_argument("--reference-images", type=int)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
