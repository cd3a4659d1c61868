# SPDX-License-Identifier: BSD-3-Clause
"""What the headers of a FITS file promise, and whether it can be true: looked at before anything is read.

Sizes are whole numbers of any length here, so that nothing overflows. A card that cannot be read is told with
its number and its text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from muse_core.framework.errors import InputError
from muse_core.framework.faults import limit_error
from muse_core.framework.fits_layout import BLOCK, CARD, LARGEST_NAXIS, Unit, Value, card_value, units

BITPIX = (8, 16, 32, 64, -32, -64)
_WIDTHS = {"L": 8, "X": 1, "B": 8, "I": 16, "J": 32, "K": 64, "A": 8, "E": 32, "D": 64, "C": 64, "M": 128}
_WIDTHS |= {"P": 64, "Q": 128}
_FORM = re.compile(r"(\d{0,18})([LXBIJKAEDCMPQ])")
_TEXT_FORM = re.compile(r"(?:A|I|[FED])\d{1,5}(?:\.\d{1,5})?")
_NUMBER = r"[+-]? *(?:\d+(?:\.\d*)?|\.\d+)(?:[DEde][+-]?\d+)?"
_VALUE = re.compile(
    rf" *(?:'(?:[ -&(-~]|'')*'|[TF]|{_NUMBER}|\( *{_NUMBER} *, *{_NUMBER} *\)|) *(?:/.*)?", re.DOTALL
)
_REMEDY = "Copy or make the file again."


def check_structure(path: Path, *, whole: bool = True) -> list[Unit]:
    """Walk over the headers of a plain FITS file and check what they promise.

    Parameters
    ----------
    path : a regular file
    whole : the data of all units must be there; else the caller looks at that

    Returns
    -------
    list of Unit
        where its headers and data lie

    Raises
    ------
    InputError
        naming the extension and the keyword or card
    """
    try:
        size = path.stat().st_size
        if size == 0:
            found = "an empty file of 0 bytes"
            raise InputError(path, "file", expected="a readable FITS file", found=found, remedy=_REMEDY)
        layout = units(path)
        for number, unit in enumerate(layout):
            _check_unit(path, number, unit, size if whole else None)
        _check_next(path, layout[-1].end, len(layout), size)
    except (OSError, ValueError) as error:
        limit = limit_error(error)
        if limit is not None:
            raise limit from error
        text = getattr(error, "strerror", None) or str(error)
        expected = "a readable FITS file"
        raise InputError(path, "file", expected=expected, found=text, remedy=_REMEDY) from None
    return layout


def _check_unit(path: Path, number: int, unit: Unit, size: int | None) -> None:
    """Raise what is wrong with a unit of a file of so many bytes."""
    try:
        for item, expected, value in _faults(_Cards(unit)):
            raise InputError(path, f"{_name(number)}: {item}", expected=expected, found=value)
    except ValueError as error:
        raise InputError(path, _name(number), expected="a readable header", found=error) from None
    if size is not None and unit.data_start + unit.size > size:
        raise InputError(
            path, _name(number), expected=f"{unit.size} bytes of data{_axes(unit)}",
            found=f"{max(0, size - unit.data_start)} bytes, the file is truncated", remedy=_REMEDY,
        )  # fmt: skip


def _name(number: int) -> str:
    return f"extension {number}" if number else "primary header"


def _axes(unit: Unit) -> str:
    shape = [f"NAXIS{n}={unit.get(f'NAXIS{n}')}" for n in range(1, 4) if unit.get(f"NAXIS{n}") is not None]
    return f" ({', '.join(shape)})" if shape else ""


def _check_next(path: Path, end: int, number: int, size: int) -> None:
    """Refuse a file whose last unit is followed by something else: an extension would be left out."""
    if end >= size:
        return
    with path.open("rb") as stream:
        stream.seek(end)
        block = stream.read(BLOCK)
    if block.startswith(b"XTENSION="):
        raise ValueError(f"extension {number} has no END keyword in its header")
    if len(block) == BLOCK and block.strip(b" \0"):
        raise ValueError(f"extension {number} does not begin with XTENSION")


_STRUCTURE = re.compile(
    r"(?:SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|TFORM\d+|TBCOL\d+|THEAP|BSCALE|BZERO|BLANK) *"
)


class _Cards:
    """The cards of a unit by their keywords: a table may have thousands, each asked for several others."""

    def __init__(self, unit: Unit) -> None:
        self.size = unit.size
        self.header = header = unit.header
        self._places = {header[at : at + 9]: at for at in range(len(header) - CARD, -1, -CARD)}

    def repeated(self) -> Iterator[tuple[str, str, object]]:
        """Yield keywords of the structure that are there twice: readers differ in which of them counts."""
        header = self.header
        if len(self._places) * CARD == len(header):
            return  # no keyword is
        for at in range(0, len(header) - CARD + 1, CARD):
            if header[at + 8] == "=" and _STRUCTURE.fullmatch(header[at : at + 8]):
                first = self._places[header[at : at + 9]]
                if first != at and header[first : first + 30] != header[at : at + 30]:
                    yield f"keyword {header[at : at + 8].strip()}", "once", "twice, with different values"

    def get(self, key: str, default: Value | None = None) -> Value | None:
        at = self._places.get(f"{key:<8}=")
        return default if at is None else card_value(self.header[at : at + CARD], key)


def _faults(unit: _Cards) -> Iterator[tuple[str, str, object]]:
    """Yield what cannot be true: keyword, expected, found."""
    for number, card in unreadable_cards(unit.header):
        yield f"card {number}", "a card of the FITS standard", repr(card)
    yield from unit.repeated()
    bitpix = unit.get("BITPIX")
    if bitpix not in BITPIX or isinstance(bitpix, bool):
        yield "keyword BITPIX", ", ".join(map(str, BITPIX)), _shown(bitpix)
    axes = unit.get("NAXIS")
    if type(axes) is not int:
        yield "keyword NAXIS", f"0 to {LARGEST_NAXIS}", _shown(axes)
        return
    for axis in range(1, axes + 1):
        if unit.get(f"NAXIS{axis}") is None:
            yield f"keyword NAXIS{axis}", f"a size, since NAXIS is {axes}", "no such keyword"
    kind = str(unit.get("XTENSION", "")).strip()
    if kind not in ("", "IMAGE", "IUEIMAGE", "BINTABLE", "A3DTABLE", "TABLE"):
        yield "keyword XTENSION", "IMAGE, BINTABLE or TABLE", repr(kind)
    if not kind and (unit.get("SIMPLE") is not True or unit.get("GROUPS") is True):
        yield "keywords SIMPLE, GROUPS", "T and none", f"{unit.get('SIMPLE')}, {unit.get('GROUPS')}"
    if kind in ("BINTABLE", "A3DTABLE"):
        yield from _table_faults(unit)
    elif kind == "TABLE":
        yield from _text_table_faults(unit)
    else:
        yield from _scale_faults(unit, "BSCALE", "BZERO", "BLANK")


def _table_faults(unit: _Cards) -> Iterator[tuple[str, str, object]]:
    if unit.get("BITPIX") != 8 or unit.get("NAXIS") != 2:
        yield "keywords BITPIX, NAXIS", "8 and 2 (a table)", f"{unit.get('BITPIX')}, {unit.get('NAXIS')}"
    if unit.get("GCOUNT", 1) != 1:
        yield "keyword GCOUNT", "1 (a table)", _shown(unit.get("GCOUNT"))
    bits = 0
    for field in _fields(unit):
        given = unit.get(f"TFORM{field}")
        form = _FORM.match(str(given).strip())
        if form is None:
            yield f"keyword TFORM{field}", "a format of binary tables such as 1E", _shown(given)
            return
        bits += -(-int(form[1] or 1) * _WIDTHS[form[2]] // 8) * 8
        yield from _column_faults(unit, field)
    if bits // 8 != unit.get("NAXIS1"):
        yield "keyword NAXIS1", f"{bits // 8} bytes (the sum of its columns)", _shown(unit.get("NAXIS1"))
    if bits == 0 and unit.get("NAXIS2") and unit.get("TFIELDS"):
        yield "keyword NAXIS1", "rows of at least one byte", "0"
    heap = unit.get("THEAP")
    rows = int(unit.get("NAXIS1", 0) or 0) * int(unit.get("NAXIS2", 0) or 0)
    if heap is not None and not (type(heap) is int and rows <= heap <= unit.size):
        yield "keyword THEAP", f"a place behind the rows ({rows} to {unit.size})", _shown(heap)


def _text_table_faults(unit: _Cards) -> Iterator[tuple[str, str, object]]:
    width = unit.get("NAXIS1")
    if unit.get("BITPIX") != 8 or unit.get("NAXIS") != 2 or type(width) is not int:
        yield "keywords BITPIX, NAXIS", "8 and 2 (a table)", f"{unit.get('BITPIX')}, {unit.get('NAXIS')}"
        return
    for field in _fields(unit):
        form, start = unit.get(f"TFORM{field}"), unit.get(f"TBCOL{field}")
        if not _TEXT_FORM.fullmatch(str(form).strip()):
            yield f"keyword TFORM{field}", "a format of text tables such as F10.3", _shown(form)
        elif type(start) is not int or not 1 <= start <= max(width, 1):
            yield f"keyword TBCOL{field}", f"1 to {width}", _shown(start)
        yield from _column_faults(unit, field)


def _fields(unit: _Cards) -> range:
    number = unit.get("TFIELDS")
    if type(number) is not int or not 0 <= number <= LARGEST_NAXIS:
        raise ValueError(f"TFIELDS is {_shown(number)}, expected 0 to {LARGEST_NAXIS}")
    return range(1, number + 1)


def _column_faults(unit: _Cards, field: int) -> Iterator[tuple[str, str, object]]:
    name = unit.get(f"TTYPE{field}")
    if not isinstance(name, str) or not name.strip():
        yield f"keyword TTYPE{field}", "a name", _shown(name)
    yield from _scale_faults(unit, f"TSCAL{field}", f"TZERO{field}", f"TNULL{field}")


def _scale_faults(unit: _Cards, scale: str, zero: str, blank: str) -> Iterator[tuple[str, str, object]]:
    for key in (scale, zero):
        value = unit.get(key, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            yield f"keyword {key}", "a finite number", _shown(value)
        elif key == scale and value == 0.0:
            yield f"keyword {key}", "a factor other than 0", "0"
    none = unit.get(blank)
    text_table = str(unit.get("XTENSION", "")).strip() == "TABLE"
    if none is not None and type(none) is not int and not text_table:
        yield f"keyword {blank}", "a whole number", _shown(none)


def _shown(value: object) -> str:
    return "no such keyword" if value is None else repr(value)


def unreadable_cards(header: str) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of the cards whose value is none of the FITS standard.

    >>> list(unreadable_cards("OBJECT  = 'star'".ljust(80) + "EXPTIME = 12..5".ljust(80)))
    [(2, 'EXPTIME = 12..5')]
    >>> list(unreadable_cards("hierarch ESO TEL AMBI = 1".ljust(80)))
    [(1, 'hierarch ESO TEL AMBI = 1')]
    """
    before = ""
    for position in range(0, len(header), CARD):
        card = header[position : position + CARD]
        if not card[:8].isprintable() or (card.startswith("CONTINUE") and not _is_text(before)):
            yield position // CARD + 1, repr(card.rstrip())[1:-1]
        elif not _is_readable(card):
            yield position // CARD + 1, card.rstrip()
        before = card


@lru_cache(maxsize=10_000)
def _is_readable(card: str) -> bool:
    """Tell whether a card has no value or one of the FITS standard; files of a run have most in common."""
    if card[8:10] == "= ":
        value = card[10:]
    elif card[:9].upper() == "HIERARCH " and "=" in card:
        value = card.partition("=")[2] if card.startswith("HIERARCH ") else "in small letters"
    else:
        return True
    return _VALUE.fullmatch(value) is not None or _astropy_reads(card)


def _is_text(card: str) -> bool:
    """Tell whether the value of a card is a text, which the next card may continue."""
    return card.startswith("CONTINUE") or card.partition("=")[2].lstrip().startswith("'")


def _astropy_reads(card: str) -> bool:
    """Ask the reader that has the last word."""
    import warnings

    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _ = fits.Card.fromstring(card).value
        except (fits.VerifyError, ValueError):
            return False
    return True
