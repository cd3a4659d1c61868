# SPDX-License-Identifier: BSD-3-Clause
"""Kernel of the flux calibration."""

from __future__ import annotations

import numpy as np

from muse_core.data.elementary_functions import exponential
from muse_core.data.kernels import last_not_above
from muse_core.framework.kernels import njit

BIN_WIDTH = 1.25
"""Nominal width of a detector pixel [Angstrom]."""
DQ_MISSING = 1 << 30
"""Flag of rows outside of the response curve (missing data)."""
_WIDTH_ERROR = 0.02


@njit(cache=True, nogil=True)
def calibrate_rows(lam, data, stat, dq, pieces, first, last, scale, flag_outside):
    """Kernel of `apply_flux`.

    Rows come in an order in which the next one mostly lies in the same piece of the curves: they are
    calibrated a run of rows of one piece at a time.

    Parameters
    ----------
    lam, data, stat : float32[n], dq : int32[n]
        Columns; all but lam are updated.
    pieces : float64[m, 11]
        See `_cut`.
    first, last : float
        Range of the response curve.
    scale : float
        Factor on all data.
    flag_outside : bool
        Whether rows outside of first..last are flagged.
    """
    starts = pieces[:, 0]
    start, k = 0, 0
    while start < lam.size:
        k = _find_piece(np.float64(lam[start]), starts, k)
        low = starts[k]
        high = starts[k + 1] if k + 1 < starts.size else np.inf
        stop = start + 1
        while stop < lam.size and lam[stop] >= low and lam[stop] < high:
            stop += 1
        if flag_outside and not (first <= np.float64(lam[start]) <= last):  # then the whole piece is outside
            for i in range(start, stop):
                data[i] = np.nan
                stat[i] = np.nan
                dq[i] |= DQ_MISSING
        else:
            _calibrate_run(lam[start:stop], data[start:stop], stat[start:stop], pieces[k], scale)
        start = stop


@njit(cache=True, nogil=True)
def _find_piece(wavelength, starts, guess):
    """Return the last piece that starts at or below a wavelength (the first one if there is none)."""
    low, high = 0, starts.size
    # mostly a neighbour of the last one
    if guess > 0 and starts[guess - 1] <= wavelength:
        low = guess - 1
    if guess + 2 < high and wavelength < starts[guess + 2]:
        high = guess + 2
    return last_not_above(starts, wavelength, low, high)


@njit(cache=True, nogil=True, error_model="numpy")
def _calibrate_run(lam, data, stat, piece, scale):
    """Calibrate rows of the same piece of the curves (float64[11])."""
    start, a0, a1, t0, t1 = piece[0], piece[1], piece[2], piece[3], piece[4]
    r0, r1, r2, v0, v1, v2 = piece[5], piece[6], piece[7], piece[8], piece[9], piece[10]
    r0 += (_WIDTH_ERROR / BIN_WIDTH) * (_WIDTH_ERROR / BIN_WIDTH)
    for i in range(lam.size):
        x = np.float64(lam[i]) - start
        tell = t0 + t1 * x
        factor = exponential(a0 + a1 * x) * scale * tell
        relative_var = (r0 + (r1 + r2 * x) * x) + (v0 + (v1 + v2 * x) * x) / (tell * tell)
        value = np.float64(data[i]) * factor
        data[i] = value
        stat[i] = np.float64(stat[i]) * factor * factor + value * value * relative_var
