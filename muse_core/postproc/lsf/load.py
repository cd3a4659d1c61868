# SPDX-License-Identifier: BSD-3-Clause
"""Reading LSF_PROFILE files in every layout the C pipeline reads.

Image flavour: one file per IFU (primary EXTNAME ``CHANnn``, image extension ``LSF_PROFILE``) or one file
with the extensions ``CHANnn.LSF_PROFILE``.  Table flavour: extension ``SLICE_PARAM`` with the columns ifu
and slice (one or several IFUs in a file, one or several files), or the extensions ``CHANnn.SLICE_PARAM``.
As in the C pipeline all files are first tried as images, and only if there is none as tables.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.slices import N_IFU, N_SLICE, slice_key
from muse_core.framework import InputError
from muse_core.framework.fits_file import open_fits
from muse_core.postproc.lsf.images import LsfImage, pad_samples
from muse_core.postproc.lsf.tables import LsfTable

if TYPE_CHECKING:
    from astropy.io import fits

REMEDY = "Give the LSF_PROFILE that muse_lsf made for these IFUs."
CHANNEL = re.compile(r"^CHAN(\d\d)(?:\.(\w+))?$")
WIDEST_A = 100.0
"""Of a slit or a bin, and far beyond any of MUSE."""
PARAMETERS = ("slit_width", "bin_width", "lsf_width", "hermit3", "hermit4", "hermit5", "hermit6")


def load_lsf(paths: Sequence[str | Path]) -> LsfImage | LsfTable:
    """Read the LSF_PROFILE files of a run.

    Returns
    -------
    LsfImage or LsfTable; both have ``ifus``, ``row`` (-1 for slices without profile) and ``reach``.
    """
    from astropy.io import fits

    cubes: dict[int, tuple[Path, npt.NDArray, dict[str, float]]] = {}
    tables: list[tuple[Path, int | None, fits.FITS_rec]] = []
    seen: list[str] = []
    if not paths:
        raise InputError("", "LSF_PROFILE", expected="one or more files", found="none", remedy=REMEDY)
    for path in map(Path, paths):
        with open_fits(path, item="LSF_PROFILE") as hdus:
            channel = _channel(hdus[0].name)[0]
            for hdu in hdus:
                seen.append(f"{path.name}[{hdu.name}]")
                ifu, kind = _channel(hdu.name)
                kind = kind or hdu.name
                if kind == "LSF_PROFILE" and getattr(hdu, "is_image", False):
                    number = ifu or channel
                    if number is None:
                        raise InputError(
                            path, "EXTNAME of the primary header", expected="CHAN01 .. CHAN24",
                            found=hdus[0].name, remedy=REMEDY,
                        )  # fmt: skip
                    cubes[number] = (path, *_cube(path, hdu))
                elif kind == "SLICE_PARAM" and isinstance(hdu, fits.BinTableHDU):
                    tables.append((path, ifu, hdu.data.copy()))
    if cubes:
        return _image_flavour(cubes)
    if tables:
        return _table_flavour(tables)
    raise InputError(
        "", "LSF_PROFILE", expected="image extensions LSF_PROFILE or tables SLICE_PARAM",
        found=", ".join(seen), remedy=REMEDY,
    )  # fmt: skip


def _channel(name: str) -> tuple[int | None, str | None]:
    """Split an extension name like CHAN07.LSF_PROFILE into IFU number and rest."""
    match = CHANNEL.match(name.strip())
    if not match or not 1 <= int(match[1]) <= N_IFU:
        return None, None
    return int(match[1]), match[2]


def _cube(path: Path, hdu: fits.ImageHDU) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
    data = None if hdu.data is None else np.asarray(hdu.data, dtype=np.float32)
    if data is None or data.ndim != 3 or data.shape[0] != N_SLICE or data.shape[2] < 2:
        raise InputError(
            path, f"{hdu.name}: image size", expected=f"(offsets, wavelengths, {N_SLICE} slices)",
            found=None if data is None else data.shape[::-1], remedy=REMEDY,
        )  # fmt: skip
    if not np.isfinite(data).all():
        raise InputError(
            path, f"{hdu.name}: values", expected="finite numbers",
            found=f"{int((~np.isfinite(data)).sum())} NaN or infinite ones", remedy=REMEDY,
        )  # fmt: skip
    header = hdu.header
    wcs: dict[str, float] = {}
    for axis in (1, 2):
        step = header.get(f"CD{axis}_{axis}", header.get(f"CDELT{axis}"))
        start = header.get(f"CRVAL{axis}")
        if not isinstance(step, (int, float)) or not step > 0 or not isinstance(start, (int, float)):
            raise InputError(
                path, f"{hdu.name}: CRVAL{axis}, CD{axis}_{axis}", expected="numbers, the step positive",
                found=f"{start}, {step}", remedy=REMEDY,
            )  # fmt: skip
        wcs[f"step{axis}"] = float(step)
        wcs[f"first{axis}"] = float(start) + (1.0 - float(header.get(f"CRPIX{axis}", 1.0))) * float(step)
    return data, wcs


def _image_flavour(cubes: dict[int, tuple[Path, npt.NDArray, dict[str, float]]]) -> LsfImage:
    first_path, first_cube, wcs = cubes[min(cubes)]
    row = np.full(N_IFU * N_SLICE, -1, dtype=np.int32)
    parts: list[npt.NDArray[np.float32]] = []
    for ifu in sorted(cubes):
        path, cube, own = cubes[ifu]
        same_grid = all(abs(own[key] - wcs[key]) <= 1e-9 * max(1.0, abs(wcs[key])) for key in wcs)
        if cube.shape != first_cube.shape or not same_grid:
            raise InputError(
                path, "LSF_PROFILE: grid", expected=f"the size and coordinates of {first_path.name}",
                found=f"{cube.shape[::-1]}, {own}", remedy="Use profiles of one run of muse_lsf.",
            )  # fmt: skip
        row[slice_key(ifu, 1) : slice_key(ifu, N_SLICE) + 1] = np.arange(N_SLICE) + N_SLICE * len(parts)
        parts.append(cube)
    samples = pad_samples(np.concatenate(parts))
    return LsfImage(samples, wcs["first1"], wcs["step1"], wcs["first2"], wcs["step2"], row)


def _table_flavour(tables: list[tuple[Path, int | None, fits.FITS_rec]]) -> LsfTable:
    row = np.full(N_IFU * N_SLICE, -1, dtype=np.int32)
    values: dict[str, list[npt.NDArray]] = {name: [] for name in PARAMETERS}
    n = 0
    for path, channel, table in tables:
        names = {name.lower(): name for name in table.names}
        wanted = ("slice", *PARAMETERS) if channel else ("ifu", "slice", *PARAMETERS)
        missing = [name for name in wanted if name not in names]
        if missing:
            raise InputError(
                path, f"SLICE_PARAM: columns {', '.join(missing)}", expected=", ".join(wanted),
                found=", ".join(table.names), remedy=REMEDY,
            )  # fmt: skip
        for record in table:
            ifu = int(record[names["ifu"]]) if "ifu" in names else int(channel or 0)
            number = int(record[names["slice"]])
            if not (1 <= ifu <= N_IFU and 1 <= number <= N_SLICE):
                raise InputError(
                    path, "SLICE_PARAM: columns ifu, slice", expected="1..24 and 1..48",
                    found=f"{ifu}, {number}", remedy=REMEDY,
                )  # fmt: skip
            row[slice_key(ifu, number)] = n
            for name in PARAMETERS:
                values[name].append(np.atleast_1d(np.asarray(record[names[name]], dtype=np.float64)))
            n += 1
    if n == 0:
        raise InputError(
            tables[0][0], "SLICE_PARAM", expected="a row for each slice", found="no rows", remedy=REMEDY
        )
    columns = {name: _stacked(rows) for name, rows in values.items()}
    for name, column in columns.items():
        if not np.isfinite(column).all():
            raise InputError(
                tables[0][0], f"SLICE_PARAM: column {name}", expected="finite numbers",
                found="some that are not", remedy=REMEDY,
            )  # fmt: skip
    for name in ("slit_width", "bin_width"):
        if not ((columns[name] > 0) & (columns[name] <= WIDEST_A)).all():  # kernels divide by them
            raise InputError(
                tables[0][0], f"SLICE_PARAM: column {name}", expected=f"positive widths up to {WIDEST_A:g}",
                found=f"{columns[name].min():g} to {columns[name].max():g}", remedy=REMEDY,
            )  # fmt: skip
    return LsfTable(
        row, columns["slit_width"][:, 0], columns["bin_width"][:, 0], columns["lsf_width"],
        tuple(columns[f"hermit{k}"] for k in (3, 4, 5, 6)),
    )  # fmt: skip


def _stacked(rows: list[npt.NDArray]) -> npt.NDArray[np.float64]:
    """Return rows of polynomial coefficients as one array, short ones filled with zeros."""
    out = np.zeros((len(rows), max(row.size for row in rows)))
    for i, row in enumerate(rows):
        out[i, : row.size] = np.where(np.isnan(row), 0.0, row)
    return out


def check_lsf_covers(
    lsf: LsfImage | LsfTable, rows_of_slice: npt.NDArray[np.int64], files: Sequence[str | Path] = ()
) -> None:
    """Refuse profiles that miss a slice with data, or are empty there.

    The C pipeline only warns and then subtracts no lines from these slices.

    Parameters
    ----------
    rows_of_slice : int64[1152]   number of rows of each slice in the exposure
    """
    without = lsf.row < 0
    if isinstance(lsf, LsfImage):
        without = without | (lsf.total.max(axis=1)[lsf.row] <= 0.0)
    missing = np.flatnonzero((rows_of_slice > 0) & without)
    if missing.size == 0:
        return
    by_ifu: dict[int, list[int]] = {}
    for key in missing:
        by_ifu.setdefault(int(key) // N_SLICE + 1, []).append(int(key) % N_SLICE + 1)
    found = "; ".join(
        f"none for IFU {ifu}" if ifu not in lsf.ifus else f"none for slice(s) {_listed(slices)} of IFU {ifu}"
        for ifu, slices in by_ifu.items()
    )
    raise InputError(
        ", ".join(Path(file).name for file in files), "LSF_PROFILE",
        expected="profiles for every slice with data", found=found,
        remedy="Add the missing profiles, or leave these IFUs out.",
    )  # fmt: skip


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:6])) + (", ..." if len(numbers) > 6 else "")
