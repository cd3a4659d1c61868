# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that add pixel-table rows to the bins of a sky spectrum, exactly.

The spectrum has bins at ``lam_min + k * step``.  A row in the interval between the bins ``j`` and ``j + 1``
adds to both with linear weights ``1 - t`` and ``t``.  All rows of an interval are therefore described by
the sums of ``data``, ``t * data``, ``stat``, ``t * stat``, ``t`` and their number.

The sums are kept as integers (`muse_core.data.exact_sums`): the result does not depend on the order of the
rows, on how they are cut into blocks or on which thread adds which block, and rows can be taken away again
without a trace. Terms above 2**46 (and NaN, infinity) go to a plain floating-point sum; they only appear
where a calibration has exploded.
"""

from __future__ import annotations

import math

import numpy as np

from muse_core.data.exact_sums import LARGEST, N_LIMBS, add_to_limbs
from muse_core.framework.kernels import njit

N_SUMS = 5  # data, t * data, stat, t * stat, t


@njit(cache=True, nogil=True)
def add_rows(
    lam,
    data,
    stat,
    selected,
    lam_min,
    step,
    limit,
    limbs,
    floats,
    count,
    top_n,
    top_low,
    top_lam,
    top_data,
    top_stat,
):
    """Add the selected rows of a block; return how many were above ``limit`` and left out.

    Parameters
    ----------
    lam, data, stat : float32[n]
    selected : bool[n]
    limit : float64[n_interval]   rows with ``data`` above it are left out (infinity: none; NaN: none)
    limbs : int64[n_interval, 20], floats : float64[n_interval, 5], count : int64[n_interval]   updated
    top_n, top_low : int32[n_interval]   number of rows remembered, and the place of the lowest of them
    top_lam, top_data, top_stat : float32[n_interval, n_top]   the rows with the highest data of each interval
    """
    n_interval = count.size
    n_top = top_data.shape[1]
    n_left_out = 0
    for i in range(lam.size):
        if not selected[i]:
            continue
        place = (np.float64(lam[i]) - lam_min) / step
        j = min(max(int(place), 0), n_interval - 1)
        d = np.float64(data[i])
        if d > limit[j]:
            n_left_out += 1
            continue
        count[j] += 1
        s = np.float64(stat[i])
        if abs(d) < LARGEST and abs(s) < LARGEST:
            add_row(limbs[j], place - j, d, s, 1.0)
        else:
            add_big_row(limbs[j], floats[j], place - j, d, s)
        if top_n[j] < n_top or data[i] > top_data[j, top_low[j]]:
            remember(j, lam[i], data[i], stat[i], top_n, top_low, top_lam, top_data, top_stat)
    return n_left_out


@njit(cache=True, nogil=True)
def add_row(limb, t, d, s, sign):
    """Add (sign = 1) or take away (sign = -1) one row of an interval."""
    add_to_limbs(limb, 0, sign * d)
    add_to_limbs(limb, N_LIMBS, sign * (t * d))
    add_to_limbs(limb, 2 * N_LIMBS, sign * s)
    add_to_limbs(limb, 3 * N_LIMBS, sign * (t * s))
    add_to_limbs(limb, 4 * N_LIMBS, sign * t)


@njit(cache=True, nogil=True)
def add_big_row(limb, number, t, d, s):
    """Add a row with values that are too large for the limbs, or not numbers (``number`` : float64[5])."""
    number[0] += d
    number[1] += t * d
    number[2] += s
    number[3] += t * s
    add_to_limbs(limb, 4 * N_LIMBS, t)


@njit(cache=True, nogil=True)
def remember(j, lam, data, stat, top_n, top_low, top_lam, top_data, top_stat):
    """Keep the row if it is among the highest of its interval."""
    n_top = top_data.shape[1]
    n = top_n[j]
    if n < n_top:
        place = n
        top_n[j] = n + 1
    elif data > top_data[j, top_low[j]]:
        place = top_low[j]
    else:
        return
    top_lam[j, place] = lam
    top_data[j, place] = data
    top_stat[j, place] = stat
    low = 0
    for k in range(1, top_n[j]):
        if not top_data[j, k] >= top_data[j, low]:
            low = k
    top_low[j] = low


@njit(cache=True, nogil=True)
def merge_tops(top_n, top_low, top_lam, top_data, top_stat, other_n, other_lam, other_data, other_stat):
    """Take over the remembered rows of another accumulator."""
    for j in range(top_n.size):
        for k in range(other_n[j]):
            remember(
                j,
                other_lam[j, k],
                other_data[j, k],
                other_stat[j, k],
                top_n,
                top_low,
                top_lam,
                top_data,
                top_stat,
            )


@njit(cache=True, nogil=True)
def tops_suffice(limit, top_n, top_low, top_data, top_stat):
    """Say whether every row above ``limit`` is among the remembered ones (and was added exactly)."""
    n_top = top_data.shape[1]
    for j in range(top_n.size):
        if top_n[j] == n_top and not top_data[j, top_low[j]] <= limit[j] and not math.isnan(limit[j]):
            return False
        for k in range(top_n[j]):
            if top_data[j, k] > limit[j] and not (
                abs(top_data[j, k]) < LARGEST and abs(top_stat[j, k]) < LARGEST
            ):
                return False
    return True


@njit(cache=True, nogil=True)
def take_away_tops(limit, lam_min, step, limbs, count, top_n, top_lam, top_data, top_stat):
    """Take the remembered rows above ``limit`` out of the sums; return their number."""
    n_taken = 0
    for j in range(top_n.size):
        for k in range(top_n[j]):
            if top_data[j, k] > limit[j]:
                t = (np.float64(top_lam[j, k]) - lam_min) / step - j
                d, s = np.float64(top_data[j, k]), np.float64(top_stat[j, k])
                count[j] -= 1
                add_row(limbs[j], t, d, s, -1.0)
                n_taken += 1
    return n_taken
