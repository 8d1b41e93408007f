"""Documents cannot drift: README's samples run, its commands parse, every label has its line in docs/maths.md."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from dualmcmc import cli, presets
from dualmcmc.cli.train import _options as train_options
from dualmcmc.methods import METHODS
from dualmcmc.settings import Config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def _short(config: Config) -> Config:
    return replace(config, run=replace(config.run, steps=2, evaluate_images=16))


def test_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder; the samples' shape comments are asserted too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(presets.PRESETS, "digits", _short(presets.PRESETS["digits"]))
    names: dict[str, object] = {}
    claims = []
    for block in _blocks("python"):
        exec(block, names)
        claims += re.findall(r"^(\w+) = .*# (\([\d, ]+\))", block, flags=re.M)
    assert [name for name, _ in claims] == ["x", "whole", "usual"]
    for name, shape in claims:
        assert tuple(names[name].shape) == eval(shape), name  # type: ignore[attr-defined]
    assert Path("runs/mine/model/model.safetensors").is_file()


def test_readmes_commands_parse() -> None:
    commands = [line.split("#")[0] for block in _blocks("sh") for line in block.splitlines()]
    trains = [shlex.split(line.partition("dualmcmc train ")[2]) for line in commands if "dualmcmc train " in line]
    assert len(trains) >= 4
    for words in trains:
        assert train_options([word for word in words if word != "--resume"]).config.preset in presets.PRESETS


def test_readme_names_every_verb_and_every_make_target_there_is() -> None:
    for verb in cli.VERBS:
        assert re.search(rf"`{verb}[ `]", README), verb
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(
        r"(?m)(?:`|^)make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    ):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_readmes_links_and_pictures_exist() -> None:
    for place in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / place).is_file(), place


def test_readmes_table_of_methods_holds_every_method_and_figures_of_the_results() -> None:
    """Networks as the code has them; distance, MSE and AUROC from that table of docs/results.md, to the digit."""
    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    table = results.partition("## The family with a minute and a half each, Fashion-MNIST")[2].partition("\n## ")[
        0
    ]
    measured = {row[0].strip("`"): [cell.split(" ")[0] for cell in row[1:]] for row in _rows(table)}
    ours = {row[0].split("`")[1]: row for row in _rows(README.partition("## Methods")[2].partition("\n## ")[0])}
    assert set(ours) == set(METHODS) == set(measured)
    for name, (_, learns, _, distance, mse, auroc) in ours.items():
        generator, chain, _, latent, noise, density = measured[name][:6]
        assert learns == ", ".join(METHODS[name].PARTS), name
        seen = [distance.strip("*"), mse.strip("*"), auroc.strip("*")]
        assert seen == [chain if chain != "–" else generator, latent if latent != "–" else noise, density], name


def _rows(text: str) -> list[list[str]]:
    """Cells of each row of a table whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def test_every_label_in_the_code_is_in_the_maths_document() -> None:
    maths = (ROOT / "docs" / "maths.md").read_text(encoding="utf-8")
    used = set()
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").glob("*.py")]:
        used |= set(re.findall(r"\(([A-Z]\d)\)", path.read_text(encoding="utf-8")))
    assert used >= {"L1", "L2", "E1", "G1", "I1", "D1", "D2"}
    for label in used:
        assert f"({label})" in maths, label


def test_the_maths_documents_code_references_exist() -> None:
    maths = (ROOT / "docs" / "maths.md").read_text(encoding="utf-8")
    references = re.findall(r"`((?:trio|densities|langevin|teaching)\.[\w.]+)`", maths)
    assert len(references) >= 8
    for reference in references:
        module, _, name = reference.rpartition(".")
        path = ROOT / "src" / "dualmcmc" / (module.replace(".Trio", "").replace(".", "/") + ".py")
        assert re.search(rf"def {name}\(", path.read_text(encoding="utf-8")), reference


def test_the_changelog_names_every_verb_and_preset() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for name in [*cli.VERBS, *presets.PRESETS]:
        assert f"`{name}`" in text, name
