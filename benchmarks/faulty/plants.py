"""Code planted in files, and names that lead out of folders: none of it may run, nothing may be written outside.

A plant is a pickle that makes a file, the canary, where it is loaded; it lies in every place that a user can point
the program to. An escape is a name (in an archive, a table, a configuration, a folder) or a link that leads out of
the folder it is in. The program is called on each, and may do its work or refuse it in one line; the canary must
not be there, and all but the run and the folder for results must be as it was.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from faulty import manifests, probing
from faulty.outcome import Outcome

Commands = list[list[str]]


class Planted:
    """Makes the canary where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.canary)!r}, 'w').close()",)


@dataclass(frozen=True)
class Stage:
    """Where one plant is tried."""

    folder: Path
    rng: random.Random

    @property
    def run(self) -> Path:
        """A copy of the trained run."""
        return self.folder / "inner" / "run"

    @property
    def out(self) -> Path:
        """Where commands are told to write."""
        return self.folder / "inner" / "out"

    @property
    def data(self) -> Path:
        """What the user has been given."""
        return self.folder / "inner" / "data"

    @property
    def outside(self) -> Path:
        """A folder that is nobody's business."""
        return self.folder / "outside"

    @property
    def canary(self) -> Path:
        """There only if planted code has run."""
        return self.folder / "canary"

    def pickled(self) -> bytes:
        """A pickle that makes the canary, in one of pickle's protocols."""
        return pickle.dumps(Planted(self.canary), protocol=self.rng.randrange(0, 6))

    def torch_file(self) -> bytes:
        """The same as `torch.save` writes it, in its new or its old way."""
        file = io.BytesIO()
        zipped = self.rng.random() < 0.5
        torch.save({"weight": Planted(self.canary)}, file, _use_new_zipfile_serialization=zipped)
        return file.getvalue()

    def objects(self) -> np.ndarray:
        """An array of objects that make the canary."""
        return np.array([Planted(self.canary)] * 30, dtype=object)

    def pictures(self, folder: Path, names: list[str | bytes], size: int = 8) -> None:
        """A folder of grey pictures under these names."""
        folder.mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(names):
            grey = np.full((size, size), 8 * i % 256, dtype=np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(grey).save(encoded, "PNG")
            place = os.path.join(os.fsencode(folder), os.fsencode(name))
            Path(os.fsdecode(place)).write_bytes(encoded.getvalue())


def _use(stage: Stage, run: Path | None = None) -> Commands:
    """Commands that load a model."""
    place = str(run or stage.run)
    return [
        ["sample", place, "-n", "2", "--steps", "1", "--out", str(stage.out / "drawn")],
        ["score", place, "--data", "digits", "-n", "2", "--steps", "0", "--out", str(stage.out / "scores.csv")],
        *_examined(stage, place),
    ]


def _resume(stage: Stage) -> Commands:
    """Commands that load a checkpoint."""
    return [
        [
            "sample",
            str(stage.run),
            "-n",
            "2",
            "--steps",
            "1",
            "--weights",
            "live",
            "--out",
            str(stage.out / "live"),
        ],
        ["train", "digits", "--resume", "--steps", "6", "--device", "cpu", "--out", str(stage.run)],
        *_examined(stage, str(stage.run)),
    ]


def _examined(stage: Stage, place: str) -> Commands:
    """Now and then, as it takes long: it looks at the machine as well."""
    return [["doctor", place]] if stage.rng.random() < 0.15 else []


def _report(stage: Stage) -> Commands:
    return [["report", str(stage.run), "--out", str(stage.out / "report.html")]]


def _on(stage: Stage, data: Path | str, *more: str) -> Commands:
    """Commands on a user's images, those that name files after images among them."""
    run, ref = str(stage.run), str(data)
    return [
        ["score", run, "--data", ref, "--steps", "0", "--out", str(stage.out / "s.csv"),
         "--heatmap", str(stage.out / "maps"), *more],
        ["inpaint", run, "--data", ref, "--mask", "M20", "--latent-steps", "0", "--data-steps", "0",
         "--out", str(stage.out / "found"), *more],
        ["train", "digits", *probing.TINY, "--steps", "1", "--run.sample-every", "0", "--run.evaluate-every", "0",
         "--data", ref, "--out", str(stage.out / "new"), *more],
    ]  # fmt: skip


def _measure(stage: Stage, *more: str) -> Commands:
    return [
        ["evaluate", str(stage.run), "--tasks", "generation", "-n", "20", "--steps", "0",
         "--reference-images", "20", "--out", str(stage.out / "figures"), *more],
    ]  # fmt: skip


def _checkpoint(stage: Stage) -> Path:
    return max((stage.run / "checkpoints").glob("step-*"), key=lambda path: int(path.name.partition("-")[2]))


# -- pickles ---------------------------------------------------------------------------------------


def model_pickle(stage: Stage) -> Commands:
    """model.safetensors is a pickle."""
    (stage.run / "model/model.safetensors").write_bytes(stage.pickled())
    manifests.renew(stage.run / "model")
    return _use(stage)


def model_torch(stage: Stage) -> Commands:
    """model.safetensors is a file of torch.save."""
    (stage.run / "model/model.safetensors").write_bytes(stage.torch_file())
    manifests.renew(stage.run / "model")
    return _use(stage)


def bin_beside(stage: Stage) -> Commands:
    """pytorch_model.bin, model.pt and model.pkl lie beside the weights."""
    for name in ("pytorch_model.bin", "model.pt", "model.pkl"):
        (stage.run / "model" / name).write_bytes(stage.torch_file())
    return _use(stage) + _use(stage, stage.run / "model")


def bin_alone(stage: Stage) -> Commands:
    """pytorch_model.bin lies in the weights' place."""
    (stage.run / "model/model.safetensors").unlink()
    (stage.run / "model/pytorch_model.bin").write_bytes(stage.torch_file())
    return _use(stage)


def model_config(stage: Stage) -> Commands:
    """The model's config.json is a pickle."""
    (stage.run / "model/config.json").write_bytes(stage.pickled())
    manifests.renew(stage.run / "model")
    return _use(stage)


def scores(stage: Stage) -> Commands:
    """scores.json is a pickle."""
    (stage.run / "model/scores.json").write_bytes(stage.pickled())
    manifests.renew(stage.run / "model")
    return _use(stage)


def init_pickle(stage: Stage) -> Commands:
    """A model to start from is a pickle."""
    (stage.run / "model/model.safetensors").write_bytes(stage.torch_file())
    flags = [*probing.TINY, "--steps", "1"]
    return [["train", "digits", *flags, "--init", str(stage.run), "--out", str(stage.out / "tuned")]]


def _in_checkpoint(name: str, renewed: bool) -> Callable[[Stage], Commands]:
    def plant(stage: Stage) -> Commands:
        place = _checkpoint(stage)
        for other in (stage.run / "checkpoints").glob("step-*"):
            if other != place:
                shutil.rmtree(other)
        content = stage.torch_file() if name.endswith(".safetensors") else stage.pickled()
        (place / name).write_bytes(content)
        if renewed:
            manifests.renew(place)
        return _resume(stage)

    plant.__doc__ = f"A checkpoint's {name} is a pickle, its manifest {'made to fit' if renewed else 'left'}."
    return plant


def run_config(stage: Stage) -> Commands:
    """A run's config.json is a pickle."""
    (stage.run / "config.json").write_bytes(stage.pickled())
    return _resume(stage) + _report(stage)


def metrics(stage: Stage) -> Commands:
    """metrics.json is a pickle."""
    (stage.run / "metrics.json").write_bytes(stage.pickled())
    return _report(stage) + _measure(stage, "--features", "pixels") + _resume(stage)


def log(stage: Stage) -> Commands:
    """log.jsonl is a pickle, in text and in bytes."""
    (stage.run / "log.jsonl").write_bytes(stage.pickled())
    return [*_report(stage), ["doctor", str(stage.run)]]


def statistics(stage: Stage) -> Commands:
    """Cached statistics of features are pickles."""
    (measure,) = _measure(stage, "--features", "pixels", "--seed", "1")
    probing.call(measure)
    cached = list(Path(os.environ["DUALMCMC_CACHE"], "statistics").glob("*.safetensors"))
    assert cached
    for path in cached:
        path.write_bytes(stage.torch_file())
    return [measure]


def image_cache(stage: Stage) -> Commands:
    """Cached images' records are pickles."""
    stage.pictures(stage.data, [f"{i}.png" for i in range(20)])
    (_, command, _) = _on(stage, stage.data)
    probing.call([*command[:-1], str(stage.out / "before")])
    entries = list(Path(os.environ["DUALMCMC_CACHE"], "images").iterdir())
    assert entries
    for entry in entries:
        for name in ("entry.json", "names.jsonl", "labels.npy"):
            (entry / name).write_bytes(stage.pickled())
    return [command]


def _weights(suffix: str, how: str, network: str) -> Callable[[Stage], Commands]:
    def plant(stage: Stage) -> Commands:
        path = stage.data / f"weights{suffix}"
        path.parent.mkdir(parents=True)
        if how == "objects":
            np.savez(path, weight=stage.objects())
        else:
            path.write_bytes(stage.torch_file() if how == "torch" else stage.pickled())
        return _measure(stage, "--features", network, "--feature-weights", str(path))

    plant.__doc__ = f"Weights of {network}, {suffix}: {how}."
    return plant


def npy_objects(stage: Stage) -> Commands:
    """An .npy of objects as data."""
    stage.data.mkdir()
    np.save(stage.data / "a.npy", stage.objects(), allow_pickle=True)
    return _on(stage, stage.data / "a.npy")


def npy_pickle(stage: Stage) -> Commands:
    """A bare pickle called .npy, and one called .npz, as data."""
    stage.data.mkdir()
    for name in ("a.npy", "a.npz"):
        (stage.data / name).write_bytes(stage.pickled())
    return _on(stage, stage.data / "a.npy") + _on(stage, stage.data / "a.npz")


def npz_objects(stage: Stage) -> Commands:
    """An .npz whose images, or whose labels, are objects."""
    stage.data.mkdir()
    np.savez(stage.data / "a.npz", images=stage.objects())
    images = np.zeros((30, 8, 8), dtype=np.uint8)
    np.savez(stage.data / "b.npz", images=images, labels=stage.objects())
    return _on(stage, stage.data / "a.npz") + _on(stage, stage.data / "b.npz")


def parquet_pickles(stage: Stage) -> Commands:
    """A Parquet file with pickles for images, a column of pickles, and a pickled type in its schema."""
    stage.data.mkdir()
    evil = [stage.pickled()] * 30
    told = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": stage.pickled()}
    schema = pa.schema([pa.field("image", pa.binary(), metadata=told), pa.field("label", pa.binary())])
    pq.write_table(pa.table({"image": evil, "label": evil}, schema=schema), stage.data / "a.parquet")
    return _on(stage, stage.data / "a.parquet") + _on(stage, stage.data / "a.parquet", "--skip-bad")


def loading_script(stage: Stage) -> Commands:
    """Folders with a loading script, given as a folder and as hf:owner/name."""
    code = f"open({str(stage.canary)!r}, 'w').close()\n"
    place = Path("owner") / f"stuff{stage.rng.randrange(10**6)}"  # where the program runs: `hf:` looks there
    stage.pictures(place, [f"{i}.png" for i in range(20)])
    stage.pictures(stage.data, [f"{i}.png" for i in range(20)])
    for folder in (place, stage.data):
        for name in (f"{folder.name}.py", "__init__.py", "setup.py", "conftest.py", "dataset_infos.py"):
            (folder / name).write_text(code)
    return _on(stage, stage.data)[:1] + _on(stage, f"hf:{place.as_posix()}")[1:2]


def pickled_pictures(stage: Stage) -> Commands:
    """Pictures that are pickles."""
    stage.pictures(stage.data, [f"{i}.png" for i in range(20)])
    for name in ("a.png", "b.jpg", "c.tiff", "d.gif", "e.webp", "f.ico"):
        (stage.data / name).write_bytes(stage.torch_file())
    return _on(stage, stage.data) + _on(stage, stage.data, "--skip-bad")


def masks(stage: Stage) -> Commands:
    """Mask files that are pickles, or arrays of objects."""
    stage.data.mkdir()
    (stage.data / "mask.png").write_bytes(stage.pickled())
    np.save(stage.data / "mask.npy", stage.objects(), allow_pickle=True)
    told = ["inpaint", str(stage.run), "--data", "digits", "-n", "2", "--out", str(stage.out / "found"), "--mask"]
    return [[*told, str(stage.data / name)] for name in ("mask.png", "mask.npy")]


def labels_of_sweeps(stage: Stage) -> Commands:
    """compare.json, a cell's outcome and reproduce.json are pickles."""
    for name in ("compared/compare.json", "swept/reproduce.json"):
        path = stage.data / name
        path.parent.mkdir(parents=True)
        path.write_bytes(stage.pickled())
    return [
        ["compare", "digits", "--methods", "vae", "--budget", "1it", "--out", str(stage.data / "compared")],
        ["reproduce", "figure2", "--out", str(stage.data / "swept")],
    ]


# -- escapes ---------------------------------------------------------------------------------------


def _far(stage: Stage) -> list[str]:
    """Names that lead out."""
    inside = [f"{'../' * n}escaped" for n in (1, 2, 5)]
    return [*inside, str(stage.outside / "escaped"), "..\\..\\escaped", "a/../../../escaped", "~/escaped"]


def _npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zip_names(stage: Stage) -> Commands:
    """Members of an .npz lead out of it, as data and as weights."""
    stage.data.mkdir()
    array, commands = _npy_bytes(np.zeros((30, 8, 8), dtype=np.uint8)), []
    for i, name in enumerate(_far(stage)):
        path = stage.data / f"{i}.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.npy", array)
        commands += _on(stage, path)[:1]
    with zipfile.ZipFile(stage.data / "weights.npz", "w") as archive:
        for name in _far(stage):
            archive.writestr(f"{name}.npy", _npy_bytes(np.zeros(3, dtype=np.float32)))
    told = ("--features", "cifar10_resnet20", "--feature-weights", str(stage.data / "weights.npz"))
    return commands + _measure(stage, *told)


