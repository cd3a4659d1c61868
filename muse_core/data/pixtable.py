# SPDX-License-Identifier: BSD-3-Clause
"""Pixel-table files: opened, checked, and read row by row range, never as a whole.

Two layouts are read: one image extension per column (1 pixel wide, one row per pixel), and one binary table.
Rows are read with positioned reads, so several threads can share a file and nothing stays in memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.framework import InputError, Problems
from muse_core.framework.fits_layout import Unit
from muse_core.framework.fits_structure import check_structure
from muse_core.framework.input_files import check_regular, packing

if TYPE_CHECKING:
    from astropy.io.fits import Header

COLUMNS = ("xpos", "ypos", "lambda", "data", "dq", "stat", "origin")
INTEGER_COLUMNS = ("dq", "origin")
WEIGHT = "weight"
"""Column that tables of combined or weighted exposures have besides."""
LONGEST_ROW = 4096
"""Bytes of a row of a binary table at most: that of a pixel table has 28 to 40."""
_REMEDY = "Make the pixel table again, or leave it out of the set of frames."
_FLAT_FIELD = "PIXTABLE_FLAT_FIELD"
_TABLE_TYPES = {
    "L": "S1", "X": "u1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "A": "S1",
    "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16", "P": ">i8", "Q": ">c16",
}  # fmt: skip


@dataclass(frozen=True)
class PixelTableFile:
    """One pixel-table file: its header and where its columns lie.

    Parameters
    ----------
    path : Path
        the file rows are read from
    header : Header
        primary header
    rows : int
    offsets : dict
        byte offset of the first value of each column
    stride : int
        bytes from one row to the next (4 for image columns, the row length for a binary table)
    flat_field : structured array or None
        the PIXTABLE_FLAT_FIELD spectrum, if the file has one
    units : dict
        BUNIT or TUNIT of each column ("" if absent)
    weights : (offset, stride) or None
        where the column ``weight`` lies, if there is one
    """

    path: Path
    header: Header
    rows: int
    offsets: dict[str, int]
    stride: int
    flat_field: npt.NDArray[np.void] | None
    units: dict[str, str]
    weights: tuple[int, int] | None = None

    @property
    def ifu(self) -> int:
        """IFU number from EXTNAME = 'CHANnn', 0 if the header has none."""
        name = str(self.header.get("EXTNAME", "")).strip()
        return int(name[4:6]) if name.startswith("CHAN") and name[4:6].isdigit() else 0

    def without_header(self) -> PixelTableFile:
        """Return what is needed to read the rows."""
        return replace(self, header=None, flat_field=None, units={})

    @property
    def date_obs(self) -> str:
        """Start of the exposure, "" if the header has none."""
        return str(self.header.get("DATE-OBS", "")).strip()


def open_pixtable(path: Path) -> PixelTableFile:
    """Open a pixel table and check its structure against the file's size; no rows are read.

    Raises
    ------
    InputError
        listing all that is wrong with this file
    """
    from astropy.io.fits import Header

    check_regular(path)
    if packing(path):
        raise InputError(path, "file", expected="an unpacked pixel table", found=f"packed ({packing(path)})")
    primary, *extensions = check_structure(path, whole=False)
    try:
        header = Header.fromstring(primary.header)
        layout = _layout(extensions)
        flat_field = _flat_field(path, extensions)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            path, "columns", expected="a FITS pixel table", found=text, remedy=_REMEDY
        ) from error
    problems = Problems()
    _check_columns(path, layout, path.stat().st_size, problems)
    _check_header(path, header, problems)
    problems.raise_if_any()
    rows = layout["lambda"].rows
    return PixelTableFile(
        path=path,
        header=header,
        rows=rows,
        offsets={name: layout[name].offset for name in COLUMNS},
        stride=layout["lambda"].stride,
        flat_field=flat_field,
        units={name: layout[name].unit for name in COLUMNS},
        weights=(layout[WEIGHT].offset, layout[WEIGHT].stride) if WEIGHT in layout else None,
    )


@dataclass(frozen=True)
class _Column:
    rows: int
    offset: int
    stride: int
    kind: str
    width: int
    unit: str
    scaled: str = ""
    """The keyword that says that the numbers in the file are not the values, "" if they are."""


def _layout(extensions: list[Unit]) -> dict[str, _Column]:
    """Return the columns found, in either layout."""
    columns: dict[str, _Column] = {}
    for unit in extensions:
        name = str(unit.get("EXTNAME", "")).strip()
        if unit.get("XTENSION") == "BINTABLE":
            table = _table_dtype(unit)
            if name == _FLAT_FIELD or "lambda" not in (table.names or ()):
                continue
            stride, rows = (int(unit.get(key, 0) or 0) for key in ("NAXIS1", "NAXIS2"))
            for i, (column, (dtype, offset, *_)) in enumerate((table.fields or {}).items(), 1):
                kind = dtype.str[1:] if dtype.str in (">f4", ">i4") else str(unit.get(f"TFORM{i}"))
                text = str(unit.get(f"TUNIT{i}", ""))
                scaled = _scaling(unit, f"TSCAL{i}", f"TZERO{i}")
                _add(columns, column, _Column(rows, unit.data_start + offset, stride, kind, 1, text, scaled))
        elif name.lower() in (*COLUMNS, WEIGHT):
            bitpix = unit.get("BITPIX")
            kind = "f4" if bitpix == -32 else "i4" if bitpix == 32 else f"BITPIX {bitpix}"
            is_column = unit.get("NAXIS") == 2
            width, rows = (int(unit.get(key, 0) or 0) if is_column else 0 for key in ("NAXIS1", "NAXIS2"))
            text = str(unit.get("BUNIT", "")).strip()
            scaled, width = _scaling(unit, "BSCALE", "BZERO"), width if is_column else -1
            _add(columns, name.lower(), _Column(rows, unit.data_start, 4, kind, width, text, scaled))
    return columns


def _add(columns: dict[str, _Column], name: str, column: _Column) -> None:
    if name in columns and name in (*COLUMNS, WEIGHT):
        raise ValueError(f"two columns {name}")
    columns[name] = column


def _scaling(unit: Unit, scale: str, zero: str) -> str:
    return next((key for key, plain in ((scale, 1), (zero, 0)) if unit.get(key, plain) != plain), "")


def _table_dtype(unit: Unit) -> np.dtype[np.void]:
    """Return the type of a row of a binary table; columns of several values or of bits are wider fields."""
    fields = []
    for i in range(1, int(unit.get("TFIELDS", 0) or 0) + 1):
        form = re.match(r"(\d*)([A-Z])", str(unit.get(f"TFORM{i}", "")).strip())
        if form is None or form[2] not in _TABLE_TYPES:
            raise ValueError(f"TFORM{i} is {unit.get(f'TFORM{i}')!r}")
        repeat = int(form[1] or 1)
        if form[2] == "X":
            repeat = -(-repeat // 8)
        kind = np.dtype(_TABLE_TYPES[form[2]])
        name = str(unit.get(f"TTYPE{i}", f"col{i}"))
        fields.append((name, kind) if repeat == 1 else (name, kind, (repeat,)))
    return np.dtype(fields)


def _flat_field(path: Path, extensions: list[Unit]) -> npt.NDArray[np.void] | None:
    for unit in extensions:
        if str(unit.get("EXTNAME", "")).strip() == _FLAT_FIELD:
            rows = int(unit.get("NAXIS2", 0) or 0)
            if unit.data_start + unit.size > path.stat().st_size:
                raise ValueError(f"the {rows} rows of {_FLAT_FIELD} end behind the file, it is truncated")
            table = np.fromfile(path, _table_dtype(unit), rows, offset=unit.data_start)
            return table.astype(table.dtype.newbyteorder("="))
    return None


def _other_layout(path: Path, layout: dict[str, _Column]) -> tuple[str, str]:
    """Return what a file without all columns holds, and what to do."""
    from muse_core.framework import fits_layout

    kinds = [str(unit.get("XTENSION", "")).strip() for unit in fits_layout.units(path)[1:]]
    if "TABLE" in kinds:
        return (
            "a table in text form (ASCII), as mpdaf writes it with save_as_ima=False",
            "Write it with save_as_ima=True, in mpdaf: PixTable(name).write(other, save_as_ima=True).",
        )
    return (f"only {', '.join(layout)}" if layout else "nothing of these names"), _REMEDY


def _check_columns(path: Path, layout: dict[str, _Column], size: int, problems: Problems) -> None:
    missing = [name for name in COLUMNS if name not in layout]
    if missing:
        found, remedy = _other_layout(path, layout)
        problems.add(
            path,
            f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)}",
            expected="an extension (or column of a binary table) for each",
            found=found,
            remedy=remedy,
        )
    there = [name for name in (*COLUMNS, WEIGHT) if name in layout]
    for name in there:
        _check_column(path, name, layout[name], size, problems)
    lengths = {layout[name].rows for name in there}
    strides = {layout[name].stride for name in there}
    if len(lengths) > 1 or len(strides) > 1:
        found = ", ".join(f"{name} {layout[name].rows}" for name in there)
        if len(lengths) == 1:
            found = "some columns in a table, others in extensions of their own"
        problems.add(path, "columns", expected="equal lengths", found=found, remedy=_REMEDY)
    elif lengths == {0}:
        problems.add(path, "columns", expected="at least one row", found="an empty table", remedy=_REMEDY)


def _check_column(path: Path, name: str, column: _Column, size: int, problems: Problems) -> None:
    item = f"column {name}"
    kind = "i4" if name in INTEGER_COLUMNS else "f4"
    if column.kind != kind or column.width != 1:
        problems.add(
            path, item, expected="one 32-bit " + ("integer" if kind == "i4" else "float") + " per row",
            found=column.kind if column.kind != kind else f"{column.width} values per row", remedy=_REMEDY,
        )  # fmt: skip
    if column.scaled:
        problems.add(
            path, item, expected="numbers as they are", found=f"scaled ones ({column.scaled})", remedy=_REMEDY
        )
    if column.stride > LONGEST_ROW:
        problems.add(
            path, item, expected=f"rows of at most {LONGEST_ROW} bytes", found=column.stride, remedy=_REMEDY
        )
    end = column.offset + (column.rows - 1) * column.stride + 4
    if column.rows and end > size:
        problems.add(
            path, item, expected=f"{column.rows} rows ({end} bytes)",
            found=f"a file of {size} bytes (truncated)", remedy="Copy or make the file again.",
        )  # fmt: skip


def _check_header(path: Path, header: Header, problems: Problems) -> None:
    kind = header.get("ESO DRS MUSE PIXTABLE TYPE")
    if kind is None or str(kind).strip() not in ("GEOFULL",):
        problems.add(
            path,
            "keyword ESO DRS MUSE PIXTABLE TYPE",
            expected="GEOFULL",
            found="no such keyword" if kind is None else repr(kind),
            remedy="Only pixel tables with full geometry (from muse_scibasic) can be used.",
        )
