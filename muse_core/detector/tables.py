# SPDX-License-Identifier: BSD-3-Clause
"""Calibration tables of the detector: bad pixels, traces, wavelengths, geometry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.detector.fitsfile import extensions, opened
from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import number_column

NSLICE = 48
IFUS = range(1, 25)
FAILED = 0  # SliceNo of a slice without polynomials
CHANNEL = re.compile(r"^CHAN(\d\d)$")


@dataclass(frozen=True)
class BadPixels:
    """Known bad pixels of one IFU; ``x, y`` are 1-based positions on the untrimmed frame."""

    x: np.ndarray
    y: np.ndarray
    status: np.ndarray


@dataclass(frozen=True)
class SliceGeometry:
    """Place of the slices of one IFU in the field; arrays float64[48], angle in radians."""

    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    width: np.ndarray


def _column(table: fits.BinTableHDU, name: str, path: Path, item: str) -> np.ndarray:
    if name not in table.columns.names:
        raise InputError(
            path, item, expected=f"a column {name}", found=f"columns {', '.join(table.columns.names)[:60]}"
        )
    return number_column(path, table, name, item=item)


def _channel_tables(
    paths: Iterable[str | Path],
    read: Callable[[fits.BinTableHDU, Path, str], Any],
    faults: dict[int, list[InputError]] | None,
) -> dict[int, list[Any]]:
    """Apply ``read(hdu, path, item)`` to each table CHANnn (or the table of a file with that EXTNAME)."""
    found: dict[int, list[Any]] = {}
    source: dict[int, Path] = {}
    for path in map(Path, paths):
        with opened(path, memmap=False) as hdus:
            names = [h for _, h in extensions(hdus) if isinstance(h, fits.BinTableHDU)]
            single = CHANNEL.match(str(hdus[0].header.get("EXTNAME", "")))
            any_found = False
            for hdu in names:
                match = CHANNEL.match(hdu.name) or single
                if not match:
                    continue
                any_found = True
                ifu = int(match[1])
                item = f"CHAN{ifu:02d}"
                if ifu in source and faults is not None:
                    raise InputError(
                        path, item, expected="every IFU once", found=f"the IFU in {source[ifu].name}, too"
                    )
                source[ifu] = path
                try:
                    found.setdefault(ifu, []).append(read(hdu, path, item))
                except InputError as error:
                    if faults is None:
                        raise
                    faults.setdefault(ifu, []).append(error)
            if not any_found:
                raise InputError(path, "extensions", expected="tables CHAN01 to CHAN24", found="none of them")
    return found


def _by_slice(hdu: fits.BinTableHDU, path: Path, item: str) -> np.ndarray:
    """Row of each slice (int64[48]), -1 for a slice that failed: no row has its number."""
    number = _column(hdu, "SliceNo", path, item)
    rows = np.full(NSLICE, -1)
    double = []
    for row, value in enumerate(number):
        if not np.isfinite(value) or value == FAILED:
            continue
        s = int(value) - 1
        if value != s + 1 or not 0 <= s < NSLICE or rows[s] >= 0:
            double.append(f"{value:g}")
            continue
        rows[s] = row
    if double or (rows < 0).all():
        raise InputError(
            path,
            f"{item} SliceNo",
            expected="each of the slices 1 to 48 at most once, and one at least",
            found=f"other or double numbers: {', '.join(double[:5])}" if double else "no slice",
        )
    return rows


def _of_slices(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the values of the slices (float64[48]), NaN for one that failed."""
    return np.where(rows >= 0, values[rows], np.nan)


def file_of(tag: str, paths: Sequence[Path], ifu: int) -> Path | str:
    """Return the file that the table of an IFU is in, for a message; the tag where names do not tell it."""
    own = [path for path in paths if path.stem.endswith(f"-{ifu:02d}")] or paths
    return own[0] if len(own) == 1 else tag


def missing_ifu(tag: str, paths: Sequence[Path], ifu: int) -> InputError:
    """Return the error that no file of a tag has an IFU; it names the files where they are few."""
    names = ", ".join(map(str, paths)) if len(paths) <= 3 else f"{len(paths)} files"
    return InputError("", f"no {tag} with CHAN{ifu:02d} among the inputs", found=names)