def tar_names(stage: Stage) -> Commands:
    """Archives, whose members lead out, where data, weights and models are expected."""
    stage.data.mkdir()
    for name in ("a.tar", "a.npz", "weights.safetensors", "a.zip"):
        with tarfile.open(stage.data / name, "w") as archive:
            for member in _far(stage):
                archive.addfile(tarfile.TarInfo(member), io.BytesIO())
    shutil.copy(stage.data / "a.tar", stage.run / "model/model.safetensors")
    told = ("--features", "inception", "--feature-weights", str(stage.data / "weights.safetensors"))
    data = [command for name in ("a.tar", "a.npz", "a.zip") for command in _on(stage, stage.data / name)[:1]]
    return data + _measure(stage, *told) + _use(stage)


def tensor_names(stage: Stage) -> Commands:
    """Tensors of a model have names that lead out."""
    path = stage.run / "model/model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, **{name: torch.zeros(1) for name in _far(stage)}}, path)
    manifests.renew(stage.run / "model")
    return _use(stage)


def parquet_paths(stage: Stage) -> Commands:
    """Rows of a Parquet file have names that lead out."""
    stage.data.mkdir()
    encoded = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(encoded, "PNG")
    names = (_far(stage) * 5)[:30]
    rows = [{"bytes": encoded.getvalue(), "path": f"{name}.png"} for name in names]
    pq.write_table(pa.table({"image": rows}), stage.data / "a.parquet")
    return _on(stage, stage.data / "a.parquet")


