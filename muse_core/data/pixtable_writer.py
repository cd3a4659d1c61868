# SPDX-License-Identifier: BSD-3-Clause
"""Writing pixel tables row block by row block, in both layouts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

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


@dataclass(frozen=True)
class TableLayout:
    """Where the columns of a pixel table lie in its file: who has the file can write some of its rows.

    Parameters
    ----------
    path : Path
    fields : (name of a column, attribute of a block) each
    offsets : byte of the first value of each column
    as_table : bool
        the columns stand beside each other in one binary table
    """

    path: Path
    fields: tuple[tuple[str, str], ...]
    offsets: dict[str, int]
    as_table: bool

    def write(
        self,
        block: Block,
        row: int,
        weight: Weight | None = None,
        further: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Write the rows of a block from a row on into the file that is there; see `put`."""
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            self.put(descriptor, block, row, weight, further)
        finally:
            os.close(descriptor)

    def put(
        self,
        descriptor: int,
        block: Block,
        row: int,
        weight: Weight | None = None,
        further: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Write the rows of a block from a row on into the open file.

        Parameters
        ----------
        weight : Weight or None
            for the column ``weight``
        further : float32[n]
            values of the column ``further``
        """
        columns = [_words(block, attribute, weight, further) for _, attribute in self.fields]
        if self.as_table:
            table = np.empty((len(block), len(columns)), ">u4")
            for i, words in enumerate(columns):
                table[:, i] = words
            _put(descriptor, table, min(self.offsets.values()) + 4 * len(columns) * row)
        else:
            for (name, _), words in zip(self.fields, columns, strict=True):
                _put(descriptor, words.astype(">u4"), self.offsets[name] + 4 * row)


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
        fields = [*_FIELDS, *([("weight", "weight")] if weighted else [])]
        if further is not None:
            fields.append((further[0], _FURTHER))
            units = {**units, further[0]: further[1]}
        self._next = 0
        self._stream = path.open("wb")
        self._stream.write(header.tostring(sep="", endcard=True, padding=True).encode("ascii"))
        offsets: dict[str, int] = {}
        if as_table:
            self._write_header(_table_header(fields, rows, units))
            start = self._stream.tell()
            offsets = {name: start + 4 * i for i, (name, _) in enumerate(fields)}
            end = start + _padded(4 * len(fields) * rows)
        else:
            end = self._stream.tell()
            for name, _ in fields:
                self._stream.seek(end)
                self._write_header(_column_header(name, rows, units[name]))
                offsets[name] = self._stream.tell()
                end = offsets[name] + _padded(4 * rows)
        self.layout = TableLayout(path, tuple(fields), offsets, as_table)
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
        self.layout.put(self._stream.fileno(), block, self._next, weight, further)
        self._next += len(block)

    def note(self, rows: int) -> None:
        """Take notice of rows that others have written, see `layout`."""
        self._next += rows

    def close(self) -> None:
        """Finish the file; the number of rows written must be the number announced."""
        self._stream.close()
        if self._next != self._rows:
            raise ValueError(f"{self._next} rows written, {self._rows} announced")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._stream.close()

    def write_all(self, blocks: Iterable[Any]) -> None:
        """Write all blocks (`Block`, or rows with the same columns) and close."""
        with self:
            for block in blocks:
                self.write(block)


def _words(
    block: Block, attribute: str, weight: Weight | None, further: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.uint32]:
    if attribute == "weight":
        values = np.empty(len(block), np.float32)
        values[:] = weight_of_block(weight, block)
        return values.view(np.uint32)
    column = further if attribute == _FURTHER else getattr(block, attribute)
    words: npt.NDArray[np.uint32] = np.ascontiguousarray(column).view(np.uint32)
    return words


def _put(descriptor: int, values: npt.NDArray[np.uint32], offset: int) -> None:
    view = values.reshape(-1).view(np.uint8).data
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


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
