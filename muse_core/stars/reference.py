# SPDX-License-Identifier: BSD-3-Clause
"""The table of a reference file that belongs to an exposure: the one nearest on the sky."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.framework import InputError
from muse_core.framework.fits_file import open_fits

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import Frame, RunContext

FARTHEST = 60.0
"""Distance [arcsec] beyond which a table is that of another object."""
DOUBTFUL = 20.0


@dataclass(frozen=True)
class ReferenceTable:
    """A table with its place on the sky.

    Parameters
    ----------
    file, name : Path, str
        where it is
    ra, dec : float
        degrees
    columns : dict of column name to values
    units : dict of column name to unit
    """

    file: Path
    name: str
    ra: float
    dec: float
    columns: dict[str, Any]
    units: dict[str, str]


def separation(ra1: float, dec1: float, ra2: Any, dec2: Any) -> Any:
    """Angles between a position and one or several others, in degrees; exact for small ones, too.

    >>> float(round(separation(10.0, -30.0, 10.0, -30.5), 9))
    0.5
    """
    a1, d1, a2, d2 = map(np.radians, (ra1, dec1, ra2, dec2))
    half = np.sin(0.5 * (d2 - d1)) ** 2 + np.cos(d1) * np.cos(d2) * np.sin(0.5 * (a2 - a1)) ** 2
    return np.degrees(2.0 * np.arcsin(np.minimum(1.0, np.sqrt(half))))


def read_tables(frames: Sequence[Frame]) -> list[ReferenceTable]:
    """Read all binary tables of reference files.

    Raises
    ------
    InputError
        for a file that is not FITS, or has no table
    """
    tables = []
    for frame in frames:
        found = 0
        with open_fits(frame.path, item=frame.tag) as hdus:
            for number, hdu in enumerate(hdus):
                if getattr(hdu, "columns", None) is None or hdu.data is None:
                    continue
                found += 1
                place = [hdu.header.get(key, 0.0) for key in ("RA", "DEC")]
                if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in place):
                    raise InputError(
                        frame.path, f"extension {hdu.name or number}, keywords RA, DEC", expected="degrees",
                        found=f"{place}", remedy="Repair the header of this table.",
                    )  # fmt: skip
                columns = {name: np.array(hdu.data[name]) for name in hdu.columns.names}
                units = {column.name: str(column.unit or "").strip() for column in hdu.columns}
                ra, dec = (float(v) for v in place)
                tables.append(ReferenceTable(frame.path, hdu.name or str(number), ra, dec, columns, units))
        if not found:
            raise InputError(
                frame.path, frame.tag, expected="a binary table for each object", found="no table",
                remedy="Give the file that comes with the MUSE calibrations.",
            )  # fmt: skip
    return tables


def nearest_table(
    tables: Sequence[ReferenceTable], ra: float, dec: float, tag: str, ctx: RunContext
) -> ReferenceTable:
    """Return the table nearest to the pointing of an exposure (degrees).

    Raises
    ------
    InputError
        if it is more than an arc minute away
    """
    distances = [3600.0 * separation(ra, dec, table.ra, table.dec) for table in tables]
    best = int(np.argmin(distances))
    table, distance = tables[best], distances[best]
    if distance > FARTHEST:
        raise InputError(
            table.file, f"{tag}, keywords RA, DEC of the tables",
            expected=f"a table within {FARTHEST:g} arcsec of the observed position {ra:.5f}, {dec:.5f}",
            found=f"nearest reference table: {table.name}, {distance / 60.0:.2f} arcmin away",
            remedy="Give the reference of the observed object.",
        )  # fmt: skip
    where = f'"{table.file.name}[{table.name}]" (distance {distance:.1f} arcsec)'
    if distance > DOUBTFUL:
        ctx.log.warning("Loading %s: is that the observed object?", where)
    else:
        ctx.log.info("Loading %s", where)
    return table


def float_column(table: ReferenceTable, name: str, tag: str) -> Floats:
    """Return a column as finite numbers.

    Raises
    ------
    InputError
        if it is not there, or holds anything else
    """
    known = {key.lower(): key for key in table.columns}
    key = known.get(name.lower())
    if key is None:
        raise InputError(
            table.file, f"{tag}, extension {table.name}", expected=f"a column {name}",
            found=f"columns {', '.join(table.columns)}", remedy=f"Give a {tag} in a known format.",
        )  # fmt: skip
    try:
        values = np.asarray(table.columns[key], np.float64)
        if values.ndim > 1 and values.size != len(values):
            raise TypeError("several numbers in a row")  # noqa: TRY301
        values = values.ravel()
    except (TypeError, ValueError) as error:
        raise InputError(
            table.file, f"{tag}, extension {table.name}, column {key}", expected="a number in each row",
            found=str(error) if isinstance(error, TypeError) else "others",
        ) from error  # fmt: skip
    if not values.size or not np.isfinite(values).all():
        what = "no row" if not values.size else f"{int((~np.isfinite(values)).sum())} rows that hold none"
        raise InputError(
            table.file, f"{tag}, extension {table.name}, column {key}", expected="finite numbers",
            found=what, remedy="Remove or repair these rows.",
        )  # fmt: skip
    return values