def odd_names(stage: Stage) -> Commands:
    """Pictures whose names hold line ends, dots, dashes, quotes, bytes that are no text; very long ones."""
    odd: list[str | bytes] = ["...png", "-n.png", "--out.png", "a\nb.png", "a\tb.png", 'a"b,c.png', "a\\..\\b.png"]
    odd += ["'; rm x.png", "=1+1.png", "%s{0}.png", b"\xff\xfe.png", "\u202egnp.png", "é" * 120 + ".png", "~.png"]
    odd += ["con.png", "a b .png", "$(touch x).png", "x" * 250 + ".png", "\u2028.png", "null\x7f.png"]
    stage.pictures(stage.data, odd)
    return _on(stage, stage.data)


def config_names(stage: Stage) -> Commands:
    """The configuration's strings lead out."""
    commands = []
    for place in (stage.run / "config.json", stage.run / "model/config.json"):
        about = json.loads(place.read_text())
        about["config"]["preset"] = stage.rng.choice(_far(stage))
        about["config"]["data"] = stage.rng.choice([*_far(stage), "/etc/passwd", "../../.."])
        place.write_text(json.dumps(about))
    manifests.renew(stage.run / "model")
    out = str(stage.out / "paths.png")
    commands += [
        ["interpolate", str(stage.run), "--out", out],
        ["evaluate", str(stage.run), "--tasks", "revision"],
    ]
    return commands + _use(stage) + _resume(stage) + _report(stage)


