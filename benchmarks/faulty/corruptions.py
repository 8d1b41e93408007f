"""Checkpoints and model folders with one file damaged: never taken for whole, and the one before serves.

Of a run with several checkpoints, or its model, one file has a bit flipped, is cut short or made longer, has a
stretch zeroed, is gone, or is exchanged for another of the folder or for its namesake of another checkpoint.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from dualmcmc import Model
from dualmcmc.errors import InputError
from dualmcmc.storage import checkpoints
from faulty import tiny
from faulty.outcome import Outcome

Damage = Callable[[Path, random.Random], None]


def flip(path: Path, chance: random.Random) -> None:
    """Another bit somewhere."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    """Fewer bytes, perhaps none."""
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


def lengthen(path: Path, chance: random.Random) -> None:
    """More bytes."""
    path.write_bytes(path.read_bytes() + chance.randbytes(chance.randint(1, 5000)))


def blank(path: Path, chance: random.Random) -> None:
    """A stretch of zeros, as a file system leaves after a power failure."""
    content = path.read_bytes()
    first = chance.randrange(len(content))
    last = min(len(content), first + chance.randint(1, 4096))
    path.write_bytes(content[:first] + bytes(last - first) + content[last:])


def delete(path: Path, chance: random.Random) -> None:
    """No file."""
    path.unlink()


def swap_within(path: Path, chance: random.Random) -> None:
    """Two files of the folder, each under the other's name."""
    other = chance.choice(sorted(each for each in path.parent.iterdir() if each != path))
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def swap_across(path: Path, chance: random.Random) -> None:
    """Another checkpoint's file of that name."""
    if others := _others(path):
        shutil.copy(chance.choice(others) / path.name, path)
    else:
        cut(path, chance)


def swap_folders(path: Path, chance: random.Random) -> None:
    """A whole checkpoint under another step's name."""
    if others := _others(path):
        shutil.rmtree(path.parent)
        shutil.copytree(chance.choice(others), path.parent)
    else:
        delete(path, chance)


def _others(path: Path) -> list[Path]:
    """Other checkpoints than that of the file; of a model, none."""
    return sorted(each for each in path.parent.parent.glob("step-*") if each != path.parent)


DAMAGES: tuple[Damage, ...] = (flip, flip, cut, lengthen, blank, delete, swap_within, swap_across, swap_folders)


def run(count: int, seed: int, folder: Path) -> Outcome:
    """`count` corruptions, every third of them of the model."""
    began, chance = time.monotonic(), random.Random(seed)
    whole, hurt = folder / "whole", folder / "hurt"
    tiny.train(tiny.config(seed=seed), whole)
    kept = {
        step: checkpoints.newest(whole / "checkpoints", step + 1)[0]
        for step in checkpoints.steps(whole / "checkpoints")
    }
    model = Model.from_pretrained(whole).trio.state_dict()
    failures: list[str] = []
    seen: Counter[str] = Counter()
    for number in range(count):
        shutil.rmtree(hurt, ignore_errors=True)
        shutil.copytree(whole, hurt)
        damage = chance.choice(DAMAGES)
        if number % 3 == 0:
            targets = [path for path in (hurt / "model").iterdir() if path.name != "README.md"]
        else:
            newest = hurt / "checkpoints" / f"step-{max(kept)}"
            targets = list(newest.iterdir())
        target = chance.choice(sorted(targets))
        before = target.read_bytes()
        damage(target, chance)
        what = f"{number}: {damage.__name__} of {target.relative_to(hurt)}"
        altered = not target.exists() or target.read_bytes() != before
        try:
            if number % 3 == 0:
                told = _load_model(hurt, model)
            else:
                told = _load_checkpoint(hurt, kept)
        except Exception as error:  # whatever it is, it is what is looked for
            failures.append(f"{what}: {type(error).__name__}: {error}")
            continue
        if told == "silent" or (told == "same" and altered):
            failures.append(f"{what}: loaded without a word")
        seen[told] += 1
    note = f"{seen['before']} fell back to the checkpoint before, {seen['refused']} models refused"
    note += f", {seen['same']} left as they were" if seen["same"] else ""
    return Outcome("corruption", count, failures, time.monotonic() - began, note)


def _load_model(run: Path, wanted: dict[str, Tensor]) -> str:
    try:
        found = Model.from_pretrained(run).trio.state_dict()
    except InputError:
        return "refused"
    return "silent" if tiny.different(dict(found), wanted) else "same"


def _load_checkpoint(run: Path, kept: dict[int, checkpoints.Checkpoint]) -> str:
    found, passed_over = checkpoints.newest(run / "checkpoints")
    wanted = kept[found.step]
    if found.state != wanted.state or any(tiny.different(found.parts[p], wanted.parts[p]) for p in wanted.parts):
        return "silent"
    if found.step == max(kept):
        return "same"
    return "before" if len(passed_over) == 1 else "silent"
