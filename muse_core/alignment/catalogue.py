# SPDX-License-Identifier: BSD-3-Clause
"""SOURCE_LIST files given in place of the detection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .field import FieldError, open_fits

REQUIRED = ("Id", "X", "Y", "RA", "DEC")


@dataclass(frozen=True)
class Catalogue:
    """Positions of one list; zero-based pixels, as the recipe writes them."""

    path: Path
    mjd: float
    x: np.ndarray
    y: np.ndarray


def read_catalogue(path: Path) -> Catalogue:
    """Read one SOURCE_LIST; `FieldError` for anything that is wrong with it."""
    with open_fits(path) as hdus:
        try:
            table = next((hdu for hdu in hdus if hdu.header.get("XTENSION", "").strip() == "BINTABLE"), None)
            header = hdus[0].header
            mjd = header.get("MJD-OBS")
            date = header.get("DATE-OBS")
        except Exception as error:  # noqa: BLE001  astropy raises many kinds for broken headers
            raise FieldError("file", "a readable source list", str(error)[:120]) from error
        if table is None:
            raise FieldError("extension 1", "a binary table", "none in the file")
        if isinstance(mjd, bool) or not isinstance(mjd, int | float) or not np.isfinite(mjd):
            raise FieldError("keyword MJD-OBS", "the start of the exposure the list belongs to", repr(mjd))
        if not isinstance(date, str):
            raise FieldError("keyword DATE-OBS", "the start of the exposure the list belongs to", repr(date))
        names = list(table.columns.names)
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise FieldError("columns", ", ".join(REQUIRED), f"no {', '.join(missing)}")
        info = table.fileinfo()
        rows, width = table.header["NAXIS2"], table.header["NAXIS1"]
        length = path.stat().st_size
        if path.suffix != ".gz" and info["datLoc"] + rows * width > length:
            raise FieldError("table", f"{rows} rows", "a truncated file", "Fetch or make the file again.")
        try:
            data = table.data
            x, y = (np.array(data[name]).astype(np.float64) for name in ("X", "Y"))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise FieldError("table", "numbers in X and Y", str(error)[:120]) from error
    if x.size == 0:
        raise FieldError("table", "one source or more", "no rows")
    if x.ndim != 1 or y.ndim != 1:
        raise FieldError("columns X, Y", "one number per row", "arrays")
    wrong = np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))
    if wrong.size:
        raise FieldError(
            "columns X, Y", "finite positions", f"none in row {wrong[0] + 1} ({wrong.size} rows)"
        )
    return Catalogue(path, float(mjd), x, y)
