"""One cell in a process of its own: trains it, measures it, and writes what came of it.

    python -m dualmcmc.compare.cell < request

Of its own, so that its peak of memory is its own and its end, whatever it is, leaves the other cells. A finished
training is not repeated, an interrupted one goes on. Divergence is an outcome, and so are data that the method
cannot use; anything else (a full disk, a signal) leaves none, and the next call tries again.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from pathlib import Path
from statistics import fmean
from time import monotonic
from typing import Any

import numpy as np
import torch

from dualmcmc import __version__, cost, figures, methods
from dualmcmc import config as configs
from dualmcmc.compare.children import receive
from dualmcmc.compare.job import MEASURING_SEED, NOISE_STEPS, TASKS
from dualmcmc.data.rule import to_uint8
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.model import Model
from dualmcmc.storage import checkpoints
from dualmcmc.storage.files import write_json
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.tasks import running
from dualmcmc.tasks.plan import Plan, lacking
from dualmcmc.training.loop import Trainer

SHOWN = 16
"""Samples in the picture's row."""


def main() -> int:
    """Runs a request; exit code 0 where there is an outcome, 130 after the parent's end or its Ctrl-C, else 1."""
    try:
        request = receive()
        write_json(Path(request["outcome"]), carry_out(request))
    except KeyboardInterrupt as error:
        return _complain(str(error) or "stopped", 130)
    except (InputError, TrainingError, OSError) as error:
        return _complain(str(error), 1)
    return 0


def _complain(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)
    return code


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """What came of a cell: `status` (done, diverged, refused), `reason`, `figures` and how they came about."""
    run = RunFolder(Path(request["run"]))
    found: dict[str, Any] = {"status": "done", "reason": None, "figures": {}, "machine": _machine(request)}
    found["version"] = __version__
    try:
        _train(request, run)
    except TrainingError as error:
        if "diverged" not in str(error):
            raise
        step = re.search(r"at step (\d+)", str(error))
        said = {"step": int(step[1]) if step else None, "reason": str(error).partition(";")[0]}
        return {**found, "status": "diverged", **said}
    except InputError as error:
        if (run.path / "config.json").exists():
            raise
        return {**found, "status": "refused", "reason": str(error)}
    return {**found, **_trained(run), **_measure(request, run)}


def _train(request: dict[str, Any], run: RunFolder) -> None:
    """Trains what is left."""
    begun = (run.path / "config.json").is_file()
    if begun and not checkpoints.steps(run.checkpoints):
        shutil.rmtree(run.path)  # it was killed before its first checkpoint, that of step 0
        begun = False
    settings = configs.from_dict(request["config"])
    trainer = Trainer(settings, run.path, device=request["device"], resume=begun, quiet=True)
    steps = trainer.train().steps
    assert trainer.occasions is not None
    if not run.model.is_dir() or _step(run) != steps:  # it was killed between its last checkpoint and the model
        trainer.occasions.save(steps)


def _step(run: RunFolder) -> int:
    about = json.loads((run.model / "config.json").read_text(encoding="utf-8"))
    return int(about["step"])


def _trained(run: RunFolder) -> dict[str, Any]:
    """What training took, by its last checkpoint and its log, whose lines hold the process's peak of memory."""
    checkpoint, _ = checkpoints.newest(run.checkpoints)
    method, remarks = run.read_config().method, []
    if isinstance(method, methods.VAEBM) and checkpoint.step <= method.vae_steps:
        remarks.append(f"no energy was learned: method.vae_steps is {method.vae_steps:,}")
    if trips := checkpoint.state["trips"]:
        remarks.append(f"training diverged and went back {len(trips)} times: its rates are not those asked for")
    lines = [json.loads(line) for line in run.read_log()]
    peak = max(line["peak_memory_bytes"] for line in lines if line["kind"] == "train")
    seconds = checkpoint.state["seconds"]
    return {"updates": checkpoint.step, "seconds": seconds, "peak_memory_bytes": peak, "remarks": remarks}


