"""How much is taken from a file, a configuration or a command line, at most; nothing here imports anything.

Sizes are looked at before memory is taken. What is beyond a limit is refused with one line (`InputError`, exit
code 2) that says what was seen and what the limit is. Together the limits keep what one file makes of itself in
memory under `MEMORY`, beside networks of up to `PARAMETERS` numbers and batches of the size asked for; sets of
images are mapped from disk and take next to none.

Three things take what they take: a set of images fills the cache's disk as far as there is room (a set whose
images are counted beforehand is refused where there is none); a single page of a Parquet file is unpacked whole
by Arrow, which the format bounds at 2 GiB; libraries of the hub read what the hub sends them.
"""

from __future__ import annotations

MEMORY = 2 << 30
"""Bytes that reading one file may take at its peak."""

JSON = 32 << 20
"""Bytes of a JSON file: config.json, metrics.json, scores.json and others; parsed, up to 21 times as much."""
LOG = 256 << 20
"""Bytes of log.jsonl: 250,000 lines of a kilobyte."""
PICTURE_BYTES = 512 << 20
"""Bytes of an encoded picture."""
PICTURE_PIXELS = 1 << 26
"""Pixels of a picture, as 8192x8192: five copies of four bytes each while the data rule is applied."""
REPORT_PICTURES = 256 << 20
"""Bytes of all of a report's pictures as they lie on disk."""
NAME = 4096
"""Characters of an image's name."""
NPY_HEADER = 10_000
"""Bytes of an .npy's header, as numpy has it."""
MEMBERS = 4096
"""Arrays in an .npz."""
UNPACKED = 16 << 30
"""Bytes of an .npz's member on disk, unpacked to be mapped; larger arrays lie in an .npy, mapped as it is."""
PARQUET_BATCH = 128 << 20
"""Bytes of the rows of a Parquet file that are held at once, were each as large as all of its row group."""
FEATURES = 512 << 20
"""Bytes of a feature network's weights (FID's take 96 MB)."""
TENSORS = 32 << 30
"""Bytes of a safetensors file, which is mapped, not read: a checkpoint's largest."""

PARAMETERS = 1 << 29
"""Numbers of a model's networks, 2 GiB in float32; the largest preset has 160 million."""
WIDTH = 8192
"""Channels of a network at `width` 1."""
LATENT = 16_384
"""Dimensions of codes."""
STATES = 1 << 32
"""Numbers of a method's buffer or bank: 10,000 images of 256 pixels in colour are half of it."""
BATCH = 65_536
"""Images at once, in training and on the command line."""
STEPS = 1_000_000
"""Transitions of a chain."""
UPDATES = 1_000_000_000
"""Of a training run, and any other number of them."""
IMAGES = 1_000_000
"""Images that one command draws or measures."""
CLASSES = 100_000
"""Of JEM's classifier."""
NUMBER = 1e30
"""Magnitude of a real-valued setting; none is so small that its inverse is larger, unless it is 0."""
