"""What a stream holds, and how fast it is, beside the same set decoded into the cache.

    python benchmarks/streaming.py --images 20000 160000 --out DIR

Makes Parquet sets of 64x64 JPEGs in DIR, row groups of 1,000, and goes through one epoch of each, 100 images at a
time, in a process of its own: once as a stream, once as an image set (decoded first). Nothing is trained.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SIDE, BATCH, PER_FILE, GROUP = 64, 100, 10_000, 1_000


def make(folder: Path, images: int) -> None:
    """Files of up to 10,000 pictures of noise, 4 kB each, of which 500 are different."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    folder.mkdir(parents=True)
    rng, pool = np.random.default_rng(0), []
    for _ in range(500):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(file, "JPEG", quality=90)
        pool.append(file.getvalue())
    for number, first in enumerate(range(0, images, PER_FILE)):
        encoded = [pool[(7 * i + number) % 500] for i in range(min(PER_FILE, images - first))]
        table = pa.table({"image": pa.array(encoded, pa.binary())})
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=GROUP, use_dictionary=False)


def go_through(ref: str, cache: str) -> tuple[float, float, float, float]:
    """Seconds before the first image and for an epoch, MB at most of memory, MB in the cache."""
    os.environ["DUALMCMC_CACHE"] = cache
    from dualmcmc import data
    from dualmcmc.settings import Images

    rule = Images(size=SIDE, channels=3)
    began = time.monotonic()
    images = data.load(ref, rule, split="train")
    if data.is_stream(ref):
        stream = data.open_stream(ref, rule, seed=0)
        assert stream.split.count is not None
        stream.take(BATCH)
        first = time.monotonic()
        for _ in range(stream.split.count // BATCH - 1):
            stream.take(BATCH)
        last = time.monotonic()
        stream.close()
    else:
        first = time.monotonic()
        for step in range(len(images) // BATCH):
            images.tensor(data.batch_indices(step, images=len(images), batch_size=BATCH, seed=0))
        last = time.monotonic()
    import resource  # no Windows has it

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return first - began, last - first, peak, data.cache_size() / 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the sets that are not there, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 160_000])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    print("| read as | set | first image after | images/s then | peak memory | in the cache |")
    print("|---|---|---|---|---|---|")
    for count in options.images:
        folder = options.out / str(count)
        if not folder.exists():
            make(folder, count)
        size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        for kind in ("stream", "image set"):
            ref, cache = str(folder), options.out / f"cache-{kind}-{count}"
            ref = f"stream:{ref}" if kind == "stream" else ref
            with multiprocessing.get_context("spawn").Pool(1) as fresh:
                before, seconds, peak, cached = fresh.apply(go_through, (f"{ref}:train", str(cache)))
            speed = 0.9 * count / seconds
            print(
                f"| {kind} | {count:,} images, {size:.0f} MB | {before:.1f} s | {speed:,.0f} | {peak:.0f} MB | "
                f"{cached:.0f} MB |",
                flush=True,
            )


if __name__ == "__main__":
    main()
