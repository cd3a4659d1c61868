# SPDX-License-Identifier: BSD-3-Clause
"""Ways to break a file, in families; each takes a generator of random numbers and is repeatable."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

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
NUMBERS = (0.0, -1.0, 1e30, -1e30, 1e-30, 1.0, 1e6, 360.0, 2147483647, -99999, 0.5)


class NotApplicableError(Exception):
    """The damage makes no sense for this file."""


@dataclass
class Target:
    """The file to break: where it lies, where the broken one goes, and files of other tags."""

    source: Path
    copy: Path
    others: tuple[Path, ...]


Damage = Callable[[np.random.Generator, Target], str]


def _pick(rng: np.random.Generator, items: object) -> object:
    listed = list(items)
    if not listed:
        raise NotApplicableError
    return listed[int(rng.integers(len(listed)))]


# ------------------------------------------------------------------ files


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
        copy.symlink_to(_pick(rng, ("/dev/zero", "/dev/null", "/dev/random", copy.name, "no-such-file")))
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
        copy.write_bytes(gzip.compress(b"\0" * 90_000_000, 9))
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
    copy.write_bytes(_pick(rng, target.others).read_bytes())
    return "file of another tag"


# ------------------------------------------------------------------ headers, as bytes


def _headers(content: bytes) -> list[tuple[int, int]]:
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
    headers = _headers(bytes(content))
    start, end = _pick(rng, headers)
    there = {bytes(content[at : at + 8]).decode("latin-1").rstrip(): at for at in range(start, end, CARD)}
    known = [key for key in STRUCTURE if key in there]
    key, value = str(_pick(rng, [*known * 3, *STRUCTURE])), str(_pick(rng, VALUES))
    if key == "END":
        content[end : end + 3] = b"ENX"
    else:
        at = there.get(key)
        if at is None:  # in place of some other card, so that nothing moves
            at = int(_pick(rng, range(min(start + 6 * CARD, end - CARD), end, CARD)))
        content[at : at + CARD] = f"{key:<8}= {value:>20}".encode("latin-1").ljust(CARD)[:CARD]
    target.copy.write_bytes(content)
    return f"header {headers.index((start, end))}: {key} = {value}"


def cards(rng: np.random.Generator, target: Target) -> str:
    """Any card: other values, no value, bytes that no card may have."""
    content = bytearray(target.source.read_bytes())
    headers = _headers(bytes(content))
    start, end = _pick(rng, headers)
    told = []
    for _ in range(int(rng.integers(1, 4))):
        at = int(_pick(rng, range(start, end, CARD)))
        card = bytes(content[at : at + CARD])
        head, _, _ = card.partition(b"=")
        kind = int(rng.integers(9))
        new = [
            head + b"= " + str(_pick(rng, VALUES)).encode("latin-1"),
            b"",
            head + b"= " + str(_pick(rng, VALUES)).rjust(20).encode("latin-1"),
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
        header = _pick(rng, _headers(bytes(content)))
        spots = rng.integers(header[0], header[1], int(rng.integers(1, 12)))
        for at in spots:
            content[at] = int(rng.integers(256))
        told = f"{len(spots)} wrong bytes in a header"
    elif kind == 2:
        fill = int(_pick(rng, (0, 255, 32)))
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


# ------------------------------------------------------------------ meaning, through a FITS library


def _edited(target: Target, change: Callable[[fits.HDUList], str | None]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = fits.open(target.source, memmap=False)
        except OSError:
            raise NotApplicableError from None
        with source:
            hdus = fits.HDUList([hdu.copy() for hdu in source])
        told = change(hdus)
        if told is None:
            raise NotApplicableError
        try:
            hdus.writeto(target.copy, output_verify="ignore", overwrite=True)
        except (OSError, ValueError, TypeError, AttributeError, KeyError, IndexError, fits.VerifyError):
            with contextlib.suppress(OSError):
                target.copy.unlink()
            raise NotApplicableError from None
    return told


def keywords(rng: np.random.Generator, target: Target) -> str:
    """A keyword that the recipe may need: gone, of another type, out of all ranges."""

    def change(hdus: fits.HDUList) -> str:
        number = int(rng.integers(len(hdus)))
        header = hdus[number].header
        told = []
        plain = [
            card.keyword
            for card in header.cards
            if card.keyword not in ("COMMENT", "HISTORY", "", "SIMPLE", "XTENSION")
            and not card.keyword.startswith(("NAXIS", "BITPIX", "TFORM", "TFIELDS", "PCOUNT", "GCOUNT"))
        ]
        for _ in range(int(rng.integers(1, 3))):
            key = str(_pick(rng, plain))
            kind = int(rng.integers(5))
            if key not in header:
                continue
            old = header[key]
            if kind == 0:
                del header[key]
                told.append(f"no {key}")
                continue
            if kind == 1:
                new: object = str(_pick(rng, ("nonsense", "", "NaN", "1.0", "T", "x" * 60)))
            elif kind == 2 and isinstance(old, int | float) and not isinstance(old, bool):
                new = -old
            else:
                new = _pick(rng, (*NUMBERS, True))
            header[key] = new
            told.append(f"{key} = {new!r}")
        return f"header {number}: " + ", ".join(told)

    return _edited(target, change)


def _spoilt(rng: np.random.Generator, data: np.ndarray) -> tuple[np.ndarray, str]:
    """Values of an image or a column that make no sense; the shape stays."""
    kinds = ["zero", "constant", "reversed", "shuffled", "negative", "large", "one"]
    if data.dtype.kind == "f":
        kinds += ["NaN", "infinite", "some NaN", "some infinite", "tiny", "NaN", "1e38"]
    kind = str(_pick(rng, kinds))
    new = np.array(data)
    flat = new.reshape(-1) if new.dtype.kind in "fiub" else None
    if flat is None or not flat.size:
        raise NotApplicableError
    if kind == "zero":
        flat[:] = 0
    elif kind == "constant":
        flat[:] = flat[0]
    elif kind == "reversed":
        flat[:] = flat[::-1].copy()
    elif kind == "shuffled":
        rng.shuffle(flat)
    elif kind == "negative":
        flat[:] = np.logical_not(flat) if flat.dtype.kind == "b" else -flat
    elif kind == "large":
        flat[:] = flat * flat.dtype.type(1e6 if flat.dtype.kind == "f" else 100)
    elif kind == "one":
        flat[int(rng.integers(flat.size))] = -1 if flat.dtype.kind in "fi" else 1
    elif kind in ("NaN", "infinite", "tiny", "1e38"):
        flat[:] = {"NaN": np.nan, "infinite": np.inf, "tiny": 1e-30, "1e38": 1e38}[kind]
    else:
        flat[rng.random(flat.size) < rng.choice([0.02, 0.5, 0.98])] = (
            np.nan if kind == "some NaN" else -np.inf
        )
    return new, kind


def values(rng: np.random.Generator, target: Target) -> str:
    """Pixels or columns without sense."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(_pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        hdu = hdus[number]
        if isinstance(hdu, fits.BinTableHDU):
            name = str(_pick(rng, hdu.columns.names))
            column = hdu.data[name]
            if not len(column) or not hasattr(column, "dtype"):
                return None
            hdu.data[name], told = _spoilt(rng, np.asarray(column))
            return f"table {number}, column {name}: {told}"
        hdu.data, told = _spoilt(rng, np.asarray(hdu.data))
        return f"image {number} ({hdu.name}): {told}"

    with np.errstate(all="ignore"):
        return _edited(target, change)


