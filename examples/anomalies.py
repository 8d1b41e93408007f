"""Find odd images with a stated rate of false alarms: the threshold is chosen on images held out from training.

    python examples/anomalies.py runs/photos --normal photos:test --odd suspects --fpr 0.05

The normal images, which training must not have seen, are dealt into two halves. The threshold is the k-th lowest
log-density of the first, k = floor(fpr (m + 1)) of m: then a normal image to come is below it with a chance of at
most fpr, whatever the scores' law. The second half, which chose nothing, says what rate was kept.
"""

from __future__ import annotations

import argparse
import math
import sys

import torch

from dualmcmc import Model, data


def threshold(scores: torch.Tensor, fpr: float) -> float:
    """The k-th lowest of m scores of normal images (m,), k = floor(fpr (m + 1)); -inf where m is too small."""
    k = math.floor(fpr * (len(scores) + 1))
    return scores.sort().values[k - 1].item() if k else -math.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run, a model folder, or a hub id")
    parser.add_argument("--normal", required=True, help="a data reference: normal images, not trained on")
    parser.add_argument("--odd", help="images to judge; without it the normal ones upside down in brightness")
    parser.add_argument("--fpr", type=float, default=0.05, help="share of normal images that may be called odd")
    options = parser.parse_args()

    model = Model.from_pretrained(options.run)
    normal = data.load(options.normal, model.config.images)
    if len(normal) < 2 or not 0 <= options.fpr < 1:
        sys.exit("give two normal images or more, and a rate from 0 to below 1")
    scores = model.log_density(normal.tensor(range(len(normal))))
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(0))
    choosing, checking = scores[order].chunk(2)
    limit = threshold(choosing, options.fpr)
    alarms = int((checking < limit).sum())
    print(f"threshold {limit:.6g}, chosen on {len(choosing)} images for a rate of {options.fpr:g}")
    print(f"false alarms on {len(checking)} others: {alarms}, that is {alarms / len(checking):.3f}")

    if options.odd:
        judged = data.load(options.odd, model.config.images)
        names, x = judged.names, judged.tensor(range(len(judged)))
    else:
        names, x = normal.names, -normal.tensor(range(len(normal)))
    found = model.log_density(x) < limit
    print(f"called odd: {int(found.sum())} of {len(x)}")
    if options.odd:
        print("\n".join(f"  {name}" for name, odd in zip(names, found.tolist(), strict=True) if odd))


if __name__ == "__main__":
    main()
