"""Mend scratched pictures: scratches are drawn on images, and the model finds what was under them.

    python examples/scratches.py runs/photos --data photos:test --out mended.png

Where the scratches are is known here, as it is when somebody has marked them. PSNR is over the scratched pixels
alone, since the others are given: of the scratches themselves, of mid-grey in their place, and of what was found.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from dualmcmc import Model, data
from dualmcmc.metrics import compare_where
from dualmcmc.pictures import save_rows


def scratches(n: int, size: int, *, seed: int) -> torch.Tensor:
    """Which pixels are: bool (n, 1, size, size), two lines across each image, a tenth of its side wide."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(n):
        sheet = Image.new("1", (size, size))
        for _ in range(2):
            ends = rng.integers(0, size, 2)
            flat = rng.random() < 0.5
            line = [(0, ends[0]), (size - 1, ends[1])] if flat else [(ends[0], 0), (ends[1], size - 1)]
            ImageDraw.Draw(sheet).line([(int(a), int(b)) for a, b in line], fill=1, width=max(1, size // 10))
        masks.append(np.array(sheet))
    return torch.from_numpy(np.stack(masks))[:, None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run, a model folder, or a hub id")
    parser.add_argument("--data", required=True, help="a data reference: images that training has not seen")
    parser.add_argument("-n", type=int, default=12, help="images, the first ones")
    parser.add_argument("--out", type=Path, default=Path("mended.png"))
    options = parser.parse_args()

    model = Model.from_pretrained(options.run)
    images = data.load(options.data, model.config.images)
    x = images.tensor(range(min(options.n, len(images))))
    hidden = scratches(len(x), x.shape[-1], seed=0)
    scratched = torch.where(hidden, torch.ones_like(x), x)
    mended = model.inpaint(scratched, hidden)  # what it holds under the mask changes nothing
    found = {"scratched": scratched, "mid-grey": torch.where(hidden, 0.0, x), "mended": mended}
    for name, picture in found.items():
        print(f"{name}: PSNR {compare_where(x, picture, hidden).psnr.mean():.2f} dB in scratched pixels")
    save_rows(options.out, [x, scratched, mended])
    print(f"{options.out}: images, scratched, mended")


if __name__ == "__main__":
    main()
