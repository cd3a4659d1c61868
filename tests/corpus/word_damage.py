# SPDX-License-Identifier: BSD-3-Clause
"""Damage to words: texts of all lengths and alphabets in headers and columns; keywords in thousands."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from tests.corpus.bytes_damage import CARD, headers_of
from tests.corpus.target import Target, edited, pick

TEXTS = (
    "x" * 68, "x" * 5000, "'" * 30, "%s%n%d", "{0}{x}", "../../../etc/passwd", "$(id)",
    "<script>alert(1)</script>", "NaN", "-0", "1,2,3", "\\", "a  b", "&",
    "2020-13-45T99:99:99", "1e400", "0x7f", "None", "[]",
)  # fmt: skip
BYTES = (b"\xc3\xa9", b"\xe2\x98\x83", b"\xff\xfe", b"\x00", b"\x1b[31m", b"\x07", b"\r\n", b"\x7f", b"\x85")


def words(rng: np.random.Generator, target: Target) -> str:
    """Texts in keywords and columns: long, with marks of other languages, of other types."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(rng.integers(len(hdus)))
        hdu = hdus[number]
        text = str(pick(rng, TEXTS))
        names = [c.name for c in getattr(hdu, "columns", ()) if "A" in str(c.format)]
        if names and rng.random() < 0.6:
            name, rows = str(pick(rng, names)), len(hdu.data)
            if not rows:
                return None
            hdu.data[name][int(rng.integers(rows)) if rng.random() < 0.5 else slice(None)] = text
            return f"table {number}, column {name}: {text[:30]!r}"
        there = [card.keyword for card in hdu.header.cards if isinstance(card.value, str) and card.keyword]
        there = [key for key in there if key not in ("XTENSION", "COMMENT", "HISTORY", "EXTNAME")]
        key = str(pick(rng, there))
        hdu.header[key] = text
        return f"header {number}: {key} = {text[:30]!r}"

    return edited(target, change)


def alphabets(rng: np.random.Generator, target: Target) -> str:
    """Bytes beyond ASCII within the text of a card, whose form stays that of the standard."""
    content = bytearray(target.source.read_bytes())
    heads = headers_of(bytes(content))
    start, end = pick(rng, heads)
    quoted = [at for at in range(start, end, CARD) if b"= '" in content[at : at + CARD]]
    at = int(pick(rng, quoted))
    first = content.index(b"'", at) + 1
    piece = bytes(pick(rng, BYTES))
    content[first : first + len(piece)] = piece
    target.copy.write_bytes(content)
    return (
        f"header {heads.index((start, end))}: {piece!r} in {bytes(content[at : at + 30]).decode('latin-1')!r}"
    )


def many(rng: np.random.Generator, target: Target) -> str:
    """Far more keywords, columns, extensions or comments than any sound file has."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(rng.integers(len(hdus)))
        kind = str(pick(rng, ("keywords", "comments", "extensions", "columns")))
        count = int(pick(rng, (100, 400, 1500)))
        header = hdus[number].header
        if kind == "keywords":
            header.extend([(f"HIERARCH ESO X{n} Y", n) for n in range(count)], end=True)
        elif kind == "comments":
            for n in range(count):
                header.add_history(f"line {n} " + "x" * 60)
        elif kind == "extensions":
            count = min(count, 300)
            hdus.extend(fits.ImageHDU(name=str(pick(rng, ("", "DATA", f"X{n}")))) for n in range(count))
        else:
            hdu = hdus[number]
            if not isinstance(hdu, fits.BinTableHDU):
                return None
            count = min(count, 400)
            more = [fits.Column(f"c{n}", "E", array=np.zeros(len(hdu.data))) for n in range(count)]
            hdus[number] = fits.BinTableHDU.from_columns([*hdu.columns, *more], name=hdu.name)
        return f"extension {number}: {count} more {kind}"

    return edited(target, change)
