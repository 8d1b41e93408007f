"""Inputs of every kind, spoilt: what a command does with them is judged by `probing.fault`.

Configurations and command lines are drawn by Hypothesis, bytes by plain seeded mutation; `count` and `seed` decide
what is tried (seed 0 is Hypothesis's derandomised stream). A case is one to three commands on files made for it.
"""

from __future__ import annotations

import io
import json
import random
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from dualmcmc import limits
from dualmcmc.cli import VERBS
from faulty import manifests, mutating, probing
from faulty.outcome import Outcome

Commands = list[list[str]]
_words = shlex.split


@dataclass(frozen=True)
class Stage:
    """Where one case is tried."""

    folder: Path
    source: Path
    rng: random.Random

    def run(self) -> Path:
        """A copy of the trained run, to be spoilt; without its checkpoints' older ones."""
        return probing.copy(self.source, self.folder / "run")

    @property
    def out(self) -> str:
        """A new place for results."""
        return str(self.folder / "out")


# -- values: Hypothesis ----------------------------------------------------------------------------

_VALUE = st.one_of(
    st.sampled_from(mutating.VALUES),
    st.integers(),
    st.integers(-100, 100),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(-3, 3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
    st.just(...),
)


@st.composite
def _spoilt_json(draw: st.DrawFn, value: Any) -> Any:
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        place = draw(st.sampled_from(mutating.places(value)))
        value = mutating.replaced(value, place, draw(_VALUE))
    return value


def _json_case(draw: st.DrawFn, stage: Stage, name: str) -> Path:
    """A run with one of its JSON files spoilt: by value, or (now and then) as a text."""
    run = stage.run()
    path = run / name
    text = path.read_text()
    if draw(st.integers(0, 9)) == 0:
        text = mutating.deep(stage.rng)
    elif name.endswith(".jsonl"):
        lines = [json.loads(line) for line in text.splitlines()]
        text = "".join(f"{mutating.dumped(draw(_spoilt_json(line)))}\n" for line in lines)
    else:
        text = mutating.dumped(draw(_spoilt_json(json.loads(text))))
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    if stage.rng.random() < 0.5:
        manifests.renew(path.parent)
    return run


def run_config(draw: st.DrawFn, stage: Stage) -> Commands:
    """A run's config.json."""
    run = str(_json_case(draw, stage, "config.json"))
    return [
        ["train", "digits", "--resume", "--steps", "4", "--device", "cpu", "--out", run],
        ["sample", run, "-n", "1", "--steps", "1", "--weights", "live", "--out", stage.out],
        ["report", run],
    ]


def model_config(draw: st.DrawFn, stage: Stage) -> Commands:
    """A model's config.json."""
    run = str(_json_case(draw, stage, "model/config.json"))
    return [["sample", run, "-n", "2", "--steps", "1", "--out", stage.out], ["report", run]]


def scores(draw: st.DrawFn, stage: Stage) -> Commands:
    """A model's scores.json."""
    run = str(_json_case(draw, stage, "model/scores.json"))
    return [["score", run, "--data", "digits", "-n", "2", "--steps", "0", "--fpr", "0.1"]]


def metrics(draw: st.DrawFn, stage: Stage) -> Commands:
    """A run's metrics.json."""
    run = str(_json_case(draw, stage, "metrics.json"))
    measure = [
        "evaluate",
        run,
        "--tasks",
        "interpolation",
        "--held-out",
        "4",
        "--pairs",
        "1",
        "--latent-steps",
        "0",
    ]
    measure += ["--out", stage.out]
    return [["report", run], measure if stage.rng.random() < 0.3 else _resume(run)]


def log(draw: st.DrawFn, stage: Stage) -> Commands:
    """A run's log.jsonl."""
    run = str(_json_case(draw, stage, "log.jsonl"))
    return [["report", run], _resume(run)]


def checkpoint(draw: st.DrawFn, stage: Stage) -> Commands:
    """A checkpoint's state.json or manifest.json."""
    newest = max((stage.source / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    name = draw(st.sampled_from(("state.json", "manifest.json")))
    run = str(_json_case(draw, stage, f"checkpoints/{newest.name}/{name}"))
    return [_resume(run), ["sample", run, "-n", "1", "--steps", "1", "--weights", "live", "--out", stage.out]]


def _resume(run: str) -> list[str]:
    return ["train", "digits", "--resume", "--steps", "4", "--device", "cpu", "--out", run]


_WORDS = st.one_of(
    st.sampled_from(
        _words(
            "0 -1 1 2 3 16 0.5 -0.5 1e9 1e400 nan inf -inf None True true e x é M20 R20 M99 center:3 "
            "center:0 blocks:0.5 blocks:nan blocks:1e-9 center:99999999999 digits digits:test digits:nope "
            "cifar10 hf:a/b hf:x ../../x / . .. - -- --- = a=b ema live cpu cuda cuda:99 meta fp32 bf16 "
            "pixels inception all vae 10m 0m 1it 1e9m 9it linear M20,R20 /dev/null /dev/zero /proc/self/mem "
            "builtin table8 table1 figure2 small paper run scores.csv a.png images.size=16 "
            "vae:method.sigma=1 method.nope=1 optim.batch_size=null seed=1"
        )
    ),
    st.sampled_from(
        ("", " ", "\ud800", "a\nb", "9" * 5000, "1" * 30, str(10**12), "-" + "9" * 30, "x" * 5000, "\t")
    ),
    st.integers(2_000_000, 10**15).map(str),
    st.integers(-10, 10).map(str),
    st.floats().map(str),
    st.text(max_size=10),
)
_FLAGS = _words(
    "--out --n -n --seed --steps --data --device --weights --precision --batch-size --json "
    "--skip-bad --verify --mask --latent-steps --data-steps --visible --heatmap --threshold --fpr "
    "--reference --tasks --features --images --ood --feature-weights --resize --chains --pairs "
    "--held-out --noise-steps --masks --reference-images --path --resume --init --dry-run --method "
    "--methods --budget --seeds --set --jobs --scale --preset --run --clear-cache --help "
    "--networks.energy-width --networks.latent-dim --images.size --optim.batch-size "
    "--optim.energy.rate --run.steps --optim.energy.betas --method.data-chain.steps "
    "--method.data-chain.temperature --method.sigma --method.buffer --method.negatives --nope "
    "--config.seed --preset"
)
_SEEDS: dict[str, list[str]] = {
    "sample": _words("sample RUN -n 2 --steps 1 --out OUT"),
    "reconstruct": _words("reconstruct RUN --data digits -n 2 --steps 0 --out OUT.png"),
    "inpaint": _words("inpaint RUN --data digits -n 2 --mask M20 --latent-steps 0 --data-steps 0 --out OUT"),
    "interpolate": _words("interpolate RUN -n 2 --latent-steps 0 --steps 3 --out OUT.png"),
    "score": _words("score RUN --data digits -n 2 --steps 0 --out OUT.csv"),
    "evaluate": _words("evaluate RUN --tasks interpolation --held-out 4 --pairs 1 --latent-steps 0 --out OUT"),
    "report": ["report", "RUN", "--out", "OUT.html"],
    "train": ["train", "digits", *probing.TINY, "--out", "OUT"],
    "compare": _words("compare digits --methods vae --budget 1it --out OUT --features pixels -n 20"),
    "reproduce": ["reproduce", "figure2", "--out", "OUT"],
    "presets": ["presets"],
    "methods": ["methods"],
    "datasets": ["datasets"],
}
_DRY = ("train", "compare", "reproduce")
"""Verbs that train: their command lines are tried without the training."""


@st.composite
def _command_line(draw: st.DrawFn, verb: str) -> list[str]:
    words = list(_SEEDS[verb])
    for _ in range(draw(st.sampled_from((1, 1, 2, 4)))):
        at = draw(st.integers(1, len(words)))
        match draw(st.sampled_from(("replace", "insert", "flag", "value", "drop", "twice", "swap"))):
            case "replace" if at < len(words):
                words[at] = draw(_WORDS)
            case "insert":
                words.insert(at, draw(_WORDS))
            case "flag":
                words[at:at] = [draw(st.sampled_from(_FLAGS))]
            case "value":
                words[at:at] = [draw(st.sampled_from(_FLAGS)), draw(_WORDS)]
            case "drop" if at < len(words):
                del words[at]
            case "twice":
                words += words[at : at + 2]
            case "swap" if at + 1 < len(words):
                words[at], words[at + 1] = words[at + 1], words[at]
    return words + (["--dry-run"] if verb in _DRY else [])


def command_line(draw: st.DrawFn, stage: Stage) -> Commands:
    """Any verb, its words spoilt."""
    verb = draw(st.sampled_from((*_SEEDS, "train", "train")))
    words = draw(_command_line(verb))
    if draw(st.integers(0, 30)) == 0:
        words[0] = draw(_WORDS)
    run = stage.run()  # a copy: what a command adds to a run must not change what is drawn for the next
    named = {"RUN": str(run), "run": str(run)}
    return [[named.get(word, word.replace("OUT", stage.out)) for word in words]]


def flags_of_training(draw: st.DrawFn, stage: Stage) -> Commands:
    """Settings of every method, as flags."""
    method = draw(st.sampled_from(sorted(_method_flags())))
    words = ["train", draw(st.sampled_from(("digits", "mnist", "celeba64"))), "--method", method]
    for _ in range(draw(st.sampled_from((1, 2, 3)))):
        words += [draw(st.sampled_from(_method_flags()[method])), draw(_WORDS)]
    return [[*words, "--dry-run", "--device", "cpu"]]


_FLAGS_OF: dict[str, list[str]] = {}


def _method_flags() -> dict[str, list[str]]:
    from dualmcmc import config, presets
    from dualmcmc.methods import METHODS

    for method in METHODS if not _FLAGS_OF else ():
        values = config.to_dict(presets.preset("digits", method))
        found = [path for path in mutating.places(values) if path and all(isinstance(part, str) for part in path)]
        _FLAGS_OF[method] = [f"--{'.'.join(path).replace('_', '-')}" for path in found]
    return _FLAGS_OF


# -- bytes -----------------------------------------------------------------------------------------


def _picture(rng: random.Random, kind: str) -> bytes:
    mode = rng.choice(("L", "RGB", "RGBA", "P", "1", "I;16", "LA"))
    side = rng.choice((8, 9, 30))
    image = Image.frombytes("RGB", (side, side), rng.randbytes(3 * side * side))
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    file = io.BytesIO()
    if kind not in ("PNG", "TIFF") and mode not in ("L", "RGB"):
        image = image.convert("RGB")
    image.save(file, kind)
    return file.getvalue()


_FORMATS = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "TIFF": "tif", "WEBP": "webp", "BMP": "bmp", "PPM": "ppm"}


def pictures(_: Any, stage: Stage) -> Commands:
    """A folder with spoilt pictures."""
    data = stage.folder / "data"
    data.mkdir()
    for i in range(4):
        kind = stage.rng.choice(list(_FORMATS))
        content = _picture(stage.rng, kind)
        content = mutating.spoilt(content, stage.rng) if i < 3 else content
        (data / f"{i}.{_FORMATS[kind]}").write_bytes(content)
    skip = ["--skip-bad"] if stage.rng.random() < 0.5 else []
    found = [
        "reconstruct",
        str(stage.source),
        "--data",
        f"{data}:all",
        "--steps",
        "0",
        "--out",
        f"{stage.out}.png",
    ]
    return [[*found, *skip]]


def mask_pictures(_: Any, stage: Stage) -> Commands:
    """A spoilt mask picture."""
    kind = stage.rng.choice(list(_FORMATS))
    mask = stage.folder / f"mask.{_FORMATS[kind]}"
    mask.write_bytes(mutating.spoilt(_picture(stage.rng, kind), stage.rng))
    return [_inpaint(stage, str(mask))]


def mask_words(draw: st.DrawFn, stage: Stage) -> Commands:
    """A mask's specification."""
    kind = draw(st.sampled_from(("center:", "blocks:", "M", "R", "", "mask:", "center", "CENTER:")))
    return [_inpaint(stage, kind + draw(_WORDS))]


def _inpaint(stage: Stage, mask: str) -> list[str]:
    words = [
        "inpaint",
        str(stage.source),
        "--data",
        "digits",
        "-n",
        "2",
        "--latent-steps",
        "0",
        "--data-steps",
        "0",
    ]
    return [*words, "--out", stage.out, f"--mask={mask}"]


def _score(stage: Stage, data: Path) -> list[str]:
    words = ["score", str(stage.source), "--data", f"{data}:all", "-n", "2", "--steps", "0", "--out"]
    return [*words, f"{stage.out}.csv", *(["--skip-bad"] if stage.rng.random() < 0.5 else [])]


def parquet(_: Any, stage: Stage) -> Commands:
    """A spoilt Parquet file."""
    rows = [{"bytes": _picture(stage.rng, "PNG"), "path": f"{i}.png"} for i in range(4)]
    table = pa.table({"image": rows, "label": pa.array([0, 1, None, -3])})
    file = io.BytesIO()
    codec = stage.rng.choice(("none", "snappy", "zstd", "gzip"))
    pq.write_table(table, file, compression=codec, row_group_size=stage.rng.choice((1, 2, 4)))
    content = bytearray(file.getvalue())
    if stage.rng.random() < 0.5:  # the footer, by which all else is found
        length = int.from_bytes(content[-8:-4], "little")
        footer = mutating.spoilt(bytes(content[-8 - length : -8]), stage.rng)
        content[-8 - length : -4] = footer + len(footer).to_bytes(4, "little")
        spoilt = bytes(content)
    else:
        spoilt = mutating.spoilt(bytes(content), stage.rng)
    path = stage.folder / "a.parquet"
    path.write_bytes(spoilt)
    return [_score(stage, path)]


def arrays(_: Any, stage: Stage) -> Commands:
    """A spoilt .npy or .npz."""
    images = np.frombuffer(stage.rng.randbytes(6 * 64), dtype=np.uint8).reshape(6, 8, 8)
    file, zipped = io.BytesIO(), stage.rng.random() < 0.5
    if zipped:
        save = stage.rng.choice((np.savez, np.savez_compressed))
        save(file, images=images, labels=np.arange(6))
    else:
        np.save(file, np.asfortranarray(images) if stage.rng.random() < 0.3 else images)
    path = stage.folder / f"a.{'npz' if zipped else 'npy'}"
    path.write_bytes(mutating.spoilt(file.getvalue(), stage.rng))
    return [_score(stage, path)]


def weights(_: Any, stage: Stage) -> Commands:
    """Spoilt weights of a feature network."""
    named = {"conv1.weight": np.zeros((16, 3, 3, 3), np.float32), "linear.bias": np.zeros(10, np.float32)}
    suffix, file = stage.rng.choice(("npz", "safetensors")), stage.folder / "plain"
    if suffix == "npz":
        with file.open("wb") as opened:
            np.savez_compressed(opened, **named)
    else:
        save_file(named, file)
    path = stage.folder / f"weights.{suffix}"
    path.write_bytes(mutating.spoilt(file.read_bytes(), stage.rng))
    words = [
        "evaluate",
        str(stage.source / "model"),
        "--tasks",
        "generation",
        "-n",
        "20",
        "--steps",
        "0",
        "--out",
        stage.out,
    ]
    return [[*words, "--features", "cifar10_resnet20", "--feature-weights", str(path)]]


def _spoilt_file(stage: Stage, name: str) -> str:
    run = stage.run()
    path = run / name
    path.write_bytes(mutating.spoilt(path.read_bytes(), stage.rng))
    if stage.rng.random() < 0.5:
        manifests.renew(path.parent)
    return str(run)


def model_bytes(_: Any, stage: Stage) -> Commands:
    """A spoilt model.safetensors."""
    run = _spoilt_file(stage, "model/model.safetensors")
    return [["sample", run, "-n", "2", "--steps", "1", "--out", stage.out], ["report", run]]


def checkpoint_bytes(_: Any, stage: Stage) -> Commands:
    """A spoilt file of a checkpoint."""
    newest = max((stage.source / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    name = stage.rng.choice([path.name for path in sorted(newest.iterdir())])
    return [_resume(_spoilt_file(stage, f"checkpoints/{newest.name}/{name}"))]


def text_bytes(_: Any, stage: Stage) -> Commands:
    """A spoilt config.json, log.jsonl, metrics.json or scores.json."""
    names = ("config.json", "log.jsonl", "metrics.json", "model/config.json", "model/scores.json")
    run = _spoilt_file(stage, stage.rng.choice(names))
    return [["report", run], ["score", run, "--data", "digits", "-n", "2", "--steps", "0"], _resume(run)]


def doctor(_: Any, stage: Stage) -> Commands:
    """Any file of a run, examined."""
    files = sorted(path for path in stage.source.rglob("*") if path.suffix in (".json", ".jsonl", ".safetensors"))
    return [["doctor", _spoilt_file(stage, str(stage.rng.choice(files).relative_to(stage.source)))]]


class Kind(NamedTuple):
    """A kind of input."""

    share: int
    """Of all cases."""
    make: Callable[[Any, Stage], Commands]
    drawn: bool = False
    """By Hypothesis; else by the stage's own generator."""


KINDS = {
    "command line": Kind(20, command_line, drawn=True),
    "flags of training": Kind(10, flags_of_training, drawn=True),
    "run's config.json": Kind(8, run_config, drawn=True),
    "model's config.json": Kind(8, model_config, drawn=True),
    "scores.json": Kind(3, scores, drawn=True),
    "metrics.json": Kind(5, metrics, drawn=True),
    "log.jsonl": Kind(5, log, drawn=True),
    "checkpoint's JSON": Kind(4, checkpoint, drawn=True),
    "mask": Kind(3, mask_words, drawn=True),
    "pictures": Kind(10, pictures),
    "mask picture": Kind(4, mask_pictures),
    "Parquet": Kind(6, parquet),
    ".npy, .npz": Kind(6, arrays),
    "weights": Kind(3, weights),
    "model.safetensors": Kind(4, model_bytes),
    "checkpoint's files": Kind(3, checkpoint_bytes),
    "text files": Kind(4, text_bytes),
    "doctor": Kind(1, doctor),
}
"""What is spoilt."""


class _Trial:
    """Tries cases and remembers what failed, each failure once."""

    def __init__(self, folder: Path, source: Path, seed: int) -> None:
        self.folder, self.source, self.seed = folder, source, seed
        self.failures: dict[str, str] = {}
        self.tried = 0

    def case(self, draw: Any, name: str) -> None:
        """One case."""
        rng = random.Random(f"{self.seed} {name} {self.tried}")
        self.tried += 1
        stage = Stage(self.folder / f"case-{self.tried:05d}", self.source, rng)
        stage.folder.mkdir(parents=True)
        try:
            for command in KINDS[name].make(draw, stage):
                self._judge(stage, name, command)
        finally:
            shutil.rmtree(stage.folder)

    def _judge(self, stage: Stage, name: str, command: Sequence[str]) -> None:
        before = probing.listing(self.folder.parent / "work") | probing.listing(stage.folder)
        held = probing.forget_peak()
        ended = probing.call(command)
        grown = (probing.peak() or held) - held
        after = probing.listing(self.folder.parent / "work") | probing.listing(stage.folder)
        verb = command[0] if command and command[0] in VERBS else ""
        faulty = probing.fault(ended, verb, before, after)
        if not faulty and grown > limits.MEMORY:
            faulty = f"took {grown / 1e9:.1f} GB"
        if faulty:
            shown = " ".join(ascii(word)[1:-1][:60] for word in command)
            self.failures.setdefault(f"{name}: {verb}: {faulty[:90]}", f"{name}: {shown[:400]}: {faulty}")


def run(count: int, seed: int, folder: Path) -> Outcome:
    """Tries `count` cases, of each kind its share.

    Arguments:
        count: how many.
        seed: of what is tried; 0 is Hypothesis's derandomised stream.
        folder: an empty one to work in.
    """
    began, folder = time.monotonic(), folder.resolve()
    with probing.place(folder):
        source = probing.trained(folder / "source")
        probing.call(["score", str(source), "--data", "digits", "-n", "2", "--steps", "0", "--out", "first.csv"])
        trial = _Trial(folder / "cases", source, seed)
        with probing.bounded():
            for name, cases in _shares(count).items():
                _try(trial, name, cases)
    note = f"{len(KINDS)} kinds"
    return Outcome("fuzzing", trial.tried, list(trial.failures.values()), time.monotonic() - began, note)


def _shares(count: int) -> dict[str, int]:
    """Cases of each kind, `count` in all, by largest remainders."""
    whole = sum(kind.share for kind in KINDS.values())
    exact = {name: count * kind.share / whole for name, kind in KINDS.items()}
    cases = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: cases[name] - exact[name])[: count - sum(cases.values())]:
        cases[name] += 1
    return cases


def _try(trial: _Trial, name: str, cases: int) -> None:
    """So many cases of a kind; Hypothesis may end a stream early, or go on a little."""
    goal = trial.tried + cases
    while not KINDS[name].drawn and trial.tried < goal:
        trial.case(None, name)
    for again in range(100):
        if trial.tried >= goal:
            return
        settings = hypothesis.settings(
            max_examples=goal - trial.tried,
            derandomize=trial.seed == 0,
            database=None,
            deadline=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )

        def case(data: st.DataObject) -> None:
            trial.case(data.draw, name)

        tested = settings(hypothesis.given(st.data())(case))
        if trial.seed:
            tested = hypothesis.seed(trial.seed * 1000 + again)(tested)
        tested()
