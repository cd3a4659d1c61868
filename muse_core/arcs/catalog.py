# SPDX-License-Identifier: BSD-3-Clause
"""LINE_CATALOG: wavelengths of arc lines in air, with their ions and what they are good for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.arcs.lamps import Lamps, lamp_of
from muse_core.detector.fitsfile import extensions, opened
from muse_core.framework.errors import InputError

VERSION = 3
COLUMNS = ("lambda", "flux", "ion", "quality")
LARGEST = 1e5  # Angstrom; the identification counts in steps of a few Angstrom up to the last line
PATTERN, MULTIPLET, GOOD, REFERENCE = 1, 2, 3, 5  # values of the column quality


@dataclass(frozen=True)
class LineCatalog:
    """Arc lines in the order of their wavelengths.

    Attributes
    ----------
    lam : float64[n]
        Angstrom in air, with the single precision of the file.
    flux : float64[n]
        Compared with the counts of detected lines.
    quality : int64[n]
        0 never used, 1 for the pattern alone, 2 member of a multiplet, 3 good, 5 good and a reference of
        the line width.
    ion, lamp : tuple of str
    """

    lam: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    quality: npt.NDArray[np.int64]
    ion: tuple[str, ...]
    lamp: tuple[str, ...]

    def shown_by(self, lamps: Lamps) -> npt.NDArray[np.bool_]:
        """Lines that some lamps show (bool[n])."""
        return np.array([lamp in lamps.names and lamp != "" for lamp in self.lamp], bool)


def _numbers(table: fits.BinTableHDU, name: str, path: Path) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(table.data[name])
    except (OSError, TypeError, ValueError):
        values = np.array(None)
    if values.dtype.kind not in "iuf" or values.ndim != 1:
        raise InputError(path, f"column {name}", expected="numbers", found=f"type {values.dtype}")
    odd = np.flatnonzero(~np.isfinite(values))
    if odd.size:
        found = f"{values[odd[0]]} in row {odd[0] + 1}"
        raise InputError(path, f"column {name}", expected="finite numbers", found=found)
    return values.astype(np.float64)


def _check_version(hdus: fits.HDUList, table: fits.BinTableHDU, path: Path) -> None:
    found = [header["VERSION"] for header in (hdus[0].header, table.header) if "VERSION" in header]
    if not found:
        raise InputError(
            path, "VERSION", expected=f"VERSION = {VERSION}", found="no such keyword",
            remedy="Use the LINE_CATALOG of the MUSE calibrations.",
        )  # fmt: skip
    wrong = [value for value in found if isinstance(value, bool) or value != VERSION]
    if wrong:
        raise InputError(path, "VERSION", expected=VERSION, found=repr(wrong[0]))


def read_line_catalog(path: Path | str) -> LineCatalog:
    """Read a LINE_CATALOG.

    Raises
    ------
    InputError
        If the version, a column or the order is wrong.
    """
    path = Path(path)
    with opened(path, memmap=False) as hdus:
        tables = [hdu for _, hdu in extensions(hdus) if isinstance(hdu, fits.BinTableHDU)]
        if not tables:
            raise InputError(path, "extensions", expected="a table of lines", found="no table")
        table = tables[0]
        _check_version(hdus, table, path)
        missing = [name for name in COLUMNS if name not in table.columns.names]
        if missing:
            raise InputError(path, "columns", expected=", ".join(COLUMNS), found=f"no {', '.join(missing)}")
        lam, flux, quality = (_numbers(table, name, path) for name in ("lambda", "flux", "quality"))
        ions = np.asarray(table.data["ion"])
        if ions.dtype.kind not in "US":
            raise InputError(path, "column ion", expected="names of ions", found=f"type {ions.dtype}")
        names = tuple(str(ion).strip() for ion in ions.astype(str))
    if lam.size == 0:
        raise InputError(path, "rows", expected="arc lines", found="none")
    steps = np.flatnonzero(np.diff(lam) < 0)
    if steps.size:
        raise InputError(
            path, "column lambda", expected="wavelengths in increasing order",
            found=f"{lam[steps[0] + 1]:g} after {lam[steps[0]]:g} in row {int(steps[0]) + 2}",
            remedy="Sort the table by lambda.",
        )  # fmt: skip
    if lam[0] <= 0 or lam[-1] > LARGEST:
        odd = lam[0] if lam[0] <= 0 else lam[-1]
        raise InputError(
            path, "column lambda", expected=f"wavelengths in Angstrom, up to {LARGEST:g}", found=f"{odd:g}"
        )
    return LineCatalog(lam, flux, quality.astype(np.int64), names, tuple(map(lamp_of, names)))
