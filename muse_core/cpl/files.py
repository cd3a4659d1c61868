# SPDX-License-Identifier: BSD-3-Clause
"""Sets of frames and configuration files, given as a name, a file object or text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muse_core.framework.sof import parse_sof
from muse_core.hosts.configfile import parse_rc


def _source_text(source: Any) -> str:
    """Return the text of a source: file object, file name, or text (with a line break, or naming no file)."""
    if hasattr(source, "read"):
        return str(source.read())
    text = str(source)
    if "\n" in text or (not Path(text).is_file() and ("=" in text or " " in text.strip())):
        return text
    return Path(text).expanduser().read_text(encoding="utf-8")


def load_sof(source: Any) -> dict[str, Any]:
    r"""Read a set of frames (name, file object or text): tag -> file name, or list of names.

    >>> load_sof("a.fits A\nb.fits B\nc.fits B\n")
    {'A': 'a.fits', 'B': ['b.fits', 'c.fits']}
    """
    found: dict[str, list[str]] = {}
    for frame in parse_sof(_source_text(source)):
        found.setdefault(frame.tag, []).append(str(frame.path))
    return {tag: files[0] if len(files) == 1 else files for tag, files in found.items()}


def load_rc(source: Any = None) -> dict[str, str]:
    r"""Read a configuration file (name, file object or text); without a source ``~/.esorex/esorex.rc``.

    >>> load_rc("muse.a.n=3\n# note\n")
    {'muse.a.n': '3'}
    """
    path = Path.home() / ".esorex" / "esorex.rc"
    return parse_rc(path.read_text(encoding="utf-8") if source is None else _source_text(source))
