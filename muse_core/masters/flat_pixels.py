# SPDX-License-Identifier: BSD-3-Clause
"""Dark and bright pixels of a flat field, slice by slice and row by row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.framework.kernels import njit
from muse_core.masters.trace_fit import Trace

DQ_HOT, DQ_DARK, DQ_LOW_RESPONSE, DQ_NOT_POSITIVE = 0x100, 0x200, 0x40, 0x4000
LOW_RESPONSE = 0.2  # of the mean


@dataclass(frozen=True)
class FlatPixels:
    """Pixels that were found: dark, those of them with a low response, bright, and without light."""

    dark: int
    low: int
    bright: int
    not_positive: int


@njit(cache=True, nogil=True)
def _median(values: np.ndarray, n: int, scratch: np.ndarray) -> float:
    """Median of the first ``n`` values (Shell sort of a copy)."""
    for i in range(n):
        scratch[i] = values[i]
    gap = n // 2
    while gap > 0:
        for i in range(gap, n):
            v = scratch[i]
            j = i
            while j >= gap and scratch[j - gap] > v:
                scratch[j] = scratch[j - gap]
                j -= gap
            scratch[j] = v
        gap //= 2
    half = n // 2
    return scratch[half] if n % 2 == 1 else 0.5 * (scratch[half - 1] + scratch[half])


@njit(cache=True, nogil=True)
def _flag_slice(
    data: np.ndarray,
    dq: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    low_sigma: float,
    high_sigma: float,
    low_response: float,
    counts: np.ndarray,
) -> None:
    """Flag pixels of one slice.

    Parameters
    ----------
    data : float32[ny, nx]
    dq : int32[ny, nx], updated
    left, right : float64[ny]
        Edges, from 1.
    low_sigma, high_sigma : float
        Limits in mean absolute deviations from the median of the row.
    low_response : float
        Dark pixels below it have a low response, too.
    counts : int64[3], updated
        Dark, low, bright.
    """
    ny, nx = data.shape
    values = np.empty(nx)
    scratch = np.empty(nx)
    for y in range(ny):
        first = max(int(np.ceil(left[y])), 1) - 1
        last = min(int(np.floor(right[y])), nx) - 1
        n = last - first + 1
        if n < 1:
            continue
        for i in range(n):
            values[i] = np.float64(data[y, first + i])
        centre = _median(values, n, scratch)
        spread = 0.0
        for i in range(n):
            spread += abs(values[i] - centre)
        spread /= n
        dark = centre - low_sigma * spread
        bright = centre + high_sigma * spread
        # the shadowed edges of a slice are no bad pixels
        begin, end = 0, n
        while begin < n and values[begin] < dark:
            begin += 1
        while end > 0 and values[end - 1] < dark:
            end -= 1
        for i in range(n):
            if values[i] < dark and begin <= i < end:
                dq[y, first + i] |= DQ_DARK
                counts[0] += 1
                if values[i] < low_response:
                    dq[y, first + i] |= DQ_LOW_RESPONSE
                    counts[1] += 1
            elif values[i] > bright:
                dq[y, first + i] |= DQ_HOT
                counts[2] += 1


@njit(cache=True, nogil=True)
def _flag_dark_areas(data: np.ndarray, dq: np.ndarray) -> int:
    """Flag pixels that saw no light; returns how many."""
    found = 0
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            if data[y, x] <= 0:
                dq[y, x] |= DQ_NOT_POSITIVE
                found += 1
    return found


def flag_flat_pixels(
    data: npt.NDArray[np.float32],
    dq: npt.NDArray[np.int32],
    trace: Trace,
    limits: tuple[float, float],
    mean: float = 1.0,
) -> FlatPixels:
    """Flag the bad pixels of a flat field in place, and count them.

    Parameters
    ----------
    data : float32[ny, nx]
    dq : int32[ny, nx]
        Flags are added: 0x200 dark, 0x40 low response, 0x100 bright, 0x4000 not positive.
    trace : Trace
    limits : tuple of float
        Of dark and bright pixels, in mean absolute deviations from the median of a slice in a row.
    mean : float
        Of the image.
    """
    rows = np.arange(1.0, data.shape[0] + 1)
    counts = np.zeros(3, np.int64)
    for own in trace.slices:
        if own is not None:
            left, right = own.edge(1, rows), own.edge(2, rows)
            _flag_slice(data, dq, left, right, *limits, LOW_RESPONSE * mean, counts)
    dark, low, bright = (int(n) for n in counts)
    return FlatPixels(dark, low, bright, int(_flag_dark_areas(data, dq)))
