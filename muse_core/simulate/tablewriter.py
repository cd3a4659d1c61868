# SPDX-License-Identifier: BSD-3-Clause
"""Streamed writing of pixel tables: a file gets its final size first, then the slices fill in their rows."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from astropy.io import fits

COLUMNS = ("xpos", "ypos", "lambda", "data", "dq", "stat", "origin")
UNITS = {"xpos": "pix", "ypos": "pix", "lambda": "Angstrom", "data": "count", "stat": "count**2"}
_INTEGER = ("dq", "origin")
_BLOCK = 2880
_TABLE_DTYPE = np.dtype([(c, ">i4" if c in _INTEGER else ">f4") for c in COLUMNS])


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


class PixelTableWriter:
    """Write one PIXTABLE_OBJECT of known length in either flavour, rows in any order and from any thread.

    Parameters
    ----------
    path : Path
    header : fits.Header    primary header; its cards may change their values (not their number) until the end
    n_rows : int
    as_table : bool         one binary table instead of seven image extensions
    flat_field : (lam, data) or None   adds the extension PIXTABLE_FLAT_FIELD
    """

    def __init__(
        self,
        path: Path,
        header: fits.Header,
        n_rows: int,
        *,
        as_table: bool = False,
        flat_field: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.path = path
        self.header = header
        self.n_rows = n_rows
        self.as_table = as_table
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        position = len(self._primary())
        self._primary_size = position
        self._starts: dict[str, int] = {}
        for name, text in self._extension_headers():
            os.pwrite(self._fd, text, position)
            position += len(text)
            self._starts[name] = position
            position += _padded(n_rows * (_TABLE_DTYPE.itemsize if as_table else 4))
        os.truncate(self._fd, position)
        if flat_field is not None:
            self._append_flat_field(position, *flat_field)

    def _primary(self) -> bytes:
        return fits.PrimaryHDU(header=self.header).header.tostring().encode("ascii")

    def _extension_headers(self) -> Iterator[tuple[str, bytes]]:
        if self.as_table:
            cards = [("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", _TABLE_DTYPE.itemsize)]
            cards += [("NAXIS2", self.n_rows), ("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(COLUMNS))]
            for i, name in enumerate(COLUMNS, 1):
                cards += [(f"TTYPE{i}", name), (f"TFORM{i}", "1J" if name in _INTEGER else "1E")]
                if name in UNITS:
                    cards.append((f"TUNIT{i}", UNITS[name]))
            yield "table", fits.Header(cards).tostring().encode("ascii")
            return
        for name in COLUMNS:
            cards = [
                ("XTENSION", "IMAGE"),
                ("BITPIX", 32 if name in _INTEGER else -32),
                ("NAXIS", 2),
                ("NAXIS1", 1),
            ]
            cards += [("NAXIS2", self.n_rows), ("PCOUNT", 0), ("GCOUNT", 1), ("EXTNAME", name)]
            if name in UNITS:
                cards.append(("BUNIT", UNITS[name]))
            yield name, fits.Header(cards).tostring().encode("ascii")

    def _append_flat_field(self, position: int, lam: np.ndarray, data: np.ndarray) -> None:
        columns = [
            fits.Column("lambda", "D", array=lam, unit="Angstrom"),
            fits.Column("data", "D", array=data),
            fits.Column("stat", "D", array=np.zeros_like(lam)),
            fits.Column("dq", "J", array=np.zeros(lam.size, np.int32)),
        ]
        hdu = fits.BinTableHDU.from_columns(columns, name="PIXTABLE_FLAT_FIELD")
        buffer = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
        self._pwrite(buffer.getbuffer()[_BLOCK:], position)

    def write(self, first: int, columns: dict[str, np.ndarray]) -> None:
        """Write rows first, first + 1, ... of all columns (native byte order in, big endian on disk)."""
        if self.as_table:
            rows = np.empty(columns["data"].size, _TABLE_DTYPE)
            for name in COLUMNS:
                rows[name] = columns[name]
            self._pwrite(rows.data.cast("B"), self._starts["table"] + first * _TABLE_DTYPE.itemsize)
            return
        for name in COLUMNS:
            raw = columns[name].astype(">i4" if name in _INTEGER else ">f4")
            self._pwrite(raw.data.cast("B"), self._starts[name] + 4 * first)

    def _pwrite(self, raw: memoryview, position: int) -> None:
        done = 0
        while done < len(raw):
            done += os.pwrite(self._fd, raw[done:], position + done)

    def close(self) -> None:
        """Write the final primary header and close the file."""
        text = self._primary()
        if len(text) != self._primary_size:
            raise ValueError(f"{self.path.name}: the primary header changed its size while rows were written")
        os.pwrite(self._fd, text, 0)
        os.close(self._fd)

    def __enter__(self) -> PixelTableWriter:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            os.close(self._fd)
            self.path.unlink(missing_ok=True)
