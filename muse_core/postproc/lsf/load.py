# SPDX-License-Identifier: BSD-3-Clause
"""Reading LSF_PROFILE files in every layout the C pipeline reads.

Image flavour: one file per IFU (primary EXTNAME ``CHANnn``, image extension ``LSF_PROFILE``) or one file
with the extensions ``CHANnn.LSF_PROFILE``.  Table flavour: extension ``SLICE_PARAM`` with the columns ifu
and slice (one or several IFUs in a file, one or several files), or the extensions ``CHANnn.SLICE_PARAM``.
As in the C pipeline all files are first tried as images, and only if there is none as tables; of several
profiles of a slice the first one counts (measured against 2.8.7).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from muse_core.data.slices import N_IFU, N_SLICE, slice_key
from muse_core.data.stored_image import StoredImage, is_image, name_of
from muse_core.framework import InputError
from muse_core.framework.fits_file import open_fits, open_units
from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.tables import LsfTable

if TYPE_CHECKING:
    from astropy.io import fits

    from muse_core.framework.fits_layout import Unit

REMEDY = "Give the LSF_PROFILE that muse_lsf made for these IFUs."
CHANNEL = re.compile(r"^CHAN(\d\d)(?:\.(\w+))?$")
WIDEST_A = 100.0
"""Of a slit or a bin, and far beyond any of MUSE."""
PROBED = (4750.0, 7000.0, 9350.0)
"""Wavelengths [Angstrom] at which the shapes of profiles are looked at."""
SHAPES = (
    ("lsf_width", 0.0, 100.0), ("hermit3", -10.0, 10.0), ("hermit4", -10.0, 10.0), ("hermit5", -10.0, 10.0),
    ("hermit6", -10.0, 10.0),
)  # fmt: skip
"""Columns, and what their polynomials lie between (Angstrom, and moments beside an area of 1)."""
PARAMETERS = ("slit_width", "bin_width", "lsf_width", "hermit3", "hermit4", "hermit5", "hermit6")


def load_lsf(paths: Sequence[str | Path]) -> LsfImage | LsfTable:
    """Read the LSF_PROFILE files of a run.

    Returns
    -------
    LsfImage or LsfTable; both have ``ifus``, ``row`` (-1 for slices without profile) and ``reach``.
    """
    if not paths:
        raise InputError("", "LSF_PROFILE", expected="one or more files", found="none", remedy=REMEDY)
    seen: list[str] = []
    cubes: dict[int, tuple[Path, npt.NDArray, dict[str, float]]] = {}
    repeated: set[int] = set()
    for path in map(Path, paths):
        with open_units(path, item="LSF_PROFILE") as (stream, units):
            first = name_of(units[0])
            for unit in units:
                seen.append(f"{path.name}[{name_of(unit)}]")
                ifu, kind = _channel(name_of(unit))
                if (kind or name_of(unit)) != "LSF_PROFILE" or not is_image(unit):
                    continue
                number = ifu or _channel(first)[0]
                if number is None:
                    raise InputError(
                        path, "EXTNAME of the primary header", expected="CHAN01 .. CHAN24",
                        found=first, remedy=REMEDY,
                    )  # fmt: skip
                if number in cubes:
                    repeated.add(number)
                else:
                    cubes[number] = (path, *_cube(path, stream, unit))
    if cubes:
        return _image_flavour(cubes, repeated)
    tables = [table for path in map(Path, paths) for table in _tables(path)]
    if tables:
        return _table_flavour(tables)
    raise InputError(
        "", "LSF_PROFILE", expected="image extensions LSF_PROFILE or tables SLICE_PARAM",
        found=", ".join(seen), remedy=REMEDY,
    )  # fmt: skip


def _tables(path: Path) -> Iterator[tuple[Path, int | None, fits.FITS_rec]]:
    """Yield the tables of a file with the IFU that their names tell."""
    from astropy.io import fits

    with open_fits(path, item="LSF_PROFILE") as hdus:
        for hdu in hdus:
            ifu, kind = _channel(hdu.name)
            if (kind or hdu.name) == "SLICE_PARAM" and isinstance(hdu, fits.BinTableHDU):
                yield path, ifu, hdu.data.copy()


def _channel(name: str) -> tuple[int | None, str | None]:
    """Split an extension name like CHAN07.LSF_PROFILE into IFU number and rest."""
    match = CHANNEL.match(name.strip())
    if not match or not 1 <= int(match[1]) <= N_IFU:
        return None, None
    return int(match[1]), match[2]


def _cube(path: Path, stream: BinaryIO, unit: Unit) -> tuple[npt.NDArray[np.float32], dict[str, float]]:
    image, name = StoredImage.of(stream, unit), name_of(unit)
    shape = image.shape
    if len(shape) != 3 or shape[0] != N_SLICE or shape[1] < 1 or shape[2] < 2:
        raise InputError(
            path, f"{name}: image size", expected=f"(offsets, wavelengths, {N_SLICE} slices)",
            found=shape[::-1] or None, remedy=REMEDY,
        )  # fmt: skip
    data = np.empty(shape, np.float32)
    image.fill(0, data.reshape(-1))
    if not np.isfinite(data).all():
        raise InputError(
            path, f"{name}: values", expected="finite numbers",
            found=f"{int((~np.isfinite(data)).sum())} NaN or infinite ones", remedy=REMEDY,
        )  # fmt: skip
    wcs: dict[str, float] = {}
    for axis in (1, 2):
        step = unit.get(f"CD{axis}_{axis}", unit.get(f"CDELT{axis}"))
        given = (unit.get(f"CRVAL{axis}"), step, unit.get(f"CRPIX{axis}", 1.0))
        numbers = [float(value) for value in given if isinstance(value, int | float)]
        if len(numbers) < len(given) or not np.isfinite(numbers).all() or not numbers[1] > 0:
            raise InputError(
                path, f"{name}: CRVAL{axis}, CD{axis}_{axis}, CRPIX{axis}",
                expected="numbers, the step positive", found=", ".join(map(str, given)), remedy=REMEDY,
            )  # fmt: skip
        start, wcs[f"step{axis}"], pixel = numbers
        wcs[f"first{axis}"] = start + (1.0 - pixel) * wcs[f"step{axis}"]
    return data, wcs


def _image_flavour(
    cubes: dict[int, tuple[Path, npt.NDArray, dict[str, float]]], repeated: set[int]
) -> LsfImage:
    first_path, first_cube, wcs = cubes[min(cubes)]
    row = np.full(N_IFU * N_SLICE, -1, dtype=np.int32)
    n_lambda, n_offset = first_cube.shape[1:]
    samples = np.zeros((len(cubes) * N_SLICE, n_lambda, n_offset + 2), np.float32)  # see `pad_samples`
    for number, ifu in enumerate(sorted(cubes)):
        path, cube, own = cubes[ifu]
        same_grid = all(abs(own[key] - wcs[key]) <= 1e-9 * max(1.0, abs(wcs[key])) for key in wcs)
        if cube.shape != first_cube.shape or not same_grid:
            raise InputError(
                path, "LSF_PROFILE: grid", expected=f"the size and coordinates of {first_path.name}",
                found=f"{cube.shape[::-1]}, {own}", remedy="Use profiles of one run of muse_lsf.",
            )  # fmt: skip
        rows = slice(number * N_SLICE, (number + 1) * N_SLICE)
        row[slice_key(ifu, 1) : slice_key(ifu, N_SLICE) + 1] = np.arange(rows.start, rows.stop)
        samples[rows, :, 1:-1] = cube
    grid = (wcs["first1"], wcs["step1"], wcs["first2"], wcs["step2"])
    return LsfImage(samples, *grid, row, tuple(sorted(repeated)))


def _table_flavour(tables: list[tuple[Path, int | None, fits.FITS_rec]]) -> LsfTable:
    row = np.full(N_IFU * N_SLICE, -1, dtype=np.int32)
    values: dict[str, list[npt.NDArray]] = {name: [] for name in PARAMETERS}
    repeated: set[int] = set()
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
        given = {name: table[names[name]] for name in ("ifu", "slice", *PARAMETERS) if name in names}
        for i in range(len(table)):
            ifu = int(given["ifu"][i]) if "ifu" in given else int(channel or 0)
            number = int(given["slice"][i])
            if not (1 <= ifu <= N_IFU and 1 <= number <= N_SLICE):
                raise InputError(
                    path, "SLICE_PARAM: columns ifu, slice", expected="1..24 and 1..48",
                    found=f"{ifu}, {number}", remedy=REMEDY,
                )  # fmt: skip
            if row[slice_key(ifu, number)] >= 0:
                repeated.add(ifu)
                continue
            row[slice_key(ifu, number)] = n
            for name in PARAMETERS:
                values[name].append(np.atleast_1d(np.asarray(given[name][i], dtype=np.float64)))
            n += 1
    if n == 0:
        raise InputError(
            tables[0][0], "SLICE_PARAM", expected="a row for each slice", found="no rows", remedy=REMEDY
        )
    without = [name for name, rows in values.items() if any(np.isnan(row).all() for row in rows)]
    if without:
        raise InputError(
            tables[0][0], f"SLICE_PARAM: columns {', '.join(without)}", expected="numbers in each row",
            found="rows without", remedy=REMEDY,
        )  # fmt: skip
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
    made = LsfTable(
        row, columns["slit_width"][:, 0], columns["bin_width"][:, 0], columns["lsf_width"],
        tuple(columns[f"hermit{k}"] for k in (3, 4, 5, 6)), tuple(sorted(repeated)),
    )  # fmt: skip
    _check_shapes(made, tables[0][0])
    return made


def _check_shapes(lsf: LsfTable, path: Path) -> None:
    """Refuse profiles of no width, or of a shape that is no line."""
    with np.errstate(over="ignore", invalid="ignore"):
        shapes = lsf.parameters(PROBED)[:, :, 2:]
    for number, (name, low, high) in enumerate(SHAPES):
        values = shapes[:, :, number]
        wrong = values[~((values > low) & (values < high))]
        if wrong.size:
            raise InputError(
                path, f"SLICE_PARAM: column {name}", expected=f"polynomials between {low:g} and {high:g}",
                found=f"{wrong[0]:.3g} at a wavelength of MUSE", remedy=REMEDY,
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