def _measure(request: dict[str, Any], run: RunFolder) -> dict[str, Any]:
    """The tasks that the method has networks for, into the run's metrics.json, and their figures for the table."""
    began, settings = monotonic(), run.read_config()
    model = Model.from_pretrained(run.path, device=request["torch_device"])
    asked: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in request["plan"].items()}
    plan = Plan(**asked)
    about = {"run": str(run.path), "weights": "ema"}
    setting = running.setting_of(model, None, plan.held_out, seed=MEASURING_SEED, quiet=True, about=about)
    weights = request["feature_weights"] and Path(request["feature_weights"])
    entries: dict[str, Any] = {}
    unmeasured: dict[str, str] = {}
    for task in TASKS:
        if lacking(task, settings.method.PARTS):
            continue
        network = request["features"] if task == "generation" else None
        try:
            (((_, result),)) = running.run((task,), setting, plan, network, weights)
            _check_finite(task, result.figures)
        except InputError as error:  # where samples or scores are not finite
            unmeasured[task] = str(error)
            continue
        entries[task] = result.figures
        run.add_metrics(task, result.figures)
        figures.save(task, result, run.path / "figures")
        if task == "generation":
            last = [*result.pictures.values()][-1]
            np.save(run.path / "figures" / "row.npy", to_uint8(last[:SHOWN]))
    return {
        "figures": _figures(entries, methods.test_chain(settings.method).steps, model),
        "unmeasured": unmeasured,
        "parameters": cost.parameters(model.trio),
        "start": methods.start(settings.method),
        "chain_steps": methods.test_chain(settings.method).steps if model.has("energy") else None,
        "latent_steps": methods.latent_chain(settings.method).steps if model.has("generator") else None,
        "measuring_seconds": monotonic() - began,
        "auroc": _auroc(entries),
        "protocols": {task: entry["protocol"] for task, entry in entries.items()},
    }


def _figures(entries: dict[str, Any], steps: int, model: Model) -> dict[str, float | None]:
    """The table's figures, None where the method has none."""
    found: dict[str, float | None] = {}
    if "generation" in entries:
        kinds = entries["generation"]["figures"]
        distance = next(iter(kinds.values()))
        score = next((by_steps for name, by_steps in kinds.items() if name.startswith("is")), None)
        found["distance_start"] = distance["0"]
        found["distance_generator"] = distance["0"] if model.has("generator") else None
        found["distance_chain"] = distance[str(steps)] if steps else None
        found["score"] = score[str(steps)]["mean"] if score else None
    if "reconstruction" in entries:
        entry = entries["reconstruction"]
        found["mse_inference"] = entry["inference"]["mse"] if "inference" in entry else None
        chain = [by_steps["mse"] for by_steps in entry["from_inference"].values()]
        found["mse_chain"] = chain[-1] if chain else None
        found |= {f"mse_noise_{k}": entry["from_noise"][str(k)]["mse"] for k in NOISE_STEPS}
        found["mse_pca"] = entry["pca"]["mse"]
    for kind, by_set in _auroc(entries).items():
        found[f"auroc_{kind}"] = fmean(by_set.values())
    return found


def _auroc(entries: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By score and by set."""
    sets = entries["ood"]["sets"] if "ood" in entries else {}
    kinds = [kind for kind in next(iter(sets.values()), {}) if kind != "n"]
    return {kind: {name: of[kind]["auroc"] for name, of in sets.items()} for kind in kinds}


def _check_finite(place: str, value: Any) -> None:
    """Refuses figures that JSON cannot hold.

    Raises:
        InputError: naming the first.
    """
    if isinstance(value, dict):
        for name, part in value.items():
            _check_finite(f"{place}.{name}", part)
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            _check_finite(f"{place}.{i}", part)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place} is {value}")


def _machine(request: dict[str, Any]) -> str:
    device = torch.device(request["torch_device"])
    name = f"{device.type}, {torch.get_num_threads()} thread(s)"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    jobs = request["jobs"]
    return f"{name}, torch {torch.__version__}, {jobs} cell{'s' if jobs > 1 else ''} at once"


if __name__ == "__main__":
    sys.exit(main())
