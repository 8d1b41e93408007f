"""Image sets: a reference such as `cifar10:test` becomes an array of 8-bit images, decoded once.

    reference.py   what a reference names: a known set, a hub set, a folder, Parquet, an array
    named.py       the known sets, with their pinned revisions
    sources.py     opens a reference; one file per kind beside it; source.py holds the hold-out rule
    rule.py        THE rule by which any picture becomes a training image, and 8 bits become [-1, 1]
    store.py       the cache: load, holdout; entry.py is one entry on disk, place.py where they are
    native.py      which splits there are, and what pictures are before the rule
    order.py       which images update number t sees
    stream.py      images that training reads as it goes, shard by shard, with a position to resume at

Importing this package loads neither datasets, pyarrow nor scikit-learn; they are needed only to decode.
"""

from dualmcmc.data.named import NAMED, Named
from dualmcmc.data.native import natives, splits
from dualmcmc.data.order import batch_indices
from dualmcmc.data.place import cache_folder, cache_size, clear_cache, statistics_folder
from dualmcmc.data.reference import Reference, is_stream, parse
from dualmcmc.data.rule import fit, to_float, to_uint8
from dualmcmc.data.store import VIEW, ImageSet, holdout, load, tensor
from dualmcmc.data.stream import Stream, StreamError, open_stream

__all__ = [
    "NAMED",
    "VIEW",
    "ImageSet",
    "Named",
    "Reference",
    "Stream",
    "StreamError",
    "batch_indices",
    "cache_folder",
    "cache_size",
    "clear_cache",
    "fit",
    "holdout",
    "is_stream",
    "load",
    "natives",
    "open_stream",
    "parse",
    "splits",
    "statistics_folder",
    "tensor",
    "to_float",
    "to_uint8",
]
