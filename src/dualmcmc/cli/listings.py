"""`dualmcmc presets`, `methods`, `datasets`: what there is, one line each."""

from __future__ import annotations

from dataclasses import dataclass

from dualmcmc.cli.arguments import Json, parse
from dualmcmc.cli.output import check_json, show, table, write_json


@dataclass(frozen=True)
class Listing:
    """Lists what there is, one line each."""

    json: Json = None
    """Write the list as JSON to this file; - is standard output."""


@dataclass(frozen=True)
class Datasets:
    """Lists the named data sets, where decoded images are cached and how much they take."""

    clear_cache: bool = False
    """Remove all cached images (they are decoded again when needed)."""
    json: Json = None
    """Write the list as JSON to this file; - is standard output."""


def presets(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    from dualmcmc.presets import PRESETS, SOURCES

    options = parse(Listing, args, "presets")
    check_json(options.json)
    rows = [
        (name, f"{c.images.size}x{c.images.size}x{c.images.channels}", c.networks.family, SOURCES[name])
        for name, c in PRESETS.items()
    ]
    write_json(
        options.json,
        [
            {"name": name, "images": size, "networks": family, "source": source}
            for name, size, family, source in rows
        ],
    )
    show(table(rows), options.json)


def methods(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    from dualmcmc.methods import METHODS, what

    options = parse(Listing, args, "methods")
    check_json(options.json)
    rows = [(name, ", ".join(kind.PARTS), what(name)) for name, kind in METHODS.items()]
    write_json(options.json, [{"name": name, "networks": parts, "what": what} for name, parts, what in rows])
    show(table(rows), options.json)


def datasets(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Datasets, args, "datasets")
    check_json(options.json)
    from dualmcmc import data

    if options.clear_cache:
        freed = data.clear_cache()
        show(f"{freed / 1e6:.1f} MB removed from {data.cache_folder()}", options.json)
    about = [
        {
            "name": name,
            "size": named.size,
            "channels": named.channels,
            "title": named.title,
            "repository": named.repo,
            "revision": named.revision,
        }
        for name, named in data.NAMED.items()
    ]
    write_json(
        options.json, {"datasets": about, "cache": str(data.cache_folder()), "cache_bytes": data.cache_size()}
    )
    rows = [
        (name, f"{named.size}x{named.size}x{named.channels}", named.repo or "embedded", named.title)
        for name, named in data.NAMED.items()
    ]
    also = "also: hf:owner/name, a folder of images, a Parquet file or folder, an .npy or .npz of uint8; REF:split"
    cache = f"cache: {data.cache_folder()} ({data.cache_size() / 1e6:.1f} MB; DUALMCMC_CACHE moves it)"
    show("\n".join([table(rows), also, cache]), options.json)
