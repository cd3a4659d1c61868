# SPDX-License-Identifier: BSD-3-Clause
"""Point sources of one field image: the filter, the candidates and their measurement.

The algorithm is the DAOFIND family (Stetson 1987, PASP 99, 191). photutils' DAOStarFinder is not used since
it cannot be set up to give the same list: it has no periodic edges and no asymmetric dead frame (both decide
which sources exist), cuts its kernel at another radius and measures the roundness from other marginal sums,
so counts, fluxes and numbers of the sources would all differ from the oracle's. It would also add a second to
the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.alignment.arrays import Flags, Floats, Rows

FWHM_TO_SIGMA = 2.35482  # as printed in the classic FIND code; parity needs these digits
MAX_HALF = 6  # largest half width of the box, whatever the seeing


@dataclass(frozen=True)
class StarKernel:
    """Everything about the box of ``2 half + 1`` pixels that depends on the seeing only."""

    fwhm: float
    half: int
    sigma2: float
    mask: Flags  # bool[box, box]: pixels inside the radius
    filter: Floats  # float64[box, box]: lowered truncated Gaussian, sums to zero over the mask
    round_weight: Floats  # float64[box]
    marginal_weight: Floats  # float64[box]: triangular
    profile: Floats  # float64[box]: weighted marginal of the Gaussian
    slope: Floats  # float64[box]: its derivative

    @property
    def relative_error(self) -> float:
        """Noise of the filtered image per noise of a pixel."""
        return float(np.sqrt(np.sum(self.filter**2)))

    @property
    def position_error(self) -> float:
        """Centroid error in pixels of a source of unit amplitude on white noise of unit scatter."""
        w, slope = self.marginal_weight, self.slope
        profile_noise = np.sqrt(np.sum(w**2))
        return float(profile_noise * self.sigma2 * np.sqrt(np.sum((w * slope) ** 2)) / np.sum(w * slope**2))


@dataclass(frozen=True)
class Detections:
    """Sources in raster order; positions are zero-based pixels. All float64[n]."""

    x: Floats
    y: Floats
    flux: Floats
    sharpness: Floats
    roundness: Floats

    def __len__(self) -> int:
        return int(self.x.size)

    def take(self, which: npt.NDArray[Any]) -> Detections:
        """Return the sources chosen by a mask or an index array."""
        return Detections(
            self.x[which], self.y[which], self.flux[which], self.sharpness[which], self.roundness[which]
        )

    def brightest(self, most: int) -> Detections:
        """Return the ``most`` brightest sources, in raster order."""
        return self.take(np.sort(np.argsort(-self.flux, kind="stable")[:most]))


def make_kernel(fwhm: float) -> StarKernel:
    """Build the detection kernel for a seeing of ``fwhm`` pixels (0.5 or more)."""
    radius = max(0.637 * fwhm, 2.001)
    half = min(int(np.floor(radius)), MAX_HALF)
    sigma2 = (fwhm / FWHM_TO_SIGMA) ** 2
    k = np.arange(-half, half + 1, dtype=np.float64)
    distance2 = k[None, :] ** 2 + k[:, None] ** 2
    mask = distance2 <= radius**2
    gauss = np.exp(-distance2 / (2.0 * sigma2))
    inside = gauss[mask]
    n = inside.size
    lowered = np.zeros_like(gauss)
    lowered[mask] = (inside - inside.mean()) / (np.sum(inside**2) - inside.sum() ** 2 / n)
    line = np.exp(-(k**2) / (2.0 * sigma2))
    # the plain mean in the denominator is what 2.8.7 uses; it cancels in the ratio of the two directions
    round_weight = (line - line.mean()) / (np.sum(line**2) - line.mean())
    weight = half + 1.0 - np.abs(k)
    profile = weight @ gauss
    return StarKernel(
        fwhm=fwhm,
        half=half,
        sigma2=sigma2,
        mask=mask,
        filter=lowered,
        round_weight=round_weight,
        marginal_weight=weight,
        profile=profile,
        slope=-k * profile,
    )


def filter_image(image: Floats, kernel: StarKernel) -> Floats:
    """Correlate an image with the kernel, periodic at the edges, and blank its frame.

    Parameters
    ----------
    image : float64[ny, nx]
        Both sizes even and larger than the box; bad pixels are 0.

    Returns
    -------
    float64[ny, nx]
        Filtered image, zero in the rows and columns 0..half and in the last half-1 ones. The asymmetry is
        real: measured against 2.8.7 with exact pixel counts.
    """
    ny, nx = image.shape
    half = kernel.half
    box = np.arange(-half, half + 1)
    wrapped = np.zeros((ny, nx))
    wrapped[np.ix_(box % ny, box % nx)] = kernel.filter  # symmetric: correlation and convolution are the same
    filtered = np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(wrapped), s=(ny, nx))
    filtered[: half + 1] = 0.0
    filtered[:, : half + 1] = 0.0
    filtered[ny - half + 1 :] = 0.0
    filtered[:, nx - half + 1 :] = 0.0
    return filtered


def find_peaks(filtered: Floats, kernel: StarKernel, level: float) -> tuple[Rows, Rows]:
    """Pixels at or above ``level`` that are not below any neighbour inside the kernel's mask, in raster
    order.

    Returns
    -------
    iy, ix : int64[n]
    """
    half = kernel.half
    ny, nx = filtered.shape
    padded = np.full((ny + 2 * half, nx + 2 * half), -np.inf)
    padded[half : half + ny, half : half + nx] = filtered
    stride = nx + 2 * half
    flat = padded.ravel()
    iy, ix = np.nonzero(filtered >= level)
    where = (iy + half) * stride + ix + half
    dy, dx = np.nonzero(kernel.mask)
    dy, dx = dy - half, dx - half
    for k in np.argsort(dx**2 + dy**2, kind="stable")[1:]:  # nearest first: they reject most
        where = where[flat[where] >= flat[where + dy[k] * stride + dx[k]]]
    return where // stride - half, where % stride - half


def measure_peaks(
    image: Floats,
    filtered: Floats,
    kernel: StarKernel,
    iy: Rows,
    ix: Rows,
    sharp_limits: tuple[float, float],
    round_limits: tuple[float, float],
) -> Detections:
    """Measure the candidates and keep those that look like point sources.

    Candidates whose box does not fit in the image are dropped. Limits belong to the accepted range.

    Parameters
    ----------
    image, filtered : float64[ny, nx]
    iy, ix : int64[n]
        Candidates, raster order.
    sharp_limits, round_limits : (float, float)

    Returns
    -------
    Detections
    """
    half = kernel.half
    ny, nx = image.shape
    fits = (iy >= half) & (ix >= half) & (iy + half < ny) & (ix + half < nx)
    iy, ix = iy[fits], ix[fits]
    k = np.arange(-half, half + 1)
    box = image[(iy[:, None] + k)[:, :, None], (ix[:, None] + k)[:, None, :]]
    peak = filtered[iy, ix]
    around = kernel.mask.copy()
    around[half, half] = False
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpness = (box[:, half, half] - box[:, around].mean(axis=1)) / peak
        across = box.sum(axis=1) @ kernel.round_weight
        along = box.sum(axis=2) @ kernel.round_weight
        roundness = 2.0 * (across - along) / (across + along)
        dx, amplitude_x = _centroid(kernel.marginal_weight @ box, kernel)
        dy, amplitude_y = _centroid(box @ kernel.marginal_weight, kernel)
        good = (sharpness >= sharp_limits[0]) & (sharpness <= sharp_limits[1])
        good &= (across > 0) & (along > 0)
        good &= (roundness >= round_limits[0]) & (roundness <= round_limits[1])
        good &= (amplitude_x > 0) & (np.abs(dx) < half) & (amplitude_y > 0) & (np.abs(dy) < half)
    return Detections(
        x=(ix + dx)[good],
        y=(iy + dy)[good],
        flux=peak[good],
        sharpness=sharpness[good],
        roundness=roundness[good],
    )


def _centroid(marginal: Floats, kernel: StarKernel) -> tuple[Floats, Floats]:
    """Shift and amplitude of the Gaussian profile fitted to weighted marginals, float64[n, box]."""
    w, g, slope = kernel.marginal_weight, kernel.profile, kernel.slope
    total = w.sum()
    wg = np.sum(w * g)
    wd = marginal @ w
    amplitude = (marginal @ (w * g) - wg * wd / total) / (np.sum(w * g**2) - wg**2 / total)
    # the sums over w g slope and over w slope are zero by symmetry: left out, since their rounding errors
    # would swamp images in units like erg/s
    return -(marginal @ (w * slope)) / (amplitude * np.sum(w * slope**2) / kernel.sigma2), amplitude


def near_bad_pixel(
    x: Floats, y: Floats, bad: Flags, distance: float, *, bad_pixels_up_to_edge: bool = False
) -> Flags:
    """Tell which sources have a bad pixel closer than ``distance`` (rounded up) to their pixel.

    Parameters
    ----------
    x, y : float64[n]
        Zero-based positions.
    bad : bool[ny, nx]
        The untrimmed bad pixel map. Outside of it nothing is bad.
    distance : float
    bad_pixels_up_to_edge : bool
        The defect: near an edge of the image it looks, on both sides, only as far as the edge is.
    """
    reach = int(np.ceil(distance))
    near = np.zeros(len(x), dtype=bool)
    if reach <= 0 or not bad.any():
        return near
    ny, nx = bad.shape
    for n, (column, row) in enumerate(zip(np.floor(x).astype(int), np.floor(y).astype(int), strict=True)):
        reach_x = min(reach - 1, column + 1, nx - 1 - column) if bad_pixels_up_to_edge else reach - 1
        reach_y = min(reach - 1, row + 1, ny - 1 - row) if bad_pixels_up_to_edge else reach - 1
        y0, y1 = max(0, row - reach_y), min(ny, row + reach_y + 1)
        x0, x1 = max(0, column - reach_x), min(nx, column + reach_x + 1)
        if y0 >= y1 or x0 >= x1:
            continue
        by, bx = np.nonzero(bad[y0:y1, x0:x1])
        near[n] = bool(np.any((by + y0 - row) ** 2 + (bx + x0 - column) ** 2 < reach**2))
    return near
