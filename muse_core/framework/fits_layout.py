# SPDX-License-Identifier: BSD-3-Clause
"""Where the header and data units of a FITS file lie, from its headers alone.

A walk over the headers of the 8 to 20 units of a pixel table takes a fraction of a millisecond; a general
reader takes ten times longer because it parses every card.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK = 2880
CARD = 80
_END = b"END".ljust(CARD)
LARGEST_NAXIS = 999
LARGEST_HEADER = 1 << 23
"""Bytes of one header at most, about 100000 cards (that of a merged pixel table has 2500)."""

Value = bool | int | float | str


@dataclass(frozen=True)
class Unit:
    """One header and data unit.

    Parameters
    ----------
    start, data_start, end : int
        byte positions: first byte of the header, first byte of the data, first byte after the (padded) data
    header : str
        the cards, without END
    size : int
        bytes of the data without the padding
    """

    start: int
    data_start: int
    end: int
    header: str
    size: int = 0

    def get(self, key: str, default: Value | None = None) -> Value | None:
        """Return the value of a keyword of at most eight letters."""
        return card_value(self.header, key, default)


def card_value(header: str, key: str, default: Value | None = None) -> Value | None:
    """Return the value of a keyword of at most eight letters from the text of a header.

    >>> card_value("NAXIS   =                    2 / axes".ljust(80) + "EXTNAME = 'it''s    '", "EXTNAME")
    "it's"
    """
    wanted = f"{key:<8}="
    position = header.find(wanted)
    while position % CARD and position > 0:  # within the value or the comment of a card
        position = header.find(wanted, position + 1)
    if position < 0:
        return default
    card = header[position : position + CARD]
    try:
        return _parsed(card[len(wanted) :].strip())
    except ValueError:
        raise ValueError(f"card {position // CARD + 1} cannot be read: {card.rstrip()!r}") from None


def _parsed(text: str) -> Value | None:
    if text.startswith("'"):
        return text[1:].replace("''", "\0").partition("'")[0].replace("\0", "'").rstrip()
    word = text.partition("/")[0].strip()
    if word in ("T", "F"):
        return word == "T"
    try:
        return int(word)
    except ValueError:
        return float(word.replace("D", "E")) if word else None


def units(path: Path) -> list[Unit]:
    """Return all units of a file, as far as their headers are complete; data may be cut off.

    Raises
    ------
    OSError
        if the file cannot be read
    ValueError
        if it does not start with a primary header
    """
    with path.open("rb") as stream:
        return list(_walk(stream))


def primary(path: Path) -> Unit:
    """Return the first unit of a file; raises as `units`."""
    with path.open("rb") as stream:
        return next(_walk(stream))


def _walk(stream: BinaryIO) -> Iterator[Unit]:
    start, length = 0, stream.seek(0, 2)
    while start <= length:  # a size may promise more than any file has
        stream.seek(start)
        block = stream.read(BLOCK)
        if start == 0 and not block.startswith(b"SIMPLE  ="):
            raise ValueError("no SIMPLE keyword at its start")
        if start > 0 and not block.startswith(b"XTENSION="):
            return
        blocks: list[str] = []
        while (end := _end_card(block)) is None:
            blocks.append(_decoded(block))
            block = stream.read(BLOCK)
            if len(block) < BLOCK or len(blocks) * BLOCK > LARGEST_HEADER:
                if start == 0:
                    raise ValueError("no END keyword in its header")
                return
        header = "".join(blocks) + _decoded(block[:end])
        data_start = start + (len(blocks) + 1) * BLOCK
        size = _data_size(header)
        unit = Unit(start, data_start, data_start - (-size // BLOCK) * BLOCK, header, size)
        yield unit
        start = unit.end


def _end_card(block: bytes) -> int | None:
    at = block.find(_END)
    while at % CARD and at > 0:
        at = block.find(_END, at + 1)
    return None if at < 0 else at


def _decoded(block: bytes) -> str:
    return block.decode("ascii", "replace").replace("\ufffd", "?")


def _data_size(header: str) -> int:
    """Size of the data in bytes (FITS standard 4.0, equation 2)."""

    def number(key: str, default: int) -> int:
        value = card_value(header, key, default)
        if type(value) is not int or (value < 0 and key != "BITPIX"):
            raise ValueError(f"{key} is {value!r}, no whole number of at least 0")
        return value

    axes = number("NAXIS", 0)
    if axes == 0:
        return 0
    if axes > LARGEST_NAXIS:
        raise ValueError(f"NAXIS is {axes}, more than the {LARGEST_NAXIS} of the standard")
    elements = 1
    for axis in range(1, axes + 1):
        elements *= number(f"NAXIS{axis}", 0)
    return abs(number("BITPIX", 8)) // 8 * number("GCOUNT", 1) * (number("PCOUNT", 0) + elements)
