# SPDX-License-Identifier: BSD-3-Clause
"""Field-of-view images: the cube collapsed along wavelength through filter curves.

An image is the throughput-weighted mean of the finite voxels of each spaxel.  The sums are kept per
image and fed plane by plane in wavelength order, so the result does not depend on how the planes are
cut into slabs.  Measured against the C pipeline 2.8.7: the built-in filter "white" is a box from 4650
to 9300 Angstrom (planes outside do not count), throughputs are interpolated at the true wavelength of
a plane (also with a logarithmic axis) and are zero outside the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from muse_core.data.header_values import get_float, seven_digits
from muse_core.framework import InputError
from muse_core.framework.fits_file import number_column, open_fits
from muse_core.framework.kernels import njit
from muse_core.resampling.cube_cards import image_cards, plane_wavelengths, wavelength_of_plane

LONGEST = 1e6
"""Angstrom; the coverage of a filter is summed in steps of one."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from muse_core.resampling.grid import OutputGrid

WHITE = "white"


@dataclass(frozen=True)
class Filter:
    """One filter curve with its optional magnitude zero points."""

    name: str
    wavelength: npt.NDArray[np.float64]
    throughput: npt.NDArray[np.float64]
    zp_vega: float | None = None
    zp_ab: float | None = None

    def at(self, wavelength: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Throughput at some wavelengths (Angstrom), zero outside the table."""
        return np.interp(
            np.asarray(wavelength, np.float64), self.wavelength, self.throughput, left=0.0, right=0.0
        )

    def coverage(self, low: float, high: float) -> float:
        """Part of the filter, in percent, between two wavelengths.

        The curve is summed in steps of 1 Angstrom that start at its first node; this rule reproduces
        the keyword FILTER FRACTION of the C pipeline to its seven digits.
        """
        nodes = self.wavelength[0] + np.arange(np.floor(self.wavelength[-1] - self.wavelength[0]) + 1.0)
        curve = self.at(nodes)
        total = curve.sum()
        if not total > 0.0:
            return 0.0
        return float(100.0 * curve[(nodes >= low) & (nodes <= high)].sum() / total)


def white_filter() -> Filter:
    """Return the built-in box from 4650 to 9300 Angstrom, both ends included."""
    edge = 1e-5  # the C pipeline's box covers 4650 whole Angstrom; edges below 0.0004 reproduce it
    return Filter(
        WHITE,
        np.array([4650.0 - edge, 4650.0, 9300.0, 9300.0 + edge]),
        np.array([0.0, 1.0, 1.0, 0.0]),
    )


def split_filter_names(parameter: str) -> list[str]:
    """Names in a comma-separated ``filter`` parameter, in order, without blanks and empty items."""
    return [name for name in (item.strip() for item in parameter.split(",")) if name]


def load_filters(names: Iterable[str], path: Path | str | None = None) -> tuple[list[Filter], list[str]]:
    """Look the named filters up in a FILTER_LIST file.

    Parameters
    ----------
    names : iterable of str
        Filter names; ``white`` needs no file.
    path : path, optional
        FILTER_LIST: one binary table (lambda, throughput) per filter, EXTNAME = filter name.

    Returns
    -------
    filters, missing
        The filters found, in the order asked for, and the names that are not in the file.

    Raises
    ------
    InputError
        When the file cannot be read, or a filter's table lacks a column, is empty or is not sorted by
        wavelength.
    """
    filters: list[Filter] = []
    missing: list[str] = []
    tables: dict[str, Filter] = {}
    names = list(names)
    if path is not None and any(name != WHITE for name in names):
        path = Path(path)
        with open_fits(path, item="FILTER_LIST") as hdus:
            for hdu in hdus[1:]:
                if hdu.name and isinstance(hdu, fits.BinTableHDU):
                    # hdu.name is upper case in astropy: names differ by case in FILTER_LIST files
                    extname = str(hdu.header["EXTNAME"]).strip()
                    if extname in names:
                        tables.setdefault(extname, _read_filter(path, hdu, extname))
    for name in names:
        if name == WHITE and name not in tables:
            filters.append(white_filter())
        elif name in tables:
            filters.append(tables[name])
        else:
            missing.append(name)
    return filters, missing


def _read_filter(path: Path, hdu: fits.BinTableHDU, name: str) -> Filter:
    columns = {column.lower(): column for column in hdu.columns.names}
    for needed in ("lambda", "throughput"):
        if needed not in columns:
            raise InputError(
                path, f"filter {name}", expected="columns lambda, throughput",
                found=f"no column {needed!r}", remedy="Repair this table of the FILTER_LIST.",
            )  # fmt: skip
    wavelength, throughput = (
        number_column(path, hdu, columns[key], item=f"filter {name}:") for key in ("lambda", "throughput")
    )
    if wavelength.size < 2 or not np.all(np.isfinite(wavelength)) or not np.all(np.isfinite(throughput)):
        raise InputError(
            path, f"filter {name}", expected="at least two rows of finite numbers",
            found=f"{wavelength.size} rows, some not finite" if wavelength.size > 1 else wavelength.size,
            remedy="Repair this table of the FILTER_LIST.",
        )  # fmt: skip
    if np.any(np.diff(wavelength) < 0.0):
        raise InputError(
            path, f"filter {name}", expected="increasing wavelengths", found="a table that is not sorted",
            remedy="Sort this table of the FILTER_LIST.",
        )  # fmt: skip
    if wavelength[0] < 0.0 or wavelength[-1] > LONGEST:
        raise InputError(
            path, f"filter {name}", expected=f"wavelengths of 0 to {LONGEST:g} Angstrom",
            found=f"{wavelength[0]:g} to {wavelength[-1]:g}", remedy="Convert this table to Angstrom.",
        )  # fmt: skip
    zero_points = (get_float(hdu.header, key) for key in ("ZP_VEGA", "ZP_AB"))
    return Filter(name, wavelength, throughput, *zero_points)


@njit(cache=True, nogil=True)
def add_weighted_planes(
    data: np.ndarray, plane_weight: np.ndarray, numerator: np.ndarray, denominator: np.ndarray
) -> None:
    """Add planes to the sums of one image.

    Parameters
    ----------
    data : float32[n, npix]
    plane_weight : float64[n]     throughput of each plane; planes of zero are skipped
    numerator, denominator : float64[npix]     sum(w d) and sum(w), updated in place
    """
    for k in range(data.shape[0]):
        weight = plane_weight[k]
        if weight == 0.0:
            continue
        for i in range(data.shape[1]):
            value = data[k, i]
            if np.isfinite(value):
                numerator[i] += weight * value
                denominator[i] += weight


@njit(cache=True, nogil=True)
def add_variance_weighted_planes(
    data: np.ndarray,
    stat: np.ndarray,
    plane_weight: np.ndarray,
    numerator: np.ndarray,
    denominator: np.ndarray,
) -> None:
    """Like `add_weighted_planes` with the weights divided by the variance of each voxel.

    Voxels without a positive variance are left out (they carry no information on their weight).
    """
    for k in range(data.shape[0]):
        weight = plane_weight[k]
        if weight == 0.0:
            continue
        for i in range(data.shape[1]):
            value = data[k, i]
            variance = stat[k, i]
            if np.isfinite(value) and np.isfinite(variance) and variance > 0.0:
                voxel_weight = weight / variance
                numerator[i] += voxel_weight * value
                denominator[i] += voxel_weight


class FilterImage:
    """One image in the making; see `FilterSet`."""

    def __init__(self, band: Filter, grid: OutputGrid, extra_planes: int = 0) -> None:
        self.band = band
        self.shape = (int(grid.ny), int(grid.nx))
        self.fraction = band.coverage(*covered_range(grid, extra_planes))
        self._grid = grid
        self._plane_weight = band.at(plane_wavelengths(grid))
        self._numerator = np.zeros(self.shape[0] * self.shape[1])
        self._denominator = np.zeros_like(self._numerator)

    @property
    def name(self) -> str:
        """Name of the filter."""
        return self.band.name

    @property
    def covers_any_plane(self) -> bool:
        """Whether at least one plane of the cube lies inside the filter."""
        return bool(np.any(self._plane_weight != 0.0))

    def add_planes(self, k0: int, data: np.ndarray, stat: np.ndarray | None = None) -> None:
        """Add the planes k0, k0+1, ... (float32[n, ny, nx]); with ``stat`` weighted by its inverse."""
        planes = np.ascontiguousarray(data, dtype=np.float32).reshape(len(data), -1)
        weight = self._plane_weight[k0 : k0 + len(planes)]
        if stat is None:
            add_weighted_planes(planes, weight, self._numerator, self._denominator)
        else:
            variance = np.ascontiguousarray(stat, dtype=np.float32).reshape(planes.shape)
            add_variance_weighted_planes(planes, variance, weight, self._numerator, self._denominator)

    def image(self) -> npt.NDArray[np.float32]:
        """Return the image, float32[ny, nx]; NaN where no voxel contributed."""
        result = np.full(self._numerator.shape, np.nan)
        np.divide(self._numerator, self._denominator, out=result, where=self._denominator != 0.0)
        return result.astype(np.float32).reshape(self.shape)

    def drs_cards(self) -> list[tuple[str, object, str]]:
        """Keywords of the filter: ESO DRS MUSE FILTER NAME, ZPVEGA, ZPAB, FRACTION."""
        cards: list[tuple[str, object, str]] = [("ESO DRS MUSE FILTER NAME", self.name, "filter name used")]
        if self.band.zp_vega is not None:
            cards.append(("ESO DRS MUSE FILTER ZPVEGA", float(self.band.zp_vega), "[mag] Vega-mag zeropoint"))
        if self.band.zp_ab is not None:
            cards.append(("ESO DRS MUSE FILTER ZPAB", float(self.band.zp_ab), "[mag] AB-mag zeropoint"))
        fraction = seven_digits(float(np.float32(self.fraction)))
        cards.append(("ESO DRS MUSE FILTER FRACTION", fraction, "[%] fraction of filter covered by data"))
        return cards

    def object_name(self, name: str) -> str:
        """Value of OBJECT in the primary header of the image."""
        return f"{name} ({self.name})" if name else f"({self.name})"

    def hdu(self, unit: str, sdp: bool = False) -> fits.ImageHDU:
        """DATA extension of an IMAGE_FOV product."""
        return fits.ImageHDU(self.image(), fits.Header(image_cards(self._grid, unit, sdp=sdp)))

    def hdus(self, unit: str, sdp: bool = False) -> list[fits.ImageHDU]:
        """All extensions of an IMAGE_FOV product."""
        return [self.hdu(unit, sdp)]


class FilterSet:
    """All images that are made from one cube.

    Parameters
    ----------
    filters : sequence of Filter
    grid : OutputGrid
        Geometry of the cube (duck-typed: nx, ny, nz, crpix, crval, cd, ctype, cunit, log_wavelength).
    use_variance : bool, optional
        Weight voxels with 1/STAT (parameter ``collapse_use_variance``).
    euro3d : bool, optional
        The images go into a Euro3D file, for which the C pipeline counts the filter fraction over one
        plane more.
    """

    def __init__(
        self, filters: Iterable[Filter], grid: OutputGrid, use_variance: bool = False, euro3d: bool = False
    ) -> None:
        self.use_variance = use_variance
        self.images = [FilterImage(band, grid, int(euro3d)) for band in filters]
        self._next_plane = 0

    def __iter__(self) -> Iterator[FilterImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)

    def add_planes(self, k0: int, data: np.ndarray, stat: np.ndarray | None) -> None:
        """Add planes k0, k0+1, ...: float32[n, ny, nx]; calls must come in increasing plane order."""
        if k0 != self._next_plane:
            raise ValueError(f"plane {self._next_plane} expected next, got plane {k0}")
        self._next_plane = k0 + len(data)
        for image in self.images:
            image.add_planes(k0, data, stat if self.use_variance else None)


def covered_range(grid: OutputGrid, extra_planes: int = 0) -> tuple[float, float]:
    """Wavelength range that the filter fraction counts: from the first plane to one past the last."""
    first, last = wavelength_of_plane(grid, [0, int(grid.nz) + extra_planes])
    return float(first), float(last)
