"""What metrics.json holds of a task, as figures with a place in a table, and how they were measured.

The newest evaluation counts. Others with an equal protocol but for the seed are averaged with it. What was
measured of a folder of images is no evaluation of the run, and not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dualmcmc.errors import InputError
from dualmcmc.report.reading import RunRecord, flat

Entry = dict[str, Any]
ALONE = "generator alone"
IRRELEVANT = frozenset({"run", "step", "seed", "batch_size"})
"""Settings that runs compared with one another may differ in; the batch size changes no result."""


class Place(NamedTuple):
    """Where a figure stands: the table's title, the row, the column."""

    table: str
    row: str
    column: str


@dataclass(frozen=True)
class Value:
    """A figure, perhaps with its standard error."""

    mean: float
    error: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """The newest evaluation of one task of one run."""

    figures: dict[Place, Value]
    protocol: dict[str, Any]
    """How it was measured, flat: names are dotted paths."""
    seeds: tuple[Any, ...]
    """More than one where figures are means over seeds, whose standard error is theirs."""
    entry: Entry = field(repr=False)
    """As metrics.json has it."""


Figures = Iterator[tuple[Place, Value]]


def newest(run: RunRecord, task: str) -> Evaluation | None:
    """The newest evaluation of a task, averaged with its like over other seeds; None if there is none.

    Raises:
        InputError: the entry has not the form that `evaluate` gives it.
    """
    entries = run.metrics.get(task, [])
    # Those of other data (evaluate --data) do not pass for the run's own.
    entries = [entry for entry in entries if _of_own_data(run, entry)] or entries
    if not entries:
        return None
    # A seed evaluated twice counts once, by its newer entry; the newest comes last.
    alike = {_seed(entry): entry for entry in entries if _but_seed(entry) == _but_seed(entries[-1])}
    alike[_seed(entries[-1])] = alike.pop(_seed(entries[-1]))
    read = TASKS.get(task, _unknown)
    try:
        each = [dict(read(entry)) for entry in alike.values()]
        # Somebody's own entry, as the demo's, may go without.
        protocol = flat(entries[-1]["protocol"] if task in TASKS else entries[-1].get("protocol") or {})
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"{run.path / 'metrics.json'}: an evaluation under {task!r} is damaged "
            f"({type(error).__name__}: {error}): evaluate the run again, or remove that entry"
        ) from None
    return Evaluation(_averaged(each), protocol, tuple(alike), entries[-1])


def differing(evaluations: Sequence[Evaluation]) -> list[str]:
    """What the protocols of several runs do not have in common, of what matters to a comparison."""
    protocols = [evaluation.protocol for evaluation in evaluations]
    keys = list(dict.fromkeys(key for protocol in protocols for key in protocol))
    unlike = [key for key in keys if any(p.get(key) != protocols[0].get(key) for p in protocols)]
    return [key for key in unlike if key not in IRRELEVANT]


def after(steps: str) -> str:
    """What a number of steps of the data chain is called."""
    return ALONE if steps == "0" else f"after {steps} steps"


def _seed(entry: Entry) -> Any:
    seed = entry["protocol"].get("seed") if isinstance(entry.get("protocol"), dict) else None
    return repr(seed) if isinstance(seed, list | dict) else seed


def _but_seed(entry: Entry) -> Any:
    protocol = entry.get("protocol")
    if not isinstance(protocol, dict):
        return protocol
    return {name: value for name, value in protocol.items() if name not in ("seed", "batch_size")}


def _of_own_data(run: RunRecord, entry: Entry) -> bool:
    protocol = entry.get("protocol")
    if not isinstance(protocol, dict):
        return True
    reference = protocol.get("reference")
    if isinstance(reference, dict) and "data_sha256" in run.about:
        return bool(reference.get("fingerprint") == run.about["data_sha256"])
    if "data" in protocol and "heldout" in run.about:
        return bool(protocol["data"] == run.about["heldout"])
    return True


def _averaged(each: list[dict[Place, Value]]) -> dict[Place, Value]:
    if len(each) == 1:
        return each[0]
    averaged = {}
    for place in each[-1]:
        means = [figures[place].mean for figures in each if place in figures]
        n, mean = len(means), sum(means) / len(means)
        error = (sum((x - mean) ** 2 for x in means) / (n - 1) / n) ** 0.5 if n > 1 else None
        if error is not None and error < 1e-12 * max(map(abs, means)):
            error = 0.0  # equal values, up to the rounding of their mean
        averaged[place] = Value(mean, error)
    return averaged


def _value(figure: Any) -> Value:
    """A number, or {"mean", "standard_error"}."""
    if isinstance(figure, dict):
        return Value(_real(figure["mean"]), _real(figure["standard_error"]))
    return Value(_real(figure))


def _real(figure: Any) -> float:
    if isinstance(figure, bool) or not isinstance(figure, int | float):
        raise TypeError(f"{figure!r} is no number")
    return figure


def _reals(figures: Any) -> list[float]:
    return [_real(figure) for figure in figures]


def _rest(entry: Entry, *known: str) -> Figures:
    """Figures that this version has no place for."""
    for name, figure in flat({k: v for k, v in entry.items() if k not in (*known, "protocol")}).items():
        if isinstance(figure, int | float) and not isinstance(figure, bool):
            yield Place("also recorded", name, "recorded"), Value(figure)


