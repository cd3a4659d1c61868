# SPDX-License-Identifier: BSD-3-Clause
"""The pixel table of one exposure and IFU, made slice by slice from its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from muse_core.basic.sky_lines import LineFit, SkyLinePlan, WavelengthShift, combine_fits, fit_line
from muse_core.basic.slice_shifts import combine_slices, slice_offset
from muse_core.basic.spectrum import LinearSum
from muse_core.basic.twilight_cube import TwilightCube, divide_by_cube
from muse_core.detector.illum import IllumModel
from muse_core.detector.image import DetectorImage, Image, Window
from muse_core.detector.masters import MasterImage
from muse_core.detector.pixels import PixelMap
from muse_core.detector.rows import (
    RowWavelengths,
    SliceRows,
    TableExtent,
    gather_slice,
    row_wavelengths,
    slice_rows,
    slice_windows,
    table_extent,
)
from muse_core.detector.tables import NSLICE
from muse_core.framework.errors import InputError

FLAT_ROWS = 128  # of the flat field that are read together
FLAT_STEP = 1.25  # Angstrom
FLAT_MARGIN = 2.5  # Angstrom beyond the range of the table; measured against 2.8.7: 2.265 to 2.735
EVERYTHING = (-np.inf, np.inf)


@dataclass(frozen=True)
class FlatSpectrum:
    """Mean spectrum of the master flat: wavelength and value (float64[n])."""

    lam: npt.NDArray[np.float64]
    data: npt.NDArray[np.float64]


@dataclass(frozen=True)
class IfuPixels:
    """What all exposures of an IFU share: where its pixels look, and the spectrum of its flat field.

    Attributes
    ----------
    pixels : PixelMap
    wavelengths : RowWavelengths
        Not shifted.
    limits : tuple of float
        Wavelengths that are kept.
    flat : FlatSpectrum or None
    shape : tuple of int
        Of the image.
    """

    pixels: PixelMap
    wavelengths: RowWavelengths
    limits: tuple[float, float]
    flat: FlatSpectrum | None
    shape: tuple[int, int]


def ifu_pixels(
    pixels: PixelMap, limits: tuple[float, float], shape: tuple[int, int], flat_field: MasterImage | None
) -> IfuPixels:
    """Work out the wavelengths of an IFU, and read its flat field for the spectrum."""
    wavelengths = row_wavelengths(pixels)
    if not wavelengths.size:
        raise InputError(
            "", "TRACE_TABLE, WAVECAL_TABLE", expected="slices of both on the detector", found="none"
        )
    flat = None if flat_field is None else _flat_spectrum(flat_field, pixels, wavelengths, limits)
    return IfuPixels(pixels, wavelengths, limits, flat, shape)


def _flat_spectrum(
    flat_field: MasterImage, pixels: PixelMap, wavelengths: RowWavelengths, limits: tuple[float, float]
) -> FlatSpectrum:
    ny, nx = flat_field.shape
    low, high = wavelengths.limits
    total = LinearSum(low, FLAT_STEP, (low, high))
    data, dq = np.empty((FLAT_ROWS, nx), np.float32), np.empty((FLAT_ROWS, nx), np.int32)
    for y0 in range(0, ny, FLAT_ROWS):
        y1 = min(y0 + FLAT_ROWS, ny)
        flat_field.planes["DATA"].rows(y0, y1, data[: y1 - y0])
        flat_field.planes["DQ"].rows(y0, y1, dq[: y1 - y0])
        for s in range(NSLICE):
            edges = pixels.first[s, y0:y1], pixels.last[s, y0:y1]
            total.add_image(data, dq, edges, wavelengths.of_slice(s, (y0, y1)))
    spectrum = total.spectrum()
    place = spectrum.lam
    keep = spectrum.filled & (place >= limits[0] - FLAT_MARGIN) & (place <= limits[1] + FLAT_MARGIN)
    return FlatSpectrum(place[keep], spectrum.data[keep])


@dataclass(frozen=True)
class LineRows:
    """Rows of the window of a sky line, in the order of the table: float32[n], ``dq`` int32[n].

    ``slices`` (int64[n]): number of the slice, from 0.
    """

    lam: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]
    slices: npt.NDArray[np.int64]


def line_rows(
    image: DetectorImage, wavelengths: RowWavelengths, low: np.float32, high: np.float32
) -> LineRows | None:
    """Collect the rows between two wavelengths (both included); None if there are none."""
    pixels = wavelengths.pixels
    parts = []
    for s in range(NSLICE):
        y0, y1 = wavelengths.rows_between(s, low, high)
        if y0 == y1:
            continue
        first, last = pixels.first[s, y0:y1], pixels.last[s, y0:y1]
        window = Window(y0, y1, int(first.min()) - 1, int(last.max()))
        lam = wavelengths.of_slice(s, (y0, y1))
        inside = (lam >= low) & (lam <= high)
        columns = (np.empty(lam.size, kind) for kind in (np.float32, np.float32, np.int32))
        found = *columns, np.full(lam.size, s)
        gather_slice(*image.window(window), window.x0, first, last, *found[:3])
        parts.append((lam[inside], *(column[inside] for column in found)))
    if not parts:
        return None
    return LineRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def find_shift(image: DetectorImage, shared: IfuPixels, plan: SkyLinePlan) -> WavelengthShift:
    """Fit the sky lines that lie in the range of the table; others are only counted."""
    wavelengths = shared.wavelengths
    low, high = wavelengths.limits
    fits: list[LineFit] = []
    absent: list[float] = []
    windows: list[LineRows] = []
    for line in plan.lines:
        rows = None
        if low <= line <= high and plan.half_width >= 0:
            ends = np.float32(line - plan.half_width), np.float32(line + plan.half_width)
            rows = line_rows(image, wavelengths, *ends)
        if rows is None:
            absent.append(line)
        else:
            fits.append(fit_line(line, rows.lam, rows.data, rows.stat, rows.dq, low, plan))
            if plan.by_slice:
                windows.append(rows)
    shift = combine_fits(fits, plan, tuple(absent))
    return _with_slices(shift, windows, plan) if plan.by_slice else shift


def _with_slices(shift: WavelengthShift, windows: list[LineRows], plan: SkyLinePlan) -> WavelengthShift:
    """Refine the slices by the lines that are there, or tell why they stay."""
    offsets, errors = [], []
    for fit, rows in zip(shift.fits, windows, strict=True):
        if fit.doubt(plan.half_width):
            continue
        found = np.full((2, NSLICE), np.nan)
        good = rows.dq == 0
        columns = [column.astype(np.float64) for column in (rows.lam, rows.data, rows.stat)]
        for s in range(NSLICE):
            own = good & (rows.slices == s)
            found[:, s] = slice_offset(fit, *(column[own] for column in columns))
        offsets.append(found[0])
        errors.append(found[1])
    if not offsets:
        return replace(shift, slices=np.zeros(NSLICE), unmoved="no sky line could be used")
    slices = combine_slices(offsets, errors)
    unmoved = "" if slices.measured.any() else "no slice shows a sky line well enough"
    return replace(shift, slices=slices.values, unmoved=unmoved)


@dataclass(frozen=True)
class IfuTable:
    """A pixel table that is made when it is asked for, slice by slice.

    Attributes
    ----------
    shared : IfuPixels
    image : Image
        Calibrated.
    wavelengths : RowWavelengths
        Shifted.
    shift : WavelengthShift
    extent : TableExtent
        Of the rows that are kept.
    lambda_limits : tuple of float
        Smallest and largest wavelength as the header tells them.
    illum : IllumModel or None
    cubes : tuple of TwilightCube
    """

    shared: IfuPixels
    image: DetectorImage
    wavelengths: RowWavelengths
    shift: WavelengthShift
    extent: TableExtent
    lambda_limits: tuple[float, float]
    illum: IllumModel | None
    cubes: tuple[TwilightCube, ...]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.extent.rows.sum())

    def slice(self, s: int, part: Image, x0: int) -> SliceRows:
        """Rows of slice number ``s`` (from 0), all corrections applied.

        Parameters
        ----------
        s : int
        part : Image
            All rows of the detector, from column ``x0`` on.
        x0 : int
        """
        factor = 1.0 if self.illum is None else float(self.illum.factors[s])
        lam = self.wavelengths.of_slice(s)
        rows = slice_rows(part, self.shared.pixels, s, lam, self.shared.limits, factor, x0)
        for cube in self.cubes:
            divide_by_cube(rows.xpos, rows.ypos, rows.lam, rows.data, rows.stat, cube)
        return rows

    def slices(self) -> Iterator[SliceRows]:
        """All slices that have rows."""
        wanted = set(self.extent.slices)
        for numbers, window in slice_windows(self.shared.pixels):
            part = self.image.window(window)
            for s in numbers:
                if s + 1 in wanted:
                    yield self.slice(s, part, window.x0)


def make_table(
    image: DetectorImage,
    shared: IfuPixels,
    plan: SkyLinePlan,
    illum: IllumModel | None = None,
    cubes: tuple[TwilightCube, ...] = (),
) -> IfuTable:
    """Refine the wavelengths and settle which rows are kept.

    Raises
    ------
    InputError
        If none is.
    """
    shift = find_shift(image, shared, plan)
    moved = np.full(NSLICE, shift.value)
    if shift.slices is not None:
        moved += shift.slices
    wavelengths = shared.wavelengths.shifted(moved)
    extent = table_extent(shared.pixels, wavelengths, shared.limits)
    if not extent.rows.any():
        raise InputError("", "wavelengths", found="no pixel in the range that is kept; use crop=false")
    limits = float(extent.limits[4]), float(extent.limits[5])
    if int(extent.rows.sum()) == wavelengths.size:
        # measured against 2.8.7: the header is brought up to date only where rows are cut
        limits = shared.wavelengths.limits
    return IfuTable(shared, image, wavelengths, shift, extent, limits, illum, cubes)
