"""Links out of docs/ that work on a code host lead to what the site has of their targets.

`../CONTRIBUTING.md` and `../CHANGELOG.md` are pages here, `../README.md` is the front page; any other file of the
repository is one that the site carries a copy of (MyST does that by itself, and warns where there is none).
"""

from __future__ import annotations

import re
from typing import Any

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(rf"\]\(((?:\.\./)+)({'|'.join(map(re.escape, PAGES))})([)#])")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}


def _read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = resolved(source[0])


def resolved(text: str) -> str:
    """Markdown with such links to pages of the site."""
    return LINK.sub(lambda found: f"]({found[1].removeprefix('../')}{PAGES[found[2]]}{found[3]}", text)