def _generation(entry: Entry) -> Figures:
    for name, by_steps in entry["figures"].items():
        for steps, figure in by_steps.items():
            yield Place("", name, after(steps)), _value(figure)
    for steps, figure in entry.get("log_density", {}).items():
        yield Place("", "log_density", after(steps)), _value(figure)
    yield from _rest(entry, "figures", "log_density", "steps")


def _reconstruction(entry: Entry) -> Figures:
    stages = {"inference": entry["inference"]} if "inference" in entry else {}
    stages |= {f"{k} steps from inference": r for k, r in entry.get("from_inference", {}).items()}
    stages |= {f"{k} steps from noise": r for k, r in entry.get("from_noise", {}).items()}
    if pca := entry.get("pca"):
        stages[f"PCA, {pca['dimensions']} dimensions"] = {k: v for k, v in pca.items() if k != "dimensions"}
    for stage, figures in stages.items():
        for name, value in _with_errors(figures):
            yield Place("", stage, name), value
    yield from _rest(entry, "inference", "from_inference", "from_noise", "pca", "ssim_window")


def _with_errors(figures: Entry) -> Iterator[tuple[str, Value]]:
    """Figures of one stage; `NAME_standard_error` is the error of NAME."""
    for name, figure in figures.items():
        if not name.endswith("_standard_error") and figure is not None:
            error = figures.get(f"{name}_standard_error")
            yield name, Value(_real(figure), None if error is None else _real(error))


def _revision(entry: Entry) -> Figures:
    data, latent, distance = entry.get("data_chain"), entry.get("latent_chain"), entry.get("distance")
    if data:
        table, ends = "data chain", len(data["h"]) - 1
        yield from _ends(table, data, ("h", "log_density", "gradient_norm"), ends)
        yield from _at_end(table, data, ends)
        if long := data.get("long"):
            yield from _at_end(table, {**long, "h": long["h"][-1]}, long["steps"])
    if distance:
        for steps, figure in distance.items():
            if steps != "name":
                column = "start" if steps == "0" else f"after {steps} steps"
                yield Place("data chain", distance["name"], column), _value(figure)
    if latent:
        yield from _ends("latent chain", latent, ("mse", "log_joint"), len(latent["mse"]) - 1)
        yield from _at_end("latent chain", latent, len(latent["mse"]) - 1)
    yield from _rest(entry, "data_chain", "latent_chain", "distance")


def _ends(table: str, chain: Entry, names: tuple[str, ...], steps: int) -> Figures:
    for name in names:
        if chain.get(name):
            yield Place(table, name, "start"), Value(_real(chain[name][0]))
            yield Place(table, name, f"after {steps} steps"), Value(_real(chain[name][-1]))


def _at_end(table: str, chain: Entry, steps: int) -> Figures:
    """What a chain has one number of."""
    for name, figure in chain.items():
        if name != "steps" and not isinstance(figure, list | dict):
            yield Place(table, name, f"after {steps} steps"), _value(figure)


def _interpolation(entry: Entry) -> Figures:
    for ends in ("prior", "images"):
        for kind, path in entry.get(ends, {}).items():
            log_density = _reals(path["log_density"])
            row = f"between {'prior draws' if ends == 'prior' else 'two images'}, {kind}"
            table = "log_density along the path"
            yield Place(table, row, "at its ends"), Value((log_density[0] + log_density[-1]) / 2)
            yield Place(table, row, "in its middle"), Value(_middle(log_density))
            if "dip" in path:
                yield Place(table, row, "dip"), _value(path["dip"])
    yield from _rest(entry, "prior", "images", "points", "pairs")


def _middle(values: list[float]) -> float:
    n = len(values)
    return (values[(n - 1) // 2] + values[n // 2]) / 2


def _ood(entry: Entry) -> Figures:
    rows = entry["sets"]
    for table in ("auroc", "aupr", "fpr95"):
        for title, about in rows.items():
            for score, figures in about.items():
                if isinstance(figures, dict) and table in figures:
                    yield Place(table, title, score), _value(figures[table])
    for title, about in rows.items():
        if "n" in about:
            yield Place("images outside", title, "n"), _value(about["n"])
    yield from _rest(entry, "sets")


def _inpainting(entry: Entry) -> Figures:
    tables: dict[str, dict[Place, Value]] = {}
    for mask, about in entry["masks"].items():
        row = f"{mask}, {100 * about['hidden']:.3g} % hidden" if "hidden" in about else mask
        for stage, figures in about["stages"].items():
            for name, value in _with_errors(figures):
                tables.setdefault(name, {})[Place(name, row, stage.replace("_", " "))] = value
    for figures in tables.values():
        yield from figures.items()
    yield from _rest(entry, "masks", "ssim_window")


def _training(entry: Entry) -> Figures:
    for name, value in _with_errors({k: v for k, v in entry.items() if k not in ("step", "protocol")}):
        yield Place("", name, f"step {entry['step']:,}"), value


def _unknown(entry: Entry) -> Figures:
    yield from _rest(entry)


TASKS: dict[str, Callable[[Entry], Figures]] = {
    "generation": _generation,
    "reconstruction": _reconstruction,
    "revision": _revision,
    "interpolation": _interpolation,
    "inpainting": _inpainting,
    "ood": _ood,
    "training": _training,
}
PRIMARY = {
    "inpainting": ("psnr", "psnr_hidden"),
    "ood": ("auroc",),
}
"""Tables shown at once where a task has many; the others are a click away."""