def manifest_names(stage: Stage) -> Commands:
    """A checkpoint's manifest lists files outside."""
    place = _checkpoint(stage) / "manifest.json"
    held = json.loads(place.read_text())
    place.write_text(json.dumps({**held, **dict.fromkeys(_far(stage), "0" * 64)}))
    return _resume(stage)


def metric_names(stage: Stage) -> Commands:
    """Evaluations have names that lead out."""
    place = stage.run / "metrics.json"
    held = json.loads(place.read_text())
    place.write_text(json.dumps({**held, **{name: [{"figures": {name: 1}}] for name in _far(stage)}}))
    return _report(stage) + _measure(stage, "--features", "pixels")


def _link(name: str, to_folder: bool, commands: Callable[[Stage], Commands]) -> Callable[[Stage], Commands]:
    def plant(stage: Stage) -> Commands:
        place = stage.run / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(stage.outside / ("empty" if to_folder else "mine.txt"))
        return commands(stage)

    plant.__doc__ = f"{name} of the run is a link to {'a folder' if to_folder else 'a file'} outside."
    return plant


def _defaults(stage: Stage) -> Commands:
    """Commands that write into the run."""
    run = str(stage.run)
    return [
        ["sample", run, "-n", "2", "--steps", "1"],
        ["reconstruct", run, "--data", "digits", "-n", "2", "--steps", "0"],
        [
            "inpaint",
            run,
            "--data",
            "digits",
            "-n",
            "2",
            "--mask",
            "M20",
            "--latent-steps",
            "0",
            "--data-steps",
            "0",
        ],
        ["interpolate", run, "-n", "2", "--latent-steps", "0"],
        ["score", run, "--data", "digits", "-n", "2", "--steps", "0"],
        ["evaluate", run, "--tasks", "reconstruction", "--held-out", "20"],
        ["report", run],
    ]


