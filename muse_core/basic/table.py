# SPDX-License-Identifier: BSD-3-Clause
"""The pixel table of one exposure and IFU, made slice by slice from its image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.basic.sky_lines import LineFit, SkyLinePlan, WavelengthShift, combine_fits, fit_line
from muse_core.basic.spectrum import LinearSum
from muse_core.basic.twilight_cube import TwilightCube, divide_by_cube
from muse_core.detector.exposure import Image
from muse_core.detector.illum import BAND, IllumModel, fit_illum
from muse_core.detector.masters import MasterImage
from muse_core.detector.pixels import PixelMap, slice_medians
from muse_core.detector.rows import (
    RowWavelengths,
    SliceRows,
    TableExtent,
    gather_slice,
    row_wavelengths,
    slice_rows,
    table_extent,
)
from muse_core.detector.tables import NSLICE
from muse_core.framework.errors import InputError

FLAT_STEP = 1.25  # Angstrom
FLAT_MARGIN = 2.5  # Angstrom beyond the range of the table; measured against 2.8.7: 2.265 to 2.735
EVERYTHING = (-np.inf, np.inf)
CROPS = (
    ("NFM", (4750.0, 9350.0), "NFM"),
    ("WFM-AO-E", (4600.0, 9350.0), "Extended mode"),
    ("WFM-NOAO-E", (4600.0, 9350.0), "Extended mode"),
    ("WFM-AO-N", (4700.0, 9350.0), "Nominal AO mode"),
)
NOMINAL = ((4750.0, 9350.0), "Nominal mode")


def crop_range(mode: str) -> tuple[tuple[float, float], str]:
    """Wavelengths that an instrument mode keeps (Angstrom), and what the log calls it.

    >>> crop_range("WFM-AO-N")[0]
    (4700.0, 9350.0)
    """
    for start, limits, name in CROPS:
        if mode.startswith(start):
            return limits, name
    return NOMINAL


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
    if not wavelengths.lam.size:
        raise InputError("", "TRACE_TABLE", expected="slices on the detector", found="none")
    flat = None if flat_field is None else _flat_spectrum(flat_field, pixels, wavelengths, limits)
    return IfuPixels(pixels, wavelengths, limits, flat, shape)


def _flat_spectrum(
    flat_field: MasterImage, pixels: PixelMap, wavelengths: RowWavelengths, limits: tuple[float, float]
) -> FlatSpectrum:
    ny, nx = flat_field.shape
    data, dq = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.int32)
    flat_field.planes["DATA"].rows(0, ny, data)
    flat_field.planes["DQ"].rows(0, ny, dq)
    low, high = float(wavelengths.lam.min()), float(wavelengths.lam.max())
    total = LinearSum(low, FLAT_STEP, (low, high))
    for s in range(NSLICE):
        lam = wavelengths.of_slice(s)
        values, flags = np.empty(lam.size, np.float32), np.empty(lam.size, np.int32)
        gather_slice(data, data, dq, pixels.first[s], pixels.last[s], values, values, flags)
        total.add(lam, values, values, (flags == 0) & np.isfinite(values))
    spectrum = total.spectrum()
    place = spectrum.lam
    keep = spectrum.filled & (place >= limits[0] - FLAT_MARGIN) & (place <= limits[1] + FLAT_MARGIN)
    return FlatSpectrum(place[keep], spectrum.data[keep])


def find_shift(image: Image, shared: IfuPixels, plan: SkyLinePlan) -> WavelengthShift:
    """Fit the sky lines that lie in the range of the table."""
    pixels, wavelengths = shared.pixels, shared.wavelengths
    low, high = float(wavelengths.lam.min()), float(wavelengths.lam.max())
    fits = []
    for line in plan.lines:
        if not low <= line <= high or not plan.half_width >= 0:
            continue
        window = np.float32(line - plan.half_width), np.float32(line + plan.half_width)
        fits.append(_fit_window(line, image, pixels, wavelengths, window, low, plan))
    return combine_fits([fit for fit in fits if fit is not None], plan)


def _fit_window(
    line: float,
    image: Image,
    pixels: PixelMap,
    wavelengths: RowWavelengths,
    window: tuple[np.float32, np.float32],
    lam_min: float,
    plan: SkyLinePlan,
) -> LineFit | None:
    parts = []
    for s in range(NSLICE):
        lam = wavelengths.of_slice(s)
        inside = (lam >= window[0]) & (lam <= window[1])
        if inside.any():
            columns = (
                np.empty(lam.size, np.float32),
                np.empty(lam.size, np.float32),
                np.empty(lam.size, np.int32),
            )
            gather_slice(*image, pixels.first[s], pixels.last[s], *columns)
            parts.append((lam[inside], *(column[inside] for column in columns)))
    if not parts:
        return None
    lam, data, stat, dq = (np.concatenate(column) for column in zip(*parts, strict=True))
    return fit_line(line, lam, data, stat, dq, lam_min, plan)


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
    image: Image
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

    def slice(self, s: int) -> SliceRows:
        """Rows of slice number ``s`` (from 0), all corrections applied."""
        factor = 1.0 if self.illum is None else float(self.illum.factors[s])
        rows = slice_rows(
            self.image, self.shared.pixels, s, self.wavelengths.of_slice(s), self.shared.limits, factor
        )
        for cube in self.cubes:
            divide_by_cube(rows.xpos, rows.ypos, rows.lam, rows.data, rows.stat, cube)
        return rows

    def slices(self) -> Iterator[SliceRows]:
        """All slices that have rows."""
        for number in self.extent.slices:
            yield self.slice(number - 1)


def make_table(
    image: Image,
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
    lam = (shared.wavelengths.lam + np.float64(shift.value)).astype(np.float32)
    wavelengths = RowWavelengths(lam, shared.wavelengths.starts)
    extent = table_extent(shared.pixels, wavelengths, shared.limits)
    if not extent.rows.any():
        raise InputError("", "wavelengths", found="no pixel in the range that is kept; use crop=false")
    limits = float(extent.limits[4]), float(extent.limits[5])
    if int(extent.rows.sum()) == lam.size:
        # measured against 2.8.7: the header is brought up to date only where rows are cut
        limits = float(shared.wavelengths.lam.min()), float(shared.wavelengths.lam.max())
    return IfuTable(shared, image, wavelengths, shift, extent, limits, illum, cubes)


def illum_model(lamp: Image, shared: IfuPixels) -> IllumModel | None:
    """Relative illumination of the slices; flagged pixels count, wavelengths are not shifted (2.8.7).

    None if the detector sees nothing of the band in which the slices are compared.
    """
    medians = slice_medians(lamp.data, shared.pixels, *BAND)
    return None if np.isnan(medians).all() else fit_illum(medians)
