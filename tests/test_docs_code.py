"""Every code block of the documentation runs or parses here, or says why not (see CONTRIBUTING.md).

A page's python blocks run one after the other in a folder of the page's own, which has a trained `runs/demo` and
some `photos/`; so do shell blocks that say `run`. Other shell blocks are parsed, by the verbs' own parsers.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dualmcmc import Trainer, cli, data, presets
from dualmcmc import config as configs
from dualmcmc.pictures import to_pil

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "_build" not in p.parts),
]
OF_PYTHON, OF_SHELL, OUTPUT = ("python", "json"), ("sh",), ("text",)
MARK = re.compile(r"<!-- (run|not run: \S.*) -->")


class Block(NamedTuple):
    """A block of code."""

    place: str
    """Page and line."""
    language: str
    text: str
    mark: str
    """The comment before it: `run`, `not run: ...`, or nothing."""


class Parsed(Exception):  # noqa: N818 - not an error: a verb has understood its arguments
    """Ends a verb once its arguments are parsed."""


def blocks(page: Path) -> Iterator[Block]:
    """Fenced blocks, and indented ones that are commands; MyST's directives are Sphinx's to check."""
    lines = [*page.read_text(encoding="utf-8").splitlines(), ""]
    place, mark, i = str(page.relative_to(ROOT)), "", 0
    while i < len(lines):
        line, start = lines[i], i
        fence = re.match(r"\s*(`{3,}|~{3,})\s*(\S*)", line)
        if fence:
            end = next((j for j in range(i + 1, len(lines)) if lines[j].strip() == fence[1]), None)
            assert end is not None, f"{place}:{start + 1}: a block without an end"
            if not fence[2].startswith("{"):
                yield Block(f"{place}:{start + 1}", fence[2], "\n".join(lines[i + 1 : end]), mark)
            i, mark = end + 1, ""
            continue
        if line.startswith("    dualmcmc ") and not lines[i - 1].strip():
            while lines[i].startswith("    "):
                i += 1
            yield Block(f"{place}:{start + 1}", "sh", "\n".join(lines[start:i]), mark)
            mark = ""
            continue
        found = MARK.fullmatch(line.strip())
        if found or line.strip():
            mark = found[1] if found else ""
        i += 1


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without comments, continued lines joined, `&&` told apart, VAR=value left out."""
    for line in text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words += [word] if words or not re.match(r"[A-Z_]+=", word) else []
                continue
            if words:
                yield words
            words = []


def of_dualmcmc(words: list[str]) -> list[str] | None:
    """The arguments of `dualmcmc` in a command, also behind launchers; None where it is another program."""
    if words[0] == "dualmcmc":
        return words[1:]
    launched = words[0] == "torchrun" or words[:2] == ["accelerate", "launch"] or words[0].startswith("python")
    if launched and "-m" in words and words[words.index("-m") + 1] == "dualmcmc":
        return words[words.index("-m") + 2 :]
    return None


def parse(arguments: list[str]) -> None:
    """What the verb makes of its arguments before it does anything; raises what it objects to."""
    if not arguments or arguments[0] in ("--help", "--version"):
        return
    verb = arguments[0]
    assert verb in cli.VERBS, f"no verb {verb}"
    module = import_module(f"dualmcmc.cli.{cli.VERBS[verb][0]}")
    parser, found = module.parse, []

    def parsed(*args: Any, **options: Any) -> Any:
        found.append(parser(*args, **options))
        raise Parsed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "parse", parsed)
        try:
            getattr(module, verb)([word for word in arguments[1:] if word != "--resume"])
        except Parsed:
            pass
        except SystemExit:  # --help; complaints raise InputError
            return
    if verb == "train":
        configs.check(found[0].config)
    if hasattr(module, "_job"):  # names of methods, tables and settings
        module._job(found[0])