def _by(*verbs: str) -> Callable[[Stage], Commands]:
    return lambda stage: [command for command in _defaults(stage) if command[0] in verbs]


def linked_pictures(stage: Stage) -> Commands:
    """A folder of pictures with links out of it, to itself, to nothing, to a device; and a pipe."""
    stage.pictures(stage.data, [f"{i}.png" for i in range(20)])
    (stage.data / "loop").symlink_to(stage.data)
    (stage.data / "mine.png").symlink_to(stage.outside / "mine.txt")
    (stage.data / "gone.png").symlink_to(stage.outside / "gone")
    (stage.data / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(stage.data / "pipe.png")
    return _on(stage, stage.data) + _on(stage, stage.data, "--skip-bad")


def devices(stage: Stage) -> Commands:
    """Files that never end in the places of configurations, logs, weights and masks."""
    zero, pipe = Path("/dev/zero"), stage.data
    os.mkfifo(pipe)
    commands = _use(stage) + _report(stage)
    for name in ("model/config.json", "model/scores.json", "model/model.safetensors", "log.jsonl", "metrics.json"):
        place = stage.run / name
        place.unlink()
        place.symlink_to(stage.rng.choice([zero, pipe]))
    told = ["inpaint", str(stage.run), "--data", "digits", "--out", str(stage.out / "found"), "--mask", str(pipe)]
    return [*commands, told, *_measure(stage, "--features", "inception", "--feature-weights", str(pipe))]


PLANTS: dict[str, Callable[[Stage], Commands]] = {
    "model: pickle": model_pickle,
    "model: torch.save": model_torch,
    "model: bin beside": bin_beside,
    "model: bin alone": bin_alone,
    "model: config": model_config,
    "model: scores": scores,
    "model: init": init_pickle,
    **{
        f"checkpoint: {name}, {'renewed' if renewed else 'stale'}": _in_checkpoint(name, renewed)
        for name in ("weights.safetensors", "optimiser.safetensors", "memory.safetensors", "state.json")
        for renewed in (False, True)
    },
    "checkpoint: manifest": _in_checkpoint("manifest.json", False),
    "run: config": run_config,
    "run: metrics": metrics,
    "run: log": log,
    "cache: statistics": statistics,
    "cache: images": image_cache,
    "weights: .pt": _weights(".pt", "torch", "inception"),
    "weights: .pth": _weights(".pth", "pickle", "inception"),
    "weights: .pkl": _weights(".pkl", "pickle", "cifar10_resnet20"),
    "weights: .safetensors": _weights(".safetensors", "torch", "inception"),
    "weights: .npz, objects": _weights(".npz", "objects", "cifar10_resnet20"),
    "weights: .npz, torch": _weights(".npz", "torch", "cifar10_resnet20"),
    "data: .npy, objects": npy_objects,
    "data: .npy, pickle": npy_pickle,
    "data: .npz, objects": npz_objects,
    "data: Parquet": parquet_pickles,
    "data: script": loading_script,
    "data: pictures": pickled_pictures,
    "mask": masks,
    "sweeps": labels_of_sweeps,
    "escape: zip": zip_names,
    "escape: tar": tar_names,
    "escape: tensors": tensor_names,
    "escape: Parquet": parquet_paths,
    "escape: pictures": odd_names,
    "escape: config": config_names,
    "escape: manifest": manifest_names,
    "escape: metrics": metric_names,
    "link: generated": _link("generated", True, _by("sample")),
    "link: inpainted": _link("inpainted", True, _by("inpaint")),
    "link: figures": _link("figures", True, _by("evaluate")),
    "link: reconstruction": _link("reconstruction.png", False, _by("reconstruct")),
    "link: interpolation": _link("interpolation.png", False, _by("interpolate")),
    "link: scores": _link("scores.csv", False, _by("score")),
    "link: report": _link("report.html", False, _by("report")),
    "link: metrics": _link("metrics.json", False, _by("evaluate", "report")),
    "link: log": _link("log.jsonl", False, _resume),
    "link: checkpoints": _link("checkpoints", True, _resume),
    "link: samples": _link("samples", True, _resume),
    "link: model": _link("model", True, _resume),
    "link: picture of the report": _link("figures/mine.png", False, _report),
    "link: pictures": linked_pictures,
    "devices": devices,
}


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Tries `count` plants: each in turn, and again with other draws.

    Arguments:
        count: how many.
        seed: of the draws.
        folder: an empty one to work in.
    """
    began, failures = time.monotonic(), []
    folder = folder.resolve()
    with probing.place(folder):
        source = probing.trained(folder / "source")
        for number, name in _order(count):
            stage = Stage(folder / "stages" / f"{number:04d}", random.Random(f"{seed} {number} {name}"))
            failures += [f"{name}: {each}" for each in _try(stage, source, PLANTS[name])]
            shutil.rmtree(stage.folder)
    return Outcome("plants", count, failures, time.monotonic() - began, f"{len(PLANTS)} kinds")


def _order(count: int) -> Iterator[tuple[int, str]]:
    names = list(PLANTS)
    return ((number, names[number % len(names)]) for number in range(count))


def _try(stage: Stage, source: Path, plant: Callable[[Stage], Commands]) -> list[str]:
    (stage.folder / "inner").mkdir(parents=True)
    stage.out.mkdir()
    (stage.outside / "empty").mkdir(parents=True)
    (stage.outside / "mine.txt").write_text("mine, and secret\n")
    probing.copy(source, stage.run)
    commands, failures = plant(stage), []
    before = _watched(stage)
    for command in commands:
        faulty = probing.fault(ended := probing.call(command), command[0])
        told = " ".join(command[:1] + [word for word in command[1:] if word.startswith("--")])
        if faulty:
            failures.append(f"{told}: {faulty}")
        if stage.canary.exists():
            failures.append(f"{told}: planted code has run")
            stage.canary.unlink()
        if (after := _watched(stage)) != before:
            changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
            failures.append(f"{told}: {', '.join(sorted(changed)[:3])} changed (exit code {ended.code})")
            before = after
        if any("mine, and secret" in page.read_text("utf-8", "replace") for page in stage.out.glob("*.html")):
            failures.append(f"{told}: a file from outside is on the page")
    return failures


def _watched(stage: Stage) -> probing.Listing:
    """All there is under the whole of the working folder but the cache, the run and the folder for results."""
    root = stage.folder.parents[1]
    free = [os.path.relpath(place, root) for place in (root / "cache", stage.run, stage.out)]
    found = probing.listing(root)
    return {
        path: what
        for path, what in found.items()
        if not any(path == place or path.startswith(f"{place}{os.sep}") for place in free)
    }