def shapes(rng: np.random.Generator, target: Target) -> str:
    """Extensions, columns, rows and axes that are not those expected."""

    def change(hdus: fits.HDUList) -> str | None:
        number = int(rng.integers(len(hdus)))
        hdu = hdus[number]
        kind = int(rng.integers(5))
        if kind == 0 and len(hdus) > 1:
            del hdus[number]
            return f"extension {number} left out"
        if kind == 1:
            hdus.append(hdu.copy())
            return f"extension {number} twice"
        if kind == 2:
            hdu.name = str(_pick(rng, ("", "NONSENSE", "DATA", "STAT", "CHAN99", "x" * 60)))
            return f"extension {number} named {hdu.name}"
        number = int(_pick(rng, [i for i, hdu in enumerate(hdus) if hdu.data is not None]))
        if isinstance(hdus[number], fits.BinTableHDU):
            hdus[number], told = _other_table(rng, hdus[number])
            return f"table {number}: {told}"
        data = np.asarray(hdus[number].data)
        new, told = _other_image(rng, data)
        hdus[number].data = new
        return f"image {number}: {told}"

    return _edited(target, change)


def _other_image(rng: np.random.Generator, data: np.ndarray) -> tuple[np.ndarray | None, str]:
    kind = int(rng.integers(8))
    axis = int(rng.integers(data.ndim)) if data.ndim else 0
    keep = int(rng.integers(0, max(1, data.shape[axis]))) if data.ndim else 0
    if kind == 0:
        return None, "no data"
    if kind == 1:
        return np.take(data, range(keep), axis), f"axis {axis} cut to {keep}"
    if kind == 2:
        return data.T.copy(), "transposed"
    if kind == 3:
        return data[None], "one axis more"
    if kind == 4:
        return data.reshape(-1)[:1], "one pixel"
    if kind == 5:
        return np.concatenate([data, data], axis), f"axis {axis} doubled"
    if kind == 6:
        return np.take(data, 0, axis), "one axis less"
    with np.errstate(all="ignore"):
        other = str(_pick(rng, ("int16", "uint8", "float64", "int64", "int32", "float32")))
        return data.astype(other), f"as {other}"


