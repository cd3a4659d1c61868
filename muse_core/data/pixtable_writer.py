# SPDX-License-Identifier: BSD-3-Clause
"""Writing pixel tables row block by row block, in both layouts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.data.row_weights import Weight, weight_of_block

if TYPE_CHECKING:
    from astropy.io.fits import Header

_BLOCK = 2880
_FIELDS = (
    ("xpos", "xpos"),
    ("ypos", "ypos"),
    ("lambda", "lam"),
    ("data", "data"),
    ("dq", "dq"),
    ("stat", "stat"),
    ("origin", "origin"),
)
_FURTHER = "further"


def column_units(position: str, data: str) -> dict[str, str]:
    """Return the unit of each column for positions in `position` and data in `data` units."""
    return {
        "xpos": position,
        "ypos": position,
        "lambda": "Angstrom",
        "data": data,
        "dq": "",
        "stat": f"({data})**2" if data != "count" else "count**2",
        "origin": "",
        "weight": "",
    }


class PixelTableWriter:
    """Write a pixel table of known length.

    Parameters
    ----------
    path : Path
        file to create
    header : Header
        finished primary header
    rows : int
    units : dict
        from `column_units`
    weighted : bool
        add the column weight
    as_table : bool
        one binary table instead of an image extension for each column
    further : (name, unit) or None
        one more column of data, see `write`
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        rows: int,
        units: dict[str, str],
        *,
        weighted: bool = False,
        as_table: bool = False,
        further: tuple[str, str] | None = None,
    ) -> None:
        self._rows = rows
        self._fields = [*_FIELDS, *([("weight", "weight")] if weighted else [])]
        if further is not None:
            self._fields.append((further[0], _FURTHER))
            units = {**units, further[0]: further[1]}
        self._as_table = as_table
        self._further: npt.NDArray[np.float32] | None = None
        self._next = 0
        self._stream = path.open("wb")
        self._stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
        self._offsets: dict[str, int] = {}
        if self._as_table:
            self._write_header(_table_header(self._fields, rows, units))
            start = self._stream.tell()
            self._offsets = {name: start + 4 * i for i, (name, _) in enumerate(self._fields)}
            end = start + _padded(4 * len(self._fields) * rows)
        else:
            end = self._stream.tell()
            for name, _ in self._fields:
                self._stream.seek(end)
                self._write_header(_column_header(name, rows, units[name]))
                self._offsets[name] = self._stream.tell()
                end = self._offsets[name] + _padded(4 * rows)
        self._stream.flush()
        os.posix_fallocate(self._stream.fileno(), 0, end)

    def _write_header(self, header: Header) -> None:
        self._stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))

    def write(
        self,
        block: Block,
        weight: Weight | None = None,
        further: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Append the rows of a block.

        Parameters
        ----------
        further : float32[n]
            values of the column ``further``
        """
        count = len(block)
        self._further = further
        if self._as_table:
            table = np.empty((count, len(self._fields)), ">u4")
            for i, (_, attribute) in enumerate(self._fields):
                table[:, i] = self._words(block, attribute, weight)
            self._put(table, min(self._offsets.values()) + 4 * len(self._fields) * self._next)
        else:
            for name, attribute in self._fields:
                words = self._words(block, attribute, weight).astype(">u4")
                self._put(words, self._offsets[name] + 4 * self._next)
        self._next += count

    def _words(self, block: Block, attribute: str, weight: Weight | None) -> npt.NDArray[np.uint32]:
        if attribute == "weight":
            values = np.empty(len(block), np.float32)
            values[:] = weight_of_block(weight, block)
            return values.view(np.uint32)
        column = self._further if attribute == _FURTHER else getattr(block, attribute)
        words: npt.NDArray[np.uint32] = np.ascontiguousarray(column).view(np.uint32)
        return words

    def _put(self, values: npt.NDArray[np.uint32], offset: int) -> None:
        view = values.reshape(-1).view(np.uint8).data
        while view:
            written = os.pwrite(self._stream.fileno(), view, offset)
            view = view[written:]
            offset += written

    def close(self) -> None:
        """Finish the file; the number of rows written must be the number announced."""
        self._stream.close()
        if self._next != self._rows:
            raise ValueError(f"{self._next} rows written, {self._rows} announced")

    def write_all(self, blocks: Iterable[Any], last: Callable[[Any], None] | None = None) -> None:
        """Write all blocks (`Block`, or rows with the same columns) and close.

        Parameters
        ----------
        last : a correction that is made now; the data before it go into the column ``further``
        """
        try:
            for block in blocks:
                before = None if last is None else block.data.copy()
                if last is not None:
                    last(block)
                self.write(block, further=before)
        except BaseException:
            self._stream.close()
            raise
        self.close()


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _column_header(name: str, rows: int, unit: str) -> Header:
    from astropy.io import fits

    from muse_core.framework.products import add_checksum_placeholders

    header = fits.Header()
    header["XTENSION"] = ("IMAGE", "IMAGE extension")
    header["BITPIX"] = (32 if name in ("dq", "origin") else -32, "number of bits per data pixel")
    header["NAXIS"] = (2, "number of data axes")
    header["NAXIS1"] = (1, "length of data axis 1")
    header["NAXIS2"] = (rows, "length of data axis 2")
    header["PCOUNT"] = (0, "required keyword; must = 0")
    header["GCOUNT"] = (1, "required keyword; must = 1")
    header["EXTNAME"] = name
    if unit:
        header["BUNIT"] = unit
    add_checksum_placeholders(header)
    return header


def _table_header(fields: list[tuple[str, str]], rows: int, units: dict[str, str]) -> Header:
    from astropy.io import fits

    from muse_core.framework.products import add_checksum_placeholders

    header = fits.Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = 8
    header["NAXIS"] = 2
    header["NAXIS1"] = 4 * len(fields)
    header["NAXIS2"] = rows
    header["PCOUNT"] = 0
    header["GCOUNT"] = 1
    header["TFIELDS"] = len(fields)
    for i, (name, _) in enumerate(fields, 1):
        header[f"TTYPE{i}"] = name
        header[f"TFORM{i}"] = "1J" if name in ("dq", "origin") else "1E"
        if units[name]:
            header[f"TUNIT{i}"] = units[name]
    add_checksum_placeholders(header)
    return header
