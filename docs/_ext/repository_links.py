"""What leads from one document to another on a code host, or is named in a docstring, does so on the site, too.

`../CONTRIBUTING.md` and `../CHANGELOG.md` are pages here, `../README.md` is the front page; any other file of the
repository is one that the site carries a copy of (MyST does that by itself, and warns where there is none). A page
that is merely named, as docs/maths.md, becomes a link to it.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.transforms import SphinxTransform

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(rf"\]\(((?:\.\./)+)({'|'.join(map(re.escape, PAGES))})([)#])")
NAMED = re.compile(r"(docs/[a-z_/]+\.md)")
NO_PROSE = (nodes.reference, nodes.literal_block, pending_xref, nodes.title)


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls it."""
    app.connect("source-read", _read)
    app.add_transform(NamedPages)
    return {"parallel_read_safe": True}


def _read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = resolved(source[0])


def resolved(text: str) -> str:
    """Markdown with such links to pages of the site."""
    return LINK.sub(lambda found: f"]({found[1].removeprefix('../')}{PAGES[found[2]]}{found[3]}", text)


class NamedPages(SphinxTransform):
    """Links in place of the names of pages, in prose and in code font."""

    default_priority = 400

    def apply(self, **options: Any) -> None:
        """On a page's tree, once it is read."""
        for text in [*self.document.findall(nodes.Text)]:
            parts = NAMED.split(text)
            if len(parts) == 1 or _inside(text, NO_PROSE):
                continue
            if isinstance(text.parent, nodes.literal):
                if parts[0] == parts[2] == "":
                    text.parent.replace_self(self._link(parts[1], text.parent.deepcopy()))
                continue
            found = [
                self._link(part, nodes.inline("", part)) if i % 2 else nodes.Text(part)
                for i, part in enumerate(parts)
            ]
            text.parent.replace(text, found)

    def _link(self, path: str, shown: nodes.Node) -> nodes.Node:
        name = path.removeprefix("docs/").removesuffix(".md")
        if name not in self.env.found_docs:
            return shown
        at = {"refdoc": self.env.docname, "refdomain": "std", "reftype": "doc", "reftarget": f"/{name}"}
        return pending_xref("", shown, refexplicit=True, refwarn=True, **at)


def _inside(node: nodes.Node, kinds: tuple[type[nodes.Node], ...]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False
