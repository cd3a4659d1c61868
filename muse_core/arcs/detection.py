# SPDX-License-Identifier: BSD-3-Clause
"""Find arc lines along the middle of a slice."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from muse_core.arcs.gaussian_kernels import fit_gaussians
from muse_core.detector.combine import CombinePlan, combine_images
from muse_core.framework.kernels import njit

FWHM = 2.0 * math.sqrt(2.0 * math.log(2.0))
COLUMNS = (-1, 0, 1, 2)  # beside the middle of the slice
MEDIAN_ROWS = 51
MARGIN = 5  # rows beyond a region that take part in its fit
LEAST_AREA = 50.0  # count; measured against 2.8.7: between 49.9 and 50.0
LEAST_FWHM, MOST_FWHM = 1.0, 5.0  # pixels; measured against 2.8.7
MEDIAN = CombinePlan("median")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detected:
    """Lines of one lamp in one slice, from blue to red: float64[n].

    Attributes
    ----------
    centre, error : row (from 1) and its error
    peak : largest value (count), background included
    sigma : pixels
    area, background, mse : count, count, count**2
    """

    centre: Floats
    error: Floats
    peak: Floats
    sigma: Floats
    area: Floats
    background: Floats
    mse: Floats

    def __len__(self) -> int:
        return int(self.centre.size)


def middle_column(
    data: npt.NDArray[np.float32], stat: npt.NDArray[np.float32], dq: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Median over the columns in the middle of a slice, and its variance (float32[ny]).

    Parameters
    ----------
    data, stat, dq : arrays[ny, n]
        The columns of `COLUMNS`; flagged pixels are left out where there are others.
    """
    shape = (data.shape[0], 1)
    value, variance, flags = (
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.int32),
    )
    values, variances, marks = (np.ascontiguousarray(plane.T)[:, :, None] for plane in (data, stat, dq))
    combine_images(values, variances, marks, MEDIAN, value, variance, flags)
    return value[:, 0], variance[:, 0]


@njit(cache=True, nogil=True)
def _regions(signal: np.ndarray, threshold: float) -> np.ndarray:
    """First and last row of runs above the threshold, two rows long at least."""
    ends = np.empty((signal.size // 2 + 1, 2), np.int64)
    n = 0
    y = 0
    while y < signal.size:
        if signal[y] > threshold:
            start = y
            while y + 1 < signal.size and signal[y + 1] > threshold:
                y += 1
            if y > start:
                ends[n, 0] = start
                ends[n, 1] = y
                n += 1
        y += 1
    return ends[:n]


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_regions(data: np.ndarray, variance: np.ndarray, ends: np.ndarray, out: np.ndarray) -> int:
    """Fit each region; centre, error, peak, sigma, area, background, mse of the good ones go to ``out``."""
    n = 0
    p = np.empty(4)
    errors = np.empty(4)
    for k in range(ends.shape[0]):
        first, last = ends[k, 0], ends[k, 1]
        low, high = first, last
        while low > 0 and first - low < MARGIN and data[low - 1] <= data[first]:
            low -= 1
        while high < data.size - 1 and high - last < MARGIN and data[high + 1] <= data[last]:
            high += 1
        y = np.empty(high - low + 1)
        weight = np.empty(y.size)
        peak = low
        lowest = math.inf
        for j in range(y.size):
            y[j] = data[low + j]
            weight[j] = 1.0 / variance[low + j] if variance[low + j] > 0.0 else 0.0
            lowest = min(lowest, y[j])
            if data[low + j] > data[peak]:
                peak = low + j
        total, moment = 0.0, 0.0
        for j in range(y.size):
            total += y[j] - lowest
            moment += j * (y[j] - lowest)
        height = data[peak] - lowest
        if not height > 0.0:
            continue
        # from the centroid a blend ends as one broad line, which is no line (as in 2.8.7)
        p[0] = moment / total
        p[1] = total
        p[2] = lowest
        p[3] = total / height * 0.3989422804014327
        if not fit_gaussians(p, 1, 1, True, y, weight, errors):
            continue
        fwhm = FWHM * p[3]
        inside = -0.5 <= p[0] <= y.size - 0.5
        if not (p[1] >= LEAST_AREA and LEAST_FWHM <= fwhm <= MOST_FWHM and inside):
            continue
        square = 0.0
        for j in range(y.size):
            z = (j - p[0]) / p[3]
            square += (y[j] - p[2] - p[1] * 0.3989422804014327 / p[3] * math.exp(-0.5 * z * z)) ** 2
        out[n, 0] = p[0] + low + 1
        out[n, 1] = errors[0]
        out[n, 2] = data[peak]
        out[n, 3] = p[3]
        out[n, 4] = p[1]
        out[n, 5] = p[2]
        out[n, 6] = square / y.size
        n += 1
    return n


def detect_lines(value: npt.NDArray[np.float32], variance: npt.NDArray[np.float32], sigma: float) -> Detected:
    """Find the lines of one column.

    The column without its running median, in units of its noise, is compared with its median plus ``sigma``
    times its mean deviation; each run above is fitted with a Gaussian (as 2.8.7 does).

    Parameters
    ----------
    value, variance : float32[ny]
        count, count**2
    sigma : float
    """
    data = value.astype(np.float64)
    noise = np.sqrt(np.where(variance > 0, variance, np.inf).astype(np.float64))
    signal = (data - median_filter(data, MEDIAN_ROWS, mode="nearest")) / noise
    middle = np.median(signal)
    threshold = middle + sigma * np.mean(np.abs(signal - middle))
    ends = _regions(signal, threshold)
    out = np.empty((len(ends), 7))
    n = _fit_regions(data, variance.astype(np.float64), ends, out)
    return Detected(*np.ascontiguousarray(out[:n].T))
