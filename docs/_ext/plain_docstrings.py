"""Docstrings are plain text: code in single backticks, formulas and tables indented by four; here they become RST.

Google's sections (Arguments, Returns, Raises, Attributes) are left to napoleon, which comes after. Without this,
bars and stars of formulas would be taken for markup, and their lines run into one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from itertools import groupby
from typing import Any

ATTRIBUTES = ("attribute", "data", "property")
SECTIONS = ("Arguments:", "Returns:", "Raises:", "Attributes:", "Yields:")
CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_kept: dict[str, list[str]] = {}


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-docstring", _attribute, priority=600)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True}


def _docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = restructured(lines)
    if what in ATTRIBUTES:
        _kept[name] = list(lines)


def _attribute(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A field's words up to a colon are no type, which napoleon takes them for."""
    if what in ATTRIBUTES:
        lines[:] = _kept.pop(name)


def _signature(app: Any, what: str, name: str, obj: Any, *rest: Any) -> tuple[str, str] | None:
    """A dataclass's fields stand below it, each with type and default: not once more in its head."""
    return ("", "") if what == "class" and is_dataclass(obj) else None


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring, without common indentation, as RST."""
    found: list[str] = []
    for preformatted, group in groupby(_marked(_returning(lines)), key=lambda pair: pair[0]):
        part = [line for _, line in group]
        found += ["", "::", "", *part, ""] if preformatted else _text("\n".join(part)).split("\n")
    return found


def _returning(lines: list[str]) -> Iterator[str]:
    """With `Returns:` as a field; napoleon would take its words up to a colon for a type."""
    for before, line in zip(["", *lines], lines, strict=False):
        if before == "Returns:":
            yield f":returns: {line.strip()}"
        elif line != "Returns:":
            yield line


def _marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is in a block indented by four, behind a blank line and outside of sections."""
    section = inside = False
    blank = True
    for line in lines:
        if line and not line.startswith(" "):
            section, inside = line.strip() in SECTIONS, False
        elif line.startswith("    ") and blank and not section:
            inside = True
        blank = not line.strip()
        yield inside, line


def _text(text: str) -> str:
    """Text with code in double backticks, and without characters that mean something in RST."""
    parts = CODE.split(text)
    found = [_escaped(parts[0])]
    for code, after in zip(parts[1::2], parts[2::2], strict=True):
        before = "\\ " if found[-1][-1:].isalnum() else ""
        behind = "\\ " if after[:1].isalnum() else ""
        found += [f"{before}``{code}``{behind}", _escaped(after)]
    return "".join(found)


def _escaped(text: str) -> str:
    return re.sub(r"(\\|\*|\||_(?!\w))", r"\\\1", text)
