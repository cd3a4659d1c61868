# SPDX-License-Identifier: BSD-3-Clause
"""Product files: DICB headers with the processing history, true checksums, and never half a file.

The header rules are those seen in products of the C recipes (MUSE 2.8.7, CPL 7.2.3): the first raw frame's
header without DPR, QC and foreign PRO keywords, then the PRO block with a new RECn record, the QC keywords
last.
"""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from muse_core.framework import fits_layout
from muse_core.framework.checksums import encode_checksum, ones_complement, word_sum
from muse_core.framework.errors import RecipeError
from muse_core.framework.frames import Frame
from muse_core.framework.spec import ParamValues, RecipeSpec, Value, value_text
from muse_core.version import __version__

if TYPE_CHECKING:
    from astropy.io.fits import Card as FitsCard
    from astropy.io.fits import HDUList, Header

Card = tuple[str, object, str]

_STRUCTURE = re.compile(
    r"^(SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|GROUPS|BZERO|BSCALE|BLANK|T[A-Z]{4}\d+|TFIELDS|THEAP|"
    r"INHERIT|EXTNAME|EXTVER|EXTLEVEL|CHECKSUM|DATASUM|DATAMD5|PIPEFILE|ORIGFILE|DATE|COMMENT|HISTORY|CONTINUE|END|)$"
)
_DROPPED_GROUPS = re.compile(r"^ESO (DPR|QC) |^ESO PRO (?!REC\d+ )")
_RECORD = re.compile(r"^ESO PRO REC(\d+) ")
_STANDARD = re.compile(
    r"^(ORIGIN|TELESCOP|INSTRUME|OBJECT|RA|DEC|EQUINOX|RADESYS|RADECSYS|MJD-OBS|DATE-OBS|UTC|LST|PI-COI|OBSERVER|ARCFILE|"
    r"ESO (?!DRS ).*)$"
)
_BLOCK = 2880


def make_card(key: str, value: object, comment: str = "") -> FitsCard:
    """Return a header card with the comment shortened to what the card holds.

    Parameters
    ----------
    key : str
        keyword as read from a header, e.g. "ESO QC EXPALIGN NDET1" (no HIERARCH)
    """
    from astropy.io import fits

    hierarch = len(key) > 8 or " " in key
    name = f"HIERARCH {key}" if hierarch else key
    if isinstance(value, float) and not math.isfinite(value):
        value = None  # a card without a value: FITS knows no other way to say that a number is not known
    if isinstance(value, str):
        # an empty text is written as eight blanks, as CPL does: astropy misreads '' before a comment
        # with quotes
        value = _printable(value) or " " * 8
        if hierarch:
            # a HIERARCH card has no continuation that every reader understands; the text is cut as CPL does
            value = _cut_text(value, 80 - len(name) - len(" = ''"))
        width = max(len(value) + value.count("'"), 8) + 2
    else:
        width = len(str(value)) + 4
    room = 80 - max(len(name), 7) - len(" = ") - max(width, 20) - len(" / ")
    return fits.Card(name, value, _printable(comment)[:room].rstrip() if room > 3 else "")


def set_card(header: Header, key: str, value: object, comment: str = "") -> None:
    """Set a header card (replacing one of that name), see `make_card`."""
    card = make_card(key, value, comment)
    if key in header:
        header[key] = (card.value, card.comment) if card.comment else card.value
    else:
        header.append(card, end=True)


def header_without(header: Header, dropped: Callable[[str], bool]) -> Header:
    """Return a copy of a header that lacks the cards whose keyword is `dropped`.

    (Deleting cards one by one renumbers all that follow: a second for the header of a pixel table.)
    """
    from astropy.io import fits

    return fits.Header([copy.copy(card) for card in header.cards if not dropped(card.keyword)])


def _printable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _cut_text(text: str, room: int) -> str:
    quoted = text.replace("'", "''")
    if len(quoted) <= room:
        return text
    return re.sub(r"(?<!')((?:'')*)'$", r"\1", quoted[:room]).replace("''", "'")


def inherited_cards(base: Header, *, keep: str) -> list[Card]:
    """Return the cards of an input header that a product keeps.

    Parameters
    ----------
    base : Header
        primary header of the first used raw frame
    keep : {"all", "standard"}
        "standard" leaves only DICB standard keywords and ESO groups (table products), "all" also other
        keywords
    """
    cards: list[Card] = []
    for card in base.cards:
        key = card.keyword
        if _STRUCTURE.match(key) or _DROPPED_GROUPS.match(key):
            continue
        if key == "RADECSYS":
            key = "RADESYS"
        if keep == "standard" and not _STANDARD.match(key):
            continue
        cards.append((key, card.value, card.comment))
    return cards


def _record_number(cards: Iterable[Card]) -> int:
    numbers = [int(match.group(1)) for key, _, _ in cards if (match := _RECORD.match(key))]
    return max(numbers, default=0) + 1


