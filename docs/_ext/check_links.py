# SPDX-License-Identifier: BSD-3-Clause
"""Check that links, anchors and pictures of the built site lead somewhere: ``python check_links.py FOLDER``.

Links to other sites are left to ``make linkcheck``, which needs a network.
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Note what an element names and where it leads."""
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


@cache
def page(path: Path) -> Page:
    """Read a page."""
    return Page(path.read_text(encoding="utf-8"))


def broken(folder: Path) -> list[str]:
    """Return what leads nowhere, as ``page: link``."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        for link in page(path).links:
            if link.startswith(("http:", "https:", "data:", "mailto:", "javascript:")):
                continue
            name, _, anchor = link.partition("#")
            target = path if not name else (path.parent / unquote(name.split("?")[0])).resolve()
            if not target.exists():
                found.append(f"{path.relative_to(folder)}: {link}")
            elif target.suffix == ".html" and unquote(anchor) not in page(target).anchors:
                found.append(f"{path.relative_to(folder)}: {link} (no such anchor)")
    return found


def external(folder: Path) -> list[str]:
    """Return scripts, styles and pictures that would be fetched from other sites."""
    found = []
    for path in sorted(folder.rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        found += [
            f"{path.relative_to(folder)}: {start.split(chr(34))[0]}"
            for part in ('src="http', 'rel="stylesheet" type="text/css" href="http')
            for start in text.split(part)[1:]
        ]
    return found


if __name__ == "__main__":
    site = Path(sys.argv[1]).resolve()
    complaints = broken(site) + external(site)
    print("\n".join(complaints) or f"all links of {site.name} lead somewhere")
    sys.exit(bool(complaints))