def lost_slices(*polynomials: np.ndarray) -> np.ndarray:
    """Tell which slices have no coefficient in one of some tables (bool[48]): they failed there."""
    lost = np.zeros(NSLICE, bool)
    for table in polynomials:
        lost |= np.isnan(table).reshape(NSLICE, -1).all(axis=1)
    return lost


def read_traces(
    paths: Iterable[str | Path], faults: dict[int, list[InputError]] | None
) -> dict[int, np.ndarray]:
    """Edge polynomials: float64[48, 2, n], ascending powers of the 1-based row, left then right edge."""
    return read_trace_polynomials(paths, faults, (1, 2))


def read_trace_polynomials(
    paths: Iterable[str | Path], faults: dict[int, list[InputError]] | None, which: Sequence[int]
) -> dict[int, np.ndarray]:
    """Polynomials of slices, ascending powers of the 1-based row: float64[48, len(which), n].

    ``which``: 0 for the middle of the slice, 1 for the left edge, 2 for the right one; NaN for slices that
    failed.
    """

    def read(hdu: fits.BinTableHDU, path: Path, item: str) -> Any:
        rows = _by_slice(hdu, path, item)
        lines = []
        for line in which:
            powers = sorted(int(c[4:]) for c in hdu.columns.names if re.fullmatch(rf"tc{line}_\d\d", c))
            if not powers or powers != list(range(len(powers))):
                raise InputError(
                    path, item, expected=f"columns tc{line}_00 upwards", found=f"{len(powers)} of them"
                )
            lines.append([_of_slices(_column(hdu, f"tc{line}_{k:02d}", path, item), rows) for k in powers])
        size = max(map(len, lines))
        out = np.zeros((NSLICE, len(lines), size))
        for i, columns in enumerate(lines):
            out[:, i, : len(columns)] = np.transpose(columns)
        out[rows < 0] = np.nan
        return out

    return {ifu: tables[0] for ifu, tables in _channel_tables(paths, read, faults).items() if tables}


def read_wavecals(
    paths: Iterable[str | Path], faults: dict[int, list[InputError]] | None
) -> dict[int, np.ndarray]:
    """Wavelength polynomials: float64[48, nx, ny], coefficient of ``x**i y**j`` (1-based pixels).

    NaN for slices that failed.
    """

    def read(hdu: fits.BinTableHDU, path: Path, item: str) -> Any:
        rows = _by_slice(hdu, path, item)
        powers = [(int(c[3]), int(c[4])) for c in hdu.columns.names if re.fullmatch(r"wlc\d\d", c)]
        if not powers:
            raise InputError(path, item, expected="columns wlcij", found="none")
        out = np.zeros((NSLICE, max(p[0] for p in powers) + 1, max(p[1] for p in powers) + 1))
        for i, j in powers:
            out[:, i, j] = _of_slices(_column(hdu, f"wlc{i}{j}", path, item), rows)
        out[rows < 0] = np.nan
        return out

    return {ifu: tables[0] for ifu, tables in _channel_tables(paths, read, faults).items() if tables}


def read_badpix(paths: Iterable[str | Path]) -> dict[int, list[BadPixels]]:
    """Bad-pixel lists of all IFUs; several files may add to one IFU."""

    def read(hdu: fits.BinTableHDU, path: Path, item: str) -> Any:
        x, y, status = (_column(hdu, c, path, item).astype(np.int64) for c in ("xpos", "ypos", "status"))
        return BadPixels(x, y, status.astype(np.int32))

    return _channel_tables(paths, read, None)