def _datamd5(frame: Frame) -> str | None:
    try:
        value = fits_layout.primary(frame.path).get("DATAMD5")
    except (OSError, ValueError):
        return None
    return str(value) if value else None


def processing_cards(
    spec: RecipeSpec, tag: str, params: ParamValues, used: Iterable[Frame], base: Header, record: int
) -> list[Card]:
    """Return the PRO block of a product: identification, record of inputs and parameters (hosts.md 7)."""
    ancestor = base.get("ESO PRO ANCESTOR") or base.get("ARCFILE")
    raw = [frame for frame in used if frame.group == "RAW"]
    calib = sorted((frame for frame in used if frame.group == "CALIB"), key=lambda frame: frame.tag)
    head = f"ESO PRO REC{record}"
    cards: list[Card] = []
    if ancestor:
        cards.append(("ESO PRO ANCESTOR", ancestor, ""))
    cards += [
        ("ESO PRO DID", "PRO-1.16", "Data dictionary for PRO"),
        ("ESO PRO CATG", tag, "Category of pipeline product frame"),
        ("ESO PRO TYPE", "REDUCED", "Product type"),
        ("ESO PRO TECH", "IFU", "Observation technique"),
        ("ESO PRO SCIENCE", spec.science, "Scientific product if T"),
        (f"{head} ID", spec.name, "Pipeline recipe (unique) identifier"),
        (f"{head} DRS ID", f"muse-recipes-{__version__}", "Data Reduction System identifier"),
        (f"{head} PIPE ID", f"muse-recipes/{__version__}", "Pipeline (unique) identifier"),
    ]
    for i, frame in enumerate(raw, 1):
        cards.append((f"{head} RAW{i} NAME", frame.name, "File name of raw frame"))
        cards.append((f"{head} RAW{i} CATG", frame.tag, "Category of raw frame"))
    cards.append(("ESO PRO DATANCOM", len(raw), "Number of combined frames"))
    for i, frame in enumerate(calib, 1):
        cards.append((f"{head} CAL{i} NAME", frame.name, "File name of calibration frame"))
        cards.append((f"{head} CAL{i} CATG", frame.tag, "Category of calibration frame"))
        md5 = _datamd5(frame)
        if md5:
            cards.append((f"{head} CAL{i} DATAMD5", md5, "MD5 signature of calibration frame"))
    for i, (param, value) in enumerate(params.recorded(), 1):
        cards.append((f"{head} PARAM{i} NAME", param.name, param.help))
        cards.append(
            (f"{head} PARAM{i} VALUE", value_text(value), f"Default: {_default_text(param.default)}")
        )
    return cards


def _default_text(default: Value) -> str:
    return f"'{default}'" if isinstance(default, str) else value_text(default)


def product_header(
    spec: RecipeSpec,
    tag: str,
    params: ParamValues,
    *,
    base: Header,
    used: Iterable[Frame],
    filename: str,
    extra: Iterable[Card] = (),
    own: Iterable[Card] = (),
    qc: Iterable[Card] = (),
    keep: str = "all",
) -> Header:
    """Build the complete primary header of a product (checksums and DATAMD5 as placeholders).

    Parameters
    ----------
    base : Header
        header to inherit from
    used : frames
        input frames that went into this product; groups decide between RAWi and CALi
    extra : cards
        (keyword, value, comment) set after the inherited ones, e.g. WCS or DRS keywords
    own : cards
        of the HDU itself, set after those; without a comment they leave one that is there
    qc : cards
        written last
    """
    from astropy.io import fits

    inherited = inherited_cards(base, keep=keep)
    history = [card for card in inherited if card[0].startswith("ESO ")]
    plain = [card for card in inherited if not card[0].startswith("ESO ")]
    cards: dict[str, Card] = {}
    for card in (
        *plain,
        ("PIPEFILE", filename, "Filename of data product"),
        ("DATAMD5", "0" * 32, "MD5 checksum"),
        *history,
        *processing_cards(spec, tag, params, used, base, _record_number(inherited)),
        *extra,
    ):
        cards[card[0]] = card
    for key, value, comment in own:
        cards[key] = (key, value, comment or cards.get(key, ("", "", ""))[2])
    for card in qc:
        cards[card[0]] = card
    structure = [
        fits.Card("SIMPLE", True, "file does conform to FITS standard"),
        fits.Card("BITPIX", 8, "number of bits per data pixel"),
        fits.Card("NAXIS", 0, "number of data axes"),
        fits.Card("EXTEND", True, "FITS dataset may contain extensions"),
        fits.Card("DATE", _now(), "file creation date (YYYY-MM-DDThh:mm:ss UT)"),
    ]
    return fits.Header([*structure, *(make_card(*card) for card in cards.values())])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")


# --- checksums ----------------------------------------------------------------------------------------------


