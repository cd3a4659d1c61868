# SPDX-License-Identifier: BSD-3-Clause
"""Damage to the bytes of a file: what is no FITS file, pieces of one, cards and blocks."""

from __future__ import annotations

import bz2
import gzip
import os
from functools import cache

import numpy as np

from tests.corpus.target import Target, pick

BLOCK, CARD = 2880, 80
STRUCTURE = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "TFIELDS",
    "TFORM1", "TFORM2", "TTYPE1", "TTYPE2", "THEAP", "BSCALE", "BZERO", "TSCAL1", "TZERO1", "TNULL1", "BLANK",
    "EXTNAME", "EXTEND", "END", "TDIM1", "ZIMAGE",
)  # fmt: skip
VALUES = (
    "-1", "0", "1", "2", "3", "4", "5", "7", "27", "28", "999", "1000", "32767", "2147483647", "2147483648",
    "4294967296", "9223372036854775807", "99999999999999999999", "-2147483648", "1E300", "-1.5", "NaN", "Inf",
    "T",
    "F",
    "'many'", "''", "'NaN'", "'1D'", "'0E'", "'999999999D'", "'PE(9)'", "'16A'", "", "/ nothing", "'unclosed",
    "1 2 3", "\xff\xfe", "(1.0, 2.0)", "0x10", "1D400", "1e-320",
)  # fmt: skip


