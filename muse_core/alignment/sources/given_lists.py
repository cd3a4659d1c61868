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
from muse_core.alignment.images.opening import first_line, open_fits
from muse_core.alignment.sources.source_list import SourceList, sky_positions
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError, Problems

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

REQUIRED = ("Id", "X", "Y", "RA", "DEC")


@dataclass(frozen=True)
class GivenList:
    """Positions of one list; zero-based pixels, as the recipe writes them."""

    path: Path
    mjd: float
    x: Floats
    y: Floats


def read_source_list(path: Path) -> GivenList:
    """Read one SOURCE_LIST; `InputError` for anything that is wrong with it."""
    with open_fits(path) as hdus:
        mjd = _date_of(hdus, path)
        x, y = _columns(hdus, path)
    if x.size == 0:
        raise InputError(path, "table", expected="one source or more", found="no rows")
    if x.ndim != 1 or y.ndim != 1:
        raise InputError(path, "columns X, Y", expected="one number per row", found="arrays")
    wrong = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    if wrong.size:
        found = f"none in row {wrong[0] + 1} ({wrong.size} rows)"
        raise InputError(path, "columns X, Y", expected="finite positions", found=found)
    return GivenList(path, mjd, x, y)


def _date_of(hdus: HDUList, path: Path) -> float:
    try:
        header = hdus[0].header
        mjd, date = header.get("MJD-OBS"), header.get("DATE-OBS")
    except Exception as error:  # noqa: BLE001  astropy raises many kinds for broken headers
        found = first_line(error)
        raise InputError(path, "file", expected="a readable source list", found=found) from error
    expected = "the start of the exposure the list belongs to"
    if isinstance(mjd, bool) or not isinstance(mjd, int | float) or not np.isfinite(mjd):
        raise InputError(path, "keyword MJD-OBS", expected=expected, found=repr(mjd))
    if not isinstance(date, str):
        raise InputError(path, "keyword DATE-OBS", expected=expected, found=repr(date))
    return float(mjd)


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
    rows, width = table.header["NAXIS2"], table.header["NAXIS1"]
    if table.fileinfo()["datLoc"] + rows * width > path.stat().st_size:
        remedy = "Fetch or make the file again."
        raise InputError(path, "table", expected=f"{rows} rows", found="a truncated file", remedy=remedy)
    try:
        data = table.data
        return np.array(data["X"]).astype(np.float64), np.array(data["Y"]).astype(np.float64)
    except (OSError, ValueError, TypeError, KeyError) as error:
        found = first_line(error)
        raise InputError(path, "table", expected="numbers in X and Y", found=found) from error


def load_source_lists(
    paths: Sequence[Path], fields: Sequence[FieldInfo], *, defects: Defects, problems: Problems
) -> list[SourceList]:
    """Read source lists and give each image the one with its MJD-OBS; faults go to ``problems``."""
    given = []
    for path in paths:
        try:
            given.append(read_source_list(path))
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
        mine = [g for g in given if g.mjd == info.mjd]
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
