"""docs/troubleshooting.md has an entry for every message, and none for a message that no longer exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "troubleshooting.md"
SHORTEST = 9
"""Characters of fixed words: fewer say nothing of their own, they stand around another message."""


def _plain(text: str) -> str:
    """Without code font, with single blanks, and one … for several."""
    return re.sub("…+", "…", " ".join(text.replace("\\|", "|").replace("`", "").split()))


def _trees() -> Iterator[ast.Module]:
    for path in sorted((ROOT / "src" / "dualmcmc").rglob("*.py")):
        yield ast.parse(path.read_text(encoding="utf-8"))


def _kinds(trees: list[ast.Module]) -> set[str]:
    """InputError, TrainingError, what derives from them, and the command line's own complaint."""
    kinds = {"InputError", "TrainingError", "_complain"}
    while True:
        more = {
            node.name
            for tree in trees
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any(isinstance(b, ast.Name) and b.id in kinds for b in node.bases)
        }
        if more <= kinds:
            return kinds
        kinds |= more


def _parts(message: ast.expr) -> list[str]:
    """The fixed words of a message, and … for what an f-string fills in."""
    if isinstance(message, ast.JoinedStr):
        return [str(part.value) if isinstance(part, ast.Constant) else "…" for part in message.values]
    if isinstance(message, ast.Constant):
        return [str(message.value)]
    if isinstance(message, ast.Call):  # "; ".join(f"..." for ...)
        return [part for node in ast.walk(message) if isinstance(node, ast.JoinedStr) for part in _parts(node)]
    return []


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr | ast.Constant)


def _says_something(message: ast.expr) -> bool:
    return any(len(_plain(part)) >= SHORTEST for part in _parts(message))


def _texts(node: ast.Call, tree: ast.Module) -> list[ast.expr]:
    """What a call says; of a name, whatever the module gives to that name."""
    said = node.args[0] if node.args else None
    if isinstance(said, ast.Name):
        given = [n for n in ast.walk(tree) if isinstance(n, ast.Assign)]
        return [n.value for n in given if isinstance(n.targets[0], ast.Name) and n.targets[0].id == said.id]
    return [said] if said is not None else []


def messages() -> list[str]:
    """Everything that ends a command with a line of its own, and what the doctor finds bad; … for what varies."""
    trees = list(_trees())
    found: list[ast.expr] = []
    kinds = _kinds(trees)
    for tree in trees:
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in kinds:
                found += _texts(node, tree)
            elif node.func.id == "Finding" and len(node.args) > 2 and "bad" in ast.unparse(node.args[0]):
                found.append(node.args[2])
    return list(dict.fromkeys(_plain("".join(_parts(message))) for message in found if _says_something(message)))


def entries() -> list[str]:
    """The messages that the first columns of the document's tables name."""
    found, named = [], False
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        named = line.startswith("| the line says") or (named and line.startswith("|"))
        if named and line.startswith("| `"):
            first = re.split(r"(?<!\\)\|", line)[1]
            found += [_plain(one) for one in first.split("<br>")]
    return found


def test_every_message_has_an_entry() -> None:
    """Word for word: whoever searches for what a command said finds it, and what to do."""
    named = entries()
    lost = [message for message in messages() if message not in named]
    assert not lost, "docs/troubleshooting.md does not have:\n" + "\n".join(lost)


def test_every_entry_is_of_a_message_that_there_is() -> None:
    """Of those that are no `InputError` or `TrainingError` (signals, settings) all words are in the source."""
    source = "\n".join(
        _plain("".join(_parts(node))) for tree in _trees() for node in ast.walk(tree) if _is_text(node)
    )
    said, named = messages(), entries()
    assert len(named) >= len(said) > 200
    gone = [e for e in named if e not in said and not all(words.strip() in source for words in e.split("…"))]
    assert not gone, "docs/troubleshooting.md names what is no message any more:\n" + "\n".join(gone)