def _other_table(rng: np.random.Generator, hdu: fits.BinTableHDU) -> tuple[fits.BinTableHDU, str]:
    kind = int(rng.integers(8))
    name = str(_pick(rng, hdu.columns.names))
    rows = len(hdu.data)
    if kind in (0, 1, 2, 3):
        columns, told = [], ""
        for column in hdu.columns:
            array = hdu.data[column.name]
            if column.name != name:
                columns.append(fits.Column(column.name, column.format, column.unit, array=array))
            elif kind == 0:
                told = f"without column {name}"
            elif kind == 1:
                told = f"column {name} is text"
                columns.append(fits.Column(name, "8A", array=["nonsense"] * rows))
            elif kind == 2:
                told = f"column {name} of pairs"
                columns.append(fits.Column(name, "2D", array=np.zeros((rows, 2))))
            else:
                told = f"column {name} of integers"
                columns.append(fits.Column(name, "J", array=rng.integers(-5, 5, rows)))
        if not columns:
            raise NotApplicableError
        return fits.BinTableHDU.from_columns(columns, header=_plain(hdu.header), name=hdu.name), told
    if kind == 4:
        hdu.columns.change_name(name, "other")
        return hdu, f"column {name} has another name"
    keep = {5: 0, 6: 1, 7: int(rng.integers(0, max(1, rows)))}[kind]
    return fits.BinTableHDU(hdu.data[:keep], hdu.header, name=hdu.name), f"{keep} of {rows} rows"


def _plain(header: fits.Header) -> fits.Header:
    """Return the cards of a table's header that do not describe its columns."""
    words = "TTYPE TFORM TUNIT TDIM TNULL TSCAL TZERO TDISP NAXIS TFIELDS BITPIX XTENSION PCOUNT GCOUNT"
    return fits.Header([card for card in header.cards if not card.keyword.startswith(tuple(words.split()))])


# ------------------------------------------------------------------ text files


def texts(rng: np.random.Generator, target: Target) -> str:
    """A text file with words that it must not have."""
    content = target.source.read_bytes()
    if content.startswith(b"SIMPLE"):
        raise NotApplicableError
    lines = content.split(b"\n")
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(lines)))
        line = bytearray(lines[at])
        kind = int(rng.integers(8))
        if kind == 0:
            lines[at] = rng.bytes(int(rng.integers(1, 60)))
        elif kind == 1 and line:
            line[int(rng.integers(len(line)))] = int(rng.integers(256))
            lines[at] = bytes(line)
        elif kind == 2:
            lines[at] = bytes(line[: int(rng.integers(len(line) + 1))])
        elif kind == 3:
            lines[at] = bytes(line).replace(b",", bytes(_pick(rng, (b"", b" ", b",,", b";", b":"))))
        elif kind == 4:
            lines[at] = b"".join(c.to_bytes() if not 48 <= c < 58 else b"%d" % rng.integers(10) for c in line)
        elif kind == 5:
            words = (
                b"circle(", b"circle()", b"circle(nan,1,1)", b"box(1,2,3)", b"circle(1,1,1e400)",
                b"ellipse(1,1,-1,0,9)", b"fk5;fk4;", b"galactic; circle(1,2,3)", b"-",
                b"circle(1:2:3:4,5,6)", b"image; circle(1,1,0)",
            )  # fmt: skip
            lines[at] = bytes(_pick(rng, words))
        elif kind == 6:
            lines[at] = bytes(line) * 2000
        else:
            lines.insert(at, bytes(line))
    target.copy.write_bytes(b"\n".join(lines))
    return "lines changed"


FAMILIES: dict[str, Damage] = {
    "files": files,
    "structure": structure,
    "cards": cards,
    "scattered": scattered,
    "keywords": keywords,
    "values": values,
    "shapes": shapes,
    "texts": texts,
}
_CYCLE = (
    "structure",
    "values",
    "keywords",
    "shapes",
    "cards",
    "files",
    "structure",
    "scattered",
    "values",
    "keywords",
)


def broken(seed: int, label: str, number: int, target: Target) -> tuple[str, str]:
    """Write the broken file number `number` for a label; returns the family and what was done.

    The same seed, label and number make the same file.
    """
    rng = np.random.default_rng([seed, number, *label.encode()])
    fitsfile = target.source.read_bytes()[:6] == b"SIMPLE"
    family = _CYCLE[number % len(_CYCLE)] if fitsfile else ("texts", "files")[number % 4 == 3]
    for _ in range(60):
        try:
            return family, FAMILIES[family](rng, target)
        except NotApplicableError:
            family = "structure" if fitsfile and rng.random() < 0.1 else family
    return "files", files(rng, target)
