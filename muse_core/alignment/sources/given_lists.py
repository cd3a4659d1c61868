# SPDX-License-Identifier: BSD-3-Clause
"""SOURCE_LIST files given in place of the detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_core.alignment.arrays import Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.images.headers import KeywordReader
from muse_core.alignment.images.opening import first_line
from muse_core.alignment.sources.source_list import SourceList, sky_positions
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError, Problems
from muse_core.framework.fits_file import number_column, open_fits

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

REQUIRED = ("Id", "X", "Y", "RA", "DEC")
PIXELS = ("", "pix", "pixel", "pixels")
SECONDS = 1.0  # by which the start of an exposure may differ: that much is lost in rounding


@dataclass(frozen=True)
class GivenList:
    """Positions of one list; zero-based pixels, as the recipe writes them."""

    path: Path
    mjd: float | None
    date: str
    x: Floats
    y: Floats

    def belongs_to(self, info: FieldInfo, *, exactly: bool) -> bool:
        """Tell whether the list is of an image, by MJD-OBS or, where that is not there, DATE-OBS.

        Lists that went through other software may have lost digits of the date.
        """
        if self.mjd is None:
            return self.date[:19] == info.date[:19]
        return self.mjd == info.mjd or (not exactly and abs(self.mjd - info.mjd) * 86400.0 <= SECONDS)


def read_source_list(path: Path, *, dated_twice: bool = False) -> GivenList:
    """Read one SOURCE_LIST; `InputError` for anything that is wrong with it.

    With ``dated_twice`` it must have both MJD-OBS and DATE-OBS, in the primary header.
    """
    with open_fits(path) as hdus:
        mjd, date = _date_of(hdus, path, dated_twice=dated_twice)
        x, y = _columns(hdus, path)
    if x.size == 0:
        raise InputError(path, "table", expected="one source or more", found="no rows")
    wrong = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    if wrong.size:
        found = f"none in row {wrong[0] + 1} ({wrong.size} rows)"
        raise InputError(path, "columns X, Y", expected="finite positions", found=found)
    return GivenList(path, mjd, date, x, y)


def _date_of(hdus: HDUList, path: Path, *, dated_twice: bool) -> tuple[float | None, str]:
    try:
        keys = KeywordReader(path, [hdu.header for hdu in hdus[: 1 if dated_twice else 2]])
    except Exception as error:  # noqa: BLE001  astropy raises many kinds for broken headers
        found = first_line(error)
        raise InputError(path, "file", expected="a readable source list", found=found) from error
    date = keys.text("DATE-OBS")
    expected = "the start of the exposure the list belongs to"
    if dated_twice and not date:
        raise keys.fault("DATE-OBS", expected, "no such keyword")
    if "MJD-OBS" in keys or dated_twice or not date:
        return keys.number("MJD-OBS", expected), date
    return None, date


def _columns(hdus: HDUList, path: Path) -> tuple[Floats, Floats]:
    try:
        table = next((hdu for hdu in hdus if hdu.header.get("XTENSION", "").strip() == "BINTABLE"), None)
    except Exception as error:  # noqa: BLE001  astropy raises many kinds for broken headers
        found = first_line(error)
        raise InputError(path, "file", expected="a readable source list", found=found) from error
    if table is None:
        raise InputError(path, "extension 1", expected="a binary table", found="none in the file")
    missing = [name for name in REQUIRED if name not in table.columns.names]
    if missing:
        raise InputError(path, "columns", expected=", ".join(REQUIRED), found=f"no {', '.join(missing)}")
    for name in ("X", "Y"):
        unit = str(table.columns[name].unit or "").strip()
        if unit.lower() not in PIXELS:
            found = repr(unit)
            raise InputError(path, f"unit of the column {name}", expected="pix, or none", found=found)
    rows, width = table.header["NAXIS2"], table.header["NAXIS1"]
    if table.fileinfo()["datLoc"] + rows * width > path.stat().st_size:
        remedy = "Fetch or make the file again."
        raise InputError(path, "table", expected=f"{rows} rows", found="a truncated file", remedy=remedy)
    return number_column(path, table, "X"), number_column(path, table, "Y")


def load_source_lists(
    paths: Sequence[Path], fields: Sequence[FieldInfo], *, defects: Defects, problems: Problems
) -> list[SourceList]:
    """Read source lists and give each image the one with its MJD-OBS; faults go to ``problems``."""
    given = []
    for path in paths:
        try:
            given.append(read_source_list(path, dated_twice=defects.source_list_by_exact_mjd))
        except InputError as error:
            problems.extend(error)
    if len(paths) != len(fields):
        problems.add(
            "",
            "input SOURCE_LIST",
            expected=f"one list for each of the {len(fields)} images",
            found=f"{len(paths)} lists",
        )
    if problems:
        return []
    lists = []
    for info in fields:
        mine = [g for g in given if g.belongs_to(info, exactly=defects.source_list_by_exact_mjd)]
        if len(mine) != 1:
            problems.add(
                info.path,
                "keyword MJD-OBS",
                expected=f"one SOURCE_LIST with MJD-OBS {info.mjd!r}",
                found="several: " + ", ".join(str(g.path) for g in mine) if mine else "none",
            )
            continue
        lists.append(_as_source_list(mine[0], info, defects))
    return lists


def _as_source_list(given: GivenList, info: FieldInfo, defects: Defects) -> SourceList:
    ra, dec = sky_positions(
        info.wcs, given.x, given.y, positions_one_pixel_low=defects.positions_one_pixel_low
    )
    return SourceList.of_positions(given.x, given.y, ra, dec, "catalog")
