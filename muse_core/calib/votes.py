# SPDX-License-Identifier: BSD-3-Clause
"""The association files of the archive (XML): which calibrations ESO would take. A vote, not a rule."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xml.etree import ElementTree as Tree

LIMIT = 20_000_000
_ENTITY = re.compile(rb"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


class VoteError(Exception):
    """The file is no association file; the message says why."""


Vote = tuple[str, str, str, int, int]  # main file, member, category, certified, complete


def normal_name(name: str) -> str:
    """Return a data-set name without folder and suffix, whatever the browser did to its colons.

    >>> normal_name("in/MUSE.2017-06-16T01_34_56.867.fits.fz") == normal_name("MUSE.2017-06-16T01:34:56.867")
    True
    """
    stem = re.sub(r"\.fits(\.fz|\.gz|\.Z)?$", "", PurePath(name).name, flags=re.IGNORECASE)
    return re.sub(r"[:_ ]", "-", stem)


def read_votes(path: str | Path) -> list[Vote]:
    """Return the members of an association file.

    Raises
    ------
    VoteError
        where it is too large, no XML, or defines entities
    """
    from xml.etree import ElementTree as Tree  # most commands read none

    source = Path(path)
    try:
        if source.stat().st_size > LIMIT:
            raise VoteError("is too large for an association file")
        text = source.read_bytes()
    except OSError as error:
        raise VoteError(f"cannot be read: {error.strerror}") from error
    if _ENTITY.search(text):
        raise VoteError("defines entities, which no association file of the archive does")
    try:
        top = Tree.fromstring(text)  # noqa: S314 - without entities nothing can expand
    except (Tree.ParseError, ValueError, LookupError) as error:
        raise VoteError(f"is no XML: {error}") from error
    votes: list[Vote] = []
    _collect(top, "", votes)
    return votes


def _collect(element: Tree.Element, main: str, votes: list[Vote]) -> None:
    if _local(element) == "association":
        mains = [_name(f) for part in element if _local(part) == "mainFiles" for f in part if _name(f)]
        main = main or (mains[0] if mains else "")
        certified, complete = (
            int(element.get(key, "").lower() == "true") for key in ("certified", "complete")
        )
        for part in element:
            if _local(part) == "mainFiles":
                for file in part:
                    if _name(file):
                        votes.append(
                            (main, _name(file), file.get("category", "").upper(), certified, complete)
                        )
    for part in element:
        _collect(part, main, votes)


def _local(element: Tree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _name(element: Tree.Element) -> str:
    return normal_name(element.get("name", "")) if _local(element) == "file" else ""
