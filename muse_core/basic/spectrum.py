# SPDX-License-Identifier: BSD-3-Clause
"""Mean spectra with linear weights, from the rows of one pixel table in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit

Floats = npt.NDArray[np.float32]


@njit(cache=True, nogil=True)
def _bin_below(lam: Any, lam_min: float, step: float, first: int) -> Any:
    """Number of the bin at or below a wavelength, counted from ``first``, and the share of the one above."""
    place = (np.float64(lam) - lam_min) / step
    k = int(np.floor(place))
    return k - first, place - k


@njit(cache=True, nogil=True)
def add_linear(
    lam: Any, data: Any, stat: Any, use: Any, lam_min: float, step: float, first: int, sums: Any
) -> None:
    """Add rows to the two bins on their sides.

    Parameters
    ----------
    lam, data, stat : float32[n]
    use : bool[n]
        Rows that count.
    lam_min, step : float
        Bin k lies at ``lam_min + k * step``.
    first : int
        Number of the first bin of the sums.
    sums : float64[bins, 3]
        Sums of the weights, of weight times data, of weight times variance, updated.
    """
    for i in range(lam.size):
        if not use[i]:
            continue
        k, t = _bin_below(lam[i], lam_min, step, first)
        if k < 0 or k >= sums.shape[0]:
            continue
        sums[k, 0] += 1.0 - t
        sums[k, 1] += (1.0 - t) * data[i]
        sums[k, 2] += (1.0 - t) * stat[i]
        if k + 1 < sums.shape[0]:
            sums[k + 1, 0] += t
            sums[k + 1, 1] += t * data[i]
            sums[k + 1, 2] += t * stat[i]


@njit(cache=True, nogil=True)
def add_image(
    data: Any,
    dq: Any,
    first: Any,
    last: Any,
    lam: Any,
    lam_min: float,
    step: float,
    first_bin: int,
    sums: Any,
) -> None:
    """Add the unflagged, finite pixels of a slice to the two bins on their sides, as `add_linear` does.

    Parameters
    ----------
    data : float32[ny, nx]; dq : int32[ny, nx]
    first, last : int32[ny]
        First and last pixel (1-based) of the slice in each row.
    lam : float32[n]
        Wavelengths of its pixels.
    lam_min, step : float
    first_bin : int
    sums : float64[bins, 3]
        Sums of the weights and of weight times data are updated.
    """
    n = 0
    for y in range(first.size):
        for x in range(first[y], last[y] + 1):
            k, t = _bin_below(lam[n], lam_min, step, first_bin)
            n += 1
            value = data[y, x - 1]
            if dq[y, x - 1] != 0 or not np.isfinite(value):
                continue
            if k < 0 or k >= sums.shape[0]:
                continue
            sums[k, 0] += 1.0 - t
            sums[k, 1] += (1.0 - t) * value
            if k + 1 < sums.shape[0]:
                sums[k + 1, 0] += t
                sums[k + 1, 1] += t * value


@dataclass(frozen=True)
class BinnedSpectrum:
    """Weighted means at ``lam_min + (first + i) * step``; bins that received nothing are NaN.

    Attributes
    ----------
    lam_min, step : float
    first : int
    data, stat : float64[n]
    """

    lam_min: float
    step: float
    first: int
    data: npt.NDArray[np.float64]
    stat: npt.NDArray[np.float64]

    @property
    def lam(self) -> npt.NDArray[np.float64]:
        """Wavelengths of the bins."""
        numbers = np.arange(self.first, self.first + self.data.size, dtype=np.float64)
        lam: npt.NDArray[np.float64] = self.lam_min + numbers * self.step
        return lam

    @property
    def filled(self) -> npt.NDArray[np.bool_]:
        """Bins that received something."""
        return ~np.isnan(self.data)

    def inside(self, lam: Floats, data: Floats, high: float, low: float) -> npt.NDArray[np.bool_]:
        """Tell which rows lie within the limits around the means.

        Measured against 2.8.7: a row goes if it is above ``mean + high * sqrt(variance)`` of both its bins,
        or below ``mean - low * sqrt(variance)`` of either of them. A limit of 0 or less is off.
        """
        k = np.floor((lam.astype(np.float64) - self.lam_min) / self.step).astype(np.int64) - self.first
        k = np.clip(k, 0, self.data.size - 1)
        upper = np.minimum(k + 1, self.data.size - 1)
        keep = np.ones(lam.size, bool)
        with np.errstate(invalid="ignore"):
            scatter = np.sqrt(self.stat)
            if high > 0:
                limit = self.data + high * scatter
                keep &= ~((data > limit[k]) & (data > limit[upper]))
            if low > 0:
                limit = self.data - low * scatter
                keep &= ~((data < limit[k]) | (data < limit[upper]))
        return keep


class LinearSum:
    """Collects rows for a `BinnedSpectrum`.

    Parameters
    ----------
    lam_min, step : float
        Place of bin 0, and the distance of bins.
    limits : tuple of float
        Wavelengths between which bins are needed.
    """

    def __init__(self, lam_min: float, step: float, limits: tuple[float, float]) -> None:
        self.lam_min, self.step = float(lam_min), step
        self._first = max(int(np.floor((limits[0] - self.lam_min) / step)), 0)
        last = int(np.floor((limits[1] - self.lam_min) / step)) + 1
        self._sums = np.zeros((max(last - self._first + 1, 2), 3))

    def add(self, lam: Floats, data: Floats, stat: Floats, use: npt.NDArray[np.bool_]) -> LinearSum:
        """Add the rows that are to be used."""
        add_linear(lam, data, stat, use, self.lam_min, self.step, self._first, self._sums)
        return self

    def add_image(self, data: Floats, dq: Any, edges: tuple[Any, Any], lam: Floats) -> None:
        """Add the good pixels of a slice between its edges (first and last pixel of each row)."""
        add_image(data, dq, *edges, lam, self.lam_min, self.step, self._first, self._sums)

    def spectrum(self) -> BinnedSpectrum:
        """Return the means of what was added."""
        with np.errstate(invalid="ignore", divide="ignore"):
            data, stat = (self._sums[:, i] / self._sums[:, 0] for i in (1, 2))
        return BinnedSpectrum(self.lam_min, self.step, self._first, data, stat)
