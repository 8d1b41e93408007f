"""Train on a folder of your own images (any depth, size, mode and format), and see what was learned.

    python examples/train_on_a_folder.py photos --out runs/photos --minutes 6

The pictures that training draws are in runs/photos/samples, the model in runs/photos/model. On the command line
the same is `dualmcmc train quick --data photos --out runs/photos --run.minutes 6`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from dualmcmc import Model, Trainer, data, presets
from dualmcmc.metrics import compare
from dualmcmc.pictures import save_rows
from dualmcmc.settings import Images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="of images; every tenth is held out")
    parser.add_argument("--out", default="runs/photos", type=Path)
    parser.add_argument("--size", default=32, type=int, help="side of the training images: 8, 16, 28, 32, 64, ...")
    parser.add_argument("--minutes", default=6.0, type=float, help="of updates")
    parser.add_argument("--steps", default=2000, type=int, help="updates at most")
    parser.add_argument("--batch-size", default=64, type=int, help="images per update, no more than there are")
    options = parser.parse_args()

    quick = presets.preset("quick")
    config = replace(
        quick,
        data=options.folder,
        images=Images(size=options.size, channels=3),
        optim=replace(quick.optim, batch_size=options.batch_size),
        run=replace(quick.run, steps=options.steps, minutes=options.minutes),
    )
    outcome = Trainer(config, options.out, skip_bad=True).train()
    about = json.loads((options.out / "config.json").read_text())
    print(f"{about['images']} images, {outcome.steps} updates, {outcome.seconds:.0f} s")

    model = Model.from_pretrained(options.out)
    heldout = data.holdout(options.folder, config.images, skip_bad=True)
    if heldout is None:
        sys.exit(f"{options.folder}: too few images to hold any out; the model is in {options.out}")
    x = heldout.tensor(range(min(12, len(heldout))))
    again = model.reconstruct(x)
    print(f"held-out images reconstructed: PSNR {compare(x, again).psnr.mean():.1f} dB")
    print(f"their percentiles among training images: {[round(p) for p in model.score(x).percentile.tolist()]}")
    save_rows(options.out / "look.png", [x, again, model.sample(len(x))])
    print(f"{options.out / 'look.png'}: held-out images, their reconstructions, and new images")


if __name__ == "__main__":
    main()
