"""`dualmcmc score RUN --data REF`: how usual each image is, as CSV; with --heatmap, where the surprise lies."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from annotated_types import Ge

from dualmcmc.cli.arguments import OnImages, check_counts, parse
from dualmcmc.cli.output import check_finite, check_json, show, write_json
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from dualmcmc.data import ImageSet
    from dualmcmc.model import Model

COLUMNS = ("path", "log_density", "reconstruction_mse", "percentile")


@dataclass(frozen=True, kw_only=True)
class Score(OnImages):
    """Scores images: log-density up to a constant, reconstruction error, percentile among the training images.

    One CSV row per image; without a generator its reconstruction error is left empty. --threshold or --fpr adds a
    column `anomalous` (1 or 0).
    """

    out: Path | None = None
    """A new .csv; default: RUN/scores.csv (elsewhere: scores.csv), which is replaced."""
    threshold: float | None = None
    """Images of a lower log-density than this are anomalous."""
    fpr: float | None = None
    """Instead of a threshold: the share of training images that would be called anomalous, as 0.01."""
    heatmap: Annotated[Path | None, tyro.conf.arg(metavar="FOLDER")] = None
    """A new folder: per image its picture, |x - reconstruction|, |grad h|, each map from black (0) to white."""
    reference: str | None = None
    """Training images to take percentiles from; default: those the model knows (live weights: the run's data)."""
    steps: Annotated[int, Ge(0)] | None = None
    """Length of the latent chain of the reconstruction; default: as in training."""


def score(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Score, args, "score")
    check_json(options.json)
    check_counts(n=options.n, batch_size=options.batch_size, steps=options.steps)
    _check(options)
    from dualmcmc.cli.loading import free_file, load_images, load_model, new_folder

    out = free_file(options.out, options.run, "scores.csv")
    if options.heatmap is not None:
        new_folder(options.heatmap, "--heatmap")
    model = load_model(options)
    model.trio.part("energy")
    if options.heatmap is not None:
        model.trio.part("generator")
    images, n = load_images(model, options)
    _calibrate(model, options)
    threshold = _threshold(model, options)
    figures = _write(model, images, n, threshold, out, options)
    if options.heatmap is not None:  # a disk that fills up under them leaves the scores whole
        _draw_all(model, images, n, options.heatmap, options)
    assert model.training_scores is not None
    reference = {"data": model.training_scores.data, "images": model.training_scores.images}
    about = {"out": str(out), "n": n, "skipped": images.skipped, "data": images.title, "reference": reference}
    write_json(options.json, {**about, **figures, "seed": options.seed})
    skipped = f", {images.skipped} unreadable ones skipped" if images.skipped else ""
    line = f"{out}: {n} images of {images.title}{skipped}, median percentile {figures['median_percentile']:.1f}"
    if threshold is not None:
        line += f", {figures['anomalous']} anomalous (log-density below {threshold:.6g})"
    show(line, options.json)


def _check(options: Score) -> None:
    if options.threshold is not None and options.fpr is not None:
        raise InputError("--threshold and --fpr exclude each other: give one")
    if options.threshold is not None and not math.isfinite(options.threshold):
        raise InputError(f"--threshold {options.threshold}: give a finite number")
    if options.fpr is not None and not 0 <= options.fpr <= 1:
        raise InputError(f"--fpr {options.fpr}: give a share from 0 to 1")


def _calibrate(model: Model, options: Score) -> None:
    """Training scores: those that came with the weights, unless a reference is given or they are of others."""
    if model.training_scores is not None and options.reference is None:
        return
    if options.reference is None and options.weights == "ema":
        raise InputError(f"{options.run} holds no scores of its training images: give them with --reference REF")
    from dualmcmc import data
    from dualmcmc.training.progress import decoding

    reference, split = options.reference or model.config.data, None if options.reference else "train"
    images = data.load(reference, model.config.images, split=split, skip_bad=options.skip_bad, progress=decoding())
    model.calibrate(images, batch_size=options.batch_size)


def _threshold(model: Model, options: Score) -> float | None:
    if options.fpr is None:
        return options.threshold
    assert model.training_scores is not None
    return model.training_scores.threshold(options.fpr)


def _write(
    model: Model, images: ImageSet, n: int, threshold: float | None, out: Path, options: Score
) -> dict[str, Any]:
    """Writes the CSV, whole or not at all; returns counts and medians."""
    import io
    from statistics import median

    from dualmcmc.cli.loading import batches
    from dualmcmc.storage.files import write_text

    text, seen, anomalous = io.StringIO(), [], 0
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, *(["anomalous"] if threshold is not None else [])])
    for keys in batches(n, options.batch_size, "scoring"):
        scores = model.score(images.tensor(list(keys)), **_how(options, keys))
        for i, values in zip(keys, zip(*(column.tolist() for column in scores), strict=True), strict=True):
            check_finite(values[0], "log-density")
            low = [] if threshold is None else [int(values[0] < threshold)]
            anomalous += sum(low)
            rows.writerow([_path(images, i), *("" if math.isnan(value) else value for value in values), *low])
            seen.append(values)
    write_text(out, text.getvalue())
    names = ("log_density", "reconstruction_mse", "percentile")
    figures: dict[str, Any] = {
        f"median_{name}": median(row[j] for row in seen)
        for j, name in enumerate(names)
        if not math.isnan(seen[0][j])
    }
    return figures if threshold is None else {**figures, "threshold": threshold, "anomalous": anomalous}


def _how(options: Score, keys: range) -> dict[str, Any]:
    return {"seed": options.seed, "keys": keys, "steps": options.steps, "batch_size": options.batch_size}


def _path(images: ImageSet, i: int) -> str:
    """Where an image of a folder is; else what its set calls it."""
    from dualmcmc.cli.loading import folder_of

    folder = folder_of(images)
    path = images.names[i] if folder is None else str(folder / images.names[i])
    return path.encode("utf-8", "backslashreplace").decode()  # a name that is no UTF-8 must not cost the table


def _draw_all(model: Model, images: ImageSet, n: int, folder: Path, options: Score) -> None:
    from dualmcmc.cli.loading import batches, file_name

    for keys in batches(n, options.batch_size, "drawing"):
        x = images.tensor(list(keys))
        maps = (values.cpu() for values in model.surprise(x, **_how(options, keys)))
        _draw(folder, [file_name(images, i) for i in keys], x, *maps)


def _draw(folder: Path, names: list[str], x: Any, residual: Any, gradient: Any) -> None:
    """One PNG per image: itself, its residual (white is 1 of [-1, 1]'s 2), its gradient (white is its largest)."""
    import torch

    from dualmcmc.pictures import save_grid

    peak = gradient.flatten(1).amax(1).clamp_min(1e-30)[:, None, None]
    maps = [residual.clamp(max=1) * 2 - 1, gradient / peak * 2 - 1]
    for i, name in enumerate(names):
        panels = torch.stack([x[i], *(m[i].expand_as(x[i]) for m in maps)])
        save_grid(folder / f"{name}.png", panels, columns=3)