def check(words: list[str]) -> None:
    """A command of a shell block: what it names exists."""
    arguments = of_dualmcmc(words)
    if arguments is not None:
        parse(arguments)
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for target in (word for word in words[1:] if "=" not in word):
            assert re.search(rf"^{target}:", makefile, flags=re.M), f"no target {target}"
    elif words[0].startswith("python"):
        assert len(words) > 1, words
        assert (ROOT / words[1]).is_file() or words[1:3] == ["-m", "venv"], f"no file {words[1]}"
    elif words[0] == "bash":
        assert (ROOT / words[1]).is_file(), f"no file {words[1]}"
    else:
        known = (["pip", "install"], ["git", "clone"], ["cd"], ["pytest"])
        assert any(words[: len(k)] == k for k in known), (
            f"what is {words[0]!r}? mark the block `<!-- not run: ... -->`"
        )


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/demo`, after two updates, and `photos/` in two subfolders."""
    folder = tmp_path_factory.mktemp("ready")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shorten(patch)
        Trainer(presets.preset("digits"), "runs/demo", quiet=True).train()
    images = data.load("digits:test", presets.preset("digits").images)
    for i in range(60):
        place = folder / "photos" / "ab"[i % 2] / f"{i:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        to_pil(data.to_uint8(images.tensor([i]))[0]).save(place)
    return folder


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Every preset of two updates."""
    for name, preset in presets.PRESETS.items():
        patch.setitem(presets.PRESETS, name, replace(preset, run=replace(preset.run, steps=2, evaluate_images=16)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_runs_or_parses_or_says_why_not(
    page: Path, ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(ready, folder)
    monkeypatch.chdir(folder)
    shorten(monkeypatch)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.mark.startswith("not run: "):
            continue
        assert block.language in (*OF_PYTHON, *OF_SHELL, *OUTPUT), f"{block.place}: say of what language this is"
        assert block.mark != "run" or block.language == "sh", f"{block.place}: {block.mark}"
        if block.language == "json":
            json.loads(block.text)
        if block.language == "python" and page.name != "README.md":  # tests/test_docs.py runs that
            run_python(block, names)
        if block.language == "sh":
            run_shell(block)


def run_python(block: Block, names: dict[str, Any]) -> None:
    """Runs it; `name = ...  # (1, 2) ...` claims a shape."""
    exec(compile(block.text, block.place, "exec"), names)
    for name, shape in re.findall(r"^(\w+) = .*# (\((?:\d+, )*\d+,?\))", block.text, flags=re.M):
        assert tuple(names[name].shape) == eval(shape), f"{block.place}: {name}"


def run_shell(block: Block) -> None:
    """Runs it where it says so, else looks whether it could run."""
    for words in commands(block.text):
        arguments = of_dualmcmc(words)
        if block.mark == "run":
            assert words[0] == "dualmcmc", f"{block.place}: only dualmcmc is run, not {words[0]!r}"
            assert cli.main(arguments) == 0, f"{block.place}: {' '.join(words)}"
            continue
        try:
            check(words)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{block.place}: {' '.join(words)}: {error}") from error


def test_blocks_are_found_with_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: no GPU -->\n```sh\nsrun x\n```\n\n<!-- run -->\n\n```sh\na \\\n  b && c # d\n```\ntext\n\n"
        "    dualmcmc presets\n\n    x = y\n\n```{toctree}\nz\n```\n"
    )
    first, second, third = blocks(page)
    assert first == Block("page.md:2", "sh", "srun x", "not run: no GPU")
    assert (second.mark, [*commands(second.text)]) == ("run", [["a", "b"], ["c"]])
    assert [*commands(third.text)] == [["dualmcmc", "presets"]]


@pytest.mark.parametrize(
    "line",
    [
        "dualmcmc sample",
        "dualmcmc evaluate runs/demo --task ood",
        "dualmcmc train digits --method.steps 3",
        "dualmcmc compare digits --methods alchemy",
        "torchrun --nproc_per_node 2 -m dualmcmc train nothing",
        "make nothing",
        "python nothing.py",
        "srun x",
    ],
)
def test_commands_that_would_not_run_are_found(line: str) -> None:
    (words,) = commands(line)
    with pytest.raises((AssertionError, ValueError)):
        check(words)
