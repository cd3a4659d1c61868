# SPDX-License-Identifier: BSD-3-Clause
"""Sums of FITS files (DATASUM, CHECKSUM): made for products, compared for inputs that have them.

A file that was damaged on its way may still be a FITS file with plausible numbers; its sums tell, for 0.2 s
of CPU for 1 GB (`muse_core.framework.input_sums` compares them beside a run). Of files with a part for each
IFU those that the run reads are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from muse_core.framework.fits_layout import Unit, units

_PIECE = 1 << 18
"""Bytes that are summed at a time: they stay in the cache of a core."""


def ones_complement(total: int) -> int:
    """Fold a sum of 32-bit words into the ones' complement sum of the FITS standard."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def word_sum(data: bytes | memoryview) -> int:
    """Return the 32-bit ones' complement sum of big-endian words (FITS standard, appendix J)."""
    import numpy as np

    return ones_complement(int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64)))


def encode_checksum(value: int) -> str:
    """Encode a 32-bit checksum as the 16 characters of the CHECKSUM keyword (FITS standard, appendix J).

    >>> encode_checksum(868229149)
    'hcHjjc9ghcEghc9g'
    """
    complement = 0xFFFFFFFF - value
    excluded = set(range(0x3A, 0x41)) | set(range(0x5B, 0x61))
    columns = []
    for shift in (24, 16, 8, 0):
        byte = (complement >> shift) & 0xFF
        quotient, remainder = divmod(byte, 4)
        characters = [quotient + 0x30 + remainder, quotient + 0x30, quotient + 0x30, quotient + 0x30]
        changed = True
        while changed:
            changed = False
            for i in (0, 2):
                if characters[i] in excluded or characters[i + 1] in excluded:
                    characters[i] += 1
                    characters[i + 1] -= 1
                    changed = True
        columns.append(characters)
    text = "".join(chr(columns[column][row]) for row in range(4) for column in range(4))
    return text[-1] + text[:-1]


def changed_data(
    path: Path, wanted: Callable[[str], bool] = lambda _: True, stopped: Callable[[], bool] = lambda: False
) -> Iterator[tuple[str, int, int]]:
    """Yield the units of a plain FITS file whose data are not those that their DATASUM was made of.

    CHECKSUM, which covers the header too, is not compared: many tools edit keywords and leave it as it is. A
    file that cannot be read is left to its reader.

    Parameters
    ----------
    wanted : whether a unit of that name is read
    stopped : asked between pieces of the file: whether nobody waits for the rest

    Yields
    ------
    name : of the unit, such as "extension 3 (STAT)"
    expected, found : DATASUM of its header and of its data
    """
    try:
        for number, unit in enumerate(units(path)):
            given, label = _given(unit), _text(unit, "EXTNAME")
            if not wanted(label):
                if number == 0:
                    return  # the name of the first unit is that of the file
                continue
            if not given:
                continue
            found = _sum_of(path, unit.data_start, unit.end, stopped)
            if found is None:
                return  # truncated, or stopped
            if found != given:
                name = f"extension {number}" if number else "primary data"
                yield f"{name} ({label})" if label else name, given, found
    except (OSError, ValueError):
        return


def left_behind(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the units of a plain FITS file with more data than their axes hold, and how many bytes more.

    What fills the last block has to be 0 (FITS standard, section 3.3; blanks in text tables): otherwise an
    axis is longer than NAXISn says.
    """
    with contextlib.suppress(OSError, ValueError), path.open("rb") as stream:
        for number, unit in enumerate(units(path)):
            stream.seek(unit.data_start + unit.size)
            rest = stream.read(max(0, unit.end - unit.data_start - unit.size)).rstrip(b"\0 ")
            if rest:
                name = f"extension {number}" if number else "primary data"
                label = _text(unit, "EXTNAME")
                yield f"{name} ({label})" if label else name, len(rest)


def _text(unit: Unit, key: str) -> str:
    """Return the value of a keyword as text; a card that cannot be read is left to who needs it."""
    try:
        return str(unit.get(key) or "").strip()
    except ValueError:
        return ""


def _given(unit: Unit) -> int | None:
    """DATASUM of a unit with data, None if it has none (an empty text is how FITS says: unknown)."""
    text = _text(unit, "DATASUM") if unit.size else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _sum_of(path: Path, start: int, end: int, stopped: Callable[[], bool]) -> int | None:
    """Sum of the words of whole blocks of a file; None if the file ends before, or the reader is stopped."""
    buffer, total = memoryview(bytearray(_PIECE)), 0
    with path.open("rb") as stream:
        stream.seek(start)
        for at in range(start, end, _PIECE):
            wanted = min(_PIECE, end - at)
            if stopped() or stream.readinto(buffer[:wanted]) != wanted:
                return None
            total += word_sum(buffer[:wanted])
    return ones_complement(total)
