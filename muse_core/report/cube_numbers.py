# SPDX-License-Identifier: BSD-3-Clause
"""What a quality page wants to know of a cube, found in two passes over its planes, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from muse_core.report.preview import wavelengths
from muse_core.resampling.cube_file import CubeReader

Image = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.float64]
PLANES = 8
QUICK = 24  # planes of the quick image that says where it is dark
DARK = (0.1, 0.5)  # of the spaxels, ordered by brightness: the darkest tenth may be what is wrong


@dataclass(frozen=True)
class CubeNumbers:
    """Images and spectra of a cube.

    Parameters
    ----------
    header, primary : Header
        of the extension DATA, and of the file
    wave : float64[nz]
        [Angstrom]
    white : float64[ny, nx]
        mean along wavelength
    bands : three float64[ny, nx]
        means of the blue, middle and red third
    noise : float64[ny, nx]
        root of the mean variance
    dark : bool[ny, nx]
        spaxels without objects
    level, scatter, expected : float64[nz]
        of the dark spaxels: median, robust standard deviation, root of the median variance
    coverage : float64[nz]
        part of the spaxels with a value
    ripple : float64[ny, nx]
        scatter of each spaxel along wavelength (of a plane against those two below and above) over what the
        variances tell; 1 is right
    """

    header: Header
    primary: Header
    wave: Spectrum
    white: Image
    bands: tuple[Image, Image, Image]
    noise: Image
    dark: npt.NDArray[np.bool_]
    level: Spectrum
    scatter: Spectrum
    expected: Spectrum
    coverage: Spectrum
    ripple: Image

    @property
    def on_lines(self) -> npt.NDArray[np.bool_]:
        """Planes on bright lines of the sky: their noise is larger than that of the planes around.

        bool[nz]
        """
        from scipy.ndimage import percentile_filter

        known = np.where(np.isfinite(self.expected), self.expected, 0.0)
        around = percentile_filter(known, 25, size=min(161, known.size))
        return np.asarray((known > 1.3 * around) & (known > 0.0), np.bool_)

    @property
    def unit(self) -> str:
        """Unit of the data."""
        return str(self.header.get("BUNIT", ""))

    @property
    def step(self) -> float:
        """Size of a spaxel [arcsec]; 0.2 in pixel coordinates."""
        if not str(self.header.get("CTYPE1", "")).startswith("RA"):
            return 0.2
        return float(np.hypot(self.header.get("CD1_2", 0.0), self.header["CD2_2"])) * 3600.0

    @property
    def chi(self) -> float:
        """Median over the planes of the scatter over what the variances tell."""
        good = self.expected > 0.0
        return float(np.median(self.scatter[good] / self.expected[good])) if good.any() else float("nan")


def measure_cube(path: Path) -> CubeNumbers:
    """Measure a cube; of its planes a few are in memory at a time."""
    cube = CubeReader(path)
    nz, ny, nx = cube.data.shape
    dark = _dark_spaxels(cube, nz)
    sums = np.zeros((4, ny, nx))
    counts = np.zeros((4, ny, nx))
    level, scatter, expected, coverage = (np.full(nz, np.nan) for _ in range(4))
    ripple = _Ripple((ny, nx))
    for first in range(0, nz, PLANES):
        data = np.asarray(cube.data[first : first + PLANES], np.float32)
        stat = np.asarray(cube.stat[first : first + PLANES], np.float32)
        good = np.isfinite(data)
        for k in range(len(data)):
            plane = first + k
            coverage[plane] = good[k].mean()
            ripple.add(data[k], stat[k])
            chosen = data[k][dark & good[k]].astype(np.float64)
            if chosen.size > 8:
                level[plane] = np.median(chosen)
                scatter[plane] = 1.4826 * np.median(np.abs(chosen - level[plane]))
                expected[plane] = np.sqrt(np.median(stat[k][dark & good[k]]))
            band = min(3 * plane // nz, 2)
            sums[band] += np.where(good[k], data[k], 0.0)
            counts[band] += good[k]
        known = np.isfinite(stat)
        sums[3] += np.where(known, stat, 0.0).sum(axis=0)
        counts[3] += known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        blue, middle, red = (sums[b] / counts[b] for b in range(3))
        white = sums[:3].sum(axis=0) / counts[:3].sum(axis=0)
        noise = np.sqrt(sums[3] / counts[3])
    return CubeNumbers(
        cube.header, cube.primary_header, wavelengths(cube.header, nz), white, (blue, middle, red), noise,
        dark, level, scatter, expected, coverage, ripple.image(),
    )  # fmt: skip


class _Ripple:
    """Scatter along wavelength, from planes that come one after the other."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._planes: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = []
        self._total, self._count = np.zeros(shape), np.zeros(shape)

    def add(self, data: npt.NDArray[np.float32], stat: npt.NDArray[np.float32]) -> None:
        """Add the next plane."""
        self._planes = [*self._planes[-4:], (data.copy(), stat.copy())]
        if len(self._planes) < 5:
            return
        (low, low_stat), _, (own, own_stat), _, (high, high_stat) = self._planes
        with np.errstate(invalid="ignore", divide="ignore"):
            square = (own - 0.5 * (low + high)) ** 2 / (own_stat + 0.25 * (low_stat + high_stat))
        good = square < 25.0  # also false for NaN; edges of lines and hits are no noise
        self._total[good] += square[good]
        self._count[good] += 1

    def image(self) -> Image:
        """Return the root of the mean square."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self._total / np.where(self._count > 4, self._count, np.nan))


def _dark_spaxels(cube: CubeReader, nz: int) -> npt.NDArray[np.bool_]:
    """Return the spaxels without objects, by a few planes over the whole range."""
    planes = np.unique(np.linspace(0, nz - 1, min(QUICK, nz)).astype(int))
    shape = cube.data.shape[1:]
    total, count = np.zeros(shape), np.zeros(shape)
    for plane in planes:
        data = np.asarray(cube.data[plane], np.float64)
        good = np.isfinite(data)
        total += np.where(good, data, 0.0)
        count += good
    with np.errstate(divide="ignore", invalid="ignore"):
        image = np.where(count > 0.5 * count.max(initial=0.0), total / count, np.nan)
    if not np.isfinite(image).any():
        return np.zeros(shape, np.bool_)
    low, high = np.nanquantile(image, DARK)
    with np.errstate(invalid="ignore"):
        return (image >= low) & (image <= high)


@dataclass(frozen=True)
class Star:
    """A point-like object followed along wavelength.

    Parameters
    ----------
    x, y : float
        pixel, counted from 0
    wave, fwhm : float64[n]
        [Angstrom], [arcsec]
    dx, dy : float64[n]
        its place relative to the mean [arcsec]
    """

    x: float
    y: float
    wave: Spectrum
    fwhm: Spectrum
    dx: Spectrum
    dy: Spectrum


def follow_star(path: Path, numbers: CubeNumbers, centre: tuple[int, int], bins: int = 24) -> Star | None:
    """Fit the brightest object in bins of wavelength by a round Gaussian; None if that does not work."""
    cube = CubeReader(path)
    nz, ny, nx = cube.data.shape
    half = max(4, round(2.0 / numbers.step)) if numbers.step > 0.05 else 12
    x0, y0 = max(centre[0] - half, 0), max(centre[1] - half, 0)
    box = np.s_[y0 : min(centre[1] + half + 1, ny), x0 : min(centre[0] + half + 1, nx)]
    found = []
    edges = np.unique(np.linspace(0, nz, min(bins, nz) + 1).astype(int))
    for first, last in zip(edges[:-1], edges[1:]):
        pieces = np.asarray(cube.data[(slice(first, last), *box)], np.float64)
        with np.errstate(invalid="ignore"):
            image = np.nanmean(pieces, axis=0) if np.isfinite(pieces).any(axis=0).all() else None
        fitted = None if image is None else _fit_gaussian(image)
        if fitted is not None:
            found.append((numbers.wave[first:last].mean(), *fitted))
    if len(found) < 3:
        return None
    wave, x, y, fwhm = np.array(found).T
    step = numbers.step
    return Star(
        x0 + float(np.median(x)), y0 + float(np.median(y)), wave, fwhm * step,
        (x - np.median(x)) * step, (y - np.median(y)) * step,
    )  # fmt: skip


def _fit_gaussian(image: Image) -> tuple[float, float, float] | None:
    """Centre and FWHM [pixel] of a round Gaussian on a constant; None if there is none."""
    from scipy.optimize import least_squares

    y, x = np.indices(image.shape)
    floor, peak = float(np.median(image)), float(image.max())
    iy, ix = np.unravel_index(int(image.argmax()), image.shape)

    def residual(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        model = p[0] + p[1] * np.exp(-0.5 * ((x - p[2]) ** 2 + (y - p[3]) ** 2) / p[4] ** 2)
        return ((model - image) / max(peak - floor, 1e-30)).ravel()

    fit = least_squares(residual, (floor, peak - floor, float(ix), float(iy), 1.7), max_nfev=60)
    _, height, cx, cy, width = fit.x
    inside = 0 < cx < image.shape[1] - 1 and 0 < cy < image.shape[0] - 1
    if not fit.success or height <= 0 or not inside or not 0.3 < abs(width) < image.shape[0]:
        return None
    return float(cx), float(cy), 2.3548 * abs(float(width))
