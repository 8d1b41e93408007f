"""docs/methods/ has a page for each method, whose figures are those of docs/results.md, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualmcmc.methods import METHODS
from dualmcmc.teaching import PAGES

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = (DOCS / "results.md").read_text(encoding="utf-8")
SECTIONS = (
    "Objective",
    "Who learns from what",
    "Afterwards",
    "When to use it",
    "Command",
    "Measured",
    "Settings",
    "In code",
)


def page(method: str) -> str:
    return (DOCS / "methods" / f"{method}.md").read_text(encoding="utf-8")


def section(method: str, name: str) -> str:
    return page(method).partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def rows(text: str) -> Iterator[tuple[str, str]]:
    """First cell, and all others, of the rows of a text's tables."""
    for line in text.splitlines():
        first, found, rest = line.removeprefix("| ").partition(" | ")
        if line.startswith("| ") and found:
            yield first, rest


def measured(method: str) -> list[tuple[str, str]]:
    """Of all three tables of the family: section and figures of the method's rows.

    `the same, ...` is a variant of the row before it.
    """
    found = []
    for part in RESULTS.split("\n## ")[1:]:
        of = ""
        for first, rest in rows(part) if part.startswith("The family with") else ():
            of = of if first.startswith("the same") else first
            if re.match(rf"`{method}`", of):
                found.append((part.partition("\n")[0], rest))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_its_page(method: str) -> None:
    """In the order of every page; with its command, settings, code, and its row in the family's table."""
    text, kind = page(method), METHODS[method]
    assert tuple(re.findall(r"(?m)^## (.*)$", text)) == SECTIONS
    assert re.search(rf"(?m)^dualmcmc train \S+ --method {method}\b", section(method, "Command"))
    assert f"autoclass:: dualmcmc.methods.{kind.__name__}\n" in section(method, "Settings")
    code = section(method, "In code")
    module, name = PAGES[method].__module__, PAGES[method].__qualname__
    assert f"automodule:: {module}\n" in code or f"autoclass:: {module}.{name}\n" in code
    assert f"`{method}`" in (DOCS / "family.md").read_text(encoding="utf-8")
    index = (DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    assert f"| `{method}` | [{text.partition(chr(10))[0].removeprefix('# ')}]({method}.md) |" in index


@pytest.mark.parametrize("method", METHODS)
def test_a_pages_measured_rows_are_those_of_the_results(method: str) -> None:
    """All of them, to the last figure, each under the set and the minutes of its table."""
    ours = [(first, rest) for first, rest in rows(section(method, "Measured")) if first != "16x16 pixels"]
    theirs = measured(method)
    assert len(theirs) >= 2
    assert sorted(rest for _, rest in ours) == sorted(rest for _, rest in theirs)
    for first, rest in ours:
        (title,) = [title for title, figures in theirs if figures == rest]
        data_set, minutes = re.match(r"(\S+), (\S+) minutes", first).groups()  # type: ignore[union-attr]
        assert data_set in title, first
        assert {"1.5": "a minute and a half", "5": "five minutes"}[minutes] in title, first


@pytest.mark.parametrize("method", METHODS)
def test_figures_in_a_pages_advice_occur_in_the_results(method: str) -> None:
    """Those with two places or more behind the point."""
    for figure in re.findall(r"\d+\.\d\d+", section(method, "When to use it")):
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", RESULTS), figure


def test_the_methods_index_counts_them() -> None:
    words = {17: "Seventeen"}
    assert f"{words[len(METHODS)]} methods" in (DOCS / "methods" / "index.md").read_text(encoding="utf-8")
    assert {p.stem for p in (DOCS / "methods").glob("*.md")} == {"index", *METHODS}