def read_geometry(path: Path | str) -> tuple[dict[int, SliceGeometry], dict[int, InputError]]:
    """Field positions of all slices, and what is wrong with single IFUs.

    Raises
    ------
    InputError
        If the table as a whole cannot be used.
    """
    path = Path(path)
    with opened(path, memmap=False) as hdus:
        tables = [h for _, h in extensions(hdus) if isinstance(h, fits.BinTableHDU)]
        if not tables:
            raise InputError(path, "extensions", expected="a geometry table", found="no table")
        column = {
            name: _column(tables[0], name, path, "GEOMETRY_TABLE")
            for name in ("SubField", "SliceCCD", "x", "y", "angle", "width")
        }
    for name in ("SubField", "SliceCCD"):
        if not np.isfinite(column[name]).all():
            raise InputError(path, f"column {name}", expected="a number in each row", found="none in some")
    found, faults = {}, {}
    for ifu in sorted({int(v) for v in column["SubField"]}):
        rows = column["SubField"] == ifu
        slices = column["SliceCCD"][rows].astype(int)
        item = f"IFU {ifu} (SubField)"
        if sorted(slices) != list(range(1, NSLICE + 1)):
            missing = sorted(set(range(1, NSLICE + 1)) - set(slices))
            text = f"missing {missing[:5]}" if missing else "a slice twice"
            faults[ifu] = InputError(
                path, f"{item} SliceCCD", expected="slices 1 to 48 once each", found=text
            )
            continue
        order = np.argsort(slices)
        x, y, angle, width = (column[c][rows][order] for c in ("x", "y", "angle", "width"))
        if not np.all(np.isfinite([x, y, angle, width])) or np.any(width <= 0):
            faults[ifu] = InputError(
                path, f"{item} x, y, angle, width", expected="finite values, width > 0", found="others"
            )
            continue
        found[ifu] = SliceGeometry(x, y, np.deg2rad(angle), width)
    return found, faults


def check_traces(trace: np.ndarray, shape: tuple[int, int], path: Path | str, ifu: int) -> None:
    """Slices that did not fail must lie on the detector, with the right edge right of the left one."""
    rows = np.linspace(1, shape[0], 64)
    powers = rows[:, None] ** np.arange(trace.shape[2])
    edges = np.einsum("sek,rk->ser", trace, powers)
    lost = lost_slices(trace)
    bad = ~np.isfinite(edges).all(axis=(1, 2)) | lost.all()
    bad |= (edges[:, 0] < -1).any(axis=1) | (edges[:, 1] > shape[1] + 2).any(axis=1)
    bad |= (edges[:, 1] - edges[:, 0] < 1).any(axis=1) | (edges[:, 1] - edges[:, 0] > 120).any(axis=1)
    bad &= ~lost | lost.all()
    if bad.any():
        raise InputError(
            path,
            f"CHAN{ifu:02d} slice {int(np.flatnonzero(bad)[0]) + 1}",
            expected=f"edges between 1 and {shape[1]}, left < right",
            found=f"edges leaving the detector in {int(bad.sum())} slices",
            remedy="trace table and detector must belong together",
        )


IN_ANGSTROM = 3000.0, 12000.0
"""Where the middle of a slice lies with certainty; elsewhere the unit is another one."""


def check_wavecal(
    wave: np.ndarray, trace: np.ndarray, shape: tuple[int, int], path: Path | str, ifu: int
) -> None:
    """Wavelength must be finite and rise along each slice that did not fail."""
    rows = np.linspace(1, shape[0], 64)
    left = np.einsum("sk,rk->sr", trace[:, 0], rows[:, None] ** np.arange(trace.shape[2]))
    lam = np.zeros((NSLICE, rows.size))
    for i in range(wave.shape[1]):
        lam += left**i * np.einsum("sk,rk->sr", wave[:, i], rows[:, None] ** np.arange(wave.shape[2]))
    lost = lost_slices(trace, wave)
    nowhere = ~np.isfinite(left).all(axis=1) & ~lost
    if nowhere.any():
        raise InputError(
            "",
            f"TRACE_TABLE CHAN{ifu:02d} slice {int(np.flatnonzero(nowhere)[0]) + 1}",
            expected="finite coefficients, or none",
            found=f"others in {int(nowhere.sum())} slices",
        )
    bad = ~np.isfinite(lam).all(axis=1) | (np.diff(lam, axis=1) <= 0).any(axis=1)
    bad &= ~lost | lost.all()
    if bad.any():
        raise InputError(
            path,
            f"CHAN{ifu:02d} slice {int(np.flatnonzero(bad)[0]) + 1}",
            expected="wavelengths that rise with y",
            found=f"a wavelength that is not monotonic in {int(bad.sum())} slices",
        )
    middle = np.median(lam[~lost], axis=1)
    away = (middle < IN_ANGSTROM[0]) | (middle > IN_ANGSTROM[1])
    if away.any():
        raise InputError(
            path,
            f"CHAN{ifu:02d} slice {int(np.flatnonzero(~lost)[away][0]) + 1}",
            expected="wavelengths in Angstrom, within the range of MUSE",
            found=f"{float(middle[away][0]):.4g} in the middle of the detector",
        )