@dataclass
class DataSums:
    """What the writer of a file knows of its data units, so that `sign` need not read them again.

    Parameters
    ----------
    sums : list of int
        DATASUM of the first units of the file (the primary one included)
    hashed : int
        that many bytes at the beginning of all data units went into the MD5, through `add`
    """

    sums: list[int] = field(default_factory=list)
    hashed: int = 0
    md5: hashlib._Hash = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    def add(self, piece: bytes | memoryview) -> None:
        """Take the next bytes of the data units into the MD5."""
        self.md5.update(piece)
        self.hashed += len(piece)


def _replace_card(header: bytearray, keyword: str, text: str) -> None:
    for start in range(0, len(header), 80):
        if header[start : start + 8] == f"{keyword:<8}".encode():
            card = header[start : start + 80].decode("ascii")
            comment = card[card.find("/", 32) :] if "/" in card[32:] else ""
            header[start : start + 80] = f"{keyword:<8}= '{text}' {comment}"[:80].ljust(80).encode("ascii")
            return
    raise RecipeError(f"the product header lacks its {keyword} placeholder")


def add_checksum_placeholders(header: Header) -> None:
    """Reserve the CHECKSUM and DATASUM cards that `sign` fills."""
    for key in ("CHECKSUM", "DATASUM"):
        header.remove(key, ignore_missing=True)
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    header["DATASUM"] = (f"{0:10d}", "data unit checksum")


def sign(path: Path, known: DataSums | None = None, *, chunk: int = 1 << 19) -> None:
    """Fill DATAMD5, DATASUM, CHECKSUM of a finished file; data not `known` are read, `chunk` bytes each.

    DATAMD5 is the MD5 of all padded data units. (CPL 7.2.3 hashes the first 46080 bytes of a longer unit
    again and again; that is not copied.)
    """
    known = known or DataSums()
    units = fits_layout.units(path)
    if path.stat().st_size != units[-1].end:
        raise RecipeError(f"{path} has not the size that its headers say; was the disk full?")
    before = 0
    room = memoryview(bytearray(chunk))  # small enough to stay in the processor's cache
    with path.open("r+b") as stream:
        for number, unit in enumerate(units):
            size = unit.end - unit.data_start
            done = min(max(known.hashed - before, 0), size)
            is_new = number >= len(known.sums)
            if is_new and done:
                raise ValueError(f"part {number} of {path} was hashed but not summed")
            stream.seek(unit.data_start + done)
            total = 0
            for start in range(done, size, chunk):
                piece = room[: stream.readinto(room[: min(chunk, size - start)])]
                known.add(piece)
                total = ones_complement(total + word_sum(piece)) if is_new else 0
            if is_new:
                known.sums.append(total)
            before += size
        for number, (unit, total) in enumerate(zip(units, known.sums, strict=True)):
            stream.seek(unit.start)
            header = bytearray(stream.read(unit.data_start - unit.start))
            if number == 0:
                _replace_card(header, "DATAMD5", known.md5.hexdigest())
            _replace_card(header, "DATASUM", f"{total:10d}")
            _replace_card(header, "CHECKSUM", "0" * 16)
            _replace_card(
                header, "CHECKSUM", encode_checksum(ones_complement(word_sum(bytes(header)) + total))
            )
            stream.seek(unit.start)
            stream.write(header)


def add_datamd5(path: Path) -> None:
    """Give a file DATAMD5, the MD5 of its data units, if it has none (small files: it is held in memory)."""
    units = fits_layout.units(path)
    if units[0].get("DATAMD5") is not None:
        return
    content = path.read_bytes()
    md5 = hashlib.md5(usedforsecurity=False)
    for unit in units:
        md5.update(content[unit.data_start : unit.end])
    card = f"DATAMD5 = '{md5.hexdigest()}' / MD5 checksum"
    header = units[0].header + card.ljust(80) + "END".ljust(80)
    header += " " * (-len(header) % _BLOCK)
    path.write_bytes(header.encode("ascii") + content[units[0].data_start :])


def write_hdus(path: Path, hdus: HDUList, *, bitpix: int = 8) -> None:
    """Write HDUs with checksum placeholders; `bitpix` is that of a primary HDU without data (8 or 16)."""
    for hdu in hdus:
        add_checksum_placeholders(hdu.header)
    hdus.writeto(path, overwrite=True, output_verify="exception")
    if hdus[0].data is None and bitpix == 16:
        _set_bitpix_16(path)


def _set_bitpix_16(path: Path) -> None:
    """Give a primary header without data BITPIX = 16, as CPL does for some tables (astropy writes 8)."""
    with path.open("r+b") as stream:
        header = stream.read(160).decode("ascii")
        position = header.index("BITPIX  =") + len("BITPIX  =")
        stream.seek(position)
        stream.write(f"{16:21d}".encode("ascii"))
