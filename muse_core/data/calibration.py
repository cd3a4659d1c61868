# SPDX-License-Identifier: BSD-3-Clause
"""Reading calibration tables and WCS frames, with one clear fault for each thing that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import stated_number
from muse_core.framework import Frame, InputError
from muse_core.framework.fits_file import number_column, open_fits

if TYPE_CHECKING:
    from astropy.io.fits import Header

Floats = npt.NDArray[np.float64]
_ANGSTROM = ("", "angstrom", "a")


def read_columns(
    frame: Frame,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    extname: str | None = None,
    sorted_by: str | None = "lambda",
) -> tuple[Floats | None, ...]:
    """Return columns of a calibration table as float64 arrays; None for an optional column that is absent.

    Parameters
    ----------
    extname : str or None
        name of the extension; None = the first binary table
    sorted_by : str or None
        column that must increase and have no NaN

    Raises
    ------
    InputError
        if the file, the extension or a column is missing, empty, or not usable
    """
    from astropy.io import fits

    with open_fits(frame.path) as hdus:
        tables = [hdu for hdu in hdus[1:] if isinstance(hdu, fits.BinTableHDU)]
        if extname is not None:
            tables = [hdu for hdu in tables if str(hdu.header.get("EXTNAME", "")).strip() == extname]
        if not tables:
            raise InputError(
                frame.path,
                f"{frame.tag} table" + (f" {extname}" if extname else ""),
                expected="a binary-table extension",
                found=", ".join(hdu.name or "unnamed" for hdu in hdus),
                remedy=f"Give a {frame.tag} made by the MUSE pipeline.",
            )
        table = tables[0]
        present = {column.name.lower(): column for column in table.columns}
        result: list[Floats | None] = []
        for name in (*columns, *optional):
            column = present.get(name.lower())
            if column is None:
                if name in optional:
                    result.append(None)
                    continue
                raise InputError(
                    frame.path,
                    f"column {name}",
                    expected=f"columns {', '.join(columns)}",
                    found=", ".join(c.name for c in table.columns),
                    remedy=f"Give a {frame.tag} made by the MUSE pipeline.",
                )
            result.append(_values(frame, table, column))
        if sorted_by in columns:
            _check_order(frame, str(sorted_by), result[list(columns).index(str(sorted_by))], present)
    return tuple(result)


def read_curve(frame: Frame, columns: tuple[str, ...], *, positive: bool = False) -> tuple[Floats, ...]:
    """Read a calibration curve that has a usable row at least."""
    values = tuple(column for column in read_columns(frame, columns) if column is not None)
    usable = np.isfinite(np.array(values, dtype=float)).all(axis=0)
    if not (usable & (np.asarray(values[1]) > 0.0) if positive else usable).any():
        raise InputError(
            frame.path,
            f"columns {', '.join(columns)}",
            expected="finite numbers" + (f", {columns[1]} > 0" if positive else ""),
            found=f"none in {usable.size} rows",
            remedy=f"Give a {frame.tag} made by the MUSE pipeline, or leave it out.",
        )
    return values


def _values(frame: Frame, table, column) -> Floats:  # type: ignore[no-untyped-def]
    remedy = f"Give a {frame.tag} made by the MUSE pipeline."
    values = number_column(frame.path, table, column.name, remedy=remedy)
    if values.size == 0:
        raise InputError(frame.path, f"column {column.name}", expected="at least one row", found="none")
    return values


def _check_order(frame: Frame, name: str, values: Floats | None, present) -> None:  # type: ignore[no-untyped-def]
    if values is None:
        return
    if not np.all(np.isfinite(values)) or np.any(np.diff(values) < 0):
        raise InputError(
            frame.path,
            f"column {name}",
            expected="finite, increasing wavelengths",
            found="values that decrease or are not numbers",
            remedy="Sort the table by wavelength and remove bad rows.",
        )
    unit = str(present[name].unit or "").strip().lower()
    if unit not in _ANGSTROM:
        raise InputError(
            frame.path,
            f"unit of column {name}",
            expected="Angstrom",
            found=unit,
            remedy="Convert the table to Angstrom.",
        )


def read_astrometry(frame: Frame) -> Header:
    """Return the header of an ASTROMETRY_WCS frame that holds the CD matrix."""
    with open_fits(frame.path) as hdus:
        for hdu in hdus:
            if "CD1_1" in hdu.header and "CD2_2" in hdu.header:
                header = hdu.header.copy()
                cd = [
                    stated_number(frame.path, header, key, 0.0)
                    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
                ]
                if not np.all(np.isfinite(cd)) or cd[0] * cd[3] - cd[1] * cd[2] == 0.0:
                    raise InputError(
                        frame.path, "CD matrix", expected="an invertible matrix", found=str(cd),
                        remedy="Give an ASTROMETRY_WCS made by muse_astrometry.",
                    )  # fmt: skip
                return header
    raise InputError(
        frame.path,
        "keywords CD1_1, CD2_2",
        expected="an astrometric solution in a header of the file",
        found="none",
        remedy="Give an ASTROMETRY_WCS made by muse_astrometry.",
    )
