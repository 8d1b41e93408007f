"""Do the paper's orderings hold on a trained run? Each figure over seeds of evaluation, with its standard error.

    python benchmarks/orderings.py RUN --data REF --features cifar10_resnet20 --feature-weights FILE

Orderings: MSE of inference + 10 steps < 30 steps from noise < 10 steps from noise (Figure 3, Table 4);
distance after the data chain <= the generator's alone (Section 5.2); PSNR rises over the three stages of
inpainting for each mask (Figure 5). AUROC against the built-in sets and --ood is reported, not judged. The
seeds are of the chains' noise, the samples' and the masks'; the held-out images are the same. Exit code 1 if an
ordering does not hold.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

from dualmcmc import Model
from dualmcmc.storage.files import write_json
from dualmcmc.tasks.plan import Plan, Task
from dualmcmc.tasks.running import run, setting_of

TASKS: tuple[Task, ...] = ("generation", "reconstruction", "ood", "inpainting")
STAGES = ("inference", "latent_chain", "data_chain")
SCORES = ("log_density", "reconstruction_error", "gradient_norm", "combination")

Entry = dict[str, Any]


def main() -> int:
    options = arguments()
    began = perf_counter()
    seeds = [evaluate(options, seed) for seed in range(options.seeds)]
    if options.json:
        write_json(options.json, seeds)
    held = [*reconstruction(seeds), *generation(seeds), *inpainting(seeds)]
    ood(seeds)
    print(
        f"\n{options.seeds} seeds, {perf_counter() - began:.0f} s; orderings that hold: {sum(held)} of {len(held)}"
    )
    return 0 if all(held) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data")
    parser.add_argument("--features", default="pixels")
    parser.add_argument("--feature-weights", type=Path)
    parser.add_argument("--reference-images", type=int)
    parser.add_argument("--ood", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-n", type=int, default=10_000)
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 10, 30, 50])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def evaluate(options: argparse.Namespace, seed: int) -> dict[str, Entry]:
    setting = setting_of(Model.from_pretrained(options.run), options.data, options.held_out, seed=seed)
    plan = Plan(
        n=options.n,
        steps=tuple(options.steps),
        reference_images=options.reference_images,
        ood=("builtin", *options.ood),
    )
    tasks = run(TASKS, setting, plan, options.features, options.feature_weights)
    return {task: result.figures for task, result in tasks}


def over(values: Iterable[float]) -> str:
    """Mean and standard error over seeds."""
    seen = list(values)
    error = stdev(seen) / len(seen) ** 0.5 if len(seen) > 1 else float("nan")
    return f"{fmean(seen):.5g} +- {error:.2g}"


def judge(claim: str, lower: list[float], higher: list[float], equal: bool = False) -> bool:
    """Whether lower < higher on average over seeds, judged by the paired differences; `equal` allows 2 errors."""
    differences = [b - a for a, b in zip(lower, higher, strict=True)]
    mean = fmean(differences)
    error = stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    holds = mean > -2 * error if equal else mean > 2 * error
    print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {claim} (difference {mean:.4g} +- {error:.2g})")
    return holds


def reconstruction(seeds: list[dict[str, Entry]]) -> list[bool]:
    entries = [seed["reconstruction"] for seed in seeds]
    latent = next(iter(entries[0]["from_inference"]))
    kinds = {
        "inference": [e["inference"] for e in entries],
        f"inference + {latent} steps": [e["from_inference"][latent] for e in entries],
        "10 steps from noise": [e["from_noise"]["10"] for e in entries],
        "30 steps from noise": [e["from_noise"]["30"] for e in entries],
        f"PCA, {entries[0]['pca']['dimensions']} dimensions": [e["pca"] for e in entries],
    }
    print("reconstruction: MSE, PSNR, SSIM")
    for kind, values in kinds.items():
        print(f"  {kind:24}" + "  ".join(over(v[name] for v in values) for name in ("mse", "psnr", "ssim")))
    mse = {kind: [v["mse"] for v in values] for kind, values in kinds.items()}
    best, short, long = mse[f"inference + {latent} steps"], mse["10 steps from noise"], mse["30 steps from noise"]
    return [
        judge(f"inference + {latent} steps < inference", best, mse["inference"]),
        judge(f"inference + {latent} steps < 30 steps from noise", best, long),
        judge("30 steps from noise < 10 steps from noise", long, short),
    ]


def generation(seeds: list[dict[str, Entry]]) -> list[bool]:
    entries = [seed["generation"]["figures"] for seed in seeds]
    steps = [str(k) for k in seeds[0]["generation"]["steps"]]
    print(f"generation: steps of the data chain {', '.join(steps)}")
    for name in entries[0]:
        values = [[figure(e[name][k]) for e in entries] for k in steps]
        print(f"  {name:24}" + "  ".join(over(v) for v in values))
    name = next(iter(entries[0]))
    generator = [e[name]["0"] for e in entries]
    return [
        judge(f"{name} after {k} steps <= generator", [e[name][k] for e in entries], generator, equal=True)
        for k in steps[1:]
    ]


def figure(value: Any) -> float:
    return float(value["mean"] if isinstance(value, dict) else value)


def inpainting(seeds: list[dict[str, Entry]]) -> list[bool]:
    held = []
    print("inpainting: PSNR, then SSIM, of the whole image without paste-back")
    for mask in seeds[0]["inpainting"]["masks"]:
        entries = [seed["inpainting"]["masks"][mask]["stages"] for seed in seeds]
        for name in ("psnr", "ssim"):
            print(f"  {mask:4} {name} " + "  ".join(over(e[stage][name] for e in entries) for stage in STAGES))
        psnr = {stage: [e[stage]["psnr"] for e in entries] for stage in STAGES}
        for before, after in pairwise(STAGES):
            held.append(judge(f"{mask}: {before} < {after}", psnr[before], psnr[after]))
    return held


def ood(seeds: list[dict[str, Entry]]) -> None:
    print("AUROC by " + ", ".join(SCORES))
    for name in seeds[0]["ood"]["sets"]:
        entries = [seed["ood"]["sets"][name] for seed in seeds]
        print(f"  {Path(name).name:24}" + "  ".join(over(e[score]["auroc"] for e in entries) for score in SCORES))


if __name__ == "__main__":
    sys.exit(main())