def files(rng: np.random.Generator, target: Target) -> str:
    """What is no FITS file, or only a piece of one."""
    content, copy = target.source.read_bytes(), target.copy
    kind = int(rng.integers(20))
    size = len(content)
    if kind == 0:
        copy.write_bytes(b"")
        return "empty file"
    if kind == 1:
        copy.write_bytes(rng.bytes(int(rng.integers(1, 20000))))
        return "noise"
    if kind == 2:
        copy.write_text("Dear observer, this is no FITS file.\n" * int(rng.integers(1, 300)))
        return "text"
    if kind in (3, 4, 5):
        keep = int(rng.integers(1, size))
        copy.write_bytes(content[:keep])
        return f"first {keep} of {size} bytes"
    if kind in (6, 7):
        keep = int(rng.integers(1, max(2, size // BLOCK))) * BLOCK
        copy.write_bytes(content[:keep])
        return f"first {keep // BLOCK} of {size // BLOCK} blocks"
    if kind == 8:
        copy.write_bytes(content + rng.bytes(int(rng.integers(1, 9000))))
        return "rubbish behind the file"
    if kind == 9:
        os.mkfifo(copy)
        return "fifo"
    if kind == 10:
        copy.mkdir()
        return "folder"
    if kind == 11:
        copy.symlink_to(pick(rng, ("/dev/zero", "/dev/null", "/dev/random", copy.name, "no-such-file")))
        return f"link to {copy.readlink()}"
    if kind == 12:
        packed = gzip.compress(content)
        copy.write_bytes(packed[: int(rng.integers(1, len(packed)))])
        return "cut gzip file"
    if kind == 13:
        packed = bytearray(gzip.compress(content))
        packed[int(rng.integers(10, len(packed)))] ^= 1 << int(rng.integers(8))
        copy.write_bytes(packed)
        return "gzip file with a wrong bit"
    if kind == 14:
        packed = bytearray(bz2.compress(content))
        packed[int(rng.integers(4, len(packed)))] ^= 0x55
        copy.write_bytes(packed)
        return "bzip2 file with a wrong byte"
    if kind == 15:
        copy.write_bytes(_bomb())
        return "gzip file that grows a thousandfold"
    if kind == 16:
        copy.write_bytes(b"\x1f\x9d" + rng.bytes(2000))
        return "rubbish with the mark of compress"
    if kind == 17:
        copy.write_bytes(content[: BLOCK - CARD * 3])
        return "header without an end"
    if kind == 18:
        copy.write_bytes(content[:CARD].ljust(BLOCK) * 400)
        return "header of blanks, without an end"
    copy.write_bytes(pick(rng, target.others).read_bytes())
    return "file of another tag"


@cache
def _bomb() -> bytes:
    return gzip.compress(b"\0" * 90_000_000, 9)


def headers_of(content: bytes) -> list[tuple[int, int]]:
    """First byte and byte after the END card of each header."""
    found, start = [], 0
    while start < len(content):
        if content[start : start + 8] in (b"SIMPLE  ", b"XTENSION"):
            for at in range(start, len(content), CARD):
                if content[at : at + CARD] == b"END".ljust(CARD):
                    found.append((start, at))
                    break
            else:
                break
            start = at + CARD
        start += -start % BLOCK or BLOCK
    return found


def structure(rng: np.random.Generator, target: Target) -> str:
    """A card that tells the structure of the file, with a value that it must not have."""
    content = bytearray(target.source.read_bytes())
    headers = headers_of(bytes(content))
    start, end = pick(rng, headers)
    there = {bytes(content[at : at + 8]).decode("latin-1").rstrip(): at for at in range(start, end, CARD)}
    known = [key for key in STRUCTURE if key in there]
    key, value = str(pick(rng, [*known * 3, *STRUCTURE])), str(pick(rng, VALUES))
    if key == "END":
        content[end : end + 3] = b"ENX"
    else:
        at = there.get(key)
        if at is None:  # in place of some other card, so that nothing moves
            at = int(pick(rng, range(min(start + 6 * CARD, end - CARD), end, CARD)))
        content[at : at + CARD] = f"{key:<8}= {value:>20}".encode("latin-1").ljust(CARD)[:CARD]
    target.copy.write_bytes(content)
    return f"header {headers.index((start, end))}: {key} = {value}"


def cards(rng: np.random.Generator, target: Target) -> str:
    """Any card: other values, no value, bytes that no card may have."""
    content = bytearray(target.source.read_bytes())
    headers = headers_of(bytes(content))
    start, end = pick(rng, headers)
    told = []
    for _ in range(int(rng.integers(1, 4))):
        at = int(pick(rng, range(start, end, CARD)))
        card = bytes(content[at : at + CARD])
        head, _, _ = card.partition(b"=")
        kind = int(rng.integers(9))
        new = [
            head + b"= " + str(pick(rng, VALUES)).encode("latin-1"),
            b"",
            head + b"= " + str(pick(rng, VALUES)).rjust(20).encode("latin-1"),
            rng.bytes(CARD),
            card.lower(),
            head,
            b"\xff" * CARD,
            b"CONTINUE  'and so on&'",
            b"HIERARCH " + head + b" no equal sign",
        ][kind]
        content[at : at + CARD] = new.ljust(CARD)[:CARD]
        told.append(f"{head.decode('latin-1').strip()} -> {new[:40]!r}")
    target.copy.write_bytes(content)
    return f"header {headers.index((start, end))}: " + "; ".join(told)


def scattered(rng: np.random.Generator, target: Target) -> str:
    """Bytes and blocks that are not what they were."""
    content = bytearray(target.source.read_bytes())
    kind, blocks = int(rng.integers(6)), max(1, len(content) // BLOCK)
    one, two = (BLOCK * int(rng.integers(blocks)) for _ in range(2))
    if kind == 0:
        spots = rng.integers(0, len(content), int(rng.integers(1, 50)))
        for at in spots:
            content[at] ^= 1 << int(rng.integers(8))
        told = f"{len(spots)} wrong bits"
    elif kind == 1:
        header = pick(rng, headers_of(bytes(content)))
        spots = rng.integers(header[0], header[1], int(rng.integers(1, 12)))
        for at in spots:
            content[at] = int(rng.integers(256))
        told = f"{len(spots)} wrong bytes in a header"
    elif kind == 2:
        fill = int(pick(rng, (0, 255, 32)))
        content[one : one + BLOCK] = bytes([fill]) * len(content[one : one + BLOCK])
        told = f"block {one // BLOCK} filled with {fill}"
    elif kind == 3:
        a, b = bytes(content[one : one + BLOCK]), bytes(content[two : two + BLOCK])
        content[one : one + BLOCK], content[two : two + BLOCK] = b, a
        told = f"blocks {one // BLOCK} and {two // BLOCK} exchanged"
    elif kind == 4:
        del content[one : one + BLOCK]
        told = f"block {one // BLOCK} left out"
    else:
        content[one:one] = content[two : two + BLOCK]
        told = f"block {two // BLOCK} once more at {one // BLOCK}"
    target.copy.write_bytes(content)
    return told
