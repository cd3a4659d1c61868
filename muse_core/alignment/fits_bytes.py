# SPDX-License-Identifier: BSD-3-Clause
"""Small FITS extensions as bytes, without astropy's table machinery (which takes longer than the work)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.context import StreamedProduct

Column = tuple[str, str, str | None, npt.NDArray[Any]]
"""Name, format, unit, values."""

LONGEST_TEXT = 68
"""Characters of a text that fit into a card."""
_TYPES = {"1J": ">i4", "1D": ">f8", "23A": "S23"}
_WORDS = {"1J": "4-byte integer", "1D": "8-byte real", "23A": "text"}


def format_card(key: str, value: object, comment: str = "") -> str:
    """Write a header card of 80 characters; for our short keywords and values only.

    Examples
    --------
    >>> format_card("NAXIS", 2, "axes").rstrip()
    'NAXIS   =                    2 / axes'
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        quoted = value.replace("'", "''")
        while len(quoted) > LONGEST_TEXT:  # a unit of that length is none; the card must end with its quote
            value = value[:-1]
            quoted = value.replace("'", "''")
        text = f"'{quoted:<8}'".ljust(20)
    elif isinstance(value, float):
        digits = repr(value).upper()
        text = f"{digits if len(digits) <= 20 else format(value, '.13G'):>20}"
    else:
        text = f"{value:>20}"
    return (f"{key:<8}= {text}" + (f" / {comment}" if comment else ""))[:80].ljust(80)


def hdu_bytes(cards: Iterable[tuple[Any, ...]], data: bytes) -> bytes:
    """Return an extension as it is on disk; checksums as placeholders for the framework to sign."""
    signed = (("CHECKSUM", "0" * 16, "HDU checksum"), ("DATASUM", f"{0:10d}", "data unit checksum"))
    text = "".join(format_card(*card) for card in (*cards, *signed)) + "END".ljust(80)
    head = text.encode("ascii")
    return head + b" " * (-len(head) % 2880) + data + b"\0" * (-len(data) % 2880)


def table_bytes(columns: Sequence[Column]) -> bytes:
    """Return a binary table; ``columns`` are (name, format, unit, values).

    Written without astropy's table machinery, which takes longer than finding the sources does.
    """
    rows = np.zeros(len(columns[0][3]), dtype=[(name, _TYPES[form]) for name, form, _, _ in columns])
    for name, _, _, values in columns:
        rows[name] = values
    cards: list[tuple[Any, ...]] = [
        ("XTENSION", "BINTABLE", "binary table extension"),
        ("BITPIX", 8, "8-bit bytes"),
        ("NAXIS", 2, "2-dimensional binary table"),
        ("NAXIS1", rows.dtype.itemsize, "width of table in bytes"),
        ("NAXIS2", rows.size, "number of rows in table"),
        ("PCOUNT", 0, "size of special data area"),
        ("GCOUNT", 1, "one data group (required keyword)"),
        ("TFIELDS", len(columns), "number of fields in each row"),
    ]
    for n, (name, form, unit, _) in enumerate(columns, 1):
        cards.append((f"TTYPE{n}", name, f"label of field {n}"))
        cards.append((f"TFORM{n}", form, f"format of field: {_WORDS[form]}"))
        if unit:
            cards.append((f"TUNIT{n}", unit, "physical unit of field"))
    return hdu_bytes(cards, rows.tobytes())


def write_product(product: StreamedProduct, extension: bytes, *, table: bool) -> None:
    """Write a streamed product: its primary header and one extension.

    The primary header of a table says 16 bits per pixel, as those of the C pipeline's tables do.
    """
    if table:
        product.header["BITPIX"] = 16
    head = product.header.tostring(sep="", endcard=True, padding=True)
    product.path.write_bytes(head.encode("ascii") + extension)
