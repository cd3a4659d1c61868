# SPDX-License-Identifier: BSD-3-Clause
"""OFFSET_LIST: offsets, flux scales and rotations of exposures, whoever wrote the table.

Tables come from muse_exp_align, muse_imphot, pymusepipe, musered, or are written by hand: units of columns
are honoured or refused, and an exposure finds its row by DATE_OBS or MJD_OBS, whichever is written exactly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_core.framework import Frame, InputError
from muse_core.framework.fits_file import number_column, open_fits

if TYPE_CHECKING:
    from astropy.io.fits import BinTableHDU

SECONDS = 1.0  # by which the start of an exposure may differ: that much is lost in rounding by hand
TO_DEGREES = {
    "": 1.0,
    "deg": 1.0,
    "degree": 1.0,
    "degrees": 1.0,
    "arcmin": 1.0 / 60.0,
    "arcsec": 1.0 / 3600.0,
    "arcseconds": 1.0 / 3600.0,
    "arcsecond": 1.0 / 3600.0,
    "mas": 1.0 / 3.6e6,
    "rad": 180.0 / np.pi,
    "radian": 180.0 / np.pi,
    "radians": 180.0 / np.pi,
}
DAYS = ("", "s", "d", "day", "days", "mjd")  # "s" is what the C recipe writes
TRUST = "ESO QC EXPALIGN TRUST"
PURE = ("", "1", "-", "none", "dimensionless")


@dataclass(frozen=True)
class OffsetRow:
    """Offset of one exposure; what is written minus what is true.

    Parameters
    ----------
    date_obs : start of the exposure as text, "" if unknown
    ra_offset, dec_offset : degrees of coordinate
    flux_scale : factor on the data, or None
    mjd_obs : start of the exposure, or None
    rotation : ROT_OFFSET, position angle of the header minus the true one in degrees, or None
    trusted : what muse_exp_align says of it (keywords ESO QC EXPALIGN TRUSTi), or None
    """

    date_obs: str
    ra_offset: float
    dec_offset: float
    flux_scale: float | None = None
    mjd_obs: float | None = None
    rotation: float | None = None
    trusted: bool | None = None

    def gives_the_same(self, other: OffsetRow) -> bool:
        """Tell whether both rows say the same of an exposure."""
        mine, theirs = (
            (row.ra_offset, row.dec_offset, row.flux_scale, row.rotation) for row in (self, other)
        )
        return mine == theirs


@dataclass(frozen=True)
class OffsetList:
    """The rows of one table.

    Parameters
    ----------
    path : the file, for messages
    rows : the rows of the table
    by_date_only : as the C recipe, compare DATE_OBS as text and take the first row
    """

    path: Path | str
    rows: Sequence[OffsetRow]
    by_date_only: bool = False

    def columns(self) -> dict[str, list[float]]:
        """Return the numbers of the table by the names of its columns, NaN where there is none."""
        nan = float("nan")
        return {
            "RA_OFFSET": [row.ra_offset for row in self.rows],
            "DEC_OFFSET": [row.dec_offset for row in self.rows],
            "FLUX_SCALE": [nan if row.flux_scale is None else row.flux_scale for row in self.rows],
            "ROT_OFFSET": [nan if row.rotation is None else row.rotation for row in self.rows],
        }

    def without_rotations(self) -> OffsetList:
        """Return the list without its column ROT_OFFSET."""
        return replace(self, rows=[replace(row, rotation=None) for row in self.rows])

    def row_of(self, date_obs: str | None, mjd_obs: float | None) -> OffsetRow | None:
        """Return the row of an exposure, or None.

        Raises
        ------
        InputError
            if several rows that differ belong to it
        """
        same_text = [row for row in self.rows if date_obs and row.date_obs.rstrip() == date_obs.rstrip()]
        if self.by_date_only:
            return same_text[0] if same_text else None
        near = [row for row in self.rows if row in same_text or _same_start(row, date_obs, mjd_obs)]
        if any(not row.gives_the_same(near[0]) for row in near):
            shown = ", ".join(f"({row.ra_offset:g}, {row.dec_offset:g})" for row in near)
            raise InputError(
                self.path,
                f"OFFSET_LIST rows of DATE_OBS {date_obs}",
                expected="one row, or rows that say the same",
                found=f"{len(near)} rows with the offsets {shown} deg",
                remedy="Remove the rows that are not meant.",
            )
        return near[0] if near else None


def _same_start(row: OffsetRow, date_obs: str | None, mjd_obs: float | None) -> bool:
    """Tell whether a row is of the exposure by the time it says, in whatever digits."""
    if row.mjd_obs is not None and mjd_obs is not None:
        return abs(row.mjd_obs - mjd_obs) * 86400.0 <= SECONDS
    times = _seconds(row.date_obs), _seconds(date_obs)
    return times[0] is not None and times[1] is not None and abs(times[0] - times[1]) <= SECONDS


def _seconds(date: str | None) -> float | None:
    """Seconds of a date as text (``T`` or a blank before the time), or None."""
    with contextlib.suppress(ValueError):
        text = (date or "").strip().replace(" ", "T").removesuffix("Z")
        if len(text) > len("2000-01-01"):
            return float(np.datetime64(text, "us").astype(np.int64)) * 1e-6
    return None


def read_offsets(frame: Frame) -> OffsetList:
    """Read an OFFSET_LIST.

    Raises
    ------
    InputError
        if the file, a column or a unit is not usable
    """
    return _read(frame, as_c=False)


def read_offsets_as_c(frame: Frame) -> OffsetList:
    """Read an OFFSET_LIST as the C recipe does: units are not looked at, DATE_OBS alone finds the row."""
    return _read(frame, as_c=True)


def _read(frame: Frame, *, as_c: bool) -> OffsetList:
    from astropy.io import fits

    with open_fits(frame.path) as hdus:
        tables = [hdu for hdu in hdus[1:] if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        if not tables:
            raise InputError(frame.path, "OFFSET_LIST table", expected="a table", found="none")
        columns = _Columns(frame, tables[0], as_c=as_c)
        dates = columns.texts("DATE_OBS")
        mjds = columns.numbers("MJD_OBS", DAYS)
        offsets = [columns.angles(name) for name in ("RA_OFFSET", "DEC_OFFSET")]
        missing = [n for n, v in zip(("RA_OFFSET", "DEC_OFFSET"), offsets, strict=True) if v is None]
        if dates is None and (as_c or mjds is None):
            missing = ["DATE_OBS", *missing]
        if missing or offsets[0] is None or offsets[1] is None:
            raise InputError(
                frame.path,
                f"column {', '.join(missing)}",
                expected="columns DATE_OBS, RA_OFFSET, DEC_OFFSET",
                found=", ".join(tables[0].columns.names),
                remedy="Give an OFFSET_LIST made by muse_exp_align.",
            )
        trust = [hdus[0].header.get(f"{TRUST}{n + 1}") for n in range(len(offsets[0]))]
        scales, rotations = columns.numbers("FLUX_SCALE", PURE), columns.angles("ROT_OFFSET")
        rows = [
            OffsetRow(
                "" if dates is None else dates[n],
                offsets[0][n],
                offsets[1][n],
                _finite(scales, n),
                _finite(mjds, n),
                _finite(rotations, n),
                trust[n] if isinstance(trust[n], bool) else None,
            )
            for n in range(len(offsets[0]))
        ]
    for row in rows:
        if not (np.isfinite(row.ra_offset) and np.isfinite(row.dec_offset)):
            raise InputError(
                frame.path,
                f"offset of {row.date_obs or row.mjd_obs}",
                expected="finite RA_OFFSET and DEC_OFFSET",
                found=f"{row.ra_offset}, {row.dec_offset}",
                remedy="Correct or remove that row.",
            )
    return OffsetList(frame.path, rows, by_date_only=as_c)


def _finite(values: list[float] | None, n: int) -> float | None:
    return values[n] if values is not None and np.isfinite(values[n]) else None


class _Columns:
    """Columns of a table by name (in any case), with their units."""

    def __init__(self, frame: Frame, table: BinTableHDU, *, as_c: bool) -> None:
        self._frame, self._table, self._as_c = frame, table, as_c
        self._columns = {column.name.upper(): column for column in reversed(table.columns)}
        if as_c:
            self._columns = {column.name: column for column in reversed(table.columns)}

    def texts(self, name: str) -> list[str] | None:
        """Return the values of a column as text."""
        column = self._columns.get(name)
        return None if column is None else [str(value).strip() for value in self._table.data[column.name]]

    def angles(self, name: str) -> list[float] | None:
        """Return the values of a column in degrees."""
        factor = 1.0 if self._as_c else self._unit(name, TO_DEGREES)
        values = self._values(name)
        return values if values is None or factor == 1.0 else [value * factor for value in values]

    def numbers(self, name: str, units: Sequence[str]) -> list[float] | None:
        """Return the values of a column that may have some units."""
        if not self._as_c:
            self._unit(name, dict.fromkeys(units, 1.0))
        return self._values(name)

    def _unit(self, name: str, known: dict[str, float]) -> float:
        unit = str(getattr(self._columns.get(name), "unit", None) or "").strip()
        if unit.lower() not in known:
            words = [word for word in known if word]
            raise InputError(
                self._frame.path,
                f"unit of the column {name}",
                expected=f"one of {', '.join(words)}, or none",
                found=repr(unit),
                remedy="Convert the column, or correct its TUNIT keyword.",
            )
        return known[unit.lower()]

    def _values(self, name: str) -> list[float] | None:
        column = self._columns.get(name)
        if column is None:
            return None
        return [float(value) for value in number_column(self._frame.path, self._table, column.name)]
